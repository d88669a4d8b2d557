/** Rows of `job_runs` for tests. */
import { randomUUID } from 'node:crypto'
import type { Database } from '../../src/database/database.ts'
import type { RunOutcome } from '../../src/scheduler/run-history.ts'

export interface RunToInsert {
  jobId?: string
  outcome?: RunOutcome
  /** Seconds from its start to now. Default 0. */
  startedSecondsAgo?: number
  /** Seconds from its end to now; a running one has none. Default 0. */
  endedSecondsAgo?: number
  /** Seconds from now to the end of its lease; only of a running one. */
  leaseSeconds?: number
  skippedCount?: number
  errorCode?: string
  scheduledFor?: Date
}

/** Inserts a run of job `a`, by default one that succeeded just now. @returns its id */
export async function insertRun(database: Database, run: RunToInsert = {}): Promise<string> {
  const { jobId = 'a', outcome = 'succeeded', startedSecondsAgo = 0, endedSecondsAgo = 0 } = run
  const runId = randomUUID()
  await database.run(
    sql => sql`
      insert into job_runs (
        run_id, job_id, trigger, instance, scheduled_for, started_at, finished_at, lease_token, lease_expires_at,
        outcome, skipped_count, error_code
      ) values (
        ${runId}, ${jobId}, 'schedule', 'two', ${run.scheduledFor ?? null},
        now() - make_interval(secs => ${startedSecondsAgo}),
        ${outcome === 'running' ? null : sql`now() - make_interval(secs => ${endedSecondsAgo})`},
        gen_random_uuid(), now() + make_interval(secs => ${run.leaseSeconds ?? null}),
        ${outcome}, ${run.skippedCount ?? 0}, ${run.errorCode ?? null}
      )`
  )
  return runId
}
