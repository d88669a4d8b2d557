// npm run bench:books: reconcile_books over many accounts, positions and executions. A tenth of the size by default;
// ACCOUNTS=1000 is the full size, for which the bars are. The exchange answers at once: what is measured is the database.

import { execFileSync } from 'node:child_process'
import { monitorEventLoopDelay } from 'node:perf_hooks'
import { setTimeout as sleep } from 'node:timers/promises'
import postgres from 'postgres'
import type { Account } from '../src/accounts/account.ts'
import type { Position } from '../src/domain/position.ts'
import type { ExchangeClient } from '../src/exchanges/exchange-client.ts'
import { reconcileBooks } from '../src/jobs/reconcile-books.ts'
import { migratedDatabase, openDatabase } from '../test/support/migrated-database.ts'
import { TestAccounts, testContext } from '../test/support/trading.ts'

const ACCOUNTS = Number(process.env.ACCOUNTS ?? 100)
const POSITIONS_PER_ACCOUNT = 100
const EXECUTIONS_PER_ACCOUNT = 1_000
const BARS = { databaseS: 5, loopMs: 100 }

const say = (line: string) => process.stdout.write(`${line}\n`)
const cleanups: (() => unknown)[] = []
const t = { teardown: (end: () => unknown) => void cleanups.unshift(end) }

async function measure(): Promise<void> {
  const { url } = await migratedDatabase(t)
  const sql = postgres(url, { max: 1, fetch_types: false, onnotice: () => undefined })
  t.teardown(() => sql.end({ timeout: 5 }))
  const revision = execFileSync('git', ['rev-parse', '--short', 'HEAD'], { encoding: 'utf8' }).trim()
  const seededMs = performance.now()
  await seed(sql)
  const size = `${ACCOUNTS} accounts, ${ACCOUNTS * POSITIONS_PER_ACCOUNT} positions, ${ACCOUNTS * EXECUTIONS_PER_ACCOUNT} executions`
  say(`commit ${revision}, node ${process.version}: ${size}; seeded in ${since(seededMs).toFixed(1)} s`)
  say('')
  say('| run | database, s | whole run, s | longest delay of the event loop, ms | result |')
  say('|---|---|---|---|---|')
  const database = openDatabase(url)
  t.teardown(() => database.close(0))
  const accounts = new TestAccounts(await accountsOf(sql), () => exchange)
  await read(sql)
  await run('first, counts all executions', database, accounts)
  await read(sql)
  const second = await run('all equal', database, accounts)
  await sql`update account_balances set total = total + 1 where account_id % 10 = 0`
  await read(sql)
  const third = await run('a tenth differs', database, accounts)
  say('')
  say('| bar | measured | wanted | |')
  say('|---|---|---|---|')
  bar('database, s', Math.max(second.databaseS, third.databaseS), BARS.databaseS)
  bar('delay of the event loop, ms', Math.max(second.loopMs, third.loopMs), BARS.loopMs)
}

async function run(name: string, database: ReturnType<typeof openDatabase>, accounts: TestAccounts) {
  let databaseMs = 0
  const { context } = testContext(database, {
    transaction: async (work, options) => {
      const begunMs = performance.now()
      try {
        return await database.transaction(work, { deadlineMs: 8_000, ...options })
      } finally {
        databaseMs += performance.now() - begunMs
      }
    }
  })
  await sleep(100)
  const delay = monitorEventLoopDelay({ resolution: 5 })
  delay.enable()
  const begunMs = performance.now()
  const result = await reconcileBooks({ accounts })(context)
  const wholeS = since(begunMs)
  await sleep(20)
  delay.disable()
  const measured = { databaseS: databaseMs / 1_000, loopMs: delay.max / 1e6 }
  const counts = Object.entries(result).map(([key, value]) => `${key} ${value}`)
  const columns = [
    name,
    measured.databaseS.toFixed(2),
    wholeS.toFixed(2),
    measured.loopMs.toFixed(0),
    counts.join(', ')
  ]
  say(`| ${columns.join(' | ')} |`)
  return measured
}

function bar(name: string, value: number, wanted: number): void {
  const holds = value <= wanted
  say(`| ${name} | ${value.toFixed(2)} | ≤ ${wanted} | ${holds ? 'holds' : 'MISSED'} |`)
  if (!holds) process.exitCode = 1
}

function since(begunMs: number): number {
  return (performance.now() - begunMs) / 1_000
}

const positions: Position[] = Array.from({ length: POSITIONS_PER_ACCOUNT }, (_, n) => ({
  symbol: `A${n + 1}USDT`,
  exchangeSymbol: `A${n + 1}USDT`,
  positionSide: 'BOTH',
  quantity: '0.5',
  entryPrice: '100',
  markPrice: null,
  unrealizedPnl: null,
  updatedAt: null
}))
// The job calls nothing else.
const exchange = { positions: async () => positions } as unknown as ExchangeClient

try {
  await measure()
} finally {
  for (const end of cleanups) await end()
}

async function accountsOf(sql: postgres.Sql): Promise<Account[]> {
  const rows = await sql<{ account_id: string; user_id: string; name: string }[]>`
    select account_id::text, user_id::text, name from accounts order by account_id`
  return rows.map(({ account_id, user_id, name }) => ({
    ...{ accountId: account_id, userId: user_id, name },
    ...{ exchange: 'BINANCE', isTestnet: false, state: 'ok' }
  }))
}

/** Accounts that were opened a year ago, each with one strategy, and with as many executions on spot as on perpetuals. */
async function seed(sql: postgres.Sql): Promise<void> {
  await sql`insert into users (username, password_hash) values ('trader', '')`
  await sql`
    insert into accounts (user_id, name, exchange, api_key_encrypted, api_secret_encrypted, key_id)
    select user_id, 'account ' || n, 'BINANCE', '', '', 'key' from users, generate_series(1, ${ACCOUNTS}::int) n`
  await sql`insert into strategies (user_id, name, market_type) select user_id, 'strategy', 'FUTURES' from users`
  await sql`
    insert into strategy_accounts (strategy_id, account_id, allocated_capital, capital_currency)
    select strategy_id, account_id, 1000, 'USDT' from strategies, accounts`
  await sql`
    insert into ledger_entries (account_id, wallet, asset, amount, kind, exchange_kind, exchange_entry_id, at)
    select account_id, wallet, 'USDT', 1000000, 'opening', 'opening', wallet, now() - interval '1 year'
    from accounts, unnest(array['SPOT', 'FUTURES']) wallet`
  await sql`
    insert into orders (strategy_account_id, account_id, market_type, symbol, exchange_symbol, side, order_type, quantity,
      status, base, quote)
    select strategy_account_id, account_id, market, 'A1USDT', 'A1USDT', 'BUY', 'LIMIT', 1, 'filled', 'A1', 'USDT'
    from strategy_accounts, unnest(array['SPOT', 'FUTURES']) market`
  for (let first = 0; first < EXECUTIONS_PER_ACCOUNT; first += 50) {
    await sql`
      insert into trade_executions (order_id, strategy_account_id, account_id, market_type, exchange_trade_id, symbol,
        currency, base, quote, side, price, quantity, fee, fee_asset, realized_pnl, executed_at)
      select order_id, strategy_account_id, account_id, market_type, n, 'A' || n % 100 + 1 || 'USDT', 'USDT',
        'A' || n % 100 + 1, 'USDT', case when n % 2 = 0 then 'BUY' else 'SELL' end, 100 + n / 100.0, 0.001, 0.0001, 'BNB',
        case when market_type = 'FUTURES' then 0.01 end,
        now() - make_interval(secs => (${EXECUTIONS_PER_ACCOUNT}::int - n) * 600)
      from orders, generate_series(${first + 1}::int, ${first + 25}::int) n`
  }
  await sql`
    insert into strategy_positions (strategy_account_id, market_type, symbol, currency, base, quote, quantity)
    select strategy_account_id, 'FUTURES', 'A' || n || 'USDT', 'USDT', 'A' || n, 'USDT', 0.5
    from strategy_accounts, generate_series(1, ${POSITIONS_PER_ACCOUNT}::int) n`
  await sql`
    insert into instruments (exchange, market_type, exchange_symbol, symbol, base, quote, contract_value, quantity_step,
      trading, read_at)
    select 'BINANCE', 'FUTURES', 'A' || n || 'USDT', 'A' || n || 'USDT', 'A' || n, 'USDT', 1, 0.001, true, now()
    from generate_series(1, 600) n`
  await sql`
    insert into account_balances (account_id, market_type, asset, free, locked, total, synced_at)
    select account_id, wallet, asset, 0, 0, sum(amount), now()
    from book_sums((select array_agg(account_id) from accounts)) group by account_id, wallet, asset`
  await sql`analyze`
}

/** A reading of ledger and balances. */
async function read(sql: postgres.Sql): Promise<void> {
  await sql`
    insert into ledger_readings (account_id, wallet, read_until)
    select account_id, wallet, now() from accounts, unnest(array['SPOT', 'FUTURES']) wallet
    on conflict (account_id, wallet) do update set read_until = now()`
  await sql.begin(async tx => {
    await tx`
      insert into balance_readings (account_id, read_at) select account_id, now() from accounts
      on conflict (account_id) do update set read_at = now()`
    await tx`update account_balances set synced_at = now()`
  })
}
