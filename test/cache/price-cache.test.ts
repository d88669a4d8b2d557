import fc from 'fast-check'
import t from 'tap'
import { PriceCache, type PriceCacheOptions } from '../../src/cache/price-cache.ts'
import type { Market, Price } from '../../src/domain/market.ts'
import { ExchangeError } from '../../src/exchanges/exchange-error.ts'
import { captureLog } from '../support/app.ts'
import { assertRows } from '../support/assert-rows.ts'

const BINANCE: Market = { exchange: 'BINANCE', marketType: 'SPOT' }
const UPBIT: Market = { exchange: 'UPBIT', marketType: 'SPOT' }
const never = new AbortController().signal

/** A cache of a market with the symbols S0, S1, … The test sets its prices and its clock. */
function setUp(options: Partial<PriceCacheOptions> = {}) {
  const market = { prices: new Map([['S0', '1']]), reads: 0, now: 1_000_000, read: async () => {} }
  const { logger, lines } = captureLog()
  const cache = new PriceCache({
    ttlSeconds: 90,
    log: logger,
    closing: never,
    now: () => market.now,
    monotonic: () => market.now,
    read: async () => {
      market.reads++
      await market.read()
      return [...market.prices].map(
        ([symbol, price]): Price => ({ symbol, exchangeSymbol: `own-${symbol}`, price, at: null })
      )
    },
    ...options
  })
  return { cache, market, lines }
}

t.test('an expired price is not returned', async t => {
  const { cache, market } = setUp()
  await cache.refresh(BINANCE)
  t.hasStrict(cache.peek('BINANCE', 'SPOT', 'S0'), { price: '1', readAt: new Date(1_000_000) })
  market.now += 90_000
  t.equal(cache.peek('BINANCE', 'SPOT', 'S0')?.price, '1')
  market.now += 1
  t.equal(cache.peek('BINANCE', 'SPOT', 'S0'), undefined)
  market.read = () => Promise.reject(new ExchangeError('unavailable', { exchange: 'BINANCE', operation: 'lastPrices' }))
  t.equal((await cache.current('BINANCE', 'SPOT', ['S0'], never)).size, 0, 'also not if its market cannot be read')
})

t.test('concurrent misses of a market share one call', async t => {
  const { cache, market } = setUp()
  let arrive = () => {}
  market.read = () => new Promise(resolve => (arrive = resolve))
  const asked = [1, 2, 3].map(() => cache.current('BINANCE', 'SPOT', ['S0'], never))
  arrive()
  for (const answer of await Promise.all(asked)) t.equal(answer.get('S0')?.price, '1')
  t.equal(market.reads, 1)
})

t.test('an aborted caller stops waiting; the others get the prices', async t => {
  const { cache, market } = setUp()
  let arrive = () => {}
  market.read = () => new Promise(resolve => (arrive = resolve))
  const impatient = new AbortController()
  const given = cache.current('BINANCE', 'SPOT', ['S0'], impatient.signal)
  const patient = cache.current('BINANCE', 'SPOT', ['S0'], never)
  impatient.abort(new Error('enough'))
  await t.rejects(given, { message: 'enough' })
  arrive()
  t.equal((await patient).get('S0')?.price, '1')
})

t.test('a market is not read repeatedly for an unknown symbol', async t => {
  const { cache, market } = setUp()
  for (let i = 0; i < 3; i++) t.equal((await cache.current('BINANCE', 'SPOT', ['none'], never)).size, 0)
  t.equal(market.reads, 1)
  market.now += 5_000
  await cache.current('BINANCE', 'SPOT', ['none'], never)
  t.equal(market.reads, 2)
})

t.test('the statistics have hits, misses, updates and ages per market', async t => {
  const { cache, market } = setUp()
  await cache.refresh(BINANCE)
  market.prices.set('S1', '2')
  market.now += 30_000
  await cache.refresh(UPBIT)
  for (const symbol of ['S0', 'S0', 'none']) cache.peek('BINANCE', 'SPOT', symbol)
  market.now += 10_500
  t.strictSame(cache.stats(), {
    entries: 3,
    expired: 0,
    max_entries: 50_000,
    ttl_seconds: 90,
    hits: 2,
    misses: 1,
    updates: 3,
    hit_rate: 0.6667,
    oldest_age_seconds: 40.5,
    frozen: 0,
    exchanges: [
      { exchange: 'BINANCE', market_type: 'SPOT', entries: 1, hits: 2, misses: 1, oldest_age_seconds: 40.5 },
      { exchange: 'UPBIT', market_type: 'SPOT', entries: 2, hits: 0, misses: 0, oldest_age_seconds: 10.5 }
    ]
  })
  market.now += 60_000
  t.hasStrict(cache.stats(), { entries: 2, expired: 1, oldest_age_seconds: 70.5 })
  market.now += 60_000
  const { entries, oldest_age_seconds, exchanges } = cache.stats()
  t.strictSame([entries, oldest_age_seconds], [0, null], 'without an entry there is no age')
  t.strictSame(
    exchanges.map(market => market.oldest_age_seconds),
    [null, null]
  )
})

t.test('a symbol whose price is unchanged while its market is active is counted, and logged once', async t => {
  const { cache, market, lines } = setUp()
  for (let i = 0; i < 10; i++) market.prices.set(`S${i}`, '1')
  const refresh = async (moving: boolean, times: number) => {
    for (let i = 0; i < times; i++) {
      if (moving) for (let s = 1; s < 10; s++) market.prices.set(`S${s}`, String(market.reads + s))
      await cache.refresh(BINANCE)
    }
  }
  const warned = () => lines.filter(({ msg }) => msg === 'prices unchanged while their market changes')
  await refresh(false, 30)
  t.equal(cache.stats().frozen, 0, 'an inactive market has no frozen symbols')
  await refresh(true, 19)
  t.equal(cache.stats().frozen, 0)
  await refresh(true, 5)
  t.equal(cache.stats().frozen, 1)
  assertRows(t, warned(), [{ exchange: 'BINANCE', frozen: 1, symbols: ['own-S0'] }])
  market.prices.set('S0', '2')
  await refresh(true, 1)
  t.equal(cache.stats().frozen, 0, 'the price changes again')
})

t.test('a clear drops the entries that match every part of its filter, in either spelling', async t => {
  const filled = async () => {
    const { cache, market } = setUp()
    market.prices.set('S1', '2')
    await cache.refresh(BINANCE)
    await cache.refresh(UPBIT)
    return cache
  }
  for (const [filter, count] of [
    [{}, 4],
    [{ exchange: 'UPBIT' }, 2],
    [{ marketType: 'FUTURES' }, 0],
    [{ symbol: 's1' }, 2],
    [{ symbol: 'OWN-S1' }, 2],
    [{ exchange: 'BINANCE', marketType: 'SPOT', symbol: 'S1' }, 1],
    [{ symbol: 'S' }, 0]
  ] as const) {
    const cache = await filled()
    t.equal(cache.clear(filter, { dryRun: true }), count, JSON.stringify(filter))
    t.equal(cache.stats().entries, 4)
    t.equal(cache.clear(filter), count)
    t.equal(cache.stats().entries, 4 - count)
  }
})

t.test('the cache does not exceed its limit, and returns the latest prices', async t => {
  const result = await fc.check(
    fc.asyncProperty(
      fc.array(fc.dictionary(fc.constantFrom('A', 'B', 'C', 'D', 'E'), fc.integer({ min: 1 }).map(String)), {
        maxLength: 20
      }),
      async rounds => {
        const { cache, market } = setUp({ max: 3 })
        for (const round of rounds) {
          market.prices = new Map(Object.entries(round))
          await cache.refresh(BINANCE)
          if (cache.stats().entries > 3) return false
          for (const symbol of ['A', 'B', 'C', 'D', 'E']) {
            const served = cache.peek('BINANCE', 'SPOT', symbol)?.price
            if (served !== undefined && symbol in round && served !== round[symbol]) return false
          }
        }
        return true
      }
    )
  )
  t.notOk(result.failed, fc.defaultReportMessage(result) ?? 'for 100 runs')
})
