import t, { type Test } from 'tap'
import { Agent } from 'undici'
import { DAY, HOUR, MINUTE } from '../../src/async/durations.ts'
import { EXCHANGE_NAMES, type ExchangeName, MARKET_TYPES, type MarketType } from '../../src/domain/market.ts'
import { CATALOGUE } from '../../src/exchanges/catalogue.ts'
import type { ExchangeClient } from '../../src/exchanges/exchange-client.ts'
import { ExchangeRegistry } from '../../src/exchanges/exchange-registry.ts'
import { changingRows } from '../support/simulated-exchange/edits.ts'
import { type SimulatedAccount, SimulatedExchange } from '../support/simulated-exchange/simulated-exchange.ts'
import { withoutWaits } from '../support/without-waits.ts'

const KEYS = { apiKey: 'key', apiSecret: 'secret', passphrase: 'passphrase' }
const MARKETS = EXCHANGE_NAMES.flatMap(exchange =>
  MARKET_TYPES.filter(market => CATALOGUE[exchange].markets[market] !== undefined).map(market => ({ exchange, market }))
)
const isToken = (exchange: ExchangeName) => exchange === 'UPBIT' || exchange === 'BITHUMB'

const agent = new Agent()
t.teardown(() => agent.close())

interface Bench {
  simulated: SimulatedExchange
  account: SimulatedAccount
  client: ExchangeClient
  /** The symbols of the exchange. */
  symbols: string[]
}

async function setUp(t: Test, exchange: ExchangeName, market: MarketType): Promise<Bench> {
  const simulated = await SimulatedExchange.start({ exchange, symbols: 2 })
  t.teardown(() => simulated.close())
  const account = simulated.addAccount(KEYS)
  const registry = new ExchangeRegistry({ dispatcher: agent, urls: simulated.urls, ...withoutWaits() })
  const client = registry.client({ exchange, marketType: market, credentials: KEYS })
  return { simulated, account, client, symbols: simulated.symbols.map(one => simulated.exchangeSymbol(one, market)) }
}

for (const { exchange, market } of MARKETS) {
  t.test(`${exchange} ${market}: reads the fills of a range from all orders, symbols and windows`, async t => {
    const { simulated, account, client, symbols } = await setUp(t, exchange, market)
    // The answers of Upbit and Bithumb have whole seconds.
    const now = Math.floor(simulated.now() / 1_000) * 1_000
    const [from, until] = [now - 20 * DAY, now - HOUR]
    const ages = [20 * DAY + 1_000, 20 * DAY, 15 * DAY, 8 * DAY, 8 * DAY - 1_000, HOUR + 1_000, HOUR]
    const placed = ages.map((age, index) => {
      const symbol = simulated.symbols[index % 2] ?? ''
      const order = simulated.place(account, { market, symbol, quantity: '2', createdAt: now - age - MINUTE })
      simulated.fill(order, { at: now - age })
      return order
    })
    const fills = await client.accountFills({ from, until, symbols })
    t.strictSame(
      fills.map(({ exchangeOrderId, executedAt }) => [exchangeOrderId, executedAt]),
      placed.slice(1, -1).map((order, index) => [order.exchangeOrderId, now - (ages[index + 1] ?? 0)])
    )
    t.strictSame(await client.accountFills({ from: until + 1, until: now, symbols }), [])
  })

  t.test(`${exchange} ${market}: reads the fills of an order that is still open`, async t => {
    const { simulated, account, client, symbols } = await setUp(t, exchange, market)
    const order = simulated.place(account, { market, quantity: '5' })
    simulated.fill(order, { quantity: '2' })
    const fills = await client.accountFills({ from: simulated.now() - HOUR, until: simulated.now() + MINUTE, symbols })
    t.strictSame(
      fills.map(({ exchangeOrderId, quantity }) => ({ exchangeOrderId, quantity })),
      [{ exchangeOrderId: order.exchangeOrderId, quantity: '2' }]
    )
  })

  if (!isToken(exchange)) {
    t.test(`${exchange} ${market}: reads more fills of one millisecond than a page has`, async t => {
      const { simulated, account, client, symbols } = await setUp(t, exchange, market)
      const at = simulated.now() - HOUR
      const order = simulated.place(account, { market, quantity: '3000', createdAt: at })
      for (let i = 0; i < 2_200; i++) simulated.fill(order, { quantity: '1', price: '100', at })
      const fills = await client.accountFills({ from: at - MINUTE, until: at + MINUTE, symbols })
      t.equal(new Set(fills.map(({ exchangeTradeId }) => exchangeTradeId)).size, 2_200)
    })

    t.test(`${exchange} ${market}: a fill that cannot be read does not affect the others`, async t => {
      const { simulated, account, client, symbols } = await setUp(t, exchange, market)
      for (let i = 0; i < 3; i++) simulated.fill(simulated.place(account, { market }))
      const fields = simulated.fields(market)
      const unreadable = account.orders[1]?.fills[0]?.tradeId ?? ''
      const edit = changingRows({ [fields.fill]: unreadable }, { [fields.fillQuantity]: 'many' })
      simulated.fault({ kind: 'edited', edit }, { path: /myTrades|userTrades|execution|fills/ })
      const range = { from: simulated.now() - HOUR, until: simulated.now() + MINUTE, symbols }
      const invalid: string[] = []
      const fills = await client.accountFills(range, { onInvalidRow: ({ kind }) => invalid.push(kind) })
      t.equal(fills.length, 2)
      t.strictSame(invalid, ['unreadable'])
      await t.rejects(client.accountFills(range), { code: 'invalid_answer', operation: 'accountFills' })
    })
  }
}

for (const exchange of ['BINANCE', 'BYBIT', 'OKX'] as const) {
  for (const forced of ['liquidation', 'adl'] as const) {
    t.test(`${exchange}: an order of the exchange itself (${forced}) is marked`, async t => {
      const { simulated, account, client, symbols } = await setUp(t, exchange, 'FUTURES')
      const own = simulated.place(account, { market: 'FUTURES', side: 'BUY' })
      const order = simulated.place(account, { market: 'FUTURES', side: 'SELL', forced })
      simulated.fill(own)
      simulated.fill(order)
      const fills = await client.accountFills({
        from: simulated.now() - HOUR,
        until: simulated.now() + MINUTE,
        symbols
      })
      // Binance marks the order only.
      t.strictSame(
        fills.map(fill => fill.forced),
        exchange === 'BINANCE' ? [undefined, undefined] : [undefined, true]
      )
      t.equal((await client.order(own)).forced, undefined)
      t.equal((await client.order(order)).forced, true)
    })
  }
}

t.test(
  'Binance spot: a long range costs one call, and a call for each day of before the newest 1,000 trades',
  async t => {
    const { simulated, account, client, symbols } = await setUp(t, 'BINANCE', 'SPOT')
    const range = { from: simulated.now() - 100 * DAY, until: simulated.now() - HOUR, symbols: symbols.slice(0, 1) }
    const fill = (age: number, count: number) => {
      const at = simulated.now() - age
      const order = simulated.place(account, { quantity: String(count), createdAt: at })
      for (let i = 0; i < count; i++) simulated.fill(order, { quantity: '1', at: at + Math.floor(i / 2) })
    }
    fill(101 * DAY, 1)
    fill(99 * DAY, 2)
    t.equal((await client.accountFills(range)).length, 2)
    t.equal(simulated.requests.filter(({ path }) => path === '/api/v3/myTrades').length, 1)
    fill(97 * DAY, 1_101)
    fill(1, 1)
    const fills = await client.accountFills(range)
    t.equal(new Set(fills.map(({ exchangeTradeId }) => exchangeTradeId)).size, 1_103)
    const calls = simulated.requests.filter(({ path }) => path === '/api/v3/myTrades').length
    t.ok(calls <= 10, `at most 10: ${calls}`)
  }
)

t.test('Binance futures: a trade without a commission is found by the position that it opened', async t => {
  const { simulated, account, client } = await setUp(t, 'BINANCE', 'FUTURES')
  simulated.fill(simulated.place(account, { market: 'FUTURES' }))
  simulated.fault({ kind: 'status', status: 200, body: '[]' }, { path: /income/ })
  const range = { from: simulated.now() - HOUR, until: simulated.now() + MINUTE, symbols: [] }
  t.equal((await client.accountFills(range)).length, 1)
})

t.test('Binance futures: no others than the given symbols are read on demand', async t => {
  const { simulated, account, client } = await setUp(t, 'BINANCE', 'FUTURES')
  simulated.fill(simulated.place(account, { market: 'FUTURES' }))
  const range = { from: simulated.now() - HOUR, until: simulated.now() + MINUTE, symbols: [], onlySymbols: true }
  t.strictSame(await client.accountFills(range), [])
})

t.test('Binance futures: symbols that were traded are found without being named', async t => {
  const { simulated, account, client } = await setUp(t, 'BINANCE', 'FUTURES')
  const order = simulated.place(account, { market: 'FUTURES' })
  simulated.fill(order)
  const range = { from: simulated.now() - HOUR, until: simulated.now() + MINUTE, symbols: [] }
  t.equal((await client.accountFills(range)).length, 1)
})

for (const exchange of ['UPBIT', 'BITHUMB'] as const) {
  t.test(`${exchange}: orders are read one by one, those that are known and those without a fill are not`, async t => {
    const { simulated, account, client, symbols } = await setUp(t, exchange, 'SPOT')
    const [known, other, unfilled] = [simulated.place(account), simulated.place(account), simulated.place(account)]
    simulated.fill(known)
    simulated.fill(other)
    simulated.cancel(unfilled)
    const range = { from: simulated.now() - HOUR, until: simulated.now() + MINUTE, symbols }
    const fills = await client.accountFills({ ...range, known: new Set([known.exchangeOrderId]) })
    t.strictSame(
      fills.map(({ exchangeOrderId }) => exchangeOrderId),
      [other.exchangeOrderId]
    )
    t.equal(simulated.requests.filter(({ path }) => path === '/v1/order').length, 1)
  })
}
