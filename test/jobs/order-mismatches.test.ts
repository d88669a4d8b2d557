// The answer about an order is compared with the order, over real HTTP.
import t from 'tap'
import type { Database } from '../../src/database/database.ts'
import { assertRows } from '../support/assert-rows.ts'
import { orderBench } from '../support/order-bench.ts'
import { tradingDatabase } from '../support/trading.ts'

let database: Database
t.before(async () => {
  database = await tradingDatabase(t)
})

/** Exchanges that find an order by its id alone. Binance finds only its conditional orders so. */
for (const exchange of ['BYBIT', 'OKX', 'UPBIT', 'BITHUMB'] as const) {
  t.test(`${exchange}: an answer about another symbol is flagged after three checks`, async t => {
    const { exchange: simulated, place, run, books } = await orderBench(t, database, exchange)
    const order = await place({ market: 'SPOT', quantity: '1' })
    const other = simulated.symbols[1] ?? ''
    Object.assign(order, { symbol: other, exchangeSymbol: simulated.exchangeSymbol(other, 'SPOT') })
    simulated.fill(order, { quantity: '1', price: '100' })
    for (const flagged of [0, 0, 1]) t.hasStrict(await run(), { flagged, fills: 0, failed: 0 })
    const { orders, positions } = await books()
    assertRows(t, orders, [{ error_code: 'symbol_differs', status: 'pending', filled_quantity: '0' }])
    t.strictSame(positions, [])
  })
}

for (const [exchange, market] of [
  ['BINANCE', 'SPOT'],
  ['BINANCE', 'FUTURES'],
  ['BYBIT', 'FUTURES'],
  ['OKX', 'FUTURES'],
  ['UPBIT', 'SPOT']
] as const) {
  t.test(`${exchange} ${market}: an answer about the other side is flagged after three checks`, async t => {
    const { exchange: simulated, place, run, books } = await orderBench(t, database, exchange)
    const order = await place({ market, quantity: '1' })
    order.side = 'SELL'
    simulated.fill(order, { quantity: '1', price: '100' })
    for (const flagged of [0, 0, 1]) t.hasStrict(await run(), { flagged, fills: 0, failed: 0 })
    const { orders, positions } = await books()
    assertRows(t, orders, [{ error_code: 'side_differs', status: 'pending', filled_quantity: '0' }])
    t.strictSame(positions, [])
    order.side = 'BUY'
    t.hasStrict(await run(), { fills: 1, flagged: 0 }, 'an answer that matches again is recorded')
    assertRows(t, (await books()).orders, [{ error_code: null, status: 'filled', filled_quantity: '1' }])
  })
}

for (const exchange of ['BINANCE', 'BYBIT', 'OKX'] as const) {
  t.test(`${exchange}: a LONG and a SHORT order whose answers are exchanged are not netted`, async t => {
    const { exchange: simulated, place, run, books } = await orderBench(t, database, exchange)
    const [long, short] = [
      await place({ market: 'FUTURES', quantity: '1', positionSide: 'LONG' }),
      await place({ market: 'FUTURES', quantity: '1', positionSide: 'SHORT', side: 'SELL' })
    ]
    long.positionSide = 'SHORT'
    short.positionSide = 'LONG'
    for (const order of [long, short]) simulated.fill(order, { quantity: '1', price: '100' })
    for (const flagged of [0, 0, 2]) t.hasStrict(await run(), { flagged, fills: 0, failed: 0 })
    const { orders, positions } = await books()
    assertRows(t, orders, [{ error_code: 'side_differs' }, { error_code: 'side_differs' }])
    t.strictSame(positions, [])
  })
}

for (const exchange of ['BINANCE', 'BYBIT', 'OKX', 'UPBIT'] as const) {
  t.test(`${exchange}: a busted trade is reversed after three checks if the fills prove it`, async t => {
    const { exchange: simulated, place, run, books } = await orderBench(t, database, exchange)
    const order = await place({ market: 'SPOT', quantity: '5' })
    simulated.fill(order, { quantity: '1', price: '10', fee: '0' })
    const busted = simulated.fill(order, { quantity: '2', price: '16', fee: '0' })
    t.hasStrict(await run(), { fills: 2 })
    assertRows(t, (await books()).positions, [{ quantity: '3', entry_price: '14' }])
    simulated.bust(order, 1)
    for (const fills of [0, 0, 1, 0]) t.hasStrict(await run(), { fills, failed: 0, flagged: 0 })
    const { orders, executions, positions } = await books()
    assertRows(t, orders, [{ filled_quantity: '1', average_price: '10', error_code: null }])
    assertRows(t, positions, [{ quantity: '1' }])
    const reversal = executions.find(({ exchange_trade_id }) => exchange_trade_id === `rev:${busted.tradeId}`)
    t.hasStrict(reversal, { side: 'SELL', quantity: '2', price: '16' })
  })

  t.test(`${exchange}: a filled quantity that decreases without proof is flagged after three checks`, async t => {
    const { exchange: simulated, place, run, books } = await orderBench(t, database, exchange)
    const order = await place({ market: 'SPOT', quantity: '5' })
    simulated.fill(order, { quantity: '3', price: '10', fee: '0' })
    t.hasStrict(await run(), { fills: 1 })
    Object.assign(order, { filledQuantity: '2', cost: '20' })
    for (const flagged of [0, 0, 1]) t.hasStrict(await run(), { flagged, fills: 0, failed: 0 })
    const { orders, positions } = await books()
    assertRows(t, orders, [{ error_code: 'filled_decreased', filled_quantity: '3' }])
    assertRows(t, positions, [{ quantity: '3' }])
  })

  t.test(`${exchange}: a decreased filled quantity that is another one at each check is flagged`, async t => {
    const { exchange: simulated, place, run, books } = await orderBench(t, database, exchange)
    const order = await place({ market: 'SPOT', quantity: '5' })
    simulated.fill(order, { quantity: '3', price: '10', fee: '0' })
    t.hasStrict(await run(), { fills: 1 })
    for (const [filledQuantity, flagged] of [
      ['2', 0],
      ['1', 0],
      ['2', 1],
      ['1.5', 1]
    ] as const) {
      Object.assign(order, { filledQuantity, cost: `${Number(filledQuantity) * 10}` })
      t.hasStrict(await run(), { flagged, fills: 0, failed: 0 }, filledQuantity)
    }
    assertRows(t, (await books()).orders, [{ error_code: 'filled_decreased', filled_quantity: '3' }])
    Object.assign(order, { filledQuantity: '3', cost: '30' })
    t.hasStrict(await run(), { flagged: 0, fills: 0 })
    assertRows(t, (await books()).orders, [{ error_code: null, filled_quantity: '3' }])
  })
}

for (const [exchange, market, first] of [
  ['BINANCE', 'SPOT', []],
  ['BINANCE', 'FUTURES', ['1']],
  ['BYBIT', 'SPOT', ['1']],
  ['BYBIT', 'FUTURES', []],
  ['OKX', 'SPOT', []],
  ['UPBIT', 'SPOT', []]
] as const) {
  const title = `${exchange} ${market}: of fills that exceed an ended order, after ${first.length} fills, only the filled quantity is recorded`
  t.test(title, async t => {
    const { exchange: simulated, place, run, books } = await orderBench(t, database, exchange)
    const order = await place({ market, quantity: '4' })
    for (const quantity of first) simulated.fill(order, { quantity, price: '10', fee: '0.1' })
    t.hasStrict(await run(), { fills: first.length, flagged: 0 })
    const rest = first.length === 0 ? ['1', '1', '2'] : ['1', '2']
    for (const quantity of rest) simulated.fill(order, { quantity, price: quantity === '2' ? '16' : '10', fee: '0.1' })
    const late = (filledQuantity: string, cost: string) =>
      Object.assign(order, { filledQuantity, cost, status: 'canceled' })
    // Upbit reports no average: it is that of the trades.
    const average = (ofOrder: string) => (exchange === 'UPBIT' ? '13' : ofOrder)
    late('2', '20')
    for (const [flagged, fills] of [
      [0, 0],
      [0, 0],
      [1, 1],
      [1, 0]
    ] as const) {
      t.hasStrict(await run(), { flagged, fills, failed: 0 })
      const { executions } = await books()
      t.equal(executions.length, first.length + (flagged === 0 ? 0 : 1))
    }
    const flagged = await books()
    const [flag] = flagged.orders
    t.hasStrict(flag, { error_code: 'fills_exceed', status: 'partially_filled', filled_quantity: '2' })
    assertRows(t, flagged.positions, [{ quantity: '2', entry_price: average('10') }])

    late('3', '36')
    t.hasStrict(await run(), { flagged: 1, fills: 1 }, 'the filled quantity increases, and is still exceeded')
    assertRows(t, (await books()).positions, [{ quantity: '3', entry_price: average('12') }])

    late('4', '52')
    t.hasStrict(await run(), { flagged: 0, fills: rest.length }, 'the fills replace the differences')
    const { orders, executions, positions } = await books()
    assertRows(t, orders, [{ error_code: null, status: 'canceled', filled_quantity: '4' }])
    t.strictSame(
      executions.map(({ exchange_trade_id }) => exchange_trade_id).sort(),
      order.fills.map(({ tradeId }) => tradeId).sort()
    )
    assertRows(t, positions, [{ quantity: '4', entry_price: '13', fees: '0.3' }])
    t.hasStrict(await run(), { checked: 0 }, 'the order has ended')
  })
}

for (const [exchange, market] of [
  ['BINANCE', 'FUTURES'],
  ['OKX', 'SPOT'],
  ['OKX', 'FUTURES']
] as const) {
  t.test(`${exchange} ${market}: a triggered order without its ordinary order is flagged`, async t => {
    const { exchange: simulated, place, run, books } = await orderBench(t, database, exchange)
    const stop = await place({ market, quantity: '2', type: 'STOP_MARKET', stopPrice: '90', side: 'SELL' })
    t.hasStrict(await run(), { checked: 1, flagged: 0 })
    simulated.loseChild(stop)
    for (const flagged of [0, 0, 1]) t.hasStrict(await run(), { flagged, failed: 0 })
    assertRows(t, (await books()).orders, [{ error_code: 'lost_child', status: 'open', filled_quantity: '0' }])
  })
}

t.test('BINANCE: spot orders of two symbols with one id each have their own state and fills', async t => {
  const { exchange, place, run, books } = await orderBench(t, database, 'BINANCE')
  const [one, other] = [
    await place({ market: 'SPOT', symbol: 'BTCUSDT', quantity: '1', exchangeOrderId: '7' }),
    await place({ market: 'SPOT', symbol: 'ETHUSDT', quantity: '5', exchangeOrderId: '7' })
  ]
  exchange.fill(other, { quantity: '2', price: '3' })
  t.hasStrict(await run(), { checked: 2, fills: 1, flagged: 0 }, 'both are open')
  exchange.fill(one, { quantity: '1', price: '100' })
  t.hasStrict(await run(), { checked: 2, fills: 1, flagged: 0 }, 'one has ended')
  exchange.fill(other, { quantity: '3', price: '3' })
  t.hasStrict(await run(), { checked: 1, fills: 1, flagged: 0 }, 'both have ended')
  const { orders, positions } = await books()
  t.strictSame(orders.map(({ status, filled_quantity }) => `${status} ${filled_quantity}`).sort(), [
    'filled 1',
    'filled 5'
  ])
  assertRows(t, positions, [
    { symbol: 'BTCUSDT', quantity: '1' },
    { symbol: 'ETHUSDT', quantity: '5' }
  ])
})
