import t from 'tap'
import type { Database } from '../../src/database/database.ts'
import { marketsInUse } from '../../src/trading/markets-in-use.ts'
import { insertOrder, seedAccount, tradingDatabase } from '../support/trading.ts'

let database: Database
t.before(async () => {
  database = await tradingDatabase(t)
})
t.beforeEach(async () => {
  await database.run(sql => sql`truncate users cascade`)
})

/** The futures markets in use. The spot market of an active account is always in use. */
const futures = async () =>
  (await marketsInUse(database)).filter(({ marketType }) => marketType === 'FUTURES').map(({ exchange }) => exchange)

t.test('the spot market of each active account is in use, once', async t => {
  t.strictSame(await marketsInUse(database), [])
  await seedAccount(database, { exchange: 'UPBIT' })
  await seedAccount(database)
  await seedAccount(database)
  const idle = await seedAccount(database, { exchange: 'OKX' })
  await database.run(sql => sql`update accounts set is_active = false where account_id = ${idle.accountId}`)
  t.strictSame(await marketsInUse(database), [
    { exchange: 'BINANCE', marketType: 'SPOT' },
    { exchange: 'UPBIT', marketType: 'SPOT' }
  ])
})

t.test('the market of an active strategy on an active account is in use', async t => {
  await seedAccount(database, { exchange: 'BYBIT', marketType: 'FUTURES' })
  await seedAccount(database, { exchange: 'BINANCE', marketType: 'FUTURES' })
  t.strictSame(await marketsInUse(database), [
    { exchange: 'BINANCE', marketType: 'FUTURES' },
    { exchange: 'BINANCE', marketType: 'SPOT' },
    { exchange: 'BYBIT', marketType: 'FUTURES' },
    { exchange: 'BYBIT', marketType: 'SPOT' }
  ])
  await database.run(sql => sql`update strategies set is_active = false`)
  t.strictSame(await futures(), [])
  await database.run(sql => sql`update strategies set is_active = true`)
  await database.run(sql => sql`update strategy_accounts set is_active = false`)
  t.strictSame(await futures(), [])
  await database.run(sql => sql`update strategy_accounts set is_active = true`)
  await database.run(sql => sql`update accounts set is_active = false where exchange = 'BYBIT'`)
  t.strictSame(await futures(), ['BINANCE'])
})

t.test('the market of an unfinished order is in use', async t => {
  const account = await seedAccount(database)
  const order = {
    exchangeOrderId: '1',
    symbol: 'BTCUSDT',
    exchangeSymbol: 'BTCUSDT',
    side: 'BUY',
    quantity: '1'
  } as const
  await insertOrder(database, account, { ...order, market: 'FUTURES' })
  for (const status of ['pending', 'open', 'partially_filled', 'unknown']) {
    await database.run(sql => sql`update orders set status = ${status}`)
    t.strictSame(await futures(), ['BINANCE'], status)
  }
  for (const status of ['filled', 'canceled', 'rejected', 'expired']) {
    await database.run(sql => sql`update orders set status = ${status}`)
    t.strictSame(await futures(), [], status)
  }
})

t.test('the market of an open position is in use', async t => {
  const { strategyAccountId } = await seedAccount(database)
  await database.run(
    sql => sql`
      insert into strategy_positions (strategy_account_id, market_type, symbol, currency, quantity)
      values (${strategyAccountId}, 'FUTURES', 'BTCUSDT', 'USDT', 0)`
  )
  t.strictSame(await futures(), [])
  for (const quantity of ['1', '-0.5']) {
    await database.run(sql => sql`update strategy_positions set quantity = ${quantity}`)
    t.strictSame(await futures(), ['BINANCE'], quantity)
  }
})

t.test('the market of a wallet that is not empty is in use', async t => {
  const { accountId } = await seedAccount(database)
  await database.run(
    sql => sql`
      insert into account_balances (account_id, market_type, asset, free, locked, total, synced_at)
      values (${accountId}, 'FUTURES', 'USDT', 0, 0, 0, now())`
  )
  t.strictSame(await futures(), [])
  await database.run(sql => sql`update account_balances set total = 1`)
  t.strictSame(await futures(), ['BINANCE'])
})
