// @FEAT:scheduler @COMP:service @TYPE:core
import { randomUUID } from 'node:crypto'
import { setMaxListeners } from 'node:events'
import { SECOND } from '../async/durations.ts'
import { sleep, systemTimers, type Timers } from '../async/timers.ts'
import type { TransactionSql } from '../database/client.ts'
import { DatabaseUnavailableError } from '../database/failure.ts'
import { FailureLog } from '../log/failure-log.ts'
import type { Log } from '../log/log.ts'
import { type Job, type JobContext, JobError, type JobResult, LeaseLostError, undoneOf } from './job.ts'
import type { Progress, RunRecord, RunTrigger } from './run-history.ts'
import { type Claim, LEASE_EXPIRED, LEASE_MS, type RunEnd } from './run-store.ts'

/** The interval at which a runner renews its lease, and the wait after a failure, in milliseconds. */
const RENEW_MS = 5 * SECOND
const RETRY_MS = 1 * SECOND
const RENEWAL_MESSAGES = { failedMessage: 'lease not renewed', recoveredMessage: 'lease renewed again' }
const RECORD_MESSAGES = { failedMessage: 'end of run not recorded', recoveredMessage: 'end of run recorded' }
/** The shortest time between two writes of the progress, in milliseconds. */
const PROGRESS_MS = 1 * SECOND
/**
 * The time between the abort of a job and the record of its end when the job does not end by itself, in milliseconds.
 */
export const ABORT_GRACE_MS = 3 * SECOND

/** The lease of a run, as in `RunStore`. A replica job has one in memory. */
export interface LeaseStore {
  renew(claim: Claim, progress?: Progress): Promise<boolean>
  finish(claim: Claim, end: RunEnd, progress?: Progress): Promise<boolean>
  fenced<T>(claim: Claim, work: (tx: TransactionSql) => Promise<T>, options?: { deadlineMs?: number }): Promise<T>
}

export interface RunOptions {
  job: Job
  claim: Claim
  leases: LeaseStore
  log: Log
  trigger: RunTrigger
  actor: string | null
  /** The due time; undefined for a manual run. */
  scheduledFor?: Date
  startedAt: Date
  date?: string
  /** The id of the request that triggered it, for the log. */
  requestId?: string | undefined
  /** Default `systemTimers`. */
  timers?: Timers
}

/**
 * How a run ended for its runner. `abandoned`: the lease expired, and the runner recorded it. `lost`: it lost the lease,
 * and another replica records the end. Durations in milliseconds.
 */
export type RunResult =
  | { outcome: 'succeeded' | 'partial'; result: JobResult; durationMs: number }
  | { outcome: 'failed' | 'abandoned'; errorCode: string; durationMs: number }
  | { outcome: 'lost'; durationMs: number }

/** What metrics count of a run's end. Durations in milliseconds. */
export interface RunEndEvent {
  jobId: string
  outcome: RunResult['outcome'] | 'skipped'
  /** Unknown for a skipped run, and for a run of another replica that is abandoned. */
  durationMs?: number
  /** From the due time to the start of the run; only for a scheduled run. */
  startDelayMs?: number
}

/** Creates a new claim. */
export function newClaim(instance: string): Claim {
  return { runId: randomUUID(), token: randomUUID(), instance }
}

/** One run on this replica: it runs the job, renews the lease, limits the time, and records the end. */
export class Run {
  readonly runId: string
  readonly options: RunOptions
  /** Resolves when the end of the run is recorded, or the lease is lost. Never rejects. */
  readonly finished: Promise<RunResult>
  readonly #controller = new AbortController()
  readonly #log: Log
  readonly #timers: Timers
  readonly #renewals = new FailureLog(RENEWAL_MESSAGES)
  readonly #records = new FailureLog(RECORD_MESSAGES)
  #progress: Progress | undefined
  #progressDirty = false
  #leaseMs: number
  #cancelRenewal: (() => void) | undefined
  #renewal: Promise<void> | undefined
  #ended = false

  constructor(options: RunOptions) {
    this.options = options
    this.runId = options.claim.runId
    const { log, job, requestId, timers = systemTimers } = options
    this.#timers = timers
    this.#leaseMs = timers.now()
    // Every call in progress listens to the signal: jobs bound their number.
    setMaxListeners(0, this.#controller.signal)
    // Every log line of the run has these, also those of its job and of its calls.
    this.#log = log.child({
      job_id: job.id,
      run_id: this.runId,
      ...(requestId !== undefined && { request_id: requestId })
    })
    this.finished = this.#execute()
  }

  get progress(): Progress | undefined {
    return this.#progress
  }

  /** The record of the run as an unfinished one. */
  record(): RunRecord {
    const { job, claim, trigger, actor, scheduledFor, startedAt } = this.options
    return {
      runId: this.runId,
      jobId: job.id,
      trigger,
      actor,
      instance: claim.instance,
      scheduledFor: scheduledFor ?? null,
      startedAt,
      finishedAt: null,
      durationMs: null,
      outcome: 'running',
      progress: this.#progress ?? null,
      result: null,
      errorCode: null
    }
  }

  /** Aborts the job; its run fails with the code of `reason`. Only the first call has an effect. */
  abort(reason: JobError): void {
    this.#controller.abort(reason)
  }

  async #execute(): Promise<RunResult> {
    const { job, claim, leases } = this.options
    const begunMs = this.#timers.now()
    const cancelTimeout = this.#timers.after(job.maxRunMs, () => this.abort(new JobError('JOB_TIMEOUT')))
    this.#renewIn(RENEW_MS)
    const end = await this.#work()
    cancelTimeout()

    const recorded = await this.#untilLeaseEnds(() => leases.finish(claim, end, this.#progress))
    this.#ended = true
    this.#cancelRenewal?.()
    await this.#renewal
    const durationMs = Math.round(this.#timers.now() - begunMs)
    const line = { duration_ms: durationMs }
    if (!recorded) {
      this.#log.warn(line, 'run lost')
      return { outcome: 'lost', durationMs }
    }
    if (end.result === null) {
      const { outcome, errorCode } = end
      this.#log.warn({ ...line, code: errorCode }, outcome === 'failed' ? 'run failed' : 'run abandoned')
      return { outcome, errorCode, durationMs }
    }
    this.#log.info({ ...line, result: end.result }, end.outcome === 'partial' ? 'run partial' : 'run succeeded')
    return { outcome: end.outcome, result: end.result, durationMs }
  }

  /**
   * Runs the job. An aborted run has failed, whatever the job returns. A job that ignores the abort is not waited for.
   */
  async #work(): Promise<RunEnd> {
    const { signal } = this.#controller
    const { job } = this.options
    let cancelGrace: (() => void) | undefined
    let onAbort = () => {}
    const givenUp = new Promise<never>((_resolve, reject) => {
      onAbort = () => {
        const waitMs = signal.reason instanceof LeaseLostError ? 0 : ABORT_GRACE_MS
        cancelGrace = this.#timers.after(waitMs, () => reject(signal.reason))
      }
    })
    signal.addEventListener('abort', onAbort)
    const working = Promise.resolve().then(() => job.run(this.#context()))
    try {
      // The result of a job that is not waited for does not matter: its transactions are rejected.
      const result = await Promise.race([working, givenUp])
      signal.throwIfAborted()
      return endOf(job, result)
    } catch (err) {
      const cause = signal.aborted ? signal.reason : err
      this.#log.error({ err: cause }, 'job failed')
      return failedEnd(cause)
    } finally {
      // An abort while the end is recorded must set no timer.
      signal.removeEventListener('abort', onAbort)
      cancelGrace?.()
    }
  }

  #context(): JobContext {
    const { job, claim, leases, trigger, scheduledFor, startedAt, date } = this.options
    const { signal } = this.#controller
    return {
      runId: this.runId,
      jobId: job.id,
      trigger,
      scheduledFor: scheduledFor ?? startedAt,
      ...(date !== undefined && { date }),
      signal,
      log: this.#log,
      progress: (done, total) => {
        this.#progress = { done, total }
        if (!this.#progressDirty) this.#renewIn(PROGRESS_MS)
        this.#progressDirty = true
      },
      transaction: async (work, options) => {
        signal.throwIfAborted()
        try {
          return await leases.fenced(claim, work, options)
        } catch (err) {
          if (err instanceof LeaseLostError) this.abort(err)
          throw err
        }
      }
    }
  }

  #renewIn(ms: number): void {
    this.#cancelRenewal?.()
    this.#cancelRenewal = this.#timers.after(ms, () => {
      this.#renewal = this.#renew()
    })
  }

  async #renew(): Promise<void> {
    const { claim, leases } = this.options
    await this.#renewal
    if (this.#ended) return
    this.#progressDirty = false
    const begunMs = this.#timers.now()
    let nextMs = RENEW_MS
    try {
      if (!(await leases.renew(claim, this.#progress))) this.abort(new LeaseLostError())
      this.#leaseMs = begunMs
      this.#renewals.succeeded(this.#log)
    } catch (err) {
      this.#renewals.failed(this.#log, { err })
      if (this.#leaseOver()) this.abort(new LeaseLostError({ cause: err }))
      nextMs = RETRY_MS
    }
    if (!this.#ended && !(this.#controller.signal.reason instanceof LeaseLostError)) this.#renewIn(nextMs)
  }

  #leaseOver(): boolean {
    return this.#timers.now() - this.#leaseMs >= LEASE_MS
  }

  /** Repeats the attempt until it succeeds, while the lease lasts. */
  async #untilLeaseEnds(attempt: () => Promise<boolean>): Promise<boolean> {
    for (;;) {
      try {
        const recorded = await attempt()
        this.#records.succeeded(this.#log)
        return recorded
      } catch (err) {
        this.#records.failed(this.#log, { err })
        if (this.#leaseOver()) return false
      }
      await sleep(this.#timers, RETRY_MS)
    }
  }
}

/** The end of a run that returned a result. @throws {Error} when the result lacks a count of what is undone */
function endOf(job: Job, result: JobResult): RunEnd {
  const missing = job.undone.find(reason => typeof result[reason] !== 'number')
  if (missing !== undefined) throw new Error(`the result of ${job.id} lacks the count ${missing}`)
  const isDone = Object.keys(undoneOf(job, result)).length === 0
  return { outcome: isDone ? 'succeeded' : 'partial', result, errorCode: null }
}

/** The end of a run that returned no result, with the code for the history and the answer to its trigger. */
function failedEnd(cause: unknown): RunEnd {
  if (cause instanceof LeaseLostError) return { outcome: 'abandoned', result: null, errorCode: LEASE_EXPIRED }
  const isUnavailable = cause instanceof DatabaseUnavailableError
  const code = isUnavailable ? 'DATABASE_UNAVAILABLE' : 'JOB_FAILED'
  return { outcome: 'failed', result: null, errorCode: cause instanceof JobError ? cause.code : code }
}
