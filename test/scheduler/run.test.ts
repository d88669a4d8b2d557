import { getEventListeners } from 'node:events'
import { setImmediate } from 'node:timers/promises'
import t from 'tap'
import { withDeadline } from '../../src/async/deadline.ts'
import { SECOND } from '../../src/async/durations.ts'
import type { TransactionSql } from '../../src/database/client.ts'
import { DatabaseUnavailableError } from '../../src/database/failure.ts'
import { type Job, type JobContext, JobError, LeaseLostError } from '../../src/scheduler/job.ts'
import { newClaim, Run, type RunOptions, type RunResult } from '../../src/scheduler/run.ts'
import type { Progress } from '../../src/scheduler/run-history.ts'
import type { Claim, RunEnd } from '../../src/scheduler/run-store.ts'
import { captureLog } from '../support/app.ts'
import { assertRows } from '../support/assert-rows.ts'
import { heldJob, testJob } from '../support/jobs.ts'
import { processWarnings } from '../support/process-warnings.ts'
import { manualTimers } from '../support/test-timers.ts'

const startedAt = new Date(900_000)
/** The monotonic clock at the start of a run, in milliseconds. */
const BEGIN_MS = 1_000_000
/** For `fenced`: these tests run no statement. */
const tx = {} as TransactionSql

/** A run whose leases return the values of `answers`. `advance` moves its timers. */
async function setUp(job: Job, options: Partial<RunOptions> = {}) {
  const timers = manualTimers()
  timers.advance(BEGIN_MS)
  const atMs = () => timers.now() - BEGIN_MS
  const { lines, logger } = captureLog('info')
  const claim = newClaim('one')
  const answers = {
    renew: async () => true,
    finish: async () => true,
    fenced: async () => {}
  }
  const calls = {
    renewed: [] as { atMs: number; progress: Progress | undefined }[],
    finished: [] as { atMs: number; end: RunEnd; progress: Progress | undefined }[],
    fenced: [] as unknown[]
  }
  const checkClaim = (of: Claim) => {
    if (of !== claim) throw new Error('the call is for another claim')
  }
  const run = new Run({
    job,
    claim,
    leases: {
      renew: async (of, progress) => {
        checkClaim(of)
        calls.renewed.push({ atMs: atMs(), progress })
        return await answers.renew()
      },
      finish: async (of, end, progress) => {
        checkClaim(of)
        calls.finished.push({ atMs: atMs(), end, progress })
        return await answers.finish()
      },
      fenced: async (of, work, limits) => {
        checkClaim(of)
        calls.fenced.push(limits)
        await answers.fenced()
        return await work(tx)
      }
    },
    log: logger,
    trigger: 'schedule',
    actor: null,
    scheduledFor: new Date(899_000),
    startedAt,
    timers,
    ...options
  })
  let result: RunResult | undefined
  void run.finished.then(found => {
    result = found
  })
  const logged = (msg: string) => lines.filter(line => line.msg === msg).map(({ pid, hostname, time, ...rest }) => rest)
  await setImmediate()
  return {
    run,
    claim,
    timers,
    answers,
    calls,
    logged,
    result: () => result,
    renewedAt: () => calls.renewed.map(({ atMs }) => atMs),
    advance: async (ms: number) => {
      const endMs = timers.now() + ms
      // In steps of half a second, because a timer may set the next timer.
      while (timers.now() < endMs) {
        timers.advance(Math.min(endMs - timers.now(), 500 - (timers.now() % 500)))
        await setImmediate()
      }
    }
  }
}

/** A job that ignores its abort and ends when the test calls `end`. */
function unresponsiveJob(rest: Partial<Job> = {}) {
  let end = () => {}
  const contexts: JobContext[] = []
  const job = testJob(
    'unresponsive',
    context => {
      contexts.push(context)
      return new Promise(resolve => {
        end = () => resolve({ done: 1 })
      })
    },
    rest
  )
  return { job, end: () => end(), contexts }
}

const failed = (errorCode: string): RunEnd => ({ outcome: 'failed', result: null, errorCode })

t.test('a job that returns has succeeded, and its end is recorded with its progress', async t => {
  const held = heldJob('held')
  const job = testJob('held', async context => {
    context.progress(2, 3)
    return await held.job.run(context)
  })
  const { run, claim, advance, calls, result, timers, logged } = await setUp(job, { requestId: 'q' })
  t.equal(run.runId, claim.runId)
  await advance(250)
  held.release()
  await setImmediate()
  const end = { outcome: 'succeeded', result: { held: 1 }, errorCode: null }
  t.strictSame(calls.finished, [{ atMs: 250, end, progress: { done: 2, total: 3 } }])
  t.strictSame(result(), { outcome: 'succeeded', result: { held: 1 }, durationMs: 250 })
  const ids = { level: 30, job_id: 'held', run_id: run.runId, request_id: 'q' }
  t.strictSame(logged('run succeeded'), [{ ...ids, duration_ms: 250, result: { held: 1 }, msg: 'run succeeded' }])
  t.equal(timers.pending(), 0)
})

t.test('a run is partial when one of the counts of undone work is above zero', async t => {
  for (const [result, outcome] of [
    [{ done: 2, failed: 0, refused: 0 }, 'succeeded'],
    [{ done: 2, failed: 1, refused: 0 }, 'partial'],
    [{ done: 0, failed: 0, refused: 3 }, 'partial']
  ] as const) {
    const job = testJob('counting', async () => result, { undone: ['failed', 'refused'] })
    const { calls, result: ended, logged } = await setUp(job)
    t.strictSame(calls.finished, [{ atMs: 0, end: { outcome, result, errorCode: null }, progress: undefined }])
    t.strictSame(ended(), { outcome, result, durationMs: 0 })
    t.hasStrict(logged(`run ${outcome}`)[0], { level: 30, result })
  }
})

t.test('a result without a count of undone work is a failure of the job', async t => {
  const job = testJob('counting', async () => ({ failed: 0, refused: null }), { undone: ['failed', 'refused'] })
  const { result, logged } = await setUp(job)
  t.strictSame(result(), { outcome: 'failed', errorCode: 'JOB_FAILED', durationMs: 0 })
  t.hasStrict(logged('job failed')[0], { err: { message: 'the result of counting lacks the count refused' } })
})

t.test('a job that throws has failed with its code, or with JOB_FAILED', async t => {
  for (const [thrown, errorCode] of [
    [new JobError('NO_MONEY'), 'NO_MONEY'],
    [new Error('secret detail'), 'JOB_FAILED'],
    [new DatabaseUnavailableError('database_failing'), 'DATABASE_UNAVAILABLE']
  ] as const) {
    // Thrown synchronously, not by a promise.
    const job = testJob('broken', () => {
      throw thrown
    })
    const { run, calls, result, timers, logged } = await setUp(job)
    t.strictSame(calls.finished, [{ atMs: 0, end: failed(errorCode), progress: undefined }])
    t.strictSame(result(), { outcome: 'failed', errorCode, durationMs: 0 })
    const ids = { level: 40, job_id: 'broken', run_id: run.runId }
    t.strictSame(logged('run failed'), [{ ...ids, duration_ms: 0, code: errorCode, msg: 'run failed' }])
    t.hasStrict(logged('job failed')[0], { level: 50, err: { message: thrown.message } })
    t.equal(timers.pending(), 0)
  }
})

t.test('a run has the fields of an unfinished run, and passes its context to the job', async t => {
  const held = heldJob('held')
  const begun = held.begun()
  const { run, calls } = await setUp(held.job)
  const { runId, jobId, trigger, scheduledFor, ...rest } = await begun
  t.strictSame([runId, jobId, trigger, scheduledFor], [run.runId, 'held', 'schedule', new Date(899_000)])
  t.equal(Object.hasOwn(rest, 'date'), false)
  const record = {
    runId: run.runId,
    jobId: 'held',
    trigger: 'schedule',
    actor: null,
    instance: 'one',
    scheduledFor: new Date(899_000),
    startedAt,
    finishedAt: null,
    durationMs: null,
    outcome: 'running',
    progress: null,
    result: null,
    errorCode: null
  }
  t.strictSame(run.record(), record)
  rest.progress(1, 4)
  t.strictSame(run.record(), { ...record, progress: { done: 1, total: 4 } })
  t.strictSame(run.progress, { done: 1, total: 4 })
  held.release()
  await run.finished
  t.equal(calls.finished.length, 1)

  const of = heldJob('of')
  const ofDay = of.begun()
  const { run: manual, ...other } = await setUp(of.job, { trigger: 'manual', date: '2026-11-22' })
  const given = await ofDay
  t.strictSame([given.trigger, given.date], ['manual', '2026-11-22'])
  of.release()
  await manual.finished
  t.equal(other.timers.pending(), 0)
})

t.test('a manual run is scheduled for its start', async t => {
  const held = heldJob('held')
  const begun = held.begun()
  const timers = manualTimers()
  const { logger: log } = captureLog('fatal')
  const leases = { renew: async () => true, finish: async () => true, fenced: async () => Promise.reject() }
  const claim = newClaim('one')
  const run = new Run({ job: held.job, claim, leases, log, trigger: 'manual', actor: 'ada', startedAt, timers })
  t.equal((await begun).scheduledFor, startedAt)
  t.strictSame([run.record().scheduledFor, run.record().actor], [null, 'ada'])
  held.release()
  await run.finished
})

t.test('a run that takes too long is aborted and fails, with any result of the job', async t => {
  const unresponsive = unresponsiveJob({ maxRunMs: 2 * SECOND })
  const { advance, calls, result, timers } = await setUp(unresponsive.job)
  await advance(1_999)
  t.equal(unresponsive.contexts[0]?.signal.aborted, false)
  await advance(1)
  t.equal(unresponsive.contexts[0]?.signal.aborted, true)
  unresponsive.end()
  await setImmediate()
  t.strictSame(calls.finished, [{ atMs: 2_000, end: failed('JOB_TIMEOUT'), progress: undefined }])
  t.strictSame(result(), { outcome: 'failed', errorCode: 'JOB_TIMEOUT', durationMs: 2_000 })
  t.equal(timers.pending(), 0)
})

t.test('a job that throws its own error after its abort has failed with the code of the abort', async t => {
  const job = testJob(
    'own',
    ({ signal }) =>
      new Promise((_resolve, reject) => {
        signal.addEventListener('abort', () => reject(new JobError('NO_ANSWER')))
      }),
    { maxRunMs: SECOND }
  )
  const { advance, result } = await setUp(job)
  await advance(1_000)
  t.hasStrict(result(), { outcome: 'failed', errorCode: 'JOB_TIMEOUT' })
})

t.test('many calls of a job wait for its abort without a warning', async t => {
  const warnings = processWarnings(t)
  const job = testJob('parallel', async ({ signal }) => {
    const calls = Array.from({ length: 50 }, (_, call) => withDeadline(setImmediate(call), 60 * SECOND, { signal }))
    return { done: (await Promise.all(calls)).length, listeners: getEventListeners(signal, 'abort').length }
  })
  const { run } = await setUp(job)
  const result = { done: 50, listeners: 1 }
  t.hasStrict(await run.finished, { outcome: 'succeeded', result }, 'only the listener of the run is left')
  t.strictSame(warnings(), [])
})

t.test('a run waits 3 s for a job that ignores its abort, and rejects its transactions', async t => {
  const unresponsive = unresponsiveJob()
  const { run, advance, calls, result, timers } = await setUp(unresponsive.job)
  run.abort(new JobError('SHUTDOWN'))
  run.abort(new JobError('JOB_TIMEOUT'))
  await advance(2_999)
  t.equal(result(), undefined)
  await advance(1)
  t.strictSame(result(), { outcome: 'failed', errorCode: 'SHUTDOWN', durationMs: 3_000 })
  t.equal(timers.pending(), 0)
  await t.rejects(async () => await unresponsive.contexts[0]?.transaction(async () => t.fail('the transaction runs')), {
    code: 'SHUTDOWN'
  })
  t.strictSame(calls.fenced, [])
})

t.test('the lease is renewed every 5 s, until the run has ended', async t => {
  const held = heldJob('held')
  const { run, advance, calls, timers } = await setUp(held.job)
  await advance(4_999)
  t.strictSame(calls.renewed, [])
  await advance(10_001)
  t.strictSame(
    calls.renewed,
    [5_000, 10_000, 15_000].map(atMs => ({ atMs, progress: undefined }))
  )
  held.release()
  await run.finished
  t.equal(timers.pending(), 0)
})

t.test('the progress is written at most once a second', async t => {
  const held = heldJob('held')
  const begun = held.begun()
  const { run, advance, calls } = await setUp(held.job)
  const { progress } = await begun
  progress(1, 9)
  await advance(500)
  progress(2, 9)
  await advance(500)
  t.strictSame(calls.renewed, [{ atMs: 1_000, progress: { done: 2, total: 9 } }])
  await advance(1_500)
  progress(3, 9)
  await advance(1_000)
  t.strictSame(calls.renewed.slice(1), [{ atMs: 3_500, progress: { done: 3, total: 9 } }])
  await advance(5_000)
  t.strictSame(calls.renewed.slice(2), [{ atMs: 8_500, progress: { done: 3, total: 9 } }])
  held.release()
  await run.finished
})

t.test('a run that has lost its lease is aborted and ends without a wait for the job', async t => {
  const unresponsive = unresponsiveJob()
  const { advance, answers, calls, result, timers, logged, renewedAt } = await setUp(unresponsive.job)
  answers.renew = async () => false
  answers.finish = async () => false
  await advance(5_000)
  timers.advance(0)
  await setImmediate()
  t.hasStrict(unresponsive.contexts[0]?.signal.reason, { code: 'LEASE_LOST' })
  t.strictSame(calls.finished, [
    { atMs: 5_000, end: { outcome: 'abandoned', result: null, errorCode: 'LEASE_EXPIRED' }, progress: undefined }
  ])
  t.strictSame(result(), { outcome: 'lost', durationMs: 5_000 })
  t.equal(logged('run lost').length, 1)
  t.strictSame(renewedAt(), [5_000])
  t.equal(timers.pending(), 0)
})

t.test('a renewal that fails is repeated every second, and the lease is lost 15 s after the last success', async t => {
  const unresponsive = unresponsiveJob()
  const { advance, answers, result, logged, renewedAt } = await setUp(unresponsive.job)
  await advance(5_000)
  const failure = new Error('no connection')
  answers.renew = async () => Promise.reject(failure)
  await advance(14_999)
  t.strictSame(renewedAt(), [5_000, 10_000, 11_000, 12_000, 13_000, 14_000, 15_000, 16_000, 17_000, 18_000, 19_000])
  t.equal(unresponsive.contexts[0]?.signal.aborted, false)
  t.hasStrict(logged('lease not renewed')[0], { level: 40, err: { message: 'no connection' } })
  t.equal(logged('lease not renewed').length, 1, 'logged once')
  answers.finish = async () => Promise.reject(failure)
  await advance(1)
  t.hasStrict(unresponsive.contexts[0]?.signal.reason, { code: 'LEASE_LOST', cause: failure })
  await advance(1)
  t.strictSame(result(), { outcome: 'lost', durationMs: 20_001 })
  t.equal(renewedAt().length, 12)
})

t.test('consecutive failed renewals are logged once, and so is the next success', async t => {
  const held = heldJob('held')
  const { run, advance, answers, logged } = await setUp(held.job)
  const counts = () => [logged('lease not renewed').length, logged('lease renewed again').length]
  answers.renew = async () => Promise.reject(new Error('no connection'))
  await advance(6_000)
  t.strictSame(counts(), [1, 0])
  answers.renew = async () => true
  await advance(1_000)
  t.strictSame(counts(), [1, 1])
  await advance(5_000)
  t.strictSame(counts(), [1, 1])
  held.release()
  await run.finished
})

t.test('the lease counts from the start of the renewal', async t => {
  const held = heldJob('held')
  const { run, advance, answers, logged, renewedAt } = await setUp(held.job)
  let renew = () => {}
  answers.renew = () =>
    new Promise(resolve => {
      renew = () => resolve(true)
    })
  await advance(8_000)
  renew()
  await setImmediate()
  answers.renew = async () => Promise.reject(new Error('no connection'))
  await advance(11_999)
  t.equal(renewedAt()[1], 13_000, 'the next renewal follows 5 s after the end of this one')
  const result = run.finished
  await advance(1)
  t.hasStrict(await result, { outcome: 'abandoned', errorCode: 'LEASE_EXPIRED' })
  assertRows(t, logged('run abandoned'), [{ level: 40, code: 'LEASE_EXPIRED' }])
})

t.test('an end that cannot be recorded is tried again until the lease expires', async t => {
  const held = heldJob('held')
  const again = await setUp(held.job)
  again.answers.finish = async () => Promise.reject(new Error('no connection'))
  held.release()
  await setImmediate()
  await again.advance(2_000)
  t.equal(again.result(), undefined)
  again.answers.finish = async () => true
  await again.advance(1_000)
  t.strictSame(again.result(), { outcome: 'succeeded', result: { held: 1 }, durationMs: 3_000 })
  t.strictSame(
    again.calls.finished.map(({ atMs }) => atMs),
    [0, 1_000, 2_000, 3_000]
  )
  t.equal(again.logged('end of run not recorded').length, 1, 'logged once')
  t.hasStrict(again.logged('end of run recorded')[0], { failures: 3 })
  t.equal(again.timers.pending(), 0)

  const other = heldJob('held')
  const lost = await setUp(other.job)
  const noConnection = async () => Promise.reject(new Error('no connection'))
  lost.answers.finish = noConnection
  lost.answers.renew = noConnection
  other.release()
  await setImmediate()
  await lost.advance(14_999)
  t.equal(lost.result(), undefined)
  await lost.advance(1)
  t.strictSame(lost.result(), { outcome: 'lost', durationMs: 15_000 })
  t.equal(lost.timers.pending(), 0)
})

t.test('an abort while the end is recorded has no effect', async t => {
  const held = heldJob('held')
  const { run, answers, calls, result, timers } = await setUp(held.job)
  let record = () => {}
  answers.finish = () =>
    new Promise(resolve => {
      record = () => resolve(true)
    })
  held.release()
  await setImmediate()
  const pending = timers.pending()
  run.abort(new JobError('SHUTDOWN'))
  t.equal(timers.pending(), pending, 'no timer is set')
  record()
  await setImmediate()
  t.strictSame(result(), { outcome: 'succeeded', result: { held: 1 }, durationMs: 0 })
  t.equal(calls.finished.length, 1)
  t.equal(timers.pending(), 0)
})

t.test('a run ends after the current renewal, which starts no other one', async t => {
  const held = heldJob('held')
  const { advance, answers, result, timers } = await setUp(held.job)
  let renew = () => {}
  answers.renew = () =>
    new Promise(resolve => {
      renew = () => resolve(true)
    })
  await advance(5_000)
  held.release()
  await setImmediate()
  t.equal(result(), undefined)
  renew()
  await setImmediate()
  t.strictSame(result(), { outcome: 'succeeded', result: { held: 1 }, durationMs: 5_000 })
  t.equal(timers.pending(), 0)
})

t.test('a queued renewal does nothing after the end of the run', async t => {
  const held = heldJob('held')
  const begun = held.begun()
  const { run, advance, answers, renewedAt } = await setUp(held.job)
  let renew = () => {}
  answers.renew = () =>
    new Promise(resolve => {
      renew = () => resolve(true)
    })
  await advance(5_000)
  const { progress } = await begun
  progress(1, 2)
  await advance(1_000)
  held.release()
  await setImmediate()
  renew()
  t.hasStrict(await run.finished, { outcome: 'succeeded', durationMs: 6_000 })
  t.strictSame(renewedAt(), [5_000])
})

t.test('a transaction that finds the lease lost aborts the run, other failures do not', async t => {
  const unresponsive = unresponsiveJob()
  const { answers, calls, result, advance } = await setUp(unresponsive.job)
  const [context] = unresponsive.contexts
  if (context === undefined) throw new Error('the job has not begun')
  t.equal(await context.transaction(async given => given === tx, { deadlineMs: 7 }), true)
  t.strictSame(calls.fenced, [{ deadlineMs: 7 }])
  answers.fenced = async () => Promise.reject(new Error('deadlock'))
  await t.rejects(
    context.transaction(async () => 1),
    { message: 'deadlock' }
  )
  t.equal(context.signal.aborted, false)
  const lost = new LeaseLostError()
  answers.fenced = async () => Promise.reject(lost)
  await t.rejects(
    context.transaction(async () => 1),
    lost
  )
  t.equal(context.signal.reason, lost)
  t.strictSame([lost.name, new JobError('X').name], ['LeaseLostError', 'JobError'])
  await advance(1)
  t.hasStrict(result(), { outcome: 'abandoned', errorCode: 'LEASE_EXPIRED' })
})
