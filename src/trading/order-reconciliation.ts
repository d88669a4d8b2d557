// @FEAT:trading @COMP:service @TYPE:core
import type { Big } from 'big.js'
import { type Decimal, Exact } from '../domain/decimal.ts'
import type { ExchangeErrorCode } from '../domain/exchange-error-code.ts'
import type { Fill } from '../domain/fill.ts'
import type { MarketType } from '../domain/market.ts'
import type { Millis } from '../domain/millis.ts'
import type { OrderSide, OrderState, UnifiedOrder } from '../domain/order.ts'
import type { Pair } from '../domain/pair.ts'
import type { PositionSide } from '../domain/position.ts'
import { differenceOf, reversalsOf, sumsOf, type Total, timeOf, totalOf } from './derived-executions.ts'
import {
  correctedAmong,
  isDifference,
  isSound,
  type NewExecution,
  newAmong,
  type RecordedExecution,
  sameNumber
} from './fill-comparison.ts'

type OrderStatus = 'pending' | OrderState | 'unknown'

/** An order that the exchange does not know so many times in a row is `unknown`. */
export const MISSES_UNTIL_UNKNOWN = 5
/**
 * Checks in a row that may report a filled quantity without its fills: every exchange sometimes returns the fills later
 * than the order's state. After that the difference is recorded as one execution.
 */
const CHECKS_UNTIL_CUMULATIVE = 3
/** Checks in a row that find the same mismatch until it counts: one answer may be old, or mixed up. */
export const CHECKS_UNTIL_FLAGGED = 3

const ENDED: ReadonlySet<OrderStatus> = new Set<OrderStatus>(['filled', 'canceled', 'rejected', 'expired'])

/** An order as the database has it. */
export interface KnownOrder {
  orderId: string
  /** Null for an external order of the account itself: no strategy holds its position. */
  strategyAccountId: string | null
  accountId: string
  marketType: MarketType
  exchangeOrderId: string
  symbol: string
  exchangeSymbol: string
  /** Base and quote as they are recorded; null before. */
  base: string | null
  quote: string | null
  /** Base and quote by the exchange; null while they are not known: then nothing is booked. */
  pair: Pair | null
  side: OrderSide
  positionSide: PositionSide
  orderType: string
  status: OrderStatus
  /** When its row was inserted: about the time of its creation, on our clock. */
  createdAt: Millis
  /** When an answer was last compared with it; null before the first time. */
  checkedAt: Millis | null
  misses: number
  fillChecks: number
  /** In what the last answers differ from the order, and in how many checks in a row they did; null and 0 if in nothing. */
  mismatch: string | null
  mismatchChecks: number
  /** The sum of its executions; those on the other side count negative. */
  recordedQuantity: Decimal
  /**
   * Whether one of its executions is a difference. From there on all of them are, or a quantity would count twice, until
   * the fills add up and replace them.
   */
  isCumulative: boolean
  /** How often the fills were read to replace its differences. */
  fillRetries: number
  /** Whether it is time to read them again. Of no meaning for an order without a difference. */
  fillsDue: boolean
}

/** The exchange's answer to a query of an order. */
export type OrderAnswer =
  | { kind: 'missing'; code: ExchangeErrorCode }
  /** `fills` are null when they were not asked for. */
  | { kind: 'found'; order: UnifiedOrder; fills: readonly Fill[] | null; at: Millis }
  /** The fills of an ended order, whose state is not asked for any more. */
  | { kind: 'fills'; fills: readonly Fill[]; at: Millis }

type FoundOrder = OrderAnswer & { kind: 'found' }

/** What becomes of the order's row. */
export interface OrderChange {
  status: OrderStatus
  filledQuantity: Decimal
  averagePrice: Decimal | null
  misses: number
  fillChecks: number
  /** Null when the order has no difference (any more). */
  fillRetries: number | null
  mismatch: string | null
  mismatchChecks: number
  errorCode: string | null
}

export type Reconciliation =
  /** The answer is older than what is recorded, or has nothing that can be used: nothing changes. */
  | { kind: 'skipped' }
  | {
      kind: 'applied'
      executions: NewExecution[]
      /** Recorded executions for which the exchange now reports another fee. */
      corrections: RecordedExecution[]
      /** Differences that the fills replace: they are deleted. */
      removed: RecordedExecution[]
      change: OrderChange
    }

/** Whether the exchange's state of an order differs from the recorded one. Without a difference no transaction is needed. */
export function differs(order: KnownOrder, seen: OrderAnswer): boolean {
  if (seen.kind !== 'found' || (order.isCumulative && order.fillsDue)) return true
  return (
    stateOf(seen.order, new Exact(seen.order.filledQuantity)) !== order.status ||
    mismatchOf(order, { ...seen, fills: null }) !== null ||
    order.mismatchChecks > 0 ||
    order.misses > 0 ||
    order.fillChecks > 0 ||
    !sameNumber(seen.order.filledQuantity, order.recordedQuantity)
  )
}

/**
 * Whether the fills of an order must be requested: more is filled than is recorded, or the filled quantity has decreased
 * and stays so, or it is time to replace a difference, or there were more fills than is filled.
 */
export function needsFills(order: KnownOrder, seen: UnifiedOrder): boolean {
  if (order.pair === null) return false
  if (order.mismatch === FILLS_EXCEED) return true
  const filled = new Exact(seen.filledQuantity)
  if (filled.lt(order.recordedQuantity)) return order.mismatchChecks + 1 >= CHECKS_UNTIL_FLAGGED
  return filled.gt(order.recordedQuantity) || (order.isCumulative && order.fillsDue)
}

/**
 * Decides what an answer changes of an order. Pure. The same answer changes nothing the second time.
 *
 * - An ended order stays ended. Only its differences are replaced.
 * - `filledQuantity` is always the sum of the executions and `averagePrice` their mean (20 decimals), so that an order
 *   whose fills the exchange does not give yet is kept unfinished, and asked for again.
 * - A difference is priced so that Σ price · quantity = average · filled, exactly unless the quotient is not finite
 *   (20 decimals, half to even). Where the exchange's rounding of the average makes that price zero or less, the average
 *   itself is the price.
 * - Fills that add up to the filled quantity replace all differences of their order.
 * - An answer that contradicts the order changes nothing. After three checks in a row with the same contradiction it is
 *   the order's error code: `symbol_differs`, `side_differs`, `lost_child`, `filled_decreased`, `unknown_symbol`
 *   (base and quote are not known), `invalid_answer`, `fills_exceed`. A filled quantity that decreased is then recorded
 *   if the fills prove which trades were busted: an execution on the other side, at the same price, with the fee
 *   returned, reverses each. Of fills that exceed it, only the filled quantity is then recorded.
 *
 * @param order read under the lock of its row
 */
export function reconcile(
  order: KnownOrder,
  recorded: readonly RecordedExecution[],
  answer: OrderAnswer
): Reconciliation {
  const known = totalOf(order, recorded)
  if (isEnded(order)) return order.isCumulative ? retried(order, recorded, known, answer) : { kind: 'skipped' }
  if (answer.kind === 'fills') return { kind: 'skipped' }
  if (answer.kind === 'missing') return missed(order, known, answer.code)
  const { order: seen, fills } = answer
  const mismatch = mismatchOf(order, answer)
  if (mismatch !== null) return mismatched(order, known, mismatch)

  const replacement = replacementOf(order, recorded, fills, seen.filledQuantity)
  if (replacement !== null) {
    const change = { ...NO_PROBLEM, status: stateOf(seen, replacement.total.quantity), ...sumsOf(replacement.total) }
    return { kind: 'applied', ...replacement.writes, change }
  }
  if (exceeds(order, recorded, answer)) return exceeded(order, recorded, answer)
  const cumulative = recorded.some(isDifference)
  const usable = cumulative ? [] : (fills ?? [])
  const executions = newAmong(usable, recorded, order.pair)
  const corrections = correctedAmong(usable, recorded, order.pair)
  let total = totalOf(order, [...recorded, ...executions])
  const gap = new Exact(seen.filledQuantity).minus(total.quantity)
  if (gap.lt(0) && executions.length === 0) return decreased(order, recorded, answer)

  let complete = gap.lte(0)
  let fillRetries = cumulative ? order.fillRetries + (fills === null ? 0 : 1) : null
  if (gap.gt(0) && (cumulative || order.fillChecks + 1 >= CHECKS_UNTIL_CUMULATIVE)) {
    const difference = differenceOf(order, seen, total, answer.at)
    if (difference !== null) {
      executions.push(difference)
      total = totalOf(order, [...recorded, ...executions])
      complete = true
      fillRetries = 0
    }
  }
  return {
    kind: 'applied',
    executions,
    corrections,
    removed: [],
    change: {
      ...NO_PROBLEM,
      fillRetries,
      status: complete ? stateOf(seen, total.quantity) : total.quantity.gt(0) ? 'partially_filled' : 'open',
      ...sumsOf(total),
      fillChecks: complete ? 0 : order.fillChecks + 1
    }
  }
}

const NO_PROBLEM = {
  ...{ misses: 0, fillChecks: 0, fillRetries: null },
  ...{ mismatch: null, mismatchChecks: 0, errorCode: null }
}

/** The mismatch of an ended order whose fills add up to more than its filled quantity. */
const FILLS_EXCEED = 'fills_exceed'

/** Whether an order has ended, so that its state is not asked for any more. */
export function isEnded({ status }: Pick<KnownOrder, 'status'>): boolean {
  return ENDED.has(status)
}

interface Replacement {
  writes: { executions: NewExecution[]; corrections: RecordedExecution[]; removed: RecordedExecution[] }
  total: Total
}

/** The fills in place of the differences; null without differences, and while the fills do not add up. */
function replacementOf(
  order: KnownOrder,
  recorded: readonly RecordedExecution[],
  fills: readonly Fill[] | null,
  filledQuantity: Decimal
): Replacement | null {
  const removed = recorded.filter(isDifference)
  if (removed.length === 0 || fills === null) return null
  const kept = recorded.filter(execution => !isDifference(execution))
  const executions = newAmong(fills, kept, order.pair)
  const total = totalOf(order, [...kept, ...executions])
  if (!total.quantity.eq(filledQuantity)) return null
  return { writes: { executions, corrections: correctedAmong(fills, kept, order.pair), removed }, total }
}

/** An ended order with a difference, whose fills were read again. */
function retried(
  order: KnownOrder,
  recorded: readonly RecordedExecution[],
  known: Total,
  answer: OrderAnswer
): Reconciliation {
  const { status, misses, fillChecks, mismatch, mismatchChecks } = order
  const kept = { status, misses, fillChecks, mismatch, mismatchChecks, errorCode: null }
  const { fills, at } = answer.kind === 'missing' ? { fills: null, at: 0 } : answer
  const isSoundList = order.pair !== null && (fills ?? []).every(fill => isSound(fill, order, at))
  const replacement = isSoundList ? replacementOf(order, recorded, fills, known.quantity.toFixed()) : null
  if (replacement !== null) {
    const change = { ...kept, ...sumsOf(replacement.total), fillRetries: null }
    return { kind: 'applied', ...replacement.writes, change }
  }
  const change = { ...kept, ...sumsOf(known), fillRetries: order.fillRetries + 1 }
  return { kind: 'applied', executions: [], corrections: [], removed: [], change }
}

/** The retries of an order whose answer changes none of its executions. */
function retriesOf({ isCumulative, fillRetries }: KnownOrder): number | null {
  return isCumulative ? fillRetries : null
}

function missed(order: KnownOrder, known: Total, code: ExchangeErrorCode): Reconciliation {
  const misses = order.misses + 1
  const status = misses >= MISSES_UNTIL_UNKNOWN ? 'unknown' : order.status
  const { fillChecks } = order
  const counts = { misses, fillChecks, fillRetries: retriesOf(order) }
  const change = { ...NO_PROBLEM, status, ...sumsOf(known), ...counts, errorCode: code }
  return { kind: 'applied', executions: [], corrections: [], removed: [], change }
}

/** In what an answer contradicts its order; null if in nothing. */
function mismatchOf(order: KnownOrder, { order: seen, fills, at }: FoundOrder): string | null {
  if (seen.exchangeSymbol !== order.exchangeSymbol || contradicts(order)) return 'symbol_differs'
  // Spot has no position sides, whatever the order-entry side recorded.
  const isOtherPosition = order.marketType === 'FUTURES' && seen.positionSide !== order.positionSide
  if (seen.side !== order.side || isOtherPosition) return 'side_differs'
  if (seen.lostChild) return 'lost_child'
  if (order.pair === null) return 'unknown_symbol'
  const isOfOrder = seen.exchangeOrderId === order.exchangeOrderId
  return isOfOrder && (fills ?? []).every(fill => isSound(fill, order, at)) ? null : 'invalid_answer'
}

/** Whether the order was recorded with another symbol, base or quote than those of the exchange. */
function contradicts({ symbol, base, quote, pair }: KnownOrder): boolean {
  if (pair === null) return false
  return symbol !== pair.symbol || (base ?? pair.base) !== pair.base || (quote ?? pair.quote) !== pair.quote
}

/** Counts a mismatch, which may have a value after a colon. Once it counts, its code is recorded for the operator. */
function mismatched(
  order: KnownOrder,
  known: Total,
  mismatch: string,
  executions: NewExecution[] = []
): Reconciliation {
  const { status, misses, fillChecks } = order
  const mismatchChecks = checksWith(order, mismatch)
  const errorCode = mismatchChecks >= CHECKS_UNTIL_FLAGGED ? kindOf(mismatch) : null
  const counts = { misses, fillChecks, fillRetries: retriesOf(order) }
  const change = { status, ...sumsOf(known), ...counts, mismatch, mismatchChecks, errorCode }
  return { kind: 'applied', executions, corrections: [], removed: [], change }
}

/** Checks in a row with a mismatch of this kind. Its value, such as a quantity, may change from check to check. */
function checksWith(order: KnownOrder, mismatch: string): number {
  return kindOf(order.mismatch) === kindOf(mismatch) ? order.mismatchChecks + 1 : 1
}

function kindOf(mismatch: string | null): string | null {
  return mismatch?.split(':')[0] ?? null
}

/**
 * Whether an order has ended, and its fills add up to more than is filled. Of an order that trades, the fills may be newer
 * than the state, which is compared again.
 */
function exceeds(
  order: KnownOrder,
  recorded: readonly RecordedExecution[],
  { order: seen, fills }: FoundOrder
): boolean {
  if (fills === null || !isEnded(seen)) return false
  const kept = recorded.filter(execution => !isDifference(execution))
  const added = newAmong(fills, kept, order.pair)
  return added.length > 0 && totalOf(order, [...kept, ...added]).quantity.gt(seen.filledQuantity)
}

/**
 * Records, once the mismatch counts, what both answers contain: that the filled quantity was traded. Which of the fills
 * are a part of it is not known (a late state lacks the last one, a list may have one trade under two ids), so that no
 * fill is recorded, but the difference to the filled quantity, at the order's average price. The order stays unfinished:
 * its state and its fills are read at each check, and the fills replace the difference as soon as they add up.
 */
function exceeded(
  order: KnownOrder,
  recorded: readonly RecordedExecution[],
  { order: seen, at }: FoundOrder
): Reconciliation {
  const known = totalOf(order, recorded)
  const counts = checksWith(order, FILLS_EXCEED) >= CHECKS_UNTIL_FLAGGED && known.quantity.lt(seen.filledQuantity)
  const difference = counts ? differenceOf(order, seen, known, at) : null
  if (difference === null) return mismatched(order, known, FILLS_EXCEED)
  const cumulative: KnownOrder = { ...order, status: 'partially_filled', isCumulative: true, fillRetries: 0 }
  return mismatched(cumulative, totalOf(order, [...recorded, difference]), FILLS_EXCEED, [difference])
}

/** Less is filled than is recorded: the answer is old, or the exchange busted trades. */
function decreased(
  order: KnownOrder,
  recorded: readonly RecordedExecution[],
  { order: seen, fills, at }: FoundOrder
): Reconciliation {
  const mismatch = `filled_decreased:${new Exact(seen.filledQuantity).toFixed()}`
  // A quantity that differs from that of the last check may change again: it proves nothing yet.
  const isStable = order.mismatch === mismatch && checksWith(order, mismatch) >= CHECKS_UNTIL_FLAGGED
  const executions = isStable ? reversalsOf(recorded, fills, timeOf(seen, at)) : []
  const total = totalOf(order, [...recorded, ...executions])
  if (executions.length === 0 || !total.quantity.eq(seen.filledQuantity)) {
    return mismatched(order, totalOf(order, recorded), mismatch)
  }
  const change = { ...NO_PROBLEM, status: stateOf(seen, total.quantity), ...sumsOf(total) }
  return {
    kind: 'applied',
    executions,
    corrections: [],
    removed: [],
    change: { ...change, fillRetries: retriesOf(order) }
  }
}

function stateOf(seen: UnifiedOrder, filled: Big): OrderStatus {
  return seen.status === 'open' && filled.gt(0) ? 'partially_filled' : seen.status
}
