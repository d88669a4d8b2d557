import { binanceLedger } from './binance-ledger.ts'
import {
  balances,
  fills,
  instruments,
  marks,
  openOrders,
  order,
  type PayloadCase,
  positions,
  prices,
  refusal
} from './payload-case.ts'

const spotOrder = (rest: Readonly<Record<string, unknown>> = {}) =>
  JSON.stringify({
    symbol: 'ETHUSDT',
    orderId: 71,
    orderListId: -1,
    clientOrderId: 'mine-71',
    price: '2000.50',
    origQty: '3.000',
    executedQty: '0.000',
    cummulativeQuoteQty: '0.00',
    status: 'NEW',
    timeInForce: 'GTC',
    type: 'LIMIT',
    side: 'SELL',
    stopPrice: '0.0',
    icebergQty: '0.0',
    time: 1717000000001,
    updateTime: 1717000000002,
    isWorking: true,
    ...rest
  })

const readSpotOrder = {
  exchangeOrderId: '71',
  clientOrderId: 'mine-71',
  symbol: 'ETHUSDT',
  exchangeSymbol: 'ETHUSDT',
  side: 'SELL',
  positionSide: 'BOTH',
  orderType: 'LIMIT',
  price: '2000.50',
  stopPrice: null,
  quantity: '3.000',
  filledQuantity: '0.000',
  averagePrice: null,
  status: 'open',
  createdAt: 1_717_000_000_001,
  updatedAt: 1_717_000_000_002
}

const futuresOrder = (rest: Readonly<Record<string, unknown>> = {}) =>
  JSON.stringify({
    avgPrice: '0.00000',
    clientOrderId: 'mine-72',
    cumQuote: '0',
    executedQty: '0',
    orderId: 72,
    origQty: '0.40',
    origType: 'LIMIT',
    price: '61000.1',
    reduceOnly: false,
    side: 'BUY',
    positionSide: 'SHORT',
    status: 'NEW',
    stopPrice: '0',
    closePosition: false,
    symbol: 'BTCUSDT',
    time: 1717000000003,
    timeInForce: 'GTC',
    type: 'LIMIT',
    updateTime: 1717000000004,
    workingType: 'CONTRACT_PRICE',
    priceProtect: false,
    ...rest
  })

const readFuturesOrder = {
  exchangeOrderId: '72',
  clientOrderId: 'mine-72',
  symbol: 'BTCUSDT',
  exchangeSymbol: 'BTCUSDT',
  side: 'BUY',
  positionSide: 'SHORT',
  orderType: 'LIMIT',
  price: '61000.1',
  stopPrice: null,
  quantity: '0.40',
  filledQuantity: '0',
  averagePrice: null,
  status: 'open',
  createdAt: 1_717_000_000_003,
  updatedAt: 1_717_000_000_004
}

const algoOrder = (rest: Readonly<Record<string, unknown>> = {}) =>
  JSON.stringify({
    algoId: 900,
    clientAlgoId: 'stop-900',
    algoType: 'CONDITIONAL',
    orderType: 'STOP_MARKET',
    symbol: 'BTCUSDT',
    side: 'SELL',
    positionSide: 'LONG',
    timeInForce: 'GTC',
    quantity: '0.25',
    algoStatus: 'NEW',
    actualOrderId: '',
    actualPrice: '0.00000',
    triggerPrice: '58000.5',
    price: '0.00000',
    createTime: 1717000000005,
    updateTime: 1717000000006,
    triggerTime: 0,
    ...rest
  })

const readAlgoOrder = {
  exchangeOrderId: '900',
  clientOrderId: 'stop-900',
  symbol: 'BTCUSDT',
  exchangeSymbol: 'BTCUSDT',
  side: 'SELL',
  positionSide: 'LONG',
  orderType: 'STOP_MARKET',
  price: null,
  stopPrice: '58000.5',
  quantity: '0.25',
  filledQuantity: '0',
  averagePrice: null,
  status: 'open',
  createdAt: 1_717_000_000_005,
  updatedAt: 1_717_000_000_006
}

const ofOrder71 = order('71', 'ETHUSDT')
const SPOT_STATES = {
  NEW: 'open',
  PENDING_NEW: 'open',
  PENDING_CANCEL: 'open',
  PARTIALLY_FILLED: 'partially_filled',
  FILLED: 'filled',
  CANCELED: 'canceled',
  REJECTED: 'rejected',
  EXPIRED: 'expired',
  EXPIRED_IN_MATCH: 'expired'
}
const FUTURES_STATES = { NEW_INSURANCE: 'open', NEW_ADL: 'open', EXPIRED: 'expired' }
const ALGO_STATES = {
  NEW: 'open',
  TRIGGERING: 'open',
  TRIGGERED: 'open',
  FINISHED: 'open',
  CANCELED: 'canceled',
  REJECTED: 'rejected',
  EXPIRED: 'expired'
}
const REFUSALS = [
  [-1000, 500, 'unavailable'],
  [-1001, 500, 'unavailable'],
  [-1002, 401, 'authentication'],
  [-1003, 429, 'rate_limited'],
  [-1007, 408, 'timeout'],
  [-1008, 503, 'unavailable'],
  [-1015, 429, 'rate_limited'],
  [-1021, 400, 'clock'],
  [-1022, 400, 'authentication'],
  [-1099, 401, 'authentication'],
  [-1121, 400, 'bad_symbol'],
  [-2008, 401, 'authentication'],
  [-2013, 400, 'order_not_found'],
  [-2014, 401, 'authentication'],
  [-2015, 401, 'authentication']
] as const

export const binance: readonly PayloadCase[] = [
  {
    name: 'spot prices, without a symbol that has not traded',
    ask: prices,
    answers: {
      '/api/v3/ticker/price':
        '[{"symbol":"ETHUSDT","price":"2000.50000000"},{"symbol":"NEWUSDT","price":"0.00000000"},{"symbol":"PEPEUSDT","price":"0.00000123"}]'
    },
    expected: [
      { symbol: 'ETHUSDT', exchangeSymbol: 'ETHUSDT', price: '2000.50000000', at: null },
      { symbol: 'PEPEUSDT', exchangeSymbol: 'PEPEUSDT', price: '0.00000123', at: null }
    ]
  },
  {
    name: 'futures prices with their times, without dated contracts',
    market: 'FUTURES',
    ask: prices,
    answers: {
      '/fapi/v2/ticker/price':
        '[{"symbol":"BTCUSDT","price":"61000.10","time":1717000000010},{"symbol":"BTCUSDT_270326","price":"63000.0","time":1717000000011}]'
    },
    expected: [{ symbol: 'BTCUSDT', exchangeSymbol: 'BTCUSDT', price: '61000.10', at: 1_717_000_000_010 }]
  },
  {
    name: 'mark prices with their times, without dated contracts',
    market: 'FUTURES',
    ask: marks,
    answers: {
      '/fapi/v1/premiumIndex':
        '[{"symbol":"BTCUSDT","markPrice":"61000.12345678","indexPrice":"61000.2","lastFundingRate":"0.0001","nextFundingTime":1717027200000,"time":1717000000010},{"symbol":"BTCUSDT_270326","markPrice":"63000.0","indexPrice":"61000.2","lastFundingRate":"","nextFundingTime":0,"time":1717000000010}]'
    },
    expected: [{ symbol: 'BTCUSDT', exchangeSymbol: 'BTCUSDT', price: '61000.12345678', at: 1_717_000_000_010 }]
  },
  {
    name: 'a spot order without a fill',
    ask: ofOrder71,
    answers: { '/api/v3/order': spotOrder() },
    expected: readSpotOrder
  },
  {
    name: 'the average price of a spot order, from what its fills cost',
    ask: ofOrder71,
    answers: {
      '/api/v3/order': spotOrder({ executedQty: '0.500', cummulativeQuoteQty: '1001.25', status: 'PARTIALLY_FILLED' })
    },
    expected: {
      ...readSpotOrder,
      filledQuantity: '0.500',
      averagePrice: '2002.5',
      status: 'partially_filled'
    }
  },
  {
    name: 'no average price of a spot order that is too old for Binance to know its cost',
    ask: ofOrder71,
    answers: {
      '/api/v3/order': spotOrder({ executedQty: '3.000', cummulativeQuoteQty: '-1.00', status: 'FILLED' })
    },
    expected: { ...readSpotOrder, filledQuantity: '3.000', averagePrice: null, status: 'filled' }
  },
  {
    name: 'a stop order on spot, with its trigger price',
    ask: ofOrder71,
    answers: { '/api/v3/order': spotOrder({ type: 'STOP_LOSS_LIMIT', stopPrice: '1990.0', price: '1980.0' }) },
    expected: { ...readSpotOrder, orderType: 'STOP_LOSS_LIMIT', stopPrice: '1990.0', price: '1980.0' }
  },
  {
    name: 'an order in the form that answers its creation',
    ask: ofOrder71,
    answers: {
      '/api/v3/order': spotOrder({ time: undefined, updateTime: undefined, transactTime: 1717000000009 })
    },
    expected: { ...readSpotOrder, createdAt: 1_717_000_000_009, updatedAt: 1_717_000_000_009 }
  },
  ...Object.entries(SPOT_STATES).map(
    ([status, state]): PayloadCase => ({
      name: `the spot order state ${status}`,
      ask: ofOrder71,
      answers: { '/api/v3/order': spotOrder({ status }) },
      expected: { ...readSpotOrder, status: state }
    })
  ),
  {
    name: 'no order with an unknown state',
    ask: ofOrder71,
    answers: { '/api/v3/order': spotOrder({ status: 'HALTED' }) },
    expected: { refused: 'invalid_answer' }
  },
  {
    name: 'no order with an unknown side',
    ask: ofOrder71,
    answers: { '/api/v3/order': spotOrder({ side: 'HOLD' }) },
    expected: { refused: 'invalid_answer' }
  },
  {
    name: 'the open orders of spot',
    ask: openOrders,
    answers: { '/api/v3/openOrders': `[${spotOrder()},${spotOrder({ orderId: 73, side: 'BUY' })}]` },
    expected: [readSpotOrder, { ...readSpotOrder, exchangeOrderId: '73', side: 'BUY' }]
  },
  {
    name: 'the fills of a spot order, bought and sold, with fees in two assets',
    ask: fills('71', 'ETHUSDT'),
    answers: {
      '/api/v3/myTrades': JSON.stringify([
        {
          symbol: 'ETHUSDT',
          id: 501,
          orderId: 71,
          orderListId: -1,
          price: '2000.5',
          qty: '1.25',
          quoteQty: '2500.625',
          commission: '0.00125',
          commissionAsset: 'ETH',
          time: 1717000000020,
          isBuyer: true,
          isMaker: false,
          isBestMatch: true
        },
        {
          symbol: 'ETHUSDT',
          id: 502,
          orderId: 71,
          orderListId: -1,
          price: '2001',
          qty: '0.75',
          quoteQty: '1500.75',
          commission: '0.0003',
          commissionAsset: 'BNB',
          time: 1717000000021,
          isBuyer: false,
          isMaker: true,
          isBestMatch: true
        }
      ])
    },
    expected: [
      {
        exchangeTradeId: '501',
        exchangeOrderId: '71',
        symbol: 'ETHUSDT',
        exchangeSymbol: 'ETHUSDT',
        side: 'BUY',
        positionSide: 'BOTH',
        price: '2000.5',
        quantity: '1.25',
        fee: '0.00125',
        feeAsset: 'ETH',
        realizedPnl: null,
        executedAt: 1_717_000_000_020
      },
      {
        exchangeTradeId: '502',
        exchangeOrderId: '71',
        symbol: 'ETHUSDT',
        exchangeSymbol: 'ETHUSDT',
        side: 'SELL',
        positionSide: 'BOTH',
        price: '2001',
        quantity: '0.75',
        fee: '0.0003',
        feeAsset: 'BNB',
        realizedPnl: null,
        executedAt: 1_717_000_000_021
      }
    ]
  },
  {
    name: 'spot balances, without an asset that is empty',
    ask: balances,
    answers: {
      '/api/v3/account': JSON.stringify({
        makerCommission: 10,
        canTrade: true,
        accountType: 'SPOT',
        balances: [
          { asset: 'USDT', free: '10.10000001', locked: '0.90000000' },
          { asset: 'ETH', free: '0.0', locked: '2.5' },
          { asset: 'BNB', free: '0.0', locked: '0.0' }
        ]
      })
    },
    expected: [
      { asset: 'USDT', free: '10.10000001', locked: '0.90000000', total: '11.00000001' },
      { asset: 'ETH', free: '0.0', locked: '2.5', total: '2.5' }
    ]
  },
  {
    name: 'a futures order, whose id is longer than a float holds',
    market: 'FUTURES',
    ask: order('9007199254740993', 'BTCUSDT'),
    answers: {
      '/fapi/v1/order': futuresOrder({ avgPrice: '60999.90', executedQty: '0.10', status: 'PARTIALLY_FILLED' }).replace(
        '"orderId":72',
        '"orderId":9007199254740993'
      )
    },
    expected: {
      ...readFuturesOrder,
      exchangeOrderId: '9007199254740993',
      filledQuantity: '0.10',
      averagePrice: '60999.90',
      status: 'partially_filled'
    }
  },
  {
    name: 'an order in one-way mode, which names no position side',
    market: 'FUTURES',
    ask: order('72', 'BTCUSDT'),
    answers: { '/fapi/v1/order': futuresOrder({ positionSide: undefined }) },
    expected: { ...readFuturesOrder, positionSide: 'BOTH' }
  },
  {
    name: 'no order with an unknown position side',
    market: 'FUTURES',
    ask: order('72', 'BTCUSDT'),
    answers: { '/fapi/v1/order': futuresOrder({ positionSide: 'FLAT' }) },
    expected: { refused: 'invalid_answer' }
  },
  ...Object.entries(FUTURES_STATES).map(
    ([status, state]): PayloadCase => ({
      name: `the futures order state ${status}`,
      market: 'FUTURES',
      ask: order('72', 'BTCUSDT'),
      answers: { '/fapi/v1/order': futuresOrder({ status }) },
      expected: { ...readFuturesOrder, status: state }
    })
  ),
  ...Object.entries(ALGO_STATES).map(
    ([algoStatus, state]): PayloadCase => ({
      name: `the state ${algoStatus} of a conditional order that has become no other`,
      market: 'FUTURES',
      ask: order('900', 'BTCUSDT', 'STOP_MARKET'),
      answers: { '/fapi/v1/algoOrder': algoOrder({ algoStatus }) },
      expected: { ...readAlgoOrder, status: state, ...(algoStatus === 'FINISHED' && { lostChild: true }) }
    })
  ),
  {
    name: 'a triggered conditional order: what it became, under the id and type it was placed with',
    market: 'FUTURES',
    ask: order('900', 'BTCUSDT', 'STOP_MARKET'),
    answers: {
      '/fapi/v1/algoOrder': algoOrder({ algoStatus: 'FINISHED', actualOrderId: '77' }),
      '/fapi/v1/order': futuresOrder({
        orderId: 77,
        type: 'MARKET',
        status: 'FILLED',
        executedQty: '0.40',
        avgPrice: '57990'
      })
    },
    expected: {
      ...readFuturesOrder,
      exchangeOrderId: '900',
      orderType: 'STOP_MARKET',
      stopPrice: '58000.5',
      filledQuantity: '0.40',
      averagePrice: '57990',
      status: 'filled'
    }
  },
  {
    name: 'a conditional type among the ordinary orders, where no conditional one has its id',
    market: 'FUTURES',
    ask: order('72', 'BTCUSDT', 'STOP_MARKET'),
    answers: {
      '/fapi/v1/algoOrder': refusal(400, '{"code":-2013,"msg":"Order does not exist."}'),
      '/fapi/v1/order': futuresOrder({ type: 'STOP_MARKET', stopPrice: '58000' })
    },
    expected: { ...readFuturesOrder, orderType: 'STOP_MARKET', stopPrice: '58000' }
  },
  {
    name: 'the open orders of futures, conditional ones included, dated contracts left out',
    market: 'FUTURES',
    ask: openOrders,
    answers: {
      '/fapi/v1/openOrders': `[${futuresOrder()},${futuresOrder({ symbol: 'BTCUSDT_270326' })}]`,
      '/fapi/v1/openAlgoOrders': `[${algoOrder()}]`
    },
    expected: [readFuturesOrder, readAlgoOrder]
  },
  {
    name: 'the fills of a futures order with the realised profit, a rebate below zero, other orders left out',
    market: 'FUTURES',
    ask: fills('72', 'BTCUSDT'),
    answers: {
      '/fapi/v1/userTrades': JSON.stringify(
        [
          { id: 601, orderId: 72, realizedPnl: '-12.5', commission: '-0.07' },
          { id: 602, orderId: 80, realizedPnl: '0', commission: '0.1' }
        ].map(row => ({
          buyer: false,
          commissionAsset: 'USDT',
          maker: true,
          price: '61000.1',
          qty: '0.40',
          quoteQty: '24400.04',
          side: 'SELL',
          positionSide: 'LONG',
          symbol: 'BTCUSDT',
          time: 1717000000030,
          ...row
        }))
      )
    },
    expected: [
      {
        exchangeTradeId: '601',
        exchangeOrderId: '72',
        symbol: 'BTCUSDT',
        exchangeSymbol: 'BTCUSDT',
        side: 'SELL',
        positionSide: 'LONG',
        price: '61000.1',
        quantity: '0.40',
        fee: '-0.07',
        feeAsset: 'USDT',
        realizedPnl: '-12.5',
        executedAt: 1_717_000_000_030
      }
    ]
  },
  {
    name: 'no fills of a conditional order that was not triggered, without a call for them',
    market: 'FUTURES',
    ask: fills('900', 'BTCUSDT', 'STOP_MARKET'),
    answers: { '/fapi/v1/algoOrder': algoOrder({ actualOrderId: '0' }) },
    expected: []
  },
  {
    name: 'futures balances: what is not available is locked, an empty asset is left out',
    market: 'FUTURES',
    ask: balances,
    answers: {
      '/fapi/v3/balance': JSON.stringify(
        [
          { asset: 'USDT', balance: '122.5', availableBalance: '23.25' },
          { asset: 'BNB', balance: '0.00', availableBalance: '0.00' },
          { asset: 'USDC', balance: '5', availableBalance: '30' }
        ].map(row => ({ accountAlias: 'a', crossWalletBalance: '1', crossUnPnl: '0', marginAvailable: true, ...row }))
      )
    },
    expected: [
      { asset: 'USDT', free: '23.25', locked: '99.25', total: '122.5' },
      { asset: 'USDC', free: '5', locked: '0', total: '5' }
    ]
  },
  {
    name: 'positions in hedge mode, without a flat one',
    market: 'FUTURES',
    ask: positions,
    answers: {
      '/fapi/v3/positionRisk': JSON.stringify(
        [
          {
            positionSide: 'LONG',
            positionAmt: '0.40',
            entryPrice: '61000.1',
            markPrice: '61100',
            unRealizedProfit: '39.96'
          },
          {
            positionSide: 'SHORT',
            positionAmt: '-0.10',
            entryPrice: '0.0',
            markPrice: '61100',
            unRealizedProfit: '-9.5'
          },
          { positionSide: 'BOTH', positionAmt: '0.00', entryPrice: '0.0', markPrice: '61100', unRealizedProfit: '0' }
        ].map(row => ({
          symbol: 'BTCUSDT',
          breakEvenPrice: '1',
          liquidationPrice: '0',
          updateTime: 1717000000040,
          ...row
        }))
      )
    },
    expected: [
      {
        symbol: 'BTCUSDT',
        exchangeSymbol: 'BTCUSDT',
        positionSide: 'LONG',
        quantity: '0.40',
        entryPrice: '61000.1',
        markPrice: '61100',
        unrealizedPnl: '39.96',
        updatedAt: 1_717_000_000_040
      },
      {
        symbol: 'BTCUSDT',
        exchangeSymbol: 'BTCUSDT',
        positionSide: 'SHORT',
        quantity: '-0.10',
        entryPrice: null,
        markPrice: '61100',
        unrealizedPnl: '-9.5',
        updatedAt: 1_717_000_000_040
      }
    ]
  },
  {
    name: 'the instruments, without rows that cannot be read',
    ask: instruments,
    answers: {
      '/api/v3/exchangeInfo?showPermissionSets=false': JSON.stringify({
        timezone: 'UTC',
        rateLimits: [{ rateLimitType: 'RAW_REQUESTS', limit: 61000 }],
        exchangeFilters: [],
        symbols: [
          {
            symbol: 'XRPRLUSD',
            status: 'TRADING',
            baseAsset: 'XRP',
            quoteAsset: 'RLUSD',
            orderTypes: ['LIMIT'],
            filters: [
              { filterType: 'MARKET_LOT_SIZE', stepSize: '0.00000000' },
              { filterType: 'LOT_SIZE', stepSize: '0.10000000' },
              { filterType: 'PRICE_FILTER', tickSize: '0.00010000' }
            ]
          },
          { symbol: 'BTCU', status: 'BREAK', baseAsset: 'BTC', quoteAsset: 'U', filters: [] },
          { symbol: 'ONE', status: 'TRADING', baseAsset: null, quoteAsset: 'ONE', filters: [] },
          { symbol: 'TWOUSDT', status: 'TRADING', baseAsset: 'TWO\u0000', quoteAsset: 'USDT', filters: [] },
          { symbol: 'THREEUSDT', status: 'TRADING', baseAsset: 'THREE', quoteAsset: 'USDT', filters: 'none' },
          { symbol: 'FOURUSDT', status: 'A_NEW_STATUS', baseAsset: 'FOUR', quoteAsset: 'USDT' }
        ]
      })
    },
    expected: [
      {
        exchangeSymbol: 'XRPRLUSD',
        symbol: 'XRPRLUSD',
        base: 'XRP',
        quote: 'RLUSD',
        contractValue: '1',
        priceStep: '0.00010000',
        quantityStep: '0.10000000',
        trading: true
      },
      {
        exchangeSymbol: 'BTCU',
        symbol: 'BTCU',
        base: 'BTC',
        quote: 'U',
        contractValue: '1',
        priceStep: null,
        quantityStep: null,
        trading: false
      },
      {
        exchangeSymbol: 'FOURUSDT',
        symbol: 'FOURUSDT',
        base: 'FOUR',
        quote: 'USDT',
        contractValue: '1',
        priceStep: null,
        quantityStep: null,
        trading: false
      }
    ]
  },
  {
    name: 'the perpetuals of futures, also those that do not trade, without dated contracts',
    market: 'FUTURES',
    ask: instruments,
    answers: {
      '/fapi/v1/exchangeInfo': JSON.stringify({
        futuresType: 'U_MARGINED',
        rateLimits: [{ rateLimitType: 'REQUEST_WEIGHT', limit: 2400 }],
        exchangeFilters: [],
        assets: [{ asset: 'USDT', marginAvailable: true, autoAssetExchange: '-10000' }],
        symbols: [
          ['1000PEPEUSDC', 'PERPETUAL', 'TRADING', '1000PEPE', 'USDC'],
          ['TSLAUSDT', 'TRADIFI_PERPETUAL', 'TRADING', 'TSLA', 'USDT'],
          ['BTCUSDT_261225', 'CURRENT_QUARTER', 'TRADING', 'BTC', 'USDT'],
          ['OLDUSDT', 'PERPETUAL', 'SETTLING', 'OLD', 'USDT'],
          ['NEWUSDT', 'PERPETUAL', 'PENDING_TRADING', 'NEW', 'USDT'],
          ['GONEUSDT', '', 'SETTLING', 'GONE', 'USDT']
        ].map(([symbol, contractType, status, baseAsset, quoteAsset]) => ({
          symbol,
          contractType,
          status,
          baseAsset,
          quoteAsset,
          deliveryDate: 4133404800000,
          filters: [
            { filterType: 'PRICE_FILTER', tickSize: '0.10' },
            { filterType: 'LOT_SIZE', stepSize: '0.001' }
          ]
        }))
      })
    },
    expected: [
      ['1000PEPEUSDC', '1000PEPE', 'USDC', true],
      ['TSLAUSDT', 'TSLA', 'USDT', true],
      ['OLDUSDT', 'OLD', 'USDT', false],
      ['NEWUSDT', 'NEW', 'USDT', false]
    ].map(([symbol, base, quote, trading]) => ({
      exchangeSymbol: symbol,
      symbol,
      base,
      quote,
      contractValue: '1',
      priceStep: '0.10',
      quantityStep: '0.001',
      trading
    }))
  },
  ...REFUSALS.map(
    ([code, status, refused]): PayloadCase => ({
      name: `the refusal ${code}`,
      ask: ofOrder71,
      answers: {
        '/api/v3/time': '{"serverTime":1717000000050}',
        '/api/v3/order': refusal(status, `{"code":${code},"msg":"refused"}`, { 'retry-after': '60' })
      },
      expected: { refused, exchangeCode: String(code) }
    })
  ),
  {
    name: 'the 403 of the firewall as too many calls',
    ask: ofOrder71,
    answers: { '/api/v3/order': refusal(403, '<html>blocked</html>') },
    expected: { refused: 'rate_limited', exchangeCode: '403' }
  },
  ...binanceLedger
]
