// Binance lists fills by symbol only: which symbols are read, and from when on.
import t from 'tap'
import { DAY, MINUTE } from '../../src/async/durations.ts'
import type { Database } from '../../src/database/database.ts'
import { assertRows } from '../support/assert-rows.ts'
import { fillsBench, open } from '../support/fills-bench.ts'
import { changingRows } from '../support/simulated-exchange/edits.ts'
import { tradingDatabase } from '../support/trading.ts'

let database: Database
t.beforeEach(async t => {
  database = await tradingDatabase(t)
})

/** An opened account that holds USDT. */
async function setUp(t: Parameters<typeof fillsBench>[0]) {
  const bench = await fillsBench(t, database, 'BINANCE', 'SPOT')
  bench.exchange.setBalance(bench.account, 'SPOT', 'USDT', '1000000')
  await open(bench)
  return bench
}

/** Records that an account holds an asset, as `sync_account_balances` does. */
async function hold(accountId: string, asset: string): Promise<void> {
  await database.run(
    sql => sql`
      insert into account_balances (account_id, market_type, asset, free, locked, total, synced_at)
      values (${accountId}, 'SPOT', ${asset}, 1, 0, 1, now())`
  )
}

/** Records a reported difference that began at a time, as `reconcile_books` does. */
async function differ(accountId: string, asset: string, since: number): Promise<void> {
  const at = new Date(since)
  await database.run(
    sql => sql`
      insert into book_differences (
        account_id, wallet, asset, ours, theirs, difference, runs, since, read_at, unexplained_at
      ) values (${accountId}, 'SPOT', ${asset}, 2, 1, -1, 3, ${at}, ${at}, ${at})`
  )
}

async function symbolRows() {
  return await database.run(
    sql => sql`
      select exchange_symbol as symbol, is_followed as followed, read_until is null as current
      from fill_symbols where market_type = 'SPOT' order by exchange_symbol`
  )
}

const ETH = { symbol: 'ETHUSDT', quantity: '2' }

t.test('a trade in an asset that was never held before is booked when the asset is known, once', async t => {
  const bench = await setUp(t)
  bench.trade(ETH)
  bench.pass(DAY)
  // The market is read beyond the trade before anything of ETH is known.
  t.hasStrict(await bench.readFills(), { external_orders: 0 })
  bench.trade({ ...ETH, quantity: '1' }, '130')
  bench.pass(3 * DAY)
  await hold(bench.accountId, 'ETH')
  t.hasStrict(await bench.readFills(), { external_orders: 2, fills_failed: 0 })
  assertRows(t, await bench.positions(), [{ symbol: 'ETHUSDT', quantity: '3', entry: '110' }])
  assertRows(t, await symbolRows(), [{ symbol: 'ETHUSDT', followed: true, current: true }])
  bench.pass(5 * MINUTE)
  bench.trade(ETH, '110')
  bench.pass(5 * MINUTE)
  const before = bench.exchange.requests.length
  t.hasStrict(await bench.readFills(), { external_orders: 1 })
  // What was read once is not read again.
  const calls = bench.exchange.requests.slice(before).filter(({ path }) => path === '/api/v3/myTrades')
  const since = bench.exchange.now() - 30 * MINUTE
  t.ok(
    calls.every(({ query }) => query.has('orderId') || Number(query.get('startTime')) > since),
    calls.map(({ query }) => `${query}`).join(' ')
  )
})

t.test('a new symbol is read on from its own checkpoint until it is read completely', async t => {
  const bench = await setUp(t)
  bench.trade(ETH)
  bench.pass(DAY)
  const broken = bench.trade(ETH)
  bench.pass(DAY)
  await bench.readFills()
  await hold(bench.accountId, 'ETH')
  const edit = changingRows({ id: Number(broken.fills[0]?.tradeId) }, { qty: 'many' })
  bench.exchange.fault({ kind: 'edited', edit }, { path: /myTrades/ })
  t.hasStrict(await bench.readFills(), { external_orders: 1, fills_unreadable: 1 })
  assertRows(t, await symbolRows(), [{ symbol: 'ETHUSDT', followed: true, current: false }])
  bench.exchange.clearFaults()
  bench.pass(DAY)
  t.hasStrict(await bench.readFills(), { external_orders: 1, fills_unreadable: 0 })
  assertRows(t, await symbolRows(), [{ symbol: 'ETHUSDT', followed: true, current: true }])
  assertRows(t, await bench.positions(), [{ symbol: 'ETHUSDT', quantity: '4' }])
})

t.test('trades of before the opening are not booked when a symbol becomes known later', async t => {
  const bench = await fillsBench(t, database, 'BINANCE', 'SPOT')
  bench.exchange.setBalance(bench.account, 'SPOT', 'USDT', '1000000')
  bench.trade(ETH)
  bench.pass(DAY)
  await open(bench)
  bench.pass(DAY)
  await hold(bench.accountId, 'ETH')
  t.hasStrict(await bench.readFills(), { external_orders: 0 })
  assertRows(t, await symbolRows(), [{ symbol: 'ETHUSDT', followed: true, current: true }])
})

t.test('an asset that was bought and sold between two readings of the balances is found by a difference', async t => {
  const bench = await setUp(t)
  bench.trade(ETH)
  bench.trade({ ...ETH, side: 'SELL' }, '90')
  bench.pass(DAY)
  t.hasStrict(await bench.readFills(), { external_orders: 0, symbols_searched: 0 })
  const since = Date.now() - 19 * DAY
  await differ(bench.accountId, 'USDT', since)
  bench.pass(DAY)
  t.hasStrict(await bench.readFills(), { external_orders: 2, symbols_searched: 2 })
  assertRows(t, await symbolRows(), [
    { symbol: 'BTCUSDT', followed: false, current: false },
    { symbol: 'ETHUSDT', followed: false, current: false }
  ])
  // Each is searched once for a difference.
  bench.pass(5 * MINUTE)
  t.hasStrict(await bench.readFills(), { external_orders: 0, symbols_searched: 0 })
  assertRows(t, await bench.positions(), [{ symbol: 'ETHUSDT', quantity: '0', realized: '-20' }])
  assertRows(t, await symbolRows(), [
    { symbol: 'BTCUSDT', followed: false, current: false },
    { symbol: 'ETHUSDT', followed: true, current: true }
  ])
})
