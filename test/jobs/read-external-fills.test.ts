import t, { type Test } from 'tap'
import { DAY, HOUR, MINUTE, SECOND } from '../../src/async/durations.ts'
import type { Database } from '../../src/database/database.ts'
import { EXCHANGE_NAMES, type ExchangeName, MARKET_TYPES, type MarketType } from '../../src/domain/market.ts'
import { CATALOGUE } from '../../src/exchanges/catalogue.ts'
import { syncExchangeLedger } from '../../src/jobs/sync-exchange-ledger.ts'
import { assertRows } from '../support/assert-rows.ts'
import { assertTexts } from '../support/assert-texts.ts'
import { fillsBench, open } from '../support/fills-bench.ts'
import { undoneBy } from '../support/jobs.ts'
import { changingRows } from '../support/simulated-exchange/edits.ts'
import { insertOrder, testContext, tradingDatabase } from '../support/trading.ts'

const MARKETS = EXCHANGE_NAMES.flatMap(exchange =>
  MARKET_TYPES.filter(market => CATALOGUE[exchange].markets[market] !== undefined).map(market => ({ exchange, market }))
)
const PERPETUALS = ['BINANCE', 'BYBIT', 'OKX'] as const

let database: Database
t.beforeEach(async t => {
  database = await tradingDatabase(t)
})

const setUp = (t: Test, exchange: ExchangeName, market: MarketType) => fillsBench(t, database, exchange, market)

for (const { exchange: name, market } of MARKETS) {
  const test = (title: string, run: (t: Test) => Promise<void>) => t.test(`${name} ${market}: ${title}`, run)

  test('a manual trade is booked once as an external order, with one message', async t => {
    const bench = await setUp(t, name, market)
    bench.exchange.setBalance(bench.account, market, bench.quote, '1000000')
    bench.exchange.setBalance(bench.account, market, 'BTC', '1')
    // Binance lists spot trades by symbol: the balances name it.
    await recordAssets(bench.accountId, market, ['BTC', bench.quote])
    await open(bench)
    const order = bench.trade({ quantity: '2' })
    bench.pass(5 * MINUTE)
    t.hasStrict(await bench.readFills(), { external_orders: 1, forced_orders: 0, fills_failed: 0 })
    bench.pass(5 * MINUTE)
    t.hasStrict(await bench.readFills(), { external_orders: 0, fills_failed: 0 })
    await bench.updateOrders()
    assertRows(t, await bench.orders(), [
      { id: order.exchangeOrderId, origin: 'external', status: 'filled', owned: false, filled: '2', average: '100' }
    ])
    assertRows(t, await bench.positions(), [{ owned: false, quantity: '2', entry: '100' }])
    assertTexts(t, await bench.messages(), [
      /Order that this system did not place[\s\S]*buy 2 @ 100\n[\s\S]*account itself/
    ])
  })

  test('the fills of a week of downtime are booked by one run', async t => {
    const bench = await setUp(t, name, market)
    bench.exchange.setBalance(bench.account, market, bench.quote, '1000000')
    await recordAssets(bench.accountId, market, ['BTC', bench.quote])
    await open(bench)
    for (let day = 0; day < 9; day++) {
      bench.trade({ quantity: '1' }, String(100 + day))
      bench.pass(DAY)
    }
    t.hasStrict(await bench.readFills(), { external_orders: 9, fills_failed: 0 })
    assertRows(t, await bench.positions(), [{ quantity: '9', entry: '104' }])
    t.equal((await bench.messages()).length, 9)
  })

  test('own orders are not external', async t => {
    const bench = await setUp(t, name, market)
    bench.exchange.setBalance(bench.account, market, bench.quote, '1000000')
    await open(bench)
    const own = await bench.placeOwn({ quantity: '2' })
    bench.exchange.fill(own, { quantity: '1' })
    bench.pass(5 * MINUTE)
    t.hasStrict(await bench.readFills(), { external_orders: 0, orders_awaited: 0 })
    await bench.updateOrders()
    t.strictSame(await bench.messages(), [])
    assertRows(t, await bench.positions(), [{ owned: true, quantity: '1' }])
  })

  test('what the account holds is recorded when it is read first', async t => {
    const bench = await setUp(t, name, market)
    bench.exchange.setBalance(bench.account, market, 'BTC', '1.5', '0.5')
    bench.exchange.setBalance(bench.account, market, bench.quote, '70')
    await open(bench)
    const wallets = CATALOGUE[name].wallets
    const wallet = wallets.includes(market) ? market : 'SPOT'
    assertRows(
      t,
      (await bench.entries()).filter(entry => entry.wallet === wallet),
      [
        { asset: 'BTC', amount: '2', kind: 'opening' },
        { asset: bench.quote, amount: '70', kind: 'opening' }
      ]
    )
    // A wallet that is empty has an entry of zero.
    assertRows(
      t,
      (await bench.entries()).filter(entry => entry.wallet !== wallet),
      wallets.filter(other => other !== wallet).map(() => ({ asset: bench.quote, amount: '0', kind: 'opening' }))
    )
    bench.pass(5 * MINUTE)
    t.hasStrict(await bench.readFills(), { openings: 0, fills_failed: 0 })
  })
}

/** Records that the account held assets, as `sync_account_balances` does. */
async function recordAssets(accountId: string, market: MarketType, assets: readonly string[]): Promise<void> {
  await database.run(
    sql => sql`
      insert into account_balances (account_id, market_type, asset, free, locked, total, synced_at)
      select ${accountId}, ${market}, asset, 1, 0, 1, now() from jsonb_array_elements_text(${JSON.stringify(assets)}::text::jsonb) asset`
  )
}

for (const name of PERPETUALS) {
  const test = (title: string, run: (t: Test) => Promise<void>) => t.test(`${name}: ${title}`, run)

  for (const forced of ['liquidation', 'adl'] as const) {
    test(`a position that the exchange closes (${forced}) is closed for its strategy, with one message`, async t => {
      const bench = await setUp(t, name, 'FUTURES')
      await open(bench)
      const own = await bench.placeOwn({ quantity: '1', price: '100' })
      bench.exchange.fill(own, { price: '100' })
      await bench.updateOrders()
      bench.trade({ side: 'SELL', quantity: '1', forced }, '95')
      bench.pass(5 * MINUTE)
      t.hasStrict(await bench.readFills(), { external_orders: 0, forced_orders: 1 })
      assertRows(t, await bench.positions(), [{ owned: true, quantity: '0', entry: null, realized: '-5' }])
      assertTexts(t, await bench.messages(), [/The exchange traded by force[\s\S]*sell 1 @ 95\n[\s\S]*of the strategy/])
    })
  }

  test('closing a position of before the opening leaves no position', async t => {
    const bench = await setUp(t, name, 'FUTURES')
    bench.exchange.setPosition(bench.account, { symbol: bench.symbol, quantity: '1', entryPrice: '80' })
    await open(bench)
    assertRows(t, await bench.positions(), [{ owned: false, quantity: '1', entry: '80' }])
    bench.trade({ side: 'SELL', quantity: '1' }, '90')
    bench.pass(5 * MINUTE)
    await bench.readFills()
    assertRows(t, await bench.positions(), [{ owned: false, quantity: '0', entry: null, realized: '10' }])
    assertRows(t, await bench.orders(), [{ type: 'OPENING', status: 'filled', is_mark_price: false }, { owned: false }])
  })

  test('an opening position without an entry price has the mark price, and is flagged', async t => {
    const bench = await setUp(t, name, 'FUTURES')
    bench.exchange.setPosition(bench.account, { symbol: bench.symbol, quantity: '-3', entryPrice: '0' })
    bench.exchange.setPrice('FUTURES', bench.symbol, '77.5')
    await open(bench)
    assertRows(t, await bench.positions(), [{ quantity: '-3', entry: '77.5' }])
    assertRows(t, await bench.orders(), [{ type: 'OPENING', is_mark_price: true }])
  })

  test('an opening position without any price is not booked before it has one', async t => {
    const bench = await setUp(t, name, 'FUTURES')
    bench.exchange.setPosition(bench.account, { symbol: bench.symbol, quantity: '2', entryPrice: '0' })
    bench.exchange.setPrice('FUTURES', bench.symbol, '0')
    await bench.readFills()
    bench.pass(5 * MINUTE)
    const result = await bench.readFills()
    t.hasStrict(result, { openings: 0, openings_without_price: 1, fills_failed: 0 })
    t.strictSame(undoneBy('sync_exchange_ledger', result), { openings_without_price: 1 }, 'the run is partial')
    const written = [await bench.orders(), await bench.positions(), await bench.entries()]
    t.strictSame(
      written.map(({ length }) => length),
      [0, 0, 0]
    )
    bench.exchange.setPosition(bench.account, { symbol: bench.symbol, quantity: '2', entryPrice: '60' })
    bench.pass(5 * MINUTE)
    t.hasStrict(
      await bench.readFills(),
      { openings: 0, openings_without_price: 1 },
      'the reading of before has no price'
    )
    bench.pass(5 * MINUTE)
    t.hasStrict(await bench.readFills(), { openings: 1, openings_without_price: 0 })
    assertRows(t, await bench.positions(), [{ owned: false, quantity: '2', entry: '60' }])
    assertRows(t, await bench.orders(), [{ type: 'OPENING', average: '60', is_mark_price: false }])
  })

  test('an opening position has no price of our own position', async t => {
    const bench = await setUp(t, name, 'FUTURES')
    const own = await bench.placeOwn({ quantity: '1', price: '100' })
    bench.exchange.fill(own, { price: '100' })
    await bench.updateOrders()
    bench.pass(HOUR)
    bench.exchange.setPosition(bench.account, { symbol: bench.symbol, quantity: '3', entryPrice: '0' })
    bench.exchange.setPrice('FUTURES', bench.symbol, '0')
    await bench.readFills()
    bench.pass(5 * MINUTE)
    await bench.updateOrders()
    t.hasStrict(await bench.readFills(), { openings: 0, openings_without_price: 1 })
    assertRows(t, await bench.positions(), [{ owned: true, quantity: '1', entry: '100' }])
  })

  test('a position in excess that was closed since the reading does not end at a price of zero', async t => {
    const bench = await setUp(t, name, 'FUTURES')
    const bought = await bench.placeOwn({ quantity: '1', price: '100' })
    bench.exchange.fill(bought, { price: '100' })
    await bench.updateOrders()
    bench.pass(HOUR)
    bench.account.positions = []
    await bench.readFills()
    bench.pass(MINUTE)
    const sold = await bench.placeOwn({ side: 'SELL', quantity: '1', price: '90' })
    bench.exchange.fill(sold, { price: '90' })
    bench.pass(5 * MINUTE)
    await bench.updateOrders()
    t.hasStrict(await bench.readFills(), { openings: 0, openings_without_price: 1 })
    bench.pass(5 * MINUTE)
    await bench.updateOrders()
    t.hasStrict(await bench.readFills(), { openings: 1, openings_without_price: 0 })
    assertRows(t, await bench.positions(), [{ owned: true, quantity: '-1', entry: '90', realized: '-10' }])
    assertRows(t, await bench.orders(), [
      { type: bought.type, average: '100' },
      { type: sold.type, average: '90' },
      { type: 'OPENING', average: '90' }
    ])
  })

  test('the opening is what the recorded executions do not explain, and belongs to the strategy of the symbol', async t => {
    const bench = await setUp(t, name, 'FUTURES')
    bench.exchange.setPosition(bench.account, { symbol: bench.symbol, quantity: '2', entryPrice: '50' })
    const own = await bench.placeOwn({ quantity: '3', price: '100' })
    bench.exchange.fill(own, { quantity: '1', price: '100' })
    bench.pass(MINUTE)
    await bench.readFills()
    bench.pass(2 * SECOND)
    bench.exchange.fill(own, { quantity: '2', price: '100' })
    bench.pass(5 * MINUTE)
    await bench.updateOrders()
    t.hasStrict(await bench.readFills(), { openings: 1 })
    assertRows(t, await bench.positions(), [{ owned: true, quantity: '5' }])
    t.equal(bench.account.positions[0]?.quantity, '5')
  })

  test('a position that the exchange does not have any more ends with the opening', async t => {
    const bench = await setUp(t, name, 'FUTURES')
    const own = await bench.placeOwn({ quantity: '1', price: '100' })
    bench.exchange.fill(own, { price: '100' })
    await bench.updateOrders()
    bench.account.positions = []
    bench.pass(HOUR)
    await open(bench)
    assertRows(t, await bench.positions(), [{ owned: true, quantity: '0', realized: '0' }])
  })

  test('holdings that change while they are read are read again', async t => {
    const bench = await setUp(t, name, 'FUTURES')
    await bench.readFills()
    bench.trade({ quantity: '1' })
    bench.pass(5 * MINUTE)
    t.hasStrict(await bench.readFills(), { external_orders: 1, openings: 0 })
    bench.pass(5 * MINUTE)
    t.hasStrict(await bench.readFills(), { external_orders: 0, openings: 1 })
    assertRows(t, await bench.positions(), [{ owned: false, quantity: '1', entry: '100' }])
  })

  test('an order that the exchange does not return is booked by its fills', async t => {
    const bench = await setUp(t, name, 'FUTURES')
    await open(bench)
    bench.trade({ quantity: '2' })
    bench.pass(5 * MINUTE)
    const notFound = { BINANCE: '{"code":-2013,"msg":"x"}', BYBIT: null, OKX: '{"code":"51603","msg":"","data":[]}' }[
      name
    ]
    if (notFound === null) {
      const body = '{"retCode":0,"retMsg":"OK","result":{"list":[],"nextPageCursor":""},"time":1}'
      bench.exchange.fault({ kind: 'status', status: 200, body }, { path: /v5\/order/ })
    } else {
      const status = name === 'BINANCE' ? 400 : 200
      bench.exchange.fault({ kind: 'status', status, body: notFound }, { path: /\/order$/ })
    }
    t.hasStrict(await bench.readFills(), { external_orders: 1, fills_failed: 0 })
    assertRows(t, await bench.orders(), [{ status: 'filled', filled: '2', average: '100' }])
    assertRows(t, await bench.positions(), [{ quantity: '2' }])
  })

  test('of an order that traded before and after the opening, the fills of after it are booked', async t => {
    const bench = await setUp(t, name, 'FUTURES')
    const order = bench.exchange.place(bench.account, { market: 'FUTURES', quantity: '5', price: '100' })
    bench.exchange.fill(order, { quantity: '2' })
    bench.pass(MINUTE)
    await open(bench)
    bench.exchange.fill(order, { quantity: '3', price: '110' })
    bench.pass(5 * MINUTE)
    await bench.readFills()
    await bench.updateOrders()
    assertRows(t, await bench.orders(), [
      { type: 'OPENING', filled: '2' },
      { status: 'filled', filled: '3' }
    ])
    assertRows(t, await bench.positions(), [{ quantity: '5', entry: '106' }])
  })

  test('an order that traded before the opening is followed after its first booking', async t => {
    const bench = await setUp(t, name, 'FUTURES')
    const order = bench.exchange.place(bench.account, { market: 'FUTURES', quantity: '9', price: '100' })
    bench.exchange.fill(order, { quantity: '2' })
    bench.pass(MINUTE)
    await open(bench)
    bench.exchange.fill(order, { quantity: '3', price: '110' })
    bench.pass(5 * MINUTE)
    await bench.readFills()
    bench.exchange.fill(order, { quantity: '1', price: '120' })
    bench.pass(MINUTE)
    bench.exchange.fill(order, { quantity: '3', price: '130' })
    await bench.updateOrders()
    bench.pass(5 * MINUTE)
    t.hasStrict(await bench.readFills(), { external_orders: 1, fills_failed: 0 })
    bench.pass(MINUTE)
    t.hasStrict(await bench.readFills(), { external_orders: 0, fills_failed: 0 })
    assertRows(t, await bench.orders(), [
      { type: 'OPENING', filled: '2' },
      { status: 'filled', filled: '7', average: '120' }
    ])
    assertRows(t, await bench.positions(), [{ quantity: '9' }])
    t.equal((await bench.messages()).length, 1)
  })

  test('a position that the exchange has on the other side ends at its own price, and begins at that of the exchange', async t => {
    const bench = await setUp(t, name, 'FUTURES')
    const own = await bench.placeOwn({ quantity: '2', price: '100' })
    bench.exchange.fill(own, { price: '100' })
    await bench.updateOrders()
    bench.pass(HOUR)
    bench.exchange.setPosition(bench.account, { symbol: bench.symbol, quantity: '-1', entryPrice: '90' })
    await open(bench)
    assertRows(t, await bench.positions(), [{ owned: true, quantity: '-1', entry: '90', realized: '0' }])
    const changes = await database.run(sql => sql`select asset from book_totals where source = 'executions'`)
    assertRows(t, changes, [])
  })

  test('of an order that traded long before the opening, the fills of after it are booked', async t => {
    const bench = await setUp(t, name, 'FUTURES')
    const createdAt = bench.exchange.now() - 60 * DAY
    const order = bench.exchange.place(bench.account, { market: 'FUTURES', quantity: '5', price: '100', createdAt })
    bench.exchange.fill(order, { quantity: '2', at: createdAt + DAY })
    await open(bench)
    bench.exchange.fill(order, { quantity: '3', price: '110' })
    for (let run = 0; run < 4; run++) {
      bench.pass(5 * MINUTE)
      await bench.readFills()
      await bench.updateOrders()
    }
    assertRows(t, await bench.orders(), [
      { type: 'OPENING', filled: '2' },
      { status: 'filled', filled: '3' }
    ])
    assertRows(t, await bench.positions(), [{ quantity: '5', entry: '106' }])
  })

  test('an external order that trades on is followed to its end', async t => {
    const bench = await setUp(t, name, 'FUTURES')
    await open(bench)
    const order = bench.exchange.place(bench.account, { market: 'FUTURES', quantity: '3', price: '100' })
    bench.exchange.fill(order, { quantity: '1' })
    bench.pass(5 * MINUTE)
    await bench.readFills()
    assertRows(t, await bench.orders(), [{ status: 'partially_filled', filled: '1' }])
    bench.exchange.fill(order, { quantity: '2' })
    await bench.updateOrders()
    bench.pass(5 * MINUTE)
    await bench.readFills()
    assertRows(t, await bench.orders(), [{ status: 'filled', filled: '3' }])
    assertRows(t, await bench.positions(), [{ quantity: '3' }])
    t.equal((await bench.messages()).length, 1)
  })

  test('an order that a conditional order of ours became is not external', async t => {
    const bench = await setUp(t, name, 'FUTURES')
    await open(bench)
    const stop = await bench.placeOwn({ type: 'STOP_MARKET', side: 'SELL', quantity: '1', stopPrice: '90' })
    const became = bench.exchange.trigger(stop)
    bench.exchange.fill(became, { price: '90' })
    bench.pass(5 * MINUTE)
    // Bybit triggers the order itself.
    const isOther = became !== stop
    t.hasStrict(await bench.readFills(), { external_orders: 0, orders_awaited: isOther ? 1 : 0 })
    await bench.updateOrders()
    bench.pass(5 * MINUTE)
    t.hasStrict(await bench.readFills(), { external_orders: 0, orders_awaited: 0 })
    assertRows(t, await bench.positions(), [{ owned: true, quantity: '-1' }])
    t.strictSame(await bench.messages(), [])
  })
}

for (const name of ['UPBIT', 'BITHUMB'] as const) {
  t.test(`${name}: an order that was open for months is booked when it trades and closes, once`, async t => {
    const bench = await setUp(t, name, 'SPOT')
    bench.exchange.setBalance(bench.account, 'SPOT', bench.quote, '1000000')
    const createdAt = bench.exchange.now() - 100 * DAY
    const order = bench.exchange.place(bench.account, { quantity: '2', price: '100', createdAt })
    const other = bench.exchange.place(bench.account, { quantity: '2', price: '100', createdAt })
    await open(bench)
    bench.exchange.fill(order, { quantity: '2', price: '100' })
    bench.exchange.cancel(other)
    bench.pass(DAY)
    t.hasStrict(await bench.readFills(), { external_orders: 1, fills_failed: 0 })
    assertRows(t, await bench.orders(), [{ id: order.exchangeOrderId, status: 'filled', filled: '2' }])
    const remembered = () => database.run(sql => sql`select open_orders <> '{}' as has_orders from fill_readings`)
    assertRows(t, await remembered(), [{ has_orders: true }])
    for (let run = 0; run < 3; run++) {
      bench.pass(HOUR)
      t.hasStrict(await bench.readFills(), { external_orders: 0, fills_failed: 0 })
    }
    assertRows(t, await remembered(), [{ has_orders: false }])
    assertRows(t, await bench.positions(), [{ quantity: '2' }])
  })

  t.test(
    `${name}: an order that was open for months is not found to be closed by a list with unreadable rows`,
    async t => {
      const bench = await setUp(t, name, 'SPOT')
      const createdAt = bench.exchange.now() - 100 * DAY
      const order = bench.exchange.place(bench.account, { quantity: '2', price: '100', createdAt })
      await open(bench)
      const edit = changingRows({ uuid: order.exchangeOrderId }, { volume: 'many' })
      bench.exchange.fault({ kind: 'edited', edit }, { path: /open|orders/ })
      for (let run = 0; run < 3; run++) {
        bench.pass(HOUR)
        await bench.readFills()
      }
      const rows = await database.run(sql => sql`select open_orders from fill_readings`)
      assertRows(t, rows, [{ open_orders: { [order.exchangeOrderId]: null } }])
      bench.exchange.clearFaults()
      bench.exchange.fill(order, { quantity: '2', price: '100' })
      bench.pass(HOUR)
      t.hasStrict(await bench.readFills(), { external_orders: 1, fills_failed: 0 })
    }
  )
}

t.test('a fill that is seen before the order-entry side records its order is awaited', async t => {
  const bench = await setUp(t, 'BYBIT', 'FUTURES')
  await open(bench)
  bench.catchUp()
  const order = bench.trade({ quantity: '1' })
  t.hasStrict(await bench.readFills(), { external_orders: 0, orders_awaited: 1 })
  const { exchangeOrderId, symbol, exchangeSymbol, side, quantity } = order
  const row = { exchangeOrderId, symbol, exchangeSymbol, side, quantity, market: 'FUTURES' } as const
  await insertOrder(database, bench.owner, row)
  t.hasStrict(await bench.readFills(), { external_orders: 0, orders_awaited: 0 })
  await bench.updateOrders()
  assertRows(t, await bench.orders(), [{ origin: 'own', status: 'filled' }])
  t.strictSame(await bench.messages(), [])
})

t.test('an order of fills is booked completely, however many it has', async t => {
  const bench = await setUp(t, 'BYBIT', 'FUTURES')
  const order = bench.exchange.place(bench.account, { market: 'FUTURES', quantity: '3000', price: '100' })
  bench.exchange.fill(order, { quantity: '2' })
  bench.pass(MINUTE)
  await open(bench)
  for (let i = 0; i < 2_100; i++) bench.exchange.fill(order, { quantity: '1', price: '100' })
  bench.pass(5 * MINUTE)
  t.hasStrict(await bench.readFills(), { external_orders: 1 })
  await bench.updateOrders()
  assertRows(t, await bench.orders(), [{ type: 'OPENING' }, { status: 'filled', filled: '2100', average: '100' }])
  assertRows(t, await bench.positions(), [{ quantity: '2102' }])
})

t.test('a forced order is booked at once', async t => {
  const bench = await setUp(t, 'BYBIT', 'FUTURES')
  await open(bench)
  bench.catchUp()
  bench.trade({ quantity: '1', forced: 'liquidation' })
  t.hasStrict(await bench.readFills(), { forced_orders: 1, orders_awaited: 0 })
})

t.test('a fill is awaited for longer while an own order has no id from the exchange', async t => {
  const bench = await setUp(t, 'BINANCE', 'FUTURES')
  await open(bench)
  bench.catchUp()
  const at = Date.now() - 5 * MINUTE
  const placed = bench.exchange.place(bench.account, { market: 'FUTURES', price: '100', createdAt: at })
  bench.exchange.fill(placed, { at })
  const { symbol, exchangeSymbol, side, quantity } = placed
  const row = {
    exchangeOrderId: null,
    symbol,
    exchangeSymbol,
    side,
    quantity,
    market: 'FUTURES',
    createdAt: at
  } as const
  const orderId = await insertOrder(database, bench.owner, row)
  t.hasStrict(await bench.readFills(), { external_orders: 0, orders_awaited: 1 })
  await database.run(sql => sql`update orders set status = 'canceled' where order_id = ${orderId}`)
  t.hasStrict(await bench.readFills(), { external_orders: 1, orders_awaited: 0 })
})

t.test('an account that cannot be read does not affect the others, and continues where it was', async t => {
  const bench = await setUp(t, 'OKX', 'FUTURES')
  await open(bench)
  bench.trade({ quantity: '1' })
  bench.pass(DAY)
  bench.exchange.fault({ kind: 'status', status: 503 }, { path: /fills-history/ })
  t.hasStrict(await bench.readFills({ signal: AbortSignal.timeout(25_000) }), { external_orders: 0, fills_failed: 1 })
  const failures = await database.run(sql => sql`select job_id, error_code from account_failures`)
  assertRows(t, failures, [{ job_id: 'test:fills', error_code: 'unavailable' }])
  bench.exchange.clearFaults()
  bench.pass(DAY)
  t.hasStrict(await bench.readFills(), { external_orders: 1, fills_failed: 0 })
})

t.test('fills that cannot be read are read again, and the others are booked', async t => {
  const bench = await setUp(t, 'BYBIT', 'FUTURES')
  await open(bench)
  const [first, second] = [bench.trade({ quantity: '1' }), bench.trade({ quantity: '1' })]
  bench.pass(5 * MINUTE)
  const edit = changingRows({ execId: first.fills[0]?.tradeId }, { execQty: 'one' })
  bench.exchange.fault({ kind: 'edited', edit }, { path: /execution/ })
  t.hasStrict(await bench.readFills(), { external_orders: 1, fills_unreadable: 1 })
  bench.exchange.clearFaults()
  bench.pass(2 * DAY)
  t.hasStrict(await bench.readFills(), { external_orders: 1, fills_unreadable: 0 })
  const ids = (await bench.orders()).map(({ id }) => id)
  t.strictSame(ids, [second.exchangeOrderId, first.exchangeOrderId])
})

t.test('a fill of nothing does not keep the others of its account from the books', async t => {
  const bench = await setUp(t, 'BYBIT', 'FUTURES')
  await open(bench)
  const [first, second] = [bench.trade({ quantity: '1' }), bench.trade({ quantity: '1' })]
  bench.pass(5 * MINUTE)
  const body = '{"retCode":0,"retMsg":"OK","result":{"list":[],"nextPageCursor":""},"time":1}'
  bench.exchange.fault({ kind: 'status', status: 200, body }, { path: /v5\/order/ })
  for (const execQty of ['0', '-1']) {
    const edit = changingRows({ execId: first.fills[0]?.tradeId }, { execQty })
    bench.exchange.fault({ kind: 'edited', edit }, { path: /execution/ })
    t.hasStrict(await bench.readFills(), { fills_unreadable: 1, fills_failed: 0 })
  }
  assertRows(t, await bench.orders(), [{ id: second.exchangeOrderId, filled: '1' }])
  bench.exchange.clearFaults()
  t.hasStrict(await bench.readFills(), { external_orders: 1, fills_unreadable: 0 })
})

t.test('a period that the exchange does not list any more is recorded', async t => {
  const bench = await setUp(t, 'OKX', 'FUTURES')
  await open(bench)
  bench.pass(100 * DAY)
  t.hasStrict(await bench.readFills(), { fills_missed: 2 })
  bench.pass(5 * MINUTE)
  t.hasStrict(await bench.readFills(), { fills_missed: 0 })
  const periods = await database.run(
    sql => sql<{ days: number }[]>`
      select round(((incomplete->0->>'until')::numeric - (incomplete->0->>'from')::numeric) / 86400000)::int as days,
        jsonb_array_length(incomplete) as periods
      from fill_readings order by market_type`
  )
  assertRows(t, periods, [
    { days: 12, periods: 1 },
    { days: 12, periods: 1 }
  ])
})

t.test('an account is not opened before its ledger was read until then', async t => {
  const bench = await setUp(t, 'BYBIT', 'FUTURES')
  const readLedger = async (result: 'fails' | 'succeeds') => {
    if (result === 'fails') bench.exchange.fault({ kind: 'status', status: 503 }, { path: /transaction-log/ })
    const { context } = testContext(database, { signal: AbortSignal.timeout(25_000) })
    await syncExchangeLedger({ accounts: bench.accounts, now: bench.now })(context)
    bench.exchange.clearFaults()
  }
  bench.exchange.setBalance(bench.account, 'SPOT', 'USDT', '100')
  await database.run(sql => sql`update accounts set created_at = now() - interval '30 days'`)
  await readLedger('succeeds')
  await bench.readFills()
  // While the holdings are read: they may be with or without it.
  bench.exchange.ledger.deposit(bench.account, 'USDT', '7', { at: bench.now() })
  bench.pass(5 * MINUTE)
  await readLedger('fails')
  t.hasStrict(await bench.readFills(), { openings: 0, fills_failed: 0 })
  bench.pass(5 * MINUTE)
  await readLedger('succeeds')
  t.hasStrict(await bench.readFills(), { openings: 0, fills_failed: 0 }, 'the holdings are read again')
  bench.pass(5 * MINUTE)
  await readLedger('succeeds')
  t.hasStrict(await bench.readFills(), { openings: 1, fills_failed: 0 })
  assertRows(
    t,
    (await bench.entries()).toSorted((a, b) => String(a.kind).localeCompare(String(b.kind))),
    [
      { kind: 'opening', amount: '107' },
      { kind: 'transfer', amount: '7' }
    ]
  )
})

t.test('a market that the key does not open is no part of the account', async t => {
  const bench = await setUp(t, 'BINANCE', 'SPOT')
  const body = '{"code":-2015,"msg":"Invalid API-key, IP, or permissions for action."}'
  bench.exchange.fault({ kind: 'status', status: 401, body }, { path: /fapi\/v3/ })
  await open(bench)
  const markets = await database.run(sql => sql`select market_type from fill_readings`)
  assertRows(t, markets, [{ market_type: 'SPOT' }])
})
