// @FEAT:trading @COMP:job @TYPE:core
import type { PriceSource } from '../cache/price-source.ts'
import type { Database } from '../database/database.ts'
import type { JobContext, JobResult } from '../scheduler/job.ts'
import { FIRST_POSITION, heldMarkets, type Mark, markPositions } from '../trading/unrealized-pnl.ts'

/** Positions per transaction, which bounds its time and how long its rows are locked. */
const POSITIONS_PER_TRANSACTION = 10_000

/**
 * Values every open position at the current price of its market; prices that are not known are read once per market.
 * A position without a price keeps its mark and is counted. Idempotent.
 */
export function calculateUnrealizedPnl({
  prices,
  database
}: {
  prices: PriceSource
  database: Database
}): (context: JobContext) => Promise<JobResult> {
  return async ({ signal, transaction, progress, log }) => {
    const { markets, positions } = await heldMarkets(database)
    const marks = await Promise.all(
      markets.map(async ({ exchange, marketType, symbols }) => {
        const current = await prices.current(exchange, marketType, symbols, signal)
        if (current.size < symbols.length) {
          log.debug({ exchange, market_type: marketType, missing: symbols.length - current.size }, 'prices missing')
        }
        return [...current].map(
          ([symbol, { price, readAt }]): Mark => ({ exchange, market_type: marketType, symbol, price, at: readAt })
        )
      })
    )
    const all = marks.flat()
    const result = { checked: 0, changed: 0, skipped: 0, without_price: 0 }
    for (let after = FIRST_POSITION; ; ) {
      signal.throwIfAborted()
      const batch = await transaction(tx => markPositions(tx, all, after, POSITIONS_PER_TRANSACTION))
      result.checked += batch.checked
      result.changed += batch.changed
      result.without_price += batch.without_price
      // What has a newer mark already.
      result.skipped += batch.checked - batch.changed - batch.without_price
      progress(result.checked, Math.max(positions, result.checked))
      if (batch.last === null || batch.checked < POSITIONS_PER_TRANSACTION) return result
      after = batch.last
    }
  }
}
