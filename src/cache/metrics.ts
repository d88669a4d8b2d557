import type { Reading } from '../metrics/metrics.ts'
import type { ClientCacheStats } from './client-cache.ts'
import type { PriceCacheStats } from './price-cache.ts'

/** Reports the state of the caches as metrics. */
export function reportCaches(reading: Reading, prices: PriceCacheStats, clients: ClientCacheStats): void {
  for (const { exchange, market_type, entries, hits, misses, oldest_age_seconds } of prices.exchanges) {
    const market = { exchange, market_type }
    reading.set('trading_health_cached_prices', market, entries)
    if (oldest_age_seconds !== null) reading.set('trading_health_cached_price_age_seconds', market, oldest_age_seconds)
    reading.set('trading_health_price_lookups_total', { ...market, outcome: 'hit' }, hits)
    reading.set('trading_health_price_lookups_total', { ...market, outcome: 'miss' }, misses)
  }
  reading.set('trading_health_frozen_prices', {}, prices.frozen)
  reading.set('trading_health_cached_clients', {}, clients.active_clients)
}
