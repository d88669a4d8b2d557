import { setTimeout as sleep } from 'node:timers/promises'
import postgres from 'postgres'
import t, { type Test } from 'tap'
import { HOUR, MINUTE, SECOND } from '../../src/async/durations.ts'
import type { Job } from '../../src/scheduler/job.ts'
import { SchedulerStore } from '../../src/scheduler/store.ts'
import { every } from '../../src/scheduler/trigger.ts'
import { captureLog, startApp } from '../support/app.ts'
import { assertRows } from '../support/assert-rows.ts'
import { createTestDatabase } from '../support/database.ts'
import { heldJob, testJob } from '../support/jobs.ts'

async function start(
  t: Test,
  jobs: Job[],
  { url = '', environment = {} }: { url?: string; environment?: object } = {}
) {
  const databaseUrl = url === '' ? (await createTestDatabase(t)).url : url
  const { lines, logger } = captureLog('info')
  const { app } = await startApp(t, { DATABASE_URL: databaseUrl, INSTANCE_ID: 'one', ...environment }, { jobs, logger })
  while (app.scheduler.health().heartbeatAgeMs === null) await sleep(5)
  const sql = postgres(databaseUrl, { max: 1, onnotice: () => undefined })
  t.teardown(() => sql.end({ timeout: 0 }))
  const logged = async (msg: string) => {
    for (;;) {
      const line = lines.find(line => line.msg === msg)
      if (line) return line
      await sleep(5)
    }
  }
  return { app, scheduler: app.scheduler, sql, logged, url: databaseUrl }
}

async function until<T>(ask: () => Promise<T> | T, fits: (answer: T) => boolean): Promise<T> {
  for (;;) {
    const answer = await ask()
    if (fits(answer)) return answer
    await sleep(5)
  }
}

const nothing = async () => ({})

t.test('a due job runs with its due time, and the status shows its next due time', async t => {
  const due: Date[] = []
  const job = testJob(
    'due',
    async ({ scheduledFor, trigger }) => {
      if (trigger === 'schedule') due.push(scheduledFor)
      return {}
    },
    { trigger: every(SECOND) }
  )
  const { scheduler, sql } = await start(t, [job])
  await until(
    () => due.length,
    count => count >= 2
  )
  t.ok(due.every(date => date.getTime() % SECOND === 0))
  const [row] = await sql`select trigger, instance from job_runs where outcome = 'succeeded' limit 1`
  t.hasStrict(row, { trigger: 'schedule', instance: 'one' })
  const { running, jobs } = await scheduler.status()
  t.equal(running, true)
  t.match(jobs[0], { paused: false, overdue: false, lastRun: { outcome: String } })
  t.equal(Number(jobs[0]?.nextRunTime) % SECOND, 0)
})

t.test('a replica with SCHEDULER_ENABLED=false runs manual triggers only', async t => {
  const job = testJob('due', async ({ trigger }) => ({ trigger }), { trigger: every(SECOND) })
  const { scheduler, sql } = await start(t, [job], { environment: { SCHEDULER_ENABLED: 'false' } })
  const triggered = await scheduler.trigger(job, { actor: 'ada' })
  t.equal(triggered.kind, 'started')
  if (triggered.kind === 'started') t.hasStrict(await triggered.run.finished, { result: { trigger: 'manual' } })
  const [clock] = await sql`select next_fire_at from scheduled_jobs`
  t.equal(clock?.next_fire_at, null, 'no replica sets a fire time')
})

t.test('a replica whose settings differ from those of an older one runs no job until that one has ended', async t => {
  const job = () => testJob('due', nothing, { trigger: every(SECOND) })
  const first = await start(t, [job()], { environment: { TIME_ZONE: 'Asia/Seoul' } })
  const other = { INSTANCE_ID: 'two', TIME_ZONE: 'UTC', LANGUAGE: 'en' }
  const second = await start(t, [job()], { url: first.url, environment: other })
  const line = await second.logged('settings differ between replicas, no job runs here')
  t.strictSame([line.settings, line.other], [['TIME_ZONE', 'LANGUAGE'], 'one'])
  const [own] = second.scheduler.jobs
  if (own) await t.rejects(second.scheduler.trigger(own, { actor: 'ada' }), { code: 'SETTINGS_DIFFER' })
  const settings = async () => (await second.app.health.checks()).find(({ name }) => name === 'settings')
  t.hasStrict(await settings(), { status: 'degraded', code: 'settings_differ' })
  await until(
    () => first.sql`select from job_runs where outcome = 'succeeded'`,
    rows => rows.length >= 2
  )
  t.strictSame([...(await first.sql`select distinct instance from job_runs`)], [{ instance: 'one' }])

  await first.app.close()
  await second.app.replicas.sendHeartbeat()
  t.hasStrict(await settings(), { status: 'ok', code: null })
  await until(
    () => second.sql`select from job_runs where instance = 'two'`,
    rows => rows.length >= 1
  )
})

t.test('the fires that were missed while no replica ran are one row with count and window, and are logged', async t => {
  const { url } = await createTestDatabase(t)
  const hourly = () => testJob('hourly', nothing, { trigger: every(HOUR) })
  const first = await start(t, [hourly()], { url })
  await until(
    () => first.sql`select next_fire_at from scheduled_jobs where next_fire_at is not null`,
    rows => rows.length === 1
  )
  await first.app.close()
  const [set] = await first.sql<{ from: Date; until: Date }[]>`
    update scheduled_jobs set next_fire_at = next_fire_at - interval '6 hours'
    returning next_fire_at as from, next_fire_at + interval '5 hours' as until`

  const second = await start(t, [hourly()], { url })
  const line = await second.logged('fires missed')
  const window = { from: set?.from.toISOString(), until: set?.until.toISOString() }
  t.hasStrict(line, { job_id: 'hourly', count: 6, ...window })
  const rows = await second.sql`select outcome, skipped_count, result from job_runs`
  assertRows(t, rows, [{ outcome: 'skipped', skipped_count: 6, result: { missed: 6, ...window } }])
})

t.test('a job runs after the database clock was set back by two hours, at times that already have runs', async t => {
  const { url } = await createTestDatabase(t)
  const first = await start(t, [testJob('due', nothing, { trigger: every(HOUR) })], { url })
  await first.app.close()
  // The state as if the clock had been set back by two hours to the present time.
  await first.sql`
    update scheduled_jobs set definition = 'interval[0:00:01]', next_fire_at = now() + interval '2 hours',
      first_due_at = now(), last_success_at = now() + interval '2 hours'`
  await first.sql`
    insert into job_runs (run_id, job_id, trigger, instance, scheduled_for, finished_at, outcome)
    select gen_random_uuid(), 'due', 'schedule', 'before', at, at, 'succeeded'
    from generate_series(date_trunc('second', now()), now() + interval '2 hours', interval '1 second') at`
  const second = await start(t, [testJob('due', nothing, { trigger: every(SECOND) })], { url })
  await until(
    () => second.sql`select from job_runs where outcome = 'succeeded' and instance = 'one'`,
    rows => rows.length >= 2
  )
  const line = await second.logged('fire times too far ahead, set again: the database clock was set back')
  t.strictSame(Object.keys(line.seconds_ahead as object), ['due'])
  t.equal((await second.scheduler.status()).jobs[0]?.overdue, false)
})

t.test('a job that catches up runs once for all missed fires within its grace', async t => {
  const { url } = await createTestDatabase(t)
  const hourly = () =>
    testJob('hourly', nothing, { trigger: every(HOUR), misfire: { policy: 'catch_up', graceMs: HOUR } })
  const first = await start(t, [hourly()], { url })
  await until(
    () => first.sql`select next_fire_at from scheduled_jobs where next_fire_at is not null`,
    rows => rows.length === 1
  )
  await first.app.close()
  await first.sql`update scheduled_jobs set next_fire_at = next_fire_at - interval '3 hours'`
  const second = await start(t, [hourly()], { url })
  const [row] = await until(
    () => second.sql`select trigger, outcome from job_runs where outcome <> 'skipped'`,
    rows => rows.length > 0
  )
  t.ok(['catch_up', 'schedule'].includes(String(row?.trigger)), 'on time only in the first seconds of an hour')
  const [missed] = await second.sql`select skipped_count from job_runs where outcome = 'skipped'`
  t.equal(missed?.skipped_count, 2)
})

t.test('a job that takes too long is aborted and fails with JOB_TIMEOUT, with any result', async t => {
  const slow = testJob(
    'slow',
    async ({ signal }) => {
      await new Promise(resolve => signal.addEventListener('abort', resolve))
      return { done: 1 }
    },
    { maxRunMs: 50 }
  )
  const { scheduler, sql } = await start(t, [slow])
  const triggered = await scheduler.trigger(slow, { actor: 'ada' })
  if (triggered.kind !== 'started') throw new Error('not started')
  t.hasStrict(await triggered.run.finished, { outcome: 'failed', errorCode: 'JOB_TIMEOUT' })
  assertRows(t, await sql`select outcome, error_code from job_runs`, [{ outcome: 'failed', error_code: 'JOB_TIMEOUT' }])
})

t.test('a run that lost its lease is aborted, and its next transaction is rejected', async t => {
  const held = heldJob('held')
  const { scheduler, sql } = await start(t, [held.job])
  const begun = held.begun()
  await scheduler.trigger(held.job, { actor: 'ada' })
  const { transaction, signal, runId } = await begun
  t.equal(await transaction(async tx => (await tx`select 1 as one`)[0]?.one), 1)
  await sql`update job_runs set outcome = 'abandoned', finished_at = now() where run_id = ${runId}`
  await t.rejects(
    transaction(async () => t.fail('the transaction runs')),
    { code: 'LEASE_LOST' }
  )
  t.equal(signal.aborted, true)
  t.hasStrict(signal.reason, { code: 'LEASE_LOST' })
})

t.test('no replica abandons a run while one of its transactions is open, even when its lease has expired', async t => {
  const held = heldJob('held')
  const { app, scheduler, sql } = await start(t, [held.job])
  const begun = held.begun()
  await scheduler.trigger(held.job, { actor: 'ada' })
  const { transaction, runId } = await begun
  const store = new SchedulerStore(app.db)
  await sql`update job_runs set lease_expires_at = now() + interval '2 seconds' where run_id = ${runId}`
  await transaction(async tx => {
    await tx`select pg_sleep(2.1)`
    t.strictSame((await store.poll()).abandoned, [], 'its lease has expired, and its row is locked')
  })
  const rows = await until(
    () => sql`select error_code from job_runs where run_id = ${runId} and outcome = 'abandoned'`,
    rows => rows.length === 1
  )
  assertRows(t, rows, [{ error_code: 'LEASE_EXPIRED' }], 'abandoned as soon as the transaction has ended')
})

t.test('a job that throws stops neither the scheduler nor the process', async t => {
  let runs = 0
  const broken = testJob(
    'broken',
    () => {
      runs++
      throw new Error('not even a promise')
    },
    { trigger: every(SECOND) }
  )
  const { sql } = await start(t, [broken])
  await until(
    () => runs,
    count => count >= 2
  )
  const rows = await until(
    () => sql`select error_code from job_runs where outcome = 'failed'`,
    rows => rows.length >= 2
  )
  t.ok(rows.every(({ error_code }) => error_code === 'JOB_FAILED'))
})

t.test('a fire that comes due while the job runs is counted on that run, and does not run', async t => {
  const held = heldJob('held', { trigger: every(SECOND) })
  const { sql } = await start(t, [held.job])
  const { runId } = await held.begun()
  await until(
    () => sql`select from job_runs where run_id = ${runId} and skipped_count >= 2`,
    rows => rows.length === 1
  )
  t.equal((await sql`select from job_runs where outcome = 'running'`).length, 1)
  held.release()
})

t.test('a paused job does not fire, and a resumed one fires at its next due time', async t => {
  const job = testJob('due', nothing, { trigger: every(SECOND) })
  const other = testJob('other', nothing, { trigger: every(SECOND) })
  const { scheduler, sql } = await start(t, [job, other])
  await scheduler.setPaused('due', true, { actor: 'ada', reason: 'too loud' })
  await scheduler.setPaused('due', true, { actor: 'ada', reason: 'too loud' })
  const [paused] = (await scheduler.status()).jobs
  t.hasStrict(paused, { paused: true, pausedBy: 'ada', pausedReason: 'too loud', nextRunTime: null, overdue: false })
  const [since] = await sql<{ at: Date }[]>`select clock_timestamp() as at`
  await until(
    () => sql`select from job_runs where job_id = 'other' and started_at > ${since?.at ?? null}`,
    rows => rows.length >= 2
  )
  t.equal((await sql`select from job_runs where job_id = 'due' and started_at > ${since?.at ?? null}`).length, 0)
  await scheduler.setPaused('due', false, { actor: 'ada' })
  await until(
    () => sql`select from job_runs where job_id = 'due' and started_at > ${since?.at ?? null}`,
    rows => rows.length > 0
  )
  t.equal(
    (await sql`select from job_runs where job_id = 'due' and outcome = 'skipped' and started_at > ${since?.at ?? null}`)
      .length,
    0
  )
  await t.rejects(scheduler.setPaused('nothing', true, { actor: 'ada' }), { code: 'JOB_NOT_FOUND' })
})

t.test('a stop with a duration ends automatically', async t => {
  const job = testJob('due', nothing, { trigger: every(SECOND) })
  const { scheduler, sql } = await start(t, [job])
  await scheduler.control('stop', { actor: 'ada', reason: 'deploy', forMinutes: 30 })
  const { stopped, running } = await scheduler.status()
  t.equal(running, false)
  t.match(stopped, { by: 'ada', reason: 'deploy', resumesAt: Date })
  t.equal(Math.round((Number(stopped?.resumesAt) - Number(stopped?.at)) / MINUTE), 30)
  await sql`update scheduler_state set resumes_at = now()`
  const resumed = await until(
    () => scheduler.status(),
    ({ running }) => running
  )
  t.equal(resumed.stopped, null)
  assertRows(t, await sql`select changed_by, reason, resumes_at from scheduler_state`, [
    { changed_by: 'scheduler', reason: null, resumes_at: null }
  ])
})

t.test('a control whose transaction fails changes nothing', async t => {
  const { scheduler } = await start(t, [testJob('due', nothing)])
  const failing = async () => {
    throw new Error('no audit row')
  }
  await t.rejects(scheduler.control('stop', { actor: 'ada' }, failing), { message: 'no audit row' })
  t.equal((await scheduler.status()).running, true)
})

t.test('a job that does not succeed in time is overdue, in the status and in the health details', async t => {
  const job = testJob('late', async () => Promise.reject(new Error('never')), { trigger: every(SECOND), maxRunMs: 100 })
  const { scheduler } = await start(t, [job])
  await until(
    () => scheduler.health(),
    ({ overdue }) => overdue.includes('late')
  )
  assertRows(t, (await scheduler.status()).jobs, [{ overdue: true }])
  await scheduler.control('stop', { actor: 'ada' })
  assertRows(t, (await scheduler.status()).jobs, [{ overdue: false }])
})

t.test('a job whose schedule has changed runs by the new schedule', async t => {
  const { url } = await createTestDatabase(t)
  const first = await start(t, [testJob('changed', nothing, { trigger: every(100_000 * HOUR) })], { url })
  await until(
    () => first.sql`select from scheduled_jobs where next_fire_at is not null`,
    rows => rows.length === 1
  )
  await first.app.close()
  let runs = 0
  const again = testJob(
    'changed',
    async () => {
      runs++
      return {}
    },
    { trigger: every(SECOND) }
  )
  await start(t, [again], { url })
  await until(
    () => runs,
    count => count > 0
  )
  t.pass('the job runs by the new schedule')
})

t.test('close aborts and records a run that does not end in time, and no run starts', async t => {
  const held = heldJob('held')
  const { app, scheduler, sql } = await start(t, [held.job], { environment: { SHUTDOWN_SECONDS: '1' } })
  const begun = held.begun()
  await scheduler.trigger(held.job, { actor: 'ada' })
  await begun
  app.health.state.setDraining()
  await t.rejects(scheduler.trigger(held.job, { actor: 'ada' }), { code: 'DRAINING' })
  await app.close()
  assertRows(t, await sql`select outcome, error_code, lease_expires_at from job_runs`, [
    { outcome: 'failed', error_code: 'SHUTDOWN', lease_expires_at: null }
  ])
})

t.test('close waits for a run that ends in time', async t => {
  const held = heldJob('held')
  const { app, scheduler, sql } = await start(t, [held.job])
  const begun = held.begun()
  await scheduler.trigger(held.job, { actor: 'ada' })
  await begun
  const closing = app.close()
  held.release()
  await closing
  assertRows(t, await sql`select outcome from job_runs`, [{ outcome: 'succeeded' }])
})

t.test('each replica runs a replica job itself, at its own due times', async t => {
  const { url } = await createTestDatabase(t)
  const runs: string[] = []
  const of = (name: string) =>
    testJob(
      'own',
      async () => {
        runs.push(name)
        return { name }
      },
      { trigger: every(SECOND), scope: 'replica' }
    )
  const one = await start(t, [of('one')], { url })
  await start(t, [of('two')], { url, environment: { INSTANCE_ID: 'two' } })
  await until(
    () => new Set(runs).size,
    size => size === 2
  )
  const { jobs } = await until(
    () => one.scheduler.status(),
    ({ jobs }) => jobs[0]?.lastRun !== null
  )
  t.equal(jobs.length, 1)
  t.hasStrict(jobs[0]?.lastRun, { outcome: 'succeeded', instance: 'one', result: { name: 'one' } })
  t.equal((await one.sql`select from job_runs`).length, 0, 'the database has no run of the job')
  await one.scheduler.control('stop', { actor: 'ada' })
  assertRows(t, (await one.scheduler.status()).jobs, [{ nextRunTime: null }])
})
