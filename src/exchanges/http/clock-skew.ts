// @FEAT:exchanges @COMP:service @TYPE:helper
import { MINUTE, SECOND } from '../../async/durations.ts'
import type { Millis } from '../../domain/millis.ts'

/** The Date header counts whole seconds. A skew below its precision cannot be measured with it. */
const DATE_HEADER_PRECISION_MS = SECOND

/** A larger difference is no skew of a clock: it may be an old answer from a cache, with all of its headers. */
const MAX_CORRECTION_MS = 10 * MINUTE

/** The difference between the clock of a host and the clock of this machine. */
export class ClockSkew {
  #ms: Millis | null = null

  /** The host's clock minus ours in milliseconds; null until it is known. */
  get ms(): Millis | null {
    return this.#ms
  }

  /** The time of the host, in whole milliseconds, when our clock shows `at`. Without a known skew it is `at`. */
  hostTime(at: Millis): Millis {
    return Math.floor(at + (this.#ms ?? 0))
  }

  /** Our time when the host's clock shows `hostTime`. Equal where the clocks differ by less than a second. */
  ourTime(hostTime: Millis): Millis {
    const skew = Math.abs(this.#ms ?? 0)
    return skew < DATE_HEADER_PRECISION_MS || skew > MAX_CORRECTION_MS
      ? hostTime
      : Math.round(hostTime - (this.#ms ?? 0))
  }

  /** Sets the skew from a reading of the host's clock. @param askedAt our time of that reading */
  measure(hostTime: Millis, askedAt: Millis): void {
    this.#ms = hostTime - askedAt
  }

  /**
   * Sets the skew from a Date header, unless the known skew agrees with it within one second.
   *
   * @param date the header's text; ignored when it is null or not a date
   * @param askedAt our time in the middle between request and answer
   * @param tookMs from the request to the answer; an answer after a second or more is ignored, because it does not show
   * at which moment the host read its clock
   */
  correctByDateHeader(date: string | null, askedAt: Millis, tookMs: Millis): void {
    const second = date === null ? Number.NaN : Date.parse(date)
    if (Number.isNaN(second) || tookMs >= DATE_HEADER_PRECISION_MS) return
    const skew = second + SECOND / 2 - askedAt
    if (this.#ms === null) this.#ms = Math.abs(skew) < DATE_HEADER_PRECISION_MS ? 0 : skew
    else if (Math.abs(skew - this.#ms) > DATE_HEADER_PRECISION_MS) this.#ms = skew
  }
}
