// Answers whose parts contradict each other, or have times that cannot be true, over real HTTP.
import t from 'tap'
import { DAY, HOUR } from '../../src/async/durations.ts'
import type { Database } from '../../src/database/database.ts'
import { assertRows } from '../support/assert-rows.ts'
import { orderBench } from '../support/order-bench.ts'
import { changingRows } from '../support/simulated-exchange/edits.ts'
import { tradingDatabase } from '../support/trading.ts'

let database: Database
t.before(async () => {
  database = await tradingDatabase(t)
})

for (const exchange of ['BINANCE', 'OKX'] as const) {
  t.test(`${exchange}: a triggered order is not recorded by an answer about another order`, async t => {
    const { exchange: simulated, place, run, books } = await orderBench(t, database, exchange)
    const stop = await place({ market: 'FUTURES', quantity: '1', type: 'STOP_MARKET', stopPrice: '90' })
    const child = simulated.trigger(stop)
    simulated.fill(child, { quantity: '1', price: '100' })
    const idField = exchange === 'OKX' ? 'ordId' : 'orderId'
    const path = /\/v1\/order$|\/trade\/order$/
    simulated.fault(
      { kind: 'edited', edit: changingRows({ [idField]: child.exchangeOrderId }, { [idField]: '77' }) },
      { path }
    )
    t.hasStrict(await run(), { fills: 0, failed: 1 })
    t.strictSame((await books()).executions, [])
    simulated.clearFaults()
    t.hasStrict(await run(), { fills: 1, failed: 0 })
  })
}

for (const [name, change] of [
  ['of the other side', { side: 'SELL' }],
  ['of the other position side', { positionSide: 'LONG' }],
  ['of another symbol', { symbol: 'ETHUSDT', exchangeSymbol: 'ETH-USDT-SWAP' }]
] as const) {
  t.test(`OKX: a split order with a second part ${name} is flagged after three checks`, async t => {
    const { exchange: simulated, place, run, books } = await orderBench(t, database, 'OKX')
    const stop = await place({ market: 'FUTURES', quantity: '2', type: 'STOP_MARKET', stopPrice: '90' })
    const parts = [
      simulated.trigger(stop, { quantity: '1', remains: true }),
      simulated.trigger(stop, { quantity: '1' })
    ]
    const [first, second] = parts
    if (!first || !second) throw new Error('not split')
    const answered = { ...second, ...change }
    simulated.fill(first, { quantity: '1', price: '100' })
    simulated.fill(second, { quantity: '1', price: '100' })
    const row = {
      side: answered.side.toLowerCase(),
      posSide: answered.positionSide === 'LONG' ? 'long' : 'net',
      instId: answered.exchangeSymbol
    }
    simulated.fault(
      { kind: 'edited', edit: changingRows({ ordId: second.exchangeOrderId }, row) },
      { path: /\/trade\/order$/ }
    )
    for (const flagged of [0, 0, 1]) t.hasStrict(await run(), { flagged, fills: 0, failed: 0 })
    t.strictSame((await books()).executions, [])
  })
}

const FUTURE_TIMES = {
  BINANCE: ['id', { time: '4102444800000' }],
  BYBIT: ['execId', { execTime: String(Date.now() + 2 * DAY) }],
  OKX: ['tradeId', { fillTime: '4102444800000', ts: '4102444800000' }],
  UPBIT: ['uuid', { created_at: '2100-01-01T00:00:00+09:00' }],
  BITHUMB: ['uuid', { created_at: '9999-12-31T00:00:00+09:00' }]
} as const

for (const exchange of ['BINANCE', 'BYBIT', 'OKX', 'UPBIT', 'BITHUMB'] as const) {
  t.test(`${exchange}: a fill with a time in the future is not recorded`, async t => {
    const { exchange: simulated, place, run, books } = await orderBench(t, database, exchange)
    const order = await place({ market: 'SPOT', quantity: '1' })
    const { tradeId } = simulated.fill(order, { quantity: '1', price: '100' })
    const [idField, change] = FUTURE_TIMES[exchange]
    simulated.fault({ kind: 'edited', edit: changingRows({ [idField]: tradeId }, change) })
    for (const flagged of [0, 0, 1]) t.hasStrict(await run(), { fills: 0, flagged })
    t.strictSame((await books()).executions, [])
  })
}

for (const exchange of ['BINANCE', 'BYBIT', 'OKX'] as const) {
  for (const [name, createdAt] of [
    ['in an hour', () => Date.now() + HOUR],
    ['in the year 2100', () => 4_102_444_800_000]
  ] as const) {
    t.test(`${exchange}: an order that was created ${name} is recorded with its fills and fees`, async t => {
      const { exchange: simulated, place, run, books } = await orderBench(t, database, exchange)
      const order = await place({ market: 'FUTURES', quantity: '1' })
      order.createdAt = createdAt()
      const fill = simulated.fill(order, { quantity: '1', price: '100' })
      t.hasStrict(await run(), { fills: 1, waiting: 0 })
      assertRows(t, (await books()).executions, [{ exchange_trade_id: fill.tradeId, fee: '0.05' }])
    })
  }
}

for (const exchange of ['BINANCE', 'BYBIT', 'UPBIT'] as const) {
  t.test(`${exchange}: trades that were busted after a difference are replaced by the fills that remain`, async t => {
    const { exchange: simulated, place, run, books } = await orderBench(t, database, exchange)
    const order = await place({ market: 'SPOT', quantity: '5' })
    const kept = simulated.fill(order, { quantity: '1', price: '10', listed: false })
    simulated.fill(order, { quantity: '2', price: '16', listed: false })
    for (const fills of [0, 0, 1]) t.hasStrict(await run(), { fills })
    assertRows(t, (await books()).positions, [{ quantity: '3' }])
    kept.listed = true
    simulated.bust(order, 1)
    for (const fills of [0, 0, 1, 0]) t.hasStrict(await run(), { fills, failed: 0, flagged: 0 })
    const { orders, executions } = await books()
    assertRows(t, orders, [{ filled_quantity: '1', average_price: '10', error_code: null }])
    assertRows(t, executions, [{ exchange_trade_id: kept.tradeId, quantity: '1' }])
  })
}

t.test('OKX: the last fills of a contract that is not listed any more are recorded', async t => {
  const { exchange: simulated, place, run, books } = await orderBench(t, database, 'OKX')
  const order = await place({ market: 'FUTURES', quantity: '1' })
  await run()
  simulated.fill(order, { quantity: '1', price: '100' })
  simulated.fault(
    { kind: 'edited', edit: changingRows({ instId: order.exchangeSymbol }, { instId: 'NEW-USDT-SWAP', ctVal: '7' }) },
    { path: /instruments/ }
  )
  const now = performance.now.bind(performance)
  performance.now = () => now() + 2 * HOUR
  t.teardown(() => Object.assign(performance, { now }))
  t.hasStrict(await run(), { fills: 1, failed: 0 })
  assertRows(t, (await books()).executions, [{ quantity: '1' }])
})
