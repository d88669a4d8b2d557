// @FEAT:trading @COMP:job @TYPE:core
import { DAY } from '../async/durations.ts'
import { type JobContext, JobError, type JobResult } from '../scheduler/job.ts'
import { summarise, unfinishedDays } from '../trading/daily-summaries.ts'
import { computePerformance, planPerformance, recordedUntil, type Series } from '../trading/performance-store.ts'

/**
 * The limits of one transaction: the days that it computes, and the rows that it reads, history included. Postgres sorts
 * them in memory, and the transaction ends well before its deadline, on a small machine, too.
 */
const DAYS_AT_ONCE = 31
const ROWS_AT_ONCE = 15_000

/**
 * Computes `strategy_performance` of the days that are over, in order, and completes the daily summaries of the accounts.
 * The next run continues an incomplete one. Idempotent.
 * @param settings.timeZone IANA name: a day is a day of this zone
 * @returns the job's run; it fails with `DAY_NOT_OVER` for a day that is not over
 */
export function calculateDailyPerformance({
  timeZone
}: {
  timeZone: string
}): (context: JobContext) => Promise<JobResult> {
  return async ({ transaction, progress, signal, scheduledFor, date }) => {
    const options = { timeZone, at: scheduledFor, date }
    const { yesterday, asOf, series } = await transaction(tx => planPerformance(tx, options))
    if (date !== undefined && date > yesterday) throw new JobError('DAY_NOT_OVER')
    const summaryDays = date === undefined ? await transaction(tx => unfinishedDays(tx, yesterday, options)) : [date]

    const result = {
      strategies: new Set(series.map(({ strategyId }) => strategyId)).size,
      days: 0,
      trades: 0,
      executions_apart: 0,
      summaries: 0,
      fees_unknown: 0
    }
    const total = series.reduce((sum, { from, to }) => sum + daysFrom(from, to), 0) + summaryDays.length
    let done = 0
    for (const batch of batches(series)) {
      signal.throwIfAborted()
      const { days, trades, executions_apart, fees_unknown } = await transaction(tx =>
        computePerformance(tx, batch, options)
      )
      result.days += days
      result.trades += trades
      result.executions_apart += executions_apart
      result.fees_unknown += fees_unknown
      done += days
      progress(done, total)
    }
    for (const day of summaryDays) {
      signal.throwIfAborted()
      const { summaries } = await transaction(tx => summarise(tx, day, options))
      result.summaries += summaries
      progress(++done, total)
    }
    if (date === undefined) await transaction(tx => recordedUntil(tx, asOf))
    return result
  }
}

/** Divides the work into transactions, a month of days at a time, so that missing days are computed in order. */
function* batches(series: readonly Series[]): Generator<Series[]> {
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
      if (rows < ROWS_AT_ONCE) continue
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
