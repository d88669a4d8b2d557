/** What waits and the clock behind it, handed in so that tests need no real time. */
export interface Timers {
  /** Milliseconds of a clock that never goes back. Its zero means nothing. */
  now(): number
  /** Calls back once after `ms` milliseconds. The function that it returns cancels that, and may be called late. */
  after(ms: number, callback: () => void): () => void
}

/** The machine's own clock. Whoever waits holds the cancel function, and thereby the timer. */
export const systemTimers: Timers = {
  now: () => performance.now(),
  after(ms, callback) {
    const timer = setTimeout(callback, ms)
    return () => clearTimeout(timer)
  }
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
