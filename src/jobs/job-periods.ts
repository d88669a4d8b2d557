// @FEAT:scheduler @COMP:job @TYPE:helper
import { SECOND } from '../async/durations.ts'

/** The periods of the jobs that read every account or market, in milliseconds. */
export const JOB_PERIODS = {
  orders: 29 * SECOND,
  balances: 59 * SECOND,
  prices: 31 * SECOND,
  ledger: 300 * SECOND,
  marks: 307 * SECOND
} as const
