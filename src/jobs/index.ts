// @FEAT:scheduler @COMP:job @TYPE:core
import type { TradingAccounts } from '../accounts/account.ts'
import { HOUR, MINUTE, SECOND } from '../async/durations.ts'
import type { PriceCache } from '../cache/price-cache.ts'
import type { Database } from '../database/database.ts'
import type { InstrumentSource } from '../domain/instrument.ts'
import { dayAt } from '../domain/time-zone.ts'
import type { MinutePrice } from '../exchanges/minute-prices.ts'
import type { Language } from '../messages.ts'
import type { Outbox } from '../notifications/outbox.ts'
import type { Job, JobContext, JobResult } from '../scheduler/job.ts'
import { daily, every } from '../scheduler/trigger.ts'
import { housekeeping } from './housekeeping.ts'
import { JOB_PERIODS } from './job-periods.ts'
import { together } from './together.ts'
import { updatePriceCache } from './update-price-cache.ts'

/** The services that the jobs use. */
export interface JobServices {
  database: Database
  accounts: TradingAccounts
  prices: PriceCache
  instruments: InstrumentSource
  minutePrice: MinutePrice
  outbox: Outbox
  /** The operator's chat; undefined where there is none. */
  operatorChatId: string | undefined
  /** The language of outgoing messages. */
  language: Language
  /** The time zone of the daily jobs. */
  timeZone: string
}

/** A value of a summary is old after three periods of its job. */
export const SUMMARY_MAX_AGES = {
  ordersMs: 3 * JOB_PERIODS.orders,
  marksMs: 3 * JOB_PERIODS.marks,
  balancesMs: 3 * JOB_PERIODS.balances
}

/** Runs once in the cluster; a missed time is skipped. */
const cluster = { scope: 'cluster', misfire: { policy: 'skip' } } as const

/** The jobs of the service: when each runs, for how long at most, and which counts make a run `partial`. */
export function jobTable(services: JobServices): readonly Job[] {
  return [...tradingJobs(services), ...bookJobs(services), ...serviceJobs(services)]
}

function tradingJobs(services: JobServices): Job[] {
  return [
    {
      ...cluster,
      id: 'update_open_orders',
      type: 'update_orders',
      name: 'Update Open Orders Status',
      trigger: every(JOB_PERIODS.orders),
      maxRunMs: 5 * MINUTE,
      undone: ['failed', 'flagged', 'unknown', 'unknown_symbols', 'accounts_refused', 'accounts_left_out'],
      run: loaded(async () => (await import('./update-open-orders.ts')).updateOpenOrders(services))
    },
    {
      ...cluster,
      id: 'calculate_unrealized_pnl',
      type: 'calculate_pnl',
      name: 'Calculate Unrealized PnL',
      trigger: every(JOB_PERIODS.marks),
      maxRunMs: 5 * MINUTE,
      undone: ['without_price'],
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
      undone: ['outdated', 'unmarked'],
      run: loaded(async () =>
        (await import('./send-daily-summary.ts')).sendDailySummary({ ...services, maxAges: SUMMARY_MAX_AGES })
      )
    },
    {
      ...cluster,
      id: 'calculate_daily_performance',
      type: 'calculate_performance',
      name: 'Calculate Daily Strategy Performance',
      trigger: daily({ hour: 0, minute: 0, second: 13 }, services.timeZone),
      misfire: { policy: 'catch_up', graceMs: 24 * HOUR },
      maxRunMs: 15 * MINUTE,
      undone: ['days_failed', 'summary_days_failed'],
      takesDate: (date, nowMs) => date < dayAt(nowMs, services.timeZone),
      run: loaded(async () => (await import('./calculate-daily-performance.ts')).calculateDailyPerformance(services))
    }
  ]
}

function bookJobs(services: JobServices): Job[] {
  return [
    {
      ...cluster,
      id: 'sync_account_balances',
      type: 'sync_balances',
      name: 'Sync Account Balances',
      trigger: every(JOB_PERIODS.balances),
      maxRunMs: 5 * MINUTE,
      undone: ['failed', 'wallets_incomplete', 'equity_failed', 'refused', 'accounts_left_out'],
      run: loaded(async () => (await import('./sync-account-balances.ts')).syncAccountBalances(services))
    },
    {
      ...cluster,
      id: 'sync_exchange_ledger',
      type: 'sync_ledger',
      name: 'Sync Exchange Ledger',
      trigger: every(JOB_PERIODS.ledger),
      maxRunMs: 5 * MINUTE,
      undone: [
        ...['failed', 'wallets_incomplete', 'wallets_behind', 'conflicts', 'refused', 'accounts_left_out'],
        ...['fills_failed', 'fills_unreadable', 'fills_missed', 'openings_without_price']
      ],
      run: loaded(async () => {
        const { syncExchangeLedger } = await import('./sync-exchange-ledger.ts')
        const { readExternalFills } = await import('./read-external-fills.ts')
        return together(syncExchangeLedger(services), readExternalFills(services))
      })
    },
    {
      ...cluster,
      id: 'reconcile_books',
      type: 'reconcile_books',
      name: 'Reconcile Books',
      // After the ledger was read, and the balances after that.
      trigger: every(5 * MINUTE, MINUTE),
      maxRunMs: 4 * MINUTE,
      undone: ['postponed', 'without_opening', 'incomplete', 'failed', 'accounts_left_out'],
      run: loaded(async () => (await import('./reconcile-books.ts')).reconcileBooks(services))
    }
  ]
}

function serviceJobs(services: JobServices): Job[] {
  return [
    {
      id: 'update_price_cache',
      type: 'update_prices',
      name: 'Update Price Cache',
      trigger: every(JOB_PERIODS.prices),
      scope: 'replica',
      misfire: { policy: 'skip' },
      maxRunMs: 25 * SECOND,
      undone: ['failed', 'without_prices'],
      run: updatePriceCache(services)
    },
    {
      ...cluster,
      id: 'housekeeping',
      type: 'housekeeping',
      name: 'Housekeeping',
      trigger: every(5 * MINUTE),
      maxRunMs: 2 * MINUTE,
      undone: ['unfinished_tasks'],
      run: housekeeping()
    }
  ]
}

/** Loads the code of a job with its first run, which saves time and memory at the start of the service. */
function loaded(load: () => Promise<Job['run']>): (context: JobContext) => Promise<JobResult> {
  return async context => (await load())(context)
}
