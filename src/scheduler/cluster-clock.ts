/** Crystals of two machines drift apart by less than this. */
const DRIFT = 0.000_2

/**
 * The database's clock, as this replica knows it: the offset to the local monotonic clock, bounded by every look at
 * both. Nothing here reads the replica's wall clock, so nobody can set it wrong. Times in milliseconds.
 */
export class ClusterClock {
  readonly #monotonicMs: () => number
  /** The offset is at least the one and at most the other, as of `#at`. */
  #low = Number.NEGATIVE_INFINITY
  #high = Number.POSITIVE_INFINITY
  #at = 0

  /** @param monotonicMs a clock that never goes back; `performance.now` unless a test brings its own */
  constructor(monotonicMs: () => number = () => performance.now()) {
    this.#monotonicMs = monotonicMs
  }

  /** Whether the database's time is known at all. */
  get known(): boolean {
    return Number.isFinite(this.#low)
  }

  /** The local monotonic clock, for `observe`. */
  monotonicMs(): number {
    return this.#monotonicMs()
  }

  /** Takes in that the database's clock showed `databaseMs` between two readings of the local monotonic clock. */
  observe(databaseMs: number, askedMs: number, answeredMs: number): void {
    const slack = (answeredMs - this.#at) * DRIFT
    const low = Math.max(this.#low - slack, databaseMs - answeredMs)
    const high = Math.min(this.#high + slack, databaseMs - askedMs)
    // When they contradict each other, the database's clock was set, or this machine slept: what was known is void.
    const consistent = low <= high
    this.#low = consistent ? low : databaseMs - answeredMs
    this.#high = consistent ? high : databaseMs - askedMs
    this.#at = answeredMs
  }

  /** The database's time now, since the epoch: never ahead of it, behind by less than the fastest look took. */
  nowMs(): number {
    return Math.floor(this.#monotonicMs() + this.#low)
  }
}
