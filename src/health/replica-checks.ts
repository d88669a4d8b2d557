// @FEAT:health-monitoring @COMP:service @TYPE:core
import type { CheckDetails } from '../domain/check-details.ts'
import type { Snapshot } from './shared-state.ts'
import { databaseCheck, HEARTBEAT_LIMIT_MS } from './verdict.ts'

/** The age of a database verdict from which the probe thread counts as failed, in milliseconds. */
const PROBE_THREAD_LIMIT_MS = 5_000

/**
 * The verdict on the database that the probes are answered from.
 * @param timing of the last check, in milliseconds
 * @param nowMs milliseconds since the epoch
 */
export function databaseDetails(
  snapshot: Snapshot,
  { latencyMs, sinceMs, failingSinceMs }: { latencyMs: number; sinceMs: number; failingSinceMs: number },
  nowMs: number
): CheckDetails {
  const code = databaseCheck(snapshot)
  const known = snapshot.database !== 'unknown'
  const ofStatements = code === 'database_failing' && snapshot.database === 'ok'
  return {
    name: 'database',
    status: code === 'ok' ? 'ok' : 'failed',
    code: code === 'ok' ? null : code,
    latency_ms: known ? latencyMs : null,
    age_ms: known ? snapshot.databaseAgeMs : null,
    since: known ? new Date(nowMs - (ofStatements ? failingSinceMs : sinceMs)).toISOString() : null
  }
}

/**
 * The event loop of the main thread; the age is that of its heartbeat.
 * @param delayMs of the event loop; null without a sample
 */
export function mainLoopDetails({ heartbeatAgeMs, pressure }: Snapshot, delayMs: number | null): CheckDetails {
  const overloaded = pressure || heartbeatAgeMs > HEARTBEAT_LIMIT_MS
  return {
    name: 'main_loop',
    status: overloaded ? 'degraded' : 'ok',
    code: overloaded ? 'overloaded' : null,
    latency_ms: delayMs,
    age_ms: heartbeatAgeMs,
    since: null
  }
}

/**
 * The probe thread, by the age of its verdict on the database.
 * @param latencyMs of its last check of the database, in milliseconds
 */
export function probeThreadDetails(snapshot: Snapshot, latencyMs: number): CheckDetails {
  const failed = databaseCheck(snapshot) === 'overloaded' && snapshot.databaseAgeMs > PROBE_THREAD_LIMIT_MS
  return {
    name: 'probe_thread',
    status: failed ? 'failed' : 'ok',
    code: failed ? 'overloaded' : null,
    latency_ms: snapshot.database === 'unknown' ? null : latencyMs,
    age_ms: snapshot.database === 'unknown' ? null : snapshot.databaseAgeMs,
    since: null
  }
}
