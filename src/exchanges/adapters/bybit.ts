// @FEAT:exchanges @COMP:service @TYPE:integration

import { SECOND } from '../../async/durations.ts'
import type { Balance } from '../../domain/balance.ts'
import { Exact, isZero, negated } from '../../domain/decimal.ts'
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
  UnreadableAnswer
} from '../http/answer-fields.ts'
import type { Answer, ExchangeHost, ReadCall, Refusal, SignedParts } from '../http/exchange-gateway.ts'
import type { RateLimit } from '../http/rate-budget.ts'
import { RowReader } from '../http/row-reader.ts'
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

const RECV_WINDOW_MS = 5 * SECOND
/** A 403 means too many calls from our address; it names no time. */
const ADDRESS_PENALTY_MS = 60 * SECOND

const LIMITS: readonly RateLimit[] = [
  { name: 'address', weight: 600, perMs: 5 * SECOND, scope: 'address' },
  { name: 'key', weight: 20, perMs: SECOND, scope: 'key' }
]
const PUBLIC = [{ limit: 'address', weight: 1 }]
const PRIVATE = [...PUBLIC, { limit: 'key', weight: 1 }]

const CATEGORY: Readonly<Record<MarketType, string>> = { SPOT: 'spot', FUTURES: 'linear' }
/** Linear lists must name a symbol or a coin of settlement; these are all there are. */
const SETTLE_COINS: Readonly<Record<MarketType, readonly (string | undefined)[]>> = {
  SPOT: [undefined],
  FUTURES: ['USDT', 'USDC']
}

const STATES: Readonly<Record<string, OrderState>> = {
  Created: 'open',
  New: 'open',
  Active: 'open',
  Untriggered: 'open',
  Triggered: 'open',
  PartiallyFilled: 'partially_filled',
  Filled: 'filled',
  Cancelled: 'canceled',
  PartiallyFilledCanceled: 'canceled',
  Deactivated: 'canceled',
  Rejected: 'rejected'
}

const POSITION_SIDES: Readonly<Record<string, PositionSide>> = { '0': 'BOTH', '1': 'LONG', '2': 'SHORT' }
/** Kinds of executions that trade; the others settle funding or deliver. */
const TRADES: ReadonlySet<string> = new Set(['Trade', 'AdlTrade', 'BustTrade'])

/** API v5: spot and linear perpetuals on a unified account. Inverse and dated contracts are refused. */
export class BybitClient implements ExchangeClient {
  readonly exchange = 'BYBIT'
  readonly marketType: MarketType
  readonly isTestnet: boolean
  readonly #context: AdapterContext
  readonly #host: ExchangeHost

  constructor(context: AdapterContext) {
    this.marketType = context.marketType
    this.isTestnet = context.isTestnet
    this.#context = context
    this.#host = context.gateway.host({
      baseUrl: context.baseUrl,
      limits: LIMITS,
      refusalOf: bybitRefusal,
      clock: {
        operation: 'serverTime',
        path: '/v5/market/time',
        costs: PUBLIC,
        read: ({ body }) => millisOf(recordOf(body, 'the answer'), 'time')
      }
    })
  }

  async lastPrices(options?: CallOptions): Promise<Price[]> {
    let prices: Price[] = []
    return await this.#host.call(
      {
        operation: 'lastPrices',
        path: '/v5/market/tickers',
        query: queryOf({ category: CATEGORY[this.marketType] }),
        costs: PUBLIC,
        rows: () => {
          prices = []
          return new RowReader(['symbol', 'lastPrice'], ([own, text]) => {
            const price = tickerPrice(text)
            const symbol = own ? unifiedSymbol(own, this.marketType) : null
            if (own && symbol !== null && price !== null) prices.push({ symbol, exchangeSymbol: own, price, at: null })
          })
        },
        read: ({ body }) => {
          const at = optionalMillis(recordOf(body, 'the answer'), 'time')
          for (const price of prices) price.at = at
          return prices
        }
      },
      options
    )
  }

  async order(ref: OrderRef, options?: CallOptions): Promise<UnifiedOrder> {
    parsing(this.exchange, 'order', () => supportedSymbol(ref.exchangeSymbol, this.marketType))
    const query = { category: CATEGORY[this.marketType], orderId: ref.exchangeOrderId }
    // The first holds open orders and a few hundred of the last ended ones, the second a window of older ones.
    for (const path of ['/v5/order/realtime', '/v5/order/history']) {
      const order = await this.#read(
        'order',
        path,
        queryOf(query),
        result => {
          const row = listOf(result).find(candidate => candidate.orderId === ref.exchangeOrderId)
          return row === undefined ? null : parseBybitOrder(row, this.marketType)
        },
        options
      )
      if (order !== null) return order
    }
    throw new ExchangeError('order_not_found', { exchange: this.exchange, operation: 'order' })
  }

  async openOrders(options?: CallOptions): Promise<UnifiedOrder[]> {
    const query = { category: CATEGORY[this.marketType], openOnly: 0, limit: 50 }
    const rows = await this.#list('openOrders', '/v5/order/realtime', query, SETTLE_COINS[this.marketType], options)
    const orders = parsing(this.exchange, 'openOrders', () =>
      supportedOnly(rows, row => parseBybitOrder(row, this.marketType))
    )
    // The list holds orders that ended a moment ago, too.
    return orders.filter(({ status }) => status === 'open' || status === 'partially_filled')
  }

  async fills(ref: OrderRef, options?: CallOptions): Promise<Fill[]> {
    parsing(this.exchange, 'fills', () => supportedSymbol(ref.exchangeSymbol, this.marketType))
    const query = { category: CATEGORY[this.marketType], orderId: ref.exchangeOrderId, limit: 100 }
    const rows = await this.#list('fills', '/v5/execution/list', query, [undefined], options)
    return parsing(this.exchange, 'fills', () =>
      rows
        .filter(row => row.orderId === ref.exchangeOrderId && TRADES.has(optionalText(row, 'execType') ?? 'Trade'))
        .map(row => parseBybitFill(row, this.marketType))
        // They come newest first: those of one millisecond keep their order only when they are turned around before.
        .reverse()
        .sort((a, b) => a.executedAt - b.executedAt)
    )
  }

  async balances(options?: CallOptions): Promise<Balance[]> {
    const query = queryOf({ accountType: 'UNIFIED' })
    return await this.#read('balances', '/v5/account/wallet-balance', query, parseBybitBalances, options)
  }

  async positions(options?: CallOptions): Promise<Position[]> {
    if (this.marketType === 'SPOT') return []
    const query = { category: 'linear', limit: 200 }
    const rows = await this.#list('positions', '/v5/position/list', query, SETTLE_COINS.FUTURES, options)
    return parsing(this.exchange, 'positions', () => supportedOnly(rows, parseBybitPosition))
  }

  async serverTime(options?: CallOptions): Promise<Millis> {
    return await this.#host.serverTime(options)
  }

  async #list(
    operation: string,
    path: string,
    query: Readonly<Record<string, string | number>>,
    settleCoins: readonly (string | undefined)[],
    options: CallOptions | undefined
  ): Promise<JsonRecord[]> {
    const lists = settleCoins.map(settleCoin =>
      this.#pages(operation, path, queryOf({ ...query, settleCoin }), options)
    )
    return (await Promise.all(lists)).flat()
  }

  async #pages(
    operation: string,
    path: string,
    query: string,
    options: CallOptions | undefined
  ): Promise<JsonRecord[]> {
    const rows: JsonRecord[] = []
    let cursor: string | null = null
    for (let page = 0; page < MAX_PAGES; page++) {
      // A cursor comes encoded and goes back as it came.
      const paged: string = cursor === null ? query : `${query}&cursor=${cursor}`
      const read = (result: JsonRecord) => ({ found: listOf(result), next: cursorOf(result) })
      const { found, next } = await this.#read(operation, path, paged, read, options)
      rows.push(...found)
      if (next === null || found.length === 0 || next === cursor) return rows
      cursor = next
    }
    return endlessList(this.exchange, operation)
  }

  async #read<T>(
    operation: string,
    path: string,
    query: string,
    parse: (result: JsonRecord) => T,
    options: CallOptions | undefined
  ): Promise<T> {
    const credentials = credentialsOf(this.#context, operation)
    const call: ReadCall<T> = {
      operation,
      path,
      costs: PRIVATE,
      budgetKey: credentials.apiKey,
      sign: at => signBybit(query, credentials, at, RECV_WINDOW_MS),
      read: ({ body }) =>
        parsing(this.exchange, operation, () => parse(recordOf(recordOf(body, 'the answer').result, 'result')))
    }
    return await this.#host.call(call, options)
  }
}

/** Headers with the hex HMAC-SHA256 of timestamp, key, window and query. */
export function signBybit(
  query: string,
  { apiKey, apiSecret }: Credentials,
  at: Millis,
  recvWindowMs: Millis
): SignedParts {
  return {
    query,
    headers: {
      'x-bapi-api-key': apiKey,
      'x-bapi-timestamp': String(at),
      'x-bapi-recv-window': String(recvWindowMs),
      'x-bapi-sign': hmacSha256(apiSecret, `${at}${apiKey}${recvWindowMs}${query}`, 'hex')
    }
  }
}

/** @throws UnreadableAnswer @throws UnsupportedSymbol */
export function parseBybitOrder(row: JsonRecord, marketType: MarketType): UnifiedOrder {
  const exchangeSymbol = textOf(row, 'symbol')
  const status = STATES[textOf(row, 'orderStatus')]
  if (status === undefined) throw new UnreadableAnswer('orderStatus is not a known state')
  const side = sideOf(row)
  const orderType = textOf(row, 'orderType').toUpperCase()
  const market = orderType === 'MARKET'
  const spends = marketType === 'SPOT' && market && side === 'BUY' && optionalText(row, 'marketUnit') !== 'baseCoin'
  const filledQuantity = decimalOf(row, 'cumExecQty')
  return {
    exchangeOrderId: textOf(row, 'orderId'),
    clientOrderId: optionalText(row, 'orderLinkId'),
    symbol: supportedSymbol(exchangeSymbol, marketType),
    exchangeSymbol,
    side,
    positionSide: positionSideOf(row),
    orderType,
    // A market order bears the price it was bounded by.
    price: market ? null : priceOf(row, 'price'),
    stopPrice: priceOf(row, 'triggerPrice'),
    quantity: spends ? null : priceOf(row, 'qty'),
    filledQuantity,
    averagePrice: isZero(filledQuantity) ? null : priceOf(row, 'avgPrice'),
    status,
    createdAt: optionalMillis(row, 'createdTime'),
    updatedAt: optionalMillis(row, 'updatedTime')
  }
}

/** Bybit does not tell the position side of an execution: it is `BOTH`, the order knows better in hedge mode. */
export function parseBybitFill(row: JsonRecord, marketType: MarketType): Fill {
  const exchangeSymbol = textOf(row, 'symbol')
  const symbol = supportedSymbol(exchangeSymbol, marketType)
  const settled = marketType === 'FUTURES' ? symbol.slice(-4) : null
  return {
    exchangeTradeId: textOf(row, 'execId'),
    exchangeOrderId: textOf(row, 'orderId'),
    symbol,
    exchangeSymbol,
    side: sideOf(row),
    positionSide: 'BOTH',
    price: decimalOf(row, 'execPrice'),
    quantity: decimalOf(row, 'execQty'),
    fee: optionalDecimal(row, 'execFee'),
    feeAsset: optionalText(row, 'feeCurrency') ?? settled,
    realizedPnl: marketType === 'SPOT' ? null : optionalDecimal(row, 'execPnl'),
    executedAt: millisOf(row, 'execTime')
  }
}

/** Wallet balances of a unified account; what orders and positions bind is locked. */
export function parseBybitBalances(result: JsonRecord): Balance[] {
  return listOf(result).flatMap(account =>
    rowsOf(account.coin, 'coin').flatMap(row => {
      const total = decimalOf(row, 'walletBalance')
      if (isZero(total)) return []
      const bound = ['locked', 'totalOrderIM', 'totalPositionIM'].reduce(
        (sum, field) => sum.plus(optionalDecimal(row, field) ?? 0),
        new Exact(0)
      )
      const rest = new Exact(total).minus(bound)
      const free = rest.lt(0) ? new Exact(0) : rest
      return {
        asset: textOf(row, 'coin'),
        free: bound.eq(0) ? total : free.toFixed(),
        locked: bound.eq(0) ? '0' : new Exact(total).minus(free).toFixed(),
        total
      }
    })
  )
}

/** Null for a flat position. @throws UnreadableAnswer @throws UnsupportedSymbol */
export function parseBybitPosition(row: JsonRecord): Position | null {
  const size = decimalOf(row, 'size')
  if (isZero(size)) return null
  const exchangeSymbol = textOf(row, 'symbol')
  return {
    symbol: supportedSymbol(exchangeSymbol, 'FUTURES'),
    exchangeSymbol,
    positionSide: positionSideOf(row),
    quantity: sideOf(row) === 'SELL' ? negated(size) : size,
    entryPrice: priceOf(row, 'avgPrice') ?? priceOf(row, 'entryPrice'),
    markPrice: priceOf(row, 'markPrice'),
    unrealizedPnl: optionalDecimal(row, 'unrealisedPnl'),
    updatedAt: optionalMillis(row, 'updatedTime')
  }
}

const REFUSALS: Readonly<Record<string, Refusal['code']>> = {
  '5004': 'timeout',
  '10000': 'timeout',
  '10002': 'authentication',
  '10003': 'authentication',
  '10004': 'authentication',
  '10005': 'permission',
  '10006': 'rate_limited',
  '10007': 'authentication',
  '10009': 'permission',
  '10010': 'permission',
  '10016': 'timeout',
  '10018': 'rate_limited',
  '10024': 'permission',
  '10029': 'bad_symbol',
  '33004': 'authentication',
  '110001': 'order_not_found',
  '170121': 'bad_symbol',
  '170213': 'order_not_found'
}
const PARAMETER_ERROR = '10001'

function bybitRefusal({ status, body, header }: Answer): Refusal | null {
  const exchangeCode = isRecord(body) ? optionalText(body, 'retCode') : null
  if (exchangeCode === null || !isRecord(body)) {
    return status === 403 ? { code: 'rate_limited', exchangeCode: '403', retryAfterMs: ADDRESS_PENALTY_MS } : null
  }
  if (exchangeCode === '0') return null
  const reset = header('x-bapi-limit-reset-timestamp')
  const retryAfterMs = reset !== null && /^\d{13}$/.test(reset) ? Math.max(SECOND, Number(reset) - Date.now()) : SECOND
  const ofSymbol = exchangeCode === PARAMETER_ERROR && /symbol/i.test(String(body.retMsg))
  const code = ofSymbol ? 'bad_symbol' : (REFUSALS[exchangeCode] ?? 'invalid_answer')
  return { code, exchangeCode, clock: exchangeCode === '10002', retryAfterMs }
}

function listOf(result: JsonRecord): JsonRecord[] {
  return rowsOf(result.list, 'list')
}

function cursorOf(result: JsonRecord): string | null {
  const cursor = optionalText(result, 'nextPageCursor')
  if (cursor !== null && !/^[\w%.:,=-]+$/.test(cursor)) throw new UnreadableAnswer('nextPageCursor is not a cursor')
  return cursor
}

function sideOf(row: JsonRecord): OrderSide {
  const side = textOf(row, 'side')
  if (side !== 'Buy' && side !== 'Sell') throw new UnreadableAnswer('side is neither Buy nor Sell')
  return side === 'Buy' ? 'BUY' : 'SELL'
}

function positionSideOf(row: JsonRecord): PositionSide {
  const side = POSITION_SIDES[optionalText(row, 'positionIdx') ?? '0']
  if (side === undefined) throw new UnreadableAnswer('positionIdx is unknown')
  return side
}

/** Perpetuals settled in USDC are written `BTCPERP`; dated contracts bear a hyphen, inverse ones end in USD. */
function unifiedSymbol(own: string, marketType: MarketType): string | null {
  if (marketType === 'SPOT') return /^[\p{L}\p{N}]{2,40}$/u.test(own) ? own : null
  const [, base] = /^([\p{L}\p{N}]{1,36})PERP$/u.exec(own) ?? []
  if (base !== undefined) return `${base}USDC`
  return /^[\p{L}\p{N}]{1,36}USD[TC]$/u.test(own) ? own : null
}

function supportedSymbol(own: string, marketType: MarketType): string {
  const symbol = unifiedSymbol(own, marketType)
  if (symbol !== null) return symbol
  throw new UnsupportedSymbol('inverse and dated contracts are not supported, only linear perpetuals')
}
