import t, { type Test } from 'tap'
import type { Database } from '../../src/database/database.ts'
import { newClaim } from '../../src/scheduler/run.ts'
import { RunStore } from '../../src/scheduler/run-store.ts'
import { type ControlChange, SchedulerStore } from '../../src/scheduler/store.ts'
import { openTransaction, untilWaiting } from '../support/locks.ts'
import { tradingDatabase } from '../support/trading.ts'

const JOB = 'a_job'
const RESTART: ControlChange = { running: true, restart: true, actor: 'ada', reason: null, forMinutes: null }
const START: ControlChange = { ...RESTART, restart: false }
const STOP: ControlChange = { ...START, running: false }

async function prepared(t: Test, jobs = [JOB]) {
  const database = await tradingDatabase(t)
  const store = new SchedulerStore(database)
  // One after the other, so that this is their order in the table.
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

t.test('a poll waits for no lock: it leaves locked rows to the next poll', async t => {
  const { database, store } = await prepared(t)
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
    const { database, store } = await prepared(t, ['two', 'three', 'one', 'four'])
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

t.test('a fire time that is too late is replaced, and the other times of the job are not in the future', async t => {
  const { database, store } = await prepared(t)
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

t.test('a poll shortens a lease that is longer than any lease, and leaves the others', async t => {
  const { database, store } = await prepared(t)
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
  await database.run(sql => sql`update job_runs set lease_expires_at = clock_timestamp() + interval '2 hours'`)
  await store.poll()
  t.equal(await lease(), 15)
})
