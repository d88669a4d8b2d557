// @FEAT:health-monitoring @COMP:service @TYPE:integration
import type { CheckDetails } from '../domain/check-details.ts'
import type { OutboxDepth } from './outbox.ts'

/**
 * Telegram by the state of the outbox of the cluster, whichever replica sends; the age is that of the oldest waiting
 * message, or of the reading when none waits. The latency is that of the last call of this replica. Without a bot the check is ok as long as no message waits: the replicas share the bot, so none sends it.
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
  /** Null before the first call. */
  latencyMs: number | null
}): CheckDetails {
  const waits = (depth?.waiting ?? 0) > 0
  const code = depth?.failing ?? (!configured && waits ? 'no_sender' : null)
  return {
    name: 'telegram',
    status: code === null ? 'ok' : 'degraded',
    code: code ?? (configured ? null : 'not_configured'),
    latency_ms: latencyMs,
    age_ms: depth && depth.waiting > 0 ? Math.round(depth.oldestSeconds * 1_000) : depthAgeMs,
    since: null
  }
}
