import t, { type Test } from 'tap'
import { Agent } from 'undici'
import type { Database } from '../../src/database/database.ts'
import { DatabaseUnavailableError } from '../../src/database/failure.ts'
import { Heartbeat, type HeartbeatOptions } from '../../src/heartbeat/heartbeat.ts'
import { sendHeartbeat } from '../../src/heartbeat/heartbeat-request.ts'
import type { SchedulerHealth } from '../../src/scheduler/status.ts'
import { captureLog, startApp, untilStatus } from '../support/app.ts'
import { createTestDatabase } from '../support/database.ts'
import { adminOf } from '../support/session.ts'
import { skippingTimers } from '../support/test-timers.ts'
import { seedAccount, tradingDatabase } from '../support/trading.ts'
import { startWebhookServer } from '../support/webhook-server.ts'

const healthy: SchedulerHealth = {
  running: true,
  heartbeatAgeMs: 100,
  wedged: false,
  overdue: [],
  runners: 1,
  pollMs: 1
}

async function setUp(t: Test) {
  const database = await tradingDatabase(t)
  const server = await startWebhookServer()
  const dispatcher = new Agent()
  const { logger: log, lines, text } = captureLog()
  const ends: { state: string; outcome: string }[] = []
  const made: Heartbeat[] = []
  t.teardown(async () => {
    for (const one of made) await one.close()
    await dispatcher.destroy()
    await server.close()
  })
  const replica = (instanceId = 'one', options: Partial<HeartbeatOptions> = {}) => {
    const one = new Heartbeat({
      database,
      log,
      instanceId: () => instanceId,
      maySend: () => true,
      scheduler: () => healthy,
      recipients: { operatorChatId: '-1001', hasWebhook: true },
      send: (reason, signal) =>
        sendHeartbeat({ url: `${server.url}/path-secret`, reason, dispatcher, signal, timers: skippingTimers() }),
      onSent: end => ends.push(end),
      ...options
    })
    made.push(one)
    return one
  }
  /** Moves the claim and the last heartbeat into the past. */
  const pass = (interval: string) =>
    database.run(
      sql =>
        sql`update heartbeat set claimed_at = claimed_at - ${interval}::interval, sent_at = sent_at - ${interval}::interval`
    )
  const targets = () => server.received.map(({ target, body }) => `${target} ${body}`)
  return { database, server, replica, pass, ends, targets, lines, text }
}

/** Waits for a minute of the database's clock that does not end during a test. */
async function earlyInMinute(database: Database) {
  for (;;) {
    const [row] = await database.run(
      sql => sql<{ second: number }[]>`select extract(second from now())::float8 as second`
    )
    if (row && row.second < 50) return
    await new Promise(resolve => setTimeout(resolve, 500))
  }
}

t.test('several replicas send one request in a minute; the next minute may be of another one', async t => {
  const { database, server, replica, pass, targets } = await setUp(t)
  await earlyInMinute(database)
  const replicas = ['one', 'two', 'three'].map(id => replica(id))
  const poll = () => Promise.all(replicas.map(one => one.poll()))
  await poll()
  await poll()
  t.strictSame(targets(), ['/path-secret OK'])
  await replicas[0]?.close()
  await pass('1 minute')
  await poll()
  t.equal(server.received.length, 2, 'the other replicas continue')
  await pass('-2 hours')
  await poll()
  t.equal(server.received.length, 3, 'the clock of the database was set back')
})

t.test('a replica that may not send claims no minute', async t => {
  const { server, replica, database } = await setUp(t)
  await earlyInMinute(database)
  await replica('one', { maySend: () => false }).poll()
  t.equal(server.received.length, 0)
  await replica('two').poll()
  t.equal(server.received.length, 1)
})

t.test('a replica that may not send shows the last heartbeat of another one', async t => {
  const { database, replica } = await setUp(t)
  await earlyInMinute(database)
  let now = Date.now()
  const watching = replica('one', { maySend: () => false, now: () => now })
  watching.start()
  await watching.poll()
  t.hasStrict(watching.details(), { status: 'ok', code: null, age_ms: null })
  now += 4 * 60_000
  t.hasStrict(watching.details(), { status: 'degraded', code: 'late' }, 'no replica sends')
  await replica('two').poll()
  await database.run(sql => sql`update heartbeat set sent_at = sent_at + interval '4 minutes'`)
  await watching.poll()
  t.hasStrict(watching.details(), { status: 'ok', code: null })
  const { age_ms: ageMs, latency_ms: latencyMs } = watching.details()
  t.ok(ageMs !== null && ageMs < 60_000, `age of the heartbeat of the other one: ${ageMs}`)
  t.ok(latencyMs !== null && latencyMs >= 0, `latency of the reading: ${latencyMs}`)
  const [row] = await database.run(sql => sql`select claimed_by from heartbeat`)
  t.strictSame({ ...row }, { claimed_by: 'two' })
})

t.test('a cluster that is not healthy reports the first reason', async t => {
  const { database, replica, pass, server } = await setUp(t)
  const reported = async (health: Partial<SchedulerHealth> = {}) => {
    await pass('1 minute')
    await replica('one', { scheduler: () => ({ ...healthy, ...health }) }).poll()
    const last = server.received.at(-1)
    return last?.target.endsWith('/fail') ? last.body : null
  }
  t.equal(await reported(), null)
  t.equal(await reported({ running: false, overdue: ['housekeeping'] }), 'scheduler_stopped')
  t.equal(await reported({ runners: 0, overdue: ['housekeeping'] }), 'no_runner')
  t.equal(await reported({ wedged: true }), 'scheduler_wedged')
  t.equal(await reported({ overdue: ['housekeeping'] }), 'jobs_overdue')
  t.equal(await reported({ runners: null }), null)
  await database.run(
    sql => sql`
      insert into outbox (destination, chat_id, text, dedupe_key, created_at)
      values ('webhook', 'webhook', 'text', 'a', now() - interval '4 minutes')`
  )
  t.equal(await reported(), null, 'a message may wait for a rate limit')
  await database.run(sql => sql`update outbox set created_at = now() - interval '6 minutes'`)
  t.equal(await reported(), 'messages_undelivered')
  await database.run(sql => sql`update outbox set given_up_at = now()`)
  t.equal(await reported(), 'messages_undelivered')
  await database.run(sql => sql`update outbox set given_up_at = now() - interval '61 minutes'`)
  t.equal(await reported(), null)
  const { accountId } = await seedAccount(database)
  await database.run(
    sql => sql`
      insert into book_differences (account_id, wallet, asset, ours, theirs, difference, runs, since, read_at, unexplained_at)
      values (${accountId}, 'SPOT', 'BTC', 1, 2, 1, 3, now(), now(), now())`
  )
  t.equal(await reported(), 'books_unexplained')
})

t.test('users who blocked the bot and a webhook that was removed do not make the cluster unhealthy', async t => {
  const { database, replica, pass, server } = await setUp(t)
  const reported = async (chat: string, code: string | null, hasWebhook = false) => {
    await database.run(async sql => {
      await sql`delete from outbox`
      await sql`
        insert into outbox (destination, chat_id, text, dedupe_key, given_up_at, error_code)
        values (${chat === 'webhook' ? 'webhook' : 'telegram'}, ${chat}, 'text', 'a', now(), ${code})`
    })
    await pass('1 minute')
    await replica('one', { recipients: { operatorChatId: '-1001', hasWebhook } }).poll()
    const last = server.received.at(-1)
    return last?.target.endsWith('/fail') ? last.body : null
  }
  t.equal(await reported('77', 'TELEGRAM_BLOCKED'), null)
  t.equal(await reported('77', 'TELEGRAM_CHAT_NOT_FOUND'), null)
  t.equal(await reported('77', 'TELEGRAM_UNAUTHORIZED'), 'messages_undelivered')
  t.equal(await reported('-1001', 'TELEGRAM_BLOCKED'), 'messages_undelivered')
  t.equal(await reported('webhook', 'WEBHOOK_REJECTED'), null)
  t.equal(await reported('webhook', 'WEBHOOK_REJECTED', true), 'messages_undelivered')
})

t.test('a receiver that does not accept heartbeats is logged once, is in the check, and so is its end', async t => {
  const { server, replica, pass, lines, ends, text } = await setUp(t)
  const one = replica()
  t.hasStrict(one.details(), { name: 'heartbeat', status: 'ok', code: null, age_ms: null })
  for (let i = 0; i < 2; i++) {
    server.queue({ kind: 'answer', status: 404 })
    await one.poll()
    await pass('1 minute')
  }
  t.hasStrict(one.details(), { status: 'degraded', code: 'rejected' })
  t.equal(lines.filter(({ msg }) => msg === 'heartbeat not sent').length, 1)
  await one.poll()
  t.hasStrict(one.details(), { status: 'ok', code: null })
  t.equal(lines.filter(({ msg }) => msg === 'heartbeat sent again').length, 1)
  t.strictSame(
    ends.map(({ state, outcome }) => `${state} ${outcome}`),
    ['ok rejected', 'ok rejected', 'ok ok']
  )
  t.notMatch(text(), 'path-secret')
})

t.test('without the database none is sent, and the check reports it after three minutes', async t => {
  const { database, server, replica } = await setUp(t)
  let now = Date.now()
  const down = new Proxy(database, {
    get(target, name) {
      if (name === 'run') return () => Promise.reject(new DatabaseUnavailableError('database_unreachable'))
      const value: unknown = Reflect.get(target, name, target)
      return typeof value === 'function' ? value.bind(target) : value
    }
  })
  const one = replica('one', { database: down, now: () => now })
  one.start()
  await one.poll()
  t.equal(server.received.length, 0)
  now += 4 * 60_000
  t.hasStrict(one.details(), { status: 'degraded', code: 'late' })
})

t.test('a service with HEARTBEAT_URL sends one, and its details do not contain the address', async t => {
  const server = await startWebhookServer()
  t.teardown(() => server.close())
  const { url: DATABASE_URL } = await createTestDatabase(t)
  const settings = { DATABASE_URL, PROBE_PORT: 'off', HEARTBEAT_URL: `${server.url}/path-secret?token=query-secret` }
  const { app, url } = await startApp(t, settings)
  await untilStatus(`${url}/health/startup`, 200)
  await server.receivedCount(1)
  t.match(server.received[0]?.target, /^\/path-secret(\/fail)?\?token=query-secret$/)
  const admin = await adminOf(app)
  const details = await admin.send('GET', '/api/system/health/details')
  t.match(JSON.stringify(details.answer), '"name":"heartbeat"')
  t.notMatch(JSON.stringify(details.answer), /path-secret|query-secret/)
})
