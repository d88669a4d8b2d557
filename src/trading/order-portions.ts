// @FEAT:trading @COMP:service @TYPE:core
import { sumsOf, totalOf } from './derived-executions.ts'
import { CUMULATIVE, isDifference, type NewExecution, type RecordedExecution } from './fill-comparison.ts'
import { isEnded, type KnownOrder, type OrderChange, type Reconciliation } from './order-reconciliation.ts'

/** Executions and corrections of one order, and fills of several orders, per transaction; bounds its duration. */
export const FILLS_PER_TRANSACTION = 2_000

type Applied = Reconciliation & { kind: 'applied' }

/**
 * The first portion of what an answer changes of an order, if that is too much for one transaction. Pure. The caller
 * records it and applies the same answer again, until all is recorded.
 *
 * Each portion is complete in itself: the filled quantity is the sum of the executions. The state of the order changes with
 * the last one. While fills replace differences, one difference remains for the fills that are not recorded yet, so that
 * the filled quantity stays, and a run that does not finish is continued by a later one.
 *
 * @param recorded all executions of the order
 * @returns null when all of it is one portion
 */
export function firstPortion(
  order: KnownOrder,
  recorded: readonly RecordedExecution[],
  applied: Applied,
  limit: number
): Applied | null {
  if (applied.executions.length + applied.corrections.length <= limit) return null
  const corrections = applied.corrections.slice(0, limit)
  const inOrder = applied.executions.toSorted(byRecording)
  const count = limit - corrections.length
  const executions = inOrder.slice(0, count)
  const removed = count === 0 ? [] : applied.removed
  const rest = inOrder.slice(count)
  if (removed.length > 0 && rest.length > 0) executions.push(differenceFor(order, rest, removed))
  const kept = recorded.filter(execution => !removed.includes(execution))
  const change: OrderChange = {
    status: isEnded(order) ? order.status : 'partially_filled',
    ...sumsOf(totalOf(order, [...kept, ...executions])),
    misses: 0,
    fillChecks: order.fillChecks,
    fillRetries: [...kept, ...executions].some(isDifference) ? 0 : null,
    mismatch: order.mismatch,
    mismatchChecks: order.mismatchChecks,
    errorCode: null
  }
  return { kind: 'applied', executions, corrections, removed, change }
}

/** By time, and a difference at the end: after it, fills are not recorded one by one. */
function byRecording(one: NewExecution, other: NewExecution): number {
  const isLater = Number(isDifference(one)) - Number(isDifference(other))
  return isLater || one.executedAt.getTime() - other.executedAt.getTime()
}

/** One execution in place of fills, at their mean price. */
function differenceFor(
  order: KnownOrder,
  fills: readonly NewExecution[],
  removed: readonly RecordedExecution[]
): NewExecution {
  const { quantity, cost } = totalOf(order, fills)
  const times = [...fills, ...removed].map(({ executedAt }) => executedAt.getTime())
  return {
    // The id of each portion is different: the one before it is deleted in the same statement.
    exchangeTradeId: `${CUMULATIVE}${order.exchangeOrderId}:${quantity.toFixed()}:${fills.length}`,
    side: order.side,
    price: cost.div(quantity).toFixed(),
    quantity: quantity.toFixed(),
    fee: '0',
    feeAsset: null,
    executedAt: new Date(times.reduce((latest, time) => Math.max(latest, time)))
  }
}
