// @FEAT:scheduler @COMP:service @TYPE:core
import { ServiceError } from '../errors.ts'
import type { Run } from '../scheduler/run.ts'
import type { Scheduler } from '../scheduler/scheduler.ts'
import { MAX_STOP_MINUTES } from '../scheduler/scheduler-stop.ts'
import type { InTransaction } from '../scheduler/transaction.ts'

/** The longest reason that is stored, in characters: that of the API. */
const MAX_REASON = 500
const HOUR_MINUTES = 60
const DAY_MINUTES = 24 * HOUR_MINUTES
const DURATION = /^(?:(\d{1,5})d)?(?:(\d{1,5})h)?(?:(\d{1,5})(?:m|min)?)?$/i

/** A change that a command asks for. It is stored until it is confirmed. */
export type Action =
  | { kind: 'run' | 'pause' | 'resume'; jobId: string }
  | { kind: 'stop'; forMinutes: number | null; reason: string | null }
  | { kind: 'start' }

/** What the actions call: the functions of the admin routes. */
export type ActionScheduler = Pick<Scheduler, 'trigger' | 'control' | 'setPaused' | 'jobs'>

/**
 * Does what was confirmed. `inTransaction` runs in the transaction of the change, before it: it may reject to prevent it.
 * @returns the run that an action started
 * @throws {ServiceError} as the functions of the admin routes
 */
export async function perform(
  scheduler: ActionScheduler,
  action: Action,
  { actor, inTransaction }: { actor: string; inTransaction: InTransaction }
): Promise<Run | undefined> {
  switch (action.kind) {
    case 'run': {
      const job = scheduler.jobs.find(({ id }) => id === action.jobId)
      // Another version, with other jobs, may have asked.
      if (!job) throw new ServiceError('JOB_NOT_FOUND')
      const triggered = await scheduler.trigger(job, { actor, inTransaction })
      return triggered.kind === 'started' ? triggered.run : undefined
    }
    case 'pause':
    case 'resume':
      await scheduler.setPaused(action.jobId, action.kind === 'pause', { actor }, inTransaction)
      return undefined
    case 'stop': {
      const { forMinutes, reason } = action
      const change = { actor, reason: reason ?? undefined, forMinutes: forMinutes ?? undefined }
      await scheduler.control('stop', change, inTransaction)
      return undefined
    }
    case 'start':
      await scheduler.control('start', { actor }, inTransaction)
      return undefined
  }
}

/**
 * Reads the arguments of `/stop`: a duration (`30m`, `2h`, `1h30m`, `1d`, or a number of minutes) and a reason, both
 * optional. Without a duration the stop has no end.
 * @returns undefined when the duration is 0 or longer than a week, or the first word begins with a digit and is none
 */
export function readStop(rest: string): Extract<Action, { kind: 'stop' }> | undefined {
  const [first = '', ...others] = rest.split(' ')
  const parts = first === '' ? null : DURATION.exec(first)
  if (!parts && /^\d/.test(first)) return undefined
  const words = parts ? others : [first, ...others]
  const reason = words.join(' ').trim().slice(0, MAX_REASON) || null
  if (!parts) return { kind: 'stop', forMinutes: null, reason }
  const [, days = 0, hours = 0, minutes = 0] = parts
  const forMinutes = Number(days) * DAY_MINUTES + Number(hours) * HOUR_MINUTES + Number(minutes)
  return forMinutes >= 1 && forMinutes <= MAX_STOP_MINUTES ? { kind: 'stop', forMinutes, reason } : undefined
}
