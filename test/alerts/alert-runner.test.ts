import { randomUUID } from 'node:crypto'
import t, { type Test } from 'tap'
import { recordFailures } from '../../src/accounts/account-failures.ts'
import { AlertRunner, type AlertRunnerOptions } from '../../src/alerts/alert-runner.ts'
import { MINUTE, SECOND } from '../../src/async/durations.ts'
import type { Database } from '../../src/database/database.ts'
import { DatabaseUnavailableError } from '../../src/database/failure.ts'
import { Outbox } from '../../src/notifications/outbox.ts'
import { Replicas } from '../../src/replicas/replicas.ts'
import { every } from '../../src/scheduler/trigger.ts'
import { captureLog } from '../support/app.ts'
import { assertTexts } from '../support/assert-texts.ts'
import { insertOrder, type SeededAccount, seedAccount, tradingDatabase } from '../support/trading.ts'

const jobs = [
  {
    id: 'update_open_orders',
    name: 'Update Open Orders Status',
    trigger: every(29 * SECOND),
    maxRunMs: MINUTE,
    undone: ['failed', 'refused']
  }
]

const PLACED = { symbol: 'BTCUSDT', exchangeSymbol: 'BTCUSDT', side: 'BUY', quantity: '1' } as const

/** Replicas on one database with one manual clock. */
async function setUp(t: Test) {
  const database = await tradingDatabase(t)
  const clock = { now: Date.now() }
  const replica = (instanceId = 'one', options: Partial<AlertRunnerOptions> = {}) =>
    new AlertRunner({
      database,
      outbox: new Outbox(),
      log: captureLog().logger,
      instanceId: () => instanceId,
      chatId: '1',
      text: { language: 'en', timeZone: 'UTC' },
      jobs,
      overdue: () => [],
      notReady: async () => null,
      sendDirectly: { telegram: () => Promise.reject(new Error('must not be called')) },
      now: () => clock.now,
      ...options
    })
  const messages = async () => {
    const rows = await database.run(sql => sql<{ text: string }[]>`select text from outbox order by message_id`)
    return rows.map(({ text }) => text)
  }
  return { database, clock, replica, messages }
}

async function endRun(database: Database, outcome: string, errorCode: string | null = null, failed = 0) {
  await database.run(
    sql => sql`
      insert into job_runs (run_id, job_id, trigger, instance, outcome, started_at, finished_at, error_code, result)
      values (${randomUUID()}, 'update_open_orders', 'schedule', 'one', ${outcome}, now(), now(), ${errorCode},
        jsonb_build_object('checked', 7, 'failed', ${failed}::int, 'refused', 0))`
  )
}

async function heartbeat(database: Database, instanceId: string, seenSecondsAgo = 0) {
  await database.run(
    sql => sql`
      insert into replicas (instance_id, version, started_at, last_seen_at)
      values (${instanceId}, '1', clock_timestamp(), now() - make_interval(secs => ${seenSecondsAgo}::int))
      on conflict (instance_id) do update set last_seen_at = excluded.last_seen_at`
  )
}

t.test('several replicas write one message about a failed job, and one when it succeeds again', async t => {
  const { database, clock, replica, messages } = await setUp(t)
  const replicas = [replica('one'), replica('two'), replica('three')]
  const evaluate = () => Promise.all(replicas.map(one => one.evaluate()))
  await endRun(database, 'succeeded')
  await evaluate()
  t.strictSame(await messages(), [])
  await endRun(database, 'failed', 'EXCHANGES_UNAVAILABLE')
  await evaluate()
  await endRun(database, 'failed', 'EXCHANGES_UNAVAILABLE')
  clock.now += MINUTE
  await evaluate()
  assertTexts(t, await messages(), [/Job failed[\s\S]*Update Open Orders Status[\s\S]*EXCHANGES_UNAVAILABLE/])
  await endRun(database, 'succeeded')
  clock.now += MINUTE
  await evaluate()
  t.equal((await messages()).length, 1, 'the recovery is not confirmed yet')
  clock.now += 11 * MINUTE
  await evaluate()
  assertTexts(t, (await messages()).slice(1), [/Job no longer fails/])
  clock.now += 60 * MINUTE
  await evaluate()
  t.equal((await messages()).length, 2)
  t.equal((await database.run(sql => sql`select from alerts`)).length, 0, 'no condition is stored')
})

t.test('three partial runs in a row are reported once, with the counts, and so is the success after them', async t => {
  const { database, clock, replica, messages } = await setUp(t)
  const replicas = [replica('one'), replica('two'), replica('three')]
  const evaluate = async () => {
    clock.now += 30 * SECOND
    await Promise.all(replicas.map(one => one.evaluate()))
  }
  for (const outcome of ['partial', 'partial', 'succeeded', 'partial', 'partial', 'failed', 'partial', 'partial']) {
    await endRun(database, outcome, null, 2)
    await evaluate()
  }
  clock.now += 11 * MINUTE
  await evaluate()
  assertTexts(t, await messages(), [/Job failed/, /Job no longer fails/])
  for (const failed of [3, 4]) {
    await endRun(database, 'partial', null, failed)
    await evaluate()
  }
  const begun = (await messages()).slice(2)
  assertTexts(t, begun, [/Job leaves work undone\S*\nJob: Update Open Orders Status\nUndone: <code>failed<\/code> 3\n/])
  await endRun(database, 'succeeded')
  await evaluate()
  await endRun(database, 'partial', null, 1)
  await evaluate()
  t.equal((await messages()).length, 3, 'the recovery is not confirmed yet')
  clock.now += 11 * MINUTE
  await evaluate()
  clock.now += 60 * MINUTE
  await evaluate()
  assertTexts(t, (await messages()).slice(3), [/Job does all of its work again\S*\nJob: Update Open Orders Status\n/])
  t.equal((await database.run(sql => sql`select from alerts`)).length, 0, 'no condition is stored')
})

t.test(
  'accounts that failed for ten minutes are one message for each exchange, and one when the last can be read',
  async t => {
    const { database, clock, replica, messages } = await setUp(t)
    const accounts: SeededAccount[] = []
    for (let i = 0; i < 12; i++) accounts.push(await seedAccount(database, { exchange: i < 10 ? 'BINANCE' : 'OKX' }))
    const record = (job: string, failing: readonly SeededAccount[], code = 'timeout') =>
      database.transaction(tx => recordFailures(tx, job, new Map(failing.map(({ accountId }) => [accountId, code]))))
    const age = (minutes: number) =>
      database.run(sql => sql`update account_failures set since = since - make_interval(mins => ${minutes}::int)`)
    const replicas = [replica('one'), replica('two'), replica('three')]
    const evaluate = async (minutes = 1) => {
      clock.now += minutes * MINUTE
      await Promise.all(replicas.map(one => one.evaluate()))
    }
    await record('sync_account_balances', accounts)
    await record('update_open_orders', accounts.slice(0, 1), 'clock')
    await age(9)
    await evaluate()
    t.strictSame(await messages(), [], 'nine minutes are not reported')
    await record('sync_account_balances', accounts)
    await age(1)
    await evaluate()
    await evaluate()
    const begun = await messages()
    assertTexts(t, begun, [
      /Accounts could not be read[\s\S]*BINANCE\nCause: <code>clock<\/code>, <code>timeout<\/code>\nAccounts: 10\n[\s\S]*Others: 5\n/,
      /Accounts could not be read[\s\S]*OKX\nCause: <code>timeout<\/code>\nAccounts: 2\n/
    ])
    t.equal(begun[0]?.match(/^•/gm)?.length, 5, 'the first five names')

    await record('sync_account_balances', accounts.slice(0, 10))
    await record('update_open_orders', [])
    await database.run(
      sql => sql`update accounts set state = 'credentials_refused' where account_id = ${accounts[0]?.accountId ?? ''}`
    )
    await database.run(
      sql => sql`update accounts set is_active = false where account_id = ${accounts[1]?.accountId ?? ''}`
    )
    await evaluate()
    await evaluate(11)
    assertTexts(t, (await messages()).slice(2), [
      /Exchange rejects the credentials/,
      /All accounts can be read again[\s\S]*OKX/
    ])
    await record('sync_account_balances', accounts.slice(0, 2))
    await evaluate()
    await evaluate(11)
    assertTexts(t, (await messages()).slice(4), [/All accounts can be read again[\s\S]*BINANCE/])
  }
)

t.test('unknown and flagged orders are one message, another one when more join, and one when none is left', async t => {
  const { database, clock, replica, messages } = await setUp(t)
  const account = await seedAccount(database, { exchange: 'BYBIT' })
  const place = (exchangeOrderId: string) => insertOrder(database, account, { ...PLACED, exchangeOrderId })
  const flag = (orderId: string, status: string, errorCode: string | null) =>
    database.run(
      sql => sql`
        update orders set status = ${status}, error_code = ${errorCode}, flagged_at = clock_timestamp()
        where order_id = ${orderId}`
    )
  const replicas = [replica('one'), replica('two')]
  const evaluate = async (minutes = 1) => {
    clock.now += minutes * MINUTE
    await Promise.all(replicas.map(one => one.evaluate()))
  }
  const [one, two, three] = [await place('1001'), await place('1002'), await place('1003')]
  await evaluate()
  t.strictSame(await messages(), [])
  await flag(one, 'unknown', 'order_not_found')
  await flag(two, 'open', 'side_differs')
  await evaluate()
  await evaluate()
  const named = account.name.slice(0, 31)
  const begun = await messages()
  t.equal(begun.length, 1)
  assertTexts(t, begun[0]?.split('\n').slice(1, 4) ?? [], [
    /^Orders: 2$/,
    new RegExp(`^• BYBIT ${named}… BTCUSDT 1002: <code>side_differs</code>$`),
    new RegExp(`^• BYBIT ${named}… BTCUSDT 1001: <code>unknown</code>$`)
  ])
  await flag(three, 'open', 'lost_child')
  await evaluate()
  t.equal((await messages()).length, 1, 'not within a quarter of an hour')
  await evaluate(15)
  assertTexts(t, (await messages()).slice(1), [
    /still does not know or contradicts[\s\S]*Orders: 3\n.*1003: <code>lost_child/
  ])
  await database.run(sql => sql`update orders set status = 'canceled' where order_id <> ${two}`)
  await evaluate(11)
  t.equal((await messages()).length, 2)
  await database.run(sql => sql`update orders set flagged_at = null`)
  await evaluate()
  await evaluate(11)
  assertTexts(t, (await messages()).slice(2), [/No order is unknown or contradicted any more/])
})

t.test('unexplained differences of the books are one message, and their end is another', async t => {
  const { database, clock, replica, messages } = await setUp(t)
  const account = await seedAccount(database, { exchange: 'OKX' })
  const differ = (asset: string, isReported: boolean) =>
    database.run(
      sql => sql`
        insert into book_differences (
          account_id, wallet, asset, ours, theirs, difference, runs, since, read_at, unexplained_at, causes
        ) values (
          ${account.accountId}, 'SPOT', ${asset}, 5, 7.50, 2.50, 3, now(), now(),
          case when ${isReported} then clock_timestamp() end,
          ${JSON.stringify([{ kind: 'deposit', at: '2026-11-22T12:03:04Z', amount: '2.5' }])}::text::jsonb
        )`
    )
  const replicas = [replica('one'), replica('two')]
  const evaluate = async (minutes = 1) => {
    clock.now += minutes * MINUTE
    await Promise.all(replicas.map(one => one.evaluate()))
  }
  await differ('ETH', false)
  await evaluate()
  t.strictSame(await messages(), [], 'a difference is tolerated before it is reported')
  await differ('USDT', true)
  await evaluate()
  await evaluate()
  const begun = await messages()
  t.equal(begun.length, 1)
  const lines = begun[0]?.split('\n') ?? []
  t.equal(lines[1], 'Differences: 1')
  t.ok(
    lines[2]?.startsWith(
      `• OKX ${account.name.slice(0, 31)}… SPOT USDT: 2.5 (at that time: <code>deposit</code> 2.5 2026`
    )
  )
  await differ('BTC', true)
  await evaluate(15)
  assertTexts(t, (await messages()).slice(1), [/Books still differ from the exchange\S*\nDifferences: 2\n.*SPOT BTC/])
  await database.run(sql => sql`update book_differences set explained_at = now(), explained_by = 'records'`)
  await evaluate()
  assertTexts(t, (await messages()).slice(2), [/Books agree with the exchanges again/])
})

t.test('any replica continues a condition that another one recorded', async t => {
  const { database, clock, replica, messages } = await setUp(t)
  await endRun(database, 'abandoned')
  await replica('one').evaluate()
  assertTexts(t, await messages(), [/Job run abandoned/])
  await endRun(database, 'succeeded')
  await replica('two').evaluate()
  clock.now += 11 * MINUTE
  await replica('three').evaluate()
  assertTexts(t, await messages(), [/Job run abandoned/, /Runs of the job end again/])
})

t.test(
  'a stop of the scheduler is reported with actor and reason, repeated as a reminder, and its end is reported',
  async t => {
    const { database, clock, replica, messages } = await setUp(t)
    const one = replica()
    await database.run(
      sql => sql`
      update scheduler_state set running = false, changed_by = 'ada', reason = 'deploy', changed_at = now(),
        resumes_at = null`
    )
    await one.evaluate()
    await one.evaluate()
    assertTexts(t, await messages(), [/Scheduler stopped[\s\S]*By: ada[\s\S]*Reason: deploy[\s\S]*Until: until/])
    clock.now += 61 * MINUTE
    await one.evaluate()
    assertTexts(t, (await messages()).slice(1), [/Scheduler still stopped/])
    await database.run(sql => sql`update scheduler_state set running = true`)
    await one.evaluate()
    assertTexts(t, (await messages()).slice(2), [/Scheduler runs again/])
  }
)

t.test('overdue jobs and refused credentials are reported', async t => {
  const { database, replica, messages } = await setUp(t)
  await database.run(
    sql => sql`
      insert into scheduled_jobs (job_id, definition, first_due_at) values ('update_open_orders', 'x', now() - interval '1 hour')`
  )
  const { accountId, name } = await seedAccount(database, { exchange: 'UPBIT' })
  await database.run(sql => sql`update accounts set state = 'credentials_refused' where account_id = ${accountId}`)
  await replica('one', { overdue: () => ['update_open_orders', 'a_job_of_replicas'] }).evaluate()
  const texts = await messages()
  t.equal(texts.length, 2)
  t.match(
    texts.find(text => text.includes('overdue')),
    /Job overdue[\s\S]*Update Open Orders Status/
  )
  const ofExchange = texts.find(text => text.includes('UPBIT')) ?? ''
  t.match(ofExchange, /Exchange rejects the credentials/)
  t.ok(ofExchange.includes(name), ofExchange)
})

t.test(
  'a stop with an end is reported by one message when the scheduler runs again, one without an end at once',
  async t => {
    const { database, clock, replica, messages } = await setUp(t)
    const replicas = [replica('one'), replica('two')]
    const evaluate = async (minutes = 1) => {
      clock.now += minutes * MINUTE
      await Promise.all(replicas.map(one => one.evaluate()))
    }
    const change = (running: boolean, minutes: number | null = null) =>
      database.run(
        sql => sql`
        update scheduler_state set running = ${running}, changed_by = 'ada', changed_at = clock_timestamp(),
          resumes_at = now() + make_interval(mins => ${minutes}::int)`
      )
    await change(false, 30)
    await evaluate()
    await change(false, 60)
    await evaluate(120)
    t.strictSame(await messages(), [], 'neither an alert nor a reminder')
    await change(true)
    await evaluate()
    assertTexts(t, await messages(), [/Scheduler runs again/])

    await change(false, 30)
    await evaluate()
    await change(false)
    await evaluate()
    assertTexts(t, (await messages()).slice(1), [/Scheduler stopped/])
    await change(false, 30)
    await evaluate()
    t.equal((await messages()).length, 2, 'the scheduler does not run again')
    await change(true)
    await evaluate()
    assertTexts(t, (await messages()).slice(2), [/Scheduler runs again/])
  }
)

t.test('a loss of readiness is reported when it lasts, and so is its end', async t => {
  const { database, clock, replica, messages } = await setUp(t)
  let error: string | null = null
  const one = replica('one', { notReady: async () => error })
  await heartbeat(database, 'one')
  const checkFor = async (seconds: number) => {
    for (let i = 0; i < seconds; i += 5) {
      clock.now += 5_000
      await one.checkReadiness()
    }
  }
  error = 'overloaded'
  await checkFor(20)
  error = null
  await checkFor(40)
  t.strictSame(await messages(), [], '20 s are not reported')
  error = 'overloaded'
  await checkFor(60)
  error = null
  await checkFor(60)
  assertTexts(t, await messages(), [/Service not ready[\s\S]*overloaded/, /Service ready again/])
})

t.test('while the database is unavailable, the oldest replica sends the alert directly', async t => {
  const { database, clock, messages, replica } = await setUp(t)
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
    sendDirectly: { telegram: async ({ text }) => void sent.push(`${name}: ${text}`) }
  })
  await heartbeat(database, 'elder')
  await heartbeat(database, 'younger')
  const replicas = [replica('elder', options('elder')), replica('younger', options('younger'))]
  const checkTimes = async (times: number) => {
    for (let i = 0; i < times; i++) {
      clock.now += 5_000
      for (const one of replicas) await one.checkReadiness()
    }
  }
  for (const one of replicas) await one.evaluate()
  down = true
  await checkTimes(10)
  assertTexts(t, sent, [/^elder: .*Service not ready[\s\S]*database_unreachable/])
  down = false
  await checkTimes(10)
  assertTexts(t, await messages(), [/Service ready again/])
})

t.test('without the database a destination that fails does not delay the other, and gets the alert later', async t => {
  const { database, clock, replica } = await setUp(t)
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
  await heartbeat(database, 'one')
  const one = replica('one', {
    database: flaky,
    outbox: new Outbox({ hasWebhook: true }),
    notReady: async () => (down ? 'database_unreachable' : null),
    sendDirectly: {
      telegram: () => Promise.reject(new Error('unreachable')),
      webhook: async ({ event }) => void sent.push(event.type)
    }
  })
  const check = async () => {
    clock.now += 5_000
    await one.checkReadiness()
  }
  await one.evaluate()
  down = true
  for (let i = 0; i < 10; i++) await check()
  t.strictSame(sent, ['alert.raised'], 'once')
  down = false
  for (let i = 0; i < 10; i++) await check()
  const rows = await database.run(
    sql => sql<{ destination: string; type: string | null }[]>`
      select destination, event ->> 'type' as type from outbox order by message_id`
  )
  t.strictSame(
    rows.map(({ destination, type }) => [destination, type]),
    [
      ['telegram', null],
      ['telegram', null],
      ['webhook', 'alert.recovered']
    ],
    'the webhook has the alert already'
  )
})

t.test('a restart without a shutdown is reported once, with the runs that were missed', async t => {
  const { database, clock, replica, messages } = await setUp(t)
  await heartbeat(database, 'gone', 300)
  await heartbeat(database, 'one')
  await database.run(
    sql => sql`
      insert into job_runs (run_id, job_id, trigger, instance, outcome, started_at, finished_at, skipped_count)
      values (${randomUUID()}, 'update_open_orders', 'schedule', 'one', 'skipped', now(), now(), 10)`
  )
  const replicas = [replica('one'), replica('two')]
  await heartbeat(database, 'two')
  for (const one of replicas) one.start()
  for (const one of replicas) await one.evaluate()
  t.strictSame(await messages(), [], 'not before every replica had time for a heartbeat')
  clock.now += 21_000
  for (const one of replicas) await one.evaluate()
  for (const one of replicas) await one.close()
  assertTexts(t, await messages(), [
    /Restarted after an unclean shutdown[\s\S]*gone[\s\S]*Update Open Orders Status × 10\b/
  ])
})

t.test('an abandoned run is reported although the next run succeeded before the evaluation', async t => {
  const { database, clock, replica, messages } = await setUp(t)
  await endRun(database, 'succeeded')
  await replica('one').evaluate()
  await endRun(database, 'abandoned')
  await endRun(database, 'succeeded')
  await replica('two').evaluate()
  assertTexts(t, await messages(), [/Job run abandoned/])
  clock.now += 11 * MINUTE
  await replica('one').evaluate()
  assertTexts(t, await messages(), [/Job run abandoned/, /Runs of the job end again/])
})

t.test('a job is reported to succeed again only after a success', async t => {
  const { database, clock, replica, messages } = await setUp(t)
  const one = replica()
  await endRun(database, 'failed')
  await one.evaluate()
  await endRun(database, 'abandoned')
  for (let i = 0; i < 3; i++) {
    await one.evaluate()
    clock.now += 10 * MINUTE
  }
  assertTexts(t, await messages(), [/Job failed/])
})

t.test('a run that ended because its replica shut down does not count as a failure of the job', async t => {
  const { database, replica, messages } = await setUp(t)
  await endRun(database, 'failed', 'SHUTDOWN')
  await replica().evaluate()
  t.strictSame(await messages(), [])
})

t.test('a failing job is not reported as overdue as well', async t => {
  const { database, replica, messages } = await setUp(t)
  await database.run(
    sql => sql`insert into scheduled_jobs (job_id, definition, first_due_at) values ('update_open_orders', 'x', now())`
  )
  await endRun(database, 'failed')
  await replica('one', { overdue: () => ['update_open_orders'] }).evaluate()
  assertTexts(t, await messages(), [/Job failed/])
})

t.test('a job is not reported as overdue before it could run since the cluster started', async t => {
  const { database, clock, replica, messages } = await setUp(t)
  await database.run(
    sql => sql`
      insert into scheduled_jobs (job_id, definition, first_due_at, last_success_at)
      values ('update_open_orders', 'x', now() - interval '2 hours', now() - interval '1 hour')`
  )
  await heartbeat(database, 'one')
  const one = replica('one', { overdue: () => ['update_open_orders'] })
  await one.evaluate()
  t.strictSame(await messages(), [])
  clock.now += 2 * MINUTE
  await one.evaluate()
  assertTexts(t, await messages(), [/Job overdue/])
})

t.test('a replica without heartbeats is reported until it returns or is replaced', async t => {
  const { database, clock, replica, messages } = await setUp(t)
  // It starts first, because a replica that starts after the last heartbeat of another one replaces it.
  const started = new Date(clock.now - 60 * MINUTE)
  const alive = async (instanceId: string) => {
    await heartbeat(database, instanceId)
    await database.run(sql => sql`update replicas set started_at = ${started} where instance_id = ${instanceId}`)
  }
  const silent = (instanceId: string) =>
    database.run(
      sql => sql`update replicas set last_seen_at = now() - interval '31 seconds' where instance_id = ${instanceId}`
    )
  await alive('one')
  await alive('two')
  const replicas = [replica('one'), replica('another')]
  const evaluateFor = async (seconds: number, ...living: string[]) => {
    for (let i = 0; i < seconds; i += 10) {
      clock.now += 10 * SECOND
      // The database has its own clock: without heartbeats a test of 30 s would make all replicas silent.
      await database.run(sql => sql`update replicas set last_seen_at = now() where instance_id in ${sql(living)}`)
      for (const one of replicas) await one.evaluate()
    }
  }
  await evaluateFor(30, 'one', 'two')
  await silent('two')
  await evaluateFor(60, 'one')
  assertTexts(t, await messages(), [/Replica sends no heartbeat[\s\S]*two[\s\S]*Last seen/])
  await alive('two')
  await evaluateFor(90, 'one', 'two')
  assertTexts(t, (await messages()).slice(1), [/Replica sends heartbeats again, or was replaced[\s\S]*two/])

  clock.now += 15 * MINUTE
  await silent('two')
  await evaluateFor(20, 'one')
  t.equal((await messages()).length, 3)
  await heartbeat(database, 'three')
  await evaluateFor(90, 'one', 'three')
  const end = (await messages()).slice(3)
  assertTexts(t, end, [
    /Restarted after an unclean shutdown[\s\S]*two/,
    /Replica sends heartbeats again, or was replaced[\s\S]*two/
  ])
})

t.test('a replica that drains is not reported as silent', async t => {
  const { database, clock, replica, messages } = await setUp(t)
  await heartbeat(database, 'draining', 60)
  await database.run(sql => sql`update replicas set draining = true`)
  const one = replica('one')
  for (let i = 0; i < 6; i++) {
    await one.evaluate()
    clock.now += 10 * SECOND
  }
  t.strictSame(await messages(), [])
})

t.test('a fast restart is also reported', async t => {
  const { database, clock, replica, messages } = await setUp(t)
  await heartbeat(database, 'gone', 22)
  await heartbeat(database, 'one')
  const one = replica('one')
  await one.evaluate()
  clock.now += 21 * SECOND
  await one.evaluate()
  t.strictSame(await messages(), [], 'the heartbeat may only be late')
  await heartbeat(database, 'gone', 32)
  clock.now += 10 * SECOND
  await one.evaluate()
  await one.evaluate()
  assertTexts(t, await messages(), [/Restarted after an unclean shutdown[\s\S]*gone/])
})

t.test(
  'a process that replaces one of the same name is reported as a restart, unless that one was shut down',
  async t => {
    const { database, clock, replica, messages } = await setUp(t)
    const process = () =>
      new Replicas({
        database,
        log: captureLog().logger,
        instanceId: 'pod-0',
        version: '1',
        settings: {},
        schedulerEnabled: true,
        isDraining: () => false
      })
    const evaluateTwice = async () => {
      const one = replica('pod-0')
      await one.evaluate()
      clock.now += 21 * SECOND
      await one.evaluate()
      await one.evaluate()
    }
    const clean = process()
    await clean.register()
    await clean.stop()
    const killed = process()
    await killed.sendHeartbeat()
    await killed.sendHeartbeat()
    await evaluateTwice()
    t.strictSame(await messages(), [])
    const successor = process()
    await successor.sendHeartbeat()
    await killed.sendHeartbeat()
    await successor.sendHeartbeat()
    await evaluateTwice()
    assertTexts(t, await messages(), [/Restarted after an unclean shutdown[\s\S]*pod-0/])
  }
)

t.test('replicas that could send no heartbeat during an outage of the database are not reported as silent', async t => {
  const { database, clock, replica, messages } = await setUp(t)
  let down = false
  const flaky = new Proxy(database, {
    get(target, name) {
      if (name === 'transaction' && down) return () => Promise.reject(new DatabaseUnavailableError('database_timeout'))
      const value: unknown = Reflect.get(target, name, target)
      return typeof value === 'function' ? value.bind(target) : value
    }
  })
  const one = replica('one', { database: flaky })
  await heartbeat(database, 'other', 300)
  await heartbeat(database, 'one')
  down = true
  await one.evaluate()
  clock.now += 5 * MINUTE
  down = false
  await one.evaluate()
  await heartbeat(database, 'other')
  clock.now += MINUTE
  await one.evaluate()
  t.strictSame(await messages(), [])
})

t.test('a replica that freezes during an evaluation blocks the others for 5 s at most', async t => {
  const { database, replica } = await setUp(t)
  await endRun(database, 'failed')
  let limit: unknown
  class Recording extends Outbox {
    override async enqueue(...[tx, messages]: Parameters<Outbox['enqueue']>) {
      const [row] = await tx`select current_setting('idle_in_transaction_session_timeout') as limit`
      limit = row?.limit
      return super.enqueue(tx, messages)
    }
  }
  await replica('one', { outbox: new Recording() }).evaluate()
  t.equal(limit, '5s')
})

t.test('it is reported after a minute that no running replica may run jobs', async t => {
  const { database, clock, replica, messages } = await setUp(t)
  const register = (name: string, runsJobs: boolean) =>
    database.run(
      sql => sql`
        insert into replicas (instance_id, version, runs_jobs, last_seen_at)
        values (${name}, '1', ${runsJobs}, now() + interval '20 seconds')`
    )
  await register('one', false)
  const one = replica('one')
  await one.evaluate()
  clock.now += 59 * SECOND
  await one.evaluate()
  t.strictSame(await messages(), [])
  clock.now += 2 * SECOND
  await one.evaluate()
  await register('two', true)
  clock.now += SECOND
  await one.evaluate()
  assertTexts(t, await messages(), [/No replica runs the jobs/, /A replica runs the jobs again/])
})
