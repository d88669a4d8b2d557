import t, { type Test } from 'tap'
import { Agent } from 'undici'
import { EXCHANGE_NAMES, type ExchangeName, MARKET_TYPES, type MarketType } from '../../src/domain/market.ts'
import { CATALOGUE } from '../../src/exchanges/catalogue.ts'
import type { ExchangeClient } from '../../src/exchanges/exchange-client.ts'
import { ExchangeRegistry } from '../../src/exchanges/exchange-registry.ts'
import { assertRows } from '../support/assert-rows.ts'
import { type SimulatedAccount, SimulatedExchange } from '../support/simulated-exchange/simulated-exchange.ts'
import { failureOf } from './failure.ts'

const KEYS = { apiKey: 'key-of-alice', apiSecret: 'secret-of-alice', passphrase: 'passphrase' }

interface Bench {
  exchange: ExchangeName
  market: MarketType
  simulated: SimulatedExchange
  account: SimulatedAccount
  client: ExchangeClient
  registry: ExchangeRegistry
  symbol: string
}

/** Every market of every exchange. Each test below runs once per market. */
const MARKETS = EXCHANGE_NAMES.flatMap(exchange =>
  MARKET_TYPES.filter(market => CATALOGUE[exchange].markets[market] !== undefined).map(market => ({ exchange, market }))
)

/** Symbols whose base and quote cannot be derived from their letters. */
const AMBIGUOUS = [
  { base: 'XRP', quote: 'RLUSD' },
  { base: 'USDT', quote: 'USD' },
  { base: 'GRT', quote: 'USD' },
  { base: 'BTC', quote: 'MNT' },
  { base: 'BTC', quote: 'U' },
  { base: 'ETH', quote: 'USDC' }
]

/** Whether an instrument that is suspended stays in the list. */
const listsSuspended = (exchange: ExchangeName) => exchange === 'BINANCE' || exchange === 'OKX'

const agent = new Agent()
t.teardown(() => agent.close())

for (const { exchange, market } of MARKETS) {
  const test = (name: string, run: (t: Test, bench: Bench) => Promise<void>, symbols = 3) =>
    t.test(`${exchange} ${market}: ${name}`, async t => {
      const simulated = await SimulatedExchange.start({ exchange, symbols })
      t.teardown(() => simulated.close())
      const account = simulated.addAccount(KEYS)
      const registry = new ExchangeRegistry({ dispatcher: agent, urls: simulated.urls, random: () => 0 })
      const client = registry.client({ exchange, marketType: market, credentials: KEYS })
      await run(t, { exchange, market, simulated, account, client, registry, symbol: simulated.symbols[0] ?? '' })
    })

  test('reads the last price of every symbol in one call, digit for digit', async (t, bench) => {
    const { simulated, client } = bench
    simulated.setPrice(market, bench.symbol, '0.00000014')
    const prices = await client.lastPrices()
    t.strictSame(prices.map(({ symbol }) => symbol).sort(), [...simulated.symbols].sort())
    const price = prices.find(({ symbol }) => symbol === bench.symbol)
    t.equal(price?.price, '0.00000014')
    t.equal(price?.exchangeSymbol, simulated.exchangeSymbol(bench.symbol, market))
    t.equal(simulated.requests.length, 1)
  })

  test('reads the mark price of every perpetual digit for digit, on Bybit without another call', async (t, bench) => {
    const { simulated, client } = bench
    if (market === 'FUTURES') simulated.setMarkPrice(bench.symbol, '0.00000014')
    const [prices, marks] = [await client.lastPrices(), await client.markPrices()]
    const read =
      marks.length > 0 ? marks : prices.flatMap(({ mark, ...price }) => (mark ? [{ ...price, price: mark }] : []))
    t.strictSame(read.map(({ symbol }) => symbol).sort(), market === 'FUTURES' ? [...simulated.symbols].sort() : [])
    t.equal(read.find(({ symbol }) => symbol === bench.symbol)?.price, market === 'FUTURES' ? '0.00000014' : undefined)
    t.equal(simulated.requests.length, market === 'FUTURES' && exchange !== 'BYBIT' ? 2 : 1)
  })

  test('reads every instrument with its base and quote, and whether it trades', async (t, bench) => {
    const { registry, simulated } = bench
    const client = registry.client({ exchange, marketType: market })
    // A swap of OKX that is quoted in USD is an inverse one.
    const isInverse = (quote: string) => exchange === 'OKX' && market === 'FUTURES' && quote === 'USD'
    const others = AMBIGUOUS.filter(({ quote }) => !isInverse(quote))
    for (const pair of others) simulated.list(pair, '2')
    simulated.suspend('BTCMNT')
    const listed = await client.instruments()
    const suspended = listed.filter(({ trading }) => !trading).map(({ symbol }) => symbol)
    t.strictSame(suspended, listsSuspended(exchange) ? ['BTCMNT'] : [])
    const traded = listed.filter(({ trading }) => trading)
    t.strictSame(
      traded.map(({ exchangeSymbol, base, quote }) => [exchangeSymbol, base, quote]).sort(),
      [
        ...simulated.symbols.slice(0, 3).map(symbol => ({ base: symbol.slice(0, 3), quote: symbol.slice(3) })),
        ...others
      ]
        .filter(({ quote }) => quote !== 'MNT')
        .map(({ base, quote }) => [simulated.exchangeSymbol(`${base}${quote}`, market), base, quote])
        .sort()
    )
    for (const { symbol, base, quote } of listed) t.equal(symbol, `${base}${quote}`)
    t.equal(simulated.requests.length, 1)
  })

  test('an instrument list that is empty or no list is an error', async (t, bench) => {
    const { simulated, client } = bench
    for (const symbol of simulated.symbols) simulated.suspend(symbol)
    const none = { code: '0', retCode: 0, result: { list: [], nextPageCursor: '' }, data: [], symbols: [] }
    const isObject = exchange !== 'UPBIT' && exchange !== 'BITHUMB'
    for (const body of [isObject ? JSON.stringify(none) : '[]', '{"code":"0","retCode":0}', 'null']) {
      simulated.fault({ kind: 'status', status: 200, body })
      const error = await failureOf(client.instruments())
      t.equal(error.code, 'invalid_answer', body)
      t.equal(error.operation, 'instruments', body)
      simulated.clearFaults()
    }
  })

  test('needs no credentials for prices and time, and rejects other reads without a call', async (t, bench) => {
    const { registry, simulated } = bench
    const client = registry.client({ exchange, marketType: market })
    t.equal((await client.lastPrices()).length, 3)
    const before = simulated.requests.length
    await t.rejects(client.balances(), { code: 'authentication', exchange, operation: 'balances' })
    await t.rejects(client.openOrders(), { code: 'authentication' })
    t.equal(simulated.requests.length, before)
  })

  test('reads an order from open to filled, with its average price and its fills', async (t, bench) => {
    const { simulated, account, client } = bench
    const placed = simulated.place(account, { market, side: 'SELL', price: '101.5', quantity: '3' })
    const ref = { exchangeOrderId: placed.exchangeOrderId, exchangeSymbol: placed.exchangeSymbol }
    const open = await client.order(ref)
    t.hasStrict(open, {
      exchangeOrderId: placed.exchangeOrderId,
      symbol: bench.symbol,
      exchangeSymbol: placed.exchangeSymbol,
      side: 'SELL',
      positionSide: 'BOTH',
      orderType: 'LIMIT',
      price: '101.5',
      stopPrice: null,
      averagePrice: null,
      status: 'open'
    })
    t.equal(number(open.quantity), 3)
    t.equal(number(open.filledQuantity), 0)
    t.strictSame(await client.fills(ref), [])

    simulated.fill(placed, { price: '101.5', quantity: '1' })
    t.hasStrict(await client.order(ref), { status: 'partially_filled', averagePrice: '101.5' })

    simulated.fill(placed, { price: '102.5', quantity: '2' })
    const filled = await client.order(ref)
    t.equal(filled.status, 'filled')
    t.equal(number(filled.filledQuantity), 3)
    t.equal(filled.averagePrice?.slice(0, 10), '102.166666')

    const fills = await client.fills(ref)
    t.strictSame(
      fills.map(fill => [fill.exchangeTradeId, fill.price, number(fill.quantity), number(fill.fee), fill.feeAsset]),
      placed.fills.map(fill => [fill.tradeId, fill.price, number(fill.quantity), number(fill.fee), fill.feeAsset])
    )
    const { exchangeOrderId } = placed
    const ofOrder = { exchangeOrderId, side: 'SELL', symbol: bench.symbol }
    assertRows(t, fills, [ofOrder, ofOrder])
  })

  test('a cancelled order is canceled, an unknown one is an error', async (t, bench) => {
    const { simulated, account, client } = bench
    const placed = simulated.place(account, { market })
    const ref = { exchangeOrderId: placed.exchangeOrderId, exchangeSymbol: placed.exchangeSymbol }
    simulated.cancel(placed)
    t.equal((await client.order(ref)).status, 'canceled')
    simulated.forget(placed)
    await t.rejects(client.order(ref), { code: 'order_not_found', exchange, operation: 'order' })
    t.equal(bench.registry.status()[0]?.lastErrorCode, null, 'an unknown order is not a failure of the exchange')
  })

  test('lists the open orders of all pages, without ended ones', async (t, bench) => {
    const { simulated, account, client } = bench
    const open = Array.from({ length: 230 }, () => simulated.place(account, { market }))
    const partly = simulated.place(account, { market, quantity: '2' })
    simulated.fill(partly, { quantity: '1' })
    for (const end of ['filled', 'canceled', 'rejected', 'expired'] as const) {
      simulated.end(simulated.place(account, { market }), end)
    }
    const listed = await client.openOrders()
    t.strictSame(
      listed.map(({ exchangeOrderId }) => exchangeOrderId).sort(),
      [...open, partly].map(({ exchangeOrderId }) => exchangeOrderId).sort()
    )
    t.strictSame([...new Set(listed.map(({ status }) => status))].sort(), ['open', 'partially_filled'])
  })

  test('lists the open orders of one symbol, of all pages', async (t, bench) => {
    const { simulated, account, client } = bench
    const [first = '', second = ''] = simulated.symbols
    const own = Array.from({ length: 130 }, () => simulated.place(account, { market, symbol: second }))
    for (let i = 0; i < 3; i++) simulated.place(account, { market, symbol: first })
    simulated.cancel(simulated.place(account, { market, symbol: second }))
    const listed = await client.openOrders({ exchangeSymbol: simulated.exchangeSymbol(second, market) })
    t.strictSame(
      listed.map(({ exchangeOrderId }) => exchangeOrderId).sort(),
      own.map(({ exchangeOrderId }) => exchangeOrderId).sort()
    )
  })

  test('reads only the orders of its own account', async (t, bench) => {
    const { simulated, client } = bench
    const other = simulated.addAccount({ ...KEYS, apiKey: 'key-of-bob' })
    const placed = simulated.place(other, { market })
    t.strictSame(await client.openOrders(), [])
    await t.rejects(client.order(placed), { code: 'order_not_found' })
  })

  test('reads a conditional order, and the fills of the order that it became', async (t, bench) => {
    const { simulated, account, client } = bench
    const placed = simulated.place(account, { market, type: 'STOP_MARKET', stopPrice: '90', quantity: '1' })
    const { exchangeOrderId, exchangeSymbol } = placed
    const ref = { exchangeOrderId, exchangeSymbol, orderType: 'STOP_MARKET' }
    t.hasStrict(await client.order(ref), { exchangeOrderId, status: 'open' })
    t.strictSame(await client.fills(ref), [])
    simulated.fill(simulated.trigger(placed), { price: '89', quantity: '1' })
    const order = await client.order(ref)
    t.hasStrict(order, { exchangeOrderId, status: 'filled', averagePrice: '89' })
    assertRows(t, await client.fills(ref), [{ exchangeOrderId, price: '89' }])
  })

  test('reads balances exactly, without empty ones', async (t, bench) => {
    const { simulated, account, client } = bench
    simulated.setBalance(account, market, 'AAA', '12345678901234567.12345678', '0.00000001')
    simulated.setBalance(account, market, 'BBB', '0', '0')
    const balances = await client.balances()
    t.strictSame(balances, [
      {
        asset: 'AAA',
        free: '12345678901234567.12345678',
        locked: '0.00000001',
        total: '12345678901234567.12345679'
      }
    ])
  })

  test(
    market === 'SPOT' ? 'has no positions on spot' : 'reads positions with their sign, without flat ones',
    async (t, bench) => {
      const { simulated, account, client } = bench
      if (market === 'SPOT') {
        t.strictSame(await client.positions(), [])
        t.equal(simulated.requests.length, 0)
        return
      }
      const [first = '', second = '', third = ''] = simulated.symbols
      simulated.setPosition(account, { symbol: first, quantity: '-0.5', entryPrice: '110' })
      simulated.setPosition(account, { symbol: second, quantity: '-2', entryPrice: '90', positionSide: 'SHORT' })
      simulated.setPosition(account, { symbol: third, quantity: '0', entryPrice: '0' })
      const positions = await client.positions()
      const markPrice = '100'
      assertRows(t, positions, [
        { symbol: first, positionSide: 'BOTH', quantity: '-0.5', entryPrice: '110', markPrice, unrealizedPnl: '5' },
        { symbol: second, positionSide: 'SHORT', quantity: '-2', entryPrice: '90', markPrice, unrealizedPnl: '-20' }
      ])
    }
  )

  test('signs with the time of the exchange when the local clock is an hour off', async (t, bench) => {
    const { simulated, client, registry } = bench
    simulated.clockSkewMs = -3_600_000
    t.strictSame(await client.balances(), [])
    const skew = registry.status()[0]?.clockSkewMs ?? 0
    t.ok(Math.abs(skew + 3_600_000) < 60_000, `measured ${skew} ms`)
    const time = await client.serverTime()
    const difference = time - simulated.now()
    t.ok(Math.abs(difference) < 60_000, `differs by ${difference} ms`)
  })

  test('refused keys are an error of their account only', async (t, bench) => {
    const { account, client, registry } = bench
    account.state = 'revoked'
    await t.rejects(client.balances(), { code: 'authentication' })
    const wrong = registry.client({ exchange, marketType: market, credentials: { ...KEYS, apiSecret: 'wrong' } })
    account.state = 'ok'
    await t.rejects(wrong.balances(), { code: 'authentication' })
    t.strictSame(await client.balances(), [])
    if (exchange === 'BINANCE') return // Binance has one code for refused keys and for missing permissions
    account.state = 'forbidden'
    await t.rejects(client.balances(), { code: 'permission' })
  })

  test('retries transient failures: a cut connection, a cut answer, 503, garbage', async (t, bench) => {
    const { simulated, account, client } = bench
    simulated.setBalance(account, market, 'AAA', '1')
    for (const kind of ['cut', 'cut_midway', 'garbage'] as const) {
      simulated.fault({ kind }, { times: 1 })
      t.equal((await client.balances()).length, 1, kind)
      simulated.fault({ kind }, { times: 1 })
      t.equal((await client.lastPrices()).length, 3, kind)
    }
    simulated.fault({ kind: 'status', status: 503 }, { times: 2 })
    t.equal((await client.balances()).length, 1)
  })

  test('a permanent failure is an error after three attempts', async (t, bench) => {
    const { simulated, client } = bench
    simulated.fault({ kind: 'status', status: 502 })
    t.hasStrict(await failureOf(client.balances()), { code: 'unavailable', exchangeCode: '502' })
    t.equal(simulated.requests.length, 3)
    simulated.clearFaults()
    t.strictSame(await client.balances(), [])
    simulated.fault({ kind: 'garbage' })
    await t.rejects(client.lastPrices(), { code: 'invalid_answer' })
  })

  test('a call ends at its deadline, or when its signal is aborted', async (t, bench) => {
    const { simulated, client } = bench
    simulated.fault({ kind: 'silence' })
    await t.rejects(client.balances({ deadlineMs: 50 }), { code: 'timeout' })
    // On a busy machine the first call may end before its request arrives.
    const arrived = simulated.requests.length
    const controller = new AbortController()
    const call = client.lastPrices({ signal: controller.signal })
    await simulated.seen(/./, arrived + 1)
    controller.abort(new Error('shutting down'))
    await t.rejects(call, { message: 'shutting down' })
  })

  test('makes no call for any account while the exchange demands a pause', async (t, bench) => {
    const { simulated, client, registry } = bench
    simulated.fault({ kind: 'rate_limited', retryAfterSeconds: 60 }, { times: 1 })
    const refused = await failureOf(client.balances())
    t.hasStrict(refused, { code: 'rate_limited', retryAfterMs: 60_000 })
    const before = simulated.requests.length
    const other = registry.client({ exchange, marketType: market, credentials: { ...KEYS, apiKey: 'key-of-bob' } })
    const next = await failureOf(other.lastPrices())
    t.equal(next.code, 'rate_limited')
    const retryAfterMs = next.retryAfterMs ?? 0
    t.ok(retryAfterMs > 0 && retryAfterMs <= 60_000, `within the minute: ${retryAfterMs} ms`)
    t.equal(simulated.requests.length, before, 'no request was sent')
    const blockedForMs = registry.status()[0]?.blockedForMs ?? 0
    t.ok(blockedForMs > 0 && blockedForMs <= 60_000, `within the minute: ${blockedForMs} ms`)
  })

  test('keeps keys, secrets and signatures out of every error', async (t, bench) => {
    const { simulated, account, client } = bench
    const faults = [
      { kind: 'status', status: 500, body: JSON.stringify(KEYS) },
      {
        kind: 'status',
        status: 400,
        body: `{"code":-1100,"msg":"${KEYS.apiKey}","error":{"name":"${KEYS.apiSecret}"}}`
      },
      { kind: 'status', status: 200, body: `{"retCode":"${KEYS.apiKey}!","code":"key ${KEYS.apiSecret}"}` },
      { kind: 'garbage' },
      { kind: 'cut' }
    ] as const
    for (const fault of faults) {
      simulated.fault(fault)
      const failure = await failureOf(client.balances())
      const text = everythingIn(failure)
      const signatures = simulated.requests.flatMap(({ query, headers }) => [
        query.get('signature'),
        headers['x-bapi-sign'],
        headers['ok-access-sign'],
        headers.authorization
      ])
      for (const secret of [KEYS.apiKey, KEYS.apiSecret, ...signatures]) {
        if (typeof secret === 'string') t.notOk(text.includes(secret), `no secret in the error of ${fault.kind}`)
      }
      simulated.clearFaults()
    }
    t.equal(account.apiKey, KEYS.apiKey)
  })
}

function number(decimal: string | null | undefined): number {
  return Number(decimal)
}

/** Everything that a logger can read from an error: message, stack and every property, also of its causes. */
function everythingIn(value: unknown, depth = 0): string {
  if (!(value instanceof Error) || depth > 5) return JSON.stringify(value) ?? ''
  const properties = Object.getOwnPropertyNames(value).map(name => everythingIn(Reflect.get(value, name), depth + 1))
  return [value.name, value.message, value.stack, ...properties].join('\n')
}
