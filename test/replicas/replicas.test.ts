import t, { type Test } from 'tap'
import type { Sql } from '../../src/database/client.ts'
import { Database } from '../../src/database/database.ts'
import { oldestReplica, respondingReplicas } from '../../src/replicas/replica-table.ts'
import { Replicas, type ReplicasOptions } from '../../src/replicas/replicas.ts'
import { captureLog } from '../support/app.ts'
import { skippingTimers } from '../support/test-timers.ts'
import { tradingDatabase } from '../support/trading.ts'

t.test('a replica that stops during a heartbeat is not registered again', async t => {
  const { logger: log } = captureLog()
  // One connection, so statements are executed in the order of the calls.
  const database = new Database({ max: 1, applicationName: 'test', log })
  database.open(await (await tradingDatabase(t)).address)
  t.teardown(() => database.close(0))
  let release = () => {}
  const held = new Promise<void>(resolve => {
    release = resolve
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
  const options = {
    log,
    instanceId: 'one',
    version: '1',
    settings: {},
    schedulerEnabled: true,
    isDraining: () => false
  }
  const replica = new Replicas({ ...options, database: slow })
  const registered = replica.register()
  await heartbeatBegan
  const stopped = replica.stop()
  // A delete that does not wait for the heartbeat would have been executed by now.
  await database.run(sql => sql`select 1`)
  release()
  await Promise.allSettled([stopped, registered])
  t.strictSame([...(await new Replicas({ ...options, database }).alive())], [])
})

t.test('a dead replica does not count as running after the database clock was set back', async t => {
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
    schedulerEnabled: true,
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

t.test('a replica knows after each heartbeat how many are alive, also those that drain', async t => {
  const { logger: log } = captureLog()
  const database = await tradingDatabase(t)
  const replica = (instanceId: string, isDraining = false) => {
    const options = { database, log, instanceId, version: '1', settings: {}, schedulerEnabled: true }
    const made = new Replicas({ ...options, isDraining: () => isDraining })
    t.teardown(() => made.stop())
    return made
  }
  const [one, two, draining] = [replica('one'), replica('two'), replica('three', true)]
  t.equal(one.living, undefined)
  await one.register()
  t.equal(one.living, 1)
  await two.register()
  await draining.register()
  await one.sendHeartbeat()
  t.strictSame([one.living, two.living, draining.living], [3, 2, 3])
  t.equal(one.jobRunners, 2, 'a draining replica runs no job')
  await two.stop()
  await database.run(
    sql => sql`update replicas set last_seen_at = now() - interval '11 seconds' where instance_id = 'three'`
  )
  await one.sendHeartbeat()
  t.equal(one.living, 1, 'one has stopped, and one was not seen for ten seconds')
})

/** Registers a replica with a name, on timers whose waits call `onWait` and end at once. */
async function registered(
  t: Test,
  database: Database,
  { onWait = async () => {}, ...options }: Partial<ReplicasOptions> & { onWait?: () => Promise<unknown> } = {}
) {
  const { logger: log, lines } = captureLog()
  const timers = skippingTimers()
  const replica = new Replicas({
    ...{ database, log, instanceId: 'pod-0', version: '1', settings: {}, schedulerEnabled: true },
    isDraining: () => false,
    timers: {
      ...timers,
      after: (ms, callback) => {
        let cancel = () => {}
        void onWait().then(() => {
          cancel = timers.after(ms, callback)
        })
        return () => cancel()
      }
    },
    ...options
  })
  t.teardown(() => replica.stop())
  await replica.register()
  return { replica, waits: timers.waits, reported: lines.filter(({ msg }) => String(msg).startsWith('INSTANCE_ID')) }
}

t.test('if a running replica has the name, this is logged, and the second one uses a free name', async t => {
  const database = await tradingDatabase(t)
  const first = await registered(t, database)
  t.strictSame([first.replica.instanceId, first.waits, first.reported], ['pod-0', [], []])
  const second = await registered(t, database, { onWait: () => first.replica.sendHeartbeat() })
  const used = second.replica.instanceId
  t.ok(/^pod-0-[0-9a-f]{8}$/.test(used), used)
  t.strictSame(second.waits, [500], 'the next heartbeat of the first one decides')
  t.strictSame(
    second.reported.map(({ level, instance_id, used }) => ({ level, instance_id, used })),
    [{ level: 50, instance_id: 'pod-0', used }]
  )
  t.strictSame(
    (await first.replica.alive()).map(({ instance_id }) => instance_id),
    ['pod-0', used]
  )
  await second.replica.stop()
  t.strictSame(
    (await first.replica.alive()).map(({ instance_id }) => instance_id),
    ['pod-0']
  )
})

t.test('the name of a killed or shut-down process is used again', async t => {
  const database = await tradingDatabase(t)
  const insert = (ago: string) =>
    database.run(
      sql => sql`
        insert into replicas (instance_id, version, incarnation, last_seen_at)
        values ('pod-0', '1', gen_random_uuid(), now() - ${ago}::interval)`
    )
  await insert('1 second')
  const successor = await registered(t, database)
  t.equal(successor.replica.instanceId, 'pod-0')
  t.strictSame(successor.waits, Array(8).fill(500), 'longer than a heartbeat')
  await successor.replica.stop()

  await insert('11 seconds')
  const later = await registered(t, database)
  t.strictSame([later.replica.instanceId, later.waits], ['pod-0', []])
  await later.replica.stop()

  await insert('1 second')
  const after = await registered(t, database, { onWait: () => database.run(sql => sql`delete from replicas`) })
  t.strictSame([after.replica.instanceId, after.waits], ['pod-0', [500]])
})

t.test('the replicas that may run jobs are counted: enabled, not draining, with the settings of the first', async t => {
  const database = await tradingDatabase(t)
  const { replica } = await registered(t, database, { settings: { TIME_ZONE: 'UTC' } })
  t.equal(replica.jobRunners, 1)
  t.equal(replica.refusal, undefined)
  let draining = false
  const others = [
    await registered(t, database, { instanceId: 'disabled', schedulerEnabled: false }),
    await registered(t, database, { instanceId: 'draining', isDraining: () => draining }),
    await registered(t, database, { instanceId: 'differs', settings: { TIME_ZONE: 'Asia/Seoul' } })
  ]
  // The first heartbeat compares the settings, the next one publishes the result.
  for (const other of others) await other.replica.sendHeartbeat()
  t.strictSame(
    others.map(({ replica }) => replica.refusal),
    [undefined, undefined, 'SETTINGS_DIFFER']
  )
  t.strictSame(
    (await replica.alive()).map(({ instance_id, runs_jobs }) => [instance_id, runs_jobs]),
    [
      ['pod-0', true],
      ['disabled', false],
      ['draining', true],
      ['differs', false]
    ]
  )
  await replica.sendHeartbeat()
  t.equal(replica.jobRunners, 2)
  draining = true
  await others[1]?.replica.sendHeartbeat()
  await replica.sendHeartbeat()
  t.equal(replica.jobRunners, 1)
})
