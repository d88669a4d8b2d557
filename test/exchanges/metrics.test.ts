import { pino } from 'pino'
import t from 'tap'
import { Agent } from 'undici'
import { ExchangeRegistry } from '../../src/exchanges/exchange-registry.ts'
import { countExchangeCall, reportExchanges } from '../../src/exchanges/metrics.ts'
import { Metrics } from '../../src/metrics/metrics.ts'
import { assertRows } from '../support/assert-rows.ts'
import { SimulatedExchange } from '../support/simulated-exchange/simulated-exchange.ts'

t.test('each call counts once by exchange and outcome, with its duration', async t => {
  const simulated = await SimulatedExchange.start({ exchange: 'UPBIT', symbols: 2 })
  const dispatcher = new Agent()
  t.teardown(() => Promise.all([simulated.close(), dispatcher.close()]))
  const metrics = new Metrics({ log: pino({ level: 'silent' }) })
  const registry = new ExchangeRegistry({
    dispatcher,
    urls: simulated.urls,
    random: () => 0,
    onCall: countExchangeCall(metrics)
  })
  metrics.collect(reading => reportExchanges(reading, registry.status()))
  const client = registry.client({ exchange: 'UPBIT', marketType: 'SPOT' })

  await client.lastPrices()
  simulated.fault({ kind: 'status', status: 500 }, { times: 1 })
  await client.lastPrices()
  simulated.fault({ kind: 'status', status: 401 }, { times: 1 })
  await t.rejects(client.lastPrices(), { code: 'authentication' })
  await t.rejects(client.lastPrices({ signal: AbortSignal.abort(new Error('enough')) }), { message: 'enough' })

  const values = await metrics.read()
  const of = (outcome: string, value: number) => ({ labels: { exchange: 'UPBIT', outcome }, value })
  t.strictSame(values.get('trading_health_exchange_calls_total'), [
    of('ok', 2),
    of('authentication', 1),
    of('aborted', 1)
  ])
  const exchange = 'UPBIT'
  t.strictSame(values.get('trading_health_exchange_circuit_open'), [{ labels: { exchange }, value: 0 }])
  for (const name of [
    'trading_health_exchange_last_success_timestamp_seconds',
    'trading_health_exchange_clock_skew_seconds'
  ] as const) {
    const series = values.get(name) ?? []
    assertRows(t, series, [{ labels: { exchange } }], name)
    t.match(series[0], { value: Number }, name)
  }
  const durations = values.get('trading_health_exchange_call_duration_seconds') ?? []
  assertRows(t, durations, [{ labels: { exchange } }])
  t.match(durations[0], { sum: Number })
})
