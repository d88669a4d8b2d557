import type { TransactionSql } from '../database/client.ts'
import type { Log } from '../log/log.ts'
import type { Misfire } from './misfire.ts'
import type { Trigger } from './trigger.ts'

/** The result of a run, in counts and short texts. Admins see it; the history stores it. */
export type JobResult = Record<string, number | string | boolean | null>

/** The arguments of a run. */
export interface JobContext {
  readonly runId: string
  readonly jobId: string
  /** Why the run started: it was due, an admin triggered it, or it catches up on a missed due time. */
  readonly trigger: 'schedule' | 'manual' | 'catch_up'
  /** The due time of the run; of a manual run its start. */
  readonly scheduledFor: Date
  /** The day that a manual run is for, `YYYY-MM-DD`; only for a job that takes one. */
  readonly date?: string
  /** Aborted when the run must end: its time is over, its lease is lost, or the replica shuts down. */
  readonly signal: AbortSignal
  readonly log: Log
  /** Reports the progress of the run; it is written at most once a second. */
  progress(done: number, total: number): void
  /**
   * Runs one transaction. A job writes in no other way: for a cluster job the transaction first locks the row of the
   * run, so that a runner that lost its lease changes nothing. After a deadlock or a serialization failure `work` is
   * called again, so it must change nothing outside of the database that a second call would change again.
   * @param options.deadlineMs at most `TRANSACTION_DEADLINE_MS`, which is the default
   * @throws {LeaseLostError} when this runner no longer holds the lease
   * @throws {DatabaseUnavailableError} when the database cannot be used
   */
  transaction<T>(work: (tx: TransactionSql) => Promise<T>, options?: { deadlineMs?: number }): Promise<T>
}

/** One row of the table of jobs. */
export interface Job {
  readonly id: string
  /** Its name in `trigger-job`. */
  readonly type: string
  readonly name: string
  readonly trigger: Trigger
  /**
   * `cluster`: one run at a time in the cluster. `replica`: each replica runs it for itself, with its state in memory.
   */
  readonly scope: 'cluster' | 'replica'
  readonly misfire: Misfire
  /** A run is aborted and fails with `JOB_TIMEOUT` after this many milliseconds. */
  readonly maxRunMs: number
  /**
   * The counts of the result for work that a run leaves undone. A run with one of them above zero is `partial`. A run that
   * has all of them at zero has `succeeded`.
   */
  readonly undone: readonly string[]
  /** Whether a manual run may be for this day, `YYYY-MM-DD`, at this time. Without it a run takes no day. */
  readonly takesDate?: (date: string, nowMs: number) => boolean
  run(context: JobContext): Promise<JobResult>
}

/** What a run left undone: for each reason a count above zero. */
export type Undone = Record<string, number>

/** What a run of the job left undone, by its result, in the order of `Job.undone`. Empty when everything is done. */
export function undoneOf({ undone }: Pick<Job, 'undone'>, result: JobResult): Undone {
  const counts = undone.map((reason): [string, number] => [reason, Number(result[reason] ?? 0)])
  return Object.fromEntries(counts.filter(([, count]) => count > 0))
}

/** A failure with a code for the history. Every other error of a job has the code `JOB_FAILED`. */
export class JobError extends Error {
  override name = 'JobError'
  readonly code: string

  constructor(code: string, options?: { cause?: unknown }) {
    super(code, options)
    this.code = code
  }
}

/** The lease of the run has expired: another replica may run the job. */
export class LeaseLostError extends JobError {
  override name = 'LeaseLostError'

  constructor(options?: { cause?: unknown }) {
    super('LEASE_LOST', options)
  }
}
