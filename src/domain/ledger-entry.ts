// @FEAT:trading @COMP:service @TYPE:core
import type { Decimal } from './decimal.ts'
import type { Millis } from './millis.ts'

/** Kinds of ledger entries, as in `ledger_entries.kind`. */
export const LEDGER_KINDS = [
  'opening',
  'funding',
  'deposit',
  'withdrawal',
  'transfer',
  'interest',
  'borrow',
  'repay',
  'rebate',
  'commission',
  'liquidation',
  'conversion',
  'dividend',
  'adjustment',
  'other'
] as const
export type LedgerKind = (typeof LEDGER_KINDS)[number]

/** A change of a wallet that an exchange lists, other than by a fill. */
export interface LedgerEntry {
  /** Unique per account, wallet and kind. */
  exchangeEntryId: string
  asset: string
  /** Signed: the change of the wallet's total. Never zero. */
  amount: Decimal
  kind: Exclude<LedgerKind, 'opening' | 'adjustment'>
  /** The exchange's own word. */
  exchangeKind: string
  /** The symbol in the exchange's spelling; null when the entry has none. */
  exchangeSymbol: string | null
  at: Millis
}

/**
 * Why entries of a ledger may be missing. `permission`: the key may not read one of the lists. `not_provided`: the exchange
 * does not have one of the lists, or not for so long ago. `unreadable`: rows of the answer could not be read. `pending`:
 * an entry was still pending after fourteen days.
 */
export type LedgerGapCode = 'permission' | 'not_provided' | 'unreadable' | 'pending'

/** A reading of a ledger. */
export interface LedgerReading {
  entries: LedgerEntry[]
  /** Entries before this time are complete. Later ones may still be pending (a deposit that is not credited). At most `until`. */
  completeUntil: Millis
  /**
   * What is missing in the entries of the whole range, each code once. Single rows that cannot be read are passed to
   * `onInvalidRow` instead. Default nothing.
   */
  gaps?: readonly LedgerGapCode[]
}
