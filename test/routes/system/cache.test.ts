import type { FastifyInstance } from 'fastify'
import t, { type Test } from 'tap'
import type { Overrides } from '../../../src/app.ts'
import { captureLog, startApp, untilStatus } from '../../support/app.ts'
import { assertRows } from '../../support/assert-rows.ts'
import { migratedDatabase } from '../../support/migrated-database.ts'
import { adminOf, type Client } from '../../support/session.ts'
import { SimulatedExchange } from '../../support/simulated-exchange/simulated-exchange.ts'

const binance = await SimulatedExchange.start({ exchange: 'BINANCE' })
const upbit = await SimulatedExchange.start({ exchange: 'UPBIT' })
t.teardown(() => Promise.all([binance.close(), upbit.close()]))

const markets = [
  { exchange: 'BINANCE', marketType: 'SPOT' },
  { exchange: 'BINANCE', marketType: 'FUTURES' },
  { exchange: 'UPBIT', marketType: 'SPOT' }
] as const

async function fill({ caches }: FastifyInstance): Promise<void> {
  for (const market of markets) await caches.prices.refresh(market)
}

/** Longer than a busy machine needs. Only tests without an acknowledgement wait for its end. */
const PATIENT = { acknowledgedWithinMs: 60_000 }

async function replica(t: Test, url: string, overrides: Partial<Overrides> = PATIENT, urls: object = {}) {
  const { app, url: base } = await startApp(
    t,
    {
      DATABASE_URL: url,
      PROBE_PORT: 'off',
      SCHEDULER_ENABLED: 'false',
      WARM_UP_SECONDS: '120',
      ...binance.urls,
      ...upbit.urls,
      ...urls
    },
    overrides
  )
  await untilStatus(`${base}/health/startup`, 200)
  return app
}

t.test('the caches are reported, and cleared on every replica', async t => {
  const { url } = await migratedDatabase(t)
  const [app, other] = [await replica(t, url), await replica(t, url)]
  const admin = await adminOf(app)
  const clear = clearBy(admin)
  while ((await app.replicas.alive()).length < 2) await new Promise(resolve => setTimeout(resolve, 5))

  await t.test('the statistics have the names of the contract', async t => {
    await fill(app)
    app.caches.prices.peek('BINANCE', 'SPOT', 'BTCUSDT')
    const { status, answer } = await admin.send('GET', '/api/system/cache-stats', undefined, {
      'accept-language': 'ko'
    })
    t.equal(status, 200)
    t.hasStrict(answer, {
      success: true,
      instance: app.replicas.instanceId,
      cache_stats: {
        total_cached_clients: 0,
        active_clients: 0,
        expired_clients: 0,
        cache_max_size: 100,
        cache_ttl_seconds: 3600
      },
      price_cache: {
        entries: 15,
        expired: 0,
        max_entries: 50_000,
        ttl_seconds: 90,
        hits: 1,
        misses: 0,
        updates: 15,
        hit_rate: 1,
        frozen: 0
      },
      message: 'Market 캐시를 통한 API 호출 최적화 활성화됨'
    })
    const { exchanges } = answer.price_cache as { exchanges: object[] }
    assertRows(t, exchanges, [
      { exchange: 'BINANCE', market_type: 'SPOT', entries: 5, hits: 1, misses: 0 },
      { exchange: 'BINANCE', market_type: 'FUTURES', entries: 5 },
      { exchange: 'UPBIT', market_type: 'SPOT', entries: 5 }
    ])
    t.match(exchanges[0], { oldest_age_seconds: Number })
  })

  await t.test('an entry is cleared when it matches every filter, on both replicas, without case', async t => {
    for (const [body, price] of [
      [{ type: 'exchange' }, 0],
      [{ exchange: 'binance', market_type: 'futures', symbol: 'btcusdt' }, 2],
      [{ symbol: 'krw-btc', type: 'PRICE' }, 2],
      [{ exchange: 'UPBIT', market_type: 'FUTURES' }, 0],
      [{ exchange: 'BYBIT' }, 0],
      [{ symbol: 'NOTHING' }, 0],
      [{ exchange: 'BINANCE', type: 'price' }, 20],
      [{}, 30],
      [undefined, 30]
    ] as const) {
      await Promise.all([fill(app), fill(other)])
      const kept = app.caches.prices.stats().entries
      const done = { cleared: { price, exchange: 0 }, replicas: { acknowledged: 2, total: 2 } }
      t.hasStrict(await clear({ ...body, dry_run: true }), { status: 200, answer: done }, JSON.stringify(body))
      t.equal(app.caches.prices.stats().entries, kept, 'a dry run clears nothing')
      t.hasStrict(await clear(body), { status: 200, answer: { success: true, ...done } }, JSON.stringify(body))
      t.equal(app.caches.prices.stats().entries, 15 - price / 2)
      t.equal(other.caches.prices.stats().entries, 15 - price / 2)
    }
    t.hasStrict(await clear({ type: 'price' }), { answer: { message: '가격 캐시 정리 완료 - 0개 항목 삭제' } })
  })

  await t.test('an unknown or mistyped name is rejected, and clears nothing', async t => {
    await fill(app)
    for (const body of [
      { exchange: 'KRAKEN' },
      { market_type: 'MARGIN' },
      { type: 'everything' },
      { exchange: '' },
      { exchange: ['BINANCE'] },
      { exchange: null },
      { echange: 'BINANCE' },
      { dry_run: 'true' },
      []
    ]) {
      t.hasStrict(await clear(body), { status: 400, answer: { code: 'VALIDATION_FAILED' } }, JSON.stringify(body))
    }
    t.equal(app.caches.prices.stats().entries, 15)
  })

  await t.test('a clear is recorded with the admin who made it', async t => {
    await clear({ type: 'price' })
    const rows = await app.db.run(sql => sql`select actor, filter from cache_commands order by command_id desc limit 1`)
    assertRows(t, rows, [{ actor: 'ada', filter: { type: 'price', dry_run: false } }])
    const { answer } = await admin.send('GET', '/api/system/audit-log?action=POST%20/api/system/cache-clear')
    // The rejected requests of the tests before are recorded later than they came.
    const [newest] = (answer.entries as { outcome: string }[]).filter(({ outcome }) => outcome !== 'refused')
    t.hasStrict(newest, { actor: 'ada', outcome: 'succeeded' })
  })
})

t.test('a replica that does not acknowledge a clear is counted, unless it drains', async t => {
  const { url } = await migratedDatabase(t)
  // The replica's own caches are cleared before the wait begins, so its length does not matter here.
  const app = await replica(t, url, { acknowledgedWithinMs: 1 })
  const clear = clearBy(await adminOf(app))
  await app.db.run(
    sql =>
      sql`insert into replicas (instance_id, version, last_seen_at) values ('asleep', '0', now() + interval '9 seconds')`
  )
  await fill(app)
  t.hasStrict(await clear({ type: 'price' }), {
    status: 200,
    answer: { cleared: { price: 15 }, replicas: { acknowledged: 1, total: 2 } }
  })
  await app.db.run(sql => sql`update replicas set draining = true where instance_id = 'asleep'`)
  t.hasStrict(await clear({ type: 'price' }), { answer: { replicas: { acknowledged: 1, total: 1 } } })
})

t.test('a replica that starts after a clear keeps its prices', async t => {
  const { url } = await migratedDatabase(t)
  const app = await replica(t, url)
  t.hasStrict(await clearBy(await adminOf(app))({ type: 'price' }), { status: 200 })
  const late = await replica(t, url)
  await fill(late)
  await late.caches.commands.poll()
  t.equal(late.caches.prices.stats().entries, 15)
})

t.test('exchange-metadata names the five exchanges', async t => {
  const { url } = await migratedDatabase(t)
  const app = await replica(t, url)
  const admin = await adminOf(app)
  const { status, answer } = await admin.send('GET', '/api/system/exchange-metadata')
  t.equal(status, 200)
  t.strictSame(Object.keys(answer.payload as object), ['binance', 'bybit', 'okx', 'upbit', 'bithumb'])
  const { binance, upbit } = answer.payload as Record<string, unknown>
  t.strictSame(
    { binance, upbit },
    {
      binance: {
        name: 'Binance',
        supports_spot: true,
        supports_futures: true,
        supports_perpetual: true,
        has_testnet: true,
        quote_currencies: ['USDT'],
        budget: null
      },
      upbit: {
        name: 'Upbit',
        supports_spot: true,
        supports_futures: false,
        supports_perpetual: false,
        has_testnet: false,
        quote_currencies: ['KRW'],
        budget: null
      }
    }
  )
})

t.test('the prices of the markets of active accounts are read before start-up ends', async t => {
  const { url } = await migratedDatabase(t)
  await seed(await replica(t, url))
  const app = await replica(t, url)
  t.equal(app.caches.prices.stats().entries, 10)
  const { answer } = await (await adminOf(app)).send('GET', '/api/system/health/details')
  const exchanges = answer.exchanges as object[]
  assertRows(t, exchanges, [{ exchange: 'BINANCE', circuit: 'closed' }, { exchange: 'UPBIT' }])
  t.match(exchanges[0], { last_success_at: /Z$/ })
})

t.test('a symbol that does not trade is not warmed up, also on a replica that reads the stored list', async t => {
  const { url } = await migratedDatabase(t)
  await seed(await replica(t, url))
  const halted = await SimulatedExchange.start({ exchange: 'BINANCE' })
  t.teardown(() => halted.close())
  halted.suspend('ETHUSDT')
  for (const name of ['first', 'second']) {
    const app = await replica(t, url, PATIENT, halted.urls)
    t.equal(app.caches.prices.peek('BINANCE', 'SPOT', 'ETHUSDT'), undefined, name)
    t.equal(app.caches.prices.peek('BINANCE', 'SPOT', 'BTCUSDT')?.price, '100', name)
    t.equal(app.caches.prices.stats().entries, 9, name)
  }
  t.equal(halted.requests.filter(({ path }) => path === '/api/v3/exchangeInfo').length, 1)
})

t.test('an unresponsive exchange delays start-up, but not readiness', async t => {
  const { base } = await withSilentExchange(t, { WARM_UP_SECONDS: '120' })
  await untilStatus(`${base}/health/ready`, 200)
  const during = await fetch(`${base}/health/startup`)
  t.equal(during.status, 503)
  t.hasStrict(await during.json(), { status: 'starting', error: 'starting' })
})

t.test('start-up ends after WARM_UP_SECONDS without an unresponsive exchange, which is shown as degraded', async t => {
  const { app, base, lines } = await withSilentExchange(t, { WARM_UP_SECONDS: '2' })
  await untilStatus(`${base}/health/startup`, 200)
  // The other exchange answers at once, but a busy machine may need more than WARM_UP_SECONDS to read it.
  await app.caches.prices.refresh({ exchange: 'BINANCE', marketType: 'SPOT' })
  const { entries, exchanges } = app.caches.prices.stats()
  t.equal(entries, 5)
  assertRows(t, exchanges, [
    { exchange: 'BINANCE', entries: 5 },
    { exchange: 'UPBIT', entries: 0 }
  ])
  const { answer } = await (await adminOf(app)).send('GET', '/api/system/health/details')
  const checks = answer.checks as { name: string; status: string; code: string | null }[]
  t.match(
    checks.find(({ name }) => name === 'exchange_upbit'),
    { status: 'degraded', code: /^(no_answer|timeout)$/ }
  )
  t.hasStrict(
    checks.find(({ name }) => name === 'exchange_binance'),
    { status: 'ok', code: null }
  )
  t.ok(lines.some(({ msg, exchange }) => msg === 'price cache not warmed up' && exchange === 'UPBIT'))
})

/** A service with an active account on Binance and one on an Upbit that never answers. */
async function withSilentExchange(t: Test, environment: Record<string, string>) {
  const { url } = await migratedDatabase(t)
  await seed(await replica(t, url))
  const silent = await SimulatedExchange.start({ exchange: 'UPBIT' })
  t.teardown(() => silent.close())
  silent.fault({ kind: 'silence' })
  const { lines, logger } = captureLog()
  const { app, url: base } = await startApp(
    t,
    {
      DATABASE_URL: url,
      PROBE_PORT: 'off',
      SCHEDULER_ENABLED: 'false',
      ...binance.urls,
      ...silent.urls,
      ...environment
    },
    { logger }
  )
  return { app, base, lines }
}

/** Clears caches as an admin whose language is Korean. */
function clearBy(admin: Client) {
  return async (body?: unknown) => {
    const { status, answer } = await admin.send('POST', '/api/system/cache-clear', body, { 'accept-language': 'ko' })
    return { status, answer }
  }
}

/** An active account on each of the two exchanges. */
async function seed({ db }: FastifyInstance): Promise<void> {
  await db.run(
    sql => sql`
      with owner as (insert into users (username, password_hash) values ('owner', 'none') returning user_id)
      insert into accounts (user_id, name, exchange, api_key_encrypted, api_secret_encrypted, key_id)
      select user_id, exchange, exchange, '', '', 'none' from owner, unnest(array['BINANCE', 'UPBIT']) exchange`
  )
}
