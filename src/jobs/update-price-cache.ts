// @FEAT:price-cache @COMP:job @TYPE:core
import { unlessAborted } from '../async/abort.ts'
import type { PriceCache } from '../cache/price-cache.ts'
import type { Database } from '../database/database.ts'
import { type JobContext, JobError, type JobResult } from '../scheduler/job.ts'
import { marketsInUse } from '../trading/markets-in-use.ts'

/**
 * Refreshes this replica's prices of every market in use, concurrently, and once an hour the lists of their instruments. A market that cannot be read does not affect the
 * others.
 * @returns a function that throws `EXCHANGES_UNAVAILABLE` when there are markets and none could be read
 */
export function updatePriceCache({
  database,
  prices
}: {
  database: Database
  prices: PriceCache
}): (context: Pick<JobContext, 'signal' | 'log' | 'progress'>) => Promise<JobResult> {
  return async ({ signal, log, progress }) => {
    const markets = await marketsInUse(database)
    let done = 0
    const outcomes = await Promise.allSettled(
      markets.map(async market => {
        try {
          return await unlessAborted(prices.refresh(market), signal)
        } catch (err) {
          if (!signal.aborted)
            log.warn({ err, exchange: market.exchange, market_type: market.marketType }, 'prices not read')
          throw err
        } finally {
          progress(++done, markets.length)
        }
      })
    )
    signal.throwIfAborted()
    const failures = outcomes.filter(outcome => outcome.status === 'rejected')
    const [failure] = failures
    if (failure && failures.length === markets.length) {
      throw new JobError('EXCHANGES_UNAVAILABLE', { cause: failure.reason })
    }
    const updated = outcomes.reduce((sum, outcome) => sum + (outcome.status === 'fulfilled' ? outcome.value : 0), 0)
    const empty = outcomes.filter(outcome => outcome.status === 'fulfilled' && outcome.value === 0)
    return { markets: markets.length, failed: failures.length, without_prices: empty.length, updated }
  }
}
