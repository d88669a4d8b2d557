import type { TransactionSql } from '../database/client.ts'
import type { Log } from '../log/log.ts'
import type { Misfire } from './misfire.ts'
import type { Trigger } from './trigger.ts'

/** What a run found and did, in counts and short words: it is shown to admins and kept in the history. */
export type JobResult = Record<string, number | string | boolean | null>

/** What a run may use. */
export interface JobContext {
  readonly runId: string
  readonly jobId: string
  /** What began the run: its due time, an admin's hand, or a due time that was missed. */
  readonly trigger: 'schedule' | 'manual' | 'catch_up'
  /** The time that the run stands for: its due time, or its start when an admin's hand began it. */
  readonly scheduledFor: Date
  /** The day that a manual run asked for, `YYYY-MM-DD`; only for a job that takes one. */
  readonly date?: string
  /** Aborted when the run must end: it took too long, its lease is lost, the replica shuts down. */
  readonly signal: AbortSignal
  readonly log: Log
  /** Says how far the run is; kept at most once a second. */
  progress(done: number, total: number): void
  /**
   * Runs one transaction of the run. A job writes in no other way: for a cluster job the transaction first locks the
   * run's row, so that a runner that lost its lease changes nothing. After a deadlock or a serialization failure `work` is
   * called again, so it changes nothing outside of the database that a second call would change again.
   * @param options.deadlineMs at most `TRANSACTION_DEADLINE_MS`, which is the default
   * @throws {LeaseLostError} when the run is not this runner's any more
   * @throws {DatabaseUnavailableError} when the database cannot be used
   */
  transaction<T>(work: (tx: TransactionSql) => Promise<T>, options?: { deadlineMs?: number }): Promise<T>
}

/** One row of the table of jobs. */
export interface Job {
  readonly id: string
  /** What `trigger-job` calls it. */
  readonly type: string
  readonly name: string
  readonly trigger: Trigger
  /** `cluster`: one run in the cluster. `replica`: every replica for itself, in memory. */
  readonly scope: 'cluster' | 'replica'
  readonly misfire: Misfire
  /** A run is aborted and fails with `JOB_TIMEOUT` after this many milliseconds. */
  readonly maxRunMs: number
  /** Whether a manual run may name this day, `YYYY-MM-DD`, at this time; no day where it is absent. */
  readonly takesDate?: (date: string, nowMs: number) => boolean
  run(context: JobContext): Promise<JobResult>
}

/** A failure that the history shows by its code. Everything else that a job throws shows as `JOB_FAILED`. */
export class JobError extends Error {
  override name = 'JobError'
  readonly code: string

  constructor(code: string, options?: { cause?: unknown }) {
    super(code, options)
    this.code = code
  }
}

/** The run belongs to nobody any more: its lease ran out, and another runner may be at work. */
export class LeaseLostError extends JobError {
  override name = 'LeaseLostError'

  constructor(options?: { cause?: unknown }) {
    super('LEASE_LOST', options)
  }
}
