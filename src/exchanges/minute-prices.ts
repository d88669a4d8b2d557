// @FEAT:exchanges @COMP:service @TYPE:core
import { type Decimal, Exact } from '../domain/decimal.ts'
import type { InstrumentSource } from '../domain/instrument.ts'
import type { ExchangeName, Market } from '../domain/market.ts'
import type { Millis } from '../domain/millis.ts'
import type { ExchangeClient } from './exchange-client.ts'

/**
 * The price of an asset in a quote currency in the minute of a time, on the spot market of an exchange; null when it lists
 * no pair of them or no price of that minute. @throws {ExchangeError} or the reason of `signal`
 */
export type MinutePrice = (
  exchange: ExchangeName,
  asset: string,
  quote: string,
  at: Millis,
  signal: AbortSignal
) => Promise<Decimal | null>

/** Reads minute prices of pairs, or of the pair of quote and asset. */
export function minutePrices({
  client,
  instruments
}: {
  client: (market: Market) => Promise<ExchangeClient>
  instruments: InstrumentSource
}): MinutePrice {
  return async (exchange, asset, quote, at, signal) => {
    const market: Market = { exchange, marketType: 'SPOT' }
    const listed = [...(await instruments.ofMarket(market, signal)).values()]
    const symbolOf = (base: string, other: string) =>
      listed.find(one => one.base === base && one.quote === other)?.exchangeSymbol
    const [direct, inverse] = [symbolOf(asset, quote), symbolOf(quote, asset)]
    const symbol = direct ?? inverse
    if (symbol === undefined) return null
    const price = await (await client(market)).minutePrice(symbol, at, { signal })
    return price === null || direct !== undefined ? price : new Exact(1).div(price).toFixed()
  }
}
