// @FEAT:scheduler @COMP:service @TYPE:core
import type { TransactionSql } from '../database/client.ts'
import type { JobResult } from './job.ts'

/** Ends of runs of one job that one call returns at most. */
const MAX_ENDS_PER_JOB = 100
/** More partial runs in a row are not counted. */
export const MAX_PARTIAL_IN_ROW = 3

/** The last end of a job that the caller has processed; `seq` is null before the first. */
export interface ProcessedEnd {
  jobId: string
  seq: string | null
}

/** The end of a run. `seq` orders the runs of a job. */
export interface RunEnd {
  jobId: string
  seq: string
  runId: string
  outcome: 'succeeded' | 'partial' | 'failed' | 'abandoned'
  instance: string
  errorCode: string | null
  /** Null of a run that failed or was abandoned. */
  result: JobResult | null
  finishedAt: Date
  /** How many runs of the job in a row ended as `partial`, this one included: at most `MAX_PARTIAL_IN_ROW`. */
  partialInRow: number
}

/** The number of scheduled times that a job missed. */
export interface MissedFires {
  jobId: string
  count: number
}

/**
 * The ends of runs after those that were processed, in the order of `seq`: at most 100 of each job, none older than a
 * day. Of a job of which none was processed, the last end only.
 */
export async function runEnds(tx: TransactionSql, processed: readonly ProcessedEnd[]): Promise<RunEnd[]> {
  const after = processed.map(({ jobId, seq }) => ({ job_id: jobId, seq }))
  const rows = await tx<RunEndRow[]>`
    select run.*, (
      select count(*) filter (where is_partial)::int from (
        select bool_and(outcome = 'partial') over (order by seq desc) as is_partial from (
          select outcome, seq from job_runs
          where job_id = run.job_id and seq <= run.seq and outcome in ('succeeded', 'partial', 'failed', 'abandoned')
          order by seq desc limit ${MAX_PARTIAL_IN_ROW}
        ) last_ends
      ) partial
    ) as partial_in_row
    from jsonb_to_recordset(${JSON.stringify(after)}::text::jsonb) as job (job_id text, seq bigint)
    cross join lateral (
      select job_id, seq, run_id, outcome, instance, error_code, result, finished_at from job_runs
      where job_id = job.job_id and outcome in ('succeeded', 'partial', 'failed', 'abandoned')
        and finished_at > now() - interval '1 day'
        and seq > coalesce(job.seq, (
          select max(seq) - 1 from job_runs
          where job_id = job.job_id and outcome in ('succeeded', 'partial', 'failed', 'abandoned')
        ))
      order by seq limit ${MAX_ENDS_PER_JOB}
    ) run
    order by seq`
  return rows.map(({ job_id, run_id, error_code, finished_at, partial_in_row, ...rest }) => ({
    ...rest,
    jobId: job_id,
    runId: run_id,
    errorCode: error_code,
    finishedAt: finished_at,
    partialInRow: partial_in_row
  }))
}

/** The scheduled times that were missed and recorded since `since`, by job. */
export async function missedFires(tx: TransactionSql, since: Date): Promise<MissedFires[]> {
  const rows = await tx<{ job_id: string; count: number }[]>`
    select job_id, sum(skipped_count)::int as count from job_runs
    where outcome = 'skipped' and started_at > ${since} group by job_id order by job_id`
  return rows.map(({ job_id, count }) => ({ jobId: job_id, count }))
}

interface RunEndRow {
  job_id: string
  seq: string
  run_id: string
  outcome: RunEnd['outcome']
  instance: string
  error_code: string | null
  result: JobResult | null
  finished_at: Date
  partial_in_row: number
}
