// @FEAT:exchanges @COMP:service @TYPE:core
import type { Decimal } from './decimal.ts'
import type { Millis } from './millis.ts'
import type { PositionSide } from './position.ts'

export type OrderState = 'open' | 'partially_filled' | 'filled' | 'canceled' | 'rejected' | 'expired'
export type OrderSide = 'BUY' | 'SELL'

/** Names an order towards its exchange. */
export interface OrderRef {
  /** Unique per account and market; text, for ids above 2^53 exist. */
  exchangeOrderId: string
  /** The exchange's own spelling. */
  exchangeSymbol: string
  /**
   * As the `orders` table keeps it. Some exchanges keep conditional orders (stop, take profit, trailing) in a place of
   * their own, with ids of their own; without a type the order is looked for among the ordinary ones.
   */
  orderType?: string
}

export interface UnifiedOrder {
  exchangeOrderId: string
  clientOrderId: string | null
  symbol: string
  exchangeSymbol: string
  side: OrderSide
  /** `BOTH` on spot and in one-way mode. */
  positionSide: PositionSide
  /** In capitals with underscores, `LIMIT`, `MARKET`, `STOP_MARKET`, otherwise as the exchange names it. */
  orderType: string
  /** Limit price; null for an order without one. */
  price: Decimal | null
  /** Trigger price; null for an order without one. */
  stopPrice: Decimal | null
  /** In base units; null when the order was given as an amount of quote currency. */
  quantity: Decimal | null
  /** In base units. */
  filledQuantity: Decimal
  /** Mean price of the fills; null before the first. */
  averagePrice: Decimal | null
  status: OrderState
  createdAt: Millis | null
  updatedAt: Millis | null
}
