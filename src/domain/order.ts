// @FEAT:exchanges @COMP:service @TYPE:core
import type { Decimal } from './decimal.ts'
import type { Millis } from './millis.ts'
import type { PositionSide } from './position.ts'

export type OrderState = 'open' | 'partially_filled' | 'filled' | 'canceled' | 'rejected' | 'expired'
export type OrderSide = 'BUY' | 'SELL'

/** Identifies an order at its exchange. */
export interface OrderRef {
  /** Unique per account, market and symbol. Text, because ids above 2^53 exist. */
  exchangeOrderId: string
  /** The exchange's own symbol. */
  exchangeSymbol: string
  /**
   * As in the `orders` table. Some exchanges keep conditional orders (stop, take profit, trailing) in a list of their
   * own, with ids of their own. Without a type the order is read from the ordinary ones.
   */
  orderType?: string
  /**
   * When the order was created, or earlier. Ended orders that an exchange lists by windows of time are searched from then
   * on. Default: only in the newest window.
   */
  createdAt?: Millis
}

/** Selects the fills of an order. */
export interface FillsRef extends OrderRef {
  /** Fills since then are read, and none before as far as the exchange's lists allow. Default `createdAt`. */
  since?: Millis
  /** Filled quantity of the order, in base units: no older window or list is read once the fills add up to it. */
  filledQuantity?: Decimal
}

export interface UnifiedOrder {
  exchangeOrderId: string
  clientOrderId: string | null
  symbol: string
  exchangeSymbol: string
  side: OrderSide
  /** `BOTH` on spot and in one-way mode. */
  positionSide: PositionSide
  /** In capitals with underscores, `LIMIT`, `MARKET`, `STOP_MARKET`, or the exchange's own name. */
  orderType: string
  /** Limit price; null for an order without one. */
  price: Decimal | null
  /** Trigger price; null for an order without one. */
  stopPrice: Decimal | null
  /** In base units; null when the order was given as an amount of quote currency. */
  quantity: Decimal | null
  /** In base units. */
  filledQuantity: Decimal
  /** Average price of the fills; null before the first. */
  averagePrice: Decimal | null
  status: OrderState
  /** A conditional order that has ended by its trigger, without the order that it became. */
  lostChild?: true
  /** The exchange marks it as an order of its own: a liquidation, auto-deleveraging, a settlement. */
  forced?: true
  createdAt: Millis | null
  updatedAt: Millis | null
}
