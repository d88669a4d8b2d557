import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import fc from 'fast-check'
import t from 'tap'
import type { Database } from '../../src/database/database.ts'
import { Exact } from '../../src/domain/decimal.ts'
import { pairOf } from '../../src/domain/pair.ts'
import { writeChanges } from '../../src/trading/order-writes.ts'
import { feeValueOf } from '../../src/trading/position-accounting.ts'
import { bookEntries, type Entry } from '../../src/trading/position-ledger.ts'
import { migratedDatabase, openDatabase } from '../support/migrated-database.ts'
import { projectRoot } from '../support/project.ts'
import { insertOrder, type SeededAccount, seedAccount, tradingDatabase } from '../support/trading.ts'

const AT = Date.parse('2026-11-24T00:00:00Z')
const RUNS = Number(process.env.RUNS ?? 60)

let database: Database
t.before(async () => {
  database = await tradingDatabase(t)
})

/** A fill of one position, by its number among those that the exchange lists. */
interface Fill {
  side: 'BUY' | 'SELL'
  quantity: string
  price: string
  fee: string
  feeAsset: string
  /** Seconds since the start: several fills may have the same. */
  second: number
}

interface Book {
  account: SeededAccount
  orderId: string
  market: 'SPOT' | 'FUTURES'
}

async function newBook(market: Book['market'] = 'FUTURES'): Promise<Book> {
  const account = await seedAccount(database)
  const order = {
    exchangeOrderId: '1',
    symbol: 'BTCUSDT',
    exchangeSymbol: 'BTCUSDT',
    side: 'BUY',
    quantity: '9'
  } as const
  return { account, orderId: await insertOrder(database, account, order), market }
}

function entryOf({ account, orderId, market }: Book, fill: Fill, id: number, executionId: string | null = null): Entry {
  const { second, ...execution } = fill
  const pair = pairOf('BTC', 'USDT')
  return {
    ...{ ...execution, executionId, orderId, accountId: account.accountId, pair },
    ...{ strategyAccountId: account.strategyAccountId, marketType: market, symbol: 'BTCUSDT', positionSide: 'BOTH' },
    exchangeTradeId: String(id),
    executedAt: new Date(AT + second * 1_000),
    feeValue: feeValueOf(execution, pair, () => null)
  }
}

const book = (entries: readonly Entry[]) =>
  database.transaction(async tx => writeChanges(tx, [], await bookEntries(tx, entries)))

/** The ids of the recorded executions, by their trade ids. */
async function idsOf({ account }: Book): Promise<Map<string, string>> {
  const rows = await database.run(
    sql => sql<{ execution_id: string; exchange_trade_id: string }[]>`
      select execution_id, exchange_trade_id from trade_executions
      where strategy_account_id = ${account.strategyAccountId}`
  )
  return new Map(rows.map(row => [row.exchange_trade_id, row.execution_id]))
}

interface RoundTrip {
  /** Of the execution that ends it. */
  id: string
  openedAt: number
  pnl: string
}

async function roundTripsOf({ account }: Book): Promise<RoundTrip[]> {
  const rows = await database.run(
    sql => sql<{ id: string; opened_at: Date; pnl: string }[]>`
      select exchange_trade_id as id, round_trip_opened_at as opened_at, trim_scale(round_trip_pnl)::text as pnl
      from trade_executions
      where strategy_account_id = ${account.strategyAccountId} and round_trip_pnl is not null
      order by executed_at, length(exchange_trade_id), exchange_trade_id`
  )
  return rows.map(({ id, opened_at, pnl }) => ({ id, openedAt: (opened_at.getTime() - AT) / 1_000, pnl }))
}

const fill = (side: Fill['side'], quantity: string, price: string, second: number, rest: Partial<Fill> = {}): Fill => ({
  ...{ side, quantity, price, second, fee: '0', feeAsset: 'USDT', ...rest }
})

const all = (own: Book, fills: readonly Fill[]) => book(fills.map((one, i) => entryOf(own, one, i)))

t.test('a loss of 90 that is closed in four parts is one round trip', async t => {
  const own = await newBook()
  await all(own, [
    fill('BUY', '4', '100', 0),
    fill('SELL', '1', '90', 1),
    fill('SELL', '1', '85', 2),
    fill('SELL', '1', '75', 3),
    fill('SELL', '1', '60', 4)
  ])
  t.strictSame(await roundTripsOf(own), [{ id: '4', openedAt: 0, pnl: '-90' }])
})

t.test(
  'a position through zero ends one round trip and begins the next, and its fee is divided by quantity',
  async t => {
    const own = await newBook()
    await all(own, [
      fill('BUY', '1', '100', 0, { fee: '1' }),
      fill('SELL', '3', '110', 1, { fee: '0.1' }),
      fill('BUY', '2', '105', 2, { fee: '2' })
    ])
    t.strictSame(await roundTripsOf(own), [
      { id: '1', openedAt: 0, pnl: '8.96666666666666666667' },
      { id: '2', openedAt: 1, pnl: '7.93333333333333333333' }
    ])
  }
)

t.test(
  'on spot the fee in the base asset is part of the quantity: the rest of a position ends no round trip',
  async t => {
    const own = await newBook('SPOT')
    await all(own, [
      fill('BUY', '1', '100', 0, { fee: '0.001', feeAsset: 'BTC' }),
      fill('SELL', '0.99', '110', 1),
      fill('SELL', '0.009', '100', 2)
    ])
    t.strictSame(await roundTripsOf(own), [{ id: '2', openedAt: 0, pnl: '9.8' }])
  }
)

t.test('a late fill moves the end of a round trip, and a removed one moves it back', async t => {
  const own = await newBook()
  await all(own, [fill('BUY', '1', '100', 0), fill('SELL', '1', '110', 10), fill('SELL', '1', '120', 20)])
  t.strictSame(await roundTripsOf(own), [{ id: '1', openedAt: 0, pnl: '10' }])
  const late = fill('BUY', '1', '100', 5)
  await book([entryOf(own, late, 9)])
  t.strictSame(await roundTripsOf(own), [{ id: '2', openedAt: 0, pnl: '30' }])
  const id = (await idsOf(own)).get('9') ?? ''
  await book([{ ...entryOf(own, late, 9, id), isRemoved: true }])
  t.strictSame(await roundTripsOf(own), [{ id: '1', openedAt: 0, pnl: '10' }])
})

t.test('the day of the end is computed again when the fee of an earlier execution changes', async t => {
  const own = await newBook()
  const fills = [fill('BUY', '1', '100', 0), fill('SELL', '1', '110', 10), fill('BUY', '1', '100', 20)]
  await all(own, fills)
  await database.run(sql => sql`update trade_executions set recorded_at = '2026-11-24'`)
  const [opening = fill('BUY', '1', '100', 0)] = fills
  const id = (await idsOf(own)).get('0') ?? ''
  await book([entryOf(own, { ...opening, fee: '2' }, 0, id)])
  t.strictSame(await roundTripsOf(own), [{ id: '1', openedAt: 0, pnl: '8' }])
  const changed = await database.run(
    sql => sql<{ id: string }[]>`
      select exchange_trade_id as id from trade_executions
      where strategy_account_id = ${own.account.strategyAccountId} and recorded_at > '2026-11-25' order by 1`
  )
  t.strictSame(
    changed.map(({ id }) => id),
    ['0', '1']
  )
})

t.test('executions of another program without the quantity before them end no round trip', async t => {
  const own = await newBook()
  await all(own, [fill('BUY', '1', '100', 0), fill('SELL', '1', '110', 10)])
  await database.run(
    sql =>
      sql`update trade_executions set quantity_before = null where strategy_account_id = ${own.account.strategyAccountId}`
  )
  await database.run(
    sql => sql`
      update trade_executions e set round_trip_pnl = trip.pnl
      from round_trips(${own.account.strategyAccountId}, 'FUTURES', 'BTCUSDT', 'BOTH', '-infinity') trip
      where e.execution_id = trip.execution_id`
  )
  t.strictSame(await roundTripsOf(own), [])
})

t.test('the migration finds the round trips of recorded executions, and their days are computed again', async t => {
  const { url } = await migratedDatabase(t)
  const earlier = openDatabase(url)
  t.teardown(() => earlier.close(0))
  const account = await seedAccount(earlier)
  const order = {
    exchangeOrderId: '1',
    symbol: 'BTCUSDT',
    exchangeSymbol: 'BTCUSDT',
    side: 'BUY',
    quantity: '9'
  } as const
  const own: Book = { account, orderId: await insertOrder(earlier, account, order), market: 'FUTURES' }
  const fills = [
    fill('BUY', '2', '100', 0),
    fill('SELL', '1', '110', 1),
    fill('SELL', '1', '90', 2),
    fill('BUY', '1', '1', 3)
  ]
  const entries = fills.map((one, i) => entryOf(own, one, i))
  await earlier.transaction(async tx => writeChanges(tx, [], await bookEntries(tx, entries)))
  await earlier.run(sql =>
    sql.unsafe(`
      update trade_executions set recorded_at = '2026-11-24';
      insert into daily_account_summaries (account_id, date, currency, realized_pnl, fees, trades, wins, losses, win_rate,
        volume)
      values (${account.accountId}, '2026-11-24', 'USDT', 0, 0, 4, 1, 1, 0.5, 1),
        (${account.accountId}, '2026-11-23', 'USDT', 0, 0, 7, 0, 0, null, 1);
      -- The schema before the migration.
      drop function round_trips(bigint, text, text, text, timestamptz);
      drop function quantity_change(text, text, numeric, numeric, text, text);
      alter table trade_executions drop column round_trip_pnl, drop column round_trip_opened_at;
      alter table daily_account_summaries drop column executions;
      alter table strategy_performance drop column executions`)
  )
  // A session that has used the earlier columns keeps plans with them.
  await earlier.close(0)
  const database = openDatabase(url)
  t.teardown(() => database.close(0))
  const file = join(projectRoot, 'src/database/migrations/033.do.round-trips.sql')
  await database.run(sql => sql.unsafe(readFileSync(file, 'utf8')))
  const rows = await database.run(
    sql => sql`
      select exchange_trade_id as id, trim_scale(round_trip_pnl)::text as pnl, recorded_at > '2026-11-25' as is_new
      from trade_executions order by execution_id`
  )
  t.strictSame(
    [...rows],
    [
      { id: '0', pnl: null, is_new: false },
      { id: '1', pnl: null, is_new: false },
      { id: '2', pnl: '0', is_new: true },
      { id: '3', pnl: null, is_new: false }
    ]
  )
  const days = await database.run(sql => sql`select executions, trades from daily_account_summaries order by date`)
  t.strictSame(
    [...days],
    [
      { executions: 7, trades: 0 },
      { executions: 4, trades: 2 }
    ]
  )
})

/** An independent model: the cash flow of the fills between two times at which nothing is held. */
function modelOf(market: Book['market'], fills: readonly (Fill & { id: number })[]) {
  const ordered = [...fills].sort((a, b) => a.second - b.second || a.id - b.id)
  const trips: { id: string; openedAt: number; cash: InstanceType<typeof Exact> }[] = []
  let held = new Exact(0)
  let cash = new Exact(0)
  let openedAt = 0
  for (const { id, side, quantity, price, fee, feeAsset, second } of ordered) {
    const inBase = market === 'SPOT' && feeAsset === 'BTC'
    const change = new Exact(quantity).times(side === 'BUY' ? 1 : -1).minus(inBase ? fee : 0)
    const paid = feeAsset === 'BTC' ? new Exact(fee).times(price) : new Exact(fee)
    let rest = change
    if (!held.eq(0) && held.plus(change).times(held).lte(0)) {
      const closing = held.times(-1)
      cash = cash.minus(closing.times(price)).minus(change.eq(closing) ? paid : paid.times(closing).div(change))
      trips.push({ id: String(id), openedAt, cash })
      rest = change.minus(closing)
      held = new Exact(0)
      cash = new Exact(0)
      if (rest.eq(0)) continue
      cash = cash.minus(paid.times(rest).div(change)).minus(rest.times(price))
    } else {
      cash = cash.minus(paid).minus(rest.times(price))
    }
    if (held.eq(0) && !rest.eq(0)) openedAt = second
    held = held.plus(rest)
  }
  return trips
}

const randomFill = fc.record({
  side: fc.constantFrom('BUY' as const, 'SELL' as const),
  quantity: fc.constantFrom('1', '1', '1', '2', '0.5'),
  price: fc.integer({ min: 1, max: 99_999 }).map(n => new Exact(n).div(100).toFixed()),
  fee: fc.constantFrom('0', '0.1', '0.25', '-0.01'),
  feeAsset: fc.constantFrom('USDT', 'USDT', 'USDT', 'USDT', 'BTC'),
  second: fc.integer({ min: 0, max: 12 })
})
const step = fc.oneof(
  { weight: 4, arbitrary: fc.record({ kind: fc.constant('book' as const), count: fc.integer({ min: 1, max: 6 }) }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('remove' as const), pick: fc.nat() }) },
  {
    weight: 1,
    arbitrary: fc.record({ kind: fc.constant('fee' as const), pick: fc.nat(), fee: fc.constantFrom('0', '0.25') })
  },
  {
    weight: 1,
    arbitrary: fc.record({ kind: fc.constant('interrupted' as const), count: fc.integer({ min: 1, max: 3 }) })
  }
)

t.test('for fills in any order, with removals, other fees and interruptions, round trips equal a model', async t => {
  let ended = 0
  const markets = fc.constantFrom('SPOT' as const, 'FUTURES' as const)
  await fc.assert(
    fc.asyncProperty(
      markets,
      fc.array(randomFill, { minLength: 10, maxLength: 30 }),
      fc.array(step, { maxLength: 14 }),
      async (market, fills, steps) => {
        const own = await newBook(market)
        const waiting = fills.map((one, id) => ({ ...one, id }))
        const booked: typeof waiting = []
        const next = (count: number) => waiting.slice(0, count).map(one => entryOf(own, one, one.id))
        for (const one of [...steps, { kind: 'book' as const, count: 99 }]) {
          const picked = 'pick' in one && booked.length > 0 ? booked[one.pick % booked.length] : undefined
          if (one.kind === 'book') {
            await book(next(one.count))
            booked.push(...waiting.splice(0, one.count))
          } else if (one.kind === 'interrupted') {
            await t.rejects(
              database.transaction(async tx => {
                await writeChanges(tx, [], await bookEntries(tx, next(one.count)))
                throw new Error('interrupted')
              }),
              { message: 'interrupted' }
            )
          } else if (picked !== undefined) {
            const id = (await idsOf(own)).get(String(picked.id)) ?? ''
            if (one.kind === 'fee') picked.fee = one.fee
            else booked.splice(booked.indexOf(picked), 1)
            await book([{ ...entryOf(own, picked, picked.id, id), isRemoved: one.kind === 'remove' }])
          }
        }
        const got = await roundTripsOf(own)
        const wanted = modelOf(market, booked)
        ended += wanted.length
        t.strictSame(
          got.map(({ id, openedAt }) => ({ id, openedAt })),
          wanted.map(({ id, openedAt }) => ({ id, openedAt }))
        )
        for (const [i, { cash }] of wanted.entries()) {
          const off = cash.minus(got[i]?.pnl ?? 'NaN').abs()
          t.ok(off.lte('1e-17'), `${got[i]?.pnl} is the cash flow ${cash.toFixed()}`)
        }
      }
    ),
    { numRuns: RUNS }
  )
  t.ok(ended > RUNS / 2, `${ended} round trips in ${RUNS} runs`)
})
