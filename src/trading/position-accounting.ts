// @FEAT:trading @COMP:service @TYPE:core
import type { Big } from 'big.js'
import { type Decimal, Exact } from '../domain/decimal.ts'
import type { MarketType } from '../domain/market.ts'
import type { OrderSide } from '../domain/order.ts'
import type { Pair } from '../domain/pair.ts'

/** The quantity held of a symbol, with its average cost. */
export interface Holding {
  /** Signed: below zero is short. */
  quantity: Big
  /** Average cost, at most 20 decimals; null while nothing is held. */
  entryPrice: Big | null
}

export const NOTHING_HELD: Holding = { quantity: new Exact(0), entryPrice: null }

/**
 * Applies an execution to a holding by average cost. An addition changes the average. A reduction keeps the average and
 * realises the difference to it. An execution that crosses zero realises the whole holding and opens the rest at its
 * price.
 *
 * Sums and products are exact. The one quotient, the average, is rounded half to even at 20 decimals, so that realised
 * and unrealised PnL differ from cash flow and value by at most |quantity| · 0.5e-20 per addition.
 *
 * @param change signed; a sale is below zero
 * @returns `realizedPnl` gross, null when nothing was closed
 */
export function applyChange(held: Holding, change: Big, price: Big): { holding: Holding; realizedPnl: Big | null } {
  const { quantity, entryPrice } = held
  if (change.eq(0)) return { holding: held, realizedPnl: null }
  const after = quantity.plus(change)
  if (entryPrice === null || quantity.eq(0)) {
    return { holding: { quantity: after, entryPrice: price }, realizedPnl: null }
  }
  if (quantity.s === change.s) {
    const cost = quantity.times(entryPrice).plus(change.times(price))
    return { holding: { quantity: after, entryPrice: cost.div(after) }, realizedPnl: null }
  }
  const crosses = change.abs().gt(quantity.abs())
  const closed = crosses ? quantity : change.neg()
  const realizedPnl = price.minus(entryPrice).times(closed)
  const left = crosses ? price : after.eq(0) ? null : entryPrice
  return { holding: { quantity: after, entryPrice: left }, realizedPnl }
}

/** The fields of an execution that change a position. */
export interface Execution {
  side: OrderSide
  price: Decimal
  quantity: Decimal
  /** Positive when paid. */
  fee: Decimal
  feeAsset: string | null
}

/**
 * By how much an execution changes the quantity held. A spot fee in the base asset lowers it: at the price of the
 * execution, for the same amount is booked as a fee, so that net PnL is cash flow and value to the last digit.
 */
export function quantityChange(
  { side, quantity, fee, feeAsset }: Execution,
  marketType: MarketType,
  base: string
): Big {
  const signed = side === 'BUY' ? new Exact(quantity) : new Exact(quantity).neg()
  return marketType === 'SPOT' && feeAsset === base ? signed.minus(fee) : signed
}

/**
 * A fee in the quote currency.
 *
 * @param priceOf the current price of an asset in the quote currency, null when it is unknown
 * @returns null when it cannot be known
 */
export function feeValueOf(
  { fee, feeAsset, price }: Pick<Execution, 'fee' | 'feeAsset' | 'price'>,
  { base, quote }: Pick<Pair, 'base' | 'quote'>,
  priceOf: (asset: string) => Decimal | null
): Decimal | null {
  if (feeAsset === null) return null
  const amount = new Exact(fee)
  if (feeAsset === quote || amount.eq(0)) return amount.toFixed()
  const rate = feeAsset === base ? price : priceOf(feeAsset)
  return rate === null ? null : amount.times(rate).toFixed()
}
