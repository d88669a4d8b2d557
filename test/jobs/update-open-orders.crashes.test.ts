// Runs that are interrupted at each statement of the transaction that replaces a difference by its fills.
import t from 'tap'
import { DAY, HOUR } from '../../src/async/durations.ts'
import type { Database } from '../../src/database/database.ts'
import type { MarketType } from '../../src/domain/market.ts'
import type { OrderSide } from '../../src/domain/order.ts'
import type { PositionSide } from '../../src/domain/position.ts'
import { calculateDailyPerformance } from '../../src/jobs/calculate-daily-performance.ts'
import { updateOpenOrders } from '../../src/jobs/update-open-orders.ts'
import type { JobContext } from '../../src/scheduler/job.ts'
import { assertRows } from '../support/assert-rows.ts'
import { type Interruption, interruptedTransactions, isInterruption } from '../support/interrupted-transactions.ts'
import { ScriptedExchange } from '../support/scripted-exchange.ts'
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

/** A fill: days before today, hour of the day in UTC, and whether the exchange lists it only later. */
interface ScriptFill {
  at: readonly [day: number, hour: number]
  quantity: string
  price: string
  fee: string
  feeAsset?: string
  isLate?: boolean
}

interface ScriptOrder {
  side: OrderSide
  quantity: string
  fills: readonly ScriptFill[]
  /** When its state changed last, if that is after its last fill. A difference is of this time. */
  updatedAt?: readonly [day: number, hour: number]
}

interface Script {
  name: string
  market: MarketType
  positionSide?: PositionSide
  orders: readonly ScriptOrder[]
  /** Executions that are recorded for differences. */
  differences: number
}

/** The second order crosses zero, and the other orders trade before, between and after its fills. */
const CROSSING: readonly ScriptOrder[] = [
  { side: 'BUY', quantity: '2', fills: [{ at: [5, 10], quantity: '2', price: '100', fee: '0.2' }] },
  {
    side: 'SELL',
    quantity: '5',
    fills: [
      { at: [5, 12], quantity: '1', price: '110', fee: '0.11', isLate: true },
      { at: [4, 12], quantity: '3', price: '90', fee: '0.001', feeAsset: 'BNB', isLate: true },
      { at: [3, 9], quantity: '1', price: '95', fee: '-0.01', isLate: true }
    ],
    updatedAt: [2, 12]
  },
  { side: 'BUY', quantity: '4', fills: [{ at: [4, 18], quantity: '4', price: '80', fee: '0.32' }] },
  { side: 'SELL', quantity: '0.5', fills: [{ at: [1, 3], quantity: '0.5', price: '120', fee: '0.06' }] }
]

const SCRIPTS: readonly Script[] = [
  { name: 'an ended order that crosses zero', market: 'FUTURES', orders: CROSSING, differences: 1 },
  {
    name: 'an ended order of which one fill was listed in time, with fees in the base asset',
    market: 'SPOT',
    orders: [
      {
        side: 'BUY',
        quantity: '10',
        fills: [{ at: [6, 1], quantity: '10', price: '33.3', fee: '0.007', feeAsset: 'BTC' }]
      },
      {
        side: 'BUY',
        quantity: '3',
        fills: [
          { at: [5, 1], quantity: '1', price: '40.01', fee: '0.0007', feeAsset: 'BTC' },
          { at: [4, 1], quantity: '2', price: '50.07', fee: '0.0003', feeAsset: 'BTC', isLate: true }
        ],
        updatedAt: [3, 2]
      },
      { side: 'SELL', quantity: '7', fills: [{ at: [4, 2], quantity: '7', price: '45', fee: '0.1' }] },
      { side: 'SELL', quantity: '5', fills: [{ at: [2, 2], quantity: '5', price: '47', fee: '0.1' }] }
    ],
    differences: 1
  },
  {
    name: 'an open order of a short position with two differences',
    market: 'FUTURES',
    positionSide: 'SHORT',
    orders: [
      {
        side: 'SELL',
        quantity: '9',
        fills: [
          { at: [5, 5], quantity: '1', price: '100', fee: '0.05', isLate: true },
          { at: [4, 5], quantity: '1', price: '107', fee: '0.05', isLate: true },
          { at: [2, 5], quantity: '1', price: '113', fee: '0.05', isLate: true }
        ]
      },
      { side: 'BUY', quantity: '1', fills: [{ at: [4, 4], quantity: '1', price: '90', fee: '0.01' }] },
      { side: 'BUY', quantity: '1.5', fills: [{ at: [2, 6], quantity: '1.5', price: '99', fee: '0.01' }] }
    ],
    differences: 2
  }
]

let database: Database
t.before(async () => {
  database = await tradingDatabase(t)
  // From now on the summaries of earlier days are computed, too, when executions of them are recorded.
  await calculate()
})

function timeOf([day, hour]: readonly [day: number, hour: number]): number {
  return (Math.floor(Date.now() / DAY) - day) * DAY + hour * HOUR
}

/** Accounts with the same orders at the same exchange. */
class Stage {
  readonly exchange = new ScriptedExchange()
  readonly accounts: SeededAccount[] = []
  readonly #script: Script

  constructor(script: Script) {
    this.#script = script
  }

  /** Adds accounts, and as many differences to their books as the script has. */
  async start(accounts: number): Promise<void> {
    const { market, positionSide = 'BOTH', orders, differences } = this.#script
    for (let i = 0; i < accounts; i++) this.accounts.push(await seedAccount(database))
    await database.run(sql => sql`update accounts set created_at = now() - interval '30 days'`)
    const placed = orders.map(({ side, quantity }) => this.exchange.place({ market, positionSide, side, quantity }))
    for (const account of this.accounts) {
      for (const order of placed) {
        await insertOrder(database, account, { ...order, market, quantity: order.quantity ?? '' })
      }
    }
    const fills = orders.flatMap((order, i) => order.fills.map(fill => ({ ...fill, order: placed[i] })))
    // A part of the late fills happens after the first difference was recorded.
    const late = fills.filter(({ isLate }) => isLate)
    const later = differences > 1 ? late.slice(-1) : []
    for (const portion of [fills.filter(fill => !later.includes(fill)), later]) {
      for (const { order, at, isLate, ...fill } of portion) {
        this.exchange.now = timeOf(at)
        if (order !== undefined) this.exchange.fill(order, { ...fill, late: isLate ? Number.POSITIVE_INFINITY : 0 })
      }
      for (const [i, { updatedAt }] of orders.entries()) {
        const order = placed[i]
        if (updatedAt !== undefined && order !== undefined) order.updatedAt = timeOf(updatedAt)
      }
      // The last account has its fills at once.
      for (let check = 0; check < 3; check++) for (const account of this.accounts.slice(0, -1)) await this.run(account)
    }
  }

  /** From now on the exchange lists all fills, and it is time to read them. */
  async listFills(): Promise<void> {
    for (const { late } of this.exchange.orders) late.clear()
    await makeFillsDue(database)
  }

  run(account: SeededAccount, overrides: Partial<JobContext> = {}) {
    const accounts = new TestAccounts([account], (_account, market) => this.exchange.client(market))
    const prices = fixedPrices({ BNBUSDT: '600.5' })
    const job = updateOpenOrders({ accounts, database, prices, instruments: fixedInstruments() })
    return job(testContext(database, overrides).context)
  }
}

async function calculate(): Promise<void> {
  const job = calculateDailyPerformance({ timeZone: 'UTC' })
  await job(testContext(database).context)
}

/** The values of the days of an account and its strategy, without the times at which they were computed. */
async function daysOf({ accountId, strategyAccountId }: SeededAccount) {
  return await database.run(async sql => {
    const performance = await sql`
      select date::text, currency, daily_pnl, cumulative_pnl, daily_return, cumulative_return, executions, trades, wins, win_rate,
        max_drawdown, volatility, sharpe, sortino, fees, fees_unknown, executions_apart
      from strategy_performance join strategy_accounts using (strategy_id)
      where strategy_account_id = ${strategyAccountId} order by date, currency`
    const summaries = await sql`
      select date::text, currency, start_balance, end_balance, realized_pnl, fees, fees_unknown, executions, trades, wins, losses,
        win_rate, volume, max_drawdown, is_final
      from daily_account_summaries where account_id = ${accountId} order by date, currency`
    return { performance: performance.map(trimmed), summaries: summaries.map(trimmed) }
  })
}

/** Without the zeros at the end of decimals: a sum has those of its terms. */
function trimmed(row: Record<string, unknown>): Record<string, unknown> {
  const trim = (value: unknown) =>
    typeof value === 'string' && /^-?\d+\.\d+$/.test(value) ? value.replace(/\.?0+$/, '') : value
  return Object.fromEntries(Object.entries(row).map(([name, value]) => [name, trim(value)]))
}

/** The trade ids of the replaced executions of an account. */
async function replacedOf({ accountId }: SeededAccount): Promise<string[]> {
  const rows = await database.run(
    sql => sql<{ id: string }[]>`
      select exchange_trade_id as id from replaced_executions where account_id = ${accountId} order by execution_id`
  )
  return rows.map(({ id }) => id)
}

/** The statements of the transaction that replaces the differences, the commit included. */
async function statementsOf(script: Script): Promise<number> {
  const probe = new Stage(script)
  await probe.start(2)
  await probe.listFills()
  const { transaction, statements } = interruptedTransactions(database, 'torn', Number.POSITIVE_INFINITY)
  const [account] = probe.accounts
  if (account !== undefined) await probe.run(account, { transaction })
  return statements()
}

for (const script of SCRIPTS) {
  t.test(`a replacement that is interrupted anywhere loses and duplicates nothing: ${script.name}`, async t => {
    const statements = await statementsOf(script)
    t.equal(statements, 8, 'order, executions, new position, position, timeline, changes, round trips, commit')
    const cases: { kind: Interruption; before: number }[] = []
    for (let before = 1; before <= statements; before++) {
      cases.push({ kind: 'torn', before }, { kind: 'severed', before })
    }
    cases.push({ kind: 'lease_lost', before: 1 }, { kind: 'unacknowledged', before: Number.POSITIVE_INFINITY })
    const stage = new Stage(script)
    await stage.start(cases.length + 1)
    const atOnce = stage.accounts.at(-1)
    if (atOnce === undefined) throw new Error('no account')
    await calculate()
    const daysBefore = await daysOf(stage.accounts[0] ?? atOnce)
    await stage.listFills()
    await stage.run(atOnce)
    const expected = await booksOf(database, atOnce)

    for (const [i, { kind, before }] of cases.entries()) {
      const account = stage.accounts[i]
      if (account === undefined) throw new Error('no account')
      const what = `${kind} before statement ${before}`
      const start = await booksOf(database, account)
      t.equal(start.executions.filter(isDifferenceRow).length, script.differences, `${what}: starts with differences`)
      const { transaction, signal } = interruptedTransactions(database, kind, before)
      const end = await stage.run(account, { transaction, signal }).then(
        () => 'finished',
        (err: unknown) => (isInterruption(err) ? 'interrupted' : String(err))
      )
      t.equal(end, 'interrupted', what)
      const isCommitted = kind === 'unacknowledged'
      t.strictSame(await booksOf(database, account), isCommitted ? expected : start, `${what}: all or nothing`)
      t.equal((await replacedOf(account)).length, isCommitted ? script.differences : 0, what)
      await stage.run(account)
      await stage.run(account)
      t.strictSame(await booksOf(database, account), expected, `${what}: the books of fills that were booked at once`)
      t.equal((await replacedOf(account)).length, script.differences, `${what}: each difference is kept once`)
    }

    await calculate()
    const days = await daysOf(atOnce)
    t.strictNotSame(days.performance, daysBefore.performance, 'the performance has changed')
    t.strictNotSame(days.summaries, daysBefore.summaries, 'the summaries have changed')
    for (const [i, { kind, before }] of cases.entries()) {
      const account = stage.accounts[i]
      if (account !== undefined) t.strictSame(await daysOf(account), days, `${kind} before statement ${before}: days`)
    }
  })
}

function isDifferenceRow({ exchange_trade_id: id }: Record<string, unknown>): boolean {
  return String(id).startsWith('cum:')
}

t.test('what later executions realise is computed again where a replaced execution crosses zero', async t => {
  const stage = new Stage({ name: '', market: 'FUTURES', orders: CROSSING, differences: 1 })
  await stage.start(2)
  const [account] = stage.accounts
  if (account === undefined) throw new Error('no account')
  const realized = async () =>
    (await booksOf(database, account)).executions.map(({ side, price, realized_pnl }) => [side, price, realized_pnl])
  // 2 at 100 and 4 at 80 are 6 at 86 2/3. Of these, 5 are sold at the average of 95, before the last sale.
  t.strictSame(await realized(), [
    ['BUY', '100', null],
    ['BUY', '80', null],
    ['SELL', '95', '41.66666666666666666665'],
    ['SELL', '120', '16.666666666666666666665']
  ])
  await stage.listFills()
  await stage.run(account)
  t.strictSame(await realized(), [
    ['BUY', '100', null],
    ['SELL', '110', '10'],
    ['SELL', '90', '-10'],
    ['BUY', '80', '20'],
    ['SELL', '95', '15'],
    ['SELL', '120', '20']
  ])
  const { positions, orders } = await booksOf(database, account)
  // 0.2 + 0.11 + 0.001 · 600.5 − 0.01 + 0.32 + 0.06
  assertRows(t, positions, [{ quantity: '0.5', entry_price: '80', realized_pnl: '55', fees: '1.2805' }])
  t.equal(orders.find(({ filled_quantity }) => filled_quantity === '5')?.average_price, '95')
})

t.test('two runners that replace the same difference at the same time replace it once', async t => {
  for (const script of SCRIPTS) {
    const stage = new Stage(script)
    await stage.start(2)
    const [account, atOnce] = stage.accounts
    if (account === undefined || atOnce === undefined) throw new Error('no account')
    await stage.listFills()
    await stage.run(atOnce)
    // The transaction of the first runner begins only when the second one has replaced the difference.
    let others = 0
    const transaction: JobContext['transaction'] = async (work, options) => {
      if (others++ === 0) await stage.run(account)
      return await database.transaction(work, options)
    }
    t.hasStrict(await stage.run(account, { transaction }), { fills: 0, failed: 0 }, script.name)
    t.strictSame(await booksOf(database, account), await booksOf(database, atOnce), script.name)
    t.equal((await replacedOf(account)).length, script.differences, script.name)
  }
})
