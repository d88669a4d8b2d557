import t from 'tap'
import { SECOND } from '../../src/async/durations.ts'
import { schedulerStop } from '../../src/scheduler/scheduler-stop.ts'
import { frozenScheduler } from '../support/runs.ts'

t.test('a stop has an effect until its end', async t => {
  const { database, clock, reset } = await frozenScheduler(t)
  await reset()
  const stop = () => database.transaction(schedulerStop, { deadlineMs: 8_000 })
  t.equal(await stop(), undefined)
  const [row] = await database.run(
    sql => sql<{ changed_at: Date }[]>`
      update scheduler_state set running = false, changed_by = 'ada', changed_at = now() returning changed_at`
  )
  const at = row?.changed_at ?? new Date(0)
  t.strictSame({ ...(await stop()) }, { by: 'ada', at, reason: null, until: null })
  await database.run(
    sql => sql`update scheduler_state set reason = 'deploy', resumes_at = now() + interval '2 seconds'`
  )
  t.strictSame({ ...(await stop()) }, { by: 'ada', at, reason: 'deploy', until: new Date(at.getTime() + 2 * SECOND) })
  await clock.advance(1.999)
  t.equal((await stop())?.by, 'ada')
  await clock.advance(0.001)
  t.equal(await stop(), undefined)
})
