import { createHmac } from 'node:crypto'
import type { IncomingHttpHeaders } from 'node:http'
import type { ExchangeName, MarketType } from '../../../src/domain/market.ts'
import type { SimulatedAccount, SimulatedFill, SimulatedOrder, SimulatedSymbol } from './market.ts'

/** The state of the simulated exchange that a dialect uses for an answer. */
export interface Book {
  exchange: ExchangeName
  /** The exchange's clock, including its skew. */
  now: () => number
  symbols: readonly SimulatedSymbol[]
  priceOf: (market: MarketType, symbol: string) => string
  /** The mark price of a perpetual. */
  markOf: (symbol: string) => string
  /** The time of the last change of the prices. */
  pricedAt: number
  /** The time of the last trade of a symbol. */
  tradedAt: (market: MarketType, symbol: string) => number
  /** The time that answers state: that of the clock, or an earlier one for answers from a cache. */
  answeredAt: () => number
  /** False for a symbol that is suspended: it has a last price, and does not trade. */
  isTrading: (symbol: string) => boolean
  accountOf: (apiKey: string) => SimulatedAccount | undefined
  /** Used nonces: a second use is rejected. */
  nonces: Set<string>
}

export interface SimulatedRequest {
  path: string
  /** The query as it was sent, still encoded. */
  rawQuery: string
  query: URLSearchParams
  headers: IncomingHttpHeaders
}

export interface SimulatedAnswer {
  status: number
  /** JSON text, numbers as that exchange writes them. */
  body: string
  headers?: Record<string, string>
}

/** The names of fields in the lists of a market, for tests that change a row. */
export interface RowFields {
  /** The field that holds the symbol of a ticker; `key` where tickers are the members of an object. */
  symbol: string
  price: string
  orderId: string
  state: string
  asset: string
  /** The balance of an asset, or its free part. */
  amount: string
  /** The id of a fill. */
  fill: string
  fillQuantity: string
}

/** The paths, formats and signatures of one exchange. */
export interface SimulatedDialect {
  markets: readonly MarketType[]
  /** Settings that point at the simulated exchange. */
  urlSettings: readonly string[]
  defaultQuote: string
  fields: (market: MarketType) => RowFields
  exchangeSymbol: (symbol: SimulatedSymbol, market: MarketType) => string
  orderId: (serial: number, market: MarketType) => string
  answer: (request: SimulatedRequest, book: Book) => SimulatedAnswer
}

/** An error answer, thrown while an answer is made. */
export class Refused extends Error {
  readonly answer: SimulatedAnswer

  constructor(answer: SimulatedAnswer) {
    super('refused')
    this.answer = answer
  }
}

export function json(value: unknown, status = 200): SimulatedAnswer {
  return { status, body: JSON.stringify(value) }
}

export function hmac(secret: string, text: string, encoding: 'hex' | 'base64' | 'base64url'): string {
  return createHmac('sha256', secret).update(text).digest(encoding)
}

/** Orders that the exchange lists as open, oldest first. @param only the symbol that the query names; null for all */
export function openOrdersOf(
  account: SimulatedAccount,
  market: MarketType,
  only: string | null,
  conditional = false
): SimulatedOrder[] {
  return account.orders.filter(
    order =>
      (only === null || order.exchangeSymbol === only) &&
      order.market === market &&
      order.conditional === conditional &&
      order.becameIds.length === 0 &&
      !order.lostChild &&
      (order.status === 'open' || order.status === 'partially_filled')
  )
}

export function orderById(account: SimulatedAccount, id: string | null, conditional = false) {
  return account.orders.find(order => order.exchangeOrderId === id && order.conditional === conditional)
}

/** The orders of a market that a query of fills names: by symbol and by id where it has them. */
export function queriedOrders(
  account: SimulatedAccount,
  market: MarketType,
  { symbol, id }: { symbol: string | null; id: string | null }
): SimulatedOrder[] {
  return account.orders.filter(
    order =>
      order.market === market &&
      !order.conditional &&
      (symbol === null || order.exchangeSymbol === symbol) &&
      (id === null || order.exchangeOrderId === id)
  )
}

/** A time in a query; `otherwise` when it is absent. */
export function timeIn(query: URLSearchParams, name: string, otherwise: number): number {
  return Number(query.get(name) ?? otherwise)
}

/** The fills of orders that a list has, from one time to another, both included, the oldest first. */
export function listedFills(
  orders: readonly SimulatedOrder[],
  from: number,
  to: number
): { order: SimulatedOrder; fill: SimulatedFill }[] {
  return orders
    .flatMap(order => order.fills.map(fill => ({ order, fill })))
    .filter(({ fill }) => fill.listed && fill.at >= from && fill.at <= to)
    .sort((a, b) => a.fill.at - b.fill.at)
}

export function headerOf(headers: IncomingHttpHeaders, name: string): string {
  const value = headers[name]
  return (Array.isArray(value) ? value[0] : value) ?? ''
}
