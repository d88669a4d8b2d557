/** A monotonic clock and its timers: tests replace them, so that they need no real time. */
export interface Timers {
  /** Milliseconds of a clock that never goes back. Its zero means nothing. */
  now(): number
  /** Calls back once after `ms` milliseconds. The function that it returns cancels that, and may be called late. */
  after(ms: number, callback: () => void): () => void
  /** As `after`, to end something under way: timers of tests skip waits, and let a deadline pass only when told to. */
  deadline(ms: number, callback: () => void): () => void
}

function after(ms: number, callback: () => void): () => void {
  const timer = setTimeout(callback, ms)
  return () => clearTimeout(timer)
}

/** The clock and the timers of this process. */
export const systemTimers: Timers = {
  now: () => performance.now(),
  after,
  deadline: after
}

/**
 * Waits `ms` milliseconds.
 * @throws the reason of `signal` as soon as that is aborted; the timer is gone then
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
