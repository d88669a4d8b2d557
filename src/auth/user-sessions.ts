import type { TransactionSql } from '../database/client.ts'
import type { Database } from '../database/database.ts'

/** Hexadecimal digits of the hash of a session that name it among the sessions of its user. */
export const SESSION_NUMBER = /^[0-9a-f]{12}$/

/** A session that has not ended. */
export interface OpenSession {
  /** The first 12 hexadecimal digits of the hash of its id. It is of no use to sign in. */
  number: string
  openedAt: Date
  lastSeenAt: Date
  /** When it ends at the latest. */
  expiresAt: Date
  /** The address of the sign-in; null for a session of a version before 0.2.0. */
  address: string | null
}

/**
 * The open sessions of a user, the newest first.
 * @param idleMinutes after how many minutes without a request a session has ended
 * @returns undefined when there is no such user
 * @throws {DatabaseUnavailableError}
 */
export async function openSessions(
  database: Database,
  username: string,
  idleMinutes: number
): Promise<OpenSession[] | undefined> {
  const rows = await database.run(
    sql => sql<(OpenSession | { number: null })[]>`
      select left(encode(session_hash, 'hex'), 12) as number, sessions.created_at as "openedAt",
        last_seen_at as "lastSeenAt", expires_at as "expiresAt", data->>'address' as address
      from users left join sessions on sessions.user_id = users.user_id
        and expires_at > now() and last_seen_at > now() - make_interval(mins => ${idleMinutes}::int)
      where lower(username) = lower(${username}) order by sessions.created_at desc`
  )
  return rows.length === 0 ? undefined : rows.flatMap(row => (row.number === null ? [] : [row]))
}

/**
 * Ends one session of a user, or all. Idempotent.
 * @param number of the session; undefined for all sessions of the user
 * @param also a further change in the same transaction
 * @returns how many were ended; undefined when there is no such user
 * @throws {DatabaseUnavailableError}
 */
export async function endSessions(
  database: Database,
  { username, number }: { username: string; number?: string | undefined },
  also: (tx: TransactionSql) => Promise<void>
): Promise<number | undefined> {
  return database.transaction(async tx => {
    const [user] = await tx<{ user_id: string }[]>`
      select user_id from users where lower(username) = lower(${username}) for no key update`
    if (!user) return undefined
    const { count } = await tx`
      delete from sessions where user_id = ${user.user_id}
        ${number === undefined ? tx`` : tx`and left(encode(session_hash, 'hex'), 12) = ${number}`}`
    await also(tx)
    return count
  })
}
