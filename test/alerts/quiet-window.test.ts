import { randomUUID } from 'node:crypto'
import t, { type Test } from 'tap'
import { AlertRunner, type AlertRunnerOptions } from '../../src/alerts/alert-runner.ts'
import { MINUTE, SECOND } from '../../src/async/durations.ts'
import { DatabaseUnavailableError } from '../../src/database/failure.ts'
import { Outbox } from '../../src/notifications/outbox.ts'
import {
  endQuietWindow,
  quietWindow,
  startQuietWindow,
  sweepQuietWindow
} from '../../src/notifications/quiet-window.ts'
import { every } from '../../src/scheduler/trigger.ts'
import { captureLog } from '../support/app.ts'
import { assertTexts } from '../support/assert-texts.ts'
import { tradingDatabase } from '../support/trading.ts'

const jobs = ['update_open_orders', 'housekeeping'].map(id => ({
  ...{ id, name: id, trigger: every(29 * SECOND), maxRunMs: MINUTE, undone: [] }
}))
const outbox = new Outbox({ hasWebhook: true })
const at = '2026-11-23T12:00:00.000Z'

/** Replicas on one database with one manual clock. The database's time of a window is changed by SQL. */
async function setUp(t: Test) {
  const database = await tradingDatabase(t)
  const clock = { now: Date.now() }
  const replica = (instanceId = 'one', options: Partial<AlertRunnerOptions> = {}) =>
    new AlertRunner({
      ...{ database, outbox, jobs, log: captureLog().logger, chatId: '1', text: { language: 'en', timeZone: 'UTC' } },
      instanceId: () => instanceId,
      overdue: () => [],
      notReady: async () => null,
      sendDirectly: {},
      now: () => clock.now,
      ...options
    })
  const three = ['one', 'two', 'three'].map(instanceId => replica(instanceId))
  return {
    ...{ database, clock, replica },
    evaluate: (minutes = 0) => {
      clock.now += minutes * MINUTE
      return Promise.all(three.map(one => one.evaluate()))
    },
    quiet: (forMinutes = 30, by = 'ada') =>
      database.transaction(tx => startQuietWindow(tx, { by, reason: 'release <2>', forMinutes })),
    /** The time of the database reaches the end of the window. */
    expire: () => database.run(sql => sql`update quiet_window set until_at = now() - interval '1 second'`),
    endRun: (jobId: string, outcome: string) =>
      database.run(
        sql => sql`
          insert into job_runs (run_id, job_id, trigger, instance, outcome, started_at, finished_at, error_code)
          values (${randomUUID()}, ${jobId}, 'schedule', 'one', ${outcome}, now(), now(), 'JOB_FAILED')`
      ),
    messages: async (destination: 'telegram' | 'webhook' = 'telegram') => {
      const rows = await database.run(
        sql => sql<{ text: string }[]>`select text from outbox where destination = ${destination} order by message_id`
      )
      return rows.map(({ text }) => text)
    },
    rest: async () => {
      const [row] = await database.run(
        sql => sql<{ windows: number; notices: number }[]>`
          select (select count(*)::int from quiet_window) as windows, (select count(*)::int from quiet_notices) as notices`
      )
      return row
    }
  }
}

t.test('alerts of a quiet window are sent to no destination, and three replicas write one summary', async t => {
  const { evaluate, quiet, expire, endRun, messages, rest } = await setUp(t)
  await endRun('housekeeping', 'failed')
  await evaluate()
  t.equal((await messages()).length, 1, 'the alert before the window')
  await quiet()
  await endRun('update_open_orders', 'failed')
  await endRun('housekeeping', 'succeeded')
  await evaluate()
  await evaluate(11)
  t.equal((await messages()).length, 1, 'neither the alert nor the recovery of the other job')
  t.equal((await messages('webhook')).length, 1)
  await expire()
  await evaluate()
  await evaluate()
  assertTexts(t, (await messages()).slice(1), [
    new RegExp(
      [
        '^🔔 <b>Quiet window over</b>\nBy: ada\nReason: release &lt;2&gt;\nFrom: .*\nTo: .*\nSuppressed messages: 2',
        '• Job failed × 2\nStill open: 1\n• Job failed \\(Job: Update Open Orders Status\\)',
        'Ended meanwhile: 1\n• Job failed \\(Job: Housekeeping\\)$'
      ].join('\n')
    )
  ])
  t.equal((await messages('webhook')).length, 2, 'the webhook has one summary, too')
  t.strictSame(await rest(), { windows: 0, notices: 0 })
  await endRun('update_open_orders', 'succeeded')
  await evaluate()
  await evaluate(11)
  assertTexts(t, (await messages()).slice(2), [/Job no longer fails\S*\nJob: Update Open Orders Status/])
})

t.test('a window without notifications has a summary, too', async t => {
  const { evaluate, quiet, expire, messages } = await setUp(t)
  await quiet()
  await evaluate()
  t.strictSame(await messages(), [])
  await expire()
  await evaluate()
  assertTexts(t, await messages(), [/Suppressed messages: 0\nStill open: 0\nEnded meanwhile: 0$/])
})

t.test('a condition that is open since before the window is listed as open', async t => {
  const { evaluate, quiet, expire, endRun, messages } = await setUp(t)
  await endRun('housekeeping', 'failed')
  await evaluate()
  await quiet()
  await expire()
  await evaluate()
  assertTexts(t, (await messages()).slice(1), [/messages: 0\nStill open: 1\n• Job failed \(Job: Housekeeping\)\nEnded/])
})

t.test('a stop with an end is not listed as open', async t => {
  const { database, evaluate, quiet, expire, messages } = await setUp(t)
  await quiet()
  await database.run(
    sql => sql`
      update scheduler_state set running = false, changed_by = 'ada', changed_at = now(), reason = 'x',
        resumes_at = now() + interval '1 hour'`
  )
  await evaluate()
  await expire()
  await evaluate()
  assertTexts(t, await messages(), [/Suppressed messages: 0\nStill open: 0\n/])
})

t.test('the summary lists the readiness of replicas by the last that was suppressed', async t => {
  const { database, clock, replica, evaluate, quiet, expire, messages } = await setUp(t)
  const failing = new Set(['one', 'two'])
  const replicas = ['one', 'two'].map(id => replica(id, { notReady: async () => (failing.has(id) ? 'stalled' : null) }))
  const check = async () => {
    for (let i = 0; i < 9; i++) {
      clock.now += 5 * SECOND
      for (const one of replicas) await one.checkReadiness()
    }
  }
  await quiet()
  await check()
  failing.delete('two')
  await check()
  await expire()
  await evaluate()
  const expected =
    /open: 1\n• Service not ready \(Instance: one\)\nEnded meanwhile: 1\n• Service not ready \(Instance: two\)$/
  assertTexts(t, await messages(), [expected])
  t.equal((await database.run(sql => sql`select from outbox where event is not null`)).length, 1)
})

t.test('other notifications are counted by type and listed, and a message without an event is sent', async t => {
  const { database, evaluate, quiet, expire, messages, rest } = await setUp(t)
  await quiet()
  const event = { type: 'order.forced', at, data: {} } as const
  const order = { chatId: '1', text: 'an order', key: 'order', event, line: 'BTCUSDT sell 2' }
  for (let i = 0; i < 2; i++) {
    await database.transaction(tx => outbox.enqueue(tx, [order, { chatId: '1', text: 'a summary', key: 'summary' }]))
  }
  t.strictSame(await messages(), ['a summary'])
  t.strictSame(await rest(), { windows: 1, notices: 1 }, 'the repetition is one notification')
  await expire()
  await evaluate()
  assertTexts(t, (await messages()).slice(1), [
    /messages: 1\n• Order that the exchange traded by force × 1\nExternal orders: 1\n• BTCUSDT sell 2\nStill open: 0/
  ])
})

t.test('a message that was sent before the window does not count when it is repeated', async t => {
  const { database, quiet, rest } = await setUp(t)
  const order = { chatId: '1', text: 'an order', key: 'order', event: { type: 'order.forced', at, data: {} } as const }
  const write = () => database.transaction(tx => outbox.enqueue(tx, [order]))
  await write()
  await quiet()
  await write()
  t.strictSame(await rest(), { windows: 1, notices: 0 })
})

t.test('a window that replaces another has its start and its notifications, and ends when it is ended', async t => {
  const { database, evaluate, quiet, endRun, messages } = await setUp(t)
  const first = await quiet(60)
  await endRun('housekeeping', 'failed')
  await evaluate()
  const second = await quiet(5, 'eve')
  t.strictSame([second.by, second.since], ['eve', first.since])
  t.ok(second.until < first.until, `a shorter window replaces a longer one: ${second.until} < ${first.until}`)
  await evaluate()
  t.strictSame(await messages(), [])
  await database.transaction(endQuietWindow)
  await database.transaction(endQuietWindow)
  t.equal(await database.run(sql => quietWindow(sql)), undefined)
  await evaluate()
  assertTexts(t, await messages(), [/By: eve\n[\s\S]*messages: 1\n• Job failed × 1\nStill open: 1/])
})

t.test('a window that follows one that is over has a start of its own', async t => {
  const { quiet, expire } = await setUp(t)
  const first = await quiet()
  await expire()
  const second = await quiet()
  t.ok(second.since > first.since, `the second starts later: ${second.since} > ${first.since}`)
})

t.test('the end of a window waits for a transaction that adds to it', async t => {
  const { database, evaluate, quiet, expire, messages } = await setUp(t)
  await quiet()
  const order = {
    chatId: '1',
    text: 'an order',
    key: 'order',
    event: { type: 'order.external', at, data: {} } as const
  }
  let commit = () => {}
  const committed = new Promise<void>(resolve => {
    commit = resolve
  })
  let adding: Promise<void> | undefined
  await new Promise<void>(written => {
    adding = database.transaction(async tx => {
      await outbox.enqueue(tx, [order])
      written()
      await committed
    })
  })
  const expired = expire()
  await evaluate()
  t.strictSame(await messages(), [], 'the window is not over')
  commit()
  await Promise.all([adding, expired])
  await evaluate()
  assertTexts(t, await messages(), [/Suppressed messages: 1\n• External order × 1\n/])
})

t.test('while the database is unavailable, no alert of a window is sent directly', async t => {
  const { database, clock, replica, quiet, messages, rest } = await setUp(t)
  let down = false
  const flaky = new Proxy(database, {
    get(target, name) {
      if (name === 'transaction' && down)
        return () => Promise.reject(new DatabaseUnavailableError('database_unreachable'))
      const value: unknown = Reflect.get(target, name, target)
      return typeof value === 'function' ? value.bind(target) : value
    }
  })
  const sent: string[] = []
  const one = replica('one', {
    database: flaky,
    notReady: async () => (down ? 'database_unreachable' : null),
    sendDirectly: {
      telegram: async ({ event }) => void sent.push(`telegram ${event.type}`),
      webhook: async ({ event }) => void sent.push(`webhook ${event.type}`)
    }
  })
  const check = async (minutes: number) => {
    for (let i = 0; i < minutes * 4; i++) {
      clock.now += 15 * SECOND
      await one.checkReadiness()
    }
  }
  await quiet(10)
  await one.evaluate()
  down = true
  await check(5)
  t.strictSame(sent, [])
  down = false
  await check(1)
  t.strictSame(
    [sent, await messages(), await rest()],
    [[], [], { windows: 1, notices: 2 }],
    'the outbox suppresses both'
  )
  down = true
  await check(9)
  t.strictSame(sent, [])
  await check(3)
  await one.evaluate()
  t.strictSame(sent, ['telegram alert.raised', 'webhook alert.raised'], 'sent when the last known window is over')
})

t.test('a window that was written before the clock of the database was set back is over', async t => {
  const { database, evaluate, quiet, endRun, messages } = await setUp(t)
  await quiet()
  await database.run(sql => sql`update quiet_window set until_at = now() + interval '25 hours'`)
  t.equal(await database.run(sql => quietWindow(sql)), undefined)
  await endRun('housekeeping', 'failed')
  await evaluate()
  await evaluate()
  const sent = (await messages()).sort()
  assertTexts(t, sent, [/Quiet window over/, /Job failed/])
})

t.test('a window counts at most 10,000 notifications', async t => {
  const { database, quiet, rest } = await setUp(t)
  await quiet()
  await database.run(
    sql => sql`
      insert into quiet_notices (dedupe_key, type) select 'order ' || n, 'order.external' from generate_series(1, 9999) n`
  )
  const order = (key: string) => ({
    chatId: '1',
    text: key,
    key,
    event: { type: 'order.external', at, data: {} } as const
  })
  await database.transaction(tx => outbox.enqueue(tx, [order('a'), order('b')]))
  t.strictSame(await rest(), { windows: 1, notices: 10_000 })
  t.equal((await database.run(sql => sql`select from outbox`)).length, 0, 'all are suppressed')
})

t.test('a window that no replica ended is deleted after 25 hours', async t => {
  const { database, quiet, rest } = await setUp(t)
  await quiet()
  const age = (hours: number) =>
    database.run(sql => sql`update quiet_window set until_at = now() - make_interval(hours => ${hours}::int)`)
  await database.run(sql => sql`insert into quiet_notices (dedupe_key, type) values ('a', 'order.external')`)
  await age(24)
  t.equal(await database.transaction(sweepQuietWindow), 0)
  t.strictSame(await rest(), { windows: 1, notices: 1 })
  await age(26)
  t.equal(await database.transaction(sweepQuietWindow), 1)
  t.strictSame(await rest(), { windows: 0, notices: 0 })
})
