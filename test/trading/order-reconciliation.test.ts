import t from 'tap'
import type { Fill } from '../../src/domain/fill.ts'
import type { UnifiedOrder } from '../../src/domain/order.ts'
import {
  differs,
  type KnownOrder,
  needsFills,
  type Reconciliation,
  type RecordedExecution,
  reconcile
} from '../../src/trading/order-reconciliation.ts'
import { assertRows } from '../support/assert-rows.ts'

const AT = Date.parse('2026-11-24T00:00:00Z')

const known = (rest: Partial<KnownOrder> = {}): KnownOrder => ({
  orderId: '1',
  strategyAccountId: '1',
  accountId: '1',
  marketType: 'SPOT',
  exchangeOrderId: '77',
  symbol: 'BTCUSDT',
  exchangeSymbol: 'BTCUSDT',
  side: 'BUY',
  positionSide: 'BOTH',
  orderType: 'LIMIT',
  status: 'open',
  misses: 0,
  fillChecks: 0,
  recordedQuantity: '0',
  isCumulative: false,
  ...rest
})

const told = (rest: Partial<UnifiedOrder> = {}): UnifiedOrder => ({
  exchangeOrderId: '77',
  clientOrderId: null,
  symbol: 'BTCUSDT',
  exchangeSymbol: 'BTCUSDT',
  side: 'BUY',
  positionSide: 'BOTH',
  orderType: 'LIMIT',
  price: '10',
  stopPrice: null,
  quantity: '2',
  filledQuantity: '0',
  averagePrice: null,
  status: 'open',
  createdAt: AT,
  updatedAt: AT,
  ...rest
})

const fill = (exchangeTradeId: string, quantity: string, price: string): Fill => ({
  exchangeTradeId,
  exchangeOrderId: '77',
  symbol: 'BTCUSDT',
  exchangeSymbol: 'BTCUSDT',
  side: 'BUY',
  positionSide: 'BOTH',
  price,
  quantity,
  fee: '0',
  feeAsset: 'USDT',
  realizedPnl: null,
  executedAt: AT
})

const execution = (exchangeTradeId: string, quantity: string, price: string): RecordedExecution => ({
  executionId: '1',
  exchangeTradeId,
  side: 'BUY',
  price,
  quantity,
  fee: '0',
  feeAsset: 'USDT',
  executedAt: new Date(AT)
})

/** The decision to write something. @throws {Error} for a decision that writes nothing */
function applied(decision: Reconciliation) {
  if (!('executions' in decision)) throw new Error(`decided: ${decision.kind}`)
  return decision
}

const seen = (order: UnifiedOrder, fills: Fill[] | null = null) => ({ kind: 'found' as const, order, fills, at: AT })

t.test('what is as it was needs nothing, however the digits are written', async t => {
  const order = known({ status: 'partially_filled', recordedQuantity: '1.50' })
  const same = told({ status: 'partially_filled', filledQuantity: '1.5' })
  t.notOk(differs(order, seen(same)))
  t.notOk(differs(order, seen({ ...same, status: 'open' })), 'open with a part filled is partially filled')
  t.notOk(needsFills(order, same))
  t.ok(needsFills(order, { ...same, filledQuantity: '1.6' }))
  t.notOk(needsFills(known({ isCumulative: true }), told({ filledQuantity: '1' })))
  t.ok(differs(known({ misses: 1 }), seen(told())), 'an order that is back is told so')
})

t.test('a answer that is older than what is recorded changes nothing', async t => {
  const recorded = [execution('1', '2', '10')]
  const older = seen(told({ filledQuantity: '1', averagePrice: '10', status: 'canceled' }))
  t.strictSame(reconcile(known(), recorded, older), { kind: 'skipped' })
  t.strictSame(reconcile(known({ status: 'filled' }), recorded, { kind: 'missing', code: 'order_not_found' }), {
    kind: 'skipped'
  })
})

t.test('a fill that is listed twice, or recorded already, is taken once', async t => {
  const fills = [fill('1', '1', '10'), fill('2', '1', '12'), fill('2', '1', '12')]
  const decision = reconcile(
    known(),
    [execution('1', '1', '10')],
    seen(told({ filledQuantity: '2', status: 'filled' }), fills)
  )
  const { executions, corrections } = applied(decision)
  assertRows(t, executions, [{ exchangeTradeId: '2', price: '12', quantity: '1' }])
  t.strictSame(corrections, [])
  t.hasStrict(decision, { change: { status: 'filled', filledQuantity: '2', averagePrice: '11' } })
})

t.test('fills that ran ahead of the order are taken', async t => {
  const fills = [fill('1', '1', '10'), fill('2', '1', '12')]
  const order = told({ filledQuantity: '1', averagePrice: '10', status: 'partially_filled' })
  t.hasStrict(reconcile(known(), [], seen(order, fills)), {
    change: { status: 'partially_filled', filledQuantity: '2', averagePrice: '11', fillChecks: 0 }
  })
})

t.test('a difference is priced so that the sums stay exact, unless that price were none', async t => {
  const difference = (filledQuantity: string, averagePrice: string | null) =>
    reconcile(
      known({ fillChecks: 2 }),
      [execution('1', '1', '10')],
      seen(told({ filledQuantity, averagePrice, status: 'filled' }), [])
    )
  const exact = applied(difference('3', '12'))
  assertRows(t, exact.executions, [
    { exchangeTradeId: 'cum:77:3', price: '13', quantity: '2', fee: '0', feeAsset: null }
  ])
  t.hasStrict(exact.change, { status: 'filled', averagePrice: '12', fillChecks: 0 })
  assertRows(t, applied(difference('1.01', '9')).executions, [{ price: '9', quantity: '0.01' }])
  const unpriced = applied(difference('3', null))
  t.strictSame(unpriced.executions, [])
  t.hasStrict(unpriced.change, { status: 'partially_filled', fillChecks: 3 })
})
