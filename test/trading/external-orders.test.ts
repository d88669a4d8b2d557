import { EventEmitter, once } from 'node:events'
import t from 'tap'
import type { TransactionSql } from '../../src/database/client.ts'
import type { Database } from '../../src/database/database.ts'
import type { Fill } from '../../src/domain/fill.ts'
import { pairOf } from '../../src/domain/pair.ts'
import {
  type ExternalOrder,
  insertExternalOrder,
  lockOrderEntry,
  orderOfFills
} from '../../src/trading/external-orders.ts'
import { OrderStore } from '../../src/trading/order-store.ts'
import { withdrawSuperseded } from '../../src/trading/superseded-orders.ts'
import { assertRows } from '../support/assert-rows.ts'
import { openTransaction, untilWaiting } from '../support/locks.ts'
import { booksOf, insertOrder, type SeededAccount, seedAccount, tradingDatabase } from '../support/trading.ts'

const AT = Date.parse('2026-11-24T00:00:00Z')

let database: Database
t.before(async () => {
  database = await tradingDatabase(t)
})

interface Traded {
  id?: string
  side?: 'BUY' | 'SELL'
  price?: string
  quantity?: string
  seconds?: number
}

function externalOf(account: SeededAccount, traded: Traded = {}): ExternalOrder {
  const { id = 'site-1', side = 'BUY', price = '100', quantity = '2', seconds = 0 } = traded
  const fill: Fill = {
    exchangeTradeId: `trade-of-${id}`,
    exchangeOrderId: id,
    symbol: 'BTCUSDT',
    exchangeSymbol: 'BTCUSDT',
    side,
    positionSide: 'BOTH',
    price,
    quantity,
    fee: '0.1',
    feeAsset: 'USDT',
    realizedPnl: null,
    executedAt: AT + seconds * 1_000
  }
  const pair = pairOf('BTC', 'USDT')
  const { accountId } = account
  return {
    ...{ accountId, marketType: 'FUTURES', pair, origin: 'external' },
    ...{ order: orderOfFills([fill]), fills: [fill], at: AT + seconds * 1_000 }
  }
}

/** Inserts and books an external order. @returns whether it was inserted */
async function book(external: ExternalOrder): Promise<boolean> {
  return await database.transaction(async tx => {
    t.equal(await lockOrderEntry(tx, external.accountId), true)
    const answered = await insertExternalOrder(tx, external)
    if (answered !== null) await new OrderStore(database).record(tx, [answered], () => null)
    return answered !== null
  })
}

const own = { symbol: 'BTCUSDT', exchangeSymbol: 'BTCUSDT', marketType: 'FUTURES', base: 'BTC', quote: 'USDT' } as const

/** The positions with their holders. */
async function heldBy(account: SeededAccount) {
  return await database.run(
    sql => sql`
      select strategy_account_id, trim_scale(quantity)::text as quantity, trim_scale(entry_price)::text as entry_price,
        trim_scale(realized_pnl)::text as realized_pnl
      from strategy_positions where holder_account_id = ${account.accountId} order by strategy_account_id, position_id`
  )
}

t.test('an external order without a strategy is booked as a position of the account itself, once', async t => {
  const account = await seedAccount(database)
  t.equal(await book(externalOf(account)), true)
  t.equal(await book(externalOf(account)), false)
  t.equal(
    await book(externalOf(account, { id: 'site-2', side: 'SELL', price: '130', quantity: '1', seconds: 9 })),
    true
  )
  t.strictSame(
    [...(await heldBy(account))],
    [{ strategy_account_id: null, quantity: '1', entry_price: '100', realized_pnl: '30' }]
  )
  const { orders, executions } = await booksOf(database, account)
  assertRows(t, orders, [
    { exchange_order_id: 'site-1', status: 'filled', filled_quantity: '2', average_price: '100' },
    { exchange_order_id: 'site-2', status: 'filled', filled_quantity: '1', average_price: '130' }
  ])
  assertRows(t, executions, [
    { exchange_trade_id: 'trade-of-site-1', fee_value: '0.1', realized_pnl: null },
    { exchange_trade_id: 'trade-of-site-2', fee_value: '0.1', realized_pnl: '30' }
  ])
})

t.test('a round trip of the account itself has a result', async t => {
  const account = await seedAccount(database)
  await book(externalOf(account, { id: 'open', quantity: '2' }))
  await book(externalOf(account, { id: 'close', side: 'SELL', price: '103', quantity: '2', seconds: 5 }))
  const results = await database.run(
    sql => sql`
      select exchange_trade_id, trim_scale(round_trip_pnl)::text as pnl, round_trip_opened_at
      from trade_executions where account_id = ${account.accountId} order by executed_at`
  )
  assertRows(t, results, [
    { exchange_trade_id: 'trade-of-open', pnl: null },
    { exchange_trade_id: 'trade-of-close', pnl: '5.8', round_trip_opened_at: new Date(AT) }
  ])
})

t.test('a fill of the account itself that is recorded late is inserted at its place', async t => {
  const account = await seedAccount(database)
  await book(externalOf(account, { id: 'c', side: 'SELL', price: '110', quantity: '1', seconds: 30 }))
  await book(externalOf(account, { id: 'a', price: '100', quantity: '1', seconds: 10 }))
  await book(externalOf(account, { id: 'b', price: '104', quantity: '1', seconds: 20 }))
  t.strictSame(
    [...(await heldBy(account))],
    [{ strategy_account_id: null, quantity: '1', entry_price: '102', realized_pnl: '8' }]
  )
})

t.test('positions of a strategy and of the account itself in one symbol are separate', async t => {
  const account = await seedAccount(database)
  await book(externalOf(account, { id: 'site', quantity: '5' }))
  const orderId = await insertOrder(database, account, { ...own, exchangeOrderId: 'own', side: 'BUY', quantity: '1' })
  const { order, answer } = await answeredOwn(orderId, account)
  await database.transaction(tx => new OrderStore(database).record(tx, [{ order, answer }], () => null))
  t.strictSame(
    [...(await heldBy(account))],
    [
      { strategy_account_id: account.strategyAccountId, quantity: '1', entry_price: '100', realized_pnl: '0' },
      { strategy_account_id: null, quantity: '5', entry_price: '100', realized_pnl: '0' }
    ]
  )
})

/** An own order of the strategy with its answer. */
async function answeredOwn(orderId: string, account: SeededAccount, exchangeOrderId = 'own') {
  const [order] = (await new OrderStore(database).ordersToCheck([account.accountId])).filter(
    one => one.orderId === orderId
  )
  if (order === undefined) throw new Error('the order is not checked')
  const { order: seen, fills } = externalOf(account, { id: exchangeOrderId, quantity: '1' })
  const answer = { kind: 'found', order: seen, fills, at: AT } as const
  return { order, answer }
}

t.test(
  'an external order belongs to the strategy that holds the position, to the one that it reduces first',
  async t => {
    const account = await seedAccount(database)
    const other = await secondStrategy(account)
    await hold(account.strategyAccountId, '-7')
    await hold(other, '3')
    await book(externalOf(account, { id: 'sale', side: 'SELL', quantity: '1', price: '90' }))
    await book(externalOf(account, { id: 'buy', side: 'BUY', quantity: '2', price: '90' }))
    t.strictSame(
      [...(await heldBy(account))],
      [
        { strategy_account_id: account.strategyAccountId, quantity: '-5', entry_price: '80', realized_pnl: '-20' },
        { strategy_account_id: other, quantity: '2', entry_price: '80', realized_pnl: '10' }
      ]
    )
  }
)

async function secondStrategy({ accountId, userId }: SeededAccount): Promise<string> {
  const [row] = await database.run(
    sql => sql<{ strategy_account_id: string }[]>`
      with strategy as (
        insert into strategies (user_id, name, market_type) values (${userId}, 'second', 'FUTURES') returning strategy_id
      )
      insert into strategy_accounts (strategy_id, account_id, allocated_capital, capital_currency)
      select strategy_id, ${accountId}, 1, 'USDT' from strategy returning strategy_account_id`
  )
  return row?.strategy_account_id ?? ''
}

function hold(strategyAccountId: string, quantity: string) {
  return database.run(
    sql => sql`
      insert into strategy_positions (strategy_account_id, market_type, symbol, quote, quantity, entry_price)
      values (${strategyAccountId}, 'FUTURES', 'BTCUSDT', 'USDT', ${quantity}, 80)`
  )
}

t.test('a position that an earlier version inserts gets its account', async t => {
  const account = await seedAccount(database)
  await database.run(
    sql => sql`
      insert into strategy_positions as held (strategy_account_id, market_type, symbol, currency, quantity)
      values (${account.strategyAccountId}, 'SPOT', 'BTCUSDT', 'USDT', 1)
      on conflict (strategy_account_id, market_type, symbol, position_side) do update set quantity = excluded.quantity`
  )
  const rows = await database.run(
    sql =>
      sql`select holder_account_id from strategy_positions where strategy_account_id = ${account.strategyAccountId}`
  )
  t.strictSame([...rows], [{ holder_account_id: account.accountId }])
})

for (const how of ['inserts it', 'learns its id'] as const) {
  t.test(
    `an external order is superseded when the order-entry side ${how}, and its executions are removed`,
    async t => {
      const account = await seedAccount(database)
      const insertOwn = (exchangeOrderId: string | null) =>
        insertOrder(database, account, { ...own, exchangeOrderId, side: 'BUY', quantity: '1' })
      const early = how === 'inserts it' ? null : await insertOwn(null)
      await book(externalOf(account, { id: 'late', quantity: '1' }))
      const orderId = early ?? (await insertOwn('late'))
      if (early !== null) {
        await database.run(sql => sql`update orders set exchange_order_id = 'late' where order_id = ${early}`)
      }
      const answered = await answeredOwn(orderId, account, 'late')
      await database.transaction(tx => new OrderStore(database).record(tx, [answered], () => null))
      t.equal(await database.transaction(tx => withdrawSuperseded(tx)), 1)
      t.equal(await database.transaction(tx => withdrawSuperseded(tx)), 0)
      const orders = await database.run(
        sql => sql`
        select exchange_order_id, origin, status, error_code, trim_scale(filled_quantity)::text as filled
        from orders where account_id = ${account.accountId} order by origin`
      )
      assertRows(t, orders, [
        { exchange_order_id: null, origin: 'external', status: 'canceled', error_code: 'superseded', filled: '0' },
        { exchange_order_id: 'late', origin: 'own', status: 'filled', error_code: null, filled: '1' }
      ])
      const { executions } = await booksOf(database, account)
      assertRows(t, executions, [{ exchange_trade_id: 'trade-of-late', quantity: '1' }])
      t.strictSame(
        [...(await heldBy(account))],
        [
          { strategy_account_id: account.strategyAccountId, quantity: '1', entry_price: '100', realized_pnl: '0' },
          { strategy_account_id: null, quantity: '0', entry_price: null, realized_pnl: '0' }
        ]
      )
      const replaced = await database.run(
        sql => sql`
        select strategy_account_id, exchange_trade_id from replaced_executions where account_id = ${account.accountId}`
      )
      t.strictSame([...replaced], [{ strategy_account_id: null, exchange_trade_id: 'trade-of-late' }])
      t.equal(await book(externalOf(account, { id: 'late', quantity: '1' })), false, 'the own order keeps its id')
    }
  )
}

t.test('an order that the order-entry side is inserting now is not inserted as an external one', async t => {
  const account = await seedAccount(database)
  const entry = await openTransaction(t, database)
  await entry.sql`
    insert into orders (strategy_account_id, account_id, market_type, exchange_order_id, symbol, exchange_symbol, side,
      order_type, quantity)
    values (${account.strategyAccountId}, ${account.accountId}, 'FUTURES', 'racing', 'BTCUSDT', 'BTCUSDT', 'BUY', 'LIMIT', 1)`
  t.equal(await database.transaction(tx => lockOrderEntry(tx, account.accountId)), false)
  await entry.commit()
  t.equal(await database.transaction(tx => lockOrderEntry(tx, account.accountId)), true)
  t.equal(await book(externalOf(account, { id: 'racing' })), false)
})

t.test('the order-entry side waits for an external order that is being inserted, and supersedes it', async t => {
  const account = await seedAccount(database)
  const [inserted, waiting] = [new EventEmitter(), new EventEmitter()]
  const whenInserted = once(inserted, 'done')
  const whenWaiting = once(waiting, 'done')
  const booking = database.transaction(async tx => {
    t.equal(await lockOrderEntry(tx, account.accountId), true)
    t.not(await insertExternalOrder(tx, externalOf(account, { id: 'racing' })), null)
    inserted.emit('done')
    await whenWaiting
  })
  await whenInserted
  const inserting = insertOrder(database, account, { ...own, exchangeOrderId: 'racing', side: 'BUY', quantity: '2' })
  await untilWaiting(database)
  waiting.emit('done')
  await Promise.all([booking, inserting])
  const orders = await database.run(
    sql => sql`
      select origin, exchange_order_id, superseded_at is not null as superseded from orders
      where account_id = ${account.accountId} order by origin`
  )
  assertRows(t, orders, [
    { origin: 'external', exchange_order_id: null, superseded: true },
    { origin: 'own', exchange_order_id: 'racing', superseded: false }
  ])
})

t.test('a role that may only insert orders supersedes an external order', async t => {
  const account = await seedAccount(database)
  await book(externalOf(account, { id: 'site-of-role' }))
  const orderId = await database.transaction(async tx => {
    const role = `trading_entry_${account.accountId}_${process.pid}`
    await tx.unsafe(`create role ${role}; grant insert on orders to ${role}; set local role ${role}`)
    await insertInto(tx, account, 'site-of-role')
    await tx.unsafe(`reset role; revoke all on orders from ${role}; drop role ${role}`)
    const [row] = await tx<{ order_id: string }[]>`
      select order_id from orders where account_id = ${account.accountId} and origin = 'own'`
    return row?.order_id
  })
  const rows = await database.run(
    sql => sql`
      select order_id, exchange_order_id, superseded_at is not null as superseded from orders
      where account_id = ${account.accountId} order by order_id`
  )
  assertRows(t, rows, [
    { exchange_order_id: null, superseded: true },
    { order_id: orderId, exchange_order_id: 'site-of-role', superseded: false }
  ])
})

function insertInto(tx: TransactionSql, { accountId, strategyAccountId }: SeededAccount, id: string) {
  return tx`
    insert into orders (
      strategy_account_id, account_id, market_type, exchange_order_id, symbol, exchange_symbol, base, quote, side,
      position_side, order_type, quantity, status
    )
    values (
      ${strategyAccountId}, ${accountId}, 'FUTURES', ${id}, 'BTCUSDT', 'BTCUSDT', 'BTC', 'USDT', 'BUY', 'BOTH', 'MARKET', 2,
      'open'
    )`
}
