// @FEAT:trading @COMP:service @TYPE:core
import { DAY, HOUR, MINUTE } from '../async/durations.ts'
import type { LedgerGapCode } from '../domain/ledger-entry.ts'
import type { Millis } from '../domain/millis.ts'
import type { IncompletePeriod } from './ledger-gaps.ts'
import type { LedgerProgress } from './ledger-readings.ts'

/** The longest span that is read and recorded at once. */
const WINDOW_MS = 7 * DAY
/** Windows of one wallet in one run: what was missed in a longer downtime is read by several runs. */
const WINDOWS_PER_RUN = 4
/** Exchanges list some entries late: so much is read again by every run, and more by the first run of each day. */
const OVERLAP_MS = HOUR
const DAILY_OVERLAP_MS = 2 * DAY
/** One missing window is read again in this time. */
const RETRY_EVERY_MS = 5 * MINUTE

/** A span of time, the end excluded. */
interface Span {
  from: Millis
  until: Millis
}

/**
 * The windows that a run reads of a wallet, the oldest first, without gaps between them, and whether some are left to the
 * next run.
 *
 * @param createdAt where the ledger begins: nothing before it is read
 * @param earliest what the exchange does not provide any more begins before this time
 */
export function nextWindows({
  readUntil,
  createdAt,
  earliest,
  now
}: LedgerProgress & { createdAt: Millis; earliest: Millis; now: Millis }): { windows: Span[]; isBehind: boolean } {
  const isFirstOfDay = Math.floor(readUntil / DAY) < Math.floor(now / DAY)
  const overlap = isFirstOfDay ? DAILY_OVERLAP_MS : OVERLAP_MS
  const windows: Span[] = []
  let from = Math.max(readUntil - overlap, createdAt, earliest)
  while (from < now && windows.length < WINDOWS_PER_RUN) {
    const until = Math.min(now, from + WINDOW_MS)
    windows.push({ from, until })
    from = until
  }
  return { windows, isBehind: from < now }
}

/**
 * A part of an incomplete period that is read again: each in turn. Null when there is none that the exchange may provide
 * now.
 *
 * @param windows what was read in this run
 * @param found what was missing in them: the same is missing in older periods, too
 */
export function retriedWindow({
  incomplete,
  windows,
  found,
  earliest,
  now
}: LedgerProgress & {
  windows: readonly Span[]
  found: ReadonlySet<LedgerGapCode>
  earliest: Millis
  now: Millis
}): Span | null {
  const read = windows[0]?.from ?? now
  const mayPass = ({ code }: IncompletePeriod) =>
    code !== 'not_provided' && !(code === 'permission' && found.has('permission'))
  const parts = incomplete.filter(mayPass).flatMap(period => {
    const [from, until] = [Math.max(period.from, earliest), Math.min(period.until, read)]
    const count = Math.max(0, Math.ceil((until - from) / WINDOW_MS))
    return Array.from({ length: count }, (_, index) => {
      const begin = from + index * WINDOW_MS
      return { from: begin, until: Math.min(begin + WINDOW_MS, until) }
    })
  })
  return parts[Math.floor(now / RETRY_EVERY_MS) % parts.length] ?? null
}
