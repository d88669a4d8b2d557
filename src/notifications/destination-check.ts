// @FEAT:health-monitoring @COMP:service @TYPE:integration
import type { CheckDetails } from '../domain/check-details.ts'
import type { Destination, OutboxDepth } from './outbox.ts'

/**
 * A destination by the state of the outbox of the cluster, whichever replica sends. The age is that of the oldest waiting
 * message, or of the reading of the outbox when none waits. The latency is that of the last call of this replica, or of
 * that reading before the first call.
 */
export function destinationDetails(
  name: Destination,
  {
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
  }
): CheckDetails {
  const code = depth?.failing ?? null
  return {
    name,
    status: code === null ? 'ok' : 'degraded',
    code: code ?? (configured ? null : 'not_configured'),
    latency_ms: latencyMs,
    age_ms: depth && depth.waiting > 0 ? Math.round(depth.oldestSeconds * 1_000) : depthAgeMs,
    since: null
  }
}
