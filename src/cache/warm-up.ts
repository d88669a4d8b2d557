// @FEAT:price-cache @COMP:service @TYPE:core
import { withDeadline } from '../async/deadline.ts'
import { SECOND } from '../async/durations.ts'
import type { Database } from '../database/database.ts'
import type { Log } from '../log/log.ts'
import { marketsInUse } from '../trading/markets-in-use.ts'
import type { PriceCache } from './price-cache.ts'

/**
 * Reads the prices of every market in use, for at most `seconds`. A market that cannot be read, or not in time, is logged;
 * the job that refreshes prices reads it later. Idempotent.
 * @throws {DatabaseUnavailableError}
 */
export async function warmUp({
  database,
  prices,
  log,
  seconds,
  closing
}: {
  database: Database
  prices: PriceCache
  log: Log
  seconds: number
  closing: AbortSignal
}): Promise<void> {
  const markets = await marketsInUse(database)
  if (markets.length === 0 || seconds === 0) return
  const warmed = await Promise.all(
    markets.map(async market => {
      try {
        return await withDeadline(() => prices.refresh(market), seconds * SECOND, { signal: closing })
      } catch (err) {
        const { exchange, marketType } = market
        log.warn({ err, exchange, market_type: marketType }, 'price cache not warmed up')
        return 0
      }
    })
  )
  log.info({ markets: markets.length, prices: warmed.reduce((sum, count) => sum + count, 0) }, 'price cache warmed up')
}
