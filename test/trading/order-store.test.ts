import t from 'tap'
import type { Database } from '../../src/database/database.ts'
import type { Fill } from '../../src/domain/fill.ts'
import type { UnifiedOrder } from '../../src/domain/order.ts'
import { OrderStore } from '../../src/trading/order-store.ts'
import { assertRows } from '../support/assert-rows.ts'
import { openTransaction, untilWaiting } from '../support/locks.ts'
import { booksOf, insertOrder, type SeededAccount, seedAccount, tradingDatabase } from '../support/trading.ts'

t.test('orders that were checked are locked in the order of their ids', async t => {
  const database = await tradingDatabase(t)
  const account = await seedAccount(database)
  const ids: string[] = []
  for (const exchangeOrderId of ['1', '2', '3', 'other']) {
    const order = { exchangeOrderId, symbol: 'BTCUSDT', exchangeSymbol: 'BTCUSDT', side: 'BUY', quantity: '1' } as const
    ids.push(await insertOrder(database, account, order))
  }
  const [first = '', second = '', third = '', other = ''] = ids
  // The update moves the row of the first order to the end of the table.
  await database.run(sql => sql`update orders set price = 1 where order_id = ${first}`)
  const holder = await openTransaction(t, database)
  await holder.sql`select from orders where order_id = ${second} for no key update`
  const checking = database.transaction(async tx => {
    // Disables plans that read the rows in the order of an index.
    await tx`set local enable_indexscan = off`
    await tx`set local enable_bitmapscan = off`
    await new OrderStore(database).checked(tx, [third, second, first])
  })
  await untilWaiting(database)
  const free = await database.run(
    sql => sql<{ order_id: string }[]>`select order_id from orders order by order_id for no key update skip locked`
  )
  t.strictSame(
    free.map(({ order_id }) => order_id),
    [third, other]
  )
  await holder.commit()
  await checking
  const unchecked = await database.run(sql => sql`select exchange_order_id from orders where last_checked_at is null`)
  assertRows(t, unchecked, [{ exchange_order_id: 'other' }])
})

let database: Database
t.before(async () => {
  database = await tradingDatabase(t)
})

/** Inserts an order with the state after some checks. */
async function place(
  account: SeededAccount,
  exchangeOrderId: string | null,
  { status = 'open', misses = 0, fillChecks = 0, checkedAgo = null as number | null, symbol = 'BTCUSDT' } = {}
): Promise<string> {
  const pair = { base: symbol.slice(0, 3), quote: symbol.slice(3) }
  const order = { exchangeOrderId, symbol, exchangeSymbol: symbol, side: 'BUY', quantity: '3', ...pair } as const
  const orderId = await insertOrder(database, account, order)
  await database.run(
    sql => sql`
      update orders set status = ${status}, misses = ${misses}, fill_checks = ${fillChecks},
        last_checked_at = now() - make_interval(secs => ${checkedAgo})
      where order_id = ${orderId}`
  )
  return orderId
}

t.test('orders to check are those that have not ended and are known to the exchange, by their id', async t => {
  const [account, other] = [await seedAccount(database), await seedAccount(database)]
  const store = new OrderStore(database)
  const ids: string[] = []
  for (const status of ['pending', 'open', 'partially_filled', 'unknown', 'filled', 'canceled', 'rejected', 'expired'])
    ids.push(await place(account, status, { status, misses: 1, fillChecks: 2 }))
  await place(account, null)
  await place(other, 'other')
  const orders = await store.ordersToCheck([account.accountId])
  assertRows(
    t,
    orders,
    ids.slice(0, 4).map(orderId => ({ orderId }))
  )
  t.strictSame(orders[1], {
    orderId: ids[1],
    strategyAccountId: account.strategyAccountId,
    accountId: account.accountId,
    marketType: 'SPOT',
    exchangeOrderId: 'open',
    symbol: 'BTCUSDT',
    exchangeSymbol: 'BTCUSDT',
    base: 'BTC',
    quote: 'USDT',
    pair: { symbol: 'BTCUSDT', base: 'BTC', quote: 'USDT' },
    side: 'BUY',
    positionSide: 'BOTH',
    orderType: 'LIMIT',
    status: 'open',
    createdAt: orders[1]?.createdAt,
    checkedAt: null,
    misses: 1,
    fillChecks: 2,
    mismatch: null,
    mismatchChecks: 0,
    recordedQuantity: '0',
    isCumulative: false,
    fillRetries: 0,
    fillsDue: true
  })
  t.strictSame(await store.ordersToCheck([]), [])
})

t.test('the recorded quantity is the sum of the executions, and cumulative if one of them is a difference', async t => {
  const account = await seedAccount(database)
  const [first, second] = [await place(account, '1'), await place(account, '2')]
  for (const [orderId, tradeId, quantity] of [
    [first, '1', '0.5'],
    [first, 'cum:1:2', '1.5'],
    [second, 'x-cum:', '0.25']
  ])
    await database.run(
      sql => sql`
        insert into trade_executions (order_id, strategy_account_id, account_id, market_type, exchange_trade_id, symbol,
          currency, side, price, quantity, executed_at)
        values (${orderId ?? ''}, ${account.strategyAccountId}, ${account.accountId}, 'SPOT', ${tradeId ?? ''}, 'BTCUSDT',
          'USDT', 'BUY', 1, ${quantity ?? ''}, now())`
    )
  assertRows(t, await new OrderStore(database).ordersToCheck([account.accountId]), [
    { orderId: first, recordedQuantity: '2.0', isCumulative: true },
    { orderId: second, recordedQuantity: '0.25', isCumulative: false }
  ])
})

t.test('an unknown order is checked after a minute, and the wait doubles with each miss, up to six hours', async t => {
  const account = await seedAccount(database)
  const minute = 60
  for (const [misses, afterSeconds] of [
    [4, minute],
    [5, minute],
    [6, 2 * minute],
    [13, 256 * minute],
    [14, 360 * minute],
    [40, 360 * minute]
  ] as const) {
    const status = 'unknown'
    await place(account, `${misses} due`, { status, misses, checkedAgo: afterSeconds + 1 })
    const early = afterSeconds - (afterSeconds > 3_600 ? 120 : 55)
    await place(account, `${misses} early`, { status, misses, checkedAgo: early })
  }
  await place(account, 'open', { status: 'open', misses: 9, checkedAgo: 0 })
  await place(account, 'before the clock was set back', { status: 'unknown', misses: 40, checkedAgo: -7_200 })
  const due = await new OrderStore(database).ordersToCheck([account.accountId])
  t.strictSame(
    due.map(({ exchangeOrderId }) => exchangeOrderId),
    ['4 due', '5 due', '6 due', '13 due', '14 due', '40 due', 'open', 'before the clock was set back']
  )
})

t.test('accounts are checked in the order of their longest unchecked order', async t => {
  const ids: string[] = []
  for (const checks of [[50], [10, 100], [null, 1], [null], [5]]) {
    const account = await seedAccount(database)
    ids.push(account.accountId)
    for (const [i, checkedAgo] of checks.entries()) await place(account, String(i), { checkedAgo })
  }
  const idle = await seedAccount(database)
  await place(idle, '1', { status: 'filled' })
  const store = new OrderStore(database)
  const [a = '', b = '', c = '', d = '', e = ''] = ids
  t.strictSame(await store.accountsToCheck([...ids, idle.accountId]), [c, d, b, a, e])
  t.strictSame(await store.accountsToCheck([a, e]), [a, e])
})

const AT = Date.parse('2026-11-24T00:00:00Z')

const answered = (exchangeOrderId: string, rest: Partial<UnifiedOrder> = {}): UnifiedOrder => ({
  ...{ exchangeOrderId, clientOrderId: null, symbol: 'BTCUSDT', exchangeSymbol: 'BTCUSDT', side: 'BUY' },
  ...{ positionSide: 'BOTH', orderType: 'LIMIT', price: '10', stopPrice: null, quantity: '3', filledQuantity: '0' },
  ...{ averagePrice: null, status: 'open', createdAt: AT, updatedAt: AT, ...rest }
})

const fill = (exchangeTradeId: string, quantity: string, rest: Partial<Fill> = {}): Fill => ({
  ...{ exchangeTradeId, exchangeOrderId: '1', symbol: 'BTCUSDT', exchangeSymbol: 'BTCUSDT', side: 'BUY' },
  ...{ positionSide: 'BOTH', price: '10', quantity, fee: '0.1', feeAsset: 'USDT', realizedPnl: null, executedAt: AT },
  ...rest
})

t.test('a transaction counts its writes of each kind', async t => {
  const account = await seedAccount(database)
  const store = new OrderStore(database)
  const names = ['filled', 'ended', 'waiting', 'flagged', 'missing', 'unknown', 'sold']
  for (const name of names)
    await place(account, name, {
      status: name === 'ended' ? 'filled' : 'open',
      misses: name === 'unknown' ? 4 : 0
    })
  await database.run(
    sql => sql`
      update orders set mismatch = 'side_differs', mismatch_checks = 2
      where account_id = ${account.accountId} and exchange_order_id = 'flagged'`
  )
  await database.run(
    sql => sql`update orders set side = 'SELL' where account_id = ${account.accountId} and exchange_order_id = 'sold'`
  )
  const rows = await database.run(
    sql => sql<{ order_id: string; exchange_order_id: string }[]>`
      select order_id, exchange_order_id from orders where account_id = ${account.accountId}`
  )
  const known = new Map((await store.ordersToCheck([account.accountId])).map(order => [order.exchangeOrderId, order]))
  const [any] = known.values()
  if (any === undefined) throw new Error('no order is to be checked')
  const orderOf = (name: string) => {
    const orderId = rows.find(row => row.exchange_order_id === name)?.order_id ?? ''
    return known.get(name) ?? { ...any, orderId }
  }
  const found = (order: UnifiedOrder, fills: Fill[] | null = null) => ({ kind: 'found' as const, order, fills, at: AT })
  const missing = { kind: 'missing' as const, code: 'order_not_found' as const }
  const answers = {
    filled: found(answered('filled', { status: 'filled', filledQuantity: '3' }), [
      fill('1', '1'),
      fill('2', '2', { feeAsset: 'XYZ' })
    ]),
    ended: found(answered('ended')),
    waiting: found(answered('waiting', { filledQuantity: '1', averagePrice: '10' }), []),
    flagged: found(answered('flagged', { side: 'SELL' })),
    missing,
    unknown: missing,
    sold: found(answered('sold', { side: 'SELL', status: 'filled', filledQuantity: '9' }), [
      fill('3', '9', { side: 'SELL', executedAt: AT + 1 })
    ])
  }
  const all = Object.entries(answers).map(([name, answer]) => ({ order: orderOf(name), answer }))
  t.strictSame(await database.transaction(tx => store.record(tx, all, () => null)), {
    written: { skipped: 1, changed: 6, fills: 3, unknown: 1, waiting: 1, flagged: 1, feesUnknown: 1, oversold: 1 },
    unfinished: []
  })
  const { orders, executions, positions } = await booksOf(database, account)
  assertRows(t, orders, [
    { exchange_order_id: 'ended', status: 'filled', misses: 0, error_code: null },
    { exchange_order_id: 'filled', status: 'filled', filled_quantity: '3', average_price: '10', error_code: null },
    { exchange_order_id: 'flagged', status: 'open', misses: 0, error_code: 'side_differs' },
    { exchange_order_id: 'missing', status: 'open', misses: 1, error_code: 'order_not_found' },
    { exchange_order_id: 'sold', status: 'filled', filled_quantity: '9', average_price: '10', error_code: null },
    { exchange_order_id: 'unknown', status: 'unknown', misses: 5, error_code: 'order_not_found' },
    { exchange_order_id: 'waiting', status: 'open', filled_quantity: '0', average_price: null, error_code: null }
  ])
  assertRows(t, executions, [
    { exchange_trade_id: '1', side: 'BUY', quantity: '1', fee_value: '0.1', realized_pnl: null },
    { exchange_trade_id: '2', side: 'BUY', quantity: '2', fee_value: null, realized_pnl: null },
    { exchange_trade_id: '3', side: 'SELL', quantity: '9', fee_value: '0.1', realized_pnl: '0' }
  ])
  assertRows(t, positions, [{ symbol: 'BTCUSDT', quantity: '-6', entry_price: '10', realized_pnl: '0', fees: '0.2' }])
  const [times] = await database.run(
    sql => sql`
      select count(*) filter (where last_checked_at is not null)::int as checked,
        count(*) filter (where updated_at > created_at)::int as updated
      from orders where account_id = ${account.accountId}`
  )
  t.strictSame({ ...times }, { checked: 6, updated: 6 })
  t.strictSame(await database.transaction(tx => store.record(tx, [], () => null)), {
    written: { skipped: 0, changed: 0, fills: 0, unknown: 0, waiting: 0, flagged: 0, feesUnknown: 0, oversold: 0 },
    unfinished: []
  })
})

t.test('only a negative spot position is oversold', async t => {
  const account = await seedAccount(database)
  const store = new OrderStore(database)
  const placed = [
    { exchangeOrderId: 'held', symbol: 'ETHUSDT', exchangeSymbol: 'ETHUSDT', side: 'BUY', market: 'SPOT' },
    { exchangeOrderId: 'sold', symbol: 'BTCUSDT', exchangeSymbol: 'BTCUSDT', side: 'SELL', market: 'SPOT' },
    { exchangeOrderId: 'short', symbol: 'BTCUSDT', exchangeSymbol: 'BTCUSDT', side: 'SELL', market: 'FUTURES' }
  ] as const
  for (const order of placed)
    await insertOrder(database, account, { ...order, quantity: '0.5', base: order.symbol.slice(0, 3), quote: 'USDT' })
  const all = (await store.ordersToCheck([account.accountId])).map(order => {
    const { exchangeOrderId, symbol, exchangeSymbol, side } = order
    const same = { exchangeOrderId, symbol, exchangeSymbol, side }
    const end = { ...same, quantity: '0.5', filledQuantity: '0.5', status: 'filled' } as const
    const fills = [fill(exchangeOrderId, '0.5', same)]
    return { order, answer: { kind: 'found', order: answered(exchangeOrderId, end), fills, at: AT } as const }
  })
  const { written } = await database.transaction(tx => store.record(tx, all, () => null))
  t.strictSame([written.fills, written.oversold], [3, 1])
})

t.test('the price of a fee is requested in the quote currency of the symbol', async t => {
  const account = await seedAccount(database)
  const store = new OrderStore(database)
  await place(account, '1', { symbol: 'ETHBTC' })
  const [order] = await store.ordersToCheck([account.accountId])
  if (order === undefined) throw new Error('the order is not to be checked')
  const requested: string[][] = []
  const priceOf = (asset: string, quote: string) => {
    requested.push([asset, quote])
    return '0.005'
  }
  const answer = {
    kind: 'found' as const,
    order: answered('1', { exchangeSymbol: 'ETHBTC', filledQuantity: '3', status: 'filled' }),
    fills: [fill('1', '3', { exchangeSymbol: 'ETHBTC', fee: '2', feeAsset: 'BNB' })],
    at: AT
  }
  await database.transaction(tx => store.record(tx, [{ order, answer }], priceOf))
  t.strictSame(requested, [['BNB', 'BTC']])
  const { executions, positions } = await booksOf(database, account)
  assertRows(t, executions, [
    { fee: '2', fee_asset: 'BNB', fee_value: '0.01', base: 'ETH', quote: 'BTC', executed_at: new Date(AT) }
  ])
  assertRows(t, positions, [{ base: 'ETH', quote: 'BTC', quantity: '3', fees: '0.01' }])
})

t.test('a position is valued again with its new quantity, and has no value without a mark', async t => {
  for (const [mark, unrealized] of [
    ['20', '40'],
    [null, null]
  ] as const) {
    t.strictSame(await positionAfterFill(mark), {
      ...{ quantity: '4', unrealized_pnl: unrealized, realized_pnl: '7', fees: '5.1', is_new: true }
    })
  }
})

/** A position of 1 at 10 with a mark, after a fill of 3 at 10. */
async function positionAfterFill(mark: string | null) {
  const account = await seedAccount(database)
  const store = new OrderStore(database)
  await place(account, '1')
  await database.run(
    sql => sql`
      insert into strategy_positions (strategy_account_id, market_type, symbol, currency, quantity, entry_price, mark_price,
        realized_pnl, fees)
      values (${account.strategyAccountId}, 'SPOT', 'BTCUSDT', 'USDT', 1, 10, ${mark}, 7, 5)`
  )
  const [order] = await store.ordersToCheck([account.accountId])
  if (order === undefined) throw new Error('the order is not to be checked')
  const answer = {
    kind: 'found' as const,
    order: answered('1', { filledQuantity: '3', status: 'filled' }),
    fills: [fill('1', '3')],
    at: AT
  }
  await database.transaction(tx => store.record(tx, [{ order, answer }], () => null))
  const rows = await database.run(
    sql => sql`
      select trim_scale(quantity)::text as quantity, trim_scale(unrealized_pnl)::text as unrealized_pnl,
        trim_scale(realized_pnl)::text as realized_pnl, trim_scale(fees)::text as fees, updated_at > now() - interval '1 hour' as is_new
      from strategy_positions where strategy_account_id = ${account.strategyAccountId}`
  )
  return { ...rows[0] }
}
