// @FEAT:trading @COMP:service @TYPE:core
import type { Database } from '../database/database.ts'
import { roundedDifference } from '../domain/rounded-amount.ts'
import type { Language } from '../messages.ts'
import { escapeHtml, quoteText } from '../notifications/html.ts'
import { limitedTransaction } from '../scheduler/transaction.ts'
import { differenceCounts, unexplainedDifferences } from '../trading/book-state.ts'
import { type AccountSummary, dayOf, summariesOf, summarise } from '../trading/daily-summaries.ts'
import { dailyTotals } from '../trading/daily-totals.ts'
import { groupedBy } from '../trading/grouped.ts'
import { listOpenPositions, type OpenPosition } from '../trading/open-positions.ts'
import { changeText, quantityText, shortTime } from './answer-text.ts'
import { say } from './words.ts'

const MAX_POSITIONS = 40
const MAX_DAYS = 31

export interface TradingAnswerOptions {
  database: Database
  language: Language
  /** IANA name. */
  timeZone: string
  /** The summaries of a day as one message in Telegram's HTML. */
  summaryText: (summaries: readonly AccountSummary[], day: string, at: Date) => string
}

/** Whose accounts are answered about: those of the users with this chat; undefined: all. */
export interface Owner {
  ownerChatId: string | undefined
}

/** The summary of today so far, or the net results of the last `days` days. */
export async function dailyAnswer(options: TradingAnswerOptions, owner: Owner, rest: string): Promise<string> {
  const { database, language, timeZone } = options
  const days = rest === '' ? 1 : Number(/^\d{1,2}$/.exec(rest)?.[0])
  if (!(days >= 1 && days <= MAX_DAYS)) return say('badDays', language)
  const now = new Date()
  return limitedTransaction(database, async tx => {
    const day = await dayOf(tx, now, { timeZone })
    await summarise(tx, day, { timeZone })
    if (rest === '') {
      const { ownerChatId } = owner
      const summaries = await summariesOf(tx, day, { timeZone })
      const own = summaries.filter(({ chat_id }) => ownerChatId === undefined || chat_id === ownerChatId)
      return own.length === 0 ? say('noSummaries', language) : options.summaryText(own, day, now)
    }
    const totals = await dailyTotals(tx, { lastDay: day, days, ...owner })
    const lines = Array.from(
      groupedBy(totals, total => total.day),
      ([date, currencies]) =>
        currencies
          .map(({ currency, net, trades }) => `${changeText(net, currency)} ${escapeHtml(currency)} (${trades})`)
          .join(', ')
          .replace(/^/, `${date.slice(5)}  `)
    )
    const title = `📊 <b>${say('net', language)}</b> (${days})`
    return [title, ...(lines.length === 0 ? [say('noDays', language)] : lines)].join('\n')
  })
}

/** The open positions by account. */
export async function positionsAnswer(options: TradingAnswerOptions, owner: Owner): Promise<string> {
  const { database, language } = options
  const { total, positions } = await database.run(sql => listOpenPositions(sql, { ...owner, limit: MAX_POSITIONS }))
  if (total === 0) return say('noPositions', language)
  const accounts = groupedBy(positions, ({ account, exchange }) => `${exchange} ${account}`)
  const parts = Array.from(accounts.values(), own => accountPositions(own, options))
  const others = total - positions.length
  return [
    `📈 <b>${say('positions', language)}</b> ${total}`,
    ...parts,
    ...(others > 0 ? [`${say('others', language)}: ${others}`] : [])
  ].join('\n\n')
}

function accountPositions(own: readonly OpenPosition[], { language, timeZone }: TradingAnswerOptions): string {
  const [first] = own
  const mark = first?.isTestnet ? ` [${say('testnet', language)}]` : ''
  return [
    `<b>${quoteText(first?.account ?? '')}</b> (${escapeHtml(first?.exchange ?? '')})${mark}`,
    ...own.flatMap(({ symbol, positionSide, quantity, entryPrice, markPrice, markedAt, unrealizedPnl, currency }) => [
      `• ${quoteText(symbol)}${positionSide === 'BOTH' ? '' : ` ${escapeHtml(positionSide)}`} ${quantityText(quantity)}`,
      `  ${quantityText(entryPrice)} → ${quantityText(markPrice)}${markedAt ? ` (${shortTime(markedAt, timeZone)})` : ''}: ${changeText(unrealizedPnl, currency)} ${escapeHtml(currency)}`
    ])
  ].join('\n')
}

/** The differences between the books and the exchanges. */
export async function booksAnswer({ database, language, timeZone }: TradingAnswerOptions): Promise<string> {
  const [counts, unexplained] = await Promise.all([
    database.run(differenceCounts),
    database.run(unexplainedDifferences)
  ])
  const checked = counts.differences - counts.unexplained
  const more = checked > 0 ? [`${say('newDifferences', language)}: ${checked}`] : []
  if (!unexplained) return [`📒 ${say('booksAgree', language)}`, ...more].join('\n')
  const lines = unexplained.differences.map(({ account, exchange, what, difference }) =>
    [exchange, account, what]
      .map(text => quoteText(text, 32))
      .join(' ')
      .concat(`: ${quoteText(roundedDifference(difference))}`)
  )
  const others = unexplained.count - lines.length
  return [
    `📒 <b>${say('unexplained', language)}</b> ${unexplained.count} (${shortTime(unexplained.since, timeZone)})`,
    ...lines.map(line => `• ${line}`),
    ...(others > 0 ? [`${say('others', language)}: ${others}`] : []),
    ...more
  ].join('\n')
}
