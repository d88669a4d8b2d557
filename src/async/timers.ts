/** Timers and their clock. Passed as an argument, so that tests need no real time. */
export interface Timers {
  /** Milliseconds of a monotonic clock with an arbitrary zero. */
  now(): number
  /** Calls back once after `ms` milliseconds. The returned function cancels the call; afterwards it has no effect. */
  after(ms: number, callback: () => void): () => void
  /** As `after`, for the deadline of a running call: timers of tests end waits at once, and deadlines on demand. */
  deadline(ms: number, callback: () => void): () => void
}

function after(ms: number, callback: () => void): () => void {
  const timer = setTimeout(callback, ms)
  return () => clearTimeout(timer)
}

function afterUnref(ms: number, callback: () => void): () => void {
  const timer = setTimeout(callback, ms).unref()
  return () => clearTimeout(timer)
}

/** The timers of Node.js. A pending timer keeps the process alive. */
export const systemTimers: Timers = { now: () => performance.now(), after, deadline: after }

/** As `systemTimers`, but a pending timer does not keep the process alive. */
export const backgroundTimers: Timers = { now: systemTimers.now, after: afterUnref, deadline: afterUnref }

/**
 * Waits `ms` milliseconds.
 * @throws the reason of `signal` when that is aborted; the timer is cancelled
 */
export function sleep(timers: Timers, ms: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    if (signal?.aborted) return reject(signal.reason)
    const stop = () => {
      cancel()
      reject(signal?.reason)
    }
    const cancel = timers.after(ms, () => {
      signal?.removeEventListener('abort', stop)
      resolve()
    })
    signal?.addEventListener('abort', stop, { once: true })
  })
}
