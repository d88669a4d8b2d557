import t from 'tap'
import { exchangeDetails } from '../../src/exchanges/exchange-check.ts'
import { assertRows } from '../support/assert-rows.ts'

type Status = Parameters<typeof exchangeDetails>[0][number]

const now = 1_000_000
const status: Status = {
  exchange: 'BINANCE',
  lastSuccessAt: now - 2_000,
  latencyMs: 84,
  lastErrorAt: null,
  lastErrorCode: null,
  lastExchangeCode: null,
  clockSkewMs: 0,
  circuit: 'closed',
  blockedForMs: 0,
  hosts: [],
  invalidRows: 0
}
const failing = { lastErrorAt: now - 1_000, lastErrorCode: 'timeout' } as const

t.test('an exchange is degraded by the first reason that applies', async t => {
  const cases: [Partial<Status>, string | null][] = [
    [{}, null],
    [{ ...failing, lastErrorAt: now - 3_000 }, null],
    [{ lastSuccessAt: null }, 'no_answer'],
    [{ invalidRows: 1 }, 'invalid_answer'],
    [failing, 'timeout'],
    [{ ...failing, invalidRows: 1 }, 'timeout'],
    [{ ...failing, blockedForMs: 1 }, 'rate_limited'],
    [{ ...failing, blockedForMs: 1, circuit: 'open' }, 'circuit_open'],
    [{ circuit: 'half_open' }, 'circuit_open']
  ]
  for (const [change, code] of cases) {
    const details = exchangeDetails([{ ...status, ...change }], now)
    assertRows(t, details, [
      { name: 'exchange_binance', status: code === null ? 'ok' : 'degraded', code, latency_ms: 84 }
    ])
  }
})

t.test('the age is that of the last success', async t => {
  const age = (lastSuccessAt: number | null) => exchangeDetails([{ ...status, lastSuccessAt }], now)[0]?.age_ms
  t.equal(age(now - 2_000), 2_000)
  t.equal(age(now + 5), 0, 'never negative')
  t.equal(age(null), null)
})
