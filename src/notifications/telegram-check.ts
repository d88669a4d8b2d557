// @FEAT:health-monitoring @COMP:service @TYPE:integration
import type { CheckDetails } from '../domain/check-details.ts'
import type { OutboxDepth } from './outbox.ts'

/**
 * Telegram by the state of the outbox of the cluster, whichever replica sends; the age is that of the oldest waiting
 * message. Without a bot the check is ok as long as no message waits: the replicas share the bot, so none sends it.
 */
export function telegramDetails({
  configured,
  depth
}: {
  configured: boolean
  depth: OutboxDepth | undefined
}): CheckDetails {
  const waits = (depth?.waiting ?? 0) > 0
  const code = depth?.failing ?? (!configured && waits ? 'no_sender' : null)
  return {
    name: 'telegram',
    status: code === null ? 'ok' : 'degraded',
    code: code ?? (configured ? null : 'not_configured'),
    latency_ms: null,
    age_ms: depth && depth.waiting > 0 ? Math.round(depth.oldestSeconds * 1_000) : null,
    since: null
  }
}
