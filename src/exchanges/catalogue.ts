// @FEAT:exchanges @COMP:service @TYPE:core

import type { ExchangeName, Market, MarketType } from '../domain/market.ts'
import type { Pair } from '../domain/pair.ts'
import type { AdapterContext } from './adapters/adapter.ts'
import { BinanceClient } from './adapters/binance.ts'
import { BithumbClient } from './adapters/bithumb.ts'
import { BybitClient } from './adapters/bybit.ts'
import { OkxClient, okxPair } from './adapters/okx.ts'
import { UpbitClient } from './adapters/upbit.ts'
import { pairOfMarket } from './adapters/upbit-dialect.ts'
import type { ExchangeClient } from './exchange-client.ts'
import type { UrlSetting } from './url-settings.ts'

/** An exchange in the answer of `GET /api/system/exchange-metadata`. */
export interface ExchangeMetadata {
  name: string
  supports_spot: boolean
  supports_futures: boolean
  supports_perpetual: boolean
  has_testnet: boolean
  quote_currencies: string[]
}

/** The addresses of one market of an exchange. */
export interface MarketAddress {
  /** The setting that replaces the URL. */
  setting: UrlSetting
  url: string
  /** Null where there is no testnet. */
  testnetUrl: string | null
}

/** Everything that the service knows about an exchange, except the code of its adapter. */
export interface CatalogueEntry {
  name: string
  markets: Partial<Readonly<Record<MarketType, MarketAddress>>>
  /** The main quote currencies. Prices in every other quote currency are also read, unless the route requires one. */
  quoteCurrencies: readonly string[]
  /**
   * Markets with a wallet of their own. On a unified account spot and futures show the same balance: the sum of both
   * would count it twice.
   */
  wallets: readonly MarketType[]
  /** Whether an account needs a passphrase in addition to key and secret. */
  needsPassphrase: boolean
  /**
   * Base and quote of a symbol as this exchange writes it; null when it does not separate them. Default: it separates
   * none, and its list of instruments has them.
   */
  pairOf?: (exchangeSymbol: string, marketType: MarketType) => Pair | null
  client: (context: AdapterContext) => ExchangeClient
}

/** The supported exchanges. A new one is a name in `EXCHANGE_NAMES`, a file with its adapter, and a row here. */
export const CATALOGUE: Readonly<Record<ExchangeName, CatalogueEntry>> = {
  BINANCE: {
    name: 'Binance',
    markets: {
      SPOT: { setting: 'BINANCE_URL', url: 'https://api.binance.com', testnetUrl: 'https://testnet.binance.vision' },
      FUTURES: {
        setting: 'BINANCE_FUTURES_URL',
        url: 'https://fapi.binance.com',
        testnetUrl: 'https://testnet.binancefuture.com'
      }
    },
    quoteCurrencies: ['USDT'],
    wallets: ['SPOT', 'FUTURES'],
    needsPassphrase: false,
    client: context => new BinanceClient(context)
  },
  BYBIT: {
    name: 'Bybit',
    markets: both({
      setting: 'BYBIT_URL',
      url: 'https://api.bybit.com',
      testnetUrl: 'https://api-testnet.bybit.com'
    }),
    quoteCurrencies: ['USDT'],
    wallets: ['SPOT'],
    needsPassphrase: false,
    client: context => new BybitClient(context)
  },
  OKX: {
    name: 'OKX',
    // Its testnet is the same host with a header.
    markets: both({ setting: 'OKX_URL', url: 'https://www.okx.com', testnetUrl: 'https://www.okx.com' }),
    quoteCurrencies: ['USDT'],
    wallets: ['SPOT'],
    needsPassphrase: true,
    pairOf: okxPair,
    client: context => new OkxClient(context)
  },
  UPBIT: {
    name: 'Upbit',
    markets: { SPOT: { setting: 'UPBIT_URL', url: 'https://api.upbit.com', testnetUrl: null } },
    quoteCurrencies: ['KRW'],
    wallets: ['SPOT'],
    needsPassphrase: false,
    pairOf: pairOfMarket,
    client: context => new UpbitClient(context)
  },
  BITHUMB: {
    name: 'Bithumb',
    markets: { SPOT: { setting: 'BITHUMB_URL', url: 'https://api.bithumb.com', testnetUrl: null } },
    quoteCurrencies: ['KRW'],
    wallets: ['SPOT'],
    needsPassphrase: false,
    pairOf: pairOfMarket,
    client: context => new BithumbClient(context)
  }
}

/** Base and quote of a symbol by the exchange's own spelling; null when that has no separator. */
export function spelledPair({ exchange, marketType }: Market, exchangeSymbol: string): Pair | null {
  return CATALOGUE[exchange].pairOf?.(exchangeSymbol, marketType) ?? null
}

/** The answer of exchange-metadata, by lower-case name. */
export function exchangeMetadata(): Record<string, ExchangeMetadata> {
  const entries = Object.entries(CATALOGUE).map(([exchange, { name, markets, quoteCurrencies }]) => {
    const perpetuals = markets.FUTURES !== undefined
    const metadata: ExchangeMetadata = {
      name,
      supports_spot: markets.SPOT !== undefined,
      supports_futures: perpetuals,
      supports_perpetual: perpetuals,
      has_testnet: Object.values(markets).some(({ testnetUrl }) => testnetUrl !== null),
      quote_currencies: [...quoteCurrencies]
    }
    return [exchange.toLowerCase(), metadata] as const
  })
  return Object.fromEntries(entries)
}

function both(address: MarketAddress): Readonly<Record<MarketType, MarketAddress>> {
  return { SPOT: address, FUTURES: address }
}
