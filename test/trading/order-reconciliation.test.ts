import t from 'tap'
import type { Fill } from '../../src/domain/fill.ts'
import type { UnifiedOrder } from '../../src/domain/order.ts'
import { pairOf } from '../../src/domain/pair.ts'
import type { RecordedExecution } from '../../src/trading/fill-comparison.ts'
import {
  differs,
  type KnownOrder,
  needsFills,
  type Reconciliation,
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
  base: null,
  quote: null,
  pair: pairOf('BTC', 'USDT'),
  side: 'BUY',
  positionSide: 'BOTH',
  orderType: 'LIMIT',
  status: 'open',
  createdAt: AT,
  checkedAt: null,
  misses: 0,
  fillChecks: 0,
  mismatch: null,
  mismatchChecks: 0,
  recordedQuantity: '0',
  isCumulative: false,
  fillRetries: 0,
  fillsDue: false,
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

/** The fields of a change without a contradiction. */
const MATCHING = { fillRetries: null, mismatch: null, mismatchChecks: 0 }

/** The decision to write something. @throws {Error} for a decision that writes nothing */
function applied(decision: Reconciliation) {
  if (!('executions' in decision)) throw new Error(`decided: ${decision.kind}`)
  return decision
}

const seen = (order: UnifiedOrder, fills: Fill[] | null = null) => ({ kind: 'found' as const, order, fills, at: AT })

t.test('an unchanged order needs no update, in any spelling of its numbers', async t => {
  const order = known({ status: 'partially_filled', recordedQuantity: '1.50' })
  const same = unified({ status: 'partially_filled', filledQuantity: '1.5' })
  t.notOk(differs(order, seen(same)))
  t.notOk(differs(order, seen({ ...same, status: 'open' })), 'an open order with a partial fill is partially filled')
  t.notOk(needsFills(order, same))
  t.ok(needsFills(order, { ...same, filledQuantity: '1.6' }))
  t.ok(differs(known({ misses: 1 }), seen(unified())), 'an order that was found again has no misses')
})

t.test('an answer that is older than the recorded state changes nothing', async t => {
  const recorded = [execution('1', '2', '10')]
  const older = seen(unified({ filledQuantity: '1', averagePrice: '10', status: 'canceled' }))
  const { executions, corrections, change } = applied(reconcile(known(), recorded, older))
  t.strictSame([executions, corrections], [[], []])
  t.strictSame(change, {
    ...{ status: 'open', filledQuantity: '2', averagePrice: '10', misses: 0, fillChecks: 0 },
    ...{ fillRetries: null, mismatch: 'filled_decreased:1', mismatchChecks: 1, errorCode: null }
  })
  t.strictSame(reconcile(known({ status: 'filled' }), recorded, { kind: 'missing', code: 'order_not_found' }), {
    kind: 'skipped'
  })
})

t.test('a fill that is listed twice, or already recorded, is recorded once', async t => {
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

t.test('fills that are newer than the order are recorded', async t => {
  const fills = [fill('1', '1', '10'), fill('2', '1', '12')]
  const order = unified({ filledQuantity: '1', averagePrice: '10', status: 'partially_filled' })
  t.hasStrict(reconcile(known(), [], seen(order, fills)), {
    change: { status: 'partially_filled', filledQuantity: '2', averagePrice: '11', fillChecks: 0 }
  })
})

t.test('the price of a difference keeps the sums exact, unless it would not be positive', async t => {
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
  t.ok(differs(known({ marketType: 'FUTURES' }), seen(unified({ positionSide: 'SHORT' }))))
  t.notOk(differs(known({ positionSide: 'LONG' }), seen(unified())), 'spot has no position sides')
  t.ok(differs(known(), seen(unified({ exchangeSymbol: 'ETHUSDT' }))))
  t.ok(differs(known(), seen(unified({ exchangeOrderId: '78' }))))
  t.ok(differs(known(), seen(unified({ lostChild: true }))))
  t.ok(differs(known({ mismatchChecks: 1 }), seen(unified())), 'an order that matches again has no mismatch any more')
  t.ok(differs(known({ misses: 1 }), seen(unified())))
  t.ok(differs(known({ fillChecks: 1 }), seen(unified())))
  t.ok(differs(known({ status: 'partially_filled', recordedQuantity: '1' }), seen(unified({ filledQuantity: '0.5' }))))
})

t.test('the fifth miss in a row makes an order unknown', async t => {
  const missing = { kind: 'missing', code: 'order_not_found' } as const
  const order = known({ status: 'partially_filled', fillChecks: 1 })
  const change = { ...MATCHING, filledQuantity: '2', averagePrice: '10', fillChecks: 1, errorCode: 'order_not_found' }
  const nothing = { kind: 'applied', executions: [], corrections: [], removed: [] }
  t.strictSame(reconcile({ ...order, misses: 3 }, [execution('1', '2', '10')], missing), {
    ...nothing,
    change: { ...change, status: 'partially_filled', misses: 4 }
  })
  t.strictSame(reconcile({ ...order, misses: 4 }, [execution('1', '2', '10')], missing), {
    ...nothing,
    change: { ...change, status: 'unknown', misses: 5 }
  })
})

t.test('an answer that contradicts the order is flagged after three checks, and nothing else changes', async t => {
  const order = known({ status: 'partially_filled', misses: 2, fillChecks: 1 })
  const flag = (rest: Partial<KnownOrder>, answer: ReturnType<typeof seen>) => {
    let mismatch: string | null = null
    for (const mismatchChecks of [1, 2, 3, 4]) {
      const before = { ...order, ...rest, mismatch, mismatchChecks: mismatchChecks - 1 }
      const decision = applied(reconcile(before, [execution('1', '2', '10')], answer))
      t.strictSame([decision.executions, decision.corrections], [[], []])
      t.strictSame(decision.change, {
        ...{ filledQuantity: '2', averagePrice: '10', status: 'partially_filled', misses: 2, fillChecks: 1 },
        ...{ fillRetries: null, mismatch: decision.change.mismatch, mismatchChecks },
        errorCode: mismatchChecks < 3 ? null : decision.change.mismatch
      })
      mismatch = decision.change.mismatch
    }
    return mismatch
  }
  const sound = fill('2', '1', '10')
  const withFill = (rest: Partial<Fill>) => seen(unified({ filledQuantity: '3' }), [sound, { ...sound, ...rest }])
  t.equal(flag({}, seen(unified({ side: 'SELL' }))), 'side_differs')
  t.equal(flag({ marketType: 'FUTURES' }, seen(unified({ positionSide: 'SHORT' }))), 'side_differs')
  t.equal(flag({ marketType: 'FUTURES', positionSide: 'LONG' }, seen(unified())), 'side_differs')
  t.equal(flag({}, seen(unified({ exchangeSymbol: 'ETHUSDT' }))), 'symbol_differs')
  t.equal(flag({}, seen(unified({ lostChild: true }))), 'lost_child')
  t.equal(flag({ symbol: 'ABCXYZ' }, seen(unified())), 'symbol_differs')
  t.equal(flag({ base: 'BT', quote: 'CUSDT' }, seen(unified())), 'symbol_differs')
  t.equal(flag({ pair: null }, seen(unified())), 'unknown_symbol')
  t.equal(flag({}, seen(unified({ exchangeOrderId: '78' }))), 'invalid_answer')
  for (const wrong of [
    { side: 'SELL' as const },
    { exchangeSymbol: 'ETHUSDT' },
    { exchangeTradeId: '' },
    { exchangeTradeId: 'cum:77:1' },
    { exchangeTradeId: 'rev:1' },
    { price: '0' },
    { quantity: '0' },
    { executedAt: 1.5 }
  ])
    t.equal(flag({}, withFill({ ...wrong })), 'invalid_answer', JSON.stringify(wrong))
})

t.test('only consecutive checks with the same contradiction count', async t => {
  const order = known({ mismatch: 'symbol_differs', mismatchChecks: 2 })
  const { change } = applied(reconcile(order, [], seen(unified({ side: 'SELL' }))))
  t.hasStrict(change, { mismatch: 'side_differs', mismatchChecks: 1, errorCode: null })
  const matching = applied(reconcile(order, [], seen(unified())))
  t.hasStrict(matching.change, { mismatch: null, mismatchChecks: 0, errorCode: null })
})

t.test(
  'a filled quantity that stays smaller is reversed by executions if the fills prove which trades were busted',
  async t => {
    const recorded = [
      { ...execution('1', '1', '10'), fee: '0.1', feeAsset: 'BTC' },
      { ...execution('2', '2', '12'), fee: '0.3', feeAsset: 'USDT' }
    ]
    const smaller = unified({ filledQuantity: '1', averagePrice: '10', updatedAt: AT + 60_000 })
    const order = known({ status: 'partially_filled', recordedQuantity: '3' })
    const third = { ...order, mismatch: 'filled_decreased:1', mismatchChecks: 2 }
    t.notOk(needsFills(order, smaller), 'the first answer may be old')
    t.ok(needsFills(third, smaller))
    const { executions, corrections, change } = applied(
      reconcile(third, recorded, seen(smaller, [fill('1', '1', '10')]))
    )
    t.strictSame(executions, [
      {
        ...{ exchangeTradeId: 'rev:2', side: 'SELL', price: '12', quantity: '2', fee: '-0.3', feeAsset: 'USDT' },
        executedAt: new Date(AT + 60_000)
      }
    ])
    t.strictSame(corrections, [])
    t.strictSame(change, {
      ...{ status: 'partially_filled', filledQuantity: '1', averagePrice: '10', misses: 0, fillChecks: 0 },
      ...{ fillRetries: null, mismatch: null, mismatchChecks: 0, errorCode: null }
    })

    t.test('afterwards the answer equals the order, and a further trade may be reversed', async t => {
      const now = [...recorded, { ...execution('rev:2', '2', '12'), side: 'SELL' as const, fee: '-0.3' }]
      t.notOk(differs({ ...order, recordedQuantity: '1' }, seen(smaller)))
      const none = unified({ filledQuantity: '0', updatedAt: null })
      const again = known({ recordedQuantity: '1', mismatch: 'filled_decreased:0', mismatchChecks: 2 })
      const decision = applied(reconcile(again, now, seen(none, [])))
      t.strictSame(
        decision.executions.map(({ exchangeTradeId, fee, executedAt }) => [exchangeTradeId, fee, executedAt.getTime()]),
        [['rev:1', '-0.1', AT]]
      )
      t.hasStrict(decision.change, { status: 'open', filledQuantity: '0', averagePrice: null })
    })

    t.test('without this proof the order is flagged, and its executions do not change', async t => {
      for (const fills of [null, [], [fill('1', '1', '10'), fill('2', '2', '12')], [fill('2', '2', '12')]]) {
        const decision = applied(reconcile(third, recorded, seen(smaller, fills)))
        t.strictSame([decision.executions, decision.corrections], [[], []])
        t.hasStrict(decision.change, { filledQuantity: '3', mismatchChecks: 3, errorCode: 'filled_decreased' })
      }
      const other = applied(reconcile({ ...third, mismatch: 'filled_decreased:2' }, recorded, seen(smaller, [])))
      t.hasStrict(
        other.change,
        { mismatchChecks: 3, errorCode: 'filled_decreased' },
        'another quantity is flagged, too'
      )
      const changed = { ...third, mismatch: 'filled_decreased:2' }
      const proven = applied(reconcile(changed, recorded, seen(smaller, [fill('1', '1', '10')])))
      t.strictSame(proven.executions, [], 'a quantity that has just changed reverses nothing')
      const kind = applied(reconcile({ ...third, mismatch: 'side_differs' }, recorded, seen(smaller, [])))
      t.hasStrict(kind.change, { mismatchChecks: 1, errorCode: null }, 'another kind begins a new count')
    })
  }
)

t.test('an execution is recorded with its fee, and with its asset if it is named or follows from a rule', async t => {
  const fees = [
    { fee: '0.1', feeAsset: 'USDT' },
    { fee: null, feeAsset: 'USDT' },
    { fee: '0.3', feeAsset: null },
    { fee: '0.4', feeAsset: null, feeIn: 'base' as const },
    { fee: '-0.5', feeAsset: null, feeIn: 'quote' as const },
    { fee: '0.6', feeAsset: 'BNB', feeIn: 'base' as const }
  ]
  const fills = fees.map((fee, i) => ({ ...fill(String(i), '1', '10'), ...fee }))
  const decision = reconcile(known(), [], seen(unified({ filledQuantity: '6', status: 'filled' }), fills))
  const base = { side: 'BUY', price: '10', quantity: '1', executedAt: new Date(AT) }
  t.strictSame(decision, {
    kind: 'applied',
    executions: [
      { exchangeTradeId: '0', ...base, fee: '0.1', feeAsset: 'USDT' },
      { exchangeTradeId: '1', ...base, fee: '0', feeAsset: null },
      { exchangeTradeId: '2', ...base, fee: '0.3', feeAsset: null },
      { exchangeTradeId: '3', ...base, fee: '0.4', feeAsset: 'BTC' },
      { exchangeTradeId: '4', ...base, fee: '-0.5', feeAsset: 'USDT' },
      { exchangeTradeId: '5', ...base, fee: '0.6', feeAsset: 'BNB' }
    ],
    corrections: [],
    removed: [],
    change: {
      ...{ status: 'filled', filledQuantity: '6', averagePrice: '10', misses: 0, fillChecks: 0, errorCode: null },
      ...MATCHING
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
  t.strictSame(correctionOf({ fee: '0.2' }), [], 'an older answer causes no correction')
})

t.test('an order whose fills are missing is open or partially filled until they come', async t => {
  const answer = (filledQuantity: string) => seen(unified({ filledQuantity, status: 'filled', averagePrice: '10' }), [])
  const changeOf = (recorded: RecordedExecution[], fillChecks: number) =>
    applied(reconcile(known({ fillChecks }), recorded, answer('2'))).change
  const same = { ...MATCHING, misses: 0, errorCode: null }
  t.strictSame(changeOf([], 0), { ...same, status: 'open', filledQuantity: '0', averagePrice: null, fillChecks: 1 })
  t.strictSame(changeOf([execution('1', '0.5', '9')], 1), {
    ...same,
    ...{ status: 'partially_filled', filledQuantity: '0.5', averagePrice: '9', fillChecks: 2 }
  })
  t.strictSame(changeOf([execution('1', '0.5', '9')], 2), {
    ...same,
    ...{ status: 'filled', filledQuantity: '2', averagePrice: '10', fillChecks: 0, fillRetries: 0 }
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
    removed: [],
    change: {
      ...{ status: 'partially_filled', filledQuantity: '3', averagePrice: '12', misses: 0, fillChecks: 0 },
      ...{ ...MATCHING, fillRetries: 0, errorCode: null }
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

t.test('a quantity below one unit and a price below one are valid', async t => {
  const part = seen(unified({ filledQuantity: '0.5', averagePrice: '0.4', status: 'open' }), [fill('1', '0.5', '0.4')])
  t.equal(applied(reconcile(known(), [], part)).change.status, 'partially_filled')
  const difference = seen(unified({ filledQuantity: '0.5', averagePrice: '0.4' }), [])
  const { executions } = applied(reconcile(known({ fillChecks: 2 }), [execution('1', '0.25', '0.5')], difference))
  assertRows(t, executions, [{ price: '0.3', quantity: '0.25' }])
})

t.test('fills that add up replace all differences of their order, with their fees and times', async t => {
  const recorded = [execution('1', '1', '10'), execution('cum:77:2', '1', '12'), execution('cum:77:4', '2', '9')]
  const order = known({ status: 'partially_filled', recordedQuantity: '4', isCumulative: true, fillRetries: 3 })
  const fills = [
    { ...fill('1', '1', '10'), fee: '0.5' },
    { ...fill('2', '2', '11'), fee: '0.1' },
    { ...fill('3', '1', '9'), executedAt: AT + 1 }
  ]
  const answer = seen(unified({ filledQuantity: '4', averagePrice: '10.25', status: 'filled' }), fills)
  const { executions, corrections, removed, change } = applied(reconcile(order, recorded, answer))
  t.strictSame(
    executions.map(({ exchangeTradeId, fee, executedAt }) => [exchangeTradeId, fee, executedAt.getTime()]),
    [
      ['2', '0.1', AT],
      ['3', '0', AT + 1]
    ]
  )
  t.strictSame(
    corrections.map(({ exchangeTradeId, fee }) => [exchangeTradeId, fee]),
    [['1', '0.5']]
  )
  t.strictSame(removed, recorded.slice(1))
  t.strictSame(change, {
    ...{ status: 'filled', filledQuantity: '4', averagePrice: '10.25', misses: 0, fillChecks: 0 },
    ...{ ...MATCHING, errorCode: null }
  })

  t.test('of an ended order, too, whose state stays', async t => {
    const ended = { ...order, status: 'canceled' as const }
    const decision = applied(reconcile(ended, recorded, { kind: 'fills', fills, at: AT }))
    t.strictSame([decision.executions, decision.removed], [executions, removed])
    t.hasStrict(decision.change, { status: 'canceled', filledQuantity: '4', averagePrice: '10.25', fillRetries: null })
  })

  t.test('otherwise the differences stay, and the attempt is counted', async t => {
    const unchanged = (decision: Reconciliation, expected: Partial<KnownOrder>) => {
      const { executions, corrections, removed, change } = applied(decision)
      t.strictSame([executions, corrections, removed], [[], [], []])
      t.hasStrict(change, { filledQuantity: '4', averagePrice: '10', ...expected })
    }
    const same = unified({ filledQuantity: '4', averagePrice: '10', status: 'open' })
    unchanged(reconcile(order, recorded, seen(same, fills.slice(2))), { status: 'partially_filled', fillRetries: 4 })
    unchanged(reconcile(order, recorded, seen(same, null)), { fillRetries: 3 })
    unchanged(reconcile(order, recorded, { kind: 'missing', code: 'order_not_found' }), { fillRetries: 3, misses: 1 })
    unchanged(reconcile(order, recorded, seen({ ...same, side: 'SELL' }, fills)), { fillRetries: 3 })
    const ended = { ...order, status: 'filled' as const }
    const wrong = [{ ...fill('1', '4', '10'), exchangeSymbol: 'ETHUSDT' }]
    for (const listed of [[], fills.slice(2), [...fills, fill('4', '1', '1')], wrong]) {
      unchanged(reconcile(ended, recorded, { kind: 'fills', fills: listed, at: AT }), {
        status: 'filled',
        fillRetries: 4
      })
    }
    unchanged(reconcile(ended, recorded, { kind: 'missing', code: 'order_not_found' }), { fillRetries: 4, misses: 0 })
    const noPair = { ...ended, pair: null }
    unchanged(reconcile(noPair, recorded, { kind: 'fills', fills, at: AT }), { status: 'filled', fillRetries: 4 })
  })
})

t.test('the fills of an order with a difference are read when it filled further, and when they are due', async t => {
  const order = known({ status: 'partially_filled', recordedQuantity: '1', isCumulative: true })
  const same = unified({ filledQuantity: '1', status: 'partially_filled' })
  t.notOk(needsFills(order, same))
  t.notOk(differs(order, seen(same)))
  t.ok(needsFills({ ...order, fillsDue: true }, same))
  t.ok(differs({ ...order, fillsDue: true }, seen(same)))
  t.ok(needsFills(order, { ...same, filledQuantity: '1.5' }))
  t.notOk(needsFills({ ...order, fillsDue: true }, { ...same, filledQuantity: '0.5' }))
  t.notOk(differs({ ...order, fillsDue: true, isCumulative: false }, seen(same)))
  t.strictSame(reconcile(known(), [], { kind: 'fills', fills: [], at: AT }), { kind: 'skipped' })
})
