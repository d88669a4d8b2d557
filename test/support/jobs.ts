import { once } from 'node:events'
import { HOUR, MINUTE } from '../../src/async/durations.ts'
import { type JobServices, jobTable } from '../../src/jobs/index.ts'
import { type Job, type JobContext, type JobResult, undoneOf } from '../../src/scheduler/job.ts'
import { every } from '../../src/scheduler/trigger.ts'

/** A job that its schedule does not start within a test, unless `rest` has another trigger. */
export function testJob(id: string, run: (context: JobContext) => Promise<JobResult>, rest: Partial<Job> = {}): Job {
  return {
    id,
    type: id,
    name: id,
    trigger: every(100_000 * HOUR),
    scope: 'cluster',
    misfire: { policy: 'skip' },
    maxRunMs: MINUTE,
    undone: [],
    run,
    ...rest
  }
}

/** A job that runs until the test releases it, or until it is aborted. */
export function heldJob(id: string, rest: Partial<Job> = {}) {
  const events = new EventTarget()
  const happened = async (name: string) => {
    await once(events, name)
  }
  let latest: JobContext | undefined
  return {
    /** Resolves with the context of the next run. */
    async begun(): Promise<JobContext> {
      await happened('begun')
      if (!latest) throw new Error('begun without a context')
      return latest
    },
    /** Lets the current run succeed. */
    release: () => events.dispatchEvent(new Event('go')),
    job: testJob(
      id,
      async context => {
        latest = context
        const { signal } = context
        const gone = happened('go')
        const aborted = new Promise<never>((_resolve, reject) => {
          signal.addEventListener('abort', () => reject(signal.reason))
        })
        events.dispatchEvent(new Event('begun'))
        await Promise.race([gone, aborted])
        return { held: 1 }
      },
      rest
    )
  }
}

/** What a run of a job of the service left undone, by its result. */
export function undoneBy(jobId: string, result: JobResult) {
  // The jobs do not use the services before they run.
  const job = jobTable({ timeZone: 'UTC' } as JobServices).find(({ id }) => id === jobId)
  if (job === undefined) throw new Error(`there is no job ${jobId}`)
  return undoneOf(job, result)
}
