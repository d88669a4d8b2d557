import { setTimeout as delay } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { ClearCommands, type PollIntervals } from '../../src/cache/clear-commands.ts'
import type { Database } from '../../src/database/database.ts'
import { captureLog } from '../support/app.ts'
import { tradingDatabase } from '../support/trading.ts'

const NEVER_MS = 3_600_000

/** Inserts a command without a notification. */
const insertCommand = (database: Database) =>
  database.run(sql => sql`insert into cache_commands (actor, filter) values ('admin', '{"type": "all"}')`)

async function replica(t: Test, database: Database, intervals: PollIntervals) {
  let onClear = () => {}
  const cleared = new Promise<void>(resolve => {
    onClear = resolve
  })
  const { logger: log, lines } = captureLog('debug')
  const commands = new ClearCommands({
    database,
    instanceId: () => 'one',
    applicationName: 'test',
    log,
    clear: () => {
      onClear()
      return { price: 0, exchange: 0 }
    },
    intervals
  })
  t.teardown(() => commands.close())
  await commands.start()
  return { commands, cleared, lines }
}

async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await delay(1)
}

t.test('without notifications, a replica polls the commands', async t => {
  const database = await tradingDatabase(t)
  const unreachable = new Proxy(database, {
    get(target, name) {
      if (name === 'address') return Promise.resolve('postgres://127.0.0.1:1/none')
      const value: unknown = Reflect.get(target, name, target)
      return typeof value === 'function' ? value.bind(target) : value
    }
  })
  const { commands, cleared } = await replica(t, unreachable, {
    withoutNotificationsMs: 5,
    withNotificationsMs: NEVER_MS
  })
  await insertCommand(database)
  await cleared
  t.notOk(commands.receivesNotifications)
})

t.test('a notification makes a replica apply a command at once', async t => {
  const database = await tradingDatabase(t)
  const { commands, cleared } = await replica(t, database, {
    withoutNotificationsMs: NEVER_MS,
    withNotificationsMs: NEVER_MS
  })
  await until(() => commands.receivesNotifications)
  await insertCommand(database)
  await database.run(sql => sql`select pg_notify('cache_commands', '')`)
  await cleared
})

t.test('a replica that finds a command without a notification opens a new listener', async t => {
  const database = await tradingDatabase(t)
  const { commands, lines } = await replica(t, database, { withoutNotificationsMs: 5, withNotificationsMs: 5 })
  await until(() => commands.receivesNotifications)
  // A notification also starts a poll. If that poll finds the command, no notification was missed.
  while (!lines.some(line => line.msg === 'cache command without notification')) {
    await insertCommand(database)
    await delay(1)
  }
  await until(() => commands.receivesNotifications)
})
