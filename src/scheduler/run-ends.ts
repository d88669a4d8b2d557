// @FEAT:scheduler @COMP:service @TYPE:core
import type { TransactionSql } from '../database/client.ts'

/** Ends of runs of one job that one call returns at most. */
const MAX_ENDS_PER_JOB = 100

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
  finishedAt: Date
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
    select run.* from jsonb_to_recordset(${JSON.stringify(after)}::text::jsonb) as job (job_id text, seq bigint)
    cross join lateral (
      select job_id, seq, run_id, outcome, instance, error_code, finished_at from job_runs
      where job_id = job.job_id and outcome in ('succeeded', 'partial', 'failed', 'abandoned')
        and finished_at > now() - interval '1 day'
        and seq > coalesce(job.seq, (
          select max(seq) - 1 from job_runs
          where job_id = job.job_id and outcome in ('succeeded', 'partial', 'failed', 'abandoned')
        ))
      order by seq limit ${MAX_ENDS_PER_JOB}
    ) run
    order by seq`
  return rows.map(({ job_id, seq, run_id, outcome, instance, error_code, finished_at }) => ({
    jobId: job_id,
    seq,
    runId: run_id,
    outcome,
    instance,
    errorCode: error_code,
    finishedAt: finished_at
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
  finished_at: Date
}
