// @FEAT:health-monitoring @COMP:service @TYPE:core
import { randomUUID } from 'node:crypto'
import { SECOND } from '../async/durations.ts'
import { Poller } from '../async/poller.ts'
import { backgroundTimers, type Timers } from '../async/timers.ts'
import type { Log } from '../log/log.ts'
import { type HistoryStore, type PeriodRecord, READINESS } from './history-store.ts'

const SAMPLE_MS = SECOND
const WRITE_MS = 10 * SECOND
/** After a longer gap between two samples nothing is known about the time between: this machine slept or was blocked. */
const MAX_GAP_MS = 15 * SECOND
/** Ended periods that wait for the database. The oldest are dropped. */
const MAX_WAITING = 1_000
/** Longest wait for the last write when the replica stops, in milliseconds. */
const LAST_WRITE_MS = SECOND

/** The state of a check; `code` is null while it is ok. */
export interface CheckState {
  name: string
  code: string | null
}

/** Times in milliseconds of the monotonic clock. */
interface Period {
  periodId: string
  check: string
  code: string | null
  fromMs: number
  untilMs: number
  isOver: boolean
  /** Its end is unknown: what was written last counts. */
  isLost: boolean
}

export interface HistoryRecorderOptions {
  store: Pick<HistoryStore, 'write'>
  /** The state of every check, readiness included. */
  checks: () => Promise<readonly CheckState[]>
  /** The name of this replica. */
  instance: () => string
  log: Log
  /** Default `backgroundTimers`. */
  timers?: Timers
  /** The wall clock, which goes on while the machine sleeps; milliseconds since the epoch. Default `Date.now`. */
  wallMs?: () => number
}

/**
 * Records when the checks of this replica change. It samples them once per second and writes every 10 s; while the
 * database cannot be used, at most 1,000 ended periods wait in memory.
 */
export class HistoryRecorder {
  readonly #options: HistoryRecorderOptions
  readonly #timers: Timers
  readonly #sampler: Poller
  readonly #writer: Poller
  readonly #open = new Map<string, Period>()
  #ended: Period[] = []
  #dropped = 0
  #writing = false
  #lastWallMs: number | undefined

  constructor(options: HistoryRecorderOptions) {
    this.#options = options
    this.#timers = options.timers ?? backgroundTimers
    const { log } = options
    this.#sampler = new Poller({
      poll: () => this.#sample(),
      intervalMs: SAMPLE_MS,
      log,
      failedMessage: 'health checks not sampled',
      recoveredMessage: 'health checks sampled again',
      timers: this.#timers
    })
    this.#writer = new Poller({
      poll: () => this.#write(),
      intervalMs: WRITE_MS,
      log,
      failedMessage: 'health history not written',
      recoveredMessage: 'health history written again',
      timers: this.#timers
    })
  }

  /** Starts to sample. Idempotent. */
  startSampling(): void {
    this.#sampler.start()
  }

  /** Starts to write; to be called when the schema exists and the name of the replica is final. Idempotent. */
  startWriting(): void {
    this.#writing = true
    this.#writer.start()
  }

  /** Ends all periods and writes them, for at most a second. Idempotent, never rejects. */
  async stop(): Promise<void> {
    await this.#sampler.stop()
    for (const period of this.#open.values()) this.#end(period)
    if (!this.#writing) return
    let cancel = () => {}
    const deadline = new Promise<void>(resolve => {
      cancel = this.#timers.deadline(LAST_WRITE_MS, resolve)
    })
    await Promise.race([this.#writer.kick(), deadline])
    cancel()
    await this.#writer.stop()
  }

  async #sample(): Promise<undefined> {
    const { checks, wallMs = Date.now } = this.#options
    const states = await checks()
    const nowMs = this.#timers.now()
    const sampledMs = wallMs()
    const isLost = this.#lastWallMs !== undefined && sampledMs - this.#lastWallMs > MAX_GAP_MS
    this.#lastWallMs = sampledMs
    let hasChanged = false
    for (const period of this.#open.values()) {
      const state = states.find(({ name }) => name === period.check)
      if (!isLost) period.untilMs = nowMs
      if (!isLost && state?.code === period.code) continue
      period.isLost = isLost
      this.#end(period)
      hasChanged = true
    }
    for (const { name, code } of states) {
      if (this.#open.has(name) || (code === null && name !== READINESS)) continue
      const times = { fromMs: nowMs, untilMs: nowMs, isOver: false, isLost: false }
      this.#open.set(name, { periodId: randomUUID(), check: name, code, ...times })
      hasChanged = true
    }
    if (hasChanged && this.#writing) void this.#writer.kick()
  }

  #end(period: Period): void {
    period.isOver = true
    this.#open.delete(period.check)
    this.#ended.push(period)
    if (this.#ended.length <= MAX_WAITING) return
    this.#ended.shift()
    this.#dropped++
  }

  async #write(): Promise<undefined> {
    const { store, instance, log } = this.#options
    const ended = new Set(this.#ended)
    const nowMs = this.#timers.now()
    const rows = [...ended, ...this.#open.values()].map((period): PeriodRecord => {
      const { periodId, check, code, fromMs, untilMs, isOver, isLost } = period
      const ages = { fromAgeMs: nowMs - fromMs, untilAgeMs: isLost ? undefined : nowMs - untilMs }
      return { periodId, check, instance: instance(), code, isOver, ...ages }
    })
    await store.write(rows)
    // Others may have ended during the write.
    this.#ended = this.#ended.filter(period => !ended.has(period))
    if (this.#dropped > 0) log.warn({ dropped: this.#dropped }, 'health history incomplete')
    this.#dropped = 0
  }
}
