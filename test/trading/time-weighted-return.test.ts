import { Big } from 'big.js'
import fc from 'fast-check'
import t from 'tap'
import { developmentOf, type EquityPoint } from '../../src/trading/time-weighted-return.ts'
import { fixture, recordedTest } from '../exchanges/fixtures.ts'

function point(equity: string, externalFlow: string | null = '0', overrides: Partial<EquityPoint> = {}): EquityPoint {
  return { currency: 'USDT', equity, unvalued: '', externalFlow, ...overrides }
}

const simple = (...equities: string[]) => equities.map(equity => point(equity))

t.test('without flows the return is the simple return, and the drawdown is from the highest value', async t => {
  t.strictSame(developmentOf(simple('1000', '1100', '880', '990')), {
    timeWeightedReturn: '-0.01',
    maxDrawdown: '-0.2',
    gaps: 0
  })
  t.strictSame(developmentOf(simple('100', '60')), { timeWeightedReturn: '-0.4', maxDrawdown: '-0.4', gaps: 0 })
  t.strictSame(developmentOf(simple('100', '150')), { timeWeightedReturn: '0.5', maxDrawdown: '0', gaps: 0 })
})

t.test('a deposit and a withdrawal are 0 %', async t => {
  const points = [point('1000'), point('500', '-500'), point('900', '400'), point('0', '-900')]
  t.strictSame(developmentOf(points), { timeWeightedReturn: '0', maxDrawdown: '0', gaps: 0 })
})

t.test('one point, or none, has neither return nor drawdown', async t => {
  const nothing = { timeWeightedReturn: null, maxDrawdown: null, gaps: 0 }
  t.strictSame(developmentOf([]), nothing)
  t.strictSame(developmentOf(simple('100')), nothing)
})

t.test('a period that cannot be used is a gap, and the others count', async t => {
  const growing = [point('100'), point('110')]
  const cases: [string, EquityPoint[]][] = [
    ['a flow that is not known', [...growing, point('50', null), point('55')]],
    ['a flow above the equity before', [...growing, point('260', '111'), point('286')]],
    ['another currency', [...growing, point('99', '0', { currency: 'KRW' }), point('108.9', '0', { currency: 'KRW' })]],
    [
      'a new asset without a price',
      [...growing, point('90', '0', { unvalued: 'X' }), point('99', '0', { unvalued: 'X' })]
    ]
  ]
  for (const [name, points] of cases) {
    const { timeWeightedReturn, maxDrawdown, gaps } = developmentOf(points)
    t.strictSame(
      { timeWeightedReturn, maxDrawdown, gaps },
      { timeWeightedReturn: '0.21', maxDrawdown: '0', gaps: 1 },
      name
    )
  }
})

t.test(
  'an account that was empty has no period before its first deposit, and no equity below zero is a base',
  async t => {
    t.strictSame(developmentOf([point('0'), point('0'), point('100', '100'), point('110')]), {
      timeWeightedReturn: '0.1',
      maxDrawdown: '0',
      gaps: 0
    })
    t.strictSame(developmentOf(simple('100', '-20', '30')), {
      timeWeightedReturn: '-1.2',
      maxDrawdown: '-1.2',
      gaps: 1
    })
    t.strictSame(developmentOf(simple('0', '10')), { timeWeightedReturn: null, maxDrawdown: null, gaps: 1 })
  }
)

/** Growth factors in per mille: from a loss of 90 % to a gain of 100 %. */
const factors = fc.array(fc.integer({ min: 100, max: 2_000 }), { minLength: 1, maxLength: 30 })
/** Flows in per mille of the equity before them: from a withdrawal of 90 % to a deposit of the same amount. */
const shares = fc.array(fc.integer({ min: -900, max: 1_000 }), { minLength: 30, maxLength: 30 })

/** The points of an equity that grows by factors, with a flow after each of them, computed with many digits. */
function pointsOf(growths: readonly number[], flows: readonly number[], begin = '1000'): EquityPoint[] {
  let equity = new Big(begin)
  const points = [point(begin)]
  for (const [index, growth] of growths.entries()) {
    const grown = equity.times(growth).div(1_000)
    const flow = grown.lt(equity)
      ? grown.times(flows[index] ?? 0).div(1_000)
      : equity.times(flows[index] ?? 0).div(1_000)
    equity = grown.plus(flow)
    points.push(point(equity.toFixed(), flow.toFixed()))
  }
  return points
}

/** A ratio to 12 decimals. */
const rounded = (ratio: string | null) => (ratio === null ? null : new Big(ratio).toFixed(12))

t.test('flows change neither return nor drawdown, which are those of the factors', async t => {
  fc.assert(
    fc.property(factors, shares, (growths, flows) => {
      const got = developmentOf(pointsOf(growths, flows))
      let [value, peak, fall] = [1, 1, 0]
      for (const growth of growths) {
        value *= growth / 1_000
        peak = Math.max(peak, value)
        fall = Math.min(fall, value / peak - 1)
      }
      const isClose = (ratio: string | null, expected: number) =>
        Math.abs(Number(ratio) - expected) <= 1e-9 * Math.max(1, Math.abs(expected))
      return got.gaps === 0 && isClose(got.timeWeightedReturn, value - 1) && isClose(got.maxDrawdown, fall)
    })
  )
  t.pass('for generated factors and flows')
})

t.test('a period that a flow splits has the return of both parts', async t => {
  fc.assert(
    fc.property(factors, fc.nat({ max: 29 }), fc.integer({ min: -900, max: 1_000 }), (growths, at, share) => {
      const split = growths.map((_, index) => (index === at ? share : 0))
      const whole = developmentOf(pointsOf(growths, []))
      const parts = developmentOf(pointsOf(growths, split))
      return rounded(whole.timeWeightedReturn) === rounded(parts.timeWeightedReturn)
    })
  )
  t.pass('for generated factors and flows')
})

t.test('amounts in another unit have the same return and drawdown', async t => {
  fc.assert(
    fc.property(factors, shares, fc.integer({ min: 1, max: 1_000_000 }), (growths, flows, scale) => {
      const own = developmentOf(pointsOf(growths, flows))
      const scaled = developmentOf(pointsOf(growths, flows, String(1000 * scale)))
      return (
        rounded(own.timeWeightedReturn) === rounded(scaled.timeWeightedReturn) &&
        rounded(own.maxDrawdown) === rounded(scaled.maxDrawdown)
      )
    })
  )
  t.pass('for generated factors, flows and scales')
})

for (const name of ['mixed', 'negative']) {
  recordedTest(`return and drawdown are those of empyrical: ${name} daily`, async t => {
    const { returns, expected } = fixture(`metrics/empyrical_${name}_daily.json`) as {
      returns: (number | null)[]
      expected: { max_drawdown: number; cum_return: number }
    }
    let equity = new Big(1)
    const points = [point('1')]
    for (const one of returns) {
      equity = equity.times(new Big(1).plus(one ?? 0))
      points.push(point(equity.toFixed()))
    }
    const { timeWeightedReturn, maxDrawdown } = developmentOf(points)
    t.equal(Number(maxDrawdown).toFixed(9), expected.max_drawdown.toFixed(9))
    t.equal(Number(timeWeightedReturn).toFixed(4), expected.cum_return.toFixed(4))
  })
}

recordedTest('return and drawdown of recorded closes are those of their own values', async t => {
  const { closes } = fixture('metrics/ffn_AAPL_real_daily_closes.json') as { closes: number[] }
  let [peak, fall] = [0, 0]
  for (const close of closes) {
    peak = Math.max(peak, close)
    fall = Math.min(fall, close / peak - 1)
  }
  const { timeWeightedReturn, maxDrawdown } = developmentOf(closes.map(close => point(new Big(close).toFixed())))
  t.equal(Number(maxDrawdown).toFixed(9), fall.toFixed(9))
  t.equal(Number(timeWeightedReturn).toFixed(9), ((closes.at(-1) ?? 0) / (closes[0] ?? 1) - 1).toFixed(9))
})
