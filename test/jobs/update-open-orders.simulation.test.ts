// Random orders, fills, ends, failures, crashes and repeats through the real job against a real database. Fills are listed
// late, so that differences are recorded and replaced. At the end the rows must equal those of an account on which the job
// ran only once, at the end, and the fills of the exchange. RUNS=500 runs more cases.
import fc from 'fast-check'
import t from 'tap'
import type { Database } from '../../src/database/database.ts'
import { Exact } from '../../src/domain/decimal.ts'
import { updateOpenOrders } from '../../src/jobs/update-open-orders.ts'
import { INTERRUPTIONS, interruptedTransactions, isInterruption } from '../support/interrupted-transactions.ts'
import { ScriptedExchange, type ScriptedOrder } from '../support/scripted-exchange.ts'
import {
  booksOf,
  fixedInstruments,
  fixedPrices,
  insertOrder,
  makeFillsDue,
  type SeededAccount,
  seedAccount,
  TestAccounts,
  testContext,
  tradingDatabase
} from '../support/trading.ts'

const RUNS = Number(process.env.RUNS ?? 25)
const SYMBOLS = ['BTCUSDT', 'ETHUSDT']
const PRICES = { BTCUSDT: '97.31', ETHUSDT: '102.000007', BNBUSDT: '600.5' }

let database: Database
t.before(async () => {
  database = await tradingDatabase(t)
})

/**
 * The faults of a run: one of its transactions is interrupted; `listless`, `orderless`, `fillless`: the calls for open
 * orders, an order, or fills fail.
 */
const FAULTS = ['well', 'well', ...INTERRUPTIONS, 'listless', 'orderless', 'fillless', 'fillless'] as const
type RunFault = (typeof FAULTS)[number]

const units = (max: number) => fc.integer({ min: 1, max })
const side = fc.constantFrom('BUY' as const, 'SELL' as const)
const step = fc.oneof(
  {
    weight: 3,
    arbitrary: fc.record({
      kind: fc.constant('place' as const),
      side,
      symbol: fc.constantFrom(...SYMBOLS, 'BTCUSDT', 'BTCUSDT'),
      venue: fc.constantFrom(
        { market: 'SPOT' as const, positionSide: 'BOTH' as const },
        { market: 'SPOT' as const, positionSide: 'BOTH' as const },
        { market: 'FUTURES' as const, positionSide: 'BOTH' as const },
        { market: 'FUTURES' as const, positionSide: 'LONG' as const },
        { market: 'FUTURES' as const, positionSide: 'SHORT' as const }
      ),
      quantity: units(5_000)
    })
  },
  {
    weight: 9,
    arbitrary: fc.record({
      kind: fc.constant('fill' as const),
      pick: fc.nat(),
      share: fc.constantFrom(1, 2, 3, 4, 5, 6),
      price: units(20_000_000),
      fee: fc.constantFrom(
        'quote' as const,
        'base' as const,
        'BNB' as const,
        'unknown' as const,
        'unreported' as const
      ),
      /** Many fills share a millisecond. */
      later: fc.constantFrom(0, 0, 0, 0, 1, 1_000),
      /** How many reads of the fills lack it: from three on, a difference is recorded instead. */
      late: fc.oneof({ weight: 2, arbitrary: fc.constant(0) }, { weight: 1, arbitrary: fc.integer({ min: 1, max: 9 }) })
    })
  },
  {
    weight: 1,
    arbitrary: fc.record({
      kind: fc.constant('end' as const),
      pick: fc.nat(),
      status: fc.constantFrom('canceled' as const, 'expired' as const, 'rejected' as const)
    })
  },
  {
    weight: 4,
    arbitrary: fc.record({
      kind: fc.constant('run' as const),
      runFault: fc.constantFrom(...FAULTS),
      pick: fc.nat(),
      statement: units(7),
      transaction: units(3)
    })
  }
)
type Step = typeof step extends fc.Arbitrary<infer T> ? T : never

class World {
  readonly exchange = new ScriptedExchange()
  readonly disturbed: SeededAccount
  readonly undisturbed: SeededAccount

  constructor(disturbed: SeededAccount, undisturbed: SeededAccount) {
    this.disturbed = disturbed
    this.undisturbed = undisturbed
  }

  async apply(step: Step): Promise<void> {
    if (step.kind === 'place') return await this.#place(step)
    const open = this.exchange.orders.filter(({ status }) => status === 'open' || status === 'partially_filled')
    const order = open.length === 0 ? undefined : open[step.pick % open.length]
    if (step.kind === 'run') await this.run(this.disturbed, step.runFault, order, step)
    else if (order === undefined) return
    else if (step.kind === 'end') this.exchange.end(order, step.status)
    else this.#fill(order, step)
  }

  /** @param at where a run is interrupted */
  async run(
    account: SeededAccount,
    runFault: RunFault,
    order?: ScriptedOrder,
    at = { transaction: 1, statement: 1 }
  ): Promise<void> {
    const { failures } = this.exchange
    if (runFault === 'listless') failures.set('openOrders', 'unavailable')
    if (runFault === 'orderless') failures.set(`order ${order?.exchangeOrderId}`, 'timeout')
    if (runFault === 'fillless') failures.set(`fills ${order?.exchangeOrderId}`, 'invalid_answer')
    const accounts = new TestAccounts([account], (_account, market) => this.exchange.client(market))
    // Orders with few fills take several transactions, too, but not on the undisturbed account.
    const portions = account === this.disturbed ? { fillsPerTransaction: 2 } : {}
    const [prices, instruments] = [fixedPrices(PRICES), fixedInstruments()]
    const job = updateOpenOrders({ accounts, database, prices, instruments, ...portions })
    const interruption = INTERRUPTIONS.find(kind => kind === runFault)
    const overrides =
      interruption === undefined ? {} : interruptedTransactions(database, interruption, at.statement, at.transaction)
    await makeFillsDue(database)
    try {
      await job(testContext(database, overrides).context)
    } catch (err) {
      if (interruption === undefined || !isInterruption(err)) throw err
    }
    failures.clear()
  }

  /** Runs until the exchange has listed all fills, and they are recorded. */
  async finish(account: SeededAccount): Promise<void> {
    const late = () => this.exchange.orders.some(({ late }) => late.size > 0)
    for (let runs = 0; late(); runs++) {
      check(runs < 100, 'every late fill is asked for until it is listed')
      await this.run(account, 'well')
    }
    await this.run(account, 'well')
  }

  async #place({ side, symbol, venue, quantity }: Step & { kind: 'place' }): Promise<void> {
    const order = { side, symbol, ...venue, quantity: new Exact(quantity).times('0.00720').toFixed() }
    const placed = this.exchange.place(order)
    for (const account of [this.disturbed, this.undisturbed]) {
      await insertOrder(database, account, { ...placed, quantity: order.quantity })
    }
  }

  #fill(order: ScriptedOrder, { share, price, fee, later, late }: Step & { kind: 'fill' }): void {
    const { exchange } = this
    exchange.now += later
    const left = new Exact(order.quantity ?? 0).minus(order.filledQuantity)
    // A share that does not give whole units fills the rest.
    const quantity = left.times(100_000).mod(share).eq(0) ? left.div(share) : left
    const paid = { quote: 'USDT', base: order.symbol.slice(0, -4), BNB: 'BNB', unknown: 'XYZ', unreported: null }[fee]
    exchange.fill(order, {
      quantity: quantity.toFixed(),
      price: new Exact(price).div(100_000).toFixed(),
      fee: paid === null ? null : quantity.times('0.001').toFixed(),
      feeAsset: paid,
      late
    })
  }
}

/** Asserts: position = Σ fills; realised + unrealised = cash flow + value; filled = Σ executions; no duplicates. */
async function assertSound(exchange: ScriptedExchange, account: SeededAccount): Promise<void> {
  const { orders, executions, positions } = await booksOf(database, account)
  const fills = exchange.orders.flatMap(({ fills, market }) => fills.map(fill => ({ ...fill, market })))
  const ids = executions.map(({ exchange_trade_id }) => String(exchange_trade_id))
  check(new Set(ids).size === ids.length, 'no trade is recorded twice')
  check(ids.length === fills.length, 'every fill is recorded')
  const inBooks = (one: { [name: string]: unknown }) => JSON.stringify(one)
  const booked = executions.map(({ exchange_trade_id: id, side, price, quantity, fee, fee_asset, executed_at: at }) =>
    inBooks({ id, side, price, quantity, fee, fee_asset, at })
  )
  const reported = fills.map(({ exchangeTradeId: id, side, price, quantity, fee, feeAsset, executedAt }) =>
    inBooks({
      ...{ id, side, price: plain(price), quantity: plain(quantity), fee: plain(fee ?? '0') },
      ...{ fee_asset: fee === null ? null : feeAsset, at: new Date(executedAt) }
    })
  )
  check(booked.toSorted().join() === reported.toSorted().join(), 'the executions are the fills of the exchange')
  for (const order of exchange.orders) {
    const row = orders.find(({ exchange_order_id }) => exchange_order_id === order.exchangeOrderId)
    check(new Exact(row?.filled_quantity).eq(order.filledQuantity), 'filled quantity')
    check(row?.status === order.status, 'status')
  }
  for (const position of positions) {
    const own = fills.filter(
      ({ market, symbol, positionSide }) =>
        market === position.market_type && symbol === position.symbol && positionSide === position.position_side
    )
    const base = String(position.symbol).slice(0, -4)
    const mark = new Exact('1234.567')
    let [quantity, cash, fees, tolerance] = [new Exact(0), new Exact(0), new Exact(0), new Exact(0)]
    for (const fill of own) {
      const signed = new Exact(fill.quantity).times(fill.side === 'BUY' ? 1 : -1)
      const inBase = fill.market === 'SPOT' && fill.feeAsset === base ? new Exact(fill.fee ?? 0) : new Exact(0)
      quantity = quantity.plus(signed).minus(inBase)
      // A fee in base units lowers the value instead of the cash flow, and counts as a fee.
      cash = cash.minus(signed.times(fill.price)).plus(inBase.times(fill.price))
      if (fill.feeAsset === 'USDT') fees = fees.plus(fill.fee ?? 0)
      if (fill.feeAsset === 'BNB') fees = fees.plus(new Exact(fill.fee ?? 0).times(PRICES.BNBUSDT))
      if (fill.feeAsset === base) fees = fees.plus(new Exact(fill.fee ?? 0).times(fill.price))
      tolerance = tolerance.plus(100)
    }
    check(quantity.eq(position.quantity), 'position is the sum of its fills')
    check(fees.eq(position.fees), 'fees are the sum of the fees')
    const unrealized = quantity.eq(0) ? new Exact(0) : mark.minus(position.entry_price).times(quantity)
    const off = unrealized.plus(position.realized_pnl).minus(cash).minus(mark.times(quantity)).abs()
    check(off.lte(tolerance.times('1e-20')), `realised + unrealised differs from cash flow + value by ${off.toFixed()}`)
    const sum = executions
      .filter(
        ({ market_type, symbol, position_side }) =>
          market_type === position.market_type && symbol === position.symbol && position_side === position.position_side
      )
      .reduce((total, { realized_pnl }) => total.plus(realized_pnl ?? 0), new Exact(0))
    check(sum.eq(position.realized_pnl), 'realised PnL is the sum over the executions')
  }
}

function plain(decimal: string): string {
  return new Exact(decimal).toFixed()
}

/** The number of differences that were replaced. Each has the prefix of a difference, and is recorded no more. */
async function replacedOf({ accountId }: SeededAccount): Promise<number> {
  const rows = await database.run(
    sql => sql<{ exchange_trade_id: string; is_recorded: boolean; is_due: boolean }[]>`
      select r.exchange_trade_id, e.execution_id is not null as is_recorded, o.fills_due_at is not null as is_due
      from replaced_executions r join orders o using (order_id) left join trade_executions e using (execution_id)
      where r.account_id = ${accountId}`
  )
  check(
    rows.every(({ exchange_trade_id }) => exchange_trade_id.startsWith('cum:')),
    'only differences are replaced'
  )
  check(!rows.some(({ is_recorded, is_due }) => is_recorded || is_due), 'replaced differences are recorded no more')
  return rows.length
}

function check(holds: boolean, what: string): void {
  if (!holds) throw new Error(`not true: ${what}`)
}

/** The rows without the count of misses, which depends on the number of runs. */
async function booksWithoutMisses(account: SeededAccount) {
  const { orders, ...rest } = await booksOf(database, account)
  const roundTrips = await database.run(
    sql => sql`
      select market_type, symbol, position_side, exchange_trade_id, trim_scale(round_trip_pnl)::text as pnl,
        round_trip_opened_at
      from trade_executions where account_id = ${account.accountId} and round_trip_pnl is not null
      order by market_type, symbol, position_side, exchange_trade_id`
  )
  return { ...rest, roundTrips: [...roundTrips], orders: orders.map(({ misses: _misses, ...order }) => order) }
}

t.test('after any disturbances, the final rows equal those of an undisturbed run', async t => {
  let executions = 0
  let replaced = 0
  let roundTrips = 0
  await fc.assert(
    fc.asyncProperty(fc.array(step, { minLength: 30, maxLength: 80, size: 'max' }), async steps => {
      const world = new World(await seedAccount(database), await seedAccount(database))
      for (const one of steps) await world.apply(one)
      await world.finish(world.disturbed)
      await world.run(world.undisturbed, 'well')
      await assertSound(world.exchange, world.disturbed)
      replaced += await replacedOf(world.disturbed)
      const [disturbed, undisturbed] = [
        await booksWithoutMisses(world.disturbed),
        await booksWithoutMisses(world.undisturbed)
      ]
      executions += disturbed.executions.length
      roundTrips += disturbed.roundTrips.length
      check(
        JSON.stringify(disturbed) === JSON.stringify(undisturbed),
        'the rows equal those of the undisturbed account'
      )
    }),
    { numRuns: RUNS }
  )
  t.ok(executions > RUNS, `${executions} executions in ${RUNS} runs`)
  t.ok(roundTrips > RUNS / 5, `${roundTrips} round trips ended in ${RUNS} runs`)
  t.ok(replaced > RUNS, `${replaced} differences were replaced in ${RUNS} runs`)
})

t.test('without fills, the recorded differences add up to the totals of the exchange at any time', async t => {
  const fillings = fc.array(fc.tuple(units(2_000), units(20_000_000), fc.boolean()), { minLength: 1, maxLength: 12 })
  let recorded = 0
  await fc.assert(
    fc.asyncProperty(fillings, side, async (parts, side) => {
      const world = new World(await seedAccount(database), await seedAccount(database))
      const { exchange, disturbed } = world
      exchange.reportedFills = 0
      const quantity = parts.reduce((sum, [units]) => sum.plus(new Exact(units).div(1_000)), new Exact(0)).toFixed()
      const order = exchange.place({ side, quantity })
      await insertOrder(database, disturbed, { ...order, quantity })
      for (const [units, price, asked] of parts) {
        const part = { quantity: new Exact(units).div(1_000).toFixed(), price: new Exact(price).div(100_000).toFixed() }
        exchange.fill(order, part)
        exchange.now += 1
        if (asked) for (let i = 0; i < 3; i++) await world.run(disturbed, 'well')
      }
      for (let i = 0; i < 3; i++) await world.run(disturbed, 'well')
      const { orders, executions, positions } = await booksOf(database, disturbed)
      recorded += executions.length
      check(orders[0]?.status === 'filled' && orders[0].filled_quantity === quantity, 'the order is filled')
      const cost = executions.reduce(
        (sum, { price, quantity }) => sum.plus(new Exact(price).times(quantity)),
        new Exact(0)
      )
      const off = cost.minus(new Exact(order.averagePrice ?? 0).times(quantity)).abs()
      // Each execution adds one rounding error of its price at 20 decimals, times its quantity.
      check(off.lte(new Exact(quantity).times(executions.length).times('1e-20')), `Σ price · quantity is off by ${off}`)
      check(new Exact(positions[0]?.quantity).abs().eq(quantity), 'the position is the sum of the fills')
    }),
    { numRuns: RUNS }
  )
  t.ok(recorded >= RUNS, `${recorded} differences`)
})
