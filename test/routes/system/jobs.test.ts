import t from 'tap'
import { DatabaseUnavailableError } from '../../../src/database/failure.ts'
import { housekeeping } from '../../../src/jobs/housekeeping.ts'
import { JobError, LeaseLostError } from '../../../src/scheduler/job.ts'
import { captureLog, startApp, untilStatus } from '../../support/app.ts'
import { heldJob, testJob } from '../../support/jobs.ts'
import { migratedDatabase } from '../../support/migrated-database.ts'
import { adminOf } from '../../support/session.ts'

const { url: databaseUrl } = await migratedDatabase(t)
const held = heldJob('held')
const local = heldJob('local', { scope: 'replica' })
const days: (string | undefined)[] = []
const jobs = [
  testJob('fine', async ({ progress, log }) => {
    log.info('from within')
    progress(3, 3)
    return { rows: 3 }
  }),
  testJob('half', async () => ({ checked: 3, failed: 2, refused: 0 }), { undone: ['failed', 'refused'] }),
  testJob('broken', async () => {
    throw new Error('secret detail')
  }),
  testJob('unlucky', async () => {
    throw new DatabaseUnavailableError('database_failing', new Error('secret detail'))
  }),
  testJob('lost', async () => {
    throw new LeaseLostError()
  }),
  testJob('picky', async () => {
    throw new JobError('NO_MONEY')
  }),
  testJob(
    'of_a_day',
    async ({ date }) => {
      days.push(date)
      return {}
    },
    { takesDate: (date, nowMs) => Date.parse(date) < nowMs }
  ),
  testJob('housekeeping', housekeeping()),
  held.job,
  local.job
]
const { lines, logger } = captureLog()
const { app, url } = await startApp(t, { DATABASE_URL: databaseUrl, INSTANCE_ID: 'one' }, { jobs, logger })
await untilStatus(`${url}/health/startup`, 200)
await untilRegistered()
const admin = await adminOf(app)

async function untilRegistered() {
  while (app.scheduler.health().heartbeatAgeMs === null) await new Promise(resolve => setTimeout(resolve, 10))
}

async function call(method: string, path: string, body?: object) {
  const { status, headers, answer } = await admin.send(method, `/api/system/${path}`, body)
  return { status, location: headers.get('location'), body: answer }
}

const trigger = (job_type: string, rest: object = {}) => call('POST', 'trigger-job', { job_type, ...rest })

t.test('every log line of a run has the ids of the run and of its request', async t => {
  const { headers, answer } = await admin.send('POST', '/api/system/trigger-job', { job_type: 'fine' })
  const run = { job_id: 'fine', run_id: answer.run_id, request_id: headers.get('request-id') }
  for (const msg of ['from within', 'run succeeded']) {
    t.match(
      lines.findLast(line => line.msg === msg),
      run,
      msg
    )
  }
})

t.test('a trigger returns the result of the run, and the history has it', async t => {
  const { status, body } = await trigger('fine')
  t.equal(status, 200)
  t.match(body, { success: true, outcome: 'succeeded', result: { rows: 3 }, duration_ms: Number })
  const { body: one } = await call('GET', `job-runs/${body.run_id}`)
  t.hasStrict(one, {
    run: {
      run_id: body.run_id,
      job_id: 'fine',
      trigger: 'manual',
      actor: 'ada',
      instance: 'one',
      outcome: 'succeeded',
      progress: { done: 3, total: 3 },
      result: { rows: 3 },
      error: null
    }
  })
})

t.test('the message is that of the specification', async t => {
  const response = await fetch(`${url}/api/system/trigger-job`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', cookie: String(admin.cookie) },
    body: JSON.stringify({ job_type: 'fine' })
  })
  t.hasStrict(await response.json(), { success: true, message: '작업 완료' })
})

t.test('a run that left something undone is partial, with its reasons, in the answer and in the history', async t => {
  const { status, body } = await trigger('half')
  t.equal(status, 200)
  const run = { run_id: body.run_id, outcome: 'partial', result: { checked: 3, failed: 2, refused: 0 } }
  t.hasStrict(body, { ...run, success: true, undone: { failed: 2 } })
  t.strictSame(Object.keys(Object(body.undone)), ['failed'], 'only the reasons that apply')
  const messages: unknown[] = []
  for (const language of ['ko', 'en']) {
    const headers = { 'accept-language': language }
    const { answer } = await admin.send('POST', '/api/system/trigger-job', { job_type: 'half' }, headers)
    messages.push(answer.message)
  }
  t.strictSame(messages, ['작업이 일부만 완료되었습니다', 'The job has ended, and not everything was done'])
  const one = await call('GET', `job-runs/${body.run_id}`)
  t.hasStrict(one.body, { run: { ...run, undone: { failed: 2 }, error: null } })
  const { body: page } = await call('GET', 'job-runs?outcome=partial')
  const runs = page.runs as { job_id: string; undone: unknown }[]
  t.strictSame([...new Set(runs.map(({ job_id }) => job_id))], ['half'])
  t.hasStrict(runs[0], { undone: { failed: 2 } })
  const { body: scheduler } = await call('GET', 'scheduler-status')
  const shown = (scheduler.status as { jobs: { id: string }[] }).jobs.find(({ id }) => id === 'half')
  t.hasStrict(shown, { last_run: { outcome: 'partial' }, overdue: false })
  t.hasStrict(await trigger('half', { unless_run_within_seconds: 60 }), { body: { outcome: 'partial' } })
  t.notOk((await trigger('half', { unless_run_within_seconds: 60 })).body.skipped, 'a partial run is no success')
})

t.test('a job that fails because of the database is answered with 503 and Retry-After', async t => {
  const { status, headers, answer } = await admin.send('POST', '/api/system/trigger-job', { job_type: 'unlucky' })
  t.strictSame([status, answer.code, headers.get('retry-after')], [503, 'DATABASE_UNAVAILABLE', '5'])
  const { body: history } = await call('GET', `job-runs/${answer.run_id}`)
  t.hasStrict(history, { run: { outcome: 'failed', error: 'DATABASE_UNAVAILABLE' } })
})

t.test('a run that lost its lease is abandoned, and answered with 503 and Retry-After', async t => {
  const { status, headers, answer } = await admin.send('POST', '/api/system/trigger-job', { job_type: 'lost' })
  t.strictSame([status, answer.code, headers.get('retry-after')], [503, 'DATABASE_UNAVAILABLE', '5'])
  const { body: history } = await call('GET', `job-runs/${answer.run_id}`)
  t.hasStrict(history, { run: { outcome: 'abandoned', error: 'LEASE_EXPIRED', result: null } })
})

t.test('a failed job is not answered with success, and the answer has no cause', async t => {
  const { status, body } = await trigger('broken')
  t.equal(status, 500)
  t.match(body, { success: false, code: 'JOB_FAILED', run_id: String })
  t.notMatch(JSON.stringify(body), /secret/)
  const { body: history } = await call('GET', `job-runs/${body.run_id}`)
  t.hasStrict(history, { run: { outcome: 'failed', error: 'JOB_FAILED', result: null } })

  const { body: picky } = await trigger('picky')
  const { body: known } = await call('GET', `job-runs/${picky.run_id}`)
  t.hasStrict(known, { run: { outcome: 'failed', error: 'NO_MONEY' } }, 'a failure with an error code of the job')
})

t.test('a running job is answered with 202, and a second trigger is rejected with its run id', async t => {
  const begun = held.begun()
  const { status, body, location } = await trigger('held', { wait: false })
  t.equal(status, 202)
  t.equal(location, `/api/system/job-runs/${body.run_id}`)
  await begun
  const { body: running } = await call('GET', `job-runs/${body.run_id}`)
  t.hasStrict(running, { run: { outcome: 'running', finished_at: null } })
  const second = await trigger('held')
  t.equal(second.status, 409)
  t.match(second.body, { code: 'JOB_ALREADY_RUNNING', run_id: body.run_id, instance: 'one', started_at: String })

  const { body: status1 } = await call('GET', 'scheduler-status')
  const shown = (status1.status as { jobs: { id: string }[] }).jobs.find(({ id }) => id === 'held')
  t.hasStrict(shown, { running: { run_id: body.run_id, instance: 'one' } })
  held.release()
  await untilOutcome(String(body.run_id), 'succeeded')
})

t.test('a client that disconnects does not abort the run', async t => {
  const begun = held.begun()
  const gone = new AbortController()
  const asked = fetch(`${url}/api/system/trigger-job`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', cookie: String(admin.cookie) },
    body: JSON.stringify({ job_type: 'held' }),
    signal: gone.signal
  })
  const { runId, signal } = await begun
  gone.abort()
  await t.rejects(asked)
  t.equal(signal.aborted, false)
  held.release()
  await untilOutcome(runId, 'succeeded')
})

t.test('a trigger is skipped when the job succeeded recently', async t => {
  const { body: first } = await trigger('fine')
  const { status, body } = await trigger('fine', { unless_run_within_seconds: 60 })
  t.equal(status, 200)
  t.hasStrict(body, { success: true, skipped: true, run_id: first.run_id, outcome: 'succeeded', result: { rows: 3 } })
  const { body: failed } = await trigger('broken', { unless_run_within_seconds: 60 })
  const { body: again } = await trigger('broken', { unless_run_within_seconds: 60 })
  t.not(again.run_id, failed.run_id, 'a failed run does not count as recent')
})

t.test('an invalid request is rejected before a run', async t => {
  for (const [body, status, code] of [
    [{ job_type: 'update_orders' }, 404, 'JOB_NOT_FOUND'],
    [{}, 400, 'VALIDATION_FAILED'],
    [{ job_type: 'fine', wait: 'yes' }, 400, 'VALIDATION_FAILED'],
    [{ job_type: 'fine', force: true }, 400, 'VALIDATION_FAILED'],
    [{ job_type: 'fine', unless_run_within_seconds: 0 }, 400, 'VALIDATION_FAILED'],
    [{ job_type: 'fine', date: '2026-11-22' }, 400, 'VALIDATION_FAILED'],
    [{ job_type: 'of_a_day', date: '2026-02-30' }, 400, 'VALIDATION_FAILED'],
    [{ job_type: 'of_a_day', date: '9999-12-31' }, 400, 'VALIDATION_FAILED']
  ] as const) {
    const answer = await call('POST', 'trigger-job', body)
    t.equal(answer.status, status, JSON.stringify(body))
    t.equal(answer.body.code, code)
  }
  t.equal((await call('POST', 'jobs/nothing/pause')).status, 404)
  t.equal((await call('GET', 'job-runs/not-an-id')).status, 400)
  t.equal((await call('GET', 'job-runs/00000000-0000-4000-8000-000000000000')).status, 404)
  t.equal((await call('GET', 'job-runs?limit=0')).status, 400)
  t.equal((await call('GET', 'job-runs?limit=201')).status, 400)
})

t.test('the date is passed to a job that accepts one', async t => {
  await trigger('of_a_day', { date: '2026-11-22' })
  await trigger('of_a_day')
  t.strictSame(days, ['2026-11-22', undefined])
})

t.test('the history is read in pages and with filters', async t => {
  for (let i = 0; i < 3; i++) await trigger('fine')
  const first = await call('GET', 'job-runs?job_id=fine&limit=2')
  const runs = first.body.runs as { run_id: string; started_at: string }[]
  t.equal(runs.length, 2)
  t.equal(first.body.next_before, runs[1]?.run_id)
  const second = await call('GET', `job-runs?job_id=fine&limit=2&before=${first.body.next_before}`)
  const older = second.body.runs as { run_id: string; started_at: string }[]
  t.notOk(older.some(({ run_id }) => runs.some(run => run.run_id === run_id)))
  const starts = [...runs, ...older].map(({ started_at }) => started_at)
  t.strictSame(starts, [...starts].sort().reverse(), 'newest first')
  const failed = await call('GET', 'job-runs?outcome=failed')
  t.ok((failed.body.runs as { outcome: string }[]).every(({ outcome }) => outcome === 'failed'))
})

t.test('a replica job runs on this replica, one run at a time, and its last run is kept', async t => {
  const begun = local.begun()
  const { status, body } = await trigger('local', { wait: false })
  t.equal(status, 202)
  await begun
  t.hasStrict(await trigger('local'), { status: 409, body: { run_id: body.run_id } })
  t.hasStrict((await call('GET', `job-runs/${body.run_id}`)).body, { run: { outcome: 'running' } })
  local.release()
  await untilOutcome(String(body.run_id), 'succeeded')
  t.hasStrict(await trigger('local', { unless_run_within_seconds: 60 }), { status: 200, body: { skipped: true } })
})

t.test('housekeeping removes old rows, in transactions of its run', async t => {
  const { body } = await trigger('fine')
  await app.db.run(
    sql => sql`update job_runs set started_at = now() - interval '31 days' where run_id = ${String(body.run_id)}`
  )
  await app.db.run(
    sql =>
      sql`insert into replicas (instance_id, version, last_seen_at) values ('dead', '0', now() - interval '2 days')`
  )
  await app.db.run(
    sql => sql`
      insert into exchange_bans (exchange, host, until_at, reported_by) values
        ('OKX', 'old', now() - interval '25 hours', 'one'), ('OKX', 'recent', now() - interval '1 hour', 'one'),
        ('OKX', 'current', now() + interval '1 hour', 'one')`
  )
  const { status, body: swept } = await trigger('housekeeping')
  t.equal(status, 200)
  t.hasStrict(swept.result, { old_runs: 1, surplus_runs: 0, dead_replicas: 1, ended_bans: 1 })
  const bans = await app.db.run(sql => sql<{ host: string }[]>`select host from exchange_bans order by host`)
  t.strictSame(
    bans.map(({ host }) => host),
    ['current', 'recent']
  )
  t.equal((await call('GET', `job-runs/${body.run_id}`)).status, 404)
})

async function untilOutcome(runId: string, outcome: string) {
  for (;;) {
    const { body } = await call('GET', `job-runs/${runId}`)
    if ((body.run as { outcome: string }).outcome === outcome) return
    await new Promise(resolve => setTimeout(resolve, 5))
  }
}
