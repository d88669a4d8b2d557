import t from 'tap'
import { MINUTE } from '../../src/async/durations.ts'
import { pairOf } from '../../src/domain/pair.ts'
import type { Position } from '../../src/domain/position.ts'
import { AdjustmentRefused } from '../../src/trading/adjustment-refused.ts'
import { adjustBooks } from '../../src/trading/book-adjustment.ts'
import { wrongTotals } from '../../src/trading/book-totals.ts'
import { writeChanges } from '../../src/trading/order-writes.ts'
import type { PositionAdjustment } from '../../src/trading/position-adjustment.ts'
import { bookEntries } from '../../src/trading/position-ledger.ts'
import { assertRows } from '../support/assert-rows.ts'
import { position, TestBooks } from '../support/books.ts'
import { insertOrder } from '../support/trading.ts'

let tradeId = 0

/** Open books of one account, with fills of its strategy, and adjustments of `BTCUSDT`. */
async function openBooks(t: Parameters<typeof TestBooks.create>[0]) {
  const books = await TestBooks.create(t)
  await books.open('USDT', '0', 'FUTURES')
  const { account, database } = books
  const ids = { accountId: account.accountId, symbol: 'BTCUSDT', positionSide: 'BOTH' as const }
  const adjust = (amount: string, rest: Partial<PositionAdjustment> = {}) =>
    database.transaction(tx => adjustBooks(tx, { ...ids, amount, reason: 'a trade of 2024', ...rest }))
  return {
    ...{ books, adjust },
    /** The message of the rejection of an adjustment. */
    refusal: async (...words: Parameters<typeof adjust>) => {
      const err: unknown = await adjust(...words).catch((rejection: unknown) => rejection)
      return err instanceof AdjustmentRefused ? err.message : err
    },
    /** Books a fill of the strategy, or of the account itself, as the jobs do. */
    fill: async (
      side: 'BUY' | 'SELL',
      quantity: string,
      price: string,
      { agoMs = MINUTE, isOwn = true, symbol = 'BTCUSDT' } = {}
    ) => {
      const order = { exchangeOrderId: `${++tradeId}`, symbol, exchangeSymbol: symbol, side, quantity }
      const orderId = await insertOrder(database, account, { ...order, market: 'FUTURES' })
      await database.transaction(async tx => {
        await tx`update orders set status = 'filled', origin = ${isOwn ? 'own' : 'external'},
            strategy_account_id = ${isOwn ? account.strategyAccountId : null}
          where order_id = ${orderId}`
        const key = { ...ids, symbol, marketType: 'FUTURES' as const, pair: pairOf('BTC', 'USDT') }
        const strategyAccountId = isOwn ? account.strategyAccountId : null
        const fill = {
          executionId: null,
          orderId,
          exchangeTradeId: `${tradeId}`,
          side,
          price,
          quantity,
          exchangePnl: '0'
        }
        const rest = { fee: '0', feeAsset: 'USDT', feeValue: '0', executedAt: new Date(Date.now() - agoMs) }
        await writeChanges(tx, [], await bookEntries(tx, [{ ...key, ...fill, ...rest, strategyAccountId }]))
      })
    },
    /** Compares with positions of the exchange as often as a difference needs to be reported. */
    report: async (...positions: Position[]) => {
      books.positions = positions
      for (let run = 0; run < 3; run++) await books.reconcile()
    },
    positions: async () => [
      ...(await database.run(
        sql => sql`
          select strategy_account_id is not null as owned, trim_scale(quantity)::text as quantity,
            trim_scale(entry_price)::text as entry, trim_scale(realized_pnl)::text as realized
          from strategy_positions order by strategy_account_id`
      ))
    ],
    adjusted: async () => [
      ...(await database.run(
        sql => sql`
          select o.side, trim_scale(e.quantity)::text as quantity, trim_scale(e.price)::text as price, o.is_mark_price,
            o.origin, o.status, e.strategy_account_id is not null as owned, trim_scale(e.realized_pnl)::text as realized
          from orders o join trade_executions e using (order_id) where o.order_type = 'ADJUSTMENT' order by order_id`
      ))
    ],
    wrongTotals: () => database.run(sql => wrongTotals(sql, [account.accountId]))
  }
}

t.test('an adjustment opens a position that is missing at the entry price of the exchange, once', async t => {
  const { books, adjust, report, positions, adjusted, wrongTotals } = await openBooks(t)
  await books.database.run(
    sql => sql`insert into instruments (exchange, market_type, exchange_symbol, symbol, base, quote, contract_value,
      quantity_step, trading, read_at) values ('BINANCE', 'FUTURES', 'BTCUSDT', 'BTCUSDT', 'BTC', 'USDT', 1, 0.001, true, now())`
  )
  const held = position('2', { entryPrice: '120', markPrice: '130' })
  await report(held)
  t.equal(await adjust('2'), '0')
  t.equal(await adjust('2.0'), null, 'a repeat records nothing')
  assertRows(t, await adjusted(), [
    {
      side: 'BUY',
      quantity: '2',
      price: '120',
      is_mark_price: false,
      origin: 'external',
      status: 'filled',
      realized: null
    }
  ])
  assertRows(t, await positions(), [{ owned: false, quantity: '2', entry: '120', realized: '0' }])
  assertRows(t, await books.differences(), [{ what: 'BTCUSDT BOTH', difference: '0', explained_by: 'adjustment' }])
  t.strictSame(
    [
      ...(await books.database.run(
        sql => sql`select symbol, trim_scale(amount)::text as amount, reason from position_adjustments`
      ))
    ],
    [{ symbol: 'BTCUSDT', amount: '2', reason: 'a trade of 2024' }]
  )
  for (let run = 0; run < 3; run++)
    t.hasStrict(await books.round({ USDT: '0' }, { USDT: '0' }), { differences: 0, compared: 1 })
  t.strictSame(await wrongTotals(), [], 'no wallet changed')
})

t.test('without an entry price the mark price is used, and flagged', async t => {
  const { adjust, fill, report, positions, adjusted } = await openBooks(t)
  await fill('BUY', '1', '100')
  await report(position('3', { markPrice: '130' }))
  t.equal(await adjust('2'), '0')
  assertRows(t, await adjusted(), [{ quantity: '2', price: '130', is_mark_price: true, owned: true }])
  assertRows(t, await positions(), [{ owned: true, quantity: '3', entry: '120', realized: '0' }])
})

t.test('what is in excess ends without a result, also after fills that are recorded later', async t => {
  const { books, adjust, fill, report, positions, adjusted, wrongTotals } = await openBooks(t)
  await fill('BUY', '3', '100', { agoMs: 10 * MINUTE })
  await report(position('1'))
  t.equal(await adjust('-2'), '0')
  assertRows(t, await adjusted(), [{ side: 'SELL', quantity: '2', price: '100', is_mark_price: false, realized: '0' }])
  assertRows(t, await positions(), [{ quantity: '1', entry: '100', realized: '0' }])
  t.hasStrict(await books.reconcile(), { differences: 0 })

  await fill('BUY', '3', '50', { agoMs: 5 * MINUTE })
  books.positions = [position('4')]
  t.hasStrict(await books.reconcile(), { differences: 0 }, 'a late fill counts on top of it')
  assertRows(t, await adjusted(), [{ price: '100', realized: '0' }])
  assertRows(t, await positions(), [{ quantity: '4', entry: '75', realized: '0' }])

  await fill('SELL', '4', '80', { agoMs: 0 })
  books.positions = []
  t.hasStrict(await books.reconcile(), { differences: 0 }, 'and so does a later one')
  assertRows(t, await positions(), [{ quantity: '0', entry: null, realized: '20' }])
  t.strictSame(await wrongTotals(), [])
})

t.test('an adjustment through zero ends what we have and opens the rest', async t => {
  const { books, adjust, fill, report, positions, adjusted } = await openBooks(t)
  await fill('BUY', '1', '100')
  const held = position('-2', { entryPrice: '90' })
  await report(held)
  t.equal(await adjust('-3'), '0')
  assertRows(t, await adjusted(), [
    { side: 'SELL', quantity: '1', price: '100', realized: '0' },
    { side: 'SELL', quantity: '2', price: '90', realized: null }
  ])
  assertRows(t, await positions(), [{ quantity: '-2', entry: '90', realized: '0' }])
  t.hasStrict(await books.reconcile(), { differences: 0 })
})

t.test('the largest position ends first, none beyond zero', async t => {
  const { books, adjust, fill, report, positions, adjusted } = await openBooks(t)
  await fill('BUY', '1', '100')
  await fill('BUY', '4', '70', { isOwn: false })
  await report(position('0.5', { entryPrice: '80' }))
  t.equal(await adjust('-4.5'), '0')
  assertRows(t, await adjusted(), [
    { quantity: '4', price: '70', owned: false },
    { quantity: '0.5', price: '100', owned: true }
  ])
  assertRows(t, await positions(), [
    { owned: true, quantity: '0.5', realized: '0' },
    { owned: false, quantity: '0', realized: '0' }
  ])
  t.hasStrict(await books.reconcile(), { differences: 0 })
})

t.test('a part of the difference of a position needs an id', async t => {
  const { books, adjust, refusal, fill, report, adjusted } = await openBooks(t)
  await fill('BUY', '3', '100')
  await report(position('1'))
  t.equal(await refusal('-1'), 'the difference is -2: a part of it needs --id')
  t.equal(await adjust('-0.5', { id: 'one' }), '-1.5')
  t.equal(await adjust('-0.5', { id: 'one' }), null)
  t.equal(await refusal('-1', { id: 'one' }), 'another adjustment has the id one')
  t.hasStrict(await books.reconcile(), { differences: 1 }, 'the rest lasts')
  t.equal(await adjust('-1.5', { id: 'two' }), '0')
  assertRows(t, await adjusted(), [{ quantity: '0.5' }, { quantity: '1.5' }])
  t.hasStrict(await books.reconcile(), { differences: 0 })
})

t.test('an adjustment of a position that nothing justifies, or that cannot be booked, is rejected', async t => {
  const { books, adjust, refusal, fill, report, adjusted } = await openBooks(t)
  const { accountId } = books.account
  const none = `account ${accountId} has no reported difference of the position BTCUSDT BOTH`
  t.equal(await refusal('1'), none)
  books.positions = [position('2', { entryPrice: '90' })]
  await books.reconcile()
  t.equal(await refusal('2'), none, 'one that is tolerated is not adjusted')
  await report(position('2', { entryPrice: '90' }))
  t.equal(await refusal('3'), 'the difference is 2: the amount must not exceed it')
  t.equal(await refusal('-1'), 'the difference is 2: the amount must not exceed it')
  t.equal(await refusal('2'), 'base and quote of BTCUSDT are not known')
  await fill('BUY', '1', '100')
  await report(position('2'))
  t.equal(await refusal('1'), 'the exchange listed no price of BTCUSDT: repeat it after the next comparison')
  t.strictSame(await adjusted(), [])
  await report(position('2', { markPrice: '90' }))
  t.equal(await adjust('1'), '0')
})

t.test('an adjustment that two admins record at the same time counts once', async t => {
  const { books, adjust, fill, report, adjusted } = await openBooks(t)
  await fill('BUY', '3', '100')
  await report(position('1'))
  t.strictSame((await Promise.all([adjust('-2'), adjust('-2')])).sort(), ['0', null])
  assertRows(t, await adjusted(), [{ quantity: '2' }])
  t.hasStrict(await books.reconcile(), { differences: 0 })
})
