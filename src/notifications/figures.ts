import type { Metrics } from '../metrics/metrics.ts'
import type { TelegramCallEnd } from './telegram-client.ts'

/** Makes the observer that counts the calls of a `TelegramClient`. */
export function countTelegramCall(metrics: Metrics): (end: TelegramCallEnd) => void {
  return ({ method, outcome, durationMs }) => {
    metrics.count('trading_health_telegram_calls_total', { method, outcome })
    metrics.observe('trading_health_telegram_call_duration_seconds', { method }, durationMs / 1_000)
  }
}
