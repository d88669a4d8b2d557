// @FEAT:exchanges @COMP:service @TYPE:integration

import { MINUTE, SECOND } from '../../async/durations.ts'
import type { Balance } from '../../domain/balance.ts'
import { Exact, isZero } from '../../domain/decimal.ts'
import type { Fill } from '../../domain/fill.ts'
import type { MarketType, Price } from '../../domain/market.ts'
import type { Millis } from '../../domain/millis.ts'
import type { OrderRef, OrderSide, OrderState, UnifiedOrder } from '../../domain/order.ts'
import type { Position, PositionSide } from '../../domain/position.ts'
import type { CallOptions, Credentials, ExchangeClient } from '../exchange-client.ts'
import { ExchangeError } from '../exchange-error.ts'
import {
  decimalOf,
  isRecord,
  type JsonRecord,
  millisOf,
  optionalDecimal,
  optionalMillis,
  optionalText,
  priceOf,
  recordOf,
  rowsOf,
  textOf,
  toMillis,
  UnreadableAnswer
} from '../http/answer-fields.ts'
import type { Answer, ExchangeHost, ReadCall, Refusal, SignedParts } from '../http/exchange-gateway.ts'
import type { RateLimit } from '../http/rate-budget.ts'
import { RowReader } from '../http/row-reader.ts'
import {
  type AdapterContext,
  credentialsOf,
  hmacSha256,
  parsing,
  queryOf,
  supportedOnly,
  tickerPrice,
  UnsupportedSymbol
} from './adapter.ts'

const RECV_WINDOW_MS = 10 * SECOND
const FILLS_PER_PAGE = 1_000
const MAX_FILL_PAGES = 20
/** A firewall's 403 names no time; Binance asks to back off. */
const FIREWALL_PENALTY_MS = MINUTE

/** Binance counts weight per address and minute, apart for spot and futures; reads have no limit per key. */
const LIMITS: Record<MarketType, RateLimit> = {
  SPOT: { name: 'weight', weight: 6_000, perMs: MINUTE, scope: 'address' },
  FUTURES: { name: 'weight', weight: 2_400, perMs: MINUTE, scope: 'address' }
}

interface Route {
  path: string
  weight: number
}

const ROUTES = {
  SPOT: {
    time: { path: '/api/v3/time', weight: 1 },
    prices: { path: '/api/v3/ticker/price', weight: 4 },
    order: { path: '/api/v3/order', weight: 4 },
    openOrders: { path: '/api/v3/openOrders', weight: 80 },
    fills: { path: '/api/v3/myTrades', weight: 20 },
    balances: { path: '/api/v3/account', weight: 20 }
  },
  FUTURES: {
    time: { path: '/fapi/v1/time', weight: 1 },
    prices: { path: '/fapi/v2/ticker/price', weight: 2 },
    order: { path: '/fapi/v1/order', weight: 1 },
    openOrders: { path: '/fapi/v1/openOrders', weight: 40 },
    fills: { path: '/fapi/v1/userTrades', weight: 5 },
    balances: { path: '/fapi/v3/balance', weight: 5 }
  }
} as const satisfies Record<MarketType, Record<string, Route>>
const POSITIONS: Route = { path: '/fapi/v3/positionRisk', weight: 5 }
/** Since December 2025 conditional futures orders live here, under ids of their own. */
const ALGO_ORDER: Route = { path: '/fapi/v1/algoOrder', weight: 1 }
const OPEN_ALGO_ORDERS: Route = { path: '/fapi/v1/openAlgoOrders', weight: 40 }
const CONDITIONAL = /STOP|TAKE_PROFIT|TRAILING/

const STATES: Readonly<Record<string, OrderState>> = {
  NEW: 'open',
  PENDING_NEW: 'open',
  PENDING_CANCEL: 'open',
  NEW_INSURANCE: 'open',
  NEW_ADL: 'open',
  PARTIALLY_FILLED: 'partially_filled',
  FILLED: 'filled',
  CANCELED: 'canceled',
  REJECTED: 'rejected',
  EXPIRED: 'expired',
  EXPIRED_IN_MATCH: 'expired'
}

/** States of an algo order; one that was triggered has become an ordinary order, whose state counts. */
const ALGO_STATES: Readonly<Record<string, OrderState>> = {
  NEW: 'open',
  TRIGGERING: 'open',
  TRIGGERED: 'open',
  FINISHED: 'open',
  CANCELED: 'canceled',
  REJECTED: 'rejected',
  EXPIRED: 'expired'
}

/** Spot and USD-M futures. Coin-margined and dated contracts are refused. */
export class BinanceClient implements ExchangeClient {
  readonly exchange = 'BINANCE'
  readonly marketType: MarketType
  readonly isTestnet: boolean
  readonly #context: AdapterContext
  readonly #host: ExchangeHost

  constructor(context: AdapterContext) {
    this.marketType = context.marketType
    this.isTestnet = context.isTestnet
    this.#context = context
    const { time } = ROUTES[context.marketType]
    this.#host = context.gateway.host({
      // Spot and futures count apart, even behind one proxy.
      id: `${context.baseUrl} ${context.marketType}`,
      baseUrl: context.baseUrl,
      limits: [LIMITS[context.marketType]],
      refusalOf: binanceRefusal,
      usage: { header: 'x-mbx-used-weight-1m', limit: 'weight' },
      clock: {
        operation: 'serverTime',
        path: time.path,
        costs: [{ limit: 'weight', weight: time.weight }],
        read: ({ body }) => millisOf(recordOf(body, 'the answer'), 'serverTime')
      }
    })
  }

  async lastPrices(options?: CallOptions): Promise<Price[]> {
    let prices: Price[] = []
    const { path, weight } = ROUTES[this.marketType].prices
    return await this.#host.call(
      {
        operation: 'lastPrices',
        path,
        costs: [{ limit: 'weight', weight }],
        rows: () => {
          prices = []
          return new RowReader(['symbol', 'price', 'time'], ([own, text, time]) => {
            const price = tickerPrice(text)
            const symbol = own ? unifiedSymbol(own) : null
            if (!own || symbol === null || price === null) return
            prices.push({ symbol, exchangeSymbol: own, price, at: time ? toMillis(time, 'time') : null })
          })
        },
        read: () => prices
      },
      options
    )
  }

  async order(ref: OrderRef, options?: CallOptions): Promise<UnifiedOrder> {
    parsing(this.exchange, 'order', () => supportedSymbol(ref.exchangeSymbol))
    if (this.marketType === 'FUTURES' && CONDITIONAL.test(ref.orderType ?? '')) {
      const conditional = await this.#algoOrder(ref, options)
      if (conditional !== null) return conditional
    }
    return await this.#order(ref, options)
  }

  async openOrders(options?: CallOptions): Promise<UnifiedOrder[]> {
    const plain = this.#read(
      'openOrders',
      ROUTES[this.marketType].openOrders,
      {},
      body => supportedOnly(rowsOf(body, 'open orders'), row => parseBinanceOrder(row, this.marketType)),
      options
    )
    if (this.marketType === 'SPOT') return await plain
    const conditional = this.#read(
      'openOrders',
      OPEN_ALGO_ORDERS,
      {},
      body => supportedOnly(rowsOf(body, 'open algo orders'), parseBinanceAlgoOrder),
      options
    )
    return (await Promise.all([plain, conditional])).flat()
  }

  async fills(ref: OrderRef, options?: CallOptions): Promise<Fill[]> {
    parsing(this.exchange, 'fills', () => supportedSymbol(ref.exchangeSymbol))
    const orderId = await this.#executedOrderId(ref, options)
    if (orderId === null) return []
    const fills: Fill[] = []
    let fromId: string | undefined
    for (let page = 0; page < MAX_FILL_PAGES; page++) {
      const found = await this.#read(
        'fills',
        ROUTES[this.marketType].fills,
        { symbol: ref.exchangeSymbol, orderId, fromId, limit: FILLS_PER_PAGE },
        body => rowsOf(body, 'fills').map(row => parseBinanceFill(row, this.marketType)),
        options
      )
      fills.push(...found.filter(fill => fill.exchangeOrderId === orderId))
      const last = found.at(-1)
      if (last === undefined || found.length < FILLS_PER_PAGE) break
      fromId = String(BigInt(last.exchangeTradeId) + 1n)
    }
    return fills.map(fill => ({ ...fill, exchangeOrderId: ref.exchangeOrderId }))
  }

  async balances(options?: CallOptions): Promise<Balance[]> {
    const query = this.marketType === 'SPOT' ? { omitZeroBalances: 'true' } : {}
    const parse = this.marketType === 'SPOT' ? parseBinanceSpotBalances : parseBinanceFuturesBalances
    return await this.#read('balances', ROUTES[this.marketType].balances, query, parse, options)
  }

  async positions(options?: CallOptions): Promise<Position[]> {
    if (this.marketType === 'SPOT') return []
    return await this.#read(
      'positions',
      POSITIONS,
      {},
      body => supportedOnly(rowsOf(body, 'positions'), parseBinancePosition),
      options
    )
  }

  async serverTime(options?: CallOptions): Promise<Millis> {
    return await this.#host.serverTime(options)
  }

  async #order(ref: OrderRef, options: CallOptions | undefined): Promise<UnifiedOrder> {
    return await this.#read(
      'order',
      ROUTES[this.marketType].order,
      { symbol: ref.exchangeSymbol, orderId: ref.exchangeOrderId },
      body => parseBinanceOrder(recordOf(body, 'the order'), this.marketType),
      options
    )
  }

  /** A conditional order; once triggered, the order that it became, under the id it was placed with. */
  async #algoOrder(ref: OrderRef, options: CallOptions | undefined): Promise<UnifiedOrder | null> {
    const row = await this.#algoRow(ref, options)
    if (row === null) return null
    const placed = parsing(this.exchange, 'order', () => parseBinanceAlgoOrder(row))
    const becameId = becameOf(row)
    if (becameId === null) return placed
    const actual = await this.#order({ ...ref, exchangeOrderId: becameId }, options)
    const { exchangeOrderId, orderType, stopPrice } = placed
    return { ...actual, exchangeOrderId, orderType, stopPrice }
  }

  /** Null when no conditional order has this id and symbol. */
  async #algoRow(ref: OrderRef, options: CallOptions | undefined): Promise<JsonRecord | null> {
    try {
      const query = { algoId: ref.exchangeOrderId }
      const row = await this.#read('order', ALGO_ORDER, query, body => recordOf(body, 'the order'), options)
      return optionalText(row, 'symbol') === ref.exchangeSymbol ? row : null
    } catch (err) {
      if (err instanceof ExchangeError && err.code === 'order_not_found') return null
      throw err
    }
  }

  /** The id under which an order trades; null for a conditional one that was not triggered. */
  async #executedOrderId(ref: OrderRef, options: CallOptions | undefined): Promise<string | null> {
    if (this.marketType === 'SPOT' || !CONDITIONAL.test(ref.orderType ?? '')) return ref.exchangeOrderId
    const row = await this.#algoRow(ref, options)
    return row === null ? ref.exchangeOrderId : becameOf(row)
  }

  async #read<T>(
    operation: string,
    { path, weight }: Route,
    query: Readonly<Record<string, string | number | undefined>>,
    parse: (body: unknown) => T,
    options: CallOptions | undefined
  ): Promise<T> {
    const credentials = credentialsOf(this.#context, operation)
    const call: ReadCall<T> = {
      operation,
      path,
      costs: [{ limit: 'weight', weight }],
      sign: at => signBinance(queryOf({ ...query, recvWindow: RECV_WINDOW_MS, timestamp: at }), credentials),
      read: ({ body }) => parsing(this.exchange, operation, () => parse(body))
    }
    return await this.#host.call(call, options)
  }
}

/** Signs a query that holds `timestamp`: hex HMAC-SHA256 of the query string, appended to it. */
export function signBinance(query: string, { apiKey, apiSecret }: Credentials): SignedParts {
  return {
    query: `${query}&signature=${hmacSha256(apiSecret, query, 'hex')}`,
    headers: { 'x-mbx-apikey': apiKey }
  }
}

/**
 * An order in any of Binance's spellings: queried, listed, or as the answer to its creation.
 *
 * @throws UnreadableAnswer
 * @throws UnsupportedSymbol for coin-margined and dated contracts
 */
export function parseBinanceOrder(row: JsonRecord, marketType: MarketType): UnifiedOrder {
  const exchangeSymbol = textOf(row, 'symbol')
  const filledQuantity = decimalOf(row, 'executedQty')
  return {
    exchangeOrderId: textOf(row, 'orderId'),
    clientOrderId: optionalText(row, 'clientOrderId'),
    symbol: supportedSymbol(exchangeSymbol),
    exchangeSymbol,
    side: sideOf(row),
    positionSide: marketType === 'SPOT' ? 'BOTH' : positionSideOf(row),
    orderType: textOf(row, 'type'),
    price: priceOf(row, 'price'),
    stopPrice: priceOf(row, 'stopPrice'),
    quantity: priceOf(row, 'origQty'),
    filledQuantity,
    averagePrice: marketType === 'SPOT' ? spotAverage(row, filledQuantity) : priceOf(row, 'avgPrice'),
    status: stateOf(row, 'status', STATES),
    createdAt: optionalMillis(row, 'time') ?? optionalMillis(row, 'transactTime'),
    updatedAt: optionalMillis(row, 'updateTime') ?? optionalMillis(row, 'transactTime')
  }
}

/**
 * A conditional futures order as it was placed.
 *
 * @throws UnreadableAnswer @throws UnsupportedSymbol
 */
export function parseBinanceAlgoOrder(row: JsonRecord): UnifiedOrder {
  const exchangeSymbol = textOf(row, 'symbol')
  return {
    exchangeOrderId: textOf(row, 'algoId'),
    clientOrderId: optionalText(row, 'clientAlgoId'),
    symbol: supportedSymbol(exchangeSymbol),
    exchangeSymbol,
    side: sideOf(row),
    positionSide: positionSideOf(row),
    orderType: textOf(row, 'orderType'),
    price: priceOf(row, 'price'),
    stopPrice: priceOf(row, 'triggerPrice'),
    quantity: priceOf(row, 'quantity'),
    filledQuantity: '0',
    averagePrice: null,
    status: stateOf(row, 'algoStatus', ALGO_STATES),
    createdAt: optionalMillis(row, 'createTime'),
    updatedAt: optionalMillis(row, 'updateTime')
  }
}

/** @throws UnreadableAnswer @throws UnsupportedSymbol */
export function parseBinanceFill(row: JsonRecord, marketType: MarketType): Fill {
  const exchangeSymbol = textOf(row, 'symbol')
  return {
    exchangeTradeId: textOf(row, 'id'),
    exchangeOrderId: textOf(row, 'orderId'),
    symbol: supportedSymbol(exchangeSymbol),
    exchangeSymbol,
    side: marketType === 'SPOT' ? spotSide(row) : sideOf(row),
    positionSide: marketType === 'SPOT' ? 'BOTH' : positionSideOf(row),
    price: decimalOf(row, 'price'),
    quantity: decimalOf(row, 'qty'),
    fee: optionalDecimal(row, 'commission'),
    feeAsset: optionalText(row, 'commissionAsset'),
    realizedPnl: marketType === 'SPOT' ? null : optionalDecimal(row, 'realizedPnl'),
    executedAt: millisOf(row, 'time')
  }
}

/** @throws UnreadableAnswer */
export function parseBinanceSpotBalances(body: unknown): Balance[] {
  return rowsOf(recordOf(body, 'the account').balances, 'balances').flatMap(row => {
    const free = decimalOf(row, 'free')
    const locked = decimalOf(row, 'locked')
    if (isZero(free) && isZero(locked)) return []
    return { asset: textOf(row, 'asset'), free, locked, total: new Exact(free).plus(locked).toFixed() }
  })
}

/** Wallet balances; with several assets as margin more can be free than one of them holds, then all of it is. */
export function parseBinanceFuturesBalances(body: unknown): Balance[] {
  return rowsOf(body, 'balances').flatMap(row => {
    const total = decimalOf(row, 'balance')
    if (isZero(total)) return []
    const available = decimalOf(row, 'availableBalance')
    const free = new Exact(available).gt(total) ? total : available
    return { asset: textOf(row, 'asset'), free, locked: new Exact(total).minus(free).toFixed(), total }
  })
}

/** Null for a flat position. @throws UnreadableAnswer @throws UnsupportedSymbol */
export function parseBinancePosition(row: JsonRecord): Position | null {
  const quantity = decimalOf(row, 'positionAmt')
  if (isZero(quantity)) return null
  const exchangeSymbol = textOf(row, 'symbol')
  return {
    symbol: supportedSymbol(exchangeSymbol),
    exchangeSymbol,
    positionSide: positionSideOf(row),
    quantity,
    entryPrice: priceOf(row, 'entryPrice'),
    markPrice: priceOf(row, 'markPrice'),
    unrealizedPnl: optionalDecimal(row, 'unRealizedProfit'),
    updatedAt: optionalMillis(row, 'updateTime')
  }
}

const REFUSALS: Readonly<Record<string, Refusal['code']>> = {
  '-1000': 'unavailable',
  '-1001': 'unavailable',
  '-1002': 'authentication',
  '-1003': 'rate_limited',
  '-1007': 'timeout',
  '-1008': 'unavailable',
  '-1015': 'rate_limited',
  '-1021': 'authentication',
  '-1022': 'authentication',
  '-1099': 'authentication',
  '-1121': 'bad_symbol',
  '-2008': 'authentication',
  '-2013': 'order_not_found',
  '-2014': 'authentication',
  '-2015': 'authentication'
}

function binanceRefusal({ status, body }: Answer): Refusal | null {
  if (status === 200) return null
  if (status === 403) return { code: 'rate_limited', exchangeCode: '403', retryAfterMs: FIREWALL_PENALTY_MS }
  const exchangeCode = isRecord(body) ? optionalText(body, 'code') : null
  const code = exchangeCode === null ? undefined : REFUSALS[exchangeCode]
  if (code === undefined || status === 418) return null
  return { code, exchangeCode, clock: exchangeCode === '-1021' }
}

/** The ordinary order that a conditional one became. */
function becameOf(row: JsonRecord): string | null {
  const id = optionalText(row, 'actualOrderId')
  return id === '0' ? null : id
}

function unifiedSymbol(own: string): string | null {
  return /^[\p{L}\p{N}]{2,40}$/u.test(own) ? own : null
}

function supportedSymbol(own: string): string {
  const symbol = unifiedSymbol(own)
  if (symbol !== null) return symbol
  throw new UnsupportedSymbol('coin-margined and dated contracts are not supported, only linear perpetuals')
}

function stateOf(row: JsonRecord, field: string, states: Readonly<Record<string, OrderState>>): OrderState {
  const state = states[textOf(row, field)]
  if (state === undefined) throw new UnreadableAnswer(`${field} is not a known state`)
  return state
}

function sideOf(row: JsonRecord): OrderSide {
  const side = textOf(row, 'side')
  if (side !== 'BUY' && side !== 'SELL') throw new UnreadableAnswer('side is neither BUY nor SELL')
  return side
}

function spotSide(row: JsonRecord): OrderSide {
  return textOf(row, 'isBuyer') === 'true' ? 'BUY' : 'SELL'
}

function positionSideOf(row: JsonRecord): PositionSide {
  const side = optionalText(row, 'positionSide') ?? 'BOTH'
  if (side !== 'BOTH' && side !== 'LONG' && side !== 'SHORT') throw new UnreadableAnswer('positionSide is unknown')
  return side
}

function spotAverage(row: JsonRecord, filledQuantity: string): string | null {
  const cost = priceOf(row, 'cummulativeQuoteQty')
  // Below zero it is Binance's word for "not known", on very old orders.
  if (cost === null || cost.startsWith('-') || isZero(filledQuantity)) return null
  return new Exact(cost).div(filledQuantity).toFixed()
}
