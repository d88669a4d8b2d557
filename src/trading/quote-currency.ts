// @FEAT:trading @COMP:service @TYPE:helper
import { CATALOGUE } from '../exchanges/catalogue.ts'

/** Currencies that the exchanges of the catalogue quote in, longest first. */
const QUOTES = [
  ...new Set([
    ...Object.values(CATALOGUE).flatMap(({ quoteCurrencies }) => quoteCurrencies),
    ...['USDT', 'USDC', 'FDUSD', 'TUSD', 'BUSD', 'USDP', 'USDE', 'USD1', 'DAI', 'EURI'],
    ...['USD', 'EUR', 'GBP', 'TRY', 'BRL', 'JPY', 'AUD', 'KRW', 'IDR', 'THB', 'SGD', 'PLN', 'ARS', 'MXN', 'ZAR', 'UAH'],
    ...['BTC', 'ETH', 'BNB', 'SOL', 'XRP', 'TRX', 'DOGE', 'DOT', 'OKB']
  ])
].sort((a, b) => b.length - a.length)

export interface SymbolParts {
  base: string
  quote: string
}

/** `BTCUSDT` → BTC and USDT: the longest known currency that the unified symbol ends with; null when there is none. */
export function partsOfSymbol(symbol: string): SymbolParts | null {
  const quote = QUOTES.find(known => symbol.length > known.length && symbol.endsWith(known))
  return quote === undefined ? null : { base: symbol.slice(0, -quote.length), quote }
}
