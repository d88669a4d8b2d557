import type { Database } from '../database/database.ts'
import { ServiceError } from '../errors.ts'
import type { AuditLog } from './audit-log.ts'
import type { Passwords } from './passwords.ts'
import { type SessionStore, sessionHash } from './session-store.ts'
import type { Admitted, Attempt, SignInLimits, Throttled } from './sign-in-limits.ts'
import type { SignInNetworks } from './sign-in-networks.ts'
import { ThrottledAttempts } from './throttled-attempts.ts'
import type { User, Users } from './users.ts'

/** The origin of an attempt, for the limits and the audit log. */
export interface Origin {
  address: string
  requestId: string
  /** Whether the address may be that of a proxy: the request has forwarded headers, which were ignored. Default false */
  hasIgnoredForwarding?: boolean
}

interface SignInParts {
  database: Database
  sessions: SessionStore
  users: Users
  passwords: Passwords
  limits: SignInLimits
  networks: SignInNetworks
  audit: AuditLog
  /** Called with the outcome of each attempt to sign in. */
  onSignIn?: (outcome: SignInOutcome) => void
  /** Called with each attempt that has to wait. */
  onThrottled?: (origin: Origin, throttled: Throttled) => void
}

/** A user whose password was verified. */
interface Verified {
  user: User
  /** Who this is, for the queue of passwords. */
  caller: number
}

/** The outcomes of a sign-in attempt. */
export const signInOutcomes = ['succeeded', 'refused', 'throttled', 'failed'] as const
/** `failed`: without a decision, because the service or its database failed. */
export type SignInOutcome = (typeof signInOutcomes)[number]

/** Verifies credentials to sign in and to change a password, within the limits, and records each attempt. */
export class SignIn {
  readonly #parts: SignInParts
  readonly #throttled: ThrottledAttempts

  constructor(parts: SignInParts) {
    this.#parts = parts
    this.#throttled = new ThrottledAttempts(parts.audit)
  }

  /**
   * Returns the user with these credentials. An unknown name, a wrong password and a disabled user take the same time and
   * have the same error.
   * @throws {ServiceError} INVALID_CREDENTIALS, TOO_MANY_ATTEMPTS (with Retry-After), OVERLOADED
   */
  async authenticate(username: string, password: string, origin: Origin): Promise<User> {
    const attempt: Attempt = { kind: 'sign-in', name: username, address: origin.address }
    const { user } = await this.#reportingFailure(() => this.#verify(attempt, password, 'sign_in', origin))
    return user
  }

  /**
   * Opens the session of an authenticated user, and records the sign-in and its network in the same transaction.
   * @throws {ServiceError} INVALID_CREDENTIALS when the password was changed or the user disabled since the authentication
   */
  async open(user: User, sessionId: string, origin: Origin): Promise<void> {
    const { database, sessions, networks, audit } = this.#parts
    const { address } = origin
    const entry = { actor: user.username, action: 'sign_in', ...origin }
    await this.#reportingFailure(async () => {
      const opened = await database.transaction(async tx => {
        const [opened] = await Promise.all([
          sessions.open(sessionId, { user, address }, tx),
          networks.remember(user.username, address, sessionHash(sessionId), tx)
        ])
        await audit.record({ ...entry, outcome: opened ? 'succeeded' : 'refused' }, tx)
        return opened
      })
      if (!opened) throw new ServiceError('INVALID_CREDENTIALS')
    })
    this.#parts.onSignIn?.('succeeded')
  }

  /**
   * Changes a password after the current one was verified; all sessions of the user except `keep` end.
   * @throws {ServiceError} INVALID_CREDENTIALS, PASSWORD_UNCHANGED, PASSWORD_TOO_COMMON, PASSWORD_CONTAINS_NAME,
   * TOO_MANY_ATTEMPTS (with Retry-After), OVERLOADED
   */
  async changePassword(
    username: string,
    { current, next, keep }: { current: string; next: string; keep: Buffer },
    origin: Origin
  ): Promise<void> {
    const { users, passwords, audit } = this.#parts
    const action = 'change_password'
    const attempt: Attempt = { kind: 'password', name: username, address: origin.address }
    const { user, caller } = await this.#verify(attempt, current, action, origin)
    const entry = { actor: user.username, action, ...origin }
    const objection = current === next ? 'PASSWORD_UNCHANGED' : await passwords.weakness(next, user.username, caller)
    if (objection) {
      await audit.record({ ...entry, outcome: 'refused' })
      throw new ServiceError(objection)
    }
    const passwordHash = await passwords.hash(next, caller)
    const changed = await users.setPassword(username, passwordHash, { keep, currentHash: user.passwordHash }, tx =>
      audit.record({ ...entry, outcome: 'succeeded' }, tx)
    )
    if (changed) return
    await audit.record({ ...entry, outcome: 'refused' })
    throw new ServiceError('INVALID_CREDENTIALS')
  }

  /** Runs a step of the sign-in, and reports the outcome when it fails. */
  async #reportingFailure<T>(step: () => Promise<T>): Promise<T> {
    try {
      return await step()
    } catch (err) {
      this.#parts.onSignIn?.(outcomeOf(err))
      throw err
    }
  }

  /** Admits the attempt, verifies the password, and records a rejected attempt. */
  async #verify(attempt: Attempt, password: string, action: string, origin: Origin): Promise<Verified> {
    const { users, limits, audit } = this.#parts
    const user = await users.find(attempt.name)
    // An unknown name is not recorded: it may be a password in the wrong field.
    const entry = { actor: user?.username, action, ...origin }
    const slots = limits.slots(attempt)
    const admitted = await limits.admit(slots)
    if ('waitSeconds' in admitted) {
      this.#parts.onThrottled?.(origin, admitted)
      await this.#throttled.record(admitted.slot, entry)
      throw new ServiceError('TOO_MANY_ATTEMPTS', { headers: { 'retry-after': String(admitted.waitSeconds) } })
    }
    const matches = await this.#matches(password, user, admitted)
    if (!matches || !user?.isActive) {
      await audit.record({ ...entry, outcome: 'refused' })
      throw new ServiceError('INVALID_CREDENTIALS')
    }
    await limits.succeeded(admitted)
    return { user, caller: slots.pair }
  }

  async #matches(password: string, user: User | undefined, admitted: Admitted): Promise<boolean> {
    const { passwords, limits } = this.#parts
    try {
      return await passwords.verify(password, user?.passwordHash, admitted.isKnown ? admitted.slots.pair : undefined)
    } catch (err) {
      await limits.undecided(admitted)
      throw err
    }
  }
}

function outcomeOf(err: unknown): SignInOutcome {
  const code = err instanceof ServiceError ? err.code : undefined
  if (code === 'INVALID_CREDENTIALS') return 'refused'
  return code === 'TOO_MANY_ATTEMPTS' ? 'throttled' : 'failed'
}
