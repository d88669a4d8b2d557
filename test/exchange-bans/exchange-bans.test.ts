import t, { type Test } from 'tap'
import { Agent } from 'undici'
import type { Database } from '../../src/database/database.ts'
import { DatabaseUnavailableError } from '../../src/database/failure.ts'
import type { ExchangeName } from '../../src/domain/market.ts'
import { ExchangeBans } from '../../src/exchange-bans/exchange-bans.ts'
import { exchangeDetails } from '../../src/exchanges/exchange-check.ts'
import { ExchangeRegistry } from '../../src/exchanges/exchange-registry.ts'
import { failureOf } from '../exchanges/failure.ts'
import { captureLog } from '../support/app.ts'
import { SimulatedExchange } from '../support/simulated-exchange/simulated-exchange.ts'
import { tradingDatabase } from '../support/trading.ts'

const HOUR_MS = 3_600_000
const NEVER_MS = HOUR_MS
const KEYS = { apiKey: 'key-of-alice', apiSecret: 'secret', passphrase: 'passphrase' }

const agent = new Agent()
t.teardown(() => agent.close())

interface Setting {
  database: Database
  simulated: SimulatedExchange
  name: string
  pollMs?: number
  /** Default that of the database. */
  used?: Database
}

/** A replica: its calls, and the bans that it shares. The test advances the clock of its waits. */
function replicaOf(t: Test, { database, simulated, name, pollMs = NEVER_MS, used = database }: Setting) {
  const clock = { now: 0 }
  const { logger: log, lines } = captureLog('info')
  const watchers = new Set<() => void>()
  const bans = new ExchangeBans({
    database: used,
    instanceId: () => name,
    applicationName: 'test',
    log,
    apply: current => {
      registry.applyBans(current)
      for (const watch of watchers) watch()
    },
    pollMs,
    monotonic: () => clock.now
  })
  const registry = new ExchangeRegistry({
    dispatcher: agent,
    urls: simulated.urls,
    random: () => 0,
    monotonic: () => clock.now,
    onBan: ban => bans.report(ban)
  })
  t.teardown(() => bans.close())
  const client = registry.client({ exchange: simulated.exchange, marketType: 'SPOT', credentials: KEYS })
  const blockedForMs = () => registry.status()[0]?.blockedForMs ?? 0
  /** Resolves when the bans are applied and the condition is true. */
  const until = (condition: () => boolean) =>
    new Promise<void>(resolve => {
      const watch = () => {
        if (!condition()) return
        watchers.delete(watch)
        resolve()
      }
      watchers.add(watch)
      watch()
    })
  return { bans, registry, client, clock, lines, blockedForMs, until }
}

async function setUp(t: Test, exchange: ExchangeName) {
  const database = await tradingDatabase(t)
  const simulated = await SimulatedExchange.start({ exchange, symbols: 2 })
  t.teardown(() => simulated.close())
  simulated.addAccount(KEYS)
  return { database, simulated }
}

interface StoredRow {
  exchange: string
  host: string
  exchange_code: string | null
  reported_by: string
  seconds: number
}

function storedBans(database: Database): Promise<StoredRow[]> {
  return database.run(async sql => [
    ...(await sql<StoredRow[]>`
        select exchange, host, exchange_code, reported_by,
          round(extract(epoch from until_at - reported_at))::int as seconds
        from exchange_bans order by exchange, host`)
  ])
}

/** Bans as exchanges state them: in the text, in Retry-After, and in a header of Bybit. */
const BANS = {
  BINANCE: (endMs: number) => ({
    status: 418,
    body: `{"code":-1003,"msg":"Way too much request weight used; IP banned until ${endMs}. Please use WebSocket"}`
  }),
  BYBIT: (endMs: number) => ({
    status: 200,
    headers: { 'x-bapi-limit-reset-timestamp': String(endMs) },
    body: '{"retCode":10018,"retMsg":"Exceeded the IP Rate Limit.","result":{}}'
  }),
  OKX: () => ({ status: 429, headers: { 'retry-after': '7200' }, body: '{"code":"50040","msg":"Too frequent"}' }),
  UPBIT: () => ({ status: 418, headers: { 'retry-after': '7200' }, body: '{"error":{"name":"banned"}}' })
}
const CODES = { BINANCE: '418', BYBIT: '10018', OKX: '50040', UPBIT: '418' }

for (const exchange of ['BINANCE', 'BYBIT', 'OKX', 'UPBIT'] as const) {
  t.test(`a ban of ${exchange} stops the calls of the other replica and of one that starts later`, async t => {
    const { database, simulated } = await setUp(t, exchange)
    const first = replicaOf(t, { database, simulated, name: 'first' })
    const second = replicaOf(t, { database, simulated, name: 'second' })
    await first.bans.start()
    await second.bans.start()
    const fault = BANS[exchange](simulated.now() + 2 * HOUR_MS)
    simulated.fault({ kind: 'status', ...fault }, { times: 1 })
    t.hasStrict(await failureOf(first.client.lastPrices()), { code: 'rate_limited' })
    await second.until(() => second.blockedForMs() > 0)
    const before = simulated.requests.length
    for (const { client } of [first, second]) {
      t.hasStrict(await failureOf(client.lastPrices()), { code: 'rate_limited', exchangeCode: null })
      t.hasStrict(await failureOf(client.balances()), { code: 'rate_limited', exchangeCode: null })
    }
    const restarted = replicaOf(t, { database, simulated, name: 'first' })
    await restarted.bans.start()
    t.hasStrict(await failureOf(restarted.client.lastPrices()), { code: 'rate_limited', exchangeCode: null })
    t.equal(simulated.requests.length, before, 'no replica made a call')
    for (const { registry } of [first, second, restarted]) {
      const [check] = exchangeDetails(registry.status(), Date.now())
      t.hasStrict(check, { status: 'degraded', code: 'rate_limited' })
    }
    for (const { clock, client } of [second, restarted]) {
      clock.now += 2 * HOUR_MS + 1_000
      t.equal((await client.lastPrices()).length, 2, 'after its end calls are made again')
    }
    const [stored, ...others] = await storedBans(database)
    t.strictSame(others, [])
    t.hasStrict(stored, { exchange, exchange_code: CODES[exchange], reported_by: 'first' })
    const seconds = stored?.seconds ?? 0
    t.ok(seconds > 7_100 && seconds <= 7_201, `two hours from the answer: ${seconds} s`)
    t.notMatch(JSON.stringify(stored), KEYS.apiKey, 'no key is stored')
  })
}

t.test('without notifications a replica polls the bans', async t => {
  const { database, simulated } = await setUp(t, 'BINANCE')
  const unreachable = new Proxy(database, {
    get(target, name) {
      if (name === 'address') return Promise.resolve('postgres://127.0.0.1:1/none')
      const value: unknown = Reflect.get(target, name, target)
      return typeof value === 'function' ? value.bind(target) : value
    }
  })
  const replica = replicaOf(t, { database, simulated, name: 'one', pollMs: 5, used: unreachable })
  await replica.bans.start()
  const host = `${simulated.url} SPOT`
  await database.run(
    sql => sql`
      insert into exchange_bans (exchange, host, until_at, reported_by)
      values ('BINANCE', ${host}, now() + interval '1 hour', 'other'), ('NOWHERE', 'x', now() + interval '1 hour', 'other')`
  )
  await replica.until(() => replica.blockedForMs() > 0)
  t.hasStrict(await failureOf(replica.client.lastPrices()), { code: 'rate_limited' })
  t.equal(simulated.requests.length, 0)
})

t.test('a ban that an operator deletes ends on every replica, on the one that received it too', async t => {
  const { database, simulated } = await setUp(t, 'BINANCE')
  const first = replicaOf(t, { database, simulated, name: 'first', pollMs: 5 })
  const replicas = [first, replicaOf(t, { database, simulated, name: 'second', pollMs: 5 })]
  for (const { bans } of replicas) await bans.start()
  simulated.fault({ kind: 'status', ...BANS.BINANCE(Date.now() + 2 * HOUR_MS) }, { times: 1 })
  t.hasStrict(await failureOf(first.client.lastPrices()), { code: 'rate_limited' })
  await Promise.all(replicas.map(({ bans, until }) => until(() => bans.current().length === 1)))
  await database.run(sql => sql`delete from exchange_bans where exchange = 'BINANCE'`)
  await Promise.all(replicas.map(({ until, blockedForMs }) => until(() => blockedForMs() === 0)))
  for (const { client } of replicas) t.equal((await client.lastPrices()).length, 2)
  for (const { lines } of replicas) {
    const [ended] = lines.filter(({ msg }) => msg === 'exchange ban ended')
    t.hasStrict(ended, { exchange: 'BINANCE', exchange_code: '418' })
  }
})

t.test('a ban of years ends after seven days, and a short block is not stored', async t => {
  const { database, simulated } = await setUp(t, 'UPBIT')
  const replica = replicaOf(t, { database, simulated, name: 'one' })
  await replica.bans.start()
  simulated.fault({ kind: 'rate_limited', retryAfterSeconds: 5 }, { times: 1 })
  t.hasStrict(await failureOf(replica.client.lastPrices({ deadlineMs: 4_000 })), { retryAfterMs: 5_000 })
  replica.clock.now += 5_000
  simulated.fault({ kind: 'rate_limited', retryAfterSeconds: 9_999_999 }, { times: 1 })
  await t.rejects(replica.client.lastPrices(), { code: 'rate_limited', retryAfterMs: 7 * 24 * HOUR_MS })
  await replica.until(() => replica.bans.current().length === 1)
  const host = simulated.url
  t.strictSame(await storedBans(database), [
    { exchange: 'UPBIT', host, exchange_code: '429', reported_by: 'one', seconds: 604_800 }
  ])
  await database.run(sql => sql`update exchange_bans set until_at = 'infinity'`)
  const later = replicaOf(t, { database, simulated, name: 'later' })
  await later.bans.start()
  t.equal(later.blockedForMs(), 7 * 24 * HOUR_MS, 'nor does a row of the table block for longer')
})

t.test('a limit of one API key stops that key alone, and is not stored', async t => {
  const refusals = {
    BYBIT: (endMs: number) => ({
      status: 200,
      headers: { 'x-bapi-limit-reset-timestamp': String(endMs) },
      body: '{"retCode":10006,"retMsg":"Too many visits!","result":{}}'
    }),
    OKX: () => ({ status: 429, headers: { 'retry-after': '60' }, body: '{"code":"50011","msg":"Rate limit reached"}' })
  }
  for (const exchange of ['BYBIT', 'OKX'] as const) {
    const { database, simulated } = await setUp(t, exchange)
    const replica = replicaOf(t, { database, simulated, name: 'one' })
    await replica.bans.start()
    const others = { ...KEYS, apiKey: 'key-of-bob' }
    simulated.addAccount(others)
    const other = replica.registry.client({ exchange, marketType: 'SPOT', credentials: others })
    simulated.fault({ kind: 'status', ...refusals[exchange](simulated.now() + 60_000) }, { times: 1 })
    t.hasStrict(await failureOf(replica.client.openOrders()), { code: 'rate_limited' }, exchange)
    const before = simulated.requests.length
    t.hasStrict(await failureOf(replica.client.openOrders()), { code: 'rate_limited', exchangeCode: null })
    t.equal(simulated.requests.length, before)
    t.strictSame(await other.openOrders(), [])
    t.equal((await replica.client.lastPrices()).length, 2)
    t.equal(replica.blockedForMs(), 0)
    t.strictSame(await storedBans(database), [])
    replica.clock.now += 61_000
    t.strictSame(await replica.client.openOrders(), [])
  }
})

t.test('while the database is gone a ban applies in memory, and is stored when the database is back', async t => {
  const { database, simulated } = await setUp(t, 'OKX')
  let gone = false
  let failed = () => {}
  const used = new Proxy(database, {
    get(target, name) {
      const value: unknown = Reflect.get(target, name, target)
      if (name === 'run' && gone) {
        failed()
        return () => Promise.reject(new DatabaseUnavailableError('database_unreachable'))
      }
      return typeof value === 'function' ? value.bind(target) : value
    }
  })
  const replica = replicaOf(t, { database, simulated, name: 'one', pollMs: 5, used })
  await replica.bans.start()
  gone = true
  simulated.fault({ kind: 'status', ...BANS.OKX() }, { times: 1 })
  t.hasStrict(await failureOf(replica.client.lastPrices()), { code: 'rate_limited' })
  await new Promise<void>(resolve => {
    failed = resolve
  })
  const before = simulated.requests.length
  t.hasStrict(await failureOf(replica.client.lastPrices()), { code: 'rate_limited', exchangeCode: null })
  t.equal(simulated.requests.length, before)
  gone = false
  await replica.until(() => replica.bans.current().length === 1)
  t.equal((await storedBans(database)).length, 1)
})
