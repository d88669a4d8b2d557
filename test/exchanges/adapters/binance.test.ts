import t from 'tap'
import type { MarketType } from '../../../src/domain/market.ts'
import {
  BinanceClient,
  parseBinanceAlgoOrder,
  parseBinanceFill,
  parseBinanceFuturesBalances,
  parseBinanceOrder,
  parseBinancePosition,
  parseBinanceSpotBalances
} from '../../../src/exchanges/adapters/binance.ts'
import { BINANCE_WALLET_LIMITS } from '../../../src/exchanges/adapters/binance-ledger.ts'
import { type Answers, bodies, CannedGateway } from '../../support/canned-gateway.ts'
import { failureOf } from '../failure.ts'

const KEYS = { apiKey: 'key', apiSecret: 'secret' }

function clientOf(answers: Answers = () => undefined, marketType: MarketType = 'SPOT', isTestnet = false) {
  const gateway = new CannedGateway('BINANCE', answers)
  const baseUrl = 'https://binance.example'
  return { gateway, client: new BinanceClient({ gateway, marketType, isTestnet, credentials: KEYS, baseUrl }) }
}

/** Requests without the parameters at the end of every signed query. */
const requestsOf = (gateway: CannedGateway) =>
  gateway.requests().map(request => request.replace(/[?&]recvWindow=10000&timestamp=1700000000000&signature=.*$/, ''))

const order = {
  symbol: 'BTCUSDT',
  orderId: '9007199254740993',
  clientOrderId: 'mine',
  price: '100.50',
  origQty: '2',
  executedQty: '0.5',
  cummulativeQuoteQty: '50.125',
  avgPrice: '100.75',
  status: 'PARTIALLY_FILLED',
  type: 'STOP_LOSS_LIMIT',
  side: 'BUY',
  positionSide: 'LONG',
  stopPrice: '99',
  time: '1700000000001',
  updateTime: '1700000000002'
}
const unified = {
  exchangeOrderId: '9007199254740993',
  clientOrderId: 'mine',
  symbol: 'BTCUSDT',
  exchangeSymbol: 'BTCUSDT',
  side: 'BUY',
  positionSide: 'BOTH',
  orderType: 'STOP_LOSS_LIMIT',
  price: '100.50',
  stopPrice: '99',
  quantity: '2',
  filledQuantity: '0.5',
  averagePrice: '100.25',
  status: 'partially_filled',
  createdAt: 1_700_000_000_001,
  updatedAt: 1_700_000_000_002
}
const futuresUnified = { ...unified, positionSide: 'LONG', averagePrice: '100.75' }

t.test('a host has the weight per minute of its market', async t => {
  for (const [market, weight, path, cost] of [
    ['SPOT', 6_000, '/api/v3/time', '1 weight'],
    ['FUTURES', 2_400, '/fapi/v1/time', '1 weight']
  ] as const) {
    const { client, gateway } = clientOf(bodies({ [path]: { serverTime: 1_700_000_000_123 } }), market)
    const [host] = gateway.hosts
    t.equal(host?.id, `https://binance.example ${market}`)
    t.equal(host?.baseUrl, 'https://binance.example')
    t.strictSame(host?.limits, [
      { name: 'weight', weight, perMs: 60_000, scope: 'address', fixed: true },
      ...(market === 'SPOT' ? BINANCE_WALLET_LIMITS : [])
    ])
    const usage = (text: string | null) => host?.usage?.read(name => (name === 'x-mbx-used-weight-1m' ? text : null))
    t.strictSame(host?.usage?.limits, ['weight'])
    t.strictSame(usage('1234'), { limit: 'weight', used: 1_234 })
    for (const text of [null, '', '-1', '1e3', '1234567890']) t.equal(usage(text), null, `${text}`)
    t.equal(await client.serverTime(), 1_700_000_000_123)
    t.strictSame(gateway.calls, [
      { operation: 'serverTime', path, query: '', costs: cost, budgetKey: undefined, headers: {} }
    ])
  }
})

t.test('each call has the route, the weight and the signature of its market', async t => {
  const spot = clientOf(
    bodies({
      '/api/v3/ticker/price': [],
      '/api/v3/order': order,
      '/api/v3/openOrders': [order],
      '/api/v3/myTrades': [],
      '/api/v3/account': { balances: [] }
    })
  )
  const ref = { exchangeOrderId: '7', exchangeSymbol: 'BTCUSDT', orderType: 'STOP_LOSS' }
  t.strictSame(await spot.client.lastPrices({ onInvalidRow: () => undefined }), [])
  t.strictSame(await spot.client.order(ref), unified)
  t.strictSame(await spot.client.openOrders(), [unified])
  t.strictSame(await spot.client.fills(ref), [])
  t.strictSame(await spot.client.balances(), [])
  t.strictSame(await spot.client.positions(), [])
  t.strictSame(
    spot.gateway.calls.map(({ operation, costs }) => `${operation} ${costs}`),
    ['lastPrices 4 weight', 'order 4 weight', 'openOrders 80 weight', 'fills 20 weight', 'balances 20 weight']
  )
  t.strictSame(requestsOf(spot.gateway), [
    '/api/v3/ticker/price',
    '/api/v3/order?symbol=BTCUSDT&orderId=7',
    '/api/v3/openOrders',
    '/api/v3/myTrades?symbol=BTCUSDT&orderId=7&limit=1000',
    '/api/v3/account?omitZeroBalances=true'
  ])
  t.equal(
    spot.gateway.calls[2]?.query,
    'recvWindow=10000&timestamp=1700000000000&signature=108c8d7e6da30540aba23c3fd9b25286ef0821aff227eb6d5187b5628c8f7794'
  )
  t.strictSame(spot.gateway.calls[2]?.headers, { 'x-mbx-apikey': 'key' })
  t.equal(spot.gateway.calls[2]?.budgetKey, 'key')

  const futures = clientOf(
    bodies({
      '/fapi/v2/ticker/price': [],
      '/fapi/v1/order': order,
      '/fapi/v1/openOrders': [order],
      '/fapi/v1/openAlgoOrders': [algo],
      '/fapi/v1/userTrades': [],
      '/fapi/v3/balance': [],
      '/fapi/v3/positionRisk': []
    }),
    'FUTURES',
    true
  )
  const plain = { ...ref, orderType: 'LIMIT' }
  t.equal(futures.client.isTestnet, true)
  t.strictSame(await futures.client.lastPrices({ onInvalidRow: () => undefined }), [])
  t.strictSame(await futures.client.order(plain), futuresUnified)
  t.strictSame(await futures.client.openOrders(), [futuresUnified, algoUnified])
  t.strictSame(await futures.client.fills(plain), [])
  t.strictSame(await futures.client.balances(), [])
  t.strictSame(await futures.client.positions(), [])
  t.strictSame(
    futures.gateway.calls.map(({ operation, costs }) => `${operation} ${costs}`),
    [
      'lastPrices 2 weight',
      'order 1 weight',
      'openOrders 40 weight',
      'openOrders 40 weight',
      'fills 5 weight',
      'balances 5 weight',
      'positions 5 weight'
    ]
  )
  t.strictSame(requestsOf(futures.gateway), [
    '/fapi/v2/ticker/price',
    '/fapi/v1/order?symbol=BTCUSDT&orderId=7',
    '/fapi/v1/openOrders',
    '/fapi/v1/openAlgoOrders',
    '/fapi/v1/userTrades?symbol=BTCUSDT&orderId=7&limit=1000&startTime=1699395260000&endTime=1700000060000',
    '/fapi/v3/balance',
    '/fapi/v3/positionRisk'
  ])
})

t.test('only prices of supported symbols are returned', async t => {
  const { client } = clientOf(
    bodies({
      '/fapi/v2/ticker/price': [
        { symbol: 'BTCUSDT', price: '100.10', time: 1_700_000_000_001 },
        { symbol: '币安人生USDT', price: '0.1' },
        { symbol: 'BTCUSDT_261225', price: '7', time: 1 },
        { symbol: 'B', price: '7' },
        { symbol: 'A'.repeat(41), price: '7' },
        { symbol: 'A'.repeat(40), price: '7' },
        { symbol: 'NEWUSDT', price: '' },
        { symbol: 'OLDUSDT', price: '0.00' },
        { symbol: '', price: '8' },
        { price: '8' }
      ]
    }),
    'FUTURES'
  )
  t.strictSame(await client.lastPrices({ onInvalidRow: () => undefined }), [
    { symbol: 'BTCUSDT', exchangeSymbol: 'BTCUSDT', price: '100.10', at: 1_700_000_000_001 },
    { symbol: '币安人生USDT', exchangeSymbol: '币安人生USDT', price: '0.1', at: null },
    { symbol: 'A'.repeat(40), exchangeSymbol: 'A'.repeat(40), price: '7', at: null }
  ])
})

t.test('a symbol of a dated contract is rejected without a call, and left out of a list', async t => {
  const { client, gateway } = clientOf(
    bodies({
      '/fapi/v1/openOrders': [{ ...order, symbol: 'BTCUSDT_261225' }],
      '/fapi/v1/openAlgoOrders': [{ ...algo, symbol: 'BTCUSD_PERP' }],
      '/fapi/v3/positionRisk': [{ ...position, symbol: 'BTCUSDT_261225' }, position]
    }),
    'FUTURES'
  )
  const ref = { exchangeOrderId: '1', exchangeSymbol: 'BTCUSDT_261225' }
  for (const operation of ['order', 'fills'] as const)
    t.hasStrict(await failureOf(client[operation](ref)), { code: 'bad_symbol', operation, exchange: 'BINANCE' })
  t.strictSame(gateway.calls, [])
  t.strictSame(await client.openOrders(), [])
  t.equal((await client.positions()).length, 1)
})

const fill = {
  symbol: 'BTCUSDT',
  id: '28457',
  orderId: '7',
  price: '4.00',
  qty: '12',
  commission: '10.1',
  commissionAsset: 'BNB',
  time: '1700000000001',
  isBuyer: true,
  side: 'SELL',
  positionSide: 'SHORT',
  realizedPnl: '-3.5'
}
const fillUnified = {
  exchangeTradeId: '28457',
  exchangeOrderId: '7',
  symbol: 'BTCUSDT',
  exchangeSymbol: 'BTCUSDT',
  side: 'BUY',
  positionSide: 'BOTH',
  price: '4.00',
  quantity: '12',
  fee: '10.1',
  feeAsset: 'BNB',
  realizedPnl: null,
  executedAt: 1_700_000_000_001
}

t.test('fills are read in pages of a thousand by id, and those of other orders are left out', async t => {
  const page = Array.from({ length: 1_000 }, (_, i) => ({ ...fill, id: String(9_007_199_254_740_993n + BigInt(i)) }))
  const { client, gateway } = clientOf((_path, query) => ({
    status: 200,
    body: query.includes('fromId') ? [fill, { ...fill, orderId: '8' }] : page
  }))
  t.equal((await client.fills({ exchangeOrderId: '7', exchangeSymbol: 'BTCUSDT' })).length, 1_001)
  t.strictSame(requestsOf(gateway), [
    '/api/v3/myTrades?symbol=BTCUSDT&orderId=7&limit=1000',
    '/api/v3/myTrades?symbol=BTCUSDT&orderId=7&limit=1000&fromId=9007199254741993'
  ])
  gateway.answers = () => ({ status: 200, body: page })
  gateway.calls.length = 0
  const call = client.fills({ exchangeOrderId: '7', exchangeSymbol: 'BTCUSDT' })
  t.hasStrict(await failureOf(call), { code: 'invalid_answer', operation: 'fills' })
  t.equal(gateway.calls.length, 2)
})

t.test('fills of futures are read by windows, and a full page is continued from its last time', async t => {
  const { side, positionSide } = order
  const row = (id: number, time: number) => ({ ...fill, id: String(id), time: String(time), side, positionSide })
  const first = 1_699_395_260_000
  const page = Array.from({ length: 1_000 }, (_, i) => row(i + 1, first + Math.floor(i / 4)))
  const { client, gateway } = clientOf((_path, query) => {
    const from = Number(new URLSearchParams(query).get('startTime'))
    const to = Number(new URLSearchParams(query).get('endTime'))
    const older = row(0, first - 1)
    const rows = [older, ...page, row(1_001, first + 249), row(1_002, first + 300)]
    return { status: 200, body: rows.filter(({ time }) => Number(time) >= from && Number(time) <= to).slice(0, 1_000) }
  }, 'FUTURES')
  const ref = { exchangeOrderId: '7', exchangeSymbol: 'BTCUSDT', createdAt: first - 1_000 }
  const fills = await client.fills(ref)
  t.strictSame(
    fills.map(({ exchangeTradeId }) => exchangeTradeId),
    Array.from({ length: 1_003 }, (_, i) => String(i))
  )
  const query = '/fapi/v1/userTrades?symbol=BTCUSDT&orderId=7&limit=1000'
  t.strictSame(requestsOf(gateway), [
    `${query}&startTime=1699395260000&endTime=1700000060000`,
    `${query}&startTime=1699395260249&endTime=1700000060000`,
    `${query}&startTime=1699395259000&endTime=1699395259999`
  ])
  gateway.calls.length = 0
  await client.fills({ ...ref, filledQuantity: fills[0]?.quantity ?? '' })
  t.equal(gateway.calls.length, 2, 'no older window is read once the fills add up')
})

t.test('more fills of one millisecond than a page has are continued by id', async t => {
  const { side, positionSide } = order
  const time = 1_699_999_999_000
  const rows = Array.from({ length: 2_500 }, (_, i) => ({
    ...fill,
    id: String(i),
    time: String(time),
    side,
    positionSide
  }))
  const { client, gateway } = clientOf((_path, query) => {
    const from = Number(new URLSearchParams(query).get('fromId') ?? 0)
    return { status: 200, body: rows.filter(({ id }) => Number(id) >= from).slice(0, 1_000) }
  }, 'FUTURES')
  t.equal((await client.fills({ exchangeOrderId: '7', exchangeSymbol: 'BTCUSDT' })).length, 2_500)
  const query = '/fapi/v1/userTrades?symbol=BTCUSDT&orderId=7&limit=1000'
  t.strictSame(requestsOf(gateway), [
    `${query}&startTime=1699395260000&endTime=1700000060000`,
    `${query}&fromId=1000`,
    `${query}&fromId=2000`
  ])
  gateway.answers = () => ({ status: 200, body: rows.slice(0, 1_000) })
  const call = client.fills({ exchangeOrderId: '7', exchangeSymbol: 'BTCUSDT' })
  t.hasStrict(await failureOf(call), { code: 'invalid_answer', operation: 'fills' }, 'pages that repeat')
})

const algo = {
  algoId: '500',
  clientAlgoId: 'stop',
  orderType: 'STOP_MARKET',
  symbol: 'BTCUSDT',
  side: 'SELL',
  positionSide: 'SHORT',
  quantity: '1',
  algoStatus: 'NEW',
  triggerPrice: '90',
  price: '89',
  createTime: '1700000000003',
  updateTime: '1700000000004'
}
const algoUnified = {
  exchangeOrderId: '500',
  clientOrderId: 'stop',
  symbol: 'BTCUSDT',
  exchangeSymbol: 'BTCUSDT',
  side: 'SELL',
  positionSide: 'SHORT',
  orderType: 'STOP_MARKET',
  price: '89',
  stopPrice: '90',
  quantity: '1',
  filledQuantity: '0',
  averagePrice: null,
  status: 'open',
  createdAt: 1_700_000_000_003,
  updatedAt: 1_700_000_000_004
}
const stop = { exchangeOrderId: '500', exchangeSymbol: 'BTCUSDT', orderType: 'STOP_MARKET' }

t.test('a conditional futures order is read from its own route until it is triggered', async t => {
  for (const actualOrderId of [undefined, '', '0']) {
    const { client, gateway } = clientOf(bodies({ '/fapi/v1/algoOrder': { ...algo, actualOrderId } }), 'FUTURES')
    for (const orderType of ['STOP', 'TAKE_PROFIT_MARKET', 'TRAILING_STOP_MARKET'])
      t.strictSame(await client.order({ ...stop, orderType }), algoUnified)
    t.strictSame(await client.fills(stop), [], 'an untriggered order has no fills')
    t.equal(requestsOf(gateway)[0], '/fapi/v1/algoOrder?algoId=500')
    t.hasStrict(gateway.calls[0], { operation: 'order', costs: '1 weight' })
  }
})

t.test('a triggered conditional order is returned as the order that it became, with its own id', async t => {
  const { client, gateway } = clientOf(
    bodies({
      '/fapi/v1/algoOrder': { ...algo, actualOrderId: '7' },
      '/fapi/v1/order': { ...order, orderId: '7' },
      '/fapi/v1/userTrades': [fill]
    }),
    'FUTURES'
  )
  t.strictSame(await client.order(stop), {
    ...futuresUnified,
    exchangeOrderId: '500',
    orderType: 'STOP_MARKET',
    stopPrice: '90'
  })
  t.equal(requestsOf(gateway)[1], '/fapi/v1/order?symbol=BTCUSDT&orderId=7')
  t.strictSame(await client.fills(stop), [
    { ...fillUnified, exchangeOrderId: '500', side: 'SELL', positionSide: 'SHORT', realizedPnl: '-3.5' }
  ])
})

t.test('if no conditional order of the symbol has the id, the ordinary order is read', async t => {
  for (const answer of [
    { status: 400, body: { code: -2013, msg: '' } },
    { status: 200, body: { ...algo, symbol: 'ETHUSDT', actualOrderId: '8' } }
  ]) {
    const { client, gateway } = clientOf(path => {
      if (path === '/fapi/v1/algoOrder') return answer
      return { status: 200, body: path === '/fapi/v1/order' ? order : [{ ...fill, orderId: '500' }] }
    }, 'FUTURES')
    t.strictSame(await client.order(stop), futuresUnified)
    t.equal(requestsOf(gateway)[1], '/fapi/v1/order?symbol=BTCUSDT&orderId=500')
    t.equal((await client.fills(stop)).length, 1)
  }
})

t.test('another failure of the conditional route fails the call', async t => {
  const { client } = clientOf(() => ({ status: 503, body: { code: -1008 } }), 'FUTURES')
  t.equal((await failureOf(client.order(stop))).code, 'unavailable')
  t.equal((await failureOf(client.fills(stop))).code, 'unavailable')
})

t.test('an answer that cannot be parsed is invalid_answer', async t => {
  const { client, gateway } = clientOf(bodies({ '/fapi/v1/algoOrder': { ...algo, side: 'Sell' } }), 'FUTURES')
  t.hasStrict(await failureOf(client.order(stop)), { code: 'invalid_answer', operation: 'order', exchange: 'BINANCE' })
  gateway.answers = bodies({ '/fapi/v3/balance': {} })
  t.hasStrict(await failureOf(client.balances()), { code: 'invalid_answer', operation: 'balances' })
})

t.test('each order state of the exchange is mapped', async t => {
  const meanings = {
    open: ['NEW', 'PENDING_NEW', 'PENDING_CANCEL', 'NEW_INSURANCE', 'NEW_ADL'],
    partially_filled: ['PARTIALLY_FILLED'],
    filled: ['FILLED'],
    canceled: ['CANCELED'],
    rejected: ['REJECTED'],
    expired: ['EXPIRED', 'EXPIRED_IN_MATCH']
  }
  for (const [state, words] of Object.entries(meanings))
    for (const status of words) t.equal(parseBinanceOrder({ ...order, status }, 'SPOT').status, state, status)
  const algoMeanings = {
    open: ['NEW', 'TRIGGERING', 'TRIGGERED', 'FINISHED'],
    canceled: ['CANCELED'],
    rejected: ['REJECTED'],
    expired: ['EXPIRED']
  }
  for (const [state, words] of Object.entries(algoMeanings))
    for (const algoStatus of words) t.equal(parseBinanceAlgoOrder({ ...algo, algoStatus }).status, state, algoStatus)
  t.throws(() => parseBinanceOrder({ ...order, status: 'OLD' }, 'SPOT'), { message: 'status is unknown' })
  t.throws(() => parseBinanceAlgoOrder({ ...algo, algoStatus: 'OLD' }), { message: 'algoStatus is unknown' })
})

t.test('the average price of a spot order is its cost divided by its quantity', async t => {
  const average = (rest: Record<string, string>) => parseBinanceOrder({ ...order, ...rest }, 'SPOT').averagePrice
  t.equal(average({}), '100.25')
  t.equal(average({ cummulativeQuoteQty: '0' }), null)
  t.equal(average({ cummulativeQuoteQty: '-1' }), null, 'a negative cost means unknown')
  t.equal(average({ executedQty: '0.000' }), null)
})

t.test('absent fields are null, and a new order has the transaction time as its times', async t => {
  const { symbol, orderId, executedQty, status, type, side } = order
  const least = { symbol, orderId, executedQty, status, type, side }
  const nothing = {
    ...unified,
    ...{ clientOrderId: null, price: null, stopPrice: null, quantity: null, averagePrice: null },
    ...{ createdAt: null, updatedAt: null }
  }
  t.strictSame(parseBinanceOrder(least, 'SPOT'), nothing)
  t.strictSame(parseBinanceOrder(least, 'FUTURES'), nothing)
  t.strictSame(parseBinanceOrder({ ...least, transactTime: '1700000000005' }, 'SPOT'), {
    ...nothing,
    createdAt: 1_700_000_000_005,
    updatedAt: 1_700_000_000_005
  })
  t.strictSame(parseBinanceFill(fill, 'SPOT'), fillUnified)
  t.strictSame(
    parseBinanceFill({ ...fill, commission: undefined, commissionAsset: undefined, isBuyer: false }, 'SPOT'),
    {
      ...fillUnified,
      side: 'SELL',
      fee: null,
      feeAsset: null
    }
  )
})

t.test('unknown sides are rejected', async t => {
  for (const side of ['BUY', 'SELL']) t.equal(parseBinanceOrder({ ...order, side }, 'SPOT').side, side)
  for (const positionSide of ['BOTH', 'LONG', 'SHORT'])
    t.equal(parseBinanceOrder({ ...order, positionSide }, 'FUTURES').positionSide, positionSide)
  t.throws(() => parseBinanceOrder({ ...order, side: 'Buy' }, 'SPOT'), { message: 'side is unknown' })
  t.throws(() => parseBinanceOrder({ ...order, positionSide: 'NET' }, 'FUTURES'), {
    message: 'positionSide is unknown'
  })
})

t.test('only assets with a balance are returned', async t => {
  t.strictSame(
    parseBinanceSpotBalances({
      balances: [
        { asset: 'BTC', free: '1.50', locked: '0.5' },
        { asset: 'ETH', free: '0', locked: '2' },
        { asset: 'SOL', free: '3', locked: '0' },
        { asset: 'XRP', free: '0.00', locked: '0' }
      ]
    }),
    [
      { asset: 'BTC', free: '1.50', locked: '0.5', total: '2' },
      { asset: 'ETH', free: '0', locked: '2', total: '2' },
      { asset: 'SOL', free: '3', locked: '0', total: '3' }
    ]
  )
  t.strictSame(
    parseBinanceFuturesBalances([
      { asset: 'USDT', balance: '10', availableBalance: '4' },
      { asset: 'USDC', balance: '10', availableBalance: '10.0' },
      { asset: 'BNB', balance: '10.0', availableBalance: '25' },
      { asset: 'BTC', balance: '0.00', availableBalance: '25' }
    ]),
    [
      { asset: 'USDT', free: '4', locked: '6', total: '10' },
      { asset: 'USDC', free: '10.0', locked: '0', total: '10' },
      { asset: 'BNB', free: '10.0', locked: '0', total: '10.0' }
    ]
  )
  t.throws(() => parseBinanceSpotBalances([]), { message: 'the account is not an object' })
  t.throws(() => parseBinanceSpotBalances({}), { message: 'balances is not an array' })
})

const position = {
  symbol: 'BTCUSDT',
  positionSide: 'BOTH',
  positionAmt: '-0.5',
  entryPrice: '100',
  markPrice: '110',
  unRealizedProfit: '-5',
  updateTime: '1700000000001'
}

t.test('a position with a quantity of zero is left out', async t => {
  t.equal(parseBinancePosition({ ...position, positionAmt: '0.000' }), null)
  t.strictSame(parseBinancePosition(position), {
    symbol: 'BTCUSDT',
    exchangeSymbol: 'BTCUSDT',
    positionSide: 'BOTH',
    quantity: '-0.5',
    entryPrice: '100',
    markPrice: '110',
    unrealizedPnl: '-5',
    updatedAt: 1_700_000_000_001
  })
})

t.test('each error of the exchange is mapped to an error code', async t => {
  const { gateway } = clientOf()
  const meanings = {
    unavailable: [-1000, -1001, -1008],
    clock: [-1021],
    authentication: [-1002, -1022, -1099, -2008, -2014, -2015],
    rate_limited: [-1003, -1015],
    timeout: [-1007],
    bad_symbol: [-1121],
    order_not_found: [-2013]
  }
  for (const [code, numbers] of Object.entries(meanings)) {
    for (const number of numbers) {
      const expected = { code, exchangeCode: String(number) }
      t.strictSame(gateway.refusalOf({ code: number }, { status: 400 }), expected)
      t.equal(gateway.refusalOf({ code: number }), null, 'not with status 200')
      t.equal(gateway.refusalOf({ code: number }, { status: 418 }), null, 'not with status 418')
    }
  }
  t.equal(gateway.refusalOf({ code: -1 }, { status: 400 }), null)
  t.equal(gateway.refusalOf({}, { status: 400 }), null)
  t.equal(gateway.refusalOf([], { status: 400 }), null)
  t.strictSame(gateway.refusalOf({ code: -2013 }, { status: 403 }), {
    code: 'rate_limited',
    exchangeCode: '403',
    retryAfterMs: 60_000
  })
})
