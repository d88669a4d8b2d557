import t from 'tap'
import { DAY, SECOND } from '../../src/async/durations.ts'
import type { TransactionSql } from '../../src/database/client.ts'
import { sweepOldRuns, sweepSurplusRuns } from '../../src/scheduler/housekeeping.ts'
import { openTransaction } from '../support/locks.ts'
import { frozenScheduler, insertRun } from '../support/runs.ts'

const MONTH_SECONDS = (30 * DAY) / SECOND

const shared = await frozenScheduler(t)

async function prepared() {
  const { database, reset } = shared
  await reset()
  const swept = (sweep: (tx: TransactionSql, limit: number) => Promise<number>, limit: number) =>
    database.transaction(tx => sweep(tx, limit), { deadlineMs: 8_000 })
  const left = async () => {
    const rows = await database.run(sql => sql<{ run_id: string }[]>`select run_id from job_runs order by seq`)
    return rows.map(({ run_id }) => run_id)
  }
  return { database, swept, left }
}

t.test('finished runs that started more than 30 days ago are deleted, the oldest first', async t => {
  const { database, swept, left } = await prepared()
  const run = (startedSecondsAgo: number, outcome: 'running' | 'failed' = 'failed') =>
    insertRun(database, { startedSecondsAgo, outcome, leaseSeconds: 9 })
  const old = await run(MONTH_SECONDS + 1)
  const young = await run(MONTH_SECONDS)
  await run(MONTH_SECONDS + 3)
  const running = await run(MONTH_SECONDS + 4, 'running')
  const locked = await run(MONTH_SECONDS + 5)
  const holder = await openTransaction(t, database)
  await holder.sql`select from job_runs where run_id = ${locked} for update`
  t.equal(await swept(sweepOldRuns, 1), 1)
  t.strictSame(await left(), [old, young, running, locked])
  t.equal(await swept(sweepOldRuns, 9), 1)
  t.strictSame(await left(), [young, running, locked], 'a locked run is deleted by the next sweep')
  await holder.commit()
})

t.test('finished runs beyond the newest 10,000 of a job are deleted', async t => {
  const { database, swept, left } = await prepared()
  await database.run(sql => sql`insert into scheduled_jobs (job_id, definition) values ('a', 'x')`)
  const running = await insertRun(database, { outcome: 'running', leaseSeconds: 9 })
  const [first, second] = [await insertRun(database), await insertRun(database)]
  const other = await insertRun(database, { jobId: 'b' })
  await database.run(
    sql => sql`
      insert into job_runs (run_id, job_id, trigger, instance, finished_at, outcome)
      select gen_random_uuid(), 'a', 'manual', 'one', now(), 'succeeded' from generate_series(1, 9999)`
  )
  const holder = await openTransaction(t, database)
  const third = await insertRun(database)
  await holder.sql`select from job_runs where run_id = ${first} for update`
  t.equal(await swept(sweepSurplusRuns, 9), 1)
  await holder.commit()
  const fourth = await insertRun(database)
  t.equal(await swept(sweepSurplusRuns, 1), 1)
  t.equal(await swept(sweepSurplusRuns, 9), 1)
  t.equal(await swept(sweepSurplusRuns, 9), 0)
  const rows = await left()
  t.strictSame([rows.length, rows[0], rows[1]], [10_002, running, other])
  t.strictSame(rows.slice(-2), [third, fourth])
  t.equal(rows.includes(first) || rows.includes(second), false)
})
