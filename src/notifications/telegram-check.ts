// @FEAT:health-monitoring @COMP:service @TYPE:integration
import type { CheckDetails } from '../domain/check-details.ts'
import type { OutboxDepth } from './outbox.ts'

/**
 * Telegram by the state of the outbox of the cluster, whichever replica sends; the age is that of the oldest waiting
 * message. Without a configuration the check is ok.
 */
export function telegramDetails({
  configured,
  depth
}: {
  configured: boolean
  depth: OutboxDepth | undefined
}): CheckDetails {
  const code = depth?.failing ?? null
  return {
    name: 'telegram',
    status: code === null ? 'ok' : 'degraded',
    code: configured ? code : 'not_configured',
    latency_ms: null,
    age_ms: depth && depth.waiting > 0 ? Math.round(depth.oldestSeconds * 1_000) : null,
    since: null
  }
}
