import type { Metrics, Reading } from '../metrics/metrics.ts'
import type { ExchangeCallEnd, ExchangeStatus } from './http/exchange-gateway.ts'

/** Makes the observer that counts the calls of an `ExchangeRegistry`: its option `onCall`. */
export function countExchangeCall(metrics: Metrics): (end: ExchangeCallEnd) => void {
  return ({ exchange, outcome, durationMs }) => {
    metrics.count('trading_health_exchange_calls_total', { exchange, outcome })
    metrics.observe('trading_health_exchange_call_duration_seconds', { exchange }, durationMs / 1_000)
  }
}

/** Tells the metrics how it stands with each exchange: `ExchangeRegistry.status()`. */
export function tellExchanges(reading: Reading, statuses: readonly ExchangeStatus[]): void {
  for (const { exchange, circuit, lastSuccessAt, clockSkewMs } of statuses) {
    reading.set('trading_health_exchange_circuit_open', { exchange }, Number(circuit !== 'closed'))
    if (lastSuccessAt !== null) {
      reading.set('trading_health_exchange_last_success_timestamp_seconds', { exchange }, lastSuccessAt / 1_000)
    }
    if (clockSkewMs !== null) {
      reading.set('trading_health_exchange_clock_skew_seconds', { exchange }, clockSkewMs / 1_000)
    }
  }
}
