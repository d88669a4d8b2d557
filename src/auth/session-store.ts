import { createHash } from 'node:crypto'
import type { Database } from '../database/database.ts'

/** Who a session belongs to, as the database says now. */
export interface SessionUser {
  userId: string
  username: string
  isAdmin: boolean
  mustChangePassword: boolean
}

/** What @fastify/session keeps of a session; the rest of it lives in the database. */
export interface StoredSession {
  user?: SessionUser
  expiresAt?: string
}

export interface SessionLifetime {
  idleMinutes: number
  maxHours: number
}

type Callback = (err: unknown, session?: StoredSession | null) => void

/** Only the hash of a session's id is stored: who reads the table cannot use what stands there. */
export function sessionHash(sessionId: string): Buffer {
  return createHash('sha256').update(sessionId).digest()
}

/**
 * Sessions in Postgres, for @fastify/session. Reading one also reads its user, so that a role or account that is taken
 * away counts from the next request on, on every replica. A session ends by idleness and by age, in database time.
 */
export class SessionStore {
  readonly #database: Database
  readonly #lifetime: SessionLifetime

  constructor(database: Database, lifetime: SessionLifetime) {
    this.#database = database
    this.#lifetime = lifetime
  }

  get(sessionId: string, callback: Callback): void {
    settle(this.#read(sessionHash(sessionId)), callback)
  }

  /** A session without a user is nothing to keep. */
  set(sessionId: string, { user }: StoredSession, callback: Callback): void {
    settle(user ? this.#write(sessionHash(sessionId), user.userId) : Promise.resolve(null), callback)
  }

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
            and last_seen_at > now() - ${idle}::interval and last_seen_at < now() - interval '1 minute'
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

  async #write(hash: Buffer, userId: string): Promise<null> {
    await this.#database.run(
      sql => sql`
        insert into sessions (session_hash, user_id, expires_at)
        values (${hash}, ${userId}, now() + ${`${this.#lifetime.maxHours} hours`}::interval)
        on conflict (session_hash) do nothing`
    )
    return null
  }
}

function settle(work: Promise<StoredSession | null>, callback: Callback): void {
  work.then(
    session => callback(null, session),
    err => callback(err)
  )
}
