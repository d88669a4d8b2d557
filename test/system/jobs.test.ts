// The trading jobs on two replicas. One replica is killed while each job is in the middle of its writes.
import { setTimeout as sleep } from 'node:timers/promises'
import { Big } from 'big.js'
import postgres from 'postgres'
import t from 'tap'
import { untilStatus } from '../support/app.ts'
import { startBotApiServer } from '../support/bot-api-server.ts'
import { runCommand } from '../support/command.ts'
import { createTestDatabase } from '../support/database.ts'
import { startService } from '../support/service.ts'
import { Client } from '../support/session.ts'
import { SimulatedExchange } from '../support/simulated-exchange/simulated-exchange.ts'

const PASSWORD = 'correct horse battery'
const ORDERS = 20
/** Each job, and a table to which it writes near its end. */
const jobs = {
  update_orders: 'trade_executions',
  calculate_pnl: 'strategy_positions',
  sync_balances: 'account_balances',
  sync_ledger: 'ledger_readings',
  daily_summary: 'outbox',
  calculate_performance: 'strategy_performance'
}

t.test('kill -9 in the middle of each job loses and duplicates nothing', async t => {
  const { url } = await createTestDatabase(t)
  const exchange = await SimulatedExchange.start({ exchange: 'BINANCE' })
  const bot = await startBotApiServer()
  t.teardown(() => Promise.all([exchange.close(), bot.close()]))
  const environment = {
    DATABASE_URL: url,
    SCHEDULER_ENABLED: 'false',
    TELEGRAM_API_URL: bot.url,
    TELEGRAM_BOT_TOKEN: bot.token,
    TELEGRAM_CHAT_ID: '42',
    ...exchange.urls
  }
  const [one, two] = await Promise.all([startService(t, environment), startService(t, environment)])
  for (const { main } of [one, two]) await untilStatus(`${main}/health/startup`, 200)
  const secrets = { apiKey: 'key', apiSecret: 'secret' }
  await runCommand(environment, [PASSWORD], 'user:create', 'ada', '--admin')
  const account = exchange.addAccount(secrets)
  const add = ['account:add', '--user', 'ada', '--exchange', 'BINANCE', '--name', 'main']
  t.hasStrict(await runCommand(environment, Object.values(secrets), ...add), { code: 0 })

  const sql = postgres(url, { max: 3 })
  t.teardown(() => sql.end())
  await sql`
    with strategy as (
      insert into strategies (user_id, name, market_type) select user_id, 'one', 'SPOT' from users returning strategy_id
    )
    insert into strategy_accounts (strategy_id, account_id, allocated_capital, capital_currency)
    select strategy_id, account_id, 1000, 'USDT' from strategy, accounts`
  exchange.setBalance(account, 'SPOT', 'USDT', '100000')
  const placed = Array.from({ length: ORDERS }, (_, i) =>
    exchange.place(account, { symbol: exchange.symbols[i % 5] ?? '', quantity: '1', price: String(100 + i) })
  )
  for (const order of placed) {
    await sql`
      insert into orders (strategy_account_id, account_id, market_type, exchange_order_id, symbol, exchange_symbol, side,
        order_type, price, quantity, status)
      select strategy_account_id, account_id, 'SPOT', ${order.exchangeOrderId}, ${order.symbol}, ${order.exchangeSymbol},
        'BUY', 'LIMIT', ${order.price}, 1, 'open' from strategy_accounts`
  }
  // A position that was closed yesterday, for the performance of that day.
  await sql`
    with old as (
      insert into orders (strategy_account_id, account_id, market_type, exchange_order_id, symbol, exchange_symbol, side,
        order_type, price, quantity, filled_quantity, status)
      select strategy_account_id, account_id, 'SPOT', 'old', 'OLDUSDT', 'OLDUSDT', 'SELL', 'LIMIT', 10, 1, 1, 'filled'
      from strategy_accounts
      returning order_id, strategy_account_id, account_id
    )
    insert into trade_executions (order_id, strategy_account_id, account_id, market_type, exchange_trade_id, symbol, currency,
      side, price, quantity, fee, fee_asset, fee_value, realized_pnl, executed_at, recorded_at)
    select order_id, strategy_account_id, account_id, 'SPOT', 'old', 'OLDUSDT', 'USDT', 'SELL', 10, 1, 1, 'USDT', 1, 11,
      now() - interval '24 hours', now() - interval '24 hours' from old`
  const [admin, other] = [new Client(one.main), new Client(two.main)]
  for (const client of [admin, other]) t.hasStrict(await client.signIn('ada', PASSWORD), { status: 200 })
  const trigger = (client: Client, job_type: string, wait: boolean) =>
    client.send('POST', '/api/system/trigger-job', { job_type, wait })
  // The first half of the fills is recorded, so that there are positions.
  for (const order of placed.slice(0, ORDERS / 2)) exchange.fill(order)
  t.match(await trigger(other, 'update_orders', true), { status: 200, answer: { result: { fills: ORDERS / 2 } } })
  for (const order of placed.slice(ORDERS / 2)) exchange.fill(order)
  exchange.ledger.deposit(account, 'USDT', '5.25')
  exchange.ledger.transfer(account, 'USDT', '2', 'SPOT', 'FUTURES')

  await t.test('all jobs wait in their transactions when the replica is killed', async t => {
    const locks = await sql.reserve()
    await locks`begin`
    for (const table of Object.values(jobs)) await locks`lock table ${locks(table)} in exclusive mode`
    for (const job of Object.keys(jobs)) t.hasStrict(await trigger(admin, job, false), { status: 202 }, job)
    for (;;) {
      const waiting = await sql`
        select distinct query from pg_stat_activity where wait_event_type = 'Lock' and datname = current_database()`
      if (waiting.length >= Object.keys(jobs).length) break
      await sleep(20)
    }
    await one.end('SIGKILL')
    await locks`rollback`
    locks.release()
  })

  await t.test('the other replica takes over after the leases have expired, and all rows are correct', async t => {
    for (const job of Object.keys(jobs)) {
      for (;;) {
        const { status, answer } = await trigger(other, job, true)
        if (status === 200) break
        t.hasStrict({ status, answer }, { status: 409, answer: { code: 'JOB_ALREADY_RUNNING' } }, job)
        await sleep(500)
      }
    }
    const abandoned = await sql`select job_id from job_runs where outcome = 'abandoned'`
    t.equal(abandoned.length, Object.keys(jobs).length)
    await check(t)
    for (const job of Object.keys(jobs)) {
      t.hasStrict(await trigger(other, job, true), { status: 200 }, `${job} again`)
    }
    await check(t)
  })

  /** Compares every value with the expected one and with that of the exchange. */
  async function check(t: { equal: (a: unknown, b: unknown, name: string) => unknown }): Promise<void> {
    const [fills] = await sql`
      select count(*)::int as count, count(distinct order_id)::int as orders, sum(quantity) as quantity,
        sum(price * quantity) as cost
      from trade_executions where exchange_trade_id <> 'old'`
    t.equal(fills?.count, ORDERS, 'fills')
    t.equal(fills?.orders, ORDERS, 'orders with fills')
    const cost = placed.reduce((sum, { price }) => sum.plus(price ?? 0), new Big(0))
    t.equal(new Big(String(fills?.cost)).toFixed(), cost.toFixed(), 'the cost')
    const [open] = await sql`select count(*)::int as count from orders where status <> 'filled'`
    t.equal(open?.count, 0, 'orders still open')
    const [held] = await sql`
      select sum(quantity) as quantity, sum(quantity * entry_price) as cost, sum(unrealized_pnl) as unrealized,
        sum(quantity * (mark_price - entry_price)) as expected
      from strategy_positions where quantity <> 0`
    t.equal(new Big(String(held?.quantity)).toFixed(), String(ORDERS), 'held')
    t.equal(new Big(String(held?.cost)).round(8).toFixed(), cost.toFixed(), 'at cost')
    t.equal(new Big(String(held?.unrealized)).toFixed(), new Big(String(held?.expected)).toFixed(), 'unrealised')
    const [usdt] = await sql`select total from account_balances where market_type = 'SPOT' and asset = 'USDT'`
    const wallet = account.balances.SPOT.get('USDT')
    t.equal(new Big(String(usdt?.total)).toFixed(), new Big(wallet?.free ?? 0).toFixed(), 'balance')
    const [ledger] =
      await sql`select count(*)::int as count, sum(amount)::text as sum from ledger_entries where kind <> 'opening'`
    t.equal(ledger?.count, 3, 'a deposit, and both sides of a transfer')
    t.equal(ledger?.sum, '5.25', 'their sum')
    const [day] = await sql`
      select count(*)::int as count, sum(daily_pnl) as pnl, max(cumulative_pnl) as cumulative from strategy_performance`
    t.equal(day?.count, 1, 'one day of performance')
    t.equal(new Big(String(day?.pnl)).toFixed(), '10', 'net')
    const [summaries] = await sql`
      select count(*)::int as count from daily_account_summaries where date = (now() at time zone 'Asia/Seoul')::date`
    t.equal(summaries?.count, 1, 'one summary of the day')
    const [messages] = await sql`
      select count(*)::int as count, (select count(*)::int from job_runs where job_id = 'send_daily_summary' and outcome in ('succeeded', 'partial')) as runs
      from outbox where dedupe_key like 'daily_summary:%'`
    t.equal(messages?.count, messages?.runs, 'one message for each manual run that ended')
  }
})
