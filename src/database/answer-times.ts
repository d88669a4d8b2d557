/** The share of the newest time in the average. */
const WEIGHT = 0.5
/** Times beyond this multiple of the limit count as this, so that one long wait is forgotten after some answers. */
const CAP = 2
/** An answer that is under way is late from this multiple of the limit on. */
const PATIENCE = 1.2
/** After late answers, the average must be below this multiple of the limit. */
const RECOVERED = 0.8
/** After late answers, so many in a row within the limit are enough where the average is in between. */
const RECOVERED_IN_A_ROW = 20

/**
 * Decides whether the answers of the database come in time. The times of a network vary around their average: one answer
 * that is later than the limit changes nothing, and neither does one in time after late ones. Times in milliseconds.
 */
export class AnswerTimes {
  readonly #limitMs: number
  #averageMs: number | undefined
  #late = false
  #inTime = 0

  /** @param limitMs the time within which the database should answer */
  constructor(limitMs: number) {
    this.#limitMs = limitMs
  }

  /** How long to wait for an answer before it is late. */
  get patienceMs(): number {
    return this.#late ? this.#limitMs : this.#limitMs * PATIENCE
  }

  /** Whether the answers are late. */
  get late(): boolean {
    return this.#late
  }

  /** Records the time of an answer. @returns whether the answers are late */
  answered(timeMs: number): boolean {
    const cappedMs = Math.min(timeMs, CAP * this.#limitMs)
    const beforeMs = this.#averageMs ?? cappedMs
    this.#averageMs = beforeMs + (cappedMs - beforeMs) * WEIGHT
    this.#inTime = timeMs <= this.#limitMs ? this.#inTime + 1 : 0
    if (!this.#late) this.#late = this.#averageMs > this.#limitMs
    else this.#late = this.#averageMs >= RECOVERED * this.#limitMs && this.#inTime < RECOVERED_IN_A_ROW
    return this.#late
  }

  /** Records that an answer was not there after `patienceMs`. */
  missed(): void {
    this.#late = true
    this.#inTime = 0
  }

  /** Forgets all answers, as for another connection. */
  reset(): void {
    this.#averageMs = undefined
    this.#late = false
    this.#inTime = 0
  }
}
