// @FEAT:trading @COMP:service @TYPE:helper
import { DAY, HOUR } from '../async/durations.ts'
import { Exact } from '../domain/decimal.ts'
import type { FillsRef, OrderRef, UnifiedOrder } from '../domain/order.ts'
import type { KnownOrder } from './order-reconciliation.ts'

/** How long after an order its row may have been inserted, for example by an import. */
const RECORDED_WITHIN_MS = 30 * DAY
/** How long before the last check a fill of now may have been executed: clocks differ, and some fills are listed late. */
const LISTED_WITHIN_MS = HOUR

type Identity = Pick<KnownOrder, 'exchangeOrderId' | 'exchangeSymbol' | 'orderType'>

/**
 * Identifies an order at its exchange. Its whole history is searched when the order is missing for the first time, and
 * whenever an unknown one is due: the repeats in between would cost as many calls and find nothing else.
 */
export function orderRef(order: KnownOrder): OrderRef {
  const isSearched = order.misses > 0 && order.status !== 'unknown'
  return { ...identityOf(order), ...(!isSearched && { createdAt: earliestCreation(order) }) }
}

/**
 * Selects the fills of an order that must be read: those since the last check if they were complete then, otherwise all
 * until they add up to the filled quantity. A quantity that decreased is compared with all fills since the creation.
 */
export function fillsRef(order: KnownOrder, { filledQuantity, createdAt }: UnifiedOrder): FillsRef {
  // A time of creation in the future would leave out every fill.
  const since = createdAt === null ? earliestCreation(order) : Math.min(createdAt, order.createdAt)
  const ref = { ...identityOf(order), createdAt: since }
  if (new Exact(filledQuantity).lt(order.recordedQuantity)) return ref
  const wasComplete = !order.isCumulative && order.fillChecks + order.mismatchChecks + order.misses === 0
  if (order.checkedAt !== null && wasComplete) return { ...ref, since: order.checkedAt - LISTED_WITHIN_MS }
  return { ...ref, filledQuantity }
}

/** Selects all fills of an ended order, whose state is not asked for any more. */
export function endedFillsRef(order: KnownOrder): FillsRef {
  return { ...identityOf(order), createdAt: earliestCreation(order), filledQuantity: order.recordedQuantity }
}

function earliestCreation({ createdAt }: KnownOrder): number {
  return createdAt - RECORDED_WITHIN_MS
}

function identityOf({ exchangeOrderId, exchangeSymbol, orderType }: Identity): Identity {
  return { exchangeOrderId, exchangeSymbol, orderType }
}
