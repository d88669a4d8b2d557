// @FEAT:trading @COMP:service @TYPE:core
import { DAY } from '../async/durations.ts'
import { type Decimal, Exact } from '../domain/decimal.ts'
import type { Fill } from '../domain/fill.ts'
import type { Millis } from '../domain/millis.ts'
import type { OrderSide } from '../domain/order.ts'
import type { Pair } from '../domain/pair.ts'
import type { Execution } from './position-accounting.ts'

/** Prefix of the trade id of an execution that was recorded for a difference of filled quantities. */
export const CUMULATIVE = 'cum:'
/** Prefix of the trade id of an execution that reverses a recorded one, because the exchange busted the trade. */
export const REVERSAL = 'rev:'

/** An execution that is recorded already. */
export interface RecordedExecution extends Execution {
  executionId: string
  exchangeTradeId: string
  executedAt: Date
  /** Realised by it as its exchange reports, gross; absent where that is not known. */
  exchangePnl?: Decimal
}

/** An execution to be recorded. */
export interface NewExecution extends Execution {
  exchangeTradeId: string
  executedAt: Date
  /** Realised by it as its exchange reports, gross; absent where the exchange reports nothing. */
  exchangePnl?: Decimal
}

/** Whether an execution was recorded for a difference of filled quantities. */
export function isDifference({ exchangeTradeId }: Pick<NewExecution, 'exchangeTradeId'>): boolean {
  return exchangeTradeId.startsWith(CUMULATIVE)
}

/** A later time is no time of something that has happened: clocks differ by less. */
const MAX_AHEAD_MS = DAY

/** Whether something may have happened at a time, by an answer that was read at `at`. */
export function hasHappened(time: Millis, at: Millis): boolean {
  return Number.isSafeInteger(time) && time <= at + MAX_AHEAD_MS
}

/** Whether a fill can be one of an order, by an answer that was read at `at`. */
export function isSound(fill: Fill, order: { side: OrderSide; exchangeSymbol: string }, at: Millis): boolean {
  return (
    fill.side === order.side &&
    fill.exchangeSymbol === order.exchangeSymbol &&
    fill.exchangeTradeId !== '' &&
    !fill.exchangeTradeId.startsWith(CUMULATIVE) &&
    !fill.exchangeTradeId.startsWith(REVERSAL) &&
    new Exact(fill.price).gt(0) &&
    new Exact(fill.quantity).gt(0) &&
    hasHappened(fill.executedAt, at)
  )
}

/** The fills that are not recorded yet, each once. */
export function newAmong(
  fills: readonly Fill[],
  recorded: readonly RecordedExecution[],
  pair: Pair | null
): NewExecution[] {
  const known = new Set(recorded.map(({ exchangeTradeId }) => exchangeTradeId))
  return fills.flatMap(fill => {
    const { exchangeTradeId, side, price, quantity, realizedPnl, executedAt } = fill
    if (known.has(exchangeTradeId)) return []
    known.add(exchangeTradeId)
    const { fee, feeAsset } = feeOf(fill, pair) ?? { fee: '0', feeAsset: null }
    return {
      exchangeTradeId,
      side,
      price,
      quantity,
      fee,
      feeAsset,
      executedAt: new Date(executedAt),
      ...(realizedPnl !== null && { exchangePnl: realizedPnl })
    }
  })
}

/**
 * The fee of a fill with its taxes. Its asset is the one that the exchange names, or that of its rule; null when neither
 * is known.
 *
 * @returns null when the fee is not known: the exchange does not report it, or a tax is not in its asset
 */
function feeOf(
  { fee, feeAsset, feeIn, taxes = [] }: Fill,
  pair: Pair | null
): { fee: Decimal; feeAsset: string | null } | null {
  const asset = feeAsset ?? (feeIn === undefined ? null : (pair?.[feeIn] ?? null))
  if (fee === null || taxes.some(tax => tax.asset !== asset)) return null
  if (taxes.length === 0) return { fee, feeAsset: asset }
  return { fee: taxes.reduce((sum, { amount }) => sum.plus(amount), new Exact(fee)).toFixed(), feeAsset: asset }
}

/** Some exchanges report one fee for the whole order, so that the share of each fill changes with the next fill. */
export function correctedAmong(
  fills: readonly Fill[],
  recorded: readonly RecordedExecution[],
  pair: Pair | null
): RecordedExecution[] {
  const byTradeId = new Map(fills.map(fill => [fill.exchangeTradeId, fill]))
  return recorded.flatMap(execution => {
    const fill = byTradeId.get(execution.exchangeTradeId)
    const reported = fill === undefined ? null : feeOf(fill, pair)
    if (reported === null) return []
    const { fee, feeAsset } = reported
    if (feeAsset === null && execution.feeAsset !== null) return []
    if (feeAsset === execution.feeAsset && sameNumber(fee, execution.fee)) return []
    return { ...execution, fee, feeAsset }
  })
}

export function sameNumber(one: Decimal, other: Decimal): boolean {
  return one === other || new Exact(one).eq(other)
}
