// @FEAT:exchanges @COMP:service @TYPE:helper
import { Exact, isZero } from '../../domain/decimal.ts'
import type { ExchangeName } from '../../domain/market.ts'
import type { Millis } from '../../domain/millis.ts'
import type { OrderRef, OrderState, UnifiedOrder } from '../../domain/order.ts'
import type { CallOptions } from '../exchange-client.ts'
import { ExchangeError } from '../exchange-error.ts'
import type { JsonRecord } from '../http/answer-fields.ts'

/** How an exchange keeps conditional orders: in a list of their own, with ids of their own. */
export interface ConditionalOrderSource {
  exchange: ExchangeName
  /** Matches the order types that are conditional. Null when the market has none. */
  orderTypes: RegExp | null
  /** The field of a row that holds the exchange's symbol. */
  symbolField: string
  /** Reads the conditional order with an id. @throws {ExchangeError} `order_not_found` */
  readRow: (ref: OrderRef, options: CallOptions | undefined) => Promise<JsonRecord>
  /** The order as it was placed. @throws {ExchangeError} */
  parse: (row: JsonRecord, options: CallOptions | undefined) => Promise<UnifiedOrder>
  /** The ids of the ordinary orders that a triggered one became; empty before it is triggered. */
  triggeredOrderIds: (row: JsonRecord) => string[]
  /** Whether a row is of an order that has ended by its trigger. */
  isTriggered: (row: JsonRecord) => boolean
  /** Whether an order that was triggered in part may become further ordinary orders. */
  mayTriggerAgain: (row: JsonRecord) => boolean
  /** Reads an ordinary order. @throws {ExchangeError} */
  readOrdinary: (ref: OrderRef, options: CallOptions | undefined) => Promise<UnifiedOrder>
}

/** Finds orders of an exchange that keeps conditional orders in a list of their own. */
export class ConditionalOrders {
  readonly #source: ConditionalOrderSource

  constructor(source: ConditionalOrderSource) {
    this.#source = source
  }

  /**
   * An order of either kind. A conditional one that was triggered is the orders that it became, under the id, type and
   * trigger price with which it was placed: their filled quantities added, their average price weighted. Without any of
   * them it has a `lostChild`.
   *
   * @throws {ExchangeError}
   */
  async order(ref: OrderRef, options: CallOptions | undefined): Promise<UnifiedOrder> {
    const { parse, triggeredOrderIds, isTriggered, mayTriggerAgain, readOrdinary } = this.#source
    const row = await this.#conditionalRow(ref, options)
    if (row === null) return await readOrdinary(ref, options)
    const placed = await parse(row, options)
    const ids = triggeredOrderIds(row)
    if (ids.length === 0) return isTriggered(row) ? { ...placed, lostChild: true } : placed
    const became = await this.#ordinaryOrders(ref, ids, options)
    const { exchangeOrderId, orderType, stopPrice } = placed
    const open: UnifiedOrder[] = mayTriggerAgain(row) ? [placed] : []
    return { ...unitedOrder([...became, ...open], placed), exchangeOrderId, orderType, stopPrice }
  }

  /** The ids under which an order has fills; empty for a conditional one that was not triggered. @throws {ExchangeError} */
  async executedOrderIds(ref: OrderRef, options: CallOptions | undefined): Promise<string[]> {
    const row = await this.#conditionalRow(ref, options)
    return row === null ? [ref.exchangeOrderId] : this.#source.triggeredOrderIds(row)
  }

  /** Exchanges forget orders that were cancelled without a fill: one of several may be missing, but not all of them. */
  async #ordinaryOrders(
    ref: OrderRef,
    ids: readonly string[],
    options: CallOptions | undefined
  ): Promise<UnifiedOrder[]> {
    const found: UnifiedOrder[] = []
    let missing: unknown
    for (const exchangeOrderId of ids) {
      try {
        const child = await this.#source.readOrdinary({ ...ref, exchangeOrderId }, options)
        if (child.exchangeOrderId !== exchangeOrderId) throw this.#isAnotherOrder()
        found.push(child)
      } catch (err) {
        if (!(err instanceof ExchangeError && err.code === 'order_not_found')) throw err
        missing = err
      }
    }
    if (found.length === 0) throw missing
    return found
  }

  #isAnotherOrder(): ExchangeError {
    const { exchange } = this.#source
    return new ExchangeError('invalid_answer', {
      exchange,
      operation: 'order',
      reason: 'the answer is about another order'
    })
  }

  /** Null when the order is of another type, or no conditional order has its id and symbol. */
  async #conditionalRow(ref: OrderRef, options: CallOptions | undefined): Promise<JsonRecord | null> {
    const { orderTypes, symbolField, readRow } = this.#source
    if (!orderTypes?.test(ref.orderType ?? '')) return null
    try {
      const row = await readRow(ref, options)
      return row[symbolField] === ref.exchangeSymbol ? row : null
    } catch (err) {
      if (err instanceof ExchangeError && err.code === 'order_not_found') return null
      throw err
    }
  }
}

/** The state of several orders as that of one. An open one keeps it open; it is filled only if all of them are. */
function unitedOrder(all: readonly UnifiedOrder[], placed: UnifiedOrder): UnifiedOrder {
  // One that is of another symbol or side must not be hidden by the others: the caller compares them with its order.
  const first = all.find(order => isOther(order, placed)) ?? all[0]
  if (first === undefined) return placed
  if (all.length === 1) return first
  const filled = all.reduce((sum, { filledQuantity }) => sum.plus(filledQuantity), new Exact(0))
  const isPriced = all.every(({ filledQuantity, averagePrice }) => isZero(filledQuantity) || averagePrice !== null)
  const cost = all.reduce(
    (sum, { filledQuantity, averagePrice }) => sum.plus(new Exact(filledQuantity).times(averagePrice ?? 0)),
    new Exact(0)
  )
  return {
    ...first,
    quantity: placed.quantity,
    filledQuantity: filled.toFixed(),
    averagePrice: isPriced && filled.gt(0) ? cost.div(filled).toFixed() : null,
    status: unitedStatus(all, filled.gt(0)),
    createdAt: placed.createdAt,
    updatedAt: latest(all.map(({ updatedAt }) => updatedAt))
  }
}

function isOther(order: UnifiedOrder, { exchangeSymbol, side, positionSide }: UnifiedOrder): boolean {
  return order.exchangeSymbol !== exchangeSymbol || order.side !== side || order.positionSide !== positionSide
}

function unitedStatus(orders: readonly UnifiedOrder[], isFilledInPart: boolean): OrderState {
  const statuses = new Set(orders.map(({ status }) => status))
  if (statuses.has('open') || statuses.has('partially_filled')) return isFilledInPart ? 'partially_filled' : 'open'
  const [one, ...rest] = statuses
  return one !== undefined && rest.length === 0 ? one : 'canceled'
}

function latest(times: readonly (Millis | null)[]): Millis | null {
  return times.reduce((last, at) => (at !== null && at > (last ?? 0) ? at : last), null)
}
