/** Rows of `job_runs` for tests. */
import { randomUUID } from 'node:crypto'
import type { Test } from 'tap'
import type { Database } from '../../src/database/database.ts'
import type { RunOutcome } from '../../src/scheduler/run-history.ts'
import { frozenDatabase, openDatabase } from './migrated-database.ts'

export interface RunToInsert {
  jobId?: string
  outcome?: RunOutcome
  /** Seconds from its start to now. Default 0. */
  startedSecondsAgo?: number
  /** Seconds from its end to now; not for a running one. Default 0. */
  endedSecondsAgo?: number
  /** Seconds from now to the end of its lease; only for a running one. */
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

/** Empties the scheduler's tables and starts the scheduler: a new database for each test takes long. */
export async function emptyScheduler(database: Database): Promise<void> {
  await database.run(async sql => {
    await sql`delete from job_runs`
    await sql`delete from scheduled_jobs`
    await sql`
      update scheduler_state
      set running = true, changed_by = null, changed_at = now(), reason = null, resumes_at = null`
  })
}

/** The scheduler's tables in a database with a stopped clock, for the tests of one file. */
export async function frozenScheduler(t: Pick<Test, 'teardown'>) {
  const { url, clock } = await frozenDatabase(t)
  const database = openDatabase(url)
  t.teardown(() => database.close(0))
  return {
    database,
    clock,
    /** Empties the tables, starts the scheduler, and advances the clock to a whole millisecond, which it returns. */
    async reset(): Promise<number> {
      await emptyScheduler(database)
      const [row] = await database.run(
        sql => sql<{ at: Date }[]>`update frozen_clock set at = date_trunc('milliseconds', at) returning at`
      )
      if (row === undefined) throw new Error('the clock is not frozen')
      return row.at.getTime()
    }
  }
}
