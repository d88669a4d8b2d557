// @FEAT:health-monitoring @COMP:service @TYPE:core
import type { Database } from '../database/database.ts'

/**
 * How a request ended:
 * - `ok`: the receiver accepted it
 * - `rejected`: another status: a wrong address, a redirect
 * - `unreachable`: no answer, a server error, or too many requests
 */
export type HeartbeatOutcome = 'ok' | 'rejected' | 'unreachable'

/** The last request of the cluster that ended. */
export interface LastHeartbeat {
  sentAt: Date
  outcome: HeartbeatOutcome
}

interface LastRow {
  sent_at: Date | null
  outcome: HeartbeatOutcome | null
}

export interface MinuteClaim {
  /** Whether this replica sends the heartbeat of this minute. */
  claimed: boolean
  /** Until the next minute of the database's clock, in milliseconds. */
  nextMs: number
  last: LastHeartbeat | null
}

/**
 * Claims the current minute of the database's clock, unless a replica has it already.
 * @throws {DatabaseUnavailableError}
 */
export async function claimMinute(database: Database, instanceId: string): Promise<MinuteClaim> {
  const [row] = await database.run(
    sql => sql<(LastRow & { claimed: boolean; next_ms: number })[]>`
      with claimed as (
        update heartbeat set claimed_at = now(), claimed_by = ${instanceId}
        where is_only in (
          select is_only from heartbeat
          -- Not "earlier than": the clock may have been set back.
          where date_trunc('minute', claimed_at) is distinct from date_trunc('minute', now())
          for no key update skip locked
        )
        returning true
      )
      select exists (select from claimed) as claimed, sent_at, outcome,
        (extract(epoch from date_trunc('minute', now()) + interval '1 minute' - now()) * 1000)::float8 as next_ms
      from heartbeat`
  )
  if (!row) throw new Error('heartbeat has no row')
  return { claimed: row.claimed, nextMs: row.next_ms, last: lastOf(row) }
}

/** Reads the last heartbeat of the cluster, and claims no minute; null before the first. @throws {DatabaseUnavailableError} */
export async function lastHeartbeat(database: Database): Promise<LastHeartbeat | null> {
  const [row] = await database.run(sql => sql<LastRow[]>`select sent_at, outcome from heartbeat`)
  return row ? lastOf(row) : null
}

function lastOf({ sent_at: sentAt, outcome }: LastRow): LastHeartbeat | null {
  return sentAt && outcome ? { sentAt, outcome } : null
}

/** Records the end of a request. @throws {DatabaseUnavailableError} */
export async function recordHeartbeat(
  database: Database,
  { reason, outcome }: { reason: string | null; outcome: HeartbeatOutcome }
): Promise<LastHeartbeat> {
  const [row] = await database.run(
    sql => sql<{ sent_at: Date }[]>`
      update heartbeat set sent_at = now(), reason = ${reason}, outcome = ${outcome} returning sent_at`
  )
  if (!row) throw new Error('heartbeat has no row')
  return { sentAt: row.sent_at, outcome }
}
