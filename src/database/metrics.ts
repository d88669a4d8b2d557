import type { Reading } from '../metrics/metrics.ts'
import type { PoolUsage } from './database.ts'

/** Adds the metrics of the main pool. */
export function reportPool(reading: Reading, { max, connections, inFlight, calls, replacements }: PoolUsage): void {
  reading.set('trading_health_database_pool_max', {}, max)
  reading.set('trading_health_database_pool_connections', {}, connections)
  reading.set('trading_health_database_calls_in_flight', {}, inFlight)
  reading.set('trading_health_database_pool_replacements_total', {}, replacements)
  for (const [outcome, count] of Object.entries(calls)) {
    reading.set('trading_health_database_calls_total', { outcome }, count)
  }
}
