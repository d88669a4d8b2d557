// Three replicas behind one address share the limits of an exchange. Nothing waits for real time: all clocks are one
// clock, which advances while every replica waits.
import { setImmediate as nextTurn } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { Agent } from 'undici'
import { sleep } from '../../../src/async/timers.ts'
import type { ExchangeName, MarketType } from '../../../src/domain/market.ts'
import type { CallOptions, ExchangeClient } from '../../../src/exchanges/exchange-client.ts'
import { ExchangeRegistry } from '../../../src/exchanges/exchange-registry.ts'
import { SimulatedExchange } from '../../support/simulated-exchange/simulated-exchange.ts'
import { manualTimers } from '../../support/test-timers.ts'

/** A full minute of the exchange's clock. */
const BEGIN = 1_700_000_040_000
const WORKERS = 8
const KEYS = { apiKey: 'key', apiSecret: 'secret', passphrase: 'passphrase' }
/** Real deadlines that no call of these tests misses; the waits for limits are virtual. */
const PATIENT = { deadlineMs: 3_600_000, attemptMs: 60_000 }

const agent = new Agent()
t.teardown(() => agent.close())

type Call = (client: ExchangeClient, options: CallOptions) => Promise<unknown>

interface Setting {
  exchange: ExchangeName
  market?: MarketType
  limits?: 'reported' | 'unreported'
  /** The calls of each replica, which its workers repeat without a pause; null for a replica without calls. */
  calls: readonly (Call | null)[]
  /** As each replica knows it; default the number of `calls`. */
  replicas?: () => number
  /** How far the wall clock of each replica is ahead, in ms. Default 0. */
  ahead?: readonly number[]
}

async function setUp(t: Test, setting: Setting) {
  const { exchange, market = 'SPOT', limits = 'reported', calls, replicas, ahead = [] } = setting
  const timers = manualTimers()
  const now = () => BEGIN + timers.now()
  const simulated = await SimulatedExchange.start({ exchange, symbols: 1, limits, now })
  t.teardown(() => simulated.close())
  simulated.addAccount(KEYS)
  const failures: unknown[] = []
  let stopped = false
  const worker = async (client: ExchangeClient, call: Call, index: number) => {
    // Different pauses, so that the replicas do not take turns.
    await sleep(timers, 1 + index * 3)
    while (!stopped) {
      await call(client, {}).catch(err => failures.push(err))
      await sleep(timers, 40 + index * 7)
    }
  }
  let workers = 0
  for (const [index, call] of calls.entries()) {
    const registry = new ExchangeRegistry({
      dispatcher: agent,
      urls: simulated.urls,
      random: () => 0,
      monotonic: timers.now,
      now: () => now() + (ahead[index] ?? 0),
      timers,
      replicas: replicas ?? (() => calls.length),
      ...PATIENT
    })
    const client = registry.client({ exchange, marketType: market, credentials: KEYS })
    if (call !== null) for (let one = 0; one < WORKERS; one++) void worker(client, call, workers++)
  }
  /** Runs until the clock shows so many milliseconds since the begin. */
  const run = async (untilMs: number) => {
    while (timers.now() < untilMs) {
      while (timers.pending() < workers) await nextTurn()
      timers.advance(1)
    }
  }
  const refusals = () => simulated.addressLimits?.refusals
  const used = (path: string, from: number, to: number) =>
    simulated.addressLimits?.usedBetween(path, BEGIN + from, BEGIN + to) ?? 0
  t.teardown(() => {
    stopped = true
  })
  return { run, refusals, used, failures, simulated }
}

const openOrders: Call = (client, options) => client.openOrders(options)
const prices: Call = (client, options) => client.lastPrices(options)

/** The stated limit, and what the replicas use of it in the measured time. */
const SHARED = [
  ['BINANCE', 'SPOT', openOrders, '/api/v3/openOrders', 6_000, 60_000],
  ['BINANCE', 'FUTURES', openOrders, '/fapi/v1/openOrders', 2_400, 60_000],
  ['BYBIT', 'SPOT', prices, '/v5/market/tickers', 600, 5_000],
  ['OKX', 'SPOT', prices, '/api/v5/market/tickers', 20, 2_000],
  ['UPBIT', 'SPOT', prices, '/v1/ticker/all', 10, 1_000],
  ['BITHUMB', 'SPOT', openOrders, '/v1/orders', 140, 1_000]
] as const

for (const [exchange, market, call, path, limit, perMs] of SHARED) {
  t.test(`${exchange} ${market}: no call of three busy replicas is refused, and the limit is used`, async t => {
    const calls = [call, call, call]
    const { run, refusals, used, failures } = await setUp(t, { exchange, market, calls })
    await run(3 * perMs)
    t.equal(refusals(), 0)
    t.strictSame(failures, [])
    const share = used(path, perMs, 3 * perMs) / (2 * limit)
    t.comment(`${exchange} ${market}: ${(share * 100).toFixed(1)} % of the limit`)
    const least = exchange === 'UPBIT' ? 0.6 : 0.8
    t.ok(share >= least && share <= 1, `used of the limit: ${share}`)
  })
}

t.test('one busy replica uses what the others leave of a limit that the exchange reports', async t => {
  for (const [market, path, limit] of [
    ['SPOT', '/api/v3/openOrders', 6_000],
    ['FUTURES', '/fapi/v1/openOrders', 2_400]
  ] as const) {
    const calls = [openOrders, null, null]
    const { run, refusals, used } = await setUp(t, { exchange: 'BINANCE', market, calls })
    await run(180_000)
    t.equal(refusals(), 0)
    const share = used(path, 60_000, 180_000) / (2 * limit)
    t.ok(share >= 0.8 && share <= 0.95, `used of the limit of ${market}: ${share}`)
  }
})

t.test('a limit that the exchange does not report is divided by the number of replicas, which may change', async t => {
  let replicas = 3
  const setting = { calls: [prices, null, null], replicas: () => replicas }
  const { run, refusals, used } = await setUp(t, { exchange: 'BYBIT', ...setting })
  await run(10_000)
  t.equal(used('/v5/market/tickers', 5_000, 10_000), 180, 'a third of nine tenths of 600')
  replicas = 1
  await run(20_000)
  t.equal(used('/v5/market/tickers', 15_000, 20_000), 540)
  replicas = 2
  await run(30_000)
  t.equal(used('/v5/market/tickers', 25_000, 30_000), 270)
  t.equal(refusals(), 0)
})

t.test('a limit is divided, too, when its report is missing in the answers', async t => {
  for (const [exchange, call, path, limit, perMs] of [
    ['BINANCE', openOrders, '/api/v3/openOrders', 6_000, 60_000],
    ['UPBIT', prices, '/v1/ticker/all', 10, 1_000]
  ] as const) {
    const { run, refusals, used } = await setUp(t, { exchange, limits: 'unreported', calls: [call, call, call] })
    await run(3 * perMs)
    t.equal(refusals(), 0)
    const share = used(path, perMs, 3 * perMs) / (2 * limit)
    t.ok(share >= 0.8 && share <= 0.9, `used of the limit of ${exchange}: ${share}`)
  }
})

t.test('replicas whose clocks differ, and whose answers are cut, stay within the limit', async t => {
  for (const ahead of [
    [0, 900, -900],
    [0, 45_000, -3_600_000]
  ]) {
    const calls = [openOrders, openOrders, openOrders]
    const setting = { exchange: 'BINANCE', market: 'FUTURES', calls, ahead } as const
    const { run, refusals, used, simulated } = await setUp(t, setting)
    await run(30_000)
    for (let lost = 0; lost < 40; lost++) {
      simulated.fault({ kind: 'cut_midway' }, { path: /openOrders/, times: 1 })
      await run(30_000 + lost * 3_000)
    }
    await run(180_000)
    t.equal(refusals(), 0, `clocks: ${ahead}`)
    const share = used('/fapi/v1/openOrders', 60_000, 180_000) / (2 * 2_400)
    t.ok(share >= 0.6 && share <= 1, `used of the limit: ${share}`)
  }
})
