// @FEAT:exchanges @COMP:service @TYPE:helper
import { SECOND } from '../../async/durations.ts'
import type { Millis } from '../../domain/millis.ts'

export type CircuitState = 'closed' | 'open' | 'half_open'
export type Admission = 'call' | 'trial'

const FAILURES_TO_OPEN = 5
const OPEN_FOR_MS = 10 * SECOND
const OPEN_FOR_AT_MOST_MS = 60 * SECOND

/**
 * Spares a failing host: five failures in a row open the circuit, and calls fail at once. After 10 s one call is let
 * through; its success closes the circuit, its failure opens it for twice as long, up to 60 s. Runs no timer.
 */
export class CircuitBreaker {
  readonly #now: () => number
  #failures = 0
  #openUntil: Millis = 0
  #openForMs = OPEN_FOR_MS
  #tried = false

  /** @param now a clock in ms that never goes back */
  constructor(now: () => number) {
    this.#now = now
  }

  get state(): CircuitState {
    if (this.#failures < FAILURES_TO_OPEN) return 'closed'
    return this.#now() < this.#openUntil ? 'open' : 'half_open'
  }

  /** Ms until the next call may be tried; 0 unless open. */
  get retryAfterMs(): Millis {
    return this.state === 'open' ? this.#openUntil - this.#now() : 0
  }

  /** Lets a call out, or not (null). Every admission must be given back to `succeeded`, `failed` or `withdrawn`. */
  admit(): Admission | null {
    const { state } = this
    if (state === 'closed') return 'call'
    if (state === 'open' || this.#tried) return null
    this.#tried = true
    return 'trial'
  }

  succeeded(): void {
    this.#failures = 0
    this.#openForMs = OPEN_FOR_MS
    this.#tried = false
  }

  failed(admission: Admission): void {
    if (admission === 'trial') {
      this.#tried = false
      this.#openForMs = Math.min(2 * this.#openForMs, OPEN_FOR_AT_MOST_MS)
      this.#openUntil = this.#now() + this.#openForMs
    } else if (this.state === 'closed' && ++this.#failures === FAILURES_TO_OPEN) {
      // Later failures of calls that were under way do not prolong it.
      this.#openUntil = this.#now() + this.#openForMs
    }
  }

  /** The call ended without telling anything about the host: its caller gave up. */
  withdrawn(admission: Admission): void {
    if (admission === 'trial') this.#tried = false
  }
}
