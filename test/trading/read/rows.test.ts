import fc from 'fast-check'
import t from 'tap'
import { balances } from '../../../src/trading/read/balances.ts'
import type { Collection, Filter } from '../../../src/trading/read/collection.ts'
import { keyOf } from '../../../src/trading/read/cursor.ts'
import { executions } from '../../../src/trading/read/executions.ts'
import { ledger } from '../../../src/trading/read/ledger.ts'
import { orders } from '../../../src/trading/read/orders.ts'
import { positions } from '../../../src/trading/read/positions.ts'
import { type Item, TradingReader } from '../../../src/trading/read/trading-reader.ts'
import { tradingDatabase } from '../../support/trading.ts'
import { seedTraders } from '../../support/trading-records.ts'
import { insertRows } from '../../support/trading-rows.ts'

const database = await tradingDatabase(t)
const traders = await seedTraders(database)
const [first, second, third] = traders
/** The strategy of the first trader is also on the account of the second one. */
const [{ strategyAccountId } = { strategyAccountId: '' }] = await database.run(
  sql => sql<{ strategyAccountId: string }[]>`
    insert into strategy_accounts (strategy_id, account_id, allocated_capital, capital_currency)
    values (${first.strategyId}, ${second.accountId}, 1, 'USDT') returning strategy_account_id as "strategyAccountId"`
)
const shared = { ...second, strategyAccountId, strategyId: first.strategyId }

/** Few times, so that rows are often equal in the first column of a key. Microseconds, which a Date does not have. */
const insert = fc.record({
  trader: fc.constantFrom(...traders, shared),
  microseconds: fc.integer({ min: 1, max: 40 }),
  currency: fc.constantFrom('USDT', 'USDT', 'USDT', 'KRW', null),
  amount: fc.constantFrom('1', '-0.5', '0.000000000000000001', '-12345678901234567890.5'),
  isExternal: fc.boolean()
})
type Insert = typeof insert extends fc.Arbitrary<infer One> ? One : never

async function insertAll(inserts: readonly Insert[]) {
  for (const { trader, ...row } of inserts) await insertRows(database, trader, row)
}

const whole = new TradingReader(database, 'Asia/Seoul')
const everything: Filter = { owner: undefined }
const midnight = { time: '2026-11-22T23:59:59.999980Z' }

/** Which items a filter selects, besides those of a time. */
type Selected = (item: Item, currency: string) => boolean
const isOf =
  (...accounts: { accountId: string }[]): Selected =>
  item =>
    accounts.some(({ accountId }) => item.account_id === accountId)
const selections: [filter: Filter, selected: Selected][] = [
  [everything, () => true],
  [{ owner: undefined, currency: 'KRW' }, (item, field) => item[field] === 'KRW'],
  [{ owner: { userId: first.userId } }, isOf(first, second)],
  [
    { owner: { userId: first.userId }, currency: 'KRW' },
    (i, field) => isOf(first, second)(i, field) && i[field] === 'KRW'
  ],
  [{ owner: { username: third.name }, accountId: third.accountId }, isOf(third)],
  [{ owner: { username: third.name }, accountId: second.accountId }, () => false],
  [{ owner: { username: 'no one' } }, () => false],
  [{ owner: undefined, accountId: second.accountId, currency: 'USDT' }, (i, f) => isOf(second)(i, f) && i[f] === 'USDT']
]
const strategies: [filter: Filter, selected: Selected][] = [
  [{ owner: undefined, strategyId: first.strategyId }, item => item.strategy_id === first.strategyId],
  [
    { owner: { userId: first.userId }, strategyId: first.strategyId, currency: 'KRW' },
    (item, field) => item.strategy_id === first.strategyId && item[field] === 'KRW'
  ],
  [
    { owner: undefined, strategyId: first.strategyId, accountId: second.accountId },
    item => item.strategy_id === first.strategyId && item.account_id === second.accountId
  ],
  [{ owner: { userId: third.userId }, strategyId: first.strategyId }, () => false]
]

interface Walk {
  collection: Collection
  filter: Filter
  limit: number
  maxScanned: number
  between?: (() => Promise<unknown>) | undefined
}

/** Reads all pages, and calls `between` after each. @throws {Error} when a cursor does not advance */
async function walk({ collection, filter, limit, maxScanned, between }: Walk): Promise<Item[]> {
  const reader = new TradingReader(database, 'Asia/Seoul', { maxScanned })
  const items: Item[] = []
  const types = collection.key.map(([, type]) => type)
  const cursors = new Set<string>()
  let after: string[] | undefined
  for (;;) {
    const { items: found, next } = await reader.page({ collection, filter: { ...filter, after }, limit }, limit)
    if (found.length > limit) throw new Error(`${found.length} items of ${limit}`)
    items.push(...found)
    if (next === null) return items
    if (cursors.has(next)) throw new Error(`the cursor ${next} a second time`)
    cursors.add(next)
    after = keyOf(next, collection.name, types)
    if (after === undefined) throw new Error(`a cursor that is not accepted: ${next}`)
    await between?.()
  }
}

for (const collection of [executions, orders, ledger, positions, balances]) {
  const field = collection.currency?.column ?? ''
  const hasStrategies = collection.selectedBy.includes('strategy_id')
  t.test(`a walk over the pages of ${collection.name} has every item once, also while items are added`, async t => {
    const steps = fc.record({
      before: fc.array(insert, { maxLength: 10 }),
      between: fc.array(insert, { maxLength: 3 }),
      selection: fc.constantFrom(...selections, ...(hasStrategies ? strategies : [])),
      isLater: fc.boolean(),
      limit: fc.integer({ min: 2, max: 12 }),
      // So few that pages end before their limit.
      maxScanned: fc.integer({ min: 3, max: 40 })
    })
    const property = fc.asyncProperty(steps, async ({ before, between, selection, isLater, ...size }) => {
      const [selected, isSelected] = selection
      const from = collection.time && isLater ? midnight : undefined
      const filter = { ...selected, from }
      const expected = async () => {
        const page = await whole.page({ collection, filter: { ...everything, from }, limit: undefined }, 100_000)
        return page.items.filter(item => isSelected(item, field))
      }
      await insertAll(before)
      const existing = await expected()
      const added = [...between]
      const walked = await walk({ collection, filter, ...size, between: () => insertAll(added.splice(0, 1)) })
      const texts = walked.map(item => JSON.stringify(item))
      t.equal(new Set(texts).size, texts.length, 'no item twice')
      const known = new Set(existing.map(item => JSON.stringify(item)))
      t.strictSame(
        walked.filter(item => known.has(JSON.stringify(item))),
        existing,
        'those that existed, in their order'
      )
      t.strictSame(await walk({ collection, filter, ...size }), await expected(), 'and afterwards all')
    })
    await fc.assert(property, { numRuns: 8 })
  })
}

t.test('a page ends before its limit where it would read more than a bounded number of rows', async t => {
  const { items } = await whole.page(
    { collection: executions, filter: { ...everything, currency: 'KRW' }, limit: 500 },
    500
  )
  t.ok(items.length > 0, `items in KRW: ${items.length}`)
  const bounded = new TradingReader(database, 'Asia/Seoul', { maxScanned: 2 })
  const filter = { owner: { userId: first.userId }, currency: 'none' }
  const page = await bounded.page({ collection: executions, filter, limit: 500 }, 500)
  t.strictSame([page.items.length, page.next === null], [0, false], 'no items, and a next page')
  t.strictSame(await walk({ collection: executions, filter, limit: 500, maxScanned: 40 }), [], 'until the end')
})

t.test('a filter by account is not a way to the rows of a strategy of another user', async t => {
  const filter = { owner: { userId: third.userId }, accountId: third.accountId, strategyId: first.strategyId }
  const { items, next } = await whole.page({ collection: executions, filter, limit: 500 }, 500)
  t.strictSame([items, next], [[], null])
})
