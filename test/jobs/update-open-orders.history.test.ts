// Orders whose fills are spread over the windows, pages and lists of an exchange, over real HTTP.
import t, { type Test } from 'tap'
import { Agent } from 'undici'
import { DAY, HOUR } from '../../src/async/durations.ts'
import type { Database } from '../../src/database/database.ts'
import type { ExchangeName, MarketType } from '../../src/domain/market.ts'
import { ExchangeRegistry } from '../../src/exchanges/exchange-registry.ts'
import { updateOpenOrders } from '../../src/jobs/update-open-orders.ts'
import { assertRows } from '../support/assert-rows.ts'
import {
  type NewOrder,
  SimulatedExchange,
  type SimulatedOrder
} from '../support/simulated-exchange/simulated-exchange.ts'
import {
  booksOf,
  fixedInstruments,
  fixedPrices,
  insertOrder,
  makeFillsDue,
  seedAccount,
  TestAccounts,
  testContext,
  tradingDatabase
} from '../support/trading.ts'
import { withoutWaits } from '../support/without-waits.ts'

const CREDENTIALS = { apiKey: 'key', apiSecret: 'secret', passphrase: 'passphrase' }
const FILL_LISTS = /myTrades|userTrades|fills|execution/

let database: Database
t.before(async () => {
  database = await tradingDatabase(t)
})

async function start(t: Test, name: ExchangeName) {
  const exchange = await SimulatedExchange.start({ exchange: name })
  const dispatcher = new Agent()
  t.teardown(async () => {
    await exchange.close()
    await dispatcher.close()
  })
  const registry = new ExchangeRegistry({ dispatcher, urls: exchange.urls, ...withoutWaits() })
  const owner = exchange.addAccount(CREDENTIALS)
  const account = await seedAccount(database, { exchange: name })
  const accounts = new TestAccounts([account], (_account, marketType) =>
    registry.client({ exchange: name, marketType, credentials: CREDENTIALS })
  )
  const job = updateOpenOrders({ accounts, database, prices: fixedPrices({}), instruments: fixedInstruments() })
  const place = async (order: NewOrder & { market: MarketType; quantity: string }, rowCreatedAt?: number) => {
    const placed = exchange.place(owner, order)
    await insertOrder(database, account, {
      ...placed,
      quantity: order.quantity,
      createdAt: rowCreatedAt ?? placed.createdAt
    })
    return placed
  }
  /** The requests of a run, and its result. */
  const run = async () => {
    const before = exchange.requests.length
    const result = await job(testContext(database).context)
    return { result, requests: exchange.requests.slice(before) }
  }
  return { exchange, place, run, books: () => booksOf(database, account) }
}

function daysAgo(days: number): number {
  return Date.now() - days * DAY
}

/** Asserts that the executions of an order are its fills, in their order. */
function assertFillsRecorded(t: Test, executions: Record<string, unknown>[], order: SimulatedOrder): void {
  t.strictSame(
    executions.map(({ exchange_trade_id, executed_at, fee }) => [exchange_trade_id, executed_at, Number(fee)]),
    order.fills.map(({ tradeId, at, fee }) => [tradeId, new Date(at), Number(fee)])
  )
}

t.test('OKX: a fill of four days ago and one of yesterday are both recorded, with their fees', async t => {
  const { exchange, place, run, books } = await start(t, 'OKX')
  const order = await place({ market: 'SPOT', quantity: '2', createdAt: daysAgo(5) })
  const part = { quantity: '1', price: '50000', fee: '0.001', feeAsset: 'BTC' }
  exchange.fill(order, { ...part, at: daysAgo(4) })
  exchange.fill(order, { ...part, at: daysAgo(1) })
  const { result, requests } = await run()
  t.hasStrict(result, { fills: 2, waiting: 0, fees_unknown: 0 })
  t.strictSame(
    requests.map(({ path }) => path).filter(path => FILL_LISTS.test(path)),
    ['/api/v5/trade/fills', '/api/v5/trade/fills-history']
  )
  const { orders, executions, positions } = await books()
  assertRows(t, orders, [{ status: 'filled', filled_quantity: '2', average_price: '50000' }])
  assertFillsRecorded(t, executions, order)
  assertRows(t, positions, [{ quantity: '1.998' }])
  t.equal(Number(positions[0]?.fees), 100)
})

t.test('OKX: a young order is read from the first list alone, and one of forty days from both', async t => {
  const { exchange, place, run, books } = await start(t, 'OKX')
  const young = await place({ market: 'SPOT', quantity: '1' })
  exchange.fill(young)
  const paths = async () => (await run()).requests.map(({ path }) => path).filter(path => FILL_LISTS.test(path))
  t.strictSame(await paths(), ['/api/v5/trade/fills'])
  const old = await place({ market: 'FUTURES', quantity: '2', createdAt: daysAgo(50) })
  exchange.fill(old, { quantity: '1.5', at: daysAgo(40) })
  t.strictSame(await paths(), ['/api/v5/trade/fills', '/api/v5/trade/fills-history'])
  exchange.fill(old)
  t.strictSame(await paths(), ['/api/v5/trade/fills'], 'the earlier fills were complete at the last check')
  const { orders, executions } = await books()
  assertRows(t, orders, [
    { status: 'filled', filled_quantity: '2' },
    { status: 'filled', filled_quantity: '1' }
  ])
  assertFillsRecorded(t, executions.slice(0, 2), old)
})

const WINDOWED = [
  { name: 'BINANCE', market: 'FUTURES' },
  { name: 'BYBIT', market: 'FUTURES' },
  { name: 'BYBIT', market: 'SPOT' }
] as const

for (const { name, market } of WINDOWED) {
  t.test(`${name} ${market}: an order filled nine days ago is found with its fees`, async t => {
    const { exchange, place, run, books } = await start(t, name)
    const order = await place({ market, quantity: '2', createdAt: daysAgo(9.5) })
    exchange.fill(order, { quantity: '0.5', price: '100', at: daysAgo(9.2) })
    exchange.fill(order, { quantity: '1.5', price: '104', at: daysAgo(9) })
    const { result, requests } = await run()
    t.hasStrict(result, { fills: 2, waiting: 0, unknown: 0, failed: 0, fees_unknown: 0 })
    const lists = requests.filter(({ path }) => FILL_LISTS.test(path))
    t.equal(lists.length, 2, 'two windows of seven days')
    for (const { query } of lists) {
      const lengthMs = Number(query.get('endTime')) - Number(query.get('startTime'))
      t.ok(lengthMs <= 7 * DAY, `a window of ${lengthMs} ms`)
    }
    const { orders, executions, positions } = await books()
    assertRows(t, orders, [{ status: 'filled', filled_quantity: '2', average_price: '103', misses: 0 }])
    assertFillsRecorded(t, executions, order)
    assertRows(t, positions, [{ quantity: '2', entry_price: '103' }])
    t.equal(Number(positions[0]?.fees), 0.103)
  })

  t.test(`${name} ${market}: fills of one order that are months from each other are all recorded`, async t => {
    const { exchange, place, run, books } = await start(t, name)
    const order = await place({ market, quantity: '3', createdAt: daysAgo(60) })
    for (const days of [59, 30, 0.1]) exchange.fill(order, { quantity: '0.5', at: daysAgo(days) })
    t.hasStrict((await run()).result, { fills: 3, waiting: 0, failed: 0 })
    exchange.fill(order, { quantity: '0.5' })
    const { result, requests } = await run()
    t.hasStrict(result, { fills: 1, waiting: 0 })
    t.equal(requests.filter(({ path }) => FILL_LISTS.test(path)).length, 1, 'only since the last check')
    assertRows(t, (await books()).orders, [{ status: 'partially_filled', filled_quantity: '2' }])
    assertFillsRecorded(t, (await books()).executions, order)
  })

  if (market === 'SPOT') continue
  t.test(`${name} ${market}: the retention of the exchange bounds the calls for a very old order`, async t => {
    const { exchange, place, run } = await start(t, name)
    const order = await place({ market, quantity: '3', createdAt: Date.parse('1990-01-01') })
    exchange.fill(order, { quantity: '1', listed: false })
    const { result, requests } = await run()
    t.hasStrict(result, { fills: 0, waiting: 1 })
    const windows = name === 'BINANCE' ? 27 : 105
    t.equal(requests.filter(({ path }) => FILL_LISTS.test(path)).length, windows)
    exchange.cancel(order)
    exchange.forget(order)
    const searched = async () => (await run()).requests.length
    const first = await searched()
    t.ok(first <= 110, `${first} calls to find an order that is gone`)
    const second = await searched()
    t.ok(second <= 4, `${second} calls at the next check`)
  })
}

t.test('BYBIT: an order whose row was inserted after its fill is found', async t => {
  const { exchange, place, run, books } = await start(t, 'BYBIT')
  const order = await place({ market: 'FUTURES', quantity: '1', createdAt: daysAgo(9.5) }, Date.now())
  exchange.fill(order, { at: daysAgo(9) })
  t.hasStrict((await run()).result, { fills: 1, failed: 0 })
  assertRows(t, (await books()).orders, [{ status: 'filled', misses: 0 }])
})

t.test('OKX: a take-profit that was split is the sum of its orders, with the fills of all', async t => {
  for (const market of ['FUTURES', 'SPOT'] as const) {
    const { exchange, place, run, books } = await start(t, 'OKX')
    const stop = { type: 'STOP_MARKET', stopPrice: '90', side: 'SELL', quantity: '6' } as const
    const order = await place({ market, ...stop, createdAt: daysAgo(6) })
    const first = exchange.trigger(order, { quantity: '1', remains: true })
    exchange.fill(first, { price: '90', at: daysAgo(4) })
    const second = exchange.trigger(order, { quantity: '2', remains: true })
    exchange.fill(second, { price: '89' })
    t.hasStrict((await run()).result, { fills: 2, waiting: 0, failed: 0 })
    assertRows(t, (await books()).orders, [{ status: 'partially_filled', filled_quantity: '3' }])

    const third = exchange.trigger(order, { quantity: '3' })
    exchange.fill(third, { price: '88', quantity: '1' })
    t.hasStrict((await run()).result, { fills: 1, waiting: 0 })
    assertRows(t, (await books()).orders, [{ status: 'partially_filled', filled_quantity: '4' }])
    exchange.fill(third, { price: '91' })
    t.hasStrict((await run()).result, { fills: 1, waiting: 0 })
    const { orders, executions, positions } = await books()
    assertRows(t, orders, [
      {
        exchange_order_id: order.exchangeOrderId,
        status: 'filled',
        filled_quantity: '6',
        average_price: '89.66666666666666666667'
      }
    ])
    t.strictSame(
      executions.map(({ exchange_trade_id }) => exchange_trade_id),
      [first, second, third].flatMap(({ fills }) => fills.map(({ tradeId }) => tradeId))
    )
    assertRows(t, positions, [{ quantity: '-6' }])
  }
})

const MANY = 5_100
for (const { name, market, calls } of [
  { name: 'BINANCE', market: 'SPOT', calls: 6 },
  { name: 'BINANCE', market: 'FUTURES', calls: 6 },
  { name: 'BYBIT', market: 'FUTURES', calls: 51 },
  { name: 'OKX', market: 'SPOT', calls: 52 }
] as const) {
  t.test(`${name} ${market}: 5,100 fills of one order are read in ${calls} calls`, async t => {
    const { exchange, place, run, books } = await start(t, name)
    const order = await place({ market, quantity: String(MANY), createdAt: Date.now() - HOUR })
    const since = Date.now() - HOUR
    for (let i = 0; i < MANY; i++) exchange.fill(order, { quantity: '1', price: '100', at: since + Math.floor(i / 3) })
    const startedAt = performance.now()
    const { result, requests } = await run()
    t.comment(`${Math.round(performance.now() - startedAt)} ms`)
    t.hasStrict(result, { fills: MANY, waiting: 0, failed: 0 })
    t.equal(requests.filter(({ path }) => FILL_LISTS.test(path)).length, calls)
    const { orders, executions, positions } = await books()
    assertRows(t, orders, [{ status: 'filled', filled_quantity: String(MANY), average_price: '100' }])
    t.equal(executions.length, MANY)
    assertRows(t, positions, [{ quantity: String(MANY), entry_price: '100' }])
    t.hasStrict((await run()).result, { accounts: 0 })
  })
}

const makeDue = () => makeFillsDue(database)

for (const { name, market } of [
  { name: 'OKX', market: 'SPOT' },
  { name: 'BINANCE', market: 'FUTURES' },
  { name: 'BYBIT', market: 'SPOT' },
  { name: 'UPBIT', market: 'SPOT' }
] as const) {
  t.test(
    `${name} ${market}: late fills replace the difference of an ended order, with their fees and times`,
    async t => {
      const { exchange, place, run, books } = await start(t, name)
      const first = await place({ market, quantity: '1', price: '80', createdAt: daysAgo(3) })
      exchange.fill(first, { price: '80', at: daysAgo(2.5) })
      const order = await place({ market, side: 'SELL', quantity: '4', createdAt: daysAgo(2) })
      const later = await place({ market, quantity: '5', createdAt: daysAgo(2) })
      const hidden = [
        exchange.fill(order, { quantity: '1', price: '100', at: daysAgo(1.9), listed: false }),
        exchange.fill(order, { quantity: '3', price: '90', at: daysAgo(1.1), listed: false })
      ]
      exchange.fill(later, { price: '70', at: daysAgo(1) })
      for (const waiting of [1, 1, 0]) t.hasStrict((await run()).result, { waiting, failed: 0 })
      const before = await books()
      t.equal(
        before.executions.filter(({ exchange_trade_id }) => String(exchange_trade_id).startsWith('cum:')).length,
        1
      )
      t.hasStrict((await run()).result, { accounts: 0 }, 'not due yet')

      await makeDue()
      t.hasStrict((await run()).result, { accounts: 1, changed: 1, fills: 0, failed: 0 }, 'the fills are still missing')
      t.strictSame(await books(), before)
      t.hasStrict((await run()).result, { accounts: 0 }, 'due again after a pause')

      for (const fill of hidden) fill.listed = true
      await makeDue()
      const { result, requests } = await run()
      t.hasStrict(result, { accounts: 1, changed: 1, fills: 2, failed: 0 })
      t.ok(requests.length <= 3, `${requests.length} calls: no list of open orders`)
      const { orders, executions, positions } = await books()
      t.strictSame(
        executions.map(({ exchange_trade_id }) => exchange_trade_id),
        [...first.fills, ...order.fills, ...later.fills].map(({ tradeId }) => tradeId)
      )
      t.strictSame(
        orders.map(({ status }) => status),
        ['filled', 'filled', 'filled']
      )
      // What the books would be if the fills had been listed at once.
      const other = await start(t, name)
      for (const one of [first, order, later]) {
        const copy = await other.place({ market, side: one.side, quantity: one.quantity, createdAt: one.createdAt })
        for (const { quantity, price, at, fee } of one.fills) other.exchange.fill(copy, { quantity, price, at, fee })
      }
      await other.run()
      const expected = await other.books()
      t.strictSame(positions, expected.positions)
      const amounts = ({ price, quantity, fee, realized_pnl, executed_at }: Record<string, unknown>) => {
        return { price, quantity, fee, realized_pnl, executed_at: String(executed_at) }
      }
      t.strictSame(executions.map(amounts), expected.executions.map(amounts))
      await makeDue()
      t.hasStrict((await run()).result, { accounts: 0 }, 'the order is not read any more')
    }
  )
}

t.test('OKX: the differences of an order that is still open are replaced, too', async t => {
  const { exchange, place, run, books } = await start(t, 'OKX')
  const order = await place({ market: 'FUTURES', quantity: '4' })
  const hidden = [exchange.fill(order, { quantity: '1', price: '100', listed: false })]
  for (const waiting of [1, 1, 0]) t.hasStrict((await run()).result, { waiting })
  hidden.push(exchange.fill(order, { quantity: '1', price: '104', listed: false }))
  t.hasStrict((await run()).result, { waiting: 0, fills: 1 }, 'a further difference')
  t.hasStrict((await run()).result, { changed: 0 })
  for (const fill of hidden) fill.listed = true
  await makeDue()
  t.hasStrict((await run()).result, { changed: 1, fills: 2 })
  exchange.fill(order, { price: '90' })
  t.hasStrict((await run()).result, { changed: 1, fills: 1 }, 'from now on its fills count')
  const { orders, executions } = await books()
  assertRows(t, orders, [{ status: 'filled', filled_quantity: '4', average_price: '96' }])
  assertFillsRecorded(t, executions, order)
})

t.test('an order whose fills never come is read a bounded number of times', async t => {
  const { exchange, place, run } = await start(t, 'BYBIT')
  const order = await place({ market: 'SPOT', quantity: '1' })
  exchange.fill(order, { listed: false })
  for (let i = 0; i < 3; i++) await run()
  const due = async () => {
    const [row] = await database.run(
      sql => sql<{ retries: number; minutes: number | null }[]>`
        select fill_retries as retries, round(extract(epoch from fills_due_at - last_checked_at) / 60)::int as minutes
        from orders where exchange_order_id = ${order.exchangeOrderId} and exchange_symbol = ${order.exchangeSymbol}
        order by order_id desc limit 1`
    )
    return [row?.retries, row?.minutes]
  }
  t.strictSame(await due(), [0, 1])
  const seen: unknown[] = []
  for (let i = 0; i < 30; i++) {
    await makeDue()
    t.hasStrict((await run()).result, { failed: 0, changed: 1 })
    seen.push((await due())[1])
  }
  t.strictSame(seen.slice(0, 12), [2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 1440, 1440])
  t.strictSame(await due(), [30, null])
  t.hasStrict((await run()).result, { accounts: 0 })
})
