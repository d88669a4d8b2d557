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
    exchange: 'OKX',
    orderTypes: /STOP/,
    symbolField: 'instId',
    readRow: async ({ exchangeOrderId }) => {
      reads.push(`conditional ${exchangeOrderId}`)
      return { instId: 'BTC-USDT' }
    },
    parse: async () => PLACED,
    triggeredOrderIds: () => [],
    isTriggered: () => false,
    mayTriggerAgain: () => false,
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
  t.strictSame(await orders.executedOrderIds(REF, undefined), [])
  t.strictSame(reads, ['conditional algo-1', 'conditional algo-1'])
})

t.test('a triggered conditional order without an ordinary order has a lost child', async t => {
  const { orders } = ordersOf({ isTriggered: () => true })
  t.strictSame(await orders.order(REF, undefined), { ...PLACED, lostChild: true })
})

t.test(
  'a triggered one is returned as the order that it became, with its original id, type and trigger price',
  async t => {
    const { orders, reads } = ordersOf({ triggeredOrderIds: () => ['order-1'] })
    t.strictSame(await orders.order(REF, undefined), {
      ...ORDINARY,
      exchangeOrderId: 'algo-1',
      orderType: 'STOP',
      stopPrice: '90'
    })
    t.strictSame(await orders.executedOrderIds(REF, undefined), ['order-1'])
    t.strictSame(reads, ['conditional algo-1', 'ordinary order-1', 'conditional algo-1'])
  }
)

t.test('an order of another type is read only from the ordinary ones', async t => {
  for (const orderType of ['LIMIT', undefined]) {
    const ref = { exchangeOrderId: 'order-1', exchangeSymbol: 'BTC-USDT', ...(orderType && { orderType }) }
    const { orders, reads } = ordersOf()
    t.strictSame(await orders.order(ref, undefined), ORDINARY)
    t.strictSame(await orders.executedOrderIds(ref, undefined), ['order-1'])
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
    t.strictSame(await orders.executedOrderIds(REF, undefined), ['algo-1'])
    t.strictSame(reads, ['ordinary algo-1'])
  }
})

t.test('another failure is not reported as an unknown order', async t => {
  const { orders, reads } = ordersOf({ readRow: refuses('unavailable') })
  await t.rejects(orders.order(REF, undefined), { code: 'unavailable' })
  await t.rejects(orders.executedOrderIds(REF, undefined), { code: 'unavailable' })
  t.strictSame(reads, [])
})

t.test('a split one is the sum of the orders that it became', async t => {
  const children: Record<string, Partial<UnifiedOrder>> = {
    'order-1': { filledQuantity: '1', averagePrice: '90', updatedAt: 2 },
    'order-2': { filledQuantity: '3', averagePrice: '86', updatedAt: 5 }
  }
  const readOrdinary = async ({ exchangeOrderId }: OrderRef) => ({
    ...ORDINARY,
    exchangeOrderId,
    ...children[exchangeOrderId]
  })
  const split = { triggeredOrderIds: () => ['order-1', 'order-2'], readOrdinary }
  const { orders } = ordersOf(split)
  const whole = { exchangeOrderId: 'algo-1', orderType: 'STOP', stopPrice: '90', quantity: '2', createdAt: 1 }
  const sums = { ...whole, filledQuantity: '4', averagePrice: '87', updatedAt: 5 }
  t.hasStrict(await orders.order(REF, undefined), { ...sums, status: 'filled' })
  t.strictSame(await orders.executedOrderIds(REF, undefined), ['order-1', 'order-2'])

  const waiting = ordersOf({ ...split, mayTriggerAgain: () => true }).orders
  t.hasStrict(
    await waiting.order(REF, undefined),
    { ...sums, status: 'partially_filled' },
    'a part was not triggered yet'
  )
  const statusWith = async (child: Partial<UnifiedOrder>) => {
    children['order-2'] = child
    return (await orders.order(REF, undefined)).status
  }
  t.equal(await statusWith({ status: 'open', filledQuantity: '0' }), 'partially_filled')
  t.equal(await statusWith({ status: 'canceled', filledQuantity: '0' }), 'canceled')
  t.equal(await statusWith({ averagePrice: null }), 'filled')
  t.equal((await orders.order(REF, undefined)).averagePrice, null, 'unknown while one of the averages is')
})

t.test('one of several orders that the exchange has forgotten has no fill, but not all may be missing', async t => {
  const triggeredOrderIds = () => ['order-1', 'order-2']
  const readOrdinary = async ({ exchangeOrderId }: OrderRef) => {
    if (exchangeOrderId === 'order-1') return await refuses('order_not_found')()
    return { ...ORDINARY, exchangeOrderId, averagePrice: '90' }
  }
  t.hasStrict(await ordersOf({ triggeredOrderIds, readOrdinary }).orders.order(REF, undefined), {
    filledQuantity: '2',
    averagePrice: '90',
    status: 'filled'
  })
  for (const code of ['order_not_found', 'unavailable'] as const) {
    const { orders } = ordersOf({ triggeredOrderIds, readOrdinary: refuses(code) })
    await t.rejects(orders.order(REF, undefined), { code })
  }
})
