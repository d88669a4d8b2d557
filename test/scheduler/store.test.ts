import { randomUUID } from 'node:crypto'
import t, { type Test } from 'tap'
import type { Database } from '../../src/database/database.ts'
import { type ControlChange, type ManualClaim, type RunEnd, SchedulerStore } from '../../src/scheduler/store.ts'
import { openTransaction, untilWaiting } from '../support/locks.ts'
import { tradingDatabase } from '../support/trading.ts'

const JOB = 'a_job'
const SUCCEEDED: RunEnd = { outcome: 'succeeded', result: {}, errorCode: null }
const FAILED: RunEnd = { outcome: 'failed', result: null, errorCode: 'JOB_FAILED' }
const RESTART: ControlChange = { running: true, restart: true, actor: 'ada', reason: null, forMinutes: null }
const START: ControlChange = { ...RESTART, restart: false }
const STOP: ControlChange = { ...START, running: false }

const newClaim = () => ({ runId: randomUUID(), token: randomUUID(), instance: 'one' })

async function prepared(t: Test, jobs = [JOB]) {
  const database = await tradingDatabase(t)
  const store = new SchedulerStore(database)
  // One after the other: this is then their order in the table.
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

function kindOf(claimed: ManualClaim) {
  return claimed.kind
}

t.test('of many manual claims at once one starts, and the others get its run', async t => {
  const { store } = await prepared(t)
  const claims = Array.from({ length: 60 }, newClaim)
  const claimed = await Promise.all(claims.map(claim => store.claimManual(JOB, claim, { actor: 'ada' })))
  const started = claims.filter((_, i) => claimed[i]?.kind === 'started')
  t.equal(started.length, 1)
  const others = claimed.flatMap(answer => (answer.kind === 'busy' ? [answer.running.run_id] : []))
  t.equal(others.length, 59)
  t.strictSame([...new Set(others)], [started[0]?.runId])
})

t.test('a manual claim beside the end of a run counts that run as running, and then as ended', async t => {
  const { database, store } = await prepared(t)
  const first = newClaim()
  await store.claimManual(JOB, first, { actor: 'ada' })
  const holder = await openTransaction(t, database)
  await holder.sql`select from scheduled_jobs where job_id = ${JOB} for update`
  const ending = store.finish(first, SUCCEEDED)
  await untilWaiting(database)
  const during = await store.claimManual(JOB, newClaim(), { actor: 'ada', unlessRunWithinSeconds: 60 })
  t.equal(during.kind === 'busy' && during.running.run_id, first.runId)
  await holder.commit()
  t.equal(await ending, true)
  const after = await store.claimManual(JOB, newClaim(), { actor: 'ada', unlessRunWithinSeconds: 60 })
  t.equal(after.kind === 'recent' && after.run.run_id, first.runId)
  t.equal(kindOf(await store.claimManual(JOB, newClaim(), { actor: 'ada' })), 'started')
})

t.test('a run that began and succeeded while a manual claim waited is recent', async t => {
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
  t.equal(answer.kind === 'recent' && answer.run.run_id, other.runId)
})

t.test('a run that began while a manual claim waited is the one under way', async t => {
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
  t.equal(answer.kind === 'busy' && answer.running.run_id, other.runId)
})

t.test('a manual claim waits for no lock while a run is under way or a recent one has succeeded', async t => {
  const { database, store } = await prepared(t)
  const first = newClaim()
  await store.claimManual(JOB, first, { actor: 'ada' })
  const holder = await openTransaction(t, database)
  await holder.sql`select from scheduled_jobs where job_id = ${JOB} for update`
  const busy = await store.claimManual(JOB, newClaim(), { actor: 'ada' })
  t.equal(busy.kind === 'busy' && busy.running.run_id, first.runId)
  await holder.commit()
  await store.finish(first, SUCCEEDED)
  const second = await openTransaction(t, database)
  await second.sql`select from scheduled_jobs where job_id = ${JOB} for update`
  const recent = await store.claimManual(JOB, newClaim(), { actor: 'ada', unlessRunWithinSeconds: 60 })
  t.equal(recent.kind === 'recent' && recent.run.run_id, first.runId)
  await second.commit()
})

t.test('a recent success goes before a run under way', async t => {
  const { store } = await prepared(t)
  const first = newClaim()
  await store.claimManual(JOB, first, { actor: 'ada' })
  await store.finish(first, SUCCEEDED)
  await store.claimManual(JOB, newClaim(), { actor: 'ada' })
  const answer = await store.claimManual(JOB, newClaim(), { actor: 'ada', unlessRunWithinSeconds: 60 })
  t.equal(answer.kind === 'recent' && answer.run.run_id, first.runId)
})

t.test('a success whose run is no longer in the history does not keep a manual claim from starting', async t => {
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
  t.equal((await store.run(first.runId))?.outcome, 'abandoned')
})

t.test('a job that is not registered yet is claimed all the same', async t => {
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
  t.equal(free.length, 1, 'while it waits for the job it does not hold the run')
  await holder.commit()
  t.equal(await ending, true)
  t.equal(await store.finish(claim, SUCCEEDED), true, 'a second end is the same')
  t.equal(await store.finish(claim, FAILED), false, 'another end is refused')
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

t.test('a look waits for no lock: what is locked is left for the next one', async t => {
  const { database, store } = await prepared(t)
  const claim = newClaim()
  await store.claimManual(JOB, claim, { actor: 'ada' })
  await store.control({ ...STOP, forMinutes: 1 })
  await database.run(sql => sql`update scheduler_state set resumes_at = now() - interval '1 second'`)
  await database.run(sql => sql`update job_runs set lease_expires_at = now() - interval '1 second'`)
  const holder = await openTransaction(t, database)
  await holder.sql`select from scheduler_state for update`
  await holder.sql`select from scheduled_jobs for update`
  await holder.sql`select from job_runs for update`
  const during = await store.look()
  t.equal(during.running, false)
  t.strictSame(during.abandoned, [])
  await holder.commit()
  const after = await store.look()
  t.equal(after.running, true)
  t.strictSame(
    after.abandoned.map(({ run_id }) => run_id),
    [claim.runId]
  )
})

t.test('a start that waits for a stop takes effect after it', async t => {
  const { database, store } = await prepared(t)
  const holder = await openTransaction(t, database)
  await holder.sql`update scheduler_state set running = false`
  const starting = store.control(START)
  await untilWaiting(database)
  await holder.commit()
  await starting
  t.equal((await store.status()).running, true)
})

t.test('a start of a running scheduler changes nothing', async t => {
  const { database, store } = await prepared(t)
  await store.setClocks([{ jobId: JOB, nextFireMs: 1_000 }])
  const before = await store.status()
  await store.control(START)
  t.strictSame({ ...(await store.status()), now: null }, { ...before, now: null })
  await store.control(RESTART)
  const [job] = await database.run(
    sql => sql<{ next_fire_at: Date | null; first_due_at: Date | null }[]>`
      select next_fire_at, first_due_at from scheduled_jobs`
  )
  t.strictSame({ ...job }, { next_fire_at: null, first_due_at: new Date(1_000) }, 'a restart keeps what is overdue')
  await store.control(STOP)
  await store.control(START)
  const [again] = await database.run(
    sql => sql<{ first_due_at: Date | null }[]>`select first_due_at from scheduled_jobs`
  )
  t.equal(again?.first_due_at, null, 'a stop does not')
})

const multiple: Record<string, (store: SchedulerStore) => Promise<unknown>> = {
  register: store =>
    store.register(['three', 'two', 'one', 'four'].map(jobId => ({ jobId, definition: `of ${jobId}` }))),
  setClocks: store => store.setClocks(['three', 'two', 'one', 'four'].map(jobId => ({ jobId, nextFireMs: 1_000 }))),
  control: store => store.control(RESTART)
}

for (const [name, work] of Object.entries(multiple)) {
  t.test(`${name} locks the rows of several jobs in the order of their ids`, async t => {
    // Not in the order of their ids.
    const { database, store } = await prepared(t, ['two', 'three', 'one', 'four'])
    const holder = await openTransaction(t, database)
    await holder.sql`select from scheduled_jobs where job_id = 'three' for update`
    const working = work(store)
    await untilWaiting(database)
    t.strictSame(await freeJobs(database), ['two'], 'what comes before the locked row is held, what comes after is not')
    await holder.commit()
    await working
    t.strictSame(await freeJobs(database), ['four', 'one', 'three', 'two'])
  })
}
