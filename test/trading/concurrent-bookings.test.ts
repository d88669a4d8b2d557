import t from 'tap'
import type { Database } from '../../src/database/database.ts'
import { pairOf } from '../../src/domain/pair.ts'
import { writeChanges } from '../../src/trading/order-writes.ts'
import { bookEntries, type Entry } from '../../src/trading/position-ledger.ts'
import { assertRows } from '../support/assert-rows.ts'
import { untilWaiting } from '../support/locks.ts'
import { insertOrder, type SeededAccount, seedAccount, tradingDatabase } from '../support/trading.ts'

let database: Database
t.before(async () => {
  database = await tradingDatabase(t)
})

interface Purchase {
  symbol?: string
  quantity?: string
  price?: string
  isOwn?: boolean
}

let tradeId = 0

/** An entry of an order of its own. */
async function purchase(
  account: SeededAccount,
  { symbol = 'BTCUSDT', quantity = '1', price = '100', isOwn = true }: Purchase = {}
): Promise<Entry> {
  const exchangeTradeId = `${++tradeId}`
  const order = { exchangeOrderId: exchangeTradeId, symbol, exchangeSymbol: symbol, side: 'BUY', quantity } as const
  const orderId = await insertOrder(database, account, { ...order, market: 'FUTURES' })
  return {
    ...{
      executionId: null,
      orderId,
      accountId: account.accountId,
      marketType: 'FUTURES',
      symbol,
      positionSide: 'BOTH'
    },
    ...{ strategyAccountId: isOwn ? account.strategyAccountId : null, pair: pairOf(symbol.slice(0, 3), 'USDT') },
    ...{ exchangeTradeId, side: 'BUY', price, quantity, fee: '1', feeAsset: 'USDT', feeValue: '1' },
    executedAt: new Date(Date.parse('2026-11-24T00:00:00Z') + tradeId * 1_000)
  }
}

/** Books entries in a transaction, which calls `then` before its end. */
function book(entries: readonly Entry[], then: () => Promise<unknown> = async () => undefined): Promise<void> {
  return database.transaction(async tx => {
    await writeChanges(tx, [], await bookEntries(tx, entries))
    await then()
  })
}

const positions = ({ accountId }: SeededAccount) =>
  database.run(
    sql => sql`
      select symbol, trim_scale(quantity)::text as quantity, trim_scale(entry_price)::text as entry,
        trim_scale(fees)::text as fees, strategy_account_id is not null as owned
      from strategy_positions where holder_account_id = ${accountId} order by symbol`
  )

for (const isOwn of [true, false]) {
  const holder = isOwn ? 'a strategy' : 'an account'
  t.test(`two transactions that open the same position of ${holder} both count`, async t => {
    const account = await seedAccount(database)
    const first = await purchase(account, { isOwn, quantity: '1', price: '100' })
    const second = await purchase(account, { isOwn, quantity: '3', price: '200' })
    let later: Promise<void> | undefined
    await book([first], async () => {
      later = book([second])
      await untilWaiting(database)
    })
    await later
    assertRows(t, await positions(account), [
      { symbol: 'BTCUSDT', quantity: '4', entry: '175', fees: '2', owned: isOwn }
    ])
    const before = await database.run(
      sql => sql`
        select trim_scale(quantity)::text as quantity, trim_scale(quantity_before)::text as before from trade_executions
        where account_id = ${account.accountId} order by executed_at`
    )
    assertRows(t, before, [
      { quantity: '1', before: '0' },
      { quantity: '3', before: '1' }
    ])
  })
}

t.test('a position that another transaction opened and did not commit is opened by this one', async t => {
  const account = await seedAccount(database)
  const [first, second] = [await purchase(account), await purchase(account, { quantity: '2' })]
  let later: Promise<void> | undefined
  const failed = book([first], async () => {
    later = book([second])
    await untilWaiting(database)
    throw new Error('a failure of the test')
  })
  await t.rejects(failed, { message: 'a failure of the test' })
  await later
  assertRows(t, await positions(account), [{ symbol: 'BTCUSDT', quantity: '2', entry: '100', fees: '1' }])
})

t.test('transactions that open and change the same positions in opposite orders wait and do not deadlock', async t => {
  const account = await seedAccount(database)
  await book([await purchase(account, { symbol: 'BNBUSDT' })])
  const symbols = ['ADAUSDT', 'BNBUSDT', 'ETHUSDT', 'XRPUSDT']
  const entriesOf = async (order: readonly string[]) => {
    const entries: Entry[] = []
    for (const symbol of order) entries.push(await purchase(account, { symbol }))
    return entries
  }
  const [ascending, descending] = [await entriesOf(symbols), await entriesOf(symbols.toReversed())]
  const deadlocks = () =>
    database.run(sql => sql`select deadlocks from pg_stat_database where datname = current_database()`)
  const [before] = await deadlocks()
  await Promise.all([book(ascending), book(descending)])
  t.strictSame((await deadlocks())[0], before)
  assertRows(t, await positions(account), [
    { symbol: 'ADAUSDT', quantity: '2' },
    { symbol: 'BNBUSDT', quantity: '3' },
    { symbol: 'ETHUSDT', quantity: '2' },
    { symbol: 'XRPUSDT', quantity: '2' }
  ])
})
