import t from 'tap'
import { newClaim } from '../../src/scheduler/run.ts'
import { RunHistory } from '../../src/scheduler/run-history.ts'
import { RunStore } from '../../src/scheduler/run-store.ts'
import { SchedulerStore } from '../../src/scheduler/store.ts'
import { frozenScheduler, insertRun } from '../support/runs.ts'
import { tradingDatabase } from '../support/trading.ts'

t.test('runs are listed newest first, by job and outcome, in pages', async t => {
  const database = await tradingDatabase(t)
  const [store, history] = [new RunStore(database), new RunHistory(database)]
  const started: string[] = []
  for (const jobId of ['a', 'b', 'a']) {
    const claim = newClaim('one')
    t.hasStrict(await store.claimManual(jobId, claim, { actor: 'ada' }), { kind: 'started' })
    if (started.length < 2) await store.finish(claim, { outcome: 'succeeded', result: { n: 1 }, errorCode: null })
    started.push(claim.runId)
  }
  const [first = '', second = '', third = ''] = started
  const list = async (filter: Partial<Parameters<RunHistory['list']>[0]>) =>
    (await history.list({ limit: 10, ...filter })).map(({ runId }) => runId)
  t.strictSame(await list({}), [third, second, first])
  t.strictSame(await list({ limit: 2 }), [third, second])
  t.strictSame(await list({ jobId: 'a' }), [third, first])
  t.strictSame(await list({ outcome: 'succeeded' }), [second, first])
  t.strictSame(await list({ before: second }), [first])
  t.strictSame((await history.latest('a', 'succeeded'))?.runId, first)
  t.strictSame((await history.latest('a', 'running'))?.runId, third)
  t.strictSame(await history.latest('b', 'running'), undefined)
})

t.test('a run has the same fields in the history and in the status', async t => {
  const database = await tradingDatabase(t)
  const [store, history, scheduler] = [new RunStore(database), new RunHistory(database), new SchedulerStore(database)]
  await scheduler.register([{ jobId: 'a', definition: 'never' }])
  const claim = newClaim('one')
  const claimed = await store.claimManual('a', claim, { actor: 'ada' })
  await store.renew(claim, { done: 3, total: 7 })
  const startedAt = claimed.kind === 'started' ? claimed.startedAt : null
  const running = {
    runId: claim.runId,
    jobId: 'a',
    trigger: 'manual',
    actor: 'ada',
    instance: 'one',
    scheduledFor: null,
    startedAt,
    finishedAt: null,
    durationMs: null,
    outcome: 'running',
    progress: { done: 3, total: 7 },
    result: null,
    errorCode: null
  }
  t.strictSame(await history.byId(claim.runId), running)
  t.strictSame(await history.list({ limit: 1 }), [running])
  t.hasStrict((await scheduler.status()).jobs[0], { running, lastRun: null })

  await store.finish(claim, { outcome: 'failed', result: null, errorCode: 'JOB_FAILED' })
  const failed = await history.byId(claim.runId)
  const finishedMs = failed?.finishedAt?.getTime() ?? Number.NaN
  const tookMs = finishedMs - Number(startedAt)
  t.ok(tookMs >= 0 && Math.abs(tookMs - (failed?.durationMs ?? Number.NaN)) <= 1, `took ${failed?.durationMs} ms`)
  t.hasStrict(failed, { outcome: 'failed', errorCode: 'JOB_FAILED', result: null, progress: null })
  t.hasStrict((await scheduler.status()).jobs[0], { running: null, lastRun: failed })
  t.equal(await history.byId('00000000-0000-4000-8000-000000000000'), undefined)
})

t.test('a duration is the time from start to end, and the latest run is the one that ended last', async t => {
  const { database, reset } = await frozenScheduler(t)
  const nowMs = await reset()
  const last = await insertRun(database, { startedSecondsAgo: 4, endedSecondsAgo: 1 })
  await insertRun(database, { startedSecondsAgo: 3, endedSecondsAgo: 2, scheduledFor: new Date(nowMs) })
  const history = new RunHistory(database)
  const latest = await history.latest('a', 'succeeded')
  t.strictSame([latest?.runId, latest?.durationMs], [last, 3_000])
  const durations = (await history.list({ limit: 9 })).map(({ durationMs }) => durationMs)
  t.strictSame(durations, [1_000, 3_000])
})
