// @FEAT:exchanges @COMP:service @TYPE:helper
import { isZero } from '../../domain/decimal.ts'
import type { LedgerEntry, LedgerReading } from '../../domain/ledger-entry.ts'
import type { Millis } from '../../domain/millis.ts'
import type { OnInvalidRow, TimeRange } from '../exchange-client.ts'
import { type JsonRecord, recordOf, UnreadableAnswer } from '../http/answer-fields.ts'
import { type TimeWindow, windowsBetween } from './fill-history.ts'

/** Rows of a list that changes a wallet. */
export interface LedgerRows {
  /** The newest first. */
  rows: readonly unknown[]
  /** The time of a row, never after that of its entries. @throws {UnreadableAnswer} */
  timeOf: (row: JsonRecord) => Millis
  /**
   * Whether entries may be later than their row. Those that are later than the range are entries, too, because a later
   * range may not reach back to their row. Default false: rows before the range do not matter.
   */
  settlesLater?: boolean
  /** The entries of a row, or `pending` for one that may become an entry. @throws {UnreadableAnswer} */
  entriesOf: (row: JsonRecord) => readonly LedgerEntry[] | 'pending'
}

/**
 * The entries of a range in several lists, each once, oldest first, without those of zero. They are complete until the
 * first row that is pending or cannot be read, or the beginning of the range for one without a time. Rows that cannot be
 * read are passed to `onInvalidRow`. What the exchange lists only a moment after its time is found by the caller, who reads
 * the end of a range again.
 *
 * @throws {UnreadableAnswer} without `onInvalidRow`, for the first row that cannot be read
 */
export function ledgerReading(
  lists: readonly LedgerRows[],
  { from, until }: TimeRange,
  onInvalidRow: OnInvalidRow | undefined
): LedgerReading {
  const entries = new Map<string, LedgerEntry>()
  let bound = until
  for (const { rows, timeOf, settlesLater = false, entriesOf } of lists) {
    const last = settlesLater ? Number.POSITIVE_INFINITY : until
    for (const row of rows.toReversed()) {
      let at = from
      try {
        const record = recordOf(row, 'a row')
        at = timeOf(record)
        if (at >= until || (at < from && !settlesLater)) continue
        const read = entriesOf(record)
        if (read === 'pending') bound = Math.min(bound, at)
        else for (const entry of read) if (isIn(entry, from, last)) entries.set(keyOf(entry), entry)
      } catch (err) {
        if (!(err instanceof UnreadableAnswer) || onInvalidRow === undefined) throw err
        bound = Math.min(bound, at)
        onInvalidRow({ kind: 'unreadable', reason: err.message, row, times: 1 })
      }
    }
  }
  return {
    entries: [...entries.values()].sort((a, b) => a.at - b.at),
    completeUntil: Math.max(from, bound)
  }
}

function isIn({ at, amount }: LedgerEntry, from: Millis, until: Millis): boolean {
  return at >= from && at < until && !isZero(amount)
}

/** Contradictory rows under one id stay separate. */
function keyOf({ kind, exchangeEntryId, asset, amount }: LedgerEntry): string {
  return [kind, exchangeEntryId, asset, amount].join(' ')
}

/**
 * The windows that cover a range, the oldest first, both ends included. Each begins and ends a millisecond outside of its
 * part of the range, because it is not documented whether a list includes the ends.
 *
 * @param lengthMs the longest time between the ends of a window
 */
export function ledgerWindows(range: TimeRange, lengthMs: Millis): TimeWindow[] {
  return windowsBetween(range, lengthMs - 1).map(({ startTime, endTime }) => ({
    startTime: startTime - 1,
    endTime: endTime + 1
  }))
}

/** A part of a range before a time, and one from that time on; either is null when it is empty. */
export function splitAt({ from, until }: TimeRange, at: Millis): { before: TimeRange | null; after: TimeRange | null } {
  const before = { from, until: Math.min(until, at) }
  const after = { from: Math.max(from, at), until }
  return { before: before.from < before.until ? before : null, after: after.from < after.until ? after : null }
}
