import t, { type Test } from 'tap'
import { Agent } from 'undici'
import type { ExchangeName } from '../../../src/domain/market.ts'
import type { ExchangeError } from '../../../src/exchanges/exchange-error.ts'
import { ExchangeRegistry } from '../../../src/exchanges/exchange-registry.ts'
import { SimulatedExchange } from '../../support/simulated-exchange/simulated-exchange.ts'
import { skippingTimers } from '../../support/test-timers.ts'
import { failureOf } from '../failure.ts'

const KEYS = { apiKey: 'key', apiSecret: 'secret' }

const agent = new Agent()
t.teardown(() => agent.close())

/** A client of a simulated exchange. The test advances the clock of its deadlines, limits and circuits. */
async function setUp(t: Test, exchange: ExchangeName = 'BINANCE', now = Date.now) {
  const simulated = await SimulatedExchange.start({ exchange, symbols: 2, now })
  t.teardown(() => simulated.close())
  simulated.addAccount(KEYS)
  const clock = { now: 0 }
  const registry = new ExchangeRegistry({
    dispatcher: agent,
    urls: simulated.urls,
    random: () => 0,
    monotonic: () => clock.now,
    now
  })
  const client = registry.client({ exchange, marketType: 'SPOT', credentials: KEYS })
  return { simulated, clock, registry, client }
}

t.test(
  'open orders without a symbol have a weight of 80 per address, and no call is made beyond the limit',
  async t => {
    const { simulated, clock, client } = await setUp(t)
    const fit = Math.floor((6_000 * 0.9) / 80)
    for (let i = 0; i < fit; i++) await client.openOrders()
    t.equal(simulated.usedWeight, fit * 80, 'the local count equals that of the exchange')
    const refused = { code: 'rate_limited', exchangeCode: null, retryAfterMs: 60_000 }
    t.hasStrict(await failureOf(client.openOrders()), refused)
    t.equal(simulated.requests.length, fit)
    clock.now += 60_000
    await client.openOrders()
  }
)

t.test('a wait for room has a bound of its own, which prolongs the deadline of the call', async t => {
  const simulated = await SimulatedExchange.start({ exchange: 'BINANCE' })
  t.teardown(() => simulated.close())
  simulated.addAccount(KEYS)
  const timers = skippingTimers()
  const registry = new ExchangeRegistry({
    dispatcher: agent,
    urls: simulated.urls,
    random: () => 0,
    monotonic: timers.now,
    timers
  })
  const client = registry.client({ exchange: 'BINANCE', marketType: 'SPOT', credentials: KEYS })
  for (let i = 0; i < Math.floor((6_000 * 0.9) / 80); i++) await client.openOrders()
  const refused = { code: 'rate_limited', retryAfterMs: 60_000 }
  t.hasStrict(await failureOf(client.openOrders({ maxWaitMs: 0, deadlineMs: 90_000 })), refused, 'no wait is allowed')
  t.hasStrict(await failureOf(client.openOrders({ maxWaitMs: 59_000 })), refused, 'the wait would be longer')
  t.strictSame(timers.waits, [])
  t.strictSame(await client.openOrders({ maxWaitMs: 61_000, deadlineMs: 5_000 }), [])
  t.strictSame(timers.waits, [60_000])
})

t.test('weight that other programs used from the same address is counted', async t => {
  const serverTime = 1_700_000_000_000
  const { simulated, client, clock } = await setUp(t, 'BINANCE', () => serverTime)
  const headers = { 'x-mbx-used-weight-1m': '5999', date: new Date(serverTime).toUTCString() }
  simulated.fault({ kind: 'status', status: 200, headers, body: JSON.stringify({ serverTime }) }, { times: 1 })
  await client.serverTime()
  // 40 s are left of the minute, and a second more until it has certainly ended.
  t.hasStrict(await failureOf(client.lastPrices()), { code: 'rate_limited', retryAfterMs: 41_000 })
  clock.now += 41_000
  t.equal((await client.lastPrices()).length, 2)
})

t.test('a ban blocks all calls until the end that the exchange stated', async t => {
  const { simulated, clock, client } = await setUp(t)
  simulated.fault({ kind: 'rate_limited', status: 418, retryAfterSeconds: 120 }, { times: 1 })
  await t.rejects(client.lastPrices(), { code: 'rate_limited', retryAfterMs: 120_000 })
  clock.now += 119_000
  const before = simulated.requests.length
  await t.rejects(client.lastPrices({ deadlineMs: 500 }), { code: 'rate_limited', retryAfterMs: 1_000 })
  t.equal(simulated.requests.length, before)
  clock.now += 1_000
  t.equal((await client.lastPrices()).length, 2)
})

t.test('a ban that only the text states blocks all calls until its end', async t => {
  const until = Date.now() + 7_200_000
  const bans: [status: number, body: string][] = [
    [418, `{"code":-1003,"msg":"Way too much request weight used; IP banned until ${until}. Please use WebSocket"}`],
    [429, `{"code":-1003,"msg":"IP banned until ${until}."}`],
    [403, `<html>banned until ${until}</html>`],
    [400, `{"error":{"message":"banned until ${until}"}}`]
  ]
  for (const [status, body] of bans) {
    const { simulated, clock, client } = await setUp(t)
    simulated.fault({ kind: 'status', status, body }, { times: 1 })
    t.hasStrict(await failureOf(client.lastPrices()), { code: 'rate_limited' }, body)
    clock.now += 7_000_000
    const before = simulated.requests.length
    t.hasStrict(await failureOf(client.lastPrices({ deadlineMs: 500 })), { code: 'rate_limited' })
    t.equal(simulated.requests.length, before)
    clock.now += 200_001
    t.equal((await client.lastPrices()).length, 2)
  }
})

t.test('a Retry-After of hours blocks calls until its end', async t => {
  const { simulated, clock, client } = await setUp(t)
  simulated.fault({ kind: 'rate_limited', retryAfterSeconds: 7_200 }, { times: 1 })
  t.hasStrict(await failureOf(client.lastPrices()), { code: 'rate_limited', retryAfterMs: 7_200_000 })
  clock.now += 7_199_000
  const before = simulated.requests.length
  t.hasStrict(await failureOf(client.lastPrices({ deadlineMs: 500 })), { retryAfterMs: 1_000 })
  t.equal(simulated.requests.length, before)
})

t.test('a refusal because of the country does not count as a rate limit, and opens the circuit', async t => {
  const pages = [
    '<html>The Amazon CloudFront distribution is configured to block access from your country.</html>',
    '{"code":0,"msg":"Service unavailable from a restricted location according to the terms"}'
  ]
  for (const [exchange, status, body] of [
    ['BYBIT', 403, pages[0]],
    ['BINANCE', 451, pages[1]],
    ['BINANCE', 403, pages[0]],
    ['OKX', 403, pages[0]]
  ] as const) {
    const { simulated, client, registry } = await setUp(t, exchange)
    simulated.fault({ kind: 'status', status, ...(body !== undefined && { body }) })
    for (let call = 1; call <= 5; call++) {
      t.hasStrict(await failureOf(client.lastPrices()), { code: 'location_refused', exchangeCode: String(status) })
    }
    t.hasStrict(registry.status()[0], { blockedForMs: 0, circuit: 'open' })
  }
})

t.test('the longest of the times that a refusal states is the one that blocks', async t => {
  const retryAfter = { 'retry-after': '7200' }
  for (const [exchange, status, body] of [
    ['BYBIT', 403, '<html>access too frequent</html>'],
    ['BYBIT', 200, '{"retCode":10018,"retMsg":"Exceeded the IP Rate Limit.","result":{}}'],
    ['BINANCE', 403, '<html>Request blocked by the firewall</html>'],
    ['BINANCE', 418, `{"code":-1003,"msg":"IP banned until ${Date.now() + 60_000}."}`]
  ] as const) {
    const { simulated, client, registry } = await setUp(t, exchange)
    simulated.fault({ kind: 'status', status, headers: retryAfter, body })
    t.hasStrict(await failureOf(client.lastPrices()), { code: 'rate_limited', retryAfterMs: 7_200_000 }, exchange)
    t.hasStrict(registry.status()[0], { blockedForMs: 7_200_000 })
  }
})

t.test('a clock error of every call, that of the clock included, ends after one reading of the clock', async t => {
  for (const [exchange, body] of [
    ['BINANCE', '{"code":-1021,"msg":"Timestamp for this request is outside of the recvWindow."}'],
    ['BYBIT', '{"retCode":10002,"retMsg":"invalid request","result":{}}'],
    ['OKX', '{"code":"50102","msg":"Timestamp request expired","data":[]}']
  ] as const) {
    const { simulated, client } = await setUp(t, exchange)
    simulated.fault({ kind: 'status', status: exchange === 'BINANCE' ? 400 : 200, body })
    t.hasStrict(await failureOf(client.openOrders()), { code: 'clock' })
    t.equal(simulated.requests.length, 2, exchange)
  }
})

t.test('Retry-After may be a date, or missing', async t => {
  const { simulated, client, registry } = await setUp(t)
  const date = new Date(Date.now() + 90_000).toUTCString()
  simulated.fault({ kind: 'status', status: 429, headers: { 'retry-after': date } }, { times: 1 })
  await t.rejects(client.lastPrices(), { code: 'rate_limited' })
  const blocked = registry.status()[0]?.blockedForMs ?? 0
  t.ok(blocked > 60_000 && blocked <= 90_000, `blocked for ${blocked} ms`)
  const other = await setUp(t)
  other.simulated.fault({ kind: 'status', status: 429 }, { times: 1 })
  // Shorter than the penalty, so that the call does not wait for it.
  const call = other.client.lastPrices({ deadlineMs: 4_999 })
  await t.rejects(call, { code: 'rate_limited', retryAfterMs: 5_000 })
})

t.test('the circuit opens after five failures, and closes when the exchange answers again', async t => {
  const { simulated, clock, client, registry } = await setUp(t)
  simulated.fault({ kind: 'cut' })
  await t.rejects(client.lastPrices(), { code: 'unavailable', message: /UND_ERR_SOCKET|ECONNRESET/ })
  await t.rejects(client.lastPrices(), { code: 'unavailable' })
  t.equal(simulated.requests.length, 5, 'five failures open the circuit')
  t.equal(registry.status()[0]?.circuit, 'open')
  const rejected: unknown = await client.lastPrices().catch((err: ExchangeError) => err.retryAfterMs)
  t.equal(rejected, 10_000)
  t.equal(simulated.requests.length, 5)
  simulated.clearFaults()
  clock.now += 10_000
  t.equal((await client.lastPrices()).length, 2)
  t.equal(registry.status()[0]?.circuit, 'closed')
})

t.test('refusals of a key leave the circuit closed', async t => {
  const { simulated, client, registry } = await setUp(t)
  const stranger = registry.client({
    exchange: 'BINANCE',
    marketType: 'SPOT',
    credentials: { apiKey: 'stranger', apiSecret: 's' }
  })
  for (let i = 0; i < 6; i++) {
    t.hasStrict(await failureOf(stranger.balances()), { code: 'authentication', exchangeCode: '-2015' })
  }
  t.equal(registry.status()[0]?.circuit, 'closed')
  t.equal(simulated.requests.length, 6, 'none of them is retried')
  t.strictSame(await client.balances(), [])
})

t.test('the circuit can close after a trial call that its caller aborted', async t => {
  const { simulated, clock, client } = await setUp(t)
  simulated.fault({ kind: 'cut' })
  await t.rejects(client.lastPrices())
  await t.rejects(client.lastPrices())
  simulated.clearFaults()
  clock.now += 10_000
  simulated.fault({ kind: 'silence' }, { times: 1 })
  const controller = new AbortController()
  const call = client.lastPrices({ signal: controller.signal })
  await simulated.seen(/./, 6)
  await t.rejects(client.lastPrices(), { code: 'unavailable' }, 'one trial at a time')
  controller.abort(new Error('enough'))
  await t.rejects(call, { message: 'enough' })
  t.equal((await client.lastPrices()).length, 2)
})

t.test('a call with an aborted signal sends no request', async t => {
  const { simulated, client } = await setUp(t)
  await t.rejects(client.lastPrices({ signal: AbortSignal.abort(new Error('too late')) }), { message: 'too late' })
  t.equal(simulated.requests.length, 0)
})

t.test('a call that is aborted right after its start sends no request', async t => {
  const { simulated, client } = await setUp(t)
  const controller = new AbortController()
  const call = client.lastPrices({ signal: controller.signal })
  controller.abort(new Error('too late'))
  await t.rejects(call, { message: 'too late' })
  t.equal((await client.lastPrices()).length, 2)
  t.equal(simulated.requests.length, 1, 'only the second call sent a request')
})

t.test('a call that waits for the rate limit can be aborted', async t => {
  const { simulated, client } = await setUp(t, 'UPBIT')
  for (let i = 0; i < 9; i++) await client.lastPrices()
  const controller = new AbortController()
  const waiting = client.lastPrices({ signal: controller.signal })
  setImmediate(() => controller.abort(new Error('enough')))
  await t.rejects(waiting, { message: 'enough' })
  t.equal(simulated.requests.length, 9)
})

t.test('when the exchange rejects the timestamp, the clock is measured and the call is repeated', async t => {
  const { simulated, client } = await setUp(t)
  simulated.clockSkewMs = 600_000
  await client.balances()
  const paths = simulated.requests.map(({ path }) => path)
  t.strictSame(paths, ['/api/v3/account', '/api/v3/time', '/api/v3/account'])
  await client.balances()
  t.equal(simulated.requests.length, 4, 'the skew is known after that')
  simulated.fault({ kind: 'status', status: 400, body: '{"code":-1021,"msg":"Timestamp"}' }, { path: /account/ })
  t.hasStrict(
    await failureOf(client.balances()),
    { code: 'clock', exchangeCode: '-1021' },
    'it does not count as a refusal of the keys'
  )
  t.equal(simulated.requests.length, 9, 'three attempts, each with a new reading of the clock')
})

t.test('an answer larger than 4 MiB is rejected', async t => {
  const { simulated, client } = await setUp(t)
  simulated.fault({ kind: 'status', status: 200, body: `"${'x'.repeat(5 * 1024 * 1024)}"` })
  await t.rejects(client.balances(), { code: 'invalid_answer', message: /larger than 4 MiB/ })
})

t.test('redirects are not followed, so that a signed request is sent to no other host', async t => {
  const { simulated, client } = await setUp(t)
  const elsewhere = await SimulatedExchange.start({ exchange: 'BINANCE' })
  t.teardown(() => elsewhere.close())
  simulated.fault({ kind: 'status', status: 302, headers: { location: `${elsewhere.url}/api/v3/account` } })
  t.hasStrict(await failureOf(client.balances()), { code: 'invalid_answer', exchangeCode: '302' })
  t.equal(elsewhere.requests.length, 0)
})

t.test('a host that refuses connections is unavailable', async t => {
  const { simulated, client } = await setUp(t)
  await simulated.close()
  await t.rejects(client.lastPrices(), { code: 'unavailable' })
})

t.test('a slow answer within the deadline is read', async t => {
  const { simulated, client } = await setUp(t)
  simulated.fault({ kind: 'slow', ms: 20 })
  t.equal((await client.lastPrices()).length, 2)
})
