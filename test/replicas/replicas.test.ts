import t from 'tap'
import type { Sql } from '../../src/database/client.ts'
import { Database } from '../../src/database/database.ts'
import { oldestReplica, respondingReplicas } from '../../src/replicas/replica-table.ts'
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
  const options = { log, instanceId: 'one', version: '1', settings: {}, isDraining: () => false }
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

t.test('a dead replica does not count as alive because the database clock was set back', async t => {
  const { logger: log } = captureLog()
  const database = await tradingDatabase(t)
  const names = () =>
    database.run(async sql => {
      const responding = await sql<
        { instance_id: string }[]
      >`select instance_id from ${respondingReplicas(sql, 'three')} r`
      return responding.map(({ instance_id }) => instance_id).sort()
    })
  await database.run(
    sql => sql`
      insert into replicas (instance_id, version, started_at, last_seen_at) values
        ('dead', '1', now() + interval '1 hour', now() + interval '2 hours'),
        ('alive', '1', now() + interval '1 hour', now() + interval '5 seconds')`
  )
  const replica = new Replicas({
    database,
    log,
    instanceId: 'three',
    version: '1',
    settings: {},
    isDraining: () => false
  })
  t.strictSame(
    (await replica.alive()).map(({ instance_id }) => instance_id),
    ['alive']
  )
  t.strictSame(await names(), ['alive', 'three'])
  const isOldest = await database.transaction(tx => oldestReplica(tx))
  t.equal(isOldest, 'alive')
})
