// @FEAT:exchanges @COMP:service @TYPE:core
/**
 * The port between the trading system and every exchange: what may be asked, and what is answered, in one vocabulary.
 * Adapters (`binance.ts`, `upbit.ts`, …) implement it; callers get their clients from `ExchangeRegistry`.
 */

/** The exchanges of the catalogue, as `accounts.exchange` spells them. */
export const EXCHANGE_NAMES = ['BINANCE', 'BYBIT', 'OKX', 'UPBIT', 'BITHUMB'] as const
export type ExchangeName = (typeof EXCHANGE_NAMES)[number]

/** `FUTURES` means linear perpetuals: quoted and settled in the same stable coin. */
export const MARKET_TYPES = ['SPOT', 'FUTURES'] as const
export type MarketType = (typeof MARKET_TYPES)[number]

export type OrderState = 'open' | 'partially_filled' | 'filled' | 'canceled' | 'rejected' | 'expired'
export type OrderSide = 'BUY' | 'SELL'
export type PositionSide = 'BOTH' | 'LONG' | 'SHORT'

/**
 * A decimal number as text in plain notation (`0.00000014`, never `1.4E-7`), digit for digit as the exchange wrote it,
 * trailing zeros included. Compare and compute with big.js, never as text or as a float.
 */
export type Decimal = string

/** Milliseconds since the Unix epoch, UTC. */
export type Millis = number

export interface Price {
  /** Base and quote in capitals, `BTCUSDT`. */
  symbol: string
  /** The exchange's own spelling, `KRW-BTC`. */
  exchangeSymbol: string
  /** Last trade, quote per one base; always above zero. */
  price: Decimal
  /** When the exchange says it was so; null where it does not say. */
  at: Millis | null
}

/** Names an order towards its exchange. */
export interface OrderRef {
  /** Unique per account and market; text, for ids above 2^53 exist. */
  exchangeOrderId: string
  /** The exchange's own spelling. */
  exchangeSymbol: string
  /**
   * As the `orders` table keeps it. Some exchanges keep conditional orders (stop, take profit, trailing) in a place of
   * their own, with ids of their own; without a type the order is looked for among the ordinary ones.
   */
  orderType?: string
}

export interface UnifiedOrder {
  exchangeOrderId: string
  clientOrderId: string | null
  symbol: string
  exchangeSymbol: string
  side: OrderSide
  /** `BOTH` on spot and in one-way mode. */
  positionSide: PositionSide
  /** In capitals with underscores, `LIMIT`, `MARKET`, `STOP_MARKET`, otherwise as the exchange names it. */
  orderType: string
  /** Limit price; null for an order without one. */
  price: Decimal | null
  /** Trigger price; null for an order without one. */
  stopPrice: Decimal | null
  /** In base units; null when the order was given as an amount of quote currency. */
  quantity: Decimal | null
  /** In base units. */
  filledQuantity: Decimal
  /** Mean price of the fills; null before the first. */
  averagePrice: Decimal | null
  status: OrderState
  createdAt: Millis | null
  updatedAt: Millis | null
}

export interface Fill {
  /** Unique per account and market. */
  exchangeTradeId: string
  exchangeOrderId: string
  symbol: string
  exchangeSymbol: string
  side: OrderSide
  positionSide: PositionSide
  price: Decimal
  /** In base units. */
  quantity: Decimal
  /** Positive when paid, negative for a rebate; null when the exchange does not tell. */
  fee: Decimal | null
  feeAsset: string | null
  /** Gross, as the exchange reports it; null where it does not (always on spot). */
  realizedPnl: Decimal | null
  executedAt: Millis
}

/** What an account holds of one asset; assets it holds nothing of are left out. */
export interface Balance {
  asset: string
  free: Decimal
  locked: Decimal
  /** `free + locked`; on margin accounts the wallet balance, without unrealised profit. */
  total: Decimal
}

/** An open position; flat ones are left out. */
export interface Position {
  symbol: string
  exchangeSymbol: string
  /** `BOTH` in one-way mode. */
  positionSide: PositionSide
  /** In base units, signed: below zero is short, in hedge mode too. */
  quantity: Decimal
  entryPrice: Decimal | null
  markPrice: Decimal | null
  unrealizedPnl: Decimal | null
  updatedAt: Millis | null
}

export interface CallOptions {
  /** Ends the call, its waiting and its retries; the call rejects with the signal's reason. */
  signal?: AbortSignal
  /** Bound on the whole call, retries and waiting for rate limits included. Default 10,000. */
  deadlineMs?: number
}

/**
 * One account (or, without credentials, the public) on one market of one exchange. Every method only reads, may be
 * repeated freely, is retried within its deadline, and rejects with an `ExchangeError` (or the abort reason).
 * Clients hold no connection and need no closing; building one is cheap.
 */
export interface ExchangeClient {
  readonly exchange: ExchangeName
  readonly marketType: MarketType
  readonly isTestnet: boolean

  /** Last prices of every symbol of the market, in one call. Symbols outside the port (dated, inverse) are left out. */
  lastPrices(options?: CallOptions): Promise<Price[]>
  /** @throws ExchangeError `order_not_found` when the exchange does not know it (any more), `bad_symbol` */
  order(ref: OrderRef, options?: CallOptions): Promise<UnifiedOrder>
  /** Every order of the account on this market that is `open` or `partially_filled`, all pages of it. */
  openOrders(options?: CallOptions): Promise<UnifiedOrder[]>
  /** Executions of one order, oldest first; empty when there are none. */
  fills(ref: OrderRef, options?: CallOptions): Promise<Fill[]>
  balances(options?: CallOptions): Promise<Balance[]>
  /** Always empty on spot, without a call. */
  positions(options?: CallOptions): Promise<Position[]>
  /** The exchange's clock; measures the skew that signing uses. */
  serverTime(options?: CallOptions): Promise<Millis>
}

/** What opens an account at an exchange. Lives in `src/exchanges` alone and never enters a message. */
export interface Credentials {
  apiKey: string
  apiSecret: string
  /** OKX alone asks for one. */
  passphrase?: string | undefined
}

/** Every way in which a call can fail. */
export const EXCHANGE_ERROR_CODES = [
  'authentication',
  'permission',
  'rate_limited',
  'unavailable',
  'timeout',
  'bad_symbol',
  'order_not_found',
  'invalid_answer'
] as const
export type ExchangeErrorCode = (typeof EXCHANGE_ERROR_CODES)[number]

export interface ExchangeErrorDetails {
  exchange: ExchangeName
  /** What was asked, e.g. `openOrders`. */
  operation: string
  /** The exchange's own code, `-2015`, `invalid_access_key`, `503`; null when there was none. */
  exchangeCode?: string | null
  /** When to come again, for `rate_limited` and an open circuit. */
  retryAfterMs?: number | null
  /** One clear sentence of ours; never text from the exchange, which may repeat keys and addresses. */
  reason?: string
  cause?: unknown
}

const OWN_CODE = /^[\w.-]{1,64}$/

/** A failed call. Its message, fields and causes hold no key, no signature and no signed URL. */
export class ExchangeError extends Error {
  override readonly name = 'ExchangeError'
  readonly code: ExchangeErrorCode
  readonly exchange: ExchangeName
  readonly operation: string
  readonly exchangeCode: string | null
  readonly retryAfterMs: number | null

  constructor(code: ExchangeErrorCode, details: ExchangeErrorDetails) {
    const ownCode = details.exchangeCode ?? null
    const exchangeCode = ownCode === null || OWN_CODE.test(ownCode) ? ownCode : 'unreadable'
    const told = exchangeCode === null ? '' : ` (${exchangeCode})`
    const reason = details.reason === undefined ? '' : `: ${details.reason}`
    super(
      `${details.exchange} ${details.operation} failed: ${code}${told}${reason}`,
      details.cause === undefined ? undefined : { cause: details.cause }
    )
    this.code = code
    this.exchange = details.exchange
    this.operation = details.operation
    this.exchangeCode = exchangeCode
    this.retryAfterMs = details.retryAfterMs ?? null
  }
}

/** Whether `text` names a market type, in capitals. */
export function isMarketType(text: string): text is MarketType {
  return MARKET_TYPES.some(type => type === text)
}

/** Whether `text` names an exchange of the catalogue, in capitals. */
export function isExchangeName(text: string): text is ExchangeName {
  return EXCHANGE_NAMES.some(name => name === text)
}
