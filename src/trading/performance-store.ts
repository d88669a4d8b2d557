// @FEAT:trading @COMP:service @TYPE:core
import { accountsWithoutCredentials } from '../accounts/account-table.ts'
import type { TransactionSql } from '../database/client.ts'
import { performanceMetrics, winRate } from './performance-metrics.ts'
import { changedExecutions } from './replaced-executions.ts'
import { roundTripResult } from './round-trips.ts'
import { isUntraded } from './untraded-executions.ts'

/**
 * `recorded_at` of a row is the start of its transaction, and other transactions see the row only after its commit. A
 * commit follows within this time, because transactions of jobs end within `TRANSACTION_DEADLINE_MS`. A computation may
 * therefore have missed rows that were recorded less than this before it.
 */
const UNSEEN_SECONDS = 15

/** The performance of one strategy in one currency. Testnets have separate series. */
export interface Series {
  strategyId: string
  currency: string
  isTestnet: boolean
  /** The day of the first execution, `YYYY-MM-DD`. */
  since: string
  /** The days to compute, both included. */
  from: string
  to: string
}

export interface PerformancePlan {
  /** The last day that is over. */
  yesterday: string
  /**
   * Executions recorded later than this may not be in any amount yet: for `recordedUntil`, once the plan is carried
   * out.
   */
  asOf: string
  /** The series with days to compute, the earliest first. */
  series: Series[]
}

export interface PlanOptions {
  /** IANA name: a day is a day of this zone. */
  timeZone: string
  /** The time for which the run is made. */
  at: Date
  /** The day that is asked for: it is computed again, and nothing beyond it for the first time. */
  date?: string | undefined
}

/** Counts of what was computed. */
export interface Computed {
  days: number
  executions: number
  /** Round trips that ended. */
  trades: number
  executions_apart: number
  fees_unknown: number
}

/**
 * Finds the days to compute of each series. The first is the earliest of: the day after the last computed one, or else
 * the day of the first execution; the day of the earliest execution that was recorded since; `date`. All later days
 * follow, because their cumulative values depend on it.
 */
export async function planPerformance(
  tx: TransactionSql,
  { timeZone, at, date }: PlanOptions
): Promise<PerformancePlan> {
  const [days] = await tx<{ yesterday: string; as_of: string }[]>`
    select ((${at}::timestamptz at time zone ${timeZone})::date - 1)::text as yesterday, now()::text as as_of`
  if (!days) throw new Error('a select without a row')
  const { yesterday, as_of: asOf } = days
  const series = await tx<Series[]>`
    with traded as (
      select sa.strategy_id, sa.capital_currency as currency, a.is_testnet,
        (min(earliest.executed_at) at time zone ${timeZone})::date as first_day
      from strategy_accounts sa
      join ${accountsWithoutCredentials(tx)} a on a.account_id = sa.account_id
      cross join lateral (
        select min(executed_at) as executed_at from trade_executions e
        where e.strategy_account_id = sa.strategy_account_id
      ) earliest
      group by sa.strategy_id, sa.capital_currency, a.is_testnet
      having min(earliest.executed_at) is not null
    ), computed as (
      select strategy_id, currency, is_testnet, max(date) as last_day
      from strategy_performance group by strategy_id, currency, is_testnet
    ), late as (
      select sa.strategy_id, sa.capital_currency as currency, a.is_testnet, min(day) as day
      from ${changedExecutions(tx)} e
      join strategy_accounts sa on sa.strategy_account_id = e.strategy_account_id
      join ${accountsWithoutCredentials(tx)} a on a.account_id = sa.account_id
      cross join lateral (select (e.executed_at at time zone ${timeZone})::date as day) executed
      left join strategy_performance p on p.strategy_id = sa.strategy_id and p.date = day
        and p.currency = sa.capital_currency and p.is_testnet = a.is_testnet
      where e.recorded_at > ${unseenSince(tx, tx`select min(computed_at) from strategy_performance`)}
        and (p.computed_at is null or e.recorded_at > p.computed_at - ${unseen(tx)})
      group by sa.strategy_id, sa.capital_currency, a.is_testnet
    ), planned as (
      select strategy_id, currency, is_testnet, first_day,
        least(
          coalesce(last_day + 1, first_day), late.day, case when first_day <= ${date ?? null}::date then ${date ?? null}::date end
        ) as from_day,
        greatest(last_day, ${date ?? yesterday}::date) as to_day
      from traded
      left join computed using (strategy_id, currency, is_testnet)
      left join late using (strategy_id, currency, is_testnet)
    )
    select strategy_id as "strategyId", currency, is_testnet as "isTestnet", first_day::text as since, from_day::text as "from",
      to_day::text as "to"
    from planned where from_day <= to_day
    order by from_day, strategy_id, currency, is_testnet`
  return { yesterday, asOf, series: [...series] }
}

/**
 * Computes the days of the series and replaces existing rows. The preceding days must exist. Idempotent.
 */
export async function computePerformance(
  tx: TransactionSql,
  series: readonly Series[],
  { timeZone }: Pick<PlanOptions, 'timeZone'>
): Promise<Computed> {
  const [counts] = await tx<Computed[]>`
    with asked as (
      select *, day_begin(from_day, ${timeZone}) as begins, day_begin(to_day + 1, ${timeZone}) as ends
      from jsonb_to_recordset(${JSON.stringify(series.map(rowOf))}::text::jsonb) as s (
        series int, strategy_id bigint, currency text, is_testnet boolean, from_day date, to_day date
      )
    ), executed as (
      ${executedPerDay(tx, timeZone)}
    ), funded as (
      ${fundedPerDay(tx, timeZone)}
    ), days as (
      select series, from_day + n as date from asked cross join generate_series(0, to_day - from_day) n
    ), result as (
      select series, date, coalesce(pnl, 0) + coalesce(funding, 0) as pnl
      from days join asked using (series) left join executed using (series, date) left join funded using (series, date)
      union all
      select series, past.date, past.daily_pnl
      from asked cross join lateral (
        select p.date, p.daily_pnl from strategy_performance p
        where p.strategy_id = asked.strategy_id and p.currency = asked.currency and p.is_testnet = asked.is_testnet
          and p.date < from_day
        ${byIndex(tx)}
      ) past
    ), daily as (
      ${withCapital(tx, timeZone)}
    ), measured as (
      ${performanceMetrics(tx)}
    ), written as (
      insert into strategy_performance as p (strategy_id, date, currency, is_testnet, daily_pnl, cumulative_pnl,
        daily_return, cumulative_return, executions, trades, wins, win_rate, max_drawdown, volatility, sharpe, sortino, fees,
        fees_unknown, funding, executions_apart, computed_at)
      select strategy_id, date, currency, is_testnet, coalesce(pnl, 0) + coalesce(funding, 0), cumulative_pnl,
        daily_return, cumulative_return, coalesce(executions, 0), coalesce(trades, 0), coalesce(wins, 0),
        ${winRate(tx, tx`wins`, tx`trades`)},
        max_drawdown, volatility, sharpe, sortino, coalesce(fees, 0), coalesce(fees_unknown, 0),
        coalesce(funding, 0), coalesce(executions_apart, 0), now()
      from measured join asked using (series) left join executed using (series, date)
      left join funded using (series, date)
      where date >= from_day
      order by strategy_id, currency, is_testnet, date
      on conflict (strategy_id, date, currency, is_testnet) do update set
        daily_pnl = excluded.daily_pnl, cumulative_pnl = excluded.cumulative_pnl,
        daily_return = excluded.daily_return, cumulative_return = excluded.cumulative_return,
        executions = excluded.executions, trades = excluded.trades, wins = excluded.wins, win_rate = excluded.win_rate,
        max_drawdown = excluded.max_drawdown, volatility = excluded.volatility, sharpe = excluded.sharpe,
        sortino = excluded.sortino, fees = excluded.fees, fees_unknown = excluded.fees_unknown,
        funding = excluded.funding, executions_apart = excluded.executions_apart, computed_at = excluded.computed_at
      returning p.executions, p.trades, p.executions_apart, p.fees_unknown
    )
    select count(*)::int as days, coalesce(sum(executions), 0)::int as executions, coalesce(sum(trades), 0)::int as trades,
      coalesce(sum(executions_apart), 0)::int as executions_apart, coalesce(sum(fees_unknown), 0)::int as fees_unknown
    from written`
  if (!counts) throw new Error('a select without a row')
  return { ...counts }
}

/**
 * The days of the relation `result` with the capital that was valid when they began, over the relation `asked`. Before the
 * first capital of an account in the currency of the series, the first counts.
 */
function withCapital(tx: TransactionSql, timeZone: string): Fragment {
  return tx`
    select result.*, allocated.capital
    from result join asked using (series) cross join lateral (
      select sum(coalesce(
        (
          select case when c.currency = asked.currency then c.amount end from strategy_capital c
          where c.strategy_id = sa.strategy_id and c.account_id = sa.account_id
            and c.valid_from <= day_begin(result.date, ${timeZone})
          order by c.valid_from desc limit 1
        ),
        (
          select c.amount from strategy_capital c
          where c.strategy_id = sa.strategy_id and c.account_id = sa.account_id and c.currency = asked.currency
          order by c.valid_from limit 1
        )
      )) as capital
      from strategy_accounts sa join ${accountsWithoutCredentials(tx)} a on a.account_id = sa.account_id
      where sa.strategy_id = asked.strategy_id and sa.capital_currency = asked.currency and a.is_testnet = asked.is_testnet
    ) allocated`
}

/** Sums of the executions by series and day, over the relation `asked`. `own` executions are in the series' currency. */
function executedPerDay(tx: TransactionSql, timeZone: string): Fragment {
  return tx`
    select series, (e.executed_at at time zone ${timeZone})::date as date,
      sum(coalesce(realized_pnl, 0) - coalesce(fee_value, 0)) filter (where own) as pnl,
      sum(fee_value) filter (where own) as fees,
      count(*) filter (where own) as executions,
      count(round_trip) filter (where own) as trades,
      count(*) filter (where own and round_trip > 0) as wins,
      count(*) filter (where own and fee_value is null) as fees_unknown,
      count(*) filter (where not own) as executions_apart
    from asked
    join strategy_accounts sa on sa.strategy_id = asked.strategy_id and sa.capital_currency = asked.currency
    join ${accountsWithoutCredentials(tx)} a on a.account_id = sa.account_id and a.is_testnet = asked.is_testnet
    cross join lateral (
      select coalesce(quote, currency) as currency, realized_pnl, fee_value, executed_at,
        ${roundTripResult(tx)} as round_trip
      from trade_executions e
      where e.strategy_account_id = sa.strategy_account_id and e.executed_at >= begins and e.executed_at < ends
        and not ${isUntraded(tx)}
      ${byIndex(tx)}
    ) e
    cross join lateral (select e.currency = asked.currency as own) quoted
    group by 1, 2`
}

/** Funding by series and day, over the relation `asked`: that in the currency of the series. */
function fundedPerDay(tx: TransactionSql, timeZone: string): Fragment {
  return tx`
    select series, (f.at at time zone ${timeZone})::date as date, sum(f.amount) as funding
    from asked
    join strategy_accounts sa on sa.strategy_id = asked.strategy_id and sa.capital_currency = asked.currency
    join ${accountsWithoutCredentials(tx)} a on a.account_id = sa.account_id and a.is_testnet = asked.is_testnet
    cross join lateral (
      select at, amount from funding_shares s
      where s.strategy_account_id = sa.strategy_account_id and s.currency = asked.currency and s.at >= begins and s.at < ends
      ${byIndex(tx)}
    ) f
    group by 1, 2`
}

/** Records that every execution until then is included: `asOf` of a plan that was carried out. */
export async function recordedUntil(tx: TransactionSql, asOf: string): Promise<void> {
  await tx`
    insert into performance_progress (recorded_until) values (${asOf}::timestamptz)
    on conflict (is_only) do update set recorded_until = greatest(performance_progress.recorded_until, excluded.recorded_until)`
}

/** The time from which executions may have been recorded that no run has included; `earliest` before the first run. */
export function unseenSince(tx: TransactionSql, earliest: Fragment): Fragment {
  return tx`(
    select coalesce((select recorded_until from performance_progress), (${earliest}), 'infinity') - ${unseen(tx)}
  )`
}

/** How long a row may stay unseen after its `recorded_at`. */
export function unseen(tx: TransactionSql): Fragment {
  return tx`make_interval(secs => ${UNSEEN_SECONDS}::int)`
}

/**
 * Ends a lateral subquery that the planner must run for each row of the preceding relation. Without it the planner has no
 * estimate of the number of rows, and may read the whole of a table that has grown since its last ANALYZE.
 */
export function byIndex(tx: TransactionSql): Fragment {
  return tx`offset 0`
}

type Fragment = ReturnType<TransactionSql>

function rowOf({ strategyId, currency, isTestnet, from, to }: Series, series: number) {
  return {
    series,
    strategy_id: strategyId,
    currency,
    is_testnet: isTestnet,
    from_day: from,
    to_day: to
  }
}
