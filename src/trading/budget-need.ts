// @FEAT:exchanges @COMP:service @TYPE:core
import { MINUTE } from '../async/durations.ts'
import type { ExchangeName, MarketType } from '../domain/market.ts'
import type { CallCosts } from '../exchanges/call-costs.ts'
import type { OrderCosts } from '../exchanges/exchange-client.ts'
import { SHARES } from '../exchanges/http/budget-shares.ts'
import { type RateLimit, USED_SHARE } from '../exchanges/http/rate-budget.ts'
import { listsOf } from './order-reading.ts'

/** The jobs that read accounts or markets. */
const READS = ['prices', 'orders', 'balances', 'ledger'] as const
type Read = (typeof READS)[number]

/** What the jobs have to read of one market. */
export interface MarketLoad {
  exchange: ExchangeName
  marketType: MarketType
  costs: CallCosts
  /** Accounts whose wallet of this market is read. */
  wallets: number
  /** Groups of accounts with unfinished orders: how many orders each has of each symbol. */
  orders: readonly { ordersOfSymbols: readonly number[]; accounts: number }[]
}

/** What the accounts need of one limit of our address. */
export interface LimitNeed {
  exchange: ExchangeName
  /** Identifies the host. */
  host: string
  marketTypes: MarketType[]
  limit: RateLimit
  /** Weight of one run of each job, over all accounts. */
  weightPerRun: Record<Read, number>
  /** What the schedule of the jobs needs, as a multiple of the stated limit. Above 0.9 the jobs take longer. */
  need: number
  /** The resulting period of each job in milliseconds: that of its schedule, or a longer one. */
  periodsMs: Record<Read, number>
}

export interface NeedOptions {
  /** The schedule: the period of each job in milliseconds. */
  periodsMs: Readonly<Record<Read, number>>
  /** Each replica reads the prices. Default 1. */
  replicas?: number
}

/**
 * What the accounts need of each limit that they share, those with the largest need first. Limits of an API key are not
 * among them: one account stays far below them. Prices are read of every market.
 *
 * Where all jobs together need more than 90 % of a limit, each gets what it needs within its guaranteed share, and the rest
 * is divided among the others by their shares, without what `BudgetShares` keeps free. A job that gets half of what it needs
 * has twice its period.
 */
export function budgetNeeds(loads: readonly MarketLoad[], { periodsMs, replicas = 1 }: NeedOptions): LimitNeed[] {
  const needs = new Map<string, LimitNeed>()
  for (const load of loads) {
    const { exchange, marketType, costs } = load
    for (const limit of costs.limits.filter(({ scope }) => scope === 'address')) {
      const id = `${exchange} ${costs.host} ${limit.name}`
      const need = needs.get(id) ?? newNeed(load, limit, periodsMs)
      needs.set(id, need)
      if (!need.marketTypes.includes(marketType)) need.marketTypes.push(marketType)
      const weights = weightsOf(load, limit.name, replicas)
      for (const read of READS) need.weightPerRun[read] += weights[read]
    }
  }
  for (const need of needs.values()) complete(need, periodsMs)
  return [...needs.values()].filter(({ need }) => need > 0).sort((a, b) => b.need - a.need)
}

/** One sentence for people: what an exchange's accounts need, and how late orders and balances become. */
export function needText({ need, periodsMs }: LimitNeed, accounts: number): string {
  const times = need < 10 ? need.toFixed(1) : need.toFixed(0)
  return `${accounts} account${accounts === 1 ? '' : 's'}: ${times} × the limit, orders every ${spanText(periodsMs.orders)}, balances every ${spanText(periodsMs.balances)}`
}

/** Whether the jobs take longer than their schedule, or nearly so. */
export function isNearLimit({ need }: LimitNeed): boolean {
  return need > NEAR * USED_SHARE
}

const NEAR = 0.8

function spanText(ms: number): string {
  return ms < 2 * MINUTE ? `${Math.round(ms / 1_000)} s` : `${(ms / MINUTE).toFixed(1)} min`
}

function newNeed({ exchange, costs }: MarketLoad, limit: RateLimit, periodsMs: NeedOptions['periodsMs']): LimitNeed {
  return {
    exchange,
    host: costs.host,
    marketTypes: [],
    limit,
    weightPerRun: { prices: 0, orders: 0, balances: 0, ledger: 0 },
    need: 0,
    periodsMs: { ...periodsMs }
  }
}

function weightsOf({ costs, wallets, orders }: MarketLoad, limit: string, replicas: number): Record<Read, number> {
  const { order, balances, prices, ledger, orderCosts } = costs
  const units = orders.reduce((sum, group) => sum + group.accounts * orderUnits(orderCosts, group.ordersOfSymbols), 0)
  const of = (some: CallCosts['order']) => some.reduce((sum, cost) => sum + (cost.limit === limit ? cost.weight : 0), 0)
  return {
    prices: replicas * of(prices),
    orders: (of(order) / orderCosts.order) * units,
    balances: wallets * of(balances),
    ledger: wallets * of(ledger)
  }
}

/** What the unfinished orders of one account cost, in the unit of `OrderCosts`. Orders that a list has are not read again. */
function orderUnits(costs: OrderCosts, ordersOfSymbols: readonly number[]): number {
  const orders = ordersOfSymbols.flatMap((count, index) =>
    Array.from({ length: count }, () => ({ exchangeSymbol: String(index) }))
  )
  if (orders.length === 0) return 0
  const lists = listsOf(costs, orders)
  if (lists.length === 0) return costs.order * orders.length
  return lists.reduce((sum, { exchangeSymbol }) => sum + (exchangeSymbol ? costs.listOfSymbol : costs.list), 0)
}

function complete(need: LimitNeed, periodsMs: NeedOptions['periodsMs']): void {
  const { limit, weightPerRun } = need
  const demandOf = (read: Read) => (weightPerRun[read] / periodsMs[read]) * limit.perMs
  const demand = {
    prices: demandOf('prices'),
    orders: demandOf('orders'),
    balances: demandOf('balances'),
    ledger: demandOf('ledger')
  }
  need.need = READS.reduce((sum, read) => sum + demand[read], 0) / limit.weight
  const granted = divided(limit.weight * USED_SHARE, demand)
  for (const read of READS) {
    if (demand[read] > granted[read])
      need.periodsMs[read] = Math.round((periodsMs[read] * demand[read]) / granted[read])
  }
}

/**
 * Divides a capacity: a job that needs less than its part leaves the rest to the others, by their shares. `BudgetShares`
 * keeps up to twice of what such a job needs free for it.
 */
function divided(capacity: number, demand: Readonly<Record<Read, number>>): Record<Read, number> {
  const granted: Record<Read, number> = { prices: 0, orders: 0, balances: 0, ledger: 0 }
  const keptFor = (read: Read) => Math.max(demand[read], Math.min(SHARES[read] * capacity, 2 * demand[read]))
  let left = capacity
  for (let open: readonly Read[] = READS; open.length > 0; ) {
    const shares = open.reduce((sum, read) => sum + SHARES[read], 0)
    for (const read of open) granted[read] = Math.max(SHARES[read] * capacity, (left * SHARES[read]) / shares)
    const satisfied = open.filter(read => demand[read] <= granted[read])
    if (satisfied.length === 0) break
    left -= satisfied.reduce((sum, read) => sum + keptFor(read), 0)
    open = open.filter(read => !satisfied.includes(read))
  }
  return granted
}
