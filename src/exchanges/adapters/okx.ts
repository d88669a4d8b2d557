// @FEAT:exchanges @COMP:service @TYPE:integration

import { DAY, HOUR, MINUTE, SECOND } from '../../async/durations.ts'
import { type Balance, balanceOfTotal } from '../../domain/balance.ts'
import { type Decimal, Exact, isZero, negated, toDecimal } from '../../domain/decimal.ts'
import type { Fill } from '../../domain/fill.ts'
import type { Instrument } from '../../domain/instrument.ts'
import type { LedgerReading } from '../../domain/ledger-entry.ts'
import type { MarketType, Price } from '../../domain/market.ts'
import type { Millis } from '../../domain/millis.ts'
import type { FillsRef, OrderRef, OrderSide, OrderState, UnifiedOrder } from '../../domain/order.ts'
import { type Pair, pairOf } from '../../domain/pair.ts'
import type { Position, PositionSide } from '../../domain/position.ts'
import type {
  AccountFillsRange,
  CallOptions,
  Credentials,
  ExchangeClient,
  OnInvalidRow,
  OpenOrdersOptions,
  OrderCosts,
  TimeRange
} from '../exchange-client.ts'
import {
  atLeastOne,
  decimalOf,
  isRecord,
  type JsonRecord,
  listOf,
  meaningOf,
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
import type { Answer, Refusal, Route, SignedParts } from '../http/exchange-call.ts'
import type { ExchangeHost } from '../http/exchange-host.ts'
import type { RateLimit } from '../http/rate-budget.ts'
import { type OnUnreadableRow, RowReader } from '../http/row-reader.ts'
import {
  type AdapterContext,
  differBeyondRounding,
  hmacSha256,
  instrumentFrom,
  klineClose,
  minuteOf,
  notEmpty,
  ONE_CALL_EACH,
  queryOf,
  type RefusalTable,
  refusalFrom,
  reportContradiction,
  supportedContract,
  supportedOnly
} from './adapter.ts'
import { ConditionalOrders } from './conditional-orders.ts'
import { ExchangeApi, type InstrumentReader } from './exchange-api.ts'
import { addUp, fillsBetween, fillsSince, unitedFills } from './fill-history.ts'
import { ledgerReading, splitAt } from './ledger-rows.ts'
import { OKX_LEDGER_REACH_MS, okxBillTime, okxLedgerEntries, RECENT_BILLS_MS } from './okx-ledger.ts'

/** Contract sizes change only when a contract is listed or redenominated. */
const CONTRACTS_TTL_MS = HOUR
/** An unknown contract may be a new one. The list is read again for it at most once in this time. */
const CONTRACTS_MIN_AGE_MS = MINUTE
const ROWS_PER_PAGE = 100
/** The first list of fills reaches back three days; one hour less, because clocks differ. */
const RECENT_FILLS_MS = 3 * DAY - HOUR
/** The history of fills reaches back three months; two days less, because February is short. */
const FILLS_REACH_MS = 88 * DAY
/** The list is filtered by the time of its rows, which differs from that of the execution. */
const ROW_TIME_MARGIN_MS = MINUTE

/** OKX counts every route separately: public ones per address, private ones per user. */
const LIMITS: readonly RateLimit[] = [
  { name: 'time', weight: 10, perMs: 2 * SECOND, scope: 'address' },
  { name: 'tickers', weight: 20, perMs: 2 * SECOND, scope: 'address' },
  { name: 'candles', weight: 20, perMs: 2 * SECOND, scope: 'address' },
  { name: 'mark-price', weight: 10, perMs: 2 * SECOND, scope: 'address' },
  { name: 'instruments', weight: 20, perMs: 2 * SECOND, scope: 'address' },
  { name: 'order', weight: 60, perMs: 2 * SECOND, scope: 'key' },
  { name: 'orders', weight: 60, perMs: 2 * SECOND, scope: 'key' },
  { name: 'algo', weight: 20, perMs: 2 * SECOND, scope: 'key' },
  { name: 'fills', weight: 60, perMs: 2 * SECOND, scope: 'key' },
  { name: 'fills-history', weight: 10, perMs: 2 * SECOND, scope: 'key' },
  { name: 'balance', weight: 10, perMs: 2 * SECOND, scope: 'key' },
  { name: 'bills', weight: 5, perMs: SECOND, scope: 'key' },
  { name: 'bills-archive', weight: 5, perMs: 2 * SECOND, scope: 'key' },
  { name: 'positions', weight: 10, perMs: 2 * SECOND, scope: 'key' }
]

/** A route with a limit of its own, signed unless `signing` says otherwise. */
function route(row: { operation: string; path: string; limit: string; signing?: Route['signing'] }): Route {
  const { operation, path, limit, signing = 'account' } = row
  return { operation, method: 'GET', path, costs: [{ limit, weight: 1 }], signing }
}

const ROUTES = {
  time: route({ operation: 'serverTime', path: '/api/v5/public/time', limit: 'time', signing: 'none' }),
  prices: route({ operation: 'lastPrices', path: '/api/v5/market/tickers', limit: 'tickers', signing: 'none' }),
  candles: route({
    operation: 'minutePrice',
    path: '/api/v5/market/history-candles',
    limit: 'candles',
    signing: 'none'
  }),
  marks: route({ operation: 'markPrices', path: '/api/v5/public/mark-price', limit: 'mark-price', signing: 'none' }),
  order: route({ operation: 'order', path: '/api/v5/trade/order', limit: 'order' }),
  algoOrder: route({ operation: 'order', path: '/api/v5/trade/order-algo', limit: 'algo' }),
  openOrders: route({ operation: 'openOrders', path: '/api/v5/trade/orders-pending', limit: 'orders' }),
  /** Reaches back three days. */
  fills: route({ operation: 'fills', path: '/api/v5/trade/fills', limit: 'fills' }),
  /** Reaches back three months. */
  olderFills: route({ operation: 'fills', path: '/api/v5/trade/fills-history', limit: 'fills-history' }),
  accountFills: route({ operation: 'accountFills', path: '/api/v5/trade/fills-history', limit: 'fills-history' }),
  balances: route({ operation: 'balances', path: '/api/v5/account/balance', limit: 'balance' }),
  positions: route({ operation: 'positions', path: '/api/v5/account/positions', limit: 'positions' }),
  /** Reaches back seven days. */
  bills: route({ operation: 'ledger', path: '/api/v5/account/bills', limit: 'bills' }),
  /** Reaches back three months. */
  olderBills: route({ operation: 'ledger', path: '/api/v5/account/bills-archive', limit: 'bills-archive' })
}

/** Contract sizes are a part of several operations; errors name the operation that needs them. */
const instrumentsRoute = (operation: string): Route =>
  route({ operation, path: '/api/v5/public/instruments', limit: 'instruments', signing: 'none' })

const INSTRUMENT_TYPES: Readonly<Record<MarketType, string>> = { SPOT: 'SPOT', FUTURES: 'SWAP' }
const CONDITIONAL = /CONDITIONAL|OCO|TRIGGER|STOP|TAKE_PROFIT|TRAILING/i

const STATES: Readonly<Record<string, OrderState>> = {
  live: 'open',
  partially_filled: 'partially_filled',
  filled: 'filled',
  canceled: 'canceled',
  mmp_canceled: 'canceled'
}

/** States of an algo order. One that took effect has become an ordinary order, whose state counts. */
const ALGO_STATES: Readonly<Record<string, OrderState>> = {
  live: 'open',
  effective: 'open',
  pause: 'open',
  partially_effective: 'open',
  canceled: 'canceled',
  order_failed: 'rejected'
}

const SIDES: Readonly<Record<string, OrderSide>> = { buy: 'BUY', sell: 'SELL' }
const POSITION_SIDES: Readonly<Record<string, PositionSide>> = { net: 'BOTH', long: 'LONG', short: 'SHORT' }

/** Orders of the exchange itself: okx.com/docs-v5/en, `category` of "Get order" */
const FORCED_CATEGORIES: ReadonlySet<string> = new Set(['full_liquidation', 'partial_liquidation', 'adl', 'delivery'])
/**
 * Executions of the exchange itself: partial liquidation (100 to 103), liquidation (104 to 107), delivery (112, 113) and
 * auto-deleveraging (125 to 128). Source: okx.com/docs-v5/en, `subType` of "Get transaction details"
 */
const FORCED_EXECUTION = /^(10[0-7]|11[23]|12[5-8])$/

/** Base units per contract, by the exchange's own symbol. */
export type ContractSizes = ReadonlyMap<string, Decimal>

interface KnownContracts {
  sizes: ContractSizes
  /** When they were read, by `performance.now`. */
  at: number
}

/** Known contracts, shared by all clients of a host and released with it. */
const CONTRACTS = new WeakMap<ExchangeHost, KnownContracts>()

/** API v5: spot and linear swaps. Quantities of swaps are contracts at OKX and base units in the results. */
export class OkxClient implements ExchangeClient {
  readonly exchange = 'OKX'
  readonly orderCosts: OrderCosts = ONE_CALL_EACH
  readonly fillsListedBy = 'account'
  readonly fillsReachMs = FILLS_REACH_MS
  readonly ledgerReachMs = OKX_LEDGER_REACH_MS
  readonly marketType: MarketType
  readonly isTestnet: boolean
  readonly #api: ExchangeApi<readonly unknown[]>
  readonly #orders: ConditionalOrders

  constructor(context: AdapterContext) {
    this.marketType = context.marketType
    this.isTestnet = context.isTestnet
    this.#api = new ExchangeApi({
      context,
      host: { limits: LIMITS, refusalOf: okxRefusal },
      clock: { route: ROUTES.time, read: ({ body }) => millisOf(recordOf(dataOf(body)[0], 'data'), 'ts') },
      // The testnet, "demo trading", is the same host with a header.
      headers: context.isTestnet ? { 'x-simulated-trading': '1' } : {},
      sign: ({ route, query, credentials, at }) => signOkx(route, query, credentials, at),
      payloadOf: dataOf
    })
    this.#orders = new ConditionalOrders({
      exchange: this.exchange,
      orderTypes: CONDITIONAL,
      symbolField: 'instId',
      readRow: async ({ exchangeOrderId }, options) => {
        const request = { route: ROUTES.algoOrder, query: queryOf({ algoId: exchangeOrderId }) }
        return await this.#api.read(request, firstOf, options)
      },
      parse: async (row, options) => {
        const sizes = await this.#sizesFor([row], 'order', options)
        return this.#api.parse('order', () => parseOkxAlgoOrder(row, sizes))
      },
      triggeredOrderIds,
      isTriggered: ({ state }) => state === 'effective',
      mayTriggerAgain: ({ state }) => state === 'partially_effective',
      readOrdinary: async ({ exchangeSymbol, exchangeOrderId }, options) => {
        const request = { route: ROUTES.order, query: queryOf({ instId: exchangeSymbol, ordId: exchangeOrderId }) }
        const row = await this.#api.read(request, firstOf, options)
        const sizes = await this.#sizesFor([row], 'order', options)
        return this.#api.parse('order', () => parseOkxOrder(row, sizes))
      }
    })
  }

  async lastPrices(options?: CallOptions): Promise<Price[]> {
    const list = {
      route: ROUTES.prices,
      query: queryOf({ instType: INSTRUMENT_TYPES[this.marketType] }),
      fields: { symbol: 'instId', price: 'last', time: 'ts' },
      unifiedSymbol: (exchangeSymbol: string) => unifiedSymbol(exchangeSymbol, this.marketType)
    }
    return await this.#api.readPrices(list, options)
  }

  /** https://www.okx.com/docs-v5/en/#public-data-rest-api-get-mark-price */
  async markPrices(options?: CallOptions): Promise<Price[]> {
    if (this.marketType === 'SPOT') return []
    const list = {
      route: ROUTES.marks,
      query: queryOf({ instType: INSTRUMENT_TYPES[this.marketType] }),
      fields: { symbol: 'instId', price: 'markPx', time: 'ts' },
      unifiedSymbol: (exchangeSymbol: string) => unifiedSymbol(exchangeSymbol, this.marketType)
    }
    return await this.#api.readPrices(list, options)
  }

  /**
   * The list has the candles before `after` and later than `before`, both excluded:
   * https://www.okx.com/docs-v5/en/#order-book-trading-market-data-get-candlesticks-history
   */
  async minutePrice(instId: string, at: Millis, options?: CallOptions): Promise<Decimal | null> {
    if (this.marketType !== 'SPOT') return null
    const minute = minuteOf(at)
    const query = queryOf({ instId, bar: '1m', after: minute + 1, before: minute - 1, limit: 1 })
    return await this.#api.read({ route: ROUTES.candles, query }, rows => klineClose(rows, minute, 4), options)
  }

  /** https://www.okx.com/docs-v5/en/#public-data-rest-api-get-instruments */
  async instruments(options?: CallOptions): Promise<Instrument[]> {
    const instruments = await this.#listed(this.marketType, 'instruments', options)
    return this.#api.parse('instruments', () => notEmpty(instruments))
  }

  async order(ref: OrderRef, options?: CallOptions): Promise<UnifiedOrder> {
    this.#api.parse('order', () => supportedSymbol(ref.exchangeSymbol, this.marketType))
    return await this.#orders.order(ref, options)
  }

  /** Ordinary orders. Only `order` finds conditional ones, because OKX has a separate list of each of their types. */
  async openOrders(options?: OpenOrdersOptions): Promise<UnifiedOrder[]> {
    const { exchangeSymbol: instId } = options ?? {}
    const list = { route: ROUTES.openOrders, cursor: 'ordId', parse: (page: unknown[]) => page }
    const query = { instType: INSTRUMENT_TYPES[this.marketType], ...(instId !== undefined && { instId }) }
    const rows = await this.#rows(list, query, options)
    const sizes = await this.#sizesFor(rows, 'openOrders', options)
    return this.#api.parse('openOrders', () =>
      supportedOnly(rows, row => parseOkxOrder(row, sizes), options?.onInvalidRow)
    )
  }

  /**
   * The list of fills reaches back 3 days, its history 3 months. The history is read when older fills are wanted, unless
   * those of the first list add up to the filled quantity. Rows that are in both count once.
   * Source: okx.com/docs-v5/en, "Get transaction details (last 3 days)" and "(last 3 months)"
   */
  async fills(ref: FillsRef, options?: CallOptions): Promise<Fill[]> {
    const { exchangeSymbol } = ref
    this.#api.parse('fills', () => supportedSymbol(exchangeSymbol, this.marketType))
    const ids = await this.#orders.executedOrderIds(ref, options)
    if (ids.length === 0) return []
    const sizes = await this.#sizesFor([{ instId: exchangeSymbol }], 'fills', options)
    const recent = await this.#fillsOf(ROUTES.fills, exchangeSymbol, ids, sizes, options)
    const since = fillsSince(ref) ?? Number.NEGATIVE_INFINITY
    const isWhole = ref.filledQuantity === undefined ? since > this.#api.host.now - RECENT_FILLS_MS : addUp(recent, ref)
    if (isWhole) return unitedFills(recent, ref)
    const older = await this.#fillsOf(ROUTES.olderFills, exchangeSymbol, ids, sizes, options)
    return unitedFills([...older, ...recent], ref)
  }

  /** The fills of orders in one of the lists, those of each order oldest first. */
  async #fillsOf(
    route: Route,
    instId: string,
    ids: readonly string[],
    sizes: ContractSizes,
    options: CallOptions | undefined
  ): Promise<Fill[]> {
    const fills: Fill[] = []
    for (const ordId of ids) {
      const isOwn = (row: JsonRecord) => row.ordId === ordId
      const parse = (rows: unknown[]) =>
        rowsOf(rows, 'fills')
          .filter(isOwn)
          .map(row => parseOkxFill(row, sizes))
      const query = { instType: INSTRUMENT_TYPES[this.marketType], instId, ordId }
      fills.push(...(await this.#rows({ route, cursor: 'billId', parse }, query, options)).reverse())
    }
    return fills
  }

  /** Source: okx.com/docs-v5/en, "Get transaction details (last 3 months)" */
  async accountFills(range: AccountFillsRange, options?: CallOptions): Promise<Fill[]> {
    const query = {
      instType: INSTRUMENT_TYPES[this.marketType],
      begin: String(range.from - ROW_TIME_MARGIN_MS),
      end: String(range.until + ROW_TIME_MARGIN_MS)
    }
    const list = { route: ROUTES.accountFills, cursor: 'billId', parse: (page: unknown[]) => page }
    const rows = await this.#rows(list, query, options)
    const sizes = await this.#sizesFor(rows, 'accountFills', options)
    const fills = this.#api.parse('accountFills', () =>
      supportedOnly(rows, row => parseOkxFill(row, sizes), options?.onInvalidRow)
    )
    return fillsBetween(fills.reverse(), range)
  }

  async balances(options?: CallOptions): Promise<Balance[]> {
    const parse = (data: readonly unknown[]) => parseOkxBalances(data, options?.onInvalidRow)
    return await this.#api.read({ route: ROUTES.balances }, parse, options)
  }

  async positions(options?: CallOptions): Promise<Position[]> {
    if (this.marketType === 'SPOT') return []
    const request = { route: ROUTES.positions, query: queryOf({ instType: 'SWAP' }) }
    const rows = await this.#api.read(request, data => data, options)
    const sizes = await this.#sizesFor(rows, 'positions', options)
    return this.#api.parse('positions', () =>
      supportedOnly(rows, row => parseOkxPosition(row, sizes), options?.onInvalidRow)
    )
  }

  /**
   * The bills of the trading account, which is one wallet for both markets. Deposits and withdrawals are of the funding
   * account: here they are transfers. The list of the newest bills reaches back 7 days, the archive 3 months.
   * Source: okx.com/docs-v5/en, "Get bills details (last 7 days)" and "(last 3 months)"
   */
  async ledger(range: TimeRange, options?: CallOptions): Promise<LedgerReading> {
    const { before, after } = splitAt(range, this.#api.host.now - RECENT_BILLS_MS)
    const older = before && (await this.#bills(ROUTES.olderBills, before, options))
    const newer = after && (await this.#bills(ROUTES.bills, after, options))
    const rows = [...(newer ?? []), ...(older ?? [])]
    const readsFills = (market: MarketType, instId: string) => unifiedSymbol(instId, market) !== null
    const list = { rows, timeOf: okxBillTime, entriesOf: (row: JsonRecord) => okxLedgerEntries(row, readsFills) }
    return this.#api.parse('ledger', () => ledgerReading([list], range, options?.onInvalidRow))
  }

  /** The bills of a range, and of a millisecond around it: it is not documented whether its ends are included. */
  async #bills(route: Route, { from, until }: TimeRange, options: CallOptions | undefined): Promise<unknown[]> {
    const query = { begin: String(from - 1), end: String(until) }
    return await this.#rows({ route, cursor: 'billId', parse: rows => rows }, query, options)
  }

  async serverTime(options?: CallOptions): Promise<Millis> {
    return await this.#api.serverTime(options)
  }

  /** All pages of a list. `cursor` is the field of its last row that the next page continues from. */
  async #rows<T>(
    { route, cursor, parse }: { route: Route; cursor: string; parse: (rows: unknown[]) => T[] },
    query: Readonly<Record<string, string>>,
    options: CallOptions | undefined
  ): Promise<T[]> {
    return await this.#api.readPages<T, string>(
      {
        route,
        query: after => queryOf({ ...query, limit: ROWS_PER_PAGE, after }),
        read: rows => ({ rows, next: rows.length < ROWS_PER_PAGE ? undefined : lastTextOf(rows, cursor) }),
        idFields: [cursor],
        parse
      },
      options
    )
  }

  /**
   * Contract sizes for the swaps among the rows. Reads them when the known ones are old, or do not have one of these. The
   * size of a contract that is not listed any more stays known: its last fills are read afterwards.
   */
  async #sizesFor(
    rows: readonly unknown[],
    operation: string,
    options: CallOptions | undefined
  ): Promise<ContractSizes> {
    const wanted = rows.map(row => (isRecord(row) ? row.instId : undefined)).filter(isLinearSwap)
    if (wanted.length === 0) return new Map()
    const known = CONTRACTS.get(this.#api.host)
    const ageMs = known === undefined ? Number.POSITIVE_INFINITY : performance.now() - known.at
    const complete = known !== undefined && wanted.every(instId => known.sizes.has(instId))
    if (known !== undefined && ageMs < (complete ? CONTRACTS_TTL_MS : CONTRACTS_MIN_AGE_MS)) return known.sizes
    // An unreadable row is no fault of the caller's list. It is reported when the instruments are read.
    const listed = await this.#listed('FUTURES', operation, { ...options, onInvalidRow: () => undefined })
    const sizes = new Map(known?.sizes)
    for (const { exchangeSymbol, contractValue } of listed) sizes.set(exchangeSymbol, contractValue)
    CONTRACTS.set(this.#api.host, { sizes, at: performance.now() })
    return sizes
  }

  async #listed(marketType: MarketType, operation: string, options: CallOptions | undefined): Promise<Instrument[]> {
    const request = { route: instrumentsRoute(operation), query: queryOf({ instType: INSTRUMENT_TYPES[marketType] }) }
    const reader: InstrumentReader = (...callbacks) => instrumentReader(marketType, ...callbacks)
    return await this.#api.readRows({ ...request, reader, read: (instruments: Instrument[]) => instruments }, options)
  }
}

/** The steps of swaps are in contracts. States other than `live` are `suspend`, `preopen`, `rebase` and `test`. */
function instrumentReader(
  marketType: MarketType,
  add: (instrument: Instrument) => void,
  onUnreadable: OnUnreadableRow | undefined
): RowReader {
  const fields = ['instId', 'state', 'tickSz', 'lotSz', 'ctType', 'ctVal', 'ctMult']
  return new RowReader(
    fields,
    ([exchangeSymbol, state, priceStep, quantityStep, type, value, multiplier]) => {
      if (!exchangeSymbol) throw new UnreadableAnswer('instId is missing')
      const parts = okxPair(exchangeSymbol, marketType)
      if (parts === null || (marketType === 'FUTURES' && type !== 'linear')) return
      const contractValue = marketType === 'SPOT' ? '1' : sizeOf(value, multiplier)
      const steps = { priceStep, quantityStep }
      add(instrumentFrom({ exchangeSymbol, ...parts, contractValue, ...steps, trading: state === 'live' }))
    },
    { onUnreadable }
  )
}

/** Base units per contract; null when it cannot be read. */
function sizeOf(value: string | null | undefined, multiplier: string | null | undefined): Decimal | null {
  const size = toDecimal(value ?? '')
  const factor = toDecimal(multiplier ?? '1')
  return size === null || factor === null ? null : new Exact(size).times(factor).toFixed()
}

/** Signs by headers: the base64 HMAC-SHA256 of ISO time, method, path and query. */
export function signOkx(
  { method, path }: Pick<Route, 'method' | 'path'>,
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
      'ok-access-sign': hmacSha256(apiSecret, `${time}${method}${target}`, 'base64')
    }
  }
}

/** @throws {UnreadableAnswer} @throws {UnsupportedSymbol} */
export function parseOkxOrder(row: JsonRecord, sizes: ContractSizes): UnifiedOrder {
  const { symbol, exchangeSymbol, inBase } = contractOf(row, sizes)
  const side = meaningOf(row, 'side', SIDES)
  const type = textOf(row, 'ordType')
  // The quantity of a market buy on spot is an amount of quote currency, unless `tgtCcy` says otherwise.
  const spends = row.instType === 'SPOT' && type === 'market' && side === 'BUY' && row.tgtCcy !== 'base_ccy'
  const quantity = spends ? null : priceOf(row, 'sz')
  const filledQuantity = inBase(optionalDecimal(row, 'accFillSz') ?? '0')
  return {
    exchangeOrderId: textOf(row, 'ordId'),
    clientOrderId: optionalText(row, 'clOrdId'),
    symbol,
    exchangeSymbol,
    side,
    positionSide: positionSideOf(row),
    orderType: type.toUpperCase(),
    price: priceOf(row, 'px'),
    stopPrice: null,
    quantity: quantity === null ? null : inBase(quantity),
    filledQuantity,
    averagePrice: priceOf(row, 'avgPx'),
    status: meaningOf(row, 'state', STATES),
    createdAt: optionalMillis(row, 'cTime'),
    updatedAt: optionalMillis(row, 'uTime'),
    ...(FORCED_CATEGORIES.has(optionalText(row, 'category') ?? '') && { forced: true as const })
  }
}

/** A conditional order as it was placed. @throws {UnreadableAnswer} @throws {UnsupportedSymbol} */
export function parseOkxAlgoOrder(row: JsonRecord, sizes: ContractSizes): UnifiedOrder {
  const { symbol, exchangeSymbol, inBase } = contractOf(row, sizes)
  const quantity = priceOf(row, 'sz')
  return {
    exchangeOrderId: textOf(row, 'algoId'),
    clientOrderId: optionalText(row, 'algoClOrdId'),
    symbol,
    exchangeSymbol,
    side: meaningOf(row, 'side', SIDES),
    positionSide: positionSideOf(row),
    orderType: textOf(row, 'ordType').toUpperCase(),
    price: null,
    stopPrice: triggerOf(row),
    quantity: quantity === null ? null : inBase(quantity),
    filledQuantity: '0',
    averagePrice: null,
    status: meaningOf(row, 'state', ALGO_STATES),
    createdAt: optionalMillis(row, 'cTime'),
    updatedAt: optionalMillis(row, 'uTime')
  }
}

/**
 * An execution. OKX writes a paid fee as a negative number and a rebate as a positive one; the sign is reversed here.
 *
 * @throws {UnreadableAnswer} @throws {UnsupportedSymbol}
 */
export function parseOkxFill(row: JsonRecord, sizes: ContractSizes): Fill {
  const { symbol, exchangeSymbol, inBase } = contractOf(row, sizes)
  const fee = optionalDecimal(row, 'fee')
  return {
    exchangeTradeId: textOf(row, 'tradeId'),
    exchangeOrderId: textOf(row, 'ordId'),
    symbol,
    exchangeSymbol,
    side: meaningOf(row, 'side', SIDES),
    positionSide: positionSideOf(row),
    price: decimalOf(row, 'fillPx'),
    quantity: inBase(decimalOf(row, 'fillSz')),
    fee: fee === null ? null : negated(fee),
    feeAsset: optionalText(row, 'feeCcy'),
    realizedPnl: row.instType === 'SPOT' ? null : optionalDecimal(row, 'fillPnl'),
    executedAt: optionalMillis(row, 'fillTime') ?? millisOf(row, 'ts'),
    ...(FORCED_EXECUTION.test(optionalText(row, 'subType') ?? '') && { forced: true as const })
  }
}

/**
 * Equity without unrealised profit, as on the other exchanges. The part that is not available is locked.
 *
 * @throws {UnreadableAnswer} also without an account: an account that holds nothing is in the answer
 */
export function parseOkxBalances(data: readonly unknown[], onInvalidRow?: OnInvalidRow): Balance[] {
  return atLeastOne(rowsOf(data, 'data'), 'data').flatMap(account =>
    supportedOnly(
      listOf(account.details, 'details'),
      row => {
        const balance = parseOkxAsset(row)
        reportContradiction(row, () => equityContradiction(row, account), onInvalidRow)
        return balance
      },
      onInvalidRow
    )
  )
}

/** Amounts of products whose part of the equity is not documented. With one of them the equation is not checked. */
const OTHER_EQUITY = ['stgyEq', 'smtSyncEq', 'spotCopyTradingEq']

/**
 * Equity = balance + margin of isolated positions + their unrealised profit + that of the others + value of options −
 * accrued interest. `isoEq` is the margin with the profit. What was borrowed is a balance below zero. The row does not have
 * the value of options: with options the equation is not checked. https://www.okx.com/help/360054690531
 */
function equityContradiction(row: JsonRecord, account: JsonRecord): string | null {
  const amount = (field: string) => optionalDecimal(row, field) ?? '0'
  const isOther = (record: JsonRecord, field: string) => !isZero(optionalDecimal(record, field) ?? '0')
  const cash = optionalDecimal(row, 'cashBal')
  const hasOther = OTHER_EQUITY.some(field => isOther(row, field)) || isOther(account, 'notionalUsdForOption')
  if (cash === null || hasOther) return null
  const others = new Exact(amount('upl')).minus(amount('isoUpl'))
  const expected = new Exact(cash).plus(amount('isoEq')).plus(others).minus(amount('interest')).toFixed()
  const equation = 'eq is not cashBal + isoEq + upl - isoUpl - interest'
  return differBeyondRounding(decimalOf(row, 'eq'), expected) ? equation : null
}

function parseOkxAsset(row: JsonRecord): Balance | null {
  const profit = optionalDecimal(row, 'upl') ?? '0'
  const equity = decimalOf(row, 'eq')
  const total = isZero(profit) ? equity : new Exact(equity).minus(profit).toFixed()
  return balanceOfTotal(textOf(row, 'ccy'), total, optionalDecimal(row, 'availBal') ?? '0')
}

/** Null for a flat position. @throws {UnreadableAnswer} @throws {UnsupportedSymbol} */
export function parseOkxPosition(row: JsonRecord, sizes: ContractSizes): Position | null {
  const { symbol, exchangeSymbol, inBase } = contractOf(row, sizes)
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

const REFUSALS: RefusalTable = {
  '50001': 'unavailable',
  '50004': 'timeout',
  '50011': 'rate_limited',
  '50013': 'unavailable',
  '50026': 'unavailable',
  '50040': 'rate_limited',
  '50061': 'rate_limited',
  '50100': 'authentication',
  '50101': 'authentication',
  '50102': 'clock',
  '50103': 'authentication',
  '50104': 'authentication',
  '50105': 'authentication',
  '50106': 'authentication',
  '50107': 'authentication',
  '50110': 'permission',
  '50111': 'authentication',
  '50112': 'clock',
  '50113': 'authentication',
  '50114': 'authentication',
  '50119': 'authentication',
  '50120': 'permission',
  '51001': 'bad_symbol',
  '51603': 'order_not_found'
}

/** Limits of a user ID on signed routes, and of an address on public ones. */
const USER_LIMITS: ReadonlySet<string> = new Set(['50011', '50061'])

function okxRefusal({ status, body }: Answer): Refusal | null {
  const overall = isRecord(body) ? optionalText(body, 'code') : null
  if (overall === null || overall === OK || !isRecord(body)) return null
  // The overall code reports only that something failed; the code of the item reports what.
  const item = Array.isArray(body.data) ? body.data[0] : undefined
  const exchangeCode = (isRecord(item) ? optionalText(item, 'sCode') : null) ?? overall
  const refusal = refusalFrom(REFUSALS, exchangeCode)
  if (refusal !== null && USER_LIMITS.has(exchangeCode)) return { ...refusal, scope: 'key' }
  return refusal === null && status === 200 ? { code: 'invalid_answer', exchangeCode } : refusal
}

function dataOf(body: unknown): readonly unknown[] {
  return listOf(recordOf(body, 'the answer').data, 'data')
}

function firstOf(data: readonly unknown[]): JsonRecord {
  return recordOf(data[0], 'the order')
}

/** The text of a field in the last row that has it. @throws {UnreadableAnswer} when no row has it */
function lastTextOf(rows: readonly unknown[], field: string): string {
  const last = rows.findLast(row => isRecord(row) && typeof row[field] === 'string' && row[field] !== '')
  return textOf(recordOf(last, 'the last row'), field)
}

function isLinearSwap(instId: unknown): instId is string {
  return typeof instId === 'string' && unifiedSymbol(instId, 'FUTURES') !== null
}

/** `BTC-USDT` on spot, `BTC-USDT-SWAP` on futures → BTC and USDT; null for a symbol that is not of this market. */
export function okxPair(exchangeSymbol: string, marketType: MarketType): Pair | null {
  const [base = '', quote = '', suffix, ...rest] = exchangeSymbol.split('-')
  const valid = /^[\p{L}\p{N}]{1,30}$/u.test(base) && /^[A-Z0-9]{1,10}$/.test(quote) && rest.length === 0
  if (!valid) return null
  if (marketType === 'SPOT') return suffix === undefined ? pairOf(base, quote) : null
  // A swap quoted in USD is settled in its coin.
  return suffix === 'SWAP' && quote !== 'USD' ? pairOf(base, quote) : null
}

function unifiedSymbol(exchangeSymbol: string, marketType: MarketType): string | null {
  return okxPair(exchangeSymbol, marketType)?.symbol ?? null
}

function supportedSymbol(exchangeSymbol: string, marketType: MarketType): string {
  return supportedContract(unifiedSymbol(exchangeSymbol, marketType))
}

interface Contract {
  symbol: string
  exchangeSymbol: string
  /** Converts a quantity of the exchange, contracts or base units, to base units. */
  inBase: (quantity: Decimal) => Decimal
}

function contractOf(row: JsonRecord, sizes: ContractSizes): Contract {
  const exchangeSymbol = textOf(row, 'instId')
  const spot = unifiedSymbol(exchangeSymbol, 'SPOT')
  if (spot !== null) return { symbol: spot, exchangeSymbol, inBase: quantity => quantity }
  const symbol = supportedSymbol(exchangeSymbol, 'FUTURES')
  const size = sizes.get(exchangeSymbol)
  // An error, so that a position is never left out because the size of its contract is not known.
  if (size === undefined) throw new UnreadableAnswer('a contract has no known size')
  return { symbol, exchangeSymbol, inBase: quantity => new Exact(quantity).times(size).toFixed() }
}

function positionSideOf(row: JsonRecord): PositionSide {
  return meaningOf(row, 'posSide', POSITION_SIDES, 'net')
}

function triggerOf(row: JsonRecord): Decimal | null {
  return priceOf(row, 'triggerPx') ?? priceOf(row, 'slTriggerPx') ?? priceOf(row, 'tpTriggerPx')
}

/**
 * The ids of the ordinary orders that a conditional one became; empty before it was triggered. A take-profit or stop-loss
 * that is split, and an iceberg, have several. Source: okx.com/docs-v5/en, "Get algo order details", `ordIdList`
 */
function triggeredOrderIds(row: JsonRecord): string[] {
  const listed = Array.isArray(row.ordIdList) ? row.ordIdList : []
  const ids = [...listed, row.ordId].filter(id => typeof id === 'string' && id !== '' && id !== '0')
  return [...new Set(ids)]
}
