// Orders with more fills than one transaction records.
import t, { type Test } from 'tap'
import type { Database } from '../../src/database/database.ts'
import { Exact } from '../../src/domain/decimal.ts'
import { updateOpenOrders } from '../../src/jobs/update-open-orders.ts'
import { type JobContext, LeaseLostError } from '../../src/scheduler/job.ts'
import { assertRows } from '../support/assert-rows.ts'
import { ScriptedExchange } from '../support/scripted-exchange.ts'
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

const LATE = Number.POSITIVE_INFINITY

let database: Database
t.before(async () => {
  database = await tradingDatabase(t)
})

/** An account with one order that has so many fills of 0.5, three in each millisecond, and one order after it. */
async function start(fills: number, { late = 0, accounts = 1, open = false } = {}) {
  const exchange = new ScriptedExchange()
  const quantity = new Exact(fills).times('0.5').toFixed()
  const order = exchange.place({ side: 'BUY', quantity })
  order.filledQuantity = quantity
  let cost = new Exact(0)
  for (let i = 0; i < fills; i++) {
    if (i % 3 === 0) exchange.now++
    const price = String(100 + (i % 17))
    cost = cost.plus(new Exact(price).times('0.5'))
    const { exchangeOrderId, symbol, exchangeSymbol, side, positionSide } = order
    const amounts = { price, quantity: '0.5', fee: '0.0005', feeAsset: 'BTC', realizedPnl: null }
    const exchangeTradeId = String(1 + i)
    order.fills.push({
      ...{ exchangeTradeId, exchangeOrderId, symbol, exchangeSymbol, side, positionSide },
      ...{ ...amounts, executedAt: exchange.now }
    })
    if (late > 0) order.late.set(exchangeTradeId, late)
  }
  order.averagePrice = cost.div(quantity).toFixed()
  exchange.end(order, open ? 'partially_filled' : 'filled')
  exchange.now += 1_000
  const sale = exchange.place({ side: 'SELL', quantity: '7' })
  exchange.fill(sale, { quantity: '7', price: '120', fee: '0.84', tradeId: 'sale' })

  const seeded = await Promise.all(Array.from({ length: accounts }, () => seedAccount(database)))
  for (const account of seeded) {
    for (const one of [order, sale]) await insertOrder(database, account, { ...one, quantity: one.quantity ?? '' })
  }
  const runOf = (account: (typeof seeded)[number]) => {
    const clients = new TestAccounts([account], (_account, market) => exchange.client(market))
    const prices = fixedPrices({})
    const job = updateOpenOrders({ accounts: clients, database, prices, instruments: fixedInstruments() })
    return (overrides: Partial<JobContext> = {}) => job(testContext(database, overrides).context)
  }
  return seeded.map(account => ({ order, quantity, run: runOf(account), books: () => booksOf(database, account) }))
}

type Books = Awaited<ReturnType<typeof booksOf>>

/** Asserts that the filled quantity of each order and the position are the sums of the executions. */
function assertComplete(t: Test, { orders, executions, positions }: Books, what: string): void {
  const sum = (side: string) =>
    executions.filter(row => row.side === side).reduce((total, { quantity }) => total.plus(quantity), new Exact(0))
  const filled = orders.reduce((total, { filled_quantity }) => total.plus(filled_quantity), new Exact(0))
  t.equal(filled.toFixed(), sum('BUY').plus(sum('SELL')).toFixed(), `${what}: filled`)
  const fees = executions
    .filter(({ fee_asset }) => fee_asset === 'BTC')
    .reduce((total, { fee }) => total.plus(fee), new Exact(0))
  t.equal(positions[0]?.quantity, sum('BUY').minus(sum('SELL')).minus(fees).toFixed(), `${what}: position`)
}

for (const { name, late, open } of [
  { name: 'fills that are listed at once', late: 0, open: false },
  { name: 'fills that replace a difference of an ended order', late: LATE, open: false },
  { name: 'fills that replace a difference of an open order', late: LATE, open: true }
]) {
  t.test(`5,000 ${name} are recorded in portions, each complete in itself`, async t => {
    const [whole, ...interrupted] = await start(5_000, { late, open, accounts: 3 })
    if (whole === undefined) throw new Error('no account')
    const { order } = whole
    if (late > 0) {
      for (let i = 0; i < 3; i++) for (const { run } of [whole, ...interrupted]) await run()
      order.late.clear()
      await makeFillsDue(database)
    }
    t.hasStrict(await whole.run(), { failed: 0, fills: 5_000 + (late > 0 ? 0 : 1), waiting: 0, fees_unknown: 0 })
    const expected = await whole.books()
    assertComplete(t, expected, 'at the end')
    t.equal(expected.executions.length, 5_001)
    assertRows(
      t,
      expected.orders.filter(({ exchange_order_id }) => exchange_order_id === order.exchangeOrderId),
      [{ status: order.status, filled_quantity: '2500', average_price: order.averagePrice }]
    )

    for (const [i, { run, books }] of interrupted.entries()) {
      const portions = i + 1
      let transactions = 0
      const transaction: JobContext['transaction'] = (work, options) => {
        if (transactions++ === portions) throw new LeaseLostError()
        return database.transaction(work, options)
      }
      await t.rejects(run({ transaction }), { code: 'LEASE_LOST' })
      const between = await books()
      const what = `after ${portions} portions`
      assertComplete(t, between, what)
      const isFill = ({ exchange_trade_id: id }: { exchange_trade_id?: unknown }) => /^\d+$/.test(String(id))
      const recorded = between.executions.filter(isFill)
      t.strictSame(
        recorded.map(({ exchange_trade_id }) => exchange_trade_id),
        order.fills.slice(0, portions * 2_000).map(({ exchangeTradeId }) => exchangeTradeId),
        what
      )
      const [row] = between.orders.filter(({ exchange_order_id }) => exchange_order_id === order.exchangeOrderId)
      t.equal(row?.status, late > 0 ? order.status : 'partially_filled', what)
      t.equal(row?.filled_quantity, late > 0 ? '2500' : String(portions * 1_000), what)
      if (late > 0) t.equal(between.executions.length, recorded.length + 2, `${what}: one difference for the others`)
      await makeFillsDue(database)
      t.hasStrict(await run(), { failed: 0, waiting: 0 }, what)
      t.strictSame(await books(), expected, what)
      t.hasStrict(await run(), { changed: 0, fills: 0 }, what)
    }
  })
}

t.test('12,000 fills of one order are recorded by one run', async t => {
  const [account] = await start(12_000)
  if (account === undefined) throw new Error('no account')
  let longest = 0
  const transaction: JobContext['transaction'] = async (work, options) => {
    const startedAt = performance.now()
    const result = await database.transaction(work, { deadlineMs: 8_000, ...options })
    longest = Math.max(longest, performance.now() - startedAt)
    return result
  }
  const startedAt = performance.now()
  t.hasStrict(await account.run({ transaction }), { failed: 0, fills: 12_001, waiting: 0 })
  t.comment(`${Math.round(performance.now() - startedAt)} ms, the longest transaction ${Math.round(longest)} ms`)
  const books = await account.books()
  t.equal(books.executions.length, 12_001)
  assertComplete(t, books, 'at the end')
})
