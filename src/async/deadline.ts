/** A call missed its deadline. The statement may still take effect: repeat only what is idempotent. */
export class DeadlineError extends Error {
  override name = 'DeadlineError'
  readonly code = 'DEADLINE'
}

/**
 * Waits for a promise for at most `ms` milliseconds.
 * @throws {DeadlineError} when it is not settled by then; what becomes of it later is ignored
 */
export async function withDeadline<T>(promise: Promise<T>, ms: number): Promise<T> {
  let timer: NodeJS.Timeout | undefined
  const missed = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(() => reject(new DeadlineError(`no answer within ${ms} ms`)), ms)
  })
  try {
    return await Promise.race([promise, missed])
  } finally {
    clearTimeout(timer)
  }
}
