// @FEAT:scheduler @COMP:job @TYPE:helper
import type { Job, JobContext, JobResult } from '../scheduler/job.ts'

/**
 * A job of parts that run at the same time. It ends when all of them have ended, and fails when one of them failed, with
 * the first of their errors. Its result has the counts of all parts, whose names must differ.
 */
export function together(...parts: readonly Job['run'][]): (context: JobContext) => Promise<JobResult> {
  return async context => {
    const ends = await Promise.allSettled(parts.map(part => part(context)))
    return Object.assign(
      {},
      ...ends.map(end => {
        if (end.status === 'rejected') throw end.reason
        return end.value
      })
    )
  }
}
