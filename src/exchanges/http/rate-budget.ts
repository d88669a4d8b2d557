// @FEAT:exchanges @COMP:service @TYPE:helper
import { SECOND } from '../../async/durations.ts'
import type { Millis } from '../../domain/millis.ts'

/** One limit as an exchange states it: at most `weight` in any span of `perMs`, for our address or for each API key. */
export interface RateLimit {
  name: string
  weight: number
  perMs: number
  scope: 'address' | 'key'
}

/** What one call takes from a limit. */
export interface Cost {
  limit: string
  weight: number
}

interface Window {
  limit: RateLimit
  /** Grants in order of time. Those before the index `head` have left the window. */
  grants: { at: Millis; weight: number }[]
  head: number
  used: number
}

/** Share of a stated limit that is used. The rest is for other programs behind our address and for clocks that differ. */
const USED_SHARE = 0.9
/** Beyond this number of windows, those of idle API keys are dropped. */
const MAX_WINDOWS = 2_000

/**
 * Rate limits of one host, as rolling windows: never more than 90 % of a limit in any span of its length. While the
 * exchange demands a pause, nothing is granted: to all calls, or to those of one API key.
 */
export class RateBudget {
  readonly #limits: ReadonlyMap<string, RateLimit>
  readonly #windows = new Map<string, Window>()
  readonly #now: () => number
  /** The end of the pause that an answer to this replica demanded. */
  #blockedUntil: Millis = 0
  /** The end of the pause of the whole cluster. */
  #sharedUntil: Millis = 0
  readonly #keyBlockedUntil = new Map<string, Millis>()

  /** @param now a clock in ms that never goes back */
  constructor(limits: readonly RateLimit[], now: () => number) {
    this.#limits = new Map(limits.map(limit => [limit.name, limit]))
    this.#now = now
  }

  /**
   * Takes all costs, or none of them.
   *
   * @param key the API key; the empty text for calls that are not signed
   * @returns 0 when the costs were taken, otherwise the milliseconds to wait before the next attempt
   * @throws {Error} when a cost names an unknown limit
   */
  take(costs: readonly Cost[], key: string): number {
    const now = this.#now()
    let waitMs = Math.max(0, this.#blockEnd - now, (this.#keyBlockedUntil.get(key) ?? 0) - now)
    const grants = costs.map(({ limit, weight }) => ({ window: this.#window(limit, key), weight }))
    for (const { window, weight } of grants) waitMs = Math.max(waitMs, msUntilRoom(window, weight, now))
    if (waitMs > 0) return waitMs
    for (const { window, weight } of grants) grant(window, weight, now)
    return 0
  }

  /**
   * Raises the used weight to the exchange's own count, which is higher than ours when other programs share our address.
   *
   * @throws {Error} when the limit is unknown
   */
  recordUsage(limit: string, used: number, key: string): void {
    const window = this.#window(limit, key)
    const now = this.#now()
    dropExpired(window, now)
    if (used > window.used) grant(window, used - window.used, now)
  }

  /**
   * Grants nothing for `ms` milliseconds. The later end of several calls counts.
   *
   * @returns the end by the budget's clock; null when the pause that applies already ends at most a second earlier
   */
  blockFor(ms: number): Millis | null {
    const until = this.#now() + ms
    const prolongs = until > this.#blockEnd + SECOND
    this.#blockedUntil = Math.max(this.#blockedUntil, until)
    return prolongs ? until : null
  }

  /** Grants nothing to one API key for `ms` milliseconds. The later end of several calls counts. */
  blockKeyFor(key: string, ms: number): void {
    const now = this.#now()
    if (this.#keyBlockedUntil.size >= MAX_WINDOWS) {
      for (const [blocked, until] of this.#keyBlockedUntil) if (until <= now) this.#keyBlockedUntil.delete(blocked)
    }
    this.#keyBlockedUntil.set(key, Math.max(this.#keyBlockedUntil.get(key) ?? 0, now + ms))
  }

  /** Replaces the pause of the whole cluster: grants nothing for `ms` milliseconds; 0 ends it. */
  blockClusterFor(ms: number): void {
    this.#sharedUntil = this.#now() + ms
  }

  /** Ends the pause that `blockFor` returned this end for, because the pause of the cluster replaces it. */
  releaseBlock(until: Millis): void {
    // Answers to calls that were under way may have stated it again, a moment later.
    if (this.#blockedUntil <= until + SECOND) this.#blockedUntil = 0
  }

  /** Milliseconds until the end of the pause that the exchange demands; 0 when there is none. Without pauses of keys. */
  get blockedForMs(): number {
    return Math.max(0, this.#blockEnd - this.#now())
  }

  get #blockEnd(): Millis {
    return Math.max(this.#blockedUntil, this.#sharedUntil)
  }

  #window(name: string, key: string): Window {
    const limit = this.#limits.get(name)
    if (limit === undefined) throw new Error(`no rate limit is named ${name}`)
    const id = limit.scope === 'key' ? `${name} ${key}` : name
    const known = this.#windows.get(id)
    if (known !== undefined) return known
    if (this.#windows.size >= MAX_WINDOWS) this.#dropIdle()
    const window = { limit, grants: [], head: 0, used: 0 }
    this.#windows.set(id, window)
    return window
  }

  #dropIdle(): void {
    const now = this.#now()
    for (const [id, window] of this.#windows) {
      dropExpired(window, now)
      if (window.used === 0) this.#windows.delete(id)
    }
  }
}

function capacityOf({ limit }: Window): number {
  return Math.max(1, Math.floor(limit.weight * USED_SHARE))
}

function grant(window: Window, weight: number, at: Millis): void {
  window.grants.push({ at, weight })
  window.used += weight
}

/** Milliseconds until `weight` fits. A weight above the whole limit waits for an empty window, not for ever. */
function msUntilRoom(window: Window, weight: number, now: Millis): number {
  dropExpired(window, now)
  let excess = window.used + Math.min(weight, capacityOf(window)) - capacityOf(window)
  for (let index = window.head; excess > 0; index++) {
    const oldest = window.grants[index]
    if (oldest === undefined) return 0
    excess -= oldest.weight
    if (excess <= 0) return oldest.at + window.limit.perMs - now
  }
  return 0
}

function dropExpired(window: Window, now: Millis): void {
  for (let oldest = window.grants[window.head]; oldest !== undefined; oldest = window.grants[window.head]) {
    if (now - oldest.at < window.limit.perMs) break
    window.used -= oldest.weight
    window.head++
  }
  if (window.head > 1_000 || window.head === window.grants.length) {
    window.grants.splice(0, window.head)
    window.head = 0
  }
}
