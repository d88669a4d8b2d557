// @FEAT:scheduler @COMP:service @TYPE:core
import { SECOND } from '../async/durations.ts'
import type { Sql, TransactionSql } from '../database/client.ts'
import type { Database } from '../database/database.ts'
import { DatabaseUnavailableError } from '../database/failure.ts'
import { type JobResult, LeaseLostError } from './job.ts'
import type { Fire } from './misfire.ts'
import { type Progress, RunHistory, type RunRecord } from './run-history.ts'
import { type InTransaction, limitedTransaction, TRANSACTION_DEADLINE_MS } from './transaction.ts'

/** The code of a run whose lease expired. */
export const LEASE_EXPIRED = 'LEASE_EXPIRED'
/** A run whose lease is not renewed for this long becomes `abandoned`, and its job is free. In milliseconds. */
export const LEASE_MS = 15 * SECOND

/** A run, and the secret that proves that its runner holds the lease. */
export interface Claim {
  runId: string
  token: string
  instance: string
}

export type RunEnd =
  | { outcome: 'succeeded' | 'partial'; result: JobResult; errorCode: null }
  | { outcome: 'failed' | 'abandoned'; result: null; errorCode: string }

/**
 * - `started`: the claim was successful
 * - `busy`: the fire was claimed, but the job has an unfinished run
 * - `missed`: the fire was claimed, and is too late to run
 * - `early`: the database's clock has not reached the due time
 * - `lost`: another replica claimed it, the due time has a run already, or the scheduler is stopped or the job paused
 */
export type FireClaim = 'started' | 'busy' | 'missed' | 'early' | 'lost'

export type ManualClaim =
  | { kind: 'started'; startedAt: Date }
  | { kind: 'busy'; running: RunRecord }
  | { kind: 'recent'; run: RunRecord }

/** Claims runs of cluster jobs, holds their leases and records their ends. All times are the database's. */
export class RunStore {
  readonly #database: Database
  readonly #history: RunHistory

  constructor(database: Database) {
    this.#database = database
    this.#history = new RunHistory(database)
  }

  /**
   * Claims a fire for a replica, records the fires that were missed before it, and sets the job's next fire time: one
   * statement. Each part reads the result of the one before it, so that the locks are taken in order: the state of the
   * scheduler, the job, its runs.
   * @throws {DatabaseUnavailableError}
   */
  async claimFire(jobId: string, fire: Fire, { runId, token, instance }: Claim): Promise<FireClaim> {
    const { run, missed } = fire
    const lastMs = run?.scheduledForMs ?? missed?.untilMs ?? fire.dueMs
    const window = missed && {
      missed: missed.count,
      from: new Date(missed.fromMs).toISOString(),
      until: new Date(missed.untilMs).toISOString()
    }
    const scheduledFor = (sql: Sql) => sql`
      case when ${run?.mayRepeat ?? false} and exists (
        select from job_runs where job_id = ${jobId} and scheduled_for = ${new Date(lastMs)}
      ) then clock_timestamp() else ${new Date(lastMs)} end`
    const [row] = await this.#database.run(
      sql => sql<{ early: boolean; fired: boolean; started: boolean; busy: boolean }[]>`
        with allowed as (
          select from scheduler_state where running for share
        ), fired as (
          update scheduled_jobs
          set next_fire_at = ${new Date(fire.nextMs)}
          where job_id = ${jobId} and next_fire_at = ${new Date(fire.dueMs)} and not paused
            and ${new Date(lastMs)} <= clock_timestamp() and exists (select from allowed)
          returning job_id
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
          select ${runId}::uuid, ${jobId}, ${run?.trigger ?? 'schedule'}, ${instance}, 
            ${scheduledFor(sql)},
            ${token}::uuid, ${leaseEnd(sql)}, 'running'
          from fired where ${run !== undefined}
          on conflict do nothing
          returning job_id
        )
        select ${new Date(lastMs)} > clock_timestamp() as early,
          exists (select from fired) as fired, exists (select from started) as started,
          exists (select from job_runs where job_id = ${jobId} and outcome = 'running') as busy`
    )
    if (!row?.fired) return row?.early ? 'early' : 'lost'
    if (row.started) return 'started'
    if (!run) return 'missed'
    return row.busy ? 'busy' : 'lost'
  }

  /** Counts a fire that came due during a run, on the row of that run. @throws {DatabaseUnavailableError} */
  async countOverrun(jobId: string): Promise<void> {
    await this.#database.run(
      sql => sql`update job_runs set skipped_count = skipped_count + 1 where job_id = ${jobId} and outcome = 'running'`
    )
  }

  /**
   * Claims a manual run, or finds the run because of which there is none: the unfinished one, or one that succeeded
   * within the last `unlessRunWithinSeconds` seconds.
   * @param options.inTransaction runs first, in the transaction of the claim, and may reject to prevent it; its changes are
   *   undone when no run is claimed. It locks nothing that another transaction waits for
   * @throws {DatabaseUnavailableError}
   */
  async claimManual(
    jobId: string,
    claim: Claim,
    options: { actor: string; unlessRunWithinSeconds?: number | undefined; inTransaction?: InTransaction | undefined }
  ): Promise<ManualClaim> {
    let withinSeconds = options.unlessRunWithinSeconds ?? null
    const endMs = performance.now() + TRANSACTION_DEADLINE_MS
    do {
      const { startedAt, isRecent } = await this.#tryManual(jobId, claim, options, withinSeconds)
      if (startedAt) return { kind: 'started', startedAt }
      if (isRecent) {
        const run = await this.#history.latest(jobId, 'succeeded')
        if (run) return { kind: 'recent', run }
        // The history no longer has that run.
        withinSeconds = null
      } else {
        const running = await this.#history.latest(jobId, 'running')
        if (running) return { kind: 'busy', running }
      }
      // The run that was in the way has ended: the job is free, or the run counts as recent.
    } while (performance.now() < endMs)
    throw new DatabaseUnavailableError('database_timeout')
  }

  /**
   * The lock on the job's row makes the result exact: a run that ends at the same time counts either as running or as
   * ended.
   *
   * The claim is one statement, because the lock is then held for no network round trip: of many claims at once on a
   * distant database each waits only for the server. A claim that finds an unfinished run, or a recent one, takes no
   * lock. The time of the last success is read again from the locked row, which is current even when the statement has
   * waited for it; the statement's view of `job_runs` is older then.
   */
  async #tryManual(
    jobId: string,
    claim: Claim,
    { actor, inTransaction }: { actor: string; inTransaction?: InTransaction | undefined },
    withinSeconds: number | null
  ): Promise<ManualAttempt> {
    const attempt = (sql: Sql | TransactionSql) => claimManually(sql, { jobId, claim, actor, withinSeconds })
    if (!inTransaction) return this.#database.run(attempt, { deadlineMs: TRANSACTION_DEADLINE_MS })
    try {
      return await limitedTransaction(
        this.#database,
        async tx => {
          await inTransaction(tx)
          const attempted = await attempt(tx)
          if (!attempted.startedAt) throw new NotStarted(attempted)
          return attempted
        },
        { kind: 'manual claim with changes' }
      )
    } catch (err) {
      if (err instanceof NotStarted) return err.attempt
      throw err
    }
  }

  /**
   * Renews a lease and writes the progress.
   * @returns false when the runner no longer holds the lease
   * @throws {DatabaseUnavailableError}
   */
  renew({ runId, token }: Claim, progress?: Progress): Promise<boolean> {
    return limitedTransaction(this.#database, async tx => {
      const { count } = await tx`
        update job_runs
        set lease_expires_at = ${leaseEnd(tx)},
          progress_done = ${progress?.done ?? null}::int, progress_total = ${progress?.total ?? null}::int
        where run_id = ${runId} and lease_token = ${token} and outcome = 'running'`
      return count === 1
    })
  }

  /**
   * Records the end of a run. The row of the job is locked before that of the run, as claims lock them, and only for a
   * run that succeeded or is partial: its time is written there. Idempotent, except for `abandoned`: another replica may
   * have recorded the same.
   * @returns false when the runner no longer holds the lease
   * @throws {DatabaseUnavailableError}
   */
  finish({ runId, token }: Claim, end: RunEnd, progress?: Progress): Promise<boolean> {
    return limitedTransaction(this.#database, async tx => {
      const { count } = await tx`
        with job as (
          select job_id from scheduled_jobs
          where job_id = (select job_id from job_runs where run_id = ${runId}) and ${end.result !== null}
          for no key update
        ), ended as (
          update job_runs
          set outcome = ${end.outcome}, finished_at = clock_timestamp(), lease_expires_at = null,
            progress_done = ${progress?.done ?? null}::int, progress_total = ${progress?.total ?? null}::int,
            result = ${end.result === null ? null : tx.json(end.result)}::jsonb, error_code = ${end.errorCode}
          where run_id = ${runId} and lease_token = ${token} and outcome = 'running'
            and (select count(*) from job) >= 0
          returning job_id
        ), done as (
          update scheduled_jobs set
            last_success_at = case when ${end.outcome === 'succeeded'} then clock_timestamp() else last_success_at end,
            last_partial_at = case when ${end.outcome === 'partial'} then clock_timestamp() else last_partial_at end
          where job_id = (select job_id from job) and exists (select from ended)
        )
        select from ended`
      if (count === 1 || end.outcome === 'abandoned') return count === 1
      const rows = await tx`
        select from job_runs where run_id = ${runId} and lease_token = ${token} and outcome = ${end.outcome}`
      return rows.length === 1
    })
  }

  /**
   * Runs a transaction of a run. It locks the run's row first, so that no other replica can abandon the run before the
   * transaction ends. `work` may be called again, as `Database.transaction` says, and locks nothing that comes before
   * `job_runs` in `LOCK_ORDER`.
   * @param options.deadlineMs at most `TRANSACTION_DEADLINE_MS`, which is the default
   * @throws {LeaseLostError} when the runner no longer holds the lease
   * @throws {DatabaseUnavailableError}
   */
  fenced<T>(
    { runId, token }: Claim,
    work: (tx: TransactionSql) => Promise<T>,
    options?: { deadlineMs?: number }
  ): Promise<T> {
    return limitedTransaction(
      this.#database,
      async tx => {
        const held = await tx`
          select from job_runs where run_id = ${runId} and lease_token = ${token} and outcome = 'running' for update`
        if (held.length !== 1) throw new LeaseLostError()
        return await work(tx)
      },
      { kind: String(work), ...options }
    )
  }
}

/** The statement that abandons the runs whose lease has expired, before and after a further condition on its rows. */
const ABANDON = {
  head: `update job_runs set outcome = 'abandoned', finished_at = clock_timestamp(), error_code = '${LEASE_EXPIRED}'
    where run_id in (
      select run_id from job_runs where outcome = 'running' and lease_expires_at < clock_timestamp() and `,
  // A locked row is skipped: its runner is in a transaction.
  tail: ` for update skip locked
    )`
}

/** The statement that abandons all runs whose lease has expired, as text. */
export const ABANDON_EXPIRED = `${ABANDON.head}true${ABANDON.tail}`

/** As `ABANDON_EXPIRED`, for the rows for which the condition is true. */
function abandonExpired(sql: Sql | TransactionSql, condition: ReturnType<Sql>) {
  return sql`${sql.unsafe(ABANDON.head)}${condition}${sql.unsafe(ABANDON.tail)}`
}

/**
 * The statement that shortens the leases that end later than any lease can. They were written before the database's
 * clock was set back, and would protect a dead runner until that time. A living one renews its lease before it expires.
 */
export const SHORTEN_LEASES = `
  update job_runs set lease_expires_at = clock_timestamp() + make_interval(secs => ${LEASE_MS / SECOND})
  where run_id in (
    select run_id from job_runs
    where outcome = 'running' and lease_expires_at > clock_timestamp() + make_interval(secs => ${(2 * LEASE_MS) / SECOND})
    for update skip locked
  )`

function leaseEnd(sql: Sql | TransactionSql) {
  return sql`clock_timestamp() + make_interval(secs => ${LEASE_MS / SECOND}::int)`
}

/** What an attempt to claim a manual run found. */
interface ManualAttempt {
  startedAt: Date | undefined
  isRecent: boolean
}

/** Undoes the changes that came with a claim that started no run. */
class NotStarted extends Error {
  override name = 'NotStarted'
  readonly attempt: ManualAttempt

  constructor(attempt: ManualAttempt) {
    super('no run was claimed')
    this.attempt = attempt
  }
}

async function claimManually(
  sql: Sql | TransactionSql,
  manual: { jobId: string; claim: Claim; actor: string; withinSeconds: number | null }
): Promise<ManualAttempt> {
  const {
    jobId,
    claim: { runId, token, instance },
    actor,
    withinSeconds
  } = manual
  const isRecent = sql`last_success_at >= clock_timestamp() - make_interval(secs => ${withinSeconds}::int)`
  const [row] = await sql<{ started_at: Date | null; is_recent: boolean | null }[]>`
    with seen as (
      select ${isRecent} as is_recent, exists (
        select from job_runs
        where job_id = ${jobId} and outcome = 'running' and lease_expires_at > clock_timestamp()
      ) as is_busy
      from scheduled_jobs where job_id = ${jobId}
    ), job as (
      select ${isRecent} as is_recent
      from scheduled_jobs where job_id = ${jobId} and (select is_busy or is_recent from seen) is not true
      for no key update
    ), decided as (
      select where (select is_busy or is_recent from seen) is not true and (select is_recent from job) is not true
    ), abandoned as (
      ${abandonExpired(sql, sql`job_id = ${jobId} and exists (select from decided)`)}
      returning job_id
    ), started as (
      insert into job_runs (run_id, job_id, trigger, actor, instance, lease_token, lease_expires_at, outcome)
      select ${runId}::uuid, ${jobId}, 'manual', ${actor}, ${instance}, ${token}::uuid, ${leaseEnd(sql)}, 'running'
      from decided where (select count(*) from abandoned) >= 0
      on conflict do nothing
      returning started_at
    )
    select (select started_at from started) as started_at,
      coalesce((select is_recent from job), (select is_recent from seen)) as is_recent`
  return { startedAt: row?.started_at ?? undefined, isRecent: row?.is_recent ?? false }
}
