import { getEventListeners } from 'node:events'
import t from 'tap'
import { EXCHANGE_NAMES } from '../../src/domain/market.ts'
import { CATALOGUE } from '../../src/exchanges/catalogue.ts'
import { failureOf } from '../exchanges/failure.ts'
import { startApp, untilStatus } from '../support/app.ts'
import { migratedDatabase } from '../support/migrated-database.ts'
import { processWarnings } from '../support/process-warnings.ts'
import { SimulatedExchange } from '../support/simulated-exchange/simulated-exchange.ts'

t.test('a service applies stored bans from its start, and those that another one receives', async t => {
  const { url } = await migratedDatabase(t)
  const binance = await SimulatedExchange.start({ exchange: 'BINANCE', symbols: 2 })
  const upbit = await SimulatedExchange.start({ exchange: 'UPBIT', symbols: 2 })
  t.teardown(() => Promise.all([binance.close(), upbit.close()]))
  const environment = { DATABASE_URL: url, SCHEDULER_ENABLED: 'false', ...binance.urls, ...upbit.urls }
  const service = async (INSTANCE_ID: string) => {
    const { app, url } = await startApp(t, { ...environment, INSTANCE_ID })
    await untilStatus(`${url}/health/ready`, 200)
    return app
  }
  const first = await service('first')
  upbit.fault({ kind: 'rate_limited', retryAfterSeconds: 7_200, status: 418 }, { times: 1 })
  const banned = await first.exchanges.client({ exchange: 'UPBIT', marketType: 'SPOT' })
  t.hasStrict(await failureOf(banned.lastPrices()), { code: 'rate_limited', exchangeCode: '418' })
  const storedBy = () => first.db.run(sql => sql<{ reported_by: string }[]>`select reported_by from exchange_bans`)
  while ((await storedBy()).length === 0) await new Promise(resolve => setTimeout(resolve, 5))
  t.strictSame([...(await storedBy())], [{ reported_by: 'first' }])

  const requests = upbit.requests.length
  const second = await service('second')
  const client = await second.exchanges.client({ exchange: 'UPBIT', marketType: 'SPOT' })
  t.hasStrict(await failureOf(client.lastPrices()), { code: 'rate_limited', exchangeCode: null })
  t.equal(upbit.requests.length, requests, 'the first call after the start is not made')
  const other = await second.exchanges.client({ exchange: 'BINANCE', marketType: 'SPOT' })
  t.equal((await other.lastPrices()).length, 2)

  await second.db.run(sql => sql`delete from exchange_bans`)
  await second.db.run(sql => sql`notify exchange_bans`)
  while (second.exchanges.status().some(({ blockedForMs }) => blockedForMs > 0)) {
    await new Promise(resolve => setImmediate(resolve))
  }
  t.equal((await client.lastPrices()).length, 2)
})

t.test('reads of all markets at the same time give no warning, and leave no listener on the signal', async t => {
  const warnings = processWarnings(t)
  const { url } = await migratedDatabase(t)
  const simulated = await Promise.all(EXCHANGE_NAMES.map(exchange => SimulatedExchange.start({ exchange, symbols: 2 })))
  t.teardown(() => Promise.all(simulated.map(exchange => exchange.close())))
  const urls = Object.assign({}, ...simulated.map(exchange => exchange.urls))
  const { app, url: address } = await startApp(t, { DATABASE_URL: url, SCHEDULER_ENABLED: 'false', ...urls })
  await untilStatus(`${address}/health/ready`, 200)
  const listening = () => getEventListeners(app.exchanges.closing, 'abort').length
  const before = listening()
  const markets = EXCHANGE_NAMES.flatMap(exchange => {
    const { SPOT, FUTURES } = CATALOGUE[exchange].markets
    return [
      ...(SPOT ? [{ exchange, marketType: 'SPOT' as const }] : []),
      ...(FUTURES ? [{ exchange, marketType: 'FUTURES' as const }] : [])
    ]
  })
  let most = 0
  const reads = markets.map(async market => {
    const read = app.caches.prices.refresh(market)
    await new Promise(resolve => setImmediate(resolve))
    most = Math.max(most, listening())
    await read
  })
  await Promise.all(reads)
  t.ok(most > 10, `more listeners at a time than Node.js expects: ${most}`)
  t.equal(listening(), before)
  t.strictSame(warnings(), [])
})
