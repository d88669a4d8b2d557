import { bybitLedger } from './bybit-ledger.ts'
import {
  balances,
  fills,
  instruments,
  openOrders,
  order,
  type PayloadCase,
  positions,
  prices,
  refusal
} from './payload-case.ts'

const answer = (result: object) =>
  JSON.stringify({ retCode: 0, retMsg: 'OK', result, retExtInfo: {}, time: 1717000000900 })
const listed = (...list: object[]) => answer({ category: 'linear', list, nextPageCursor: '' })

const ORDER = {
  orderId: 'b-1',
  orderLinkId: 'mine-b1',
  symbol: 'SOLUSDT',
  price: '150.5',
  qty: '4.0',
  side: 'Buy',
  positionIdx: 0,
  orderStatus: 'New',
  avgPrice: '',
  cumExecQty: '0.0',
  cumExecValue: '0',
  cumExecFee: '0',
  timeInForce: 'GTC',
  orderType: 'Limit',
  triggerPrice: '',
  marketUnit: '',
  reduceOnly: false,
  createdTime: '1717000000001',
  updatedTime: '1717000000002'
}

const READ_ORDER = {
  exchangeOrderId: 'b-1',
  clientOrderId: 'mine-b1',
  symbol: 'SOLUSDT',
  exchangeSymbol: 'SOLUSDT',
  side: 'BUY',
  positionSide: 'BOTH',
  orderType: 'LIMIT',
  price: '150.5',
  stopPrice: null,
  quantity: '4.0',
  filledQuantity: '0.0',
  averagePrice: null,
  status: 'open',
  createdAt: 1_717_000_000_001,
  updatedAt: 1_717_000_000_002
}

const EXECUTION = {
  symbol: 'SOLUSDT',
  orderId: 'b-1',
  execId: 'x-1',
  execType: 'Trade',
  side: 'Sell',
  execPrice: '151',
  execQty: '1.5',
  execFee: '0.12',
  execPnl: '3.5',
  feeCurrency: '',
  isMaker: false,
  execTime: '1717000000020'
}

const READ_FILL = {
  exchangeTradeId: 'x-1',
  exchangeOrderId: 'b-1',
  symbol: 'SOLUSDT',
  exchangeSymbol: 'SOLUSDT',
  side: 'SELL',
  positionSide: 'BOTH',
  price: '151',
  quantity: '1.5',
  fee: '0.12',
  feeAsset: 'USDT',
  realizedPnl: '3.5',
  executedAt: 1_717_000_000_020
}

const STATES = {
  Created: 'open',
  New: 'open',
  Active: 'open',
  Untriggered: 'open',
  Triggered: 'open',
  PartiallyFilled: 'partially_filled',
  Filled: 'filled',
  Cancelled: 'canceled',
  PartiallyFilledCanceled: 'canceled',
  Deactivated: 'canceled',
  Rejected: 'rejected'
}

const REFUSALS = [
  [5004, 'timeout'],
  [10000, 'timeout'],
  [10002, 'clock'],
  [10003, 'authentication'],
  [10004, 'authentication'],
  [10005, 'permission'],
  [10006, 'rate_limited'],
  [10007, 'authentication'],
  [10009, 'permission'],
  [10010, 'permission'],
  [10016, 'timeout'],
  [10018, 'rate_limited'],
  [10024, 'permission'],
  [10029, 'bad_symbol'],
  [33004, 'authentication'],
  [110001, 'order_not_found'],
  [170121, 'bad_symbol'],
  [170213, 'order_not_found'],
  [180000, 'invalid_answer']
] as const

const ofOrder = order('b-1', 'SOLUSDT')
const REALTIME = '/v5/order/realtime'

export const bybit: readonly PayloadCase[] = [
  {
    name: 'spot prices, all at the time of the answer, without a symbol that has not traded',
    ask: prices,
    answers: {
      '/v5/market/tickers?category=spot': listed(
        { symbol: 'SOLUSDT', bid1Price: '150.4', lastPrice: '150.50', volume24h: '1' },
        { symbol: 'NEWUSDT', bid1Price: '', lastPrice: '', volume24h: '0' }
      )
    },
    expected: [
      { symbol: 'SOLUSDT', exchangeSymbol: 'SOLUSDT', price: '150.50', at: 1_717_000_000_900, isListTime: true }
    ]
  },
  {
    name: 'futures prices with their marks: perpetuals in USDT and USDC, no dated and no inverse contract',
    market: 'FUTURES',
    ask: prices,
    answers: {
      '/v5/market/tickers?category=linear': listed(
        { symbol: 'SOLUSDT', lastPrice: '150.5', markPrice: '150.6' },
        { symbol: 'SOLPERP', lastPrice: '150.7', markPrice: '150.65' },
        { symbol: 'NEWUSDT', lastPrice: '2', markPrice: '' },
        { symbol: 'SOL-26DEC25', lastPrice: '155', markPrice: '155' },
        { symbol: 'SOLUSD', lastPrice: '150', markPrice: '150' }
      )
    },
    expected: [
      {
        symbol: 'SOLUSDT',
        exchangeSymbol: 'SOLUSDT',
        price: '150.5',
        at: 1_717_000_000_900,
        isListTime: true,
        mark: '150.6'
      },
      {
        symbol: 'SOLUSDC',
        exchangeSymbol: 'SOLPERP',
        price: '150.7',
        at: 1_717_000_000_900,
        isListTime: true,
        mark: '150.65'
      },
      { symbol: 'NEWUSDT', exchangeSymbol: 'NEWUSDT', price: '2', at: 1_717_000_000_900, isListTime: true }
    ]
  },
  {
    name: 'an order among the recent ones, by its id',
    ask: ofOrder,
    answers: { [REALTIME]: listed({ ...ORDER, orderId: 'b-0', side: 'Sell' }, ORDER) },
    expected: READ_ORDER
  },
  {
    name: 'an order in the history, where it is no recent one',
    ask: ofOrder,
    answers: {
      [REALTIME]: listed(),
      '/v5/order/history': listed({ ...ORDER, orderStatus: 'Filled', cumExecQty: '4.0', avgPrice: '150.25' })
    },
    expected: { ...READ_ORDER, status: 'filled', filledQuantity: '4.0', averagePrice: '150.25' }
  },
  {
    name: 'no order that neither list has',
    ask: ofOrder,
    answers: { [REALTIME]: listed(), '/v5/order/history': listed() },
    expected: { refused: 'order_not_found' }
  },
  {
    name: 'a spot market order to buy for an amount of quote currency: it has no quantity and no price',
    ask: ofOrder,
    answers: {
      [REALTIME]: listed({ ...ORDER, orderType: 'Market', marketUnit: 'quoteCoin', qty: '600', price: '160' })
    },
    expected: { ...READ_ORDER, orderType: 'MARKET', price: null, quantity: null }
  },
  {
    name: 'a spot market order to buy base units: it has a quantity',
    ask: ofOrder,
    answers: { [REALTIME]: listed({ ...ORDER, orderType: 'Market', marketUnit: 'baseCoin', price: '160' }) },
    expected: { ...READ_ORDER, orderType: 'MARKET', price: null }
  },
  {
    name: 'a spot market order to sell: it has a quantity',
    ask: ofOrder,
    answers: { [REALTIME]: listed({ ...ORDER, side: 'Sell', orderType: 'Market', price: '140' }) },
    expected: { ...READ_ORDER, side: 'SELL', orderType: 'MARKET', price: null }
  },
  {
    name: 'a futures market order to buy: it has a quantity',
    market: 'FUTURES',
    ask: ofOrder,
    answers: { [REALTIME]: listed({ ...ORDER, orderType: 'Market', price: '160' }) },
    expected: { ...READ_ORDER, orderType: 'MARKET', price: null }
  },
  {
    name: 'a conditional order to close a short position in hedge mode',
    market: 'FUTURES',
    ask: ofOrder,
    answers: {
      [REALTIME]: listed({ ...ORDER, positionIdx: 2, orderStatus: 'Untriggered', triggerPrice: '155', orderLinkId: '' })
    },
    expected: { ...READ_ORDER, positionSide: 'SHORT', stopPrice: '155', clientOrderId: null }
  },
  ...Object.entries(STATES).map(
    ([orderStatus, status]): PayloadCase => ({
      name: `the order state ${orderStatus}`,
      ask: ofOrder,
      answers: { [REALTIME]: listed({ ...ORDER, orderStatus }) },
      expected: { ...READ_ORDER, status }
    })
  ),
  ...[{ orderStatus: 'Paused' }, { side: 'buy' }, { positionIdx: 3 }].map(
    (wrong): PayloadCase => ({
      name: `no order with ${JSON.stringify(wrong)}`,
      ask: ofOrder,
      answers: { [REALTIME]: listed({ ...ORDER, ...wrong }) },
      expected: { refused: 'invalid_answer' }
    })
  ),
  {
    name: 'the open orders of both currencies of settlement, page by page, without those that ended',
    market: 'FUTURES',
    ask: openOrders,
    answers: {
      [`${REALTIME}?settleCoin=USDT&cursor=page:2`]: listed({
        ...ORDER,
        orderId: 'b-2',
        orderStatus: 'PartiallyFilled'
      }),
      [`${REALTIME}?settleCoin=USDT`]: answer({
        list: [ORDER, { ...ORDER, orderId: 'b-3', orderStatus: 'Cancelled' }],
        nextPageCursor: 'page%3A2'
      }),
      [`${REALTIME}?settleCoin=USDC`]: listed({ ...ORDER, orderId: 'b-4', symbol: 'SOLPERP', side: 'Sell' })
    },
    expected: [
      READ_ORDER,
      { ...READ_ORDER, exchangeOrderId: 'b-2', status: 'partially_filled' },
      { ...READ_ORDER, exchangeOrderId: 'b-4', symbol: 'SOLUSDC', exchangeSymbol: 'SOLPERP', side: 'SELL' }
    ]
  },
  {
    name: 'the fills of a futures order, oldest first, without funding and without other orders',
    market: 'FUTURES',
    ask: fills('b-1', 'SOLUSDT'),
    answers: {
      '/v5/execution/list': listed(
        { ...EXECUTION, execId: 'x-4', execType: 'Funding' },
        { ...EXECUTION, execId: 'x-3', orderId: 'b-9' },
        { ...EXECUTION, execId: 'x-2', execFee: '-0.01', execType: 'AdlTrade' },
        EXECUTION,
        { ...EXECUTION, execId: 'x-0', execType: 'BustTrade', execTime: '1717000000019' }
      )
    },
    expected: [
      { ...READ_FILL, exchangeTradeId: 'x-0', executedAt: 1_717_000_000_019, forced: true },
      READ_FILL,
      { ...READ_FILL, exchangeTradeId: 'x-2', fee: '-0.01', forced: true }
    ]
  },
  {
    name: 'a fee in USDC of a perpetual that settles in it',
    market: 'FUTURES',
    ask: fills('b-1', 'SOLPERP'),
    answers: { '/v5/execution/list': listed({ ...EXECUTION, symbol: 'SOLPERP' }) },
    expected: [{ ...READ_FILL, symbol: 'SOLUSDC', exchangeSymbol: 'SOLPERP', feeAsset: 'USDC' }]
  },
  {
    name: 'the fills of a spot order: the fee names its asset, no profit is realised',
    ask: fills('b-1', 'SOLUSDT'),
    answers: { '/v5/execution/list': listed({ ...EXECUTION, side: 'Buy', feeCurrency: 'SOL', execFee: '0.0015' }) },
    expected: [{ ...READ_FILL, side: 'BUY', fee: '0.0015', feeAsset: 'SOL', realizedPnl: null }]
  },
  {
    name: 'balances: what orders and positions bind is locked, an empty coin is left out',
    ask: balances,
    answers: {
      '/v5/account/wallet-balance?accountType=UNIFIED': answer({
        list: [
          {
            accountType: 'UNIFIED',
            totalEquity: '1',
            coin: [
              { coin: 'USDT', walletBalance: '100', locked: '10', totalOrderIM: '5.5', totalPositionIM: '4.5' },
              { coin: 'SOL', walletBalance: '2.50', locked: '0', totalOrderIM: '', totalPositionIM: '' },
              { coin: 'BTC', walletBalance: '0', locked: '0', totalOrderIM: '0', totalPositionIM: '0' },
              { coin: 'USDC', walletBalance: '1', locked: '3', totalOrderIM: '0', totalPositionIM: '0' }
            ]
          }
        ]
      })
    },
    expected: [
      { asset: 'USDT', free: '80', locked: '20', total: '100' },
      { asset: 'SOL', free: '2.50', locked: '0', total: '2.50' },
      { asset: 'USDC', free: '0', locked: '1', total: '1' }
    ]
  },
  {
    name: 'positions, a short below zero, without a flat one',
    market: 'FUTURES',
    ask: positions,
    answers: {
      '/v5/position/list?settleCoin=USDT': listed(
        {
          symbol: 'SOLUSDT',
          side: 'Buy',
          size: '4.0',
          positionIdx: 1,
          avgPrice: '150.5',
          markPrice: '151',
          unrealisedPnl: '2',
          updatedTime: '1717000000030'
        },
        { symbol: 'ETHUSDT', side: '', size: '0', positionIdx: 0, avgPrice: '0', markPrice: '1', unrealisedPnl: '' }
      ),
      '/v5/position/list?settleCoin=USDC': listed({
        symbol: 'SOLPERP',
        side: 'Sell',
        size: '1.5',
        positionIdx: 0,
        avgPrice: '',
        entryPrice: '149',
        markPrice: '151',
        unrealisedPnl: '-3',
        updatedTime: '0'
      })
    },
    expected: [
      {
        symbol: 'SOLUSDT',
        exchangeSymbol: 'SOLUSDT',
        positionSide: 'LONG',
        quantity: '4.0',
        entryPrice: '150.5',
        markPrice: '151',
        unrealizedPnl: '2',
        updatedAt: 1_717_000_000_030
      },
      {
        symbol: 'SOLUSDC',
        exchangeSymbol: 'SOLPERP',
        positionSide: 'BOTH',
        quantity: '-1.5',
        entryPrice: '149',
        markPrice: '151',
        unrealizedPnl: '-3',
        updatedAt: null
      }
    ]
  },
  ...REFUSALS.map(
    ([code, refused]): PayloadCase => ({
      name: `the refusal ${code} in an answer of 200`,
      ask: ofOrder,
      answers: {
        '/v5/market/time': answer({ timeSecond: '1717000000' }),
        [REALTIME]: refusal(200, `{"retCode":${code},"retMsg":"refused","result":{},"time":1717000000901}`, {
          // Longer than any deadline: the year 2286.
          'x-bapi-limit-reset-timestamp': '9999999999999'
        })
      },
      expected: { refused, exchangeCode: String(code) }
    })
  ),
  {
    name: 'a parameter error that is about the symbol as a bad symbol',
    ask: ofOrder,
    answers: { [REALTIME]: '{"retCode":10001,"retMsg":"params error: symbol invalid SOLUSDT","result":{}}' },
    expected: { refused: 'bad_symbol', exchangeCode: '10001' }
  },
  {
    name: 'any other parameter error as an invalid answer',
    ask: ofOrder,
    answers: { [REALTIME]: '{"retCode":10001,"retMsg":"params error: limit","result":{}}' },
    expected: { refused: 'invalid_answer', exchangeCode: '10001' }
  },
  {
    name: 'a 403 without a code as too many calls',
    ask: ofOrder,
    answers: { [REALTIME]: refusal(403, '{}') },
    expected: { refused: 'rate_limited', exchangeCode: '403' }
  },
  {
    name: 'the instruments of all pages, without dated contracts and rows that cannot be read',
    market: 'FUTURES',
    ask: instruments,
    answers: {
      '/v5/market/instruments-info?cursor=second%3D1': JSON.stringify({
        retCode: 0,
        result: {
          category: 'linear',
          list: [
            {
              symbol: 'ETHUSDT',
              contractType: 'LinearPerpetual',
              status: 'PreLaunch',
              baseCoin: 'ETH',
              quoteCoin: 'USDT'
            }
          ],
          nextPageCursor: ''
        }
      }),
      '/v5/market/instruments-info?category=linear&limit=1000': JSON.stringify({
        retCode: 0,
        result: {
          category: 'linear',
          list: [
            {
              symbol: 'BTCPERP',
              contractType: 'LinearPerpetual',
              status: 'Trading',
              baseCoin: 'BTC',
              quoteCoin: 'USDC',
              settleCoin: 'USDC',
              leverageFilter: { minLeverage: '1' },
              priceFilter: { minPrice: '0.10', tickSize: '0.10' },
              lotSizeFilter: { maxOrderQty: '1190.000', qtyStep: '0.001' }
            },
            {
              symbol: 'BTC-25DEC26',
              contractType: 'LinearFutures',
              status: 'Trading',
              baseCoin: 'BTC',
              quoteCoin: 'USDC'
            },
            { contractType: 'LinearPerpetual', status: 'Trading', baseCoin: 'X', quoteCoin: 'USDT' },
            { symbol: 'YUSDT', contractType: 'LinearPerpetual', status: 'Trading', baseCoin: 'Y', quoteCoin: '' }
          ],
          nextPageCursor: 'second%3D1'
        }
      })
    },
    expected: [
      {
        exchangeSymbol: 'BTCPERP',
        symbol: 'BTCUSDC',
        base: 'BTC',
        quote: 'USDC',
        contractValue: '1',
        priceStep: '0.10',
        quantityStep: '0.001',
        trading: true
      },
      {
        exchangeSymbol: 'ETHUSDT',
        symbol: 'ETHUSDT',
        base: 'ETH',
        quote: 'USDT',
        contractValue: '1',
        priceStep: null,
        quantityStep: null,
        trading: false
      }
    ]
  },
  ...bybitLedger
]
