// @FEAT:trading @COMP:job @TYPE:core
import { DAY } from '../async/durations.ts'
import type { TransactionSql } from '../database/client.ts'
import { errorCode } from '../database/error-code.ts'
import { DatabaseUnavailableError } from '../database/failure.ts'
import { type JobContext, JobError, type JobResult } from '../scheduler/job.ts'
import { summarise, unfinishedDays } from '../trading/daily-summaries.ts'
import { assignFunding } from '../trading/funding-shares.ts'
import {
  computePerformance,
  type PlanOptions,
  planPerformance,
  recordedUntil,
  type Series
} from '../trading/performance-store.ts'

/**
 * The limits of one transaction: the days that it computes, and the rows that it reads, history included. Postgres sorts
 * them in memory, and the transaction ends well before its deadline, on a small machine, too.
 */
const DAYS_AT_ONCE = 31
const ROWS_AT_ONCE = 15_000
/** A transaction that misses its deadline is repeated as so many smaller ones. */
const PARTS = 4
/** Strategies that one log line names. */
const MAX_LOGGED = 20

/**
 * Computes `strategy_performance` of the days that are over, in order, and completes the daily summaries of the accounts.
 * A strategy or a day that cannot be computed does not affect the others. It is counted, and the next run computes it
 * again. The next run also continues an incomplete one. Idempotent.
 * @param settings.timeZone IANA name: a day is a day of this zone
 * @returns the job's run; it fails with `DAY_NOT_OVER` for a day that is not over
 */
export function calculateDailyPerformance({
  timeZone
}: {
  timeZone: string
}): (context: JobContext) => Promise<JobResult> {
  return async context => {
    const { transaction, progress, scheduledFor, date } = context
    const options = { timeZone, at: scheduledFor, date }
    await assignFunding(transaction, context.signal)
    const { yesterday, asOf, series } = await transaction(tx => planPerformance(tx, options))
    if (date !== undefined && date > yesterday) throw new JobError('DAY_NOT_OVER')
    const summaryDays = date === undefined ? await transaction(tx => unfinishedDays(tx, yesterday, options)) : [date]

    const run = new PerformanceRun(context, options)
    const total = series.reduce((sum, { from, to }) => sum + daysFrom(from, to), 0) + summaryDays.length
    const report = () => progress(run.done, total)
    for (const batch of batches(series, () => run.rowsAtOnce)) {
      await run.batch(batch)
      report()
    }
    for (const day of summaryDays) {
      await run.summary(day)
      report()
    }
    if (date === undefined && run.isComplete) await transaction(tx => recordedUntil(tx, asOf))
    return { strategies: new Set(series.map(({ strategyId }) => strategyId)).size, ...run.counts }
  }
}

class PerformanceRun {
  readonly counts = {
    days: 0,
    days_failed: 0,
    executions: 0,
    trades: 0,
    executions_apart: 0,
    summaries: 0,
    summary_days_failed: 0,
    fees_unknown: 0
  }
  /** The limit of the next transactions. */
  rowsAtOnce = ROWS_AT_ONCE
  readonly #context: JobContext
  readonly #options: PlanOptions
  /** Series of which a day failed. The days after it depend on it. */
  readonly #failed = new Set<string>()
  #summaryDays = 0

  constructor(context: JobContext, options: PlanOptions) {
    this.#context = context
    this.#options = options
  }

  /** The days that were computed or have failed. */
  get done(): number {
    return this.counts.days + this.counts.days_failed + this.#summaryDays
  }

  /** Whether nothing has failed. */
  get isComplete(): boolean {
    return this.counts.days_failed === 0 && this.counts.summary_days_failed === 0
  }

  /** Computes the days of a batch. */
  async batch(batch: readonly Series[]): Promise<void> {
    const computable = batch.filter(one => !this.#failed.has(keyOf(one)))
    if (computable.length > 0) await this.#divide(computable)
    for (const one of batch) if (this.#failed.has(keyOf(one))) this.counts.days_failed += daysFrom(one.from, one.to)
  }

  /** Completes the summaries of a day. */
  async summary(day: string): Promise<void> {
    const counts = await this.#attempt({ day }, tx => summarise(tx, day, this.#options))
    if (counts === undefined) this.counts.summary_days_failed++
    else this.counts.summaries += counts.summaries
    this.#summaryDays++
  }

  /**
   * Computes the days of series in one transaction. When values cannot be computed, each series has its own transaction;
   * when the deadline is missed, this and the following transactions are smaller.
   */
  async #divide(series: readonly Series[]): Promise<void> {
    let size = 1
    try {
      if (await this.#compute(series)) return
      const [only, other] = series
      if (only && !other) {
        this.#failed.add(keyOf(only))
        return
      }
    } catch (err) {
      if (series.length === 1 || !isTimeout(err)) throw err
      size = Math.ceil(series.length / PARTS)
      this.rowsAtOnce = Math.min(this.rowsAtOnce, Math.ceil(rowsOf(series) / PARTS))
      this.#context.log.warn(
        { err, series: series.length, rows: this.rowsAtOnce },
        'days computed in smaller transactions'
      )
    }
    for (let i = 0; i < series.length; i += size) await this.#divide(series.slice(i, i + size))
  }

  /** @returns whether it was possible */
  async #compute(series: readonly Series[]): Promise<boolean> {
    const line = { strategies: series.map(({ strategyId }) => strategyId).slice(0, MAX_LOGGED) }
    const computed = await this.#attempt(line, tx => computePerformance(tx, series, this.#options))
    if (computed === undefined) return false
    this.counts.days += computed.days
    this.counts.executions += computed.executions
    this.counts.trades += computed.trades
    this.counts.executions_apart += computed.executions_apart
    this.counts.fees_unknown += computed.fees_unknown
    return true
  }

  /** @returns undefined when the values cannot be computed; other failures end the run */
  async #attempt<T>(line: object, work: (tx: TransactionSql) => Promise<T>): Promise<T | undefined> {
    const { transaction, signal, log } = this.#context
    signal.throwIfAborted()
    try {
      return await transaction(work)
    } catch (err) {
      signal.throwIfAborted()
      if (!isAboutValues(err)) throw err
      log.warn({ ...line, err }, 'days not computed')
      return undefined
    }
  }
}

/** Whether Postgres rejected the values: a data exception, such as a number out of range, or a constraint. */
function isAboutValues(err: unknown): boolean {
  return /^2[23]/.test(errorCode(err) ?? '')
}

/** Whether the database did not finish a transaction before its deadline: it is too slow now for so many rows. */
function isTimeout(err: unknown): boolean {
  return err instanceof DatabaseUnavailableError && err.code === 'database_timeout'
}

/** The rows that a transaction reads, history included. */
function rowsOf(series: readonly Series[]): number {
  return series.reduce((sum, { since, to }) => sum + daysFrom(since, to), 0)
}

function keyOf({ strategyId, currency, isTestnet }: Series): string {
  return `${strategyId} ${currency} ${isTestnet}`
}

/**
 * Divides the work into transactions, a month of days at a time, so that missing days are computed in order.
 * @param rowsAtOnce the rows of a transaction; it is called before each
 */
function* batches(series: readonly Series[], rowsAtOnce: () => number): Generator<Series[]> {
  let rest = series
  for (let [first] = rest; first; [first] = rest) {
    const end = addDays(first.from, DAYS_AT_ONCE - 1)
    let batch: Series[] = []
    let rows = 0
    for (const one of rest) {
      if (one.from > end) continue
      const part = one.to <= end ? one : { ...one, to: end }
      batch.push(part)
      rows += daysFrom(part.since, part.to)
      if (rows < rowsAtOnce()) continue
      yield batch
      batch = []
      rows = 0
    }
    if (batch.length > 0) yield batch
    const next = addDays(end, 1)
    rest = rest.filter(({ to }) => to > end).map(one => (one.from > end ? one : { ...one, from: next }))
  }
}

/** The number of days, both included. */
function daysFrom(from: string, to: string): number {
  return (Date.parse(to) - Date.parse(from)) / DAY + 1
}

function addDays(day: string, count: number): string {
  return new Date(Date.parse(day) + count * DAY).toISOString().slice(0, 10)
}
