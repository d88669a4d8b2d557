import t from 'tap'
import { failureOf } from '../exchanges/failure.ts'
import { startApp, untilStatus } from '../support/app.ts'
import { migratedDatabase } from '../support/migrated-database.ts'
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
