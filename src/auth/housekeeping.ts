import type { Database } from '../database/database.ts'

/** Rows that one run removes of each table at most: the next run goes on. */
const BATCH = 5_000
const AUDIT_LIFE = '400 days'

/**
 * Removes sessions that ended, limits that are forgotten and audit rows that are too old, a bounded number of each.
 * Idempotent.
 * @param idleMinutes after which a session has ended
 * @returns how many rows went, by table
 */
export async function removeExpired(database: Database, idleMinutes: number): Promise<Record<string, number>> {
  const idle = `${idleMinutes} minutes`
  const counted = async (rows: Promise<{ count: number }>) => (await rows).count
  return {
    sessions: await counted(
      database.run(
        sql => sql`delete from sessions where session_hash in (
          select session_hash from sessions
          where expires_at < now() or last_seen_at < now() - ${idle}::interval limit ${BATCH})`
      )
    ),
    sign_in_limits: await counted(
      database.run(
        sql => sql`delete from sign_in_limits where slot in (
          select slot from sign_in_limits where updated_at < now() - interval '1 day' limit ${BATCH})`
      )
    ),
    audit_log: await counted(
      database.run(
        sql => sql`delete from audit_log where audit_id in (
          select audit_id from audit_log where at < now() - ${AUDIT_LIFE}::interval order by at limit ${BATCH})`
      )
    )
  }
}
