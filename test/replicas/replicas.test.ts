import t from 'tap'
import type { Sql } from '../../src/database/client.ts'
import { Database } from '../../src/database/database.ts'
import { Replicas } from '../../src/replicas/replicas.ts'
import { captureLog } from '../support/app.ts'
import { tradingDatabase } from '../support/trading.ts'

t.test('a replica that stops during a heartbeat is not registered again', async t => {
  const { logger: log } = captureLog()
  // One connection: statements take effect in the order in which they are given.
  const database = new Database({ max: 1, applicationName: 'test', log })
  database.open(await (await tradingDatabase(t)).address)
  t.teardown(() => database.close(0))
  let letGo = () => {}
  const held = new Promise<void>(resolve => {
    letGo = resolve
  })
  let calls = 0
  let onHeartbeat = () => {}
  const heartbeatBegan = new Promise<void>(resolve => {
    onHeartbeat = resolve
  })
  const slow = new Proxy(database, {
    get(target, name) {
      const value: unknown = Reflect.get(target, name, target)
      if (name !== 'run' || calls++ > 0) return typeof value === 'function' ? value.bind(target) : value
      return async (work: (sql: Sql) => Promise<unknown>) => {
        onHeartbeat()
        await held
        return await target.run(work)
      }
    }
  })
  const options = { log, instanceId: 'one', version: '1', isDraining: () => false }
  const replica = new Replicas({ ...options, database: slow })
  replica.start()
  await heartbeatBegan
  const stopped = replica.stop()
  // A delete that did not wait for the heartbeat would have run by now.
  await database.run(sql => sql`select 1`)
  letGo()
  await stopped
  t.strictSame([...(await new Replicas({ ...options, database }).alive())], [])
})
