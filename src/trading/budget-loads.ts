// @FEAT:exchanges @COMP:service @TYPE:core
import { accountsWithoutCredentials } from '../accounts/account-table.ts'
import type { Sql } from '../database/client.ts'
import type { Database } from '../database/database.ts'
import type { ExchangeName, MarketType } from '../domain/market.ts'
import type { CallCosts } from '../exchanges/call-costs.ts'
import { CATALOGUE } from '../exchanges/catalogue.ts'
import type { MarketLoad } from './budget-need.ts'

/** What the jobs have to read of one exchange, real accounts or those of its testnet. */
export interface ExchangeLoad {
  exchange: ExchangeName
  isTestnet: boolean
  /** Active accounts. */
  accounts: number
  /** Unfinished orders of accounts, in groups of accounts with as many orders of as many symbols. */
  orders: { marketType: MarketType; ordersOfSymbols: number[]; accounts: number }[]
  /** For how long the longest-waiting account was not read, in milliseconds; null where there is nothing to read. */
  waitsMs: { orders: number | null; balances: number | null }
}

/**
 * Reads what the jobs have to read, of every exchange with active accounts. An account that was never read waits since it
 * was created, an order that was never checked since it was recorded. Accounts whose keys are refused do not wait.
 */
export async function exchangeLoads(database: Database): Promise<ExchangeLoad[]> {
  return await database.run(
    sql => sql<ExchangeLoad[]>`
      with active as (
        select account_id, exchange, is_testnet, state = 'ok' as is_read,
          coalesce(r.attempted_at, a.created_at) as balances_at
        from ${accountsWithoutCredentials(sql)} a left join balance_readings r using (account_id) where is_active
      ), of_symbols as (
        select account_id, market_type, count(*)::int as orders, min(coalesce(last_checked_at, created_at)) as checked_at
        from orders where status in ('pending', 'open', 'partially_filled', 'unknown')
        group by account_id, market_type, exchange_symbol
      ), of_accounts as (
        select account_id, market_type, jsonb_agg(orders order by orders) as orders, min(checked_at) as checked_at
        from of_symbols group by account_id, market_type
      ), grouped as (
        select exchange, is_testnet, market_type, orders, count(*)::int as accounts,
          min(checked_at) filter (where is_read) as checked_at
        from of_accounts join active using (account_id) group by exchange, is_testnet, market_type, orders
      ), orders as (
        select exchange, is_testnet, min(checked_at) as checked_at, jsonb_agg(jsonb_build_object(
          'marketType', market_type, 'ordersOfSymbols', orders, 'accounts', accounts
        )) as groups
        from grouped group by exchange, is_testnet
      )
      select exchange, is_testnet as "isTestnet", count(*)::int as accounts,
        coalesce((array_agg(o.groups))[1], '[]') as orders,
        jsonb_build_object(
          'orders', ${ageMs(sql, sql`min(o.checked_at)`)},
          'balances', ${ageMs(sql, sql`min(balances_at) filter (where is_read)`)}
        ) as "waitsMs"
      from active left join orders o using (exchange, is_testnet)
      group by exchange, is_testnet order by exchange, is_testnet`
  )
}

/** Milliseconds since a time; null for null. */
function ageMs(sql: Sql, time: ReturnType<Sql>) {
  return sql`floor(extract(epoch from now() - ${time}) * 1000)::float8`
}

/** The load of each market of an exchange, for `budgetNeeds`. */
export async function marketLoads(
  { exchange, isTestnet, accounts, orders }: ExchangeLoad,
  costsOf: (market: { exchange: ExchangeName; marketType: MarketType }, isTestnet: boolean) => Promise<CallCosts>
): Promise<MarketLoad[]> {
  const { markets, wallets } = CATALOGUE[exchange]
  const types = (['SPOT', 'FUTURES'] as const).filter(marketType => markets[marketType] !== undefined)
  return await Promise.all(
    types.map(async marketType => ({
      exchange,
      marketType,
      costs: await costsOf({ exchange, marketType }, isTestnet),
      wallets: wallets.includes(marketType) ? accounts : 0,
      orders: orders.filter(group => group.marketType === marketType)
    }))
  )
}
