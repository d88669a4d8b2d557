// @FEAT:trading @COMP:service @TYPE:core
import type { PendingQuery, Row } from 'postgres'
import type { TransactionSql } from '../database/client.ts'

/** Returns in a year: crypto is traded every day. */
const PERIODS_PER_YEAR = 365

/** Decimal places of ratios as they are kept. */
const RATIO_DECIMALS = 20
/** Decimal places on the way: quotients and roots of numeric have 16 significant digits unless an operand has more. */
const WORKING_DECIMALS = 40

type Fragment = PendingQuery<Row[]>

/**
 * The formulas of a strategy's performance, as a query over the relation `daily (series, date, pnl, capital)`: one row
 * per series and date, each over the series' history up to that date. The capital is that of the day.
 *
 * - `cumulative_pnl`: Σ pnl
 * - `daily_return`: r = pnl / capital
 * - `cumulative_return`: Π(1 + r) − 1
 * - `max_drawdown`: min(index / peak − 1) with index = Π(1 + r); 1 is the first peak
 * - `volatility`: std(r, ddof 1) · √N
 * - `sharpe`: mean(r) / std(r, ddof 1) · √N, risk-free rate 0
 * - `sortino`: mean(r) / √(mean(min(r, 0)²) over all periods) · √N, minimum acceptable return 0
 *
 * What is not defined is null: all ratios of a day without capital, the last three with fewer than two returns, sharpe
 * without deviation, sortino without a loss. A day without capital has no return, and is left out of those of later days.
 * Returns are rounded at `WORKING_DECIMALS`, their sums and those of their squares are exact: a deviation of zero is zero, and
 * one of very small returns has enough digits.
 *
 * Sources: Sharpe, "The Sharpe Ratio" (1994); Sortino and Price, "Performance Measurement in a Downside Risk Framework"
 * (1994).
 * @param options.periodsPerYear N, `PERIODS_PER_YEAR` unless given
 */
export function performanceMetrics(
  tx: TransactionSql,
  { periodsPerYear = PERIODS_PER_YEAR }: { periodsPerYear?: number } = {}
): Fragment {
  const fine = (value: Fragment) => tx`round(${value}, ${WORKING_DECIMALS}::int)`
  const annual = tx`sqrt(${fine(tx`${periodsPerYear}::numeric`)})`
  return tx`
    select series, date, total as cumulative_pnl,
      ${ratio(tx, tx`r`)} as daily_return,
      case when r is not null then ${ratio(tx, tx`index - 1`)} end as cumulative_return,
      case when r is not null then ${ratio(tx, tx`drawdown`)} end as max_drawdown,
      case when r is not null then ${ratio(tx, tx`deviation * ${annual}`)} end as volatility,
      case when r is not null then ${ratio(tx, tx`mean / nullif(deviation, 0) * ${annual}`)} end as sharpe,
      case when r is not null then ${ratio(tx, tx`mean / nullif(downside_deviation, 0) * ${annual}`)} end as sortino
    from (
      select peaked.*, min(${fine(tx`index`)} / peak - 1) over history as drawdown
      from (
        select summed.*, greatest(1, max(index) over history) as peak
        from (
          select series, date, r, count(r) over history as n, sum(pnl) over history as total,
            sum(r) over history as returns, sum(r * r) over history as squares,
            sum(least(r, 0) * least(r, 0)) over history as squared_losses, compounded(r) over history as index
          from (
            select series, date, pnl, ${fine(tx`${fine(tx`pnl`)} / nullif(capital, 0)`)} as r from daily
          ) returned
          window history as (partition by series order by date)
        ) summed
        window history as (partition by series order by date)
      ) peaked
      window history as (partition by series order by date)
    ) measured
    cross join lateral (
      select
        case when n > 1 then ${fine(tx`returns`)} / n end as mean,
        case when n > 1 then sqrt((n * squares - returns * returns) / (n * (n - 1))) end as deviation,
        case when n > 1 then sqrt(squared_losses / n) end as downside_deviation
    ) moments`
}

/** Won round trips of all round trips; null without one. */
export function winRate(tx: TransactionSql, wins: Fragment, trades: Fragment): Fragment {
  return ratio(tx, tx`round(${wins}, ${WORKING_DECIMALS}::int) / nullif(${trades}, 0)`)
}

/** A quotient as it is kept. */
function ratio(tx: TransactionSql, value: Fragment): Fragment {
  return tx`trim_scale(round(${value}, ${RATIO_DECIMALS}::int))`
}
