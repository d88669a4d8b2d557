// @FEAT:scheduler @COMP:service @TYPE:core
import type { Database } from '../database/database.ts'
import { Listener } from '../database/listener.ts'
import { type ErrorCode, ServiceError } from '../errors.ts'
import type { Log } from '../log/log.ts'
import { ClockPoller } from './clock-poller.ts'
import { type Job, JobError } from './job.ts'
import type { Fire } from './misfire.ts'
import { localLeases, ReplicaJobs } from './replica-jobs.ts'
import { type LeaseStore, newClaim, Run, type RunEndEvent, type RunOptions, type RunResult } from './run.ts'
import { type RunFilter, RunHistory, type RunRecord } from './run-history.ts'
import { RunStore } from './run-store.ts'
import { healthOf, type SchedulerHealth, type SchedulerStatus, statusOf } from './status.ts'
import { CHANNEL, SchedulerStore } from './store.ts'
import { type InTransaction, limitedTransaction } from './transaction.ts'

/** When a client may repeat a request that this replica refuses because it drains, in seconds. */
const RETRY_AFTER = '5'

export interface SchedulerOptions {
  database: Database
  jobs: readonly Job[]
  /** The name of this replica. */
  instance: () => string
  /** False: this replica claims no scheduled run. */
  enabled: boolean
  /** How many replicas may run scheduled jobs; undefined while that is unknown, which is the default. */
  runners?: () => number | undefined
  applicationName: string
  log: Log
  /** Whether this replica drains: then it starts no run. */
  isDraining: () => boolean
  /** Why this replica may run no job at the moment, scheduled or manual; undefined while it may. Default: it may. */
  refusal?: () => ErrorCode | undefined
  /** Called at the end of each run of this replica, and for each run that it found abandoned or had to skip. */
  onRunEnd?: (end: RunEndEvent) => void
}

/** What asks for a run: a due time, or an admin. */
type RunRequest = { by: 'clock'; fire: Fire } | ({ by: 'admin' } & TriggerOptions)

type RunAnswer =
  | { kind: 'started'; run: Run }
  /** The job has an unfinished run. */
  | { kind: 'busy'; running?: RunRecord }
  /** The job has succeeded as recently as the request allows. */
  | { kind: 'recent'; run: RunRecord }
  /** Nothing to run: another replica claimed the fire, the scheduler is stopped, or the fire is too late. */
  | { kind: 'none' }
  | { kind: 'early' }

export interface TriggerOptions {
  actor: string
  /** The day that the run is for, `YYYY-MM-DD`; only for a job that takes one. */
  date?: string | undefined
  /** Start no run when one has succeeded within this many seconds. */
  unlessRunWithinSeconds?: number | undefined
  /** The id of the request, for the log. */
  requestId?: string | undefined
  /**
   * Runs in the transaction of the claim, before it; it may reject to prevent the run. Its changes are undone when no run
   * starts.
   */
  inTransaction?: InTransaction | undefined
}

export type Triggered = { kind: 'started'; run: Run } | { kind: 'recent'; run: RunRecord }

/**
 * Runs jobs when they are due, once in the cluster, and when an admin triggers them. The database decides which replica
 * runs a job; the timers of this replica only decide when to ask it. Every run starts in `#run`.
 */
export class Scheduler {
  readonly #options: SchedulerOptions
  readonly #log: Log
  readonly #store: SchedulerStore
  readonly #runStore: RunStore
  readonly #history: RunHistory
  readonly #poller: ClockPoller
  readonly #replicaJobs = new ReplicaJobs(() => this.#nowMs())
  readonly #localLeases: LeaseStore
  readonly #runs = new Set<Run>()
  readonly #claims = new Set<Promise<unknown>>()
  #stopping = false

  /** @throws {Error} when two jobs have the same id */
  constructor(options: SchedulerOptions) {
    const { database, jobs, enabled, applicationName, log } = options
    this.#options = options
    this.#log = log
    this.#store = new SchedulerStore(database)
    this.#runStore = new RunStore(database)
    this.#history = new RunHistory(database)
    this.#localLeases = localLeases(database)
    this.#poller = new ClockPoller({
      store: this.#store,
      listen: (url, onNotification) => new Listener({ url, channel: CHANNEL, applicationName, log, onNotification }),
      jobs,
      enabled: () => enabled && this.#options.refusal?.() === undefined,
      log,
      fire: (job, fire) => this.#fire(job, fire),
      onAbandoned: ({ jobId }) => {
        if (this.jobs.some(({ id }) => id === jobId)) this.#reportEnd({ jobId, outcome: 'abandoned' })
      }
    })
  }

  /** Starts to poll, and to run jobs when they are due. To be called once, when the schema is there. */
  async start(): Promise<void> {
    const url = await this.#options.database.address
    if (!this.#stopping) this.#poller.start(url)
  }

  /**
   * Starts no more runs and waits for those that run; after `timeoutMs` milliseconds it aborts them, and they are
   * recorded as failed with the code `SHUTDOWN`. Afterwards this replica holds no lease. Idempotent, never rejects.
   */
  async drain(timeoutMs: number): Promise<void> {
    this.#stopping = true
    this.#poller.stopFiring()
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

  /** Releases timers and connections. To be called after `drain`. Idempotent. */
  async close(): Promise<void> {
    this.#stopping = true
    await this.#poller.close()
  }

  get jobs(): readonly Job[] {
    return this.#options.jobs
  }

  /** The job of this `type`, as `trigger-job` names it. */
  jobOfType(type: string): Job | undefined {
    return this.jobs.find(job => job.type === type)
  }

  /** Whether a manual run of the job may be for this day, `YYYY-MM-DD`, at the database's time. */
  takesDate(job: Job, date: string): boolean {
    return job.takesDate?.(date, this.#nowMs()) ?? false
  }

  /**
   * Runs a job now, also while the scheduler is stopped or the job paused.
   * @throws {ServiceError} `JOB_ALREADY_RUNNING` with the unfinished run, `DRAINING` while this replica shuts down,
   * `JOB_NOT_FOUND`, and the `refusal` of this replica
   * @throws {DatabaseUnavailableError}
   */
  async trigger(job: Job, options: TriggerOptions): Promise<Triggered> {
    this.#assertJob(job.id)
    const refusal = this.#options.refusal?.()
    if (refusal) throw new ServiceError(refusal, { headers: { 'retry-after': RETRY_AFTER } })
    const answer = await this.#run(job, { by: 'admin', ...options })
    if (answer.kind === 'started' || answer.kind === 'recent') return answer
    if (answer.kind === 'busy' && answer.running) {
      const { runId, startedAt, instance } = answer.running
      throw new ServiceError('JOB_ALREADY_RUNNING', {
        extra: { run_id: runId, started_at: startedAt.toISOString(), instance }
      })
    }
    throw new ServiceError('DRAINING', { headers: { 'retry-after': RETRY_AFTER } })
  }

  /**
   * Starts, stops or restarts the scheduler of the whole cluster. Idempotent.
   * @param options.forMinutes a stop ends by itself after this many minutes
   * @param inTransaction runs in the same transaction
   * @throws {DatabaseUnavailableError}
   */
  async control(
    action: 'start' | 'stop' | 'restart',
    { actor, reason, forMinutes }: { actor: string; reason?: string | undefined; forMinutes?: number | undefined },
    inTransaction?: InTransaction
  ): Promise<{ running: boolean }> {
    const running = action !== 'stop'
    const change = {
      running,
      restart: action === 'restart',
      actor,
      reason: reason ?? null,
      forMinutes: running ? null : (forMinutes ?? null)
    }
    await this.#store.control(change, inTransaction)
    this.#log.info({ action, actor, reason, for_minutes: forMinutes }, 'scheduler controlled')
    this.#poller.poll()
    return { running }
  }

  /**
   * Pauses or resumes one job in the whole cluster. Idempotent.
   * @param inTransaction runs in the same transaction
   * @throws {ServiceError} `JOB_NOT_FOUND`
   * @throws {DatabaseUnavailableError}
   */
  async setPaused(
    jobId: string,
    paused: boolean,
    { actor, reason }: { actor: string; reason?: string | undefined },
    inTransaction?: InTransaction
  ): Promise<void> {
    this.#assertJob(jobId)
    await this.#store.pause(jobId, { paused, actor, reason: reason ?? null }, inTransaction)
    this.#log.info({ job_id: jobId, actor, reason }, paused ? 'job paused' : 'job resumed')
    this.#poller.poll()
  }

  /** Reads the state of the scheduler and of all jobs. @throws {DatabaseUnavailableError} */
  async status(): Promise<SchedulerStatus> {
    const record = await this.#store.status()
    const jobs = [...this.#poller.times.values()].map(times => ({
      times,
      running: this.#replicaJobs.running(times.job.id),
      lastRun: this.#replicaJobs.lastRun(times.job.id),
      isLate: times.isLate(this.#poller.monotonicMs)
    }))
    return statusOf(record, jobs, this.#poller.pollAgeMs, this.#options.runners?.() ?? null)
  }

  /** The state of the scheduler as this replica knows it, without a query. */
  health(): SchedulerHealth {
    return healthOf(this.#poller, this.#poller.times.values(), this.#options.runners?.() ?? null)
  }

  /** The runs of cluster jobs, newest first. @throws {DatabaseUnavailableError} */
  runs(filter: RunFilter): Promise<RunRecord[]> {
    return this.#history.list(filter)
  }

  /**
   * One run, with its current progress when this replica runs it. Of a replica job only this replica's own runs are
   * known.
   * @throws {ServiceError} `RUN_NOT_FOUND`
   * @throws {DatabaseUnavailableError}
   */
  async runById(runId: string): Promise<RunRecord> {
    const local = this.#replicaJobs.byId(runId)
    if (local) return local
    const record = await this.#history.byId(runId)
    if (!record) throw new ServiceError('RUN_NOT_FOUND')
    const progress = [...this.#runs].find(run => run.runId === runId)?.progress
    return progress && record.outcome === 'running' ? { ...record, progress } : record
  }

  async #fire(job: Job, fire: Fire): Promise<'early' | 'settled'> {
    const { kind } = await this.#run(job, { by: 'clock', fire })
    if (kind === 'busy') {
      this.#log.warn({ job_id: job.id }, 'fire skipped, the job still runs')
      this.#reportEnd({ jobId: job.id, outcome: 'skipped' })
    }
    return kind === 'early' ? 'early' : 'settled'
  }

  /** The single entry point of all runs: due fires, catch-ups and manual triggers. */
  async #run(job: Job, request: RunRequest): Promise<RunAnswer> {
    if (this.#stopping || this.#options.isDraining() || this.#options.refusal?.()) return { kind: 'none' }
    const claiming = job.scope === 'cluster' ? this.#claim(job, request) : this.#claimLocally(job, request)
    this.#claims.add(claiming)
    try {
      return await claiming
    } finally {
      this.#claims.delete(claiming)
    }
  }

  async #claim(job: Job, request: RunRequest): Promise<RunAnswer> {
    const claim = newClaim(this.#options.instance())
    if (request.by === 'admin') {
      const claimed = await this.#runStore.claimManual(job.id, claim, request)
      if (claimed.kind !== 'started') return claimed
      return this.#begin({ job, leases: this.#runStore, claim, ...manualRun(request, claimed.startedAt) })
    }
    const { fire } = request
    const claimed = await this.#runStore.claimFire(job.id, fire, claim)
    if (claimed === 'early') return { kind: 'early' }
    if (claimed === 'lost') return { kind: 'none' }
    this.#logMissed(job, fire)
    if (claimed === 'busy') {
      await this.#runStore.countOverrun(job.id)
      return { kind: 'busy' }
    }
    if (!fire.run) return { kind: 'none' }
    return this.#begin({ job, leases: this.#runStore, claim, ...scheduledRun(fire.run, this.#nowMs()) })
  }

  /** As `#claim`, for a replica job. */
  async #claimLocally(job: Job, request: RunRequest): Promise<RunAnswer> {
    const recentSeconds = request.by === 'admin' ? request.unlessRunWithinSeconds : undefined
    const conflict = this.#replicaJobs.conflict(job.id, recentSeconds)
    if (conflict) return conflict
    if (request.by === 'admin' && request.inTransaction) {
      await limitedTransaction(this.#options.database, request.inTransaction, { kind: 'manual claim with changes' })
      // Another run may have begun meanwhile.
      const later = this.#replicaJobs.conflict(job.id, recentSeconds)
      if (later) return later
    }
    const run = { job, leases: this.#localLeases, claim: newClaim(this.#options.instance()) }
    if (request.by === 'admin') return this.#begin({ ...run, ...manualRun(request, new Date(this.#nowMs())) })
    this.#logMissed(job, request.fire)
    if (!request.fire.run) return { kind: 'none' }
    return this.#begin({ ...run, ...scheduledRun(request.fire.run, this.#nowMs()) })
  }

  #begin(options: Omit<RunOptions, 'log'>): RunAnswer {
    const run = new Run({ ...options, log: this.#log })
    this.#runs.add(run)
    if (options.job.scope === 'replica') this.#replicaJobs.recordStart(run)
    void run.finished.then(result => this.#end(run, result))
    return { kind: 'started', run }
  }

  #end(run: Run, result: RunResult): void {
    const { job, trigger, startedAt, scheduledFor } = run.options
    this.#runs.delete(run)
    if (job.scope === 'replica') {
      this.#replicaJobs.recordEnd(run, result)
      const times = this.#poller.times.get(job.id)
      if (times && (result.outcome === 'succeeded' || result.outcome === 'partial')) times.lastDoneMs = this.#nowMs()
    }
    const isScheduled = trigger === 'schedule' && scheduledFor !== undefined
    this.#reportEnd({
      jobId: job.id,
      outcome: result.outcome,
      durationMs: result.durationMs,
      ...(isScheduled && { startDelayMs: Math.max(0, startedAt.getTime() - scheduledFor.getTime()) })
    })
  }

  #reportEnd(end: RunEndEvent): void {
    this.#options.onRunEnd?.(end)
  }

  #logMissed({ id }: Job, { missed }: Fire): void {
    if (!missed) return
    const { count, fromMs, untilMs } = missed
    const window = { from: new Date(fromMs).toISOString(), until: new Date(untilMs).toISOString() }
    this.#log.warn({ job_id: id, count, ...window }, 'fires missed')
  }

  #assertJob(jobId: string): void {
    if (!this.#poller.times.has(jobId)) throw new ServiceError('JOB_NOT_FOUND')
  }

  /** The database's time; before the first poll this replica's own. In milliseconds since the epoch. */
  #nowMs(): number {
    return this.#poller.databaseMs ?? Date.now()
  }
}

function manualRun({ actor, date, requestId }: TriggerOptions, startedAt: Date) {
  return { trigger: 'manual', actor, startedAt, requestId, ...(date !== undefined && { date }) } as const
}

function scheduledRun({ trigger, scheduledForMs }: NonNullable<Fire['run']>, nowMs: number) {
  return { trigger, actor: null, startedAt: new Date(nowMs), scheduledFor: new Date(scheduledForMs) }
}
