import { SECOND } from '../async/durations.ts'
import type { Sql, TransactionSql } from '../database/client.ts'
import type { Database } from '../database/database.ts'
import { DatabaseUnavailableError } from '../database/failure.ts'
import { type JobResult, LeaseLostError } from './job.ts'
import type { Fire } from './misfire.ts'

/** A runner that does not renew its lease for this long is dead: its run is `abandoned` and the job free. */
export const LEASE_MS = 15 * SECOND

/**
 * Longest transaction of the scheduler and of jobs. Well below the lease, so that a lease does not run out while the
 * runner holds its row; the server ends one whose client sends nothing more, which would hold it for ever.
 */
export const TRANSACTION_DEADLINE_MS = 8 * SECOND
const SILENT_CLIENT_MS = 5 * SECOND

/** The channel on which changes of the control tables are announced. */
export const CHANNEL = 'scheduler'

export type RunTrigger = 'schedule' | 'manual' | 'catch_up'
export type RunOutcome = 'running' | 'succeeded' | 'failed' | 'abandoned' | 'skipped'
export const runOutcomes: readonly RunOutcome[] = ['running', 'succeeded', 'failed', 'abandoned', 'skipped']

/** One run, as the history shows it. */
export interface RunRecord {
  run_id: string
  job_id: string
  trigger: RunTrigger
  actor: string | null
  instance: string
  scheduled_for: Date | null
  started_at: Date
  finished_at: Date | null
  duration_ms: number | null
  outcome: RunOutcome
  progress: { done: number; total: number } | null
  result: JobResult | null
  error: string | null
}

/** What one look at the database brings; times in milliseconds since the epoch. */
export interface Look {
  nowMs: number
  running: boolean
  changedAtMs: number
  /** Runs that this poll has marked as abandoned. */
  abandoned: { run_id: string; job_id: string; instance: string }[]
  jobs: JobClock[]
}

/** The fire times of a job; null where it has none. */
export interface JobClock {
  jobId: string
  paused: boolean
  nextFireMs: number | null
  firstDueMs: number | null
  lastSuccessMs: number | null
}

/** Who runs: the run's id, and the secret that proves it. */
export interface Claim {
  runId: string
  token: string
  instance: string
}

export interface RunEnd {
  outcome: 'succeeded' | 'failed'
  result: JobResult | null
  errorCode: string | null
}

export interface Progress {
  done: number
  total: number
}

/** `early`: the database's clock has not reached the due time. `lost`: another replica has it, or it is off. */
export type FireClaim = 'started' | 'busy' | 'missed' | 'early' | 'lost'

export type ManualClaim =
  | { kind: 'started'; startedAt: Date }
  | { kind: 'busy'; running: RunRecord }
  | { kind: 'recent'; run: RunRecord }

export interface ControlChange {
  running: boolean
  /** Compute new fire times even when the scheduler runs already. */
  restart: boolean
  actor: string
  reason: string | null
  forMinutes: number | null
}

/** The state of the clock and of every job, as an admin sees it. */
export interface StatusRecord {
  running: boolean
  changed_by: string | null
  changed_at: Date
  reason: string | null
  resumes_at: Date | null
  now: Date
  jobs: JobStatusRecord[]
}

export interface JobStatusRecord {
  job_id: string
  paused: boolean
  paused_by: string | null
  paused_reason: string | null
  next_fire_at: Date | null
  first_due_at: Date | null
  last_success_at: Date | null
  running: RunRecord | null
  last_run: RunRecord | null
}

/** What else belongs to the transaction of a change, such as its row in the audit log. */
export type Beside = (tx: TransactionSql) => Promise<unknown>

/** All SQL of the scheduler. Every time that decides anything is the database's. */
export class SchedulerStore {
  readonly #database: Database

  constructor(database: Database) {
    this.#database = database
  }

  /** Registers the jobs. A job with another schedule than before gets a new next fire time. Idempotent. */
  async register(jobs: { jobId: string; definition: string }[]): Promise<void> {
    await this.#database.run(
      sql => sql`
        insert into scheduled_jobs (job_id, definition)
        select "jobId", definition from jsonb_to_recordset(${sql.json(jobs)}) as job ("jobId" text, definition text)
        order by "jobId"
        on conflict (job_id) do update set definition = excluded.definition, next_fire_at = null, first_due_at = null
        where scheduled_jobs.definition <> excluded.definition`
    )
  }

  /**
   * The one statement of an idle replica: abandons the runs whose lease has expired, ends a stop whose time is over, and
   * reads the clock and the next fire time of every job. It skips locked rows: it waits for no lock, so its own locks can
   * be taken in any order. What it skips is left for the next call.
   */
  async look(): Promise<Look> {
    const [row] = await this.#database.run(
      sql => sql<
        { now_ms: number; running: boolean; changed_at_ms: number; abandoned: Look['abandoned']; jobs: JobClock[] }[]
      >`
        with abandoned as (
          ${abandonExpired(sql)}
          returning run_id, job_id, instance
        ), resumed as (
          update scheduler_state
          set running = true, changed_by = 'scheduler', changed_at = now(), reason = null, resumes_at = null
          where is_only in (
            select is_only from scheduler_state where not running and resumes_at <= now() for update skip locked
          )
          returning true
        )
        select
          ${ms(sql, sql`clock_timestamp()`)} as now_ms,
          state.running or exists (select from resumed) as running,
          ${ms(sql, sql`state.changed_at`)} as changed_at_ms,
          (select coalesce(jsonb_agg(to_jsonb(abandoned)), '[]') from abandoned) as abandoned,
          (select coalesce(jsonb_agg(jsonb_build_object(
            'jobId', job_id,
            'paused', paused,
            'nextFireMs', ${ms(sql, sql`next_fire_at`)},
            'firstDueMs', ${ms(sql, sql`first_due_at`)},
            'lastSuccessMs', ${ms(sql, sql`last_success_at`)}
          )), '[]') from scheduled_jobs) as jobs
        from scheduler_state state`
    )
    if (!row) throw new Error('scheduler_state has no row')
    return {
      nowMs: row.now_ms,
      running: row.running,
      changedAtMs: row.changed_at_ms,
      abandoned: row.abandoned,
      jobs: row.jobs
    }
  }

  /** Sets the next fire time of jobs that have none and that may run. Idempotent. */
  async setClocks(clocks: { jobId: string; nextFireMs: number }[]): Promise<void> {
    await this.#database.run(
      sql => sql`
        with allowed as (
          select from scheduler_state where running for share
        ), unset as (
          select job_id, "nextFireMs"
          from scheduled_jobs join jsonb_to_recordset(${sql.json(clocks)}) as clock ("jobId" text, "nextFireMs" float8)
            on job_id = "jobId"
          where next_fire_at is null and not paused and exists (select from allowed)
          order by job_id for no key update of scheduled_jobs
        )
        update scheduled_jobs job
        set next_fire_at = ${fromMs(sql, sql`"nextFireMs"`)},
          first_due_at = coalesce(first_due_at, ${fromMs(sql, sql`"nextFireMs"`)})
        from unset where job.job_id = unset.job_id and next_fire_at is null`
    )
  }

  /**
   * Claims a fire for a replica, records the fires that were missed before it, and sets the job's next fire time: one
   * statement. Each part reads the result of the one before it, so that the locks are taken in order: the state of the
   * scheduler, the job, its runs.
   */
  async claimFire(jobId: string, fire: Fire, { runId, token, instance }: Claim): Promise<FireClaim> {
    const { run, missed } = fire
    const lastMs = run?.scheduledForMs ?? missed?.untilMs ?? fire.dueMs
    const window = missed && {
      missed: missed.count,
      from: new Date(missed.fromMs).toISOString(),
      until: new Date(missed.untilMs).toISOString()
    }
    const [row] = await this.#database.run(
      sql => sql<{ early: boolean; fired: boolean; started: boolean }[]>`
        with allowed as (
          select from scheduler_state where running for share
        ), fired as (
          update scheduled_jobs
          set next_fire_at = ${new Date(fire.nextMs)}
          where job_id = ${jobId} and next_fire_at = ${new Date(fire.dueMs)} and not paused
            and ${new Date(lastMs)} <= clock_timestamp() and exists (select from allowed)
          returning true
        ), missed as (
          insert into job_runs
            (run_id, job_id, trigger, instance, scheduled_for, finished_at, outcome, skipped_count, result)
          select gen_random_uuid(), ${jobId}, 'schedule', ${instance}, ${new Date(missed?.untilMs ?? 0)},
            clock_timestamp(), 'skipped', ${missed?.count ?? 0}::int, ${window ? sql.json(window) : null}::jsonb
          from fired where ${missed !== undefined}
          on conflict do nothing
        ), started as (
          insert into job_runs
            (run_id, job_id, trigger, instance, scheduled_for, lease_token, lease_expires_at, outcome)
          select ${runId}::uuid, ${jobId}, ${run?.trigger ?? 'schedule'}, ${instance}, ${new Date(lastMs)},
            ${token}::uuid, ${leaseEnd(sql)}, 'running'
          from fired where ${run !== undefined}
          on conflict do nothing
          returning true
        )
        select ${new Date(lastMs)} > clock_timestamp() as early,
          exists (select from fired) as fired, exists (select from started) as started`
    )
    if (!row?.fired) return row?.early ? 'early' : 'lost'
    if (row.started) return 'started'
    return run ? 'busy' : 'missed'
  }

  /** Counts a fire that came due during a run, on the row of that run. */
  async countOverrun(jobId: string): Promise<void> {
    await this.#database.run(
      sql => sql`update job_runs set skipped_count = skipped_count + 1 where job_id = ${jobId} and outcome = 'running'`
    )
  }

  /**
   * Claims a manual run. The lock on the job's row makes the answer exact: a run that ends at the same time counts either
   * as running or as ended.
   *
   * The claim is one statement, because the lock is then held for no network round trip: of many claims at once on a
   * distant database each waits only for the server. A claim that sees a run under way, or a recent one, takes no lock.
   * The time of the last success is read again from the locked row, which is current even when the statement has waited
   * for it; the statement's view of `job_runs` is older then.
   * @throws {DatabaseUnavailableError}
   */
  async claimManual(
    jobId: string,
    { runId, token, instance }: Claim,
    { actor, unlessRunWithinSeconds }: { actor: string; unlessRunWithinSeconds?: number | undefined }
  ): Promise<ManualClaim> {
    let withinSeconds = unlessRunWithinSeconds ?? null
    const isRecent = (sql: Sql) =>
      sql`last_success_at >= clock_timestamp() - make_interval(secs => ${withinSeconds}::int)`
    const endMs = performance.now() + TRANSACTION_DEADLINE_MS
    do {
      const [claimed] = await this.#database.run(
        sql => sql<{ started_at: Date | null; is_recent: boolean | null }[]>`
          with seen as (
            select ${isRecent(sql)} as is_recent, exists (
              select from job_runs
              where job_id = ${jobId} and outcome = 'running' and lease_expires_at > clock_timestamp()
            ) as is_busy
            from scheduled_jobs where job_id = ${jobId}
          ), job as (
            select ${isRecent(sql)} as is_recent
            from scheduled_jobs where job_id = ${jobId} and (select is_busy or is_recent from seen) is not true
            for no key update
          ), decided as (
            select true where (select is_busy or is_recent from seen) is not true and (select is_recent from job) is not true
          ), abandoned as (
            ${abandonExpired(sql, sql`job_id = ${jobId} and exists (select from decided)`)}
            returning true
          ), started as (
            insert into job_runs (run_id, job_id, trigger, actor, instance, lease_token, lease_expires_at, outcome)
            select ${runId}::uuid, ${jobId}, 'manual', ${actor}, ${instance}, ${token}::uuid, ${leaseEnd(sql)}, 'running'
            from decided where (select count(*) from abandoned) >= 0
            on conflict do nothing
            returning started_at
          )
          select (select started_at from started) as started_at,
            coalesce((select is_recent from job), (select is_recent from seen)) as is_recent`,
        { deadlineMs: TRANSACTION_DEADLINE_MS }
      )
      if (claimed?.started_at) return { kind: 'started', startedAt: claimed.started_at }
      if (claimed?.is_recent) {
        const [recent] = await this.#latest(jobId, 'succeeded')
        if (recent) return { kind: 'recent', run: recent }
        // The history no longer has that run.
        withinSeconds = null
      } else {
        const [running] = await this.#latest(jobId, 'running')
        if (running) return { kind: 'busy', running }
      }
      // The run that was in the way has ended: the job is free, or the run counts as recent.
    } while (performance.now() < endMs)
    throw new DatabaseUnavailableError('database_timeout')
  }

  #latest(jobId: string, outcome: RunOutcome): Promise<RunRecord[]> {
    return this.#database.run(
      sql => sql<RunRecord[]>`
        select ${runColumns(sql)} from job_runs run
        where job_id = ${jobId} and outcome = ${outcome} order by finished_at desc limit 1`
    )
  }

  /** Renews a lease and keeps the progress. @returns false when the run is not the runner's any more */
  renew({ runId, token }: Claim, progress?: Progress): Promise<boolean> {
    return this.transaction(async tx => {
      const { count } = await tx`
        update job_runs
        set lease_expires_at = ${leaseEnd(tx)},
          progress_done = ${progress?.done ?? null}::int, progress_total = ${progress?.total ?? null}::int
        where run_id = ${runId} and lease_token = ${token} and outcome = 'running'`
      return count === 1
    })
  }

  /**
   * Records the end of a run. The row of the job is locked before that of the run, as claims lock them, and only for a run
   * that succeeded: its time is written there. Idempotent.
   * @returns false when the run is not the runner's any more
   */
  finish({ runId, token }: Claim, end: RunEnd, progress?: Progress): Promise<boolean> {
    return this.transaction(async tx => {
      const { count } = await tx`
        with job as (
          select job_id from scheduled_jobs
          where job_id = (select job_id from job_runs where run_id = ${runId}) and ${end.outcome === 'succeeded'}
          for no key update
        ), ended as (
          update job_runs
          set outcome = ${end.outcome}, finished_at = clock_timestamp(), lease_expires_at = null,
            progress_done = ${progress?.done ?? null}::int, progress_total = ${progress?.total ?? null}::int,
            result = ${end.result === null ? null : tx.json(end.result)}::jsonb, error_code = ${end.errorCode}
          where run_id = ${runId} and lease_token = ${token} and outcome = 'running'
            and (select count(*) from job) >= 0
          returning job_id
        ), succeeded as (
          update scheduled_jobs set last_success_at = clock_timestamp()
          where job_id = (select job_id from job) and exists (select from ended)
        )
        select from ended`
      if (count === 1) return true
      const rows = await tx`
        select from job_runs where run_id = ${runId} and lease_token = ${token} and outcome = ${end.outcome}`
      return rows.length === 1
    })
  }

  /**
   * A transaction of a run: it holds the run's row from its start, so that the run cannot become another's before it ends.
   * `work` may be called again, as `Database.transaction` says, and locks nothing that comes before `job_runs` in
   * `LOCK_ORDER`.
   * @throws {LeaseLostError} when the run is not the runner's any more
   */
  fenced<T>(
    { runId, token }: Claim,
    work: (tx: TransactionSql) => Promise<T>,
    options?: { deadlineMs?: number }
  ): Promise<T> {
    return this.transaction(async tx => {
      const held = await tx`
        select from job_runs where run_id = ${runId} and lease_token = ${token} and outcome = 'running' for update`
      if (held.length !== 1) throw new LeaseLostError()
      return await work(tx)
    }, options)
  }

  /** A transaction that cannot hold its locks for longer than some seconds, even when this process is frozen in it. */
  transaction<T>(
    work: (tx: TransactionSql) => Promise<T>,
    { deadlineMs = TRANSACTION_DEADLINE_MS }: { deadlineMs?: number } = {}
  ): Promise<T> {
    return this.#database.transaction(
      async tx => {
        const limit = tx.unsafe(`set local idle_in_transaction_session_timeout = ${SILENT_CLIENT_MS}`).execute()
        const [, result] = await Promise.all([limit, work(tx)])
        return result
      },
      { deadlineMs: Math.min(deadlineMs, TRANSACTION_DEADLINE_MS) }
    )
  }

  /**
   * Starts or stops the scheduler of the whole cluster. A start of a running one changes nothing; a stop of a stopped one
   * changes its end and reason. All locks are taken by the last statement, so that they are held for one network round
   * trip.
   * @param beside what else belongs to the transaction. It runs first, and locks nothing that another transaction waits for
   */
  control({ running, restart, actor, reason, forMinutes }: ControlChange, beside?: Beside): Promise<void> {
    return this.transaction(async tx => {
      await beside?.(tx)
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
   * @param beside as of `control`
   */
  pause(
    jobId: string,
    { paused, actor, reason }: { paused: boolean; actor: string; reason: string | null },
    beside?: Beside
  ): Promise<void> {
    return this.transaction(async tx => {
      await beside?.(tx)
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

  /** The state of the clock and of all jobs, one statement. */
  async status(): Promise<StatusRecord> {
    const rows = await this.#database.run(
      sql => sql<
        (Omit<StatusRecord, 'jobs'> &
          Omit<JobStatusRecord, 'running' | 'last_run'> & {
            current: (RunJson & object) | null
            last: (RunJson & object) | null
            clock_running: boolean
          })[]
      >`
        select
          state.running as clock_running, state.changed_by, state.changed_at, state.reason, state.resumes_at,
          clock_timestamp() as now,
          job.job_id, job.paused, job.paused_by, job.paused_reason, job.next_fire_at, job.first_due_at,
          job.last_success_at,
          (select to_jsonb(r) from (
            select ${runColumns(sql)} from job_runs run where run.job_id = job.job_id and outcome = 'running'
          ) r) as current,
          (select to_jsonb(r) from (
            select ${runColumns(sql)} from job_runs run
            where run.job_id = job.job_id and outcome in ('succeeded', 'failed', 'abandoned')
            order by seq desc limit 1
          ) r) as last
        from scheduler_state state left join scheduled_jobs job on true`
    )
    const [first] = rows
    if (!first) throw new Error('scheduler_state has no row')
    return {
      running: first.clock_running,
      changed_by: first.changed_by,
      changed_at: first.changed_at,
      reason: first.reason,
      resumes_at: first.resumes_at,
      now: first.now,
      jobs: rows
        .filter(({ job_id }) => job_id !== null)
        .map(row => ({
          job_id: row.job_id,
          paused: row.paused,
          paused_by: row.paused_by,
          paused_reason: row.paused_reason,
          next_fire_at: row.next_fire_at,
          first_due_at: row.first_due_at,
          last_success_at: row.last_success_at,
          running: row.current && fromJson(row.current),
          last_run: row.last && fromJson(row.last)
        }))
    }
  }

  /**
   * The history, newest first.
   * @param filter.before the id of a run: only what began before it
   */
  runs(filter: {
    jobId?: string | undefined
    outcome?: RunOutcome | undefined
    before?: string | undefined
    limit: number
  }): Promise<RunRecord[]> {
    return this.#database.run(
      sql => sql<RunRecord[]>`
        select ${runColumns(sql)} from job_runs run
        where true
          ${filter.jobId === undefined ? sql`` : sql`and job_id = ${filter.jobId}`}
          ${filter.outcome === undefined ? sql`` : sql`and outcome = ${filter.outcome}`}
          ${filter.before === undefined ? sql`` : sql`and seq < (select seq from job_runs where run_id = ${filter.before})`}
        order by seq desc limit ${filter.limit}`
    )
  }

  /** One run of the history. */
  async run(runId: string): Promise<RunRecord | undefined> {
    const [row] = await this.#database.run(
      sql => sql<RunRecord[]>`select ${runColumns(sql)} from job_runs run where run_id = ${runId}`
    )
    return row
  }
}

type AnySql = Sql | TransactionSql

function ms(sql: AnySql, moment: ReturnType<AnySql>) {
  return sql`round(extract(epoch from ${moment}) * 1000)::float8`
}

function fromMs(sql: AnySql, value: ReturnType<AnySql>) {
  return sql`to_timestamp(${value} / 1000)`
}

function leaseEnd(sql: AnySql) {
  return sql`clock_timestamp() + make_interval(secs => ${LEASE_MS / SECOND}::int)`
}

/**
 * Abandons the runs whose lease has expired. A locked row is skipped: its runner is alive and in a transaction.
 * @param condition only rows of which this is true
 */
function abandonExpired(sql: AnySql, condition = sql`true`) {
  return sql`
    update job_runs set outcome = 'abandoned', finished_at = clock_timestamp(), error_code = 'LEASE_EXPIRED'
    where run_id in (
      select run_id from job_runs
      where outcome = 'running' and lease_expires_at < clock_timestamp() and ${condition}
      for update skip locked
    )`
}

function runColumns(sql: AnySql) {
  return sql`
    run.run_id, run.job_id, run.trigger, run.actor, run.instance, run.scheduled_for, run.started_at, run.finished_at,
    round(extract(epoch from run.finished_at - run.started_at) * 1000)::float8 as duration_ms, run.outcome,
    case when run.progress_total is not null
      then jsonb_build_object('done', run.progress_done, 'total', run.progress_total)
    end as progress,
    run.result, run.error_code as error`
}

type RunJson = Omit<RunRecord, 'scheduled_for' | 'started_at' | 'finished_at'> & {
  scheduled_for: string | null
  started_at: string
  finished_at: string | null
}

function fromJson(run: RunJson): RunRecord {
  const date = (text: string | null) => (text === null ? null : new Date(text))
  return {
    ...run,
    scheduled_for: date(run.scheduled_for),
    started_at: new Date(run.started_at),
    finished_at: date(run.finished_at)
  }
}
