import type { ExchangeErrorCode } from '../../../src/domain/exchange-error-code.ts'
import type { MarketType } from '../../../src/domain/market.ts'
import type { ExchangeClient } from '../../../src/exchanges/exchange-client.ts'

/** An answer of an exchange: its body, or body and status. */
export type PayloadAnswer = string | { status?: number; headers?: Record<string, string>; body: string }

/**
 * What a client reads from an answer. The answers are written for this project, with the field names that the adapters
 * read. They test the parsers, not the format of the exchange: recorded answers test that (`payloads.test.ts`). They
 * are JSON texts, because a number above 2^53 has no value in JavaScript.
 */
export interface PayloadCase {
  /** Describes what is read. */
  name: string
  /** Default SPOT. */
  market?: MarketType
  ask: (client: ExchangeClient) => Promise<unknown>
  /** By path, or by path and query. A call of another path fails. */
  answers: Readonly<Record<string, PayloadAnswer>>
  /** The complete result of the call, or the error that it rejects with. */
  expected: object | { refused: ExchangeErrorCode; exchangeCode?: string }
}

/** An answer with its own status, which may be given for every path of a failing call. */
export function refusal(status: number, body: string, headers: Record<string, string> = {}): PayloadAnswer {
  return { status, headers, body }
}

export const prices = (client: ExchangeClient) => client.lastPrices()
export const marks = (client: ExchangeClient) => client.markPrices()
export const instruments = (client: ExchangeClient) => client.instruments({ onInvalidRow: () => undefined })
export const openOrders = (client: ExchangeClient) => client.openOrders()
export const balances = (client: ExchangeClient) => client.balances()
export const positions = (client: ExchangeClient) => client.positions()
/** The ledger of a range; unreadable rows are left out. */
export const ledger = (from: number, until: number) => (client: ExchangeClient) =>
  client.ledger({ from, until }, { onInvalidRow: () => undefined })
export const order =
  (exchangeOrderId: string, exchangeSymbol: string, orderType?: string) => (client: ExchangeClient) =>
    client.order({ exchangeOrderId, exchangeSymbol, ...(orderType && { orderType }) })
export const fills =
  (exchangeOrderId: string, exchangeSymbol: string, orderType?: string) => (client: ExchangeClient) =>
    client.fills({ exchangeOrderId, exchangeSymbol, ...(orderType && { orderType }) })
