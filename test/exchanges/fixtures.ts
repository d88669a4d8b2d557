import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { parse, stringify } from 'lossless-json'
import { isRecord, type JsonRecord } from '../../src/exchanges/http/answer-fields.ts'

const ROOT = join(process.cwd(), '../shared/fixtures')

/** Why the fixtures cannot be read here; false when they can. */
export const fixturesMissing: string | false = existsSync(join(ROOT, 'exchange'))
  ? false
  : `no fixtures at ${ROOT}: real answers of the exchanges are not checked`

/** Names of the files in a folder of the fixtures, `binance/spot.order.BTCUSDT_new.json`. */
export function fixtureNames(exchange: string): string[] {
  return readdirSync(join(ROOT, 'exchange', exchange)).map(name => `${exchange}/${name}`)
}

export interface Fixture {
  status: number
  /** The body as it was recorded, every number in its own spelling. */
  body: string
  /** What ccxt makes of the payload: a second opinion, not a truth. Numbers as text. */
  secondOpinion: unknown
}

/** Reads a fixture of an exchange. */
export function exchangeFixture(name: string): Fixture {
  const fixture = readLossless(join('exchange', name))
  const response = recordIn(fixture, 'response')
  const opinion = isRecord(fixture.ccxt_unified) ? fixture.ccxt_unified.value : null
  const body = stringify(response.body)
  if (body === undefined) throw new Error(`${name} has no body`)
  return { status: Number(response.status), body, secondOpinion: JSON.parse(stringify(opinion) ?? 'null') }
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
