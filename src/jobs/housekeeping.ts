// @FEAT:scheduler @COMP:job @TYPE:core
import { sweepAuditLog, sweepSessions, sweepSignInLimits } from '../auth/housekeeping.ts'
import { sweepCacheCommands } from '../cache/clear-commands.ts'
import type { TransactionSql } from '../database/client.ts'
import { sweepOutbox } from '../notifications/outbox.ts'
import type { JobContext, JobResult } from '../scheduler/job.ts'

/** One thing to keep in bounds: deletes at most `limit` rows in the transaction, and says how many. Idempotent. */
export interface HousekeepingTask {
  /** The name of its count in the run's result. */
  readonly name: string
  sweep(tx: TransactionSql, limit: number): Promise<number>
}

const BATCH_ROWS = 1_000
/** A run leaves the rest to the next one. */
const BATCHES_PER_TASK = 20

/** The history of a job keeps runs of this many days, and this many of them. */
const RUN_DAYS = 30
const RUNS_PER_JOB = 10_000
/** A replica that has not been seen for this many hours is forgotten. */
const REPLICA_HOURS = 24

/** What is swept, in this order. */
export const housekeepingTasks: readonly HousekeepingTask[] = [
  { name: 'old_runs', sweep: sweepOldRuns },
  { name: 'surplus_runs', sweep: sweepSurplusRuns },
  { name: 'dead_replicas', sweep: sweepDeadReplicas },
  { name: 'ended_sessions', sweep: sweepSessions },
  { name: 'sign_in_limits', sweep: sweepSignInLimits },
  { name: 'old_audit_rows', sweep: sweepAuditLog },
  { name: 'cache_commands', sweep: sweepCacheCommands },
  { name: 'old_messages', sweep: sweepOutbox }
]

/** Sweeps in bounded batches, one transaction each, and stops between two when it is told to end. */
export function housekeeping(tasks = housekeepingTasks): (context: JobContext) => Promise<JobResult> {
  return async ({ transaction, progress, signal }) => {
    const result: Record<string, number> = {}
    for (const [i, { name, sweep }] of tasks.entries()) {
      let swept = 0
      for (let batch = 0; batch < BATCHES_PER_TASK; batch++) {
        signal.throwIfAborted()
        const count = await transaction(tx => sweep(tx, BATCH_ROWS))
        swept += count
        if (count < BATCH_ROWS) break
      }
      result[name] = swept
      progress(i + 1, tasks.length)
    }
    return result
  }
}

async function sweepOldRuns(tx: TransactionSql, limit: number): Promise<number> {
  const { count } = await tx`
    delete from job_runs where run_id in (
      select run_id from job_runs
      where outcome <> 'running' and started_at < now() - make_interval(days => ${RUN_DAYS}::int)
      order by started_at limit ${limit} for update skip locked
    )`
  return count
}

async function sweepSurplusRuns(tx: TransactionSql, limit: number): Promise<number> {
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

async function sweepDeadReplicas(tx: TransactionSql, limit: number): Promise<number> {
  const { count } = await tx`
    delete from replicas where instance_id in (
      select instance_id from replicas where last_seen_at < now() - make_interval(hours => ${REPLICA_HOURS}::int)
      order by last_seen_at limit ${limit} for update skip locked
    )`
  return count
}
