import fc from 'fast-check'
import postgres from 'postgres'
import t, { type Test } from 'tap'
import type { Collection, Filter } from '../../../src/trading/read/collection.ts'
import { text } from '../../../src/trading/read/column.ts'
import { keyOf } from '../../../src/trading/read/cursor.ts'
import { dailySummaries } from '../../../src/trading/read/daily-summaries.ts'
import { equity } from '../../../src/trading/read/equity.ts'
import { performance } from '../../../src/trading/read/performance.ts'
import { type Item, TradingReader } from '../../../src/trading/read/trading-reader.ts'
import { assertRows } from '../../support/assert-rows.ts'
import { codeOf } from '../../support/code-of.ts'
import { migratedDatabase, openDatabase } from '../../support/migrated-database.ts'
import { tradingDatabase } from '../../support/trading.ts'
import { insertDay, insertEquity, seedTraders, type Trader } from '../../support/trading-records.ts'

const database = await tradingDatabase(t)
const reader = new TradingReader(database, 'Asia/Seoul')
const traders = await seedTraders(database)
const [first, second, third] = traders

/** A few keys, so that rows are often equal in the first column of a key. Microseconds, which a Date does not have. */
const insert = fc.record({
  trader: fc.constantFrom(...traders),
  daysAgo: fc.integer({ min: 0, max: 12 }),
  microseconds: fc.integer({ min: 1, max: 40 }),
  currency: fc.constantFrom('USDT', 'KRW', 'BTC'),
  amount: fc.constantFrom('1', '-0.5', '0.000000000000000001', '-12345678901234567890.5')
})

async function insertAll(inserts: readonly (typeof insert extends fc.Arbitrary<infer One> ? One : never)[]) {
  for (const { trader, ...row } of inserts) {
    await insertDay(database, trader, row)
    await insertEquity(database, trader, row)
  }
}

/** Reads all pages, and calls `between` after each. @throws {Error} when a page before the last one is not full */
async function walk(
  collection: Collection,
  filter: Filter,
  limit: number,
  { between = async () => {}, maxScanned }: { between?: () => Promise<void>; maxScanned?: number | undefined } = {}
): Promise<Item[]> {
  const reader = new TradingReader(database, 'Asia/Seoul', { maxScanned })
  const items: Item[] = []
  const types = collection.key.map(([, type]) => type)
  let after: string[] | undefined
  for (;;) {
    const { items: found, next } = await reader.page({ collection, filter: { ...filter, after }, limit }, limit)
    if (found.length !== limit && next !== null && maxScanned === undefined)
      throw new Error(`a page of ${found.length} before the last one`)
    items.push(...found)
    if (next === null) return items
    after = keyOf(next, collection.name, types)
    if (after === undefined) throw new Error(`a cursor that is not accepted: ${next}`)
    await between()
  }
}

const all: Filter = { owner: undefined }
const idOf = (item: Item) => String(item.strategy_id ?? item.account_id)
/** The items of the whole collection that belong to traders, in its order. */
async function itemsOf(collection: Collection, owned: readonly Trader[], currency?: string): Promise<Item[]> {
  const { items } = await reader.page({ collection, filter: all, limit: undefined }, 100_000)
  const ids = new Set(owned.map(({ accountId, strategyId }) => (collection === performance ? strategyId : accountId)))
  return items.filter(item => ids.has(idOf(item)) && (currency === undefined || item.currency === currency))
}

const selections: [filter: Filter, owned: readonly Trader[]][] = [
  [all, traders],
  [{ owner: undefined, currency: 'KRW' }, traders],
  [{ owner: { userId: first.userId } }, [first, second]],
  [{ owner: { userId: third.userId }, currency: 'USDT' }, [third]],
  [{ owner: { username: third.name.toUpperCase() } }, [third]],
  [{ owner: { username: 'no one' } }, []],
  [{ owner: undefined, accountId: second.accountId, strategyId: second.strategyId }, [second]],
  [{ owner: { userId: third.userId }, accountId: second.accountId, strategyId: second.strategyId }, []]
]

for (const collection of [performance, dailySummaries, equity]) {
  t.test(`a walk over the pages of ${collection.name} has every item once, also while items are added`, async t => {
    const steps = fc.record({
      before: fc.array(insert, { maxLength: 20 }),
      between: fc.array(insert, { maxLength: 4 }),
      selection: fc.constantFrom(...selections),
      limit: fc.integer({ min: 1, max: 9 }),
      maxScanned: fc.constantFrom(undefined, 1, 7)
    })
    const property = fc.asyncProperty(
      steps,
      async ({ before, between: inserts, selection: [filter, owned], limit, maxScanned }) => {
        await insertAll(before)
        const existing = await itemsOf(collection, owned, filter.currency)
        const between = () => insertAll(inserts.splice(0, 1))
        const walked = await walk(collection, filter, limit, { between, maxScanned })
        const keys = walked.map(item => JSON.stringify(item))
        t.equal(new Set(keys).size, keys.length, 'no item twice')
        const known = new Set(existing.map(item => JSON.stringify(item)))
        t.strictSame(
          walked.filter(item => known.has(JSON.stringify(item))),
          existing,
          'those that existed, in their order'
        )
        t.strictSame(
          await walk(collection, filter, limit, { maxScanned }),
          await itemsOf(collection, owned, filter.currency)
        )
      }
    )
    await fc.assert(property, { numRuns: 15 })
    const { length } = await itemsOf(collection, traders)
    t.ok(length > 20, `enough items: ${length}`)
  })
}

t.test('the order of the items is that of their keys, the newest first', async t => {
  await insertAll(fc.sample(insert, { numRuns: 50, seed: 1 }))
  const rows = await database.run(
    sql => sql<{ account_id: string; at: string }[]>`
      select account_id::text, at::text from equity_history order by at desc, account_id desc`
  )
  const items = await walk(equity, all, 7)
  t.strictSame(
    items.map(({ account_id }) => account_id),
    rows.map(({ account_id }) => account_id)
  )
  const days = await database.run(
    sql => sql<{ row: string }[]>`
      select concat_ws(' ', date, account_id, currency) as row from daily_account_summaries
      order by date desc, account_id desc, currency desc`
  )
  t.strictSame(
    (await walk(dailySummaries, all, 7)).map(({ date, account_id, currency }) => `${date} ${account_id} ${currency}`),
    days.map(({ row }) => row)
  )
})

t.test('from is included and to is not: of days by their beginning in the time zone', async t => {
  const datesOf = async (filter: Omit<Filter, 'owner'>) => {
    const { items } = await reader.page(
      { collection: dailySummaries, filter: { ...all, ...filter }, limit: 1_000 },
      1_000
    )
    return [...new Set(items.map(({ date }) => date))].sort()
  }
  for (const daysAgo of [0, 1, 2, 3, 4]) await insertDay(database, first, { daysAgo, currency: 'USDT', amount: '1' })
  const from = { day: '2026-11-19' }
  t.strictSame(await datesOf({ from, to: { day: '2026-11-21' } }), ['2026-11-19', '2026-11-20'])
  t.strictSame(await datesOf({ from: { day: '2026-11-21' }, to: { day: '2026-11-21' } }), [])
  // The day begins at 15:00 UTC in Seoul.
  const begin = '2026-11-19T15:00:00'
  t.strictSame(await datesOf({ from: { time: `${begin}Z` }, to: { time: '2026-11-20T15:00:00.000001Z' } }), [
    '2026-11-20',
    '2026-11-21'
  ])
  t.strictSame(await datesOf({ from: { time: `${begin}.000001Z` }, to: { time: '2026-11-20T15:00:00Z' } }), [])
  t.strictSame(await datesOf({ from: { day: '9999-12-31' } }), [])
  t.strictSame(await datesOf({ to: { day: '0001-01-01' } }), [])
})

t.test('from and to of times are exact to the microsecond', async t => {
  for (const microseconds of [1, 2, 3]) {
    await insertEquity(database, third, { microseconds, currency: 'USDT', amount: '1' })
  }
  const countOf = async (from: string, to: string) => {
    const filter = { owner: { userId: third.userId }, from: { time: from }, to: { time: to } }
    return (await reader.page({ collection: equity, filter, limit: 100 }, 100)).items.length
  }
  t.equal(await countOf('2026-11-22T23:59:59.999997Z', '2026-11-22T23:59:59.999999Z'), 2)
  t.equal(await countOf('2026-11-22T23:59:59.999998Z', '2026-11-22T23:59:59.999999Z'), 1)
  const day = { owner: { userId: third.userId }, from: { day: '2026-11-23' }, to: { day: '2026-11-24' } }
  const { length } = (await reader.page({ collection: equity, filter: day, limit: 100 }, 100)).items
  t.ok(length >= 3, `items of a day of Seoul: ${length}`)
})

t.test('amounts have all digits, without trailing zeros and exponents', async t => {
  const amounts: [stored: string, shown: string][] = [
    ['99999999999999999999999999999999999999.99', '99999999999999999999999999999999999999.99'],
    ['0.000000000000000001', '0.000000000000000001'],
    ['-0.0', '0'],
    ['1.500', '1.5'],
    ['100', '100'],
    ['1E+20', '100000000000000000000'],
    ['-1E-18', '-0.000000000000000001']
  ]
  for (const [i, [stored]] of amounts.entries())
    await insertDay(database, second, { daysAgo: 100 + i, currency: 'USDT', amount: stored })
  await insertDay(database, second, { daysAgo: 99, currency: 'USDT', amount: null })
  const filter = { owner: undefined, accountId: second.accountId, to: { day: '2026-09-01' } }
  const { items } = await reader.page({ collection: dailySummaries, filter, limit: 100 }, 100)
  t.strictSame(
    items.map(({ start_balance }) => start_balance),
    [null, ...amounts.map(([, shown]) => shown)]
  )
  const version = await reader.version({ collection: dailySummaries, filter, limit: 100 }, 'json')
  t.match(version, /^[\w-]{27}$/)
})

t.test('a page is read in a transaction that cannot write', async t => {
  const modes: Collection = {
    ...performance,
    columns: { mode: text() },
    source: tx => tx`(select p.*, current_setting('transaction_read_only') as mode from strategy_performance p)`
  }
  const { items } = await reader.page({ collection: modes, filter: all, limit: 1 }, 1)
  t.strictSame(items, [{ mode: 'on' }])
})

/** A database of its own whose equity is locked, and what was reported about its calls. */
async function lockedEquity(t: Test) {
  const { url } = await migratedDatabase(t)
  const database = openDatabase(url)
  t.teardown(() => database.close(0))
  const changes: boolean[] = []
  database.watch({ isAnswering: () => true, onChange: ({ failing }) => changes.push(failing) })
  const locker = postgres(url, { max: 1, onnotice: () => undefined })
  t.teardown(() => locker.end({ timeout: 5 }))
  await locker`begin`
  await locker`lock table equity_history`
  const untilWaiting = async (count: number) => {
    for (let waiting = -1; waiting !== count; ) {
      const [row] = await locker<{ waiting: number }[]>`
        select count(*)::int as waiting from pg_locks where not granted and relation = 'equity_history'::regclass`
      waiting = row?.waiting ?? -1
    }
  }
  return { database, changes, untilWaiting, unlock: () => locker`rollback` }
}

t.test('pages that miss their deadline are cancelled, and leave the pool and its health as they are', async t => {
  const { database, changes, untilWaiting } = await lockedEquity(t)
  const reader = new TradingReader(database, 'Asia/Seoul', { deadlineMs: 300 })
  const page = () => codeOf(reader.page({ collection: equity, filter: all, limit: 1 }, 1))
  for (let i = 0; i < 4; i++) t.equal(await page(), 'database_timeout')
  await untilWaiting(0)
  t.strictSame(changes, [])
  t.equal(database.usage().replacements, 0)
})

t.test('slow pages take half of the pool, and the others are read after them', async t => {
  const { database, untilWaiting, unlock } = await lockedEquity(t)
  const reader = new TradingReader(database, 'Asia/Seoul', { deadlineMs: 60_000 })
  const { max } = database.usage()
  const pages = Array.from({ length: max * 2 }, () => reader.page({ collection: equity, filter: all, limit: 1 }, 1))
  await untilWaiting(Math.floor(max / 2))
  t.equal(database.usage().inFlight, Math.floor(max / 2))
  assertRows(t, await database.run(sql => sql`select 1 as one`), [{ one: 1 }])
  await unlock()
  for (const { items } of await Promise.all(pages)) t.strictSame(items, [])
})
