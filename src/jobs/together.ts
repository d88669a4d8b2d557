// @FEAT:scheduler @COMP:job @TYPE:helper
import type { Job, JobContext, JobResult } from '../scheduler/job.ts'

/**
 * A job of parts that run at the same time. It ends when all of them have ended, and fails when one of them failed, with
 * the first of their errors; the others are logged. Its result has the counts of all parts.
 *
 * @throws {Error} when two parts have a count of the same name
 */
export function together(...parts: readonly Job['run'][]): (context: JobContext) => Promise<JobResult> {
  return async context => {
    const ends = await Promise.allSettled(parts.map(part => part(context)))
    const [first, ...others] = ends.filter(end => end.status === 'rejected')
    for (const { reason: err } of others) context.log.error({ err }, 'a further part of the job failed')
    if (first !== undefined) throw first.reason
    const counts = ends.flatMap(end => (end.status === 'fulfilled' ? Object.entries(end.value) : []))
    const result = Object.fromEntries(counts)
    const names = counts.map(([name]) => name)
    const twice = names.find((name, index) => names.indexOf(name) !== index)
    if (twice !== undefined) throw new Error(`two parts of the job have a count ${twice}`)
    return result
  }
}
