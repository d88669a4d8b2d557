/** `Scheduler` on a database, without the service around it. */
import { once } from 'node:events'
import { setImmediate, setTimeout as sleep } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { HOUR, SECOND } from '../../src/async/durations.ts'
import { ServiceError } from '../../src/errors.ts'
import type { Job } from '../../src/scheduler/job.ts'
import type { RunEndEvent } from '../../src/scheduler/run.ts'
import { Scheduler, type SchedulerOptions, type Triggered } from '../../src/scheduler/scheduler.ts'
import { SchedulerStore } from '../../src/scheduler/store.ts'
import { every, type Trigger } from '../../src/scheduler/trigger.ts'
import { captureLog } from '../support/app.ts'
import { heldJob, testJob } from '../support/jobs.ts'
import { openTransaction, untilWaiting } from '../support/locks.ts'
import { emptyScheduler, frozenScheduler, insertRun } from '../support/runs.ts'
import { tradingDatabase } from '../support/trading.ts'

const database = await tradingDatabase(t)
const nothing = async () => ({})
const ADA = { actor: 'ada' }

/** A job that must not run, and the ids of its runs. */
function unwantedJob(id: string) {
  const runs: string[] = []
  const job = testJob(id, async ({ runId }) => {
    runs.push(runId)
    return {}
  })
  return { job, runs }
}

/** A scheduler that is not started, and the ends of runs that it reports. */
function setUp(t: Test, jobs: Job[], options: Partial<SchedulerOptions> = {}) {
  const events = new EventTarget()
  const ends: RunEndEvent[] = []
  const { lines, logger } = captureLog('info')
  const scheduler = new Scheduler({
    database,
    jobs,
    instance: () => 'one',
    enabled: true,
    applicationName: 'test',
    log: logger,
    isDraining: () => false,
    onRunEnd: end => {
      ends.push(end)
      events.dispatchEvent(new Event('end'))
    },
    ...options
  })
  t.teardown(async () => {
    await scheduler.drain(0)
    await scheduler.close()
  })
  const logged = (msg: string) => lines.filter(line => line.msg === msg).map(({ pid, hostname, time, ...rest }) => rest)
  return {
    scheduler,
    ends,
    logged,
    /** Resolves when `count` ends were reported. */
    async ended(count: number) {
      while (ends.length < count) await once(events, 'end')
      await setImmediate()
    }
  }
}

/** Registers the job with a due time `lateMs` ago. @returns the due time */
async function registerDue(job: Job, lateMs: number): Promise<number> {
  const store = new SchedulerStore(database)
  await store.register([{ jobId: job.id, definition: job.trigger.definition }])
  const { nowMs } = await store.poll()
  const dueMs = nowMs - lateMs
  await store.setFireTimes([{ jobId: job.id, nextFireMs: dueMs, latestMs: dueMs }])
  return dueMs
}

/** A trigger that is due once, `lateMs` before the first time that is passed to `next`. */
function firesOnce(lateMs: number): Trigger {
  let dueMs: number | undefined
  return {
    ...every(1_000 * HOUR),
    next(afterMs) {
      if (dueMs !== undefined) return afterMs + 1_000 * HOUR
      dueMs = afterMs - lateMs
      return dueMs
    },
    latest: () => dueMs ?? 0,
    count: () => 0
  }
}

/** Makes the scheduler poll, and resolves after the poll. */
async function polled(scheduler: Scheduler): Promise<void> {
  const ageMs = () => scheduler.health().heartbeatAgeMs ?? Number.POSITIVE_INFINITY
  while (ageMs() < 2) await setImmediate()
  const before = ageMs()
  await scheduler.control('start', ADA)
  while (ageMs() >= before) await setImmediate()
}

function runOf(triggered: Triggered) {
  if (triggered.kind !== 'started') throw new Error('not started')
  return triggered.run
}

/** The error of a rejected call. */
async function refusalOf(call: Promise<unknown>): Promise<ServiceError> {
  try {
    await call
  } catch (err) {
    if (err instanceof ServiceError) return err
    throw err
  }
  throw new Error('the call is not rejected')
}

t.test('a due fire runs once, with its due time and its delay', async t => {
  await emptyScheduler(database)
  const due: unknown[] = []
  const job = testJob('a', async ({ trigger, scheduledFor }) => {
    due.push([trigger, scheduledFor.getTime()])
    return {}
  })
  const dueMs = await registerDue(job, 300)
  const { scheduler, ends, ended, logged } = setUp(t, [job])
  await scheduler.start()
  await ended(1)
  t.strictSame(due, [['schedule', dueMs]])
  const [{ startDelayMs = 0, durationMs = -1, ...end } = {}] = ends
  t.strictSame(end, { jobId: 'a', outcome: 'succeeded' })
  t.ok(startDelayMs >= 300, `started ${startDelayMs} ms late`)
  t.ok(durationMs >= 0, `ran ${durationMs} ms`)
  t.strictSame(logged('fires missed'), [])
  const [run] = await scheduler.runs({ limit: 9 })
  t.strictSame([run?.scheduledFor?.getTime(), run?.actor, run?.instance], [dueMs, null, 'one'])
})

t.test('a fire that is ahead of the clock of the database waits for it', async t => {
  const { database, clock, reset } = await frozenScheduler(t)
  const nowMs = await reset()
  const due: number[] = []
  const job = testJob('a', async ({ scheduledFor }) => {
    due.push(scheduledFor.getTime())
    return {}
  })
  const store = new SchedulerStore(database)
  await store.register([{ jobId: 'a', definition: job.trigger.definition }])
  await store.setFireTimes([{ jobId: 'a', nextFireMs: nowMs + 1, latestMs: nowMs + 1 }])
  const { scheduler, ends, ended, logged } = setUp(t, [job], { database })
  await scheduler.start()
  // Meanwhile the monotonic clock of this replica passes the due time.
  for (let polls = 0; polls < 3; polls++) await polled(scheduler)
  t.strictSame([due, ends, logged('claim failed')], [[], [], []])
  await clock.advance(0.001)
  await ended(1)
  t.strictSame([due, ends.map(({ outcome }) => outcome)], [[nowMs + 1], ['succeeded']])
})

t.test('one of two replicas runs a fire, the other continues without an error', async t => {
  await emptyScheduler(database)
  const job = testJob('a', nothing)
  await registerDue(job, 0)
  const replicas = [setUp(t, [job]), setUp(t, [job])]
  for (const { scheduler } of replicas) await scheduler.start()
  while (replicas.every(({ ends }) => ends.length === 0)) await sleep(1)
  for (const { scheduler } of replicas) for (let polls = 0; polls < 2; polls++) await polled(scheduler)
  t.strictSame(
    replicas.flatMap(({ ends }) => ends.map(({ outcome }) => outcome)),
    ['succeeded']
  )
  t.strictSame(
    replicas.flatMap(({ logged }) => logged('claim failed')),
    []
  )
})

t.test('a fire that is too late does not run, and is logged with its window', async t => {
  await emptyScheduler(database)
  const { job, runs } = unwantedJob('a')
  const dueMs = await registerDue(job, HOUR)
  const { scheduler, logged } = setUp(t, [job])
  await scheduler.start()
  const at = new Date(dueMs).toISOString()
  while (logged('fires missed').length === 0) await sleep(1)
  t.strictSame(logged('fires missed'), [{ level: 40, job_id: 'a', count: 1, from: at, until: at, msg: 'fires missed' }])
  t.equal((await scheduler.runs({ limit: 9 }))[0]?.outcome, 'skipped')
  await polled(scheduler)
  t.strictSame([runs, logged('claim failed')], [[], []])
})

t.test('a fire of a job that still runs is reported as skipped, and counted on its run', async t => {
  await emptyScheduler(database)
  const { job, runs } = unwantedJob('a')
  await registerDue(job, 0)
  await insertRun(database, { outcome: 'running', leaseSeconds: 60 })
  const { scheduler, ends, ended, logged } = setUp(t, [job])
  await scheduler.start()
  await ended(1)
  t.strictSame(ends, [{ jobId: 'a', outcome: 'skipped' }])
  t.equal(logged('fire skipped, the job still runs').length, 1)
  const [row] = await database.run(sql => sql<{ skipped_count: number }[]>`select skipped_count from job_runs`)
  t.equal(row?.skipped_count, 1)
  t.strictSame(runs, [])
})

t.test('abandoned runs of the jobs of this replica are reported', async t => {
  await emptyScheduler(database)
  for (const jobId of ['of another version', 'a'])
    await insertRun(database, { jobId, outcome: 'running', leaseSeconds: -1 })
  const { scheduler, ends, ended } = setUp(t, [testJob('b', nothing), testJob('a', nothing)])
  await scheduler.start()
  await ended(1)
  t.strictSame(ends, [{ jobId: 'a', outcome: 'abandoned' }])
})

t.test('a disabled replica, and one that may run no job, fire nothing', async t => {
  for (const options of [{ enabled: false }, { refusal: () => 'DRAINING' as const }]) {
    await emptyScheduler(database)
    const { job, runs } = unwantedJob('a')
    const dueMs = await registerDue(job, 0)
    const { scheduler } = setUp(t, [job], options)
    await scheduler.start()
    for (let polls = 0; polls < 3; polls++) await polled(scheduler)
    const [row] = await database.run(sql => sql<{ at: Date }[]>`select next_fire_at as at from scheduled_jobs`)
    t.equal(row?.at.getTime(), dueMs, 'its due time is kept for another replica')
    t.strictSame([await scheduler.runs({ limit: 9 }), runs], [[], []])
  }
})

t.test('a due replica job runs, one that is too late is logged, and one that still runs is skipped', async t => {
  await emptyScheduler(database)
  const due = testJob('due', nothing, { scope: 'replica', trigger: firesOnce(300) })
  const late = { ...unwantedJob('late').job, scope: 'replica', trigger: firesOnce(HOUR) } as const
  const held = heldJob('held', { scope: 'replica', trigger: firesOnce(0) })
  const { scheduler, ends, ended, logged } = setUp(t, [due, late, held.job])
  const begun = held.begun()
  await scheduler.trigger(held.job, ADA)
  await begun
  await scheduler.start()
  await ended(2)
  const of = (id: string) => ends.filter(({ jobId }) => jobId === id)
  const [{ startDelayMs = 0, durationMs = -1, ...end } = {}] = of('due')
  t.strictSame(end, { jobId: 'due', outcome: 'succeeded' })
  t.ok(startDelayMs >= 300, `started ${startDelayMs} ms late`)
  t.ok(durationMs >= 0, `ran ${durationMs} ms`)
  await polled(scheduler)
  t.equal(of('due').length, 1)
  t.strictSame(of('held'), [{ jobId: 'held', outcome: 'skipped' }])
  while (logged('fires missed').length === 0) await sleep(1)
  t.strictSame(
    logged('fires missed').map(({ job_id, count }) => [job_id, count]),
    [['late', 1]]
  )
  const last = (await scheduler.status()).jobs.map(({ job, lastRun }) => [job.id, lastRun?.trigger, lastRun?.actor])
  t.strictSame(last, [
    ['due', 'schedule', null],
    ['late', undefined, undefined],
    ['held', undefined, undefined]
  ])
  t.strictSame(logged('claim failed'), [])
  held.release()
})

t.test('a manual run is found while it runs, with its progress, and afterwards', async t => {
  await emptyScheduler(database)
  const held = heldJob('held')
  const { scheduler, ends } = setUp(t, [held.job])
  await new SchedulerStore(database).register([{ jobId: 'held', definition: 'never' }])
  const begun = held.begun()
  const run = runOf(await scheduler.trigger(held.job, { ...ADA, date: '2026-11-22', requestId: 'q' }))
  const { progress, trigger, date } = await begun
  t.strictSame([trigger, date], ['manual', '2026-11-22'])
  progress(1, 2)
  t.hasStrict(await scheduler.runById(run.runId), { outcome: 'running', actor: 'ada', progress: { done: 1, total: 2 } })
  const busy = await refusalOf(scheduler.trigger(held.job, ADA))
  t.equal(busy.code, 'JOB_ALREADY_RUNNING')
  t.strictSame(busy.extra, {
    run_id: run.runId,
    started_at: run.options.startedAt.toISOString(),
    instance: 'one'
  })
  held.release()
  const { durationMs } = await run.finished
  t.strictSame(ends, [{ jobId: 'held', outcome: 'succeeded', durationMs }])
  t.hasStrict(await scheduler.runById(run.runId), { outcome: 'succeeded', progress: { done: 1, total: 2 } })
  const recent = await scheduler.trigger(held.job, { ...ADA, unlessRunWithinSeconds: 60 })
  t.equal(recent.kind === 'recent' && recent.run.runId, run.runId)
  const missing = scheduler.runById('00000000-0000-4000-8000-000000000000')
  t.equal((await refusalOf(missing)).code, 'RUN_NOT_FOUND')
  await database.run(sql => sql`delete from job_runs`)
  t.equal((await refusalOf(scheduler.runById(run.runId))).code, 'RUN_NOT_FOUND', 'only the history has it')
})

t.test('a run of another replica has the progress from the history', async t => {
  await emptyScheduler(database)
  const held = heldJob('held')
  const { scheduler } = setUp(t, [held.job])
  const begun = held.begun()
  await scheduler.trigger(held.job, ADA)
  const { progress } = await begun
  progress(1, 2)
  const other = await insertRun(database, { outcome: 'running', leaseSeconds: 60 })
  t.equal((await scheduler.runById(other)).progress, null)
  held.release()
})

t.test('a job is found by its type, and decides which days it accepts', async t => {
  await emptyScheduler(database)
  const times: number[] = []
  const daily = testJob('daily', nothing, {
    type: 'daily_type',
    takesDate: (date, nowMs) => {
      times.push(nowMs)
      return date === '2026-11-22'
    }
  })
  const plain = testJob('plain', nothing)
  const { scheduler } = setUp(t, [plain, daily])
  t.equal(scheduler.jobOfType('daily_type'), daily)
  t.equal(scheduler.jobOfType('daily'), undefined)
  const before = Date.now()
  t.strictSame([scheduler.takesDate(daily, '2026-11-22'), scheduler.takesDate(daily, '2026-11-23')], [true, false])
  t.equal(scheduler.takesDate(plain, '2026-11-22'), false)
  t.ok(
    times.every(ms => ms >= before && ms <= Date.now()),
    `${times} are the time of this replica before a poll`
  )
})

t.test('a job that this replica does not have is rejected', async t => {
  await emptyScheduler(database)
  const { scheduler } = setUp(t, [testJob('a', nothing)])
  t.equal((await refusalOf(scheduler.trigger(testJob('b', nothing), ADA))).code, 'JOB_NOT_FOUND')
  t.equal((await refusalOf(scheduler.setPaused('b', true, ADA))).code, 'JOB_NOT_FOUND')
  t.throws(() => setUp(t, [testJob('a', nothing), testJob('a', nothing)]), {
    message: 'two jobs have the same id'
  })
})

t.test('a replica that drains, or may run no job, rejects a trigger with Retry-After', async t => {
  await emptyScheduler(database)
  let draining = true
  let refusal: 'DRAINING' | 'DATABASE_UNAVAILABLE' | undefined
  const job = testJob('a', nothing)
  const { scheduler } = setUp(t, [job], { isDraining: () => draining, refusal: () => refusal })
  const refused = async () => {
    const { code, headers } = await refusalOf(scheduler.trigger(job, ADA))
    return { code, headers }
  }
  const headers = { 'retry-after': '5' }
  t.strictSame(await refused(), { code: 'DRAINING', headers })
  draining = false
  refusal = 'DATABASE_UNAVAILABLE'
  t.strictSame(await refused(), { code: 'DATABASE_UNAVAILABLE', headers })
  refusal = undefined
  t.equal((await scheduler.trigger(job, ADA)).kind, 'started')
  await scheduler.drain(SECOND)
  t.strictSame(await refused(), { code: 'DRAINING', headers })
})

t.test('a drain waits for a claim and a run that have begun, and then aborts the run', async t => {
  await emptyScheduler(database)
  const held = heldJob('held')
  const { scheduler, ends } = setUp(t, [held.job])
  await registerDue(held.job, 0)
  const holder = await openTransaction(t, database)
  await holder.sql`select from scheduled_jobs for update`
  const triggering = scheduler.trigger(held.job, ADA)
  await untilWaiting(database)
  const draining = scheduler.drain(0)
  await holder.commit()
  const run = runOf(await triggering)
  await draining
  t.equal(ends.length, 1, 'the end is recorded when the drain ends')
  t.hasStrict(await run.finished, { outcome: 'failed', errorCode: 'SHUTDOWN' })
  await scheduler.drain(HOUR)
})

t.test('a drain ends early when the last run has ended', async t => {
  await emptyScheduler(database)
  const held = heldJob('held')
  const { scheduler } = setUp(t, [held.job])
  const begun = held.begun()
  const run = runOf(await scheduler.trigger(held.job, ADA))
  const { signal } = await begun
  const draining = scheduler.drain(HOUR)
  await setImmediate()
  t.equal(signal.aborted, false)
  held.release()
  await draining
  t.hasStrict(await run.finished, { outcome: 'succeeded' })
})

t.test('a scheduler that was closed before the database is ready does not poll', async t => {
  await emptyScheduler(database)
  const { scheduler } = setUp(t, [testJob('a', nothing)])
  const starting = scheduler.start()
  await scheduler.close()
  await starting
  t.equal((await new SchedulerStore(database).status()).jobs.length, 0, 'no job is registered')
})

t.test('controls and pauses are logged, and return the new state', async t => {
  await emptyScheduler(database)
  const { scheduler, logged } = setUp(t, [testJob('a', nothing)])
  await new SchedulerStore(database).register([{ jobId: 'a', definition: 'never' }])
  const state = async () => {
    const { running, stopped, jobs } = await scheduler.status()
    return {
      running,
      reason: stopped?.reason,
      resumes: stopped?.resumesAt !== null,
      paused: jobs[0]?.paused
    }
  }
  t.strictSame(await scheduler.control('stop', { ...ADA, reason: 'deploy', forMinutes: 5 }), { running: false })
  t.strictSame(await state(), { running: false, reason: 'deploy', resumes: true, paused: false })
  t.strictSame(await scheduler.control('restart', { ...ADA, forMinutes: 5 }), { running: true })
  t.strictSame(await scheduler.control('start', ADA), { running: true })
  t.strictSame(
    logged('scheduler controlled').map(({ action }) => action),
    ['stop', 'restart', 'start']
  )
  await scheduler.setPaused('a', true, { ...ADA, reason: 'noisy' })
  t.equal((await state()).paused, true)
  await scheduler.setPaused('a', false, ADA)
  t.equal((await state()).paused, false)
  t.strictSame([logged('job paused').length, logged('job resumed').length], [1, 1])
  const [row] = await database.run(sql => sql<{ resumes_at: Date | null }[]>`select resumes_at from scheduler_state`)
  t.equal(row?.resumes_at, null, 'a restart has no end')
})

t.test('extra statements of a control or a pause run once, and a restart while running is a change', async t => {
  await emptyScheduler(database)
  const { scheduler } = setUp(t, [testJob('a', nothing)], { runners: () => 2 })
  await new SchedulerStore(database).register([{ jobId: 'a', definition: 'never' }])
  let written = 0
  const write = async () => {
    written++
  }
  await scheduler.control('restart', { actor: 'bob' }, write)
  t.equal(written, 1)
  const [row] = await database.run(sql => sql<{ changed_by: string }[]>`select changed_by from scheduler_state`)
  t.equal(row?.changed_by, 'bob')
  await scheduler.setPaused('a', true, { ...ADA, reason: 'noisy' }, write)
  t.equal(written, 2)
  const { jobs, runners } = await scheduler.status()
  t.hasStrict(jobs[0], { paused: true, pausedBy: 'ada', pausedReason: 'noisy' })
  t.strictSame([runners, scheduler.health().runners], [2, 2])
})

t.test('a control causes a poll at once', async t => {
  await emptyScheduler(database)
  const { scheduler } = setUp(t, [testJob('a', nothing)])
  await scheduler.start()
  while (scheduler.health().heartbeatAgeMs === null) await sleep(1)
  const { lastCheck } = await scheduler.status()
  t.type(lastCheck, Date)
  await scheduler.control('stop', ADA)
  while (scheduler.health().running !== false) await sleep(1)
  t.equal(scheduler.health().running, false)
})

t.test('a replica job runs once at a time on this replica, outside of the history', async t => {
  await emptyScheduler(database)
  const held = heldJob('own', { scope: 'replica' })
  const { scheduler, ends } = setUp(t, [held.job])
  const begun = held.begun()
  const run = runOf(await scheduler.trigger(held.job, ADA))
  await begun
  t.hasStrict(await scheduler.runById(run.runId), { outcome: 'running', trigger: 'manual' })
  t.hasStrict((await scheduler.status()).jobs[0], { running: { runId: run.runId }, lastRun: null })
  const busy = await refusalOf(scheduler.trigger(held.job, ADA))
  t.hasStrict(busy.extra, { run_id: run.runId })
  held.release()
  const { durationMs } = await run.finished
  t.strictSame(ends, [{ jobId: 'own', outcome: 'succeeded', durationMs }])
  t.hasStrict(await scheduler.runById(run.runId), { outcome: 'succeeded' })
  t.hasStrict((await scheduler.status()).jobs[0], { running: null, lastRun: { runId: run.runId } })
  const recent = await scheduler.trigger(held.job, { ...ADA, unlessRunWithinSeconds: 60 })
  t.equal(recent.kind === 'recent' && recent.run.runId, run.runId)
  t.strictSame(await scheduler.runs({ limit: 9 }), [])
})

t.test('a success of a replica job counts for its due times, a failure does not', async t => {
  await emptyScheduler(database)
  let fails = true
  const own = testJob(
    'own',
    async () => {
      if (fails) throw new Error('no')
      return {}
    },
    // The trigger is due an hour before each given time.
    { scope: 'replica', trigger: { ...every(SECOND), next: afterMs => afterMs - HOUR } }
  )
  const { scheduler, ended } = setUp(t, [own], { enabled: false })
  await scheduler.start()
  while (scheduler.health().heartbeatAgeMs === null) await sleep(1)
  t.strictSame(scheduler.health().overdue, ['own'])
  await runOf(await scheduler.trigger(own, ADA)).finished
  await ended(1)
  await polled(scheduler)
  t.hasStrict((await scheduler.status()).jobs[0], { overdue: true, lastRun: { outcome: 'failed' } })
  t.strictSame(scheduler.health().overdue, ['own'])
  fails = false
  await runOf(await scheduler.trigger(own, ADA)).finished
  // The next poll reads the success.
  await scheduler.control('start', ADA)
  while (scheduler.health().overdue.length > 0) await sleep(1)
  t.hasStrict((await scheduler.status()).jobs[0], { overdue: false, lastRun: { outcome: 'succeeded' } })
})
