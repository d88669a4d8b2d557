// @FEAT:trading @COMP:service @TYPE:helper
import { Big } from 'big.js'
import { EXCHANGE_NAMES } from '../domain/market.ts'
import { CATALOGUE } from '../exchanges/catalogue.ts'
import type { Language } from '../messages.ts'
import { escapeHtml, quoteText } from '../notifications/html.ts'
import type { AccountSummary } from './daily-summaries.ts'

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
  feesUnknown: { ko: '금액을 알 수 없는 수수료', en: 'fees of unknown value' },
  unrealized: { ko: '미실현 손익', en: 'Unrealised' },
  trades: { ko: '거래', en: 'Trades' },
  wins: { ko: '승', en: 'won' },
  losses: { ko: '패', en: 'lost' },
  winRate: { ko: '승률', en: 'Win rate' },
  volume: { ko: '거래대금', en: 'Volume' },
  drawdown: { ko: '최대 낙폭', en: 'Drawdown' },
  noTrades: { ko: '거래 없음', en: 'No trades' },
  footnote: {
    ko: '순손익 = 실현 손익 − 수수료. 무기한 계약의 펀딩은 포함되지 않습니다. 통화가 다른 금액은 합산하지 않습니다.',
    en: 'Net = realised − fees. Funding of perpetuals is not included. Amounts in different currencies are not added.'
  }
} satisfies Record<string, Sentence>

/** A day of some accounts as one message in Telegram's HTML, of any length: `accountText` of each. */
export function summaryText(accounts: readonly string[], { day, at, language, timeZone }: SummaryTextOptions): string {
  const time = new Intl.DateTimeFormat('sv-SE', { timeZone, dateStyle: 'short', timeStyle: 'short' }).format(at)
  const title = [
    `📊 <b>${words.title[language]} ${escapeHtml(day)}</b>`,
    `${words.asOf[language]}: ${time} (${escapeHtml(timeZone)})`
  ]
  return [title.join('\n'), ...accounts, `<i>${words.footnote[language]}</i>`].join('\n\n')
}

/** The day of one account in Telegram's HTML, a summary per currency. Amounts keep all digits. */
export function accountText(summaries: readonly [AccountSummary, ...AccountSummary[]], language: Language): string {
  return [...heading(summaries[0], language), ...summaries.flatMap(summary => figures(summary, language))].join('\n')
}

function heading({ account, exchange, is_testnet, credentials_refused }: AccountSummary, language: Language): string[] {
  const known = EXCHANGE_NAMES.find(name => name === exchange)
  const where = known ? CATALOGUE[known].name : exchange
  const mark = is_testnet ? ` [${words.testnet[language]}]` : ''
  return [
    `<b>${quoteText(account)}</b> (${escapeHtml(where)})${mark}`,
    ...(credentials_refused ? [`⚠️ ${words.refused[language]}`] : [])
  ]
}

function figures(summary: AccountSummary, language: Language): string[] {
  const say = (word: keyof typeof words, value: string) => `${words[word][language]} ${value}`
  const { trades, wins, losses, fees_unknown: feesUnknown } = summary
  const currency = escapeHtml(summary.currency)
  const net = new Big(summary.realized_pnl).minus(summary.fees).toFixed()
  const [start, end] = [summary.start_balance, summary.end_balance].map(total => (total === null ? '?' : amount(total)))
  const counts = [say('trades', `${trades} (${say('wins', `${wins}`)}, ${say('losses', `${losses}`)})`)]
  if (summary.win_rate !== null) counts.push(say('winRate', percent(summary.win_rate)))
  const money = [
    say('net', signed(net)),
    say('realized', signed(summary.realized_pnl)),
    say('fees', amount(summary.fees))
  ]
  if (feesUnknown > 0) money.push(`${words.feesUnknown[language]} ${feesUnknown}`)
  const held = [say('unrealized', summary.unrealized_pnl === null ? '?' : signed(summary.unrealized_pnl))]
  if (summary.max_drawdown !== null) held.push(say('drawdown', percent(summary.max_drawdown)))
  return [
    `• <b>${currency}</b> ${say('balance', `${start} → ${end}`)}`,
    ...(trades === 0
      ? [`  ${words.noTrades[language]}`]
      : [`  ${money.join(', ')}`, `  ${[...counts, say('volume', amount(summary.volume))].join(', ')}`]),
    `  ${held.join(', ')}`
  ]
}

/** Digit for digit, thousands grouped, without trailing zeros: `1,234,567.8901`. */
function amount(value: string): string {
  const [whole = '', fraction] = new Big(value).toFixed().split('.')
  const grouped = whole.replace(/\B(?=(\d{3})+$)/g, ',')
  return fraction === undefined ? grouped : `${grouped}.${fraction}`
}

function signed(value: string): string {
  return new Big(value).gt(0) ? `+${amount(value)}` : amount(value)
}

/** A ratio in per cent with two decimals. The message also has the amounts. */
function percent(value: string): string {
  return `${new Big(value).times(100).toFixed(2)}%`
}
