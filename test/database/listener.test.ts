import postgres from 'postgres'
import t from 'tap'
import { Listener } from '../../src/database/listener.ts'
import { captureLog } from '../support/app.ts'
import { createTestDatabase } from '../support/database.ts'

t.test('the listener receives notifications, also after a restart', async t => {
  const { url } = await createTestDatabase(t)
  const sql = postgres(url, { max: 1 })
  t.teardown(() => sql.end({ timeout: 0 }))
  let onNotification: () => void = () => undefined
  const listener = new Listener({
    url,
    channel: 'news',
    applicationName: 'test',
    log: captureLog().logger,
    onNotification: () => onNotification()
  })
  t.teardown(() => listener.close())
  for (let round = 0; round < 2; round++) {
    listener.restart()
    let received = false
    onNotification = () => {
      received = true
    }
    while (!received) await sql`select pg_notify('news', '')`
    t.ok(received)
  }
  listener.close()
  const left = () => sql`select from pg_stat_activity where application_name = 'test' and datname = current_database()`
  while ((await left()).length > 0) await new Promise(resolve => setTimeout(resolve, 5))
  t.pass('no connection is left')
})
