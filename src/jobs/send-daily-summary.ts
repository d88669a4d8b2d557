// @FEAT:trading @COMP:job @TYPE:core
import type { TransactionSql } from '../database/client.ts'
import type { Language } from '../messages.ts'
import type { JobContext, JobResult } from '../scheduler/job.ts'
import { type AccountSummary, dayOf, summariesOf, summarise } from '../trading/daily-summaries.ts'
import { summaryText } from '../trading/summary-text.ts'

export interface DailySummaryServices {
  /** IANA name: a day is a day of this zone. */
  timeZone: string
  language: Language
  /** The chat that is told of all accounts. */
  operatorChatId?: string | undefined
  /** Takes messages for delivery in the transaction; those whose key was seen before are skipped. */
  outbox: {
    enqueue(tx: TransactionSql, messages: readonly { chatId: string; text: string; key: string }[]): Promise<number>
  }
}

/**
 * Writes the summaries of the day that the run stands for, and one message for each recipient: the operator's chat about
 * all accounts, every owner's chat about their own. Repeating it replaces the rows. A day's message goes out once,
 * unless an admin asks for it by hand: then it is sent again, once per run.
 */
export function sendDailySummary({
  timeZone,
  language,
  operatorChatId,
  outbox
}: DailySummaryServices): (context: JobContext) => Promise<JobResult> {
  return async ({ transaction, progress, scheduledFor, trigger, runId }) => {
    progress(0, 1)
    const result = await transaction(async tx => {
      const day = await dayOf(tx, scheduledFor, { timeZone })
      const counts = await summarise(tx, day, { timeZone })
      const summaries = await summariesOf(tx, day)
      const messages = Array.from(byRecipient(summaries, operatorChatId), ([chatId, own]) => ({
        chatId,
        text: summaryText(own, { day, at: scheduledFor, language, timeZone }),
        key: `daily_summary:${day}:${chatId}${trigger === 'manual' ? `:${runId}` : ''}`
      }))
      const written = await outbox.enqueue(tx, messages)
      return { day, ...counts, recipients: messages.length, messages: written }
    })
    progress(1, 1)
    return result
  }
}

/** The operator reads every account; a chat that owners share reads the accounts of all of them. */
function byRecipient(summaries: readonly AccountSummary[], operatorChatId?: string): Map<string, AccountSummary[]> {
  const recipients = new Map<string, AccountSummary[]>()
  if (operatorChatId !== undefined && summaries.length > 0) recipients.set(operatorChatId, [...summaries])
  for (const summary of summaries) {
    const chatId = summary.chat_id
    if (chatId === null || chatId === operatorChatId) continue
    const own = recipients.get(chatId)
    if (own) own.push(summary)
    else recipients.set(chatId, [summary])
  }
  return recipients
}
