import type { ExchangeErrorCode } from '../../../src/domain/exchange-error-code.ts'
import { balances, fills, instruments, openOrders, order, type PayloadCase, refusal } from './payload-case.ts'

const ORDER = {
  uuid: 'u-1',
  side: 'ask',
  ord_type: 'limit',
  price: '95000000',
  state: 'wait',
  market: 'KRW-BTC',
  created_at: '2024-05-29T23:26:40+09:00',
  volume: '0.5',
  remaining_volume: '0.5',
  reserved_fee: '0',
  remaining_fee: '0',
  paid_fee: '0',
  locked: '0.5',
  executed_volume: '0.0',
  trades_count: 0,
  trades: []
}

const READ_ORDER = {
  exchangeOrderId: 'u-1',
  clientOrderId: null,
  symbol: 'BTCKRW',
  exchangeSymbol: 'KRW-BTC',
  side: 'SELL',
  positionSide: 'BOTH',
  orderType: 'LIMIT',
  price: '95000000',
  stopPrice: null,
  quantity: '0.5',
  filledQuantity: '0.0',
  averagePrice: null,
  status: 'open',
  // 23:26:40 in Seoul is 14:26:40 in UTC.
  createdAt: Date.UTC(2024, 4, 29, 14, 26, 40),
  updatedAt: null
}

const trade = (uuid: string, price: string, volume: string, second: number, rest: object = {}) => ({
  market: 'KRW-BTC',
  uuid,
  price,
  volume,
  side: 'bid',
  trend: 'up',
  created_at: `2024-05-29T23:27:0${second}+09:00`,
  ...rest
})

const readFill = (exchangeTradeId: string, price: string, quantity: string, second: number, fee: string | null) => ({
  exchangeTradeId,
  exchangeOrderId: 'u-1',
  symbol: 'BTCKRW',
  exchangeSymbol: 'KRW-BTC',
  side: 'SELL',
  positionSide: 'BOTH',
  price,
  quantity,
  fee,
  feeAsset: fee === null ? null : 'KRW',
  realizedPnl: null,
  executedAt: Date.UTC(2024, 4, 29, 14, 27, second)
})

const STATES = [
  ['wait', '0', 'open'],
  ['wait', '0.1', 'partially_filled'],
  ['watch', '0', 'open'],
  ['done', '0.5', 'filled'],
  ['done', '0', 'canceled'],
  ['cancel', '0', 'canceled'],
  ['cancel', '0.1', 'canceled']
] as const

const REFUSALS = [
  ['invalid_access_key', 401, 'authentication'],
  ['expired_access_key', 401, 'authentication'],
  ['jwt_verification', 401, 'authentication'],
  ['invalid_query_payload', 401, 'authentication'],
  ['nonce_used', 401, 'authentication'],
  ['no_authorization_token', 401, 'authentication'],
  ['no_authorization_ip', 401, 'permission'],
  ['out_of_scope', 401, 'permission'],
  ['order_not_found', 404, 'order_not_found'],
  ['invalid_market', 400, 'bad_symbol'],
  ['market_does_not_exist', 400, 'bad_symbol'],
  ['too_many_requests', 429, 'rate_limited']
] as const

const ofOrder = order('u-1', 'KRW-BTC')
const read = (rest: object) => ({ '/v1/order?uuid=u-1': JSON.stringify({ ...ORDER, ...rest }) })

/** The refusal of a signed call by its name. */
export function tokenRefusal(name: string, status: number, refused: ExchangeErrorCode): PayloadCase {
  return {
    name: `the refusal ${name}`,
    ask: ofOrder,
    answers: {
      '/v1/ticker': '[]',
      '/v1/order': refusal(status, JSON.stringify({ error: { name, message: '...' } }), { 'retry-after': '60' })
    },
    expected: { refused, exchangeCode: name }
  }
}

/** The cases that Upbit and Bithumb have in common. @param openOrdersPath where they list open orders */
export function tokenDialect(openOrdersPath: string): PayloadCase[] {
  return [
    { name: 'an order', ask: ofOrder, answers: read({}), expected: READ_ORDER },
    {
      name: 'the identifier of an order',
      ask: ofOrder,
      answers: read({ identifier: 'mine-u1' }),
      expected: { ...READ_ORDER, clientOrderId: 'mine-u1' }
    },
    {
      name: 'a market buy: it has an amount to spend, no quantity and no price',
      ask: ofOrder,
      answers: read({ ord_type: 'price', side: 'bid', price: '100000', volume: null }),
      expected: { ...READ_ORDER, side: 'BUY', orderType: 'MARKET', price: null, quantity: null }
    },
    {
      name: 'a market buy whose rest was too small to trade as filled',
      ask: ofOrder,
      answers: read({
        ord_type: 'price',
        side: 'bid',
        price: '100000',
        volume: null,
        state: 'cancel',
        executed_volume: '0.001'
      }),
      expected: {
        ...READ_ORDER,
        side: 'BUY',
        orderType: 'MARKET',
        price: null,
        quantity: null,
        filledQuantity: '0.001',
        status: 'filled'
      }
    },
    {
      name: 'a market sell: it has a quantity',
      ask: ofOrder,
      answers: read({ ord_type: 'market', price: null }),
      expected: { ...READ_ORDER, orderType: 'MARKET', price: null }
    },
    {
      name: 'a best order to buy: it has an amount to spend',
      ask: ofOrder,
      answers: read({ ord_type: 'best', side: 'bid', price: '100000', volume: null }),
      expected: { ...READ_ORDER, side: 'BUY', orderType: 'BEST', price: null, quantity: null }
    },
    {
      name: 'a best order to sell: it has a quantity',
      ask: ofOrder,
      answers: read({ ord_type: 'best', price: null }),
      expected: { ...READ_ORDER, orderType: 'BEST', price: null }
    },
    ...STATES.map(
      ([state, executed_volume, status]): PayloadCase => ({
        name: `the state ${state} with ${executed_volume} executed`,
        ask: ofOrder,
        answers: read({ state, executed_volume }),
        expected: { ...READ_ORDER, filledQuantity: executed_volume, status }
      })
    ),
    ...[{ state: 'prevented' }, { side: 'sell' }, { executed_volume: null }, { created_at: 'yesterday' }].map(
      (wrong): PayloadCase => ({
        name: `no order with ${JSON.stringify(wrong)}`,
        ask: ofOrder,
        answers: read(wrong),
        expected: { refused: 'invalid_answer' }
      })
    ),
    {
      name: 'the average price of an order by the amounts of its trades',
      ask: ofOrder,
      answers: read({
        state: 'done',
        executed_volume: '0.5',
        trades: [
          trade('t-1', '95000000', '0.3', 1, { funds: '28500000' }),
          // This trade has no amount: price times volume.
          trade('t-2', '95500000', '0.2', 2)
        ]
      }),
      expected: { ...READ_ORDER, status: 'filled', filledQuantity: '0.5', averagePrice: '95200000' }
    },
    {
      name: 'the average price of an order without trades by its executed amount',
      ask: ofOrder,
      answers: read({ state: 'done', executed_volume: '0.5', executed_funds: '47600000', trades: undefined }),
      expected: { ...READ_ORDER, status: 'filled', filledQuantity: '0.5', averagePrice: '95200000' }
    },
    {
      name: 'the open orders, those that wait for a price included',
      ask: openOrders,
      answers: {
        [openOrdersPath]: JSON.stringify([
          { ...ORDER, trades: undefined },
          { ...ORDER, uuid: 'u-2', state: 'watch', side: 'bid', trades: undefined }
        ])
      },
      expected: [READ_ORDER, { ...READ_ORDER, exchangeOrderId: 'u-2', side: 'BUY' }]
    },
    {
      name: 'fills with fees of their own, oldest first',
      ask: fills('u-1', 'KRW-BTC'),
      answers: read({
        trades: [
          trade('t-2', '95500000', '0.2', 2, { ask_fee: '9550', bid_fee: '1' }),
          trade('t-1', '95000000', '0.3', 1, { ask_fee: '14250', bid_fee: '2' })
        ]
      }),
      expected: [readFill('t-1', '95000000', '0.3', 1, '14250'), readFill('t-2', '95500000', '0.2', 2, '9550')]
    },
    {
      name: 'fills without fees of their own: each gets its share of the paid fee, the last the rest',
      ask: fills('u-1', 'KRW-BTC'),
      answers: read({
        paid_fee: '100',
        trades: [trade('t-1', '100', '1', 1), trade('t-2', '100', '1', 2), trade('t-3', '100', '1', 3)]
      }),
      expected: [
        readFill('t-1', '100', '1', 1, '33.3333333333333333'),
        readFill('t-2', '100', '1', 2, '33.3333333333333333'),
        readFill('t-3', '100', '1', 3, '33.3333333333333334')
      ]
    },
    {
      name: 'fills of an order that says nothing about fees',
      ask: fills('u-1', 'KRW-BTC'),
      answers: read({ paid_fee: undefined, trades: [trade('t-1', '95000000', '0.3', 1)] }),
      expected: [readFill('t-1', '95000000', '0.3', 1, null)]
    },
    {
      name: 'no fills of an order without trades',
      ask: fills('u-1', 'KRW-BTC'),
      answers: read({ trades: undefined }),
      expected: []
    },
    {
      name: 'balances, without a currency that is empty',
      ask: balances,
      answers: {
        '/v1/accounts': JSON.stringify(
          [
            { currency: 'KRW', balance: '1000000.5', locked: '250000' },
            { currency: 'BTC', balance: '0', locked: '0.5' },
            { currency: 'XRP', balance: '0', locked: '0.0' }
          ].map(row => ({ ...row, avg_buy_price: '0', avg_buy_price_modified: false, unit_currency: 'KRW' }))
        )
      },
      expected: [
        { asset: 'KRW', free: '1000000.5', locked: '250000', total: '1250000.5' },
        { asset: 'BTC', free: '0', locked: '0.5', total: '0.5' }
      ]
    },
    {
      name: 'the instruments of every quote currency, without rows that cannot be read',
      ask: instruments,
      answers: {
        '/v1/market/all': JSON.stringify([
          { market: 'KRW-BTC', korean_name: '비트코인', english_name: 'Bitcoin' },
          { market: 'BTC-ETH', korean_name: '이더리움', english_name: 'Ethereum', market_warning: 'CAUTION' },
          { market: 'KRW', korean_name: '' },
          { korean_name: '없음' },
          { market: null }
        ])
      },
      expected: [
        { exchangeSymbol: 'KRW-BTC', symbol: 'BTCKRW', base: 'BTC', quote: 'KRW' },
        { exchangeSymbol: 'BTC-ETH', symbol: 'ETHBTC', base: 'ETH', quote: 'BTC' }
      ].map(pair => ({ ...pair, contractValue: '1', priceStep: null, quantityStep: null, trading: true }))
    },
    ...REFUSALS.map(([name, status, refused]) => tokenRefusal(name, status, refused)),
    {
      name: 'a refusal without a known name by its status',
      ask: ofOrder,
      answers: { '/v1/order': refusal(503, '{"error":{"name":"server_error","message":"..."}}') },
      expected: { refused: 'unavailable', exchangeCode: '503' }
    }
  ]
}
