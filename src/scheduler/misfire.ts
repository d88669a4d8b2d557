import { SECOND } from '../async/durations.ts'
import type { Trigger } from './trigger.ts'

/**
 * What a fire that nobody took in time means:
 * - `skip`: nothing, the next one will do
 * - `catch_up`: the last one missed runs once, up to `graceMs` late
 */
export type Misfire = { policy: 'skip' } | { policy: 'catch_up'; graceMs: number }

/** A fire this late still counts as on time: stalls, restarts of the database, the take-over from a dead replica. */
export const ON_TIME_MS = 10 * SECOND

/** What to do about a due time that has come. Times are milliseconds since the Unix epoch. */
export interface Fire {
  /** The due time that the job's clock stood at: the claim is to move it on from here. */
  dueMs: number
  /** Where the job's clock goes. */
  nextMs: number
  /** The run to begin, if any. */
  run?: { scheduledForMs: number; trigger: 'schedule' | 'catch_up' }
  /** The fires that are given up: how many, and the first and last of them. */
  missed?: { count: number; fromMs: number; untilMs: number }
}

/**
 * Decides what happens at `nowMs` with a job whose clock stands at `dueMs`, not later than now. However many fires were
 * missed, at most one run begins: the last of them, when it is not too late for the job's policy.
 */
export function planFire(trigger: Trigger, misfire: Misfire, dueMs: number, nowMs: number): Fire {
  // A clock that was set by another schedule may stand after this one's last time.
  const latestMs = Math.max(trigger.latest(nowMs), dueMs)
  const lateMs = nowMs - latestMs
  const onTime = lateMs <= ON_TIME_MS
  const runs = onTime || (misfire.policy === 'catch_up' && lateMs <= misfire.graceMs)
  const count = (latestMs > dueMs ? Math.max(1, trigger.count(dueMs, latestMs)) : 0) + (runs ? 0 : 1)
  const untilMs = runs && latestMs > dueMs ? Math.max(dueMs, trigger.latest(latestMs - 1)) : latestMs
  return {
    dueMs,
    nextMs: trigger.next(Math.max(nowMs, latestMs)),
    ...(runs && { run: { scheduledForMs: latestMs, trigger: onTime ? 'schedule' : 'catch_up' } }),
    ...(count > 0 && { missed: { count, fromMs: dueMs, untilMs } })
  }
}
