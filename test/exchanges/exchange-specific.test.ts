import { Big } from 'big.js'
import t, { type Test } from 'tap'
import { Agent } from 'undici'
import { type ExchangeName, isExchangeName, type MarketType } from '../../src/domain/market.ts'
import { parseBinanceFuturesBalances } from '../../src/exchanges/adapters/binance.ts'
import { parseBybitBalances, parseBybitPosition } from '../../src/exchanges/adapters/bybit.ts'
import { parseOkxFill } from '../../src/exchanges/adapters/okx.ts'
import { parseTokenFills } from '../../src/exchanges/adapters/upbit-dialect.ts'
import { CATALOGUE } from '../../src/exchanges/catalogue.ts'
import { ExchangeRegistry } from '../../src/exchanges/exchange-registry.ts'
import { assertRows } from '../support/assert-rows.ts'
import { SimulatedExchange } from '../support/simulated-exchange/simulated-exchange.ts'
import { cannedExchange } from './canned-exchange.ts'
import { failureOf } from './failure.ts'

const KEYS = { apiKey: 'key', apiSecret: 'secret', passphrase: 'passphrase' }

const agent = new Agent()
t.teardown(() => agent.close())

async function setUp(t: Test, exchange: ExchangeName, marketType: MarketType = 'SPOT') {
  const simulated = await SimulatedExchange.start({ exchange })
  t.teardown(() => simulated.close())
  const account = simulated.addAccount(KEYS)
  const registry = new ExchangeRegistry({ dispatcher: agent, urls: simulated.urls })
  return { simulated, account, client: registry.client({ exchange, marketType, credentials: KEYS }) }
}

/** A client of an exchange with these answers, by path. */
async function canned(
  t: Test,
  exchange: ExchangeName,
  marketType: MarketType,
  answers: Readonly<Record<string, unknown>>
) {
  const url = await cannedExchange(t, path => ({ status: 200, body: JSON.stringify(answers[path] ?? null) }))
  const setting = CATALOGUE[exchange].markets[marketType]?.setting ?? 'OKX_URL'
  const registry = new ExchangeRegistry({ dispatcher: agent, urls: { [setting]: url }, random: () => 0 })
  return registry.client({ exchange, marketType, credentials: KEYS })
}

for (const exchange of ['UPBIT', 'BITHUMB'] as const) {
  t.test(
    `${exchange}: a market buy with state cancel is filled if the remaining amount is too small to trade`,
    async t => {
      const { simulated, account, client } = await setUp(t, exchange)
      const placed = simulated.place(account, { quoteAmount: '100000', quantity: '0.001' })
      simulated.fill(placed, { quantity: '0.00099999' })
      simulated.cancel(placed)
      t.hasStrict(await client.order(placed), {
        status: 'filled',
        orderType: 'MARKET',
        price: null,
        quantity: null,
        filledQuantity: '0.00099999'
      })
    }
  )
}

t.test('Upbit: trades without a fee of their own share the paid fee, and the sum is exact', async t => {
  const trade = (uuid: string, volume: string) => ({
    uuid,
    price: '3',
    volume,
    created_at: '2025-04-01T15:30:47+09:00'
  })
  const fills = parseTokenFills({
    uuid: 'order',
    market: 'KRW-BTC',
    side: 'bid',
    paid_fee: '1',
    trades: [trade('a', '1'), trade('b', '1'), trade('c', '1')]
  })
  const sum = fills.reduce((total, { fee }) => total.plus(fee ?? 0), new Big(0))
  t.equal(sum.toFixed(), '1')
  t.strictSame([...new Set(fills.map(({ feeAsset }) => feeAsset))], ['KRW'])
})

t.test('Upbit: trades that are not all in the answer get their part of the fee, and not the whole fee', async t => {
  const trade = (uuid: string, price: string, volume: string) => ({
    uuid,
    price,
    volume,
    created_at: '2025-04-01T15:30:47+09:00'
  })
  const order = { uuid: 'order', market: 'KRW-BTC', side: 'bid', paid_fee: '1', executed_volume: '4' }
  const trades = [trade('a', '2', '1'), trade('b', '4', '1')]
  const feesOf = (rest: object) => parseTokenFills({ ...order, trades, ...rest }).map(({ fee }) => fee)
  t.strictSame(feesOf({ executed_funds: '20' }), ['0.1', '0.2'])
  t.strictSame(feesOf({}), [null, null], 'unknown without the funds of all trades')
  t.strictSame(feesOf({ executed_funds: '0' }), [null, null])
})

t.test('Binance: the fills of an order after the first thousand are read', async t => {
  for (const market of ['SPOT', 'FUTURES'] as const) {
    const { simulated, account, client } = await setUp(t, 'BINANCE', market)
    const placed = simulated.place(account, { market, quantity: '1001' })
    for (let i = 0; i < 1_001; i++) simulated.fill(placed, { quantity: '1' })
    const fills = await client.fills(placed)
    t.strictSame(
      fills.map(({ exchangeTradeId }) => exchangeTradeId),
      placed.fills.map(({ tradeId }) => tradeId)
    )
  }
})

t.test('Binance: the open orders of futures include the conditional ones', async t => {
  const { simulated, account, client } = await setUp(t, 'BINANCE', 'FUTURES')
  const plain = simulated.place(account, { market: 'FUTURES', positionSide: 'LONG' })
  const conditional = simulated.place(account, { market: 'FUTURES', type: 'STOP_MARKET', stopPrice: '90' })
  const open = await client.openOrders()
  assertRows(t, open, [
    {
      exchangeOrderId: plain.exchangeOrderId,
      positionSide: 'LONG',
      orderType: 'LIMIT',
      stopPrice: null,
      status: 'open'
    },
    {
      exchangeOrderId: conditional.exchangeOrderId,
      positionSide: 'BOTH',
      orderType: 'STOP_MARKET',
      stopPrice: '90',
      status: 'open'
    }
  ])
})

t.test('Binance: the free part of an asset is at most its total', async t => {
  const row = { asset: 'USDT', balance: '10', availableBalance: '25' }
  t.strictSame(parseBinanceFuturesBalances([row]), [{ asset: 'USDT', free: '10', locked: '0', total: '10' }])
})

t.test('Bybit: the margin of orders and positions is locked', async t => {
  const coin = { coin: 'USDT', walletBalance: '100', locked: '1', totalOrderIM: '2', totalPositionIM: '3.5' }
  t.strictSame(parseBybitBalances({ list: [{ coin: [coin] }] }), [
    { asset: 'USDT', free: '93.5', locked: '6.5', total: '100' }
  ])
})

t.test('Bybit: PERP is a perpetual in USDC, and a short is a positive size with side Sell', async t => {
  const row = { symbol: 'BTCPERP', side: 'Sell', size: '0.5', positionIdx: '2', avgPrice: '1', markPrice: '2' }
  t.strictSame(parseBybitPosition(row), {
    symbol: 'BTCUSDC',
    exchangeSymbol: 'BTCPERP',
    positionSide: 'SHORT',
    quantity: '-0.5',
    entryPrice: '1',
    markPrice: '2',
    unrealizedPnl: null,
    updatedAt: null
  })
})

t.test('Bybit: taxes are a part of the fee, and unknown in another currency', async t => {
  const { simulated, account, client } = await setUp(t, 'BYBIT')
  const [first = '', second = ''] = simulated.symbols
  const base = first.replace('USDT', '')
  const cases = [
    { symbol: first, side: 'SELL', fee: '0.1', tax: { coin: 'USDT', amount: '0.006403779' }, read: '0.106403779' },
    {
      symbol: first,
      side: 'BUY',
      fee: '0.001',
      feeAsset: base,
      tax: { coin: base, amount: '0.00018' },
      read: '0.00118'
    },
    { symbol: second, side: 'SELL', fee: '0.1', tax: { coin: 'USDT', amount: '0' }, read: '0.1' },
    { symbol: second, side: 'SELL', fee: '0.1', tax: { coin: 'IDR', amount: '5' }, read: null },
    {
      symbol: first,
      side: 'SELL',
      fee: '0.1',
      isFeeAssetNamed: false,
      tax: { coin: 'USDT', amount: '0.02' },
      read: '0.1',
      taxes: [{ asset: 'USDT', amount: '0.02' }]
    }
  ] as const
  for (const { symbol, side, read, ...rest } of cases) {
    const { taxes, ...fill } = { taxes: undefined, ...rest }
    const placed = simulated.place(account, { symbol, side, quantity: '1' })
    simulated.fill(placed, { price: '100', ...fill })
    const invalid: string[] = []
    const [own, ...others] = await client.fills(placed, { onInvalidRow: ({ reason }) => invalid.push(reason) })
    t.equal(own?.fee, read, JSON.stringify(fill))
    t.strictSame(own?.taxes, taxes)
    t.strictSame(others, [])
    t.strictSame(invalid, read === null ? ['extraFees is in another coin'] : [])
  }
})

t.test('Bybit: executions without a trade are not fills', async t => {
  const execution = (execId: string, execType: string) => ({
    symbol: 'BTCUSDT',
    orderId: '1',
    execId,
    execType,
    side: 'Buy',
    execPrice: '1',
    execQty: '1',
    execFee: '-0.01',
    execTime: '1700000000000'
  })
  const others = ['Funding', 'SessionSettlePnL', 'Delivery', 'Settle', 'ReverseSplitSettle', 'Dividend']
  const list = [execution('a', 'Trade'), ...others.map(type => execution(type, type))]
  const client = await canned(t, 'BYBIT', 'FUTURES', { '/v5/execution/list': { retCode: 0, result: { list } } })
  const fills = await client.fills({ exchangeOrderId: '1', exchangeSymbol: 'BTCUSDT' })
  assertRows(t, fills, [{ exchangeTradeId: 'a', fee: '-0.01', feeAsset: 'USDT' }])
})

t.test('OKX: a paid fee is positive, a rebate negative, and the fee of a spot buy is in the base coin', async t => {
  const row = {
    instType: 'SPOT',
    instId: 'BTC-USDT',
    tradeId: '1',
    ordId: '2',
    side: 'buy',
    posSide: 'net',
    fillPx: '51858',
    fillSz: '0.00192834',
    feeCcy: 'BTC',
    ts: '1708587373361'
  }
  const fill = {
    exchangeTradeId: '1',
    exchangeOrderId: '2',
    symbol: 'BTCUSDT',
    exchangeSymbol: 'BTC-USDT',
    side: 'BUY',
    positionSide: 'BOTH',
    price: '51858',
    quantity: '0.00192834',
    feeAsset: 'BTC',
    realizedPnl: null,
    executedAt: 1_708_587_373_361
  }
  t.strictSame(parseOkxFill({ ...row, fee: '-0.00000192834' }, new Map()), { ...fill, fee: '0.00000192834' })
  t.strictSame(parseOkxFill({ ...row, fee: '0.5' }, new Map()), { ...fill, fee: '-0.5' })
})

t.test('Bybit: the instruments of all pages are read, without dated contracts', async t => {
  const simulated = await SimulatedExchange.start({ exchange: 'BYBIT', symbols: 2_001 })
  t.teardown(() => simulated.close())
  const registry = new ExchangeRegistry({ dispatcher: agent, urls: simulated.urls })
  const read = async (marketType: MarketType) =>
    (await registry.client({ exchange: 'BYBIT', marketType }).instruments()).map(({ symbol }) => symbol)
  t.strictSame(await read('FUTURES'), simulated.symbols)
  t.strictSame(
    simulated.requests.map(({ query }) => query.get('cursor')),
    [null, 'at:1000', 'at:2000']
  )
  t.strictSame(await read('SPOT'), simulated.symbols)
  t.equal(simulated.requests.length, 4, 'spot has one page')
})

t.test('OKX: contracts of swaps are converted to base units in orders, fills and positions', async t => {
  const { simulated, account, client } = await setUp(t, 'OKX', 'FUTURES')
  const placed = simulated.place(account, { market: 'FUTURES', symbol: 'BTCUSDT', quantity: '0.25' })
  simulated.fill(placed, { quantity: '0.1' })
  t.hasStrict(await client.order(placed), { quantity: '0.25', filledQuantity: '0.1' })
  assertRows(t, await client.fills(placed), [{ quantity: '0.1' }])
  assertRows(t, await client.positions(), [{ symbol: 'BTCUSDT', quantity: '0.1' }])
  const asked = simulated.requests.filter(({ path }) => path === '/api/v5/public/instruments')
  t.equal(asked.length, 1, 'the sizes are read once')
})

t.test('OKX: a position whose contract has no known size is an error, and not left out', async t => {
  const position = { instType: 'SWAP', instId: 'NEW-USDT-SWAP', posSide: 'net', pos: '1' }
  const client = await canned(t, 'OKX', 'FUTURES', {
    '/api/v5/account/positions': { code: '0', data: [position] },
    '/api/v5/public/instruments': { code: '0', data: [] }
  })
  await t.rejects(client.positions(), { code: 'invalid_answer', message: /no known size/ })
})

/** A list whose every page has a next page, by exchange: two whose rows do not end, and two whose pages repeat. */
const ENDLESS: Readonly<Partial<Record<ExchangeName, (page: number) => unknown>>> = {
  BINANCE: page =>
    Array.from({ length: 1_000 }, (_, row) => ({
      id: String(1_000 * page + row),
      orderId: '1',
      symbol: 'BTCUSDT',
      isBuyer: true,
      price: '1',
      qty: '1',
      time: 1_700_000_000_000
    })),
  BYBIT: page => ({ retCode: 0, result: { list: [{ orderId: '1' }], nextPageCursor: `cursor-${page}` } }),
  OKX: page => ({ code: '0', data: Array.from({ length: 100 }, (_, row) => ({ ordId: String(100 * page + row) })) }),
  UPBIT: () =>
    Array.from({ length: 100 }, () => ({
      uuid: '1',
      market: 'KRW-BTC',
      side: 'bid',
      ord_type: 'limit',
      state: 'wait',
      executed_volume: '0'
    }))
}

/** The pages that are read of such a list, and the reason of the error. */
const END: Readonly<Partial<Record<ExchangeName, [number, string]>>> = {
  BINANCE: [101, 'more than 100000 rows'],
  BYBIT: [2, 'its pages repeat'],
  OKX: [1_001, 'more than 100000 rows'],
  UPBIT: [2, 'its pages repeat']
}

for (const [exchange, pageOf] of Object.entries(ENDLESS)) {
  t.test(`${exchange}: a list without an end is an error, and not returned in part`, async t => {
    if (!isExchangeName(exchange)) throw new Error(`${exchange} is not an exchange`)
    let pages = 0
    const url = await cannedExchange(t, () => ({ status: 200, body: JSON.stringify(pageOf(++pages)) }))
    // The clock advances with each reading: at the pace of the rate limits, the pages take minutes.
    let now = 0
    const setting = CATALOGUE[exchange].markets.SPOT?.setting ?? 'OKX_URL'
    const monotonic = () => (now += 100)
    const registry = new ExchangeRegistry({ dispatcher: agent, urls: { [setting]: url }, monotonic })
    const client = registry.client({ exchange, marketType: 'SPOT', credentials: KEYS })
    const ref = { exchangeOrderId: '1', exchangeSymbol: 'BTCUSDT' }
    const list = exchange === 'BINANCE' ? client.fills(ref) : client.openOrders()
    const { code, message } = await failureOf(list)
    t.equal(code, 'invalid_answer')
    t.strictSame([pages, message.split(': ').at(-1)], END[exchange])
  })
}

t.test('an unknown state or side, or a missing or invalid field, is an error', async t => {
  const order = { uuid: '1', market: 'KRW-BTC', side: 'bid', ord_type: 'limit', state: 'wait', executed_volume: '0' }
  for (const wrong of [{ state: 'new' }, { side: 'buy' }, { executed_volume: 'x' }, { uuid: null }]) {
    const client = await canned(t, 'UPBIT', 'SPOT', { '/v1/order': { ...order, ...wrong } })
    const ref = { exchangeOrderId: '1', exchangeSymbol: 'KRW-BTC' }
    await t.rejects(client.order(ref), { code: 'invalid_answer' }, JSON.stringify(wrong))
  }
})
