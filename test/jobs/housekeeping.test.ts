import t from 'tap'
import { type HousekeepingTask, housekeeping } from '../../src/jobs/housekeeping.ts'
import type { JobContext } from '../../src/scheduler/job.ts'
import { captureLog } from '../support/app.ts'
import { undoneBy } from '../support/jobs.ts'

function context(signal = new AbortController().signal) {
  let transactions = 0
  const progress: number[][] = []
  const fake: JobContext = {
    runId: 'run',
    jobId: 'housekeeping',
    trigger: 'schedule',
    scheduledFor: new Date(),
    signal,
    log: captureLog().logger,
    progress: (done, total) => progress.push([done, total]),
    transaction: async work => {
      transactions++
      // The tasks of these tests do not use the connection.
      return await work(undefined as never)
    }
  }
  return { fake, progress, transactions: () => transactions }
}

/** A task with the given number of rows to delete. */
const rows = (name: string, count: number): HousekeepingTask => {
  let left = count
  return {
    name,
    sweep: async (_tx, limit) => {
      const swept = Math.min(left, limit)
      left -= swept
      return swept
    }
  }
}

t.test('each task deletes in batches, one transaction each, and counts the rows', async t => {
  const { fake, progress, transactions } = context()
  const result = await housekeeping([rows('none', 0), rows('some', 2_500)])(fake)
  t.strictSame(result, { none: 0, some: 2_500, unfinished_tasks: 0 })
  t.strictSame(undoneBy('housekeeping', result), {}, 'everything is done')
  t.equal(transactions(), 1 + 3)
  t.strictSame(progress, [
    [1, 2],
    [2, 2]
  ])
})

t.test('a task with more rows than a run may delete leaves the rest to the next run', async t => {
  const { fake } = context()
  const run = housekeeping([rows('many', 25_000), rows('few', 3)])
  const result = await run(fake)
  t.strictSame(result, { many: 20_000, few: 3, unfinished_tasks: 1 })
  t.strictSame(undoneBy('housekeeping', result), { unfinished_tasks: 1 }, 'the run is partial')
  t.strictSame(await run(fake), { many: 5_000, few: 0, unfinished_tasks: 0 })
})

t.test('an aborted run stops between two batches', async t => {
  const controller = new AbortController()
  const { fake, transactions } = context(controller.signal)
  const task: HousekeepingTask = {
    name: 'stopped',
    sweep: async () => {
      controller.abort(new Error('aborted'))
      return 1_000
    }
  }
  await t.rejects(housekeeping([task])(fake), { message: 'aborted' })
  t.equal(transactions(), 1)
})
