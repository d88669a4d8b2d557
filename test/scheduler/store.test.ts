import postgres from 'postgres'
import t from 'tap'
import { MINUTE } from '../../src/async/durations.ts'
import type { Database } from '../../src/database/database.ts'
import { newClaim } from '../../src/scheduler/run.ts'
import { RunStore } from '../../src/scheduler/run-store.ts'
import { CHANNEL, type ControlChange, SchedulerStore } from '../../src/scheduler/store.ts'
import { assertRows } from '../support/assert-rows.ts'
import { openTransaction, untilWaiting } from '../support/locks.ts'
import { emptyScheduler, frozenScheduler, insertRun } from '../support/runs.ts'
import { tradingDatabase } from '../support/trading.ts'

const JOB = 'a_job'
const RESTART: ControlChange = { running: true, restart: true, actor: 'ada', reason: null, forMinutes: null }
const START: ControlChange = { ...RESTART, restart: false }
const STOP: ControlChange = { ...START, running: false }

const database = await tradingDatabase(t)
const shared = await frozenScheduler(t)

async function prepared(jobs = [JOB]) {
  await emptyScheduler(database)
  const store = new SchedulerStore(database)
  // Inserted one after the other, so that the rows have this order in the table.
  for (const jobId of jobs) await store.register([{ jobId, definition: 'never' }])
  return { database, store }
}

/** The jobs whose rows no other transaction has locked. */
async function freeJobs(database: Database): Promise<string[]> {
  const rows = await database.run(
    sql => sql<{ job_id: string }[]>`select job_id from scheduled_jobs order by job_id for update skip locked`
  )
  return rows.map(({ job_id }) => job_id)
}

t.test('a poll waits for no lock and skips locked rows until the next poll', async t => {
  const { database, store } = await prepared()
  const claim = newClaim('one')
  await new RunStore(database).claimManual(JOB, claim, { actor: 'ada' })
  await store.control({ ...STOP, forMinutes: 1 })
  await database.run(sql => sql`update scheduler_state set resumes_at = now() - interval '1 second'`)
  await database.run(sql => sql`update job_runs set lease_expires_at = now() - interval '1 second'`)
  const holder = await openTransaction(t, database)
  await holder.sql`select from scheduler_state for update`
  await holder.sql`select from scheduled_jobs for update`
  await holder.sql`select from job_runs for update`
  const during = await store.poll()
  t.equal(during.running, false)
  t.strictSame(during.abandoned, [])
  await holder.commit()
  const after = await store.poll()
  t.equal(after.running, true)
  t.strictSame(
    after.abandoned.map(({ runId }) => runId),
    [claim.runId]
  )
})

t.test('a start that waits for a concurrent stop takes effect after it', async t => {
  const { database, store } = await prepared()
  const holder = await openTransaction(t, database)
  await holder.sql`update scheduler_state set running = false`
  const starting = store.control(START)
  await untilWaiting(database)
  await holder.commit()
  await starting
  t.equal((await store.status()).running, true)
})

t.test('a start of a running scheduler changes nothing', async t => {
  const { database, store } = await prepared()
  await store.setFireTimes([{ jobId: JOB, nextFireMs: 1_000, latestMs: 1_000 }])
  const before = await store.status()
  await store.control(START)
  t.strictSame({ ...(await store.status()), now: null }, { ...before, now: null })
  await store.control(RESTART)
  const [job] = await database.run(
    sql => sql<{ next_fire_at: Date | null; first_due_at: Date | null }[]>`
      select next_fire_at, first_due_at from scheduled_jobs`
  )
  t.strictSame({ ...job }, { next_fire_at: null, first_due_at: new Date(1_000) }, 'a restart keeps the first due time')
  await store.control(STOP)
  await store.control(START)
  const [again] = await database.run(
    sql => sql<{ first_due_at: Date | null }[]>`select first_due_at from scheduled_jobs`
  )
  t.equal(again?.first_due_at, null, 'a stop resets it')
})

const multiple: Record<string, (store: SchedulerStore) => Promise<unknown>> = {
  register: store =>
    store.register(['three', 'two', 'one', 'four'].map(jobId => ({ jobId, definition: `of ${jobId}` }))),
  setFireTimes: store =>
    store.setFireTimes(['three', 'two', 'one', 'four'].map(jobId => ({ jobId, nextFireMs: 1_000, latestMs: 1_000 }))),
  control: store => store.control(RESTART)
}

for (const [name, work] of Object.entries(multiple)) {
  t.test(`${name} locks the rows of several jobs in the order of their ids`, async t => {
    // Not in the order of their ids.
    const { database, store } = await prepared(['two', 'three', 'one', 'four'])
    const holder = await openTransaction(t, database)
    await holder.sql`select from scheduled_jobs where job_id = 'three' for update`
    const working = work(store)
    await untilWaiting(database)
    t.strictSame(await freeJobs(database), ['two'], 'the rows before the locked one are locked, those after it are not')
    await holder.commit()
    await working
    t.strictSame(await freeJobs(database), ['four', 'one', 'three', 'two'])
  })
}

t.test('a fire time too far in the future is replaced, and other future times of the job are set to now', async t => {
  const { database, store } = await prepared()
  const times = async () => {
    const [row] = await database.run(
      sql => sql<{ next_fire_at: Date; first_due_at: Date; is_past: boolean }[]>`
        select next_fire_at, first_due_at, last_success_at <= clock_timestamp() as is_past from scheduled_jobs`
    )
    return { ...row }
  }
  await database.run(
    sql => sql`
      update scheduled_jobs set next_fire_at = ${new Date(5_000)}, first_due_at = ${new Date(4_000)},
        last_success_at = now() + interval '2 hours'`
  )
  await store.setFireTimes([{ jobId: JOB, nextFireMs: 1_000, latestMs: 5_000 }])
  t.strictSame(await times(), { next_fire_at: new Date(5_000), first_due_at: new Date(4_000), is_past: false })
  await store.setFireTimes([{ jobId: JOB, nextFireMs: 1_000, latestMs: 4_999 }])
  t.strictSame(await times(), { next_fire_at: new Date(1_000), first_due_at: new Date(1_000), is_past: true })
})

t.test('a poll shortens a lease that is longer than the maximum, and does not change the others', async t => {
  const { database, store } = await prepared()
  const claim = newClaim('one')
  await new RunStore(database).claimManual(JOB, claim, { actor: 'ada' })
  const lease = async () => {
    const [row] = await database.run(
      sql => sql<{ seconds: number }[]>`
        select round(extract(epoch from lease_expires_at - clock_timestamp()))::int as seconds from job_runs`
    )
    return row?.seconds
  }
  await database.run(sql => sql`update job_runs set lease_expires_at = clock_timestamp() + interval '29 seconds'`)
  await store.poll()
  t.equal(await lease(), 29)
  await database.run(sql => sql`update job_runs set lease_expires_at = clock_timestamp() + interval '31 seconds'`)
  await store.poll()
  t.equal(await lease(), 15)
})

/** A store on a database whose clock is stopped at a whole millisecond. */
async function frozen() {
  const { database, clock, reset } = shared
  const nowMs = await reset()
  const store = new SchedulerStore(database)
  const times = async () => {
    const { jobs } = await store.poll()
    return jobs.sort((a, b) => a.jobId.localeCompare(b.jobId))
  }
  return { database, clock, store, times, nowMs }
}

/** A fire time of a job that is not too far in the future. */
const fireOf = (jobId: string, nextFireMs: number) => ({ jobId, nextFireMs, latestMs: nextFireMs })
const never = (...jobIds: string[]) => jobIds.map(jobId => ({ jobId, definition: 'never' }))
const unset = { paused: false, nextFireMs: null, firstDueMs: null, lastDoneMs: null }

t.test('a job gets a fire time when it has none, and a new one only after a change of its schedule', async t => {
  const { store, times } = await frozen()
  await store.register(never('a', 'b'))
  await store.setFireTimes([fireOf('a', 1_001), fireOf('b', 2_002)])
  const [a, b] = [
    { ...unset, jobId: 'a', nextFireMs: 1_001, firstDueMs: 1_001 },
    { ...unset, jobId: 'b', nextFireMs: 2_002, firstDueMs: 2_002 }
  ]
  t.strictSame(await times(), [a, b])
  await store.setFireTimes([fireOf('a', 5_000)])
  t.strictSame(await times(), [a, b])
  await store.register([...never('a'), { jobId: 'b', definition: 'always' }])
  t.strictSame(await times(), [a, { ...unset, jobId: 'b' }])
  await store.control(RESTART)
  await store.setFireTimes([fireOf('a', 5_000)])
  t.strictSame((await times())[0], { ...a, nextFireMs: 5_000 }, 'a restart keeps the first due time')
})

t.test('a paused job and one of a stopped scheduler get no fire time', async t => {
  const { store, times } = await frozen()
  await store.register(never('a', 'b'))
  const set = () => store.setFireTimes(['a', 'b'].map(jobId => fireOf(jobId, 1_000)))
  await store.control(STOP)
  await set()
  const [a, b] = [
    { ...unset, jobId: 'a' },
    { ...unset, jobId: 'b' }
  ]
  t.strictSame(await times(), [a, b])
  await store.control(START)
  await store.pause('a', { paused: true, actor: 'ada', reason: null })
  await set()
  t.strictSame(await times(), [
    { ...a, paused: true },
    { ...b, nextFireMs: 1_000, firstDueMs: 1_000 }
  ])
})

t.test('a pause removes the fire times of its job only, a repeated one changes its reason', async t => {
  const { store, times } = await frozen()
  await store.register(never('a', 'b'))
  const set = () => store.setFireTimes(['a', 'b'].map(jobId => fireOf(jobId, 1_000)))
  await set()
  const due = { ...unset, nextFireMs: 1_000, firstDueMs: 1_000 }
  const paused = async () => {
    const { jobs } = await store.status()
    const job = jobs.find(({ jobId }) => jobId === 'a')
    return [job?.paused, job?.pausedBy, job?.pausedReason]
  }
  await store.pause('a', { paused: true, actor: 'ada', reason: 'noisy' })
  t.strictSame(await paused(), [true, 'ada', 'noisy'])
  t.strictSame(await times(), [
    { ...unset, jobId: 'a', paused: true },
    { ...due, jobId: 'b' }
  ])
  await store.pause('a', { paused: true, actor: 'bob', reason: null })
  t.strictSame(await paused(), [true, 'bob', null])
  await store.pause('a', { paused: false, actor: 'ada', reason: 'quiet' })
  t.strictSame(await paused(), [false, null, null])
  await set()
  await store.pause('a', { paused: false, actor: 'ada', reason: null })
  t.strictSame(
    await times(),
    ['a', 'b'].map(jobId => ({ ...due, jobId })),
    'a resume of a job that is not paused changes nothing'
  )
})

t.test('a stop has its author, its reason and its end, and a start has none', async t => {
  const { store, clock, nowMs, times } = await frozen()
  await store.register(never('a'))
  await store.setFireTimes([fireOf('a', 1_000)])
  const state = async () => {
    const { running, changedBy, changedAt, reason, resumesAt } = await store.status()
    return { running, changedBy, changedAt, reason, resumesAt }
  }
  const at = (ms: number) => new Date(nowMs + ms)
  await clock.advance(1)
  await store.control({ ...STOP, reason: 'deploy', forMinutes: 30 })
  const stopped = { running: false, changedBy: 'ada', changedAt: at(1_000), reason: 'deploy' }
  t.strictSame(await state(), { ...stopped, resumesAt: at(1_000 + 30 * MINUTE) })
  t.strictSame(await times(), [{ ...unset, jobId: 'a' }])
  await clock.advance(1)
  await store.control({ ...STOP, actor: 'bob' })
  t.strictSame(await state(), { ...stopped, changedBy: 'bob', changedAt: at(2_000), reason: null, resumesAt: null })
  const started = { running: true, changedBy: 'ada', changedAt: at(2_000), reason: null, resumesAt: null }
  await store.control(START)
  t.strictSame(await state(), started)
  await clock.advance(1)
  await store.control({ ...START, actor: 'bob' })
  t.strictSame(await state(), started, 'a start while running changes nothing')
  await store.control({ ...RESTART, actor: 'bob' })
  t.strictSame(await state(), { ...started, changedBy: 'bob', changedAt: at(3_000) })
})

t.test('a restart of a stopped scheduler resets the first due times', async t => {
  const { database, store, times } = await frozen()
  await store.register(never('a'))
  await store.setFireTimes([fireOf('a', 1_000)])
  await database.run(sql => sql`update scheduler_state set running = false`)
  await store.control(RESTART)
  t.strictSame(await times(), [{ ...unset, jobId: 'a' }])
})

t.test('a control and a pause execute the given statements in their transaction, and notify the channel', async t => {
  const { database, store } = await frozen()
  await store.register(never('a'))
  const statements: string[] = []
  let notify = () => {}
  const notification = () =>
    new Promise<void>(resolve => {
      notify = resolve
    })
  const client = postgres(await database.address, { max: 1, onnotice: () => undefined })
  t.teardown(() => client.end({ timeout: 0 }))
  await client.listen(CHANNEL, () => notify())
  for (const change of [
    () => store.control(STOP, async tx => statements.push(...(await tx`select 1 as n`).map(({ n }) => `control ${n}`))),
    () =>
      store.pause('a', { paused: true, actor: 'ada', reason: null }, async tx =>
        statements.push(...(await tx`select 2 as n`).map(({ n }) => `pause ${n}`))
      )
  ]) {
    const notified = notification()
    await change()
    await notified
  }
  t.strictSame(statements, ['control 1', 'pause 2'])
  const failing = async () => Promise.reject(new Error('no audit row'))
  await t.rejects(store.control(START, failing), { message: 'no audit row' })
  await t.rejects(store.pause('a', { paused: false, actor: 'ada', reason: null }, failing), { message: 'no audit row' })
  const { running, jobs } = await store.status()
  t.equal(running, false)
  assertRows(t, jobs, [{ paused: true }])
})

t.test('a poll reads the state, abandons expired runs and ends an expired stop', async t => {
  const { database, store, clock, nowMs } = await frozen()
  await store.register(never('a'))
  await database.run(sql => sql`update scheduled_jobs set last_success_at = now() - interval '1 second'`)
  await insertRun(database, { jobId: 'b', outcome: 'running', leaseSeconds: 2 })
  const runId = await insertRun(database, { outcome: 'running', leaseSeconds: 1 })
  await store.control({ ...STOP, forMinutes: 1 })
  const snapshot = {
    nowMs: nowMs + 1_000,
    running: false,
    changedAtMs: nowMs,
    abandoned: [],
    jobs: [{ ...unset, jobId: 'a', lastDoneMs: nowMs - 1_000 }]
  }
  await clock.advance(1)
  t.strictSame(await store.poll(), snapshot)
  await database.run(sql => sql`update scheduled_jobs set last_partial_at = last_success_at + interval '0.5 seconds'`)
  snapshot.jobs = [{ ...unset, jobId: 'a', lastDoneMs: nowMs - 500 }]
  t.strictSame(await store.poll(), snapshot, 'a partial run counts as done')
  await clock.advance(0.001)
  t.strictSame(await store.poll(), {
    ...snapshot,
    nowMs: nowMs + 1_001,
    abandoned: [{ runId, jobId: 'a', instance: 'two' }]
  })
  await clock.advance(58.998)
  t.equal((await store.poll()).running, false)
  await clock.advance(0.001)
  t.equal((await store.poll()).running, true)
  t.strictSame(await store.poll(), {
    ...snapshot,
    nowMs: nowMs + MINUTE,
    running: true,
    changedAtMs: nowMs + MINUTE
  })
  const { changedBy, reason, resumesAt } = await store.status()
  t.strictSame([changedBy, reason, resumesAt], ['scheduler', null, null])
})

t.test('the status has the times and the runs of every job; a skipped run is not its last one', async t => {
  const { database, store, nowMs } = await frozen()
  const { jobs: none, ...state } = await store.status()
  t.strictSame(none, [])
  t.equal(state.now.getTime(), nowMs)
  await store.register(never('a', 'b'))
  await database.run(
    sql => sql`
      update scheduled_jobs set next_fire_at = now() + interval '1 second', first_due_at = now() - interval '1 second',
        last_success_at = now() where job_id = 'a'`
  )
  await insertRun(database, { outcome: 'failed' })
  await insertRun(database, { jobId: 'b' })
  const last = await insertRun(database, { outcome: 'partial' })
  const scheduledFor = new Date(nowMs - 3)
  const running = await insertRun(database, { outcome: 'running', leaseSeconds: 9, scheduledFor })
  await insertRun(database, { outcome: 'skipped' })
  const { jobs } = await store.status()
  t.strictSame(jobs.find(({ jobId }) => jobId === 'a')?.running?.scheduledFor, scheduledFor)
  const found = jobs
    .map(({ running, lastRun, ...rest }) => ({ ...rest, running: running?.runId, last: lastRun?.runId }))
    .find(({ jobId }) => jobId === 'a')
  t.strictSame(found, {
    jobId: 'a',
    paused: false,
    pausedBy: null,
    pausedReason: null,
    nextFireAt: new Date(nowMs + 1_000),
    firstDueAt: new Date(nowMs - 1_000),
    lastDoneAt: new Date(nowMs),
    running,
    last
  })
  t.equal(jobs.length, 2)
  for (const outcome of ['succeeded', 'failed'] as const) {
    const newer = await insertRun(database, { outcome })
    t.equal((await store.status()).jobs.find(({ jobId }) => jobId === 'a')?.lastRun?.runId, newer)
  }
})
