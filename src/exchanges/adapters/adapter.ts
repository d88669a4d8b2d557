// @FEAT:exchanges @COMP:service @TYPE:helper
import { createHmac } from 'node:crypto'
import { MINUTE } from '../../async/durations.ts'
import { type Decimal, Exact, isZero, toDecimal } from '../../domain/decimal.ts'
import type { ExchangeErrorCode } from '../../domain/exchange-error-code.ts'
import type { Instrument } from '../../domain/instrument.ts'
import type { ExchangeName, MarketType } from '../../domain/market.ts'
import type { Millis } from '../../domain/millis.ts'
import type { Credentials, OnInvalidRow, OrderCosts } from '../exchange-client.ts'
import { ExchangeError } from '../exchange-error.ts'
import { type JsonRecord, listOf, recordOf, UnreadableAnswer } from '../http/answer-fields.ts'
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

/** Where each API key has limits of its own, only the number of calls counts. */
export const ONE_CALL_EACH: OrderCosts = { list: 1, listOfSymbol: 1, order: 1 }

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

/**
 * `parse` of every row. Rows of unsupported symbols, and rows for which `parse` returns null, are left out. Rows that cannot
 * be read are left out and passed to `onInvalidRow`.
 *
 * @throws {UnreadableAnswer} without `onInvalidRow`, for the first such row
 */
export function supportedOnly<T>(
  rows: readonly unknown[],
  parse: (row: JsonRecord) => T | null,
  onInvalidRow: OnInvalidRow | undefined
): T[] {
  return rows.flatMap(row => {
    try {
      return parse(recordOf(row, 'a row')) ?? []
    } catch (err) {
      if (err instanceof UnsupportedSymbol) return []
      if (!(err instanceof UnreadableAnswer) || onInvalidRow === undefined) throw err
      onInvalidRow({ kind: 'unreadable', reason: err.message, row, times: 1 })
      return []
    }
  })
}

/**
 * Checks a row that is used by an equation that the exchange documents, and reports it as contradictory.
 *
 * @param contradiction the reason; null when the amounts agree or the row does not have them. May throw `UnreadableAnswer`
 */
export function reportContradiction(
  row: JsonRecord,
  contradiction: (row: JsonRecord) => string | null,
  onInvalidRow: OnInvalidRow | undefined
): void {
  if (onInvalidRow === undefined) return
  let reason: string | null
  try {
    reason = contradiction(row)
  } catch (err) {
    if (!(err instanceof UnreadableAnswer)) throw err
    reason = err.message
  }
  if (reason !== null) onInvalidRow({ kind: 'contradictory', reason, row, times: 1 })
}

/** Exchanges round each amount of an equation to eight digits, and compute some of them in floating point. */
const ROUNDING = { digits: '0.00000004', share: '0.000000000001' }

/** Whether two amounts differ by more than the rounding of four amounts to eight digits, or a share of 10^-12. */
export function differBeyondRounding(amount: Decimal, other: Decimal): boolean {
  const difference = new Exact(amount).minus(other).abs()
  return difference.gt(ROUNDING.digits) && difference.gt(new Exact(amount).abs().times(ROUNDING.share))
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

/**
 * The closing price of the only kline in an answer, which is an array of texts and numbers that begins with its time; null
 * without one for the minute.
 *
 * @param close the place of the closing price
 * @throws {UnreadableAnswer}
 */
export function klineClose(rows: readonly unknown[], minute: Millis, close: number): Decimal | null {
  for (const row of rows) {
    const values = listOf(row, 'a kline').map(String)
    if (values[0] === String(minute)) return tickerPrice(values[close])
  }
  return null
}

/** The beginning of the minute of a time. */
export function minuteOf(at: Millis): Millis {
  return Math.floor(at / MINUTE) * MINUTE
}

const CURRENCY = /^[\p{L}\p{N}]{1,36}$/u
const EXCHANGE_SYMBOL = /^[\p{L}\p{N}][\p{L}\p{N}_.-]{0,79}$/u

/** What a row of an instrument list has, as texts of the exchange. */
export interface ListedInstrument {
  exchangeSymbol: string | null | undefined
  base: string | null | undefined
  quote: string | null | undefined
  /** Default 1. */
  contractValue?: Decimal | null
  priceStep?: string | null | undefined
  /** In units of the exchange: contracts, where it counts in contracts. */
  quantityStep?: string | null | undefined
  trading: boolean
}

/** An instrument. @throws {UnreadableAnswer} when its symbols or its contract value cannot be read */
export function instrumentFrom(row: ListedInstrument): Instrument {
  const { exchangeSymbol, base, quote, contractValue = '1', trading } = row
  if (!exchangeSymbol || !EXCHANGE_SYMBOL.test(exchangeSymbol)) throw new UnreadableAnswer('no symbol of an instrument')
  if (!base || !quote || !CURRENCY.test(base) || !CURRENCY.test(quote)) throw new UnreadableAnswer('no base and quote')
  if (contractValue === null || !isPositive(contractValue)) throw new UnreadableAnswer('a contract has no size')
  const step = stepOf(row.quantityStep)
  return {
    exchangeSymbol,
    symbol: `${base}${quote}`,
    base,
    quote,
    contractValue,
    priceStep: stepOf(row.priceStep),
    quantityStep: step === null || contractValue === '1' ? step : new Exact(step).times(contractValue).toFixed(),
    trading
  }
}

/** Null when the exchange does not report a step above zero: without one every digit is allowed. */
function stepOf(text: string | null | undefined): Decimal | null {
  const step = toDecimal(text ?? '')
  return step !== null && isPositive(step) ? step : null
}

function isPositive(value: Decimal): boolean {
  return !value.startsWith('-') && !isZero(value)
}

/** @throws {UnreadableAnswer} for an empty list: no market of an exchange is without instruments */
export function notEmpty(instruments: Instrument[]): Instrument[] {
  if (instruments.length === 0) throw new UnreadableAnswer('no instrument is listed')
  return instruments
}

/** What the codes of an exchange mean. */
export type RefusalTable = Readonly<Record<string, ExchangeErrorCode>>

/** The refusal that a code of the exchange means; null when there is no code or the table does not have it. */
export function refusalFrom(table: RefusalTable, exchangeCode: string | null): Refusal | null {
  const code = exchangeCode !== null && Object.hasOwn(table, exchangeCode) ? table[exchangeCode] : undefined
  return code === undefined ? null : { code, exchangeCode }
}
