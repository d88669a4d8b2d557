// @FEAT:scheduler @COMP:service @TYPE:core
/** The drift between the clocks of two machines is less than this share. */
const MAX_DRIFT = 0.000_2

/**
 * The database's time, computed from the local monotonic clock: each reading of both clocks narrows the lower bound of their
 * offset. The replica's wall clock is not used, so a wrong one has no effect. Times in milliseconds.
 */
export class ClusterClock {
  readonly #monotonicMs: () => number
  /** The lower bound of the offset as of `#observedMs`. */
  #lowMs = Number.NEGATIVE_INFINITY
  #observedMs = 0

  /** @param monotonicMs the local monotonic clock, as `Timers.now` */
  constructor(monotonicMs: () => number) {
    this.#monotonicMs = monotonicMs
  }

  /** Whether the database's time is known. */
  get known(): boolean {
    return Number.isFinite(this.#lowMs)
  }

  /** Records that the database's clock showed `databaseMs` between two readings of the local monotonic clock. */
  observe(databaseMs: number, askedMs: number, answeredMs: number): void {
    const knownMs = this.#lowMs - (answeredMs - this.#observedMs) * MAX_DRIFT
    // A bound above the highest offset that this reading allows is void: the database's clock was set back.
    const isValid = knownMs <= databaseMs - askedMs
    this.#lowMs = isValid ? Math.max(knownMs, databaseMs - answeredMs) : databaseMs - answeredMs
    this.#observedMs = answeredMs
  }

  /**
   * The database's time in milliseconds since the epoch: never ahead of it, behind by less than the fastest reading
   * took.
   */
  nowMs(): number {
    return Math.floor(this.#monotonicMs() + this.#lowMs)
  }
}
