import { SECOND } from '../async/durations.ts'
import type { Trigger } from './trigger.ts'

/**
 * What happens with a fire that no replica claimed in time:
 * - `skip`: nothing, the next fire is enough
 * - `catch_up`: the last missed fire runs once, up to `graceMs` milliseconds late. No due time has two runs, even when the
 *   clock shows it twice
 */
export type Misfire = { policy: 'skip' } | { policy: 'catch_up'; graceMs: number }

/**
 * A fire that is late by at most this counts as on time, in milliseconds: a stall, a restart of the database, a lost
 * replica.
 */
export const ON_TIME_MS = 10 * SECOND

/** What happens with a due time that has come. Times are milliseconds since the Unix epoch. */
export interface Fire {
  /** The job's next fire time before the claim. The claim succeeds only while it is still that. */
  dueMs: number
  /** The job's next fire time after the claim. */
  nextMs: number
  /** The run to start, if any. `mayRepeat`: also when a run of the same due time exists, as after a clock was set back. */
  run?: { scheduledForMs: number; trigger: 'schedule' | 'catch_up'; mayRepeat?: boolean }
  /** The fires that do not run: how many, and the first and the last of them. */
  missed?: { count: number; fromMs: number; untilMs: number }
}

/**
 * Decides what happens at `nowMs` with a job whose next fire time is `dueMs`, which is not later than `nowMs`. At most
 * one run starts, however many fires were missed: that of the last one, when it is not too late for the job's policy.
 */
export function planFire(trigger: Trigger, misfire: Misfire, dueMs: number, nowMs: number): Fire {
  // A fire time that another schedule has set may be later than the last due time of this one.
  const latestMs = Math.max(trigger.latest(nowMs), dueMs)
  const lateMs = nowMs - latestMs
  const onTime = lateMs <= ON_TIME_MS
  const runs = onTime || (misfire.policy === 'catch_up' && lateMs <= misfire.graceMs)
  const count = (latestMs > dueMs ? Math.max(1, trigger.count(dueMs, latestMs)) : 0) + (runs ? 0 : 1)
  const untilMs = runs ? Math.max(dueMs, trigger.latest(latestMs - 1)) : latestMs
  return {
    dueMs,
    nextMs: trigger.next(nowMs),
    ...(runs && {
      run: { scheduledForMs: latestMs, trigger: onTime ? 'schedule' : 'catch_up', mayRepeat: misfire.policy === 'skip' }
    }),
    ...(count > 0 && { missed: { count, fromMs: dueMs, untilMs } })
  }
}
