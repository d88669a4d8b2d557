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

const unified = (rest: Partial<UnifiedOrder> = {}): UnifiedOrder => ({
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
  const same = unified({ status: 'partially_filled', filledQuantity: '1.5' })
  t.notOk(differs(order, seen(same)))
  t.notOk(differs(order, seen({ ...same, status: 'open' })), 'open with a part filled is partially filled')
  t.notOk(needsFills(order, same))
  t.ok(needsFills(order, { ...same, filledQuantity: '1.6' }))
  t.notOk(needsFills(known({ isCumulative: true }), unified({ filledQuantity: '1' })))
  t.ok(differs(known({ misses: 1 }), seen(unified())), 'an order that is back has no misses any more')
})

t.test('a answer that is older than what is recorded changes nothing', async t => {
  const recorded = [execution('1', '2', '10')]
  const older = seen(unified({ filledQuantity: '1', averagePrice: '10', status: 'canceled' }))
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
    seen(unified({ filledQuantity: '2', status: 'filled' }), fills)
  )
  const { executions, corrections } = applied(decision)
  assertRows(t, executions, [{ exchangeTradeId: '2', price: '12', quantity: '1' }])
  t.strictSame(corrections, [])
  t.hasStrict(decision, { change: { status: 'filled', filledQuantity: '2', averagePrice: '11' } })
})

t.test('fills that ran ahead of the order are taken', async t => {
  const fills = [fill('1', '1', '10'), fill('2', '1', '12')]
  const order = unified({ filledQuantity: '1', averagePrice: '10', status: 'partially_filled' })
  t.hasStrict(reconcile(known(), [], seen(order, fills)), {
    change: { status: 'partially_filled', filledQuantity: '2', averagePrice: '11', fillChecks: 0 }
  })
})

t.test('a difference is priced so that the sums stay exact, unless that price were none', async t => {
  const difference = (filledQuantity: string, averagePrice: string | null) =>
    reconcile(
      known({ fillChecks: 2 }),
      [execution('1', '1', '10')],
      seen(unified({ filledQuantity, averagePrice, status: 'filled' }), [])
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

t.test('an order that has ended is not changed by any answer', async t => {
  for (const status of ['filled', 'canceled', 'rejected', 'expired'] as const) {
    const answer = seen(unified({ filledQuantity: '1', status: 'open' }), [fill('1', '1', '10')])
    t.strictSame(reconcile(known({ status }), [], answer), { kind: 'skipped' }, status)
  }
  for (const status of ['pending', 'open', 'partially_filled', 'unknown'] as const)
    t.equal(reconcile(known({ status }), [], seen(unified())).kind, 'applied', status)
})

t.test('an answer differs by state, side, misses, checks or quantity', async t => {
  t.notOk(differs(known(), seen(unified())))
  t.ok(differs(known(), { kind: 'missing', code: 'order_not_found' }))
  t.ok(differs(known(), seen(unified({ status: 'canceled' }))))
  t.ok(differs(known(), seen(unified({ side: 'SELL' }))))
  t.ok(differs(known({ misses: 1 }), seen(unified())))
  t.ok(differs(known({ fillChecks: 1 }), seen(unified())))
  t.ok(differs(known({ status: 'partially_filled', recordedQuantity: '1' }), seen(unified({ filledQuantity: '0.5' }))))
})

t.test('the fifth miss in a row makes an order unknown', async t => {
  const missing = { kind: 'missing', code: 'order_not_found' } as const
  const order = known({ status: 'partially_filled', fillChecks: 1 })
  const change = { filledQuantity: '2', averagePrice: '10', fillChecks: 1, errorCode: 'order_not_found' }
  const nothing = { kind: 'applied', executions: [], corrections: [] }
  t.strictSame(reconcile({ ...order, misses: 3 }, [execution('1', '2', '10')], missing), {
    ...nothing,
    change: { ...change, status: 'partially_filled', misses: 4 }
  })
  t.strictSame(reconcile({ ...order, misses: 4 }, [execution('1', '2', '10')], missing), {
    ...nothing,
    change: { ...change, status: 'unknown', misses: 5 }
  })
})

t.test('an answer that is not of the order is flagged, and everything else stays', async t => {
  const order = known({ status: 'partially_filled', misses: 2, fillChecks: 1 })
  const flag = (rest: Partial<KnownOrder>, answer: ReturnType<typeof seen>) => {
    const decision = applied(reconcile({ ...order, ...rest }, [execution('1', '2', '10')], answer))
    t.strictSame([decision.executions, decision.corrections], [[], []])
    const { errorCode, ...change } = decision.change
    const same = { filledQuantity: '2', averagePrice: '10', status: 'partially_filled', misses: 2, fillChecks: 1 }
    t.strictSame(change, same)
    return errorCode
  }
  const sound = fill('2', '1', '10')
  const withFill = (rest: Partial<Fill>) => seen(unified({ filledQuantity: '3' }), [sound, { ...sound, ...rest }])
  t.equal(flag({}, seen(unified({ side: 'SELL' }))), 'side_differs')
  t.equal(flag({ symbol: 'ABCXYZ' }, seen(unified())), 'unknown_quote')
  for (const wrong of [
    { side: 'SELL' as const },
    { exchangeTradeId: '' },
    { exchangeTradeId: 'cum:77:1' },
    { price: '0' },
    { quantity: '0' },
    { executedAt: 1.5 }
  ])
    t.equal(flag({}, withFill({ ...wrong })), 'invalid_answer', JSON.stringify(wrong))
})

t.test('an execution is recorded with its fee, or with none where the asset is not known', async t => {
  const fees = [
    { fee: '0.1', feeAsset: 'USDT' },
    { fee: null, feeAsset: 'USDT' },
    { fee: '0.3', feeAsset: null }
  ]
  const fills = fees.map((fee, i) => ({ ...fill(String(i), '1', '10'), ...fee }))
  const decision = reconcile(known(), [], seen(unified({ filledQuantity: '3', status: 'filled' }), fills))
  const base = { side: 'BUY', price: '10', quantity: '1', executedAt: new Date(AT) }
  t.strictSame(decision, {
    kind: 'applied',
    executions: [
      { exchangeTradeId: '0', ...base, fee: '0.1', feeAsset: 'USDT' },
      { exchangeTradeId: '1', ...base, fee: '0', feeAsset: null },
      { exchangeTradeId: '2', ...base, fee: '0', feeAsset: null }
    ],
    corrections: [],
    change: {
      ...{ status: 'filled', filledQuantity: '3', averagePrice: '10', misses: 0, fillChecks: 0, errorCode: null }
    }
  })
})

t.test('a recorded fee is corrected when the exchange reports another one', async t => {
  const correctionOf = (rest: Partial<Fill>) => {
    const answer = seen(unified({ filledQuantity: '1' }), [{ ...fill('1', '1', '10'), ...rest }])
    return applied(reconcile(known(), [execution('1', '1', '10'), execution('9', '1', '10')], answer)).corrections
  }
  const corrected = (fee: string, feeAsset: string) => [{ ...execution('1', '1', '10'), fee, feeAsset }]
  const ahead = (rest: Partial<Fill>) => {
    const fills = [{ ...fill('1', '1', '10'), ...rest }]
    return applied(reconcile(known(), [execution('1', '1', '10')], seen(unified({ filledQuantity: '1' }), fills)))
      .corrections
  }
  t.strictSame(ahead({ fee: '0.2' }), corrected('0.2', 'USDT'))
  t.strictSame(ahead({ fee: '0.00' }), [])
  t.strictSame(ahead({ fee: '0', feeAsset: 'BNB' }), corrected('0', 'BNB'))
  t.strictSame(ahead({ fee: null }), [])
  t.strictSame(ahead({ feeAsset: null }), [])
  t.throws(() => correctionOf({ fee: '0.2' }), { message: 'decided: skipped' }, 'an older answer corrects nothing')
})

t.test('an order whose fills are missing is open or partially filled until they come', async t => {
  const answer = (filledQuantity: string) => seen(unified({ filledQuantity, status: 'filled', averagePrice: '10' }), [])
  const changeOf = (recorded: RecordedExecution[], fillChecks: number) =>
    applied(reconcile(known({ fillChecks }), recorded, answer('2'))).change
  const same = { misses: 0, errorCode: null }
  t.strictSame(changeOf([], 0), { ...same, status: 'open', filledQuantity: '0', averagePrice: null, fillChecks: 1 })
  t.strictSame(changeOf([execution('1', '0.5', '9')], 1), {
    ...same,
    ...{ status: 'partially_filled', filledQuantity: '0.5', averagePrice: '9', fillChecks: 2 }
  })
  t.strictSame(changeOf([execution('1', '0.5', '9')], 2), {
    ...same,
    ...{ status: 'filled', filledQuantity: '2', averagePrice: '10', fillChecks: 0 }
  })
})

t.test('after a difference the fills are not recorded, and each further difference at once', async t => {
  const recorded = [execution('1', '1', '10'), execution('cum:77:2', '1', '12')]
  const answer = unified({ filledQuantity: '3', averagePrice: '12', status: 'open', updatedAt: null })
  const decision = reconcile(known(), recorded, { ...seen(answer, [fill('2', '1', '12')]), at: AT + 5 })
  t.strictSame(decision, {
    kind: 'applied',
    executions: [
      {
        ...{ exchangeTradeId: 'cum:77:3', side: 'BUY', price: '14', quantity: '1', fee: '0', feeAsset: null },
        executedAt: new Date(AT + 5)
      }
    ],
    corrections: [],
    change: {
      ...{ status: 'partially_filled', filledQuantity: '3', averagePrice: '12', misses: 0, fillChecks: 0 },
      errorCode: null
    }
  })
  const timed = reconcile(known(), recorded, { ...seen({ ...answer, updatedAt: AT + 1 }, null), at: AT + 5 })
  t.strictSame(
    applied(timed).executions.map(({ executedAt }) => executedAt.getTime()),
    [AT + 1]
  )
})

t.test('a difference whose price would be zero has the average price', async t => {
  const answer = seen(unified({ filledQuantity: '2', averagePrice: '5', status: 'open' }), [])
  const { executions } = applied(reconcile(known({ fillChecks: 2 }), [execution('1', '1', '10')], answer))
  assertRows(t, executions, [{ price: '5', quantity: '1' }])
})

t.test('less than one unit is a part, too, and a price below one is a price', async t => {
  const part = seen(unified({ filledQuantity: '0.5', averagePrice: '0.4', status: 'open' }), [fill('1', '0.5', '0.4')])
  t.equal(applied(reconcile(known(), [], part)).change.status, 'partially_filled')
  const difference = seen(unified({ filledQuantity: '0.5', averagePrice: '0.4' }), [])
  const { executions } = applied(reconcile(known({ fillChecks: 2 }), [execution('1', '0.25', '0.5')], difference))
  assertRows(t, executions, [{ price: '0.3', quantity: '0.25' }])
})
