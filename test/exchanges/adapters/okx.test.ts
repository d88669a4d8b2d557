import t from 'tap'
import type { MarketType } from '../../../src/domain/market.ts'
import {
  OkxClient,
  parseOkxAlgoOrder,
  parseOkxBalances,
  parseOkxFill,
  parseOkxOrder,
  parseOkxPosition
} from '../../../src/exchanges/adapters/okx.ts'
import { type Answers, bodies, CannedGateway } from '../../support/canned-gateway.ts'
import { failureOf } from '../failure.ts'

const KEYS = { apiKey: 'key', apiSecret: 'secret', passphrase: 'passphrase' }

function clientOf(answers: Answers = () => undefined, marketType: MarketType = 'SPOT', isTestnet = false) {
  const gateway = new CannedGateway('OKX', answers)
  const client = new OkxClient({ gateway, marketType, isTestnet, credentials: KEYS, baseUrl: 'https://okx.example' })
  return { gateway, client }
}

const data = (...rows: unknown[]) => ({ code: '0', msg: '', data: rows })

const spotOrder = {
  instType: 'SPOT',
  instId: 'BTC-USDT',
  ordId: '77',
  clOrdId: 'mine',
  side: 'buy',
  posSide: '',
  ordType: 'limit',
  px: '100.5',
  sz: '2',
  accFillSz: '0.5',
  avgPx: '100.25',
  state: 'partially_filled',
  cTime: '1700000000001',
  uTime: '1700000000002'
}
const spotUnified = {
  exchangeOrderId: '77',
  clientOrderId: 'mine',
  symbol: 'BTCUSDT',
  exchangeSymbol: 'BTC-USDT',
  side: 'BUY',
  positionSide: 'BOTH',
  orderType: 'LIMIT',
  price: '100.5',
  stopPrice: null,
  quantity: '2',
  filledQuantity: '0.5',
  averagePrice: '100.25',
  status: 'partially_filled',
  createdAt: 1_700_000_000_001,
  updatedAt: 1_700_000_000_002
}
const swapOrder = { ...spotOrder, instType: 'SWAP', instId: 'ETH-USDT-SWAP', side: 'sell', posSide: 'short' }
const swapUnified = {
  ...spotUnified,
  symbol: 'ETHUSDT',
  exchangeSymbol: 'ETH-USDT-SWAP',
  side: 'SELL',
  positionSide: 'SHORT',
  quantity: '0.2',
  filledQuantity: '0.05'
}
const sizes = new Map([['ETH-USDT-SWAP', '0.1']])
const none = new Map<string, string>()
const instruments = data(
  { instId: 'ETH-USDT-SWAP', ctType: 'linear', ctVal: '0.1', ctMult: '1' },
  { instId: 'SOL-USDT-SWAP', ctType: 'linear', ctVal: '2', ctMult: '5' },
  { instId: 'BTC-USDC-SWAP', ctType: 'linear', ctVal: '0.01' },
  { instId: 'BTC-USD-SWAP', ctType: 'inverse', ctVal: '100', ctMult: '1' },
  { instId: 'NEW-USDT-SWAP', ctType: 'linear', ctVal: '', ctMult: '1' },
  { instId: 'INV-USDT-SWAP', ctType: 'inverse', ctVal: '1', ctMult: '1' },
  { instId: 'ODD-USDT-SWAP', ctType: 'linear', ctVal: '1', ctMult: 'x' }
)

t.test('a host has the limits of each route', async t => {
  const { gateway } = clientOf()
  t.equal(gateway.hosts[0]?.baseUrl, 'https://okx.example')
  t.strictSame(
    gateway.hosts[0]?.limits.map(({ name, weight, perMs, scope }) => `${name} ${weight} ${perMs} ${scope}`),
    [
      'time 10 2000 address',
      'tickers 20 2000 address',
      'candles 20 2000 address',
      'mark-price 10 2000 address',
      'instruments 20 2000 address',
      'order 60 2000 key',
      'orders 60 2000 key',
      'algo 20 2000 key',
      'fills 60 2000 key',
      'fills-history 10 2000 key',
      'balance 10 2000 key',
      'bills 5 1000 key',
      'bills-archive 5 2000 key',
      'positions 10 2000 key'
    ]
  )
})

t.test('the time is read from its route', async t => {
  const { client, gateway } = clientOf(bodies({ '/api/v5/public/time': data({ ts: '1700000000123' }) }))
  t.equal(await client.serverTime(), 1_700_000_000_123)
  t.hasStrict(gateway.calls[0], { operation: 'serverTime', costs: '1 time', budgetKey: undefined, headers: {} })
  gateway.answers = bodies({ '/api/v5/public/time': data() })
  t.equal((await failureOf(client.serverTime())).code, 'invalid_answer')
})

t.test('a signed call has the headers of the key, and one more header on the testnet', async t => {
  const answers = bodies({ '/api/v5/account/balance': data({ details: [] }) })
  const { client, gateway } = clientOf(answers)
  await client.balances()
  t.strictSame(gateway.calls, [
    {
      operation: 'balances',
      path: '/api/v5/account/balance',
      query: '',
      costs: '1 balance',
      budgetKey: 'key',
      headers: {
        'ok-access-key': 'key',
        'ok-access-passphrase': 'passphrase',
        'ok-access-timestamp': '2023-11-14T22:13:20.000Z',
        'ok-access-sign': '2rqHNrx+3IYk7gThs3KvT7Z7ji8YPntbIQM+tCoJXPU='
      }
    }
  ])
  const testnet = clientOf(answers, 'SPOT', true)
  t.equal(testnet.client.isTestnet, true)
  await testnet.client.balances()
  t.strictSame(Object.keys(testnet.gateway.calls[0]?.headers ?? {}), [
    'x-simulated-trading',
    ...Object.keys(gateway.calls[0]?.headers ?? {})
  ])
  t.equal(testnet.gateway.calls[0]?.headers['x-simulated-trading'], '1')
})

t.test('only prices of symbols of the market are returned', async t => {
  const tickers = data(
    { instId: 'BTC-USDT', last: '100.10', ts: '1700000000001' },
    { instId: 'ETH-USDT-SWAP', last: '5', ts: '1700000000002' },
    { instId: 'BTC-USD-SWAP', last: '6', ts: '1700000000003' },
    { instId: 'BTC-USDT-261225', last: '7', ts: '1700000000003' },
    { instId: 'BTC-USDT-SWAP-X', last: '7', ts: '1700000000003' },
    { instId: 'A_B-USDT', last: '7', ts: '1700000000003' },
    { instId: 'BTC-usdt', last: '7', ts: '1700000000003' },
    { instId: 'BTC-U', last: '7' },
    { instId: 'BTC-', last: '7' },
    { instId: '-USDT', last: '7' },
    { instId: 'NEW-USDT', last: '' },
    { instId: 'OLD-USDT', last: '0' },
    { instId: 'NEG-USDT', last: '-1' },
    { last: '8' },
    { instId: '', last: '8' },
    { instId: '币安人生-USDT', last: '0.1' }
  )
  const spot = clientOf(bodies({ '/api/v5/market/tickers': tickers }))
  t.strictSame(await spot.client.lastPrices({ onInvalidRow: () => undefined }), [
    { symbol: 'BTCUSDT', exchangeSymbol: 'BTC-USDT', price: '100.10', at: 1_700_000_000_001 },
    { symbol: 'BTCU', exchangeSymbol: 'BTC-U', price: '7', at: null },
    { symbol: '币安人生USDT', exchangeSymbol: '币安人生-USDT', price: '0.1', at: null }
  ])
  t.hasStrict(spot.gateway.calls[0], {
    operation: 'lastPrices',
    query: 'instType=SPOT',
    costs: '1 tickers',
    headers: {}
  })
  const futures = clientOf(bodies({ '/api/v5/market/tickers': tickers }), 'FUTURES', true)
  t.strictSame(await futures.client.lastPrices({ onInvalidRow: () => undefined }), [
    { symbol: 'ETHUSDT', exchangeSymbol: 'ETH-USDT-SWAP', price: '5', at: 1_700_000_000_002 }
  ])
  t.hasStrict(futures.gateway.calls[0], { query: 'instType=SWAP', headers: { 'x-simulated-trading': '1' } })
})

t.test('an order is read by its symbol and id', async t => {
  const { client, gateway } = clientOf(bodies({ '/api/v5/trade/order': data(spotOrder) }))
  t.strictSame(await client.order({ exchangeOrderId: '77', exchangeSymbol: 'BTC-USDT' }), spotUnified)
  t.strictSame(gateway.requests(), ['/api/v5/trade/order?instId=BTC-USDT&ordId=77'])
  t.hasStrict(gateway.calls[0], { operation: 'order', costs: '1 order', budgetKey: 'key' })
  gateway.answers = bodies({ '/api/v5/trade/order': data() })
  t.equal((await failureOf(client.order({ exchangeOrderId: '77', exchangeSymbol: 'BTC-USDT' }))).code, 'invalid_answer')
})

t.test('a symbol of another market is rejected without a call', async t => {
  const { client, gateway } = clientOf()
  for (const exchangeSymbol of ['BTC-USDT-SWAP', 'BTCUSDT', 'BTC-USD-261225']) {
    for (const operation of ['order', 'fills'] as const) {
      const failure = await failureOf(client[operation]({ exchangeOrderId: '1', exchangeSymbol }))
      t.hasStrict(failure, { code: 'bad_symbol', operation, exchange: 'OKX' })
    }
  }
  const futures = clientOf(() => undefined, 'FUTURES')
  for (const exchangeSymbol of ['BTC-USDT', 'BTC-USD-SWAP'])
    t.equal((await failureOf(futures.client.order({ exchangeOrderId: '1', exchangeSymbol }))).code, 'bad_symbol')
  t.strictSame([...gateway.calls, ...futures.gateway.calls], [])
})

t.test('quantities of swaps are contracts times the contract size, which is requested once', async t => {
  const { client, gateway } = clientOf(
    bodies({ '/api/v5/trade/order': data(swapOrder), '/api/v5/public/instruments': instruments }),
    'FUTURES',
    true
  )
  const ref = { exchangeOrderId: '77', exchangeSymbol: 'ETH-USDT-SWAP' }
  t.strictSame(await client.order(ref), swapUnified)
  t.strictSame(await client.order(ref), swapUnified)
  t.strictSame(gateway.requests(), [
    '/api/v5/trade/order?instId=ETH-USDT-SWAP&ordId=77',
    '/api/v5/public/instruments?instType=SWAP',
    '/api/v5/trade/order?instId=ETH-USDT-SWAP&ordId=77'
  ])
  t.hasStrict(gateway.calls[1], {
    operation: 'order',
    costs: '1 instruments',
    budgetKey: undefined,
    headers: { 'x-simulated-trading': '1' }
  })
  const quantityOf = async (instId: string) => {
    gateway.answers = bodies({
      '/api/v5/trade/order': data({ ...swapOrder, instId }),
      '/api/v5/public/instruments': instruments
    })
    return (await client.order({ exchangeOrderId: '77', exchangeSymbol: instId })).quantity
  }
  t.equal(await quantityOf('SOL-USDT-SWAP'), '20', 'size and multiplier')
  t.equal(await quantityOf('BTC-USDC-SWAP'), '0.02', 'without a multiplier')
  for (const instId of ['NEW-USDT-SWAP', 'INV-USDT-SWAP', 'ODD-USDT-SWAP', 'GONE-USDT-SWAP']) {
    const failure = await failureOf(quantityOf(instId))
    t.equal(failure.code, 'invalid_answer', instId)
    t.match(failure.message, /a contract has no known size$/, instId)
  }
  t.equal(gateway.calls.filter(({ path }) => path === '/api/v5/public/instruments').length, 1, 'within a minute')
})

t.test('contract sizes are requested again after an hour, or after a minute for a new contract', async t => {
  let clock = 1_000_000
  t.intercept(performance, 'now', { value: () => clock })
  const answers = bodies({ '/api/v5/account/positions': data(), '/api/v5/public/instruments': instruments })
  const { client, gateway } = clientOf(answers, 'FUTURES')
  const positionsOf = async (instId: string) => {
    gateway.calls.length = 0
    gateway.answers = bodies({
      '/api/v5/account/positions': data({ instId, pos: '0' }),
      '/api/v5/public/instruments': instruments
    })
    await client.positions()
    return gateway.calls.length - 1
  }
  t.equal(await positionsOf('ETH-USDT-SWAP'), 1)
  clock += 3_600_000 - 1
  t.equal(await positionsOf('ETH-USDT-SWAP'), 0)
  clock += 1
  t.equal(await positionsOf('ETH-USDT-SWAP'), 1)
  clock += 60_000 - 1
  await t.rejects(positionsOf('GONE-USDT-SWAP'))
  t.equal(gateway.calls.length, 1)
  clock += 1
  await t.rejects(positionsOf('GONE-USDT-SWAP'))
  t.equal(gateway.calls.length, 2)
  await t.rejects(positionsOf('GONE-USDT-SWAP'))
  t.equal(gateway.calls.length, 1)
})

t.test('open orders are read page by page, those of unsupported contracts are left out', async t => {
  const row = (ordId: number) => ({ ...spotOrder, ordId: String(ordId) })
  const pages = [Array.from({ length: 100 }, (_, i) => row(i)), [row(100), { ...row(101), instId: 'BTC-USD-261225' }]]
  const { client, gateway } = clientOf((_path, query) => ({
    status: 200,
    body: data(...(pages[query.includes('after') ? 1 : 0] ?? []))
  }))
  const orders = await client.openOrders()
  t.strictSame(
    orders.map(({ exchangeOrderId }) => exchangeOrderId),
    Array.from({ length: 101 }, (_, i) => String(i))
  )
  t.strictSame(gateway.requests(), [
    '/api/v5/trade/orders-pending?instType=SPOT&limit=100',
    '/api/v5/trade/orders-pending?instType=SPOT&limit=100&after=99'
  ])
  t.hasStrict(gateway.calls[0], { operation: 'openOrders', costs: '1 orders' })
  gateway.answers = () => ({ status: 200, body: data() })
  t.strictSame(await client.openOrders(), [])
})

t.test('a list whose pages repeat is rejected', async t => {
  const page = Array.from({ length: 100 }, () => spotOrder)
  const { client, gateway } = clientOf(() => ({ status: 200, body: data(...page) }))
  t.hasStrict(await failureOf(client.openOrders()), { code: 'invalid_answer', operation: 'openOrders' })
  t.equal(gateway.calls.length, 2)
})

const algo = {
  instType: 'SWAP',
  instId: 'ETH-USDT-SWAP',
  algoId: '500',
  algoClOrdId: 'stop',
  side: 'sell',
  posSide: 'long',
  ordType: 'conditional',
  sz: '10',
  slTriggerPx: '90',
  state: 'live',
  cTime: '1700000000003',
  uTime: '1700000000004'
}
const algoUnified = {
  exchangeOrderId: '500',
  clientOrderId: 'stop',
  symbol: 'ETHUSDT',
  exchangeSymbol: 'ETH-USDT-SWAP',
  side: 'SELL',
  positionSide: 'LONG',
  orderType: 'CONDITIONAL',
  price: null,
  stopPrice: '90',
  quantity: '1',
  filledQuantity: '0',
  averagePrice: null,
  status: 'open',
  createdAt: 1_700_000_000_003,
  updatedAt: 1_700_000_000_004
}
const stop = { exchangeOrderId: '500', exchangeSymbol: 'ETH-USDT-SWAP', orderType: 'STOP_MARKET' }

t.test('a conditional order is read from its own route until it is triggered', async t => {
  const answers = { '/api/v5/public/instruments': instruments, '/api/v5/trade/order-algo': data(algo) }
  const { client, gateway } = clientOf(bodies(answers), 'FUTURES')
  for (const type of ['CONDITIONAL', 'OCO', 'TRIGGER', 'STOP', 'TAKE_PROFIT', 'TRAILING_STOP'])
    t.strictSame(await client.order({ ...stop, orderType: type }), algoUnified, type)
  t.equal(gateway.requests()[0], '/api/v5/trade/order-algo?algoId=500')
  t.hasStrict(gateway.calls[0], { operation: 'order', costs: '1 algo' })
  t.strictSame(await client.fills(stop), [], 'an untriggered order has no fills')
})

t.test('a triggered conditional order is returned as the order that it became, with its own id', async t => {
  for (const became of [{ ordIdList: ['77'] }, { ordId: '77' }, { ordIdList: [], ordId: '77' }]) {
    const { client, gateway } = clientOf(
      bodies({
        '/api/v5/public/instruments': instruments,
        '/api/v5/trade/order-algo': data({ ...algo, state: 'effective', ...became }),
        '/api/v5/trade/order': data(swapOrder),
        '/api/v5/trade/fills': data({ ...swapFill, ordId: '77' }),
        '/api/v5/trade/fills-history': data()
      }),
      'FUTURES'
    )
    t.strictSame(await client.order(stop), {
      ...swapUnified,
      exchangeOrderId: '500',
      orderType: 'CONDITIONAL',
      stopPrice: '90'
    })
    t.ok(gateway.requests().includes('/api/v5/trade/order?instId=ETH-USDT-SWAP&ordId=77'), 'the order that it became')
    const [fill] = await client.fills(stop)
    t.equal(fill?.exchangeOrderId, '500')
  }
})

t.test('an order id of "0" or an empty one means not triggered', async t => {
  for (const became of [
    { ordId: '0' },
    { ordId: '' },
    { ordIdList: ['0'] },
    { ordIdList: [''] },
    { ordIdList: [true] }
  ]) {
    const answers = {
      '/api/v5/public/instruments': instruments,
      '/api/v5/trade/order-algo': data({ ...algo, ...became })
    }
    const { client } = clientOf(bodies(answers), 'FUTURES')
    t.strictSame(await client.order(stop), algoUnified, JSON.stringify(became))
  }
})

t.test('if no conditional order of the symbol has the id, the ordinary order is read', async t => {
  for (const answer of [
    { status: 200, body: { code: '51603', msg: '', data: [] } },
    { status: 200, body: data({ ...algo, instId: 'SOL-USDT-SWAP' }) }
  ]) {
    const { client, gateway } = clientOf(path => {
      if (path === '/api/v5/trade/order-algo') return answer
      if (path === '/api/v5/trade/order') return { status: 200, body: data(swapOrder) }
      if (path === '/api/v5/trade/fills-history') return { status: 200, body: data() }
      if (path === '/api/v5/trade/fills') return { status: 200, body: data({ ...swapFill, ordId: '500' }) }
      return { status: 200, body: instruments }
    }, 'FUTURES')
    t.strictSame(await client.order(stop), swapUnified)
    t.ok(gateway.requests().includes('/api/v5/trade/order?instId=ETH-USDT-SWAP&ordId=500'), 'by the same id')
    t.equal((await client.fills(stop)).length, 1)
  }
})

t.test('another failure of the conditional route fails the call', async t => {
  const { client } = clientOf(() => ({ status: 200, body: { code: '50001', msg: '', data: [] } }), 'FUTURES')
  t.equal((await failureOf(client.order(stop))).code, 'unavailable')
  t.equal((await failureOf(client.fills(stop))).code, 'unavailable')
})

/** The time of the exchange in these tests. */
const NOW = 1_700_000_000_000

const spotFill = {
  instType: 'SPOT',
  instId: 'BTC-USDT',
  tradeId: '9',
  ordId: '77',
  billId: '1',
  side: 'sell',
  posSide: 'net',
  fillPx: '100',
  fillSz: '0.5',
  fee: '-0.05',
  feeCcy: 'USDT',
  fillPnl: '7',
  fillTime: '1700000000001',
  ts: '1700000000009'
}
const swapFill = { ...spotFill, instType: 'SWAP', instId: 'ETH-USDT-SWAP', posSide: 'long' }
const fillUnified = {
  exchangeTradeId: '9',
  exchangeOrderId: '77',
  symbol: 'BTCUSDT',
  exchangeSymbol: 'BTC-USDT',
  side: 'SELL',
  positionSide: 'BOTH',
  price: '100',
  quantity: '0.5',
  fee: '0.05',
  feeAsset: 'USDT',
  realizedPnl: null,
  executedAt: 1_700_000_000_001
}

t.test('fills are those of the order, oldest first; fills of one millisecond are reversed', async t => {
  const row = (tradeId: string, fillTime: string, ordId = '77') => ({
    ...{ ...spotFill, tradeId, fillTime, ordId },
    billId: `bill-${tradeId}`
  })
  const listed = data(row('1', '1'), row('4', '3'), row('3', '2'), row('2', '2'), row('x', '2', '78'))
  const { client, gateway } = clientOf(bodies({ '/api/v5/trade/fills': listed }))
  const createdAt = NOW - 60_000
  const fills = await client.fills({ exchangeOrderId: '77', exchangeSymbol: 'BTC-USDT', createdAt })
  t.strictSame(
    fills.map(({ exchangeTradeId }) => exchangeTradeId),
    ['1', '2', '3', '4']
  )
  t.strictSame(fills[0], { ...fillUnified, exchangeTradeId: '1', executedAt: 1 })
  t.strictSame(gateway.requests(), ['/api/v5/trade/fills?instType=SPOT&instId=BTC-USDT&ordId=77&limit=100'])
  t.hasStrict(gateway.calls[0], { operation: 'fills', costs: '1 fills' })
})

t.test('fills older than three days are read from the history, page by page', async t => {
  const rows = Array.from({ length: 100 }, (_, i) => ({ ...spotFill, tradeId: String(i), billId: String(i) }))
  const { client, gateway } = clientOf((path, query) => ({
    status: 200,
    body: path.endsWith('history') && !query.includes('after') ? data(...rows) : data()
  }))
  t.equal((await client.fills({ exchangeOrderId: '77', exchangeSymbol: 'BTC-USDT' })).length, 100)
  t.strictSame(gateway.requests(), [
    '/api/v5/trade/fills?instType=SPOT&instId=BTC-USDT&ordId=77&limit=100',
    '/api/v5/trade/fills-history?instType=SPOT&instId=BTC-USDT&ordId=77&limit=100',
    '/api/v5/trade/fills-history?instType=SPOT&instId=BTC-USDT&ordId=77&limit=100&after=99'
  ])
  t.equal(gateway.calls[1]?.costs, '1 fills-history')
})

t.test('the history is read unless the first list is enough', async t => {
  const history = 'fills-history'
  const listsFor = async (ref: { createdAt?: number; since?: number; filledQuantity?: string }) => {
    const { client, gateway } = clientOf(
      bodies({
        '/api/v5/trade/fills': data({ ...spotFill, tradeId: '2', billId: '2', fillSz: '1' }),
        '/api/v5/trade/fills-history': data(
          { ...spotFill, tradeId: '2', billId: '2', fillSz: '1' },
          { ...spotFill, tradeId: '1', billId: '1', fillSz: '2' }
        )
      })
    )
    const fills = await client.fills({ exchangeOrderId: '77', exchangeSymbol: 'BTC-USDT', ...ref })
    t.strictSame(
      fills.map(({ exchangeTradeId }) => exchangeTradeId),
      gateway.calls.length === 1 ? ['2'] : ['1', '2'],
      'a fill that is in both lists counts once'
    )
    return gateway.calls.map(({ path }) => path.split('/').at(-1))
  }
  const young = NOW - 60_000
  const old = NOW - 3 * 24 * 3_600_000
  t.strictSame(await listsFor({}), ['fills', history], 'nothing is known of the order')
  t.strictSame(await listsFor({ createdAt: young }), ['fills'])
  t.strictSame(await listsFor({ createdAt: old }), ['fills', history])
  t.strictSame(await listsFor({ createdAt: old, since: young }), ['fills'], 'older fills are recorded already')
  t.strictSame(await listsFor({ createdAt: old, filledQuantity: '1' }), ['fills'], 'they add up')
  t.strictSame(await listsFor({ createdAt: young, filledQuantity: '3' }), ['fills', history], 'they do not add up')
})

t.test('only open positions are returned, and none on spot', async t => {
  const spot = clientOf()
  t.strictSame(await spot.client.positions(), [])
  t.strictSame(spot.gateway.calls, [])
  const position = { instType: 'SWAP', instId: 'ETH-USDT-SWAP', posSide: 'net', pos: '-3', avgPx: '5', markPx: '6' }
  const { client, gateway } = clientOf(
    bodies({
      '/api/v5/account/positions': data(position, { ...position, pos: '0' }, { ...position, instId: 'BTC-USD-SWAP' }),
      '/api/v5/public/instruments': instruments
    }),
    'FUTURES'
  )
  t.strictSame(await client.positions(), [
    {
      symbol: 'ETHUSDT',
      exchangeSymbol: 'ETH-USDT-SWAP',
      positionSide: 'BOTH',
      quantity: '-0.3',
      entryPrice: '5',
      markPrice: '6',
      unrealizedPnl: null,
      updatedAt: null
    }
  ])
  t.equal(gateway.requests()[0], '/api/v5/account/positions?instType=SWAP')
  t.hasStrict(gateway.calls[0], { operation: 'positions', costs: '1 positions' })
  gateway.answers = bodies({ '/api/v5/account/positions': data({ ...position, posSide: 'both' }) })
  t.hasStrict(await failureOf(client.positions()), { code: 'invalid_answer', operation: 'positions' })
})

t.test('a client without credentials makes no signed call', async t => {
  const gateway = new CannedGateway('OKX')
  const context = {
    gateway,
    marketType: 'SPOT' as const,
    isTestnet: false,
    credentials: null,
    baseUrl: 'https://x.example'
  }
  t.hasStrict(await failureOf(new OkxClient(context).balances()), { code: 'authentication', operation: 'balances' })
})

t.test('each order state of the exchange is mapped', async t => {
  const states = ['live', 'partially_filled', 'filled', 'canceled', 'mmp_canceled']
  t.strictSame(
    states.map(state => parseOkxOrder({ ...spotOrder, state }, none).status),
    ['open', 'partially_filled', 'filled', 'canceled', 'canceled']
  )
  const algoStates = ['live', 'effective', 'pause', 'partially_effective', 'canceled', 'order_failed']
  t.strictSame(
    algoStates.map(state => parseOkxAlgoOrder({ ...algo, state }, sizes).status),
    ['open', 'open', 'open', 'open', 'canceled', 'rejected']
  )
  t.throws(() => parseOkxOrder({ ...spotOrder, state: 'new' }, none), { message: 'state is unknown' })
  t.throws(() => parseOkxAlgoOrder({ ...algo, state: 'new' }, sizes), { message: 'state is unknown' })
})

t.test('a spot market buy with an amount to spend has no quantity', async t => {
  const quantity = (rest: Record<string, string>) =>
    parseOkxOrder({ ...spotOrder, ordType: 'market', px: '', ...rest }, sizes).quantity
  t.equal(quantity({}), null)
  t.equal(quantity({ tgtCcy: 'quote_ccy' }), null)
  t.equal(quantity({ tgtCcy: 'base_ccy' }), '2')
  t.equal(quantity({ side: 'sell' }), '2')
  t.equal(quantity({ ordType: 'limit' }), '2')
  t.equal(quantity({ instType: 'SWAP', instId: 'ETH-USDT-SWAP' }), '0.2')
  t.equal(quantity({ side: 'sell', sz: '0' }), null)
})

t.test('absent fields are null', async t => {
  const { instType, instId, ordId, side, ordType, state } = spotOrder
  t.strictSame(parseOkxOrder({ instType, instId, ordId, side, ordType, state }, none), {
    ...spotUnified,
    clientOrderId: null,
    price: null,
    quantity: null,
    filledQuantity: '0',
    averagePrice: null,
    createdAt: null,
    updatedAt: null
  })
  t.strictSame(parseOkxAlgoOrder({ ...algo, algoClOrdId: '', sz: '', slTriggerPx: '', cTime: '', uTime: '' }, sizes), {
    ...algoUnified,
    clientOrderId: null,
    stopPrice: null,
    quantity: null,
    createdAt: null,
    updatedAt: null
  })
  t.strictSame(parseOkxFill({ ...spotFill, fee: '', feeCcy: '', fillTime: '' }, none), {
    ...fillUnified,
    fee: null,
    feeAsset: null,
    executedAt: 1_700_000_000_009
  })
})

t.test('the trigger price is that of the order, else its stop loss, else its take profit', async t => {
  const stopPrice = (prices: Record<string, string>) => parseOkxAlgoOrder({ ...algo, ...prices }, sizes).stopPrice
  t.equal(stopPrice({ triggerPx: '1', slTriggerPx: '2', tpTriggerPx: '3' }), '1')
  t.equal(stopPrice({ triggerPx: '', slTriggerPx: '2', tpTriggerPx: '3' }), '2')
  t.equal(stopPrice({ triggerPx: '', slTriggerPx: '', tpTriggerPx: '3' }), '3')
})

t.test('a swap fill has its realised PnL and its quantity in base units', async t => {
  t.strictSame(parseOkxFill(swapFill, sizes), {
    ...fillUnified,
    symbol: 'ETHUSDT',
    exchangeSymbol: 'ETH-USDT-SWAP',
    positionSide: 'LONG',
    quantity: '0.05',
    realizedPnl: '7'
  })
})

t.test('a balance is the equity without unrealised profit, and the unavailable part is locked', async t => {
  const balances = (...details: unknown[]) => parseOkxBalances([{ details }])
  t.strictSame(
    balances(
      { ccy: 'USDT', eq: '100.50', upl: '0.5', availBal: '60' },
      { ccy: 'BTC', eq: '2.10', availBal: '2.10' },
      { ccy: 'ETH', eq: '3' },
      { ccy: 'SOL', eq: '4', upl: '-1', availBal: '9' },
      { ccy: 'XRP', eq: '0', availBal: '0' },
      { ccy: 'DOGE', eq: '5', upl: '5', availBal: '1' }
    ),
    [
      { asset: 'USDT', free: '60', locked: '40', total: '100' },
      { asset: 'BTC', free: '2.10', locked: '0', total: '2.10' },
      { asset: 'ETH', free: '0', locked: '3', total: '3' },
      { asset: 'SOL', free: '5', locked: '0', total: '5' }
    ]
  )
  t.throws(() => parseOkxBalances([{ details: {} }]), { message: 'details is not an array' })
  t.throws(() => parseOkxBalances([]), { message: 'data is empty' })
  t.strictSame(parseOkxBalances([{ details: [] }]), [], 'an account that holds nothing')
})

t.test('a short position has a negative quantity in hedge and in net mode', async t => {
  const position = {
    instId: 'ETH-USDT-SWAP',
    posSide: 'short',
    pos: '3',
    avgPx: '5',
    markPx: '6',
    upl: '-0.3',
    uTime: '1700000000001'
  }
  const unified = {
    symbol: 'ETHUSDT',
    exchangeSymbol: 'ETH-USDT-SWAP',
    positionSide: 'SHORT',
    quantity: '-0.3',
    entryPrice: '5',
    markPrice: '6',
    unrealizedPnl: '-0.3',
    updatedAt: 1_700_000_000_001
  }
  t.strictSame(parseOkxPosition(position, sizes), unified)
  t.strictSame(parseOkxPosition({ ...position, pos: '-3' }, sizes), unified)
  t.hasStrict(parseOkxPosition({ ...position, posSide: 'long' }, sizes), { positionSide: 'LONG', quantity: '0.3' })
  t.equal(parseOkxPosition({ ...position, pos: '' }, sizes), null)
})

t.test('unknown sides are rejected', async t => {
  t.throws(() => parseOkxOrder({ ...spotOrder, side: 'BUY' }, none), { message: 'side is unknown' })
  t.throws(() => parseOkxOrder({ ...spotOrder, posSide: 'both' }, none), { message: 'posSide is unknown' })
})

t.test('each error of the exchange is mapped to an error code', async t => {
  const { gateway } = clientOf()
  const meanings = {
    clock: [50102, 50112],
    authentication: [50100, 50101, 50103, 50104, 50105, 50106, 50107, 50111, 50113, 50114, 50119],
    permission: [50110, 50120],
    rate_limited: [50011, 50040, 50061],
    unavailable: [50001, 50013, 50026],
    timeout: [50004],
    bad_symbol: [51001],
    order_not_found: [51603]
  }
  for (const [code, numbers] of Object.entries(meanings)) {
    for (const exchangeCode of numbers.map(String)) {
      const ofUser = ['50011', '50061'].includes(exchangeCode)
      const expected = { code, exchangeCode, ...(ofUser && { scope: 'key' }) }
      t.strictSame(gateway.refusalOf({ code: exchangeCode, data: [] }), expected)
      t.strictSame(gateway.refusalOf({ code: exchangeCode, data: [] }, { status: 400 }), expected)
    }
  }
  t.equal(gateway.refusalOf({ code: '0', data: [] }), null)
  t.equal(gateway.refusalOf({ code: 'constructor', data: [] }, { status: 400 }), null)
  t.equal(gateway.refusalOf({ data: [] }), null)
  t.equal(gateway.refusalOf([]), null)
  t.strictSame(
    gateway.refusalOf({ code: '1', data: [{ sCode: '51603' }] }),
    { code: 'order_not_found', exchangeCode: '51603' },
    'the code of the item is used'
  )
  t.hasStrict(gateway.refusalOf({ code: '50011', data: ['51603'] }), { code: 'rate_limited' })
  t.hasStrict(gateway.refusalOf({ code: '50011', data: 1 }), { code: 'rate_limited' })
  t.hasStrict(gateway.refusalOf({ code: '99999', data: [] }), { code: 'invalid_answer', exchangeCode: '99999' })
  t.equal(gateway.refusalOf({ code: '99999', data: [] }, { status: 500 }), null, 'the HTTP status is used')
})
