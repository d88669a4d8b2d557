import type { Metrics } from '../metrics/metrics.ts'
import type { ExchangeCallEnd } from './exchange-gateway.ts'

/** Makes the observer that counts the calls of an `ExchangeRegistry`: its option `onCall`. */
export function countExchangeCall(metrics: Metrics): (end: ExchangeCallEnd) => void {
  return ({ exchange, outcome, durationMs }) => {
    metrics.count('trading_health_exchange_calls_total', { exchange, outcome })
    metrics.observe('trading_health_exchange_call_duration_seconds', { exchange }, durationMs / 1_000)
  }
}
