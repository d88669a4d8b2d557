// @FEAT:exchanges @COMP:service @TYPE:integration

import { MINUTE, SECOND } from '../../async/durations.ts'
import { type Balance, balanceOfTotal } from '../../domain/balance.ts'
import { type Decimal, Exact, isZero, negated, toDecimal } from '../../domain/decimal.ts'
import type { Fill, Tax } from '../../domain/fill.ts'
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
  parseLossless,
  priceOf,
  recordOf,
  rowsOf,
  textOf,
  UnreadableAnswer
} from '../http/answer-fields.ts'
import type { Answer, Refusal, Route, SignedParts } from '../http/exchange-call.ts'
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
import { BYBIT_LEDGER_REACH_MS, BYBIT_LEDGER_WINDOW_MS, bybitLedgerEntries, bybitLogTime } from './bybit-ledger.ts'
import { ExchangeApi, type PagedRequest } from './exchange-api.ts'
import {
  addUp,
  BYBIT_WINDOWS,
  fillsBetween,
  fillsSince,
  type TimeWindow,
  unitedFills,
  windowsBetween,
  windowsSince
} from './fill-history.ts'
import { ledgerReading, ledgerWindows } from './ledger-rows.ts'

const RECV_WINDOW_MS = 5 * SECOND
/** The most that Bybit allows. */
const INSTRUMENTS_PER_PAGE = 1_000
const LOG_ROWS_PER_PAGE = 50
/**
 * A 403 means too many calls from our address. It states no time: "wait for at least 10 minutes".
 * Source: bybit-exchange.github.io/docs/p2p/rate-limit
 */
const ADDRESS_PENALTY_MS = 10 * MINUTE

/**
 * Only the limit of an account is reported in headers (`X-Bapi-Limit-Status`), not that of an address:
 * https://bybit-exchange.github.io/docs/v5/rate-limit. So replicas divide the limit of the address.
 */
const LIMITS: readonly RateLimit[] = [
  { name: 'address', weight: 600, perMs: 5 * SECOND, scope: 'address' },
  { name: 'key', weight: 20, perMs: SECOND, scope: 'key' }
]

function publicRoute({ operation, path }: { operation: string; path: string }): Route {
  return { operation, method: 'GET', path, costs: [{ limit: 'address', weight: 1 }], signing: 'none' }
}

function accountRoute(row: { operation: string; path: string }): Route {
  const { costs, ...route } = publicRoute(row)
  return { ...route, costs: [...costs, { limit: 'key', weight: 1 }], signing: 'account' }
}

const ROUTES = {
  klines: publicRoute({ operation: 'minutePrice', path: '/v5/market/kline' }),
  time: publicRoute({ operation: 'serverTime', path: '/v5/market/time' }),
  prices: publicRoute({ operation: 'lastPrices', path: '/v5/market/tickers' }),
  instruments: publicRoute({ operation: 'instruments', path: '/v5/market/instruments-info' }),
  /** Open orders and a few hundred of the last ended ones. */
  order: accountRoute({ operation: 'order', path: '/v5/order/realtime' }),
  /** A window of older ended orders. */
  endedOrder: accountRoute({ operation: 'order', path: '/v5/order/history' }),
  openOrders: accountRoute({ operation: 'openOrders', path: '/v5/order/realtime' }),
  fills: accountRoute({ operation: 'fills', path: '/v5/execution/list' }),
  accountFills: accountRoute({ operation: 'accountFills', path: '/v5/execution/list' }),
  balances: accountRoute({ operation: 'balances', path: '/v5/account/wallet-balance' }),
  positions: accountRoute({ operation: 'positions', path: '/v5/position/list' }),
  log: accountRoute({ operation: 'ledger', path: '/v5/account/transaction-log' })
}

const CATEGORY: Readonly<Record<MarketType, string>> = { SPOT: 'spot', FUTURES: 'linear' }
/** Linear lists must name a symbol or a settlement coin; these are all that exist. */
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

const SIDES: Readonly<Record<string, OrderSide>> = { Buy: 'BUY', Sell: 'SELL' }
const POSITION_SIDES: Readonly<Record<string, PositionSide>> = { '0': 'BOTH', '1': 'LONG', '2': 'SHORT' }
/**
 * Types of executions (`execType`) that are no trade of an order, although the row may name one and have a quantity. All
 * others that name the order are read: `Trade`, `AdlTrade`, `BustTrade`, `BlockTrade`, `MovePosition` (the position moves
 * by an order, `CreateByBlockTradeMovePosition_PassThrough`), `FutureSpread` (a leg of a spread order), `UNKNOWN`, and
 * types of a later time, whose quantities are compared with that of the order.
 *
 * - `Funding`: a fee for holding a position, which is the quantity of the row
 * - `SessionSettlePnL`: pays the profit of a session, the position stays
 * - `Delivery`, `Settle`: close a position at the end of its contract, without an order (`CreateBySettle`)
 * - `CorporateAction`, `ForwardSplitSettle`, `ReverseSplitSettle`, `Dividend`: of the underlying stock, without an order
 *
 * https://bybit-exchange.github.io/docs/v5/enum#exectype
 */
const NO_TRADES: ReadonlySet<string> = new Set([
  ...['Funding', 'SessionSettlePnL', 'Delivery', 'Settle'],
  ...['CorporateAction', 'ForwardSplitSettle', 'ReverseSplitSettle', 'Dividend']
])

/** Executions of the exchange itself: https://bybit-exchange.github.io/docs/v5/enum#exectype and #createtype */
const FORCED_EXECUTIONS: ReadonlySet<string> = new Set(['AdlTrade', 'BustTrade'])
const FORCED_ORDER = /^CreateBy(Liq|TakeOver|Adl|AdminClosing|Settle)/

type ParsedList<T> = Pick<PagedRequest<JsonRecord, T, string>, 'route' | 'idFields' | 'parse'>

/** API v5: spot and linear perpetuals on a unified account. Inverse and dated contracts are rejected. */
export class BybitClient implements ExchangeClient {
  readonly exchange = 'BYBIT'
  readonly marketType: MarketType
  readonly isTestnet: boolean
  readonly orderCosts: OrderCosts
  readonly fillsListedBy = 'account'
  readonly fillsReachMs = BYBIT_WINDOWS.retentionMs
  readonly ledgerReachMs = BYBIT_LEDGER_REACH_MS
  readonly #api: ExchangeApi<JsonRecord>

  constructor(context: AdapterContext) {
    this.marketType = context.marketType
    this.isTestnet = context.isTestnet
    this.orderCosts = { ...ONE_CALL_EACH, list: SETTLE_COINS[this.marketType].length }
    this.#api = new ExchangeApi({
      context,
      host: { limits: LIMITS, refusalOf: bybitRefusal },
      clock: { route: ROUTES.time, read: ({ body }) => millisOf(recordOf(body, 'the answer'), 'time') },
      sign: ({ query, credentials, at }) => signBybit(query, credentials, at, RECV_WINDOW_MS),
      payloadOf: body => recordOf(recordOf(body, 'the answer').result, 'result')
    })
  }

  async lastPrices(options?: CallOptions): Promise<Price[]> {
    const list = {
      route: ROUTES.prices,
      query: queryOf({ category: CATEGORY[this.marketType] }),
      fields: { symbol: 'symbol', price: 'lastPrice', ...(this.marketType === 'FUTURES' && { mark: 'markPrice' }) },
      unifiedSymbol: (exchangeSymbol: string) => unifiedSymbol(exchangeSymbol, this.marketType),
      timeOf: (body: unknown) => optionalMillis(recordOf(body, 'the answer'), 'time')
    }
    return await this.#api.readPrices(list, options)
  }

  /** The last prices of perpetuals have them: https://bybit-exchange.github.io/docs/v5/market/tickers */
  async markPrices(): Promise<Price[]> {
    return []
  }

  /** https://bybit-exchange.github.io/docs/v5/market/kline */
  async minutePrice(symbol: string, at: Millis, options?: CallOptions): Promise<Decimal | null> {
    if (this.marketType !== 'SPOT') return null
    const minute = minuteOf(at)
    const query = queryOf({ category: 'spot', symbol, interval: '1', start: minute, end: minute, limit: 1 })
    const parse = (result: JsonRecord) => klineClose(listOf(result.list, 'klines'), minute, 4)
    return await this.#api.read({ route: ROUTES.klines, query }, parse, options)
  }

  /**
   * The list without a status has the instruments that trade, and those that open soon: one that is settled or delisted
   * is absent. Spot has one page.
   *
   * https://bybit-exchange.github.io/docs/v5/market/instrument
   */
  async instruments(options?: CallOptions): Promise<Instrument[]> {
    const query = queryOf({ category: CATEGORY[this.marketType], limit: INSTRUMENTS_PER_PAGE })
    const instruments = await this.#api.readRowPages<Instrument, string>(
      {
        route: ROUTES.instruments,
        query: cursor => withCursor(query, cursor),
        reader: (...callbacks) => instrumentReader(this.marketType, ...callbacks),
        next: nextCursorOf
      },
      options
    )
    return this.#api.parse('instruments', () => notEmpty(instruments))
  }

  /**
   * The list of open orders has a few hundred of the last ended ones, too. The history has windows of 7 days, and without
   * times only the newest: from the creation of the order on each is searched, because an order may have ended long after.
   * Orders that were cancelled without a fill are in it for a day.
   * Source: bybit-exchange.github.io/docs/v5/order/order-list
   */
  async order(ref: OrderRef, options?: CallOptions): Promise<UnifiedOrder> {
    this.#api.parse('order', () => supportedSymbol(ref.exchangeSymbol, this.marketType))
    const { exchangeOrderId: orderId, createdAt } = ref
    const parse = (result: JsonRecord) => {
      const row = rowsOf(result.list, 'list').find(candidate => textOf(candidate, 'orderId') === orderId)
      return row === undefined ? null : parseBybitOrder(row, this.marketType)
    }
    const search = (route: Route, window?: TimeWindow) => {
      const query = queryOf({ category: CATEGORY[this.marketType], orderId, ...window })
      return this.#api.read({ route, query }, parse, options)
    }
    const recent = (await search(ROUTES.order)) ?? (await search(ROUTES.endedOrder))
    if (recent !== null) return recent
    const windows = createdAt === undefined ? [] : windowsSince(createdAt, this.#api.host.now, BYBIT_WINDOWS)
    for (const window of windows.reverse()) {
      const order = await search(ROUTES.endedOrder, window)
      if (order !== null) return order
    }
    throw new ExchangeError('order_not_found', { exchange: this.exchange, operation: 'order' })
  }

  async openOrders(options?: OpenOrdersOptions): Promise<UnifiedOrder[]> {
    const rows = await this.#settledRows(ROUTES.openOrders, { openOnly: 0, limit: 50 }, options, ['orderId'])
    const orders = this.#api.parse('openOrders', () =>
      supportedOnly(rows, row => parseBybitOrder(row, this.marketType), options?.onInvalidRow)
    )
    // The list also contains orders that ended a moment ago.
    return orders.filter(({ status }) => status === 'open' || status === 'partially_filled')
  }

  /**
   * The list has windows of 7 days, and without times only the newest. They are read until the fills add up to the filled
   * quantity. Source: bybit-exchange.github.io/docs/v5/order/execution
   */
  async fills(ref: FillsRef, options?: CallOptions): Promise<Fill[]> {
    this.#api.parse('fills', () => supportedSymbol(ref.exchangeSymbol, this.marketType))
    const { exchangeOrderId: orderId } = ref
    const list = {
      route: ROUTES.fills,
      idFields: ['execId'],
      parse: (rows: unknown[]) =>
        rowsOf(rows, 'fills')
          .filter(row => row.orderId === orderId && isTrade(row))
          .map(row => parseBybitFill(row, this.marketType, options?.onInvalidRow))
    }
    const fills: Fill[] = []
    for (const window of windowsSince(fillsSince(ref), this.#api.host.now, BYBIT_WINDOWS)) {
      const query = queryOf({ category: CATEGORY[this.marketType], orderId, limit: 100, ...window })
      fills.unshift(...(await this.#rows(list, query, options)).reverse())
      if (addUp(fills, ref)) break
    }
    return unitedFills(fills, ref)
  }

  /** Without an order or a symbol the list has all executions of the category. Source: that of `fills` */
  async accountFills(range: AccountFillsRange, options?: CallOptions): Promise<Fill[]> {
    const { onInvalidRow } = options ?? {}
    const parse = (row: JsonRecord) => (isTrade(row) ? parseBybitFill(row, this.marketType, onInvalidRow) : null)
    const list = {
      route: ROUTES.accountFills,
      idFields: ['symbol', 'orderId', 'execId'],
      parse: (rows: unknown[]) => supportedOnly(rows, parse, onInvalidRow)
    }
    const fills: Fill[] = []
    for (const window of windowsBetween(range, BYBIT_WINDOWS.lengthMs)) {
      const query = queryOf({ category: CATEGORY[this.marketType], limit: 100, ...window })
      fills.push(...(await this.#rows(list, query, options)).reverse())
    }
    return fillsBetween(fills, range)
  }

  async balances(options?: CallOptions): Promise<Balance[]> {
    const request = { route: ROUTES.balances, query: queryOf({ accountType: 'UNIFIED' }) }
    const parse = (result: JsonRecord) => parseBybitBalances(result, options?.onInvalidRow)
    return await this.#api.read(request, parse, options)
  }

  async positions(options?: CallOptions): Promise<Position[]> {
    if (this.marketType === 'SPOT') return []
    const rows = await this.#settledRows(ROUTES.positions, { limit: 200 }, options)
    return this.#api.parse('positions', () => supportedOnly(rows, parseBybitPosition, options?.onInvalidRow))
  }

  /**
   * The transaction log of the unified account, which is one wallet for both markets, in windows of 7 days. Deposits and
   * withdrawals are of the funding account: here they are transfers.
   * Source: bybit-exchange.github.io/docs/v5/account/transaction-log
   */
  async ledger(range: TimeRange, options?: CallOptions): Promise<LedgerReading> {
    const list = { route: ROUTES.log, idFields: ['id'], parse: (rows: unknown[]) => rows }
    const rows: unknown[] = []
    for (const window of ledgerWindows(range, BYBIT_LEDGER_WINDOW_MS).reverse()) {
      const query = queryOf({ accountType: 'UNIFIED', limit: LOG_ROWS_PER_PAGE, ...window })
      for (const row of await this.#rows(list, query, options)) rows.push(row)
    }
    const readsFills = (market: MarketType, symbol: string) => unifiedSymbol(symbol, market) !== null
    const log = { rows, timeOf: bybitLogTime, entriesOf: (row: JsonRecord) => bybitLedgerEntries(row, readsFills) }
    return this.#api.parse('ledger', () => ledgerReading([log], range, options?.onInvalidRow))
  }

  async serverTime(options?: CallOptions): Promise<Millis> {
    return await this.#api.serverTime(options)
  }

  /** The rows of this market's list, for every coin in which it settles, or for one symbol. */
  async #settledRows(
    route: Route,
    query: Readonly<Record<string, string | number>>,
    options: OpenOrdersOptions | undefined,
    idFields: readonly string[] = []
  ): Promise<unknown[]> {
    const category = CATEGORY[this.marketType]
    const symbol = options?.exchangeSymbol
    const coins = symbol === undefined ? SETTLE_COINS[this.marketType] : [undefined]
    const lists = coins.map(settleCoin =>
      this.#rows({ route, idFields, parse: rows => rows }, queryOf({ category, ...query, settleCoin, symbol }), options)
    )
    return (await Promise.all(lists)).flat()
  }

  async #rows<T>(list: ParsedList<T>, query: string, options: CallOptions | undefined): Promise<T[]> {
    return await this.#api.readPages<T, string>(
      {
        ...list,
        query: cursor => withCursor(query, cursor),
        read: result => {
          const rows = listOf(result.list, 'list')
          // The last page may have a cursor; the page after it is empty.
          return { rows, next: rows.length === 0 ? undefined : nextCursorOf(result) }
        }
      },
      options
    )
  }
}

/** Signs by headers: the hex HMAC-SHA256 of timestamp, key, window and query. */
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

/** @throws {UnreadableAnswer} @throws {UnsupportedSymbol} */
export function parseBybitOrder(row: JsonRecord, marketType: MarketType): UnifiedOrder {
  const exchangeSymbol = textOf(row, 'symbol')
  const side = meaningOf(row, 'side', SIDES)
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
    // The price of a market order is the bound on its slippage.
    price: market ? null : priceOf(row, 'price'),
    stopPrice: priceOf(row, 'triggerPrice'),
    quantity: spends ? null : priceOf(row, 'qty'),
    filledQuantity,
    averagePrice: isZero(filledQuantity) ? null : priceOf(row, 'avgPrice'),
    status: meaningOf(row, 'orderStatus', STATES),
    createdAt: optionalMillis(row, 'createdTime'),
    updatedAt: optionalMillis(row, 'updatedTime'),
    ...(FORCED_ORDER.test(optionalText(row, 'createType') ?? '') && { forced: true as const })
  }
}

function isTrade(row: JsonRecord): boolean {
  return !NO_TRADES.has(optionalText(row, 'execType') ?? 'Trade')
}

function isForced(row: JsonRecord): boolean {
  return (
    FORCED_EXECUTIONS.has(optionalText(row, 'execType') ?? '') ||
    FORCED_ORDER.test(optionalText(row, 'createType') ?? '')
  )
}

/**
 * An execution. Bybit does not report its position side: it is `BOTH` here. In hedge mode the order has the right one. Taxes
 * (`extraFees`) are a part of the fee; in another currency than that of the fee they make the fee unknown, which is
 * reported. Where the currency of the fee is not named, its symbol does not prove it (`USD` ends `XRPRLUSD`): the taxes
 * are in `taxes`.
 *
 * @throws {UnreadableAnswer} @throws {UnsupportedSymbol}
 */
export function parseBybitFill(row: JsonRecord, marketType: MarketType, onInvalidRow?: OnInvalidRow): Fill {
  const exchangeSymbol = textOf(row, 'symbol')
  const symbol = supportedSymbol(exchangeSymbol, marketType)
  const settleCoin = marketType === 'FUTURES' ? symbol.slice(-4) : null
  const side = meaningOf(row, 'side', SIDES)
  const tradingFee = feeOfLeg(row, marketType) ?? optionalDecimal(row, 'execFee')
  const feeAsset = optionalText(row, 'feeCurrency') ?? settleCoin
  const feeIn = feeAsset === null && tradingFee !== null ? spotFeeIn(side, tradingFee) : undefined
  const taxes = taxesOf(row)
  const fee = tradingFee === null || feeIn !== undefined ? tradingFee : withTaxes(tradingFee, taxes, feeAsset)
  if (fee === null && tradingFee !== null) reportContradiction(row, () => 'extraFees is in another coin', onInvalidRow)
  return {
    exchangeTradeId: textOf(row, 'execId'),
    exchangeOrderId: textOf(row, 'orderId'),
    symbol,
    exchangeSymbol,
    side,
    positionSide: 'BOTH',
    price: decimalOf(row, 'execPrice'),
    quantity: decimalOf(row, 'execQty'),
    fee,
    feeAsset,
    ...(feeIn !== undefined && { feeIn }),
    ...(feeIn !== undefined && taxes.length > 0 && { taxes }),
    realizedPnl: marketType === 'SPOT' ? null : optionalDecimal(row, 'execPnl'),
    executedAt: millisOf(row, 'execTime'),
    ...(isForced(row) && { forced: true as const })
  }
}

/** The fee of the spot leg of a spread order has a field of its own: bybit-exchange.github.io/docs/v5/order/execution */
function feeOfLeg(row: JsonRecord, marketType: MarketType): Decimal | null {
  const isSpotLeg = marketType === 'SPOT' && row.execType === 'FutureSpread'
  return isSpotLeg ? optionalDecimal(row, 'execFeeV2') : null
}

/**
 * What a spot fee without a currency is in: the base of a purchase, the quote of a sale. A rebate (a maker's fee at a
 * negative rate) is in the other one. https://bybit-exchange.github.io/docs/v5/enum#spot-fee-currency-instruction
 */
function spotFeeIn(side: OrderSide, fee: Decimal): 'base' | 'quote' {
  const isRebate = new Exact(fee).lt(0)
  return (side === 'BUY') === isRebate ? 'quote' : 'base'
}

/**
 * The taxes of some countries that are not zero. They are a list, or its text: empty for most users.
 * `[{"feeCoin":"USDT","feeType":"GST","subFeeType":"IND_GST","feeRate":"0.0000675","fee":"0.006403779"}]`
 *
 * https://bybit-exchange.github.io/docs/v5/order/execution
 * https://bybit-exchange.github.io/docs/v5/websocket/private/execution
 *
 * @throws {UnreadableAnswer}
 */
function taxesOf({ extraFees }: JsonRecord): Tax[] {
  if (extraFees === undefined || extraFees === null || extraFees === '') return []
  return rowsOf(typeof extraFees === 'string' ? parseLossless(extraFees) : extraFees, 'extraFees')
    .map(tax => ({ asset: optionalText(tax, 'feeCoin') ?? '', amount: decimalOf(tax, 'fee') }))
    .filter(({ amount }) => !isZero(amount))
}

/** The fee with its taxes; null when a tax is in another coin. */
function withTaxes(fee: Decimal, taxes: readonly Tax[], feeAsset: string | null): Decimal | null {
  if (taxes.some(({ asset }) => asset !== feeAsset)) return null
  return taxes.length === 0 ? fee : taxes.reduce((sum, { amount }) => sum.plus(amount), new Exact(fee)).toFixed()
}

/**
 * Balances of a unified account: the wallet without what spot margin borrowed, so that a total may be negative. The margin
 * of orders and positions is locked. Rows that contradict the equation of the exchange are used and reported: it may lack
 * an amount that this version does not know, and the wallet is the exchange's own statement.
 *
 * https://bybit-exchange.github.io/docs/v5/account/wallet-balance
 *
 * @throws {UnreadableAnswer} also without an account: an account that holds nothing is in the answer
 */
export function parseBybitBalances(result: JsonRecord, onInvalidRow?: OnInvalidRow): Balance[] {
  return atLeastOne(rowsOf(result.list, 'list'), 'list').flatMap(account =>
    supportedOnly(
      listOf(account.coin, 'coin'),
      row => {
        const balance = parseBybitCoin(row)
        reportContradiction(row, hasOptions(account) ? noContradiction : equityContradiction, onInvalidRow)
        return balance
      },
      onInvalidRow
    )
  )
}

const noContradiction = () => null

/** Equity = wallet − borrowed + unrealised profit + value of options. The last is not in the row. */
function equityContradiction(row: JsonRecord): string | null {
  const equity = optionalDecimal(row, 'equity')
  if (equity === null) return null
  const own = new Exact(decimalOf(row, 'walletBalance')).minus(optionalDecimal(row, 'spotBorrow') ?? 0)
  const expected = own.plus(optionalDecimal(row, 'unrealisedPnl') ?? 0).toFixed()
  const equation = 'equity is not walletBalance - spotBorrow + unrealisedPnl'
  return differBeyondRounding(equity, expected) ? equation : null
}

/** The value of an account's options is its equity less its margin balance, in USD to eight digits. */
function hasOptions(account: JsonRecord): boolean {
  const [equity, margin] = [account.totalEquity, account.totalMarginBalance].map(text =>
    typeof text === 'string' ? toDecimal(text) : null
  )
  return equity && margin ? new Exact(equity).minus(margin).abs().gt('0.01') : false
}

function parseBybitCoin(row: JsonRecord): Balance | null {
  const wallet = decimalOf(row, 'walletBalance')
  const borrowed = optionalDecimal(row, 'spotBorrow') ?? '0'
  const total = isZero(borrowed) ? wallet : new Exact(wallet).minus(borrowed).toFixed()
  const bound = ['locked', 'totalOrderIM', 'totalPositionIM'].reduce(
    (sum, field) => sum.plus(optionalDecimal(row, field) ?? 0),
    new Exact(0)
  )
  const rest = new Exact(wallet).minus(bound)
  const available = bound.eq(0) ? wallet : rest.lt(0) ? '0' : rest.toFixed()
  return balanceOfTotal(textOf(row, 'coin'), total, available)
}

/** Null for a flat position. @throws {UnreadableAnswer} @throws {UnsupportedSymbol} */
export function parseBybitPosition(row: JsonRecord): Position | null {
  const size = decimalOf(row, 'size')
  if (isZero(size)) return null
  const exchangeSymbol = textOf(row, 'symbol')
  return {
    symbol: supportedSymbol(exchangeSymbol, 'FUTURES'),
    exchangeSymbol,
    positionSide: positionSideOf(row),
    quantity: meaningOf(row, 'side', SIDES) === 'SELL' ? negated(size) : size,
    entryPrice: priceOf(row, 'avgPrice') ?? priceOf(row, 'entryPrice'),
    markPrice: priceOf(row, 'markPrice'),
    unrealizedPnl: optionalDecimal(row, 'unrealisedPnl'),
    updatedAt: optionalMillis(row, 'updatedTime')
  }
}

const REFUSALS: RefusalTable = {
  '5004': 'timeout',
  '10000': 'timeout',
  '10002': 'clock',
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
/** Too many calls of one account. 10018 means too many calls of our address. */
const ACCOUNT_LIMIT = '10006'

function bybitRefusal({ status, body, header }: Answer): Refusal | null {
  const exchangeCode = isRecord(body) ? optionalText(body, 'retCode') : null
  if (exchangeCode === null || !isRecord(body)) {
    return status === 403 ? { code: 'rate_limited', exchangeCode: '403', retryAfterMs: ADDRESS_PENALTY_MS } : null
  }
  if (exchangeCode === '0') return null
  const reset = header('x-bapi-limit-reset-timestamp')
  const aboutSymbol = exchangeCode === PARAMETER_ERROR && typeof body.retMsg === 'string' && /symbol/i.test(body.retMsg)
  const unlisted: Refusal = { code: aboutSymbol ? 'bad_symbol' : 'invalid_answer', exchangeCode }
  return {
    ...(refusalFrom(REFUSALS, exchangeCode) ?? unlisted),
    retryAfterMs: SECOND,
    ...(reset !== null && /^\d{13}$/.test(reset) && { retryAt: Number(reset) }),
    ...(exchangeCode === ACCOUNT_LIMIT && { scope: 'key' as const })
  }
}

/** The exchange encodes the cursor; it is sent back unchanged. */
function withCursor(query: string, cursor: string | undefined): string {
  return cursor === undefined ? query : `${query}&cursor=${cursor}`
}

/** Undefined on the last page, which has no cursor. */
function nextCursorOf(result: JsonRecord): string | undefined {
  const next = optionalText(result, 'nextPageCursor')
  if (next !== null && !/^[\w%.:,=-]+$/.test(next)) throw new UnreadableAnswer('nextPageCursor is not a cursor')
  return next ?? undefined
}

/**
 * Steps are in an object of the row; the one of quantities has another name on spot. A linear perpetual is paid for in the
 * coin in which it settles, as the unified symbol says: `quoteCoin` of one that settles in USDC may be `USD`, as it is of
 * options and was in the former API of USDC contracts.
 */
function instrumentReader(
  marketType: MarketType,
  add: (instrument: Instrument) => void,
  onUnreadable: OnUnreadableRow | undefined
): RowReader {
  const nested = ['priceFilter', 'lotSizeFilter']
  const fields = ['symbol', 'status', 'baseCoin', 'quoteCoin', 'settleCoin', 'contractType', ...nested]
  const step = marketType === 'SPOT' ? 'basePrecision' : 'qtyStep'
  const textIn = (object: string | null | undefined, field: string) =>
    object ? optionalText(recordOf(parseLossless(object), 'a filter'), field) : null
  return new RowReader(
    fields,
    ([exchangeSymbol, status, base, quoteCoin, settleCoin, contractType, priceFilter, lotSizeFilter]) => {
      if (marketType === 'FUTURES' && contractType !== 'LinearPerpetual') return
      const quote = marketType === 'FUTURES' ? settleCoin || quoteCoin : quoteCoin
      const steps = { priceStep: textIn(priceFilter, 'tickSize'), quantityStep: textIn(lotSizeFilter, step) }
      add(instrumentFrom({ exchangeSymbol, base, quote, ...steps, trading: status === 'Trading' }))
    },
    { nested, onUnreadable }
  )
}

function positionSideOf(row: JsonRecord): PositionSide {
  return meaningOf(row, 'positionIdx', POSITION_SIDES, '0')
}

/** Perpetuals settled in USDC are named `BTCPERP`; names of dated contracts have a hyphen, those of inverse ones end in USD. */
function unifiedSymbol(exchangeSymbol: string, marketType: MarketType): string | null {
  if (marketType === 'SPOT') return /^[\p{L}\p{N}]{2,40}$/u.test(exchangeSymbol) ? exchangeSymbol : null
  const [, base] = /^([\p{L}\p{N}]{1,36})PERP$/u.exec(exchangeSymbol) ?? []
  if (base !== undefined) return `${base}USDC`
  return /^[\p{L}\p{N}]{1,36}USD[TC]$/u.test(exchangeSymbol) ? exchangeSymbol : null
}

function supportedSymbol(exchangeSymbol: string, marketType: MarketType): string {
  return supportedContract(unifiedSymbol(exchangeSymbol, marketType))
}
