import t, { type Test } from 'tap'
import { newClaim as claimOf } from '../../src/scheduler/run.ts'
import { RunHistory } from '../../src/scheduler/run-history.ts'
import { type ManualClaim, type RunEnd, RunStore } from '../../src/scheduler/run-store.ts'
import { SchedulerStore } from '../../src/scheduler/store.ts'
import { openTransaction, untilWaiting } from '../support/locks.ts'
import { tradingDatabase } from '../support/trading.ts'

const JOB = 'a_job'
const SUCCEEDED: RunEnd = { outcome: 'succeeded', result: {}, errorCode: null }
const FAILED: RunEnd = { outcome: 'failed', result: null, errorCode: 'JOB_FAILED' }

const newClaim = () => claimOf('one')

async function prepared(t: Test) {
  const database = await tradingDatabase(t)
  const scheduler = new SchedulerStore(database)
  await scheduler.register([{ jobId: JOB, definition: 'never' }])
  return { database, scheduler, store: new RunStore(database) }
}

function kindOf(claimed: ManualClaim) {
  return claimed.kind
}

t.test('of many manual claims at once one starts, and the others return its run', async t => {
  const { store } = await prepared(t)
  const claims = Array.from({ length: 60 }, newClaim)
  const claimed = await Promise.all(claims.map(claim => store.claimManual(JOB, claim, { actor: 'ada' })))
  const started = claims.filter((_, i) => claimed[i]?.kind === 'started')
  t.equal(started.length, 1)
  const others = claimed.flatMap(answer => (answer.kind === 'busy' ? [answer.running.runId] : []))
  t.equal(others.length, 59)
  t.strictSame([...new Set(others)], [started[0]?.runId])
})

t.test('a manual claim during the end of a run counts that run as running, and afterwards as ended', async t => {
  const { database, store } = await prepared(t)
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
  const { database, store } = await prepared(t)
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
  const { database, store } = await prepared(t)
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
  const { database, store } = await prepared(t)
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
  const { store } = await prepared(t)
  const first = newClaim()
  await store.claimManual(JOB, first, { actor: 'ada' })
  await store.finish(first, SUCCEEDED)
  await store.claimManual(JOB, newClaim(), { actor: 'ada' })
  const answer = await store.claimManual(JOB, newClaim(), { actor: 'ada', unlessRunWithinSeconds: 60 })
  t.equal(answer.kind === 'recent' && answer.run.runId, first.runId)
})

t.test('a success whose run is no longer in the history does not prevent a manual claim', async t => {
  const { database, store } = await prepared(t)
  await database.run(sql => sql`update scheduled_jobs set last_success_at = now()`)
  const claimed = await store.claimManual(JOB, newClaim(), { actor: 'ada', unlessRunWithinSeconds: 60 })
  t.equal(kindOf(claimed), 'started')
})

t.test('a manual claim abandons a run whose lease has expired, and starts', async t => {
  const { database, store } = await prepared(t)
  const first = newClaim()
  await store.claimManual(JOB, first, { actor: 'ada' })
  await database.run(sql => sql`update job_runs set lease_expires_at = now() - interval '1 second'`)
  t.equal(kindOf(await store.claimManual(JOB, newClaim(), { actor: 'ada' })), 'started')
  t.equal((await new RunHistory(database).byId(first.runId))?.outcome, 'abandoned')
})

t.test('a job that is not registered yet can be claimed', async t => {
  const { store } = await prepared(t)
  t.equal(kindOf(await store.claimManual('another', newClaim(), { actor: 'ada' })), 'started')
  t.equal(kindOf(await store.claimManual('another', newClaim(), { actor: 'ada' })), 'busy')
})

t.test('the end of a run that succeeded locks the row of the job before that of the run', async t => {
  const { database, store } = await prepared(t)
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
  t.equal(await store.finish(claim, SUCCEEDED), true, 'a second end is the same')
  t.equal(await store.finish(claim, FAILED), false, 'another end is rejected')
  const [job] = await database.run(sql => sql`select from scheduled_jobs where last_success_at is not null`)
  t.ok(job, 'the success is written to the job')
})

t.test('the end of a run that failed does not lock the row of the job', async t => {
  const { database, store } = await prepared(t)
  const claim = newClaim()
  await store.claimManual(JOB, claim, { actor: 'ada' })
  const holder = await openTransaction(t, database)
  await holder.sql`select from scheduled_jobs where job_id = ${JOB} for update`
  t.equal(await store.finish(claim, FAILED), true)
  await holder.commit()
  const [job] = await database.run(sql => sql`select from scheduled_jobs where last_success_at is null`)
  t.ok(job, 'it is no success')
})

t.test('a due time that has a run already runs again where it may, and is lost otherwise', async t => {
  const { database, store } = await prepared(t)
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
