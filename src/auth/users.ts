import type { Database } from '../database/database.ts'

/** Letters, digits and a few signs, so that a name reads the same in a shell, a log and a page. */
export const USERNAME_PATTERN = '^[A-Za-z0-9][A-Za-z0-9._@-]{0,63}$'

export interface User {
  userId: string
  username: string
  passwordHash: string
  isAdmin: boolean
  isActive: boolean
  mustChangePassword: boolean
}

/** The users' table. Names are told apart without regard to case. */
export class Users {
  readonly #database: Database

  constructor(database: Database) {
    this.#database = database
  }

  async find(username: string): Promise<User | undefined> {
    const [user] = await this.#database.run(
      sql => sql<User[]>`
        select user_id as "userId", username, password_hash as "passwordHash", is_admin as "isAdmin",
          is_active as "isActive", must_change_password as "mustChangePassword"
        from users where lower(username) = lower(${username})`
    )
    return user
  }

  /** @returns false when the name is taken */
  async create(user: { username: string; passwordHash: string; isAdmin: boolean }): Promise<boolean> {
    const created = await this.#database.run(
      sql => sql`
        insert into users (username, password_hash, is_admin)
        values (${user.username}, ${user.passwordHash}, ${user.isAdmin}) on conflict do nothing returning user_id`
    )
    return created.length > 0
  }

  /** Creates the first admin, who must change the password; only while there is no user. @returns whether it did */
  async createFirst(username: string, passwordHash: string): Promise<boolean> {
    const created = await this.#database.transaction(async tx => {
      await tx`lock table users in share row exclusive mode`
      return tx`
        insert into users (username, password_hash, is_admin, must_change_password)
        select ${username}, ${passwordHash}, true, true where not exists (select from users) returning user_id`
    })
    return created.length > 0
  }

  /** @returns whether there is anybody */
  async exist(): Promise<boolean> {
    const found = await this.#database.run(sql => sql`select from users limit 1`)
    return found.length > 0
  }

  async list(): Promise<{ username: string; isAdmin: boolean; isActive: boolean; lastSignInAt: Date | null }[]> {
    return this.#database.run(
      sql => sql<{ username: string; isAdmin: boolean; isActive: boolean; lastSignInAt: Date | null }[]>`
        select username, is_admin as "isAdmin", is_active as "isActive", last_sign_in_at as "lastSignInAt"
        from users order by lower(username)`
    )
  }

  /** Bars a user and ends all sessions of theirs, everywhere. @returns whether there is such a user */
  async disable(username: string): Promise<boolean> {
    return this.#database.transaction(async tx => {
      const [user] = await tx<{ user_id: string }[]>`
        update users set is_active = false where lower(username) = lower(${username}) returning user_id`
      if (user) await tx`delete from sessions where user_id = ${user.user_id}`
      return user !== undefined
    })
  }

  /**
   * Sets a password, which is then no longer due to be changed, and ends the sessions of that user.
   * @param keep hash of the one session that stays
   * @returns whether there is such a user
   */
  async setPassword(username: string, passwordHash: string, keep?: Buffer): Promise<boolean> {
    return this.#database.transaction(async tx => {
      const [user] = await tx<{ user_id: string }[]>`
        update users set password_hash = ${passwordHash}, must_change_password = false
        where lower(username) = lower(${username}) returning user_id`
      if (user) {
        await tx`delete from sessions where user_id = ${user.user_id} and session_hash is distinct from ${keep ?? null}`
      }
      return user !== undefined
    })
  }

  async signedIn(userId: string): Promise<void> {
    await this.#database.run(sql => sql`update users set last_sign_in_at = now() where user_id = ${userId}`)
  }
}
