import t from 'tap'
import { Agent } from 'undici'
import type { ExchangeName } from '../../src/domain/market.ts'
import { CATALOGUE } from '../../src/exchanges/catalogue.ts'
import { ExchangeRegistry } from '../../src/exchanges/exchange-registry.ts'
import { type CannedAnswer, cannedExchange } from './canned-exchange.ts'
import { failureOf } from './failure.ts'
import { PAYLOADS } from './payloads/index.ts'
import type { PayloadAnswer } from './payloads/payload-case.ts'

const CREDENTIALS = { apiKey: 'key', apiSecret: 'secret', passphrase: 'passphrase' }

const agent = new Agent()
t.teardown(() => agent.close())

for (const [name, cases] of Object.entries(PAYLOADS)) {
  for (const { name: what, market = 'SPOT', ask, answers, expected } of cases) {
    t.test(`${name} ${market}: reads ${what}`, async t => {
      const exchange = name as ExchangeName
      const unexpected: string[] = []
      const url = await cannedExchange(t, (path, query) => {
        const answer = Object.entries(answers).find(([asked]) => isAsked(asked, path, query))?.[1]
        if (answer === undefined) unexpected.push(`${path}?${query}`)
        return answer === undefined ? { status: 404, body: '{}' } : cannedOf(answer)
      })
      const setting = CATALOGUE[exchange].markets[market]?.setting ?? 'BINANCE_URL'
      const registry = new ExchangeRegistry({
        dispatcher: agent,
        urls: { [setting]: url },
        random: () => 0,
        // The clock of waits and deadlines does not advance, so the result does not depend on the speed of the machine.
        monotonic: () => 0,
        attemptMs: 60_000,
        deadlineMs: 59_000
      })
      const client = registry.client({ exchange, marketType: market, credentials: CREDENTIALS })
      if ('refused' in expected) {
        const { refused, ...details } = expected
        t.hasStrict(await failureOf(ask(client)), { code: refused, ...details })
      } else t.strictSame(await ask(client), expected)
      t.strictSame(unexpected, [], 'no other request was made')
    })
  }
}

/** Whether a key of `answers`, a path with parts of a query, matches the request. */
function isAsked(key: string, path: string, query: string): boolean {
  const [keyPath, keyQuery = ''] = key.split('?')
  const asked = new URLSearchParams(query)
  return path === keyPath && [...new URLSearchParams(keyQuery)].every(([name, value]) => asked.get(name) === value)
}

function cannedOf(answer: PayloadAnswer): CannedAnswer {
  if (typeof answer === 'string') return { status: 200, body: answer }
  const { status = 200, headers = {}, body } = answer
  return { status, headers, body }
}
