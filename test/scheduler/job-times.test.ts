import t from 'tap'
import { MINUTE, SECOND } from '../../src/async/durations.ts'
import { JobTimes } from '../../src/scheduler/job-times.ts'
import { every } from '../../src/scheduler/trigger.ts'
import { testJob } from '../support/jobs.ts'

const nothing = async () => ({})
const read = { jobId: 'a', paused: false, nextFireMs: 70_000, firstDueMs: 10_000, lastSuccessMs: 20_000 }
const running = { nowMs: 65_000, running: true, changed: false }

function timesOf(scope: 'cluster' | 'replica') {
  const times = new JobTimes(testJob('a', nothing, { trigger: every(MINUTE), maxRunMs: 30 * SECOND, scope }))
  const values = () => {
    const { dueMs, paused, firstDueMs, lastSuccessMs } = times
    return { dueMs, paused, firstDueMs, lastSuccessMs }
  }
  return { times, values }
}

t.test('a cluster job has the times of the database, and no due time while it is off', async t => {
  const { times, values } = timesOf('cluster')
  times.apply(read, running)
  t.strictSame(values(), { dueMs: 70_000, paused: false, firstDueMs: 10_000, lastSuccessMs: 20_000 })
  times.apply({ ...read, paused: true }, running)
  t.strictSame(values(), { dueMs: undefined, paused: true, firstDueMs: 10_000, lastSuccessMs: 20_000 })
  times.apply(read, { ...running, running: false })
  t.equal(times.dueMs, undefined)
  times.apply({ ...read, nextFireMs: null }, running)
  t.equal(times.dueMs, undefined)
})

t.test('the due time of a cluster job stays as it is during a claim', async t => {
  const { times } = timesOf('cluster')
  times.claiming = true
  times.apply(read, running)
  t.equal(times.dueMs, undefined)
  times.claiming = false
  times.apply(read, running)
  t.equal(times.dueMs, 70_000)
})

t.test('a replica job computes its due time once, and again after a change of the scheduler', async t => {
  const { times, values } = timesOf('replica')
  times.apply(read, running)
  t.strictSame(values(), { dueMs: 120_000, paused: false, firstDueMs: 120_000, lastSuccessMs: null })
  times.apply(read, { ...running, nowMs: 125_000 })
  t.equal(times.dueMs, 120_000, 'a poll does not move a due time that has come')
  times.apply(read, { ...running, nowMs: 125_000, changed: true })
  t.strictSame(values(), { dueMs: 180_000, paused: false, firstDueMs: 120_000, lastSuccessMs: null })
  times.dueMs = undefined
  times.claiming = true
  times.apply(read, running)
  t.equal(times.dueMs, undefined, 'during a claim there is none')
})

t.test('a job is overdue by its own period and maximum run time', async t => {
  const { times } = timesOf('cluster')
  t.equal(times.isOverdue(10 ** 9), false, 'not before it has a first due time')
  times.apply(read, running)
  t.strictSame([times.isOverdue(110_000), times.isOverdue(110_001)], [false, true])
})
