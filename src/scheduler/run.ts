import { randomUUID } from 'node:crypto'
import { SECOND } from '../async/durations.ts'
import type { TransactionSql } from '../database/client.ts'
import type { Log } from '../log/log.ts'
import { type Job, type JobContext, JobError, type JobResult, LeaseLostError } from './job.ts'
import { type Claim, LEASE_MS, type Progress, type RunEnd, type RunTrigger } from './store.ts'

/** How often a runner renews its lease, and how soon it tries again when the database would not take it. */
const RENEW_MS = 5 * SECOND
const RETRY_MS = 1 * SECOND
/** Progress is written at most this often. */
const PROGRESS_MS = 1 * SECOND
/** How long a job that was told to end may take to end, before its run is recorded without it. */
export const ABORT_GRACE_MS = 3 * SECOND

/** Where a run is kept: the database for a cluster job, memory for a replica job. As of `SchedulerStore`. */
export interface Ledger {
  renew(claim: Claim, progress?: Progress): Promise<boolean>
  finish(claim: Claim, end: RunEnd, progress?: Progress): Promise<boolean>
  fenced<T>(claim: Claim, work: (tx: TransactionSql) => Promise<T>, options?: { deadlineMs?: number }): Promise<T>
}

export interface RunOptions {
  job: Job
  claim: Claim
  ledger: Ledger
  log: Log
  trigger: RunTrigger
  actor: string | null
  /** The due time; undefined for an admin's run. */
  scheduledFor?: Date
  startedAt: Date
  date?: string
  /** The request that asked for it, as the log knows it. */
  requestId?: string | undefined
}

/** How a run ended for its runner. `lost`: it was not the runner's any more, and another has recorded its end. */
export type RunResult =
  | { outcome: 'succeeded'; result: JobResult; durationMs: number }
  | { outcome: 'failed'; errorCode: string; durationMs: number }
  | { outcome: 'lost'; durationMs: number }

/** A fresh claim of this replica. */
export function newClaim(instance: string): Claim {
  return { runId: randomUUID(), token: randomUUID(), instance }
}

/** One run under way on this replica: it holds its lease, bounds its time, and records its end. */
export class Run {
  readonly runId: string
  readonly options: RunOptions
  /** Settles when the run has ended and that is recorded, or is another's to record. Never rejects. */
  readonly finished: Promise<RunResult>
  readonly #controller = new AbortController()
  readonly #log: Log
  #progress: Progress | undefined
  #progressDirty = false
  #leaseMs = performance.now()
  #renewing: NodeJS.Timeout | undefined
  #renewal: Promise<void> | undefined
  #ended = false

  constructor(options: RunOptions) {
    this.options = options
    this.runId = options.claim.runId
    const { log, job, requestId } = options
    // By these every line of the run is found, those of its job and of its calls included.
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

  /** Tells the job to end, with the code that its run fails with. Has no effect twice. */
  abort(reason: JobError): void {
    this.#controller.abort(reason)
  }

  async #execute(): Promise<RunResult> {
    const { job, claim, ledger } = this.options
    const begunMs = performance.now()
    const timeout = setTimeout(() => this.abort(new JobError('JOB_TIMEOUT')), job.maxRunMs)
    this.#renewIn(RENEW_MS)
    const end = await this.#work()
    clearTimeout(timeout)

    const recorded = await this.#untilLeaseEnds(() => ledger.finish(claim, end, this.#progress))
    this.#ended = true
    clearTimeout(this.#renewing)
    await this.#renewal
    const durationMs = Math.round(performance.now() - begunMs)
    const line = { duration_ms: durationMs }
    if (!recorded) {
      this.#log.warn(line, 'run lost')
      return { outcome: 'lost', durationMs }
    }
    if (end.outcome === 'succeeded') {
      this.#log.info({ ...line, result: end.result }, 'run succeeded')
      return { outcome: 'succeeded', result: end.result ?? {}, durationMs }
    }
    const errorCode = end.errorCode ?? 'JOB_FAILED'
    this.#log.warn({ ...line, code: errorCode }, 'run failed')
    return { outcome: 'failed', errorCode, durationMs }
  }

  /** Runs the job. An aborted run has failed, whatever the job makes of it; one that does not end is left behind. */
  async #work(): Promise<RunEnd> {
    const { signal } = this.#controller
    const { job } = this.options
    let grace: NodeJS.Timeout | undefined
    const givenUp = new Promise<never>((_resolve, reject) => {
      signal.addEventListener('abort', () => {
        const wait = signal.reason instanceof LeaseLostError ? 0 : ABORT_GRACE_MS
        grace = setTimeout(() => reject(signal.reason), wait)
      })
    })
    const working = Promise.resolve().then(() => job.run(this.#context()))
    try {
      const result = await Promise.race([working, givenUp])
      signal.throwIfAborted()
      return { outcome: 'succeeded', result, errorCode: null }
    } catch (err) {
      const cause = signal.aborted ? signal.reason : err
      this.#log.error({ err: cause }, 'job failed')
      return { outcome: 'failed', result: null, errorCode: cause instanceof JobError ? cause.code : 'JOB_FAILED' }
    } finally {
      clearTimeout(grace)
      // What becomes of a job that was left behind is of no account: its transactions are refused.
      working.catch(() => undefined)
      givenUp.catch(() => undefined)
    }
  }

  #context(): JobContext {
    const { job, claim, ledger, trigger, scheduledFor, startedAt, date } = this.options
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
          return await ledger.fenced(claim, work, options)
        } catch (err) {
          if (err instanceof LeaseLostError) this.abort(err)
          throw err
        }
      }
    }
  }

  #renewIn(ms: number): void {
    clearTimeout(this.#renewing)
    this.#renewing = setTimeout(() => {
      this.#renewal = this.#renew()
    }, ms)
  }

  async #renew(): Promise<void> {
    const { claim, ledger } = this.options
    await this.#renewal
    if (this.#ended) return
    this.#progressDirty = false
    const begunMs = performance.now()
    let nextMs = RENEW_MS
    try {
      if (!(await ledger.renew(claim, this.#progress))) this.abort(new LeaseLostError())
      this.#leaseMs = begunMs
    } catch (err) {
      this.#log.warn({ err }, 'lease not renewed')
      if (this.#leaseOver()) this.abort(new LeaseLostError({ cause: err }))
      nextMs = RETRY_MS
    }
    if (!this.#ended && !(this.#controller.signal.reason instanceof LeaseLostError)) this.#renewIn(nextMs)
  }

  #leaseOver(): boolean {
    return performance.now() - this.#leaseMs >= LEASE_MS
  }

  /** Tries until it works, while the lease lasts. */
  async #untilLeaseEnds(attempt: () => Promise<boolean>): Promise<boolean> {
    for (;;) {
      try {
        return await attempt()
      } catch (err) {
        this.#log.warn({ err }, 'end of run not recorded')
        if (this.#leaseOver()) return false
      }
      await new Promise(resolve => setTimeout(resolve, RETRY_MS))
    }
  }
}
