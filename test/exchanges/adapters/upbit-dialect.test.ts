import { createHash } from 'node:crypto'
import t from 'tap'
import { BithumbClient } from '../../../src/exchanges/adapters/bithumb.ts'
import { UpbitClient } from '../../../src/exchanges/adapters/upbit.ts'
import {
  parseTokenBalances,
  parseTokenFills,
  parseTokenOrder,
  symbolOfMarket
} from '../../../src/exchanges/adapters/upbit-dialect.ts'
import { isRecord, type JsonRecord } from '../../../src/exchanges/http/answer-fields.ts'
import { assertRows } from '../../support/assert-rows.ts'
import { type Answers, bodies, CannedGateway } from '../../support/canned-gateway.ts'
import { failureOf } from '../failure.ts'

const KEYS = { apiKey: 'key', apiSecret: 'secret' }
const CLIENTS = { UPBIT: UpbitClient, BITHUMB: BithumbClient }

function clientOf(exchange: 'UPBIT' | 'BITHUMB', answers: Answers = () => undefined) {
  const gateway = new CannedGateway(exchange, answers)
  const context = {
    gateway,
    marketType: 'SPOT' as const,
    isTestnet: false,
    credentials: KEYS,
    baseUrl: 'https://x.example'
  }
  return { gateway, client: new CLIENTS[exchange](context) }
}

/** The claims of a bearer token. */
function claimsOf(authorization = ''): JsonRecord {
  const [, claims = ''] = authorization.split('.')
  const value: unknown = JSON.parse(Buffer.from(claims, 'base64url').toString())
  if (!isRecord(value)) throw new Error('the claims are not an object')
  return value
}

const order = {
  uuid: 'o-1',
  identifier: 'mine',
  side: 'bid',
  ord_type: 'limit',
  price: '100.50',
  state: 'wait',
  market: 'KRW-BTC',
  created_at: '2025-04-01T15:30:47+09:00',
  volume: '2',
  executed_volume: '0.5',
  paid_fee: '1',
  trades: [
    { uuid: 't-2', price: '110', volume: '0.25', funds: '27.5', created_at: '2025-04-01T15:30:49+09:00' },
    { uuid: 't-1', price: '100', volume: '0.25', created_at: '2025-04-01T15:30:48+09:00' }
  ]
}
const unified = {
  exchangeOrderId: 'o-1',
  clientOrderId: 'mine',
  symbol: 'BTCKRW',
  exchangeSymbol: 'KRW-BTC',
  side: 'BUY',
  positionSide: 'BOTH',
  orderType: 'LIMIT',
  price: '100.50',
  stopPrice: null,
  quantity: '2',
  filledQuantity: '0.5',
  averagePrice: '105',
  status: 'partially_filled',
  createdAt: Date.parse('2025-04-01T06:30:47Z'),
  updatedAt: null
}
const ref = { exchangeOrderId: 'o-1', exchangeSymbol: 'KRW-BTC' }

t.test('a host has a limit for public calls and one for signed calls', async t => {
  for (const [exchange, publicWeight, privateWeight, scope] of [
    ['UPBIT', 10, 30, 'key'],
    ['BITHUMB', 150, 140, 'address']
  ] as const) {
    const { client, gateway } = clientOf(exchange)
    t.equal(gateway.hosts[0]?.baseUrl, 'https://x.example')
    t.strictSame(gateway.hosts[0]?.limits, [
      { name: 'public', scope: 'address', weight: publicWeight, perMs: 1_000 },
      { name: 'private', scope, weight: privateWeight, perMs: 1_000 }
    ])
    t.hasStrict(client, { exchange, marketType: 'SPOT', isTestnet: false })
  }
})

t.test('Upbit reports the calls that are left in this second', async t => {
  const [host] = clientOf('UPBIT').gateway.hosts
  const usage = (text: string | null) => host?.usage?.read(name => (name === 'remaining-req' ? text : null))
  t.strictSame(usage('group=default; min=1800; sec=29'), { limit: 'private', used: 1 })
  t.strictSame(usage('group=ticker; min=600; sec=0'), { limit: 'public', used: 10 })
  t.strictSame(usage('group=market; min=600; sec=99'), { limit: 'public', used: 0 })
  for (const text of [null, '', 'group=ticker', 'sec=9', 'group=ticker; min=600; sec=many']) t.equal(usage(text), null)
  t.equal(clientOf('BITHUMB').gateway.hosts[0]?.usage, undefined)
})

t.test('the clock is the middle of the second in the header Date', async t => {
  const { client, gateway } = clientOf('UPBIT', () => ({
    status: 200,
    body: [],
    headers: { date: 'Tue, 14 Nov 2023 22:13:20 GMT' }
  }))
  t.equal(await client.serverTime(), 1_700_000_000_500)
  t.hasStrict(gateway.calls[0], {
    operation: 'serverTime',
    path: '/v1/ticker',
    query: 'markets=KRW-BTC',
    costs: '1 public',
    budgetKey: undefined
  })
  gateway.answers = () => ({ status: 200, body: [] })
  t.equal((await failureOf(client.serverTime())).code, 'invalid_answer')
})

t.test('Upbit: prices have the time of their tick', async t => {
  const { client, gateway } = clientOf(
    'UPBIT',
    bodies({
      '/v1/ticker/all': [
        { market: 'KRW-BTC', trade_price: 100.1, timestamp: 1_700_000_000_001 },
        { market: 'KRW-ETH', trade_price: '5' },
        { market: 'KRW-NEW', trade_price: null, timestamp: 1 },
        { market: 'KRW-OLD', trade_price: 0, timestamp: 1 },
        { market: 'KRW_BTC', trade_price: 1, timestamp: 1 },
        { market: '', trade_price: 1, timestamp: 1 },
        { trade_price: 1, timestamp: 1 }
      ]
    })
  )
  t.strictSame(await client.lastPrices({ onInvalidRow: () => undefined }), [
    { symbol: 'BTCKRW', exchangeSymbol: 'KRW-BTC', price: '100.1', at: 1_700_000_000_001 },
    { symbol: 'ETHKRW', exchangeSymbol: 'KRW-ETH', price: '5', at: null }
  ])
  t.hasStrict(gateway.calls[0], { operation: 'lastPrices', query: 'quote_currencies=KRW', costs: '1 public' })
})

t.test('Bithumb: prices are the members of its answer, at the time of the list', async t => {
  const data = { BTC: { closing_price: '100.10' }, ETH: { closing_price: '' }, date: '1700000000001' }
  const { client, gateway } = clientOf('BITHUMB', bodies({ '/public/ticker/ALL_KRW': { status: '0000', data } }))
  t.strictSame(await client.lastPrices({ onInvalidRow: () => undefined }), [
    { symbol: 'BTCKRW', exchangeSymbol: 'KRW-BTC', price: '100.10', at: 1_700_000_000_001, isListTime: true }
  ])
  t.hasStrict(gateway.calls[0], { operation: 'lastPrices', query: '', costs: '1 public' })
})

t.test('a signed call has a token with the hash of its query', async t => {
  for (const exchange of ['UPBIT', 'BITHUMB'] as const) {
    const answers = bodies({ '/v1/order': order, '/v1/accounts': [] })
    const { client, gateway } = clientOf(exchange, answers)
    t.strictSame(await client.order(ref), unified)
    t.strictSame(await client.balances(), [])
    t.strictSame(await client.positions(), [])
    assertRows(t, gateway.calls, [
      { operation: 'order', path: '/v1/order', query: 'uuid=o-1', costs: '1 private', budgetKey: 'key' },
      { operation: 'balances', path: '/v1/accounts', query: '', costs: '1 private', budgetKey: 'key' }
    ])
    const [asked, listed] = gateway.calls.map(({ headers }) => claimsOf(headers.authorization))
    t.match(asked?.nonce, /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/)
    t.not(asked?.nonce, listed?.nonce)
    const time = exchange === 'BITHUMB' ? { timestamp: 1_700_000_000_000 } : {}
    const hash = createHash('sha512').update('uuid=o-1').digest('hex')
    t.strictSame(asked, {
      access_key: 'key',
      nonce: asked?.nonce,
      ...time,
      query_hash: hash,
      query_hash_alg: 'SHA512'
    })
    t.strictSame(listed, { access_key: 'key', nonce: listed?.nonce, ...time })
    const header = Buffer.from('{"alg":"HS256","typ":"JWT"}').toString('base64url')
    t.ok(gateway.calls[0]?.headers.authorization?.startsWith(`Bearer ${header}.`), 'the header of the token')
  }
})

t.test('open orders are read in pages of a hundred, those of unsupported markets are left out', async t => {
  for (const [exchange, path] of [
    ['UPBIT', '/v1/orders/open'],
    ['BITHUMB', '/v1/orders']
  ] as const) {
    const page = Array.from({ length: 100 }, (_, i) => ({ ...order, uuid: `o-${i}` }))
    const { client, gateway } = clientOf(exchange, (_path, query) => ({
      status: 200,
      body: query.includes('page=1&') ? page : [page[99], { ...order, uuid: 'new' }, { ...order, market: 'BTC' }]
    }))
    t.equal((await client.openOrders()).length, 101)
    const query = (number: number) => `states[]=wait&states[]=watch&page=${number}&limit=100&order_by=asc`
    t.strictSame(gateway.requests(), [`${path}?${query(1)}`, `${path}?${query(2)}`])
    t.equal(gateway.calls[0]?.operation, 'openOrders')
    gateway.calls.length = 0
    gateway.answers = () => ({ status: 200, body: page })
    t.hasStrict(await failureOf(client.openOrders()), { code: 'invalid_answer', operation: 'openOrders', exchange })
    t.equal(gateway.calls.length, 2, 'pages that repeat')
    gateway.answers = () => ({ status: 200, body: [{ ...order, state: 'new' }] })
    t.hasStrict(await failureOf(client.openOrders()), { code: 'invalid_answer', operation: 'openOrders', exchange })
  }
})

t.test('a symbol that is not a market is rejected without a call', async t => {
  const { client, gateway } = clientOf('UPBIT')
  for (const operation of ['order', 'fills'] as const) {
    const failure = await failureOf(client[operation]({ ...ref, exchangeSymbol: 'BTCKRW' }))
    t.hasStrict(failure, { code: 'bad_symbol', operation, exchange: 'UPBIT' })
  }
  t.strictSame(gateway.calls, [])
})

t.test('fills are the trades of the order, oldest first', async t => {
  const { client, gateway } = clientOf('UPBIT', bodies({ '/v1/order': order }))
  const base = {
    exchangeOrderId: 'o-1',
    symbol: 'BTCKRW',
    exchangeSymbol: 'KRW-BTC',
    side: 'BUY',
    positionSide: 'BOTH'
  }
  t.strictSame(await client.fills(ref), [
    {
      ...{ exchangeTradeId: 't-1', ...base, price: '100', quantity: '0.25', fee: '0.4761904761904762' },
      ...{ feeAsset: 'KRW', realizedPnl: null, executedAt: Date.parse('2025-04-01T06:30:48Z') }
    },
    {
      ...{ exchangeTradeId: 't-2', ...base, price: '110', quantity: '0.25', fee: '0.5238095238095238' },
      ...{ feeAsset: 'KRW', realizedPnl: null, executedAt: Date.parse('2025-04-01T06:30:49Z') }
    }
  ])
  t.hasStrict(gateway.calls[0], { operation: 'fills', path: '/v1/order', query: 'uuid=o-1' })
  gateway.answers = bodies({ '/v1/order': { ...order, trades: [{ ...order.trades[0], created_at: null }] } })
  t.hasStrict(await failureOf(client.fills(ref)), { code: 'invalid_answer', operation: 'fills' })
})

t.test('a fill has the fee of its trade, else its share of the paid fee of the order, else none', async t => {
  const feesOf = (rest: JsonRecord, trades: readonly JsonRecord[]) =>
    parseTokenFills({
      ...order,
      ...rest,
      trades: trades.map(trade => ({ ...order.trades[0], ...trade }))
    }).map(({ fee, feeAsset }) => [fee, feeAsset])
  const trade = { funds: '10' }
  t.strictSame(
    feesOf({}, [
      { bid_fee: '0.1', ask_fee: '9' },
      { bid_fee: '0.2', ask_fee: '8' }
    ]),
    [
      ['0.1', 'KRW'],
      ['0.2', 'KRW']
    ]
  )
  t.strictSame(feesOf({ side: 'ask' }, [{ bid_fee: '0.1', ask_fee: '9' }]), [['9', 'KRW']])
  t.strictSame(feesOf({ paid_fee: '3' }, [{ ...trade, bid_fee: '0.1' }, { funds: '20' }]), [
    ['1', 'KRW'],
    ['2', 'KRW']
  ])
  t.strictSame(feesOf({ paid_fee: undefined }, [{ ...trade, bid_fee: '0.1' }, trade]), [
    ['0.1', 'KRW'],
    [null, null]
  ])
  t.strictSame(feesOf({}, [{ funds: '0', bid_fee: '0.1' }, { funds: '0' }]), [
    ['0.1', 'KRW'],
    [null, null]
  ])
  t.strictSame(feesOf({}, [trade, trade, trade]), [
    ['0.3333333333333333', 'KRW'],
    ['0.3333333333333333', 'KRW'],
    ['0.3333333333333334', 'KRW']
  ])
})

t.test('an order without trades has no fills', async t => {
  t.strictSame(parseTokenFills({ ...order, trades: undefined }), [])
  t.strictSame(parseTokenFills({ ...order, trades: null }), [])
  t.strictSame(parseTokenFills({ ...order, trades: [] }), [])
  t.throws(() => parseTokenFills({ ...order, trades: {} }), { message: 'trades is not an array' })
})

t.test('the price of a market buy is the amount to spend', async t => {
  const parsed = (rest: JsonRecord) => {
    const { orderType, price, quantity } = parseTokenOrder({ ...order, ...rest })
    return [orderType, price, quantity]
  }
  t.strictSame(parsed({ ord_type: 'price' }), ['MARKET', null, null])
  t.strictSame(parsed({ ord_type: 'best' }), ['BEST', null, null])
  t.strictSame(parsed({ ord_type: 'best', side: 'ask' }), ['BEST', '100.50', '2'])
  t.strictSame(parsed({ ord_type: 'market', side: 'ask', price: null }), ['MARKET', null, '2'])
  t.strictSame(parsed({ ord_type: 'limit', volume: null }), ['LIMIT', '100.50', null])
})

t.test('each order state of the exchange is mapped, together with the filled quantity', async t => {
  const statusOf = (state: string, executed_volume: string, ord_type = 'limit') =>
    parseTokenOrder({ ...order, state, executed_volume, ord_type }).status
  t.equal(statusOf('watch', '1'), 'open')
  t.equal(statusOf('wait', '0'), 'open')
  t.equal(statusOf('wait', '1'), 'partially_filled')
  t.equal(statusOf('done', '1'), 'filled')
  t.equal(statusOf('done', '0'), 'canceled')
  t.equal(statusOf('cancel', '1'), 'canceled')
  t.equal(statusOf('cancel', '1', 'price'), 'filled')
  t.equal(statusOf('cancel', '0', 'price'), 'canceled')
  t.throws(() => statusOf('new', '0'), { message: 'state is unknown' })
  t.throws(() => parseTokenOrder({ ...order, side: 'BUY' }), { message: 'side is unknown' })
})

t.test('the average price is computed from the trades, else from the executed funds', async t => {
  const averageOf = (rest: JsonRecord) => parseTokenOrder({ ...order, ...rest }).averagePrice
  t.equal(averageOf({}), '105')
  t.equal(averageOf({ executed_volume: '0.0' }), null)
  t.equal(averageOf({ trades: undefined, executed_funds: '52' }), '104')
  t.equal(averageOf({ trades: null, executed_funds: '52' }), '104')
  t.equal(averageOf({ trades: [], executed_funds: '52' }), '104')
  t.equal(averageOf({ trades: [] }), null)
  t.equal(averageOf({ trades: [{ ...order.trades[0], volume: '0' }] }), null)
  t.equal(averageOf({ trades: [{ ...order.trades[0], funds: null }] }), '110')
})

t.test('absent fields are null', async t => {
  t.strictSame(parseTokenOrder({ ...order, identifier: undefined, price: null, volume: null, created_at: null }), {
    ...unified,
    clientOrderId: null,
    price: null,
    quantity: null,
    createdAt: null
  })
})

t.test('only assets with a balance are returned', async t => {
  t.strictSame(
    parseTokenBalances([
      { currency: 'KRW', balance: '1.50', locked: '0.5' },
      { currency: 'BTC', balance: '0', locked: '2' },
      { currency: 'ETH', balance: '3', locked: '0.0' },
      { currency: 'XRP', balance: '0.0', locked: '0' }
    ]),
    [
      { asset: 'KRW', free: '1.50', locked: '0.5', total: '2' },
      { asset: 'BTC', free: '0', locked: '2', total: '2' },
      { asset: 'ETH', free: '3', locked: '0.0', total: '3' }
    ]
  )
  t.throws(() => parseTokenBalances({}), { message: 'balances is not an array' })
})

t.test('a market consists of quote and base', async t => {
  t.equal(symbolOfMarket('KRW-BTC'), 'BTCKRW')
  t.equal(symbolOfMarket(`KRW-${'A'.repeat(20)}`), `${'A'.repeat(20)}KRW`)
  for (const market of ['KRW', 'KRW-', '-BTC', 'krw-btc', 'KRW-BTC-X', `KRW-${'A'.repeat(21)}`])
    t.throws(() => symbolOfMarket(market), { name: 'UnsupportedSymbol' }, market)
})

t.test('each error of the exchange is mapped to an error code', async t => {
  const shared = {
    authentication: [
      ...['invalid_access_key', 'expired_access_key', 'jwt_verification', 'invalid_query_payload', 'nonce_used'],
      'no_authorization_token'
    ],
    permission: ['no_authorization_ip', 'out_of_scope'],
    order_not_found: ['order_not_found'],
    bad_symbol: ['invalid_market', 'market_does_not_exist'],
    rate_limited: ['too_many_requests']
  }
  const own = {
    UPBIT: { permission: ['no_authorization_i_p'], bad_symbol: ['notfoundmarket'] },
    BITHUMB: { authentication: ['invalid_jwt'], clock: ['expired_jwt'], permission: ['NotAllowIP'] }
  }
  for (const exchange of ['UPBIT', 'BITHUMB'] as const) {
    const { gateway } = clientOf(exchange)
    for (const [code, names] of [...Object.entries(shared), ...Object.entries(own[exchange])]) {
      for (const name of names) {
        const expected = { code, exchangeCode: name }
        t.strictSame(gateway.refusalOf({ error: { name } }, { status: 400 }), expected)
        t.equal(gateway.refusalOf({ error: { name } }), null, 'not with status 200')
      }
    }
    for (const body of [{ error: { name: 'new' } }, { error: {} }, { error: 'no' }, {}, []])
      t.equal(gateway.refusalOf(body, { status: 400 }), null, JSON.stringify(body))
  }
})

t.test('Bithumb: a status other than 0000 in an answer of 200 is a refusal', async t => {
  const { gateway } = clientOf('BITHUMB')
  t.strictSame(gateway.refusalOf({ status: '5600' }), { code: 'unavailable', exchangeCode: '5600' })
  t.equal(gateway.refusalOf({ status: '0000' }), null)
  t.equal(gateway.refusalOf([]), null)
  t.equal(clientOf('UPBIT').gateway.refusalOf({ status: '5600' }), null)
})
