// @FEAT:trading @COMP:service @TYPE:helper
import type { AccountSummary } from './daily-summaries.ts'

/** How old the values of a summary may be before the message shows from when they are, in milliseconds. */
export interface MaxAges {
  balancesMs: number
  ordersMs: number
  marksMs: number
}

/** From when the values of a summary are that are older than allowed; null for those that are not, or are unknown. */
export interface OldValues {
  balances: Date | null
  orders: Date | null
  marks: Date | null
}

/** The values of a summary that are too old. */
export function oldValues(summary: AccountSummary, { balancesMs, ordersMs, marksMs }: MaxAges): OldValues {
  const ifOld = (asOf: Date | null, maxMs: number) =>
    asOf !== null && summary.at.getTime() - asOf.getTime() > maxMs ? asOf : null
  return {
    balances: ifOld(summary.balances_as_of, balancesMs),
    orders: ifOld(summary.orders_as_of, ordersMs),
    marks: ifOld(summary.marks_as_of, marksMs)
  }
}

/** Whether a value of the summary is too old. */
export function isOutdated(summary: AccountSummary, maxAges: MaxAges): boolean {
  return Object.values(oldValues(summary, maxAges)).some(asOf => asOf !== null)
}
