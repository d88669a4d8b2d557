import { LRUCache } from 'lru-cache'
import { atMost } from '../async/bounded.ts'
import { MINUTE, SECOND } from '../async/durations.ts'
import { isInNetworks, networkOf } from '../client-address.ts'
import type { Database } from '../database/database.ts'
import { DatabaseUnavailableError } from '../database/failure.ts'
import { ServiceError } from '../errors.ts'
import { unauthenticated } from './bearer.ts'
import type { Identity } from './caller.ts'
import type { SignInLimits } from './sign-in-limits.ts'
import { tokenHash } from './token.ts'
import { readToken, recordUse } from './token-table.ts'

/** How long a token that was read is known, in milliseconds, and how many are. */
const KNOWN_MS = 5 * MINUTE
const MAX_KNOWN = 1_000
/** Networks of which this replica knows that they have to wait. */
const MAX_THROTTLED = 10_000
/**
 * Unknown tokens that are read at the same time, and that wait: of clients without a wait, and of those with one. However
 * many strangers try, most connections of the pool are free for others.
 */
const UNKNOWN = { atOnce: 3, waiting: 61 }
const THROTTLED = { atOnce: 1, waiting: 7 }
const RETRY_AFTER_SECONDS = 5

interface TokenSignInParts {
  database: Database
  limits: Pick<SignInLimits, 'countInvalidToken'>
  /** How long a token is known after it was read, in milliseconds. Default 5 minutes */
  knownMs?: number
}

/** What this replica knows of a token: who it is, and who may use it. */
interface KnownToken {
  identity: Identity
  networks: string | null
}

/** Who sends a token. */
interface TokenClient {
  address: string
  /** Whether the address is that of the client, not of a proxy before which there may be many. */
  isCertain: boolean
  /** Gets the name of a valid token that is rejected because the client is outside of its networks. */
  onOutside?: (name: string) => void
}

/**
 * Verifies the tokens of scripts in the database, with each request. A valid token is accepted from a network that has to
 * wait, too: it has 256 random bits, so that the waits protect the database, and no client can lock out another.
 */
export class TokenSignIn {
  readonly #database: Database
  readonly #limits: TokenSignInParts['limits']
  readonly #known: LRUCache<string, KnownToken>
  /** Networks that have to wait, with the end of the wait. */
  readonly #throttled = new LRUCache<string, number>({ max: MAX_THROTTLED })
  readonly #unknownLane = lane(UNKNOWN)
  readonly #throttledLane = lane(THROTTLED)

  constructor({ database, limits, knownMs = KNOWN_MS }: TokenSignInParts) {
    this.#database = database
    this.#limits = limits
    this.#known = new LRUCache({ max: MAX_KNOWN, ttl: knownMs })
  }

  /**
   * Returns who a token is. A malformed, unknown, ended or revoked token, that of a disabled user, and a client outside of
   * its networks, or without a certain address, take the same time and have the same error. While the database cannot be used, a token that this replica
   * read in the last five minutes is as it was, with the reason in `unverified`: only routes that answer without the
   * database may use it.
   * @param token as the client sent it; any text
   * @throws {ServiceError} UNAUTHENTICATED, TOO_MANY_ATTEMPTS (with Retry-After), OVERLOADED
   * @throws {DatabaseUnavailableError}
   */
  async authenticate(token: string, client: TokenClient): Promise<Identity> {
    const hash = tokenHash(token)
    const known = this.#known.get(hash.toString('hex'))
    const verify = () => (known ? this.#verifyKnown(hash, known, client) : this.#verify(hash, client))
    // A token that leaked is known, too, while its owner uses it.
    const isInLane = !known || !isAllowed(client, known.networks)
    const identity = isInLane ? await this.#laneOf(client.address)(verify) : await verify()
    if (!identity) throw await this.#rejection(client.address)
    return identity
  }

  async #verifyKnown(hash: Buffer, known: KnownToken, client: TokenClient): Promise<Identity | undefined> {
    try {
      return await this.#verify(hash, client)
    } catch (err) {
      if (!(err instanceof DatabaseUnavailableError) || Date.parse(known.identity.expiresAt) <= Date.now()) throw err
      return isAllowed(client, known.networks) ? { ...known.identity, unverified: err } : undefined
    }
  }

  async #verify(hash: Buffer, client: TokenClient): Promise<Identity | undefined> {
    const key = hash.toString('hex')
    const token = await readToken(this.#database, hash)
    if (!token) {
      this.#known.delete(key)
      return undefined
    }
    const { name, role, user, networks, expiresAt, isStale } = token
    const identity: Identity = {
      name: `token:${name}`,
      role,
      userId: user?.userId ?? null,
      username: user?.username ?? null,
      kind: 'token',
      user,
      expiresAt: expiresAt.toISOString()
    }
    if (!isAllowed(client, networks)) {
      client.onOutside?.(identity.name)
      return undefined
    }
    this.#known.set(key, { identity, networks })
    if (isStale) await recordUse(this.#database, hash)
    return identity
  }

  /** Counts the failure in the database, unless the network has to wait anyway. */
  async #rejection(address: string): Promise<ServiceError> {
    const waitMs = this.#waitMs(address)
    const waitSeconds =
      waitMs > 0 ? Math.ceil(waitMs / SECOND) : (await this.#limits.countInvalidToken(address))?.waitSeconds
    if (waitSeconds === undefined) return unauthenticated()
    if (waitMs <= 0) this.#throttled.set(networkOf(address), performance.now() + waitSeconds * SECOND)
    return tooManyAttempts(waitSeconds)
  }

  #waitMs(address: string): number {
    return (this.#throttled.get(networkOf(address)) ?? 0) - performance.now()
  }

  #laneOf(address: string): Lane {
    const waitMs = this.#waitMs(address)
    return waitMs > 0
      ? work => this.#throttledLane(work, () => tooManyAttempts(Math.ceil(waitMs / SECOND)))
      : work => this.#unknownLane(work, overloaded)
  }
}

type Lane = <T>(work: () => Promise<T>) => Promise<T>

/** Returns a function that runs work in the order of the calls, and throws what `full` returns when too much waits. */
function lane({ atOnce, waiting }: { atOnce: number; waiting: number }) {
  const inTurn = atMost(atOnce)
  let pending = 0
  return async <T>(work: () => Promise<T>, full: () => Error): Promise<T> => {
    if (pending >= atOnce + waiting) throw full()
    pending++
    try {
      return await inTurn(work)
    } finally {
      pending--
    }
  }
}

function isAllowed({ address, isCertain }: TokenClient, networks: string | null): boolean {
  return networks === null || (isCertain && isInNetworks(address, networks))
}

function tooManyAttempts(waitSeconds: number): ServiceError {
  return new ServiceError('TOO_MANY_ATTEMPTS', { headers: { 'retry-after': String(waitSeconds) } })
}

function overloaded(): ServiceError {
  return new ServiceError('OVERLOADED', { headers: { 'retry-after': String(RETRY_AFTER_SECONDS) } })
}
