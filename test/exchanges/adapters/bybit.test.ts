import t from 'tap'
import type { MarketType } from '../../../src/domain/market.ts'
import {
  BybitClient,
  parseBybitBalances,
  parseBybitFill,
  parseBybitOrder,
  parseBybitPosition
} from '../../../src/exchanges/adapters/bybit.ts'
import { type Answers, bodies, CannedGateway } from '../../support/canned-gateway.ts'
import { failureOf } from '../failure.ts'

const KEYS = { apiKey: 'key', apiSecret: 'secret' }

function clientOf(answers: Answers = () => undefined, marketType: MarketType = 'SPOT', isTestnet = false) {
  const gateway = new CannedGateway('BYBIT', answers)
  const baseUrl = 'https://bybit.example'
  return { gateway, client: new BybitClient({ gateway, marketType, isTestnet, credentials: KEYS, baseUrl }) }
}

const listed = (...list: unknown[]) => ({ retCode: 0, retMsg: 'OK', result: { list, nextPageCursor: '' } })

const order = {
  orderId: 'a-1',
  orderLinkId: 'mine',
  symbol: 'BTCUSDT',
  side: 'Buy',
  orderType: 'Limit',
  price: '100.50',
  qty: '2',
  triggerPrice: '99',
  cumExecQty: '0.5',
  avgPrice: '100.25',
  orderStatus: 'PartiallyFilled',
  positionIdx: '1',
  createdTime: '1700000000001',
  updatedTime: '1700000000002'
}
const unified = {
  exchangeOrderId: 'a-1',
  clientOrderId: 'mine',
  symbol: 'BTCUSDT',
  exchangeSymbol: 'BTCUSDT',
  side: 'BUY',
  positionSide: 'LONG',
  orderType: 'LIMIT',
  price: '100.50',
  stopPrice: '99',
  quantity: '2',
  filledQuantity: '0.5',
  averagePrice: '100.25',
  status: 'partially_filled',
  createdAt: 1_700_000_000_001,
  updatedAt: 1_700_000_000_002
}
const ref = { exchangeOrderId: 'a-1', exchangeSymbol: 'BTCUSDT' }

t.test('a host has a limit per address and one per key', async t => {
  const { client, gateway } = clientOf(bodies({ '/v5/market/time': { retCode: 0, result: {}, time: '1700000000123' } }))
  t.equal(gateway.hosts[0]?.baseUrl, 'https://bybit.example')
  t.strictSame(gateway.hosts[0]?.limits, [
    { name: 'address', weight: 600, perMs: 5_000, scope: 'address' },
    { name: 'key', weight: 20, perMs: 1_000, scope: 'key' }
  ])
  t.equal(await client.serverTime(), 1_700_000_000_123)
  t.hasStrict(gateway.calls[0], { operation: 'serverTime', path: '/v5/market/time', costs: '1 address' })
})

t.test('prices have the time of the answer', async t => {
  const tickers = [
    { symbol: 'BTCUSDT', lastPrice: '100.10' },
    { symbol: 'BTCPERP', lastPrice: '5' },
    { symbol: 'BTC-26DEC26', lastPrice: '6' },
    { symbol: 'BTCUSD', lastPrice: '7' },
    { symbol: '币安人生USDT', lastPrice: '0.1' },
    { symbol: 'NEWUSDT', lastPrice: '' },
    { symbol: '', lastPrice: '8' },
    { lastPrice: '8' }
  ]
  const answers = bodies({ '/v5/market/tickers': { ...listed(...tickers), time: 1_700_000_000_123 } })
  const pricesOf = async (marketType: MarketType) => {
    const { client, gateway } = clientOf(answers, marketType)
    const prices = await client.lastPrices({ onInvalidRow: () => undefined })
    const [call] = gateway.calls
    t.hasStrict(call, { operation: 'lastPrices', costs: '1 address', budgetKey: undefined })
    return [call?.query, ...prices.map(({ symbol, exchangeSymbol, price, at }) => [symbol, exchangeSymbol, price, at])]
  }
  const at = 1_700_000_000_123
  t.strictSame(await pricesOf('SPOT'), [
    'category=spot',
    ['BTCUSDT', 'BTCUSDT', '100.10', at],
    ['BTCPERP', 'BTCPERP', '5', at],
    ['BTCUSD', 'BTCUSD', '7', at],
    ['币安人生USDT', '币安人生USDT', '0.1', at]
  ])
  t.strictSame(await pricesOf('FUTURES'), [
    'category=linear',
    ['BTCUSDT', 'BTCUSDT', '100.10', at],
    ['BTCUSDC', 'BTCPERP', '5', at],
    ['币安人生USDT', '币安人生USDT', '0.1', at]
  ])
})

t.test('an order is read from the recent orders, then from the history', async t => {
  const { client, gateway } = clientOf(
    bodies({ '/v5/order/realtime': listed({ ...order, orderId: 'b' }), '/v5/order/history': listed(order) })
  )
  t.strictSame(await client.order(ref), unified)
  t.strictSame(gateway.requests(), [
    '/v5/order/realtime?category=spot&orderId=a-1',
    '/v5/order/history?category=spot&orderId=a-1'
  ])
  t.hasStrict(gateway.calls[0], { operation: 'order', costs: '1 address, 1 key', budgetKey: 'key' })
  gateway.answers = bodies({ '/v5/order/realtime': listed(order) })
  t.strictSame(await client.order(ref), unified)
  gateway.answers = bodies({ '/v5/order/realtime': listed(), '/v5/order/history': listed() })
  t.hasStrict(await failureOf(client.order(ref)), { code: 'order_not_found', operation: 'order', exchange: 'BYBIT' })
})

t.test('an order is searched in the windows of the history, from its creation on', async t => {
  const day = 24 * 3_600_000
  const found = clientOf(() => ({ status: 200, body: listed() }))
  const createdAt = 1_700_000_000_000 - 9 * day
  t.hasStrict(await failureOf(found.client.order({ ...ref, createdAt })), { code: 'order_not_found' })
  t.strictSame(
    found.gateway.requests().map(request => request.replace(/^.*orderId=a-1/, '')),
    ['', '', '&startTime=1699222400000&endTime=1699395259999', '&startTime=1699395260000&endTime=1700000060000']
  )
  found.gateway.answers = (_path, query) => ({
    status: 200,
    body: query.includes('endTime=1699395259999') ? listed(order) : listed()
  })
  t.strictSame(await found.client.order({ ...ref, createdAt }), unified)
})

t.test('a symbol of another market is rejected without a call', async t => {
  const { client, gateway } = clientOf(() => undefined, 'FUTURES')
  for (const exchangeSymbol of ['BTC-26DEC26', 'BTCUSD', 'BTCEUR', 'PERP'])
    for (const operation of ['order', 'fills'] as const) {
      const failure = await failureOf(client[operation]({ exchangeOrderId: '1', exchangeSymbol }))
      t.hasStrict(failure, { code: 'bad_symbol', operation, exchange: 'BYBIT' })
    }
  t.strictSame(gateway.calls, [])
})

t.test('open orders are read page by page for every settlement coin, without ended ones', async t => {
  const pages: Record<string, unknown[]> = {
    USDT: [order, { ...order, orderId: 'a-2', orderStatus: 'Filled' }],
    'USDT next': [{ ...order, orderId: 'a-3', orderStatus: 'New' }],
    USDC: [
      { ...order, orderId: 'a-4', symbol: 'BTC-26DEC26' },
      { ...order, orderId: 'a-5', symbol: 'ETHPERP' }
    ]
  }
  const { client, gateway } = clientOf((_path, query) => {
    const coin = new URLSearchParams(query).get('settleCoin')
    const isNext = query.includes('cursor')
    const list = pages[`${coin}${isNext ? ' next' : ''}`] ?? []
    return {
      status: 200,
      body: { retCode: 0, result: { list, nextPageCursor: coin === 'USDT' && !isNext ? 'p%3A2' : '' } }
    }
  }, 'FUTURES')
  t.strictSame(
    (await client.openOrders()).map(({ exchangeOrderId, symbol }) => `${exchangeOrderId} ${symbol}`),
    ['a-1 BTCUSDT', 'a-3 BTCUSDT', 'a-5 ETHUSDC']
  )
  t.strictSame(gateway.requests().sort(), [
    '/v5/order/realtime?category=linear&openOnly=0&limit=50&settleCoin=USDC',
    '/v5/order/realtime?category=linear&openOnly=0&limit=50&settleCoin=USDT',
    '/v5/order/realtime?category=linear&openOnly=0&limit=50&settleCoin=USDT&cursor=p%3A2'
  ])
  const spot = clientOf(() => ({ status: 200, body: listed(order) }))
  t.equal((await spot.client.openOrders()).length, 1)
  t.strictSame(spot.gateway.requests(), ['/v5/order/realtime?category=spot&openOnly=0&limit=50'])
  t.equal(spot.gateway.calls[0]?.operation, 'openOrders')
  spot.gateway.answers = () => ({ status: 200, body: listed({ ...order, side: 'BUY' }) })
  t.hasStrict(await failureOf(spot.client.openOrders()), { code: 'invalid_answer', operation: 'openOrders' })
})

t.test('a list ends with an empty page, even if it has a cursor', async t => {
  const { client, gateway } = clientOf((_path, query) => ({
    status: 200,
    body: { retCode: 0, result: { list: query.includes('cursor=1') ? [] : [order], nextPageCursor: '1' } }
  }))
  t.equal((await client.openOrders()).length, 1)
  t.equal(gateway.calls.length, 2)
})

t.test('a list whose pages repeat, or with an invalid cursor, is rejected', async t => {
  let page = 0
  const { client, gateway } = clientOf(() => ({
    status: 200,
    body: { retCode: 0, result: { list: [order], nextPageCursor: String(++page) } }
  }))
  t.hasStrict(await failureOf(client.openOrders()), { code: 'invalid_answer', operation: 'openOrders' })
  t.equal(gateway.calls.length, 2, 'the second page has no new rows')
  gateway.calls.length = 0
  const other = () => ({ ...order, orderId: `b-${++page}` })
  gateway.answers = () => ({ status: 200, body: { retCode: 0, result: { list: [other()], nextPageCursor: 'a' } } })
  t.hasStrict(await failureOf(client.openOrders()), { code: 'invalid_answer', operation: 'openOrders' })
  t.equal(gateway.calls.length, 2, 'the second page has the cursor of the first')
  gateway.answers = () => ({ status: 200, body: { retCode: 0, result: { list: [order], nextPageCursor: 'a&b' } } })
  t.hasStrict(await failureOf(client.openOrders()), { code: 'invalid_answer', operation: 'openOrders' })
})

const fill = {
  symbol: 'BTCUSDT',
  orderId: 'a-1',
  execId: 'e-1',
  execType: 'Trade',
  side: 'Sell',
  execPrice: '100',
  execQty: '0.5',
  execFee: '0.05',
  feeCurrency: 'USDT',
  execPnl: '7',
  execTime: '1700000000001'
}
const fillUnified = {
  exchangeTradeId: 'e-1',
  exchangeOrderId: 'a-1',
  symbol: 'BTCUSDT',
  exchangeSymbol: 'BTCUSDT',
  side: 'SELL',
  positionSide: 'BOTH',
  price: '100',
  quantity: '0.5',
  fee: '0.05',
  feeAsset: 'USDT',
  realizedPnl: null,
  executedAt: 1_700_000_000_001
}

t.test('fills are the trades of the order, oldest first; trades of one millisecond are reversed', async t => {
  const row = (execId: string, execTime: string, rest = {}) => ({ ...fill, execId, execTime, ...rest })
  const { client, gateway } = clientOf(
    bodies({
      '/v5/execution/list': listed(
        row('5', '3', { execType: 'BustTrade' }),
        row('4', '2', { execType: undefined }),
        row('3', '2'),
        row('x', '2', { orderId: 'a-2' }),
        row('y', '2', { execType: 'Funding' }),
        row('2', '2', { execType: 'AdlTrade' }),
        row('1', '1')
      )
    })
  )
  const fills = await client.fills(ref)
  t.strictSame(
    fills.map(({ exchangeTradeId }) => exchangeTradeId),
    ['1', '2', '3', '4', '5']
  )
  t.strictSame(fills[0], { ...fillUnified, exchangeTradeId: '1', executedAt: 1 })
  const window = 'startTime=1699395260000&endTime=1700000060000'
  t.strictSame(gateway.requests(), [`/v5/execution/list?category=spot&orderId=a-1&limit=100&${window}`])
  t.equal(gateway.calls[0]?.operation, 'fills')
  gateway.answers = bodies({ '/v5/execution/list': listed({ ...fill, side: 'sell' }) })
  t.hasStrict(await failureOf(client.fills(ref)), { code: 'invalid_answer', operation: 'fills' })
})

t.test('a futures fill has its realised PnL, and its fee in the settlement coin', async t => {
  const { feeCurrency: _, ...future } = fill
  t.strictSame(parseBybitFill({ ...future, symbol: 'BTCPERP' }, 'FUTURES'), {
    ...fillUnified,
    symbol: 'BTCUSDC',
    exchangeSymbol: 'BTCPERP',
    feeAsset: 'USDC',
    realizedPnl: '7'
  })
  t.equal(parseBybitFill(future, 'SPOT').feeAsset, null)
  t.equal(parseBybitFill({ ...future, execFee: '' }, 'SPOT').fee, null)
})

t.test(
  'a spot fee without a currency is in the base of a purchase and the quote of a sale, a rebate in the other',
  async t => {
    const { feeCurrency: _, ...unnamed } = fill
    for (const [side, execFee, feeIn] of [
      ['Buy', '0.001', 'base'],
      ['Sell', '0.001', 'quote'],
      ['Buy', '-0.001', 'quote'],
      ['Sell', '-0.001', 'base'],
      ['Buy', '0', 'base']
    ] as const) {
      const { fee, feeAsset, feeIn: part } = parseBybitFill({ ...unnamed, side, execFee, feeCurrency: '' }, 'SPOT')
      t.strictSame([fee, feeAsset, part], [execFee, null, feeIn], `${side} ${execFee}`)
    }
    for (const [row, marketType] of [
      [{ ...unnamed, execFee: '' }, 'SPOT'],
      [fill, 'SPOT'],
      [unnamed, 'FUTURES']
    ] as const)
      t.equal(parseBybitFill(row, marketType).feeIn, undefined)
  }
)

t.test('balances are read from the unified account, with a signed call', async t => {
  const { client, gateway } = clientOf(bodies({ '/v5/account/wallet-balance': listed({ coin: [] }) }), 'SPOT', true)
  t.equal(client.isTestnet, true)
  t.strictSame(await client.balances(), [])
  t.strictSame(gateway.calls, [
    {
      operation: 'balances',
      path: '/v5/account/wallet-balance',
      query: 'accountType=UNIFIED',
      costs: '1 address, 1 key',
      budgetKey: 'key',
      headers: {
        'x-bapi-api-key': 'key',
        'x-bapi-timestamp': '1700000000000',
        'x-bapi-recv-window': '5000',
        'x-bapi-sign': '850c8646296c897328dfc5262d13548d8faea1ca268b315f7381a08e2b0de74f'
      }
    }
  ])
  gateway.answers = bodies({ '/v5/account/wallet-balance': { retCode: 0, result: [] } })
  t.hasStrict(await failureOf(client.balances()), { code: 'invalid_answer', operation: 'balances' })
})

t.test('the margin of orders and positions is locked', async t => {
  const balances = (...coin: unknown[]) => parseBybitBalances({ list: [{ coin }] })
  t.strictSame(
    balances(
      { coin: 'USDT', walletBalance: '100', locked: '1', totalOrderIM: '2', totalPositionIM: '3.5' },
      { coin: 'USDC', walletBalance: '10.0', locked: '', totalOrderIM: '0', totalPositionIM: '' },
      { coin: 'BTC', walletBalance: '2', locked: '0', totalOrderIM: '0', totalPositionIM: '3' },
      { coin: 'ETH', walletBalance: '0.00', locked: '0' },
      { coin: 'SOL', walletBalance: '5', locked: '5' },
      { coin: 'XRP', walletBalance: '2', locked: '1.5', spotBorrow: '' }
    ),
    [
      { asset: 'USDT', free: '93.5', locked: '6.5', total: '100' },
      { asset: 'USDC', free: '10.0', locked: '0', total: '10.0' },
      { asset: 'BTC', free: '0', locked: '2', total: '2' },
      { asset: 'SOL', free: '0', locked: '5', total: '5' },
      { asset: 'XRP', free: '0.5', locked: '1.5', total: '2' }
    ]
  )
  t.throws(() => parseBybitBalances({ list: [{}] }), { message: 'coin is not an array' })
  t.throws(() => parseBybitBalances({ list: [] }), { message: 'list is empty' })
  t.strictSame(parseBybitBalances({ list: [{ coin: [] }] }), [], 'an account that holds nothing')
  t.throws(() => parseBybitBalances({}), { message: 'list is not an array' })
})

t.test('borrowed money is not owned, and a debt is a balance below zero', async t => {
  const balances = (row: object) => parseBybitBalances({ list: [{ coin: [{ coin: 'ETH', ...row }] }] })
  t.strictSame(balances({ walletBalance: '1200', spotBorrow: '200' }), [
    { asset: 'ETH', free: '1000', locked: '0', total: '1000' }
  ])
  t.strictSame(balances({ walletBalance: '1200', locked: '300', spotBorrow: '200' }), [
    { asset: 'ETH', free: '900', locked: '100', total: '1000' }
  ])
  t.strictSame(balances({ walletBalance: '0', spotBorrow: '0.06142' }), [
    { asset: 'ETH', free: '-0.06142', locked: '0', total: '-0.06142' }
  ])
  t.strictSame(balances({ walletBalance: '5', spotBorrow: '5.0' }), [], 'all of it is borrowed')
})

const position = {
  symbol: 'BTCUSDT',
  side: 'Buy',
  size: '0.5',
  positionIdx: '0',
  avgPrice: '100',
  entryPrice: '101',
  markPrice: '110',
  unrealisedPnl: '5',
  updatedTime: '1700000000001'
}

t.test('only open positions of both settlement coins are returned, and none on spot', async t => {
  const spot = clientOf()
  t.strictSame(await spot.client.positions(), [])
  t.strictSame(spot.gateway.calls, [])
  const { client, gateway } = clientOf(
    (_path, query) => ({
      status: 200,
      body: query.includes('USDC') ? listed({ ...position, symbol: 'BTC-26DEC26' }) : listed(position)
    }),
    'FUTURES'
  )
  const unifiedPosition = {
    symbol: 'BTCUSDT',
    exchangeSymbol: 'BTCUSDT',
    positionSide: 'BOTH',
    quantity: '0.5',
    entryPrice: '100',
    markPrice: '110',
    unrealizedPnl: '5',
    updatedAt: 1_700_000_000_001
  }
  t.strictSame(await client.positions(), [unifiedPosition])
  t.equal(gateway.calls[0]?.operation, 'positions')
  t.strictSame(gateway.requests(), [
    '/v5/position/list?category=linear&limit=200&settleCoin=USDT',
    '/v5/position/list?category=linear&limit=200&settleCoin=USDC'
  ])
  t.strictSame(parseBybitPosition({ ...position, side: 'Sell', positionIdx: '2', avgPrice: '' }), {
    ...unifiedPosition,
    positionSide: 'SHORT',
    quantity: '-0.5',
    entryPrice: '101'
  })
  t.equal(parseBybitPosition({ ...position, size: '0.00', side: '' }), null)
  gateway.answers = () => ({ status: 200, body: listed({ ...position, positionIdx: '3' }) })
  t.hasStrict(await failureOf(client.positions()), { code: 'invalid_answer', operation: 'positions' })
})

t.test('each order state of the exchange is mapped', async t => {
  const meanings = {
    open: ['Created', 'New', 'Active', 'Untriggered', 'Triggered'],
    partially_filled: ['PartiallyFilled'],
    filled: ['Filled'],
    canceled: ['Cancelled', 'PartiallyFilledCanceled', 'Deactivated'],
    rejected: ['Rejected']
  }
  for (const [state, words] of Object.entries(meanings))
    for (const orderStatus of words) t.equal(parseBybitOrder({ ...order, orderStatus }, 'SPOT').status, state)
  t.throws(() => parseBybitOrder({ ...order, orderStatus: 'Old' }, 'SPOT'), {
    message: 'orderStatus is unknown'
  })
})

t.test('a market order has no price, and no quantity if it has an amount to spend', async t => {
  const parsed = (rest: Record<string, string>, market: MarketType = 'SPOT') => {
    const { price, quantity } = parseBybitOrder({ ...order, orderType: 'Market', ...rest }, market)
    return [price, quantity]
  }
  t.strictSame(parsed({}), [null, null])
  t.strictSame(parsed({ marketUnit: 'quoteCoin' }), [null, null])
  t.strictSame(parsed({ marketUnit: 'baseCoin' }), [null, '2'])
  t.strictSame(parsed({ side: 'Sell' }), [null, '2'])
  t.strictSame(parsed({}, 'FUTURES'), [null, '2'])
  t.strictSame(parsed({ orderType: 'Limit' }), ['100.50', '2'])
})

t.test('absent fields are null, and an order without a fill has no average price', async t => {
  const { orderId, symbol, side, orderType, orderStatus } = order
  t.strictSame(
    parseBybitOrder({ orderId, symbol, side, orderType, orderStatus, cumExecQty: '0', avgPrice: '9' }, 'SPOT'),
    {
      ...unified,
      ...{ clientOrderId: null, positionSide: 'BOTH', price: null, stopPrice: null, quantity: null },
      ...{ filledQuantity: '0', averagePrice: null, createdAt: null, updatedAt: null }
    }
  )
  t.throws(() => parseBybitOrder({ ...order, side: 'BUY' }, 'SPOT'), { message: 'side is unknown' })
  t.throws(() => parseBybitOrder({ ...order, symbol: 'BTC-USDT' }, 'SPOT'), { name: 'UnsupportedSymbol' })
})

t.test('a symbol has a minimum and a maximum length', async t => {
  const symbolOf = (symbol: string, market: MarketType) => {
    try {
      return parseBybitOrder({ ...order, symbol }, market).symbol
    } catch {
      return null
    }
  }
  const long = (count: number) => 'A'.repeat(count)
  t.strictSame(
    ['A', 'AB', long(40), long(41)].map(symbol => symbolOf(symbol, 'SPOT')),
    [null, 'AB', long(40), null]
  )
  t.strictSame(
    ['USDT', 'AUSDT', `${long(36)}USDC`, `${long(37)}USDT`, `${long(36)}PERP`, `${long(37)}PERP`].map(symbol =>
      symbolOf(symbol, 'FUTURES')
    ),
    [null, 'AUSDT', `${long(36)}USDC`, null, `${long(36)}USDC`, null]
  )
})

t.test('each error of the exchange is mapped to an error code', async t => {
  const { gateway } = clientOf()
  const meanings = {
    timeout: [5004, 10000, 10016],
    clock: [10002],
    authentication: [10003, 10004, 10007, 33004],
    permission: [10005, 10009, 10010, 10024],
    rate_limited: [10006, 10018],
    bad_symbol: [10029, 170121],
    order_not_found: [110001, 170213],
    invalid_answer: [10001, 99999]
  }
  for (const [code, numbers] of Object.entries(meanings))
    for (const retCode of numbers)
      t.strictSame(gateway.refusalOf({ retCode, retMsg: 'no' }), {
        code,
        exchangeCode: String(retCode),
        retryAfterMs: 1_000,
        ...(retCode === 10006 && { scope: 'key' })
      })
  t.equal(gateway.refusalOf({ retCode: 0 }), null)
  t.equal(gateway.refusalOf({ retCode: 0 }, { status: 403 }), null)
  t.equal(gateway.refusalOf({}), null)
  t.equal(gateway.refusalOf([], { status: 500 }), null)
  const firewall = { code: 'rate_limited', exchangeCode: '403', retryAfterMs: 600_000 }
  t.strictSame(gateway.refusalOf([], { status: 403 }), firewall)
  t.strictSame(gateway.refusalOf({}, { status: 403 }), firewall)
  t.hasStrict(gateway.refusalOf({ retCode: 10001, retMsg: 'params error: Symbol Invalid' }), { code: 'bad_symbol' })
  t.hasStrict(gateway.refusalOf({ retCode: 10005, retMsg: 'symbol' }), { code: 'permission' })
})

t.test('a limit ends at the time in its header, by the clock of Bybit', async t => {
  const { gateway } = clientOf()
  const endOf = (time: string) => {
    const headers = { 'x-bapi-limit-reset-timestamp': time }
    return gateway.refusalOf({ retCode: 10006 }, { headers })?.retryAt
  }
  t.equal(endOf('1700000003000'), 1_700_000_003_000)
  t.equal(endOf('17000000030000'), undefined, 'fourteen digits are not a time')
  t.equal(endOf('soon'), undefined)
})
