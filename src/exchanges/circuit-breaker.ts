// @FEAT:exchanges @COMP:service @TYPE:helper
import type { Millis } from './exchange-client.ts'

export type CircuitState = 'closed' | 'open' | 'half_open'

const SECOND = 1_000
const FAILURES_TO_OPEN = 5
const OPEN_FOR_MS = 10 * SECOND
const OPEN_FOR_AT_MOST_MS = 60 * SECOND

/**
 * Spares a failing host: five failures in a row open the circuit, and calls fail at once. After 10 s one call is let
 * through; its success closes the circuit, its failure opens it for twice as long, up to 60 s. Runs no timer.
 */
export class CircuitBreaker {
  readonly #now: () => Millis
  #failures = 0
  #openUntil: Millis = 0
  #openForMs = OPEN_FOR_MS
  #trial = false

  constructor(now: () => Millis) {
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

  /** Whether a call may go out. Every admitted call must end in `succeeded`, `failed` or `withdrawn`. */
  admits(): boolean {
    const { state } = this
    if (state === 'closed') return true
    if (state === 'open' || this.#trial) return false
    this.#trial = true
    return true
  }

  succeeded(): void {
    this.#failures = 0
    this.#openForMs = OPEN_FOR_MS
    this.#trial = false
  }

  failed(): void {
    const reopened = this.#trial
    this.#trial = false
    this.#failures++
    if (this.#failures < FAILURES_TO_OPEN) return
    if (reopened) this.#openForMs = Math.min(2 * this.#openForMs, OPEN_FOR_AT_MOST_MS)
    // Calls that were under way when the circuit opened do not prolong it.
    if (reopened || this.#failures === FAILURES_TO_OPEN) this.#openUntil = this.#now() + this.#openForMs
  }

  /** The call ended without telling anything about the host: its caller gave up. */
  withdrawn(): void {
    this.#trial = false
  }
}
