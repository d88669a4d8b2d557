// @FEAT:trading @COMP:job @TYPE:core
import type { PriceSource } from '../cache/price-source.ts'
import type { Database } from '../database/database.ts'
import type { MinutePrice } from '../exchanges/minute-prices.ts'
import type { JobContext, JobResult } from '../scheduler/job.ts'
import { valueFees } from '../trading/fee-values.ts'
import { assignFunding } from '../trading/funding-shares.ts'
import { heldMarkets, type Mark, markPositions, openPositions } from '../trading/unrealized-pnl.ts'

/** Bounds the duration of a transaction and of its locks. */
const POSITIONS_PER_TRANSACTION = 10_000

/**
 * Values every open position: one on spot at the last price, a perpetual at the mark price of its exchange. Missing prices
 * are read once per market. A position without a price keeps its mark and is counted; a last price never replaces a mark
 * price. Fees without a value are valued at the price of their minute, and funding is assigned to the positions that were held at its time. Idempotent.
 */
export function calculateUnrealizedPnl({
  prices,
  database,
  minutePrice
}: {
  prices: PriceSource
  database: Database
  /** Values fees that had no price. Default: none is valued. */
  minutePrice?: MinutePrice
}): (context: JobContext) => Promise<JobResult> {
  return async ({ signal, transaction, progress, log }) => {
    const funding = await assignFunding(transaction, signal)
    const fees = minutePrice ? await valueFees(database, transaction, minutePrice, signal) : { valued: 0, unvalued: 0 }
    const markets = await heldMarkets(database)
    const marks = await Promise.all(
      markets.map(async ({ exchange, marketType, symbols }) => {
        const current =
          marketType === 'FUTURES'
            ? await prices.currentMarks(exchange, symbols, signal)
            : await prices.current(exchange, marketType, symbols, signal)
        if (current.size < symbols.length) {
          log.debug({ exchange, market_type: marketType, missing: symbols.length - current.size }, 'prices missing')
        }
        return [...current].map(
          ([symbol, { price, at }]): Mark => ({ exchange, market_type: marketType, symbol, price, at })
        )
      })
    )
    const all = marks.flat()
    const result = {
      checked: 0,
      changed: 0,
      skipped: 0,
      without_price: 0,
      funding_assigned: funding,
      fees_valued: fees.valued,
      fees_unvalued: fees.unvalued
    }
    const { total, ranges } = await openPositions(database, POSITIONS_PER_TRANSACTION)
    for (const range of ranges) {
      signal.throwIfAborted()
      const marked = await transaction(tx => markPositions(tx, all, range))
      result.checked += marked.checked
      result.changed += marked.changed
      result.without_price += marked.without_price
      // The rest has a newer mark.
      result.skipped += marked.checked - marked.changed - marked.without_price
      progress(Math.min(result.checked, total), total)
    }
    return result
  }
}
