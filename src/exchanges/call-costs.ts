// @FEAT:exchanges @COMP:service @TYPE:core
import { Agent } from 'undici'
import { HOUR } from '../async/durations.ts'
import type { Market } from '../domain/market.ts'
import { CATALOGUE } from './catalogue.ts'
import type { ExchangeClient, OrderCosts } from './exchange-client.ts'
import { ExchangeError } from './exchange-error.ts'
import type { ReadCall, Route } from './http/exchange-call.ts'
import { ExchangeGateway } from './http/exchange-gateway.ts'
import { ExchangeHost } from './http/exchange-host.ts'
import type { GatewayOptions, HostOptions } from './http/host-options.ts'
import type { Cost, RateLimit } from './http/rate-budget.ts'

/** The limits of a market, and what its calls take from them, by its adapter. */
export interface CallCosts {
  /** Identifies the host: markets with the same one share its limits. */
  host: string
  limits: readonly RateLimit[]
  orderCosts: OrderCosts
  /** One order by its id. */
  order: readonly Cost[]
  /** The wallet of one account. */
  balances: readonly Cost[]
  /** The ledger of one wallet: one window of each list, with one page. */
  ledger: readonly Cost[]
  /** The prices of the market, the mark prices included, once per replica. */
  prices: readonly Cost[]
}

const CREDENTIALS = { apiKey: 'key', apiSecret: 'secret', passphrase: 'passphrase' }

/**
 * The limits and costs of a market. Its adapter is called with a gateway that records the first route of each call, or of
 * each list, and sends nothing.
 *
 * @param baseUrl root of the API for this market, real or testnet
 */
export async function callCosts({ exchange, marketType }: Market, baseUrl: string): Promise<CallCosts> {
  const gateway = new RecordingGateway({ exchange, dispatcher: new Agent() })
  const context = { gateway, marketType, isTestnet: false, credentials: CREDENTIALS, baseUrl }
  const client = CATALOGUE[exchange].client(context)
  const costsOf = async (call: (client: ExchangeClient) => Promise<unknown>) => {
    gateway.routes.length = 0
    await call(client).catch(err => {
      if (!(err instanceof ExchangeError)) throw err
    })
    return gateway.routes.flatMap(({ costs }) => costs)
  }
  const now = Date.now()
  const order = await costsOf(one =>
    one.order({ exchangeOrderId: '1', exchangeSymbol: spelled({ exchange, marketType }), createdAt: 0 })
  )
  return {
    host: gateway.hosts[0]?.id ?? baseUrl,
    limits: gateway.hosts[0]?.limits ?? [],
    orderCosts: client.orderCosts,
    order,
    balances: await costsOf(one => one.balances()),
    ledger: await costsOf(one => one.ledger({ from: now - HOUR, until: now })),
    prices: [...(await costsOf(one => one.lastPrices())), ...(await costsOf(one => one.markPrices()))]
  }
}

/** The symbol of a pair that every exchange lists, as it writes it. */
function spelled({ exchange, marketType }: Market): string {
  if (exchange === 'UPBIT' || exchange === 'BITHUMB') return 'KRW-BTC'
  if (exchange !== 'OKX') return 'BTCUSDT'
  return marketType === 'SPOT' ? 'BTC-USDT' : 'BTC-USDT-SWAP'
}

class RecordingGateway extends ExchangeGateway {
  readonly hosts: HostOptions[] = []
  readonly routes: Route[] = []
  readonly #options: GatewayOptions

  constructor(options: GatewayOptions) {
    super(options)
    this.#options = options
  }

  override host(options: HostOptions): ExchangeHost {
    this.hosts.push(options)
    return new RecordingHost(this.#options, options, this.routes)
  }
}

class RecordingHost extends ExchangeHost {
  readonly #exchange: GatewayOptions['exchange']
  readonly #routes: Route[]

  constructor(gateway: GatewayOptions, host: HostOptions, routes: Route[]) {
    super(gateway, host)
    this.#exchange = gateway.exchange
    this.#routes = routes
  }

  /** Sends nothing. A list that the key may not read does not end the reading of the others. @throws {ExchangeError} always */
  override async call<T>({ route }: ReadCall<T>): Promise<T> {
    this.#routes.push(route)
    throw new ExchangeError('permission', { exchange: this.#exchange, operation: route.operation })
  }
}
