// @FEAT:trading @COMP:service @TYPE:core
import { type Decimal, Exact } from '../domain/decimal.ts'

/** A row of the equity of one account. */
export interface EquityPoint {
  currency: string
  /** Without what has no price. */
  equity: Decimal
  /** What has no price, as text that is equal for equal amounts; empty when everything has one. */
  unvalued: string
  /** What came from outside since the point before, negative when it left; null when it is not known. */
  externalFlow: Decimal | null
}

/** How an equity developed, net of external flows. */
export interface Development {
  /** Π (equityᵢ − flowᵢ) / equityᵢ₋₁ − 1, over the periods that can be used; null without one. */
  timeWeightedReturn: Decimal | null
  /** The lowest value / highest value before it − 1, of the growth of one unit; null without a period. */
  maxDrawdown: Decimal | null
  /** Periods between two points that cannot be used. */
  gaps: number
}

/** Decimal places of the results, and of the growth on the way. */
const RATIO_DECIMALS = 20
const WORKING_DECIMALS = 40

/**
 * The time-weighted return and the deepest fall of an equity. Between two points the equity grows by
 * (equity − flow) / (equity before): a flow counts as at the end of its period, so that a deposit, a withdrawal and a
 * purchase at the price of the valuation are 0 %. Periods are linked by multiplication. The first point is the first peak.
 *
 * A period is not used when its flow is not known or larger than the equity before (its time within the period matters too
 * much), when the currency changed, when what has no price changed, or when the equity before is not positive. It is
 * counted, unless the account was empty and received nothing but the flow. Quotients have 20 decimal places.
 *
 * Source: CFA Institute, Global Investment Performance Standards, time-weighted return.
 *
 * @param points in the order of time
 */
export function developmentOf(points: readonly EquityPoint[]): Development {
  let [growth, peak, lowest] = [new Exact(1), new Exact(1), new Exact(0)]
  let [used, gaps] = [0, 0]
  for (const [index, point] of points.entries()) {
    const before = points[index - 1]
    if (before === undefined || isEmpty(before, point)) continue
    const factor = factorOf(before, point)
    if (factor === null) {
      gaps++
      continue
    }
    used++
    growth = growth.times(factor).round(WORKING_DECIMALS, Exact.roundHalfEven)
    if (growth.gt(peak)) peak = growth
    else if (peak.gt(0)) {
      const fall = growth.div(peak).minus(1)
      if (fall.lt(lowest)) lowest = fall
    }
  }
  if (used === 0) return { timeWeightedReturn: null, maxDrawdown: null, gaps }
  const timeWeightedReturn = growth.minus(1).round(RATIO_DECIMALS, Exact.roundHalfEven).toFixed()
  return { timeWeightedReturn, maxDrawdown: lowest.toFixed(), gaps }
}

/** Whether there was nothing at the begin of the period, and only the flow at its end. */
function isEmpty(before: EquityPoint, { equity, externalFlow, unvalued }: EquityPoint): boolean {
  const hadNothing = new Exact(before.equity).eq(0) && before.unvalued === ''
  return hadNothing && unvalued === '' && externalFlow !== null && new Exact(equity).eq(externalFlow)
}

function factorOf(before: EquityPoint, { currency, equity, unvalued, externalFlow }: EquityPoint) {
  if (before.currency !== currency || before.unvalued !== unvalued || externalFlow === null) return null
  const base = new Exact(before.equity)
  if (base.lte(0) || new Exact(externalFlow).gt(base)) return null
  const end = new Exact(equity).minus(externalFlow)
  return end.eq(base) ? new Exact(1) : end.div(base)
}
