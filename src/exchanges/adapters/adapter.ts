// @FEAT:exchanges @COMP:service @TYPE:helper
import { createHmac } from 'node:crypto'
import { type Decimal, toDecimal } from '../../domain/decimal.ts'
import type { ExchangeName, MarketType } from '../../domain/market.ts'
import type { Credentials } from '../exchange-client.ts'
import { ExchangeError } from '../exchange-error.ts'
import { UnreadableAnswer } from '../http/answer-fields.ts'
import type { ExchangeGateway } from '../http/exchange-gateway.ts'

/** What the registry hands to an adapter to build a client from. */
export interface AdapterContext {
  gateway: ExchangeGateway
  marketType: MarketType
  isTestnet: boolean
  /** Null for a client that reads public figures alone. */
  credentials: Credentials | null
  /** Root of the API for this market, real or testnet. */
  baseUrl: string
}

/** @throws ExchangeError `authentication` when the client was built without credentials */
export function credentialsOf(context: AdapterContext, operation: string): Credentials {
  if (context.credentials !== null) return context.credentials
  throw new ExchangeError('authentication', {
    exchange: context.gateway.exchange,
    operation,
    reason: 'the client has no credentials'
  })
}

/** A contract or pair that the port does not carry: dated, inverse, coin-margined. */
export class UnsupportedSymbol extends Error {
  override readonly name = 'UnsupportedSymbol'
}

/** Encodes a query in the order of its entries; undefined values are left out. */
export function queryOf(entries: Readonly<Record<string, string | number | undefined>>): string {
  const query = new URLSearchParams()
  for (const [name, value] of Object.entries(entries)) if (value !== undefined) query.append(name, String(value))
  return query.toString()
}

export function hmacSha256(secret: string, text: string, encoding: 'hex' | 'base64' | 'base64url'): string {
  return createHmac('sha256', secret).update(text).digest(encoding)
}

/** `parse` of every row, the rows of unsupported symbols left out. */
export function supportedOnly<Row, T>(rows: readonly Row[], parse: (row: Row) => T | null): T[] {
  return rows.flatMap(row => {
    try {
      return parse(row) ?? []
    } catch (err) {
      if (err instanceof UnsupportedSymbol) return []
      throw err
    }
  })
}

/**
 * Runs `parse`, its failures told as the port tells them: a symbol outside the port as `bad_symbol`, an answer that
 * cannot be read as `invalid_answer`.
 *
 * @throws ExchangeError
 */
export function parsing<T>(exchange: ExchangeName, operation: string, parse: () => T): T {
  try {
    return parse()
  } catch (err) {
    const code = err instanceof UnsupportedSymbol ? 'bad_symbol' : 'invalid_answer'
    if (!(err instanceof UnsupportedSymbol || err instanceof UnreadableAnswer)) throw err
    throw new ExchangeError(code, { exchange, operation, reason: err.message, cause: err })
  }
}

/** The price in a ticker's row; null when there was no trade yet. */
export function tickerPrice(text: string | null | undefined): Decimal | null {
  if (text === null || text === undefined || text === '') return null
  const price = toDecimal(text)
  if (price === null) throw new UnreadableAnswer('a price is not a number')
  return /[1-9]/.test(price) && !price.startsWith('-') ? price : null
}

/** Most pages of a list that are read; beyond it the answer would be a partial one, and is refused. */
export const MAX_PAGES = 50

/** @throws ExchangeError `invalid_answer` for a list that never ends */
export function endlessList(exchange: ExchangeName, operation: string): never {
  throw new ExchangeError('invalid_answer', { exchange, operation, reason: `more than ${MAX_PAGES} pages` })
}
