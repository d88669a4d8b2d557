import { SECOND } from '../async/durations.ts'
import type { Database } from '../database/database.ts'
import { Listener } from '../database/listener.ts'
import { ServiceError } from '../errors.ts'
import type { Log } from '../log/log.ts'
import { Alarm } from './alarm.ts'
import { ClusterClock } from './cluster-clock.ts'
import { type Job, JobError } from './job.ts'
import { type Fire, planFire } from './misfire.ts'
import { isOverdue } from './overdue.ts'
import { type Ledger, newClaim, Run, type RunResult } from './run.ts'
import {
  type Beside,
  CHANNEL,
  type JobClock,
  type Look,
  type RunRecord,
  SchedulerStore,
  type StatusRecord
} from './store.ts'

/** How often a replica looks at the clock in the database. */
const LOOK_MS = 1 * SECOND
/** How soon it asks again whether the schema is there; that costs no query. */
const NOT_READY_MS = 100
/** How soon a fire is tried again that was ahead of the database's clock. */
const EARLY_RETRY_MS = 5
/** A clock that has not looked for this long is wedged. */
export const WEDGED_MS = 10 * SECOND

export interface SchedulerOptions {
  database: Database
  jobs: readonly Job[]
  instance: string
  /** False: this replica claims no scheduled run. */
  enabled: boolean
  applicationName: string
  log: Log
  /** Whether the schema is there. Nothing is looked at before. */
  isReady: () => boolean
  /** Whether the replica drains: then it claims nothing more. */
  isDraining: () => boolean
  /** Told the end of each run of this replica, and of each that it found abandoned or had to skip. */
  onRunEnd?: (end: RunEndEvent) => void
}

/** How a run ended, for those who count. Durations in milliseconds. */
export interface RunEndEvent {
  jobId: string
  outcome: RunResult['outcome'] | 'abandoned' | 'skipped'
  /** Not known of a run that was found abandoned, nor of one that never began. */
  durationMs?: number
  /** From its due time to its start; of a run on schedule. */
  startDelayMs?: number
}

/** Who asks for a run: the clock for a fire that is due, or an admin's hand. */
type RunRequest = { by: 'clock'; fire: Fire } | ({ by: 'admin' } & TriggerOptions)

type RunAnswer =
  | { kind: 'started'; run: Run }
  /** The one unfinished run that a job may have is there already. */
  | { kind: 'busy'; running?: RunRecord }
  | { kind: 'recent'; run: RunRecord }
  /** Nothing to run: another replica has it, it is off, or it was given up. */
  | { kind: 'none' }
  | { kind: 'early' }

export interface TriggerOptions {
  actor: string
  date?: string | undefined
  unlessRunWithinSeconds?: number | undefined
  /** The request that asks, as the log knows it. */
  requestId?: string | undefined
}

export type Triggered = { kind: 'started'; run: Run } | { kind: 'recent'; run: RunRecord }

/** A job as the status shows it. */
export interface JobStatus {
  job: Job
  nextRunTime: Date | null
  paused: boolean
  pausedBy: string | null
  pausedReason: string | null
  overdue: boolean
  running: RunRecord | null
  lastRun: RunRecord | null
}

export interface SchedulerStatus {
  running: boolean
  /** Who stopped the clock, why, and when it goes on by itself; null while it runs. */
  stopped: { by: string | null; at: Date; reason: string | null; resumesAt: Date | null } | null
  /** When this replica last looked at the clock. */
  lastCheck: Date | null
  jobs: JobStatus[]
}

/** The clock as the health details show it. */
export interface SchedulerHealth {
  /** Whether the clock of the cluster runs, as of the last look; null before the first. */
  running: boolean | null
  /** Since the last look at the database, in milliseconds; null before the first. */
  heartbeatAgeMs: number | null
  /** The clock has stood still for longer than `WEDGED_MS`. */
  wedged: boolean
  /** Ids of the jobs that should have succeeded by now, as of the last look. */
  overdue: string[]
}

interface Entry {
  readonly job: Job
  /** What the job's clock stands at; undefined while it is off. */
  dueMs: number | undefined
  paused: boolean
  firstDueMs: number | null
  lastSuccessMs: number | null
  /** A claim is under way. */
  claiming: boolean
  /** Of a replica job. */
  run: Run | undefined
  lastRun: RunRecord | null
}

/**
 * Runs jobs when they are due, once in the cluster, and when an admin asks. Postgres decides who runs; this replica's
 * timers only say when to ask it. Every run goes through one door.
 */
export class Scheduler {
  readonly #options: SchedulerOptions
  readonly #store: SchedulerStore
  readonly #clock = new ClusterClock()
  readonly #alarm = new Alarm(() => this.#fireDue())
  readonly #entries: ReadonlyMap<string, Entry>
  readonly #runs = new Set<Run>()
  readonly #claims = new Set<Promise<unknown>>()
  readonly #log: Log
  #listener: Listener | undefined
  #registered = false
  #clockRuns: boolean | undefined
  #changedAtMs: number | undefined
  #lookTimer: NodeJS.Timeout | undefined
  #looking: Promise<void> | undefined
  #lookAgain = false
  #lookedMs: number | undefined
  #lastFailure: string | undefined
  #stopping = false
  #closed = false

  constructor(options: SchedulerOptions) {
    this.#options = options
    this.#log = options.log
    this.#store = new SchedulerStore(options.database)
    this.#entries = new Map(
      options.jobs.map(job => [
        job.id,
        {
          job,
          dueMs: undefined,
          paused: false,
          firstDueMs: null,
          lastSuccessMs: null,
          claiming: false,
          run: undefined,
          lastRun: null
        }
      ])
    )
    if (this.#entries.size !== options.jobs.length) throw new Error('two jobs have one id')
  }

  /** Begins to look at the clock, as soon as the schema is there. */
  start(): void {
    void this.#options.database.address.then(url => {
      if (this.#closed) return
      const { applicationName, log } = this.#options
      this.#listener = new Listener({ url, channel: CHANNEL, applicationName, log, heard: () => this.#look() })
      this.#look()
    })
  }

  /**
   * Claims nothing more and waits for what runs; after `timeoutMs` the runs are aborted and recorded as failed with the
   * code `SHUTDOWN`. Afterwards no lease is held: another replica can go on at once. Idempotent, never rejects.
   */
  async drain(timeoutMs: number): Promise<void> {
    this.#stopping = true
    this.#alarm.clear()
    await Promise.allSettled(this.#claims)
    const finished = () => Promise.all([...this.#runs].map(run => run.finished))
    let timer: NodeJS.Timeout | undefined
    const timeout = new Promise(resolve => {
      timer = setTimeout(resolve, timeoutMs)
    })
    await Promise.race([finished(), timeout])
    clearTimeout(timer)
    for (const run of this.#runs) run.abort(new JobError('SHUTDOWN'))
    await finished()
  }

  /** Releases timers and connections; to be drained before. Idempotent. */
  async close(): Promise<void> {
    this.#closed = true
    this.#stopping = true
    this.#alarm.clear()
    clearTimeout(this.#lookTimer)
    this.#listener?.close()
    await this.#looking
  }

  /** The table of jobs. */
  get jobs(): readonly Job[] {
    return this.#options.jobs
  }

  /** The job that `trigger-job` means. */
  jobOfType(type: string): Job | undefined {
    return this.#options.jobs.find(job => job.type === type)
  }

  /** Whether a manual run of the job may name this day, by the clock of the cluster. */
  takesDate(job: Job, date: string): boolean {
    return job.takesDate?.(date, this.#nowMs()) ?? false
  }

  /**
   * Runs a job now, by an admin's hand: also while the clock is stopped or the job paused.
   * @throws {ServiceError} `JOB_ALREADY_RUNNING` with the running run, `DRAINING` while this replica shuts down
   * @throws {DatabaseUnavailableError}
   */
  async trigger(job: Job, options: TriggerOptions): Promise<Triggered> {
    const answer = await this.#run(this.#entry(job.id), { by: 'admin', ...options })
    if (answer.kind === 'started' || answer.kind === 'recent') return answer
    if (answer.kind === 'busy' && answer.running) {
      const { run_id, started_at, instance } = answer.running
      throw new ServiceError('JOB_ALREADY_RUNNING', {
        extra: { run_id, started_at: started_at.toISOString(), instance }
      })
    }
    throw new ServiceError('DRAINING', { headers: { 'retry-after': '5' } })
  }

  /**
   * Starts, stops or restarts the clock of the whole cluster. Idempotent.
   * @param beside done in the same transaction
   * @throws {DatabaseUnavailableError}
   */
  async control(
    action: 'start' | 'stop' | 'restart',
    { actor, reason, forMinutes }: { actor: string; reason?: string | undefined; forMinutes?: number | undefined },
    beside?: Beside
  ): Promise<{ running: boolean }> {
    const running = action !== 'stop'
    await this.#store.control(
      {
        running,
        restart: action === 'restart',
        actor,
        reason: reason ?? null,
        forMinutes: running ? null : (forMinutes ?? null)
      },
      beside
    )
    this.#log.info({ action, actor, reason, for_minutes: forMinutes }, 'scheduler controlled')
    this.#look()
    return { running }
  }

  /**
   * Pauses or resumes one job in the whole cluster. Idempotent.
   * @throws {ServiceError} `JOB_NOT_FOUND`
   * @throws {DatabaseUnavailableError}
   */
  async setPaused(
    jobId: string,
    paused: boolean,
    { actor, reason }: { actor: string; reason?: string | undefined },
    beside?: Beside
  ): Promise<void> {
    if (!this.#entries.has(jobId)) throw new ServiceError('JOB_NOT_FOUND')
    await this.#store.pause(jobId, { paused, actor, reason: reason ?? null }, beside)
    this.#log.info({ job_id: jobId, actor, reason }, paused ? 'job paused' : 'job resumed')
    this.#look()
  }

  /**
   * The state of the cluster's clock and jobs, from the database; replica jobs as they are here.
   * @throws {DatabaseUnavailableError}
   */
  async status(): Promise<SchedulerStatus> {
    const record = await this.#store.status()
    const clocks = new Map(record.jobs.map(job => [job.job_id, job]))
    const nowMs = record.now.getTime()
    return {
      running: record.running,
      stopped: stopOf(record),
      lastCheck: this.#lookedMs === undefined ? null : new Date(nowMs - (performance.now() - this.#lookedMs)),
      jobs: [...this.#entries.values()].map(entry => {
        const { job } = entry
        const clock = clocks.get(job.id)
        const off = !record.running || clock?.paused === true
        const cluster = job.scope === 'cluster'
        const nextMs = cluster ? clock?.next_fire_at?.getTime() : entry.dueMs
        const firstDueMs = cluster ? (clock?.first_due_at?.getTime() ?? null) : entry.firstDueMs
        const lastSuccessMs = cluster ? (clock?.last_success_at?.getTime() ?? null) : entry.lastSuccessMs
        return {
          job,
          nextRunTime: off ? null : new Date(nextMs ?? job.trigger.next(nowMs)),
          paused: clock?.paused ?? false,
          pausedBy: clock?.paused_by ?? null,
          pausedReason: clock?.paused_reason ?? null,
          overdue: !off && isOverdue({ ...job, periodMs: job.trigger.periodMs, firstDueMs, lastSuccessMs }, nowMs),
          running: cluster ? (clock?.running ?? null) : entry.run ? this.#recordOf(entry.run) : null,
          lastRun: cluster ? (clock?.last_run ?? null) : entry.lastRun
        }
      })
    }
  }

  /** The clock as this replica knows it, without a query. */
  health(): SchedulerHealth {
    const heartbeatAgeMs = this.#lookedMs === undefined ? null : Math.round(performance.now() - this.#lookedMs)
    const overdue = [...this.#entries.values()].filter(
      ({ job, firstDueMs, lastSuccessMs }) =>
        this.#clock.known &&
        isOverdue({ ...job, periodMs: job.trigger.periodMs, firstDueMs, lastSuccessMs }, this.#clock.nowMs())
    )
    return {
      running: this.#clockRuns ?? null,
      heartbeatAgeMs,
      wedged: heartbeatAgeMs !== null && heartbeatAgeMs > WEDGED_MS,
      overdue: overdue.map(({ job }) => job.id)
    }
  }

  /** The history of the cluster jobs, newest first. */
  runs(filter: Parameters<SchedulerStore['runs']>[0]): Promise<RunRecord[]> {
    return this.#store.runs(filter)
  }

  /**
   * One run; with its progress as it is this moment where it runs here. The last run of a replica job is known here alone.
   * @throws {ServiceError} `RUN_NOT_FOUND`
   */
  async runById(runId: string): Promise<RunRecord> {
    for (const { run, lastRun } of this.#entries.values()) {
      if (run?.runId === runId) return this.#recordOf(run)
      if (lastRun?.run_id === runId) return lastRun
    }
    const record = await this.#store.run(runId)
    if (!record) throw new ServiceError('RUN_NOT_FOUND')
    const here = [...this.#runs].find(run => run.runId === runId)
    return here?.progress && record.outcome === 'running' ? { ...record, progress: here.progress } : record
  }

  /** The one door: a fire that is due, a catch-up and an admin's hand all come through here. */
  async #run(entry: Entry, request: RunRequest): Promise<RunAnswer> {
    if (this.#stopping || this.#options.isDraining()) return { kind: 'none' }
    const claiming = entry.job.scope === 'cluster' ? this.#claim(entry, request) : this.#claimHere(entry, request)
    this.#claims.add(claiming)
    try {
      return await claiming
    } finally {
      this.#claims.delete(claiming)
    }
  }

  async #claim(entry: Entry, request: RunRequest): Promise<RunAnswer> {
    const { job } = entry
    const claim = newClaim(this.#options.instance)
    if (request.by === 'admin') {
      const claimed = await this.#store.claimManual(job.id, claim, request)
      if (claimed.kind !== 'started') return claimed
      const { actor, date, requestId } = request
      const { startedAt } = claimed
      return this.#begin(entry, this.#store, { claim, trigger: 'manual', actor, startedAt, date, requestId })
    }
    const { fire } = request
    const claimed = await this.#store.claimFire(job.id, fire, claim)
    if (claimed === 'early') return { kind: 'early' }
    if (claimed === 'lost') return { kind: 'none' }
    this.#tellMissed(job, fire)
    if (claimed === 'busy') {
      await this.#store.countOverrun(job.id)
      return { kind: 'busy' }
    }
    return fire.run ? this.#beginFire(entry, this.#store, claim, fire.run) : { kind: 'none' }
  }

  /** As `#claim`, of a job that every replica has for itself. */
  async #claimHere(entry: Entry, request: RunRequest): Promise<RunAnswer> {
    if (entry.run) return { kind: 'busy', running: this.#recordOf(entry.run) }
    const claim = newClaim(this.#options.instance)
    const ledger = this.#memory()
    if (request.by === 'admin') {
      const { actor, date, requestId, unlessRunWithinSeconds: within } = request
      const { lastRun } = entry
      const ageMs = this.#nowMs() - (lastRun?.finished_at?.getTime() ?? Number.NEGATIVE_INFINITY)
      if (lastRun?.outcome === 'succeeded' && within !== undefined && ageMs <= within * SECOND) {
        return { kind: 'recent', run: lastRun }
      }
      const startedAt = new Date(this.#nowMs())
      return this.#begin(entry, ledger, { claim, trigger: 'manual', actor, startedAt, date, requestId })
    }
    this.#tellMissed(entry.job, request.fire)
    return request.fire.run ? this.#beginFire(entry, ledger, claim, request.fire.run) : { kind: 'none' }
  }

  #beginFire(entry: Entry, ledger: Ledger, claim: Run['options']['claim'], run: NonNullable<Fire['run']>): RunAnswer {
    return this.#begin(entry, ledger, {
      claim,
      trigger: run.trigger,
      actor: null,
      startedAt: new Date(this.#nowMs()),
      scheduledFor: new Date(run.scheduledForMs)
    })
  }

  #begin(
    entry: Entry,
    ledger: Ledger,
    {
      date,
      ...rest
    }: Pick<Run['options'], 'claim' | 'trigger' | 'actor' | 'startedAt' | 'scheduledFor' | 'requestId'> & {
      date?: string | undefined
    }
  ): RunAnswer {
    const run = new Run({ job: entry.job, ledger, log: this.#log, ...rest, ...(date !== undefined && { date }) })
    this.#runs.add(run)
    if (entry.job.scope === 'replica') entry.run = run
    void run.finished.then(result => {
      this.#runs.delete(run)
      this.#tellEnd(run, result)
      if (entry.run === run) this.#keep(entry, run, result)
    })
    return { kind: 'started', run }
  }

  #tellEnd({ options: { job, trigger, startedAt, scheduledFor } }: Run, { outcome, durationMs }: RunResult): void {
    const startDelayMs =
      trigger === 'schedule' && scheduledFor ? startedAt.getTime() - scheduledFor.getTime() : undefined
    this.#options.onRunEnd?.({
      jobId: job.id,
      outcome,
      durationMs,
      ...(startDelayMs !== undefined && { startDelayMs: Math.max(0, startDelayMs) })
    })
  }

  #tellMissed({ id }: Job, { missed }: Fire): void {
    if (!missed) return
    const { count, fromMs, untilMs } = missed
    const window = { from: new Date(fromMs).toISOString(), until: new Date(untilMs).toISOString() }
    this.#log.warn({ job_id: id, count, ...window }, 'fires missed')
  }

  /** Every alarm: asks for all fires that are due, and sets the alarm to the next. */
  #fireDue(): void {
    if (this.#stopping || !this.#clock.known) return
    const nowMs = this.#clock.nowMs()
    for (const entry of this.#entries.values()) {
      if (entry.dueMs !== undefined && entry.dueMs <= nowMs && !entry.claiming)
        void this.#fire(entry, entry.dueMs, nowMs)
    }
    this.#setAlarm()
  }

  /** Never rejects: a fire whose claim fails is tried again at the next look. */
  async #fire(entry: Entry, dueMs: number, nowMs: number): Promise<void> {
    const { job } = entry
    const fire = planFire(job.trigger, job.misfire, dueMs, nowMs)
    entry.claiming = true
    entry.dueMs = undefined
    try {
      const answer = await this.#run(entry, { by: 'clock', fire })
      if (answer.kind === 'busy') {
        this.#log.warn({ job_id: job.id }, 'fire skipped, the job still runs')
        this.#options.onRunEnd?.({ jobId: job.id, outcome: 'skipped' })
      }
      // Whoever has it has moved the job's clock on as this replica would have; the next look corrects it.
      if (this.#clockRuns && !entry.paused) entry.dueMs ??= answer.kind === 'early' ? dueMs : fire.nextMs
    } catch (err) {
      this.#log.warn({ err, job_id: job.id }, 'claim failed')
      if (job.scope === 'replica') entry.dueMs = fire.nextMs
    }
    entry.claiming = false
    this.#setAlarm()
  }

  #setAlarm(): void {
    if (this.#stopping || !this.#options.enabled) return
    const dues = [...this.#entries.values()].flatMap(({ dueMs, claiming }) =>
      dueMs === undefined || claiming ? [] : [dueMs]
    )
    if (dues.length === 0) this.#alarm.clear()
    else {
      const inMs = Math.min(...dues) - this.#clock.nowMs()
      this.#alarm.set(inMs <= 0 ? EARLY_RETRY_MS : inMs)
    }
  }

  /** Looks at the database now, and then every `LOOK_MS`. Never more than one look at a time. */
  #look(): void {
    if (this.#closed) return
    if (this.#looking) {
      this.#lookAgain = true
      return
    }
    clearTimeout(this.#lookTimer)
    this.#looking = this.#lookOnce().finally(() => {
      this.#looking = undefined
      if (this.#closed) return
      const waitMs = this.#options.isReady() ? LOOK_MS : NOT_READY_MS
      this.#lookTimer = setTimeout(() => this.#look(), this.#lookAgain ? 0 : waitMs).unref()
      this.#lookAgain = false
    })
  }

  async #lookOnce(): Promise<void> {
    if (!this.#options.isReady()) return
    try {
      if (!this.#registered) {
        await this.#store.register(
          this.#options.jobs.map(({ id, trigger }) => ({ jobId: id, definition: trigger.definition }))
        )
        this.#registered = true
        this.#listener?.restart()
      }
      const askedMs = this.#clock.monotonicMs()
      const look = await this.#store.look()
      this.#clock.observe(look.nowMs, askedMs, this.#clock.monotonicMs())
      if (this.#lastFailure !== undefined) this.#listener?.restart()
      this.#lastFailure = undefined
      await this.#takeIn(look)
      this.#lookedMs = performance.now()
    } catch (err) {
      const failure = err instanceof Error ? err.message : String(err)
      if (failure !== this.#lastFailure) this.#log.warn({ err }, 'scheduler poll failed')
      this.#lastFailure = failure
    }
  }

  async #takeIn(look: Look): Promise<void> {
    for (const run of look.abandoned) {
      this.#log.warn(run, 'run abandoned')
      if (this.#entries.has(run.job_id)) this.#options.onRunEnd?.({ jobId: run.job_id, outcome: 'abandoned' })
    }
    if (this.#clockRuns !== look.running) this.#log.info({ running: look.running }, 'scheduler state changed')
    this.#clockRuns = look.running
    const afresh = this.#changedAtMs !== undefined && this.#changedAtMs !== look.changedAtMs
    this.#changedAtMs = look.changedAtMs

    const unset: { jobId: string; nextFireMs: number }[] = []
    for (const clock of look.jobs) {
      const entry = this.#entries.get(clock.jobId)
      if (!entry) continue
      entry.paused = clock.paused
      if (entry.job.scope === 'replica') this.#takeInHere(entry, clock, look, afresh)
      else {
        entry.firstDueMs = clock.firstDueMs
        entry.lastSuccessMs = clock.lastSuccessMs
        const off = !look.running || clock.paused
        if (!entry.claiming) entry.dueMs = off ? undefined : (clock.nextFireMs ?? undefined)
        if (!off && clock.nextFireMs === null) {
          unset.push({ jobId: clock.jobId, nextFireMs: entry.job.trigger.next(look.nowMs) })
        }
      }
    }
    if (unset.length > 0 && this.#options.enabled && !this.#stopping) {
      await this.#store.setClocks(unset)
      this.#lookAgain = true
    }
    this.#setAlarm()
  }

  #takeInHere(entry: Entry, { paused }: JobClock, { running, nowMs }: Look, afresh: boolean): void {
    if (!running || paused) {
      entry.dueMs = undefined
      entry.firstDueMs = null
      return
    }
    if (afresh || (entry.dueMs === undefined && !entry.claiming)) entry.dueMs = entry.job.trigger.next(nowMs)
    entry.firstDueMs ??= entry.dueMs ?? null
  }

  /** The ledger of a replica job: nobody else could take its run away. */
  #memory(): Ledger {
    return {
      renew: async () => true,
      finish: async () => true,
      fenced: (_claim, work, options) => this.#store.transaction(work, options)
    }
  }

  #keep(entry: Entry, run: Run, result: RunResult): void {
    const record = this.#recordOf(run)
    const finishedMs = this.#nowMs()
    const succeeded = result.outcome === 'succeeded'
    entry.run = undefined
    entry.lastRun = {
      ...record,
      finished_at: new Date(finishedMs),
      duration_ms: result.durationMs,
      outcome: succeeded ? 'succeeded' : 'failed',
      result: succeeded ? result.result : null,
      error: result.outcome === 'failed' ? result.errorCode : null
    }
    if (succeeded) entry.lastSuccessMs = finishedMs
  }

  #recordOf(run: Run): RunRecord {
    const { job, claim, trigger, actor, scheduledFor, startedAt } = run.options
    return {
      run_id: claim.runId,
      job_id: job.id,
      trigger,
      actor,
      instance: claim.instance,
      scheduled_for: scheduledFor ?? null,
      started_at: startedAt,
      finished_at: null,
      duration_ms: null,
      outcome: 'running',
      progress: run.progress ?? null,
      result: null,
      error: null
    }
  }

  #entry(jobId: string): Entry {
    const entry = this.#entries.get(jobId)
    if (!entry) throw new ServiceError('JOB_NOT_FOUND')
    return entry
  }

  /** The database's time; this replica's own before it is known, which only a replica job can meet. */
  #nowMs(): number {
    return this.#clock.known ? this.#clock.nowMs() : Date.now()
  }
}

function stopOf({ running, changed_by, changed_at, reason, resumes_at }: StatusRecord): SchedulerStatus['stopped'] {
  return running ? null : { by: changed_by, at: changed_at, reason, resumesAt: resumes_at }
}
