import { randomUUID } from 'node:crypto'
import t, { type Test } from 'tap'
import { AlertRunner, type AlertRunnerOptions } from '../../src/alerts/alert-runner.ts'
import { MINUTE, SECOND } from '../../src/async/durations.ts'
import type { Database } from '../../src/database/database.ts'
import { DatabaseUnavailableError } from '../../src/database/failure.ts'
import { Outbox } from '../../src/notifications/outbox.ts'
import { Replicas } from '../../src/replicas/replicas.ts'
import { every } from '../../src/scheduler/trigger.ts'
import { captureLog } from '../support/app.ts'
import { assertTexts } from '../support/assert-texts.ts'
import { seedAccount, tradingDatabase } from '../support/trading.ts'

const jobs = [
  { id: 'update_open_orders', name: 'Update Open Orders Status', trigger: every(29 * SECOND), maxRunMs: MINUTE }
]

/** Replicas on one database, with one clock that the test moves. */
async function setUp(t: Test) {
  const database = await tradingDatabase(t)
  const clock = { now: Date.now() }
  const replica = (instanceId = 'one', options: Partial<AlertRunnerOptions> = {}) =>
    new AlertRunner({
      database,
      outbox: new Outbox(),
      log: captureLog().logger,
      instanceId,
      chatId: '1',
      text: { language: 'en', timeZone: 'UTC' },
      jobs,
      overdue: () => [],
      notReady: async () => null,
      sendDirectly: () => Promise.reject(new Error('not to be sent so')),
      now: () => clock.now,
      ...options
    })
  const told = async () => {
    const rows = await database.run(sql => sql<{ text: string }[]>`select text from outbox order by message_id`)
    return rows.map(({ text }) => text)
  }
  return { database, clock, replica, told }
}

async function endRun(database: Database, outcome: string, errorCode: string | null = null) {
  await database.run(
    sql => sql`
      insert into job_runs (run_id, job_id, trigger, instance, outcome, started_at, finished_at, error_code)
      values (${randomUUID()}, 'update_open_orders', 'schedule', 'one', ${outcome}, now(), now(), ${errorCode})`
  )
}

async function show(database: Database, instanceId: string, seenSecondsAgo = 0) {
  await database.run(
    sql => sql`
      insert into replicas (instance_id, version, started_at, last_seen_at)
      values (${instanceId}, '1', clock_timestamp(), now() - make_interval(secs => ${seenSecondsAgo}::int))
      on conflict (instance_id) do update set last_seen_at = excluded.last_seen_at`
  )
}

t.test('a job that fails is told once, by whichever replica, and so is that it succeeds again', async t => {
  const { database, clock, replica, told } = await setUp(t)
  const replicas = [replica('one'), replica('two'), replica('three')]
  const tick = () => Promise.all(replicas.map(one => one.tick()))
  await endRun(database, 'succeeded')
  await tick()
  t.strictSame(await told(), [])
  await endRun(database, 'failed', 'EXCHANGES_UNAVAILABLE')
  await tick()
  await endRun(database, 'failed', 'EXCHANGES_UNAVAILABLE')
  clock.now += MINUTE
  await tick()
  assertTexts(t, await told(), [/Job failed[\s\S]*Update Open Orders Status[\s\S]*EXCHANGES_UNAVAILABLE/])
  await endRun(database, 'succeeded')
  clock.now += MINUTE
  await tick()
  t.equal((await told()).length, 1, 'it may fail again at once')
  clock.now += 11 * MINUTE
  await tick()
  assertTexts(t, (await told()).slice(1), [/Job succeeds again/])
  clock.now += 60 * MINUTE
  await tick()
  t.equal((await told()).length, 2)
  t.equal((await database.run(sql => sql`select from alerts`)).length, 0, 'nothing of it is left')
})

t.test('what one replica has begun another goes on with', async t => {
  const { database, clock, replica, told } = await setUp(t)
  await endRun(database, 'abandoned')
  await replica('one').tick()
  assertTexts(t, await told(), [/Job run abandoned/])
  await endRun(database, 'succeeded')
  await replica('two').tick()
  clock.now += 11 * MINUTE
  await replica('three').tick()
  assertTexts(t, await told(), [/Job run abandoned/, /Job succeeds again/])
})

t.test('a stopped scheduler is told with who, why and until when, is reminded of, and told when it runs', async t => {
  const { database, clock, replica, told } = await setUp(t)
  const one = replica()
  await database.run(
    sql => sql`
      update scheduler_state set running = false, changed_by = 'ada', reason = 'deploy', changed_at = now(),
        resumes_at = now() + interval '3 hours'`
  )
  await one.tick()
  await one.tick()
  assertTexts(t, await told(), [/Scheduler stopped[\s\S]*By: ada[\s\S]*Reason: deploy[\s\S]*Until: \d{4}/])
  clock.now += 61 * MINUTE
  await one.tick()
  assertTexts(t, (await told()).slice(1), [/Scheduler still stopped/])
  await database.run(sql => sql`update scheduler_state set running = true`)
  await one.tick()
  assertTexts(t, (await told()).slice(2), [/Scheduler runs again/])
})

t.test('overdue jobs and refused credentials are told', async t => {
  const { database, replica, told } = await setUp(t)
  await database.run(
    sql => sql`
      insert into scheduled_jobs (job_id, definition, first_due_at) values ('update_open_orders', 'x', now() - interval '1 hour')`
  )
  const { accountId, name } = await seedAccount(database, { exchange: 'UPBIT' })
  await database.run(sql => sql`update accounts set state = 'credentials_refused' where account_id = ${accountId}`)
  await replica('one', { overdue: () => ['update_open_orders', 'a_job_of_replicas'] }).tick()
  const messages = await told()
  t.equal(messages.length, 2)
  t.match(
    messages.find(text => text.includes('overdue')),
    /Job overdue[\s\S]*Update Open Orders Status/
  )
  const ofExchange = messages.find(text => text.includes('UPBIT')) ?? ''
  t.match(ofExchange, /Exchange refused the credentials/)
  t.ok(ofExchange.includes(name), ofExchange)
})

t.test('lost readiness is told when it lasts, and its end', async t => {
  const { database, clock, replica, told } = await setUp(t)
  let error: string | null = null
  const one = replica('one', { notReady: async () => error })
  await show(database, 'one')
  const watch = async (seconds: number) => {
    for (let i = 0; i < seconds; i += 5) {
      clock.now += 5_000
      await one.watch()
    }
  }
  error = 'overloaded'
  await watch(20)
  error = null
  await watch(40)
  t.strictSame(await told(), [], 'a moment of it is nothing')
  error = 'overloaded'
  await watch(60)
  error = null
  await watch(60)
  assertTexts(t, await told(), [/Service not ready[\s\S]*overloaded/, /Service ready again/])
})

t.test('of a database that is gone the eldest replica tells directly', async t => {
  const { database, clock, told, replica } = await setUp(t)
  const sent: string[] = []
  let down = false
  const flaky = new Proxy(database, {
    get(target, name) {
      if (name === 'transaction' && down)
        return () => Promise.reject(new DatabaseUnavailableError('database_unreachable'))
      const value: unknown = Reflect.get(target, name, target)
      return typeof value === 'function' ? value.bind(target) : value
    }
  })
  const options = (name: string): Partial<AlertRunnerOptions> => ({
    database: flaky,
    notReady: async () => (down ? 'database_unreachable' : null),
    sendDirectly: async text => void sent.push(`${name}: ${text}`)
  })
  await show(database, 'elder')
  await show(database, 'younger')
  const replicas = [replica('elder', options('elder')), replica('younger', options('younger'))]
  const watch = async (times: number) => {
    for (let i = 0; i < times; i++) {
      clock.now += 5_000
      for (const one of replicas) await one.watch()
    }
  }
  for (const one of replicas) await one.tick()
  down = true
  await watch(10)
  assertTexts(t, sent, [/^elder: .*Service not ready[\s\S]*database_unreachable/])
  down = false
  await watch(10)
  assertTexts(t, await told(), [/Service ready again/])
})

t.test('a restart after an unclean end is told once, with what was missed', async t => {
  const { database, clock, replica, told } = await setUp(t)
  await show(database, 'gone', 300)
  await show(database, 'one')
  await database.run(
    sql => sql`
      insert into job_runs (run_id, job_id, trigger, instance, outcome, started_at, finished_at, skipped_count)
      values (${randomUUID()}, 'update_open_orders', 'schedule', 'one', 'skipped', now(), now(), 10)`
  )
  const replicas = [replica('one'), replica('two')]
  await show(database, 'two')
  for (const one of replicas) one.start()
  for (const one of replicas) await one.tick()
  t.strictSame(await told(), [], 'not before the living had time to show themselves')
  clock.now += 21_000
  for (const one of replicas) await one.tick()
  for (const one of replicas) await one.close()
  assertTexts(t, await told(), [/Restarted after an unclean end[\s\S]*gone[\s\S]*Update Open Orders Status × 10\b/])
})

t.test('what ended a run is told although the next run succeeded before anybody looked', async t => {
  const { database, clock, replica, told } = await setUp(t)
  await endRun(database, 'succeeded')
  await replica('one').tick()
  await endRun(database, 'abandoned')
  await endRun(database, 'succeeded')
  await replica('two').tick()
  assertTexts(t, await told(), [/Job run abandoned/])
  clock.now += 11 * MINUTE
  await replica('one').tick()
  assertTexts(t, await told(), [/Job run abandoned/, /Job succeeds again/])
})

t.test('a job is said to succeed again only when it did, however its runs failed', async t => {
  const { database, clock, replica, told } = await setUp(t)
  const one = replica()
  await endRun(database, 'failed')
  await one.tick()
  await endRun(database, 'abandoned')
  for (let i = 0; i < 3; i++) {
    await one.tick()
    clock.now += 10 * MINUTE
  }
  assertTexts(t, await told(), [/Job failed/])
})

t.test('a run that a replica cut off because it shuts down is no failure of the job', async t => {
  const { database, replica, told } = await setUp(t)
  await endRun(database, 'failed', 'SHUTDOWN')
  await replica().tick()
  t.strictSame(await told(), [])
})

t.test('a job that fails is not told to be late as well', async t => {
  const { database, replica, told } = await setUp(t)
  await database.run(
    sql => sql`insert into scheduled_jobs (job_id, definition, first_due_at) values ('update_open_orders', 'x', now())`
  )
  await endRun(database, 'failed')
  await replica('one', { overdue: () => ['update_open_orders'] }).tick()
  assertTexts(t, await told(), [/Job failed/])
})

t.test('a job is not late before it had its chance since the cluster came up', async t => {
  const { database, clock, replica, told } = await setUp(t)
  await database.run(
    sql => sql`
      insert into scheduled_jobs (job_id, definition, first_due_at, last_success_at)
      values ('update_open_orders', 'x', now() - interval '2 hours', now() - interval '1 hour')`
  )
  await show(database, 'one')
  const one = replica('one', { overdue: () => ['update_open_orders'] })
  await one.tick()
  t.strictSame(await told(), [])
  clock.now += 2 * MINUTE
  await one.tick()
  assertTexts(t, await told(), [/Job overdue/])
})

t.test('a replica that falls silent beside others that live is missed, until it is back or replaced', async t => {
  const { database, clock, replica, told } = await setUp(t)
  // Started before: whoever starts after the last sign of life of another takes its place.
  const started = new Date(clock.now - 60 * MINUTE)
  const living = async (instanceId: string) => {
    await show(database, instanceId)
    await database.run(sql => sql`update replicas set started_at = ${started} where instance_id = ${instanceId}`)
  }
  const silent = (instanceId: string) =>
    database.run(
      sql => sql`update replicas set last_seen_at = now() - interval '31 seconds' where instance_id = ${instanceId}`
    )
  await living('one')
  await living('two')
  const replicas = [replica('one'), replica('another')]
  const watch = async (seconds: number) => {
    for (let i = 0; i < seconds; i += 10) {
      clock.now += 10 * SECOND
      for (const one of replicas) await one.tick()
    }
  }
  await watch(30)
  await silent('two')
  await watch(60)
  assertTexts(t, await told(), [/shows no sign of life[\s\S]*two[\s\S]*Last seen/])
  await living('two')
  await watch(90)
  assertTexts(t, (await told()).slice(1), [/no longer missed[\s\S]*two/])

  clock.now += 15 * MINUTE
  await silent('two')
  await watch(20)
  t.equal((await told()).length, 3)
  await show(database, 'three')
  await watch(90)
  const end = (await told()).slice(3)
  assertTexts(t, end, [/Restarted after an unclean end[\s\S]*two/, /Replica no longer missed[\s\S]*two/])
})

t.test('a replica that drains is not missed', async t => {
  const { database, clock, replica, told } = await setUp(t)
  await show(database, 'draining', 60)
  await database.run(sql => sql`update replicas set draining = true`)
  const one = replica('one')
  for (let i = 0; i < 6; i++) {
    await one.tick()
    clock.now += 10 * SECOND
  }
  t.strictSame(await told(), [])
})

t.test('a restart is told however fast it was', async t => {
  const { database, clock, replica, told } = await setUp(t)
  await show(database, 'gone', 22)
  await show(database, 'one')
  const one = replica('one')
  await one.tick()
  clock.now += 21 * SECOND
  await one.tick()
  t.strictSame(await told(), [], 'it may only be late')
  await show(database, 'gone', 32)
  clock.now += 10 * SECOND
  await one.tick()
  await one.tick()
  assertTexts(t, await told(), [/Restarted after an unclean end[\s\S]*gone/])
})

t.test('a process that takes the place of one of its name is told of, unless that said goodbye', async t => {
  const { database, clock, replica, told } = await setUp(t)
  const process = () =>
    new Replicas({ database, log: captureLog().logger, instanceId: 'pod-0', version: '1', isDraining: () => false })
  const watch = async () => {
    const one = replica('pod-0')
    await one.tick()
    clock.now += 21 * SECOND
    await one.tick()
    await one.tick()
  }
  const clean = process()
  clean.start()
  await clean.beat()
  await clean.stop()
  const killed = process()
  await killed.beat()
  await killed.beat()
  await watch()
  t.strictSame(await told(), [])
  const successor = process()
  await successor.beat()
  await killed.beat()
  await successor.beat()
  await watch()
  assertTexts(t, await told(), [/Restarted after an unclean end[\s\S]*pod-0/])
})

t.test('replicas that an outage of the database kept from showing themselves are not taken for dead', async t => {
  const { database, clock, replica, told } = await setUp(t)
  let down = false
  const flaky = new Proxy(database, {
    get(target, name) {
      if (name === 'transaction' && down) return () => Promise.reject(new DatabaseUnavailableError('database_timeout'))
      const value: unknown = Reflect.get(target, name, target)
      return typeof value === 'function' ? value.bind(target) : value
    }
  })
  const one = replica('one', { database: flaky })
  await show(database, 'other', 300)
  await show(database, 'one')
  down = true
  await one.tick()
  clock.now += 5 * MINUTE
  down = false
  await one.tick()
  await show(database, 'other')
  clock.now += MINUTE
  await one.tick()
  t.strictSame(await told(), [])
})

t.test('a replica that freezes while it looks holds the others up for seconds at most', async t => {
  const { database, replica } = await setUp(t)
  await endRun(database, 'failed')
  let limit: unknown
  class Frozen extends Outbox {
    override async enqueue(...[tx, messages]: Parameters<Outbox['enqueue']>) {
      const [row] = await tx`select current_setting('idle_in_transaction_session_timeout') as limit`
      limit = row?.limit
      return super.enqueue(tx, messages)
    }
  }
  await replica('one', { outbox: new Frozen() }).tick()
  t.equal(limit, '5s')
})
