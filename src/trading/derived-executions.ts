// @FEAT:trading @COMP:service @TYPE:core
import type { Big } from 'big.js'
import { type Decimal, Exact, negated } from '../domain/decimal.ts'
import type { Fill } from '../domain/fill.ts'
import type { Millis } from '../domain/millis.ts'
import type { OrderSide, UnifiedOrder } from '../domain/order.ts'
import { CUMULATIVE, hasHappened, type NewExecution, REVERSAL, type RecordedExecution } from './fill-comparison.ts'
import type { Execution } from './position-accounting.ts'

interface OrderOf {
  exchangeOrderId: string
  side: OrderSide
}

/** What executions add up to. */
export interface Total {
  quantity: Big
  cost: Big
}

/** The sum of executions of an order; those on the other side count negative. */
export function totalOf(order: OrderOf, executions: readonly Pick<Execution, 'side' | 'price' | 'quantity'>[]): Total {
  return executions.reduce(
    ({ quantity, cost }, execution) => {
      const signed = new Exact(execution.quantity).times(execution.side === order.side ? 1 : -1)
      return { quantity: quantity.plus(signed), cost: cost.plus(signed.times(execution.price)) }
    },
    { quantity: new Exact(0), cost: new Exact(0) }
  )
}

/** The columns of an order that are sums over its executions. The average has at most 20 decimals; null without any. */
export function sumsOf({ quantity, cost }: Total): { filledQuantity: Decimal; averagePrice: Decimal | null } {
  return {
    filledQuantity: quantity.toFixed(),
    averagePrice: quantity.eq(0) ? null : cost.div(quantity).toFixed()
  }
}

/** The reversals of recorded executions that are not among the fills. */
export function reversalsOf(
  recorded: readonly RecordedExecution[],
  fills: readonly Fill[] | null,
  at: Millis
): NewExecution[] {
  if (fills === null) return []
  const kept = new Set(fills.map(({ exchangeTradeId }) => exchangeTradeId))
  const reversed = new Set(recorded.map(({ exchangeTradeId }) => exchangeTradeId))
  return recorded.flatMap(({ exchangeTradeId, side, price, quantity, fee, feeAsset, executedAt, exchangePnl }) => {
    const reversal = `${REVERSAL}${exchangeTradeId}`
    if (kept.has(exchangeTradeId) || exchangeTradeId.startsWith(REVERSAL) || reversed.has(reversal)) return []
    return {
      exchangeTradeId: reversal,
      side: side === 'BUY' ? 'SELL' : 'BUY',
      price,
      quantity,
      fee: new Exact(0).minus(fee).toFixed(),
      feeAsset,
      executedAt: new Date(Math.max(at, executedAt.getTime())),
      ...(exchangePnl !== undefined && { exchangePnl: negated(exchangePnl) })
    }
  })
}

/** When an order was last changed; when it was read, if the exchange reports no time that can be true. */
export function timeOf({ updatedAt }: UnifiedOrder, at: Millis): Millis {
  return updatedAt !== null && hasHappened(updatedAt, at) ? updatedAt : at
}

/** One execution for the quantity that is filled but not recorded; null while the exchange reports no average price. */
export function differenceOf(order: OrderOf, seen: UnifiedOrder, recorded: Total, at: Millis): NewExecution | null {
  if (seen.averagePrice === null || new Exact(seen.averagePrice).lte(0)) return null
  const filled = new Exact(seen.filledQuantity)
  const quantity = filled.minus(recorded.quantity)
  const exact = filled.times(seen.averagePrice).minus(recorded.cost).div(quantity)
  return {
    exchangeTradeId: `${CUMULATIVE}${order.exchangeOrderId}:${filled.toFixed()}`,
    side: order.side,
    price: exact.gt(0) ? exact.toFixed() : seen.averagePrice,
    quantity: quantity.toFixed(),
    fee: '0',
    feeAsset: null,
    executedAt: new Date(timeOf(seen, at))
  }
}
