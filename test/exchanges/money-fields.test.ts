import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { isLosslessNumber, parse } from 'lossless-json'
import t from 'tap'
import { EXCHANGE_NAMES, type ExchangeName } from '../../src/domain/market.ts'
import { MONEY_FIELDS, PAYLOAD_KINDS, type PayloadKind } from '../../src/exchanges/adapters/money-fields.ts'
import type { ExchangeClient } from '../../src/exchanges/exchange-client.ts'
import { projectRoot } from '../support/project.ts'
import { exchangeFixture, fixtureNames, recordedTest } from './fixtures.ts'
import { PAYLOADS } from './payloads/index.ts'
import type { PayloadCase } from './payloads/payload-case.ts'

const ADAPTERS = join(projectRoot, 'src/exchanges/adapters')

/** The code in which an adapter reads its fields: its own, that of its ledger, and that of the dialect it uses. */
function codeOf(exchange: ExchangeName): string {
  const name = exchange.toLowerCase()
  const own = [`${name}.ts`, `${name}-ledger.ts`].map(codeIn).join('')
  const dialect = "from './upbit-dialect.ts'"
  return own.includes(dialect) ? own + codeIn('upbit-dialect.ts') + codeIn('upbit-ledger.ts') : own
}

function codeIn(file: string): string {
  const path = join(ADAPTERS, file)
  return existsSync(path) ? readFileSync(path, 'utf8') : ''
}

const KIND_OF_METHOD: Readonly<Record<string, PayloadKind>> = {
  lastPrices: 'prices',
  markPrices: 'prices',
  order: 'orders',
  openOrders: 'orders',
  fills: 'fills',
  balances: 'balances',
  positions: 'positions',
  instruments: 'instruments',
  ledger: 'ledger'
}
const INSTRUMENTS_PATH = /instruments|exchangeInfo|market\/all/
/** The fills of an order that became another one: its own query comes first. */
const ORDER_PATH = /algo|\/v3\/order\b|\/v1\/order\b|trade\/order\b/
const NUMBER = /^-?\d+(\.\d+)?([eE][+-]?\d+)?$/

/** The names of all fields with numbers in a JSON value. An entry of an object by asset has the name of the object. */
function numbersIn(value: unknown, name = '', parent = ''): string[] {
  if (Array.isArray(value)) return value.flatMap(item => numbersIn(item, name, parent))
  if (isLosslessNumber(value) || (typeof value === 'string' && NUMBER.test(value)))
    return [/^[A-Z0-9]+$/.test(name) ? parent : name]
  if (typeof value !== 'object' || value === null) return []
  return Object.entries(value).flatMap(([field, inner]) => numbersIn(inner, field, name))
}

function unlistedIn(exchange: ExchangeName, kind: PayloadKind, body: string): string[] {
  const { kinds, notMoney } = MONEY_FIELDS[exchange]
  const { used, ignored } = kinds[kind]
  const listed = new Set([...used, ...Object.values(ignored).flat(), ...notMoney])
  return [...new Set(numbersIn(parse(body)))].filter(name => !listed.has(name)).sort()
}

/** The kind of payload that a case asks for. */
async function kindOf({ ask }: PayloadCase): Promise<PayloadKind> {
  let asked = ''
  const client = new Proxy({} as ExchangeClient, {
    get: (_, method) => async () => {
      asked = String(method)
      return []
    }
  })
  await ask(client)
  const kind = KIND_OF_METHOD[asked]
  if (kind === undefined) throw new Error(`${asked} has no kind of payload`)
  return kind
}

for (const exchange of EXCHANGE_NAMES) {
  t.test(`${exchange}: every number in our own payloads is used, or ignored for a reason`, async t => {
    for (const payload of PAYLOADS[exchange]) {
      if ('refused' in payload.expected) continue
      const asked = await kindOf(payload)
      for (const [path, answer] of Object.entries(payload.answers)) {
        const body = typeof answer === 'string' ? answer : answer.body
        const isOther = asked === 'fills' && MONEY_FIELDS[exchange].kinds.fills !== MONEY_FIELDS[exchange].kinds.orders
        const kind = INSTRUMENTS_PATH.test(path) ? 'instruments' : isOther && ORDER_PATH.test(path) ? 'orders' : asked
        t.strictSame(unlistedIn(exchange, kind, body), [], `${kind} of ${payload.name} at ${path}`)
      }
    }
  })

  t.test(`${exchange}: the adapter reads each field that is listed as used, and no field is in two lists`, async t => {
    const code = codeOf(exchange)
    const { kinds, notMoney } = MONEY_FIELDS[exchange]
    for (const kind of PAYLOAD_KINDS) {
      const { used, ignored } = kinds[kind]
      for (const field of used) t.ok(new RegExp(`\\b${field}\\b`).test(code), `${kind} ${field}`)
      const all = [...used, ...Object.values(ignored).flat(), ...notMoney]
      t.strictSame(
        all.filter((field, index) => all.indexOf(field) !== index),
        [],
        `${kind}: listed twice`
      )
    }
  })
}

const KIND_OF_FIXTURE: readonly [RegExp, PayloadKind][] = [
  [/\.error\./, 'orders'],
  [/order/, 'orders'],
  [/trades/, 'fills'],
  [/balance/, 'balances'],
  [/positions/, 'positions'],
  [/ticker|price/, 'prices']
]

recordedTest('every number in a recorded payload is used, or ignored for a reason', async t => {
  for (const exchange of EXCHANGE_NAMES) {
    for (const name of fixtureNames(exchange.toLowerCase())) {
      const kind = KIND_OF_FIXTURE.find(([pattern]) => pattern.test(name))?.[1]
      if (kind === undefined) t.fail(`${name} has no kind of payload`)
      else if (!name.includes('.error.')) t.strictSame(unlistedIn(exchange, kind, exchangeFixture(name).body), [], name)
    }
  }
})

t.test('a new amount in a payload is found', async t => {
  t.strictSame(unlistedIn('BYBIT', 'balances', '{"coin":[{"walletBalance":"5","newDebt":"0.5"}]}'), ['newDebt'])
  t.strictSame(unlistedIn('OKX', 'fills', '{"data":[{"fillPx":"5","tax":{"USDT":1.5}}]}'), ['tax'])
  t.strictSame(unlistedIn('UPBIT', 'orders', '[{"uuid":"a-1","vat":-1E-7,"paid_fee":"0.1"}]'), ['vat'])
})
