import { backOffMs } from '../async/back-off.ts'
import { sleep, systemTimers } from '../async/timers.ts'
import { isServerError } from './failure.ts'

/** How often a statement or transaction is repeated after a conflict. */
export const CONFLICT_RETRIES = 3
/** The longest waits before the repetitions are 25, 50 and 100 ms. */
const BACK_OFF = { minMs: 25, maxMs: 100, jitter: 1 }

/** SQLSTATE `deadlock_detected` and `serialization_failure`. The server has rolled the transaction back. */
const conflicts: ReadonlySet<unknown> = new Set(['40P01', '40001'])

/** Whether the server rolled a transaction back because of a concurrent one: repeating it can succeed. */
export function isConflict(err: unknown): boolean {
  return isServerError(err) && err instanceof Error && 'code' in err && conflicts.has(err.code)
}

export interface RepeatOptions {
  /** Time for all attempts together, in milliseconds. No attempt begins after it. */
  deadlineMs: number
  /** Called before each repetition. */
  onRepeat?: (err: unknown) => void
}

/**
 * Runs a statement or transaction, and repeats it after a conflict: at most `CONFLICT_RETRIES` times, after a random wait
 * of at most 25, 50 and 100 ms, so that the same transactions do not conflict again.
 * @throws the error of the last attempt; any other error at once
 */
export async function repeatOnConflict<T>(
  attempt: () => Promise<T>,
  { deadlineMs, onRepeat }: RepeatOptions
): Promise<T> {
  const endMs = performance.now() + deadlineMs
  for (let repeated = 0; ; repeated++) {
    try {
      return await attempt()
    } catch (err) {
      const waitMs = backOffMs(BACK_OFF, repeated + 1)
      if (!isConflict(err) || repeated === CONFLICT_RETRIES || performance.now() + waitMs >= endMs) throw err
      await sleep(systemTimers, waitMs)
      onRepeat?.(err)
    }
  }
}
