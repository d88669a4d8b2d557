import type { Reading } from '../metrics/metrics.ts'
import type { CheckDetails } from './details.ts'
import type { ProbeSeries } from './probe-tally.ts'
import type { Snapshot } from './state.ts'
import { notReady } from './verdict.ts'

const STATES: readonly CheckDetails['status'][] = ['ok', 'degraded', 'failed']

export interface HealthMetrics {
  snapshot: Snapshot
  checks: readonly CheckDetails[]
  probes: readonly ProbeSeries[]
  /** Of the probe thread. */
  restarts: number
}

/** Reports the health of this replica as metrics. */
export function reportHealth(reading: Reading, { snapshot, checks, probes, restarts }: HealthMetrics): void {
  reading.set('trading_health_started', {}, Number(snapshot.started))
  reading.set('trading_health_ready', {}, Number(notReady(snapshot) === undefined))
  reading.set('trading_health_draining', {}, Number(snapshot.draining))
  reading.set('trading_health_probe_thread_restarts_total', {}, restarts)
  for (const { name: check, status, latency_ms, age_ms } of checks) {
    for (const state of STATES) reading.set('trading_health_check_state', { check, state }, Number(status === state))
    if (latency_ms !== null) reading.set('trading_health_check_latency_seconds', { check }, latency_ms / 1_000)
    if (age_ms !== null) reading.set('trading_health_check_age_seconds', { check }, age_ms / 1_000)
  }
  for (const { port, route, code, ...distribution } of probes) {
    reading.distribute('trading_health_probe_duration_seconds', { port, route, code: String(code) }, distribution)
  }
}
