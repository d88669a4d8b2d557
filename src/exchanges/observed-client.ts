// @FEAT:exchanges @COMP:service @TYPE:core
import type { Balance } from '../domain/balance.ts'
import type { Decimal } from '../domain/decimal.ts'
import type { Fill } from '../domain/fill.ts'
import type { Instrument } from '../domain/instrument.ts'
import type { LedgerReading } from '../domain/ledger-entry.ts'
import type { ExchangeName, MarketType, Price } from '../domain/market.ts'
import type { Millis } from '../domain/millis.ts'
import type { OrderRef, UnifiedOrder } from '../domain/order.ts'
import type { Position } from '../domain/position.ts'
import type {
  AccountFillsRange,
  CallOptions,
  ExchangeClient,
  InvalidRow,
  OpenOrdersOptions,
  OrderCosts,
  TimeRange
} from './exchange-client.ts'
import { ExchangeError } from './exchange-error.ts'
import { UnreadableAnswer } from './http/answer-fields.ts'

/** A call whose answer was read: without invalid rows, with some, or not as a whole. */
export interface Observation {
  operation: string
  /** What distinguishes the lists of one operation. Empty where there is one. */
  subject: string
  /** One example per kind of fault, with the number of rows that have it. */
  invalid: readonly InvalidRow[]
}

/**
 * A client that reports the invalid rows and unreadable answers of another one. Lists with unreadable rows reject with
 * `invalid_answer` unless the caller accepts them by `onInvalidRow`.
 */
export class ObservedClient implements ExchangeClient {
  readonly #client: ExchangeClient
  readonly #observe: (observation: Observation) => void

  /** @param observe called once per call whose answer was read; not for calls without an answer, or that were refused */
  constructor(client: ExchangeClient, observe: (observation: Observation) => void) {
    this.#client = client
    this.#observe = observe
  }

  get exchange(): ExchangeName {
    return this.#client.exchange
  }

  get marketType(): MarketType {
    return this.#client.marketType
  }

  get isTestnet(): boolean {
    return this.#client.isTestnet
  }

  get orderCosts(): OrderCosts {
    return this.#client.orderCosts
  }

  get fillsListedBy(): ExchangeClient['fillsListedBy'] {
    return this.#client.fillsListedBy
  }

  get fillsReachMs(): Millis {
    return this.#client.fillsReachMs
  }

  get ledgerReachMs(): Millis {
    return this.#client.ledgerReachMs
  }

  lastPrices(options?: CallOptions): Promise<Price[]> {
    return this.#call('lastPrices', '', options, own => this.#client.lastPrices(own))
  }

  markPrices(options?: CallOptions): Promise<Price[]> {
    return this.#call('markPrices', '', options, own => this.#client.markPrices(own))
  }

  minutePrice(exchangeSymbol: string, at: Millis, options?: CallOptions): Promise<Decimal | null> {
    return this.#call('minutePrice', exchangeSymbol, options, own => this.#client.minutePrice(exchangeSymbol, at, own))
  }

  instruments(options?: CallOptions): Promise<Instrument[]> {
    return this.#call('instruments', '', options, own => this.#client.instruments(own))
  }

  order(ref: OrderRef, options?: CallOptions): Promise<UnifiedOrder> {
    return this.#call('order', subjectOf(ref), options, own => this.#client.order(ref, own))
  }

  openOrders(options?: OpenOrdersOptions): Promise<UnifiedOrder[]> {
    const subject = options?.exchangeSymbol ?? ''
    return this.#call('openOrders', subject, options, own => this.#client.openOrders({ ...options, ...own }))
  }

  fills(ref: OrderRef, options?: CallOptions): Promise<Fill[]> {
    return this.#call('fills', subjectOf(ref), options, own => this.#client.fills(ref, own))
  }

  accountFills(range: AccountFillsRange, options?: CallOptions): Promise<Fill[]> {
    return this.#call('accountFills', '', options, own => this.#client.accountFills(range, own))
  }

  balances(options?: CallOptions): Promise<Balance[]> {
    return this.#call('balances', '', options, own => this.#client.balances(own))
  }

  positions(options?: CallOptions): Promise<Position[]> {
    return this.#call('positions', '', options, own => this.#client.positions(own))
  }

  ledger(range: TimeRange, options?: CallOptions): Promise<LedgerReading> {
    return this.#call('ledger', '', options, own => this.#client.ledger(range, own))
  }

  serverTime(options?: CallOptions): Promise<Millis> {
    return this.#call('serverTime', '', options, own => this.#client.serverTime(own))
  }

  async #call<T>(
    operation: string,
    subject: string,
    options: CallOptions | undefined,
    call: (options: CallOptions) => Promise<T>
  ): Promise<T> {
    const invalid = new Map<string, InvalidRow>()
    const onInvalidRow = (row: InvalidRow) => {
      const key = `${row.kind} ${row.reason}`
      const before = invalid.get(key)
      invalid.set(key, before === undefined ? row : { ...before, times: before.times + row.times })
      options?.onInvalidRow?.(row)
    }
    let result: T
    try {
      result = await call({ ...options, onInvalidRow })
    } catch (err) {
      if (err instanceof ExchangeError && err.code === 'invalid_answer') {
        this.#observe({ operation, subject, invalid: [wholeAnswer(err)] })
      } else if (err instanceof ExchangeError && err.code === 'order_not_found') {
        this.#observe({ operation, subject, invalid: [] })
      }
      throw err
    }
    this.#observe({ operation, subject, invalid: [...invalid.values()] })
    const unreadable = [...invalid.values()].find(({ kind }) => kind === 'unreadable')
    if (unreadable === undefined || options?.onInvalidRow !== undefined) return result
    throw new ExchangeError('invalid_answer', { exchange: this.exchange, operation, reason: unreadable.reason })
  }
}

function subjectOf({ exchangeSymbol, exchangeOrderId }: OrderRef): string {
  return `${exchangeSymbol} ${exchangeOrderId}`
}

function wholeAnswer({ cause, exchangeCode, message }: ExchangeError): InvalidRow {
  const ofCode = exchangeCode === null ? message : `code ${exchangeCode}`
  const reason = cause instanceof UnreadableAnswer ? cause.message : ofCode
  return { kind: 'unreadable', reason, row: null, times: 1 }
}
