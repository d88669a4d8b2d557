// @FEAT:price-cache @COMP:service @TYPE:core
import type { Decimal } from '../domain/decimal.ts'
import type { ExchangeName, MarketType } from '../domain/market.ts'

export interface CachedPrice {
  price: Decimal
  /** The time of the price: of the last trade, of the mark price, or of the exchange's list, otherwise of the reading. Never in the future. */
  at: Date
  /** When this service read it. */
  readAt: Date
}

/**
 * Current prices of the real markets; they value testnet accounts, too. A price was read within the limit of the source,
 * is of an instrument that trades, and its own time is not too old. Where the instruments of a market are not known,
 * all of its prices count as traded.
 */
export interface PriceSource {
  /** The cached price, without a call. `symbol` in the unified spelling. */
  peek(exchange: ExchangeName, marketType: MarketType, symbol: string): CachedPrice | undefined
  /**
   * Returns the prices of the symbols. When one is missing, its market is read once; concurrent callers share the call.
   * A symbol without a price, or of a market that cannot be read, is left out. @throws the reason of `signal` alone
   */
  current(
    exchange: ExchangeName,
    marketType: MarketType,
    symbols: Iterable<string>,
    signal: AbortSignal
  ): Promise<ReadonlyMap<string, CachedPrice>>
  /**
   * As `current`, for the mark prices of the perpetuals of an exchange: the prices by which it values positions. A last
   * price is never returned in place of one.
   */
  currentMarks(
    exchange: ExchangeName,
    symbols: Iterable<string>,
    signal: AbortSignal
  ): Promise<ReadonlyMap<string, CachedPrice>>
}
