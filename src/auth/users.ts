import type { TransactionSql } from '../database/client.ts'
import type { Database } from '../database/database.ts'

/** Letters, digits and `._@-`, so that a name is the same in a shell, a log and a page. At most 64 characters. */
export const USERNAME_PATTERN = '^[A-Za-z0-9][A-Za-z0-9._@-]{0,63}$'

/**
 * What a caller may do, from all to the least: `admin` everything; `viewer` reads everything of the system and of trading, and
 * changes nothing; `user` reads their own trading.
 */
export const ROLES = ['admin', 'viewer', 'user'] as const
export type Role = (typeof ROLES)[number]

/** Why a user was not changed: there is none of this name, or no other admin is left who is not disabled. */
export type NotChanged = 'no_user' | 'last_admin'

/** A user with the hash of the password. */
export interface User {
  userId: string
  username: string
  passwordHash: string
  role: Role
  isActive: boolean
  mustChangePassword: boolean
}

const usernamePattern = new RegExp(USERNAME_PATTERN)

/** A further change in the same transaction: typically the row in the audit log. */
type Also = (tx: TransactionSql) => Promise<void>

/** The table of users. Names are compared without case. Every method throws DatabaseUnavailableError. */
export class Users {
  readonly #database: Database
  #passwordSet: (username: string) => Promise<void> = async () => undefined

  constructor(database: Database) {
    this.#database = database
  }

  /** Sets what is called after each password that was set, with the name that was given. It must not reject. */
  onPasswordSet(listener: (username: string) => Promise<void>): void {
    this.#passwordSet = listener
  }

  /**
   * The user with a name. A name that does not match the pattern has no user: the database would map letters like İ to
   * ASCII ones.
   */
  async find(username: string): Promise<User | undefined> {
    if (!usernamePattern.test(username)) return undefined
    const [user] = await this.#database.run(
      sql => sql<User[]>`
        select user_id as "userId", username, password_hash as "passwordHash", role,
          is_active as "isActive", must_change_password as "mustChangePassword"
        from users where lower(username) = lower(${username})`
    )
    return user
  }

  /** Creates a user. @returns false when the name is taken */
  async create(user: { username: string; passwordHash: string; role: Role }, also: Also = nothing): Promise<boolean> {
    return this.#database.transaction(async tx => {
      const created = await tx`
        insert into users (username, password_hash, role)
        values (${user.username}, ${user.passwordHash}, ${user.role}) on conflict do nothing returning user_id`
      if (created.length > 0) await also(tx)
      return created.length > 0
    })
  }

  /**
   * Creates the first admin, who must change the password; only while there is no user.
   * @param also runs before the commit when the user was created; when it rejects, there is no user
   * @returns whether it did
   */
  async createFirst(username: string, passwordHash: string, also: Also = nothing): Promise<boolean> {
    return this.#database.transaction(async tx => {
      await tx`lock table users in share row exclusive mode`
      const created = await tx`
        insert into users (username, password_hash, role, must_change_password)
        select ${username}, ${passwordHash}, 'admin', true where not exists (select from users) returning user_id`
      if (created.length > 0) await also(tx)
      return created.length > 0
    })
  }

  /** Whether there is any user. */
  async exist(): Promise<boolean> {
    const found = await this.#database.run(sql => sql`select from users limit 1`)
    return found.length > 0
  }

  /** All users by name. */
  async list(): Promise<{ username: string; role: Role; isActive: boolean; lastSignInAt: Date | null }[]> {
    return this.#database.run(
      sql => sql<{ username: string; role: Role; isActive: boolean; lastSignInAt: Date | null }[]>`
        select username, role, is_active as "isActive", last_sign_in_at as "lastSignInAt"
        from users order by lower(username)`
    )
  }

  /**
   * Disables a user and ends all their sessions. Idempotent.
   * @returns why not; undefined when the user is disabled
   */
  async disable(username: string, also: Also = nothing): Promise<NotChanged | undefined> {
    return this.#database.transaction(async tx => {
      const user = await lockWithAdmins(tx, username)
      if (typeof user === 'string') return user
      if (user.isLastAdmin) return 'last_admin'
      await tx`update users set is_active = false where user_id = ${user.userId}`
      await tx`delete from sessions where user_id = ${user.userId}`
      await also(tx)
      return undefined
    })
  }

  /** Enables a user who was disabled, with the password and role from before. Idempotent. @returns whether there is such a user */
  async enable(username: string, also: Also = nothing): Promise<boolean> {
    return this.#database.transaction(async tx => {
      const { count } = await tx`update users set is_active = true where lower(username) = lower(${username})`
      if (count > 0) await also(tx)
      return count > 0
    })
  }

  /**
   * Sets the role of a user, from the next request of each session on. Idempotent.
   * @returns why not; undefined when the user has the role
   */
  async setRole(username: string, role: Role, also: Also = nothing): Promise<NotChanged | undefined> {
    return this.#database.transaction(async tx => {
      const user = await lockWithAdmins(tx, username)
      if (typeof user === 'string') return user
      if (user.isLastAdmin && role !== 'admin') return 'last_admin'
      await tx`update users set role = ${role} where user_id = ${user.userId}`
      await also(tx)
      return undefined
    })
  }

  /** Sets the chat of a user's daily summaries; null for none. Idempotent. @returns whether there is such a user */
  async setTelegramChat(username: string, chatId: string | null, also: Also = nothing): Promise<boolean> {
    return this.#database.transaction(async tx => {
      const { count } = await tx`
        update users set telegram_chat_id = ${chatId} where lower(username) = lower(${username})`
      if (count > 0) await also(tx)
      return count > 0
    })
  }

  /**
   * Sets a password, after which none has to be changed, and ends the sessions of the user.
   * @param keep the hash of a session that does not end
   * @param currentHash the current hash: with another one, or a disabled user, nothing is changed
   * @returns whether the password was set
   */
  async setPassword(
    username: string,
    passwordHash: string,
    { keep, currentHash }: { keep?: Buffer; currentHash?: string } = {},
    also: Also = nothing
  ): Promise<boolean> {
    const isSet = await this.#database.transaction(async tx => {
      const [user] = await tx<{ user_id: string }[]>`
        update users set password_hash = ${passwordHash}, must_change_password = false
        where lower(username) = lower(${username})
          ${currentHash === undefined ? tx`` : tx`and is_active and password_hash = ${currentHash}`}
        returning user_id`
      if (!user) return false
      await tx`delete from sessions where user_id = ${user.user_id} and session_hash is distinct from ${keep ?? null}`
      await also(tx)
      return true
    })
    if (isSet) await this.#passwordSet(username)
    return isSet
  }
}

/**
 * Locks a user with all admins who are not disabled, in the order of their keys: of two concurrent changes that would leave
 * no admin, the second sees the first.
 */
async function lockWithAdmins(
  tx: TransactionSql,
  username: string
): Promise<'no_user' | { userId: string; isLastAdmin: boolean }> {
  const rows = await tx<{ userId: string; isOwn: boolean; isActiveAdmin: boolean }[]>`
    select user_id as "userId", lower(username) = lower(${username}) as "isOwn", is_admin and is_active as "isActiveAdmin"
    from users where lower(username) = lower(${username}) or (is_admin and is_active)
    order by user_id for no key update`
  const own = rows.find(({ isOwn }) => isOwn)
  if (!own) return 'no_user'
  return { userId: own.userId, isLastAdmin: own.isActiveAdmin && rows.length === 1 }
}

async function nothing(): Promise<void> {}
