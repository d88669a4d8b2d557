import type { Metrics, Reading } from '../metrics/metrics.ts'
import type { OutboxDepth } from './outbox.ts'
import type { TelegramCallEnd } from './telegram-client.ts'

/** Returns an observer that counts the calls of a `TelegramClient`. */
export function countTelegramCall(metrics: Metrics): (end: TelegramCallEnd) => void {
  return ({ method, outcome, durationMs }) => {
    metrics.count('trading_health_telegram_calls_total', { method, outcome })
    metrics.observe('trading_health_telegram_call_duration_seconds', { method }, durationMs / 1_000)
  }
}

/** Reports the state of the outbox as metrics. */
export function reportOutbox(reading: Reading, { waiting, oldestSeconds, givenUp }: OutboxDepth): void {
  reading.set('trading_health_outbox_waiting', {}, waiting)
  reading.set('trading_health_outbox_oldest_age_seconds', {}, oldestSeconds)
  reading.set('trading_health_outbox_given_up', {}, givenUp)
}
