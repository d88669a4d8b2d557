// @FEAT:health-monitoring @COMP:service @TYPE:core
import type { ExchangeStatus } from '../exchanges/http/exchange-gateway.ts'
import type { OutboxDepth } from '../notifications/outbox.ts'
import type { SchedulerHealth } from '../scheduler/status.ts'
import type { Snapshot } from './state.ts'
import { databaseCheck, HEARTBEAT_LIMIT_MS } from './verdict.ts'

/** One check as admins see it. Times in milliseconds; null where there is nothing to tell. */
export interface CheckDetails {
  name: string
  status: 'ok' | 'degraded' | 'failed'
  code: string | null
  latency_ms: number | null
  age_ms: number | null
  since: string | null
}

/** @param now milliseconds since the epoch */
export function databaseDetails(
  snapshot: Snapshot,
  { latencyMs, sinceMs }: { latencyMs: number; sinceMs: number },
  now: number
): CheckDetails {
  const code = databaseCheck(snapshot)
  const known = snapshot.database !== 'unknown'
  return {
    name: 'database',
    status: code === 'ok' ? 'ok' : 'failed',
    code: code === 'ok' ? null : code,
    latency_ms: known ? latencyMs : null,
    age_ms: known ? snapshot.databaseAgeMs : null,
    since: known ? new Date(now - sinceMs).toISOString() : null
  }
}

export function mainLoopDetails({ heartbeatAgeMs, pressure }: Snapshot): CheckDetails {
  const late = pressure || heartbeatAgeMs > HEARTBEAT_LIMIT_MS
  return {
    name: 'main_loop',
    status: late ? 'degraded' : 'ok',
    code: late ? 'overloaded' : null,
    latency_ms: null,
    age_ms: heartbeatAgeMs,
    since: null
  }
}

/** The thread is known by its work: without it the database verdict ages. */
export function probeThreadDetails(snapshot: Snapshot): CheckDetails {
  const gone = databaseCheck(snapshot) === 'overloaded' && snapshot.databaseAgeMs > 5_000
  return {
    name: 'probe_thread',
    status: gone ? 'failed' : 'ok',
    code: gone ? 'overloaded' : null,
    latency_ms: null,
    age_ms: snapshot.database === 'unknown' ? null : snapshot.databaseAgeMs,
    since: null
  }
}

/**
 * How it stands with the exchanges that were called. They never gate readiness; one that has not answered yet is degraded.
 * @param now milliseconds since the epoch
 */
export function exchangeDetails(statuses: readonly ExchangeStatus[], now: number): CheckDetails[] {
  return statuses.map(({ exchange, circuit, lastSuccessAt, lastErrorAt, lastErrorCode, blockedForMs }) => {
    const failing = (lastErrorAt ?? 0) > (lastSuccessAt ?? 0)
    const silent = lastSuccessAt === null ? 'no_answer' : null
    const code =
      circuit !== 'closed' ? 'circuit_open' : blockedForMs > 0 ? 'rate_limited' : failing ? lastErrorCode : silent
    return {
      name: `exchange_${exchange.toLowerCase()}`,
      status: code === null ? 'ok' : 'degraded',
      code,
      latency_ms: null,
      age_ms: lastSuccessAt === null ? null : Math.max(0, now - lastSuccessAt),
      since: null
    }
  })
}

/**
 * How it stands with Telegram, by what the outbox holds, whichever replica sends it; the age is that of the oldest message
 * that waits. Not to be configured is no fault.
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

/** The clock's own sign of life, and the jobs that should have succeeded by now. */
export function schedulerDetails({ heartbeatAgeMs, wedged, overdue }: SchedulerHealth): CheckDetails {
  return {
    name: 'scheduler',
    status: wedged || overdue.length > 0 ? 'degraded' : 'ok',
    code: wedged ? 'wedged' : overdue.length > 0 ? 'overdue' : null,
    latency_ms: null,
    age_ms: heartbeatAgeMs,
    since: null
  }
}
