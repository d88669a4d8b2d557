// @FEAT:price-cache @COMP:service @TYPE:core
import type { Decimal } from '../domain/decimal.ts'
import type { ExchangeName, MarketType } from '../domain/market.ts'

export interface CachedPrice {
  price: Decimal
  /** When this service read it. */
  readAt: Date
}

/** Current prices of the real markets (a testnet account is valued by them, too). Never one older than its limit. */
export interface PriceSource {
  /** What is known, without a call. `symbol` in the unified spelling. */
  peek(exchange: ExchangeName, marketType: MarketType, symbol: string): CachedPrice | undefined
  /**
   * Prices of the symbols; where one is missing its market is read once, shared with whoever else asks.
   * A symbol without a price, or of a market that cannot be read, is left out. Rejects only with the signal's reason.
   */
  current(
    exchange: ExchangeName,
    marketType: MarketType,
    symbols: Iterable<string>,
    signal: AbortSignal
  ): Promise<ReadonlyMap<string, CachedPrice>>
}
