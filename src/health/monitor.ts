import type { CheckResult } from '../database/database-check.ts'
import { type DatabaseState, monotonicMs, type SharedState } from './state.ts'
import { FRESH_MS } from './verdict.ts'

/** The state of the database changed. */
export interface Transition {
  from: DatabaseState
  to: DatabaseState
  /** What was seen, for the log. */
  cause?: unknown
}

export interface MonitorOptions {
  state: SharedState
  /** Looks at the database once; bounded in time by itself, never rejects. */
  check: () => Promise<CheckResult>
  /** Called once for each change of the state. */
  onTransition: (transition: Transition) => void
  /** Pause between two checks when nobody asks, in milliseconds. */
  idleMs?: number
  /** A clock that never goes back, in milliseconds. Default `monotonicMs` */
  nowMs?: () => number
}

/**
 * Keeps the verdict on the database. `ask` is for probes: it settles when the verdict in the shared state is as good as
 * it gets. At most one check is under way and at most ten begin in a second, whoever asks.
 */
export class Monitor {
  readonly #options: Required<MonitorOptions>
  #current: DatabaseState = 'unknown'
  #checkedMs = Number.NEGATIVE_INFINITY
  #underWay: Promise<void> | undefined
  #timer: NodeJS.Timeout | undefined
  #stopped = false

  constructor(options: MonitorOptions) {
    this.#options = { idleMs: 1_000, nowMs: monotonicMs, ...options }
  }

  /** Begins to check, at once and then whenever nobody asked for `idleMs`. */
  start(): void {
    void this.#check()
  }

  /** Ends the checks; one that is under way is awaited. Idempotent. */
  async stop(): Promise<void> {
    this.#stopped = true
    clearTimeout(this.#timer)
    await this.#underWay
  }

  /** Whether the verdict is younger than `FRESH_MS`. */
  isFresh(): boolean {
    return this.#options.nowMs() - this.#checkedMs <= FRESH_MS
  }

  /**
   * Waits until the verdict is younger than `FRESH_MS`. A database that is known to be mute costs nobody the deadline:
   * then the standing verdict is as good as it gets, and the check goes on behind it.
   */
  ask(): Promise<void> {
    if (this.isFresh()) return Promise.resolve()
    const renewed = this.#check()
    return this.#current === 'database_timeout' ? Promise.resolve() : renewed
  }

  #check(): Promise<void> {
    if (this.#stopped) return Promise.resolve()
    this.#underWay ??= this.#runCheck().finally(() => {
      this.#underWay = undefined
    })
    return this.#underWay
  }

  async #runCheck(): Promise<void> {
    clearTimeout(this.#timer)
    const { state, check, onTransition, idleMs, nowMs } = this.#options
    const begunMs = performance.now()
    const result = await check()
    this.#checkedMs = nowMs()
    state.setDatabase(result.state, this.#checkedMs, performance.now() - begunMs)
    const from = this.#current
    this.#current = result.state
    if (from !== result.state)
      onTransition({ from, to: result.state, ...('cause' in result && { cause: result.cause }) })
    if (this.#stopped) return
    // While the database fails the next look comes soon: recovery is to be seen within a second, asked or not.
    this.#timer = setTimeout(() => void this.#check(), result.state === 'ok' ? idleMs : FRESH_MS)
  }
}
