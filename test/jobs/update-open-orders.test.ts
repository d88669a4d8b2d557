import t, { type Test } from 'tap'
import type { Database } from '../../src/database/database.ts'
import { updateOpenOrders } from '../../src/jobs/update-open-orders.ts'
import { LeaseLostError } from '../../src/scheduler/job.ts'
import { assertRows } from '../support/assert-rows.ts'
import { undoneBy } from '../support/jobs.ts'
import { ScriptedExchange } from '../support/scripted-exchange.ts'
import {
  booksOf,
  failuresOf,
  fixedInstruments,
  fixedPrices,
  insertOrder,
  type SeededAccount,
  seedAccount,
  TestAccounts,
  testContext,
  tradingDatabase
} from '../support/trading.ts'

let database: Database
t.before(async () => {
  database = await tradingDatabase(t)
})

/** An account with its own scripted exchange. */
async function setUp(_t: Test, prices: Record<string, string> = {}) {
  const exchange = new ScriptedExchange()
  const account = await seedAccount(database)
  const accounts = new TestAccounts([account], (_account, marketType) => exchange.client(marketType))
  const job = updateOpenOrders({ accounts, database, prices: fixedPrices(prices), instruments: fixedInstruments() })
  const place = async (order: Parameters<ScriptedExchange['place']>[0]) => {
    const placed = exchange.place(order)
    const orderId = await insertOrder(database, account, { ...placed, quantity: order.quantity })
    return Object.assign(placed, { orderId })
  }
  const run = async (overrides = {}) => {
    exchange.calls = []
    return await job(testContext(database, overrides).context)
  }
  const books = () => booksOf(database, account)
  return { exchange, account, accounts, place, run, books }
}

/** Of each order of an account, whether it has the time since when it is unknown or flagged. */
async function flaggedOf({ accountId }: SeededAccount): Promise<boolean[]> {
  const rows = await database.run(
    sql => sql<{ flagged: boolean }[]>`
      select flagged_at is not null as flagged from orders where account_id = ${accountId} order by order_id`
  )
  return rows.map(({ flagged }) => flagged)
}

t.test('orders are listed or read one by one, whichever takes less of the rate limit', async t => {
  const { exchange, place, run } = await setUp(t)
  exchange.orderCosts = { list: 9, listOfSymbol: 3, order: 2 }
  const first = await place({ quantity: '1' })
  t.hasStrict(await run(), { checked: 1, calls: 1, failed: 0 })
  t.strictSame(exchange.calls, ['order'])
  await place({ quantity: '1' })
  t.hasStrict(await run(), { checked: 2, calls: 1, failed: 0 })
  t.strictSame(exchange.calls, ['openOrders BTCUSDT'])
  for (const symbol of ['ETHUSDT', 'SOLUSDT', 'XRPUSDT']) await place({ symbol, quantity: '1' })
  exchange.fill(first, { quantity: '1', price: '100' })
  t.hasStrict(await run(), { checked: 5, calls: 3, failed: 0, fills: 1 })
  t.strictSame(exchange.calls, ['openOrders', 'order', 'fills'], 'an order that ended is not in the list')
})

t.test('each fill of an order is recorded, and its position by average cost', async t => {
  const { exchange, place, run, books } = await setUp(t)
  const order = await place({ quantity: '3' })
  t.hasStrict(await run(), { checked: 1, changed: 1, fills: 0, failed: 0, calls: 1 }, 'a pending order has become open')
  t.hasStrict(await run(), { checked: 1, changed: 0 })
  t.strictSame(exchange.calls, ['openOrders'], 'an unchanged order needs no further call')

  exchange.fill(order, { quantity: '1', price: '100', fee: '0.1' })
  t.hasStrict(await run(), { changed: 1, fills: 1 })
  t.strictSame(exchange.calls, ['openOrders', 'fills'])
  exchange.fill(order, { quantity: '2', price: '130', fee: '0.2' })
  t.hasStrict(await run(), { changed: 1, fills: 1 })
  t.strictSame(exchange.calls, ['openOrders', 'order', 'fills'])

  const { orders, executions, positions } = await books()
  assertRows(t, orders, [{ status: 'filled', filled_quantity: '3', average_price: '120', misses: 0, error_code: null }])
  assertRows(t, executions, [
    { price: '100', quantity: '1', fee_value: '0.1', realized_pnl: null, base: 'BTC', quote: 'USDT' },
    { price: '130', quantity: '2', fee_value: '0.2', realized_pnl: null }
  ])
  assertRows(t, positions, [
    { quantity: '3', entry_price: '120', realized_pnl: '0', fees: '0.3', base: 'BTC', quote: 'USDT' }
  ])
  t.hasStrict(await run(), { accounts: 0, checked: 0 })
  t.strictSame(exchange.calls, [], 'without open orders no call is made')
})

t.test('a closing fill realises PnL at the average price; two orders of one symbol share the position', async t => {
  const { exchange, place, run, books } = await setUp(t)
  const buy = await place({ quantity: '2' })
  const sell = await place({ quantity: '1.5', side: 'SELL' })
  exchange.fill(buy, { quantity: '2', price: '100' })
  exchange.now += 1
  exchange.fill(sell, { quantity: '1', price: '110' })
  exchange.now += 1
  exchange.fill(sell, { quantity: '0.5', price: '90' })
  t.hasStrict(await run(), { fills: 3, changed: 2 })
  const { executions, positions } = await books()
  t.strictSame(
    executions.map(({ realized_pnl }) => realized_pnl),
    [null, '10', '-5']
  )
  assertRows(t, positions, [{ quantity: '0.5', entry_price: '100', realized_pnl: '5', unrealized_pnl: null }])
  const rest = await place({ quantity: '0.5', side: 'SELL' })
  exchange.fill(rest, { quantity: '0.5', price: '100' })
  await run()
  assertRows(t, (await books()).positions, [{ quantity: '0', unrealized_pnl: '0' }])
})

t.test('a cancelled order keeps its fills; rejected and expired orders have that status', async t => {
  const { exchange, place, run, books } = await setUp(t)
  const orders = [await place({ quantity: '2' }), await place({ quantity: '2' }), await place({ quantity: '2' })]
  const [canceled, rejected, expired] = orders
  if (!canceled || !rejected || !expired) throw new Error('three orders')
  exchange.fill(canceled, { quantity: '0.5', price: '10' })
  exchange.end(canceled, 'canceled')
  exchange.end(rejected, 'rejected')
  exchange.end(expired, 'expired')
  t.hasStrict(await run(), { fills: 1, changed: 3 })
  t.strictSame(exchange.calls.sort(), ['fills', 'openOrders', 'order', 'order', 'order'])
  const { orders: rows, positions } = await books()
  assertRows(t, rows, [
    { status: 'canceled', filled_quantity: '0.5', average_price: '10' },
    { status: 'rejected', filled_quantity: '0' },
    { status: 'expired', filled_quantity: '0', average_price: null }
  ])
  assertRows(t, positions, [{ quantity: '0.5' }])
})

t.test(
  'an order that the exchange does not know is unknown after five misses, is checked less often, and can return',
  async t => {
    const { exchange, place, run, books, account } = await setUp(t)
    const order = await place({ quantity: '1' })
    exchange.forget(order)
    for (let miss = 1; miss < 5; miss++) t.hasStrict(await run(), { changed: 1, unknown: 0 }, `miss ${miss}`)
    assertRows(t, (await books()).orders, [{ status: 'pending', misses: 4, error_code: 'order_not_found' }])
    const result = await run()
    t.hasStrict(result, { unknown: 1 })
    t.strictSame(undoneBy('update_open_orders', result), { unknown: 1 }, 'the run is partial')
    assertRows(t, (await books()).orders, [{ status: 'unknown', misses: 5 }])
    t.hasStrict(await run(), { accounts: 0 }, 'not requested again at once')

    const age = (interval: string) =>
      database.run(
        sql => sql`
        update orders set last_checked_at = now() - ${interval}::interval where account_id = ${account.accountId}`
      )
    await age('61 seconds')
    t.hasStrict(await run(), { accounts: 1, unknown: 1 })
    await age('61 seconds')
    t.hasStrict(await run(), { accounts: 0 }, 'the pause has doubled')
    exchange.orders.push(order)
    exchange.fill(order, { quantity: '1', price: '5' })
    await age('3 minutes')
    t.strictSame(await flaggedOf(account), [true])
    t.hasStrict(await run(), { fills: 1 })
    t.strictSame(await flaggedOf(account), [false], 'it is known again')
    assertRows(t, (await books()).orders, [{ status: 'filled', misses: 0, error_code: null }])
  }
)

t.test('an order without an exchange id is not checked', async t => {
  const { run, account, books } = await setUp(t)
  await insertOrder(database, account, {
    exchangeOrderId: null,
    symbol: 'BTCUSDT',
    exchangeSymbol: 'BTCUSDT',
    side: 'BUY',
    quantity: '1'
  })
  t.hasStrict(await run(), { accounts: 0 })
  assertRows(t, (await books()).orders, [{ status: 'pending', misses: 0 }])
})

t.test('orders that cannot be read are unchanged, and the others are checked', async t => {
  const { exchange, account, place, run, books } = await setUp(t)
  const [one, other] = [await place({ quantity: '1' }), await place({ quantity: '1' })]
  await run()
  exchange.fill(one, { quantity: '1', price: '1' })
  exchange.fill(other, { quantity: '1', price: '1' })
  const before = await books()
  exchange.failures.set('openOrders', 'unavailable')
  const result = await run()
  t.hasStrict(result, { checked: 0, changed: 0, failed: 2 })
  t.strictSame(undoneBy('update_open_orders', result), { failed: 2 }, 'the run is partial')
  t.strictSame(await failuresOf(database, account), ['unavailable'])
  t.strictSame(await books(), before)
  exchange.failures.clear()

  exchange.failures.set(`order ${one.exchangeOrderId}`, 'timeout')
  t.hasStrict(await run(), { checked: 1, changed: 1, failed: 1, fills: 1 })
  t.strictSame(await failuresOf(database, account), [], 'one of its orders could be read')
  exchange.failures.clear()
  exchange.failures.set(`fills ${one.exchangeOrderId}`, 'invalid_answer')
  t.hasStrict(await run(), { checked: 0, failed: 1, fills: 0 })
  t.strictSame(await failuresOf(database, account), ['invalid_answer'], 'none of its orders could be read')
  exchange.failures.clear()
  t.hasStrict(await run(), { checked: 1, failed: 0, fills: 1 })
  t.strictSame(await failuresOf(database, account), [])
})

t.test('an account whose keys are refused is recorded, and the others are checked', async t => {
  const [bad, good] = [new ScriptedExchange(), new ScriptedExchange()]
  const [refused, other] = [await seedAccount(database), await seedAccount(database)]
  const exchangeOf = new Map([
    [refused.accountId, bad],
    [other.accountId, good]
  ])
  for (const account of [refused, other]) {
    const exchange = exchangeOf.get(account.accountId)
    if (exchange === undefined) throw new Error('no exchange')
    for (const market of ['SPOT', 'FUTURES'] as const) {
      const placed = exchange.place({ quantity: '1', market })
      await insertOrder(database, account, { ...placed, quantity: '1' })
      exchange.fill(placed, { quantity: '1', price: '10' })
    }
  }
  bad.failures.set('openOrders', 'authentication')
  const accounts = new TestAccounts([refused, other], ({ accountId }, marketType) => {
    const exchange = exchangeOf.get(accountId)
    if (exchange === undefined) throw new Error('no exchange')
    return exchange.client(marketType)
  })
  const job = updateOpenOrders({ accounts, database, prices: fixedPrices({}), instruments: fixedInstruments() })
  const result = await job(testContext(database).context)
  t.hasStrict(result, { accounts: 2, accounts_refused: 1, failed: 2, fills: 2 })
  t.strictSame(undoneBy('update_open_orders', result), { failed: 2, accounts_refused: 1 }, 'the run is partial')
  t.strictSame(accounts.refusals, [refused.accountId])
  t.strictSame(bad.calls, ['openOrders', 'openOrders'], 'each of its markets refused')

  bad.calls = []
  refused.state = 'credentials_refused'
  bad.failures.clear()
  const repaired = await job(testContext(database).context)
  t.hasStrict(repaired, { accounts_refused: 0, failed: 0, fills: 2 })
  t.strictSame(undoneBy('update_open_orders', repaired), {}, 'everything is done')
  t.ok(accounts.acceptances.includes(refused.accountId))
})

t.test('a run is partial while accounts with orders are left out after a refusal', async t => {
  const { place, account, accounts, run } = await setUp(t)
  const idle = await seedAccount(database)
  await place({ quantity: '1' })
  accounts.leftOutIds = [idle.accountId]
  t.strictSame(undoneBy('update_open_orders', await run()), {}, 'an account without orders needs no check')
  accounts.leftOutIds = [account.accountId, idle.accountId]
  t.strictSame(undoneBy('update_open_orders', await run()), { accounts_left_out: 1 })
})

t.test(
  'a fee in the base asset lowers a spot position, one in another asset is valued, an unknown one is counted',
  async t => {
    const { exchange, place, run, books } = await setUp(t, { BNBUSDT: '600' })
    const order = await place({ quantity: '4' })
    exchange.fill(order, { quantity: '1', price: '100', fee: '0.001', feeAsset: 'BTC' })
    exchange.fill(order, { quantity: '1', price: '100', fee: '0.0001', feeAsset: 'BNB' })
    exchange.fill(order, { quantity: '1', price: '100', fee: '7', feeAsset: 'XYZ' })
    exchange.fill(order, { quantity: '1', price: '100', fee: null, feeAsset: null })
    t.hasStrict(await run(), { fills: 4, fees_unknown: 2 })
    const { executions, positions } = await books()
    t.strictSame(
      executions.map(({ fee_value }) => fee_value),
      ['0.1', '0.06', null, null]
    )
    assertRows(t, positions, [{ quantity: '3.999', entry_price: '100', fees: '0.16' }])
  }
)

t.test('a fee that the exchange corrects is updated, with all results that depend on it', async t => {
  const { exchange, place, run, books } = await setUp(t)
  const order = await place({ quantity: '2' })
  const first = exchange.fill(order, { quantity: '1', price: '100', fee: '0.01', feeAsset: 'BTC' })
  await run()
  first.fee = '0.02'
  exchange.now += 1
  exchange.fill(order, { quantity: '1', price: '100', fee: '0.01', feeAsset: 'BTC' })
  t.hasStrict(await run(), { fills: 1 })
  const { executions, positions } = await books()
  assertRows(t, executions, [
    { fee: '0.02', fee_value: '2' },
    { fee: '0.01', fee_value: '1' }
  ])
  assertRows(t, positions, [{ quantity: '1.97', fees: '3' }])
})

t.test('a spot sale of more than the recorded quantity makes the position negative, and is counted', async t => {
  const { exchange, place, run, books } = await setUp(t)
  exchange.fill(await place({ quantity: '2', side: 'SELL' }), { quantity: '2', price: '50' })
  t.hasStrict(await run(), { fills: 1, oversold: 1 })
  assertRows(t, (await books()).positions, [{ quantity: '-2', entry_price: '50', realized_pnl: '0' }])
})

t.test('the sides of hedge mode are two positions, and a fill that crosses zero opens one at its price', async t => {
  const { exchange, place, run, books } = await setUp(t)
  const trade = async (
    side: 'BUY' | 'SELL',
    positionSide: 'BOTH' | 'LONG' | 'SHORT',
    quantity: string,
    price: string
  ) => {
    exchange.now += 1
    exchange.fill(await place({ market: 'FUTURES', side, positionSide, quantity }), { quantity, price })
  }
  await trade('BUY', 'LONG', '2', '100')
  await trade('SELL', 'SHORT', '3', '100')
  await trade('SELL', 'LONG', '1', '120')
  await trade('BUY', 'SHORT', '1', '120')
  await trade('BUY', 'BOTH', '1', '100')
  await trade('SELL', 'BOTH', '3', '90')
  await run()
  const { executions, positions } = await books()
  assertRows(t, positions, [
    { position_side: 'BOTH', quantity: '-2', entry_price: '90', realized_pnl: '-10' },
    { position_side: 'LONG', quantity: '1', entry_price: '100', realized_pnl: '20' },
    { position_side: 'SHORT', quantity: '-2', entry_price: '100', realized_pnl: '-20' }
  ])
  t.equal(executions.filter(({ realized_pnl }) => realized_pnl === null).length, 3)
})

t.test('a late fill is inserted in the order of execution', async t => {
  const { exchange, place, run, books } = await setUp(t)
  const early = await place({ quantity: '1' })
  const late = await place({ quantity: '1' })
  const sale = await place({ quantity: '1', side: 'SELL' })
  exchange.fill(early, { quantity: '1', price: '100' })
  exchange.now += 1_000
  exchange.fill(late, { quantity: '1', price: '200' })
  exchange.now += 1_000
  exchange.fill(sale, { quantity: '1', price: '300' })
  exchange.failures.set(`order ${late.exchangeOrderId}`, 'timeout')
  await run()
  assertRows(t, (await books()).positions, [{ quantity: '0', entry_price: null, realized_pnl: '200' }])
  exchange.failures.clear()
  await run()
  const { executions, positions } = await books()
  assertRows(t, positions, [{ quantity: '1', entry_price: '150', realized_pnl: '150' }])
  t.strictSame(
    executions.map(({ price, realized_pnl }) => [price, realized_pnl]),
    [
      ['100', null],
      ['200', null],
      ['300', '150']
    ]
  )
})

t.test('a late fill among executions of other programs computes their whole history', async t => {
  const { exchange, place, run, books, account } = await setUp(t)
  const [first, second] = [await place({ quantity: '1' }), await place({ quantity: '1' })]
  exchange.fill(first, { quantity: '1', price: '100' })
  exchange.now += 10
  exchange.fill(second, { quantity: '1', price: '300' })
  exchange.failures.set(`order ${first.exchangeOrderId}`, 'timeout')
  await run()
  await database.run(
    sql => sql`
      update trade_executions set quantity_before = null, entry_price_before = null where account_id = ${account.accountId}`
  )
  exchange.failures.clear()
  await run()
  assertRows(t, (await books()).positions, [{ quantity: '2', entry_price: '200' }])
})

t.test(
  'a filled quantity without fills waits for them, and is recorded as the difference when they do not come',
  async t => {
    const { exchange, place, run, books } = await setUp(t)
    const order = await place({ quantity: '3' })
    exchange.fill(order, { quantity: '1', price: '100' })
    await run()
    exchange.fill(order, { quantity: '2', price: '103' })
    exchange.reportedFills = 1
    t.hasStrict(await run(), { fills: 0, waiting: 1 })
    assertRows(
      t,
      (await books()).orders,
      [{ status: 'partially_filled', filled_quantity: '1' }],
      'the order is not yet filled'
    )
    t.hasStrict(await run(), { fills: 0, waiting: 1 })
    t.hasStrict(await run(), { fills: 1, waiting: 0, fees_unknown: 1 })
    const { orders, executions, positions } = await books()
    assertRows(t, orders, [{ status: 'filled', filled_quantity: '3', average_price: '102' }])
    t.hasStrict(executions[1], { exchange_trade_id: `cum:${order.exchangeOrderId}:3`, price: '103', quantity: '2' })
    assertRows(t, positions, [{ quantity: '3', entry_price: '102' }])
  }
)

t.test('fills that arrive during the wait are recorded unchanged', async t => {
  const { exchange, place, run, books } = await setUp(t)
  const order = await place({ quantity: '2' })
  exchange.fill(order, { quantity: '1', price: '10' })
  exchange.fill(order, { quantity: '1', price: '11' })
  exchange.reportedFills = 0
  t.hasStrict(await run(), { waiting: 1 })
  exchange.reportedFills = 1
  t.hasStrict(await run(), { waiting: 1, fills: 1 })
  exchange.reportedFills = 2
  t.hasStrict(await run(), { waiting: 0, fills: 1 })
  assertRows(t, (await books()).orders, [{ status: 'filled', filled_quantity: '2', average_price: '10.5' }])
})

t.test('one trade id on two symbols, or on both sides of a self-trade, is several executions', async t => {
  const { exchange, place, run, books } = await setUp(t)
  for (const [symbol, side] of [
    ['BTCUSDT', 'BUY'],
    ['BTCUSDT', 'SELL'],
    ['ETHUSDT', 'BUY']
  ] as const) {
    exchange.fill(await place({ symbol, side, quantity: '1' }), { quantity: '1', price: '5', tradeId: '28457' })
  }
  t.hasStrict(await run(), { fills: 3 })
  assertRows(t, (await books()).positions, [
    { symbol: 'BTCUSDT', quantity: '0' },
    { symbol: 'ETHUSDT', quantity: '1' }
  ])
})

t.test('an answer that cannot belong to the order is counted, and nothing is recorded', async t => {
  const { exchange, account, place, run, books } = await setUp(t)
  const [turned, negative, strange] = [
    await place({ quantity: '1' }),
    await place({ quantity: '1' }),
    await place({ symbol: 'WHATEVER', quantity: '1' })
  ]
  exchange.fill(turned, { quantity: '1', price: '5' })
  turned.side = 'SELL'
  const fill = exchange.fill(negative, { quantity: '1', price: '5' })
  fill.price = '-5'
  exchange.fill(strange, { quantity: '1', price: '5' })
  t.hasStrict(await run(), { fills: 0, flagged: 0 })
  t.hasStrict(await run(), { fills: 0, flagged: 0 })
  t.strictSame(await flaggedOf(account), [false, false, false])
  const result = await run()
  t.hasStrict(result, { fills: 0, flagged: 3 }, 'after three checks')
  t.strictSame(await flaggedOf(account), [true, true, true])
  t.strictSame(undoneBy('update_open_orders', result), { flagged: 3, unknown_symbols: 1 }, 'the run is partial')
  assertRows(t, (await books()).orders, [
    { error_code: 'side_differs', status: 'pending', filled_quantity: '0' },
    { error_code: 'invalid_answer', status: 'pending' },
    { error_code: 'unknown_symbol', status: 'pending' }
  ])
})

t.test('keys that one market refuses do not stop the orders of the other', async t => {
  const { exchange, place, run, accounts } = await setUp(t)
  const [spot, futures] = [await place({ quantity: '1' }), await place({ quantity: '1', market: 'FUTURES' })]
  for (const order of [spot, futures]) exchange.fill(order, { quantity: '1', price: '10' })
  exchange.failures.set(`order ${futures.exchangeOrderId}`, 'authentication')
  t.hasStrict(await run(), { accounts_refused: 1, failed: 1, fills: 1 })
  t.strictSame(accounts.refusals, [], 'the account is not refused: its keys open a wallet')
  exchange.failures.set(`order ${futures.exchangeOrderId}`, 'clock')
  t.hasStrict(await run(), { accounts_refused: 0, failed: 1 }, 'an error of the clock does not count as a refusal')
})

t.test('orders of two symbols may have one id, and each has its own fills and position', async t => {
  const { exchange, place, run, books } = await setUp(t)
  const [one, other] = [
    await place({ symbol: 'BTCUSDT', quantity: '1', exchangeOrderId: '7' }),
    await place({ symbol: 'ETHUSDT', quantity: '5', exchangeOrderId: '7' })
  ]
  exchange.fill(one, { quantity: '1', price: '100' })
  exchange.fill(other, { quantity: '2', price: '3' })
  t.hasStrict(await run(), { fills: 2, failed: 0, flagged: 0 })
  const { orders, positions } = await books()
  t.strictSame(orders.map(({ filled_quantity }) => filled_quantity).sort(), ['1', '2'])
  assertRows(t, positions, [
    { symbol: 'BTCUSDT', quantity: '1' },
    { symbol: 'ETHUSDT', quantity: '2' }
  ])
  await t.rejects(place({ symbol: 'ETHUSDT', quantity: '5', exchangeOrderId: '7' }), 'an order is recorded once')
})

t.test('an answer about the other position side is never recorded on an order', async t => {
  const { exchange, place, run, books } = await setUp(t)
  const long = await place({ market: 'FUTURES', quantity: '1', positionSide: 'LONG' })
  exchange.fill(long, { quantity: '1', price: '5' })
  long.positionSide = 'SHORT'
  const both = await place({ market: 'FUTURES', quantity: '1' })
  exchange.fill(both, { quantity: '1', price: '5' })
  for (const flagged of [0, 0, 1]) t.hasStrict(await run(), { flagged })
  assertRows(t, (await books()).orders, [
    { error_code: 'side_differs', filled_quantity: '0' },
    { error_code: null, filled_quantity: '1' }
  ])
})

t.test('a busted trade is reversed after three checks, in its order and its position', async t => {
  const { exchange, place, run, books } = await setUp(t)
  const order = await place({ quantity: '5' })
  exchange.fill(order, { quantity: '1', price: '10', fee: '0.1', feeAsset: 'USDT' })
  exchange.fill(order, { quantity: '2', price: '16', fee: '0.2', feeAsset: 'USDT' })
  t.hasStrict(await run(), { fills: 2 })
  assertRows(t, (await books()).positions, [{ quantity: '3', entry_price: '14', fees: '0.3' }])
  exchange.bust(order, 1)
  for (const fills of [0, 0, 1, 0]) t.hasStrict(await run(), { fills, failed: 0, flagged: 0 })
  const { orders, positions } = await books()
  assertRows(t, orders, [{ filled_quantity: '1', average_price: '10', status: 'partially_filled', error_code: null }])
  // Bought 1 at 10 and 2 at 16, sold 2 at 16: the cash flow equals that of a purchase of 1 at 10.
  assertRows(t, positions, [{ quantity: '1', entry_price: '14', realized_pnl: '4', fees: '0.1' }])
  exchange.fill(order, { quantity: '4', price: '10' })
  t.hasStrict(await run(), { fills: 1 })
  assertRows(t, (await books()).orders, [{ filled_quantity: '5', status: 'filled' }])
})

t.test('executions that another run recorded in the meantime count, and an ended order is not changed', async t => {
  const { exchange, place, run, books, account, accounts } = await setUp(t)
  const [filled, ended] = [await place({ quantity: '2' }), await place({ quantity: '1' })]
  exchange.fill(filled, { quantity: '1', price: '10' })
  exchange.fill(ended, { quantity: '1', price: '10' })
  const otherRun = updateOpenOrders({ accounts, database, prices: fixedPrices({}), instruments: fixedInstruments() })
  let first = true
  const result = await run({
    transaction: async (work: Parameters<Database['transaction']>[0]) => {
      if (first) {
        first = false
        exchange.fill(filled, { quantity: '1', price: '20' })
        await otherRun(testContext(database).context)
      }
      return await database.transaction(work)
    }
  })
  t.hasStrict(result, { skipped: 2, changed: 0, fills: 0 })
  const { orders, executions, positions } = await books()
  assertRows(t, orders, [
    { status: 'filled', filled_quantity: '2', average_price: '15' },
    { status: 'filled', filled_quantity: '1' }
  ])
  t.equal(executions.length, 3)
  assertRows(t, positions, [{ quantity: '3' }])
  t.equal(account.state, 'ok')
})

t.test('a run that lost its lease writes nothing and ends', async t => {
  const { exchange, place, run, books } = await setUp(t)
  const orders = [await place({ quantity: '1' }), await place({ quantity: '1', market: 'FUTURES' })]
  for (const order of orders) exchange.fill(order, { quantity: '1', price: '10' })
  const before = await books()
  const transaction = async () => {
    throw new LeaseLostError()
  }
  await t.rejects(run({ transaction }), { code: 'LEASE_LOST' })
  t.strictSame(await books(), before)
  t.equal(exchange.calls.filter(call => call === 'openOrders').length, 1, 'no further call is made')
})

t.test('an aborted run ends, and progress is reported', async t => {
  const { exchange, place, run } = await setUp(t)
  await place({ quantity: '1' })
  const controller = new AbortController()
  controller.abort(new Error('aborted'))
  await t.rejects(run({ signal: controller.signal }), { message: 'aborted' })
  t.strictSame(exchange.calls, [])
  const progress: number[][] = []
  await run({ progress: (done: number, total: number) => progress.push([done, total]) })
  t.strictSame(progress, [[1, 1]])
})
