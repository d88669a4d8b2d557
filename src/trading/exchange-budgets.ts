// @FEAT:exchanges @COMP:service @TYPE:core
import { MINUTE } from '../async/durations.ts'
import { Poller } from '../async/poller.ts'
import type { Database } from '../database/database.ts'
import type { ExchangeName, Market } from '../domain/market.ts'
import type { CallCosts } from '../exchanges/call-costs.ts'
import type { HostStatus } from '../exchanges/http/host-status.ts'
import type { Log } from '../log/log.ts'
import type { Reading } from '../metrics/metrics.ts'
import { type ExchangeLoad, exchangeLoads, marketLoads } from './budget-loads.ts'
import { budgetNeeds, isNearLimit, type LimitNeed, type NeedOptions, needText } from './budget-need.ts'
import { groupedBy } from './grouped.ts'

const INTERVAL_MS = MINUTE
const LATE = ['orders', 'balances'] as const

/** What the accounts of one exchange need of its limits, and how late they are read. */
export interface ExchangeBudget {
  /** Active accounts, those of its testnet too. */
  accounts: number
  /** By limit, the one with the largest need first. `used`: now, as far as this replica knows; null without a call to the host. */
  limits: (LimitNeed & { used: number | null })[]
  /** The wait of the longest-waiting account, null where there is nothing to read, and the period that the limits allow. */
  lateness: Record<(typeof LATE)[number], { waitMs: number | null; periodMs: number }>
}

export interface ExchangeBudgetsOptions extends Pick<NeedOptions, 'periodsMs'> {
  database: Database
  log: Log
  /** The living replicas, each of which reads the prices. */
  replicas: () => number
  /** The hosts that this replica has called, by exchange. */
  hosts: () => readonly { exchange: ExchangeName; hosts: readonly HostStatus[] }[]
  callCosts: (market: Market, isTestnet: boolean) => Promise<CallCosts>
}

/**
 * Compares once a minute what the accounts need with the limits of the exchanges. The first time it logs each exchange whose
 * limits are too small, or nearly so.
 */
export class ExchangeBudgets {
  readonly #options: ExchangeBudgetsOptions
  readonly #poller: Poller
  readonly #costs = new Map<string, Promise<CallCosts>>()
  #latest: ReadonlyMap<ExchangeName, ExchangeBudget> | undefined

  constructor(options: ExchangeBudgetsOptions) {
    this.#options = options
    this.#poller = new Poller({
      poll: () => this.#poll(),
      intervalMs: INTERVAL_MS,
      log: options.log,
      failedMessage: 'needs of accounts not estimated',
      recoveredMessage: 'needs of accounts estimated again'
    })
  }

  /** Starts the estimates. Idempotent. */
  start(): void {
    this.#poller.start()
  }

  /** Ends the estimates and waits for the one that runs. Idempotent. */
  async close(): Promise<void> {
    await this.#poller.stop()
  }

  /** Estimates now. Never rejects. */
  poll(): Promise<void> {
    return this.#poller.kick()
  }

  /** The estimate now, by exchange; those without active accounts are not in it. */
  async read(): Promise<Map<ExchangeName, ExchangeBudget>> {
    const { database, periodsMs, replicas, hosts } = this.#options
    const loads = groupedBy(await exchangeLoads(database), ({ exchange }) => exchange)
    const used = new Map(
      hosts().flatMap(({ exchange, hosts }) =>
        hosts.flatMap(({ id, uses }) => uses.map(use => [`${exchange} ${id} ${use.limit.name}`, use.used] as const))
      )
    )
    const budgets = new Map<ExchangeName, ExchangeBudget>()
    for (const [exchange, own] of loads) {
      const markets = await Promise.all(own.map(load => marketLoads(load, (...of) => this.#costsOf(...of))))
      const needs = budgetNeeds(markets.flat(), { periodsMs, replicas: replicas() })
      const limits = needs.map(need => ({
        ...need,
        used: used.get(`${exchange} ${need.host} ${need.limit.name}`) ?? null
      }))
      budgets.set(exchange, {
        accounts: own.reduce((sum, { accounts }) => sum + accounts, 0),
        limits,
        lateness: {
          orders: latenessOf('orders', own, needs, periodsMs),
          balances: latenessOf('balances', own, needs, periodsMs)
        }
      })
    }
    return budgets
  }

  /** Sets the gauges of each exchange from the latest estimate. */
  report(reading: Pick<Reading, 'set'>): void {
    for (const [exchange, { limits, lateness }] of this.#latest ?? []) {
      const [fullest] = limits
      if (fullest !== undefined) reading.set('trading_health_exchange_need_ratio', { exchange }, fullest.need)
      for (const read of LATE) {
        const { waitMs, periodMs } = lateness[read]
        reading.set('trading_health_exchange_period_seconds', { exchange, read }, periodMs / 1_000)
        if (waitMs !== null) reading.set('trading_health_exchange_wait_seconds', { exchange, read }, waitMs / 1_000)
      }
    }
  }

  async #poll(): Promise<undefined> {
    const isFirst = this.#latest === undefined
    this.#latest = await this.read()
    if (!isFirst) return
    for (const [exchange, { accounts, limits }] of this.#latest) {
      const [fullest] = limits
      if (fullest === undefined || !isNearLimit(fullest)) continue
      this.#options.log.warn(
        {
          exchange,
          accounts,
          limit: fullest.limit.name,
          need: round(fullest.need),
          estimate: needText(fullest, accounts)
        },
        'accounts need more than the rate limit, or nearly so'
      )
    }
  }

  #costsOf(market: Market, isTestnet: boolean): Promise<CallCosts> {
    const id = `${market.exchange} ${market.marketType} ${isTestnet}`
    const known = this.#costs.get(id) ?? this.#options.callCosts(market, isTestnet)
    this.#costs.set(id, known)
    return known
  }
}

function latenessOf(
  read: (typeof LATE)[number],
  loads: readonly ExchangeLoad[],
  needs: readonly LimitNeed[],
  periodsMs: NeedOptions['periodsMs']
) {
  const waits = loads.map(({ waitsMs }) => waitsMs[read]).filter(ms => ms !== null)
  return {
    waitMs: waits.length === 0 ? null : Math.max(0, ...waits),
    periodMs: Math.max(
      periodsMs[read],
      ...needs.filter(need => need.weightPerRun[read] > 0).map(need => need.periodsMs[read])
    )
  }
}

function round(need: number): number {
  return Math.round(need * 100) / 100
}
