// @FEAT:trading @COMP:service @TYPE:core
import type { OrderCosts } from '../exchanges/exchange-client.ts'

/**
 * The lists of open orders that are the cheapest way to read orders, by the exchange's own weights: that of all symbols,
 * those of single symbols, or none when the orders are read one by one. Orders that a list does not contain are read one by
 * one afterwards, so that is preferred at the same cost.
 *
 * @param orders at least one
 */
export function listsOf(
  costs: OrderCosts,
  orders: readonly { exchangeSymbol: string }[]
): { exchangeSymbol?: string }[] {
  const symbols = [...new Set(orders.map(({ exchangeSymbol }) => exchangeSymbol))]
  const ofSymbols = costs.listOfSymbol * symbols.length
  if (costs.order * orders.length <= Math.min(costs.list, ofSymbols)) return []
  return costs.list <= ofSymbols ? [{}] : symbols.map(exchangeSymbol => ({ exchangeSymbol }))
}
