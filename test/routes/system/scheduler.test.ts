import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import { SECOND } from '../../../src/async/durations.ts'
import { every } from '../../../src/scheduler/trigger.ts'
import { startApp } from '../../support/app.ts'
import { assertRows } from '../../support/assert-rows.ts'
import { testJob } from '../../support/jobs.ts'
import { migratedDatabase } from '../../support/migrated-database.ts'
import { adminOf } from '../../support/session.ts'

const ISO = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/

const { url: databaseUrl } = await migratedDatabase(t)
const jobs = [
  testJob('update_open_orders', async () => ({}), { name: 'Update Open Orders', trigger: every(29 * SECOND) })
]
// The schedule does not start the job, because a scheduled run during the test would change the status.
const { app } = await startApp(t, { DATABASE_URL: databaseUrl, SCHEDULER_ENABLED: 'false' }, { jobs })
while (app.scheduler.health().heartbeatAgeMs === null) await sleep(5)
const admin = await adminOf(app)

async function call(method: string, path: string, body?: object, language = 'ko') {
  const { status, answer } = await admin.send(method, `/api/system/${path}`, body, { 'accept-language': language })
  return { status, body: answer }
}

/** The jobs of a status. */
function jobsOf(body: Record<string, unknown>): object[] {
  return (body.status as { jobs: object[] }).jobs
}

const control = (body: object, language?: string) => call('POST', 'scheduler-control', body, language)

t.test('the status has the fields of the contract', async t => {
  const { status, body } = await call('GET', 'scheduler-status')
  t.equal(status, 200)
  t.strictSame(Object.keys(body), ['success', 'scheduler_running', 'status'])
  t.match(body, {
    success: true,
    scheduler_running: true,
    status: {
      is_running: true,
      jobs_count: 1,
      last_check: ISO
    }
  })
  const { jobs, ...rest } = body.status as { jobs: object[]; runners: number }
  assertRows(t, jobs, [{ trigger: 'interval[0:00:29]', paused: false, overdue: false, running: null }])
  t.match(jobs[0], { next_run_time: ISO })
  t.equal(rest.runners, 0, 'the only replica has SCHEDULER_ENABLED=false')
  t.strictSame(Object.keys(rest), ['is_running', 'jobs_count', 'last_check', 'runners'])
  t.strictSame(Object.keys(jobs[0] ?? {}), [
    'id',
    'name',
    'next_run_time',
    'trigger',
    'paused',
    'overdue',
    'running',
    'last_run'
  ])
  t.equal((await admin.send('HEAD', '/api/system/scheduler-status')).status, 200)
})

t.test('start, stop and restart return the new state, also without a change', async t => {
  for (const [action, running] of [
    ['stop', false],
    ['stop', false],
    ['start', true],
    ['start', true],
    ['restart', true],
    ['stop', false],
    ['restart', true]
  ] as const) {
    const { status, body } = await control({ action })
    t.equal(status, 200)
    t.match(body, { success: true, message: String, scheduler_running: running })
    t.hasStrict((await call('GET', 'scheduler-status')).body, { scheduler_running: running })
  }
  t.hasStrict((await control({ action: 'start' })).body, { message: '스케줄러가 시작되었습니다' })
  t.hasStrict((await control({ action: 'start' }, 'en')).body, { message: 'The scheduler was started' })
})

t.test('the status of a stop has the actor, the reason and the end, and jobs have no next run', async t => {
  await control({ action: 'stop', reason: 'exchange maintenance', for_minutes: 30 })
  const { body } = await call('GET', 'scheduler-status')
  t.match(body, {
    status: {
      is_running: false,
      stopped: { by: 'ada', reason: 'exchange maintenance', at: ISO, resumes_at: ISO }
    }
  })
  assertRows(t, jobsOf(body), [{ next_run_time: null, overdue: false }])
  await control({ action: 'stop' })
  t.hasStrict((await call('GET', 'scheduler-status')).body, { status: { stopped: { reason: null, resumes_at: null } } })
  await control({ action: 'start' })
})

t.test('a paused job has the actor and the reason, and no next run', async t => {
  t.hasStrict(await call('POST', 'jobs/update_open_orders/pause', { reason: 'noisy' }), {
    status: 200,
    body: { success: true, job_id: 'update_open_orders', paused: true }
  })
  const { body } = await call('GET', 'scheduler-status')
  assertRows(t, jobsOf(body), [{ paused: true, paused_by: 'ada', paused_reason: 'noisy', next_run_time: null }])
  t.hasStrict(await call('POST', 'jobs/update_open_orders/resume'), { status: 200, body: { paused: false } })
  const [job, ...others] = jobsOf((await call('GET', 'scheduler-status')).body)
  t.match(job, { paused: false, next_run_time: ISO })
  t.strictSame(others, [])
})

t.test('an invalid request changes nothing', async t => {
  for (const body of [
    {},
    { action: 'pause' },
    { action: 'stop', for_minutes: '30' },
    { action: 'stop', for_minutes: 0 },
    { action: 'start', for_minutes: 5 },
    { action: 'stop', reason: '' },
    { action: 'stop', force: true }
  ]) {
    const answer = await control(body)
    t.match(answer, { status: 400, body: { success: false, code: 'VALIDATION_FAILED', details: Array } })
  }
  t.equal((await call('POST', 'jobs/update_open_orders/pause', { why: 'x' })).status, 400)
  const { body } = await call('GET', 'scheduler-status')
  t.equal(body.scheduler_running, true)
  assertRows(t, jobsOf(body), [{ paused: false }])
})
