import type { Sql } from 'postgres'
import type { DemoAccount } from './market.ts'

const DAYS = 14

/** Strategies for the accounts, and two weeks of trades, each opened and closed on the same day. */
export async function inventHistory(sql: Sql, username: string, accounts: readonly DemoAccount[]): Promise<void> {
  for (const { name, market, quote } of accounts) {
    const capital = quote === 'KRW' ? '35000000' : '25000'
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
      insert into orders (strategy_account_id, account_id, market_type, exchange_order_id, symbol, exchange_symbol, side,
        order_type, price, quantity, filled_quantity, average_price, status, created_at, updated_at)
      select strategy_account_id, account_id, market_type, 'history-' || day || '-' || leg, symbol, symbol, leg, 'LIMIT',
        allocated_capital, 1, 1, allocated_capital, 'filled', at, at
      from days, unnest(array['BUY', 'SELL']) leg
      returning order_id, account_id, side, exchange_order_id
    )
    insert into trade_executions (order_id, strategy_account_id, account_id, market_type, exchange_trade_id, symbol,
      currency, side, price, quantity, fee, fee_asset, fee_value, realized_pnl, executed_at, recorded_at)
    select order_id, strategy_account_id, account_id, market_type, exchange_order_id, symbol, currency, side,
      allocated_capital + case side when 'SELL' then profit else 0 end, 1, allocated_capital / 10000, currency,
      allocated_capital / 10000, case side when 'SELL' then profit end,
      at + case side when 'SELL' then interval '5 hours' else interval '0' end, at + interval '5 hours'
    from placed join days using (account_id) where exchange_order_id = 'history-' || day || '-' || side`
  await sql`
    insert into account_balance_history (account_id, at, currency, total)
    select account_id, date_trunc('day', now()) - make_interval(days => day), capital_currency,
      allocated_capital + round((random() * 200)::numeric, 2)
    from strategy_accounts, generate_series(1, ${DAYS}::int) day`
}
