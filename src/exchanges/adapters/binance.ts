// @FEAT:exchanges @COMP:service @TYPE:integration

import { DAY, MINUTE, SECOND } from '../../async/durations.ts'
import { type Balance, balanceOfParts, balanceOfTotal } from '../../domain/balance.ts'
import { type Decimal, Exact, isZero } from '../../domain/decimal.ts'
import type { Fill } from '../../domain/fill.ts'
import type { Instrument } from '../../domain/instrument.ts'
import type { LedgerReading } from '../../domain/ledger-entry.ts'
import type { MarketType, Price } from '../../domain/market.ts'
import type { Millis } from '../../domain/millis.ts'
import type { FillsRef, OrderRef, OrderSide, OrderState, UnifiedOrder } from '../../domain/order.ts'
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
import { ExchangeError } from '../exchange-error.ts'
import {
  decimalOf,
  isRecord,
  type JsonRecord,
  listOf,
  meaningOf,
  millisOf,
  optionalDecimal,
  optionalMillis,
  optionalText,
  parseLossless,
  priceOf,
  recordOf,
  rowsOf,
  textOf,
  UnreadableAnswer
} from '../http/answer-fields.ts'
import type { Answer, HeaderReader, Refusal, Route, SignedParts } from '../http/exchange-call.ts'
import type { RateLimit, Usage } from '../http/rate-budget.ts'
import { type OnUnreadableRow, RowReader } from '../http/row-reader.ts'
import {
  type AdapterContext,
  hmacSha256,
  instrumentFrom,
  klineClose,
  minuteOf,
  notEmpty,
  queryOf,
  type RefusalTable,
  refusalFrom,
  supportedContract,
  supportedOnly
} from './adapter.ts'
import { BINANCE_LEDGER_REACH_MS, BINANCE_WALLET_LIMITS, BinanceLedger } from './binance-ledger.ts'
import { ConditionalOrders } from './conditional-orders.ts'
import { ExchangeApi, type InstrumentReader } from './exchange-api.ts'
import {
  addUp,
  BINANCE_FUTURES_WINDOWS,
  fillsBetween,
  fillsSince,
  type TimeWindow,
  unitedFills,
  windowsBetween,
  windowsSince
} from './fill-history.ts'

const RECV_WINDOW_MS = 10 * SECOND
const FILLS_PER_PAGE = 1_000
const INCOME_PER_PAGE = 1_000
/**
 * The longest window of trades without an order. Spot reaches back without a bound; two years are enough. Sources:
 * developers.binance.com/docs/binance-spot-api-docs/rest-api/account-endpoints, "Account trade list", and that of `fills`
 */
const TRADES: Readonly<Record<MarketType, { windowMs: number; reachMs: number }>> = {
  SPOT: { windowMs: DAY, reachMs: 730 * DAY },
  FUTURES: { windowMs: BINANCE_FUTURES_WINDOWS.lengthMs, reachMs: BINANCE_FUTURES_WINDOWS.retentionMs }
}
/** A firewall's 403 states no time; Binance asks to back off. */
const FIREWALL_PENALTY_MS = MINUTE

/**
 * Binance counts weight per address and minute, separately for spot and futures. The minutes are those of its clock, and
 * every answer reports the used weight: https://developers.binance.com/docs/binance-spot-api-docs/rest-api/limits and
 * https://developers.binance.com/docs/binance-spot-api-docs/websocket-api/rate-limits. Reads have no limit per key.
 */
const LIMITS: Readonly<Record<MarketType, readonly RateLimit[]>> = {
  SPOT: [{ name: 'weight', weight: 6_000, perMs: MINUTE, scope: 'address', fixed: true }, ...BINANCE_WALLET_LIMITS],
  FUTURES: [{ name: 'weight', weight: 2_400, perMs: MINUTE, scope: 'address', fixed: true }]
}

interface FillsQuery {
  symbol: string
  orderId: string
  limit: number
}

/** A page of a window, or one by id: a large market order may have more fills in one millisecond than a page holds. */
type FuturesPage = TimeWindow | { fromId: string }

interface MarketRoutes {
  time: Route
  prices: Route
  instruments: Route
  order: Route
  openOrders: Route
  openOrdersOfSymbol: Route
  fills: Route
  accountFills: Route
  balances: Route
}

/** A route that is signed unless `signing` says otherwise. */
function route(row: { operation: string; path: string; weight: number; signing?: Route['signing'] }): Route {
  const { operation, path, weight, signing = 'account' } = row
  return { operation, method: 'GET', path, costs: [{ limit: 'weight', weight }], signing }
}

const ROUTES: Readonly<Record<MarketType, MarketRoutes>> = {
  SPOT: {
    time: route({ operation: 'serverTime', path: '/api/v3/time', weight: 1, signing: 'none' }),
    prices: route({ operation: 'lastPrices', path: '/api/v3/ticker/price', weight: 4, signing: 'none' }),
    // The answer has several MB.
    instruments: {
      ...route({ operation: 'instruments', path: '/api/v3/exchangeInfo', weight: 20, signing: 'none' }),
      attemptMs: 30 * SECOND
    },
    order: route({ operation: 'order', path: '/api/v3/order', weight: 4 }),
    openOrders: route({ operation: 'openOrders', path: '/api/v3/openOrders', weight: 80 }),
    openOrdersOfSymbol: route({ operation: 'openOrders', path: '/api/v3/openOrders', weight: 6 }),
    fills: route({ operation: 'fills', path: '/api/v3/myTrades', weight: 20 }),
    accountFills: route({ operation: 'accountFills', path: '/api/v3/myTrades', weight: 20 }),
    balances: route({ operation: 'balances', path: '/api/v3/account', weight: 20 })
  },
  FUTURES: {
    time: route({ operation: 'serverTime', path: '/fapi/v1/time', weight: 1, signing: 'none' }),
    prices: route({ operation: 'lastPrices', path: '/fapi/v2/ticker/price', weight: 2, signing: 'none' }),
    instruments: {
      ...route({ operation: 'instruments', path: '/fapi/v1/exchangeInfo', weight: 1, signing: 'none' }),
      attemptMs: 30 * SECOND
    },
    order: route({ operation: 'order', path: '/fapi/v1/order', weight: 1 }),
    openOrders: route({ operation: 'openOrders', path: '/fapi/v1/openOrders', weight: 40 }),
    openOrdersOfSymbol: route({ operation: 'openOrders', path: '/fapi/v1/openOrders', weight: 1 }),
    fills: route({ operation: 'fills', path: '/fapi/v1/userTrades', weight: 5 }),
    accountFills: route({ operation: 'accountFills', path: '/fapi/v1/userTrades', weight: 5 }),
    balances: route({ operation: 'balances', path: '/fapi/v3/balance', weight: 5 })
  }
}

/** https://developers.binance.com/docs/binance-spot-api-docs/rest-api/market-data-endpoints */
const KLINES = route({ operation: 'minutePrice', path: '/api/v3/klines', weight: 2, signing: 'none' })

/** Routes of futures alone. Since December 2025 conditional orders are algo orders, with ids of their own. */
const FUTURES_ROUTES = {
  marks: route({ operation: 'markPrices', path: '/fapi/v1/premiumIndex', weight: 10, signing: 'none' }),
  positions: route({ operation: 'positions', path: '/fapi/v3/positionRisk', weight: 5 }),
  /** Every trade with a commission or a realised PnL is in this list, which needs no symbol. */
  tradedSymbols: route({ operation: 'accountFills', path: '/fapi/v1/income', weight: 30 }),
  heldSymbols: route({ operation: 'accountFills', path: '/fapi/v3/positionRisk', weight: 5 }),
  algoOrder: route({ operation: 'order', path: '/fapi/v1/algoOrder', weight: 1 }),
  openAlgoOrders: route({ operation: 'openOrders', path: '/fapi/v1/openAlgoOrders', weight: 40 }),
  openAlgoOrdersOfSymbol: route({ operation: 'openOrders', path: '/fapi/v1/openAlgoOrders', weight: 1 })
}
const CONDITIONAL = /STOP|TAKE_PROFIT|TRAILING/i
/**
 * Ids of orders of the exchange itself: liquidation, auto-deleveraging, delisting. Source:
 * developers.binance.com/docs/derivatives/usds-margined-futures/user-data-streams/Event-Order-Update
 */
const FORCED_ORDER = /^(autoclose-|adl_autoclose|settlement_autoclose-)/

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

/** States of an algo order. A triggered one has become an ordinary order, whose state counts. */
const ALGO_STATES: Readonly<Record<string, OrderState>> = {
  NEW: 'open',
  TRIGGERING: 'open',
  TRIGGERED: 'open',
  FINISHED: 'open',
  CANCELED: 'canceled',
  REJECTED: 'rejected',
  EXPIRED: 'expired'
}

const SIDES: Readonly<Record<string, OrderSide>> = { BUY: 'BUY', SELL: 'SELL' }
const POSITION_SIDES: Readonly<Record<string, PositionSide>> = { BOTH: 'BOTH', LONG: 'LONG', SHORT: 'SHORT' }

/** Spot and USD-M futures. Coin-margined and dated contracts are rejected. */
export class BinanceClient implements ExchangeClient {
  readonly exchange = 'BINANCE'
  readonly marketType: MarketType
  readonly isTestnet: boolean
  readonly orderCosts: OrderCosts
  readonly fillsListedBy = 'symbol'
  readonly fillsReachMs: Millis
  readonly #api: ExchangeApi<unknown>
  readonly #routes: MarketRoutes
  readonly #orders: ConditionalOrders
  readonly #ledger: BinanceLedger
  readonly ledgerReachMs: Millis

  constructor(context: AdapterContext) {
    const { marketType, baseUrl } = context
    this.marketType = marketType
    this.isTestnet = context.isTestnet
    this.orderCosts = orderCostsOf(marketType)
    this.fillsReachMs = TRADES[marketType].reachMs
    this.#routes = ROUTES[marketType]
    this.#api = new ExchangeApi({
      context,
      host: {
        // Spot and futures have separate limits, even behind one proxy.
        id: `${baseUrl} ${marketType}`,
        limits: LIMITS[marketType],
        refusalOf: binanceRefusal,
        usage: { limits: ['weight'], read: binanceUsage }
      },
      clock: {
        route: this.#routes.time,
        read: ({ body }) => millisOf(recordOf(body, 'the answer'), 'serverTime')
      },
      sign: ({ query, credentials, at }) => {
        const window = queryOf({ recvWindow: RECV_WINDOW_MS, timestamp: at })
        return signBinance(query === '' ? window : `${query}&${window}`, credentials)
      },
      payloadOf: body => body
    })
    this.ledgerReachMs = BINANCE_LEDGER_REACH_MS[marketType]
    const isRead = (exchangeSymbol: string) => unifiedSymbol(exchangeSymbol) !== null
    this.#ledger = new BinanceLedger({ api: this.#api, marketType, isTestnet: context.isTestnet, isRead })
    this.#orders = new ConditionalOrders({
      exchange: this.exchange,
      orderTypes: marketType === 'FUTURES' ? CONDITIONAL : null,
      symbolField: 'symbol',
      readRow: async ({ exchangeOrderId }, options) => {
        const request = { route: FUTURES_ROUTES.algoOrder, query: queryOf({ algoId: exchangeOrderId }) }
        return await this.#api.read(request, body => recordOf(body, 'the order'), options)
      },
      parse: async row => this.#api.parse('order', () => parseBinanceAlgoOrder(row)),
      triggeredOrderIds,
      isTriggered: ({ algoStatus }) => algoStatus === 'FINISHED',
      mayTriggerAgain: () => false,
      readOrdinary: async ({ exchangeSymbol, exchangeOrderId }, options) => {
        const query = queryOf({ symbol: exchangeSymbol, orderId: exchangeOrderId })
        const parse = (body: unknown) => parseBinanceOrder(recordOf(body, 'the order'), marketType)
        return await this.#api.read({ route: this.#routes.order, query }, parse, options)
      }
    })
  }

  async lastPrices(options?: CallOptions): Promise<Price[]> {
    const fields = { symbol: 'symbol', price: 'price', time: 'time' }
    return await this.#api.readPrices({ route: this.#routes.prices, fields, unifiedSymbol }, options)
  }

  /** https://developers.binance.com/docs/derivatives/usds-margined-futures/market-data/rest-api/Mark-Price */
  async markPrices(options?: CallOptions): Promise<Price[]> {
    if (this.marketType === 'SPOT') return []
    const fields = { symbol: 'symbol', price: 'markPrice', time: 'time' }
    return await this.#api.readPrices({ route: FUTURES_ROUTES.marks, fields, unifiedSymbol }, options)
  }

  async minutePrice(symbol: string, at: Millis, options?: CallOptions): Promise<Decimal | null> {
    if (this.marketType !== 'SPOT') return null
    const minute = minuteOf(at)
    const query = queryOf({ symbol, interval: '1m', startTime: minute, limit: 1 })
    const parse = (body: unknown) => klineClose(listOf(body, 'klines'), minute, 4)
    return await this.#api.read({ route: KLINES, query }, parse, options)
  }

  /**
   * Spot has every status without a filter, `BREAK` and `HALT` included. Without the names of permission sets the answer
   * has half the size.
   *
   * https://developers.binance.com/docs/binance-spot-api-docs/rest-api/general-endpoints
   */
  async instruments(options?: CallOptions): Promise<Instrument[]> {
    const query = this.marketType === 'SPOT' ? queryOf({ showPermissionSets: 'false' }) : ''
    const reader: InstrumentReader = (...callbacks) => instrumentReader(this.marketType, ...callbacks)
    return await this.#api.readRows({ route: this.#routes.instruments, query, reader, read: notEmpty }, options)
  }

  async order(ref: OrderRef, options?: CallOptions): Promise<UnifiedOrder> {
    this.#api.parse('order', () => supportedSymbol(ref.exchangeSymbol))
    return await this.#orders.order(ref, options)
  }

  async openOrders(options?: OpenOrdersOptions): Promise<UnifiedOrder[]> {
    const { onInvalidRow, exchangeSymbol } = options ?? {}
    const query = queryOf({ symbol: exchangeSymbol })
    const isAll = exchangeSymbol === undefined
    const parse = (body: unknown) =>
      supportedOnly(listOf(body, 'open orders'), row => parseBinanceOrder(row, this.marketType), onInvalidRow)
    const route = isAll ? this.#routes.openOrders : this.#routes.openOrdersOfSymbol
    const ordinary = this.#api.read({ route, query }, parse, options)
    if (this.marketType === 'SPOT') return await ordinary
    const parseAlgo = (body: unknown) =>
      supportedOnly(listOf(body, 'open algo orders'), parseBinanceAlgoOrder, onInvalidRow)
    const algoRoute = isAll ? FUTURES_ROUTES.openAlgoOrders : FUTURES_ROUTES.openAlgoOrdersOfSymbol
    const conditional = this.#api.read({ route: algoRoute, query }, parseAlgo, options)
    return (await Promise.all([ordinary, conditional])).flat()
  }

  /**
   * On spot the trades of an order have no windows: `orderId` with `fromId` reads all pages. The list of futures reaches
   * back 7 days without times, so that windows are read until the fills add up to the filled quantity. There `fromId` cannot
   * be sent with times: the next page of a window begins at the time of its last row, unless the whole page has one time.
   * Source: developers.binance.com/docs/derivatives/usds-margined-futures/trade/rest-api/Account-Trade-List
   */
  async fills(ref: FillsRef, options?: CallOptions): Promise<Fill[]> {
    this.#api.parse('fills', () => supportedSymbol(ref.exchangeSymbol))
    const [orderId] = await this.#orders.executedOrderIds(ref, options)
    if (orderId === undefined) return []
    const query = { symbol: ref.exchangeSymbol, orderId, limit: FILLS_PER_PAGE }
    if (this.marketType === 'SPOT') return unitedFills(await this.#spotFills(query, options), ref)
    const fills: Fill[] = []
    for (const window of windowsSince(fillsSince(ref), this.#api.host.now, BINANCE_FUTURES_WINDOWS)) {
      fills.unshift(...(await this.#futuresFills(query, window, options)))
      if (addUp(fills, ref)) break
    }
    return unitedFills(fills, ref)
  }

  async #spotFills(query: FillsQuery, options: CallOptions | undefined): Promise<Fill[]> {
    return await this.#api.readPages<Fill, string>(
      {
        ...this.#fillsRequest(query),
        query: fromId => queryOf({ ...query, fromId }),
        read: body => {
          const rows = rowsOf(body, 'fills')
          const last = rows.length < FILLS_PER_PAGE ? undefined : rows.at(-1)
          return { rows, next: last && idAfter(last) }
        }
      },
      options
    )
  }

  async #futuresFills(query: FillsQuery, window: TimeWindow, options: CallOptions | undefined): Promise<Fill[]> {
    return await this.#api.readPages<Fill, FuturesPage>(
      {
        ...this.#fillsRequest(query),
        query: (page = window) => queryOf({ ...query, ...page }),
        read: (body, page = window) => {
          const rows = rowsOf(body, 'fills')
          return { rows, next: pageAfter(rows, page) }
        }
      },
      options
    )
  }

  #fillsRequest({ orderId }: FillsQuery) {
    return {
      route: this.#routes.fills,
      // The two sides of a trade of an account with itself have one id.
      idFields: ['orderId', 'id'],
      parse: (rows: unknown[]) =>
        rowsOf(rows, 'fills')
          .filter(row => row.orderId === orderId)
          .map(row => parseBinanceFill(row, this.marketType))
    }
  }

  /**
   * Trades are listed by symbol only. Futures name those that were traded in the lists of income and of positions. On spot the fills
   * of other symbols than the given ones are not found. A symbol that the exchange does not know any more has no fills.
   */
  async accountFills(range: AccountFillsRange, options?: CallOptions): Promise<Fill[]> {
    const isNamed = this.marketType === 'SPOT' || range.onlySymbols === true
    const traded = isNamed
      ? []
      : [...(await this.#tradedSymbols(range, options)), ...(await this.#heldSymbols(options))]
    const fills: Fill[] = []
    for (const symbol of new Set([...range.symbols, ...traded])) {
      if (unifiedSymbol(symbol) === null) continue
      let until: Millis | null = range.until
      if (this.marketType === 'SPOT' && range.until - range.from > TRADES.SPOT.windowMs) {
        const newest = await this.#newestTrades(symbol, range, options)
        fills.push(...newest.fills)
        until = newest.unreadUntil
      }
      if (until === null) continue
      for (const window of windowsBetween({ from: range.from, until }, TRADES[this.marketType].windowMs)) {
        fills.push(...(await this.#tradesOf(symbol, window, options)))
      }
    }
    return fillsBetween(fills, range)
  }

  /**
   * The newest trades of a symbol of spot, in one call instead of one for each day. `unreadUntil` is the end of what is left
   * of the range; null when they cover it. Source:
   * developers.binance.com/docs/binance-spot-api-docs/rest-api/account-endpoints#account-trade-list-user_data
   */
  async #newestTrades(
    symbol: string,
    { from, until }: AccountFillsRange,
    options: CallOptions | undefined
  ): Promise<{ fills: Fill[]; unreadUntil: Millis | null }> {
    const parse = (row: JsonRecord) => parseBinanceFill(row, this.marketType)
    // A row whose time cannot be read may be one of the range.
    const isInside = ({ time }: JsonRecord) => !(Number(time) < from || Number(time) >= until)
    const request = { route: this.#routes.accountFills, query: queryOf({ symbol, limit: FILLS_PER_PAGE }) }
    const read = (body: unknown) => {
      const rows = rowsOf(body, 'fills')
      const oldest = Math.min(...rows.map(({ time }) => Number(time)).filter(Number.isFinite))
      const isWhole = rows.length < FILLS_PER_PAGE || oldest < from
      // Others of the millisecond of the oldest one may be on the page before.
      const unreadUntil = isWhole ? null : Math.min(until, oldest + 1)
      return { fills: supportedOnly(rows.filter(isInside), parse, options?.onInvalidRow), unreadUntil }
    }
    try {
      return await this.#api.read(request, read, options)
    } catch (err) {
      if (err instanceof ExchangeError && err.code === 'bad_symbol') return { fills: [], unreadUntil: null }
      throw err
    }
  }

  async #tradesOf(symbol: string, window: TimeWindow, options: CallOptions | undefined): Promise<Fill[]> {
    const { onInvalidRow } = options ?? {}
    const parse = (row: JsonRecord) => parseBinanceFill(row, this.marketType)
    try {
      return await this.#api.readPages<Fill, FuturesPage>(
        {
          route: this.#routes.accountFills,
          query: (page = window) => queryOf({ symbol, limit: FILLS_PER_PAGE, ...page }),
          idFields: ['orderId', 'id'],
          read: (body, page = window) => {
            const rows = rowsOf(body, 'fills')
            const last = rows.at(-1)
            const isOver = last !== undefined && millisOf(last, 'time') > window.endTime
            return { rows, next: isOver ? undefined : pageAfter(rows, page) }
          },
          parse: rows => supportedOnly(rows, parse, onInvalidRow)
        },
        options
      )
    } catch (err) {
      if (err instanceof ExchangeError && err.code === 'bad_symbol') return []
      throw err
    }
  }

  /** The symbols of open positions: a trade without a commission that opens one is not in the list of income. */
  async #heldSymbols(options: CallOptions | undefined): Promise<string[]> {
    const read = (body: unknown) => rowsOf(body, 'positions').flatMap(row => optionalText(row, 'symbol') ?? [])
    return await this.#api.read({ route: FUTURES_ROUTES.heldSymbols }, read, options)
  }

  /** Source: developers.binance.com/docs/derivatives/usds-margined-futures/account/rest-api/Get-Income-History */
  async #tradedSymbols(range: AccountFillsRange, options: CallOptions | undefined): Promise<string[]> {
    const symbols: string[] = []
    for (const window of windowsBetween(range, TRADES.FUTURES.windowMs)) {
      const listed = await this.#api.readPages<string, number>(
        {
          route: FUTURES_ROUTES.tradedSymbols,
          query: (page = 1) => queryOf({ ...window, page, limit: INCOME_PER_PAGE }),
          read: (body, page = 1) => {
            const rows = rowsOf(body, 'income')
            return { rows, next: rows.length < INCOME_PER_PAGE ? undefined : page + 1 }
          },
          parse: rows => rowsOf(rows, 'income').flatMap(row => optionalText(row, 'symbol') ?? [])
        },
        options
      )
      symbols.push(...listed)
    }
    return symbols
  }

  async balances(options?: CallOptions): Promise<Balance[]> {
    const query = this.marketType === 'SPOT' ? queryOf({ omitZeroBalances: 'true' }) : ''
    const parse = this.marketType === 'SPOT' ? parseBinanceSpotBalances : parseBinanceFuturesBalances
    const parseAll = (body: unknown) => parse(body, options?.onInvalidRow)
    return await this.#api.read({ route: this.#routes.balances, query }, parseAll, options)
  }

  async positions(options?: CallOptions): Promise<Position[]> {
    if (this.marketType === 'SPOT') return []
    const parse = (body: unknown) =>
      supportedOnly(listOf(body, 'positions'), parseBinancePosition, options?.onInvalidRow)
    return await this.#api.read({ route: FUTURES_ROUTES.positions }, parse, options)
  }

  async ledger(range: TimeRange, options?: CallOptions): Promise<LedgerReading> {
    return await this.#ledger.read(range, options)
  }

  async serverTime(options?: CallOptions): Promise<Millis> {
    return await this.#api.serverTime(options)
  }
}

/** On futures a list is two: that of ordinary and that of conditional orders. */
function orderCostsOf(marketType: MarketType): OrderCosts {
  const weightOf = (...routes: Route[]) =>
    routes.flatMap(({ costs }) => costs).reduce((sum, cost) => sum + cost.weight, 0)
  const { openOrders, openOrdersOfSymbol, order } = ROUTES[marketType]
  const { openAlgoOrders, openAlgoOrdersOfSymbol } = FUTURES_ROUTES
  return marketType === 'SPOT'
    ? { list: weightOf(openOrders), listOfSymbol: weightOf(openOrdersOfSymbol), order: weightOf(order) }
    : {
        list: weightOf(openOrders, openAlgoOrders),
        listOfSymbol: weightOf(openOrdersOfSymbol, openAlgoOrdersOfSymbol),
        order: weightOf(order)
      }
}

/** Signs a query that contains `timestamp`: appends the hex HMAC-SHA256 of the query string. */
export function signBinance(query: string, { apiKey, apiSecret }: Credentials): SignedParts {
  return {
    query: `${query}&signature=${hmacSha256(apiSecret, query, 'hex')}`,
    headers: { 'x-mbx-apikey': apiKey }
  }
}

/**
 * An order in any of Binance's shapes: queried, listed, or as the answer to its creation.
 *
 * @throws {UnreadableAnswer}
 * @throws {UnsupportedSymbol} for coin-margined and dated contracts
 */
export function parseBinanceOrder(row: JsonRecord, marketType: MarketType): UnifiedOrder {
  const exchangeSymbol = textOf(row, 'symbol')
  const filledQuantity = decimalOf(row, 'executedQty')
  return {
    exchangeOrderId: textOf(row, 'orderId'),
    clientOrderId: optionalText(row, 'clientOrderId'),
    symbol: supportedSymbol(exchangeSymbol),
    exchangeSymbol,
    side: meaningOf(row, 'side', SIDES),
    positionSide: marketType === 'SPOT' ? 'BOTH' : positionSideOf(row),
    orderType: textOf(row, 'type'),
    price: priceOf(row, 'price'),
    stopPrice: priceOf(row, 'stopPrice'),
    quantity: priceOf(row, 'origQty'),
    filledQuantity,
    averagePrice: marketType === 'SPOT' ? spotAverage(row, filledQuantity) : priceOf(row, 'avgPrice'),
    status: meaningOf(row, 'status', STATES),
    createdAt: optionalMillis(row, 'time') ?? optionalMillis(row, 'transactTime'),
    updatedAt: optionalMillis(row, 'updateTime') ?? optionalMillis(row, 'transactTime'),
    ...(FORCED_ORDER.test(optionalText(row, 'clientOrderId') ?? '') && { forced: true as const })
  }
}

/** A conditional futures order as it was placed. @throws {UnreadableAnswer} @throws {UnsupportedSymbol} */
export function parseBinanceAlgoOrder(row: JsonRecord): UnifiedOrder {
  const exchangeSymbol = textOf(row, 'symbol')
  return {
    exchangeOrderId: textOf(row, 'algoId'),
    clientOrderId: optionalText(row, 'clientAlgoId'),
    symbol: supportedSymbol(exchangeSymbol),
    exchangeSymbol,
    side: meaningOf(row, 'side', SIDES),
    positionSide: positionSideOf(row),
    orderType: textOf(row, 'orderType'),
    price: priceOf(row, 'price'),
    stopPrice: priceOf(row, 'triggerPrice'),
    quantity: priceOf(row, 'quantity'),
    filledQuantity: '0',
    averagePrice: null,
    status: meaningOf(row, 'algoStatus', ALGO_STATES),
    createdAt: optionalMillis(row, 'createTime'),
    updatedAt: optionalMillis(row, 'updateTime')
  }
}

/** @throws {UnreadableAnswer} @throws {UnsupportedSymbol} */
export function parseBinanceFill(row: JsonRecord, marketType: MarketType): Fill {
  const exchangeSymbol = textOf(row, 'symbol')
  return {
    exchangeTradeId: textOf(row, 'id'),
    exchangeOrderId: textOf(row, 'orderId'),
    symbol: supportedSymbol(exchangeSymbol),
    exchangeSymbol,
    side: marketType === 'SPOT' ? spotSide(row) : meaningOf(row, 'side', SIDES),
    positionSide: marketType === 'SPOT' ? 'BOTH' : positionSideOf(row),
    price: decimalOf(row, 'price'),
    quantity: decimalOf(row, 'qty'),
    fee: optionalDecimal(row, 'commission'),
    feeAsset: optionalText(row, 'commissionAsset'),
    realizedPnl: marketType === 'SPOT' ? null : optionalDecimal(row, 'realizedPnl'),
    executedAt: millisOf(row, 'time')
  }
}

/** @throws {UnreadableAnswer} */
export function parseBinanceSpotBalances(body: unknown, onInvalidRow?: OnInvalidRow): Balance[] {
  return supportedOnly(
    listOf(recordOf(body, 'the account').balances, 'balances'),
    row => balanceOfParts(textOf(row, 'asset'), decimalOf(row, 'free'), decimalOf(row, 'locked')),
    onInvalidRow
  )
}

/** Wallet balances. @throws {UnreadableAnswer} */
export function parseBinanceFuturesBalances(body: unknown, onInvalidRow?: OnInvalidRow): Balance[] {
  return supportedOnly(
    listOf(body, 'balances'),
    row => balanceOfTotal(textOf(row, 'asset'), decimalOf(row, 'balance'), decimalOf(row, 'availableBalance')),
    onInvalidRow
  )
}

/** Null for a flat position. @throws {UnreadableAnswer} @throws {UnsupportedSymbol} */
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

/** Perpetuals on coins, and those on shares and metals. Both are linear here; the other types are dated. */
const PERPETUALS: ReadonlySet<string | null> = new Set(['PERPETUAL', 'TRADIFI_PERPETUAL'])

function instrumentReader(
  marketType: MarketType,
  add: (instrument: Instrument) => void,
  onUnreadable: OnUnreadableRow | undefined
): RowReader {
  const fields = ['symbol', 'status', 'baseAsset', 'quoteAsset', 'filters', 'contractType']
  return new RowReader(
    fields,
    ([exchangeSymbol, status, base, quote, filters, contractType]) => {
      if (marketType === 'FUTURES' && !PERPETUALS.has(contractType ?? null)) return
      add(instrumentFrom({ exchangeSymbol, base, quote, ...stepsOf(filters), trading: status === 'TRADING' }))
    },
    { array: 'symbols', nested: ['filters'], onUnreadable }
  )
}

/** The steps in the list of filters. @throws {UnreadableAnswer} */
function stepsOf(filters: string | null | undefined) {
  const rows = filters ? rowsOf(parseLossless(filters), 'filters') : []
  const step = (type: string, field: string) => {
    const filter = rows.find(row => row.filterType === type)
    return filter === undefined ? null : optionalText(filter, field)
  }
  return { priceStep: step('PRICE_FILTER', 'tickSize'), quantityStep: step('LOT_SIZE', 'stepSize') }
}

const REFUSALS: RefusalTable = {
  '-1000': 'unavailable',
  '-1001': 'unavailable',
  '-1002': 'authentication',
  '-1003': 'rate_limited',
  '-1007': 'timeout',
  '-1008': 'unavailable',
  '-1015': 'rate_limited',
  '-1021': 'clock',
  '-1022': 'authentication',
  '-1099': 'authentication',
  '-1121': 'bad_symbol',
  '-2008': 'authentication',
  '-2013': 'order_not_found',
  '-2014': 'authentication',
  '-2015': 'authentication'
}

/** The weight that the programs behind our address used in this minute; it begins again with each minute of the exchange. */
function binanceUsage(header: HeaderReader): Usage | null {
  const used = header('x-mbx-used-weight-1m')
  return used !== null && /^\d{1,9}$/.test(used) ? { limit: 'weight', used: Number(used) } : null
}

function binanceRefusal({ status, body }: Answer): Refusal | null {
  if (status === 200 || status === 418) return null
  if (status === 403) return { code: 'rate_limited', exchangeCode: '403', retryAfterMs: FIREWALL_PENALTY_MS }
  return isRecord(body) ? refusalFrom(REFUSALS, optionalText(body, 'code')) : null
}

/** The id of the ordinary order that a conditional one became; empty before it was triggered. */
function triggeredOrderIds(row: JsonRecord): string[] {
  const id = optionalText(row, 'actualOrderId')
  return id === null || id === '0' ? [] : [id]
}

function pageAfter(rows: readonly JsonRecord[], page: FuturesPage): FuturesPage | undefined {
  const [first] = rows
  const last = rows.at(-1)
  if (first === undefined || last === undefined || rows.length < FILLS_PER_PAGE) return undefined
  const startTime = millisOf(last, 'time')
  if ('startTime' in page && startTime > millisOf(first, 'time')) return { ...page, startTime }
  return { fromId: idAfter(last) }
}

/** The trade id after that of a row. @throws {UnreadableAnswer} when it is not a whole number */
function idAfter(row: JsonRecord): string {
  const id = textOf(row, 'id')
  if (!/^\d{1,20}$/.test(id)) throw new UnreadableAnswer('id is not a number')
  return String(BigInt(id) + 1n)
}

function unifiedSymbol(exchangeSymbol: string): string | null {
  return /^[\p{L}\p{N}]{2,40}$/u.test(exchangeSymbol) ? exchangeSymbol : null
}

function supportedSymbol(exchangeSymbol: string): string {
  return supportedContract(unifiedSymbol(exchangeSymbol))
}

function spotSide(row: JsonRecord): OrderSide {
  return textOf(row, 'isBuyer') === 'true' ? 'BUY' : 'SELL'
}

function positionSideOf(row: JsonRecord): PositionSide {
  return meaningOf(row, 'positionSide', POSITION_SIDES, 'BOTH')
}

function spotAverage(row: JsonRecord, filledQuantity: Decimal): Decimal | null {
  const cost = priceOf(row, 'cummulativeQuoteQty')
  // Binance writes a cost below zero when it is not known, on very old orders.
  if (cost === null || cost.startsWith('-') || isZero(filledQuantity)) return null
  return new Exact(cost).div(filledQuantity).toFixed()
}
