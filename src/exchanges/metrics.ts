import type { Metrics, Reading } from '../metrics/metrics.ts'
import type { ExchangeReport, InvalidRowCount } from './exchange-registry.ts'
import type { ExchangeCallEnd } from './http/host-options.ts'

/** Makes the option `onCall` of an `ExchangeRegistry`, which counts its calls. */
export function countExchangeCall(metrics: Metrics): (end: ExchangeCallEnd) => void {
  return ({ exchange, outcome, durationMs }) => {
    metrics.count('trading_health_exchange_calls_total', { exchange, outcome })
    metrics.observe('trading_health_exchange_call_duration_seconds', { exchange }, durationMs / 1_000)
  }
}

/** Makes the option `onInvalidRows` of an `ExchangeRegistry`, which counts them. */
export function countInvalidRows(metrics: Metrics): (rows: InvalidRowCount) => void {
  return ({ exchange, operation, kind, rows }) => {
    metrics.count('trading_health_exchange_invalid_rows_total', { exchange, operation, kind }, rows)
  }
}

/** Sets the gauges of each exchange from `ExchangeRegistry.status()`. */
export function reportExchanges(reading: Reading, statuses: readonly ExchangeReport[]): void {
  for (const { exchange, circuit, lastSuccessAt, clockSkewMs, invalidRows, hosts } of statuses) {
    reading.set('trading_health_exchange_circuit_open', { exchange }, Number(circuit !== 'closed'))
    reading.set('trading_health_exchange_invalid_rows', { exchange }, invalidRows)
    const uses = hosts.flatMap(host => host.uses)
    if (uses.length > 0) {
      const fullest = Math.max(...uses.map(({ limit, used }) => used / limit.weight))
      reading.set('trading_health_exchange_limit_used_ratio', { exchange }, fullest)
    }
    if (lastSuccessAt !== null) {
      reading.set('trading_health_exchange_last_success_timestamp_seconds', { exchange }, lastSuccessAt / 1_000)
    }
    if (clockSkewMs !== null) {
      reading.set('trading_health_exchange_clock_skew_seconds', { exchange }, clockSkewMs / 1_000)
    }
  }
}
