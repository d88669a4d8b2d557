import type { Metrics, Reading } from '../metrics/metrics.ts'
import type { Destination, OutboxDepth } from './outbox.ts'
import type { TelegramCallEnd } from './telegram-client.ts'
import type { WebhookCallEnd } from './webhook-client.ts'

/** Returns an observer that counts the calls of a `TelegramClient`. */
export function countTelegramCall(metrics: Metrics): (end: TelegramCallEnd) => void {
  return ({ method, outcome, durationMs }) => {
    metrics.count('trading_health_telegram_calls_total', { method, outcome })
    metrics.observe('trading_health_telegram_call_duration_seconds', { method }, durationMs / 1_000)
  }
}

/** Returns an observer that counts the requests of a `WebhookClient`. */
export function countWebhookCall(metrics: Metrics): (end: WebhookCallEnd) => void {
  return ({ outcome, durationMs }) => {
    metrics.count('trading_health_webhook_calls_total', { outcome })
    metrics.observe('trading_health_webhook_call_duration_seconds', {}, durationMs / 1_000)
  }
}

/** Reports the state of the outbox for one destination as metrics. */
export function reportOutbox(reading: Reading, destination: Destination, depth: OutboxDepth): void {
  const { waiting, oldestSeconds, givenUp } = depth
  reading.set('trading_health_outbox_waiting', { destination }, waiting)
  reading.set('trading_health_outbox_oldest_age_seconds', { destination }, oldestSeconds)
  reading.set('trading_health_outbox_given_up', { destination }, givenUp)
}
