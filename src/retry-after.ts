import { SECOND } from './async/durations.ts'
import type { Millis } from './domain/millis.ts'

/**
 * The header Retry-After in ms, whether it holds seconds or a date; null when it holds neither.
 *
 * @param hostTime the clock of the host now
 */
export function parseRetryAfter(header: string | null, hostTime: Millis): Millis | null {
  if (header === null) return null
  if (/^\d{1,7}$/.test(header)) return Number(header) * SECOND
  const date = Date.parse(header)
  return Number.isNaN(date) ? null : date - hostTime
}
