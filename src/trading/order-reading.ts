// @FEAT:trading @COMP:service @TYPE:core
import type { OrderCosts } from '../exchanges/exchange-client.ts'

/** How the orders of an account on a market are read: by one list, by a list per symbol, or one by one. */
export type OrderReading = 'list' | 'lists_of_symbols' | 'orders'

/**
 * The cheapest way to read orders, by the exchange's own weights. Orders that a list does not contain are read one by one
 * afterwards, so reading one by one is preferred at the same cost.
 *
 * @param symbols the exchange's symbol of each order, at least one
 */
export function cheapestReading(costs: OrderCosts, symbols: readonly string[]): OrderReading {
  const ofOrders = costs.order * symbols.length
  const ofSymbols = costs.listOfSymbol * new Set(symbols).size
  if (ofOrders <= Math.min(costs.list, ofSymbols)) return 'orders'
  return costs.list <= ofSymbols ? 'list' : 'lists_of_symbols'
}
