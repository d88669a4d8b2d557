// @FEAT:trading @COMP:job @TYPE:core
import { yieldToEventLoop } from '../async/yield.ts'
import type { TransactionSql } from '../database/client.ts'
import type { Language } from '../messages.ts'
import type { JobContext, JobResult } from '../scheduler/job.ts'
import { type AccountTextOptions, accountText } from '../trading/account-text.ts'
import { type AccountSummary, dayOf, summariesOf, summarise } from '../trading/daily-summaries.ts'
import { assignFunding } from '../trading/funding-shares.ts'
import { groupedBy } from '../trading/grouped.ts'
import { type RestatedDay, recordSent, restatedDays } from '../trading/sent-summaries.ts'
import { isOutdated, type MaxAges } from '../trading/summary-ages.ts'
import { type SummarisedAccount, summaryText } from '../trading/summary-text.ts'

/** The texts of this many accounts take some milliseconds: then the event loop runs. */
const ACCOUNTS_BEFORE_YIELD = 100

export interface DailySummaryServices {
  /** IANA name: a day is a day of this zone. */
  timeZone: string
  language: Language
  /** From which ages the message shows from when a value is. */
  maxAges: MaxAges
  /** The chat that receives the summaries of all accounts. */
  operatorChatId?: string | undefined
  /** Stores messages in the transaction; a message with a known key is skipped. */
  outbox: {
    enqueue(tx: TransactionSql, messages: readonly { chatId: string; text: string; key: string }[]): Promise<number>
  }
}

/**
 * Writes the summaries of the day of the run, and one message for each recipient: the operator's chat about all accounts,
 * each owner's chat about their own. It lists earlier days whose final row differs from what was sent. A repeated run
 * replaces the rows. The message of a day is sent once, and again for each manual run. Summaries with values that are too old, and open positions without a mark, are counted: the run is
 * partial.
 */
export function sendDailySummary({
  timeZone,
  language,
  maxAges,
  operatorChatId,
  outbox
}: DailySummaryServices): (context: JobContext) => Promise<JobResult> {
  return async ({ transaction, progress, scheduledFor, trigger, runId, signal }) => {
    progress(0, 1)
    await assignFunding(transaction, signal)
    const result = await transaction(async tx => {
      const day = await dayOf(tx, scheduledFor, { timeZone })
      const counts = await summarise(tx, day, { timeZone })
      const summaries = await summariesOf(tx, day, { timeZone })
      const restated = await restatedDays(tx, day)
      const accounts = await accountTexts(summaries, restated, { language, timeZone, maxAges })
      const messages = Array.from(byRecipient(accounts, operatorChatId), ([chatId, own]) => ({
        chatId,
        text: summaryText(own, { day, at: scheduledFor, language, timeZone }),
        key: `daily_summary:${day}:${chatId}${trigger === 'manual' ? `:${runId}` : ''}`
      }))
      const written = await outbox.enqueue(tx, messages)
      if (written > 0) await recordSent(tx, day, ofAccounts(restated, summaries))
      const outdated = summaries.filter(summary => isOutdated(summary, maxAges)).length
      const listed = written === 0 ? 0 : ofAccounts(restated, summaries).length
      return { day, ...counts, outdated, restated: listed, recipients: messages.length, messages: written }
    })
    progress(1, 1)
    return result
  }
}

interface OwnedAccount extends SummarisedAccount {
  /** Of the owner. */
  chatId: string | null
}

/** The restated days of accounts that are in the message. */
function ofAccounts(restated: readonly RestatedDay[], summaries: readonly AccountSummary[]): RestatedDay[] {
  const shown = new Set(summaries.map(({ account_id }) => account_id))
  return restated.filter(({ account_id }) => shown.has(account_id))
}

/** The text of each account. Yields to the event loop, so that probes are answered. */
async function accountTexts(
  summaries: readonly AccountSummary[],
  restated: readonly RestatedDay[],
  options: AccountTextOptions
): Promise<OwnedAccount[]> {
  const restatedOf = groupedBy(restated, ({ account_id }) => account_id)
  const accounts = new Map<string, [AccountSummary, ...AccountSummary[]]>()
  for (const summary of summaries) {
    const own = accounts.get(summary.account_id)
    if (own) own.push(summary)
    else accounts.set(summary.account_id, [summary])
  }
  const texts: OwnedAccount[] = []
  for (const summaries of accounts.values()) {
    const { account_id, chat_id: chatId } = summaries[0]
    texts.push({ chatId, summaries, text: accountText(summaries, options, restatedOf.get(account_id)) })
    if (texts.length % ACCOUNTS_BEFORE_YIELD === 0) await yieldToEventLoop()
  }
  return texts
}

/** The accounts by chat: the operator's chat has all of them, a chat that owners share has those of all of its owners. */
function byRecipient(accounts: readonly OwnedAccount[], operatorChatId?: string): Map<string, OwnedAccount[]> {
  const recipients = new Map<string, OwnedAccount[]>()
  if (operatorChatId !== undefined && accounts.length > 0) {
    recipients.set(operatorChatId, [...accounts])
  }
  for (const account of accounts) {
    const { chatId } = account
    if (chatId === null || chatId === operatorChatId) continue
    const own = recipients.get(chatId)
    if (own) own.push(account)
    else recipients.set(chatId, [account])
  }
  return recipients
}
