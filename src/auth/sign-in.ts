import { ServiceError } from '../errors.ts'
import type { AuditLog } from './audit-log.ts'
import type { Passwords } from './passwords.ts'
import type { Attempt, SignInLimits } from './sign-in-limits.ts'
import type { User, Users } from './users.ts'

/** Where an attempt comes from, for limits and audit. */
export interface Origin {
  address: string
  requestId: string
}

export interface SignInParts {
  users: Users
  passwords: Passwords
  limits: SignInLimits
  audit: AuditLog
}

/** Decides on credentials: who signs in, who changes a password, who has to wait. */
export class SignIn {
  readonly #parts: SignInParts

  constructor(parts: SignInParts) {
    this.#parts = parts
  }

  /**
   * The user whose credentials these are. Unknown name, wrong password and disabled user cost the same time and give
   * the same answer.
   * @throws {ServiceError} INVALID_CREDENTIALS, TOO_MANY_ATTEMPTS (with Retry-After), OVERLOADED
   */
  async authenticate(username: string, password: string, origin: Origin): Promise<User> {
    const user = await this.#parts.users.find(username)
    const attempt: Attempt = { kind: 'sign-in', name: username, address: origin.address }
    await this.#attempt(attempt, user, password, { action: 'sign_in', origin })
    if (!user) throw new ServiceError('INVALID_CREDENTIALS')
    await this.#parts.users.signedIn(user.userId)
    return user
  }

  /**
   * Changes a password after the current one was shown; every session of the user but `keep` ends.
   * @throws {ServiceError} INVALID_CREDENTIALS, PASSWORD_UNCHANGED, TOO_MANY_ATTEMPTS (with Retry-After), OVERLOADED
   */
  async changePassword(
    username: string,
    { current, next, keep }: { current: string; next: string; keep: Buffer },
    origin: Origin
  ): Promise<void> {
    const user = await this.#parts.users.find(username)
    const attempt: Attempt = { kind: 'password', name: username, address: origin.address }
    await this.#attempt(attempt, user, current, { action: 'change_password', origin })
    if (current === next) throw new ServiceError('PASSWORD_UNCHANGED')
    await this.#parts.users.setPassword(username, await this.#parts.passwords.hash(next), keep)
  }

  async #attempt(
    attempt: Attempt,
    user: User | undefined,
    password: string,
    { action, origin }: { action: string; origin: Origin }
  ): Promise<void> {
    const { passwords, limits, audit } = this.#parts
    // A name that nobody has is not written down: it may be a password typed into the wrong field.
    const entry = { actor: user?.username ?? null, action, ...origin }
    const slots = limits.slots(attempt)
    const seconds = await limits.waitSeconds(slots)
    if (seconds > 0) {
      await audit.recordThrottled(slots.address, entry)
      throw new ServiceError('TOO_MANY_ATTEMPTS', { headers: { 'retry-after': String(seconds) } })
    }
    const matches = await passwords.verify(password, user?.passwordHash)
    if (!matches || !user?.isActive) {
      await limits.failed(slots)
      await audit.record({ ...entry, outcome: 'refused' })
      throw new ServiceError('INVALID_CREDENTIALS')
    }
    await limits.succeeded(slots)
    await audit.record({ ...entry, outcome: 'succeeded' })
  }
}
