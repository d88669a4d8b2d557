// @FEAT:exchanges @COMP:service @TYPE:core
import type { Decimal } from './decimal.ts'
import type { Market } from './market.ts'

/** A pair or a linear perpetual that an exchange lists. */
export interface Instrument {
  /** The exchange's own symbol, `KRW-BTC`. */
  exchangeSymbol: string
  /** Base and quote, `BTCKRW`. */
  symbol: string
  base: string
  quote: string
  /** Base units per unit of quantity at the exchange; `1` on spot. Always above zero. */
  contractValue: Decimal
  /** The smallest change of a price; null when the exchange does not report one. */
  priceStep: Decimal | null
  /** The smallest change of a quantity, in base units; null when the exchange does not report one. */
  quantityStep: Decimal | null
  /** Whether it trades now. False before it opens, while it is suspended or settled, and after it was delisted. */
  trading: boolean
}

/** The instruments of the real markets; they describe testnet accounts, too. */
export interface InstrumentSource {
  /**
   * The instruments of a market, by the exchange's own symbol: from memory, from the table or from the exchange. A list
   * is read again after an hour, and at most once a minute when it does not have one of `wanted`. Unsupported contracts
   * (dated, inverse, coin-margined) are absent. Delisted instruments do not trade.
   *
   * @param wanted the exchange's own symbols that the caller needs. Default none
   * @returns an empty map when the list is not known, because neither the exchange nor the table has it
   * @throws the reason of `signal` alone
   */
  ofMarket(market: Market, signal: AbortSignal, wanted?: Iterable<string>): Promise<ReadonlyMap<string, Instrument>>
}
