import t from 'tap'
import type { KnownOrder, OrderAnswer } from '../../src/trading/order-reconciliation.ts'
import type { AnsweredOrder } from '../../src/trading/order-store.ts'
import { recordPortions } from '../../src/trading/record-portions.ts'

const order: KnownOrder = {
  ...{ orderId: '1', strategyAccountId: '1', accountId: '1', marketType: 'SPOT', exchangeOrderId: '7' },
  ...{ symbol: 'BTCUSDT', exchangeSymbol: 'BTCUSDT', base: null, quote: null, pair: null, side: 'BUY' },
  ...{ positionSide: 'BOTH', orderType: 'LIMIT', status: 'filled', createdAt: 0, checkedAt: null, misses: 0 },
  ...{ fillChecks: 0, mismatch: null, mismatchChecks: 0, recordedQuantity: '0' },
  ...{ isCumulative: false, fillRetries: 0, fillsDue: false }
}
const fill = {
  ...{ exchangeTradeId: '1', exchangeOrderId: '7', symbol: 'BTCUSDT', exchangeSymbol: 'BTCUSDT', side: 'BUY' as const },
  ...{ positionSide: 'BOTH' as const, price: '1', quantity: '1', fee: null, feeAsset: null, realizedPnl: null },
  executedAt: 0
}
const answered = (answer: OrderAnswer): AnsweredOrder => ({ order, answer })
const withFills = (count: number) =>
  answered({ kind: 'fills', fills: Array.from({ length: count }, () => fill), at: 0 })
const sizesOf = (seen: AnsweredOrder[]) => recordPortions(seen).map(({ length }) => length)

t.test('a transaction has at most a hundred orders and two thousand fills, unless one order has more', async t => {
  const missing = answered({ kind: 'missing', code: 'order_not_found' })
  t.strictSame(recordPortions([]), [])
  t.strictSame(sizesOf(Array.from({ length: 250 }, () => missing)), [100, 100, 50])
  t.strictSame(sizesOf([1_000, 1_000, 1].map(withFills)), [2, 1])
  t.strictSame(sizesOf([5_100, 1, 1_999, 1].map(withFills)), [1, 2, 1])
  t.strictSame(sizesOf([withFills(2_000), missing, withFills(1)]), [2, 1])
})
