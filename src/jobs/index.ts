// @FEAT:scheduler @COMP:job @TYPE:core
import type { PriceCache } from '../cache/price-cache.ts'
import type { Database } from '../database/database.ts'
import type { Job } from '../scheduler/job.ts'
import { every, MINUTE, SECOND } from '../scheduler/trigger.ts'
import { housekeeping } from './housekeeping.ts'
import { updatePriceCache } from './update-price-cache.ts'

/** What the jobs work with. */
export interface JobServices {
  database: Database
  prices: PriceCache
}

/** The schedule of the service. */
export function jobTable(services: JobServices): readonly Job[] {
  return [
    {
      id: 'update_price_cache',
      type: 'update_prices',
      name: 'Update Price Cache',
      trigger: every(31 * SECOND),
      scope: 'replica',
      misfire: { policy: 'skip' },
      maxRunMs: 25 * SECOND,
      run: updatePriceCache(services)
    },
    {
      id: 'housekeeping',
      type: 'housekeeping',
      name: 'Housekeeping',
      trigger: every(5 * MINUTE),
      scope: 'cluster',
      misfire: { policy: 'skip' },
      maxRunMs: 2 * MINUTE,
      run: housekeeping()
    }
  ]
}
