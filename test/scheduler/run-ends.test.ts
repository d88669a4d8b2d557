import t from 'tap'
import { DAY, SECOND } from '../../src/async/durations.ts'
import type { Database } from '../../src/database/database.ts'
import { missedFires, type ProcessedEnd, runEnds } from '../../src/scheduler/run-ends.ts'
import { frozenScheduler, insertRun } from '../support/runs.ts'

const shared = await frozenScheduler(t)

/** A database with a stopped clock, and functions that read the ends of its runs. */
async function prepared() {
  const { database, reset } = shared
  const nowMs = await reset()
  const ends = (...processed: ProcessedEnd[]) =>
    database.transaction(tx => runEnds(tx, processed), { deadlineMs: 8_000 })
  const ids = async (...processed: ProcessedEnd[]) => (await ends(...processed)).map(({ runId }) => runId)
  return { database, nowMs, ends, ids }
}

async function seqOf(database: Database, runId: string | undefined): Promise<string> {
  const [row] = await database.run(
    sql => sql<{ seq: string }[]>`select seq from job_runs where run_id = ${runId ?? null}`
  )
  return row?.seq ?? ''
}

t.test('the ends after the last processed one are returned in their order', async t => {
  const { database, nowMs, ends, ids } = await prepared()
  const runs: string[] = []
  for (const outcome of ['succeeded', 'failed', 'abandoned', 'succeeded'] as const)
    runs.push(await insertRun(database, { outcome, errorCode: 'X', endedSecondsAgo: 2 }))
  const other = await insertRun(database, { jobId: 'b' })
  await insertRun(database, { jobId: 'c' })
  await insertRun(database, { outcome: 'skipped' })
  await insertRun(database, { outcome: 'running', leaseSeconds: 9 })
  const processed = { jobId: 'a', seq: await seqOf(database, runs[0]) }
  t.strictSame(await ids({ jobId: 'b', seq: '0' }, processed), [...runs.slice(1), other])
  t.strictSame((await ends(processed))[0], {
    jobId: 'a',
    seq: await seqOf(database, runs[1]),
    runId: runs[1],
    outcome: 'failed',
    instance: 'two',
    errorCode: 'X',
    result: null,
    partialInRow: 0,
    finishedAt: new Date(nowMs - 2 * SECOND)
  })
})

t.test('the partial runs in a row are counted, three at most', async t => {
  const { database, ends } = await prepared()
  const outcomes = [
    'partial',
    'succeeded',
    'partial',
    'partial',
    'skipped',
    'partial',
    'partial',
    'failed',
    'partial'
  ] as const
  for (const outcome of outcomes) {
    await insertRun(database, { jobId: 'b', outcome: 'partial' })
    await insertRun(database, { outcome })
  }
  const found = await ends({ jobId: 'a', seq: '0' })
  t.strictSame(
    found.map(({ outcome, partialInRow }) => `${outcome} ${partialInRow}`),
    ['partial 1', 'succeeded 0', 'partial 1', 'partial 2', 'partial 3', 'partial 3', 'failed 0', 'partial 1']
  )
})

t.test('for a job without a processed end only the last end is returned', async t => {
  const { database, ids } = await prepared()
  for (const outcome of ['succeeded', 'partial', 'failed', 'abandoned'] as const) {
    await insertRun(database, { jobId: outcome })
    const last = await insertRun(database, { jobId: outcome, outcome })
    await insertRun(database, { jobId: outcome, outcome: 'skipped' })
    t.strictSame(await ids({ jobId: outcome, seq: null }), [last])
  }
  t.strictSame(await ids({ jobId: 'none', seq: null }), [])
})

t.test('an end more than a day ago is not returned', async t => {
  const { database, ids } = await prepared()
  await insertRun(database, { endedSecondsAgo: DAY / SECOND })
  const younger = await insertRun(database, { endedSecondsAgo: DAY / SECOND - 1 })
  t.strictSame(await ids({ jobId: 'a', seq: '0' }), [younger])
})

t.test('one call returns at most 100 ends of a job, the first ones', async t => {
  const { database, ends, ids } = await prepared()
  await database.run(
    sql => sql`
      insert into job_runs (run_id, job_id, trigger, instance, finished_at, outcome)
      select gen_random_uuid(), 'a', 'manual', 'one', now(), 'succeeded' from generate_series(1, 101)`
  )
  const other = await insertRun(database, { jobId: 'b' })
  const found = await ends({ jobId: 'a', seq: '0' })
  t.equal(found.length, 100)
  const rest = await ids({ jobId: 'a', seq: found[99]?.seq ?? null }, { jobId: 'b', seq: '0' })
  t.equal(rest.length, 2)
  t.equal(rest[1], other)
})

t.test('the missed fires after the given time are summed by job', async t => {
  const { database, nowMs } = await prepared()
  for (const jobId of ['b', 'a']) {
    await insertRun(database, { jobId, outcome: 'skipped', skippedCount: 2, startedSecondsAgo: 1 })
    await insertRun(database, { jobId, outcome: 'skipped', skippedCount: 3 })
    // Fires during a run do not count as missed.
    await insertRun(database, { jobId, skippedCount: 50 })
  }
  const missed = (secondsAgo: number) =>
    database.transaction(tx => missedFires(tx, new Date(nowMs - secondsAgo * SECOND)), { deadlineMs: 8_000 })
  const of = (count: number) => ['a', 'b'].map(jobId => ({ jobId, count }))
  t.strictSame(await missed(0), [])
  t.strictSame(await missed(1), of(3))
  t.strictSame(await missed(2), of(5))
})
