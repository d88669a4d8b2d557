// @FEAT:scheduler @COMP:service @TYPE:core
import type { Sql, TransactionSql } from '../database/client.ts'
import type { Database } from '../database/database.ts'
import type { JobResult } from './job.ts'

export type RunTrigger = 'schedule' | 'manual' | 'catch_up'
export type RunOutcome = 'running' | 'succeeded' | 'partial' | 'failed' | 'abandoned' | 'skipped'

/** How far a run is. */
export interface Progress {
  done: number
  total: number
}

/** One run of the history. */
export interface RunRecord {
  runId: string
  jobId: string
  trigger: RunTrigger
  /** The admin who triggered it; null for a scheduled run. */
  actor: string | null
  instance: string
  /** The due time; null for a manual run. */
  scheduledFor: Date | null
  startedAt: Date
  /** Null while the run is unfinished, as are `durationMs`, `result` and `errorCode`. */
  finishedAt: Date | null
  durationMs: number | null
  outcome: RunOutcome
  progress: Progress | null
  result: JobResult | null
  errorCode: string | null
}

export interface RunFilter {
  jobId?: string | undefined
  outcome?: RunOutcome | undefined
  /** The id of a run: only runs that started before it. */
  before?: string | undefined
  /** The most runs to return. */
  limit: number
}

/** A row of `runColumns`. Times are texts where the row comes from `to_jsonb`. */
export interface RunRow {
  run_id: string
  job_id: string
  trigger: RunTrigger
  actor: string | null
  instance: string
  scheduled_for: Date | string | null
  started_at: Date | string
  finished_at: Date | string | null
  duration_ms: number | null
  outcome: RunOutcome
  progress: Progress | null
  result: JobResult | null
  error_code: string | null
}

/** Reads the runs of cluster jobs. */
export class RunHistory {
  readonly #database: Database

  constructor(database: Database) {
    this.#database = database
  }

  /** The runs that match the filter, newest first. @throws {DatabaseUnavailableError} */
  async list({ jobId, outcome, before, limit }: RunFilter): Promise<RunRecord[]> {
    const rows = await this.#database.run(
      sql => sql<RunRow[]>`
        select ${runColumns(sql)} from job_runs run
        where true
          ${jobId === undefined ? sql`` : sql`and job_id = ${jobId}`}
          ${outcome === undefined ? sql`` : sql`and outcome = ${outcome}`}
          ${before === undefined ? sql`` : sql`and seq < (select seq from job_runs where run_id = ${before})`}
        order by seq desc limit ${limit}`
    )
    return rows.map(toRun)
  }

  /** One run; undefined when the history does not have it. @throws {DatabaseUnavailableError} */
  async byId(runId: string): Promise<RunRecord | undefined> {
    const [row] = await this.#database.run(
      sql => sql<RunRow[]>`select ${runColumns(sql)} from job_runs run where run_id = ${runId}`
    )
    return row && toRun(row)
  }

  /**
   * The run of the job with this outcome that finished last, or the unfinished one.
   * @throws {DatabaseUnavailableError}
   */
  async latest(jobId: string, outcome: RunOutcome): Promise<RunRecord | undefined> {
    const [row] = await this.#database.run(
      sql => sql<RunRow[]>`
        select ${runColumns(sql)} from job_runs run
        where job_id = ${jobId} and outcome = ${outcome} order by finished_at desc limit 1`
    )
    return row && toRun(row)
  }
}

/** The columns of a `RunRow`, of the table `job_runs` under the name `run`. */
export function runColumns(sql: Sql | TransactionSql) {
  return sql`
    run.run_id, run.job_id, run.trigger, run.actor, run.instance, run.scheduled_for, run.started_at, run.finished_at,
    round(extract(epoch from run.finished_at - run.started_at) * 1000)::float8 as duration_ms, run.outcome,
    case when run.progress_total is not null
      then jsonb_build_object('done', run.progress_done, 'total', run.progress_total)
    end as progress,
    run.result, run.error_code`
}

export function toRun(row: RunRow): RunRecord {
  return {
    runId: row.run_id,
    jobId: row.job_id,
    trigger: row.trigger,
    actor: row.actor,
    instance: row.instance,
    scheduledFor: toDate(row.scheduled_for),
    startedAt: new Date(row.started_at),
    finishedAt: toDate(row.finished_at),
    durationMs: row.duration_ms,
    outcome: row.outcome,
    progress: row.progress,
    result: row.result,
    errorCode: row.error_code
  }
}

function toDate(value: Date | string | null): Date | null {
  return value === null ? null : new Date(value)
}
