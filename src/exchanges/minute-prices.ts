// @FEAT:exchanges @COMP:service @TYPE:core
import { type Decimal, Exact } from '../domain/decimal.ts'
import type { InstrumentSource } from '../domain/instrument.ts'
import type { ExchangeName, Market } from '../domain/market.ts'
import type { Millis } from '../domain/millis.ts'
import type { ExchangeClient } from './exchange-client.ts'

/**
 * The price of an asset in a quote currency in the minute of a time, on the spot market of an exchange; null when it lists
 * no pairs that connect them or no price of that minute. @throws {ExchangeError} or the reason of `signal`
 */
export type MinutePrice = (
  exchange: ExchangeName,
  asset: string,
  quote: string,
  at: Millis,
  signal: AbortSignal
) => Promise<Decimal | null>

/** Currencies through which an asset without a pair in the quote currency is valued, the first one that has both pairs. */
const HUBS = ['USDT', 'BTC']

/**
 * Reads minute prices: of the pair of asset and quote, in either direction, otherwise of the pairs of both with USDT,
 * otherwise of those with BTC. A quotient has 20 decimal places.
 */
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
    const isListed = (base: string, other: string) => (symbolOf(base, other) ?? symbolOf(other, base)) !== undefined
    const pairPrice = async (base: string, other: string) => {
      const direct = symbolOf(base, other)
      const symbol = direct ?? symbolOf(other, base)
      if (symbol === undefined) return null
      const price = await (await client(market)).minutePrice(symbol, at, { signal })
      return price === null || direct !== undefined ? price : new Exact(1).div(price).toFixed()
    }
    if (isListed(asset, quote)) return await pairPrice(asset, quote)
    const hub = HUBS.find(currency => isListed(asset, currency) && isListed(currency, quote))
    if (hub === undefined) return null
    const [first, second] = [await pairPrice(asset, hub), await pairPrice(hub, quote)]
    return first === null || second === null ? null : new Exact(first).times(second).toFixed()
  }
}
