import t from 'tap'
import { Agent } from 'undici'
import { EXCHANGE_NAMES, MARKET_TYPES } from '../../src/domain/market.ts'
import { CATALOGUE, exchangeMetadata } from '../../src/exchanges/catalogue.ts'
import { assertBaseUrl, assertOffered, ExchangeRegistry, NotOffered } from '../../src/exchanges/exchange-registry.ts'
import { assertRows } from '../support/assert-rows.ts'
import { SimulatedExchange } from '../support/simulated-exchange/simulated-exchange.ts'

const notOffered = (reason: NotOffered['reason']) => ({ name: 'NotOffered', reason })

const agent = new Agent()
t.teardown(() => agent.close())

t.test('the metadata of every exchange has the shape of the contract', async t => {
  t.strictSame(exchangeMetadata(), {
    binance: {
      name: 'Binance',
      supports_spot: true,
      supports_futures: true,
      supports_perpetual: true,
      has_testnet: true,
      quote_currencies: ['USDT']
    },
    bybit: {
      name: 'Bybit',
      supports_spot: true,
      supports_futures: true,
      supports_perpetual: true,
      has_testnet: true,
      quote_currencies: ['USDT']
    },
    okx: {
      name: 'OKX',
      supports_spot: true,
      supports_futures: true,
      supports_perpetual: true,
      has_testnet: true,
      quote_currencies: ['USDT']
    },
    upbit: {
      name: 'Upbit',
      supports_spot: true,
      supports_futures: false,
      supports_perpetual: false,
      has_testnet: false,
      quote_currencies: ['KRW']
    },
    bithumb: {
      name: 'Bithumb',
      supports_spot: true,
      supports_futures: false,
      supports_perpetual: false,
      has_testnet: false,
      quote_currencies: ['KRW']
    }
  })
})

t.test('a client exists for every market that is offered, and for no other', async t => {
  const registry = new ExchangeRegistry({ dispatcher: agent })
  for (const exchange of EXCHANGE_NAMES) {
    for (const marketType of MARKET_TYPES) {
      const make = () => registry.client({ exchange, marketType })
      if (CATALOGUE[exchange].markets[marketType] === undefined) t.throws(make, notOffered('no_such_market'))
      else t.hasStrict(make(), { exchange, marketType, isTestnet: false })
    }
  }
})

t.test('a testnet or market that an exchange does not have is rejected', async t => {
  for (const exchange of ['UPBIT', 'BITHUMB'] as const) {
    t.throws(() => assertOffered(exchange, 'SPOT', true), notOffered('no_testnet'))
  }
  for (const exchange of ['BINANCE', 'BYBIT', 'OKX'] as const)
    t.doesNotThrow(() => assertOffered(exchange, 'SPOT', true))
  t.throws(() => assertOffered('UPBIT', 'FUTURES', false), notOffered('no_such_market'))
})

t.test('base URLs are https or of this machine, and contain no user or query', async t => {
  for (const url of ['https://api1.binance.com', 'http://127.0.0.1:80/x', 'http://localhost:1', 'http://[::1]:1']) {
    t.doesNotThrow(() => assertBaseUrl('BINANCE_URL', url), url)
  }
  for (const url of [
    'http://api.binance.com',
    'ftp://x',
    'x',
    'https://u:p@x',
    'https://x/?key=1',
    'http://127.evil.com'
  ]) {
    t.throws(() => assertBaseUrl('BINANCE_URL', url), NotOffered, url)
  }
  t.throws(
    () => new ExchangeRegistry({ dispatcher: agent, urls: { OKX_URL: 'http://okx.com' } }),
    notOffered('bad_url')
  )
})

t.test('a simulated exchange also replaces the testnet, so that no call reaches a real host', async t => {
  for (const exchange of ['BINANCE', 'BYBIT', 'OKX'] as const) {
    const simulated = await SimulatedExchange.start({ exchange })
    t.teardown(() => simulated.close())
    const registry = new ExchangeRegistry({ dispatcher: agent, urls: simulated.urls })
    const client = registry.client({ exchange, marketType: 'SPOT', isTestnet: true })
    t.equal((await client.lastPrices()).length, 5)
    const demo = simulated.requests[0]?.headers['x-simulated-trading']
    t.equal(demo, exchange === 'OKX' ? '1' : undefined)
  }
})

t.test('clients of one exchange share rate limits and circuit, different exchanges do not', async t => {
  const binance = await SimulatedExchange.start({ exchange: 'BINANCE' })
  const upbit = await SimulatedExchange.start({ exchange: 'UPBIT' })
  t.teardown(() => Promise.all([binance.close(), upbit.close()]))
  const registry = new ExchangeRegistry({
    dispatcher: agent,
    urls: { ...binance.urls, ...upbit.urls },
    random: () => 0
  })
  t.strictSame(registry.status(), [], 'empty before the first client')
  const spot = registry.client({ exchange: 'BINANCE', marketType: 'SPOT' })
  const futures = registry.client({ exchange: 'BINANCE', marketType: 'FUTURES' })
  const korean = registry.client({ exchange: 'UPBIT', marketType: 'SPOT' })
  binance.fault({ kind: 'status', status: 503 }, { path: /^\/api\// })
  await t.rejects(spot.lastPrices(), { code: 'unavailable' })
  await t.rejects(spot.lastPrices(), { code: 'unavailable' })
  await futures.lastPrices()
  await korean.lastPrices()
  const [ofBinance, ofUpbit] = registry.status()
  t.hasStrict(ofBinance, {
    exchange: 'BINANCE',
    lastErrorCode: 'unavailable',
    lastExchangeCode: '503',
    circuit: 'open'
  })
  assertRows(t, ofBinance?.hosts ?? [], [
    { circuit: 'open', lastErrorCode: 'unavailable' },
    { circuit: 'closed', lastErrorCode: null }
  ])
  t.type(ofBinance?.lastSuccessAt, 'number', 'its futures answered')
  t.hasStrict(ofUpbit, { exchange: 'UPBIT', lastErrorCode: null, circuit: 'closed', clockSkewMs: 0, blockedForMs: 0 })
})
