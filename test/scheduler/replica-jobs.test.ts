import t from 'tap'
import type { Database } from '../../src/database/database.ts'
import { JobError } from '../../src/scheduler/job.ts'
import { localLeases, ReplicaJobs } from '../../src/scheduler/replica-jobs.ts'
import { type LeaseStore, newClaim, Run } from '../../src/scheduler/run.ts'
import { captureLog } from '../support/app.ts'
import { heldJob } from '../support/jobs.ts'

const leases: LeaseStore = {
  renew: async () => true,
  finish: async () => true,
  fenced: async () => {
    throw new Error('no transaction in this test')
  }
}
const startedAt = new Date(900_000)

/** A job whose run has started and not ended. */
async function running(jobs: ReplicaJobs) {
  const held = heldJob('own', { scope: 'replica' })
  const begun = held.begun()
  const { logger: log } = captureLog('fatal')
  const claim = newClaim('one')
  const run = new Run({ job: held.job, leases, log, claim, trigger: 'manual', actor: 'ada', startedAt })
  jobs.recordStart(run)
  await begun
  return { held, run }
}

t.test('a running job does not start again, and its run is returned with its progress', async t => {
  const jobs = new ReplicaJobs(() => 1_000_000)
  t.strictSame([jobs.running('own'), jobs.lastRun('own'), jobs.conflict('own', 60)], [undefined, undefined, undefined])
  const { held, run } = await running(jobs)
  const record = {
    runId: run.runId,
    jobId: 'own',
    trigger: 'manual',
    actor: 'ada',
    instance: 'one',
    scheduledFor: null,
    startedAt,
    finishedAt: null,
    durationMs: null,
    outcome: 'running',
    progress: null,
    result: null,
    errorCode: null
  } as const
  t.strictSame(jobs.running('own'), record)
  t.strictSame(jobs.byId(run.runId), record)
  t.strictSame(jobs.conflict('own'), { kind: 'busy', running: record })
  t.equal(jobs.byId('another'), undefined)
  held.release()
  await run.finished
})

t.test('a run that succeeded is the last one, and recent for the time in the request', async t => {
  let nowMs = 1_000_000
  const jobs = new ReplicaJobs(() => nowMs)
  const { held, run } = await running(jobs)
  held.release()
  const result = await run.finished
  jobs.recordEnd(run, result)
  t.equal(jobs.running('own'), undefined)
  t.strictSame(jobs.lastRun('own'), {
    ...run.record(),
    finishedAt: new Date(1_000_000),
    durationMs: result.durationMs,
    outcome: 'succeeded',
    result: { held: 1 }
  })
  t.equal(jobs.byId(run.runId), jobs.lastRun('own'))
  nowMs += 60_000
  t.strictSame(jobs.conflict('own', 60), { kind: 'recent', run: jobs.lastRun('own') })
  t.strictSame([jobs.conflict('own', 59), jobs.conflict('own')], [undefined, undefined])
})

t.test('a partial run is the last one, and the run that succeeded before it is the recent one', async t => {
  const jobs = new ReplicaJobs(() => 1_000_000)
  const whole = await running(jobs)
  whole.held.release()
  jobs.recordEnd(whole.run, await whole.run.finished)
  const half = await running(jobs)
  half.held.release()
  await half.run.finished
  jobs.recordEnd(half.run, { outcome: 'partial', result: { failed: 1 }, durationMs: 5 })
  t.hasStrict(jobs.lastRun('own'), {
    runId: half.run.runId,
    outcome: 'partial',
    result: { failed: 1 },
    errorCode: null
  })
  t.hasStrict(jobs.conflict('own', 60), { kind: 'recent', run: { runId: whole.run.runId, outcome: 'succeeded' } })
  t.hasStrict(jobs.byId(whole.run.runId), { outcome: 'succeeded' })
})

t.test('a run that failed is the last one, and not recent', async t => {
  const jobs = new ReplicaJobs(() => 1_000_000)
  const { run } = await running(jobs)
  run.abort(new JobError('SHUTDOWN'))
  jobs.recordEnd(run, await run.finished)
  t.hasStrict(jobs.lastRun('own'), { outcome: 'failed', errorCode: 'SHUTDOWN', result: null })
  t.equal(jobs.conflict('own', 60), undefined)
})

t.test('the lease of a replica job is never lost, and its transactions are limited', async t => {
  const limits: unknown[] = []
  const database = {
    transaction: async (_work: unknown, options: unknown) => {
      limits.push(options)
      return 'done'
    }
  } as unknown as Database
  const { renew, finish, fenced } = localLeases(database)
  const claim = newClaim('one')
  t.equal(await renew(claim), true)
  t.equal(await finish(claim, { outcome: 'succeeded', result: {}, errorCode: null }), true)
  const work = async () => 'done'
  t.equal(await fenced(claim, work, { deadlineMs: 9_000 }), 'done')
  t.strictSame(limits, [{ deadlineMs: 8_000, kind: String(work) }])
})
