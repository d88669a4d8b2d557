// @FEAT:exchanges @COMP:service @TYPE:core
import type { Sql, TransactionSql } from '../database/client.ts'
import type { Millis } from '../domain/millis.ts'
import type { InvalidRowRecord } from './invalid-rows.ts'

const KEPT = '30 days'
const MAX_ROWS = 10_000
const MAX_REASON = 200

/**
 * Stores kinds of invalid rows in one statement: a known kind gets the new times, the later time and excerpt. Not
 * idempotent: the times of a record are added with each call.
 *
 * @param now by the clock of the records; the database counts from its own clock
 */
export async function storeInvalidRows(sql: Sql, records: readonly InvalidRowRecord[], now: Millis): Promise<void> {
  const rows = records.map(({ marketType, accountId, reason, firstSeenAt, lastSeenAt, ...row }) => ({
    ...row,
    market_type: marketType,
    account_id: accountId,
    reason: reason.slice(0, MAX_REASON),
    first_age: Math.max(0, now - firstSeenAt),
    last_age: Math.max(0, now - lastSeenAt)
  }))
  await sql`
    insert into invalid_rows as stored (
      exchange, market_type, operation, account_id, kind, reason, excerpt, first_seen, last_seen, times
    )
    select exchange, market_type, operation, account_id, kind, reason, excerpt,
      now() - first_age * interval '1 ms', now() - last_age * interval '1 ms', times
    from jsonb_to_recordset(${JSON.stringify(rows)}::text::jsonb) as seen(
      exchange text, market_type text, operation text, account_id bigint, kind text, reason text, excerpt text,
      first_age float8, last_age float8, times bigint
    )
    order by exchange, market_type, operation, coalesce(account_id, 0), kind, reason
    on conflict (exchange, market_type, operation, coalesce(account_id, 0), kind, reason) do update set
      excerpt = excluded.excerpt,
      first_seen = least(stored.first_seen, excluded.first_seen),
      last_seen = greatest(stored.last_seen, excluded.last_seen),
      times = stored.times + excluded.times`
}

/** Deletes up to `limit` kinds that were not seen for 30 days, or are not among the latest 10,000. Idempotent. @returns how many */
export async function sweepInvalidRows(tx: TransactionSql, limit: number): Promise<number> {
  const { count } = await tx`
    delete from invalid_rows where invalid_row_id in (
      select invalid_row_id from invalid_rows
      where last_seen < greatest(
        now() - ${KEPT}::interval,
        (select last_seen from invalid_rows order by last_seen desc offset ${MAX_ROWS - 1} limit 1)
      )
      order by last_seen limit ${limit} for update skip locked
    )`
  return count
}
