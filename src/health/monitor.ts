import { withDeadline } from '../async/deadline.ts'
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
  /** Checks the database once. It has its own deadline and never rejects. `connecting` leaves the verdict as it is. */
  check: () => Promise<CheckResult>
  /** Called once for each change of the state. */
  onTransition: (transition: Transition) => void
  /** The time between two checks without a call of `refresh`, in milliseconds; a second by default. */
  idleMs?: number
  /** The longest wait of `refresh`, in milliseconds. Default 600 */
  refreshMs?: number
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
  /** The last check found no session: probes do not wait for the next one. */
  #connecting = false
  /** The running check, and the wait of all probes for it. */
  #running: Promise<void> | undefined
  #refreshing: Promise<void> | undefined
  #timer: NodeJS.Timeout | undefined
  #stopped = false

  constructor(options: MonitorOptions) {
    this.#options = { idleMs: 1_000, refreshMs: 600, nowMs: monotonicMs, ...options }
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
   * Waits until the verdict is younger than `FRESH_MS`, at most `refreshMs`. While the database is known to be
   * unresponsive, or the check connects to it, it starts a check and resolves at once, so that no probe waits for the
   * deadline. Never rejects.
   */
  refresh(): Promise<void> {
    if (this.isFresh()) return Promise.resolve()
    const checked = this.#check()
    if (this.#connecting || this.#current === 'database_timeout') return Promise.resolve()
    this.#refreshing ??= withDeadline(checked, this.#options.refreshMs)
      .catch(() => undefined)
      .finally(() => {
        this.#refreshing = undefined
      })
    return this.#refreshing
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
    const result = this.#verdictOf(await check())
    this.#checkedMs = nowMs()
    const latencyMs = result.latencyMs ?? performance.now() - startedMs
    if (result.state !== 'unknown') state.setDatabase(result.state, this.#checkedMs, latencyMs)
    const from = this.#current
    this.#current = result.state
    if (from !== result.state)
      onTransition({ from, to: result.state, ...('cause' in result && { cause: result.cause }) })
    if (this.#stopped) return
    // While the database fails the next check is soon: a recovery must be detected within a second, without probes too.
    this.#timer = setTimeout(() => void this.#check(), result.state === 'ok' ? idleMs : FRESH_MS)
  }
  /** While the check connects, what was found before holds, except that the database is usable. */
  #verdictOf(result: CheckResult): { state: DatabaseState; cause?: unknown; latencyMs?: number } {
    this.#connecting = result.state === 'connecting'
    if (result.state !== 'connecting') return result
    if (this.#current !== 'ok') return { state: this.#current }
    return { state: 'database_unreachable', cause: new Error('the connection was lost, and another one takes long') }
  }
}
