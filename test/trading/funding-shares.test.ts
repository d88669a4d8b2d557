import fc from 'fast-check'
import t from 'tap'
import type { TransactionSql } from '../../src/database/client.ts'
import type { Database } from '../../src/database/database.ts'
import { Exact } from '../../src/domain/decimal.ts'
import { pairOf } from '../../src/domain/pair.ts'
import { calculateDailyPerformance } from '../../src/jobs/calculate-daily-performance.ts'
import { assignFunding } from '../../src/trading/funding-shares.ts'
import { recordLedgerEntries } from '../../src/trading/ledger-entries.ts'
import { writeChanges } from '../../src/trading/order-writes.ts'
import { bookEntries, type Entry } from '../../src/trading/position-ledger.ts'
import { assertRows } from '../support/assert-rows.ts'
import { insertOrder, type SeededAccount, seedAccount, testContext, tradingDatabase } from '../support/trading.ts'

const AT = Date.parse('2026-11-24T00:00:00Z')
const RUNS = Number(process.env.RUNS ?? 40)
const never = new AbortController().signal

let database: Database
t.before(async () => {
  database = await tradingDatabase(t)
})

interface Holder {
  /** Null: the account itself. */
  strategyAccountId: string | null
  orderId: string
}

/** An account with some strategies, each with an order, and an order of no strategy. */
async function setUp(strategies: number) {
  const account = await seedAccount(database, { marketType: 'FUTURES' })
  await database.run(sql => sql`update accounts set created_at = '2026-01-01' where account_id = ${account.accountId}`)
  const ids = [account.strategyAccountId]
  for (let i = 1; i < strategies; i++) {
    const [row] = await database.run(
      sql => sql<{ id: string }[]>`
        with strategy as (
          insert into strategies (user_id, name, market_type) values (${account.userId}, ${`s${i}`}, 'FUTURES') returning strategy_id
        )
        insert into strategy_accounts (strategy_id, account_id, allocated_capital, capital_currency)
        select strategy_id, ${account.accountId}, 1000, 'USDT' from strategy returning strategy_account_id as id`
    )
    ids.push(row?.id ?? '')
  }
  const holders: Holder[] = []
  for (const [i, strategyAccountId] of [...ids, null].entries()) {
    const order = { exchangeOrderId: `${i}`, symbol: 'BTCUSDT', exchangeSymbol: 'BTC-USDT-SWAP', side: 'BUY' } as const
    const orderId = await insertOrder(database, account, { ...order, quantity: '9', market: 'FUTURES' })
    if (strategyAccountId !== account.strategyAccountId) {
      await database.run(
        sql => sql`
          update orders set strategy_account_id = ${strategyAccountId}, origin = ${strategyAccountId === null ? 'external' : 'own'}
          where order_id = ${orderId}`
      )
    }
    holders.push({ strategyAccountId, orderId })
  }
  return { account, holders }
}

interface Fill {
  holder: number
  side: 'BUY' | 'SELL'
  positionSide: 'BOTH' | 'LONG' | 'SHORT'
  quantity: string
  price: string
  second: number
}

function entryOf(account: SeededAccount, holder: Holder, fill: Omit<Fill, 'holder'>, id: number): Entry {
  const { side, positionSide, quantity, price, second } = fill
  return {
    ...{
      executionId: null,
      orderId: holder.orderId,
      strategyAccountId: holder.strategyAccountId,
      pair: pairOf('BTC', 'USDT')
    },
    ...{ accountId: account.accountId, marketType: 'FUTURES', symbol: 'BTCUSDT', positionSide, side, price, quantity },
    ...{
      fee: '0',
      feeAsset: 'USDT',
      feeValue: '0',
      exchangeTradeId: String(id),
      executedAt: new Date(AT + second * 1_000)
    }
  }
}

const book = (entries: readonly Entry[]) =>
  database.transaction(async tx => writeChanges(tx, [], await bookEntries(tx, entries)))

const fund = (
  account: SeededAccount,
  id: string,
  second: number,
  amount: string,
  { asset = 'USDT', symbol = 'BTC-USDT-SWAP', kind = 'funding' as 'funding' | 'interest' } = {}
) =>
  database.transaction(tx =>
    recordLedgerEntries(tx, { accountId: account.accountId, wallet: 'FUTURES' }, [
      { exchangeEntryId: id, asset, amount, kind, exchangeKind: 'x', exchangeSymbol: symbol, at: AT + second * 1_000 }
    ])
  )

const assign = () => assignFunding(work => database.transaction(work), never)

/** The parts that are not zero, as `entry holder side amount`. */
async function sharesOf(account: SeededAccount, holders: readonly Holder[]): Promise<string[]> {
  const rows = await database.run(
    sql => sql<{ id: string; strategy_account_id: string | null; side: string | null; amount: string }[]>`
      select exchange_entry_id as id, s.strategy_account_id, s.position_side as side, trim_scale(s.amount)::text as amount
      from funding_shares s join ledger_entries using (entry_id)
      where s.account_id = ${account.accountId} and s.amount <> 0`
  )
  return rows
    .map(({ id, strategy_account_id, side, amount }) => {
      const holder = holders.findIndex(one => one.strategyAccountId === strategy_account_id)
      return `${id} ${holder} ${side} ${amount}`
    })
    .sort()
}

/** The sums of the positions, as `holder side funding`. */
async function fundingOf(account: SeededAccount, holders: readonly Holder[]): Promise<string[]> {
  const rows = await database.run(
    sql => sql<{ strategy_account_id: string | null; side: string; funding: string }[]>`
      select strategy_account_id, position_side as side, trim_scale(funding)::text as funding
      from strategy_positions where holder_account_id = ${account.accountId}`
  )
  return rows
    .map(({ strategy_account_id, side, funding }) => {
      const holder = holders.findIndex(one => one.strategyAccountId === strategy_account_id)
      return `${holder} ${side} ${funding}`
    })
    .sort()
}

const fill = (holder: number, side: Fill['side'], quantity: string, second: number): Fill => ({
  ...{ holder, side, quantity, second, price: '100', positionSide: 'BOTH' }
})

t.test('funding is divided by quantity among those that held the position at the moment', async t => {
  const { account, holders } = await setUp(3)
  const own = (fills: readonly Fill[]) =>
    book(
      fills.map((one, id) => entryOf(account, holders[one.holder] ?? { strategyAccountId: null, orderId: '' }, one, id))
    )
  await own([
    fill(0, 'BUY', '1', 0),
    fill(1, 'BUY', '2', 0),
    fill(2, 'BUY', '5', 0),
    fill(2, 'SELL', '5', 50),
    // At the time of the second entry: what was held before it counts.
    fill(1, 'SELL', '1', 100)
  ])
  await fund(account, 'a', 10, '-8')
  await fund(account, 'b', 100, '-1')
  await fund(account, 'c', 101, '0.5')
  t.equal(await assign(), 7)
  t.strictSame(await sharesOf(account, holders), [
    ...['a 0 BOTH -1', 'a 1 BOTH -2', 'a 2 BOTH -5'],
    // Rounded at 20 decimals: the largest position has the rest.
    ...['b 0 BOTH -0.33333333333333333333', 'b 1 BOTH -0.66666666666666666667'],
    ...['c 0 BOTH 0.25', 'c 1 BOTH 0.25']
  ])
  t.strictSame(await fundingOf(account, holders), [
    '0 BOTH -1.08333333333333333333',
    '1 BOTH -2.41666666666666666667',
    '2 BOTH -5'
  ])
  t.equal(await assign(), 0, 'a second run changes nothing')
})

t.test('what no strategy held belongs to the account itself, as does funding in another asset', async t => {
  const { account, holders } = await setUp(1)
  const [strategy = { strategyAccountId: null, orderId: '' }, none = strategy] = holders
  await book([
    entryOf(account, strategy, fill(0, 'BUY', '1', 0), 0),
    entryOf(account, none, fill(1, 'BUY', '3', 60), 1)
  ])
  await fund(account, 'before', -1, '-1')
  await fund(account, 'asset', 30, '-1', { asset: 'BNB' })
  await fund(account, 'symbol', 30, '-1', { symbol: 'ETH-USDT-SWAP' })
  await fund(account, 'shared', 90, '-4')
  await assign()
  t.strictSame(await sharesOf(account, holders), [
    'asset 1 null -1',
    'before 1 null -1',
    'shared 0 BOTH -1',
    'shared 1 BOTH -3',
    'symbol 1 null -1'
  ])
})

t.test('of opposite positions each has what it pays or receives on its own', async t => {
  const { account, holders } = await setUp(2)
  const [long = { strategyAccountId: null, orderId: '' }, short = long] = holders
  await book([entryOf(account, long, fill(0, 'BUY', '3', 0), 0), entryOf(account, short, fill(1, 'SELL', '1', 0), 1)])
  await fund(account, 'net', 10, '-2')
  await book([entryOf(account, short, fill(1, 'SELL', '2', 20), 2)])
  await fund(account, 'flat', 30, '-1')
  await assign()
  t.strictSame(await sharesOf(account, holders), [
    'flat 0 BOTH -0.5',
    'flat 1 BOTH -0.5',
    'net 0 BOTH -3',
    'net 1 BOTH 1'
  ])
})

t.test('a late execution moves the parts, and the days of both strategies are computed again', async t => {
  const { account, holders } = await setUp(2)
  const [first = { strategyAccountId: null, orderId: '' }, second = first] = holders
  await book([
    entryOf(account, first, fill(0, 'BUY', '1', 0), 0),
    entryOf(account, first, fill(0, 'SELL', '1', 100), 1)
  ])
  await fund(account, 'a', 50, '-2')
  await assign()
  t.strictSame(await sharesOf(account, holders), ['a 0 BOTH -2'])
  const calculate = async () => {
    await calculateDailyPerformance({ timeZone: 'UTC' })(testContext(database).context)
    return await database.run(
      sql => sql`
        select strategy_account_id, trim_scale(daily_pnl)::text as pnl, trim_scale(p.funding)::text as funding, trades, wins
        from strategy_performance p join strategy_accounts using (strategy_id)
        where account_id = ${account.accountId} and date = '2026-11-24' order by 1`
    )
  }
  assertRows(t, await calculate(), [{ pnl: '-2', funding: '-2', trades: 1, wins: 0 }])
  await book([entryOf(account, second, fill(1, 'BUY', '3', 10), 2)])
  assertRows(t, await calculate(), [
    { pnl: '-0.5', funding: '-0.5', trades: 1, wins: 0 },
    { pnl: '-1.5', funding: '-1.5', trades: 0, wins: 0 }
  ])
  const [summary] = await database.run(
    sql => sql`
      select trim_scale(funding)::text as funding, trades, losses from daily_account_summaries
      where account_id = ${account.accountId} and date = '2026-11-24'`
  )
  t.strictSame({ ...summary }, { funding: '-2', trades: 1, losses: 1 })
})

t.test('funding and interest that become known late change the day, and the result of a round trip', async t => {
  const { account, holders } = await setUp(1)
  const [strategy = { strategyAccountId: null, orderId: '' }] = holders
  await book([
    entryOf(account, strategy, fill(0, 'BUY', '1', 0), 0),
    entryOf(account, strategy, { ...fill(0, 'SELL', '1', 100), price: '101' }, 1)
  ])
  const calculate = async () => {
    await calculateDailyPerformance({ timeZone: 'UTC' })(testContext(database).context)
    const [row] = await database.run(
      sql => sql`
        select trim_scale(realized_pnl)::text as realized, trim_scale(funding)::text as funding,
          trim_scale(interest)::text as interest, wins, losses
        from daily_account_summaries
        where account_id = ${account.accountId} and date = '2026-11-24' and currency = 'USDT'`
    )
    return { ...row }
  }
  t.strictSame(await calculate(), { realized: '1', funding: '0', interest: '0', wins: 1, losses: 0 })
  await fund(account, 'i', 20, '-0.125', { kind: 'interest' })
  t.strictSame(await calculate(), { realized: '1', funding: '0', interest: '0.125', wins: 1, losses: 0 })
  await fund(account, 'f', 50, '-3')
  t.strictSame(await calculate(), { realized: '1', funding: '-3', interest: '0.125', wins: 0, losses: 1 })
})

const randomFill = fc.record({
  holder: fc.integer({ min: 0, max: 3 }),
  side: fc.constantFrom('BUY' as const, 'BUY' as const, 'SELL' as const),
  positionSide: fc.constantFrom('BOTH' as const, 'BOTH' as const, 'LONG' as const),
  quantity: fc.constantFrom('1', '2', '3', '0.7'),
  price: fc.constant('100'),
  second: fc.integer({ min: 0, max: 20 })
})
const randomFunding = fc.record({
  second: fc.integer({ min: 0, max: 21 }),
  amount: fc.constantFrom('-1', '2', '0.00000001', '-7.123456789')
})
const step = fc.record({
  fills: fc.integer({ min: 0, max: 5 }),
  entries: fc.integer({ min: 0, max: 2 }),
  removed: fc.option(fc.nat()),
  /** The statement before which the assignment ends. */
  dies: fc.option(fc.integer({ min: 1, max: 3 }))
})

/** An independent model: the parts of an entry by the quantities before its time. */
function modelOf(fills: readonly Fill[], { second, amount }: { second: number; amount: string }) {
  const held = new Map<string, InstanceType<typeof Exact>>()
  for (const one of fills) {
    if (one.second >= second) continue
    const key = `${one.holder} ${one.positionSide}`
    held.set(key, new Exact(one.quantity).times(one.side === 'BUY' ? 1 : -1).plus(held.get(key) ?? 0))
  }
  const open = [...held].filter(([, quantity]) => !quantity.eq(0))
  if (open.length === 0) return new Map([['3 null', new Exact(amount)]])
  const net = open.reduce((sum, [, quantity]) => sum.plus(quantity), new Exact(0))
  const gross = open.reduce((sum, [, quantity]) => sum.plus(quantity.abs()), new Exact(0))
  return new Map(
    open.map(([key, quantity]) => [
      key,
      net.eq(0) ? new Exact(amount).times(quantity.abs()).div(gross) : new Exact(amount).times(quantity).div(net)
    ])
  )
}

t.test('for executions and entries in any order, with removals and interruptions, the parts equal a model', async t => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(randomFill, { maxLength: 25 }),
      fc.array(randomFunding, { maxLength: 8 }),
      fc.array(step, { minLength: 1, maxLength: 5 }),
      async (fills, entries, steps) => {
        const { account, holders } = await setUp(3)
        const [first = { strategyAccountId: null, orderId: '' }] = holders
        const waiting = fills.map((one, id) => ({ ...one, id }))
        const booked: typeof waiting = []
        let funded = 0
        for (const one of [...steps, { fills: 99, entries: 99, removed: null, dies: null }]) {
          const next = waiting.splice(0, one.fills)
          await book(next.map(own => entryOf(account, holders[own.holder] ?? first, own, own.id)))
          booked.push(...next)
          for (; funded < entries.length && one.entries > 0; one.entries--) {
            const entry = entries[funded]
            if (entry !== undefined) await fund(account, String(funded++), entry.second, entry.amount)
          }
          const removed = one.removed === null ? undefined : booked[one.removed % booked.length]
          if (removed !== undefined) {
            booked.splice(booked.indexOf(removed), 1)
            const [row] = await database.run(
              sql => sql<{ id: string }[]>`
                select execution_id as id from trade_executions
                where account_id = ${account.accountId} and exchange_trade_id = ${String(removed.id)}`
            )
            const entry = entryOf(account, holders[removed.holder] ?? first, removed, removed.id)
            await book([{ ...entry, executionId: row?.id ?? null, isRemoved: true }])
          }
          let left = one.dies ?? Number.POSITIVE_INFINITY
          const dying = <T>(work: (tx: TransactionSql) => Promise<T>) =>
            database.transaction(async tx => {
              const result = await work(tx)
              if (--left === 0) throw new Error('died')
              return result
            })
          await assignFunding(dying, never).catch(err => {
            if (!(err instanceof Error && err.message === 'died')) throw err
          })
        }
        const shares = await sharesOf(account, holders)
        for (const [i, entry] of entries.entries()) {
          const wanted = modelOf(booked, entry)
          const got = shares.map(line => line.split(' ')).filter(([id]) => id === String(i))
          t.strictSame(got.map(([, holder, side]) => `${holder} ${side}`).sort(), [...wanted.keys()].sort())
          const sum = got.reduce((total, [, , , amount]) => total.plus(amount ?? 'NaN'), new Exact(0))
          t.equal(sum.toFixed(), new Exact(entry.amount).toFixed(), 'the parts add up to the last digit')
          for (const [, holder, side, amount] of got) {
            const off = new Exact(amount ?? 'NaN').minus(wanted.get(`${holder} ${side}`) ?? 'NaN').abs()
            t.ok(off.lte('1e-18'), `part of ${holder} ${side}`)
          }
        }
        const sums = new Map<string, InstanceType<typeof Exact>>()
        for (const [, holder, side, amount] of shares.map(line => line.split(' '))) {
          const key = `${holder} ${side}`
          if (side !== 'null') sums.set(key, new Exact(amount ?? 'NaN').plus(sums.get(key) ?? 0))
        }
        for (const line of await fundingOf(account, holders)) {
          const [holder, side, funding] = line.split(' ')
          t.equal(new Exact(funding ?? 'NaN').toFixed(), (sums.get(`${holder} ${side}`) ?? new Exact(0)).toFixed())
        }
      }
    ),
    { numRuns: RUNS }
  )
})
