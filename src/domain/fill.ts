// @FEAT:exchanges @COMP:service @TYPE:core
import type { Decimal } from './decimal.ts'
import type { Millis } from './millis.ts'
import type { OrderSide } from './order.ts'
import type { PositionSide } from './position.ts'

/** A tax in addition to a fee. */
export interface Tax {
  asset: string
  amount: Decimal
}

export interface Fill {
  /** Unique per account, market, symbol and side of the trade. */
  exchangeTradeId: string
  exchangeOrderId: string
  symbol: string
  exchangeSymbol: string
  side: OrderSide
  positionSide: PositionSide
  price: Decimal
  /** In base units. */
  quantity: Decimal
  /** Positive when paid, negative for a rebate; null when the exchange does not report it. */
  fee: Decimal | null
  feeAsset: string | null
  /** The part of the pair that the fee is in, by the rule of the exchange; only where `feeAsset` is null. */
  feeIn?: 'base' | 'quote'
  /** Amounts that are a part of the fee if they are in its asset, and make it unknown otherwise; only with `feeIn`. */
  taxes?: readonly Tax[]
  /** Gross, as the exchange reports it; null when it does not (always on spot). */
  realizedPnl: Decimal | null
  executedAt: Millis
  /** The exchange marks it as one of a liquidation, of auto-deleveraging, or of another order of its own. */
  forced?: true
}
