// @FEAT:exchanges @COMP:service @TYPE:helper
import { SECOND } from '../../async/durations.ts'
import type { Millis } from '../../domain/millis.ts'
import { BudgetShares, type Purpose } from './budget-shares.ts'
import { dropExpired, grant, msUntilRoom, newWindow, type RateLimit, type RateWindow } from './rate-window.ts'

export type { RateLimit } from './rate-window.ts'

/** What one call takes from a limit. */
export interface Cost {
  limit: string
  weight: number
}

/** What is used of a limit, as an exchange reports it in an answer: by all programs behind our address, or with the key. */
export interface Usage {
  limit: string
  used: number
}

/** What an answer reports. `usage` is null where it should have reported the usage and did not. */
export interface UsageReport {
  usage: Usage | null
  /** The exchange's clock at the answer. */
  hostTime: Millis
}

/** What is used of a limit in a window of its length. */
export interface LimitUse {
  limit: RateLimit
  used: number
}

/** Share of a stated limit that is used. The rest is for other programs behind our address and for clocks that differ. */
export const USED_SHARE = 0.9
/** Beyond this number of windows, those of idle API keys are dropped. */
const MAX_WINDOWS = 2_000
/** How exactly the exchange's clock is known. */
const CLOCK_PRECISION_MS = SECOND
/** The wait for an answer to one of our own calls. */
const ANSWER_WAIT_MS = 20

/**
 * Rate limits of one host, as rolling windows: never more than 90 % of a limit in any span of its length. While the
 * exchange demands a pause, nothing is granted: to all calls, or to those of one API key.
 *
 * Limits of an address are shared with the other replicas, which are all counted as behind the same address:
 *
 * - Where the exchange reports what is used of a limit, its report counts, and the calls under way whose answers have not
 *   reported yet are at most an equal part of the last 10 % (or one call). So all replicas together exceed 90 % by these
 *   parts at most, however old the report of each is, and one replica can use all that the others leave.
 * - Otherwise each replica has an equal part of the 90 %.
 *
 * What this replica may use is divided among the purposes of calls, with a guaranteed share for each: see `BudgetShares`.
 *
 * Limits of a key are not divided: the calls for one account are made by cluster jobs, each of which runs on one replica
 * at a time, and the calls of one job for one account stay far below them.
 */
export class RateBudget {
  readonly #limits: ReadonlyMap<string, RateLimit>
  readonly #windows = new Map<string, RateWindow>()
  /** The shares of each limit of our address. */
  readonly #shares = new Map<string, BudgetShares>()
  readonly #now: () => number
  readonly #replicas: () => number
  /** The limits that the exchange is to report, and those of them that it does report as far as is known. */
  readonly #toReport: ReadonlySet<string>
  readonly #reported: Set<string>
  /** The end of the pause that an answer to this replica demanded. */
  #blockedUntil: Millis = 0
  /** The end of the pause of the whole cluster. */
  #sharedUntil: Millis = 0
  readonly #keyBlockedUntil = new Map<string, Millis>()

  /**
   * @param now a clock in ms that never goes back
   * @param replicas how many replicas share the limits of our address. Default 1
   * @param reported names of the limits whose usage the exchange reports. Default none
   */
  constructor(
    limits: readonly RateLimit[],
    now: () => number,
    replicas: () => number = () => 1,
    reported: readonly string[] = []
  ) {
    this.#limits = new Map(limits.map(limit => [limit.name, limit]))
    for (const limit of limits) if (limit.scope === 'address') this.#shares.set(limit.name, new BudgetShares(limit))
    this.#now = now
    this.#replicas = replicas
    this.#toReport = new Set(reported)
    this.#reported = new Set(reported)
  }

  /**
   * Takes all costs, or none of them. Taken costs must be given to `settle` once.
   *
   * @param key the API key; the empty text for calls that are not signed
   * @param purpose what the call is for. Default `other`
   * @returns 0 when the costs were taken, otherwise the milliseconds to wait before the next attempt
   * @throws {Error} when a cost names an unknown limit
   */
  take(costs: readonly Cost[], key: string, purpose: Purpose = 'other'): number {
    const now = this.#now()
    let waitMs = Math.max(0, this.#blockEnd - now, (this.#keyBlockedUntil.get(key) ?? 0) - now)
    const grants = costs.map(({ limit, weight }) => ({ window: this.#window(limit, key), weight }))
    for (const { window, weight } of grants) {
      const ownMs = this.#waitFor(window, weight, purpose, now)
      // A wait for an answer is no lack of room.
      if (ownMs > ANSWER_WAIT_MS) this.#shares.get(window.limit.name)?.denied(purpose, now)
      waitMs = Math.max(waitMs, ownMs)
    }
    if (waitMs > 0) return waitMs
    for (const { window, weight } of grants) {
      grant(window, weight, now)
      this.#shares.get(window.limit.name)?.taken(purpose, weight, now)
      if (this.#toReport.has(window.limit.name)) window.unreported += weight
    }
    return 0
  }

  /**
   * Ends the calls that took these costs, with what their answer reports.
   *
   * @param report null when there was no answer, or one of the network in front of the exchange
   * @throws {Error} when a limit is unknown
   */
  settle(costs: readonly Cost[], key: string, report: UsageReport | null): void {
    const now = this.#now()
    for (const { limit, weight } of costs.filter(cost => this.#toReport.has(cost.limit))) {
      const window = this.#window(limit, key)
      if (report === null) {
        // The exchange may have counted the call: the next report contains it.
        window.lost += weight
        window.lostAt = now
        continue
      }
      window.unreported = Math.max(0, window.unreported - weight)
      if (report.usage?.limit !== limit) this.#reported.delete(limit)
    }
    if (report?.usage) this.#record(report.usage, key, report.hostTime)
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

  /** What is used now of each limit of our address: by this replica, or by all programs where the exchange reports that. */
  uses(): LimitUse[] {
    const now = this.#now()
    return [...this.#limits.values()]
      .filter(({ scope }) => scope === 'address')
      .map(limit => {
        const window = this.#window(limit.name, '')
        dropExpired(window, now)
        const { report, unreported } = window
        const reported = report !== null && now < report.until ? report.used + unreported : 0
        return { limit, used: Math.max(window.used, reported) }
      })
  }

  get #blockEnd(): Millis {
    return Math.max(this.#blockedUntil, this.#sharedUntil)
  }

  /** Milliseconds until a cost may be taken. */
  #waitFor(window: RateWindow, weight: number, purpose: Purpose, now: Millis): number {
    const { limit, report } = window
    const sharers = limit.scope === 'address' ? Math.max(1, Math.floor(this.#replicas())) : 1
    const isReported = this.#reported.has(limit.name)
    if (window.lost > 0 && now - window.lostAt >= limit.perMs) forgetLost(window)

    const usable = Math.floor(limit.weight * USED_SHARE)
    const shares = this.#shares.get(limit.name)
    /** What is left for the purpose. */
    const ownOf = (capacity: number) => Math.max(1, capacity - (shares?.keptFrom(purpose, weight, capacity, now) ?? 0))
    if (!isReported) return msUntilRoom(window, weight, ownOf(Math.max(1, Math.floor(usable / sharers))), now)
    const hasReport = report !== null && now < report.until
    // After the end of a fixed span one call finds out whether the exchange has begun the next one.
    const probe = limit.fixed ? weight : 0
    /** What this replica may have under way without a report. */
    const part = Math.max(weight, Math.floor((limit.weight - usable) / sharers) - probe)
    const shared = Math.min(usable, limit.weight - sharers * (part + probe))
    const capacity = ownOf(Math.max(1, sharers === 1 ? usable : shared))
    let waitMs = msUntilRoom(window, weight, capacity, now)
    if (hasReport && (sharers > 1 || report.hasOthers)) {
      const isFull = report.used + window.unreported + Math.min(weight, capacity) > capacity
      if (isFull) waitMs = Math.max(waitMs, report.until - now)
    }
    const underWay = hasReport || !limit.fixed ? part : weight
    const isBeyond = window.unreported > 0 && window.unreported + weight > underWay
    return sharers > 1 && isBeyond ? Math.max(waitMs, ANSWER_WAIT_MS) : waitMs
  }

  #record({ limit, used }: Usage, key: string, hostTime: Millis): void {
    const window = this.#window(limit, key)
    const now = this.#now()
    const { perMs, fixed = false } = window.limit
    this.#reported.add(limit)
    dropExpired(window, now)
    forgetLost(window)
    // Near the end of a fixed span its report may be one of the next span: it counts until the end is certain.
    const span = fixed ? Math.floor((hostTime - CLOCK_PRECISION_MS) / perMs) : null
    const until = now + (span === null ? perMs : (span + 1) * perMs + CLOCK_PRECISION_MS - hostTime)
    const known = window.report
    // Answers may arrive in another order than that in which the exchange counted their calls.
    const isSameSpan = span !== null && known?.span === span && now < known.until
    const hasOthers = used > window.used || (isSameSpan && known.hasOthers)
    window.report = { used: isSameSpan ? Math.max(used, known.used) : used, span, until, hasOthers }
  }

  #window(name: string, key: string): RateWindow {
    const limit = this.#limits.get(name)
    if (limit === undefined) throw new Error(`no rate limit is named ${name}`)
    const id = limit.scope === 'key' ? `${name} ${key}` : name
    const known = this.#windows.get(id)
    if (known !== undefined) return known
    if (this.#windows.size >= MAX_WINDOWS) this.#dropIdle()
    const window = newWindow(limit)
    this.#windows.set(id, window)
    return window
  }

  #dropIdle(): void {
    const now = this.#now()
    for (const [id, window] of this.#windows) {
      dropExpired(window, now)
      if (window.used === 0 && window.unreported === 0) this.#windows.delete(id)
    }
  }
}

/** Calls without an answer are in the last report, or have left the window. */
function forgetLost(window: RateWindow): void {
  window.unreported = Math.max(0, window.unreported - window.lost)
  window.lost = 0
}
