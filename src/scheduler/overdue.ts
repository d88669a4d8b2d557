/** What decides whether a job is overdue. Times in milliseconds since the epoch, durations in milliseconds. */
export interface Dues {
  /** The first due time since the job was last started or resumed; null while it is stopped or paused. */
  firstDueMs: number | null
  lastSuccessMs: number | null
  periodMs: number
  maxRunMs: number
}

/**
 * Whether a job should have succeeded by now: more than one period and one maximum run time have passed since its last
 * success, or since its first due time where that is later. A job that is stopped or paused is never overdue.
 */
export function isOverdue({ firstDueMs, lastSuccessMs, periodMs, maxRunMs }: Dues, nowMs: number): boolean {
  if (firstDueMs === null) return false
  return nowMs > Math.max(firstDueMs, lastSuccessMs ?? firstDueMs) + periodMs + maxRunMs
}
