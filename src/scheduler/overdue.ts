/** What decides whether a job is overdue. Times in milliseconds since the epoch, durations in milliseconds. */
export interface Dues {
  /** The first due time since the job was last started or resumed; null while it is stopped or paused. */
  firstDueMs: number | null
  /** When a run last succeeded or was partial; null before the first. */
  lastDoneMs: number | null
  periodMs: number
  maxRunMs: number
}

/**
 * Whether a run of a job should have ended by now: more than one period and one maximum run time have passed since its
 * last run that succeeded or was partial, or since its first due time where that is later. A partial run did all that it
 * could: what it left undone is reported by an alert of its own, and an account that is refused for ever does not make the
 * job overdue for ever. A job that is stopped or paused is never overdue.
 */
export function isOverdue({ firstDueMs, lastDoneMs, periodMs, maxRunMs }: Dues, nowMs: number): boolean {
  if (firstDueMs === null) return false
  return nowMs > Math.max(firstDueMs, lastDoneMs ?? firstDueMs) + periodMs + maxRunMs
}
