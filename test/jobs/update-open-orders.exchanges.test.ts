import t, { type Test } from 'tap'
import type { Database } from '../../src/database/database.ts'
import { EXCHANGE_NAMES, type ExchangeName } from '../../src/domain/market.ts'
import { assertRows } from '../support/assert-rows.ts'
import { orderBench } from '../support/order-bench.ts'
import { changingRows, replacingRows } from '../support/simulated-exchange/edits.ts'
import type { SimulatedExchange } from '../support/simulated-exchange/simulated-exchange.ts'
import { type TestAccounts, tradingDatabase } from '../support/trading.ts'

const PATHS_OF_ONE = /order(?!s)|trade|fills|execution|algo|history/i

let database: Database
t.before(async () => {
  database = await tradingDatabase(t)
})

const start = (t: Test, name: ExchangeName) => orderBench(t, database, name)

for (const name of EXCHANGE_NAMES) {
  t.test(`${name}: orders, fills and positions equal those of the exchange`, async t => {
    const { exchange, place, run, books } = await start(t, name)
    for (const market of exchange.markets) {
      const [steps, canceled, quiet] = [
        await place({ market, quantity: '3' }),
        await place({ market, quantity: '2' }),
        await place({ market, quantity: '1' })
      ]
      t.hasStrict(await run(), { checked: 3, failed: 0, fills: 0 })

      exchange.fill(steps, { quantity: '1', price: '100.5' })
      exchange.fill(canceled, { quantity: '0.5', price: '102' })
      t.hasStrict(await run(), { changed: 2, fills: 2, failed: 0 })
      exchange.fill(steps, { quantity: '2', price: '92.25' })
      exchange.cancel(canceled)
      t.hasStrict(await run(), { changed: 2, fills: 1, failed: 0 })

      const { orders, executions, positions } = await books()
      const row = (id: string) => orders.find(({ exchange_order_id }) => exchange_order_id === id)
      t.hasStrict(row(steps.exchangeOrderId), { status: 'filled', filled_quantity: '3', average_price: '95' })
      t.hasStrict(row(canceled.exchangeOrderId), { status: 'canceled', filled_quantity: '0.5', average_price: '102' })
      t.hasStrict(row(quiet.exchangeOrderId), { status: 'open', filled_quantity: '0' })
      const own = executions.filter(({ market_type }) => market_type === market)
      t.strictSame(
        new Set(own.map(({ exchange_trade_id }) => exchange_trade_id)),
        new Set([...steps.fills, ...canceled.fills].map(({ tradeId }) => tradeId))
      )
      t.hasStrict(
        positions.find(({ market_type }) => market_type === market),
        { quantity: '3.5', entry_price: '96', realized_pnl: '0' }
      )

      exchange.forget(quiet)
      t.hasStrict(await run(), { checked: 1, changed: 1, failed: 0 })
      exchange.end(await place({ market, quantity: '1' }), 'canceled')
      await run()
      t.hasStrict(
        (await books()).orders.find(order => order.exchange_order_id === quiet.exchangeOrderId),
        {
          misses: 2,
          error_code: 'order_not_found'
        }
      )
      await database.run(sql => sql`update orders set status = 'canceled' where status <> 'filled'`)
    }
  })

  t.test(`${name}: failed calls change nothing`, async t => {
    const { exchange, owner, accounts, place, run, books } = await start(t, name)
    const market = 'SPOT'
    const order = await place({ market, quantity: '2' })
    await run()
    exchange.fill(order, { quantity: '2', price: '100' })
    const before = await books()
    for (const fault of [{ kind: 'status', status: 500 }, { kind: 'garbage' }, { kind: 'cut_midway' }] as const) {
      exchange.fault(fault, { times: 3 })
      t.hasStrict(await run(), { checked: 0, changed: 0, failed: 1 }, fault.kind)
      t.strictSame(await books(), before)
      exchange.clearFaults()
      // Closes the circuit before the next fault.
      await accounts.client(...(await firstClient(accounts))).then(client => client.serverTime().catch(() => undefined))
    }
    owner.state = 'revoked'
    t.hasStrict(await run(), { failed: 1, accounts_refused: 1 })
    t.strictSame(await books(), before)
    owner.state = 'ok'
    t.hasStrict(await run(), { fills: 1, failed: 0 })
  })
}

async function firstClient(accounts: TestAccounts) {
  const [account] = await accounts.active()
  if (account === undefined) throw new Error('no account')
  return [account, 'SPOT'] as const
}

for (const name of EXCHANGE_NAMES) {
  const withState = (exchange: SimulatedExchange, order: { exchangeOrderId: string }, state: unknown) => {
    const fields = exchange.fields('SPOT')
    return changingRows({ [fields.orderId]: order.exchangeOrderId }, { [fields.state]: state })
  }

  t.test(`${name}: a foreign order with an unknown state does not affect the others`, async t => {
    const { exchange, owner, place, run, books } = await start(t, name)
    const market = 'SPOT'
    const [filling, ending] = [await place({ market, quantity: '2' }), await place({ market, quantity: '2' })]
    const foreign = exchange.place(owner, { market, symbol: exchange.symbols[1] ?? '', quantity: '7.5' })
    exchange.fault({ kind: 'edited', edit: withState(exchange, foreign, 'UNKNOWN_STATE') })
    t.hasStrict(await run(), { checked: 2, changed: 2, failed: 0 })
    exchange.fill(filling, { quantity: '1', price: '100' })
    exchange.cancel(ending)
    t.hasStrict(await run(), { checked: 2, changed: 2, fills: 1, failed: 0 })
    exchange.forget(filling)
    for (let miss = 1; miss < 5; miss++) t.hasStrict(await run(), { unknown: 0, failed: 0 }, `miss ${miss}`)
    t.hasStrict(await run(), { unknown: 1, failed: 0 }, 'an order that is missing is not the unreadable one')
    assertRows(t, (await books()).orders, [
      { status: 'unknown', filled_quantity: '1' },
      { status: 'canceled', filled_quantity: '0' }
    ])
  })

  t.test(`${name}: an order with a fill that cannot be read waits, and the other orders are updated`, async t => {
    const { exchange, place, run, books } = await start(t, name)
    const market = 'SPOT'
    const [order, other] = [await place({ market, quantity: '3' }), await place({ market, quantity: '3' })]
    await run()
    exchange.fill(order, { quantity: '1', price: '100' })
    const bad = exchange.fill(order, { quantity: '1.5', price: '110' })
    exchange.fill(other, { quantity: '2', price: '120' })
    const { fill, fillQuantity } = exchange.fields('SPOT')
    for (const value of ['NaN', null, { of: '1.5' }]) {
      exchange.clearFaults()
      exchange.fault({ kind: 'edited', edit: changingRows({ [fill]: bad.tradeId }, { [fillQuantity]: value }) })
      t.hasStrict(await run(), { failed: 1 }, String(value))
    }
    t.strictSame(
      (await books()).executions.map(({ price, quantity }) => [price, quantity]),
      [['120', '2']],
      'no part of a sum that does not add up'
    )
    exchange.clearFaults()
    t.hasStrict(await run(), { fills: 2, failed: 0 })
    t.equal((await books()).executions.length, 3)
  })

  t.test(`${name}: an order whose own row cannot be read stays as it is and is not missing`, async t => {
    const { exchange, place, run, books } = await start(t, name)
    const market = 'SPOT'
    const [order, other] = [await place({ market, quantity: '2' }), await place({ market, quantity: '2' })]
    await run()
    const before = await books()
    for (const state of ['UNKNOWN_STATE', null, 5]) {
      exchange.clearFaults()
      exchange.fault({ kind: 'edited', edit: withState(exchange, order, state) })
      t.hasStrict(await run(), { checked: 1, changed: 0, failed: 1 }, String(state))
    }
    exchange.clearFaults()
    exchange.fault({
      kind: 'edited',
      edit: replacingRows({ [exchange.fields('SPOT').orderId]: other.exchangeOrderId }, null)
    })
    exchange.forget(order)
    for (let check = 1; check <= 6; check++) t.hasStrict(await run(), { failed: 2, unknown: 0 }, `check ${check}`)
    t.strictSame(await books(), before, 'a row that is no object may be any of the orders')
    exchange.clearFaults()
    t.hasStrict(await run(), { failed: 0, checked: 2, changed: 1 }, 'a later clean list is complete')
  })
}

for (const name of ['BINANCE', 'OKX'] as const) {
  t.test(`${name}: a conditional order keeps its original id`, async t => {
    const { exchange, place, run, books } = await start(t, name)
    const stop = await place({ market: 'FUTURES', quantity: '2', type: 'STOP_MARKET', stopPrice: '90', side: 'SELL' })
    t.hasStrict(await run(), { checked: 1, failed: 0 })
    exchange.fill(exchange.trigger(stop), { quantity: '2', price: '89' })
    t.hasStrict(await run(), { fills: 1, failed: 0 })
    const { orders, positions } = await books()
    assertRows(t, orders, [{ exchange_order_id: stop.exchangeOrderId, status: 'filled', filled_quantity: '2' }])
    assertRows(t, positions, [{ quantity: '-2', entry_price: '89' }])
  })
}

t.test('a run makes one call per market, and one more for each vanished and each filled order', async t => {
  const { exchange, place, run } = await start(t, 'UPBIT')
  const orders = []
  for (let i = 0; i < 30; i++) orders.push(await place({ market: 'SPOT', quantity: '2' }))
  const asked = async () => {
    const before = exchange.requests.length
    const result = await run()
    const paths = exchange.requests.slice(before).map(({ path }) => path)
    return { result, lists: paths.filter(path => !PATHS_OF_ONE.test(path)).length, paths: paths.length }
  }
  t.hasStrict(await asked(), { paths: 1 }, 'thirty orders, one call')
  for (const order of orders.slice(0, 5)) exchange.fill(order, { quantity: '1' })
  t.hasStrict(await asked(), { paths: 1 + 5, result: { fills: 5, calls: 6 } }, 'five were filled further: their fills')
  for (const order of orders.slice(5, 9)) exchange.cancel(order)
  t.hasStrict(await asked(), { paths: 1 + 4, result: { changed: 4, calls: 5 } }, 'four were cancelled: read by id')
  for (const order of orders.slice(9, 12)) exchange.fill(order)
  t.hasStrict(
    await asked(),
    { paths: 1 + 3 + 3, result: { fills: 3, calls: 7 } },
    'three vanished and were filled: both calls'
  )
})

for (const [market, weight] of [
  ['SPOT', 4],
  ['FUTURES', 1]
] as const) {
  t.test(`BINANCE: an account with one open order takes a weight of ${weight} on ${market}`, async t => {
    const { exchange, place, run } = await start(t, 'BINANCE')
    const order = await place({ market, quantity: '1' })
    const weightOf = async (work: () => Promise<unknown>) => {
      const before = exchange.usedWeight
      await work()
      return exchange.usedWeight - before
    }
    // The first call measures the clock of the exchange.
    await run()
    t.equal(await weightOf(run), weight)
    exchange.cancel(order)
    t.hasStrict(await run(), { checked: 1, changed: 1, failed: 0 })
    t.equal(await weightOf(run), 0, 'nothing is left to check')
  })
}
