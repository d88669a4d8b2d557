import { Big } from 'big.js'
import { DAY } from '../../../src/async/durations.ts'
import type { MarketType } from '../../../src/domain/market.ts'
import type { OrderState } from '../../../src/domain/order.ts'
import type { PositionSide } from '../../../src/domain/position.ts'
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
import type { SimulatedAccount, SimulatedFill, SimulatedOrder, SimulatedSymbol } from './market.ts'
import { okxBills } from './okx-ledger.ts'

const STATES: Record<OrderState, string> = {
  open: 'live',
  partially_filled: 'partially_filled',
  filled: 'filled',
  canceled: 'canceled',
  rejected: 'canceled',
  expired: 'canceled'
}
const POSITION_SIDES: Record<PositionSide, string> = { BOTH: 'net', LONG: 'long', SHORT: 'short' }
const SIZE_OF_BTC = '0.01'
const SIZE_OF_OTHERS = '0.1'

export const okx: SimulatedDialect = {
  markets: ['SPOT', 'FUTURES'],
  urlSettings: ['OKX_URL'],
  defaultQuote: 'USDT',
  fields: () => ({
    symbol: 'instId',
    price: 'last',
    orderId: 'ordId',
    state: 'state',
    asset: 'ccy',
    amount: 'eq',
    fill: 'tradeId',
    fillQuantity: 'fillSz'
  }),
  exchangeSymbol: ({ base, quote }, market) => (market === 'SPOT' ? `${base}-${quote}` : `${base}-${quote}-SWAP`),
  orderId: serial => String(680_800_019_749_904_000n + BigInt(serial)),
  answer
}

function answer(request: SimulatedRequest, book: Book): SimulatedAnswer {
  const { path, query } = request
  const market: MarketType = query.get('instType') === 'SWAP' ? 'FUTURES' : 'SPOT'
  if (path === '/api/v5/public/time') return ok([{ ts: String(book.now()) }])
  if (path === '/api/v5/market/tickers') return tickers(book, market)
  if (path === '/api/v5/public/mark-price') return marks(book)
  if (path === '/api/v5/public/instruments') return instruments(book, market)
  const account = authenticated(request, book)
  const bills = okxBills(path, account, query, book)
  if (bills !== null) return page(query, bills, bill => bill.billId)
  switch (path) {
    case '/api/v5/trade/order': {
      const order = orderById(account, query.get('ordId'))
      return order === undefined ? refusal(200, '51603', 'Order does not exist') : ok([orderOf(order)])
    }
    case '/api/v5/trade/order-algo': {
      const order = orderById(account, query.get('algoId'), true)
      return order === undefined ? refusal(200, '51603', 'Order does not exist') : ok([algoOf(order)])
    }
    case '/api/v5/trade/orders-pending': {
      const orders = openOrdersOf(account, market, query.get('instId')).reverse()
      return page(query, orders.map(orderOf), row => row.ordId)
    }
    case '/api/v5/trade/fills':
      return fills(account, query, book.now() - 3 * DAY)
    case '/api/v5/trade/fills-history':
      return fills(account, query, book.now() - 92 * DAY)
    case '/api/v5/account/balance':
      return ok([{ details: detailsOf(account) }])
    case '/api/v5/account/positions':
      return ok(account.positions.map(position => positionOf(position, book)))
    default:
      return json({ code: '404', msg: '', data: [] }, 404)
  }
}

function authenticated({ path, headers, rawQuery }: SimulatedRequest, book: Book): SimulatedAccount {
  const account = book.accountOf(headerOf(headers, 'ok-access-key'))
  const time = headerOf(headers, 'ok-access-timestamp')
  if (account === undefined || account.state === 'revoked') {
    throw new Refused(refusal(401, '50119', "API key doesn't exist"))
  }
  if (account.state === 'forbidden' || account.forbidden?.test(path))
    throw new Refused(refusal(401, '50120', 'No permission'))
  if (headerOf(headers, 'ok-access-passphrase') !== account.passphrase) {
    throw new Refused(refusal(401, '50105', 'Request header OK-ACCESS-PASSPHRASE incorrect.'))
  }
  const target = rawQuery === '' ? path : `${path}?${rawQuery}`
  if (hmac(account.apiSecret, `${time}GET${target}`, 'base64') !== headerOf(headers, 'ok-access-sign')) {
    throw new Refused(refusal(401, '50113', 'Invalid Sign'))
  }
  if (!(Math.abs(book.now() - Date.parse(time)) < 30_000)) {
    throw new Refused(refusal(401, '50102', 'Timestamp request expired'))
  }
  return account
}

function ok(data: readonly unknown[]): SimulatedAnswer {
  return json({ code: '0', msg: '', data })
}

function refusal(status: number, code: string, msg: string): SimulatedAnswer {
  return json({ code, msg, data: [] }, status)
}

function page<Row>(query: URLSearchParams, rows: readonly Row[], cursor: (row: Row) => string): SimulatedAnswer {
  const after = query.get('after')
  const from = after === null ? 0 : rows.findIndex(row => cursor(row) === after) + 1
  return ok(rows.slice(from, from + Math.min(100, Number(query.get('limit') ?? 100))))
}

function sizeOf(base: string): string {
  return base === 'BTC' ? SIZE_OF_BTC : SIZE_OF_OTHERS
}

function tickers(book: Book, market: MarketType): SimulatedAnswer {
  const rows = book.symbols.map(symbol => {
    const price = book.priceOf(market, symbol.symbol)
    const instId = okx.exchangeSymbol(symbol, market)
    return `{"instType":"${market === 'SPOT' ? 'SPOT' : 'SWAP'}","instId":"${instId}","last":"${price}","lastSz":"1","askPx":"${price}","ts":"${book.tradedAt(market, symbol.symbol)}"}`
  })
  // An inverse contract among the swaps, which the service does not support.
  if (market === 'FUTURES')
    rows.push('{"instType":"SWAP","instId":"BTC-USD-SWAP","last":"9999.99","ts":"1597026383085"}')
  return { status: 200, body: `{"code":"0","msg":"","data":[${rows.join(',')}]}` }
}

function marks(book: Book): SimulatedAnswer {
  const rows = book.symbols.map(symbol => {
    const instId = okx.exchangeSymbol(symbol, 'FUTURES')
    return `{"instType":"SWAP","instId":"${instId}","markPx":"${book.markOf(symbol.symbol)}","ts":"${book.answeredAt()}"}`
  })
  const inverse = '{"instType":"SWAP","instId":"BTC-USD-SWAP","markPx":"9999.99","ts":"1597026383085"}'
  return { status: 200, body: `{"code":"0","msg":"","data":[${[...rows, inverse].join(',')}]}` }
}

function instruments(book: Book, market: MarketType): SimulatedAnswer {
  const stateOf = (symbol: string) => (book.isTrading(symbol) ? 'live' : 'suspend')
  if (market === 'SPOT') {
    return ok(
      book.symbols.map((symbol: SimulatedSymbol) => ({
        instType: 'SPOT',
        instId: okx.exchangeSymbol(symbol, 'SPOT'),
        baseCcy: symbol.base,
        quoteCcy: symbol.quote,
        ctType: '',
        ctVal: '',
        ctMult: '',
        tickSz: '0.1',
        lotSz: '0.00000001',
        state: stateOf(symbol.symbol)
      }))
    )
  }
  return ok([
    ...book.symbols.map((symbol: SimulatedSymbol) => ({
      instType: 'SWAP',
      instId: okx.exchangeSymbol(symbol, 'FUTURES'),
      ctType: 'linear',
      ctVal: sizeOf(symbol.base),
      ctMult: '1',
      ctValCcy: symbol.base,
      settleCcy: symbol.quote,
      tickSz: '0.1',
      lotSz: '0.1',
      state: stateOf(symbol.symbol)
    })),
    { instType: 'SWAP', instId: 'BTC-USD-SWAP', ctType: 'inverse', ctVal: '100', ctMult: '1', settleCcy: 'BTC' }
  ])
}

/** From base units to the units of the exchange: contracts on swaps. */
function own(exchangeSymbol: string, quantity: string): string {
  if (!exchangeSymbol.endsWith('-SWAP')) return quantity
  return new Big(quantity).div(sizeOf(exchangeSymbol.split('-')[0] ?? '')).toFixed()
}

function orderOf(order: SimulatedOrder) {
  const filled = !new Big(order.filledQuantity).eq(0)
  return {
    instType: order.market === 'SPOT' ? 'SPOT' : 'SWAP',
    instId: order.exchangeSymbol,
    ordId: order.exchangeOrderId,
    clOrdId: order.clientOrderId,
    ordType: order.type === 'LIMIT' ? 'limit' : 'market',
    side: order.side.toLowerCase(),
    posSide: POSITION_SIDES[order.positionSide],
    px: order.price ?? '',
    sz: order.quoteAmount ?? own(order.exchangeSymbol, order.quantity),
    tgtCcy: order.quoteAmount === null ? 'base_ccy' : 'quote_ccy',
    accFillSz: own(order.exchangeSymbol, order.filledQuantity),
    avgPx: filled ? new Big(order.cost).div(order.filledQuantity).toFixed() : '',
    category: order.forced === null ? 'normal' : order.forced === 'adl' ? 'adl' : 'full_liquidation',
    state: STATES[order.status],
    cTime: String(order.createdAt),
    uTime: String(order.updatedAt)
  }
}

function algoStateOf({ becameIds, lostChild, status }: SimulatedOrder): string {
  if (lostChild) return 'effective'
  if (becameIds.length === 0) return STATES[status]
  return status === 'open' ? 'effective' : 'partially_effective'
}

function algoOf(order: SimulatedOrder) {
  return {
    instType: order.market === 'SPOT' ? 'SPOT' : 'SWAP',
    instId: order.exchangeSymbol,
    algoId: order.exchangeOrderId,
    algoClOrdId: order.clientOrderId,
    ordType: 'conditional',
    side: order.side.toLowerCase(),
    posSide: POSITION_SIDES[order.positionSide],
    sz: own(order.exchangeSymbol, order.quantity),
    slTriggerPx: order.stopPrice ?? '',
    ordIdList: order.becameIds,
    state: algoStateOf(order),
    cTime: String(order.createdAt),
    uTime: String(order.updatedAt)
  }
}

function fills(account: SimulatedAccount, query: URLSearchParams, from: number): SimulatedAnswer {
  const market: MarketType = query.get('instType') === 'SWAP' ? 'FUTURES' : 'SPOT'
  const orders = queriedOrders(account, market, { symbol: query.get('instId'), id: query.get('ordId') })
  const to = timeIn(query, 'end', Number.POSITIVE_INFINITY)
  const rows = listedFills(orders, Math.max(from, timeIn(query, 'begin', from)), to).reverse()
  return page(query, rows.map(fillOf), row => row.billId)
}

function fillOf({ order, fill }: { order: SimulatedOrder; fill: SimulatedFill }) {
  return {
    instType: order.market === 'SPOT' ? 'SPOT' : 'SWAP',
    instId: order.exchangeSymbol,
    tradeId: fill.tradeId,
    billId: fill.tradeId,
    ordId: order.exchangeOrderId,
    side: order.side.toLowerCase(),
    posSide: POSITION_SIDES[order.positionSide],
    subType: order.forced === null ? '1' : order.forced === 'adl' ? '125' : '104',
    fillPx: fill.price,
    fillSz: own(order.exchangeSymbol, fill.quantity),
    fillPnl: fill.realizedPnl,
    fee: new Big(fill.fee).neg().toFixed(),
    feeCcy: fill.isFeeAssetNamed ? fill.feeAsset : '',
    fillTime: String(fill.at),
    ts: String(fill.at)
  }
}

function detailsOf({ balances }: SimulatedAccount) {
  const assets = new Set([...balances.SPOT.keys(), ...balances.FUTURES.keys()])
  return [...assets].map(ccy => {
    const parts = [balances.SPOT.get(ccy), balances.FUTURES.get(ccy)]
    const sum = (of: 'free' | 'locked') => parts.reduce((total, part) => total.plus(part?.[of] ?? 0), new Big(0))
    const free = sum('free')
    return {
      ccy,
      eq: free.plus(sum('locked')).toFixed(),
      cashBal: free.plus(sum('locked')).toFixed(),
      isoEq: '0',
      availBal: free.toFixed(),
      frozenBal: sum('locked').toFixed(),
      upl: ''
    }
  })
}

function positionOf(position: SimulatedAccount['positions'][number], book: Book) {
  const markPx = book.priceOf('FUTURES', position.symbol)
  const contracts = new Big(own(position.exchangeSymbol, position.quantity))
  return {
    instType: 'SWAP',
    instId: position.exchangeSymbol,
    posSide: POSITION_SIDES[position.positionSide],
    // In hedge mode the side marks a short position, and the number is never negative.
    pos: position.positionSide === 'BOTH' ? contracts.toFixed() : contracts.abs().toFixed(),
    avgPx: position.entryPrice,
    markPx,
    upl: new Big(markPx).minus(position.entryPrice).times(position.quantity).toFixed(),
    uTime: String(book.pricedAt)
  }
}
