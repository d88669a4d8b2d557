// @FEAT:exchanges @COMP:service @TYPE:core
import type { Balance } from '../domain/balance.ts'
import type { Fill } from '../domain/fill.ts'
import type { ExchangeName, MarketType, Price } from '../domain/market.ts'
import type { Millis } from '../domain/millis.ts'
import type { OrderRef, UnifiedOrder } from '../domain/order.ts'
import type { Position } from '../domain/position.ts'
/**
 * The port between the trading system and every exchange: what may be asked, and what is answered, in one vocabulary.
 * Adapters (`binance.ts`, `upbit.ts`, …) implement it; callers get their clients from `ExchangeRegistry`.
 */

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
