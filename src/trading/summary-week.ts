// @FEAT:trading @COMP:service @TYPE:helper
import type { TransactionSql } from '../database/client.ts'
import { type Decimal, Exact } from '../domain/decimal.ts'

/** The days that a summary shows next to its own. */
const DAYS_BEFORE = 6
const BARS = '▁▂▃▄▅▆▇█'
const MISSING = '·'

/** The net result of each of the last seven days, the day of the summary last. Null: a day without a summary. */
export type Week = readonly (Decimal | null)[]

/** The week of a row `s` of `daily_account_summaries`, as JSON. */
export function weekOf(tx: TransactionSql, day: string) {
  return tx`(
    select jsonb_agg((w.realized_pnl - w.fees + w.funding - w.interest)::text order by ago desc)
    from generate_series(0, ${DAYS_BEFORE}::int) ago
    left join daily_account_summaries w
      on w.account_id = s.account_id and w.currency = s.currency and w.date = ${day}::date - ago
  )`
}

/**
 * A week as seven characters: a bar for each day, from the lowest result, or zero where all are above it, to the highest,
 * or zero where all are below it. A day without a summary is a dot.
 */
export function weekBars(week: Week): string {
  const known = knownOf(week)
  const low = known.reduce((a, b) => (b.lt(a) ? b : a), new Exact(0))
  const high = known.reduce((a, b) => (b.gt(a) ? b : a), new Exact(0))
  const range = high.minus(low)
  return week
    .map(net => {
      if (net === null) return MISSING
      const share = range.eq(0) ? 0 : new Exact(net).minus(low).div(range).toNumber()
      return BARS[Math.round(share * (BARS.length - 1))]
    })
    .join('')
}

/** The sum of the days that are known. */
export function weekTotal(week: Week): Decimal {
  return knownOf(week)
    .reduce((sum, net) => sum.plus(net), new Exact(0))
    .toFixed()
}

/** The sums of several weeks, day by day. A day is null where all are. */
export function addWeeks(weeks: readonly Week[]): Week {
  return Array.from({ length: DAYS_BEFORE + 1 }, (_, i) => {
    const nets = weeks.map(week => week[i] ?? null)
    return nets.every(net => net === null) ? null : weekTotal(nets)
  })
}

function knownOf(week: Week) {
  return week.flatMap(net => (net === null ? [] : [new Exact(net)]))
}
