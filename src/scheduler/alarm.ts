import { Cron } from 'croner'

/** The longest that Node's own timers take; a moment beyond it is far beyond the next look at the clock. */
const MAX_MS = 2 ** 31 - 1

/**
 * One timer for one moment, after croner. Of croner only this is used: its job calls nothing but the handler given here,
 * which neither throws nor waits, so that its overrun protection, its error handling and its stopping do not matter.
 */
export class Alarm {
  readonly #ring: () => void
  #cron: Cron | undefined

  /** @param ring must not throw */
  constructor(ring: () => void) {
    this.#ring = ring
  }

  /** Rings once after `ms` milliseconds, instead of when it was set to. Does not keep the process alive. */
  set(ms: number): void {
    this.#cron?.stop()
    const at = new Date(Date.now() + Math.min(Math.max(ms, 0), MAX_MS))
    // Without allowPast it would never ring for a moment that is over before it looks.
    this.#cron = new Cron(at, { unref: true, catch: true, allowPast: true }, () => this.#ring())
  }

  clear(): void {
    this.#cron?.stop()
    this.#cron = undefined
  }
}
