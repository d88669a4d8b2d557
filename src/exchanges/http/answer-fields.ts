// @FEAT:exchanges @COMP:service @TYPE:helper
import { parse } from 'lossless-json'
import { type Decimal, isZero, toDecimal } from '../../domain/decimal.ts'
import type { Millis } from '../../domain/millis.ts'

/** An answer that is not what the exchange documents. Its message names the place, never the text of the answer. */
export class UnreadableAnswer extends Error {
  override readonly name = 'UnreadableAnswer'
}

export type JsonRecord = { readonly [field: string]: unknown }

const MAX_TEXT = 256
/** The end of the year 9999: Postgres cannot read later times. */
const MAX_MILLIS = 253_402_300_799_999
/** Control characters and halves of characters. Postgres cannot store all of them. */
const UNSTORABLE = /[\p{Cc}\p{Cs}]/u

/**
 * Reads JSON without losing a digit: every number becomes the text that the exchange wrote.
 *
 * @throws {UnreadableAnswer} when it is not JSON
 */
export function parseLossless(text: string): unknown {
  try {
    return parse(text, null, number => number)
  } catch {
    // The parser's own message quotes the answer, which may repeat a key: it is not kept as the cause.
    throw new UnreadableAnswer('not JSON')
  }
}

/** Whether a value is a JSON object. */
export function isRecord(value: unknown): value is JsonRecord {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

/** A value that must be a JSON object. @throws {UnreadableAnswer} */
export function recordOf(value: unknown, what: string): JsonRecord {
  if (!isRecord(value)) throw new UnreadableAnswer(`${what} is not an object`)
  return value
}

/** A value that must be an array of anything. Its rows are read one by one. @throws {UnreadableAnswer} */
export function listOf(value: unknown, what: string): readonly unknown[] {
  if (!Array.isArray(value)) throw new UnreadableAnswer(`${what} is not an array`)
  return value
}

/** A value that must be an array of JSON objects. @throws {UnreadableAnswer} */
export function rowsOf(value: unknown, what: string): JsonRecord[] {
  return listOf(value, what).map(row => recordOf(row, `a row of ${what}`))
}

/** Rows of which an answer must have at least one. @throws {UnreadableAnswer} */
export function atLeastOne<T>(rows: readonly T[], what: string): readonly T[] {
  if (rows.length === 0) throw new UnreadableAnswer(`${what} is empty`)
  return rows
}

/**
 * A field's text; null when it is absent, null or empty. Booleans become their names.
 *
 * @throws {UnreadableAnswer} for objects, arrays, control characters, halves of characters, and more than 256 characters
 */
export function optionalText(record: JsonRecord, field: string): string | null {
  const value = record[field]
  if (value === undefined || value === null || value === '') return null
  if (typeof value === 'boolean') return String(value)
  if (typeof value !== 'string' || value.length > MAX_TEXT || UNSTORABLE.test(value)) {
    throw new UnreadableAnswer(`${field} is not a short text`)
  }
  return value
}

/** A field's text. @throws {UnreadableAnswer} also when it is absent or empty */
export function textOf(record: JsonRecord, field: string): string {
  const value = optionalText(record, field)
  if (value === null) throw new UnreadableAnswer(`${field} is missing`)
  return value
}

/**
 * What a field's text means, by a table.
 *
 * @param absent the text that an absent field counts as; without it an absent field is an error
 * @throws {UnreadableAnswer} when the table does not have the text
 */
export function meaningOf<T>(
  record: JsonRecord,
  field: string,
  meanings: Readonly<Record<string, T>>,
  absent?: string
): T {
  const text = absent === undefined ? textOf(record, field) : (optionalText(record, field) ?? absent)
  const meaning = Object.hasOwn(meanings, text) ? meanings[text] : undefined
  if (meaning === undefined) throw new UnreadableAnswer(`${field} is unknown`)
  return meaning
}

/** A field's decimal; null when it is absent, null or empty. @throws {UnreadableAnswer} when it is not a number */
export function optionalDecimal(record: JsonRecord, field: string): Decimal | null {
  const text = optionalText(record, field)
  if (text === null) return null
  const decimal = toDecimal(text)
  if (decimal === null) throw new UnreadableAnswer(`${field} is not a number`)
  return decimal
}

/** A field's decimal. @throws {UnreadableAnswer} when it is absent or not a number */
export function decimalOf(record: JsonRecord, field: string): Decimal {
  const value = optionalDecimal(record, field)
  if (value === null) throw new UnreadableAnswer(`${field} is missing`)
  return value
}

/**
 * A field's decimal; null when it is absent or zero: exchanges write a missing price as 0.
 *
 * @throws {UnreadableAnswer} when it is not a number
 */
export function priceOf(record: JsonRecord, field: string): Decimal | null {
  const value = optionalDecimal(record, field)
  return value === null || isZero(value) ? null : value
}

/** A field of milliseconds since the epoch; null when it is absent or zero. @throws {UnreadableAnswer} */
export function optionalMillis(record: JsonRecord, field: string): Millis | null {
  const text = optionalText(record, field)
  return text === null ? null : toMillis(text, field)
}

/** A field of milliseconds since the epoch. @throws {UnreadableAnswer} also when it is absent or zero */
export function millisOf(record: JsonRecord, field: string): Millis {
  const value = optionalMillis(record, field)
  if (value === null) throw new UnreadableAnswer(`${field} is missing`)
  return value
}

/** A field of an ISO 8601 time; null when it is absent. @throws {UnreadableAnswer} also before 1970 and after 9999 */
export function optionalTime(record: JsonRecord, field: string): Millis | null {
  const text = optionalText(record, field)
  if (text === null) return null
  const millis = Date.parse(text)
  if (!(millis >= 0 && millis <= MAX_MILLIS)) throw new UnreadableAnswer(`${field} is not a time`)
  return millis
}

/**
 * Milliseconds since the epoch; null for zero.
 *
 * @throws {UnreadableAnswer} when the text is not a whole number, or a time after the year 9999
 */
export function toMillis(text: string, field: string): Millis | null {
  const millis = /^\d{1,16}$/.test(text) ? Number(text) : Number.NaN
  if (!(millis <= MAX_MILLIS)) throw new UnreadableAnswer(`${field} is not a time`)
  return millis === 0 ? null : millis
}
