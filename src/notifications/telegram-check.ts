// @FEAT:health-monitoring @COMP:service @TYPE:integration
import type { CheckDetails } from '../domain/check-details.ts'
import type { OutboxDepth } from './outbox.ts'

/**
 * Telegram by the state of the outbox of the cluster, whichever replica sends; the age is that of the oldest waiting
 * message, or of the reading when none waits. The latency is that of the last call of this
 * replica, or of that reading before the first call.
 */
export function telegramDetails({
  configured,
  depth,
  depthAgeMs,
  latencyMs
}: {
  configured: boolean
  depth: OutboxDepth | undefined
  /** Since the outbox was read; null before. */
  depthAgeMs: number | null
  /** Null before the outbox was read. */
  latencyMs: number | null
}): CheckDetails {
  const code = depth?.failing ?? null
  return {
    name: 'telegram',
    status: code === null ? 'ok' : 'degraded',
    code: code ?? (configured ? null : 'not_configured'),
    latency_ms: latencyMs,
    age_ms: depth && depth.waiting > 0 ? Math.round(depth.oldestSeconds * 1_000) : depthAgeMs,
    since: null
  }
}
