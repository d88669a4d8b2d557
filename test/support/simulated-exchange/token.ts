import { createHash, createHmac } from 'node:crypto'
import { Big } from 'big.js'
import { DAY } from '../../../src/async/durations.ts'
import type { OrderState } from '../../../src/domain/order.ts'
import {
  type Book,
  headerOf,
  json,
  openOrdersOf,
  orderById,
  Refused,
  type RowFields,
  type SimulatedAnswer,
  type SimulatedDialect,
  type SimulatedRequest,
  timeIn
} from './dialect.ts'
import type { SimulatedAccount, SimulatedOrder } from './market.ts'
import { transferList } from './token-ledger.ts'

const STATES: Record<OrderState, string> = {
  open: 'wait',
  partially_filled: 'wait',
  filled: 'done',
  canceled: 'cancel',
  rejected: 'cancel',
  expired: 'cancel'
}

const FIELDS: RowFields = {
  symbol: 'market',
  price: 'trade_price',
  orderId: 'uuid',
  state: 'state',
  asset: 'currency',
  amount: 'balance',
  fill: 'uuid',
  fillQuantity: 'volume'
}

export const upbit: SimulatedDialect = {
  markets: ['SPOT'],
  urlSettings: ['UPBIT_URL'],
  defaultQuote: 'KRW',
  fields: () => FIELDS,
  exchangeSymbol: ({ base, quote }) => `${quote}-${base}`,
  orderId: serial => `00000000-0000-4000-8000-${String(serial).padStart(12, '0')}`,
  answer: (request, book) => {
    if (request.path === '/v1/ticker/all') return tickers(book)
    return common(request, book, '/v1/orders/open')
  }
}

export const bithumb: SimulatedDialect = {
  markets: ['SPOT'],
  urlSettings: ['BITHUMB_URL'],
  defaultQuote: 'KRW',
  fields: () => ({ ...FIELDS, symbol: 'key', price: 'closing_price' }),
  exchangeSymbol: ({ base, quote }) => `${quote}-${base}`,
  orderId: serial => `C0101${String(serial).padStart(15, '0')}`,
  answer: (request, book) => {
    if (request.path === '/public/ticker/ALL_KRW') return legacyTickers(book)
    return common(request, book, '/v1/orders')
  }
}

function common(request: SimulatedRequest, book: Book, openOrdersPath: string): SimulatedAnswer {
  const { path, query } = request
  if (path === '/v1/market/all') return markets(book)
  if (path === '/v1/ticker') return tickers(book, query.get('markets')?.split(','))
  const account = authenticated(request, book)
  if (path === '/v1/accounts') {
    return json([...account.balances.SPOT].map(([currency, { free, locked }]) => ({ currency, balance: free, locked })))
  }
  const transfers = transferList(book.exchange, path, account, query)
  if (transfers !== null) return transfers
  if (path === '/v1/order') {
    const order = orderById(account, query.get('uuid'))
    return order === undefined ? refusal(404, 'order_not_found') : json(orderOf(order, true))
  }
  if (path === '/v1/orders/closed' && book.exchange === 'UPBIT') return closedOrders(account, query)
  if (path === openOrdersPath) {
    if (query.get('states[]') === 'done') return closedPages(account, query)
    const limit = Number(query.get('limit') ?? 100)
    const from = (Number(query.get('page') ?? 1) - 1) * limit
    return json(
      openOrdersOf(account, 'SPOT', query.get('market'))
        .slice(from, from + limit)
        .map(order => orderOf(order, false))
    )
  }
  return refusal(404, 'not_found')
}

function isClosed({ market, status }: SimulatedOrder): boolean {
  return market === 'SPOT' && status !== 'open' && status !== 'partially_filled'
}

/** By the time of creation, at most 7 days and 1,000 orders. */
function closedOrders(account: SimulatedAccount, query: URLSearchParams): SimulatedAnswer {
  const [from, to] = [timeIn(query, 'start_time', 0), timeIn(query, 'end_time', 0)]
  if (to - from > 7 * DAY) return refusal(400, 'invalid_parameter')
  const orders = account.orders
    .filter(order => isClosed(order) && order.createdAt >= from && order.createdAt <= to)
    .sort((a, b) => a.createdAt - b.createdAt)
  return json(orders.slice(0, Number(query.get('limit') ?? 100)).map(order => orderOf(order, false)))
}

/** All closed orders, the newest first. */
function closedPages(account: SimulatedAccount, query: URLSearchParams): SimulatedAnswer {
  const limit = Number(query.get('limit') ?? 100)
  const from = (Number(query.get('page') ?? 1) - 1) * limit
  const orders = account.orders.filter(isClosed).sort((a, b) => b.createdAt - a.createdAt)
  return json(orders.slice(from, from + limit).map(order => orderOf(order, false)))
}

function authenticated({ path, headers, rawQuery }: SimulatedRequest, book: Book): SimulatedAccount {
  const [header = '', claims = '', signature] = headerOf(headers, 'authorization')
    .replace(/^Bearer /, '')
    .split('.')
  const claim = claimsOf(claims)
  const account = book.accountOf(String(claim.access_key))
  if (account === undefined || account.state === 'revoked') throw new Refused(refusal(401, 'invalid_access_key'))
  if (account.state === 'forbidden' || account.forbidden?.test(path)) throw new Refused(refusal(401, 'out_of_scope'))
  const own = createHmac('sha256', account.apiSecret).update(`${header}.${claims}`).digest('base64url')
  const hash = createHash('sha512').update(decodeURIComponent(rawQuery)).digest('hex')
  if (own !== signature) throw new Refused(refusal(401, 'jwt_verification'))
  if (rawQuery !== '' && claim.query_hash !== hash) throw new Refused(refusal(401, 'invalid_query_payload'))
  if (typeof claim.nonce !== 'string' || book.nonces.has(claim.nonce)) throw new Refused(refusal(401, 'nonce_used'))
  book.nonces.add(claim.nonce)
  if (book.exchange === 'BITHUMB' && !(Math.abs(book.now() - Number(claim.timestamp)) < 30_000)) {
    throw new Refused(refusal(401, 'expired_jwt'))
  }
  return account
}

function claimsOf(encoded: string): Record<string, unknown> {
  try {
    return JSON.parse(Buffer.from(encoded, 'base64url').toString())
  } catch {
    return {}
  }
}

function refusal(status: number, name: string): SimulatedAnswer {
  return json({ error: { name, message: '요청을 처리할 수 없습니다.' } }, status)
}

/** Only markets that trade: the list has no state. */
function markets(book: Book): SimulatedAnswer {
  const traded = book.symbols.filter(({ symbol }) => book.isTrading(symbol))
  return json(
    traded.map(({ base, quote }) => ({ market: `${quote}-${base}`, korean_name: '비트코인', english_name: 'Bitcoin' }))
  )
}

/** The price is a text in one row and a number in the next, as observed in answers of Upbit. */
function tickers(book: Book, markets?: readonly string[]): SimulatedAnswer {
  const rows = book.symbols
    .map(({ base, quote, symbol }, index) => {
      const price = book.priceOf('SPOT', symbol)
      const market = `${quote}-${base}`
      const at = book.tradedAt('SPOT', symbol)
      const text =
        `{"market":"${market}","trade_date":"20261123","trade_timestamp":${at},"opening_price":${price},` +
        `"trade_price":${index % 2 === 0 ? price : `"${price}"`},"change":"FALL","change_price":1.4E-7,` +
        `"acc_trade_price_24h":1.76373410121466379999997512,"timestamp":${at}}`
      return { market, text }
    })
    .filter(({ market }) => markets === undefined || markets.includes(market))
  return { status: 200, body: `[${rows.map(({ text }) => text).join(',')}]` }
}

function legacyTickers(book: Book): SimulatedAnswer {
  const rows = book.symbols.map(({ base, symbol }) => {
    const price = book.priceOf('SPOT', symbol)
    return `"${base}":{"opening_price":"${price}","closing_price":"${price}","units_traded":"4619.79967497"}`
  })
  return { status: 200, body: `{"status":"0000","data":{${rows.join(',')},"date":"${book.answeredAt()}"}}` }
}

function orderOf(order: SimulatedOrder, withTrades: boolean) {
  const spends = order.quoteAmount !== null
  const fee = order.fills.reduce((sum, fill) => sum.plus(fill.fee), new Big(0)).toFixed()
  return {
    uuid: order.exchangeOrderId,
    side: order.side === 'BUY' ? 'bid' : 'ask',
    ord_type: order.type === 'LIMIT' ? 'limit' : spends ? 'price' : 'market',
    ...(order.type === 'LIMIT' ? { price: order.price } : spends ? { price: order.quoteAmount } : {}),
    state: STATES[order.status],
    market: order.exchangeSymbol,
    created_at: koreanTime(order.createdAt),
    ...(spends ? {} : { volume: order.quantity }),
    remaining_volume: new Big(order.quantity).minus(order.filledQuantity).toFixed(),
    reserved_fee: fee,
    remaining_fee: '0',
    paid_fee: fee,
    locked: '0',
    executed_volume: order.filledQuantity,
    executed_funds: order.cost,
    trades_count: order.fills.length,
    identifier: order.clientOrderId,
    ...(withTrades && {
      trades: order.fills
        .filter(({ listed }) => listed)
        .map(fill => ({
          market: order.exchangeSymbol,
          uuid: fill.tradeId,
          price: fill.price,
          volume: fill.quantity,
          funds: new Big(fill.price).times(fill.quantity).toFixed(),
          side: order.side === 'BUY' ? 'bid' : 'ask',
          created_at: koreanTime(fill.at)
        }))
    })
  }
}

/** ISO 8601 in whole seconds, with the offset of Korea. */
function koreanTime(at: number): string {
  return `${new Date(at + 9 * 3_600_000).toISOString().slice(0, 19)}+09:00`
}
