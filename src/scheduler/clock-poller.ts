// @FEAT:scheduler @COMP:service @TYPE:core
import { SECOND } from '../async/durations.ts'
import { Poller } from '../async/poller.ts'
import { backgroundTimers, type Timers } from '../async/timers.ts'
import type { Listener } from '../database/listener.ts'
import { FailureLog } from '../log/failure-log.ts'
import type { Log } from '../log/log.ts'
import { ClusterClock } from './cluster-clock.ts'
import type { Job } from './job.ts'
import { JobTimes } from './job-times.ts'
import { type Fire, planFire } from './misfire.ts'
import type { NextFire, SchedulerStore, Snapshot } from './store.ts'

/** The wait between two polls of the database, in milliseconds. */
const POLL_MS = 1 * SECOND
/** The wait after a poll that failed, in milliseconds: three failures in a row must be seen within three seconds. */
const FAILED_POLL_MS = 200
/** The wait before a fire is claimed again that was ahead of the database's clock, in milliseconds. */
const EARLY_RETRY_MS = 5
const CLAIM_MESSAGES = { failedMessage: 'claim failed', recoveredMessage: 'claim succeeded again' }
/** The longest wait that Node.js timers support, in milliseconds. */
const MAX_TIMER_MS = 2 ** 31 - 1

export interface ClockPollerOptions {
  store: Pick<SchedulerStore, 'register' | 'poll' | 'setFireTimes'>
  /** Creates a listener that calls back on each change of the control tables. */
  listen: (url: string, onNotification: () => void) => Pick<Listener, 'restart' | 'close'>
  jobs: readonly Job[]
  /** Whether this replica fires jobs, as of now. */
  enabled: () => boolean
  log: Log
  /**
   * Claims a fire that is due and starts its run.
   * @returns `early` when the database's clock has not reached the due time
   * @throws anything: the claim is then tried again after the next poll
   */
  fire: (job: Job, fire: Fire) => Promise<'early' | 'settled'>
  /** Called for each run that a poll of this replica has abandoned. */
  onAbandoned: (run: Snapshot['abandoned'][number]) => void
  /** Default `backgroundTimers`. */
  timers?: Timers
}

/** Polls the state of the scheduler in the database, and fires each job at its due time. */
export class ClockPoller {
  readonly #options: ClockPollerOptions
  readonly #timers: Timers
  readonly #clock: ClusterClock
  readonly #poller: Poller
  readonly #times: ReadonlyMap<string, JobTimes>
  readonly #claimLogs: ReadonlyMap<string, FailureLog>
  #listener: Pick<Listener, 'restart' | 'close'> | undefined
  #registered = false
  /** As of the last poll. */
  #state: { running: boolean; changedAtMs: number } | undefined
  #polledMs: number | undefined
  #pollMs: number | null = null
  #cancelAlarm: (() => void) | undefined
  #firing = true

  /** @throws {Error} when two jobs have the same id */
  constructor(options: ClockPollerOptions) {
    this.#options = options
    this.#timers = options.timers ?? backgroundTimers
    this.#clock = new ClusterClock(() => this.#timers.now())
    this.#times = new Map(options.jobs.map(job => [job.id, new JobTimes(job)]))
    this.#claimLogs = new Map(options.jobs.map(({ id }) => [id, new FailureLog(CLAIM_MESSAGES)]))
    if (this.#times.size !== options.jobs.length) throw new Error('two jobs have the same id')
    this.#poller = new Poller({
      poll: () => this.#pollOnce(),
      intervalMs: POLL_MS,
      backOff: { minMs: FAILED_POLL_MS, maxMs: FAILED_POLL_MS, jitter: 0 },
      log: options.log,
      failedMessage: 'scheduler poll failed',
      recoveredMessage: 'scheduler poll recovered',
      onRecovered: () => this.#listener?.restart(),
      timers: this.#timers
    })
  }

  /**
   * Starts to listen and to poll. To be called when the schema is there, and not after `close`.
   * @param url the address of the database
   */
  start(url: string): void {
    this.#listener = this.#options.listen(url, () => this.poll())
    this.#listener.restart()
    this.#poller.start()
  }

  /** Polls now, or once more after the poll that runs. */
  poll(): void {
    void this.#poller.kick()
  }

  /** Fires no job from now on. The polls go on. Idempotent. */
  stopFiring(): void {
    this.#firing = false
    this.#cancelAlarm?.()
  }

  /** Releases timers and the listener, and waits for the running poll. Idempotent, never rejects. */
  async close(): Promise<void> {
    this.stopFiring()
    this.#listener?.close()
    await this.#poller.stop()
  }

  /** Whether the scheduler of the cluster runs, as of the last poll; undefined before the first. */
  get running(): boolean | undefined {
    return this.#state?.running
  }

  /** Milliseconds since the last successful poll; null before the first. */
  get pollAgeMs(): number | null {
    return this.#polledMs === undefined ? null : this.#timers.now() - this.#polledMs
  }

  /** How long the statement of the last poll took, in milliseconds; null before the first. */
  get pollMs(): number | null {
    return this.#pollMs
  }

  /** The database's time, in milliseconds since the epoch; undefined before the first poll. */
  get databaseMs(): number | undefined {
    return this.#clock.known ? this.#clock.nowMs() : undefined
  }

  /** The local monotonic clock, in milliseconds. */
  get monotonicMs(): number {
    return this.#timers.now()
  }

  /** The fire times of all jobs by the job's id. */
  get times(): ReadonlyMap<string, JobTimes> {
    return this.#times
  }

  async #pollOnce(): Promise<undefined> {
    const { store, jobs } = this.#options
    if (!this.#registered) {
      await store.register(jobs.map(({ id, trigger }) => ({ jobId: id, definition: trigger.definition })))
      this.#registered = true
    }
    const askedMs = this.#timers.now()
    const snapshot = await store.poll()
    this.#clock.observe(snapshot.nowMs, askedMs, this.#timers.now())
    this.#pollMs = this.#timers.now() - askedMs
    await this.#apply(snapshot)
    this.#polledMs = this.#timers.now()
  }

  async #apply({ nowMs, running, changedAtMs, abandoned, jobs }: Snapshot): Promise<void> {
    const { store, log, enabled, onAbandoned } = this.#options
    for (const run of abandoned) {
      log.warn({ run_id: run.runId, job_id: run.jobId, instance: run.instance }, 'run abandoned')
      onAbandoned(run)
    }
    if (this.#state?.running !== running) log.info({ running }, 'scheduler state changed')
    const changed = this.#state !== undefined && this.#state.changedAtMs !== changedAtMs
    this.#state = { running, changedAtMs }

    const unset: NextFire[] = []
    const tooLate: Record<string, number> = {}
    for (const fireTimes of jobs) {
      const { jobId, paused, nextFireMs } = fireTimes
      const times = this.#times.get(jobId)
      if (!times) continue
      times.apply(fireTimes, { nowMs, running, changed, monotonicMs: this.#timers.now() })
      if (times.job.scope === 'replica' || !running || paused) continue
      const fire = times.missingFire(nextFireMs, nowMs)
      if (fire) unset.push(fire)
      if (fire && nextFireMs !== null) tooLate[jobId] = Math.round((nextFireMs - nowMs) / SECOND)
    }
    if (unset.length > 0 && enabled() && this.#firing) {
      if (Object.keys(tooLate).length > 0) {
        log.warn({ seconds_ahead: tooLate }, 'fire times too far ahead, set again: the database clock was set back')
      }
      await store.setFireTimes(unset)
      this.poll()
    }
    this.#setAlarm()
  }

  /** Sets the one timer of all jobs to the next due time. */
  #setAlarm(): void {
    this.#cancelAlarm?.()
    if (!this.#firing || !this.#options.enabled() || !this.#clock.known) return
    const dues = [...this.#times.values()].flatMap(({ dueMs, claiming }) =>
      dueMs === undefined || claiming ? [] : [dueMs]
    )
    if (dues.length === 0) return
    const inMs = Math.min(...dues) - this.#clock.nowMs()
    const waitMs = inMs <= 0 ? EARLY_RETRY_MS : Math.min(inMs, MAX_TIMER_MS)
    this.#cancelAlarm = this.#timers.after(waitMs, () => this.#fireDue())
  }

  #fireDue(): void {
    const nowMs = this.#clock.nowMs()
    for (const times of this.#times.values()) {
      if (times.dueMs !== undefined && times.dueMs <= nowMs && !times.claiming)
        void this.#fire(times, times.dueMs, nowMs)
    }
    this.#setAlarm()
  }

  /** Never rejects. */
  async #fire(times: JobTimes, dueMs: number, nowMs: number): Promise<void> {
    const { job } = times
    const fire = planFire(job.trigger, job.misfire, dueMs, nowMs)
    times.claiming = true
    times.dueMs = undefined
    try {
      const result = await this.#options.fire(job, fire)
      this.#claimLogs.get(job.id)?.succeeded(this.#options.log, { job_id: job.id })
      // The replica that claimed the fire has set the same next fire time; the next poll corrects it otherwise.
      if (this.#state?.running && !times.paused) times.dueMs ??= result === 'early' ? dueMs : fire.nextMs
    } catch (err) {
      this.#claimLogs.get(job.id)?.failed(this.#options.log, { err, job_id: job.id })
      if (job.scope === 'replica') times.dueMs = fire.nextMs
    }
    times.claiming = false
    this.#setAlarm()
  }
}
