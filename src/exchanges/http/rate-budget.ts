// @FEAT:exchanges @COMP:service @TYPE:helper
import type { Millis } from '../../domain/millis.ts'

/** One limit as an exchange states it: so much weight in any such span, for our address or for each key. */
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
  /** Grants in order of time; the ones before `head` have left the window. */
  grants: { at: Millis; weight: number }[]
  head: number
  used: number
}

/** Share of a stated limit that we use; the rest is for other programs behind our address and for clocks that differ. */
const SHARE = 0.9
const MAX_WINDOWS = 2_000

/**
 * Rate limits of one host, as rolling windows: never more than 90 % of a limit in any span of its length. After the
 * exchange has told us to wait, nobody calls until then.
 */
export class RateBudget {
  readonly #limits: ReadonlyMap<string, RateLimit>
  readonly #windows = new Map<string, Window>()
  readonly #now: () => number
  #blockedUntil: Millis = 0

  /** @param now a clock in ms that never goes back */
  constructor(limits: readonly RateLimit[], now: () => number) {
    this.#limits = new Map(limits.map(limit => [limit.name, limit]))
    this.#now = now
  }

  /** Takes all costs, or none of them and answers how long to wait before asking again, in ms; 0 when they were taken. */
  take(costs: readonly Cost[], key: string): Millis {
    const now = this.#now()
    let wait = Math.max(0, this.#blockedUntil - now)
    const grants = costs.map(({ limit, weight }) => ({ window: this.#window(limit, key), weight }))
    for (const { window, weight } of grants) wait = Math.max(wait, untilRoom(window, weight, now))
    if (wait > 0) return wait
    for (const { window, weight } of grants) grant(window, weight, now)
    return 0
  }

  /** Takes over the exchange's own count of the current window where it is higher than ours: others share our address. */
  told(limit: string, used: number, key: string): void {
    const window = this.#window(limit, key)
    const now = this.#now()
    forget(window, now)
    if (used > window.used) grant(window, used - window.used, now)
  }

  /** Nobody calls for so long. A later end wins. */
  blockFor(ms: Millis): void {
    this.#blockedUntil = Math.max(this.#blockedUntil, this.#now() + ms)
  }

  /** How long everybody still has to wait because the exchange said so, in ms. */
  get blockedForMs(): Millis {
    return Math.max(0, this.#blockedUntil - this.#now())
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
      forget(window, now)
      if (window.used === 0) this.#windows.delete(id)
    }
  }
}

function capacityOf({ limit }: Window): number {
  return Math.max(1, Math.floor(limit.weight * SHARE))
}

function grant(window: Window, weight: number, at: Millis): void {
  window.grants.push({ at, weight })
  window.used += weight
}

/** Ms until `weight` fits; a weight above the whole limit waits for an empty window instead of for ever. */
function untilRoom(window: Window, weight: number, now: Millis): Millis {
  forget(window, now)
  let excess = window.used + Math.min(weight, capacityOf(window)) - capacityOf(window)
  for (let index = window.head; excess > 0; index++) {
    const oldest = window.grants[index]
    if (oldest === undefined) return 0
    excess -= oldest.weight
    if (excess <= 0) return oldest.at + window.limit.perMs - now
  }
  return 0
}

function forget(window: Window, now: Millis): void {
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
