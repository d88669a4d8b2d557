import t from 'tap'
import { Agent } from 'undici'
import type { ExchangeName } from '../../src/domain/market.ts'
import { CATALOGUE } from '../../src/exchanges/catalogue.ts'
import { ExchangeRegistry } from '../../src/exchanges/exchange-registry.ts'
import { minutePrices } from '../../src/exchanges/minute-prices.ts'
import { fixedInstruments } from '../support/trading.ts'
import { cannedExchange } from './canned-exchange.ts'

/** 12:34:56.789 of a minute that begins at 1,717,072,440,000. */
const AT = 1_717_072_496_789
const MINUTE = 1_717_072_440_000
const never = new AbortController().signal

const agent = new Agent()
t.teardown(() => agent.close())

const kline = (time: number | string) => [time, '600.1', '601', '599', '600.50', '12']
const CASES: Readonly<Record<string, { query: string; body: (time: number) => string }>> = {
  BINANCE: {
    query: `/api/v3/klines?symbol=BNBUSDT&interval=1m&startTime=${MINUTE}&limit=1`,
    body: time => JSON.stringify([kline(time)])
  },
  BYBIT: {
    query: `/v5/market/kline?category=spot&symbol=BNBUSDT&interval=1&start=${MINUTE}&end=${MINUTE}&limit=1`,
    body: time => JSON.stringify({ retCode: 0, retMsg: 'OK', result: { list: [kline(String(time))] }, time: AT })
  },
  OKX: {
    query: `/api/v5/market/history-candles?instId=BNBUSDT&bar=1m&after=${MINUTE + 1}&before=${MINUTE - 1}&limit=1`,
    body: time => JSON.stringify({ code: '0', msg: '', data: [kline(String(time))] })
  }
}

for (const [name, { query: wanted, body }] of Object.entries(CASES)) {
  const exchange = name as ExchangeName
  t.test(`${name}: the price of a minute is the close of its kline`, async t => {
    const asked: string[] = []
    let time = MINUTE
    const url = await cannedExchange(t, (path, query) => {
      asked.push(`${path}?${query}`)
      return { status: 200, body: body(time) }
    })
    const setting = CATALOGUE[exchange].markets.SPOT?.setting ?? 'BINANCE_URL'
    const registry = new ExchangeRegistry({ dispatcher: agent, urls: { [setting]: url }, random: () => 0 })
    const client = registry.client({ exchange, marketType: 'SPOT' })
    t.equal(await client.minutePrice('BNBUSDT', AT), '600.50')
    t.strictSame(asked, [wanted])
    time = MINUTE + 60_000
    t.equal(await client.minutePrice('BNBUSDT', AT), null, 'a later kline is of another minute')
    const price = minutePrices({
      client: async market => registry.client(market),
      instruments: fixedInstruments(['BNB/USDT'])
    })
    time = MINUTE
    t.equal(await price(exchange, 'BNB', 'USDT', AT, never), '600.50')
    t.equal(await price(exchange, 'USDT', 'BNB', AT, never), '0.0016652789342214821', 'of the inverse pair')
    t.equal(await price(exchange, 'XYZ', 'USDT', AT, never), null, 'not listed')
  })
}

t.test('an asset without a pair in the quote currency is valued through USDT, otherwise through BTC', async t => {
  const closes: Readonly<Record<string, string>> = {
    BNBUSDT: '600.5',
    EURUSDT: '1.25',
    XYZBTC: '0.00002',
    BTCEUR: '80000'
  }
  const asked: string[] = []
  const url = await cannedExchange(t, (_path, query) => {
    const symbol = new URLSearchParams(query).get('symbol') ?? ''
    asked.push(symbol)
    const close = closes[symbol]
    return { status: 200, body: JSON.stringify(close === undefined ? [] : [[MINUTE, '1', '1', '1', close, '1']]) }
  })
  const registry = new ExchangeRegistry({ dispatcher: agent, urls: { BINANCE_URL: url }, random: () => 0 })
  const price = minutePrices({
    client: async market => registry.client(market),
    instruments: fixedInstruments(['BNB/USDT', 'EUR/USDT', 'XYZ/BTC', 'BTC/EUR', 'OLD/USDT'])
  })
  t.equal(await price('BINANCE', 'BNB', 'EUR', AT, never), '480.4')
  t.equal(await price('BINANCE', 'XYZ', 'EUR', AT, never), '1.6')
  t.strictSame(asked, ['BNBUSDT', 'EURUSDT', 'XYZBTC', 'BTCEUR'])
  t.equal(await price('BINANCE', 'OLD', 'EUR', AT, never), null, 'a pair without a price of that minute')
  t.equal(await price('BINANCE', 'ABC', 'EUR', AT, never), null, 'no pairs connect them')
})

t.test('Upbit, Bithumb and futures have none, without a call', async t => {
  const registry = new ExchangeRegistry({ dispatcher: agent })
  for (const exchange of ['UPBIT', 'BITHUMB'] as const) {
    t.equal(await registry.client({ exchange, marketType: 'SPOT' }).minutePrice('KRW-BTC', AT), null)
  }
  for (const exchange of ['BINANCE', 'BYBIT', 'OKX'] as const) {
    t.equal(await registry.client({ exchange, marketType: 'FUTURES' }).minutePrice('BTCUSDT', AT), null)
  }
})
