import t from 'tap'
import { MINUTE, SECOND } from '../../src/async/durations.ts'
import { JobTimes } from '../../src/scheduler/job-times.ts'
import type { RunRecord } from '../../src/scheduler/run-history.ts'
import { healthOf, statusOf, WEDGED_MS } from '../../src/scheduler/status.ts'
import type { JobRecord, StatusRecord } from '../../src/scheduler/store.ts'
import { every } from '../../src/scheduler/trigger.ts'
import { testJob } from '../support/jobs.ts'

const NOW_MS = 1_000_000
const at = (ms: number) => new Date(ms)

const run: RunRecord = {
  runId: 'r',
  jobId: 'a',
  trigger: 'schedule',
  actor: null,
  instance: 'one',
  scheduledFor: at(900_000),
  startedAt: at(900_001),
  finishedAt: null,
  durationMs: null,
  outcome: 'running',
  progress: null,
  result: null,
  errorCode: null
}
const ended: RunRecord = {
  ...run,
  runId: 'e',
  outcome: 'succeeded',
  finishedAt: at(900_100),
  durationMs: 99,
  result: {}
}

const jobRecord: JobRecord = {
  jobId: 'a',
  paused: false,
  pausedBy: null,
  pausedReason: null,
  nextFireAt: at(1_020_000),
  firstDueAt: at(600_000),
  lastDoneAt: at(990_000),
  running: run,
  lastRun: ended
}
const state: StatusRecord = {
  running: true,
  changedBy: 'ada',
  changedAt: at(500_000),
  reason: 'deploy',
  resumesAt: null,
  now: at(NOW_MS),
  jobs: [jobRecord]
}

function local(scope: 'cluster' | 'replica' = 'cluster') {
  const job = testJob('a', async () => ({}), { trigger: every(MINUTE), maxRunMs: 30 * SECOND, scope })
  return { times: new JobTimes(job), running: undefined, lastRun: undefined, isLate: false }
}

t.test('a cluster job has the state of the database', async t => {
  const { times, ...rest } = local()
  t.strictSame(statusOf(state, [{ times, ...rest }], 250, 2), {
    running: true,
    stopped: null,
    lastCheck: at(NOW_MS - 250),
    runners: 2,
    jobs: [
      {
        job: times.job,
        nextRunTime: at(1_020_000),
        paused: false,
        pausedBy: null,
        pausedReason: null,
        overdue: false,
        running: run,
        lastRun: ended
      }
    ]
  })
})

t.test('a replica job has the state of this replica', async t => {
  const own = { ...local('replica'), running: { ...run, runId: 'own' }, lastRun: { ...ended, runId: 'last' } }
  own.times.dueMs = 1_010_000
  own.times.firstDueMs = 700_000
  const [job] = statusOf(state, [own], null, null).jobs
  t.hasStrict(job, {
    nextRunTime: at(1_010_000),
    overdue: true,
    running: { runId: 'own' },
    lastRun: { runId: 'last' }
  })
})

t.test('a job that is not yet registered has the next time of its schedule', async t => {
  const status = statusOf({ ...state, jobs: [] }, [local(), local('replica')], null, null)
  t.equal(status.lastCheck, null)
  for (const job of status.jobs) {
    t.hasStrict(job, { nextRunTime: at(1_020_000), paused: false, overdue: false, running: null, lastRun: null })
  }
  t.equal(status.jobs.length, 2)
})

t.test('a job that is late by the monotonic clock is overdue, unless it is paused or stopped', async t => {
  const late = { ...local(), isLate: true }
  const overdue = (record: Partial<typeof state>) => statusOf({ ...state, ...record }, [late], 0, null).jobs[0]?.overdue
  t.equal(overdue({}), true)
  t.equal(overdue({ jobs: [{ ...jobRecord, paused: true }] }), false)
  t.equal(overdue({ running: false }), false)
})

t.test('a job without times in the database has the next time of its schedule, and is not overdue', async t => {
  const unset = { ...jobRecord, nextFireAt: null, firstDueAt: null, lastDoneAt: null }
  const [job] = statusOf({ ...state, jobs: [unset] }, [local()], null, null).jobs
  t.hasStrict(job, { nextRunTime: at(1_020_000), overdue: false })
})

t.test('the status of a stop has since when, by whom and until when, and no job is due or overdue', async t => {
  const late = { ...jobRecord, lastDoneAt: at(600_000) }
  t.equal(statusOf({ ...state, jobs: [late] }, [local()], 0, null).jobs[0]?.overdue, true)
  const stopped = statusOf({ ...state, running: false, resumesAt: at(2_000_000), jobs: [late] }, [local()], 0, null)
  t.strictSame(stopped.stopped, { by: 'ada', at: at(500_000), reason: 'deploy', resumesAt: at(2_000_000) })
  t.hasStrict(stopped.jobs[0], { nextRunTime: null, overdue: false, lastRun: { runId: 'e' } })
})

t.test('a paused job has by whom and why, and is neither due nor overdue', async t => {
  const paused = { ...jobRecord, lastDoneAt: null, paused: true, pausedBy: 'ada', pausedReason: 'too loud' }
  const [job] = statusOf({ ...state, jobs: [paused] }, [local()], 0, null).jobs
  t.hasStrict(job, { nextRunTime: null, paused: true, pausedBy: 'ada', pausedReason: 'too loud', overdue: false })
})

t.test('the scheduler is unknown before the first poll, and wedged when polls no longer succeed', async t => {
  const { times } = local()
  times.firstDueMs = 600_000
  t.equal(WEDGED_MS, 10_000)
  const unknown = { running: undefined, pollAgeMs: null, pollMs: null, databaseMs: undefined, monotonicMs: 0 }
  t.strictSame(healthOf(unknown, [times], 3), {
    running: null,
    heartbeatAgeMs: null,
    pollMs: null,
    wedged: false,
    overdue: [],
    runners: 3
  })
  const known = { running: true, pollAgeMs: WEDGED_MS, pollMs: 2.6, databaseMs: NOW_MS, monotonicMs: 0 }
  t.strictSame(healthOf(known, [local().times, times], 3), {
    running: true,
    heartbeatAgeMs: WEDGED_MS,
    pollMs: 3,
    wedged: false,
    overdue: ['a'],
    runners: 3
  })
  const wedged = healthOf({ ...known, running: false, pollAgeMs: WEDGED_MS + 0.4 }, [], 3)
  t.strictSame(wedged, { running: false, heartbeatAgeMs: WEDGED_MS, pollMs: 3, wedged: true, overdue: [], runners: 3 })
})
