import type { CheckResult } from '../database/database-check.ts'
import { type DatabaseState, monotonicMs, type SharedState } from './shared-state.ts'
import { FRESH_MS } from './verdict.ts'

/** The state of the database changed. */
export interface Transition {
  from: DatabaseState
  to: DatabaseState
  /** The error of the check, for the log. */
  cause?: unknown
}

export interface MonitorOptions {
  state: SharedState
  /** Checks the database once. It has its own deadline and never rejects. */
  check: () => Promise<CheckResult>
  /** Called once for each change of the state. */
  onTransition: (transition: Transition) => void
  /** The time between two checks without a call of `refresh`, in milliseconds; a second by default. */
  idleMs?: number
  /** A clock that never goes back, in milliseconds. Default `monotonicMs` */
  nowMs?: () => number
}

/**
 * Keeps the verdict on the database current in the shared state. Probes call `refresh` and then read the verdict. At
 * most one check runs at a time and at most ten start in a second, however many probes there are.
 */
export class Monitor {
  readonly #options: Required<MonitorOptions>
  #current: DatabaseState = 'unknown'
  #checkedMs = Number.NEGATIVE_INFINITY
  #running: Promise<void> | undefined
  #timer: NodeJS.Timeout | undefined
  #stopped = false

  constructor(options: MonitorOptions) {
    this.#options = { idleMs: 1_000, nowMs: monotonicMs, ...options }
  }

  /** Checks now, and again whenever the last check is `idleMs` old. */
  start(): void {
    void this.#check()
  }

  /** Stops; awaits the running check. Idempotent. */
  async stop(): Promise<void> {
    this.#stopped = true
    clearTimeout(this.#timer)
    await this.#running
  }

  /** Whether the verdict is younger than `FRESH_MS`. */
  isFresh(): boolean {
    return this.#options.nowMs() - this.#checkedMs <= FRESH_MS
  }

  /**
   * Waits until the verdict is younger than `FRESH_MS`. While the database is known to be unresponsive it starts a check
   * and resolves at once, so that no probe waits for the deadline. Never rejects.
   */
  refresh(): Promise<void> {
    if (this.isFresh()) return Promise.resolve()
    const checked = this.#check()
    return this.#current === 'database_timeout' ? Promise.resolve() : checked
  }

  #check(): Promise<void> {
    if (this.#stopped) return Promise.resolve()
    this.#running ??= this.#runCheck().finally(() => {
      this.#running = undefined
    })
    return this.#running
  }

  async #runCheck(): Promise<void> {
    clearTimeout(this.#timer)
    const { state, check, onTransition, idleMs, nowMs } = this.#options
    const startedMs = performance.now()
    const result = await check()
    this.#checkedMs = nowMs()
    state.setDatabase(result.state, this.#checkedMs, performance.now() - startedMs)
    const from = this.#current
    this.#current = result.state
    if (from !== result.state)
      onTransition({ from, to: result.state, ...('cause' in result && { cause: result.cause }) })
    if (this.#stopped) return
    // While the database fails the next check is soon: a recovery must be detected within a second, without probes too.
    this.#timer = setTimeout(() => void this.#check(), result.state === 'ok' ? idleMs : FRESH_MS)
  }
}
