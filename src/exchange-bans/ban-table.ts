// @FEAT:exchanges @COMP:service @TYPE:integration
import type { Sql, TransactionSql } from '../database/client.ts'
import type { Millis } from '../domain/millis.ts'

/** A later end is taken for a mistake: the longest documented ban lasts three days (Binance). */
const AT_MOST = '7 days'
/** An ended ban is kept for as long, so that it can be found after an incident. */
const KEPT = '1 day'
/** More rows are not read: there is one per host. */
const MAX_BANS = 100

/** An exchange answers no call to one of its hosts. */
export interface Ban {
  exchange: string
  /** The id of the host, without any key. */
  host: string
  endsInMs: Millis
  /** The exchange's own code or the HTTP status; null when there is none. */
  exchangeCode: string | null
}

/** The bans that have not ended, by the clock of the database; each ends in seven days at most. */
export async function currentBans(sql: Sql): Promise<Ban[]> {
  const rows = await sql<{ exchange: string; host: string; exchange_code: string | null; ends_in_ms: number }[]>`
    select exchange, host, exchange_code,
      (extract(epoch from least(until_at - now(), ${AT_MOST}::interval)) * 1000)::float8 as ends_in_ms
    from exchange_bans where until_at > now() order by exchange, host limit ${MAX_BANS}`
  return rows.map(({ exchange, host, exchange_code, ends_in_ms }) => ({
    exchange,
    host,
    exchangeCode: exchange_code,
    endsInMs: ends_in_ms
  }))
}

/**
 * Stores a ban and notifies the other replicas. Of several bans of a host the one that ends last is kept. Idempotent.
 * @param channel of the notification
 */
export async function storeBan(sql: Sql, ban: Ban, reportedBy: string, channel: string): Promise<void> {
  const { exchange, host, endsInMs, exchangeCode } = ban
  await sql`
    with stored as (
      insert into exchange_bans (exchange, host, until_at, exchange_code, reported_by)
      values (${exchange}, ${host}, now() + least(${endsInMs}::float8 * interval '1 ms', ${AT_MOST}::interval),
        ${exchangeCode}, ${reportedBy})
      on conflict (exchange, host) do update
      set until_at = excluded.until_at, exchange_code = excluded.exchange_code, reported_by = excluded.reported_by,
        reported_at = now()
      where excluded.until_at > exchange_bans.until_at
      returning exchange
    )
    select pg_notify(${channel}, '') from stored`
}

/** Deletes up to `limit` bans that ended more than a day ago. Idempotent. @returns the number of deleted rows */
export async function sweepBans(tx: TransactionSql, limit: number): Promise<number> {
  const { count } = await tx`
    delete from exchange_bans where (exchange, host) in (
      select exchange, host from exchange_bans where until_at < now() - ${KEPT}::interval
      order by exchange, host limit ${limit} for update skip locked
    )`
  return count
}
