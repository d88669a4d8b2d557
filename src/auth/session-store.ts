import { createHash } from 'node:crypto'
import { LRUCache } from 'lru-cache'
import { MINUTE, SECOND } from '../async/durations.ts'
import type { TransactionSql } from '../database/client.ts'
import type { Database } from '../database/database.ts'
import { DatabaseUnavailableError } from '../database/failure.ts'
import type { Role, User } from './users.ts'

/** The user of a session, as currently in the database. */
export interface SessionUser {
  userId: string
  username: string
  role: Role
  mustChangePassword: boolean
}

/** The session as @fastify/session sees it. The times of the session are in the database. */
export interface StoredSession {
  user?: SessionUser
  expiresAt?: string
  /** Why the session could not be read; then it is as this replica last read it, at most five minutes ago. */
  unverified?: DatabaseUnavailableError
}

/** How long a session that was read is known while the database cannot be used, in milliseconds, and how many are. */
const KNOWN_MS = 5 * MINUTE
const MAX_KNOWN = 1_000
/** Deadline of reading a session, in milliseconds: what follows has to answer in time, too. */
const READ_DEADLINE_MS = 2.5 * SECOND

/** Sessions that a user may have open. */
const MAX_PER_USER = 20

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
  readonly #known: LRUCache<string, StoredSession>

  /** @param knownMs how long a session is known after it was read, in milliseconds. Default 5 minutes */
  constructor(database: Database, lifetime: SessionLifetime, knownMs = KNOWN_MS) {
    this.#database = database
    this.#lifetime = lifetime
    this.#known = new LRUCache({ max: MAX_KNOWN, ttl: knownMs })
  }

  /**
   * Reads a session that has not ended, and records its use. While the database cannot be used, it is the session as this
   * replica last read it, with the reason in `unverified`: only routes that answer without the database may use it.
   */
  get(sessionId: string, callback: Callback): void {
    settle(this.#readOrKnown(sessionHash(sessionId)), callback)
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

  /** Writes nothing: `open` writes a session, and nothing else of it changes. The session is known from now on. */
  set(sessionId: string, { user, unverified }: StoredSession, callback: Callback): void {
    if (user && !unverified) {
      const expiresAt = new Date(Date.now() + this.#lifetime.idleMinutes * MINUTE).toISOString()
      this.#known.set(sessionHash(sessionId).toString('hex'), { user, expiresAt })
    }
    callback(null)
  }

  /**
   * Opens a session for a user whose password was verified, unless the password was changed or the user disabled since
   * then. A concurrent change either ends this session or is seen here. Of more than 20 sessions of a user, the oldest
   * ends, also when they are opened concurrently: the row of the user is locked before they are counted.
   * @param address of the client, which `user:sessions` shows
   * @returns whether the session was opened
   */
  async open(
    sessionId: string,
    { user, address }: { user: Pick<User, 'userId' | 'passwordHash'>; address: string },
    tx: TransactionSql
  ): Promise<boolean> {
    const hash = sessionHash(sessionId)
    const [opened] = await Promise.all([
      tx`
        with signed_in as (
          update users set last_sign_in_at = now()
          where user_id = ${user.userId} and is_active and password_hash = ${user.passwordHash} returning user_id
        )
        insert into sessions (session_hash, user_id, expires_at, data)
        select ${hash}, user_id, now() + ${`${this.#lifetime.maxHours} hours`}::interval,
          jsonb_build_object('address', ${address}::text)
        from signed_in returning user_id`,
      // A statement of its own sees the sessions that were committed while the one above waited for the row of the user.
      tx`
        delete from sessions where session_hash in (
          select session_hash from sessions where user_id = ${user.userId} and session_hash <> ${hash}
          order by expires_at > now() and last_seen_at > now() - ${`${this.#lifetime.idleMinutes} minutes`}::interval desc,
            created_at desc, session_hash
          offset ${MAX_PER_USER - 1}
        ) and exists (select from sessions where session_hash = ${hash})`
    ])
    return opened.length > 0
  }

  /** Ends a session. Idempotent. */
  destroy(sessionId: string, callback: Callback): void {
    const hash = sessionHash(sessionId)
    this.#known.delete(hash.toString('hex'))
    settle(
      this.#database.run(sql => sql`delete from sessions where session_hash = ${hash}`).then(() => null),
      callback
    )
  }

  async #readOrKnown(hash: Buffer): Promise<StoredSession | null> {
    const key = hash.toString('hex')
    try {
      const session = await this.#read(hash)
      if (session) this.#known.set(key, session)
      else this.#known.delete(key)
      return session
    } catch (err) {
      const known = this.#known.get(key)
      if (!known || !(err instanceof DatabaseUnavailableError)) throw err
      if (Date.parse(known.expiresAt ?? '') <= Date.now()) throw err
      return { ...known, unverified: err }
    }
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
        select user_id as "userId", username, role, must_change_password as "mustChangePassword",
          least(expires_at, now() + ${idle}::interval) as "expiresAt"
        from sessions join users using (user_id)
        where session_hash = ${hash} and is_active and expires_at > now() and last_seen_at > now() - ${idle}::interval`,
      { deadlineMs: READ_DEADLINE_MS }
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
