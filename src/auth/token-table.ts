import type { TransactionSql } from '../database/client.ts'
import type { Database } from '../database/database.ts'
import type { SessionUser } from './session-store.ts'
import { newToken, tokenHash } from './token.ts'
import { ROLES, type Role } from './users.ts'

/** Letters, digits and `._-`, so that a name is the same in a shell, a log and the audit log. At most 64 characters. */
export const TOKEN_NAME_PATTERN = '^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$'
/** Longest life of a token, in days. */
export const MAX_TOKEN_DAYS = 366
/** How long a token that has ended remains in the table and its name is taken, in days. */
const KEPT_DAYS = 90

/** Deadline of reading a token, in milliseconds: what follows has to answer in time, too. */
const READ_DEADLINE_MS = 2_500

/** A token to be created. */
export interface NewToken {
  name: string
  role: Role
  /** The name of the user for whom it acts. Required with the role `user`. */
  username: string | undefined
  /** Addresses and networks, separated by commas; undefined for every client. */
  networks: string | undefined
  /** 1 to 366. */
  days: number
}

/** Why a token was not created. */
export type NotCreated = 'name_taken' | 'no_user' | 'role_above_user'

/** A token as an operator sees it. */
export interface ListedToken {
  name: string
  role: Role
  username: string | null
  networks: string | null
  createdAt: Date
  expiresAt: Date
  lastUsedAt: Date | null
  revokedAt: Date | null
}

/** A token that is valid now, in database time. */
export interface ValidToken {
  name: string
  /** That of the token, or of its user where that is less. */
  role: Role
  user: SessionUser | null
  networks: string | null
  expiresAt: Date
  /** Whether `last_used_at` is to be written: it is older than a minute. */
  isStale: boolean
}

type Also = (tx: TransactionSql) => Promise<void>

/** The lesser of two roles. */
function lesser(one: Role, other: Role): Role {
  return ROLES.indexOf(one) > ROLES.indexOf(other) ? one : other
}

/**
 * Creates a token. Not idempotent: a name is taken until 90 days after the end of its token, so that a name in the audit
 * log is one token.
 * @param also a further change in the same transaction
 * @returns the token, which is stored nowhere, or why it was not created
 * @throws {DatabaseUnavailableError}
 */
export async function createToken(
  database: Database,
  { name, role, username, networks, days }: NewToken,
  also: Also
): Promise<{ token: string } | NotCreated> {
  const token = newToken()
  return database.transaction(async tx => {
    const [user] =
      username === undefined
        ? []
        : await tx<{ userId: string; role: Role }[]>`
            select user_id as "userId", role from users
            where lower(username) = lower(${username}) and is_active for no key update`
    if (username !== undefined && !user) return 'no_user'
    if (user && lesser(role, user.role) !== role) return 'role_above_user'
    const created = await tx`
      insert into api_tokens (token_hash, name, role, user_id, networks, expires_at)
      values (${tokenHash(token)}, ${name}, ${role}, ${user?.userId ?? null}, ${networks ?? null},
        now() + make_interval(days => ${days}::int))
      on conflict (lower(name)) do nothing returning name`
    if (created.length === 0) return 'name_taken'
    await also(tx)
    return { token }
  })
}

/** All tokens by name, ended ones too. @throws {DatabaseUnavailableError} */
export async function listTokens(database: Database): Promise<ListedToken[]> {
  return database.run(
    sql => sql<ListedToken[]>`
      select name, t.role, username, networks, t.created_at as "createdAt", expires_at as "expiresAt",
        last_used_at as "lastUsedAt", revoked_at as "revokedAt"
      from api_tokens t left join users using (user_id) order by lower(name)`
  )
}

/**
 * Revokes a token: it is rejected from the next request on, on every replica. Idempotent; the first time of revocation
 * remains.
 * @param also a further change in the same transaction
 * @returns whether there is such a token
 * @throws {DatabaseUnavailableError}
 */
export async function revokeToken(database: Database, name: string, also: Also): Promise<boolean> {
  return database.transaction(async tx => {
    const { count } = await tx`
      update api_tokens set revoked_at = coalesce(revoked_at, now()) where lower(name) = lower(${name})`
    if (count > 0) await also(tx)
    return count > 0
  })
}

/**
 * The token with a hash, unless it has ended or its user is disabled. Nothing is written.
 * @throws {DatabaseUnavailableError}
 */
export async function readToken(database: Database, hash: Buffer): Promise<ValidToken | undefined> {
  const [row] = await database.run(
    sql => sql<(Omit<ValidToken, 'user'> & { [Key in keyof SessionUser as `user_${Key}`]: SessionUser[Key] | null })[]>`
      select name, t.role, networks, expires_at as "expiresAt",
        coalesce(last_used_at < now() - interval '1 minute', true) as "isStale", user_id as "user_userId",
        username as "user_username", u.role as "user_role", must_change_password as "user_mustChangePassword"
      from api_tokens t left join users u using (user_id)
      where token_hash = ${hash} and expires_at > now() and revoked_at is null and (user_id is null or is_active)`,
    { deadlineMs: READ_DEADLINE_MS }
  )
  if (!row) return undefined
  const { user_userId: userId, user_username: username, user_role, user_mustChangePassword, ...token } = row
  if (userId === null || username === null || user_role === null) return { ...token, user: null }
  const user = { userId, username, role: user_role, mustChangePassword: user_mustChangePassword === true }
  return { ...token, role: lesser(token.role, user_role), user }
}

/** Records the use of a token, at most once a minute on all replicas together. @throws {DatabaseUnavailableError} */
export async function recordUse(database: Database, hash: Buffer): Promise<void> {
  await database.run(
    sql => sql`
      update api_tokens set last_used_at = now()
      where token_hash = ${hash} and coalesce(last_used_at < now() - interval '1 minute', true)`,
    { deadlineMs: READ_DEADLINE_MS }
  )
}

/** Removes up to `limit` tokens that ended 90 days ago. Idempotent. @returns how many were removed */
export async function sweepTokens(tx: TransactionSql, limit: number): Promise<number> {
  const { count } = await tx`
    delete from api_tokens where token_hash in (
      select token_hash from api_tokens
      where least(expires_at, revoked_at) < now() - make_interval(days => ${KEPT_DAYS}::int)
      limit ${limit} for update skip locked
    )`
  return count
}
