// @FEAT:exchanges @COMP:service @TYPE:helper
import { createHmac } from 'node:crypto'
import { type Decimal, toDecimal } from '../../domain/decimal.ts'
import type { ExchangeErrorCode } from '../../domain/exchange-error-code.ts'
import type { Fill } from '../../domain/fill.ts'
import type { ExchangeName, MarketType } from '../../domain/market.ts'
import type { Credentials } from '../exchange-client.ts'
import { ExchangeError } from '../exchange-error.ts'
import { UnreadableAnswer } from '../http/answer-fields.ts'
import type { Refusal } from '../http/exchange-call.ts'
import type { ExchangeGateway } from '../http/exchange-gateway.ts'

/** What an adapter builds a client from. */
export interface AdapterContext {
  gateway: ExchangeGateway
  marketType: MarketType
  isTestnet: boolean
  /** Null for a client that calls only routes without a signature. */
  credentials: Credentials | null
  /** Root of the API for this market, real or testnet. */
  baseUrl: string
}

/** A contract or pair that `ExchangeClient` does not support: dated, inverse, coin-margined. */
export class UnsupportedSymbol extends Error {
  override readonly name = 'UnsupportedSymbol'
}

/** The unified symbol of a supported market. @throws {UnsupportedSymbol} for null */
export function supportedContract(symbol: string | null): string {
  if (symbol !== null) return symbol
  throw new UnsupportedSymbol('inverse, coin-margined and dated contracts are not supported, only linear perpetuals')
}

/** Encodes a query in the order of its entries. Undefined values are left out. */
export function queryOf(entries: Readonly<Record<string, string | number | undefined>>): string {
  const query = new URLSearchParams()
  for (const [name, value] of Object.entries(entries)) if (value !== undefined) query.append(name, String(value))
  return query.toString()
}

export function hmacSha256(secret: string, text: string, encoding: 'hex' | 'base64' | 'base64url'): string {
  return createHmac('sha256', secret).update(text).digest(encoding)
}

/** `parse` of every row. Rows of unsupported symbols, and rows for which `parse` returns null, are left out. */
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
 * Runs `parse` and translates its errors: an unsupported symbol becomes `bad_symbol`, an answer that cannot be read
 * `invalid_answer`.
 *
 * @throws {ExchangeError} for these two, and any other error of `parse` as it is
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

/** The price in a ticker's row; null when there was no trade yet. @throws {UnreadableAnswer} */
export function tickerPrice(text: string | null | undefined): Decimal | null {
  if (text === null || text === undefined || text === '') return null
  const price = toDecimal(text)
  if (price === null) throw new UnreadableAnswer('a price is not a number')
  return /[1-9]/.test(price) && !price.startsWith('-') ? price : null
}

/** Fills in the order of their time. `fills` is newest first: reversed, fills of one millisecond keep their order. */
export function oldestFirst(fills: readonly Fill[]): Fill[] {
  return fills.toReversed().sort((a, b) => a.executedAt - b.executedAt)
}

/** What the codes of an exchange mean. */
export type RefusalTable = Readonly<Record<string, ExchangeErrorCode>>

/** The refusal that a code of the exchange means; null when there is no code or the table does not have it. */
export function refusalFrom(table: RefusalTable, exchangeCode: string | null): Refusal | null {
  const code = exchangeCode !== null && Object.hasOwn(table, exchangeCode) ? table[exchangeCode] : undefined
  return code === undefined ? null : { code, exchangeCode }
}
