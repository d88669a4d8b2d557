import type { Sql } from 'postgres'
import { CATALOGUE } from '../src/exchanges/catalogue.ts'
import { type DemoAccount, walletOf } from './market.ts'

const DAYS = 14

/**
 * Strategies for the accounts, and two weeks of trades, each opened and closed on the same day. The books of the accounts
 * begin before these trades.
 *
 * @returns what the trades changed the wallets by, by the names of the accounts
 */
export async function inventHistory(
  sql: Sql,
  username: string,
  accounts: readonly DemoAccount[]
): Promise<ReadonlyMap<string, string>> {
  await sql`update accounts set created_at = date_trunc('day', now()) - make_interval(days => ${DAYS + 1}::int)`
  for (const account of accounts) {
    const { name, market, quote, capital } = account
    await openBooks(sql, account)
    await sql`
      with strategy as (
        insert into strategies (user_id, name, market_type)
        select user_id, ${`${name} momentum`}, ${market} from users where username = ${username}
        returning strategy_id
      )
      insert into strategy_accounts (strategy_id, account_id, allocated_capital, capital_currency)
      select strategy_id, account_id, ${capital}::text::numeric, ${quote} from strategy, accounts where name = ${name}`
  }
  await sql`
    with days as (
      select strategy_account_id, account_id, market_type, capital_currency as currency, allocated_capital,
        'BTC' || capital_currency as symbol, day, date_trunc('day', now()) - make_interval(days => day, hours => -3) as at,
        round((random() * 400 - 150)::numeric, 2) * allocated_capital / 25000 as profit
      from strategy_accounts join strategies using (strategy_id), generate_series(1, ${DAYS}::int) day
    ), placed as (
      insert into orders (strategy_account_id, account_id, market_type, exchange_order_id, symbol, exchange_symbol, base,
        quote, side, order_type, price, quantity, filled_quantity, average_price, status, created_at, updated_at)
      select strategy_account_id, account_id, market_type, 'history-' || day || '-' || leg, symbol, symbol, 'BTC', currency,
        leg, 'LIMIT', allocated_capital, 1, 1, allocated_capital, 'filled', at, at
      from days, unnest(array['BUY', 'SELL']) leg
      returning order_id, account_id, side, exchange_order_id
    )
    insert into trade_executions (order_id, strategy_account_id, account_id, market_type, exchange_trade_id, symbol,
      currency, base, quote, side, price, quantity, quantity_before, fee, fee_asset, fee_value, realized_pnl,
      round_trip_pnl, round_trip_opened_at, executed_at, recorded_at)
    select order_id, strategy_account_id, account_id, market_type, exchange_order_id, symbol, currency, 'BTC', currency, side,
      allocated_capital + case side when 'SELL' then profit else 0 end, 1, case side when 'SELL' then 1 else 0 end,
      allocated_capital / 10000, currency, allocated_capital / 10000, case side when 'SELL' then profit end,
      case side when 'SELL' then profit - allocated_capital / 5000 end, case side when 'SELL' then at end,
      at + case side when 'SELL' then interval '5 hours' else interval '0' end, at + interval '5 hours'
    from placed join days using (account_id) where exchange_order_id = 'history-' || day || '-' || side`
  await sql`
    insert into account_balance_history (account_id, at, currency, total)
    select account_id, at, capital_currency, allocated_capital + (
        select coalesce(sum(coalesce(realized_pnl, 0) - fee), 0) from trade_executions e
        where e.account_id = s.account_id and executed_at < at
      )
    from strategy_accounts s, generate_series(1, ${DAYS}::int) day,
      lateral (select date_trunc('day', now()) - make_interval(days => day) as at) past`
  const results = await sql<{ name: string; result: string }[]>`
    select name, sum(coalesce(realized_pnl, 0) - fee)::text as result
    from trade_executions join accounts using (account_id) group by name`
  return new Map(results.map(({ name, result }) => [name, result]))
}

/** The opening of an account, as the service records it for one that was added two weeks ago. */
async function openBooks(sql: Sql, { name, exchange, market, quote, capital }: DemoAccount): Promise<void> {
  const { markets, wallets } = CATALOGUE[exchange]
  for (const wallet of wallets) {
    const amount = wallet === walletOf(exchange, market) ? capital : '0'
    await sql`
      insert into ledger_entries (account_id, wallet, asset, amount, kind, exchange_kind, exchange_entry_id, at)
      select account_id, ${wallet}, ${quote}, ${amount}::text::numeric, 'opening', 'opening', ${quote}, created_at
      from accounts where name = ${name}`
  }
  await sql`
    insert into fill_readings (account_id, market_type, read_until, opening, opened_at)
    select account_id, market_type, created_at, '{}', created_at
    from accounts, unnest(${Object.keys(markets)}::text[]) market_type where name = ${name}
    on conflict (account_id, market_type) do update set read_until = excluded.read_until, opened_at = excluded.opened_at`
}
