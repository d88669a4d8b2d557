/** How long to wait after failures. Durations in milliseconds. */
export interface BackOff {
  /** The wait after the first failure, above 0. It doubles with each further failure. */
  readonly minMs: number
  /** The longest wait. */
  readonly maxMs: number
  /** The random share by which a wait is shortened at most, from 0 to 1. Default 0: no randomness. */
  readonly jitter?: number
}

/**
 * Returns the wait before the next attempt, in milliseconds.
 * @param failures consecutive failures so far, at least 1
 * @param random returns a number from 0 to 1, 1 excluded
 */
export function backOffMs({ minMs, maxMs, jitter = 0 }: BackOff, failures: number, random = Math.random): number {
  return Math.min(minMs * 2 ** (failures - 1), maxMs) * (1 - jitter * random())
}
