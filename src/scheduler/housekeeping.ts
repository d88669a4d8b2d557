// @FEAT:scheduler @COMP:service @TYPE:core
import type { TransactionSql } from '../database/client.ts'

/** The history of a job keeps runs of this many days, and this many of them. */
const RUN_DAYS = 30
const RUNS_PER_JOB = 10_000

/** Deletes up to `limit` finished runs older than 30 days. Idempotent. @returns the number of deleted rows */
export async function sweepOldRuns(tx: TransactionSql, limit: number): Promise<number> {
  const { count } = await tx`
    delete from job_runs where run_id in (
      select run_id from job_runs
      where outcome <> 'running' and started_at < now() - make_interval(days => ${RUN_DAYS}::int)
      order by started_at limit ${limit} for update skip locked
    )`
  return count
}

/** Deletes up to `limit` finished runs beyond the newest 10,000 of each job. Idempotent. @returns the number of deleted rows */
export async function sweepSurplusRuns(tx: TransactionSql, limit: number): Promise<number> {
  const { count } = await tx`
    delete from job_runs where run_id in (
      select run_id from job_runs where outcome <> 'running' and run_id in (
        select surplus.run_id from scheduled_jobs job cross join lateral (
          select run_id from job_runs run where run.job_id = job.job_id order by seq desc offset ${RUNS_PER_JOB}
        ) surplus
      ) limit ${limit} for update skip locked
    )`
  return count
}
