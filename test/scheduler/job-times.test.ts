import t from 'tap'
import { HOUR, MINUTE, SECOND } from '../../src/async/durations.ts'
import { JobTimes } from '../../src/scheduler/job-times.ts'
import { every } from '../../src/scheduler/trigger.ts'
import { testJob } from '../support/jobs.ts'

const nothing = async () => ({})
const read = { jobId: 'a', paused: false, nextFireMs: 70_000, firstDueMs: 10_000, lastDoneMs: 20_000 }
const running = { nowMs: 65_000, running: true, changed: false, monotonicMs: 5_000 }

function timesOf(scope: 'cluster' | 'replica') {
  const times = new JobTimes(testJob('a', nothing, { trigger: every(MINUTE), maxRunMs: 30 * SECOND, scope }))
  const values = () => {
    const { dueMs, paused, firstDueMs, lastDoneMs } = times
    return { dueMs, paused, firstDueMs, lastDoneMs }
  }
  return { times, values }
}

t.test('a cluster job has the times of the database, and no due time while it is stopped or paused', async t => {
  const { times, values } = timesOf('cluster')
  t.strictSame(values(), { dueMs: undefined, paused: false, firstDueMs: null, lastDoneMs: null })
  times.apply(read, running)
  t.strictSame(values(), { dueMs: 70_000, paused: false, firstDueMs: 10_000, lastDoneMs: 20_000 })
  times.apply({ ...read, paused: true }, running)
  t.strictSame(values(), { dueMs: undefined, paused: true, firstDueMs: 10_000, lastDoneMs: 20_000 })
  times.apply(read, { ...running, running: false })
  t.equal(times.dueMs, undefined)
  times.apply({ ...read, nextFireMs: null }, running)
  t.equal(times.dueMs, undefined)
})

t.test('the due time of a cluster job does not change during a claim', async t => {
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
  t.strictSame(values(), { dueMs: 120_000, paused: false, firstDueMs: 120_000, lastDoneMs: null })
  times.apply(read, { ...running, nowMs: 125_000 })
  t.equal(times.dueMs, 120_000, 'a poll does not move a due time that has come')
  times.apply(read, { ...running, nowMs: 125_000, changed: true })
  t.strictSame(values(), { dueMs: 180_000, paused: false, firstDueMs: 120_000, lastDoneMs: null })
  times.dueMs = undefined
  times.claiming = true
  times.apply(read, running)
  times.firstDueMs = null
  times.apply(read, running)
  t.strictSame([times.dueMs, times.firstDueMs], [undefined, null], 'no due time during a claim')
})

t.test('a job is overdue by its own period and maximum run time', async t => {
  const { times } = timesOf('cluster')
  t.equal(times.isOverdue(10 ** 9, 0), false, 'not without a first due time')
  times.apply(read, running)
  t.strictSame([times.isOverdue(110_000, 0), times.isOverdue(110_001, 0)], [false, true])
})

t.test('a job is overdue by the monotonic clock, independent of jumps of the database clock', async t => {
  const { times } = timesOf('cluster')
  t.equal(times.isLate(10 ** 9), false)
  times.apply(read, running)
  // Due since 45 s before the poll; one period and one maximum run time are 90 s.
  t.strictSame([times.isLate(50_000), times.isLate(50_001)], [false, true])
  times.apply(read, { ...running, nowMs: 65_000 - HOUR, monotonicMs: 6_000 })
  t.strictSame([times.isLate(50_000), times.isLate(50_001)], [false, true], 'the due time is observed once')
  t.equal(times.isOverdue(65_000 - HOUR, 50_001), true)
  times.apply({ ...read, lastDoneMs: 50_000 }, { ...running, monotonicMs: 6_000 })
  t.strictSame([times.isLate(81_000), times.isLate(81_001)], [false, true], 'a success is observed')
  times.apply({ ...read, firstDueMs: null }, running)
  t.equal(times.isLate(10 ** 9), false, 'not while it is stopped or paused')
  times.apply({ ...read, firstDueMs: 65_000 + HOUR }, running)
  t.strictSame(
    [times.isLate(155_000), times.isLate(155_001)],
    [false, true],
    'a due time is at most one period in the future'
  )
})

t.test('a fire time after the second next one is replaced', async t => {
  const { times } = timesOf('cluster')
  const fire = { jobId: 'a', nextFireMs: 120_000, latestMs: 180_000 }
  t.strictSame(times.missingFire(null, 65_000), fire)
  t.equal(times.missingFire(60_000, 65_000), undefined, 'a past fire time is due')
  t.equal(times.missingFire(180_000, 65_000), undefined)
  t.strictSame(times.missingFire(180_001, 65_000), fire)
  t.strictSame(times.missingFire(2 * HOUR, 65_000), fire)
})

t.test('a replica job computes its due time again when the clock was set back', async t => {
  const { times, values } = timesOf('replica')
  times.apply(read, { ...running, nowMs: 65_000 + 2 * HOUR })
  times.lastDoneMs = 66_000 + 2 * HOUR
  times.apply(read, running)
  t.strictSame(values(), { dueMs: 120_000, paused: false, firstDueMs: 120_000, lastDoneMs: null })
})
