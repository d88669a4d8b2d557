// @FEAT:scheduler @COMP:job @TYPE:core

import type { TradingAccounts } from '../accounts/account.ts'
import { HOUR, MINUTE, SECOND } from '../async/durations.ts'
import type { PriceCache } from '../cache/price-cache.ts'
import type { Database } from '../database/database.ts'
import type { Language } from '../messages.ts'
import type { Outbox } from '../notifications/outbox.ts'
import type { Job, JobContext, JobResult } from '../scheduler/job.ts'
import { daily, every } from '../scheduler/trigger.ts'
import { housekeeping } from './housekeeping.ts'
import { updatePriceCache } from './update-price-cache.ts'

/** What the jobs work with. */
export interface JobServices {
  database: Database
  accounts: TradingAccounts
  prices: PriceCache
  outbox: Outbox
  /** The operator's chat; undefined where there is none. */
  operatorChatId: string | undefined
  /** Of outgoing messages. */
  language: Language
  /** Whose days the daily jobs mean. */
  timeZone: string
}

/** The schedule of the service. Each job answers for itself; here stands when it runs, and for how long at most. */
export function jobTable(services: JobServices): readonly Job[] {
  const cluster = { scope: 'cluster', misfire: { policy: 'skip' } } as const
  return [
    {
      ...cluster,
      id: 'update_open_orders',
      type: 'update_orders',
      name: 'Update Open Orders Status',
      trigger: every(29 * SECOND),
      maxRunMs: 5 * MINUTE,
      run: loaded(async () => (await import('./update-open-orders.ts')).updateOpenOrders(services))
    },
    {
      ...cluster,
      id: 'calculate_unrealized_pnl',
      type: 'calculate_pnl',
      name: 'Calculate Unrealized PnL',
      trigger: every(307 * SECOND),
      maxRunMs: 5 * MINUTE,
      run: loaded(async () => (await import('./calculate-unrealized-pnl.ts')).calculateUnrealizedPnl(services))
    },
    {
      ...cluster,
      id: 'send_daily_summary',
      type: 'daily_summary',
      name: 'Send Daily Summary',
      trigger: daily({ hour: 21, minute: 3 }, services.timeZone),
      misfire: { policy: 'catch_up', graceMs: 3 * HOUR },
      maxRunMs: 5 * MINUTE,
      run: loaded(async () => (await import('./send-daily-summary.ts')).sendDailySummary(services))
    },
    {
      ...cluster,
      id: 'calculate_daily_performance',
      type: 'calculate_performance',
      name: 'Calculate Daily Strategy Performance',
      trigger: daily({ hour: 0, minute: 0, second: 13 }, services.timeZone),
      misfire: { policy: 'catch_up', graceMs: 24 * HOUR },
      maxRunMs: 15 * MINUTE,
      takesDate: (date, nowMs) => date < dayAt(nowMs, services.timeZone),
      run: loaded(async () => (await import('./calculate-daily-performance.ts')).calculateDailyPerformance(services))
    },
    {
      ...cluster,
      id: 'sync_account_balances',
      type: 'sync_balances',
      name: 'Sync Account Balances',
      trigger: every(59 * SECOND),
      maxRunMs: 5 * MINUTE,
      run: loaded(async () => (await import('./sync-account-balances.ts')).syncAccountBalances(services))
    },
    {
      id: 'update_price_cache',
      type: 'update_prices',
      name: 'Update Price Cache',
      trigger: every(31 * SECOND),
      scope: 'replica',
      misfire: { policy: 'skip' },
      maxRunMs: 25 * SECOND,
      run: updatePriceCache(services)
    },
    {
      ...cluster,
      id: 'housekeeping',
      type: 'housekeeping',
      name: 'Housekeeping',
      trigger: every(5 * MINUTE),
      maxRunMs: 2 * MINUTE,
      run: housekeeping()
    }
  ]
}

/** A job whose code is loaded with its first run: a service that starts owes nobody the time and the memory. */
function loaded(load: () => Promise<Job['run']>): (context: JobContext) => Promise<JobResult> {
  return async context => (await load())(context)
}

/** The day of a time in a zone, `YYYY-MM-DD`. */
function dayAt(ms: number, timeZone: string): string {
  return new Intl.DateTimeFormat('sv-SE', { timeZone, dateStyle: 'short' }).format(ms)
}
