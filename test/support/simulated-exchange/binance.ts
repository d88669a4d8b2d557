import { Big } from 'big.js'
import { DAY } from '../../../src/async/durations.ts'
import type { MarketType } from '../../../src/domain/market.ts'
import type { OrderState } from '../../../src/domain/order.ts'
import { binanceLedger } from './binance-ledger.ts'
import {
  type Book,
  headerOf,
  hmac,
  json,
  listedFills,
  openOrdersOf,
  orderById,
  queriedOrders,
  Refused,
  type SimulatedAnswer,
  type SimulatedDialect,
  type SimulatedRequest,
  timeIn
} from './dialect.ts'
import type { SimulatedAccount, SimulatedFill, SimulatedOrder } from './market.ts'

const STATES: Record<OrderState, string> = {
  open: 'NEW',
  partially_filled: 'PARTIALLY_FILLED',
  filled: 'FILLED',
  canceled: 'CANCELED',
  rejected: 'REJECTED',
  expired: 'EXPIRED'
}

/** Weights of calls, by path; with a symbol those of `BINANCE_SYMBOL_WEIGHTS`. */
const BINANCE_WEIGHTS: Readonly<Record<string, number>> = {
  '/api/v3/time': 1,
  '/api/v3/ticker/price': 4,
  '/api/v3/exchangeInfo': 20,
  '/api/v3/order': 4,
  '/api/v3/openOrders': 80,
  '/api/v3/myTrades': 20,
  '/api/v3/account': 20,
  '/fapi/v1/time': 1,
  '/fapi/v2/ticker/price': 2,
  '/fapi/v1/premiumIndex': 10,
  '/fapi/v1/exchangeInfo': 1,
  '/fapi/v1/order': 1,
  '/fapi/v1/openOrders': 40,
  '/fapi/v1/openAlgoOrders': 40,
  '/fapi/v1/algoOrder': 1,
  '/fapi/v1/userTrades': 5,
  '/fapi/v1/income': 30,
  '/fapi/v3/balance': 5,
  '/fapi/v3/positionRisk': 5,
  // Lists of `/sapi` have limits of their own.
  '/sapi/v1/capital/deposit/hisrec': 0,
  '/sapi/v1/capital/withdraw/history': 0,
  '/sapi/v1/asset/transfer': 0,
  '/sapi/v1/asset/assetDividend': 0,
  '/sapi/v1/asset/dribblet': 0,
  '/sapi/v1/convert/tradeFlow': 0
}

const BINANCE_SYMBOL_WEIGHTS: Readonly<Record<string, number>> = {
  '/api/v3/openOrders': 6,
  '/fapi/v1/openOrders': 1,
  '/fapi/v1/openAlgoOrders': 1
}

/** The weight of a call. */
export function binanceWeightOf(path: string, query: URLSearchParams): number {
  return (query.has('symbol') ? BINANCE_SYMBOL_WEIGHTS[path] : undefined) ?? BINANCE_WEIGHTS[path] ?? 1
}

export const binance: SimulatedDialect = {
  markets: ['SPOT', 'FUTURES'],
  urlSettings: ['BINANCE_URL', 'BINANCE_FUTURES_URL'],
  defaultQuote: 'USDT',
  fields: market => ({
    symbol: 'symbol',
    price: 'price',
    orderId: 'orderId',
    state: 'status',
    asset: 'asset',
    amount: market === 'SPOT' ? 'free' : 'balance',
    fill: 'id',
    fillQuantity: 'qty'
  }),
  exchangeSymbol: ({ symbol }) => symbol,
  // Ids of USD-M futures are above 2^53 and are JSON numbers.
  orderId: (serial, market) =>
    market === 'FUTURES' ? String(8_389_765_612_825_190_000n + BigInt(serial)) : `${serial}`,
  answer
}

function answer(request: SimulatedRequest, book: Book): SimulatedAnswer {
  const { path, query } = request
  if (path === '/api/v3/time' || path === '/fapi/v1/time') return json({ serverTime: book.now() })
  if (path === '/api/v3/ticker/price') return tickers(book, 'SPOT')
  if (path === '/fapi/v2/ticker/price') return tickers(book, 'FUTURES')
  if (path === '/fapi/v1/premiumIndex') return marks(book)
  if (path === '/api/v3/exchangeInfo') return exchangeInfo(book, 'SPOT')
  if (path === '/fapi/v1/exchangeInfo') return exchangeInfo(book, 'FUTURES')
  const account = authenticated(request, book)
  const market: MarketType = path.startsWith('/fapi/') ? 'FUTURES' : 'SPOT'
  switch (path) {
    case '/api/v3/order':
    case '/fapi/v1/order': {
      const order = orderOf(account, market, query)
      if (order === undefined) {
        return refusal(400, -2013, 'Order does not exist.')
      }
      return { status: 200, body: orderText(order) }
    }
    case '/api/v3/openOrders':
    case '/fapi/v1/openOrders':
      return { status: 200, body: `[${openOrdersOf(account, market, query.get('symbol')).map(orderText)}]` }
    case '/fapi/v1/openAlgoOrders':
      return { status: 200, body: `[${openOrdersOf(account, market, query.get('symbol'), true).map(algoText)}]` }
    case '/fapi/v1/algoOrder': {
      const order = orderById(account, query.get('algoId'), true)
      return order === undefined ? refusal(400, -2013, 'Order does not exist.') : { status: 200, body: algoText(order) }
    }
    case '/api/v3/myTrades':
      return spotTrades(tradesOf(account, market, query), query)
    case '/fapi/v1/userTrades':
      return futuresTrades(tradesOf(account, market, query), query, book)
    case '/api/v3/account':
      return json({
        accountType: 'SPOT',
        balances: [...account.balances.SPOT].map(([asset, { free, locked }]) => ({ asset, free, locked }))
      })
    case '/fapi/v3/balance':
      return json(
        [...account.balances.FUTURES].map(([asset, { free, locked }]) => ({
          asset,
          balance: new Big(free).plus(locked).toFixed(),
          availableBalance: free
        }))
      )
    case '/fapi/v3/positionRisk':
      return json(account.positions.map(position => positionOf(position, book)))
    default:
      return binanceLedger(path, { account, query, book }) ?? json({ code: -5000, msg: 'Path is invalid' }, 404)
  }
}

function tradesOf(account: SimulatedAccount, market: MarketType, query: URLSearchParams): SimulatedOrder[] {
  const symbol = query.get('symbol')
  if (symbol === null) throw new Refused(refusal(400, -1102, "Mandatory parameter 'symbol' was not sent."))
  return queriedOrders(account, market, { symbol, id: query.get('orderId') })
}

/** A window has at most 24 hours. */
function spotTrades(orders: readonly SimulatedOrder[], query: URLSearchParams): SimulatedAnswer {
  const from = timeIn(query, 'startTime', Number.NEGATIVE_INFINITY)
  const to = timeIn(query, 'endTime', Number.POSITIVE_INFINITY)
  if (query.has('startTime') && query.has('fromId'))
    return refusal(400, -1128, 'Combination of optional parameters invalid.')
  if (query.has('startTime') && to - from > DAY)
    return refusal(400, -1127, 'More than 24 hours between startTime and endTime.')
  // Without an order, an id and a time: the newest ones.
  const isNewest = !['orderId', 'fromId', 'startTime', 'endTime'].some(name => query.has(name))
  const limit = Number(query.get('limit') ?? 500)
  if (!isNewest) return trades(orders, query, from, to)
  const newest = listedFills(orders, from, to).slice(-limit)
  return { status: 200, body: `[${newest.map(({ order, fill }) => fillText(order, fill))}]` }
}

/** The order with an id and symbol: spot orders of two symbols may have one id. */
function orderOf(account: SimulatedAccount, market: MarketType, query: URLSearchParams): SimulatedOrder | undefined {
  return account.orders.find(
    order =>
      order.exchangeOrderId === query.get('orderId') &&
      order.exchangeSymbol === query.get('symbol') &&
      order.market === market &&
      !order.conditional
  )
}

function authenticated({ headers, path, rawQuery, query }: SimulatedRequest, book: Book): SimulatedAccount {
  const account = book.accountOf(headerOf(headers, 'x-mbx-apikey'))
  if (account === undefined || account.state !== 'ok') {
    throw new Refused(refusal(401, -2015, 'Invalid API-key, IP, or permissions for action.'))
  }
  if (account.forbidden?.test(path)) throw new Refused(refusal(401, -2015, 'Invalid API-key, IP, or permissions.'))
  const [signed = '', signature] = rawQuery.split('&signature=')
  if (hmac(account.apiSecret, signed, 'hex') !== signature) {
    throw new Refused(refusal(400, -1022, 'Signature for this request is not valid.'))
  }
  const age = book.now() - Number(query.get('timestamp'))
  if (age < -1_000 || age > Number(query.get('recvWindow') ?? 5_000)) {
    throw new Refused(refusal(400, -1021, 'Timestamp for this request is outside of the recvWindow.'))
  }
  return account
}

function refusal(status: number, code: number, msg: string): SimulatedAnswer {
  return json({ code, msg }, status)
}

function tickers(book: Book, market: MarketType): SimulatedAnswer {
  const rows = book.symbols.map(({ symbol }) => {
    const time = market === 'FUTURES' ? `,"time":${book.tradedAt(market, symbol)}` : ''
    return `{"symbol":"${symbol}","price":"${book.priceOf(market, symbol)}"${time}}`
  })
  return { status: 200, body: `[${rows.join(',')}]` }
}

/** A quarterly contract is among the perpetuals. Its funding has no rate. */
function marks(book: Book): SimulatedAnswer {
  const row = (symbol: string, price: string, rate: string) =>
    `{"symbol":"${symbol}","markPrice":"${price}","indexPrice":"${price}","estimatedSettlePrice":"${price}","lastFundingRate":"${rate}","interestRate":"0.00010000","nextFundingTime":0,"time":${book.answeredAt()}}`
  const rows = book.symbols.map(({ symbol }) => row(symbol, book.markOf(symbol), '0.00038246'))
  return { status: 200, body: `[${[...rows, row('BTCUSDT_260327', '9999.99', '')].join(',')}]` }
}

/** Other lists come before the symbols; a quarterly contract is among those of futures. */
function exchangeInfo(book: Book, market: MarketType): SimulatedAnswer {
  const filters = [
    { filterType: 'PRICE_FILTER', minPrice: '0.01000000', maxPrice: '1000000.00000000', tickSize: '0.01000000' },
    { filterType: 'LOT_SIZE', minQty: '0.00001000', maxQty: '9000.00000000', stepSize: '0.00001000' },
    { filterType: 'MARKET_LOT_SIZE', minQty: '0.00000000', maxQty: '100.00000000', stepSize: '0.00000000' }
  ]
  const symbols = book.symbols.map(({ base, quote, symbol }) => ({
    symbol,
    status: book.isTrading(symbol) ? 'TRADING' : market === 'SPOT' ? 'BREAK' : 'SETTLING',
    baseAsset: base,
    quoteAsset: quote,
    orderTypes: ['LIMIT', 'MARKET'],
    filters,
    ...(market === 'SPOT' ? { permissions: [], permissionSets: [] } : { contractType: 'PERPETUAL', marginAsset: quote })
  }))
  const [first] = symbols
  if (market === 'FUTURES' && first) {
    symbols.push({ ...first, symbol: `${first.symbol}_261225`, contractType: 'CURRENT_QUARTER', marginAsset: 'USDT' })
  }
  return json({
    timezone: 'UTC',
    serverTime: book.now(),
    rateLimits: [{ rateLimitType: 'REQUEST_WEIGHT', interval: 'MINUTE', intervalNum: 1, limit: 6_000 }],
    exchangeFilters: [],
    ...(market === 'FUTURES' && { assets: [{ asset: 'USDT', marginAvailable: true }] }),
    symbols
  })
}

function orderText(order: SimulatedOrder): string {
  const spot = order.market === 'SPOT'
  const average = new Big(order.filledQuantity).eq(0) ? '0' : new Big(order.cost).div(order.filledQuantity).toFixed()
  const rest = JSON.stringify({
    symbol: order.exchangeSymbol,
    clientOrderId: clientIdOf(order),
    price: order.price ?? '0.00000000',
    origQty: order.quantity,
    executedQty: order.filledQuantity,
    ...(spot ? { cummulativeQuoteQty: order.cost } : { avgPrice: average, cumQuote: order.cost }),
    status: STATES[order.status],
    timeInForce: 'GTC',
    type: order.type,
    side: order.side,
    ...(spot ? {} : { positionSide: order.positionSide, reduceOnly: false }),
    stopPrice: order.stopPrice ?? '0.00000000',
    time: order.createdAt,
    updateTime: order.updatedAt
  })
  return withBare(rest, { orderId: order.exchangeOrderId })
}

function clientIdOf({ forced, clientOrderId }: SimulatedOrder): string {
  if (forced === 'adl') return 'adl_autoclose'
  return forced === 'liquidation' ? `autoclose-${clientOrderId}` : clientOrderId
}

function algoText(order: SimulatedOrder): string {
  const rest = JSON.stringify({
    clientAlgoId: order.clientOrderId,
    algoType: 'CONDITIONAL',
    orderType: order.type,
    symbol: order.exchangeSymbol,
    side: order.side,
    positionSide: order.positionSide,
    quantity: order.quantity,
    algoStatus: order.lostChild ? 'FINISHED' : order.becameIds.length === 0 ? STATES[order.status] : 'TRIGGERED',
    actualOrderId: order.becameIds[0] ?? '',
    triggerPrice: order.stopPrice ?? '0',
    price: order.price ?? '0',
    createTime: order.createdAt,
    updateTime: order.updatedAt
  })
  return withBare(rest, { algoId: order.exchangeOrderId })
}

function fillText(order: SimulatedOrder, fill: SimulatedFill): string {
  const spot = order.market === 'SPOT'
  const rest = JSON.stringify({
    symbol: order.exchangeSymbol,
    price: fill.price,
    qty: fill.quantity,
    commission: fill.fee,
    ...(fill.isFeeAssetNamed && { commissionAsset: fill.feeAsset }),
    time: fill.at,
    ...(spot
      ? { isBuyer: order.side === 'BUY', isMaker: false }
      : { side: order.side, positionSide: order.positionSide, realizedPnl: fill.realizedPnl, maker: false })
  })
  return withBare(rest, { id: fill.tradeId, orderId: order.exchangeOrderId })
}

/** Without times the last 7 days; a window has at most 7 days; the list reaches back 6 months. */
function futuresTrades(orders: readonly SimulatedOrder[], query: URLSearchParams, book: Book): SimulatedAnswer {
  const from = timeIn(query, 'startTime', timeIn(query, 'endTime', book.now()) - 7 * DAY)
  const to = timeIn(query, 'endTime', from + 7 * DAY)
  const isTimed = query.has('startTime') || query.has('endTime')
  if (query.has('fromId') && isTimed) return refusal(400, -1128, 'Combination of optional parameters invalid.')
  if (to - from > 7 * DAY) return refusal(400, -4165, 'Invalid time interval')
  return trades(orders, query, Math.max(from, book.now() - 183 * DAY), to)
}

function trades(orders: readonly SimulatedOrder[], query: URLSearchParams, from: number, to: number): SimulatedAnswer {
  const fromId = BigInt(query.get('fromId') ?? 0)
  const rows = listedFills(orders, from, to)
    .filter(({ fill }) => BigInt(fill.tradeId) >= fromId)
    .slice(0, Number(query.get('limit') ?? 500))
  return { status: 200, body: `[${rows.map(({ order, fill }) => fillText(order, fill))}]` }
}

function positionOf(position: SimulatedAccount['positions'][number], book: Book) {
  const markPrice = book.priceOf('FUTURES', position.symbol)
  return {
    symbol: position.exchangeSymbol,
    positionSide: position.positionSide,
    positionAmt: position.quantity,
    entryPrice: position.entryPrice,
    markPrice,
    unRealizedProfit: new Big(markPrice).minus(position.entryPrice).times(position.quantity).toFixed(),
    updateTime: book.pricedAt
  }
}

/** Inserts members with the given digits as numbers before the other members of an object. */
function withBare(object: string, numbers: Record<string, string>): string {
  const members = Object.entries(numbers).map(([name, digits]) => `"${name}":${digits}`)
  return `{${members.join(',')},${object.slice(1)}`
}
