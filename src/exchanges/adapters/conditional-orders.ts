// @FEAT:exchanges @COMP:service @TYPE:helper
import type { OrderRef, UnifiedOrder } from '../../domain/order.ts'
import type { CallOptions } from '../exchange-client.ts'
import { ExchangeError } from '../exchange-error.ts'
import type { JsonRecord } from '../http/answer-fields.ts'

/** How an exchange keeps conditional orders: in a list of their own, with ids of their own. */
export interface ConditionalOrderSource {
  /** Matches the order types that are conditional. Null when the market has none. */
  orderTypes: RegExp | null
  /** The field of a row that holds the exchange's symbol. */
  symbolField: string
  /** Reads the conditional order with an id. @throws {ExchangeError} `order_not_found` */
  readRow: (ref: OrderRef, options: CallOptions | undefined) => Promise<JsonRecord>
  /** The order as it was placed. @throws {ExchangeError} */
  parse: (row: JsonRecord, options: CallOptions | undefined) => Promise<UnifiedOrder>
  /** The id of the ordinary order that a triggered one became; null before it is triggered. */
  triggeredOrderId: (row: JsonRecord) => string | null
  /** Whether a row is of an order that has ended by its trigger. */
  isTriggered: (row: JsonRecord) => boolean
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
   * An order of either kind. A conditional one that was triggered is the order that it became, under the id, type and
   * trigger price with which it was placed. Without that order it has a `lostChild`.
   *
   * @throws {ExchangeError}
   */
  async order(ref: OrderRef, options: CallOptions | undefined): Promise<UnifiedOrder> {
    const { parse, triggeredOrderId, isTriggered, readOrdinary } = this.#source
    const row = await this.#conditionalRow(ref, options)
    if (row === null) return await readOrdinary(ref, options)
    const placed = await parse(row, options)
    const id = triggeredOrderId(row)
    if (id === null) return isTriggered(row) ? { ...placed, lostChild: true } : placed
    const ordinary = await readOrdinary({ ...ref, exchangeOrderId: id }, options)
    const { exchangeOrderId, orderType, stopPrice } = placed
    return { ...ordinary, exchangeOrderId, orderType, stopPrice }
  }

  /** The id under which an order has fills; null for a conditional one that was not triggered. @throws {ExchangeError} */
  async executedOrderId(ref: OrderRef, options: CallOptions | undefined): Promise<string | null> {
    const row = await this.#conditionalRow(ref, options)
    return row === null ? ref.exchangeOrderId : this.#source.triggeredOrderId(row)
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
