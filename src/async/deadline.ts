import { systemTimers, type Timers } from './timers.ts'

/** A call missed its deadline. The statement may still take effect: repeat only what is idempotent. */
export class DeadlineError extends Error {
  override name = 'DeadlineError'
  readonly code = 'DEADLINE'
}

export interface DeadlineOptions {
  /** Ends the wait early: the promise rejects with its reason. */
  signal?: AbortSignal | undefined
  /** Default: the machine's clock. */
  timers?: Timers
}

/**
 * Waits for work for at most `ms` milliseconds.
 * @param work a promise, or a function that gets a signal. The signal is aborted at the deadline, and when
 * `options.signal` is aborted. It holds no reference from `options.signal` after the call, unlike `AbortSignal.any`
 * @throws {DeadlineError} when the work is not settled by then; a later result or error is ignored
 * @throws the reason of `options.signal` when that is aborted first
 */
export async function withDeadline<T>(
  work: PromiseLike<T> | ((signal: AbortSignal) => PromiseLike<T>),
  ms: number,
  { signal, timers = systemTimers }: DeadlineOptions = {}
): Promise<T> {
  if (signal?.aborted) {
    // An error of work that nothing waits for would end the process.
    if (typeof work !== 'function') work.then(undefined, () => undefined)
    throw signal.reason
  }
  const controller = new AbortController()
  const ended = new Promise<never>((_resolve, reject) => {
    controller.signal.addEventListener('abort', () => reject(controller.signal.reason), { once: true })
  })
  const abort = () => controller.abort(signal?.reason)
  signal?.addEventListener('abort', abort, { once: true })
  const cancel = timers.deadline(ms, () => controller.abort(new DeadlineError(`no answer within ${ms} ms`)))
  try {
    return await Promise.race([typeof work === 'function' ? work(controller.signal) : work, ended])
  } finally {
    cancel()
    signal?.removeEventListener('abort', abort)
  }
}
