import t from 'tap'
import type { Database } from '../../src/database/database.ts'
import { pairOf } from '../../src/domain/pair.ts'
import { ExchangeError } from '../../src/exchanges/exchange-error.ts'
import type { MinutePrice } from '../../src/exchanges/minute-prices.ts'
import { valueFees } from '../../src/trading/fee-values.ts'
import { writeChanges } from '../../src/trading/order-writes.ts'
import { bookEntries, type Entry } from '../../src/trading/position-ledger.ts'
import { booksOf, insertOrder, seedAccount, tradingDatabase } from '../support/trading.ts'

const AT = Date.parse('2026-11-24T00:00:00Z')
const never = new AbortController().signal

/** A round trip whose fees are in BNB and in an asset that is not known. */
async function setUp(t: { teardown: (work: () => unknown) => void }) {
  const database = await tradingDatabase(t)
  const account = await seedAccount(database)
  const order = {
    exchangeOrderId: '1',
    symbol: 'BTCUSDT',
    exchangeSymbol: 'BTCUSDT',
    side: 'BUY',
    quantity: '9'
  } as const
  const orderId = await insertOrder(database, account, { ...order, base: 'BTC', quote: 'USDT' })
  const entry = (id: number, rest: Partial<Entry>): Entry => ({
    ...{ executionId: null, orderId, accountId: account.accountId, strategyAccountId: account.strategyAccountId },
    ...{ marketType: 'SPOT', symbol: 'BTCUSDT', positionSide: 'BOTH', pair: pairOf('BTC', 'USDT') },
    ...{
      exchangeTradeId: String(id),
      executedAt: new Date(AT + id * 60_000),
      side: 'BUY',
      price: '100',
      quantity: '1'
    },
    ...{ fee: '0.01', feeAsset: 'BNB', feeValue: null, ...rest }
  })
  const entries = [
    entry(1, {}),
    entry(2, { side: 'SELL', price: '110', feeAsset: 'USDT', fee: '1', feeValue: '1' }),
    entry(3, { feeAsset: null, fee: '0' })
  ]
  await database.transaction(async tx => writeChanges(tx, [], await bookEntries(tx, entries)))
  await database.run(sql => sql`update trade_executions set recorded_at = '2026-11-24'`)
  return { database, account }
}

const value = (database: Database, price: MinutePrice) =>
  valueFees(database, work => database.transaction(work), price, never)

async function roundTrips(database: Database) {
  const rows = await database.run(
    sql => sql`
      select exchange_trade_id as id, trim_scale(round_trip_pnl)::text as pnl from trade_executions
      where recorded_at > '2026-11-25' order by 1`
  )
  return [...rows]
}

t.test('a fee without a value gets that of its minute later, and position, round trip and days follow', async t => {
  const { database, account } = await setUp(t)
  const asked: unknown[] = []
  const result = await value(database, async (exchange, asset, quote, at) => {
    asked.push([exchange, asset, quote, at])
    return '600.5'
  })
  t.strictSame(result, { valued: 1, unvalued: 0 })
  t.strictSame(asked, [['BINANCE', 'BNB', 'USDT', AT + 60_000]])
  const { executions, positions } = await booksOf(database, account)
  t.strictSame(
    executions.map(({ fee_value }) => fee_value),
    ['6.005', '1', null]
  )
  t.hasStrict(positions[0], { fees: '7.005', realized_pnl: '10', quantity: '1' })
  t.strictSame(await roundTrips(database), [
    { id: '1', pnl: null },
    { id: '2', pnl: '2.995' }
  ])
  t.strictSame(await value(database, async () => '1'), { valued: 0, unvalued: 0 }, 'nothing is left')
})

t.test('a fee stays without a value while no price can be read, and is tried again', async t => {
  const { database, account } = await setUp(t)
  t.strictSame(await value(database, async () => null), { valued: 0, unvalued: 1 })
  const unavailable = new ExchangeError('unavailable', { exchange: 'BINANCE', operation: 'minutePrice' })
  t.strictSame(await value(database, () => Promise.reject(unavailable)), { valued: 0, unvalued: 1 })
  await t.rejects(
    value(database, () => Promise.reject(new Error('aborted'))),
    { message: 'aborted' }
  )
  const dying = valueFees(
    database,
    work =>
      database.transaction(async tx => {
        await work(tx)
        throw new Error('died')
      }),
    async () => '2',
    never
  )
  await t.rejects(dying, { message: 'died' })
  t.strictSame(
    (await booksOf(database, account)).executions.map(({ fee_value }) => fee_value),
    [null, '1', null]
  )
  t.strictSame(await value(database, async () => '2'), { valued: 1, unvalued: 0 })
  t.strictSame(
    (await booksOf(database, account)).executions.map(({ fee_value }) => fee_value),
    ['0.02', '1', null]
  )
})
