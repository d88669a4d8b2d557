import type postgres from 'postgres'

/** How many rows `generateHistory` inserts. */
export interface HistorySize {
  executions: number
  orders: number
  entries: number
  /** Values of equity. */
  equity: number
}

/**
 * Whose rows are where. Accounts 1 to 300 are those of the user `large`, the next two those of `small`, the next twenty those
 * of `medium`, and the others those of `other`. A third of everything is of account 1. What is rare is at the beginning of
 * the history, behind all other rows: the rows of `small`, those in KRW, and those of the strategy `rare`, which is on
 * account 1. The strategy `wide` is on all accounts of `large`.
 */
export const HISTORY = {
  accounts: 400,
  accountsOfLarge: 300,
  accountsOfMedium: 20,
  rowsOfSmall: 120,
  busyAccount: '1',
  accountOfSmall: '301',
  currency: 'KRW',
  rowsInCurrency: 200,
  wideStrategy: '1',
  rareStrategy: '2',
  rowsOfRareStrategy: 100
} as const

/** Rows of one statement. */
const BATCH = 100_000
const TABLES = ['orders', 'trade_executions', 'ledger_entries', 'strategy_positions'] as const

/** Inserts users, accounts, strategies and their history of a year into a migrated database, the same for the same size. */
export async function generateHistory(
  sql: postgres.Sql,
  { executions, orders, entries, equity }: HistorySize
): Promise<void> {
  await insertOwners(sql)
  await insertHolders(sql)
  // No trigger would change anything: the books have no opening, and no order is an external one.
  for (const table of TABLES) await sql`alter table ${sql(table)} disable trigger user`
  await inBatches(orders, rows => insertOrders(sql, rows))
  await inBatches(executions, rows => insertExecutions(sql, rows))
  await inBatches(entries, rows => insertEntries(sql, rows))
  await insertState(sql)
  await insertDays(sql)
  await insertEquity(sql, equity / HISTORY.accounts)
  for (const table of TABLES) await sql`alter table ${sql(table)} enable trigger user`
  await sql`vacuum analyze`
}

interface Rows {
  first: number
  last: number
  all: number
}

async function inBatches(all: number, insert: (rows: Rows) => Promise<unknown>): Promise<void> {
  for (let first = 1; first <= all; first += BATCH) await insert({ first, last: Math.min(all, first + BATCH - 1), all })
}

/** The strategy of account n alone is n + 2. */
async function insertOwners(sql: postgres.Sql): Promise<void> {
  const { accounts, accountsOfLarge, accountsOfMedium, wideStrategy, rareStrategy, busyAccount } = HISTORY
  await sql`
    insert into users (username, password_hash) select name, ''
    from unnest(array['large', 'small', 'medium', 'other']) with ordinality named (name, n) order by n`
  await sql`
    insert into accounts (user_id, name, exchange, api_key_encrypted, api_secret_encrypted, key_id)
    select (select user_id from users where username =
        case when n <= ${accountsOfLarge}::int then 'large' when n <= ${accountsOfLarge}::int + 2 then 'small'
          when n <= ${accountsOfLarge}::int + 2 + ${accountsOfMedium}::int then 'medium' else 'other' end),
      'account ' || n, (array['BINANCE', 'BYBIT', 'OKX'])[n % 3 + 1], '', '', 'key'
    from generate_series(1, ${accounts}::int) n order by n`
  await sql`
    insert into strategies (user_id, name, market_type)
    select user_id, named, 'FUTURES' from accounts cross join unnest(array['wide', 'rare']) named
    where account_id = ${busyAccount}::bigint order by named desc`
  await sql`
    insert into strategies (user_id, name, market_type)
    select user_id, 'strategy of ' || name, 'FUTURES' from accounts order by account_id`
  await sql`
    insert into strategy_accounts (strategy_id, account_id, allocated_capital, capital_currency)
    select strategy_id, account_id, 1000, 'USDT' from (
      select ${wideStrategy}::bigint, account_id from accounts where account_id <= ${accountsOfLarge}::int
      union all select ${rareStrategy}::bigint, ${busyAccount}::bigint
      union all select account_id + 2, account_id from accounts
    ) held (strategy_id, account_id) order by 1, 2`
}

/** Creates functions of the session: which strategy on which account has row n, its quote, and its time. */
async function insertHolders(sql: postgres.Sql): Promise<void> {
  const { accounts, accountsOfLarge, rowsOfSmall, rowsInCurrency, rowsOfRareStrategy, accountOfSmall, currency } =
    HISTORY
  const rare = rowsOfSmall + rowsInCurrency
  await sql.unsafe(`
    create function pg_temp.holder(n int) returns bigint language sql immutable as $$
      select case
        when n <= ${rowsOfSmall} then ${accountsOfLarge + 1} + ${accountOfSmall} + n % 2
        when n <= ${rare} then ${accountsOfLarge + 1} + 1
        when n <= ${rare + rowsOfRareStrategy} then ${accountsOfLarge + 1}
        when n % 3 = 0 then case when n % 2 = 0 then 1 else ${accountsOfLarge + 1} + 1 end
        when n % 3 = 1 then 1 + n / 3 % ${accountsOfLarge} + case when n % 2 = 0 then 0 else ${accountsOfLarge + 1} end
        else ${accountsOfLarge + 1} + ${accountsOfLarge + 3} + n / 3 % ${accounts - accountsOfLarge - 2}
      end
    $$;
    create function pg_temp.quote(n int) returns text language sql immutable as $$
      select case when n between ${rowsOfSmall + 1} and ${rare} then '${currency}'
        when n % 50 = 0 then 'USDC' when n % 1000 = 7 then null else 'USDT' end
    $$;
    create function pg_temp.at(n int, of_all int) returns timestamptz language sql stable as $$
      select date_trunc('minute', now()) - interval '1 year' * (1 - n / of_all::float8)
    $$`)
}

async function insertOrders(sql: postgres.Sql, { first, last, all }: Rows): Promise<void> {
  await sql`
    insert into orders (strategy_account_id, account_id, market_type, exchange_order_id, symbol, exchange_symbol, side,
      order_type, price, quantity, filled_quantity, average_price, status, base, quote, created_at)
    select strategy_account_id, account_id, 'FUTURES', n, 'BTC' || coalesce(quote, 'USDT'), 'BTC' || coalesce(quote, 'USDT'),
      case when n % 2 = 0 then 'BUY' else 'SELL' end, 'LIMIT', 90000 + n % 997 / 100.0, 0.005, 0.005, 90000 + n % 991 / 100.0,
      'filled', case when quote is not null then 'BTC' end, quote, pg_temp.at(n, ${all}::int)
    from generate_series(${first}::int, ${last}::int) n
    join strategy_accounts on strategy_account_id = pg_temp.holder(n) cross join pg_temp.quote(n) quote
    order by n`
}

async function insertExecutions(sql: postgres.Sql, { first, last, all }: Rows): Promise<void> {
  await sql`
    insert into trade_executions (order_id, strategy_account_id, account_id, market_type, exchange_trade_id, symbol, currency,
      side, price, quantity, fee, fee_asset, fee_value, realized_pnl, exchange_realized_pnl, base, quote, executed_at)
    select order_id, strategy_account_id, account_id, 'FUTURES', n, 'BTC' || coalesce(quote, 'USDT'), coalesce(quote, 'USDT'),
      case when n % 2 = 0 then 'BUY' else 'SELL' end, 90000 + n % 997 / 100.0, 0.001, 0.0000123, 'BNB', 0.0074,
      case when n % 2 = 0 then n % 31 / 7.0 end, case when n % 2 = 0 then n % 31 / 7.0 end,
      case when quote is not null then 'BTC' end, quote, pg_temp.at(n, ${all}::int)
    from generate_series(${first}::int, ${last}::int) n
    join (
      select strategy_account_id, account_id, min(order_id) as order_id from orders group by 1, 2
    ) held on strategy_account_id = pg_temp.holder(n) cross join pg_temp.quote(n) quote
    order by n`
}

async function insertEntries(sql: postgres.Sql, { first, last, all }: Rows): Promise<void> {
  await sql`
    insert into ledger_entries (account_id, wallet, asset, amount, kind, exchange_kind, exchange_entry_id, symbol, at)
    select account_id, 'FUTURES', coalesce(quote, 'BTC'), (n % 201 - 100) / 1000.0, 'funding', 'FUNDING_FEE', n, 'BTCUSDT',
      pg_temp.at(n, ${all}::int)
    from generate_series(${first}::int, ${last}::int) n
    join strategy_accounts on strategy_account_id = pg_temp.holder(n) cross join pg_temp.quote(n) quote
    order by n`
}

/** 250 positions of each account with its strategy, and 50 assets in each wallet. */
async function insertState(sql: postgres.Sql): Promise<void> {
  await sql`
    insert into strategy_positions (strategy_account_id, holder_account_id, market_type, symbol, currency, base, quote,
      quantity, entry_price, mark_price, marked_at, unrealized_pnl, realized_pnl, fees)
    select strategy_account_id, account_id, 'FUTURES', 'A' || n || quote, quote, 'A' || n, quote, 0.5, 100, 101, now(), 0.5, 7, 3
    from generate_series(1, 250) n
    cross join lateral (select case when n = 1 then ${HISTORY.currency} else 'USDT' end as quote) quoted
    cross join strategy_accounts where strategy_id > 2 order by n, strategy_account_id`
  await sql`
    insert into account_balances (account_id, market_type, asset, free, locked, total, synced_at)
    select account_id, market_type, 'A' || n, 1, 0.5, 1.5, now()
    from accounts cross join unnest(array['SPOT', 'FUTURES']) market_type cross join generate_series(1, 50) n`
}

/** A year of each account and strategy, in two currencies. */
async function insertDays(sql: postgres.Sql): Promise<void> {
  await sql`
    insert into daily_account_summaries (account_id, date, currency, start_balance, realized_pnl, unrealized_pnl, fees, trades,
      wins, losses, volume, is_final)
    select account_id, current_date - n, currency, 1000, 1.5, 0.5, 0.25, 3, 2, 1, 5000, true
    from generate_series(1, 365) n cross join unnest(array['USDT', 'BTC']) currency cross join accounts
    order by n desc, account_id`
  await sql`
    insert into strategy_performance (strategy_id, date, currency, daily_pnl, cumulative_pnl, daily_return, trades, wins, fees)
    select strategy_id, current_date - n, currency, 1.5, 15, 0.001, 3, 2, 0.25
    from generate_series(1, 365) n cross join unnest(array['USDT', 'BTC']) currency cross join strategies
    order by n desc, strategy_id`
}

/** Values of each account every ten minutes. */
async function insertEquity(sql: postgres.Sql, values: number): Promise<void> {
  await sql`
    insert into equity_history (account_id, at, currency, equity, cash, holdings, unrealized_pnl, external_flow, flow_at)
    select account_id, date_trunc('minute', now()) - n * interval '10 minutes' + account_id * interval '1 second', 'USDT',
      1000 + n, 900, 100 + n, 0, 0, now()
    from generate_series(1, ${Math.ceil(values)}::int) n cross join accounts order by n desc, account_id`
}
