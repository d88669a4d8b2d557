import { createHash } from 'node:crypto'
import type { TransactionSql } from '../database/client.ts'
import type { Database } from '../database/database.ts'
import type { User } from './users.ts'

/** The user of a session, as currently in the database. */
export interface SessionUser {
  userId: string
  username: string
  isAdmin: boolean
  mustChangePassword: boolean
}

/** The session as @fastify/session sees it. The times of the session are in the database. */
export interface StoredSession {
  user?: SessionUser
  expiresAt?: string
}

/** When a session ends. */
export interface SessionLifetime {
  idleMinutes: number
  maxHours: number
}

type Callback = (err: unknown, session?: StoredSession | null) => void

/** The hash of a session's id. Only hashes are stored: a reader of the table cannot use a session. */
export function sessionHash(sessionId: string): Buffer {
  return createHash('sha256').update(sessionId).digest()
}

/**
 * Sessions in Postgres, for @fastify/session. Each read includes the user, so that a change of the role or a disabled
 * account applies to the next request on every replica. A session ends by idle time and by age, in database time.
 */
export class SessionStore {
  readonly #database: Database
  readonly #lifetime: SessionLifetime

  constructor(database: Database, lifetime: SessionLifetime) {
    this.#database = database
    this.#lifetime = lifetime
  }

  /** Reads a session that has not ended, and records its use. */
  get(sessionId: string, callback: Callback): void {
    settle(this.#read(sessionHash(sessionId)), callback)
  }

  /** Returns the first of several ids whose session has not ended. */
  async firstOpen(sessionIds: readonly string[]): Promise<string | undefined> {
    const hashes = sessionIds.map(sessionHash)
    const rows = await this.#database.run(
      sql => sql<{ hash: Buffer }[]>`
        select session_hash as hash from sessions join users using (user_id)
        where session_hash in ${sql(hashes)} and is_active and expires_at > now()
          and last_seen_at > now() - ${`${this.#lifetime.idleMinutes} minutes`}::interval`
    )
    return sessionIds.find((_id, index) => rows.some(({ hash }) => hashes[index]?.equals(hash)))
  }

  /** Does nothing: `open` writes a session, and nothing else of it changes. */
  set(_sessionId: string, _session: StoredSession, callback: Callback): void {
    callback(null)
  }

  /**
   * Opens a session for a user whose password was verified, unless the password was changed or the user disabled since
   * then. A concurrent change either ends this session or is seen here.
   * @returns whether the session was opened
   */
  async open(sessionId: string, user: Pick<User, 'userId' | 'passwordHash'>, tx: TransactionSql): Promise<boolean> {
    const opened = await tx`
      with signed_in as (
        update users set last_sign_in_at = now()
        where user_id = ${user.userId} and is_active and password_hash = ${user.passwordHash} returning user_id
      )
      insert into sessions (session_hash, user_id, expires_at)
      select ${sessionHash(sessionId)}, user_id, now() + ${`${this.#lifetime.maxHours} hours`}::interval
      from signed_in returning user_id`
    return opened.length > 0
  }

  /** Ends a session. Idempotent. */
  destroy(sessionId: string, callback: Callback): void {
    const hash = sessionHash(sessionId)
    settle(
      this.#database.run(sql => sql`delete from sessions where session_hash = ${hash}`).then(() => null),
      callback
    )
  }

  async #read(hash: Buffer): Promise<StoredSession | null> {
    const idle = `${this.#lifetime.idleMinutes} minutes`
    const [row] = await this.#database.run(
      sql => sql<(SessionUser & { expiresAt: Date })[]>`
        with seen as (
          update sessions set last_seen_at = now()
          where session_hash = ${hash} and expires_at > now()
            and last_seen_at > now() - ${idle}::interval and last_seen_at < now() - least(interval '1 minute', ${idle}::interval / 4)
        )
        select user_id as "userId", username, is_admin as "isAdmin", must_change_password as "mustChangePassword",
          least(expires_at, now() + ${idle}::interval) as "expiresAt"
        from sessions join users using (user_id)
        where session_hash = ${hash} and is_active and expires_at > now() and last_seen_at > now() - ${idle}::interval`
    )
    if (!row) return null
    const { expiresAt, ...user } = row
    return { user, expiresAt: expiresAt.toISOString() }
  }
}

function settle(work: Promise<StoredSession | null>, callback: Callback): void {
  work.then(
    session => callback(null, session),
    err => callback(err)
  )
}
