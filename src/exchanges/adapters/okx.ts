// @FEAT:exchanges @COMP:service @TYPE:integration

import { HOUR, MINUTE, SECOND } from '../../async/durations.ts'
import type { Balance } from '../../domain/balance.ts'
import { type Decimal, Exact, isZero, negated, toDecimal } from '../../domain/decimal.ts'
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
  endlessList,
  hmacSha256,
  MAX_PAGES,
  parsing,
  queryOf,
  supportedOnly,
  tickerPrice,
  UnsupportedSymbol
} from './adapter.ts'

/** Contract sizes change only when a contract is listed or redenominated. */
const CONTRACTS_TTL_MS = HOUR
/** An unknown contract may be a new one; nobody asks more often than this. */
const CONTRACTS_MIN_AGE_MS = MINUTE
const ROWS_PER_PAGE = 100

/** OKX counts every route apart: public ones per address, private ones per user. */
const LIMITS: readonly RateLimit[] = [
  { name: 'time', weight: 10, perMs: 2 * SECOND, scope: 'address' },
  { name: 'tickers', weight: 20, perMs: 2 * SECOND, scope: 'address' },
  { name: 'instruments', weight: 20, perMs: 2 * SECOND, scope: 'address' },
  { name: 'order', weight: 60, perMs: 2 * SECOND, scope: 'key' },
  { name: 'orders', weight: 60, perMs: 2 * SECOND, scope: 'key' },
  { name: 'algo', weight: 20, perMs: 2 * SECOND, scope: 'key' },
  { name: 'fills', weight: 60, perMs: 2 * SECOND, scope: 'key' },
  { name: 'fills-history', weight: 10, perMs: 2 * SECOND, scope: 'key' },
  { name: 'balance', weight: 10, perMs: 2 * SECOND, scope: 'key' },
  { name: 'positions', weight: 10, perMs: 2 * SECOND, scope: 'key' }
]

const INSTRUMENTS: Readonly<Record<MarketType, string>> = { SPOT: 'SPOT', FUTURES: 'SWAP' }
const CONDITIONAL = /CONDITIONAL|OCO|TRIGGER|STOP|TAKE_PROFIT|TRAILING/

const STATES: Readonly<Record<string, OrderState>> = {
  live: 'open',
  partially_filled: 'partially_filled',
  filled: 'filled',
  canceled: 'canceled',
  mmp_canceled: 'canceled'
}

/** States of an algo order; one that took effect has become an ordinary order, whose state counts. */
const ALGO_STATES: Readonly<Record<string, OrderState>> = {
  live: 'open',
  effective: 'open',
  pause: 'open',
  partially_effective: 'open',
  canceled: 'canceled',
  order_failed: 'rejected'
}

/** Base units per contract, by the exchange's own symbol. */
export type ContractSizes = ReadonlyMap<string, Decimal>

interface KnownContracts {
  sizes: ContractSizes
  /** By `performance.now`. */
  at: number
}

/** Known contracts, shared by all clients of a host and gone with it. */
const CONTRACTS = new WeakMap<ExchangeHost, KnownContracts>()

/** API v5: spot and linear swaps. Quantities of swaps come in contracts and leave in base units. */
export class OkxClient implements ExchangeClient {
  readonly exchange = 'OKX'
  readonly marketType: MarketType
  readonly isTestnet: boolean
  readonly #context: AdapterContext
  readonly #host: ExchangeHost
  /** The testnet, "demo trading", is the same host under a header. */
  readonly #headers: Readonly<Record<string, string>>

  constructor(context: AdapterContext) {
    this.marketType = context.marketType
    this.isTestnet = context.isTestnet
    this.#context = context
    this.#headers = context.isTestnet ? { 'x-simulated-trading': '1' } : {}
    this.#host = context.gateway.host({
      baseUrl: context.baseUrl,
      limits: LIMITS,
      refusalOf: okxRefusal,
      clock: {
        operation: 'serverTime',
        path: '/api/v5/public/time',
        costs: costOf('time'),
        read: ({ body }) => millisOf(recordOf(dataOf(body)[0], 'data'), 'ts')
      }
    })
  }

  async lastPrices(options?: CallOptions): Promise<Price[]> {
    let prices: Price[] = []
    return await this.#host.call(
      {
        operation: 'lastPrices',
        path: '/api/v5/market/tickers',
        query: queryOf({ instType: INSTRUMENTS[this.marketType] }),
        costs: costOf('tickers'),
        headers: this.#headers,
        rows: () => {
          prices = []
          return new RowReader(['instId', 'last', 'ts'], ([own, text, ts]) => {
            const price = tickerPrice(text)
            const symbol = own ? unifiedSymbol(own, this.marketType) : null
            if (!own || symbol === null || price === null) return
            prices.push({ symbol, exchangeSymbol: own, price, at: ts ? toMillis(ts, 'ts') : null })
          })
        },
        read: () => prices
      },
      options
    )
  }

  async order(ref: OrderRef, options?: CallOptions): Promise<UnifiedOrder> {
    parsing(this.exchange, 'order', () => supportedSymbol(ref.exchangeSymbol, this.marketType))
    if (CONDITIONAL.test(ref.orderType ?? '')) {
      const conditional = await this.#algoOrder(ref, options)
      if (conditional !== null) return conditional
    }
    return await this.#order(ref, options)
  }

  /** Ordinary orders; conditional ones are found by `order` alone, for OKX lists them by each kind apart. */
  async openOrders(options?: CallOptions): Promise<UnifiedOrder[]> {
    const query = { instType: INSTRUMENTS[this.marketType] }
    const rows = await this.#pages('openOrders', '/api/v5/trade/orders-pending', 'orders', query, 'ordId', options)
    const sizes = await this.#sizesFor(rows, 'openOrders', options)
    return parsing(this.exchange, 'openOrders', () => supportedOnly(rows, row => parseOkxOrder(row, sizes)))
  }

  async fills(ref: OrderRef, options?: CallOptions): Promise<Fill[]> {
    parsing(this.exchange, 'fills', () => supportedSymbol(ref.exchangeSymbol, this.marketType))
    const ordId = await this.#executedOrderId(ref, options)
    if (ordId === null) return []
    const query = { instType: INSTRUMENTS[this.marketType], instId: ref.exchangeSymbol, ordId }
    // The first reaches back three days, the second three months.
    let rows = await this.#pages('fills', '/api/v5/trade/fills', 'fills', query, 'billId', options)
    if (rows.length === 0) {
      rows = await this.#pages('fills', '/api/v5/trade/fills-history', 'fills-history', query, 'billId', options)
    }
    const own = rows.filter(row => row.ordId === ordId)
    const sizes = await this.#sizesFor(own, 'fills', options)
    const fills = parsing(this.exchange, 'fills', () => own.map(row => parseOkxFill(row, sizes)))
    return (
      fills
        .map(fill => ({ ...fill, exchangeOrderId: ref.exchangeOrderId }))
        // They come newest first: those of one millisecond keep their order only when they are turned around before.
        .reverse()
        .sort((a, b) => a.executedAt - b.executedAt)
    )
  }

  async balances(options?: CallOptions): Promise<Balance[]> {
    return await this.#read('balances', '/api/v5/account/balance', 'balance', '', parseOkxBalances, options)
  }

  async positions(options?: CallOptions): Promise<Position[]> {
    if (this.marketType === 'SPOT') return []
    const query = queryOf({ instType: 'SWAP' })
    const rows = await this.#read('positions', '/api/v5/account/positions', 'positions', query, rows => rows, options)
    const sizes = await this.#sizesFor(rows, 'positions', options)
    return parsing(this.exchange, 'positions', () => supportedOnly(rows, row => parseOkxPosition(row, sizes)))
  }

  async serverTime(options?: CallOptions): Promise<Millis> {
    return await this.#host.serverTime(options)
  }

  async #order({ exchangeSymbol, exchangeOrderId }: OrderRef, options: CallOptions | undefined): Promise<UnifiedOrder> {
    const query = queryOf({ instId: exchangeSymbol, ordId: exchangeOrderId })
    const row = await this.#read('order', '/api/v5/trade/order', 'order', query, firstOf, options)
    const sizes = await this.#sizesFor([row], 'order', options)
    return parsing(this.exchange, 'order', () => parseOkxOrder(row, sizes))
  }

  /** A conditional order; once triggered, the order that it became, under the id it was placed with. */
  async #algoOrder(ref: OrderRef, options: CallOptions | undefined): Promise<UnifiedOrder | null> {
    const row = await this.#algoRow(ref, options)
    if (row === null) return null
    const sizes = await this.#sizesFor([row], 'order', options)
    const placed = parsing(this.exchange, 'order', () => parseOkxAlgoOrder(row, sizes))
    const became = becameOf(row)
    if (became === null) return placed
    const actual = await this.#order({ ...ref, exchangeOrderId: became }, options)
    const { exchangeOrderId, orderType, stopPrice } = placed
    return { ...actual, exchangeOrderId, orderType, stopPrice }
  }

  /** Null when no conditional order has this id and symbol. */
  async #algoRow(ref: OrderRef, options: CallOptions | undefined): Promise<JsonRecord | null> {
    try {
      const query = queryOf({ algoId: ref.exchangeOrderId })
      const row = await this.#read('order', '/api/v5/trade/order-algo', 'algo', query, firstOf, options)
      return row.instId === ref.exchangeSymbol ? row : null
    } catch (err) {
      if (err instanceof ExchangeError && err.code === 'order_not_found') return null
      throw err
    }
  }

  /** The id under which an order trades; null for a conditional one that was not triggered. */
  async #executedOrderId(ref: OrderRef, options: CallOptions | undefined): Promise<string | null> {
    if (!CONDITIONAL.test(ref.orderType ?? '')) return ref.exchangeOrderId
    const row = await this.#algoRow(ref, options)
    return row === null ? ref.exchangeOrderId : becameOf(row)
  }

  /** Contract sizes that cover the swaps among the rows; asks for them when they are old, or one of them is new. */
  async #sizesFor(
    rows: readonly JsonRecord[],
    operation: string,
    options: CallOptions | undefined
  ): Promise<ContractSizes> {
    const wanted = rows.map(row => row.instId).filter(isLinearSwap)
    if (wanted.length === 0) return new Map()
    const known = CONTRACTS.get(this.#host)
    const age = known === undefined ? Number.POSITIVE_INFINITY : performance.now() - known.at
    const complete = known !== undefined && wanted.every(instId => known.sizes.has(instId))
    if (known !== undefined && age < (complete ? CONTRACTS_TTL_MS : CONTRACTS_MIN_AGE_MS)) return known.sizes
    const sizes = await this.#contractSizes(operation, options)
    CONTRACTS.set(this.#host, { sizes, at: performance.now() })
    return sizes
  }

  async #contractSizes(operation: string, options: CallOptions | undefined): Promise<ContractSizes> {
    let sizes = new Map<string, Decimal>()
    return await this.#host.call(
      {
        operation,
        path: '/api/v5/public/instruments',
        query: queryOf({ instType: 'SWAP' }),
        costs: costOf('instruments'),
        headers: this.#headers,
        rows: () => {
          sizes = new Map()
          return new RowReader(['instId', 'ctType', 'ctVal', 'ctMult'], ([instId, kind, value, multiplier]) => {
            const size = toDecimal(value ?? '')
            const times = toDecimal(multiplier ?? '1')
            if (!instId || kind !== 'linear' || size === null || times === null) return
            sizes.set(instId, new Exact(size).times(times).toFixed())
          })
        },
        read: () => sizes
      },
      options
    )
  }

  async #pages(
    operation: string,
    path: string,
    limit: string,
    query: Readonly<Record<string, string>>,
    cursor: string,
    options: CallOptions | undefined
  ): Promise<JsonRecord[]> {
    const rows: JsonRecord[] = []
    let after: string | undefined
    for (let page = 0; page < MAX_PAGES; page++) {
      const paged = queryOf({ ...query, limit: ROWS_PER_PAGE, after })
      const found = await this.#read(operation, path, limit, paged, data => data, options)
      rows.push(...found)
      const last = found.at(-1)
      if (last === undefined || found.length < ROWS_PER_PAGE) return rows
      after = textOf(last, cursor)
    }
    return endlessList(this.exchange, operation)
  }

  async #read<T>(
    operation: string,
    path: string,
    limit: string,
    query: string,
    parse: (data: JsonRecord[]) => T,
    options: CallOptions | undefined
  ): Promise<T> {
    const credentials = credentialsOf(this.#context, operation)
    const call: ReadCall<T> = {
      operation,
      path,
      costs: costOf(limit),
      budgetKey: credentials.apiKey,
      headers: this.#headers,
      sign: at => signOkx(path, query, credentials, at),
      read: ({ body }) => parse(dataOf(body))
    }
    return await this.#host.call(call, options)
  }
}

/** Headers with the base64 HMAC-SHA256 of ISO time, method, path and query. */
export function signOkx(
  path: string,
  query: string,
  { apiKey, apiSecret, passphrase = '' }: Credentials,
  at: Millis
): SignedParts {
  const time = new Date(at).toISOString()
  const target = query === '' ? path : `${path}?${query}`
  return {
    query,
    headers: {
      'ok-access-key': apiKey,
      'ok-access-passphrase': passphrase,
      'ok-access-timestamp': time,
      'ok-access-sign': hmacSha256(apiSecret, `${time}GET${target}`, 'base64')
    }
  }
}

/** @throws UnreadableAnswer @throws UnsupportedSymbol */
export function parseOkxOrder(row: JsonRecord, sizes: ContractSizes): UnifiedOrder {
  const { symbol, exchangeSymbol, inBase } = instrumentOf(row, sizes)
  const status = STATES[textOf(row, 'state')]
  if (status === undefined) throw new UnreadableAnswer('state is not a known state')
  const side = sideOf(row)
  const kind = textOf(row, 'ordType')
  // A market buy on spot names the amount to spend, unless it says otherwise.
  const spends = row.instType === 'SPOT' && kind === 'market' && side === 'BUY' && row.tgtCcy !== 'base_ccy'
  const quantity = spends ? null : priceOf(row, 'sz')
  const filledQuantity = inBase(optionalDecimal(row, 'accFillSz') ?? '0')
  return {
    exchangeOrderId: textOf(row, 'ordId'),
    clientOrderId: optionalText(row, 'clOrdId'),
    symbol,
    exchangeSymbol,
    side,
    positionSide: positionSideOf(row),
    orderType: kind.toUpperCase(),
    price: priceOf(row, 'px'),
    stopPrice: null,
    quantity: quantity === null ? null : inBase(quantity),
    filledQuantity,
    averagePrice: priceOf(row, 'avgPx'),
    status,
    createdAt: optionalMillis(row, 'cTime'),
    updatedAt: optionalMillis(row, 'uTime')
  }
}

/** A conditional order as it was placed. @throws UnreadableAnswer @throws UnsupportedSymbol */
export function parseOkxAlgoOrder(row: JsonRecord, sizes: ContractSizes): UnifiedOrder {
  const { symbol, exchangeSymbol, inBase } = instrumentOf(row, sizes)
  const status = ALGO_STATES[textOf(row, 'state')]
  if (status === undefined) throw new UnreadableAnswer('state is not a known state')
  const quantity = priceOf(row, 'sz')
  return {
    exchangeOrderId: textOf(row, 'algoId'),
    clientOrderId: optionalText(row, 'algoClOrdId'),
    symbol,
    exchangeSymbol,
    side: sideOf(row),
    positionSide: positionSideOf(row),
    orderType: textOf(row, 'ordType').toUpperCase(),
    price: null,
    stopPrice: triggerOf(row),
    quantity: quantity === null ? null : inBase(quantity),
    filledQuantity: '0',
    averagePrice: null,
    status,
    createdAt: optionalMillis(row, 'cTime'),
    updatedAt: optionalMillis(row, 'uTime')
  }
}

/** OKX writes a fee that was paid below zero, a rebate above it: turned round here. */
export function parseOkxFill(row: JsonRecord, sizes: ContractSizes): Fill {
  const { symbol, exchangeSymbol, inBase } = instrumentOf(row, sizes)
  const fee = optionalDecimal(row, 'fee')
  return {
    exchangeTradeId: textOf(row, 'tradeId'),
    exchangeOrderId: textOf(row, 'ordId'),
    symbol,
    exchangeSymbol,
    side: sideOf(row),
    positionSide: positionSideOf(row),
    price: decimalOf(row, 'fillPx'),
    quantity: inBase(decimalOf(row, 'fillSz')),
    fee: fee === null ? null : negated(fee),
    feeAsset: optionalText(row, 'feeCcy'),
    realizedPnl: row.instType === 'SPOT' ? null : optionalDecimal(row, 'fillPnl'),
    executedAt: optionalMillis(row, 'fillTime') ?? millisOf(row, 'ts')
  }
}

/** Equity without unrealised profit, so that it compares with the other exchanges; what is not available is locked. */
export function parseOkxBalances(data: JsonRecord[]): Balance[] {
  return data.flatMap(account =>
    rowsOf(account.details, 'details').flatMap(row => {
      const profit = optionalDecimal(row, 'upl') ?? '0'
      const equity = decimalOf(row, 'eq')
      const total = isZero(profit) ? equity : new Exact(equity).minus(profit).toFixed()
      if (isZero(total)) return []
      const available = optionalDecimal(row, 'availBal') ?? '0'
      const free = new Exact(available).gt(total) ? total : available
      return { asset: textOf(row, 'ccy'), free, locked: new Exact(total).minus(free).toFixed(), total }
    })
  )
}

/** Null for a flat position. @throws UnreadableAnswer @throws UnsupportedSymbol */
export function parseOkxPosition(row: JsonRecord, sizes: ContractSizes): Position | null {
  const { symbol, exchangeSymbol, inBase } = instrumentOf(row, sizes)
  const contracts = optionalDecimal(row, 'pos') ?? '0'
  if (isZero(contracts)) return null
  const positionSide = positionSideOf(row)
  const quantity = inBase(contracts)
  return {
    symbol,
    exchangeSymbol,
    positionSide,
    quantity: positionSide === 'SHORT' && !quantity.startsWith('-') ? negated(quantity) : quantity,
    entryPrice: priceOf(row, 'avgPx'),
    markPrice: priceOf(row, 'markPx'),
    unrealizedPnl: optionalDecimal(row, 'upl'),
    updatedAt: optionalMillis(row, 'uTime')
  }
}

const OK = '0'
const NOT_FOUND = '51603'

const REFUSALS: Readonly<Record<string, Refusal['code']>> = {
  '50001': 'unavailable',
  '50004': 'timeout',
  '50011': 'rate_limited',
  '50013': 'unavailable',
  '50026': 'unavailable',
  '50040': 'rate_limited',
  '50061': 'rate_limited',
  '50100': 'authentication',
  '50101': 'authentication',
  '50102': 'authentication',
  '50103': 'authentication',
  '50104': 'authentication',
  '50105': 'authentication',
  '50106': 'authentication',
  '50107': 'authentication',
  '50110': 'permission',
  '50111': 'authentication',
  '50112': 'authentication',
  '50113': 'authentication',
  '50114': 'authentication',
  '50119': 'authentication',
  '50120': 'permission',
  '51001': 'bad_symbol',
  [NOT_FOUND]: 'order_not_found'
}
const CLOCK_REFUSALS: ReadonlySet<string> = new Set(['50102', '50112'])

function okxRefusal({ status, body }: Answer): Refusal | null {
  const overall = isRecord(body) ? optionalText(body, 'code') : null
  if (overall === null || overall === OK || !isRecord(body)) return null
  // The overall code says only that something failed; the item says what.
  const item = Array.isArray(body.data) ? body.data[0] : undefined
  const exchangeCode = (isRecord(item) ? optionalText(item, 'sCode') : null) ?? overall
  const code = REFUSALS[exchangeCode]
  if (code === undefined && status !== 200) return null
  return { code: code ?? 'invalid_answer', exchangeCode, clock: CLOCK_REFUSALS.has(exchangeCode), retryAfterMs: null }
}

function costOf(limit: string) {
  return [{ limit, weight: 1 }]
}

function dataOf(body: unknown): JsonRecord[] {
  return rowsOf(recordOf(body, 'the answer').data, 'data')
}

function firstOf(data: JsonRecord[]): JsonRecord {
  return recordOf(data[0], 'the order')
}

function isLinearSwap(instId: unknown): instId is string {
  return typeof instId === 'string' && unifiedSymbol(instId, 'FUTURES') !== null
}

function unifiedSymbol(own: string, marketType: MarketType): string | null {
  const [base = '', quote = '', kind, ...rest] = own.split('-')
  const named = /^[\p{L}\p{N}]{1,30}$/u.test(base) && /^[A-Z0-9]{2,10}$/.test(quote) && rest.length === 0
  if (!named) return null
  if (marketType === 'SPOT') return kind === undefined ? `${base}${quote}` : null
  // A swap quoted in USD is settled in its coin.
  return kind === 'SWAP' && quote !== 'USD' ? `${base}${quote}` : null
}

function supportedSymbol(own: string, marketType: MarketType): string {
  const symbol = unifiedSymbol(own, marketType)
  if (symbol !== null) return symbol
  throw new UnsupportedSymbol('coin-margined and dated contracts are not supported, only linear perpetuals')
}

interface Instrument {
  symbol: string
  exchangeSymbol: string
  /** From the exchange's units, contracts or base, to base units. */
  inBase: (quantity: Decimal) => Decimal
}

function instrumentOf(row: JsonRecord, sizes: ContractSizes): Instrument {
  const exchangeSymbol = textOf(row, 'instId')
  const spot = unifiedSymbol(exchangeSymbol, 'SPOT')
  if (spot !== null) return { symbol: spot, exchangeSymbol, inBase: quantity => quantity }
  const symbol = supportedSymbol(exchangeSymbol, 'FUTURES')
  const size = sizes.get(exchangeSymbol)
  // Never left out in silence: a position must not vanish because its size is not known.
  if (size === undefined) throw new UnreadableAnswer('a contract has no known size')
  return { symbol, exchangeSymbol, inBase: quantity => new Exact(quantity).times(size).toFixed() }
}

function sideOf(row: JsonRecord): OrderSide {
  const side = textOf(row, 'side')
  if (side !== 'buy' && side !== 'sell') throw new UnreadableAnswer('side is neither buy nor sell')
  return side === 'buy' ? 'BUY' : 'SELL'
}

function positionSideOf(row: JsonRecord): PositionSide {
  const side = optionalText(row, 'posSide') ?? 'net'
  if (side === 'net') return 'BOTH'
  if (side === 'long' || side === 'short') return side === 'long' ? 'LONG' : 'SHORT'
  throw new UnreadableAnswer('posSide is unknown')
}

function triggerOf(row: JsonRecord): Decimal | null {
  return priceOf(row, 'triggerPx') ?? priceOf(row, 'slTriggerPx') ?? priceOf(row, 'tpTriggerPx')
}

/** The ordinary order that a conditional one became. */
function becameOf(row: JsonRecord): string | null {
  const listed = Array.isArray(row.ordIdList) && typeof row.ordIdList[0] === 'string' ? row.ordIdList[0] : null
  const id = listed ?? optionalText(row, 'ordId')
  return id === '' || id === '0' ? null : id
}
