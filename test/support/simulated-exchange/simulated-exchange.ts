import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import { Big } from 'big.js'
import { MINUTE } from '../../../src/async/durations.ts'
import type { ExchangeName, MarketType } from '../../../src/domain/market.ts'
import type { OrderSide, OrderState } from '../../../src/domain/order.ts'
import type { PositionSide } from '../../../src/domain/position.ts'
import type { UrlSetting } from '../../../src/exchanges/url-settings.ts'
import { binance, binanceWeightOf } from './binance.ts'
import { bybit } from './bybit.ts'
import {
  type Book,
  headerOf,
  json,
  Refused,
  type RowFields,
  type SimulatedAnswer,
  type SimulatedDialect
} from './dialect.ts'
import { SimulatedLedger } from './ledger.ts'
import { AddressLimits } from './limits.ts'
import {
  newAccount,
  type SimulatedAccount,
  type SimulatedFill,
  type SimulatedOrder,
  type SimulatedSymbol,
  settle
} from './market.ts'
import { okx } from './okx.ts'
import { bithumb, upbit } from './token.ts'

const DIALECTS: Readonly<Record<ExchangeName, SimulatedDialect>> = {
  BINANCE: binance,
  BYBIT: bybit,
  OKX: okx,
  UPBIT: upbit,
  BITHUMB: bithumb
}
const MAJORS = ['BTC', 'ETH', 'XRP', 'SOL', 'DOGE']
const FIRST_PRICE: Readonly<Record<string, string>> = { USDT: '100', KRW: '148601000' }
const MAX_REMEMBERED_REQUESTS = 10_000

/** The fault of requests while it is active. */
export type Fault =
  /** A status with a given body; default 503. */
  | { kind: 'status'; status: number; headers?: Record<string, string>; body?: string }
  /** 429, or 418 when Binance bans an address, with Retry-After. */
  | { kind: 'rate_limited'; retryAfterSeconds: number; status?: 429 | 418 }
  /** 200 with a page that is not JSON. */
  | { kind: 'garbage' }
  /** The regular answer with an edited body: `changingRows` and `replacingRows` make edits. */
  | { kind: 'edited'; edit: (body: string) => string }
  /** The connection is cut before an answer. */
  | { kind: 'cut' }
  /** The connection is cut in the middle of the answer. */
  | { kind: 'cut_midway' }
  /** No answer. */
  | { kind: 'silence' }
  /** The regular answer after a delay. */
  | { kind: 'slow'; ms: number }

export interface FaultOptions {
  /** The number of affected requests. Default: all until `clearFaults`. */
  times?: number
  /** Only requests whose path matches. Default: all. */
  path?: RegExp
  /** Only requests whose query matches. Default: all. */
  query?: RegExp
}

export interface SimulatedExchangeOptions {
  exchange: ExchangeName
  /** Pairs, or their number: the majors first, then invented ones. Default: the five majors. */
  symbols?: number | readonly { base: string; quote: string }[]
  /** Seed of the price changes. Default 1. */
  seed?: number
  /** Latency of every answer in ms. Default 0. */
  latencyMs?: number
  /** The exchange's clock without its skew. Default `Date.now`. */
  now?: () => number
  /** Whether it refuses what is beyond the limits of an address, and whether it reports their use. Default not at all. */
  limits?: 'reported' | 'unreported'
  /** Port on 127.0.0.1. Default any free one. */
  port?: number
}

export interface NewOrder {
  /** Default a new one. Binance numbers the spot orders of each symbol. */
  exchangeOrderId?: string
  market?: MarketType
  /** Unified, `BTCUSDT`. Default the first pair. */
  symbol?: string
  side?: OrderSide
  positionSide?: PositionSide
  type?: SimulatedOrder['type']
  /** Default null. */
  forced?: SimulatedOrder['forced']
  price?: string
  stopPrice?: string
  /** Base units. */
  quantity?: string
  /** Makes a market order with an amount of quote currency instead of a quantity. */
  quoteAmount?: string
  /** Time in ms. Default now. */
  createdAt?: number
}

export interface SeenRequest {
  path: string
  query: URLSearchParams
  headers: IncomingMessage['headers']
}

/**
 * A simulated exchange on loopback: the real paths and shapes of one exchange, signatures are checked with the given
 * keys. A test controls balances, orders, prices and faults. The caller must close it.
 */
export class SimulatedExchange {
  readonly exchange: ExchangeName
  /** The clock of the exchange minus the real one, in ms. */
  clockSkewMs = 0
  latencyMs: number
  /** The time that answers with a time of their own state; null for the time of the clock. */
  answeredAt: number | null = null
  readonly #dialect: SimulatedDialect
  readonly #server: Server
  readonly #symbols: SimulatedSymbol[]
  readonly #prices: Record<MarketType, Map<string, string>> = { SPOT: new Map(), FUTURES: new Map() }
  readonly #marks = new Map<string, string>()
  readonly #frozen = new Set<string>()
  readonly #suspended = new Set<string>()
  readonly #tradedAt = new Map<string, number>()
  readonly #accounts = new Map<string, SimulatedAccount>()
  readonly #nonces = new Set<string>()
  readonly #requests: SeenRequest[] = []
  readonly #watchers = new Set<() => void>()
  readonly #timers = new Set<NodeJS.Timeout>()
  readonly #sockets = new Set<Socket>()
  #faults: { fault: Fault; path: RegExp; query: RegExp; times: number }[] = []
  #weight = { sinceMs: Number.NEGATIVE_INFINITY, used: 0 }
  #serial = 0
  #random: number
  #pricedAt: number
  readonly #now: () => number
  /** Null when the limits of an address are not enforced. */
  readonly addressLimits: AddressLimits | null
  /** Its own books: what changes wallets besides fills. */
  readonly ledger: SimulatedLedger
  #moving: NodeJS.Timeout | undefined

  private constructor(options: SimulatedExchangeOptions) {
    const { exchange, symbols = MAJORS.length, seed = 1, latencyMs = 0, now = Date.now, limits } = options
    this.#now = now
    this.#pricedAt = now()
    this.addressLimits = limits ? new AddressLimits(exchange, () => this.now(), limits === 'reported') : null
    this.exchange = exchange
    // Elsewhere a withdrawal is a locked part of the balance until it is done.
    this.ledger = new SimulatedLedger(() => this.now(), exchange !== 'UPBIT' && exchange !== 'BITHUMB')
    this.latencyMs = latencyMs
    this.#random = seed
    this.#dialect = DIALECTS[exchange]
    const quote = this.#dialect.defaultQuote
    const pairs = typeof symbols === 'number' ? inventedPairs(symbols, quote) : symbols
    this.#symbols = pairs.map(pair => ({ ...pair, symbol: `${pair.base}${pair.quote}` }))
    for (const pair of this.#symbols) {
      for (const market of this.#dialect.markets) {
        this.#prices[market].set(pair.symbol, FIRST_PRICE[pair.quote] ?? '1.00000001')
      }
    }
    this.#server = createServer((request, response) => this.#serve(request, response))
    this.#server.on('connection', socket => {
      this.#sockets.add(socket)
      socket.once('close', () => this.#sockets.delete(socket))
    })
  }

  /** Listens on loopback. */
  static async start(options: SimulatedExchangeOptions): Promise<SimulatedExchange> {
    const simulated = new SimulatedExchange(options)
    await new Promise<void>((resolve, reject) => {
      simulated.#server.once('error', reject)
      simulated.#server.listen(options.port ?? 0, '127.0.0.1', resolve)
    })
    return simulated
  }

  async close(): Promise<void> {
    clearInterval(this.#moving)
    for (const timer of this.#timers) clearTimeout(timer)
    for (const socket of this.#sockets) socket.destroy()
    await new Promise(resolve => this.#server.close(resolve))
  }

  get url(): string {
    const address = this.#server.address()
    if (address === null || typeof address === 'string') throw new Error('the simulated exchange does not listen')
    return `http://127.0.0.1:${address.port}`
  }

  /** The settings that make a service use this exchange: `{BINANCE_URL, BINANCE_FUTURES_URL}`. */
  get urls(): Partial<Record<UrlSetting, string>> {
    return Object.fromEntries(this.#dialect.urlSettings.map(setting => [setting, this.url]))
  }

  /** The names of fields in the lists of a market. */
  fields(market: MarketType): RowFields {
    return this.#dialect.fields(market)
  }

  get markets(): readonly MarketType[] {
    return this.#dialect.markets
  }

  /** Unified symbols, in the order in which they are listed. */
  get symbols(): string[] {
    return this.#symbols.map(({ symbol }) => symbol)
  }

  // Accounts

  /** Adds an account with these keys. With OKX the passphrase is `passphrase` by default. */
  addAccount(credentials: { apiKey: string; apiSecret: string; passphrase?: string }): SimulatedAccount {
    const account = newAccount(credentials)
    this.#accounts.set(account.apiKey, account)
    return account
  }

  setBalance(account: SimulatedAccount, market: MarketType, asset: string, free: string, locked = '0'): void {
    account.balances[market].set(asset, { free, locked })
  }

  /** Sets a position; the quantity is signed, in base units. */
  setPosition(
    account: SimulatedAccount,
    position: { symbol: string; quantity: string; entryPrice: string; positionSide?: PositionSide }
  ): void {
    const exchangeSymbol = this.exchangeSymbol(position.symbol, 'FUTURES')
    account.positions = account.positions.filter(held => held.exchangeSymbol !== exchangeSymbol)
    account.positions.push({ market: 'FUTURES', positionSide: 'BOTH', exchangeSymbol, ...position })
  }

  // Orders

  /** Places an order, which stays open until a test changes it. */
  place(account: SimulatedAccount, order: NewOrder = {}): SimulatedOrder {
    const market = order.market ?? 'SPOT'
    const symbol = order.symbol ?? this.#symbols[0]?.symbol ?? ''
    const type = order.type ?? (order.price === undefined && order.quoteAmount !== undefined ? 'MARKET' : 'LIMIT')
    const serial = ++this.#serial
    const now = order.createdAt ?? this.now()
    const placed: SimulatedOrder = {
      exchangeOrderId: order.exchangeOrderId ?? this.#dialect.orderId(serial, market),
      becameIds: [],
      lostChild: false,
      conditional: type === 'STOP_MARKET' && this.#hasSeparateConditionalOrders(market),
      forced: order.forced ?? null,
      clientOrderId: `client-${serial}`,
      account,
      market,
      symbol,
      exchangeSymbol: this.exchangeSymbol(symbol, market),
      side: order.side ?? 'BUY',
      positionSide: order.positionSide ?? 'BOTH',
      type,
      price: type === 'LIMIT' ? (order.price ?? this.price(market, symbol)) : null,
      stopPrice: order.stopPrice ?? null,
      quantity: order.quantity ?? '1',
      quoteAmount: order.quoteAmount ?? null,
      filledQuantity: '0',
      cost: '0',
      status: 'open',
      fills: [],
      createdAt: now,
      updatedAt: now
    }
    account.orders.push(placed)
    return placed
  }

  /**
   * Fills an order, completely or in part, and applies it to the account. Default price: that of the order, or the
   * market. Default time: now. A fill that is not `listed` counts in the state of the order, and is missing in lists of
   * fills until a test sets it.
   */
  fill(
    order: SimulatedOrder,
    part: {
      quantity?: string
      price?: string
      fee?: string
      feeAsset?: string
      isFeeAssetNamed?: boolean
      tax?: { coin: string; amount: string }
      at?: number
      listed?: boolean
    } = {}
  ): SimulatedFill {
    const pair = this.#pair(order.symbol)
    const price = part.price ?? order.price ?? this.price(order.market, order.symbol)
    const quantity = part.quantity ?? new Big(order.quantity).minus(order.filledQuantity).toFixed()
    const fill: SimulatedFill = {
      tradeId: this.#tradeId(),
      price,
      quantity,
      fee: part.fee ?? new Big(price).times(quantity).times('0.0005').toFixed(),
      feeAsset: part.feeAsset ?? pair.quote,
      isFeeAssetNamed: part.isFeeAssetNamed ?? true,
      ...(part.tax && { tax: part.tax }),
      realizedPnl: '0',
      at: part.at ?? this.now(),
      listed: part.listed ?? true
    }
    settle(order, pair, fill)
    order.fills.push(fill)
    order.filledQuantity = new Big(order.filledQuantity).plus(quantity).toFixed()
    order.cost = new Big(order.cost).plus(new Big(price).times(quantity)).toFixed()
    this.end(order, new Big(order.filledQuantity).gte(order.quantity) ? 'filled' : 'partially_filled', fill.at)
    return fill
  }

  /** Busts a trade: removes a fill from its order. Balances do not change. */
  bust(order: SimulatedOrder, index: number): void {
    order.fills.splice(index, 1)
    const sum = (of: (fill: SimulatedFill) => Big) =>
      order.fills.reduce((total, fill) => total.plus(of(fill)), new Big(0))
    order.filledQuantity = sum(({ quantity }) => new Big(quantity)).toFixed()
    order.cost = sum(({ price, quantity }) => new Big(price).times(quantity)).toFixed()
    this.end(order, order.fills.length === 0 ? 'open' : 'partially_filled')
  }

  cancel(order: SimulatedOrder): void {
    this.end(order, 'canceled')
  }

  /** Sets the status of an order. */
  end(order: SimulatedOrder, status: OrderState, at = this.now()): void {
    order.status = status
    order.updatedAt = at
  }

  /**
   * Triggers a conditional order, or a part of it: OKX splits large ones into several orders.
   *
   * @returns the ordinary order that it becomes, which can be filled
   */
  trigger(order: SimulatedOrder, part: { quantity?: string; remains?: boolean } = {}): SimulatedOrder {
    if (!order.conditional) return order
    const became = this.place(order.account, {
      market: order.market,
      symbol: order.symbol,
      side: order.side,
      positionSide: order.positionSide,
      type: 'MARKET',
      quantity: part.quantity ?? order.quantity
    })
    order.becameIds.push(became.exchangeOrderId)
    order.status = part.remains ? 'partially_filled' : 'open'
    return became
  }

  /** Triggers a conditional order, and names no order that it becomes. */
  loseChild(order: SimulatedOrder): void {
    order.lostChild = true
  }

  /** Removes an order: the exchange does not know it any more. */
  forget(order: SimulatedOrder): void {
    order.account.orders = order.account.orders.filter(kept => kept !== order)
  }

  // Prices

  price(market: MarketType, symbol: string): string {
    const price = this.#prices[market].get(symbol)
    if (price === undefined) throw new Error(`${this.exchange} ${market} has no ${symbol}`)
    return price
  }

  setPrice(market: MarketType, symbol: string, price: string): void {
    this.#prices[market].set(symbol, price)
    this.#pricedAt = this.now()
    this.#tradedAt.delete(`${market} ${symbol}`)
  }

  /** Sets the mark price of a perpetual. Default its last price. */
  setMarkPrice(symbol: string, price: string): void {
    this.#marks.set(symbol, price)
  }

  /** Sets the time of the last trade of a symbol, until its price is set. Default: that of the last change of prices. */
  setTradedAt(market: MarketType, symbol: string, at: number): void {
    this.#tradedAt.set(`${market} ${symbol}`, at)
  }

  /** Suspends the trading of a symbol: it keeps its last price, and is listed as `BREAK`, or not at all. */
  suspend(symbol: string): void {
    this.#suspended.add(symbol)
  }

  resume(symbol: string): void {
    this.#suspended.delete(symbol)
  }

  /** Lists one more pair, at a price. */
  list(pair: { base: string; quote: string }, price: string): void {
    const symbol = `${pair.base}${pair.quote}`
    this.#symbols.push({ ...pair, symbol })
    for (const market of this.#dialect.markets) this.setPrice(market, symbol, price)
  }

  /** Changes every price by up to one per cent, in the same way for the same seed, except those of frozen symbols. */
  movePrices(): void {
    for (const market of this.#dialect.markets) {
      const prices = this.#prices[market]
      for (const [symbol, price] of prices) {
        if (this.#frozen.has(symbol)) continue
        const factor = 1 + (this.#nextRandom() - 0.5) / 50
        prices.set(symbol, new Big(price).times(factor.toFixed(6)).round(8).toFixed())
      }
    }
    this.#pricedAt = this.now()
  }

  /** Changes the prices repeatedly until `close`. */
  keepMoving(everyMs: number): void {
    clearInterval(this.#moving)
    this.#moving = setInterval(() => this.movePrices(), everyMs)
  }

  /** Freezes the price of this symbol. */
  freeze(symbol: string): void {
    this.#frozen.add(symbol)
  }

  thaw(symbol: string): void {
    this.#frozen.delete(symbol)
  }

  /** The symbol as the exchange writes it. */
  exchangeSymbol(symbol: string, market: MarketType): string {
    return this.#dialect.exchangeSymbol(this.#pair(symbol), market)
  }

  // Faults and received requests

  /** Activates a fault. Of several, the first that matches a request applies. */
  fault(fault: Fault, { times = Number.POSITIVE_INFINITY, path = /^/, query = /^/ }: FaultOptions = {}): void {
    this.#faults.push({ fault, path, query, times })
  }

  clearFaults(): void {
    this.#faults = []
  }

  /** Requests so far, oldest first, the last 10,000 of them. */
  get requests(): readonly SeenRequest[] {
    return this.#requests
  }

  /** Binance: request weight used in the current minute, counted as the exchange counts it. */
  get usedWeight(): number {
    return this.#weight.used
  }

  /** Resolves when `times` requests to a matching path were received, including past ones. */
  async seen(path: RegExp, times = 1): Promise<void> {
    const enough = () => this.#requests.filter(request => path.test(request.path)).length >= times
    if (enough()) return
    await new Promise<void>(resolve => {
      const watch = () => {
        if (!enough()) return
        this.#watchers.delete(watch)
        resolve()
      }
      this.#watchers.add(watch)
    })
  }

  /** The exchange's clock. */
  now(): number {
    return this.#now() + this.clockSkewMs
  }

  #serve(request: IncomingMessage, response: ServerResponse): void {
    const [path = '', rawQuery = ''] = (request.url ?? '').split('?')
    const query = new URLSearchParams(rawQuery)
    this.#requests.push({ path, query, headers: request.headers })
    if (this.#requests.length > MAX_REMEMBERED_REQUESTS) this.#requests.shift()
    for (const watch of this.#watchers) watch()
    const fault = this.#nextFault(path, rawQuery)
    if (fault?.kind === 'silence') return
    if (fault?.kind === 'cut') {
      request.socket.destroy()
      return
    }
    const latency = fault?.kind === 'slow' ? fault.ms : this.latencyMs
    const answer = () => {
      const own = () => this.#answer({ path, rawQuery, query, headers: request.headers })
      this.#send(response, fault === undefined ? own() : faulty(fault, own), fault)
    }
    if (latency === 0) answer()
    else this.#later(latency, answer)
  }

  #answer(request: Parameters<SimulatedDialect['answer']>[0]): SimulatedAnswer {
    const counted = this.addressLimits?.count(request.path, request.query, headerOf(request.headers, 'ok-access-key'))
    if (counted?.refusal) return counted.refusal
    const weight = counted?.headers ?? (this.exchange === 'BINANCE' ? this.#weigh(request.path, request.query) : {})
    const book: Book = {
      exchange: this.exchange,
      now: () => this.now(),
      symbols: this.#symbols,
      priceOf: (market, symbol) => this.price(market, symbol),
      markOf: symbol => this.#marks.get(symbol) ?? this.price('FUTURES', symbol),
      pricedAt: this.#pricedAt,
      tradedAt: (market, symbol) => this.#tradedAt.get(`${market} ${symbol}`) ?? this.#pricedAt,
      answeredAt: () => this.answeredAt ?? this.now(),
      isTrading: symbol => !this.#suspended.has(symbol),
      accountOf: apiKey => this.#accounts.get(apiKey),
      nonces: this.#nonces
    }
    try {
      const answer = this.#dialect.answer(request, book)
      return { ...answer, headers: { ...answer.headers, ...weight } }
    } catch (err) {
      if (err instanceof Refused) return { ...err.answer, headers: { ...err.answer.headers, ...weight } }
      return json({ error: String(err) }, 500)
    }
  }

  #send(response: ServerResponse, { status, body, headers }: SimulatedAnswer, fault: Fault | undefined): void {
    response.writeHead(status, {
      'content-type': 'application/json; charset=utf-8',
      date: new Date(this.now()).toUTCString(),
      'content-length': Buffer.byteLength(body),
      ...headers
    })
    if (fault?.kind !== 'cut_midway') response.end(body)
    else response.write(body.slice(0, Math.ceil(body.length / 2)), () => response.socket?.destroy())
  }

  #nextFault(path: string, query: string): Fault | undefined {
    const found = this.#faults.find(candidate => candidate.path.test(path) && candidate.query.test(query))
    if (found !== undefined && --found.times <= 0) this.#faults = this.#faults.filter(kept => kept !== found)
    return found?.fault
  }

  #weigh(path: string, query: URLSearchParams): Record<string, string> {
    const nowMs = this.#now()
    // The minute begins with the first call, not with a full minute of the clock: a test may begin at any time.
    if (nowMs - this.#weight.sinceMs >= MINUTE) this.#weight = { sinceMs: nowMs, used: 0 }
    this.#weight.used += binanceWeightOf(path, query)
    return { 'x-mbx-used-weight-1m': String(this.#weight.used) }
  }

  #hasSeparateConditionalOrders(market: MarketType): boolean {
    return this.exchange === 'OKX' || (this.exchange === 'BINANCE' && market === 'FUTURES')
  }

  #pair(symbol: string): SimulatedSymbol {
    const pair = this.#symbols.find(candidate => candidate.symbol === symbol)
    if (pair === undefined) throw new Error(`${this.exchange} has no ${symbol}`)
    return pair
  }

  #tradeId(): string {
    return String(737_466_631 + ++this.#serial)
  }

  /** A number between 0 and 1, by the generator of Park and Miller. */
  #nextRandom(): number {
    this.#random = (this.#random * 48_271) % 2_147_483_647
    return this.#random / 2_147_483_647
  }

  #later(ms: number, action: () => void): void {
    const timer = setTimeout(() => {
      this.#timers.delete(timer)
      action()
    }, ms)
    this.#timers.add(timer)
  }
}

function faulty(fault: Fault, own: () => SimulatedAnswer): SimulatedAnswer {
  if (fault.kind === 'status') {
    const { status, headers = {}, body = '<html>unavailable</html>' } = fault
    return { status, headers, body }
  }
  if (fault.kind === 'rate_limited') {
    return {
      status: fault.status ?? 429,
      headers: { 'retry-after': String(fault.retryAfterSeconds) },
      body: '{"code":-1003,"msg":"Too many requests."}'
    }
  }
  if (fault.kind === 'edited') {
    const answer = own()
    return answer.status === 200 ? { ...answer, body: fault.edit(answer.body) } : answer
  }
  return fault.kind === 'garbage' ? { status: 200, body: '<html>maintenance</html>' } : own()
}

function inventedPairs(count: number, quote: string): { base: string; quote: string }[] {
  return Array.from({ length: count }, (_, index) => ({
    base: MAJORS[index] ?? `C${String(index).padStart(5, '0')}`,
    quote
  }))
}

export type { SimulatedAccount, SimulatedFill, SimulatedOrder }
