// @FEAT:trading @COMP:service @TYPE:core

/** A symbol with its base and quote, as its exchange names them: two pairs may have the same symbol. */
export interface Pair {
  /** Base and quote in capitals, `BTCUSDT`. */
  symbol: string
  base: string
  quote: string
}

/** The pair of a base and a quote. */
export function pairOf(base: string, quote: string): Pair {
  return { symbol: `${base}${quote}`, base, quote }
}
