// @FEAT:exchanges @COMP:service @TYPE:core
import type { Balance } from '../domain/balance.ts'
import type { Decimal } from '../domain/decimal.ts'
import type { Fill } from '../domain/fill.ts'
import type { Instrument } from '../domain/instrument.ts'
import type { LedgerReading } from '../domain/ledger-entry.ts'
import type { ExchangeName, MarketType, Price } from '../domain/market.ts'
import type { Millis } from '../domain/millis.ts'
import type { FillsRef, OrderRef, UnifiedOrder } from '../domain/order.ts'
import type { Position } from '../domain/position.ts'

export interface CallOptions {
  /** Aborts the call with its waits and retries; the call rejects with the signal's reason. */
  signal?: AbortSignal
  /**
   * Bound on the whole call, including retries and waits for rate limits. Default 10,000. In a list with several pages or
   * windows it bounds each page, because the number of pages is not known; the signal bounds the list.
   */
  deadlineMs?: number
  /**
   * Bound on the waits for room in the rate limits, which prolong the deadline then. Default none of their own: they count
   * for the deadline.
   */
  maxWaitMs?: number
  /**
   * Accepts a list without its unreadable rows. Called with each row that is invalid, more than once if the call fails
   * afterwards. Default none: a list with an unreadable row rejects with `invalid_answer`.
   */
  onInvalidRow?: OnInvalidRow
}

/** Selects the fills of an account on a market. */
export interface AccountFillsRange {
  /** Included. */
  from: Millis
  /** Not included. */
  until: Millis
  /** The exchange's own symbols that are read where the exchange lists fills by symbol only. Others have no effect. */
  symbols: readonly string[]
  /** Whether no others are read there. Default false: those that the exchange names are read, too. */
  onlySymbols?: boolean
  /**
   * The ids of orders whose fills the caller does not need: where the exchange lists fills by order only, they are left
   * out. Default none.
   */
  known?: ReadonlySet<string>
  /** The ids of further orders that are read there, whenever they were created. Default none. */
  orders?: readonly string[]
}

export interface OpenOrdersOptions extends CallOptions {
  /** Lists only the orders of this symbol. Default all. */
  exchangeSymbol?: string
}

/**
 * What it costs to read orders: weight of the limit that all accounts behind our address share, or calls where each account
 * has limits of its own.
 */
export interface OrderCosts {
  /** All open orders of the account on the market. */
  list: number
  /** The open orders of one symbol. */
  listOfSymbol: number
  /** One order by its id. */
  order: number
}

/** A row of an answer that cannot be read, or whose amounts contradict each other. */
export interface InvalidRow {
  /** `unreadable`: the list is without the row. `contradictory`: the row is in the list. */
  kind: 'unreadable' | 'contradictory'
  /** The place of the fault: a sentence of this service, never text of the exchange. */
  reason: string
  /** The row as the exchange wrote it, or its beginning. It may repeat credentials: only `excerptOf` makes it public. */
  row: unknown
  /** The number of rows with this fault that `row` is an example of. */
  times: number
}

export type OnInvalidRow = (row: InvalidRow) => void

/** A span of time, the end excluded. */
export interface TimeRange {
  from: Millis
  until: Millis
}

/**
 * The interface of every exchange, implemented by the adapters and made by `ExchangeRegistry`. A client serves one
 * account on one market; without credentials it reads only prices and time.
 *
 * Every method only reads, is idempotent, retries within its deadline, and rejects with an `ExchangeError` or the reason
 * of the abort signal. Clients hold no connection and need no closing.
 */
export interface ExchangeClient {
  readonly exchange: ExchangeName
  readonly marketType: MarketType
  readonly isTestnet: boolean
  readonly orderCosts: OrderCosts
  /** How the exchange lists fills: all of the account, those of a symbol, or those of an order. */
  readonly fillsListedBy: 'account' | 'symbol' | 'order'
  /** How far back `accountFills` reads, in milliseconds. */
  readonly fillsReachMs: Millis
  /** How far back the exchange lists its ledger, in milliseconds. */
  readonly ledgerReachMs: Millis

  /** Last prices of every symbol of the market, in one call. Unsupported symbols (dated, inverse) are left out. */
  lastPrices(options?: CallOptions): Promise<Price[]>
  /**
   * Mark prices of every linear perpetual of the market, in one call: the prices by which the exchange values positions and
   * liquidates. Empty without a call on spot, and where the last prices have them (`Price.mark`).
   */
  markPrices(options?: CallOptions): Promise<Price[]>
  /**
   * The last price of a minute, on spot; null when the exchange has none for it. It values fees in a third asset. Null
   * without a call where every fee is in the quote currency, and on futures.
   *
   * @param at a time in the minute
   */
  minutePrice(exchangeSymbol: string, at: Millis, options?: CallOptions): Promise<Decimal | null>
  /**
   * Every pair or linear perpetual that the market lists, with all pages. Needs no credentials. Unsupported contracts
   * (dated, inverse) are left out.
   *
   * @throws {ExchangeError} `invalid_answer` for a list without a single instrument
   */
  instruments(options?: CallOptions): Promise<Instrument[]>
  /** @throws {ExchangeError} `order_not_found` when the exchange does not have the order (any more), `bad_symbol` */
  order(ref: OrderRef, options?: CallOptions): Promise<UnifiedOrder>
  /** Every order of the account on this market that is `open` or `partially_filled`, with all pages. */
  openOrders(options?: OpenOrdersOptions): Promise<UnifiedOrder[]>
  /**
   * Executions of one order, oldest first, with all windows and pages; empty when there are none. The exchange may return
   * fills later than the state of the order: the caller compares them with the filled quantity.
   */
  fills(ref: FillsRef, options?: CallOptions): Promise<Fill[]>
  /**
   * Every fill of the account on this market in a range, of any order, oldest first, with all windows and pages. Fills of
   * unsupported symbols (dated, inverse) are left out. The exchange may list a fill some seconds late: the caller reads the
   * end of a range again.
   */
  accountFills(range: AccountFillsRange, options?: CallOptions): Promise<Fill[]>
  /** Balances of the wallet of this market. */
  balances(options?: CallOptions): Promise<Balance[]>
  /** Open positions. On spot always empty, without a call. */
  positions(options?: CallOptions): Promise<Position[]>
  /**
   * Every change of the wallet of this market in [from, until) that is not a fill: all sources, windows and pages. A fee of
   * a fill, and the realised PnL of a fill, are not entries.
   */
  ledger(range: TimeRange, options?: CallOptions): Promise<LedgerReading>
  /** The exchange's clock. Measures the skew that signatures use. */
  serverTime(options?: CallOptions): Promise<Millis>
}

/** The credentials of an account at an exchange. Only `src/exchanges` and `src/accounts` use them; never in a message. */
export interface Credentials {
  apiKey: string
  apiSecret: string
  /** Only OKX requires one. */
  passphrase?: string | undefined
}
