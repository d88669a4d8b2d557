import t from 'tap'
import type { NewExecution, RecordedExecution } from '../../src/trading/fill-comparison.ts'
import { firstPortion } from '../../src/trading/order-portions.ts'
import type { KnownOrder, OrderChange } from '../../src/trading/order-reconciliation.ts'

const order: KnownOrder = {
  ...{ orderId: '1', strategyAccountId: '1', accountId: '1', marketType: 'SPOT', exchangeOrderId: '7' },
  ...{ symbol: 'BTCUSDT', exchangeSymbol: 'BTCUSDT', base: null, quote: null, pair: null, side: 'BUY' },
  ...{ positionSide: 'BOTH', orderType: 'LIMIT', status: 'open', createdAt: 0, checkedAt: null, misses: 2 },
  ...{ fillChecks: 2, mismatch: null, mismatchChecks: 0, recordedQuantity: '0' },
  ...{ isCumulative: false, fillRetries: 4, fillsDue: false }
}
const change: OrderChange = {
  ...{ status: 'filled', filledQuantity: '6', averagePrice: '2', misses: 0, fillChecks: 0, fillRetries: null },
  ...{ mismatch: null, mismatchChecks: 0, errorCode: null }
}

function execution(exchangeTradeId: string, at: number, price = '1', quantity = '1'): NewExecution {
  return { exchangeTradeId, side: 'BUY', price, quantity, fee: '0', feeAsset: null, executedAt: new Date(at) }
}

function recordedAs(executionId: string, one: NewExecution): RecordedExecution {
  return { ...one, executionId }
}

const ids = (executions: readonly NewExecution[] = []) => executions.map(({ exchangeTradeId }) => exchangeTradeId)

t.test('what one transaction can record is not divided', async t => {
  const executions = [execution('1', 1), execution('2', 2)]
  t.equal(firstPortion(order, [], { kind: 'applied', executions, corrections: [], removed: [], change }, 2), null)
})

t.test('the earliest executions come first, a difference last, and the order stays unfinished', async t => {
  const executions = [execution('3', 3), execution('cum:7:6', 0), execution('1', 1, '5', '2'), execution('2', 2)]
  const applied = { kind: 'applied', executions, corrections: [], removed: [], change } as const
  const portion = firstPortion(order, [], { ...applied, executions, corrections: [], removed: [] }, 2)
  t.strictSame(ids(portion?.executions), ['1', '2'])
  t.strictSame(portion?.change, {
    ...{ status: 'partially_filled', filledQuantity: '3', averagePrice: '3.66666666666666666667' },
    ...{ misses: 0, fillChecks: 2, fillRetries: null, mismatch: null, mismatchChecks: 0, errorCode: null }
  })
  t.strictSame(ids(firstPortion(order, [], { ...applied, executions, corrections: [], removed: [] }, 3)?.executions), [
    ...['1', '2', '3']
  ])
})

t.test('one difference remains for the fills that are not recorded yet, at their mean price', async t => {
  const difference = recordedAs('9', execution('cum:7:6', 50, '2', '6'))
  const executions = [execution('1', 1, '1', '1'), execution('2', 2, '1', '2'), execution('3', 3, '3', '2')]
  executions.push(execution('4', 4, '2', '1'))
  const applied = { kind: 'applied' as const, executions, corrections: [], removed: [difference], change }
  const ended = { ...order, status: 'filled' as const, isCumulative: true }
  const portion = firstPortion(ended, [difference], applied, 2)
  t.strictSame(portion?.executions.slice(2), [execution('cum:7:3:2', 50, '2.66666666666666666667', '3')])
  t.strictSame(ids(portion?.removed), ['cum:7:6'])
  t.hasStrict(portion?.change, { status: 'filled', filledQuantity: '6', fillRetries: 0 })
})

t.test('corrections come before executions, and differences stay until executions replace them', async t => {
  const difference = recordedAs('9', execution('cum:7:6', 50, '2', '6'))
  const corrections = [recordedAs('1', execution('1', 1)), recordedAs('2', execution('2', 2))]
  const executions = [execution('3', 3)]
  const recorded = [...corrections, difference]
  const applied = { kind: 'applied' as const, executions, corrections, removed: [difference], change }
  const portion = firstPortion({ ...order, isCumulative: true }, recorded, applied, 2)
  t.strictSame([ids(portion?.corrections), portion?.executions, portion?.removed], [['1', '2'], [], []])
  t.hasStrict(portion?.change, { filledQuantity: '8', fillRetries: 0 })
})
