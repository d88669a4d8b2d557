// @FEAT:health-monitoring @COMP:service @TYPE:integration
import type { CheckDetails } from '../domain/check-details.ts'
import type { OutboxDepth } from './outbox.ts'

/**
 * The webhook by the state of the outbox of the cluster, whichever replica sends; the age is that of the oldest message
 * that waits for it.
 */
export function webhookDetails({
  configured,
  depth
}: {
  configured: boolean
  depth: OutboxDepth | undefined
}): CheckDetails {
  const failing = configured ? (depth?.failing ?? null) : null
  return {
    name: 'webhook',
    status: failing === null ? 'ok' : 'degraded',
    code: failing ?? (configured ? null : 'not_configured'),
    latency_ms: null,
    age_ms: depth && depth.waiting > 0 ? Math.round(depth.oldestSeconds * 1_000) : null,
    since: null
  }
}
