// @FEAT:exchanges @COMP:service @TYPE:core
import type { Decimal } from './decimal.ts'
import type { Millis } from './millis.ts'

/** The exchanges of the catalogue, as in `accounts.exchange`. */
export const EXCHANGE_NAMES = ['BINANCE', 'BYBIT', 'OKX', 'UPBIT', 'BITHUMB'] as const
export type ExchangeName = (typeof EXCHANGE_NAMES)[number]

/** `FUTURES` means linear perpetuals: quoted and settled in the same stable coin. */
export const MARKET_TYPES = ['SPOT', 'FUTURES'] as const
export type MarketType = (typeof MARKET_TYPES)[number]

/** A market of an exchange. */
export interface Market {
  exchange: ExchangeName
  marketType: MarketType
}

export interface Price {
  /** Base and quote in capitals, `BTCUSDT`. */
  symbol: string
  /** The exchange's own symbol, `KRW-BTC`. */
  exchangeSymbol: string
  /** Last trade, or mark price in a list of mark prices. Quote per one base; always above zero. */
  price: Decimal
  /**
   * The exchange's time of the last trade or of the mark price, by our clock; null when the exchange reports no time. The last price of a
   * symbol that trades rarely may be old and right.
   */
  at: Millis | null
  /** True when `at` is the time of the whole list instead: an old list has old prices. Default false. */
  isListTime?: true
  /** The mark price, at the time of the list; only where the list of last prices has it. Always above zero. */
  mark?: Decimal
}

/** Whether `text` names a market type, in capitals. */
export function isMarketType(text: string): text is MarketType {
  return MARKET_TYPES.some(type => type === text)
}

/** Whether `text` names an exchange of the catalogue, in capitals. */
export function isExchangeName(text: string): text is ExchangeName {
  return EXCHANGE_NAMES.some(name => name === text)
}
