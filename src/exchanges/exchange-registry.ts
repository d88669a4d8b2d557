// @FEAT:exchanges @COMP:service @TYPE:core
import type { Dispatcher } from 'undici'
import { EXCHANGE_NAMES, type ExchangeName, type Market, type MarketType } from '../domain/market.ts'
import { type CallCosts, callCosts } from './call-costs.ts'
import { CATALOGUE, type MarketAddress } from './catalogue.ts'
import { excerptOf } from './excerpt.ts'
import type { Credentials, ExchangeClient, InvalidRow } from './exchange-client.ts'
import { type ClusterBan, ExchangeGateway, type ExchangeStatus } from './http/exchange-gateway.ts'
import type { GatewayOptions } from './http/host-options.ts'
import { InvalidRows } from './invalid-rows.ts'
import { ObservedClient } from './observed-client.ts'
import { URL_SETTINGS, type UrlSetting } from './url-settings.ts'

/** An exchange does not offer a market or testnet, or a base URL cannot be used. Its message is a sentence for people. */
export class NotOffered extends Error {
  override readonly name = 'NotOffered'
  readonly reason: 'no_such_market' | 'no_testnet' | 'bad_url'

  constructor(reason: NotOffered['reason'], message: string) {
    super(message)
    this.reason = reason
  }
}

export interface RegistryOptions extends Omit<GatewayOptions, 'exchange' | 'dispatcher'> {
  /** The agent of every outgoing call. Its owner closes it. */
  dispatcher: Dispatcher
  /** Base URLs that replace those of the catalogue, by setting. Default none. */
  urls?: Partial<Readonly<Record<UrlSetting, string>>>
  /** Where the invalid rows of readings are recorded. Default one of its own. */
  invalidRows?: InvalidRows
  /** Called with the invalid rows of a reading, for metrics. */
  onInvalidRows?: (rows: InvalidRowCount) => void
}

/** Invalid rows of one kind of fault in one reading. */
export interface InvalidRowCount {
  exchange: ExchangeName
  operation: string
  kind: InvalidRow['kind']
  rows: number
}

export interface ClientOptions {
  exchange: ExchangeName
  marketType: MarketType
  /** Default false. */
  isTestnet?: boolean
  /** Default null: the client reads only prices and time. */
  credentials?: Credentials | null
  /** The account of the credentials, under which invalid rows are recorded. Default null. */
  accountId?: string | null
}

/** The state of an exchange, with the invalid rows in the latest readings of its lists. */
export interface ExchangeReport extends ExchangeStatus {
  invalidRows: number
}

/** Makes clients that share, per exchange, rate limits, circuit and clock skew. Owns nothing that needs closing. */
export class ExchangeRegistry {
  readonly #gateways: ReadonlyMap<ExchangeName, ExchangeGateway>
  readonly #urls: Partial<Readonly<Record<UrlSetting, string>>>
  readonly #onInvalidRows: RegistryOptions['onInvalidRows']
  /** What the latest readings found, and what waits to be stored. */
  readonly invalidRows: InvalidRows

  /** @throws {NotOffered} `bad_url` for a base URL that is neither https nor loopback */
  constructor({ urls = {}, invalidRows, onInvalidRows, ...options }: RegistryOptions) {
    for (const setting of URL_SETTINGS) {
      const url = urls[setting]
      if (url !== undefined) assertBaseUrl(setting, url)
    }
    this.#urls = urls
    this.#onInvalidRows = onInvalidRows
    this.invalidRows = invalidRows ?? new InvalidRows(options.now && { now: options.now })
    this.#gateways = new Map(
      EXCHANGE_NAMES.map(exchange => [exchange, new ExchangeGateway({ ...options, exchange })] as const)
    )
  }

  /**
   * A client. Cheap: makes no call and keeps no connection.
   *
   * @throws {NotOffered} when the exchange has no such market or no testnet
   */
  client(options: ClientOptions): ExchangeClient {
    const { exchange, marketType, isTestnet = false, credentials = null, accountId = null } = options
    const baseUrl = this.#baseUrl(exchange, marketType, isTestnet)
    const context = { gateway: this.#gateway(exchange), marketType, isTestnet, credentials, baseUrl }
    const { apiKey = '', apiSecret = '', passphrase = '' } = credentials ?? {}
    return new ObservedClient(CATALOGUE[exchange].client(context), ({ operation, subject, invalid }) => {
      const excerpts = invalid.map(({ row, ...fault }) => ({
        ...fault,
        excerpt: excerptOf(row, [apiKey, apiSecret, passphrase])
      }))
      this.invalidRows.record({ exchange, marketType, operation, accountId, subject, invalid: excerpts })
      for (const { kind, times } of invalid) this.#onInvalidRows?.({ exchange, operation, kind, rows: times })
    })
  }

  /**
   * The limits of a market and what its calls take from them. Makes no call.
   *
   * @throws {NotOffered} when the exchange has no such market or no testnet
   */
  async callCosts(market: Market, isTestnet: boolean): Promise<CallCosts> {
    return await callCosts(market, this.#baseUrl(market.exchange, market.marketType, isTestnet))
  }

  /** The state of every exchange for which a client was made. Reads counters; makes no call. */
  status(): ExchangeReport[] {
    return [...this.#gateways.values()]
      .map(gateway => ({ ...gateway.status(), invalidRows: this.invalidRows.count(gateway.exchange) }))
      .filter(({ hosts }) => hosts.length > 0)
  }

  /** Replaces the bans of the cluster. Those of exchanges and hosts that this version does not have are ignored. */
  applyBans(bans: readonly ClusterBan[]): void {
    for (const [exchange, gateway] of this.#gateways) {
      gateway.applyBans(bans.filter(ban => ban.exchange === exchange))
    }
  }

  #gateway(exchange: ExchangeName): ExchangeGateway {
    const gateway = this.#gateways.get(exchange)
    if (gateway === undefined) throw new Error(`no gateway for ${exchange}`)
    return gateway
  }

  #baseUrl(exchange: ExchangeName, marketType: MarketType, isTestnet: boolean): string {
    assertOffered(exchange, marketType, isTestnet)
    const { setting, url, testnetUrl } = addressOf(exchange, marketType)
    const address = (isTestnet ? testnetUrl : null) ?? url
    const override = this.#urls[setting]
    if (override === undefined) return address
    // A loopback override is a simulated exchange: no call may reach a real host, not even that of the testnet.
    return address === url || isLoopback(new URL(override)) ? override : address
  }
}

/**
 * Checks that an exchange has a market and a testnet, before an account is stored.
 *
 * @throws {NotOffered} when the exchange has no such market or no testnet
 */
export function assertOffered(exchange: ExchangeName, marketType: MarketType, isTestnet: boolean): void {
  const { testnetUrl } = addressOf(exchange, marketType)
  if (isTestnet && testnetUrl === null) {
    throw new NotOffered('no_testnet', `${CATALOGUE[exchange].name} has no testnet`)
  }
}

function addressOf(exchange: ExchangeName, marketType: MarketType): MarketAddress {
  const { name, markets } = CATALOGUE[exchange]
  const address = markets[marketType]
  if (address !== undefined) return address
  throw new NotOffered('no_such_market', `${name} has no ${marketType} market that this service supports`)
}

/** @throws {NotOffered} `bad_url` unless it is https, or http to a loopback address, without user, query and fragment */
export function assertBaseUrl(setting: UrlSetting, text: string): void {
  const url = URL.canParse(text) ? new URL(text) : null
  const safe = url?.protocol === 'https:' || (url?.protocol === 'http:' && isLoopback(url))
  if (url === null || !safe || url.username !== '' || url.password !== '' || url.search !== '' || url.hash !== '') {
    throw new NotOffered('bad_url', `${setting} must be an https URL, or one of this machine, without user or query`)
  }
}

function isLoopback({ hostname }: URL): boolean {
  return hostname === 'localhost' || hostname === '[::1]' || /^127\.\d{1,3}\.\d{1,3}\.\d{1,3}$/.test(hostname)
}
