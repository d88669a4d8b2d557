// @FEAT:exchanges @COMP:service @TYPE:helper
import { DAY, MINUTE } from '../../async/durations.ts'
import { Exact } from '../../domain/decimal.ts'
import type { Fill } from '../../domain/fill.ts'
import type { Millis } from '../../domain/millis.ts'
import type { FillsRef, OrderRef } from '../../domain/order.ts'

/** The clock of the exchange may be ahead of what is known of it. */
const CLOCK_MARGIN_MS = MINUTE

/** A span of time, both ends included. */
export interface TimeWindow {
  startTime: Millis
  endTime: Millis
}

/** How an exchange bounds a list by time. */
export interface WindowRules {
  /** Longest time between the ends of a window. */
  lengthMs: Millis
  /** How far back the list reaches. It bounds the number of windows, whatever the age of an order. */
  retentionMs: Millis
}

/** Lists of Bybit: windows of 7 days, 730 days back. Source: bybit-exchange.github.io/docs/v5/order/execution */
export const BYBIT_WINDOWS: WindowRules = { lengthMs: 7 * DAY, retentionMs: 730 * DAY }

/**
 * Fills of Binance futures: windows of 7 days, the last 6 months. Source:
 * developers.binance.com/docs/derivatives/usds-margined-futures/trade/rest-api/Account-Trade-List
 */
export const BINANCE_FUTURES_WINDOWS: WindowRules = { lengthMs: 7 * DAY, retentionMs: 183 * DAY }

/**
 * The windows from a time until now, the newest first; without a time, or with one in the future, only the newest.
 *
 * @param now of the exchange
 */
export function windowsSince(since: Millis | undefined, now: Millis, rules: WindowRules): TimeWindow[] {
  const end = now + CLOCK_MARGIN_MS
  const begin = Math.max(since !== undefined && since <= now ? since : end - rules.lengthMs, now - rules.retentionMs)
  const windows: TimeWindow[] = []
  for (let endTime = end; endTime >= begin; ) {
    const startTime = Math.max(begin, endTime - rules.lengthMs)
    windows.push({ startTime, endTime })
    endTime = startTime - 1
  }
  return windows
}

/** The windows of a time span that ends before `until`, the oldest first. */
export function windowsBetween({ from, until }: { from: Millis; until: Millis }, lengthMs: Millis): TimeWindow[] {
  const windows: TimeWindow[] = []
  for (let startTime = from; startTime < until; startTime += lengthMs) {
    windows.push({ startTime, endTime: Math.min(startTime + lengthMs, until) - 1 })
  }
  return windows
}

/** The fills of a time span that ends before `until`, each once, oldest first. */
export function fillsBetween(fills: readonly Fill[], { from, until }: { from: Millis; until: Millis }): Fill[] {
  const inside = fills.filter(({ executedAt }) => executedAt >= from && executedAt < until)
  const idOf = ({ exchangeSymbol, exchangeOrderId, exchangeTradeId }: Fill) =>
    `${exchangeSymbol} ${exchangeOrderId} ${exchangeTradeId}`
  return [...new Map(inside.map(fill => [idOf(fill), fill])).values()].sort((a, b) => a.executedAt - b.executedAt)
}

/** The time since which the fills of an order are read; undefined when it is not known. */
export function fillsSince({ since, createdAt }: FillsRef): Millis | undefined {
  return since ?? createdAt
}

/** Whether fills add up to the filled quantity of their order. False when that is not known. */
export function addUp(fills: readonly Fill[], ref: FillsRef): boolean {
  const { filledQuantity } = ref
  if (filledQuantity === undefined) return false
  return unitedFills(fills, ref)
    .reduce((sum, { quantity }) => sum.plus(quantity), new Exact(0))
    .gte(filledQuantity)
}

/**
 * Fills of several lists or windows, each once, oldest first, under the id of the order that was asked for.
 *
 * @param fills of one millisecond in the order in which they were executed
 */
export function unitedFills(fills: readonly Fill[], { exchangeOrderId }: OrderRef): Fill[] {
  const byTrade = new Map(fills.map(fill => [`${fill.exchangeOrderId} ${fill.exchangeTradeId}`, fill]))
  return [...byTrade.values()].sort((a, b) => a.executedAt - b.executedAt).map(fill => ({ ...fill, exchangeOrderId }))
}
