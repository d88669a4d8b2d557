// @FEAT:trading @COMP:service @TYPE:helper
import { Exact } from '../domain/decimal.ts'
import type { Language } from '../messages.ts'
import { escapeHtml } from '../notifications/html.ts'
import { type AccountText, netOf, netText } from './account-text.ts'
import type { AccountSummary } from './daily-summaries.ts'
import { groupedBy } from './grouped.ts'
import { addWeeks, weekBars } from './summary-week.ts'

export interface SummaryTextOptions {
  /** The day, `YYYY-MM-DD`. */
  day: string
  /** The time for which the summary is made. */
  at: Date
  language: Language
  /** IANA name; times are shown in it. */
  timeZone: string
}

/** An account of a message: its texts, and the summaries for the totals. */
export interface SummarisedAccount {
  text: AccountText
  summaries: readonly AccountSummary[]
}

type Sentence = Record<Language, string>

const words = {
  title: { ko: '일일 요약', en: 'Daily summary' },
  asOf: { ko: '기준 시각', en: 'As of' },
  net: { ko: '순손익', en: 'Net' },
  testnet: { ko: '테스트넷', en: 'testnet' },
  footnote: { ko: '순손익: 수수료·펀딩·이자 반영', en: 'Net: after fees, funding, interest' }
} satisfies Record<string, Sentence>

/**
 * A day of some accounts as one message in Telegram's HTML, of any length. Its beginning fits on the screen of a phone: one
 * account has all of its values there. Several have the totals of each currency, one line for each account, and their
 * values in a block that is collapsed.
 */
export function summaryText(accounts: readonly SummarisedAccount[], options: SummaryTextOptions): string {
  const { language } = options
  const [first, ...others] = accounts
  const time = new Intl.DateTimeFormat('sv-SE', { timeZone: options.timeZone, timeStyle: 'short' }).format(options.at)
  const title = [
    `📊 <b>${words.title[language]} ${escapeHtml(options.day)}</b>`,
    `${words.asOf[language]} ${time} (${escapeHtml(options.timeZone)})`
  ].join('\n')
  const footnote = `<i>${words.footnote[language]}</i>`
  if (first !== undefined && others.length === 0) {
    const { details, restated } = first.text
    return [title, details, ...(restated === '' ? [] : [collapsed([restated])]), footnote].join('\n\n')
  }
  const totals = totalLines(accounts, language).join('\n')
  const lines = accounts.map(({ text }) => text.line).join('\n')
  const values = accounts.map(({ text }) => (text.restated === '' ? text.details : `${text.details}\n${text.restated}`))
  return [title, totals, lines, collapsed([...values, footnote])].join('\n\n')
}

/** A block of which three lines are shown until it is opened. */
function collapsed(paragraphs: readonly string[]): string {
  return `<blockquote expandable>${paragraphs.join('\n\n')}</blockquote>`
}

/** The net result of the day and the week, for each currency. The money of a testnet is not added to other money. */
function totalLines(accounts: readonly SummarisedAccount[], language: Language): string[] {
  const all = accounts.flatMap(({ summaries }) => summaries)
  return [false, true].flatMap(isTestnet => {
    const mark = isTestnet ? ` [${words.testnet[language]}]` : ''
    const own = all.filter(({ is_testnet }) => is_testnet === isTestnet)
    const ofCurrency = groupedBy(own, ({ currency }) => currency)
    return [...ofCurrency].map(([currency, summaries]) => {
      const net = summaries.reduce((sum, summary) => sum.plus(netOf(summary)), new Exact(0)).toFixed()
      const bars = weekBars(addWeeks(summaries.map(({ week }) => week)))
      return `<b>${words.net[language]} ${netText(net, currency)}</b> ${bars}${mark}`
    })
  })
}
