// @FEAT:trading @COMP:service @TYPE:core
import { type Decimal, Exact, isZero } from '../domain/decimal.ts'

/** What an account holds of an asset, over all of its wallets. Negative for a debt. */
export interface Holding {
  asset: string
  amount: Decimal
}

/** An open position in a perpetual. */
export interface OpenPerpetual {
  symbol: string
  /** Its PnL is in this currency. */
  quote: string | null
  /** Signed, in base units. */
  quantity: Decimal
  /** As the exchange computes it, by its mark price; null when it reports none. */
  unrealizedPnl: Decimal | null
}

/** An asset or a position that no current price values. */
export interface Unvalued {
  kind: 'asset' | 'position'
  name: string
  amount: Decimal
}

/** What an account is worth, without what is unvalued. */
export interface Equity {
  equity: Decimal
  cash: Decimal
  holdings: Decimal
  unrealizedPnl: Decimal
  /** In alphabetical order. */
  unvalued: Unvalued[]
}

/** Prices of one exchange. */
export interface EquityPrices {
  /** The current last price of a spot symbol; null when there is none. */
  spot: (symbol: string) => Decimal | null
}

/** Currencies through which an asset without a pair in the valuation currency is valued, the first one that works. */
const HUBS = ['USDT', 'BTC']

/**
 * The price of one unit of an asset in a currency: of their pair, in either direction, otherwise of the pairs of both with
 * USDT, otherwise of those with BTC. Null without current prices. A quotient has 20 decimal places.
 */
function priceIn({ spot }: EquityPrices, asset: string, currency: string): Decimal | null {
  const direct = pairPrice(spot, asset, currency)
  if (direct !== null) return direct
  for (const hub of HUBS) {
    const first = pairPrice(spot, asset, hub)
    const second = first === null ? null : pairPrice(spot, hub, currency)
    if (first !== null && second !== null) return new Exact(first).times(second).toFixed()
  }
  return null
}

/**
 * The equity of an account: cash and holdings at current prices, plus the unrealised PnL of each perpetual, which the
 * balances of margin accounts do not contain. What has no current price is listed, and never counts as 0.
 */
export function equityOf(
  currency: string,
  holdings: readonly Holding[],
  positions: readonly OpenPerpetual[],
  prices: EquityPrices
): Equity {
  let [cash, held, unrealized] = [new Exact(0), new Exact(0), new Exact(0)]
  const unvalued: Unvalued[] = []
  for (const { asset, amount } of holdings) {
    if (asset === currency) cash = cash.plus(amount)
    else {
      const price = isZero(amount) ? '0' : priceIn(prices, asset, currency)
      if (price === null) unvalued.push({ kind: 'asset', name: asset, amount: new Exact(amount).toFixed() })
      else held = held.plus(new Exact(price).times(amount))
    }
  }
  for (const { symbol, quote, quantity, unrealizedPnl } of positions) {
    const rate = quote === null ? null : priceIn(prices, quote, currency)
    if (rate === null || unrealizedPnl === null) {
      unvalued.push({ kind: 'position', name: symbol, amount: new Exact(quantity).toFixed() })
    } else unrealized = unrealized.plus(new Exact(unrealizedPnl).times(rate))
  }
  unvalued.sort((a, b) => compare(a.kind, b.kind) || compare(a.name, b.name) || compare(a.amount, b.amount))
  const equity = cash.plus(held).plus(unrealized).toFixed()
  return { equity, cash: cash.toFixed(), holdings: held.toFixed(), unrealizedPnl: unrealized.toFixed(), unvalued }
}

/** The sum of amounts in a currency at current prices; null when one of them has none. */
export function valueIn(currency: string, amounts: readonly Holding[], prices: EquityPrices): Decimal | null {
  let sum = new Exact(0)
  for (const { asset, amount } of amounts) {
    const price = priceIn(prices, asset, currency)
    if (price === null) return null
    sum = sum.plus(new Exact(price).times(amount))
  }
  return sum.toFixed()
}

function pairPrice(spot: EquityPrices['spot'], asset: string, currency: string): Decimal | null {
  if (asset === currency) return '1'
  const price = spot(`${asset}${currency}`)
  if (price !== null) return price
  const inverse = spot(`${currency}${asset}`)
  return inverse === null || isZero(inverse) ? null : new Exact(1).div(inverse).toFixed()
}

function compare(a: string, b: string): number {
  return a < b ? -1 : Number(a > b)
}
