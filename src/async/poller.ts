import type { Log } from '../log/log.ts'
import { type BackOff, backOffMs } from './back-off.ts'
import { backgroundTimers, type Timers } from './timers.ts'

/** Durations in milliseconds. */
export interface PollerOptions {
  /**
   * Does one poll.
   * @returns the wait before the next poll; `intervalMs` where it returns none
   * @throws anything: the poll counts as failed
   */
  poll: (signal: AbortSignal) => Promise<number | undefined>
  /** The wait between the end of a poll and the start of the next one. */
  intervalMs: number
  /** The random share by which a wait is shortened at most, from 0 to 1. Default 0. */
  jitter?: number
  /** The waits after failed polls. Default: `intervalMs`. */
  backOff?: BackOff
  log: Log
  /** Logged as a warning when polls begin to fail, and when they fail for another reason. */
  failedMessage: string
  /** Logged when a poll succeeds after failed ones. */
  recoveredMessage: string
  /** Called when a poll succeeds after failed ones. Must not throw. */
  onRecovered?: () => void
  /** Default `backgroundTimers`: they do not keep the process alive. `systemTimers` keep it alive. */
  timers?: Timers
  /** Returns a number from 0 to 1, 1 excluded. Default `Math.random`. */
  random?: () => number
}

interface Deferred {
  readonly promise: Promise<void>
  readonly resolve: () => void
}

/** Polls repeatedly, never more than one poll at a time. */
export class Poller {
  readonly #options: PollerOptions
  readonly #timers: Timers
  readonly #stop = new AbortController()
  #started = false
  #running: Promise<void> | undefined
  /** The one poll that follows the running one without a wait. */
  #requested: Deferred | undefined
  #cancelTimer: (() => void) | undefined
  #failure: { message: string; count: number } | undefined

  constructor(options: PollerOptions) {
    this.#options = options
    this.#timers = options.timers ?? backgroundTimers
  }

  /**
   * Starts the polls. Idempotent; has no effect after `stop`.
   * @param delayMs the wait before the first poll. Default 0: the first poll starts at once
   */
  start(delayMs = 0): void {
    if (this.#started || this.#stop.signal.aborted) return
    this.#started = true
    if (delayMs > 0) this.#schedule(delayMs)
    else void this.kick()
  }

  /**
   * Polls now. While a poll runs, exactly one more follows it, however many calls ask for it. Works without `start`, too;
   * then no further poll follows. Does nothing after `stop`.
   * @returns a promise that resolves when a poll that started after this call has ended. It never rejects.
   */
  kick(): Promise<void> {
    if (this.#stop.signal.aborted) return Promise.resolve()
    if (this.#running === undefined) return this.#begin()
    this.#requested ??= deferred()
    return this.#requested.promise
  }

  /**
   * Stops the polls for good: aborts the signal of the running poll and waits for its end. Not to be awaited by the poll
   * itself. Idempotent, never rejects.
   */
  async stop(): Promise<void> {
    this.#stop.abort()
    this.#cancelTimer?.()
    await this.#running
  }

  #begin(): Promise<void> {
    this.#cancelTimer?.()
    // The poll starts in a later microtask, when `#running` is set, so that a poll may call `kick`.
    this.#running = Promise.resolve().then(() => this.#run())
    return this.#running
  }

  async #run(): Promise<void> {
    const waitMs = await this.#pollOnce()
    this.#running = undefined
    const requested = this.#requested
    this.#requested = undefined
    if (this.#stop.signal.aborted) requested?.resolve()
    else if (requested) void this.#begin().then(requested.resolve)
    else if (this.#started) this.#schedule(waitMs)
  }

  /** Never rejects. @returns the wait before the next poll, in milliseconds */
  async #pollOnce(): Promise<number> {
    const { poll, intervalMs, jitter = 0, backOff, random } = this.#options
    const { signal } = this.#stop
    if (signal.aborted) return intervalMs
    try {
      const waitMs = (await poll(signal)) ?? intervalMs
      this.#recordSuccess()
      return backOffMs({ minMs: waitMs, maxMs: waitMs, jitter }, 1, random)
    } catch (err) {
      // A poll that is aborted may fail for that reason alone.
      if (signal.aborted) return intervalMs
      const failures = this.#recordFailure(err)
      return backOffMs(backOff ?? { minMs: intervalMs, maxMs: intervalMs, jitter }, failures, random)
    }
  }

  #recordSuccess(): void {
    if (this.#failure === undefined) return
    const { log, recoveredMessage, onRecovered } = this.#options
    log.info({ failures: this.#failure.count }, recoveredMessage)
    this.#failure = undefined
    onRecovered?.()
  }

  /** @returns the number of consecutive failures */
  #recordFailure(err: unknown): number {
    const { log, failedMessage } = this.#options
    const message = err instanceof Error ? err.message : String(err)
    if (message !== this.#failure?.message) log.warn({ err }, failedMessage)
    const count = (this.#failure?.count ?? 0) + 1
    this.#failure = { message, count }
    return count
  }

  #schedule(waitMs: number): void {
    this.#cancelTimer = this.#timers.after(waitMs, () => void this.kick())
  }
}

function deferred(): Deferred {
  let resolve = () => {}
  const promise = new Promise<void>(settle => {
    resolve = settle
  })
  return { promise, resolve }
}
