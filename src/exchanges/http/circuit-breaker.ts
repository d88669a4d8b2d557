// @FEAT:exchanges @COMP:service @TYPE:helper
import { SECOND } from '../../async/durations.ts'
import type { Millis } from '../../domain/millis.ts'

export type CircuitState = 'closed' | 'open' | 'half_open'
/** Permission for one call. `trial`: the one call that an open circuit lets through. */
export type Admission = 'call' | 'trial'

const FAILURES_TO_OPEN = 5
const OPEN_FOR_MS = 10 * SECOND
const OPEN_FOR_AT_MOST_MS = 60 * SECOND

/**
 * A circuit breaker: five failures in a row open the circuit, and calls fail at once. After 10 s one call is let
 * through; its success closes the circuit, its failure opens it for twice as long, up to 60 s. Runs no timer.
 */
export class CircuitBreaker {
  readonly #now: () => number
  #failures = 0
  #openUntil: Millis = 0
  #openForMs = OPEN_FOR_MS
  #trialUnderWay = false

  /** @param now a clock in ms that never goes back */
  constructor(now: () => number) {
    this.#now = now
  }

  get state(): CircuitState {
    if (this.#failures < FAILURES_TO_OPEN) return 'closed'
    return this.#now() < this.#openUntil ? 'open' : 'half_open'
  }

  /** Milliseconds until the next call may be tried; 0 unless open. */
  get retryAfterMs(): number {
    return this.state === 'open' ? this.#openUntil - this.#now() : 0
  }

  /**
   * Permission for one call; null when the call must not be made. Each admission must be given back to exactly one of
   * `recordSuccess`, `recordFailure` and `release`.
   */
  admit(): Admission | null {
    const { state } = this
    if (state === 'closed') return 'call'
    if (state === 'open' || this.#trialUnderWay) return null
    this.#trialUnderWay = true
    return 'trial'
  }

  /** Closes the circuit. */
  recordSuccess(): void {
    this.#failures = 0
    this.#openForMs = OPEN_FOR_MS
    this.#trialUnderWay = false
  }

  /** Opens the circuit when it is the fifth failure in a row, or the failure of a trial. */
  recordFailure(admission: Admission): void {
    if (admission === 'trial') {
      this.#trialUnderWay = false
      this.#openForMs = Math.min(2 * this.#openForMs, OPEN_FOR_AT_MOST_MS)
      this.#openUntil = this.#now() + this.#openForMs
    } else if (this.state === 'closed' && ++this.#failures === FAILURES_TO_OPEN) {
      // Later failures of calls that were under way do not prolong it.
      this.#openUntil = this.#now() + this.#openForMs
    }
  }

  /** Gives back the admission of a call that showed nothing about the host, such as one that its caller aborted. */
  release(admission: Admission): void {
    if (admission === 'trial') this.#trialUnderWay = false
  }
}
