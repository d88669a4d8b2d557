import { Big } from 'big.js'
import t, { type Test } from 'tap'
import { performanceMetrics, winRate } from '../../src/trading/performance-metrics.ts'
import { fixture, recordedTest } from '../exchanges/fixtures.ts'
import { tradingDatabase } from '../support/trading.ts'

const database = await tradingDatabase(t)

const names = ['cumulative_return', 'max_drawdown', 'volatility', 'sharpe', 'sortino'] as const
type Metrics = Record<(typeof names)[number], string | null>
const nothing = Object.fromEntries(names.map(name => [name, null]))

interface SeriesOptions {
  /** Of each day; of the first one, where gains are invested again. Default 1. */
  capital?: string
  /** Whether the capital of a day includes the gains until then. Default false. */
  reinvested?: boolean
  periodsPerYear?: number
}

/** The metrics of a series after its last day. */
function metricsOf(
  pnl: readonly string[],
  { capital = '1', reinvested = false, periodsPerYear = 365 }: SeriesOptions = {}
): Promise<Partial<Metrics>> {
  return database.transaction(async tx => {
    const [last] = await tx<Metrics[]>`
      with daily as (
        select 1 as series, date '2026-01-01' + n::int as date, pnl::numeric, ${capital}::numeric
          + case when ${reinvested} then coalesce(sum(pnl::numeric) over (
            order by n rows between unbounded preceding and 1 preceding
          ), 0) else 0 end as capital
        from jsonb_array_elements_text(${tx.json([...pnl])}) with ordinality as p (pnl, n)
      )
      select cumulative_return, max_drawdown, volatility, sharpe, sortino
      from (${performanceMetrics(tx, { periodsPerYear })}) m order by date desc limit 1`
    return last ?? nothing
  })
}

/** The numbers of a list as text; a null is a day without a return, which the sources skip. */
const textsOf = (list: unknown) => (Array.isArray(list) ? list.filter(item => item !== null).map(String) : [])

/** Asserts that a metric equals that of its source, to the last digit of the source, within the error of a double. */
function agrees(t: Test, name: string, got: string | null | undefined, expected: unknown): unknown {
  if (expected === null || expected === 'inf') {
    return t.equal(got, null, `${name} is not defined: null`)
  }
  if (got === null || got === undefined) return t.fail(`${name} is null`)
  const wanted = new Big(String(expected))
  const error = new Big(got).minus(wanted).abs()
  const decimals = /\.(\d+)$/.exec(wanted.toFixed())?.[1]?.length ?? 0
  const allowed = wanted
    .abs()
    .times('4e-15')
    .plus(`5e-${decimals + 1}`)
  return t.ok(error.lte(allowed), `${name} ${got} is ${expected}`)
}

/** Metrics that a source defines differently, with its definition. */
const otherwise: Record<string, string> = {
  'downside_risk_mar_0.1': 'the minimum acceptable return is 0 here'
}

const tables = 'empty flat_daily mixed_daily negative_daily pair_one_daily positive_daily single_return weekly'
for (const name of tables.split(' ')) {
  recordedTest(`empyrical, ${name}: to the last digit of a double`, t => empyrical(t, `empyrical_${name}`))
}

function quotient({ sharpe, volatility, sortino }: Partial<Metrics>): string | null {
  if (!sharpe || !volatility || !sortino) return null
  return new Big(sharpe).times(volatility).div(sortino).toFixed()
}

async function empyrical(t: Test, name: string): Promise<void> {
  const { returns, periods_per_year, expected } = fixture(`metrics/${name}.json`)
  const simple = await metricsOf(textsOf(returns), { periodsPerYear: Number(periods_per_year) })
  const ours: Record<string, string | null | undefined> = {
    sharpe: simple.sharpe,
    sortino: simple.sortino,
    // The denominator of sortino, which is not stored.
    downside_risk: quotient(simple),
    annual_volatility: simple.volatility,
    max_drawdown: simple.max_drawdown,
    cum_return: simple.cumulative_return
  }
  for (const [metric, value] of Object.entries(expected ?? {})) {
    const reason = metric === 'downside_risk' && !ours[metric] ? 'sortino has no value here' : otherwise[metric]
    if (reason === undefined) agrees(t, metric, ours[metric], value)
    else t.comment(`${name}, ${metric}: ${reason}`)
  }
}

recordedTest('ffn: real closes', async t => {
  const { closes } = fixture('metrics/ffn_AAPL_real_daily_closes.json')
  const [first = '', ...rest] = textsOf(closes)
  let before = new Big(first)
  const gains = rest.map(close => {
    const gain = new Big(close).minus(before)
    before = new Big(close)
    return gain.toFixed()
  })
  const ten = await metricsOf(gains.slice(0, 9), { capital: first, reinvested: true })
  const eleven = await metricsOf(gains, { capital: first, reinvested: true })
  t.equal(new Big(ten.max_drawdown ?? 'NaN').toFixed(3), '-0.086')
  t.equal(new Big(eleven.cumulative_return ?? 'NaN').toFixed(3), '-0.079')
})

recordedTest('ffn: sortino does not depend on the order of returns', async t => {
  const { cases } = fixture('metrics/ffn_sortino_order.json')
  if (!Array.isArray(cases)) throw new Error('no cases')
  t.equal(cases.length, 2)
  for (const { returns, expected } of cases) {
    const { sortino } = await metricsOf(textsOf(returns), { periodsPerYear: 1 })
    agrees(t, 'sortino', sortino, expected.sortino_not_annualised)
  }
})

recordedTest('freqtrade: 28 days of profits', async t => {
  const { daily_profit_abs, starting_balance, expected } = fixture(
    'metrics/freqtrade_drawdown_28_daily_profits.json'
  ) as { daily_profit_abs: number[]; starting_balance: number; expected: Record<string, number> }
  const got = await metricsOf(textsOf(daily_profit_abs), {
    capital: String(starting_balance),
    reinvested: true
  })
  t.comment('freqtrade, max_drawdown_abs: an amount of money; drawdowns are relative to the peak here')
  // The source truncates further digits.
  t.equal(new Big(got.max_drawdown ?? 'NaN').toFixed(8, Big.roundDown), `-${expected.relative_drawdown_at_abs_max}`)
})

recordedTest('freqtrade: the win rate of eight trades', async t => {
  const { closed_trade_profit, expected } = fixture('metrics/freqtrade_expectancy_8_trades.json') as {
    closed_trade_profit: number[]
    expected: Record<string, number>
  }
  const [row] = await database.transaction(
    tx => tx<{ rate: string }[]>`
      select ${winRate(tx, tx`count(*) filter (where profit::numeric > 0)`, tx`count(*)`)} as rate
      from jsonb_array_elements_text(${tx.json(closed_trade_profit)}) profit`
  )
  t.equal(row?.rate, String(expected.win_rate))
  t.comment('freqtrade, expectancy: not a metric of this service')
})

t.test('without capital there is no ratio', async t => {
  t.strictSame({ ...(await metricsOf(['1', '-2', '3'], { capital: '0' })) }, nothing)
})

t.test('the starting capital is the first peak', async t => {
  const { max_drawdown } = await metricsOf(['-250', '100'], { capital: '1000' })
  t.equal(max_drawdown, '-0.25')
})

t.test('gains that are too small for a double have the same ratios', async t => {
  const tiny = (pnl: string) => new Big(pnl).times('1e-12').toFixed()
  const coarse = await metricsOf(['0.3', '-0.1', '0.2'])
  const fine = await metricsOf(['0.3', '-0.1', '0.2'].map(tiny), { capital: tiny('1') })
  for (const name of names) {
    t.equal(new Big(fine[name] ?? 'NaN').toFixed(13), new Big(coarse[name] ?? 'NaN').toFixed(13), name)
  }
})
