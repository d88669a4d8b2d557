import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import Postgrator from 'postgrator'
import t from 'tap'
import type { Database } from '../../src/database/database.ts'
import { migrate } from '../../src/database/migrate.ts'
import { wrongTotals } from '../../src/trading/book-totals.ts'
import { assertRows } from '../support/assert-rows.ts'
import { createTestDatabase } from '../support/database.ts'
import { openDatabase } from '../support/migrated-database.ts'
import { projectRoot } from '../support/project.ts'

const MIGRATIONS = join(projectRoot, 'src/database/migrations')
/** The last migration of version 0.1.0. */
const LAST = '012'

/** Applies the migrations of version 0.1.0. */
async function migrateTo010(database: Database): Promise<void> {
  const postgrator = new Postgrator({
    migrationPattern: join(MIGRATIONS, '*.sql'),
    driver: 'pg',
    schemaTable: 'schema_version',
    execQuery: async query => ({ rows: await database.run(sql => sql.unsafe(query)) }),
    execSqlScript: async script => {
      await database.run(sql => sql.unsafe(script))
    }
  })
  await postgrator.migrate(LAST)
}

/** A purchase of 2 at 100 and a sale of 1 at 110, as version 0.1.0 recorded them, with all that it computed. */
const ROWS = `
  insert into users (username, password_hash) values ('trader', 'none');
  insert into accounts (user_id, name, exchange, api_key_encrypted, api_secret_encrypted, key_id)
    select user_id, 'main', 'OKX', '', '', 'key' from users;
  insert into strategies (user_id, name, market_type) select user_id, 'trend', 'SPOT' from users;
  insert into strategy_accounts (strategy_id, account_id, allocated_capital, capital_currency)
    select strategy_id, account_id, 1000, 'USDT' from strategies, accounts;
  insert into orders (strategy_account_id, account_id, market_type, exchange_order_id, symbol, exchange_symbol, side,
    order_type, quantity, filled_quantity, status)
    select strategy_account_id, account_id, 'SPOT', side, 'BTCUSDT', 'BTC-USDT', side, 'LIMIT', quantity, quantity, 'filled'
    from strategy_accounts, (values ('BUY', 2), ('SELL', 2)) o (side, quantity);
  insert into trade_executions (order_id, strategy_account_id, account_id, market_type, exchange_trade_id, symbol, currency,
    side, price, quantity, fee, fee_asset, fee_value, realized_pnl, executed_at, quantity_before, entry_price_before)
    select order_id, strategy_account_id, account_id, 'SPOT', side, 'BTCUSDT', 'USDT', side,
      case side when 'BUY' then 100 else 110 end, quantity, 1, 'USDT', 1, case side when 'SELL' then 20 end,
      case side when 'BUY' then now() - interval '2 days' else now() - interval '1 day' end,
      case side when 'BUY' then 0 else 2 end, case side when 'SELL' then 100 end
    from orders;
  insert into strategy_positions (strategy_account_id, market_type, symbol, currency, quantity, realized_pnl, fees)
    select strategy_account_id, 'SPOT', 'BTCUSDT', 'USDT', 0, 20, 2 from strategy_accounts;
  insert into account_balances (account_id, market_type, asset, free, locked, total, synced_at)
    select account_id, 'SPOT', 'USDT', 1018, 0, 1018, now() from accounts;
  insert into daily_account_summaries (account_id, date, currency, realized_pnl, fees, trades, wins, losses, win_rate, volume,
    is_final) select account_id, current_date - 1, 'USDT', 20, 1, 1, 1, 0, 1, 220, true from accounts;
  insert into strategy_performance (strategy_id, date, currency, daily_pnl, cumulative_pnl, trades, wins, win_rate, fees)
    select strategy_id, current_date - 1, 'USDT', 19, 19, 1, 1, 1, 1 from strategies`

/** A purchase of 1 at 90 as version 0.1.0 inserts it. */
const PURCHASE = `
  insert into trade_executions (order_id, strategy_account_id, account_id, market_type, exchange_trade_id, symbol, currency,
    side, price, quantity, fee, fee_asset, fee_value, executed_at, quantity_before)
  select order_id, strategy_account_id, account_id, 'SPOT', 'later', 'BTCUSDT', 'USDT', 'BUY', 90, 1, 0, 'USDT', 0, now(), 0
  from orders where side = 'BUY'`

t.test('a database of version 0.1.0 with rows is brought up to date, and loses nothing', async t => {
  const { url } = await createTestDatabase(t)
  const [earlier, database] = [openDatabase(url), openDatabase(url)]
  t.teardown(() => Promise.all([earlier.close(0), database.close(0)]))
  await migrateTo010(earlier)
  await earlier.run(sql => sql.unsafe(ROWS))
  const later = readdirSync(MIGRATIONS)
    .filter(name => name.slice(0, 3) > LAST)
    .sort()
  t.strictSame(await migrate(database), later)
  assertRows(
    t,
    await database.run(
      sql => sql`
        select side, base, quote, trim_scale(price)::text as price, trim_scale(round_trip_pnl)::text as round_trip_pnl
        from trade_executions order by execution_id`
    ),
    [
      { side: 'BUY', base: 'BTC', quote: 'USDT', price: '100', round_trip_pnl: null },
      { side: 'SELL', base: 'BTC', quote: 'USDT', price: '110', round_trip_pnl: '18' }
    ]
  )
  assertRows(
    t,
    await database.run(
      sql => sql`
        select (select account_id from accounts) = p.holder_account_id as of_account, base, quote,
          trim_scale(p.realized_pnl)::text as realized_pnl, trim_scale(p.fees)::text as fees, s.trades, s.executions,
          c.amount::text as capital
        from strategy_positions p, daily_account_summaries s, strategy_capital c`
    ),
    [
      {
        ...{ of_account: true, base: 'BTC', quote: 'USDT', realized_pnl: '20', fees: '2', trades: 1, executions: 1 },
        capital: '1000'
      }
    ]
  )

  // A session that was opened before the migrations continues, as a replica of the earlier version does.
  await earlier.run(sql => sql.unsafe(PURCHASE))
  await earlier.run(sql => sql`update trade_executions set fee = 0.5 where exchange_trade_id = 'later'`)
  await database.run(
    sql => sql`
      insert into ledger_entries (account_id, wallet, asset, amount, kind, exchange_kind, exchange_entry_id, at)
      select account_id, 'SPOT', 'USDT', 1000, 'opening', 'opening', 'opening', now() - interval '3 days' from accounts`
  )
  await database.run(sql => sql`select recount_books(array_agg(account_id)) from accounts`)
  await earlier.run(sql => sql`delete from trade_executions where exchange_trade_id = 'later'`)
  assertRows(
    t,
    await database.run(
      sql => sql`select asset, source, trim_scale(amount)::text as amount from book_totals order by asset, source`
    ),
    [
      { asset: 'BTC', source: 'executions', amount: '0' },
      { asset: 'USDT', source: 'entries', amount: '1000' },
      { asset: 'USDT', source: 'executions', amount: '18' }
    ]
  )
  const [account] = await database.run(sql => sql<{ account_id: string }[]>`select account_id from accounts`)
  t.strictSame(await database.run(sql => wrongTotals(sql, [account?.account_id ?? ''])), [])
})
