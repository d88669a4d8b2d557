import { setTimeout as delay } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { ClearCommands } from '../../src/cache/clear-commands.ts'
import type { Database } from '../../src/database/database.ts'
import { captureLog } from '../support/app.ts'
import { tradingDatabase } from '../support/trading.ts'

const NEVER_MS = 3_600_000

/** A command as one that nobody hears of. */
const command = (database: Database) =>
  database.run(sql => sql`insert into cache_commands (actor, filter) values ('somebody', '{"type": "all"}')`)

async function replica(t: Test, database: Database, lookMs: { deaf: number; hearing: number }) {
  let obey = () => {}
  const obeyed = new Promise<void>(resolve => {
    obey = resolve
  })
  const { logger: log, lines } = captureLog('debug')
  const commands = new ClearCommands({
    database,
    instanceId: 'one',
    applicationName: 'test',
    log,
    clear: () => {
      obey()
      return { price: 0, exchange: 0 }
    },
    lookMs
  })
  t.teardown(() => commands.close())
  await commands.start()
  return { commands, obeyed, lines }
}

async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await delay(1)
}

t.test('where notifications do not arrive, a replica looks for commands by itself', async t => {
  const database = await tradingDatabase(t)
  const deaf = new Proxy(database, {
    get(target, name) {
      if (name === 'address') return Promise.resolve('postgres://127.0.0.1:1/nobody')
      const value: unknown = Reflect.get(target, name, target)
      return typeof value === 'function' ? value.bind(target) : value
    }
  })
  const { commands, obeyed } = await replica(t, deaf, { deaf: 5, hearing: NEVER_MS })
  await command(database)
  await obeyed
  t.notOk(commands.hears)
})

t.test('a replica that hears is told by its own notification, and then needs to look seldom', async t => {
  const database = await tradingDatabase(t)
  const { commands, obeyed } = await replica(t, database, { deaf: NEVER_MS, hearing: NEVER_MS })
  await until(() => commands.hears)
  await command(database)
  await database.run(sql => sql`select pg_notify('cache_commands', '')`)
  await obeyed
})

t.test('a replica that finds a command without a notification listens again', async t => {
  const database = await tradingDatabase(t)
  const { commands, lines } = await replica(t, database, { deaf: 5, hearing: 5 })
  await until(() => commands.hears)
  // A notification starts a poll of its own. Where that one finds the command, nothing was missed.
  while (!lines.some(line => line.msg === 'cache command without notification')) {
    await command(database)
    await delay(1)
  }
  await until(() => commands.hears)
})
