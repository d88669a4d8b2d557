import postgres from 'postgres'

export interface TradingSize {
  strategies: number
  executions: number
  days: number
}

/**
 * Inserts continuous trading up to now into a migrated database, the same for the same size. Every second account is
 * idle.
 */
export async function generateTrading(url: string, { strategies, executions, days }: TradingSize): Promise<void> {
  const accounts = strategies * 2
  const sql = postgres(url, { max: 1, fetch_types: false, onnotice: () => undefined })
  try {
    const [owner] = await sql<{ user_id: string }[]>`
      insert into users (username, password_hash, telegram_chat_id) values ('trader', '', '2') returning user_id`
    const userId = owner?.user_id ?? null
    await sql`
      insert into accounts (user_id, name, exchange, api_key_encrypted, api_secret_encrypted, key_id, created_at)
      select ${userId}::bigint, 'account ' || n, (array['BINANCE', 'BYBIT', 'OKX'])[n % 3 + 1], '', '', 'key', now() - interval '2 years'
      from generate_series(1, ${accounts}::int) n`
    await sql`
      insert into strategies (user_id, name, market_type)
      select ${userId}::bigint, 'strategy ' || n, 'FUTURES' from generate_series(1, ${strategies}::int) n`
    await sql`
      insert into strategy_accounts (strategy_id, account_id, allocated_capital, capital_currency)
      select n, n % ${accounts}::int + 1, 10000, 'USDT' from generate_series(1, ${strategies}::int) n`
    await sql`
      insert into orders (strategy_account_id, account_id, market_type, symbol, exchange_symbol, side, order_type,
        quantity, status)
      select strategy_account_id, account_id, 'FUTURES', 'BTCUSDT', 'BTCUSDT', 'BUY', 'LIMIT', 1, 'filled'
      from strategy_accounts order by 1`
    await sql`
      insert into trade_executions (order_id, strategy_account_id, account_id, market_type, exchange_trade_id, symbol,
        currency, side, price, quantity, fee, fee_asset, fee_value, realized_pnl, executed_at, recorded_at)
      select sa, sa, sa % ${accounts}::int + 1, 'FUTURES', n, 'BTCUSDT', 'USDT', case when n % 2 = 0 then 'BUY' else 'SELL' end,
        90000 + (n::bigint * 7919 % 10007) / 100.0, 0.001 * (n % 9 + 1), 0.05, 'USDT', 0.05 + (n % 7) / 1000.0,
        case when n % 3 > 0 then (n::bigint * 7919 % 20011 - 9900) / 1000.0 end, at, at + interval '20 seconds'
      from generate_series(1, ${executions}::int) n
      cross join lateral (
        select n % ${strategies}::int + 1 as sa,
          now() - make_interval(days => ${days}::int) * (1 - n / ${executions}::float8) as at
      ) trade`
    await sql`
      insert into account_balance_history (account_id, at, currency, total)
      select account_id, at, 'USDT', 50000 + (account_id * 7919 + extract(epoch from at)::bigint / 3600 * 104729) % 1009
      from generate_series(1, ${accounts}::int) account_id,
        generate_series(now() - make_interval(days => ${days}::int), now(), interval '6 hours') at`
    await sql`
      insert into strategy_positions (strategy_account_id, market_type, symbol, currency, quantity, entry_price, unrealized_pnl)
      select n, 'FUTURES', 'BTCUSDT', 'USDT', 0.1, 90000, 12.5 from generate_series(1, ${strategies}::int) n`
    await sql`analyze`
  } finally {
    await sql.end({ timeout: 5 })
  }
}
