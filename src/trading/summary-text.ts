// @FEAT:trading @COMP:service @TYPE:helper
import { Big } from 'big.js'
import { EXCHANGE_NAMES } from '../domain/market.ts'
import { roundedAmount } from '../domain/rounded-amount.ts'
import { CATALOGUE } from '../exchanges/catalogue.ts'
import type { Language } from '../messages.ts'
import { escapeHtml, quoteText } from '../notifications/html.ts'
import type { AccountSummary } from './daily-summaries.ts'
import type { RestatedDay, SentValues } from './sent-summaries.ts'
import { type MaxAges, oldValues } from './summary-ages.ts'

export interface SummaryTextOptions {
  /** The day, `YYYY-MM-DD`. */
  day: string
  /** The time for which the summary is made. */
  at: Date
  language: Language
  /** IANA name; times are shown in it. */
  timeZone: string
}

type Sentence = Record<Language, string>

const words = {
  title: { ko: '일일 요약', en: 'Daily summary' },
  asOf: { ko: '기준 시각', en: 'As of' },
  testnet: { ko: '테스트넷', en: 'testnet' },
  refused: {
    ko: '거래소가 인증을 거부하여 값이 오래되었을 수 있음',
    en: 'the exchange refuses the credentials: figures may be old'
  },
  balance: { ko: '잔고', en: 'Balance' },
  realized: { ko: '실현 손익', en: 'Realised' },
  net: { ko: '순손익', en: 'Net' },
  fees: { ko: '수수료', en: 'Fees' },
  funding: { ko: '펀딩', en: 'Funding' },
  interest: { ko: '이자', en: 'Interest' },
  feesUnknown: { ko: '금액을 알 수 없는 수수료', en: 'fees of unknown value' },
  unrealized: { ko: '미실현 손익', en: 'Unrealised' },
  trades: { ko: '거래', en: 'Trades' },
  executions: { ko: '체결', en: 'Executions' },
  wins: { ko: '승', en: 'won' },
  losses: { ko: '패', en: 'lost' },
  winRate: { ko: '승률', en: 'Win rate' },
  oldMarks: { ko: '15분보다 오래된 평가', en: 'marks older than 15 min' },
  unmarked: { ko: '평가되지 않은 포지션', en: 'positions without a mark' },
  ordersAsOf: { ko: '주문 기준 시각', en: 'orders as of' },
  valuesAsOf: { ko: '기준', en: 'as of' },
  volume: { ko: '거래대금', en: 'Volume' },
  equity: { ko: '평가 자산', en: 'Equity' },
  return: { ko: '수익률', en: 'return' },
  unvalued: { ko: '가격을 알 수 없어 제외된 자산', en: 'without a price, not included' },
  gaps: { ko: '계산에서 제외된 구간', en: 'periods not usable' },
  drawdown: { ko: '최대 낙폭', en: 'Drawdown' },
  restated: { ko: '정정', en: 'Restated' },
  noTrades: { ko: '거래 없음', en: 'No trades' },
  footnote: {
    ko: '순손익 = 실현 손익 − 수수료 + 펀딩 − 이자. 거래는 포지션을 열고 모두 닫은 한 번입니다. 통화가 다른 금액은 합산하지 않습니다.',
    en: 'Net = realised − fees + funding − interest. A trade is a position from flat to flat. Amounts in different currencies are not added.'
  }
} satisfies Record<string, Sentence>

/** A day of some accounts as one message in Telegram's HTML, of any length: `accountText` of each. */
export function summaryText(accounts: readonly string[], { day, at, language, timeZone }: SummaryTextOptions): string {
  const time = shortTime(at, { timeZone })
  const title = [
    `📊 <b>${words.title[language]} ${escapeHtml(day)}</b>`,
    `${words.asOf[language]}: ${time} (${escapeHtml(timeZone)})`
  ]
  return [title.join('\n'), ...accounts, `<i>${words.footnote[language]}</i>`].join('\n\n')
}

/** The language and the zone of the texts of accounts, and the ages from which they are shown. */
export interface AccountTextOptions extends Pick<SummaryTextOptions, 'language' | 'timeZone'> {
  maxAges: MaxAges
}

/**
 * The day of one account in Telegram's HTML, a summary per currency. Amounts are rounded for people. An unknown value is a
 * question mark. A value that is older than allowed has the time from when it is. Restated days follow.
 */
export function accountText(
  summaries: readonly [AccountSummary, ...AccountSummary[]],
  options: AccountTextOptions,
  restated: readonly RestatedDay[] = []
): string {
  return [
    ...heading(summaries[0], options),
    ...summaries.flatMap(summary => figures(summary, options)),
    ...restated.flatMap(day => restatedText(day, options.language))
  ].join('\n')
}

function heading(summary: AccountSummary, options: AccountTextOptions): string[] {
  const { account, exchange, is_testnet, credentials_refused } = summary
  const { language, maxAges } = options
  const { orders } = oldValues(summary, maxAges)
  const known = EXCHANGE_NAMES.find(name => name === exchange)
  const where = known ? CATALOGUE[known].name : exchange
  const mark = is_testnet ? ` [${words.testnet[language]}]` : ''
  return [
    `<b>${quoteText(account)}</b> (${escapeHtml(where)})${mark}`,
    ...(credentials_refused ? [`⚠️ ${words.refused[language]}`] : []),
    ...(orders ? [`⚠️ ${words.ordersAsOf[language]} ${shortTime(orders, options)}`] : [])
  ]
}

function figures(summary: AccountSummary, options: AccountTextOptions): string[] {
  const { language, maxAges } = options
  const old = oldValues(summary, maxAges)
  const from = (asOf: Date | null) => (asOf ? ` (${words.valuesAsOf[language]} ${shortTime(asOf, options)})` : '')
  const say = (word: keyof typeof words, value: string) => `${words[word][language]} ${value}`
  const { executions, trades, wins, losses, fees_unknown: feesUnknown } = summary
  const { currency } = summary
  const plain = (value: string) => amount(value, currency)
  const change = (value: string) => signed(value, currency)
  const net = new Big(summary.realized_pnl).minus(summary.fees).plus(summary.funding).minus(summary.interest).toFixed()
  const [start, end] = [summary.start_balance, summary.end_balance].map(total => (total === null ? '?' : plain(total)))
  const counts = [say('trades', `${trades} (${say('wins', `${wins}`)}, ${say('losses', `${losses}`)})`)]
  if (summary.win_rate !== null) counts.push(say('winRate', percent(summary.win_rate)))
  counts.push(say('executions', `${executions}`))
  const money = [
    say('net', change(net)),
    say('realized', change(summary.realized_pnl)),
    say('fees', plain(summary.fees))
  ]
  if (isSome(summary.funding)) money.push(say('funding', change(summary.funding)))
  if (isSome(summary.interest)) money.push(say('interest', plain(summary.interest)))
  if (feesUnknown > 0) money.push(`${words.feesUnknown[language]} ${feesUnknown}`)
  const unrealized = summary.unrealized_pnl === null ? '?' : change(summary.unrealized_pnl)
  const held = [say('unrealized', `${unrealized}${from(old.marks)}`)]
  if (summary.positions_old_mark > 0) held.push(say('oldMarks', `${summary.positions_old_mark}`))
  if (summary.positions_unmarked > 0) held.push(say('unmarked', `${summary.positions_unmarked}`))
  return [
    `• <b>${escapeHtml(currency)}</b> ${say('balance', `${start} → ${end}`)}${from(old.balances)}`,
    ...(executions > 0 || isSome(summary.funding) || isSome(summary.interest) ? [`  ${money.join(', ')}`] : []),
    executions === 0
      ? `  ${words.noTrades[language]}`
      : `  ${[...counts, say('volume', plain(summary.volume))].join(', ')}`,
    `  ${held.join(', ')}`,
    ...equityLine(summary, language)
  ]
}

/** What the account is worth, in the row of its valuation currency. What is not known is a question mark. */
function equityLine(summary: AccountSummary, language: Language): string[] {
  if (summary.equity === null) return []
  const say = (word: keyof typeof words, value: string) => `${words[word][language]} ${value}`
  const ratio = (value: string | null) => (value === null ? '?' : percent(value))
  const parts = [
    say('equity', amount(summary.equity, summary.currency)),
    say(
      'return',
      `${summary.equity_return !== null && new Big(summary.equity_return).gt(0) ? '+' : ''}${ratio(summary.equity_return)}`
    ),
    say('drawdown', ratio(summary.max_drawdown))
  ]
  if (summary.equity_unvalued > 0) parts.push(say('unvalued', `${summary.equity_unvalued}`))
  if (summary.equity_gaps > 0) parts.push(say('gaps', `${summary.equity_gaps}`))
  return [`  ${parts.join(', ')}`]
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
  return [`↻ ${words.restated[language]} ${date} <b>${escapeHtml(currency)}</b> ${changes.join(', ')}`]
}

/** A time as `2026-11-25 00:30`. */
function shortTime(at: Date, { timeZone }: Pick<SummaryTextOptions, 'timeZone'>): string {
  return new Intl.DateTimeFormat('sv-SE', { timeZone, dateStyle: 'short', timeStyle: 'short' }).format(at)
}

/** Rounded for people, thousands grouped: `1,234,567.89`. */
function amount(value: string, currency: string): string {
  const [whole = '', fraction] = roundedAmount(value, currency).split('.')
  const grouped = whole.replace(/\B(?=(\d{3})+$)/g, ',')
  return fraction === undefined ? grouped : `${grouped}.${fraction}`
}

/** Whether an amount is not zero. */
function isSome(value: string): boolean {
  return !new Big(value).eq(0)
}

function signed(value: string, currency: string): string {
  const text = amount(value, currency)
  return text === '0' || text.startsWith('-') ? text : `+${text}`
}

/** A ratio in per cent with two decimals. The message also has the amounts. */
function percent(value: string): string {
  return `${new Big(value).times(100).toFixed(2)}%`
}
