import t from 'tap'
import { PriceCache } from '../../src/cache/price-cache.ts'
import { EXCHANGE_NAMES, type ExchangeName } from '../../src/domain/market.ts'
import { ExchangeError } from '../../src/exchanges/exchange-error.ts'
import { updatePriceCache } from '../../src/jobs/update-price-cache.ts'
import { captureLog } from '../support/app.ts'
import { undoneBy } from '../support/jobs.ts'
import { seedAccount, testContext, tradingDatabase } from '../support/trading.ts'

/** Accounts of the exchanges, and a cache whose exchanges answer with the symbols, or fail where they have none. */
async function setUp(t_: Parameters<typeof tradingDatabase>[0], symbols: Partial<Record<ExchangeName, string[]>>) {
  const database = await tradingDatabase(t_)
  for (const exchange of EXCHANGE_NAMES)
    if (exchange in symbols || exchange === 'OKX') await seedAccount(database, { exchange })
  const prices = new PriceCache({
    ttlSeconds: 60,
    log: captureLog().logger,
    closing: new AbortController().signal,
    read: async ({ exchange }) => {
      const listed = symbols[exchange]
      if (!listed) throw new ExchangeError('unavailable', { exchange, operation: 'prices' })
      return listed.map(symbol => ({ symbol, exchangeSymbol: symbol, price: '1', at: Date.now() }))
    }
  })
  return updatePriceCache({ database, prices })(testContext(database).context)
}

t.test('a run is partial when a market cannot be read, or has no prices', async t => {
  const result = await setUp(t, { BINANCE: ['BTCUSDT', 'ETHUSDT'], UPBIT: [] })
  t.strictSame(result, { markets: 3, failed: 1, without_prices: 1, updated: 2 })
  t.strictSame(undoneBy('update_price_cache', result), { failed: 1, without_prices: 1 })
})

t.test('a run that reads every market has done everything', async t => {
  const result = await setUp(t, { BINANCE: ['BTCUSDT'], OKX: ['BTCUSDT'], BITHUMB: ['BTCKRW'] })
  t.strictSame(undoneBy('update_price_cache', result), {})
})

t.test('a run fails when no market can be read', async t => {
  await t.rejects(setUp(t, {}), { code: 'EXCHANGES_UNAVAILABLE' })
})
