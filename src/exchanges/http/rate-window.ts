// @FEAT:exchanges @COMP:service @TYPE:helper
import type { Millis } from '../../domain/millis.ts'

/** One limit as an exchange states it: at most `weight` in any span of `perMs`, for our address or for each API key. */
export interface RateLimit {
  name: string
  weight: number
  perMs: number
  scope: 'address' | 'key'
  /** The exchange counts in spans that begin at the multiples of `perMs` of its clock. Default in rolling spans. */
  fixed?: boolean
}

/** What is known of one limit: of our address, or of one API key. */
export interface RateWindow {
  limit: RateLimit
  /** Grants in order of time. Those before the index `head` have left the window. */
  grants: { at: Millis; weight: number }[]
  head: number
  /** The weight of the grants in the window. */
  used: number
  /** The weight of grants that no report of the exchange contains yet. */
  unreported: number
  /** The part of it whose calls ended without an answer, and when the last of them did. */
  lost: number
  lostAt: Millis
  /** The exchange's last report. */
  report: { used: number; span: number | null; until: Millis; hasOthers: boolean } | null
}

export function newWindow(limit: RateLimit): RateWindow {
  return { limit, grants: [], head: 0, used: 0, unreported: 0, lost: 0, lostAt: 0, report: null }
}

/** Records a grant. */
export function grant(window: RateWindow, weight: number, at: Millis): void {
  window.grants.push({ at, weight })
  window.used += weight
}

/**
 * Milliseconds until `weight` fits into `capacity` together with the grants of the window. A weight above the capacity waits for
 * an empty window, not for ever.
 */
export function msUntilRoom(window: RateWindow, weight: number, capacity: number, now: Millis): number {
  dropExpired(window, now)
  let excess = window.used + Math.min(weight, capacity) - capacity
  for (let index = window.head; excess > 0; index++) {
    const oldest = window.grants[index]
    if (oldest === undefined) return 0
    excess -= oldest.weight
    if (excess <= 0) return oldest.at + window.limit.perMs - now
  }
  return 0
}

/** Removes the grants that have left the window. */
export function dropExpired(window: RateWindow, now: Millis): void {
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
