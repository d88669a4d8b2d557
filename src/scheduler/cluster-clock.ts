// @FEAT:scheduler @COMP:service @TYPE:core
/** The clocks of two machines drift apart by less than this share. */
const MAX_DRIFT = 0.000_2

/**
 * The database's time, computed from the local monotonic clock: each reading of both clocks narrows the bounds of their
 * offset. The replica's wall clock is not used, so a wrong one has no effect. Times in milliseconds.
 */
export class ClusterClock {
  readonly #monotonicMs: () => number
  /** The bounds of the offset as of `#observedMs`. */
  #lowMs = Number.NEGATIVE_INFINITY
  #highMs = Number.POSITIVE_INFINITY
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
    const slackMs = (answeredMs - this.#observedMs) * MAX_DRIFT
    const lowMs = Math.max(this.#lowMs - slackMs, databaseMs - answeredMs)
    const highMs = Math.min(this.#highMs + slackMs, databaseMs - askedMs)
    // When the bounds contradict each other, the database's clock was set or this machine slept: the old ones are void.
    const consistent = lowMs <= highMs
    this.#lowMs = consistent ? lowMs : databaseMs - answeredMs
    this.#highMs = consistent ? highMs : databaseMs - askedMs
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
