// @FEAT:scheduler @COMP:service @TYPE:core
import type { Database } from '../database/database.ts'
import { TABLE_GUARD } from '../database/table-guard.ts'
import { type RunRecord, type RunRow, runColumns, toRun } from './run-history.ts'
import { ABANDON_EXPIRED, SHORTEN_LEASES } from './run-store.ts'
import { type InTransaction, limitedTransaction } from './transaction.ts'

/** The channel on which changes of the control tables are announced. */
export const CHANNEL = 'scheduler'

/** What a poll reads; times in milliseconds since the epoch. */
export interface Snapshot {
  /** The database's time. */
  nowMs: number
  /** Whether the scheduler of the cluster runs. */
  running: boolean
  /** When it was last started, stopped or restarted. */
  changedAtMs: number
  /** Runs that this poll has marked as abandoned. */
  abandoned: { runId: string; jobId: string; instance: string }[]
  jobs: FireTimes[]
}

/** The fire times of a job, in milliseconds since the epoch; null where it has none. */
export interface FireTimes {
  jobId: string
  paused: boolean
  nextFireMs: number | null
  /** The first due time since the job was last started or resumed. */
  firstDueMs: number | null
  /** When a run last succeeded or was partial. */
  lastDoneMs: number | null
}

/** The next fire time of a job, and the latest that it could be now. In milliseconds since the epoch. */
export interface NextFire {
  jobId: string
  nextFireMs: number
  latestMs: number
}

export interface ControlChange {
  running: boolean
  /** Compute new fire times even when the scheduler runs already. */
  restart: boolean
  actor: string
  reason: string | null
  /** A stop ends by itself after this many minutes; null: it does not. */
  forMinutes: number | null
}

/** The state of the scheduler and of every registered job. */
export interface StatusRecord {
  running: boolean
  changedBy: string | null
  changedAt: Date
  reason: string | null
  resumesAt: Date | null
  /** The database's time. */
  now: Date
  jobs: JobRecord[]
}

export interface JobRecord {
  jobId: string
  paused: boolean
  pausedBy: string | null
  pausedReason: string | null
  nextFireAt: Date | null
  firstDueAt: Date | null
  /** When a run last succeeded or was partial. */
  lastDoneAt: Date | null
  running: RunRecord | null
  /** The last run that ended; a skipped one does not count. */
  lastRun: RunRecord | null
}

interface SnapshotRow {
  now_ms: number
  running: boolean
  changed_at_ms: number
  abandoned: { run_id: string; job_id: string; instance: string }[]
  jobs: {
    job_id: string
    paused: boolean
    next_fire_ms: number | null
    first_due_ms: number | null
    last_done_ms: number | null
  }[]
}

interface StatusRow {
  running: boolean
  changed_by: string | null
  changed_at: Date
  reason: string | null
  resumes_at: Date | null
  now: Date
}

/** `job_id` is null in the one row of a scheduler without jobs. */
interface JobRow {
  job_id: string | null
  paused: boolean
  paused_by: string | null
  paused_reason: string | null
  next_fire_at: Date | null
  first_due_at: Date | null
  last_done_at: Date | null
  running_run: RunRow | null
  last_run: RunRow | null
}

const toMs = (time: string) => `round(extract(epoch from ${time}) * 1000)::float8`

/** One message of several statements, in one transaction: it costs one network round trip. */
const POLL = `${TABLE_GUARD};
  with abandoned as (
    ${ABANDON_EXPIRED}
    returning run_id, job_id, instance
  ), shortened as (
    ${SHORTEN_LEASES}
  ), resumed as (
    update scheduler_state
    set running = true, changed_by = 'scheduler', changed_at = now(), reason = null, resumes_at = null
    where is_only in (
      select is_only from scheduler_state where not running and resumes_at <= now() for update skip locked
    )
    returning true
  )
  select
    ${toMs('clock_timestamp()')} as now_ms,
    state.running or exists (select from resumed) as running,
    ${toMs('state.changed_at')} as changed_at_ms,
    (select coalesce(jsonb_agg(to_jsonb(abandoned)), '[]') from abandoned) as abandoned,
    (select coalesce(jsonb_agg(jsonb_build_object(
      'job_id', job_id,
      'paused', paused,
      'next_fire_ms', ${toMs('next_fire_at')},
      'first_due_ms', ${toMs('first_due_at')},
      'last_done_ms', ${toMs('greatest(last_success_at, last_partial_at)')}
    )), '[]') from scheduled_jobs) as jobs
  from scheduler_state state`

/** The state of the scheduler and the fire times of its jobs. All times are the database's. */
export class SchedulerStore {
  readonly #database: Database

  constructor(database: Database) {
    this.#database = database
  }

  /**
   * Registers the jobs. A job whose schedule has changed gets a new next fire time. Idempotent.
   * @throws {DatabaseUnavailableError}
   */
  async register(jobs: readonly { jobId: string; definition: string }[]): Promise<void> {
    const rows = jobs.map(({ jobId, definition }) => ({ job_id: jobId, definition }))
    await this.#database.run(
      sql => sql`
        insert into scheduled_jobs (job_id, definition)
        select job_id, definition from jsonb_to_recordset(${sql.json(rows)}) as job (job_id text, definition text)
        order by job_id
        on conflict (job_id) do update set definition = excluded.definition, next_fire_at = null, first_due_at = null
        where scheduled_jobs.definition <> excluded.definition`
    )
  }

  /**
   * The one call of an idle replica: shows that all tables can be used, abandons the runs whose lease has expired,
   * shortens a lease that was written before the database's clock was set back, ends a stop whose time is over, and
   * reads the state of the scheduler and the fire times of every job. It skips locked rows,
   * so that the locks of its rows can be taken in any order. What it skips is left for the next call.
   * @throws {DatabaseUnavailableError}
   */
  async poll(): Promise<Snapshot> {
    const results = await this.#database.run(sql => sql.unsafe<SnapshotRow[][]>(POLL).simple())
    const row = results.at(-1)?.[0]
    if (!row) throw new Error('scheduler_state has no row')
    return toSnapshot(row)
  }

  /**
   * Sets the next fire time of jobs that have none, or one that is later than any that a fire could have set, while the
   * scheduler runs and the job is not paused. Other times of the job that are in the future become the present, so that
   * the job is overdue in time. Idempotent.
   * @throws {DatabaseUnavailableError}
   */
  async setFireTimes(fires: readonly NextFire[]): Promise<void> {
    const rows = fires.map(({ jobId, nextFireMs, latestMs }) => ({
      job_id: jobId,
      next_fire_ms: nextFireMs,
      latest_ms: latestMs
    }))
    await this.#database.run(
      sql => sql`
        with allowed as (
          select from scheduler_state where running for share
        ), wanted as (
          select job_id, to_timestamp(next_fire_ms / 1000) as next_fire_at, to_timestamp(latest_ms / 1000) as latest_at
          from scheduled_jobs
            join jsonb_to_recordset(${sql.json(rows)}) as fire (job_id text, next_fire_ms float8, latest_ms float8)
            using (job_id)
          where not paused and exists (select from allowed)
          order by job_id for no key update of scheduled_jobs
        )
        update scheduled_jobs job
        set next_fire_at = wanted.next_fire_at, first_due_at = least(first_due_at, wanted.next_fire_at),
          last_success_at = case when last_success_at is not null then least(last_success_at, clock_timestamp()) end,
          last_partial_at = case when last_partial_at is not null then least(last_partial_at, clock_timestamp()) end
        from wanted
        where job.job_id = wanted.job_id and (job.next_fire_at is null or job.next_fire_at > wanted.latest_at)`
    )
  }

  /**
   * Starts or stops the scheduler of the whole cluster. A start of a running one changes nothing; a stop of a stopped
   * one changes its end and reason. All locks are taken by the last statement, so that they are held for one network
   * round trip.
   * @param inTransaction runs first, in the same transaction, and locks nothing that another transaction waits for
   * @throws {DatabaseUnavailableError}
   */
  control(
    { running, restart, actor, reason, forMinutes }: ControlChange,
    inTransaction?: InTransaction
  ): Promise<void> {
    return limitedTransaction(this.#database, async tx => {
      await inTransaction?.(tx)
      // Without a next fire time no claim succeeds. A restart keeps the time since when a job is due.
      await tx`
        with before as (
          select running from scheduler_state for no key update
        ), changed as (
          update scheduler_state state
          set running = ${running}, changed_by = ${actor}, changed_at = clock_timestamp(), reason = ${reason},
            resumes_at = clock_timestamp() + make_interval(mins => ${forMinutes}::int)
          from before where ${restart || !running} or not before.running
          returning before.running as was_running
        ), job as (
          select job_id from scheduled_jobs where exists (select from changed) order by job_id for no key update
        ), reset as (
          update scheduled_jobs
          set next_fire_at = null,
            first_due_at = case when ${restart} and (select was_running from changed) then first_due_at end
          from job where scheduled_jobs.job_id = job.job_id
        )
        select pg_notify(${CHANNEL}, '')`
    })
  }

  /**
   * Pauses or resumes one job in the whole cluster. Idempotent.
   * @param inTransaction as in `control`
   * @throws {DatabaseUnavailableError}
   */
  pause(
    jobId: string,
    { paused, actor, reason }: { paused: boolean; actor: string; reason: string | null },
    inTransaction?: InTransaction
  ): Promise<void> {
    return limitedTransaction(this.#database, async tx => {
      await inTransaction?.(tx)
      await tx`
        with changed as (
          update scheduled_jobs
          set paused = ${paused}, paused_by = ${paused ? actor : null}, paused_reason = ${paused ? reason : null},
            next_fire_at = case when paused = ${paused} then next_fire_at end,
            first_due_at = case when paused = ${paused} then first_due_at end
          where job_id = ${jobId}
        )
        select pg_notify(${CHANNEL}, '')`
    })
  }

  /** Reads the state of the scheduler and of all jobs, in one statement. @throws {DatabaseUnavailableError} */
  async status(): Promise<StatusRecord> {
    const rows = await this.#database.run(
      sql => sql<(StatusRow & JobRow)[]>`
        select
          state.running, state.changed_by, state.changed_at, state.reason, state.resumes_at,
          clock_timestamp() as now,
          job.job_id, job.paused, job.paused_by, job.paused_reason, job.next_fire_at, job.first_due_at,
          greatest(job.last_success_at, job.last_partial_at) as last_done_at,
          (select to_jsonb(r) from (
            select ${runColumns(sql)} from job_runs run where run.job_id = job.job_id and outcome = 'running'
          ) r) as running_run,
          (select to_jsonb(r) from (
            select ${runColumns(sql)} from job_runs run
            where run.job_id = job.job_id and outcome in ('succeeded', 'partial', 'failed', 'abandoned')
            order by seq desc limit 1
          ) r) as last_run
        from scheduler_state state left join scheduled_jobs job on true`
    )
    const [state] = rows
    if (!state) throw new Error('scheduler_state has no row')
    return {
      running: state.running,
      changedBy: state.changed_by,
      changedAt: state.changed_at,
      reason: state.reason,
      resumesAt: state.resumes_at,
      now: state.now,
      jobs: rows.flatMap(toJob)
    }
  }
}

function toSnapshot({ now_ms, running, changed_at_ms, abandoned, jobs }: SnapshotRow): Snapshot {
  return {
    nowMs: now_ms,
    running,
    changedAtMs: changed_at_ms,
    abandoned: abandoned.map(({ run_id, job_id, instance }) => ({ runId: run_id, jobId: job_id, instance })),
    jobs: jobs.map(job => ({
      jobId: job.job_id,
      paused: job.paused,
      nextFireMs: job.next_fire_ms,
      firstDueMs: job.first_due_ms,
      lastDoneMs: job.last_done_ms
    }))
  }
}

function toJob(row: JobRow): JobRecord[] {
  if (row.job_id === null) return []
  return [
    {
      jobId: row.job_id,
      paused: row.paused,
      pausedBy: row.paused_by,
      pausedReason: row.paused_reason,
      nextFireAt: row.next_fire_at,
      firstDueAt: row.first_due_at,
      lastDoneAt: row.last_done_at,
      running: row.running_run && toRun(row.running_run),
      lastRun: row.last_run && toRun(row.last_run)
    }
  ]
}
