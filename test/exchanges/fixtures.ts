import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { parse, stringify } from 'lossless-json'
import t, { type Test } from 'tap'
import { isRecord, type JsonRecord } from '../../src/exchanges/http/answer-fields.ts'

const ROOT = join(process.cwd(), '../shared/fixtures')

const missing = !existsSync(ROOT)

/** Why tests of recorded answers are skipped; false when the fixtures exist. */
export const fixturesMissing: string | false =
  missing &&
  `no ${ROOT}: recorded exchange answers, signatures, order ids, PnL, metrics and Telegram errors are left out`

/**
 * A test that reads fixtures. Without them it is left out, and `test/recorded-fixtures.test.ts` reports that once for
 * all: a line for each would hide other skipped tests.
 */
export function recordedTest(name: string, run: (t: Test) => unknown): void {
  if (!missing) t.test(name, run)
}

/** Names of the files in a folder of the fixtures, `binance/spot.order.BTCUSDT_new.json`. */
export function fixtureNames(exchange: string): string[] {
  return readdirSync(join(ROOT, 'exchange', exchange)).map(name => `${exchange}/${name}`)
}

export interface Fixture {
  status: number
  /** The body as it was recorded, with the original spelling of every number. */
  body: string
  /** The payload as ccxt parses it, for comparison: ccxt may be wrong. Numbers as text. */
  parsedByCcxt: unknown
}

/** Reads a fixture of an exchange. */
export function exchangeFixture(name: string): Fixture {
  const fixture = readLossless(join('exchange', name))
  const response = recordIn(fixture, 'response')
  const opinion = isRecord(fixture.ccxt_unified) ? fixture.ccxt_unified.value : null
  const body = stringify(response.body)
  if (body === undefined) throw new Error(`${name} has no body`)
  return { status: Number(response.status), body, parsedByCcxt: JSON.parse(stringify(opinion) ?? 'null') }
}

/** Reads any other fixture, numbers as text. */
export function fixture(path: string): JsonRecord {
  const value = JSON.parse(stringify(readLossless(path)) ?? 'null')
  if (!isRecord(value)) throw new Error(`${path} is not an object`)
  return value
}

function readLossless(path: string): JsonRecord {
  const value = parse(readFileSync(join(ROOT, path), 'utf8'))
  if (!isRecord(value)) throw new Error(`${path} is not an object`)
  return value
}

function recordIn(record: JsonRecord, field: string): JsonRecord {
  const value = record[field]
  if (!isRecord(value)) throw new Error(`${field} is not an object`)
  return value
}
