import t from 'tap'
import { HOUR, SECOND } from '../../src/async/durations.ts'
import type { Database } from '../../src/database/database.ts'
import type { Fire } from '../../src/scheduler/misfire.ts'
import { newClaim as claimOf } from '../../src/scheduler/run.ts'
import { RunHistory } from '../../src/scheduler/run-history.ts'
import { type ManualClaim, type RunEnd, RunStore } from '../../src/scheduler/run-store.ts'
import { type ControlChange, SchedulerStore } from '../../src/scheduler/store.ts'
import { assertRows } from '../support/assert-rows.ts'
import { openTransaction, untilWaiting } from '../support/locks.ts'
import { emptyScheduler, frozenScheduler, insertRun } from '../support/runs.ts'
import { tradingDatabase } from '../support/trading.ts'

const JOB = 'a_job'
const SUCCEEDED: RunEnd = { outcome: 'succeeded', result: {}, errorCode: null }
const RESTART: ControlChange = { running: true, restart: true, actor: 'ada', reason: null, forMinutes: null }
const FAILED: RunEnd = { outcome: 'failed', result: null, errorCode: 'JOB_FAILED' }

const newClaim = () => claimOf('one')

const database = await tradingDatabase(t)
const shared = await frozenScheduler(t)

async function prepared() {
  await emptyScheduler(database)
  const scheduler = new SchedulerStore(database)
  await scheduler.register([{ jobId: JOB, definition: 'never' }])
  return { database, scheduler, store: new RunStore(database) }
}

function kindOf(claimed: ManualClaim) {
  return claimed.kind
}

t.test('a manual claim during the end of a run counts that run as running, and afterwards as ended', async t => {
  const { database, store } = await prepared()
  const first = newClaim()
  await store.claimManual(JOB, first, { actor: 'ada' })
  const holder = await openTransaction(t, database)
  await holder.sql`select from scheduled_jobs where job_id = ${JOB} for update`
  const ending = store.finish(first, SUCCEEDED)
  await untilWaiting(database)
  const during = await store.claimManual(JOB, newClaim(), { actor: 'ada', unlessRunWithinSeconds: 60 })
  t.equal(during.kind === 'busy' && during.running.runId, first.runId)
  await holder.commit()
  t.equal(await ending, true)
  const after = await store.claimManual(JOB, newClaim(), { actor: 'ada', unlessRunWithinSeconds: 60 })
  t.equal(after.kind === 'recent' && after.run.runId, first.runId)
  t.equal(kindOf(await store.claimManual(JOB, newClaim(), { actor: 'ada' })), 'started')
})

t.test('a run that started and succeeded while a manual claim waited is recent', async t => {
  const { database, store } = await prepared()
  const other = newClaim()
  const holder = await openTransaction(t, database)
  await holder.sql`update scheduled_jobs set last_success_at = clock_timestamp() where job_id = ${JOB}`
  await holder.sql`
    insert into job_runs (run_id, job_id, trigger, instance, finished_at, outcome)
    values (${other.runId}, ${JOB}, 'manual', 'two', clock_timestamp(), 'succeeded')`
  const recent = store.claimManual(JOB, newClaim(), { actor: 'ada', unlessRunWithinSeconds: 60 })
  await untilWaiting(database)
  await holder.commit()
  const answer = await recent
  t.equal(answer.kind === 'recent' && answer.run.runId, other.runId)
})

t.test('a run that started while a manual claim waited is the unfinished one', async t => {
  const { database, store } = await prepared()
  const other = newClaim()
  const holder = await openTransaction(t, database)
  await holder.sql`select from scheduled_jobs where job_id = ${JOB} for update`
  await holder.sql`
    insert into job_runs (run_id, job_id, trigger, instance, lease_token, lease_expires_at, outcome)
    values (${other.runId}, ${JOB}, 'manual', 'two', ${other.token}, now() + interval '1 minute', 'running')`
  const busy = store.claimManual(JOB, newClaim(), { actor: 'ada' })
  await untilWaiting(database)
  await holder.commit()
  const answer = await busy
  t.equal(answer.kind === 'busy' && answer.running.runId, other.runId)
})

t.test('a manual claim waits for no lock when there is an unfinished run or a recent success', async t => {
  const { database, store } = await prepared()
  const first = newClaim()
  await store.claimManual(JOB, first, { actor: 'ada' })
  const holder = await openTransaction(t, database)
  await holder.sql`select from scheduled_jobs where job_id = ${JOB} for update`
  const busy = await store.claimManual(JOB, newClaim(), { actor: 'ada' })
  t.equal(busy.kind === 'busy' && busy.running.runId, first.runId)
  await holder.commit()
  await store.finish(first, SUCCEEDED)
  const second = await openTransaction(t, database)
  await second.sql`select from scheduled_jobs where job_id = ${JOB} for update`
  const recent = await store.claimManual(JOB, newClaim(), { actor: 'ada', unlessRunWithinSeconds: 60 })
  t.equal(recent.kind === 'recent' && recent.run.runId, first.runId)
  await second.commit()
})

t.test('a recent success takes precedence over an unfinished run', async t => {
  const { store } = await prepared()
  const first = newClaim()
  await store.claimManual(JOB, first, { actor: 'ada' })
  await store.finish(first, SUCCEEDED)
  await store.claimManual(JOB, newClaim(), { actor: 'ada' })
  const answer = await store.claimManual(JOB, newClaim(), { actor: 'ada', unlessRunWithinSeconds: 60 })
  t.equal(answer.kind === 'recent' && answer.run.runId, first.runId)
})

t.test('a success whose run is no longer in the history does not prevent a manual claim', async t => {
  const { database, store } = await prepared()
  await database.run(sql => sql`update scheduled_jobs set last_success_at = now()`)
  const claimed = await store.claimManual(JOB, newClaim(), { actor: 'ada', unlessRunWithinSeconds: 60 })
  t.equal(kindOf(claimed), 'started')
})

t.test('a manual claim abandons a run whose lease has expired, and starts', async t => {
  const { database, store } = await prepared()
  const first = newClaim()
  await store.claimManual(JOB, first, { actor: 'ada' })
  await database.run(sql => sql`update job_runs set lease_expires_at = now() - interval '1 second'`)
  t.equal(kindOf(await store.claimManual(JOB, newClaim(), { actor: 'ada' })), 'started')
  t.equal((await new RunHistory(database).byId(first.runId))?.outcome, 'abandoned')
})

/** A database whose calls return the given values in order. */
function scripted(...answers: object[]): Database {
  return { run: async () => answers.shift() } as unknown as Database
}

t.test('a manual claim is repeated when the run that blocked it has just ended', async t => {
  const startedAt = new Date(1_000)
  const busy = { startedAt: undefined, isRecent: false }
  const store = new RunStore(scripted(busy, [], { startedAt, isRecent: false }))
  t.strictSame(await store.claimManual(JOB, newClaim(), { actor: 'ada' }), { kind: 'started', startedAt })
})

t.test('a manual claim without a result within 8 s is a time-out', async t => {
  const busy = { startedAt: undefined, isRecent: false }
  const store = new RunStore(scripted(busy, [], busy, []))
  const { now } = performance
  const times = [500, 8_499, 8_500]
  performance.now = () => times.shift() ?? now.call(performance)
  t.teardown(() => {
    performance.now = now
  })
  await t.rejects(store.claimManual(JOB, newClaim(), { actor: 'ada' }), { code: 'database_timeout' })
  t.strictSame(times, [])
})

t.test('a job that is not registered yet can be claimed', async t => {
  const { store } = await prepared()
  t.equal(kindOf(await store.claimManual('another', newClaim(), { actor: 'ada' })), 'started')
  t.equal(kindOf(await store.claimManual('another', newClaim(), { actor: 'ada' })), 'busy')
})

t.test('the end of a run that succeeded locks the row of the job before that of the run', async t => {
  const { database, store } = await prepared()
  const claim = newClaim()
  await store.claimManual(JOB, claim, { actor: 'ada' })
  const holder = await openTransaction(t, database)
  await holder.sql`select from scheduled_jobs where job_id = ${JOB} for update`
  const ending = store.finish(claim, SUCCEEDED)
  await untilWaiting(database)
  const free = await database.run(sql => sql`select from job_runs where run_id = ${claim.runId} for update skip locked`)
  t.equal(free.length, 1, 'while it waits for the row of the job it does not lock that of the run')
  await holder.commit()
  t.equal(await ending, true)
  t.equal(await store.finish(claim, SUCCEEDED), true, 'a repeated end is accepted')
  t.equal(await store.finish(claim, FAILED), false, 'another end is rejected')
  const [job] = await database.run(sql => sql`select from scheduled_jobs where last_success_at is not null`)
  t.ok(job, 'the success is written to the job')
})

t.test('the end of a run that failed does not lock the row of the job', async t => {
  const { database, store } = await prepared()
  const claim = newClaim()
  await store.claimManual(JOB, claim, { actor: 'ada' })
  const holder = await openTransaction(t, database)
  await holder.sql`select from scheduled_jobs where job_id = ${JOB} for update`
  t.equal(await store.finish(claim, FAILED), true)
  await holder.commit()
  const [job] = await database.run(sql => sql`select from scheduled_jobs where last_success_at is null`)
  t.ok(job, 'it is not recorded as a success')
})

t.test('a partial run is no recent success, and its time is recorded separately', async t => {
  const { database, store } = await prepared()
  const times = async () => {
    const [row] = await database.run(
      sql => sql<{ success: Date | null; partial: Date | null }[]>`
        select last_success_at as success, last_partial_at as partial from scheduled_jobs where job_id = ${JOB}`
    )
    return [row?.success ?? null, row?.partial ?? null]
  }
  const [whole, half] = [newClaim(), newClaim()]
  const partial = { outcome: 'partial' as const, result: { failed: 1 }, errorCode: null }
  await store.claimManual(JOB, half, { actor: 'ada' })
  t.equal(await store.finish(half, partial), true)
  t.equal(await store.finish(half, partial), true, 'a repeated end is accepted')
  t.equal(await store.finish(half, SUCCEEDED), false, 'another end is rejected')
  const [success, partialAt] = await times()
  t.equal(success, null)
  t.ok(partialAt instanceof Date, `the time of the partial run is ${partialAt}`)
  t.hasStrict(await new RunHistory(database).byId(half.runId), { outcome: 'partial', result: { failed: 1 } })

  const claimed = await store.claimManual(JOB, whole, { actor: 'ada', unlessRunWithinSeconds: 60 })
  t.equal(kindOf(claimed), 'started', 'a partial run does not prevent the next one')
  await store.finish(whole, SUCCEEDED)
  t.strictSame((await times())[1], partialAt, 'a success keeps the time of the partial run')
  const last = newClaim()
  await store.claimManual(JOB, last, { actor: 'ada' })
  await store.finish(last, partial)
  const recent = await store.claimManual(JOB, newClaim(), { actor: 'ada', unlessRunWithinSeconds: 60 })
  t.equal(recent.kind === 'recent' && recent.run.runId, whole.runId, 'the success before a partial run')
})

t.test('a due time that already has a run runs again if mayRepeat is set, and is lost otherwise', async t => {
  const { database, store } = await prepared()
  const dueMs = Date.parse('2026-11-20T12:00:00Z')
  const fire = (mayRepeat: boolean) => ({
    dueMs,
    nextMs: dueMs,
    run: { scheduledForMs: dueMs, trigger: 'schedule' as const, mayRepeat }
  })
  await database.run(sql => sql`update scheduled_jobs set next_fire_at = ${new Date(dueMs)}`)
  for (const mayRepeat of [true, false]) {
    const claim = newClaim()
    const claimed = await store.claimFire(JOB, fire(true), claim)
    t.equal(claimed, 'started', `again: ${mayRepeat}`)
    t.equal(await store.claimFire(JOB, fire(mayRepeat), newClaim()), 'busy', 'not while it runs')
    await store.finish(claim, SUCCEEDED)
  }
  t.equal(await store.claimFire(JOB, fire(false), newClaim()), 'lost')
  const rows = await database.run(
    sql => sql<{ scheduled_for: Date }[]>`select scheduled_for from job_runs order by seq`
  )
  t.equal(rows.length, 2)
  t.equal(rows[0]?.scheduled_for.getTime(), dueMs)
  t.ok(Math.abs(Date.now() - (rows[1]?.scheduled_for.getTime() ?? 0)) < 3_600_000, `${rows[1]?.scheduled_for}`)
})

/** A store on a database whose clock is stopped at a whole millisecond, with a job that is due at that time. */
async function frozen() {
  const { database, clock, reset } = shared
  const nowMs = await reset()
  const scheduler = new SchedulerStore(database)
  await scheduler.register([JOB, 'other'].map(jobId => ({ jobId, definition: 'never' })))
  await scheduler.setFireTimes([{ jobId: JOB, nextFireMs: nowMs, latestMs: nowMs }])
  const fire: Fire = {
    dueMs: nowMs,
    nextMs: nowMs + HOUR,
    run: { scheduledForMs: nowMs, trigger: 'schedule' }
  }
  const nextFireMs = async () => {
    const [job] = await database.run(
      sql => sql<{ next_fire_at: Date | null }[]>`select next_fire_at from scheduled_jobs where job_id = ${JOB}`
    )
    return job?.next_fire_at?.getTime()
  }
  const runs = () => database.run(sql => sql`select * from job_runs order by seq`)
  return { database, clock, scheduler, store: new RunStore(database), nowMs, fire, nextFireMs, runs }
}

t.test('a fire that is due is claimed once, with a lease of 15 s', async t => {
  const { store, fire, nowMs, nextFireMs, runs } = await frozen()
  const claim = newClaim()
  t.equal(await store.claimFire(JOB, fire, claim), 'started')
  t.equal(await nextFireMs(), nowMs + HOUR)
  t.equal(await store.claimFire(JOB, fire, newClaim()), 'lost')
  assertRows(t, await runs(), [
    {
      run_id: claim.runId,
      job_id: JOB,
      trigger: 'schedule',
      actor: null,
      instance: 'one',
      scheduled_for: new Date(nowMs),
      started_at: new Date(nowMs),
      finished_at: null,
      lease_token: claim.token,
      lease_expires_at: new Date(nowMs + 15 * SECOND),
      outcome: 'running',
      skipped_count: 0
    }
  ])
})

t.test('a fire is early before its due time on the database clock', async t => {
  const { store, clock, scheduler, fire, nowMs, nextFireMs, runs } = await frozen()
  await scheduler.control(RESTART)
  await scheduler.setFireTimes([{ jobId: JOB, nextFireMs: nowMs + 1, latestMs: nowMs + 1 }])
  const run = { scheduledForMs: nowMs + 1, trigger: 'schedule' } as const
  const ahead = { ...fire, dueMs: nowMs + 1, run }
  t.equal(await store.claimFire(JOB, ahead, newClaim()), 'early')
  t.equal(await nextFireMs(), nowMs + 1)
  t.strictSame([...(await runs())], [])
  await clock.advance(0.001)
  t.equal(await store.claimFire(JOB, ahead, newClaim()), 'started')
})

t.test('a fire whose last missed time is in the future is early', async t => {
  const { store, fire, nowMs } = await frozen()
  const missed = { count: 2, fromMs: nowMs, untilMs: nowMs + 1 }
  const { run: _run, ...late } = fire
  t.equal(await store.claimFire(JOB, { ...late, missed }, newClaim()), 'early')
  t.equal(await store.claimFire(JOB, { ...late, dueMs: nowMs + 1 }, newClaim()), 'early')
})

t.test('a fire is not claimed while the job is paused or the scheduler stopped, or with another due time', async t => {
  const { database, store, fire, nowMs, nextFireMs, runs } = await frozen()
  t.equal(await store.claimFire(JOB, { ...fire, dueMs: nowMs - 1 }, newClaim()), 'lost')
  t.equal(await store.claimFire('other', fire, newClaim()), 'lost')
  t.equal(await nextFireMs(), nowMs)
  await database.run(sql => sql`update scheduled_jobs set paused = true`)
  t.equal(await store.claimFire(JOB, fire, newClaim()), 'lost')
  await database.run(sql => sql`update scheduled_jobs set paused = false`)
  await database.run(sql => sql`update scheduler_state set running = false`)
  t.equal(await store.claimFire(JOB, fire, newClaim()), 'lost')
  t.equal(await nextFireMs(), nowMs)
  t.strictSame([...(await runs())], [])
})

t.test('missed fires are one row, next to the row of the run that catches up', async t => {
  const { store, scheduler, fire, nowMs, runs } = await frozen()
  const missed = { count: 4, fromMs: nowMs - 3 * HOUR, untilMs: nowMs }
  const { run: _run, ...late } = fire
  t.equal(await store.claimFire(JOB, { ...late, missed }, newClaim()), 'missed')
  const skipped = {
    job_id: JOB,
    trigger: 'schedule',
    instance: 'one',
    finished_at: new Date(nowMs),
    lease_token: null,
    outcome: 'skipped'
  }
  const window = (count: number, from: number, until: number) => ({
    scheduled_for: new Date(until),
    skipped_count: count,
    result: { missed: count, from: new Date(from).toISOString(), until: new Date(until).toISOString() }
  })
  const first = { ...skipped, ...window(4, nowMs - 3 * HOUR, nowMs) }
  assertRows(t, await runs(), [first])

  await scheduler.control(RESTART)
  await scheduler.setFireTimes([{ jobId: JOB, nextFireMs: nowMs - 2 * HOUR, latestMs: nowMs - 2 * HOUR }])
  const again: Fire = {
    dueMs: nowMs - 2 * HOUR,
    nextMs: nowMs + HOUR,
    run: { scheduledForMs: nowMs - 1, trigger: 'catch_up' },
    missed: { count: 2, fromMs: nowMs - 2 * HOUR, untilMs: nowMs - HOUR }
  }
  const claim = newClaim()
  t.equal(await store.claimFire(JOB, again, claim), 'started')
  const rows = await runs()
  const inOrder = [...rows].sort((a, b) => Number(b.outcome === 'skipped') - Number(a.outcome === 'skipped'))
  assertRows(t, inOrder, [
    first,
    { ...skipped, ...window(2, nowMs - 2 * HOUR, nowMs - HOUR) },
    { run_id: claim.runId, trigger: 'catch_up', scheduled_for: new Date(nowMs - 1), outcome: 'running', result: null }
  ])
})

t.test('a fire during a run is claimed, and counted on that run only', async t => {
  const { database, store, fire, nowMs, nextFireMs, runs } = await frozen()
  await insertRun(database, { jobId: JOB })
  await insertRun(database, { jobId: 'other', outcome: 'running', leaseSeconds: 9 })
  await insertRun(database, { jobId: JOB, outcome: 'running', leaseSeconds: 9 })
  t.equal(await store.claimFire(JOB, fire, newClaim()), 'busy')
  t.equal(await nextFireMs(), nowMs + HOUR)
  await store.countOverrun(JOB)
  await store.countOverrun(JOB)
  assertRows(
    t,
    await runs(),
    [0, 0, 2].map(skipped_count => ({ skipped_count }))
  )
})

t.test('a fire that already has a row starts no run', async t => {
  const { database, store, clock, fire, nowMs, runs } = await frozen()
  await clock.advance(1)
  await insertRun(database, { jobId: JOB, scheduledFor: new Date(nowMs) })
  await insertRun(database, { jobId: JOB, scheduledFor: new Date(nowMs - 1) })
  const missed = { count: 1, fromMs: nowMs - 1, untilMs: nowMs - 1 }
  t.equal(await store.claimFire(JOB, { ...fire, missed }, newClaim()), 'lost')
  t.equal((await runs()).length, 2)
})

t.test('a fire that may repeat keeps its due time if only other due times have rows', async t => {
  const { database, store, clock, fire, nowMs, runs } = await frozen()
  await clock.advance(1)
  await insertRun(database, { jobId: JOB, scheduledFor: new Date(nowMs - 1) })
  await insertRun(database, { jobId: 'other', scheduledFor: new Date(nowMs) })
  const run = { scheduledForMs: nowMs, trigger: 'schedule', mayRepeat: true } as const
  t.equal(await store.claimFire(JOB, { ...fire, run }, newClaim()), 'started')
  t.strictSame((await runs()).at(-1)?.scheduled_for, new Date(nowMs))
})

t.test('a renewal extends the lease and writes the progress, while the runner holds the lease', async t => {
  const { store, clock, nowMs, runs } = await frozen()
  const claim = newClaim()
  const claimed = await store.claimManual(JOB, claim, { actor: 'ada' })
  t.strictSame(claimed, { kind: 'started', startedAt: new Date(nowMs) })
  const row = async () => {
    const [{ lease_expires_at, progress_done, progress_total } = { lease_expires_at: null }] = await runs()
    return { leaseMs: lease_expires_at?.getTime() - nowMs, progress_done, progress_total }
  }
  t.strictSame(await row(), { leaseMs: 15_000, progress_done: null, progress_total: null })
  await clock.advance(5)
  t.equal(await store.renew(claim, { done: 3, total: 7 }), true)
  t.strictSame(await row(), { leaseMs: 20_000, progress_done: 3, progress_total: 7 })
  t.equal(await store.renew(claim), true)
  t.strictSame(await row(), { leaseMs: 20_000, progress_done: null, progress_total: null })
  await clock.advance(5)
  t.equal(await store.renew({ ...claim, token: newClaim().token }), false)
  t.equal((await row()).leaseMs, 20_000)
  await store.finish(claim, FAILED)
  t.equal(await store.renew(claim), false)
})

t.test('the end of a run is written with its progress, while the runner holds the lease', async t => {
  const { database, store, clock, nowMs, runs } = await frozen()
  const successes = async () => {
    const rows = await database.run(
      sql => sql<{ last_success_at: Date | null }[]>`select last_success_at from scheduled_jobs order by job_id`
    )
    return rows.map(({ last_success_at }) => last_success_at?.getTime())
  }
  await insertRun(database, { jobId: 'other', outcome: 'running', leaseSeconds: 9 })
  const claim = newClaim()
  await store.claimManual(JOB, claim, { actor: 'ada' })
  await clock.advance(2)
  const end: RunEnd = { outcome: 'succeeded', result: { rows: 3 }, errorCode: null }
  t.equal(await store.finish({ ...claim, token: newClaim().token }, end), false)
  t.strictSame(await successes(), [undefined, undefined])
  t.equal(await store.finish(claim, end, { done: 4, total: 4 }), true)
  const other = { job_id: 'other', outcome: 'running' }
  const ended = {
    outcome: 'succeeded',
    finished_at: new Date(nowMs + 2_000),
    lease_expires_at: null,
    progress_done: 4,
    progress_total: 4,
    result: { rows: 3 },
    error_code: null
  }
  assertRows(t, await runs(), [other, ended])
  t.strictSame(await successes(), [nowMs + 2_000, undefined])
  await clock.advance(1)
  t.equal(await store.finish(claim, end), true, 'a repeated end is accepted')
  t.equal(await store.finish({ ...claim, token: newClaim().token }, end), false)
  t.equal(await store.finish({ ...claim, runId: newClaim().runId }, end), false)
  assertRows(t, await runs(), [other, ended])
  t.strictSame(await successes(), [nowMs + 2_000, undefined])
  const next = newClaim()
  await store.claimManual(JOB, next, { actor: 'ada' })
  t.equal(await store.finish(next, FAILED), true)
  assertRows(t, await runs(), [
    other,
    ended,
    { outcome: 'failed', progress_done: null, progress_total: null, result: null, error_code: 'JOB_FAILED' }
  ])
  const none = await database.run(sql => sql`select run_id from job_runs where outcome = 'failed' and result is null`)
  assertRows(t, none, [{ run_id: next.runId }])
})

t.test('a run that its runner ends because the lease expired is abandoned', async t => {
  const { store, runs } = await frozen()
  const claim = newClaim()
  await store.claimManual(JOB, claim, { actor: 'ada' })
  const expired = { outcome: 'abandoned', result: null, errorCode: 'LEASE_EXPIRED' } as const
  t.equal(await store.finish(claim, expired), true)
  t.equal(await store.finish(claim, expired), false, 'another replica may have recorded it')
  assertRows(t, await runs(), [{ outcome: 'abandoned', error_code: 'LEASE_EXPIRED' }])
  t.hasStrict(await store.claimManual(JOB, newClaim(), { actor: 'ada' }), { kind: 'started' }, 'the job is free')
})

t.test('a transaction of a run locks its row, and is rejected when the runner no longer holds the lease', async t => {
  const { database, store } = await prepared()
  const claim = newClaim()
  await store.claimManual(JOB, claim, { actor: 'ada' })
  const free = () => database.run(sql => sql`select from job_runs for update skip locked`)
  const locked = await store.fenced(claim, async tx => [(await tx`select 1 as one`)[0]?.one, (await free()).length])
  t.strictSame(locked, [1, 0])
  const deadline = store.fenced(claim, async tx => await tx`select pg_sleep(60)`, { deadlineMs: 50 })
  await t.rejects(deadline, { code: 'database_timeout' })
  const run = async () => t.fail('the transaction runs')
  await t.rejects(store.fenced({ ...claim, token: newClaim().token }, run), { code: 'LEASE_LOST' })
  await t.rejects(store.fenced({ ...claim, runId: newClaim().runId }, run), { code: 'LEASE_LOST' })
  await store.finish(claim, FAILED)
  await t.rejects(store.fenced(claim, run), { code: 'LEASE_LOST' })
})

t.test('a success is recent for the time in the claim', async t => {
  const { store, clock, nowMs } = await frozen()
  const first = newClaim()
  await store.claimManual(JOB, first, { actor: 'ada' })
  await store.finish(first, SUCCEEDED)
  await clock.advance(60)
  const within = (seconds: number) =>
    store.claimManual(JOB, newClaim(), { actor: 'ada', unlessRunWithinSeconds: seconds })
  const recent = await within(60)
  t.equal(recent.kind === 'recent' && recent.run.runId, first.runId)
  t.strictSame(await within(59), { kind: 'started', startedAt: new Date(nowMs + 60_000) })
})

t.test('a manual claim abandons the expired run of its own job only', async t => {
  const { database, store, clock, nowMs, runs } = await frozen()
  const other = await insertRun(database, { jobId: 'other', outcome: 'running', leaseSeconds: 1 })
  const expired = await insertRun(database, { jobId: JOB, outcome: 'running', leaseSeconds: 1 })
  const claim = () => store.claimManual(JOB, newClaim(), { actor: 'ada' })
  await clock.advance(1)
  const busy = await claim()
  t.equal(busy.kind === 'busy' && busy.running.runId, expired, 'the lease ends after its last moment')
  await clock.advance(0.001)
  t.equal(kindOf(await claim()), 'started')
  assertRows(t, await runs(), [
    { run_id: other, outcome: 'running' },
    { run_id: expired, outcome: 'abandoned', finished_at: new Date(nowMs + 1_001), error_code: 'LEASE_EXPIRED' },
    { trigger: 'manual', actor: 'ada', instance: 'one', outcome: 'running', scheduled_for: null }
  ])
})

t.test('of many concurrent manual claims one starts, and the others return its run', async t => {
  const { store } = await prepared()
  const claims = Array.from({ length: 60 }, newClaim)
  const claimed = await Promise.all(claims.map(claim => store.claimManual(JOB, claim, { actor: 'ada' })))
  const started = claims.filter((_, i) => claimed[i]?.kind === 'started')
  t.equal(started.length, 1)
  const others = claimed.flatMap(answer => (answer.kind === 'busy' ? [answer.running.runId] : []))
  t.equal(others.length, 59)
  t.strictSame([...new Set(others)], [started[0]?.runId])
})
