// @FEAT:trading @COMP:service @TYPE:helper
import { type Decimal, Exact } from '../domain/decimal.ts'
import { EXCHANGE_NAMES } from '../domain/market.ts'
import { roundedAmount } from '../domain/rounded-amount.ts'
import { CATALOGUE } from '../exchanges/catalogue.ts'
import type { Language } from '../messages.ts'
import { escapeHtml, quoteText } from '../notifications/html.ts'
import type { AccountSummary } from './daily-summaries.ts'
import type { RestatedDay, SentValues } from './sent-summaries.ts'
import { type MaxAges, oldValues } from './summary-ages.ts'
import { type Week, weekBars, weekTotal } from './summary-week.ts'

/** Names of this service have 64 characters at most. A longer one ends in an ellipsis. */
const MAX_NAME = 256

type Sentence = Record<Language, string>

const words = {
  testnet: { ko: '테스트넷', en: 'testnet' },
  refused: { ko: '인증 거부: 값이 오래되었을 수 있음', en: 'Keys rejected: values may be old' },
  net: { ko: '순손익', en: 'Net' },
  week: { ko: '7일', en: '7 days' },
  realized: { ko: '실현', en: 'Realised' },
  fees: { ko: '수수료', en: 'fees' },
  feesUnknown: { ko: '금액을 알 수 없는 수수료', en: 'Fees of unknown value' },
  funding: { ko: '펀딩', en: 'Funding' },
  interest: { ko: '이자', en: 'interest' },
  trades: { ko: '거래', en: 'Trades' },
  noTrades: { ko: '거래 없음', en: 'no trades' },
  executions: { ko: '체결', en: 'Executions' },
  volume: { ko: '거래대금', en: 'volume' },
  unrealized: { ko: '미실현 손익', en: 'Unrealised' },
  oldMarks: { ko: '15분보다 오래된 평가', en: 'Marks older than 15 min' },
  unmarked: { ko: '평가되지 않은 포지션', en: 'Positions without a mark' },
  balance: { ko: '잔고', en: 'Balance' },
  ordersAsOf: { ko: '주문 기준 시각', en: 'Orders as of' },
  balancesAsOf: { ko: '잔고 기준 시각', en: 'Balance as of' },
  marksAsOf: { ko: '평가 기준 시각', en: 'Marks as of' },
  equity: { ko: '평가 자산', en: 'Equity' },
  drawdown: { ko: '최대 낙폭', en: 'Drawdown' },
  unvalued: { ko: '가격을 알 수 없어 제외된 자산', en: 'Without a price, not included' },
  gaps: { ko: '계산에서 제외된 구간', en: 'Periods not usable' },
  restated: { ko: '정정', en: 'Restated' }
} satisfies Record<string, Sentence>

/** The language and the zone of the texts of accounts, and the ages from which they are shown. */
export interface AccountTextOptions {
  language: Language
  /** IANA name; times are shown in it. */
  timeZone: string
  maxAges: MaxAges
}

/** The texts of one account in Telegram's HTML. */
export interface AccountText {
  /** The net results and the name, in one line. 🧪: a testnet; ⚠️: a value is old or incomplete; ↻: a day is restated. */
  line: string
  /** All values. */
  details: string
  /** Restated days; empty without any. */
  restated: string
}

/**
 * The day of one account, a summary per currency. Amounts are rounded for people. An unknown value is a question mark. A
 * value that is older than allowed has the time from when it is.
 */
export function accountText(
  summaries: readonly [AccountSummary, ...AccountSummary[]],
  options: AccountTextOptions,
  restated: readonly RestatedDay[] = []
): AccountText {
  const { language } = options
  const name = nameOf(summaries[0])
  const testnet = summaries[0].is_testnet
  const blocks = summaries.map(summary => valuesOf(summary, options))
  const warnings = warningsOf(summaries[0], options)
  const restatedLines = restated.flatMap(day => restatedText(day, language))
  const marks = [
    ...(testnet ? [' 🧪'] : []),
    ...(warnings.length > 0 || blocks.some(lines => lines.some(line => line.startsWith('⚠️'))) ? [' ⚠️'] : []),
    ...(restatedLines.length > 0 ? [' ↻'] : [])
  ]
  return {
    line: `${netsOf(summaries).join(', ')} · ${name}${marks.join('')}`,
    details: [`${name}${testnet ? ` [${words.testnet[language]}]` : ''}`, ...warnings, ...blocks.flat()].join('\n'),
    restated: restatedLines.join('\n')
  }
}

/** The net result of a day: `+10 USDT`. */
export function netText(net: Decimal, currency: string): string {
  return `${signed(net, currency)} ${escapeHtml(currency)}`
}

/** A week and its total: `▂▅█▁·▃▆ 7 days +123.45`. */
function weekText(week: Week, currency: string, language: Language): string {
  return `${weekBars(week)} ${words.week[language]} ${signed(weekTotal(week), currency)}`
}

/** The net result of a summary: realised less fees and interest, and funding. */
export function netOf({ realized_pnl, fees, funding, interest }: AccountSummary): Decimal {
  return new Exact(realized_pnl).minus(fees).plus(funding).minus(interest).toFixed()
}

/** Whether anything was traded or charged. */
function isActive({ executions, funding, interest }: AccountSummary): boolean {
  return executions > 0 || isSome(funding) || isSome(interest)
}

/** The results in the currencies that were traded; that of the first currency without any. */
function netsOf(summaries: readonly [AccountSummary, ...AccountSummary[]]): string[] {
  const active = summaries.filter(isActive)
  return (active.length > 0 ? active : [summaries[0]]).map(summary => netText(netOf(summary), summary.currency))
}

function nameOf({ account, exchange }: AccountSummary): string {
  const known = EXCHANGE_NAMES.find(name => name === exchange)
  const where = known ? CATALOGUE[known].name : exchange
  return `<b>${quoteText(account, MAX_NAME)}</b> (${escapeHtml(where)})`
}

function warningsOf(summary: AccountSummary, options: AccountTextOptions): string[] {
  const { orders } = oldValues(summary, options.maxAges)
  return [
    ...(summary.credentials_refused ? [`⚠️ ${words.refused[options.language]}`] : []),
    ...asOfLine('ordersAsOf', orders, options)
  ]
}

function valuesOf(summary: AccountSummary, options: AccountTextOptions): string[] {
  const { language, maxAges } = options
  const { currency, executions, start_balance, end_balance, unrealized_pnl } = summary
  const old = oldValues(summary, maxAges)
  const say = (word: keyof typeof words, value: string) => `${words[word][language]} ${value}`
  const plain = (value: string | null) => (value === null ? '?' : amount(value, currency))
  const change = (value: string | null) => (value === null ? '?' : signed(value, currency))
  const idle = executions === 0 ? `, ${words.noTrades[language]}` : ''
  const lines = [`<b>${say('net', netText(netOf(summary), currency))}</b>${idle}`]
  if (summary.week.some(net => net !== null && isSome(net))) lines.push(weekText(summary.week, currency, language))
  if (isActive(summary))
    lines.push(`${say('realized', change(summary.realized_pnl))}, ${say('fees', plain(summary.fees))}`)
  lines.push(...countLine('feesUnknown', summary.fees_unknown, language))
  if (isSome(summary.funding) || isSome(summary.interest)) {
    lines.push(`${say('funding', change(summary.funding))}, ${say('interest', plain(summary.interest))}`)
  }
  if (executions > 0) {
    lines.push(tradesLine(summary, language))
    lines.push(`${say('executions', `${executions}`)}, ${say('volume', plain(summary.volume))}`)
  }
  if (unrealized_pnl === null || isSome(unrealized_pnl)) lines.push(say('unrealized', change(unrealized_pnl)))
  lines.push(...asOfLine('marksAsOf', old.marks, options))
  lines.push(...countLine('oldMarks', summary.positions_old_mark, language))
  lines.push(...countLine('unmarked', summary.positions_unmarked, language))
  lines.push(say('balance', `${plain(start_balance)} → ${plain(end_balance)}`))
  lines.push(...asOfLine('balancesAsOf', old.balances, options), ...equityLines(summary, language))
  return lines
}

function tradesLine({ trades, wins, losses, win_rate }: AccountSummary, language: Language): string {
  const rate = win_rate === null ? '' : ` (${percent(win_rate)})`
  const ends = language === 'ko' ? `${wins}승 ${losses}패` : `${wins} won, ${losses} lost`
  return `${words.trades[language]} ${trades}: ${ends}${rate}`
}

/** What the account is worth, in the row of its valuation currency. What is not known is a question mark. */
function equityLines(summary: AccountSummary, language: Language): string[] {
  const { equity, equity_return, max_drawdown, currency } = summary
  if (equity === null) return []
  const gain = equity_return !== null && new Exact(equity_return).gt(0) ? '+' : ''
  const ratio = (value: string | null) => (value === null ? '?' : percent(value))
  return [
    `${words.equity[language]} ${amount(equity, currency)} (${gain}${ratio(equity_return)})`,
    `${words.drawdown[language]} ${ratio(max_drawdown)}`,
    ...countLine('unvalued', summary.equity_unvalued, language),
    ...countLine('gaps', summary.equity_gaps, language)
  ]
}

function countLine(word: keyof typeof words, count: number, language: Language): string[] {
  return count > 0 ? [`⚠️ ${words[word][language]}: ${count}`] : []
}

function asOfLine(word: keyof typeof words, asOf: Date | null, { language, timeZone }: AccountTextOptions): string[] {
  if (asOf === null) return []
  const time = new Intl.DateTimeFormat('sv-SE', { timeZone, dateStyle: 'short', timeStyle: 'short' }).format(asOf)
  return [`⚠️ ${words[word][language]} ${time}`]
}

/** A day whose final row differs from what was sent: the values that people see another one of. Empty without any. */
function restatedText({ date, currency, sent, final }: RestatedDay, language: Language): string[] {
  const texts = ({ net, trades, end_balance, unrealized_pnl }: SentValues) =>
    [
      ['net', signed(net, currency)],
      ['trades', `${trades}`],
      ['balance', end_balance === null ? '?' : amount(end_balance, currency)],
      ['unrealized', unrealized_pnl === null ? '?' : signed(unrealized_pnl, currency)]
    ] as const
  const [before, after] = [texts(sent), texts(final)]
  const changes = before.flatMap(([word, value], i) => {
    const now = after[i]?.[1]
    return now === undefined || now === value ? [] : [`${words[word][language]} ${value} → ${now}`]
  })
  if (changes.length === 0) return []
  return [`↻ ${words.restated[language]} ${date} ${escapeHtml(currency)}`, ...changes]
}

/** Rounded for people, thousands grouped: `1,234,567.89`. */
function amount(value: string, currency: string): string {
  const [whole = '', fraction] = roundedAmount(value, currency).split('.')
  const grouped = whole.replace(/\B(?=(\d{3})+$)/g, ',')
  return fraction === undefined ? grouped : `${grouped}.${fraction}`
}

/** Whether an amount is not zero. */
function isSome(value: string): boolean {
  return !new Exact(value).eq(0)
}

function signed(value: string, currency: string): string {
  const text = amount(value, currency)
  return text === '0' || text.startsWith('-') ? text : `+${text}`
}

/** A ratio in per cent with two decimals. The message also has the amounts. */
function percent(value: string): string {
  return `${new Exact(value).times(100).toFixed(2)}%`
}
