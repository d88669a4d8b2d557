import type { DailySummaryServices } from '../../src/jobs/send-daily-summary.ts'

/** The least that an outbox does: messages become rows, a key that was seen before is skipped. */
export const tableOutbox: DailySummaryServices['outbox'] = {
  enqueue: async (tx, messages) => {
    const rows = messages.map(({ chatId, text, key }) => ({ chat_id: chatId, text, dedupe_key: key }))
    const { count } = await tx`
      insert into outbox (chat_id, text, dedupe_key)
      select chat_id, text, dedupe_key
      from jsonb_to_recordset(${JSON.stringify(rows)}::text::jsonb) as m (chat_id text, text text, dedupe_key text)
      on conflict (dedupe_key) do nothing`
    return count
  }
}
