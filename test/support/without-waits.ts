import { systemTimers, type Timers } from '../../src/async/timers.ts'

/**
 * Options of a registry of exchanges whose waits for rate limits, and between attempts, end at once: its clock advances by
 * the length of each, and otherwise with the real time. No call misses its deadline.
 */
export function withoutWaits() {
  let skippedMs = 0
  const monotonic = () => performance.now() + skippedMs
  const timers: Timers = {
    ...systemTimers,
    now: monotonic,
    after: (ms, callback) => {
      const due = monotonic() + ms
      return systemTimers.after(0, () => {
        skippedMs += Math.max(0, due - monotonic())
        callback()
      })
    }
  }
  return { monotonic, timers, deadlineMs: 60_000_000, attemptMs: 30_000 }
}
