// @FEAT:exchanges @COMP:service @TYPE:helper
import { DAY } from '../../async/durations.ts'
import { negated } from '../../domain/decimal.ts'
import type { LedgerEntry } from '../../domain/ledger-entry.ts'
import type { Millis } from '../../domain/millis.ts'
import {
  decimalOf,
  isRecord,
  type JsonRecord,
  optionalDecimal,
  optionalText,
  optionalTime,
  textOf,
  UnreadableAnswer
} from '../http/answer-fields.ts'

/** No bound is documented. It is longer than these exchanges exist. */
export const TOKEN_LEDGER_REACH_MS = 20 * 365 * DAY
const TRANSFERS_PER_PAGE = 100
/** How long before the range transfers may have been created that were completed in it. */
const LONGEST_TRANSFER_MS = 30 * DAY

/** A list of deposits or withdrawals. */
export interface TransferList {
  path: string
  kind: 'deposit' | 'withdrawal'
  /** Makes the ids of a list differ from those of the other lists of its kind. Empty where they are unique. */
  idPrefix: string
}

/** Upbit has won and coins in the same lists, and ids that are UUIDs. */
export const UPBIT_TRANSFERS: readonly TransferList[] = [
  { path: '/v1/deposits', kind: 'deposit', idPrefix: '' },
  { path: '/v1/withdraws', kind: 'withdrawal', idPrefix: '' }
]

type Progress = 'done' | 'pending' | 'void'

/**
 * States of deposits, of Upbit (docs.upbit.com/kr/reference/list-deposits) and of won and coins at Bithumb
 * (apidocs.bithumb.com/reference/입금-리스트-조회). A deposit that is returned was never credited.
 */
const DEPOSITS: Readonly<Record<string, Progress>> = {
  ACCEPTED: 'done',
  DONE: 'done',
  DEPOSIT_ACCEPTED: 'done',
  PROCESSING: 'pending',
  TRAVEL_RULE_SUSPECTED: 'pending',
  REFUNDING: 'pending',
  REQUESTED_PENDING: 'pending',
  REQUESTED_PROCESSING: 'pending',
  DEPOSIT_PROCESSING: 'pending',
  REFUNDING_PENDING: 'pending',
  REFUNDING_PROCESSING: 'pending',
  REFUNDED_PROCESSING: 'pending',
  CANCELLED: 'void',
  CANCELED: 'void',
  REJECTED: 'void',
  REFUNDED: 'void',
  REQUESTED_SYSTEM_REJECTED: 'void',
  REQUESTED_ADMIN_REJECTED: 'void',
  DEPOSIT_CANCELLED: 'void',
  REFUNDING_SYSTEM_REJECTED: 'void',
  REFUNDING_ADMIN_REJECTED: 'void',
  REFUNDING_ACCEPTED: 'void',
  REFUNDED_ACCEPTED: 'void',
  REFUNDED_CANCELLED: 'void'
}

/** States of withdrawals: docs.upbit.com/kr/reference/list-withdrawals, apidocs.bithumb.com/reference/출금-리스트-조회 */
const WITHDRAWALS: Readonly<Record<string, Progress>> = {
  DONE: 'done',
  WAITING: 'pending',
  PROCESSING: 'pending',
  FAILED: 'void',
  CANCELLED: 'void',
  CANCELED: 'void',
  REJECTED: 'void'
}

/** The query of a page, the newest transfers first. */
export function transfersQuery(page = 1): string {
  return `page=${page}&limit=${TRANSFERS_PER_PAGE}&order_by=desc`
}

/** Whether the pages after this one have no transfer that was completed since a time. */
export function isLastPage(rows: readonly unknown[], from: Millis): boolean {
  if (rows.length < TRANSFERS_PER_PAGE) return true
  const oldest = rows.findLast(row => isRecord(row) && typeof row.created_at === 'string')
  const createdAt = isRecord(oldest) ? Date.parse(String(oldest.created_at)) : Number.NaN
  return createdAt < from - LONGEST_TRANSFER_MS
}

/** The time at which a transfer was created. @throws {UnreadableAnswer} */
export function transferTime(row: JsonRecord): Millis {
  const createdAt = optionalTime(row, 'created_at')
  if (createdAt === null) throw new UnreadableAnswer('created_at is missing')
  return createdAt
}

/**
 * The entries of a transfer, at the time of its completion: the amount, and the fee, which is read as charged in addition (the
 * documentation does not state it). Until then
 * a deposit is not credited, and a withdrawal is locked.
 *
 * @throws {UnreadableAnswer}
 */
export function transferEntries(row: JsonRecord, { kind, idPrefix }: TransferList): LedgerEntry[] | 'pending' {
  const state = textOf(row, 'state')
  const progress = progressOf(kind, state)
  const entry = {
    exchangeEntryId: `${idPrefix}${textOf(row, 'uuid')}`,
    asset: textOf(row, 'currency'),
    exchangeKind: `${kind}/${optionalText(row, 'transaction_type') ?? 'default'}`,
    exchangeSymbol: null,
    at: optionalTime(row, 'done_at') ?? transferTime(row)
  }
  const amount = decimalOf(row, 'amount')
  const fee = optionalDecimal(row, 'fee') ?? '0'
  if (amount.startsWith('-') || fee.startsWith('-')) throw new UnreadableAnswer('an amount is negative')
  if (progress === 'pending') return 'pending'
  if (progress !== 'done') return []
  return [
    { ...entry, amount: kind === 'deposit' ? amount : negated(amount), kind },
    { ...entry, exchangeKind: `${kind}/fee`, amount: negated(fee), kind: 'commission' }
  ]
}

function progressOf(kind: TransferList['kind'], state: string): Progress {
  const states = kind === 'deposit' ? DEPOSITS : WITHDRAWALS
  const key = state.toUpperCase()
  const progress = Object.hasOwn(states, key) ? states[key] : undefined
  if (progress === undefined) throw new UnreadableAnswer('state is unknown')
  return progress
}
