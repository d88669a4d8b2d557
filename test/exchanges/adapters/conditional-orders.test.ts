import t from 'tap'
import type { OrderRef, UnifiedOrder } from '../../../src/domain/order.ts'
import { type ConditionalOrderSource, ConditionalOrders } from '../../../src/exchanges/adapters/conditional-orders.ts'
import { ExchangeError } from '../../../src/exchanges/exchange-error.ts'

const PLACED: UnifiedOrder = {
  exchangeOrderId: 'algo-1',
  clientOrderId: null,
  symbol: 'BTCUSDT',
  exchangeSymbol: 'BTC-USDT',
  side: 'SELL',
  positionSide: 'BOTH',
  orderType: 'STOP',
  price: null,
  stopPrice: '90',
  quantity: '2',
  filledQuantity: '0',
  averagePrice: null,
  status: 'open',
  createdAt: 1,
  updatedAt: 1
}
const ORDINARY: UnifiedOrder = {
  ...PLACED,
  exchangeOrderId: 'order-1',
  orderType: 'MARKET',
  stopPrice: null,
  filledQuantity: '2',
  status: 'filled'
}
const REF: OrderRef = { exchangeOrderId: 'algo-1', exchangeSymbol: 'BTC-USDT', orderType: 'STOP' }

/** The orders of an exchange with one conditional order, and the ids that were read. */
function ordersOf(source: Partial<ConditionalOrderSource> = {}) {
  const reads: string[] = []
  const orders = new ConditionalOrders({
    orderTypes: /STOP/,
    symbolField: 'instId',
    readRow: async ({ exchangeOrderId }) => {
      reads.push(`conditional ${exchangeOrderId}`)
      return { instId: 'BTC-USDT' }
    },
    parse: async () => PLACED,
    triggeredOrderId: () => null,
    isTriggered: () => false,
    readOrdinary: async ({ exchangeOrderId }) => {
      reads.push(`ordinary ${exchangeOrderId}`)
      return ORDINARY
    },
    ...source
  })
  return { orders, reads }
}

const refuses = (code: 'order_not_found' | 'unavailable') => async () => {
  throw new ExchangeError(code, { exchange: 'OKX', operation: 'order' })
}

t.test('an untriggered conditional order is returned as it was placed, without fills', async t => {
  const { orders, reads } = ordersOf()
  t.strictSame(await orders.order(REF, undefined), PLACED)
  t.equal(await orders.executedOrderId(REF, undefined), null)
  t.strictSame(reads, ['conditional algo-1', 'conditional algo-1'])
})

t.test('a triggered conditional order without an ordinary order has a lost child', async t => {
  const { orders } = ordersOf({ isTriggered: () => true })
  t.strictSame(await orders.order(REF, undefined), { ...PLACED, lostChild: true })
})

t.test(
  'a triggered one is returned as the order that it became, with its original id, type and trigger price',
  async t => {
    const { orders, reads } = ordersOf({ triggeredOrderId: () => 'order-1' })
    t.strictSame(await orders.order(REF, undefined), {
      ...ORDINARY,
      exchangeOrderId: 'algo-1',
      orderType: 'STOP',
      stopPrice: '90'
    })
    t.equal(await orders.executedOrderId(REF, undefined), 'order-1')
    t.strictSame(reads, ['conditional algo-1', 'ordinary order-1', 'conditional algo-1'])
  }
)

t.test('an order of another type is read only from the ordinary ones', async t => {
  for (const orderType of ['LIMIT', undefined]) {
    const ref = { exchangeOrderId: 'order-1', exchangeSymbol: 'BTC-USDT', ...(orderType && { orderType }) }
    const { orders, reads } = ordersOf()
    t.strictSame(await orders.order(ref, undefined), ORDINARY)
    t.equal(await orders.executedOrderId(ref, undefined), 'order-1')
    t.strictSame(reads, ['ordinary order-1'])
  }
})

t.test('a market without conditional orders never reads them', async t => {
  const { orders, reads } = ordersOf({ orderTypes: null })
  t.strictSame(await orders.order(REF, undefined), ORDINARY)
  t.strictSame(reads, ['ordinary algo-1'])
})

t.test('if no conditional order of the symbol has the id, the ordinary order is read', async t => {
  for (const readRow of [refuses('order_not_found'), async () => ({ instId: 'ETH-USDT' })]) {
    const { orders, reads } = ordersOf({ readRow })
    t.strictSame(await orders.order(REF, undefined), ORDINARY)
    t.equal(await orders.executedOrderId(REF, undefined), 'algo-1')
    t.strictSame(reads, ['ordinary algo-1'])
  }
})

t.test('another failure is not reported as an unknown order', async t => {
  const { orders, reads } = ordersOf({ readRow: refuses('unavailable') })
  await t.rejects(orders.order(REF, undefined), { code: 'unavailable' })
  await t.rejects(orders.executedOrderId(REF, undefined), { code: 'unavailable' })
  t.strictSame(reads, [])
})
