import type { CheckDetails } from '../domain/check-details.ts'
import type { Reading } from '../metrics/metrics.ts'
import type { ProbeSeries } from './probe-durations.ts'
import type { Snapshot } from './shared-state.ts'
import { notReady } from './verdict.ts'

const STATES: readonly CheckDetails['status'][] = ['ok', 'degraded', 'failed']

export interface HealthReport {
  snapshot: Snapshot
  checks: readonly CheckDetails[]
  probes: readonly ProbeSeries[]
  /** How often the probe thread was started again. */
  probeThreadRestarts: number
}

/** Adds the metrics of the replica's health, its checks and its probes. */
export function reportHealth(reading: Reading, { snapshot, checks, probes, probeThreadRestarts }: HealthReport): void {
  reading.set('trading_health_started', {}, Number(snapshot.started))
  reading.set('trading_health_ready', {}, Number(notReady(snapshot) === undefined))
  reading.set('trading_health_draining', {}, Number(snapshot.draining))
  reading.set('trading_health_probe_thread_restarts_total', {}, probeThreadRestarts)
  for (const { name: check, status, latency_ms, age_ms } of checks) {
    for (const state of STATES) reading.set('trading_health_check_state', { check, state }, Number(status === state))
    if (latency_ms !== null) reading.set('trading_health_check_latency_seconds', { check }, latency_ms / 1_000)
    if (age_ms !== null) reading.set('trading_health_check_age_seconds', { check }, age_ms / 1_000)
  }
  for (const { port, route, code, ...distribution } of probes) {
    reading.distribute('trading_health_probe_duration_seconds', { port, route, code: String(code) }, distribution)
  }
}
