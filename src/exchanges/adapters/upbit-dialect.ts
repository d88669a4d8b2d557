// @FEAT:exchanges @COMP:service @TYPE:helper
/**
 * What Upbit and Bithumb share: Bithumb's API of generation 2 speaks Upbit's language, down to the field names. Markets
 * are written quote first (`KRW-BTC`), requests are signed with a JSON web token.
 */
import { createHash, randomUUID } from 'node:crypto'
import type { Balance } from '../../domain/balance.ts'
import { type Decimal, Exact, isZero } from '../../domain/decimal.ts'
import type { Fill } from '../../domain/fill.ts'
import type { ExchangeName, Price } from '../../domain/market.ts'
import type { Millis } from '../../domain/millis.ts'
import type { OrderRef, OrderSide, OrderState, UnifiedOrder } from '../../domain/order.ts'
import type { Position } from '../../domain/position.ts'
import type { CallOptions, Credentials, ExchangeClient } from '../exchange-client.ts'
import {
  decimalOf,
  isRecord,
  type JsonRecord,
  optionalDecimal,
  optionalText,
  optionalTime,
  priceOf,
  recordOf,
  rowsOf,
  textOf,
  UnreadableAnswer
} from '../http/answer-fields.ts'
import type { Answer, ExchangeHost, ReadCall, Refusal, SignedParts } from '../http/exchange-gateway.ts'
import type { RateLimit } from '../http/rate-budget.ts'
import type { RowReader } from '../http/row-reader.ts'
import {
  type AdapterContext,
  credentialsOf,
  endlessList,
  hmacSha256,
  MAX_PAGES,
  parsing,
  queryOf,
  supportedOnly,
  tickerPrice,
  UnsupportedSymbol
} from './adapter.ts'

const HALF_A_SECOND = 500
const MARKET = /^([A-Z0-9]{1,20})-([A-Z0-9]{1,20})$/
const HEADER = Buffer.from('{"alg":"HS256","typ":"JWT"}').toString('base64url')

const ORDERS_PER_PAGE = 100

/** In what an exchange differs from the others of this dialect. */
export interface Dialect {
  exchange: ExchangeName
  /** The limit for public calls, per address, and the one for signed calls, per key. */
  limits: { public: Omit<RateLimit, 'name' | 'scope'>; private: Omit<RateLimit, 'name' | 'scope'> }
  prices: {
    path: string
    query: string
    /** A reader that hands every price with its market on. */
    reader: (onPrice: (market: string, price: string | null | undefined, at: Millis | null) => void) => RowReader
  }
  openOrdersPath: string
  /** Whether the token holds the time. */
  timestamped: boolean
  /** What refusals mean, by name. */
  refusals: Readonly<Record<string, Refusal['code']>>
  /** The name of the refusal that blames our clock. */
  clockRefusal?: string
  /** Refusals that hide in an answer of 200. */
  hiddenRefusalOf?: (answer: Answer) => Refusal | null
}

/** The names of refusals that the exchanges of this dialect share. */
export const SHARED_REFUSALS: Readonly<Record<string, Refusal['code']>> = {
  invalid_access_key: 'authentication',
  expired_access_key: 'authentication',
  jwt_verification: 'authentication',
  invalid_query_payload: 'authentication',
  nonce_used: 'authentication',
  no_authorization_token: 'authentication',
  no_authorization_ip: 'permission',
  out_of_scope: 'permission',
  order_not_found: 'order_not_found',
  invalid_market: 'bad_symbol',
  market_does_not_exist: 'bad_symbol',
  too_many_requests: 'rate_limited'
}

const PUBLIC = [{ limit: 'public', weight: 1 }]
const PRIVATE = [{ limit: 'private', weight: 1 }]

/** A client for an exchange of this dialect: spot, prices of the KRW markets, no testnet, no server time of its own. */
export class DialectClient implements ExchangeClient {
  readonly exchange: ExchangeName
  readonly marketType = 'SPOT'
  readonly isTestnet = false
  readonly #dialect: Dialect
  readonly #context: AdapterContext
  readonly #host: ExchangeHost

  constructor(context: AdapterContext, dialect: Dialect) {
    this.exchange = dialect.exchange
    this.#dialect = dialect
    this.#context = context
    this.#host = context.gateway.host({
      baseUrl: context.baseUrl,
      limits: [
        { name: 'public', scope: 'address', ...dialect.limits.public },
        { name: 'private', scope: 'key', ...dialect.limits.private }
      ],
      refusalOf: answer => refusalIn(answer, dialect),
      clock: {
        operation: 'serverTime',
        path: '/v1/ticker',
        query: queryOf({ markets: 'KRW-BTC' }),
        costs: PUBLIC,
        read: dateOf
      }
    })
  }

  async lastPrices(options?: CallOptions): Promise<Price[]> {
    let prices: Price[] = []
    const { path, query, reader } = this.#dialect.prices
    const rows = () => {
      prices = []
      return reader((market, text, at) => {
        const price = tickerPrice(text)
        if (price !== null && MARKET.test(market))
          prices.push({ symbol: symbolOfMarket(market), exchangeSymbol: market, price, at })
      })
    }
    return await this.#host.call(
      { operation: 'lastPrices', path, query, costs: PUBLIC, rows, read: () => prices },
      options
    )
  }

  async order(ref: OrderRef, options?: CallOptions): Promise<UnifiedOrder> {
    parsing(this.exchange, 'order', () => symbolOfMarket(ref.exchangeSymbol))
    const query = queryOf({ uuid: ref.exchangeOrderId })
    return await this.#read('order', '/v1/order', query, body => parseTokenOrder(recordOf(body, 'the order')), options)
  }

  async openOrders(options?: CallOptions): Promise<UnifiedOrder[]> {
    const orders: UnifiedOrder[] = []
    for (let page = 1; page <= MAX_PAGES; page++) {
      // The brackets stay as they are: what is hashed must be what is sent.
      const query = `states[]=wait&states[]=watch&page=${page}&limit=${ORDERS_PER_PAGE}&order_by=asc`
      const read = (body: unknown) => rowsOf(body, 'open orders')
      const rows = await this.#read('openOrders', this.#dialect.openOrdersPath, query, read, options)
      orders.push(...parsing(this.exchange, 'openOrders', () => supportedOnly(rows, parseTokenOrder)))
      if (rows.length < ORDERS_PER_PAGE) return orders
    }
    return endlessList(this.exchange, 'openOrders')
  }

  async fills(ref: OrderRef, options?: CallOptions): Promise<Fill[]> {
    parsing(this.exchange, 'fills', () => symbolOfMarket(ref.exchangeSymbol))
    const query = queryOf({ uuid: ref.exchangeOrderId })
    return await this.#read('fills', '/v1/order', query, body => parseTokenFills(recordOf(body, 'the order')), options)
  }

  async balances(options?: CallOptions): Promise<Balance[]> {
    return await this.#read('balances', '/v1/accounts', '', parseTokenBalances, options)
  }

  async positions(): Promise<Position[]> {
    return []
  }

  async serverTime(options?: CallOptions): Promise<Millis> {
    return await this.#host.serverTime(options)
  }

  async #read<T>(
    operation: string,
    path: string,
    query: string,
    parse: (body: unknown) => T,
    options: CallOptions | undefined
  ): Promise<T> {
    const credentials = credentialsOf(this.#context, operation)
    const claims = (at: Millis) => (this.#dialect.timestamped ? { timestamp: at } : {})
    const call: ReadCall<T> = {
      operation,
      path,
      costs: PRIVATE,
      budgetKey: credentials.apiKey,
      sign: at => signWithToken(query, credentials, randomUUID(), claims(at)),
      read: ({ body }) => parsing(this.exchange, operation, () => parse(body))
    }
    return await this.#host.call(call, options)
  }
}

/**
 * A bearer token, HS256, over claims in this order: `access_key`, `nonce`, then what `extra` holds, then the SHA-512 of
 * the query when there is one.
 *
 * @param query as it is sent, brackets unencoded: the exchange hashes the decoded text
 * @param nonce never used before, a UUID
 */
export function signWithToken(
  query: string,
  { apiKey, apiSecret }: Credentials,
  nonce: string,
  extra: Readonly<Record<string, number>> = {}
): SignedParts {
  const hash =
    query === '' ? {} : { query_hash: createHash('sha512').update(query).digest('hex'), query_hash_alg: 'SHA512' }
  const claims = Buffer.from(JSON.stringify({ access_key: apiKey, nonce, ...extra, ...hash })).toString('base64url')
  const signature = hmacSha256(apiSecret, `${HEADER}.${claims}`, 'base64url')
  return { query, headers: { authorization: `Bearer ${HEADER}.${claims}.${signature}` } }
}

/** `KRW-BTC` → `BTCKRW`. @throws UnsupportedSymbol */
export function symbolOfMarket(market: string): string {
  const [, quote, base] = MARKET.exec(market) ?? []
  if (quote === undefined || base === undefined) throw new UnsupportedSymbol('this is not a spot market')
  return `${base}${quote}`
}

/** @throws UnreadableAnswer @throws UnsupportedSymbol */
export function parseTokenOrder(row: JsonRecord): UnifiedOrder {
  const exchangeSymbol = textOf(row, 'market')
  const kind = textOf(row, 'ord_type')
  const side = sideOf(row)
  const filledQuantity = decimalOf(row, 'executed_volume')
  // A market buy names the amount to spend, in `price`, and no volume.
  const spends = kind === 'price' || (kind === 'best' && side === 'BUY')
  return {
    exchangeOrderId: textOf(row, 'uuid'),
    clientOrderId: optionalText(row, 'identifier'),
    symbol: symbolOfMarket(exchangeSymbol),
    exchangeSymbol,
    side,
    positionSide: 'BOTH',
    orderType: kind === 'price' ? 'MARKET' : kind.toUpperCase(),
    price: spends ? null : priceOf(row, 'price'),
    stopPrice: null,
    quantity: spends ? null : priceOf(row, 'volume'),
    filledQuantity,
    averagePrice: averageOf(row, filledQuantity),
    status: stateOf(textOf(row, 'state'), spends, filledQuantity),
    createdAt: optionalTime(row, 'created_at'),
    updatedAt: null
  }
}

/**
 * The executions that an order's answer holds, oldest first. A trade without a fee of its own gets its share of the
 * order's paid fee, by what it moved; the last one the remainder, so that the sum is exact.
 *
 * @throws UnreadableAnswer @throws UnsupportedSymbol
 */
export function parseTokenFills(order: JsonRecord): Fill[] {
  if (order.trades === undefined || order.trades === null) return []
  const trades = rowsOf(order.trades, 'trades')
  const exchangeSymbol = textOf(order, 'market')
  const symbol = symbolOfMarket(exchangeSymbol)
  const side = sideOf(order)
  const fees = feesOf(order, trades, side)
  const fills = trades.map((trade, index): Fill => {
    const executedAt = optionalTime(trade, 'created_at')
    if (executedAt === null) throw new UnreadableAnswer('created_at is missing')
    const fee = fees[index] ?? null
    return {
      exchangeTradeId: textOf(trade, 'uuid'),
      exchangeOrderId: textOf(order, 'uuid'),
      symbol,
      exchangeSymbol,
      side,
      positionSide: 'BOTH',
      price: decimalOf(trade, 'price'),
      quantity: decimalOf(trade, 'volume'),
      fee,
      feeAsset: fee === null ? null : (exchangeSymbol.split('-')[0] ?? null),
      realizedPnl: null,
      executedAt
    }
  })
  return fills.sort((a, b) => a.executedAt - b.executedAt)
}

/** @throws UnreadableAnswer */
export function parseTokenBalances(body: unknown): Balance[] {
  return rowsOf(body, 'balances').flatMap(row => {
    const free = decimalOf(row, 'balance')
    const locked = decimalOf(row, 'locked')
    if (isZero(free) && isZero(locked)) return []
    return { asset: textOf(row, 'currency'), free, locked, total: new Exact(free).plus(locked).toFixed() }
  })
}

function refusalIn(answer: Answer, { refusals, clockRefusal, hiddenRefusalOf }: Dialect): Refusal | null {
  if (answer.status === 200) return hiddenRefusalOf?.(answer) ?? null
  const error = isRecord(answer.body) ? answer.body.error : undefined
  const exchangeCode = isRecord(error) ? optionalText(error, 'name') : null
  const code = exchangeCode === null ? undefined : refusals[exchangeCode]
  return code === undefined ? null : { code, exchangeCode, clock: exchangeCode === clockRefusal }
}

/** The time in the Date header, which counts whole seconds: the middle of that second. */
function dateOf({ header }: Answer): Millis {
  const second = Date.parse(header('date') ?? '')
  if (Number.isNaN(second)) throw new UnreadableAnswer('the answer bears no date')
  return second + HALF_A_SECOND
}

function sideOf(row: JsonRecord): OrderSide {
  const side = textOf(row, 'side')
  if (side !== 'bid' && side !== 'ask') throw new UnreadableAnswer('side is neither bid nor ask')
  return side === 'bid' ? 'BUY' : 'SELL'
}

function stateOf(state: string, spends: boolean, filledQuantity: Decimal): OrderState {
  const filled = !isZero(filledQuantity)
  if (state === 'watch') return 'open'
  if (state === 'wait') return filled ? 'partially_filled' : 'open'
  if (state === 'done') return filled ? 'filled' : 'canceled'
  // A market buy is never filled to the last won: what cannot buy a unit more is given back, and the state says cancel.
  if (state === 'cancel') return spends && filled ? 'filled' : 'canceled'
  throw new UnreadableAnswer('state is not a known state')
}

function averageOf(order: JsonRecord, filledQuantity: Decimal): Decimal | null {
  if (isZero(filledQuantity)) return null
  const trades = order.trades === undefined || order.trades === null ? [] : rowsOf(order.trades, 'trades')
  if (trades.length === 0) {
    const funds = optionalDecimal(order, 'executed_funds')
    return funds === null ? null : new Exact(funds).div(filledQuantity).toFixed()
  }
  const volume = trades.reduce((sum, trade) => sum.plus(decimalOf(trade, 'volume')), new Exact(0))
  return volume.eq(0)
    ? null
    : trades
        .reduce((sum, trade) => sum.plus(fundsOf(trade)), new Exact(0))
        .div(volume)
        .toFixed()
}

function fundsOf(trade: JsonRecord): Decimal {
  return (
    optionalDecimal(trade, 'funds') ?? new Exact(decimalOf(trade, 'price')).times(decimalOf(trade, 'volume')).toFixed()
  )
}

function feesOf(order: JsonRecord, trades: readonly JsonRecord[], side: OrderSide): (Decimal | null)[] {
  const own = trades.map(trade => optionalDecimal(trade, side === 'BUY' ? 'bid_fee' : 'ask_fee'))
  if (own.every(fee => fee !== null)) return own
  const paid = optionalDecimal(order, 'paid_fee')
  if (paid === null) return own
  const all = trades.reduce((sum, trade) => sum.plus(fundsOf(trade)), new Exact(0))
  if (all.eq(0)) return own
  let rest = new Exact(paid)
  return trades.map((trade, index) => {
    if (index === trades.length - 1) return rest.toFixed()
    const share = new Exact(paid).times(fundsOf(trade)).div(all).round(16)
    rest = rest.minus(share)
    return share.toFixed()
  })
}
