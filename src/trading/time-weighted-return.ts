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

/** Decimal places of the results. */
const RATIO_DECIMALS = 20
/** Decimal places of amounts and of the growth: whole numbers of this unit are much faster than decimals with digits. */
const SCALE = 40
const ONE = 10n ** BigInt(SCALE)

/**
 * The time-weighted return and the deepest fall of an equity. Between two points the equity grows by
 * (equity − flow) / (equity before): a flow counts as at the end of its period, so that a deposit, a withdrawal and a
 * purchase at the price of the valuation are 0 %. Periods are linked by multiplication. The first point is the first peak.
 *
 * A period is not used when its flow is not known or larger than the equity before (its time within the period matters too
 * much), when the currency changed, when what has no price changed, or when the equity before is not positive. It is
 * counted, unless the account was empty and received nothing but the flow. The growth has 40 decimal places, the results
 * have 20, rounded half to even.
 *
 * Source: CFA Institute, Global Investment Performance Standards, time-weighted return.
 *
 * @param points in the order of time
 */
export function developmentOf(points: readonly EquityPoint[]): Development {
  let [growth, peak, lowest] = [ONE, ONE, ONE]
  let [used, gaps] = [0, 0]
  let before: Scaled | undefined
  for (const point of points) {
    const current = scaled(point)
    const previous = before
    before = current
    if (previous === undefined || isEmpty(previous, current)) continue
    if (!isUsable(previous, current)) {
      gaps++
      continue
    }
    used++
    growth = quotient(growth * (current.equity - (current.flow ?? 0n)), previous.equity)
    if (growth > peak) peak = growth
    else if (growth * ONE < lowest * peak) lowest = quotient(growth * ONE, peak)
  }
  if (used === 0) return { timeWeightedReturn: null, maxDrawdown: null, gaps }
  return { timeWeightedReturn: ratioText(growth - ONE), maxDrawdown: ratioText(lowest - ONE), gaps }
}

/** A point with its amounts as whole numbers of the unit. */
interface Scaled {
  point: EquityPoint
  equity: bigint
  flow: bigint | null
}

function scaled(point: EquityPoint): Scaled {
  const { equity, externalFlow } = point
  return { point, equity: units(equity), flow: externalFlow === null ? null : units(externalFlow) }
}

/** Whether there was nothing at the begin of the period, and only the flow at its end. */
function isEmpty(before: Scaled, { point, equity, flow }: Scaled): boolean {
  return before.equity === 0n && before.point.unvalued === '' && point.unvalued === '' && equity === flow
}

function isUsable(before: Scaled, { point, flow }: Scaled): boolean {
  const isSame = before.point.currency === point.currency && before.point.unvalued === point.unvalued
  return isSame && flow !== null && before.equity > 0n && flow <= before.equity
}

/** The amount in units; digits beyond them are cut off. */
function units(amount: Decimal): bigint {
  const [whole = '', fraction = ''] = amount.split('.')
  return BigInt(`${whole}${fraction.slice(0, SCALE).padEnd(SCALE, '0')}`)
}

/** Rounded half to even. @param divisor above zero */
function quotient(dividend: bigint, divisor: bigint): bigint {
  const whole = dividend / divisor
  const rest = dividend % divisor
  const twice = 2n * (rest < 0n ? -rest : rest)
  const isUp = twice > divisor || (twice === divisor && whole % 2n !== 0n)
  return isUp ? whole + (dividend < 0n ? -1n : 1n) : whole
}

/** A ratio in units as decimal text. */
function ratioText(ratio: bigint): Decimal {
  const rounded = quotient(ratio, 10n ** BigInt(SCALE - RATIO_DECIMALS))
  const digits = (rounded < 0n ? -rounded : rounded).toString().padStart(RATIO_DECIMALS + 1, '0')
  const text = `${digits.slice(0, -RATIO_DECIMALS)}.${digits.slice(-RATIO_DECIMALS)}`
  return new Exact(rounded < 0n ? `-${text}` : text).toFixed()
}
