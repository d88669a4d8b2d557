import { Big } from 'big.js'
import { DAY } from '../../../src/async/durations.ts'
import type { MarketType } from '../../../src/domain/market.ts'
import type { OrderState } from '../../../src/domain/order.ts'
import type { PositionSide } from '../../../src/domain/position.ts'
import { bybitLog, LOG_PAGE } from './bybit-ledger.ts'
import {
  type Book,
  headerOf,
  hmac,
  json,
  listedFills,
  openOrdersOf,
  Refused,
  type SimulatedAnswer,
  type SimulatedDialect,
  type SimulatedRequest,
  timeIn
} from './dialect.ts'
import type { SimulatedAccount, SimulatedFill, SimulatedOrder } from './market.ts'

const STATES: Record<OrderState, string> = {
  open: 'New',
  partially_filled: 'PartiallyFilled',
  filled: 'Filled',
  canceled: 'Cancelled',
  rejected: 'Rejected',
  expired: 'Deactivated'
}
const POSITION_INDEX: Record<PositionSide, number> = { BOTH: 0, LONG: 1, SHORT: 2 }
const CREATE_TYPES = { user: 'CreateByUser', liquidation: 'CreateByLiq', adl: 'CreateByAdl_PassThrough' } as const
const EXEC_TYPES = { user: 'Trade', liquidation: 'BustTrade', adl: 'AdlTrade' } as const
/** Ended orders that are still in the list of open orders. */
const RECENTLY_ENDED = 2

export const bybit: SimulatedDialect = {
  markets: ['SPOT', 'FUTURES'],
  urlSettings: ['BYBIT_URL'],
  defaultQuote: 'USDT',
  fields: () => ({
    symbol: 'symbol',
    price: 'lastPrice',
    orderId: 'orderId',
    state: 'orderStatus',
    asset: 'coin',
    amount: 'walletBalance',
    fill: 'execId',
    fillQuantity: 'execQty'
  }),
  // Perpetuals that settle in USDC have a name of their own.
  exchangeSymbol: ({ base, quote, symbol }, market) =>
    market === 'FUTURES' && quote === 'USDC' ? `${base}PERP` : symbol,
  orderId: (serial, market) =>
    market === 'SPOT'
      ? String(1_900_000_000_000_000_000n + BigInt(serial))
      : `f5f2d355-9a11-4af3-9b83-${String(serial).padStart(12, '0')}`,
  answer
}

function answer(request: SimulatedRequest, book: Book): SimulatedAnswer {
  const { path, query } = request
  const market: MarketType = query.get('category') === 'linear' ? 'FUTURES' : 'SPOT'
  if (path === '/v5/market/time') return ok(book, { timeSecond: String(Math.floor(book.now() / 1_000)) })
  if (path === '/v5/market/tickers') return tickers(book, market)
  if (path === '/v5/market/instruments-info') return instruments(book, query, market)
  const account = authenticated(request, book)
  const settles = (exchangeSymbol: string) =>
    exchangeSymbol.replace(/PERP$/, 'USDC').endsWith(query.get('settleCoin') ?? '')
  switch (path) {
    case '/v5/order/realtime': {
      const ended = account.orders.filter(
        order => order.market === market && order.status !== 'open' && order.updatedAt > book.now() - DAY
      )
      const open = openOrdersOf(account, market, query.get('symbol'))
      const listed = [...new Set([...open, ...ended.slice(-RECENTLY_ENDED)])]
      return page(
        book,
        query,
        matching(listed, query)
          .filter(order => settles(order.exchangeSymbol))
          .map(orderOf)
      )
    }
    case '/v5/order/history': {
      const { from, to } = windowOf(query, book)
      const orders = account.orders.filter(order => order.market === market && isInHistory(order, book))
      const listed = orders.filter(({ createdAt }) => createdAt >= from && createdAt <= to)
      return page(book, query, matching(listed, query).map(orderOf))
    }
    case '/v5/execution/list': {
      const orders = matching(
        account.orders.filter(order => order.market === market),
        query
      )
      const { from, to } = windowOf(query, book)
      return page(book, query, listedFills(orders, from, to).reverse().map(executionOf))
    }
    case '/v5/account/transaction-log': {
      const { from, to } = windowOf(query, book)
      return page(book, query, bybitLog(account, book, from, to), LOG_PAGE)
    }
    case '/v5/account/wallet-balance':
      return ok(book, { list: [{ accountType: 'UNIFIED', coin: coinsOf(account) }] })
    case '/v5/position/list':
      return page(
        book,
        query,
        account.positions
          .filter(({ exchangeSymbol }) => settles(exchangeSymbol))
          .map(position => positionOf(position, book))
      )
    default:
      return json({}, 404)
  }
}

function authenticated({ path, headers, rawQuery }: SimulatedRequest, book: Book): SimulatedAccount {
  const apiKey = headerOf(headers, 'x-bapi-api-key')
  const time = headerOf(headers, 'x-bapi-timestamp')
  const recvWindow = headerOf(headers, 'x-bapi-recv-window')
  const account = book.accountOf(apiKey)
  if (account === undefined || account.state === 'revoked')
    throw new Refused(refusal(book, 10_003, 'API key is invalid.'))
  if (account.state === 'forbidden' || account.forbidden?.test(path))
    throw new Refused(refusal(book, 10_005, 'Permission denied.'))
  if (hmac(account.apiSecret, `${time}${apiKey}${recvWindow}${rawQuery}`, 'hex') !== headerOf(headers, 'x-bapi-sign')) {
    throw new Refused(refusal(book, 10_004, 'error sign!'))
  }
  const age = book.now() - Number(time)
  if (age < -1_000 || age > Number(recvWindow)) throw new Refused(refusal(book, 10_002, 'invalid request timestamp'))
  return account
}

function ok(book: Book, result: unknown): SimulatedAnswer {
  return json({ retCode: 0, retMsg: 'OK', result, retExtInfo: {}, time: book.now() })
}

function refusal(book: Book, retCode: number, retMsg: string): SimulatedAnswer {
  return json({ retCode, retMsg, result: {}, retExtInfo: {}, time: book.now() })
}

/** A page of a list; the cursor is the index of the next row, encoded as Bybit does. */
function page(book: Book, query: URLSearchParams, rows: readonly unknown[], most = 1_000): SimulatedAnswer {
  const limit = Math.min(most, Number(query.get('limit') ?? 20))
  const from = Number(query.get('cursor')?.replace('at:', '') ?? 0)
  const next = from + limit < rows.length ? encodeURIComponent(`at:${from + limit}`) : ''
  return ok(book, { category: query.get('category'), list: rows.slice(from, from + limit), nextPageCursor: next })
}

function matching(orders: readonly SimulatedOrder[], query: URLSearchParams): SimulatedOrder[] {
  const id = query.get('orderId')
  return orders.filter(order => id === null || order.exchangeOrderId === id)
}

function tickers(book: Book, market: MarketType): SimulatedAnswer {
  const rows = book.symbols.map(pair => {
    const price = book.priceOf(market, pair.symbol)
    const mark = market === 'FUTURES' ? `,"markPrice":"${book.markOf(pair.symbol)}"` : ''
    return `{"symbol":"${bybit.exchangeSymbol(pair, market)}","bid1Price":"${price}","ask1Price":"${price}","lastPrice":"${price}"${mark},"volume24h":"11801.27771"}`
  })
  const category = market === 'SPOT' ? 'spot' : 'linear'
  const body = `{"retCode":0,"retMsg":"OK","result":{"category":"${category}","list":[${rows.join(',')}]},"retExtInfo":{},"time":${book.answeredAt()}}`
  return { status: 200, body }
}

/** Only instruments that trade; a dated contract is among the linear ones. Spot has one page, whatever the limit is. */
function instruments(book: Book, query: URLSearchParams, market: MarketType): SimulatedAnswer {
  const rows: object[] = book.symbols
    .filter(({ symbol }) => book.isTrading(symbol))
    .map(pair => ({
      symbol: bybit.exchangeSymbol(pair, market),
      ...(market === 'FUTURES' && { contractType: 'LinearPerpetual', settleCoin: pair.quote }),
      baseCoin: pair.base,
      quoteCoin: pair.quote,
      status: 'Trading',
      priceFilter: { minPrice: '0.10', maxPrice: '1999999.80', tickSize: '0.10' },
      lotSizeFilter: market === 'SPOT' ? { basePrecision: '0.000001' } : { qtyStep: '0.001', minOrderQty: '0.001' }
    }))
  if (market === 'SPOT') return ok(book, { category: 'spot', list: rows })
  const dated = { symbol: 'BTC-25DEC26', contractType: 'LinearFutures', baseCoin: 'BTC', quoteCoin: 'USDC' }
  return page(book, query, [{ ...dated, status: 'Trading' }, ...rows])
}

function orderOf(order: SimulatedOrder) {
  const filled = !new Big(order.filledQuantity).eq(0)
  return {
    orderId: order.exchangeOrderId,
    orderLinkId: order.clientOrderId,
    symbol: order.exchangeSymbol,
    price: order.price ?? '0',
    qty: order.quoteAmount ?? order.quantity,
    marketUnit: order.quoteAmount === null ? 'baseCoin' : 'quoteCoin',
    side: order.side === 'BUY' ? 'Buy' : 'Sell',
    positionIdx: POSITION_INDEX[order.positionSide],
    orderStatus: STATES[order.status],
    avgPrice: filled ? new Big(order.cost).div(order.filledQuantity).toFixed() : '',
    leavesQty: new Big(order.quantity).minus(order.filledQuantity).toFixed(),
    cumExecQty: order.filledQuantity,
    cumExecValue: order.cost,
    orderType: order.type === 'LIMIT' ? 'Limit' : 'Market',
    createType: CREATE_TYPES[order.forced ?? 'user'],
    stopOrderType: order.stopPrice === null ? '' : 'Stop',
    triggerPrice: order.stopPrice ?? '',
    createdTime: String(order.createdAt),
    updatedTime: String(order.updatedAt)
  }
}

/** Without times the last 7 days; a window has at most 7 days; lists reach back 730 days. */
function windowOf(query: URLSearchParams, book: Book): { from: number; to: number } {
  const from = timeIn(query, 'startTime', timeIn(query, 'endTime', book.now()) - 7 * DAY)
  const to = timeIn(query, 'endTime', from + 7 * DAY)
  if (to - from > 7 * DAY) throw new Refused(refusal(book, 10_001, 'The time range exceeds 7 days'))
  return { from: Math.max(from, book.now() - 730 * DAY), to }
}

/** Ended orders without a fill are in the history for a day. */
function isInHistory({ status, filledQuantity, updatedAt }: SimulatedOrder, book: Book): boolean {
  if (status === 'open' || status === 'partially_filled') return false
  return !new Big(filledQuantity).eq(0) || updatedAt > book.now() - DAY
}

function executionOf({ order, fill }: { order: SimulatedOrder; fill: SimulatedFill }) {
  return {
    symbol: order.exchangeSymbol,
    orderId: order.exchangeOrderId,
    execId: fill.tradeId,
    execType: EXEC_TYPES[order.forced ?? 'user'],
    createType: CREATE_TYPES[order.forced ?? 'user'],
    side: order.side === 'BUY' ? 'Buy' : 'Sell',
    execPrice: fill.price,
    execQty: fill.quantity,
    execFee: fill.fee,
    extraFees: taxesOf(fill),
    feeCurrency: order.market === 'SPOT' && fill.isFeeAssetNamed ? fill.feeAsset : '',
    ...(order.market === 'FUTURES' && { execPnl: fill.realizedPnl }),
    execTime: String(fill.at)
  }
}

/** As a text in the lists; a message of the stream has the list itself. */
function taxesOf({ tax }: SimulatedFill): string {
  if (tax === undefined) return ''
  return JSON.stringify([
    { feeCoin: tax.coin, feeType: 'GST', subFeeType: 'IND_GST', feeRate: '0.0000675', fee: tax.amount }
  ])
}

/** A unified account: both markets have one wallet. */
function coinsOf({ balances, borrowed }: SimulatedAccount) {
  const assets = new Set([...balances.SPOT.keys(), ...balances.FUTURES.keys()])
  return [...assets].map(coin => {
    const parts = [balances.SPOT.get(coin), balances.FUTURES.get(coin)]
    const sum = (of: 'free' | 'locked') => parts.reduce((total, part) => total.plus(part?.[of] ?? 0), new Big(0))
    const wallet = sum('free').plus(sum('locked'))
    const spotBorrow = borrowed.get(coin) ?? '0'
    return {
      coin,
      walletBalance: wallet.toFixed(),
      locked: sum('locked').toFixed(),
      spotBorrow,
      unrealisedPnl: '0',
      equity: wallet.minus(spotBorrow).toFixed()
    }
  })
}

function positionOf(position: SimulatedAccount['positions'][number], book: Book) {
  const markPrice = book.priceOf('FUTURES', position.symbol)
  const size = new Big(position.quantity)
  return {
    symbol: position.exchangeSymbol,
    positionIdx: POSITION_INDEX[position.positionSide],
    side: size.eq(0) ? '' : size.gt(0) ? 'Buy' : 'Sell',
    size: size.abs().toFixed(),
    avgPrice: position.entryPrice,
    markPrice,
    unrealisedPnl: new Big(markPrice).minus(position.entryPrice).times(size).toFixed(),
    updatedTime: String(book.pricedAt)
  }
}
