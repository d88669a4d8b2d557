// @FEAT:exchanges @COMP:service @TYPE:helper
/**
 * What Upbit and Bithumb share: generation 2 of Bithumb's API has Upbit's routes and field names. Markets are written
 * quote first (`KRW-BTC`), requests are signed with a JSON web token.
 */
import { createHash, randomUUID } from 'node:crypto'
import { DAY } from '../../async/durations.ts'
import { type Balance, balanceOfParts } from '../../domain/balance.ts'
import { type Decimal, Exact, isZero } from '../../domain/decimal.ts'
import type { Fill } from '../../domain/fill.ts'
import type { Instrument } from '../../domain/instrument.ts'
import type { LedgerReading } from '../../domain/ledger-entry.ts'
import type { ExchangeName, Price } from '../../domain/market.ts'
import type { Millis } from '../../domain/millis.ts'
import type { OrderRef, OrderSide, OrderState, UnifiedOrder } from '../../domain/order.ts'
import { type Pair, pairOf } from '../../domain/pair.ts'
import type { Position } from '../../domain/position.ts'
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
  optionalDecimal,
  optionalText,
  optionalTime,
  priceOf,
  recordOf,
  rowsOf,
  textOf,
  UnreadableAnswer
} from '../http/answer-fields.ts'
import type { Answer, Refusal, Route, SignedParts } from '../http/exchange-call.ts'
import type { UsageSource } from '../http/host-options.ts'
import type { RateLimit } from '../http/rate-budget.ts'
import { RowReader } from '../http/row-reader.ts'
import {
  type AdapterContext,
  differBeyondRounding,
  hmacSha256,
  instrumentFrom,
  notEmpty,
  ONE_CALL_EACH,
  queryOf,
  type RefusalTable,
  refusalFrom,
  reportContradiction,
  supportedOnly,
  UnsupportedSymbol
} from './adapter.ts'
import { ExchangeApi, type InstrumentReader, type PriceList } from './exchange-api.ts'
import { fillsBetween, type TimeWindow, windowsBetween } from './fill-history.ts'
import { type LedgerRows, ledgerReading } from './ledger-rows.ts'
import {
  isLastPage,
  TOKEN_LEDGER_REACH_MS,
  type TransferList,
  transferEntries,
  transfersQuery,
  transferTime,
  UPBIT_TRANSFERS
} from './upbit-ledger.ts'

const HALF_A_SECOND_MS = 500
const MARKET = /^([A-Z0-9]{1,20})-([A-Z0-9]{1,20})$/
const HEADER = Buffer.from('{"alg":"HS256","typ":"JWT"}').toString('base64url')

const ORDERS_PER_PAGE = 100
const CLOSED_PER_PAGE = 1_000
/** The longest time between the ends of a window of closed orders. */
const CLOSED_WINDOW_MS = 7 * DAY
/**
 * Closed orders are listed by the time of their creation. An order that was created so long before a range is not read for
 * fills of the range.
 */
const ORDER_LIFE_MS = 30 * DAY
/** How far back closed orders are read. No bound is documented. */
const FILLS_REACH_MS = 365 * DAY

const SIDES: Readonly<Record<string, OrderSide>> = { bid: 'BUY', ask: 'SELL' }

/** How an exchange differs from the others of this dialect. */
export interface Dialect {
  exchange: ExchangeName
  /** The limit for public calls, per address, and the one for signed calls, per key unless its scope is the address. */
  limits: {
    public: Omit<RateLimit, 'name' | 'scope'>
    private: Omit<RateLimit, 'name' | 'scope'> & { scope?: RateLimit['scope'] }
  }
  /** How it reports what is used of `public` and `private`. Default not at all. */
  usage?: UsageSource
  prices: Pick<PriceList, 'query' | 'fields' | 'symbolOfKey' | 'timeOf'> & { path: string }
  openOrdersPath: string
  /**
   * The list of closed orders: of windows of time, or all of them, the newest first. Sources:
   * docs.upbit.com/kr/reference/list-closed-orders, apidocs.bithumb.com/reference/주문-리스트-조회
   */
  closedOrders: { path: string; has: 'windows' | 'pages' }
  /** Its lists of deposits and withdrawals. Default those of Upbit. */
  transfers?: readonly TransferList[]
  /** Whether the token contains the time. */
  timestamped: boolean
  /** What refusals mean, by name. */
  refusals: RefusalTable
  /** The refusal in an answer with status 200. Default none. */
  hiddenRefusalOf?: (answer: Answer) => Refusal | null
}

/** The key does not have the permission for a call. */
const NOT_PERMITTED = 'out_of_scope'

/** The names of refusals that the exchanges of this dialect share. */
export const SHARED_REFUSALS: RefusalTable = {
  invalid_access_key: 'authentication',
  expired_access_key: 'authentication',
  jwt_verification: 'authentication',
  invalid_query_payload: 'authentication',
  nonce_used: 'authentication',
  no_authorization_token: 'authentication',
  no_authorization_ip: 'permission',
  [NOT_PERMITTED]: 'permission',
  order_not_found: 'order_not_found',
  invalid_market: 'bad_symbol',
  market_does_not_exist: 'bad_symbol',
  too_many_requests: 'rate_limited'
}

function publicRoute({ operation, path }: { operation: string; path: string }): Route {
  return { operation, method: 'GET', path, costs: [{ limit: 'public', weight: 1 }], signing: 'none' }
}

function accountRoute({ operation, path }: { operation: string; path: string }): Route {
  return { operation, method: 'GET', path, costs: [{ limit: 'private', weight: 1 }], signing: 'account' }
}

const ROUTES = {
  time: publicRoute({ operation: 'serverTime', path: '/v1/ticker' }),
  instruments: publicRoute({ operation: 'instruments', path: '/v1/market/all' }),
  order: accountRoute({ operation: 'order', path: '/v1/order' }),
  fills: accountRoute({ operation: 'fills', path: '/v1/order' }),
  accountFills: accountRoute({ operation: 'accountFills', path: '/v1/order' }),
  balances: accountRoute({ operation: 'balances', path: '/v1/accounts' })
}

/** A client for an exchange of this dialect: spot, prices of the KRW markets, no testnet, no route for its clock. */
export class DialectClient implements ExchangeClient {
  readonly exchange: ExchangeName
  readonly marketType = 'SPOT'
  readonly isTestnet = false
  readonly orderCosts: OrderCosts = ONE_CALL_EACH
  readonly fillsListedBy = 'order'
  readonly fillsReachMs = FILLS_REACH_MS
  readonly ledgerReachMs = TOKEN_LEDGER_REACH_MS
  readonly #api: ExchangeApi<unknown>
  readonly #prices: PriceList
  readonly #openOrders: Route
  readonly #closedOrders: Route
  readonly #hasWindows: boolean
  readonly #transfers: readonly TransferList[]

  constructor(context: AdapterContext, dialect: Dialect) {
    const { path, ...prices } = dialect.prices
    this.exchange = dialect.exchange
    this.#prices = { ...prices, route: publicRoute({ operation: 'lastPrices', path }), unifiedSymbol }
    this.#transfers = dialect.transfers ?? UPBIT_TRANSFERS
    this.#openOrders = accountRoute({ operation: 'openOrders', path: dialect.openOrdersPath })
    this.#closedOrders = accountRoute({ operation: 'accountFills', path: dialect.closedOrders.path })
    this.#hasWindows = dialect.closedOrders.has === 'windows'
    this.#api = new ExchangeApi({
      context,
      host: {
        limits: [
          { name: 'public', scope: 'address', ...dialect.limits.public },
          { name: 'private', scope: 'key', ...dialect.limits.private }
        ],
        refusalOf: answer => refusalIn(answer, dialect),
        ...(dialect.usage && { usage: dialect.usage })
      },
      clock: { route: ROUTES.time, query: queryOf({ markets: 'KRW-BTC' }), read: dateOf },
      sign: ({ query, credentials, at }) =>
        signWithToken(query, credentials, randomUUID(), dialect.timestamped ? { timestamp: at } : {}),
      payloadOf: body => body
    })
  }

  async lastPrices(options?: CallOptions): Promise<Price[]> {
    return await this.#api.readPrices(this.#prices, options)
  }

  async markPrices(): Promise<Price[]> {
    return []
  }

  /** Every fee is in the quote currency. */
  async minutePrice(): Promise<Decimal | null> {
    return null
  }

  /**
   * The markets of every quote currency. The list has no state and no steps: a listed market trades, a delisted one is
   * absent.
   *
   * https://docs.upbit.com/kr/reference/list-trading-pairs, https://apidocs.bithumb.com/reference/마켓코드-조회
   */
  async instruments(options?: CallOptions): Promise<Instrument[]> {
    return await this.#api.readRows({ route: ROUTES.instruments, reader: instrumentReader, read: notEmpty }, options)
  }

  async order(ref: OrderRef, options?: CallOptions): Promise<UnifiedOrder> {
    this.#api.parse('order', () => symbolOfMarket(ref.exchangeSymbol))
    const request = { route: ROUTES.order, query: queryOf({ uuid: ref.exchangeOrderId }) }
    return await this.#api.read(
      request,
      body => checkedOrder(recordOf(body, 'the order'), options?.onInvalidRow),
      options
    )
  }

  /**
   * Trades are listed by order only: those of each closed order that was created up to 30 days before the range, those of
   * each open order that is filled in part, and those of the given orders.
   */
  async accountFills(range: AccountFillsRange, options?: CallOptions): Promise<Fill[]> {
    const { known, orders = [], until } = range
    const from = range.from - ORDER_LIFE_MS
    const ids = [...orders, ...(await this.#openIds(options))]
    if (this.#hasWindows) {
      for (const window of windowsBetween({ from, until }, CLOSED_WINDOW_MS)) {
        ids.push(...(await this.#closedIdsOf(window, options)))
      }
    } else ids.push(...(await this.#closedIdsSince(from, options)))
    const fills: Fill[] = []
    for (const uuid of new Set(ids)) {
      if (known?.has(uuid)) continue
      const request = { route: ROUTES.accountFills, query: queryOf({ uuid }) }
      const parse = (body: unknown) => supportedOnly([body], parseTokenFills, options?.onInvalidRow).flat()
      try {
        fills.push(...(await this.#api.read(request, parse, options)))
      } catch (err) {
        // The exchange does not keep orders that were cancelled without a trade.
        if (!(orders.includes(uuid) && err instanceof ExchangeError && err.code === 'order_not_found')) throw err
      }
    }
    return fillsBetween(fills, range)
  }

  async #openIds(options: CallOptions | undefined): Promise<string[]> {
    const route = { ...this.#openOrders, operation: 'accountFills' }
    const base = `states[]=wait&states[]=watch&limit=${ORDERS_PER_PAGE}&order_by=asc`
    return await this.#idPages(
      route,
      page => `${base}&page=${page}`,
      ORDERS_PER_PAGE,
      Number.NEGATIVE_INFINITY,
      options
    )
  }

  /** The pages of all closed orders, the newest first, until one has an order of before `since`. */
  async #closedIdsSince(since: Millis, options: CallOptions | undefined): Promise<string[]> {
    const base = `states[]=done&states[]=cancel&limit=${ORDERS_PER_PAGE}&order_by=desc`
    return await this.#idPages(this.#closedOrders, page => `${base}&page=${page}`, ORDERS_PER_PAGE, since, options)
  }

  /** A window has no pages: the next part of it begins at the creation of the last order. */
  async #closedIdsOf(window: TimeWindow, options: CallOptions | undefined): Promise<string[]> {
    const base = `states[]=done&states[]=cancel&limit=${CLOSED_PER_PAGE}&order_by=asc&end_time=${window.endTime}`
    return await this.#api.readPages<string, Millis>(
      {
        route: this.#closedOrders,
        query: (startTime = window.startTime) => `${base}&start_time=${startTime}`,
        read: body => {
          const rows = rowsOf(body, 'closed orders')
          const last = rows.length < CLOSED_PER_PAGE ? undefined : rows.at(-1)
          return { rows, next: last && createdAtOf(last) }
        },
        idFields: ['uuid'],
        parse: filledIds
      },
      options
    )
  }

  async #idPages(
    route: Route,
    query: (page: number) => string,
    perPage: number,
    since: Millis,
    options: CallOptions | undefined
  ): Promise<string[]> {
    return await this.#api.readPages<string, number>(
      {
        route,
        query: (page = 1) => query(page),
        read: (body, page = 1) => {
          const rows = rowsOf(body, 'orders')
          const last = rows.length < perPage ? undefined : rows.at(-1)
          return { rows, next: last === undefined || createdAtOf(last) < since ? undefined : page + 1 }
        },
        idFields: ['uuid'],
        parse: filledIds
      },
      options
    )
  }

  async openOrders(options?: OpenOrdersOptions): Promise<UnifiedOrder[]> {
    const only = options?.exchangeSymbol === undefined ? '' : `market=${encodeURIComponent(options.exchangeSymbol)}&`
    return await this.#api.readPages<UnifiedOrder, number>(
      {
        route: this.#openOrders,
        // The brackets are not encoded: the text that is hashed must be the text that is sent.
        query: (page = 1) => `${only}states[]=wait&states[]=watch&page=${page}&limit=${ORDERS_PER_PAGE}&order_by=asc`,
        read: (body, page = 1) => {
          const rows = listOf(body, 'open orders')
          return { rows, next: rows.length < ORDERS_PER_PAGE ? undefined : page + 1 }
        },
        idFields: ['uuid'],
        parse: rows => supportedOnly(rows, row => checkedOrder(row, options?.onInvalidRow), options?.onInvalidRow)
      },
      options
    )
  }

  async fills(ref: OrderRef, options?: CallOptions): Promise<Fill[]> {
    this.#api.parse('fills', () => symbolOfMarket(ref.exchangeSymbol))
    const request = { route: ROUTES.fills, query: queryOf({ uuid: ref.exchangeOrderId }) }
    return await this.#api.read(request, body => parseTokenFills(recordOf(body, 'the order')), options)
  }

  async balances(options?: CallOptions): Promise<Balance[]> {
    const parse = (body: unknown) => parseTokenBalances(body, options?.onInvalidRow)
    return await this.#api.read({ route: ROUTES.balances }, parse, options)
  }

  async positions(): Promise<Position[]> {
    return []
  }

  /**
   * Deposits and withdrawals. The lists have no bounds of time: they are read from the newest transfer back to those that
   * were created 30 days before the range. A list that the key may not read is a gap.
   */
  async ledger(range: TimeRange, options?: CallOptions): Promise<LedgerReading> {
    const lists = await Promise.all(this.#transfers.map(list => this.#transfersOf(list, range, options)))
    const read = lists.filter(list => list !== null)
    const reading = this.#api.parse('ledger', () => ledgerReading(read, range, options?.onInvalidRow))
    return read.length < lists.length ? { ...reading, gaps: ['permission'] } : reading
  }

  /** Null for a list that the key may not read: each has a permission of its own. */
  async #transfersOf(
    list: TransferList,
    { from }: TimeRange,
    options: CallOptions | undefined
  ): Promise<LedgerRows | null> {
    const request = {
      route: accountRoute({ operation: 'ledger', path: list.path }),
      query: transfersQuery,
      read: (body: unknown, page = 1) => {
        const rows = listOf(body, 'transfers')
        return { rows, next: isLastPage(rows, from) ? undefined : page + 1 }
      },
      idFields: ['uuid'],
      parse: (rows: unknown[]) => rows
    }
    const entriesOf = (row: JsonRecord) => transferEntries(row, list)
    try {
      const rows = await this.#api.readPages<unknown, number>(request, options)
      return { rows, timeOf: transferTime, settlesLater: true, entriesOf }
    } catch (err) {
      if (err instanceof ExchangeError && err.exchangeCode === NOT_PERMITTED) return null
      throw err
    }
  }

  async serverTime(options?: CallOptions): Promise<Millis> {
    return await this.#api.serverTime(options)
  }
}

/**
 * Signs by a bearer token, HS256, over claims in this order: `access_key`, `nonce`, the claims of `extra`, and the
 * SHA-512 of the query when there is one.
 *
 * @param query as it is sent, brackets not encoded: the exchange hashes the decoded text
 * @param nonce a UUID that was never used before
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

const instrumentReader: InstrumentReader = (add, onUnreadable) =>
  new RowReader(
    ['market'],
    ([market]) => {
      const [, quote, base] = MARKET.exec(market ?? '') ?? []
      add(instrumentFrom({ exchangeSymbol: market, base, quote, trading: true }))
    },
    { onUnreadable }
  )

/** `KRW-BTC` → `BTCKRW`. @throws {UnsupportedSymbol} */
export function symbolOfMarket(market: string): string {
  const symbol = unifiedSymbol(market)
  if (symbol === null) throw new UnsupportedSymbol('this is not a spot market')
  return symbol
}

/** `KRW-BTC` → BTC and KRW; null for a text that is not a market. */
export function pairOfMarket(market: string): Pair | null {
  const [, quote, base] = MARKET.exec(market) ?? []
  return quote === undefined || base === undefined ? null : pairOf(base, quote)
}

function unifiedSymbol(market: string): string | null {
  return pairOfMarket(market)?.symbol ?? null
}

/** @throws {UnreadableAnswer} @throws {UnsupportedSymbol} */
export function parseTokenOrder(row: JsonRecord): UnifiedOrder {
  const exchangeSymbol = textOf(row, 'market')
  const type = textOf(row, 'ord_type')
  const side = meaningOf(row, 'side', SIDES)
  const filledQuantity = decimalOf(row, 'executed_volume')
  // A market buy has an amount of quote currency in `price`, and no volume.
  const spends = type === 'price' || (type === 'best' && side === 'BUY')
  return {
    exchangeOrderId: textOf(row, 'uuid'),
    clientOrderId: optionalText(row, 'identifier'),
    symbol: symbolOfMarket(exchangeSymbol),
    exchangeSymbol,
    side,
    positionSide: 'BOTH',
    orderType: type === 'price' ? 'MARKET' : type.toUpperCase(),
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

/** The ids of the orders that are filled, at least in part. */
function filledIds(rows: unknown[]): string[] {
  return rowsOf(rows, 'orders').flatMap(row =>
    isZero(optionalDecimal(row, 'executed_volume') ?? '0') ? [] : textOf(row, 'uuid')
  )
}

function createdAtOf(row: JsonRecord): Millis {
  const at = optionalTime(row, 'created_at')
  if (at === null) throw new UnreadableAnswer('created_at is missing')
  return at
}

/** An order, which is reported when its volumes contradict each other. @throws {UnreadableAnswer} @throws {UnsupportedSymbol} */
function checkedOrder(row: JsonRecord, onInvalidRow: OnInvalidRow | undefined): UnifiedOrder {
  const order = parseTokenOrder(row)
  reportContradiction(row, volumeContradiction, onInvalidRow)
  return order
}

/** Volume = executed + remaining. A market buy has an amount instead of a volume. */
function volumeContradiction(row: JsonRecord): string | null {
  const [volume, remaining] = [optionalDecimal(row, 'volume'), optionalDecimal(row, 'remaining_volume')]
  if (volume === null || remaining === null) return null
  const sum = new Exact(decimalOf(row, 'executed_volume')).plus(remaining).toFixed()
  return differBeyondRounding(volume, sum) ? 'volume is not executed_volume + remaining_volume' : null
}

/**
 * The executions in the answer for an order, oldest first. A trade without a fee of its own gets a share of the order's
 * paid fee, in proportion to its funds; the last one gets the remainder, so that the sum is exact. No bound on the number
 * of trades in an answer is documented: if they do not add up to the executed volume, there is no remainder.
 *
 * @throws {UnreadableAnswer} @throws {UnsupportedSymbol}
 */
export function parseTokenFills(order: JsonRecord): Fill[] {
  if (order.trades === undefined || order.trades === null) return []
  const trades = rowsOf(order.trades, 'trades')
  const exchangeSymbol = textOf(order, 'market')
  const symbol = symbolOfMarket(exchangeSymbol)
  const side = meaningOf(order, 'side', SIDES)
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

/** @throws {UnreadableAnswer} */
export function parseTokenBalances(body: unknown, onInvalidRow?: OnInvalidRow): Balance[] {
  return supportedOnly(
    listOf(body, 'balances'),
    row => balanceOfParts(textOf(row, 'currency'), decimalOf(row, 'balance'), decimalOf(row, 'locked')),
    onInvalidRow
  )
}

function refusalIn(answer: Answer, { refusals, hiddenRefusalOf }: Dialect): Refusal | null {
  if (answer.status === 200) return hiddenRefusalOf?.(answer) ?? null
  const error = isRecord(answer.body) ? answer.body.error : undefined
  return isRecord(error) ? refusalFrom(refusals, optionalText(error, 'name')) : null
}

/** The time in the Date header, which counts whole seconds: the middle of that second. */
function dateOf({ header }: Answer): Millis {
  const second = Date.parse(header('date') ?? '')
  if (Number.isNaN(second)) throw new UnreadableAnswer('the answer has no date')
  return second + HALF_A_SECOND_MS
}

function stateOf(state: string, spends: boolean, filledQuantity: Decimal): OrderState {
  const filled = !isZero(filledQuantity)
  if (state === 'watch') return 'open'
  if (state === 'wait') return filled ? 'partially_filled' : 'open'
  if (state === 'done') return filled ? 'filled' : 'canceled'
  // A market buy is never filled to the last won: the rest that cannot buy one more unit is returned, with state cancel.
  if (state === 'cancel') return spends && filled ? 'filled' : 'canceled'
  throw new UnreadableAnswer('state is unknown')
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
  const volume = trades.reduce((sum, trade) => sum.plus(decimalOf(trade, 'volume')), new Exact(0))
  const isWhole = volume.gte(optionalDecimal(order, 'executed_volume') ?? volume)
  const all = isWhole
    ? trades.reduce((sum, trade) => sum.plus(fundsOf(trade)), new Exact(0))
    : new Exact(optionalDecimal(order, 'executed_funds') ?? 0)
  if (all.eq(0)) return own
  let rest = new Exact(paid)
  return trades.map((trade, index) => {
    if (isWhole && index === trades.length - 1) return rest.toFixed()
    const share = new Exact(paid).times(fundsOf(trade)).div(all).round(16)
    rest = rest.minus(share)
    return share.toFixed()
  })
}
