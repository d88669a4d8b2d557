// @FEAT:trading @COMP:service @TYPE:core
import { accountsWithoutCredentials } from '../accounts/account-table.ts'
import { usersWithChats } from '../auth/user-table.ts'
import type { TransactionSql } from '../database/client.ts'
import { CATALOGUE } from '../exchanges/catalogue.ts'
import { daysWithLaterFlows, type EquityOfDay, equityOfDay } from './equity-of-day.ts'
import { winRate } from './performance-metrics.ts'
import { byIndex, type PlanOptions, unseen, unseenSince } from './performance-store.ts'
import { changedExecutions } from './replaced-executions.ts'
import { roundTripResult } from './round-trips.ts'
import { type Week, weekOf } from './summary-week.ts'
import { isUntraded } from './untraded-executions.ts'

/** For this long after the end of a day, the unrealised PnL of now is that of the day's end: later, prices differ too much. */
const HELD_HOURS = 3
/** A mark is old after this many minutes. */
const OLD_MARK_MINUTES = 15

/** What `summarise` wrote. */
export interface Summarised {
  accounts: number
  /** Rows: one per account and currency that mattered. */
  summaries: number
  fees_unknown: number
  /** Open positions without a mark. */
  unmarked: number
}

/** One row of `daily_account_summaries` with whose it is. Amounts are decimal text. */
export interface AccountSummary {
  account_id: string
  account: string
  exchange: string
  is_testnet: boolean
  credentials_refused: boolean
  /** Of the owner; null without one or when the owner may not sign in any more. */
  chat_id: string | null
  currency: string
  start_balance: string | null
  end_balance: string | null
  realized_pnl: string
  unrealized_pnl: string | null
  fees: string
  fees_unknown: number
  /** Received less paid. */
  funding: string
  /** Paid less received. */
  interest: string
  executions: number
  /** Round trips that ended, net of fees and funding: in total, above and below zero. */
  trades: number
  wins: number
  losses: number
  win_rate: string | null
  volume: string
  week: Week
  /** Of the equity, net of external flows. */
  max_drawdown: string | null
  /** In the row of the valuation currency; null in the others. */
  equity: string | null
  /** Time-weighted. */
  equity_return: string | null
  /** Spans that return and drawdown are without, and assets and positions that the equity is without. */
  equity_gaps: number
  equity_unvalued: number
  is_final: boolean
  /** The time that the values are for: when they were computed, or the end of the day where that is earlier. */
  at: Date
  /** When the oldest of the balances was read, of the unfinished orders checked, and of the positions marked. */
  balances_as_of: Date | null
  orders_as_of: Date | null
  marks_as_of: Date | null
  /** Open positions without a mark, and with a mark older than 15 minutes. */
  positions_unmarked: number
  positions_old_mark: number
}

/**
 * Writes the summaries of a day, one row per account and currency. Accounts: the active ones, and disabled ones that
 * already have a summary of the day. Currencies: those of that day's executions, of open positions, and the quote
 * currencies of the account's exchange. Before the day is over, a row covers the day so far. Afterwards it is final, and
 * the ages and the unrealised PnL of the first final row are kept. An open position without a mark is not in the sum of
 * the unrealised PnL, and is counted; the sum is unknown when no open position has a mark. Idempotent.
 */
export async function summarise(
  tx: TransactionSql,
  day: string,
  { timeZone }: Pick<PlanOptions, 'timeZone'>
): Promise<Summarised> {
  const [counts] = await tx<Summarised[]>`
    with day as (
      ${boundsOfDay(tx, day, timeZone)}
    ), account as (
      select account_id, exchange from ${accountsWithoutCredentials(tx)} a cross join day
      where created_at < ends and (
        is_active or exists (select from daily_account_summaries s where s.account_id = a.account_id and s.date = day.date)
      )
    ), traded as (
      ${tradedPerCurrency(tx)}
    ), entered as (
      ${enteredPerCurrency(tx)}
    ), held as (
      ${heldPerCurrency(tx)}
    ), read as (
      ${readPerCurrency(tx)}
    ), checked as (
      ${checkedPerAccount(tx)}
    ), valued as (
      ${valuedAccounts(tx, await equityOfDay(tx, day, timeZone))}
    ), mattering as (
      ${matteringCurrencies(tx, day)}
    ), written as (
      insert into daily_account_summaries as s (account_id, date, currency, start_balance, end_balance, realized_pnl,
        unrealized_pnl, fees, fees_unknown, funding, interest, executions, trades, wins, losses, win_rate, volume, max_drawdown, is_final, computed_at,
        equity, equity_return, equity_gaps, equity_unvalued,
        balances_as_of, orders_as_of, marks_as_of, positions_unmarked, positions_old_mark)
      select account_id, day.date, currency, opening.total, closing.total, coalesce(realized_pnl, 0),
        case when is_fresh then case when open_positions is null then 0 else unrealized_pnl end end, coalesce(fees, 0), coalesce(fees_unknown, 0),
        coalesce(funding, 0), coalesce(interest, 0), coalesce(executions, 0), coalesce(trades, 0), coalesce(wins, 0), coalesce(losses, 0),
        ${winRate(tx, tx`wins`, tx`trades`)},
        coalesce(volume, 0), valued.max_drawdown, is_over, now(),
        valued.equity, valued.equity_return, coalesce(valued.equity_gaps, 0), coalesce(valued.equity_unvalued, 0),
        ${agesOfRow(tx)}
      from mattering
      left join traded using (account_id, currency)
      left join entered using (account_id, currency)
      left join held using (account_id, currency)
      left join read using (account_id, currency)
      left join checked using (account_id)
      left join valued using (account_id, currency)
      cross join day
      ${balancesOfDay(tx)}
      -- Two jobs write these rows. The same order prevents a deadlock.
      order by account_id, currency
      on conflict (account_id, date, currency) do update set
        ${replacedColumns(tx)}, ${keptUnlessFresh(tx)}
      returning s.account_id, s.fees_unknown, s.positions_unmarked
    )
    select count(distinct account_id)::int as accounts, count(*)::int as summaries,
      coalesce(sum(fees_unknown), 0)::int as fees_unknown, coalesce(sum(positions_unmarked), 0)::int as unmarked
    from written`
  if (!counts) throw new Error('a select without a row')
  return { ...counts }
}

/** The equity of the accounts as a relation. */
function valuedAccounts(tx: TransactionSql, equities: readonly EquityOfDay[]) {
  return tx`
    select * from jsonb_to_recordset(${JSON.stringify(equities)}::text::jsonb) as valued (account_id bigint, currency text,
      equity numeric, equity_return numeric, max_drawdown numeric, equity_gaps integer, equity_unvalued integer)`
}

/** The accounts and currencies that have a row, over the relations `account`, `traded`, `entered`, `held` and `valued`. */
function matteringCurrencies(tx: TransactionSql, day: string) {
  const quotes = Object.entries(CATALOGUE).flatMap(([exchange, { quoteCurrencies }]) =>
    quoteCurrencies.map(currency => ({ exchange, currency }))
  )
  return tx`
    select account_id, currency from traded
    union select account_id, currency from entered
    union select account_id, currency from held
    union select account_id, currency from account join valued using (account_id)
    union select account_id, currency
    from account join jsonb_to_recordset(${JSON.stringify(quotes)}::text::jsonb) as q (exchange text, currency text) using (exchange)
    union select account_id, currency from account join daily_account_summaries using (account_id)
    where date = ${day}::date`
}

/** The ages and counts of a row, in the order of the insert. No age is later than the end of the day. */
function agesOfRow(tx: TransactionSql) {
  // `least` ignores null.
  const atMost = (asOf: string) => `case when ${asOf} is not null then least(${asOf}, ends) end`
  return tx.unsafe(`
    ${atMost('balances_as_of')}, ${atMost('orders_as_of')}, case when is_fresh then ${atMost('marks_as_of')} end,
    case when is_fresh then coalesce(unmarked, 0) else 0 end, case when is_fresh then coalesce(old_mark, 0) else 0 end`)
}

/** Sums of the open positions by account and currency, over the relation `account`. */
function heldPerCurrency(tx: TransactionSql) {
  return tx`
    select p.holder_account_id as account_id, coalesce(p.quote, p.currency) as currency, count(*) as open_positions,
      sum(p.unrealized_pnl) as unrealized_pnl, count(*) filter (where p.unrealized_pnl is null) as unmarked,
      count(*) filter (where p.marked_at < now() - make_interval(mins => ${OLD_MARK_MINUTES}::int)) as old_mark,
      min(p.marked_at) as marks_as_of
    from strategy_positions p join account a on a.account_id = p.holder_account_id
    where p.quantity <> 0
    group by 1, 2`
}

/** When the balances were read, by account and currency. */
function readPerCurrency(tx: TransactionSql) {
  return tx`
    select account_id, asset as currency, min(synced_at) as balances_as_of
    from account_balances join account using (account_id) group by 1, 2`
}

/** When the unfinished orders were checked, by account. Unknown ones are not: they are checked less often. */
function checkedPerAccount(tx: TransactionSql) {
  return tx`
    select account_id, min(coalesce(last_checked_at, created_at)) as orders_as_of
    from orders join account using (account_id)
    where status in ('pending', 'open', 'partially_filled') and exchange_order_id is not null
    group by 1`
}

/** The values of a row that each computation replaces. */
function replacedColumns(tx: TransactionSql) {
  const columns = [
    ...['start_balance', 'end_balance', 'realized_pnl', 'fees', 'fees_unknown', 'funding', 'interest', 'executions'],
    ...['trades', 'wins', 'losses', 'win_rate', 'volume', 'max_drawdown', 'is_final', 'computed_at'],
    ...['equity', 'equity_return', 'equity_gaps', 'equity_unvalued']
  ]
  return tx.unsafe(columns.map(name => `${name} = excluded.${name}`).join(', '))
}

/** The values of a row that are those of the day's end, once it is final or values of now no longer count as such. */
function keptUnlessFresh(tx: TransactionSql) {
  const columns = ['unrealized_pnl', 'marks_as_of', 'positions_unmarked', 'positions_old_mark']
  const isKept = 's.is_final or not (select is_fresh from day)'
  return tx.unsafe(
    [
      ...columns.map(name => `${name} = case when ${isKept} then s.${name} else excluded.${name} end`),
      ...['balances_as_of', 'orders_as_of'].map(
        name => `${name} = case when s.is_final then s.${name} else excluded.${name} end`
      )
    ].join(', ')
  )
}

/** The bounds of a day, whether it is over, and whether values of now still count as values of its end. */
function boundsOfDay(tx: TransactionSql, day: string, timeZone: string) {
  return tx`
    select date, begins, ends, now() >= ends as is_over, now() < ends + make_interval(hours => ${HELD_HOURS}::int) as is_fresh
    from (
      select ${day}::date as date, day_begin(${day}::date, ${timeZone}) as begins,
        day_begin(${day}::date + 1, ${timeZone}) as ends
    ) bounds`
}

/** Sums of the day's executions by account and currency, over the relations `account` and `day`. */
function tradedPerCurrency(tx: TransactionSql) {
  return tx`
    select account_id, currency, count(*) as executions, count(round_trip) as trades,
      count(*) filter (where round_trip > 0) as wins,
      count(*) filter (where round_trip < 0) as losses,
      sum(realized_pnl) as realized_pnl, sum(fee_value) as fees, count(*) filter (where fee_value is null) as fees_unknown,
      sum(price * quantity) as volume
    from account cross join day cross join lateral (
      select coalesce(quote, currency) as currency, price, quantity, realized_pnl, fee_value,
        ${roundTripResult(tx)} as round_trip
      from trade_executions e
      where e.account_id = account.account_id and e.executed_at >= begins and e.executed_at < ends
        and not ${isUntraded(tx)}
      ${byIndex(tx)}
    ) e
    group by account_id, currency`
}

/** Funding and interest of the day by account and currency, over the relations `account` and `day`. */
function enteredPerCurrency(tx: TransactionSql) {
  return tx`
    select account_id, asset as currency, sum(amount) filter (where kind = 'funding') as funding,
      -sum(amount) filter (where kind = 'interest') as interest
    from account cross join day cross join lateral (
      select asset, kind, amount from ledger_entries l
      where l.account_id = account.account_id and l.kind in ('funding', 'interest') and l.at >= begins and l.at < ends
      ${byIndex(tx)}
    ) l
    group by account_id, asset`
}

/** Joins of `mattering` and `day`: the balances before the day and at its end. */
function balancesOfDay(tx: TransactionSql) {
  return tx`
    left join lateral (
      select total from account_balance_history h
      where h.account_id = mattering.account_id and h.currency = mattering.currency and h.at < begins
      order by at desc limit 1
    ) opening on true
    left join lateral (
      select total from account_balance_history h
      where h.account_id = mattering.account_id and h.currency = mattering.currency and h.at < ends
      order by at desc limit 1
    ) closing on true`
}

/** The summaries of a day, by account and currency. */
export async function summariesOf(
  tx: TransactionSql,
  day: string,
  { timeZone }: Pick<PlanOptions, 'timeZone'>
): Promise<AccountSummary[]> {
  const rows = await tx<AccountSummary[]>`
    select s.account_id, a.name as account, a.exchange, a.is_testnet, a.state = 'credentials_refused' as credentials_refused,
      u.chat_id, s.currency, s.start_balance, s.end_balance,
      s.realized_pnl, s.unrealized_pnl, s.fees, s.fees_unknown, s.funding, s.interest, s.executions, s.trades, s.wins, s.losses, s.win_rate, s.volume,
      ${weekOf(tx, day)} as week, s.max_drawdown, s.equity, s.equity_return, s.equity_gaps, s.equity_unvalued, s.is_final, least(s.computed_at, day_begin(${day}::date + 1, ${timeZone})) as at,
      s.balances_as_of, s.orders_as_of, s.marks_as_of, s.positions_unmarked, s.positions_old_mark
    from daily_account_summaries s
    join ${accountsWithoutCredentials(tx)} a using (account_id) join ${usersWithChats(tx)} u using (user_id)
    where s.date = ${day}::date
    order by lower(a.name), s.account_id, s.currency`
  return [...rows]
}

/**
 * The days whose summaries must be computed again, in order: `yesterday`, days that are not final, days without a summary
 * since the last final one, and days with executions that were recorded, or flows that were computed, after their summary.
 */
export async function unfinishedDays(
  tx: TransactionSql,
  yesterday: string,
  { timeZone }: Pick<PlanOptions, 'timeZone'>
): Promise<string[]> {
  const rows = await tx<{ day: string }[]>`
    select day::text as day from (
      select ${yesterday}::date as day
      union select date from daily_account_summaries where not is_final
      union select ${yesterday}::date - generate_series(0, ${yesterday}::date - 1 - max(date)) from daily_account_summaries
      where date < ${yesterday}::date
      union select (e.executed_at at time zone ${timeZone})::date
      from ${changedExecutions(tx)} e
      left join daily_account_summaries s on s.account_id = e.account_id and s.currency = e.currency
        and s.date = (e.executed_at at time zone ${timeZone})::date
      where e.recorded_at > ${unseenSince(tx, tx`select min(computed_at) from daily_account_summaries`)}
        and (s.computed_at is null or e.recorded_at > s.computed_at - ${unseen(tx)})
      union ${daysWithLaterFlows(tx, timeZone)}
    ) days
    where day <= ${yesterday}::date
    order by 1`
  return rows.map(({ day }) => day)
}

/** The day of a moment, `YYYY-MM-DD`. */
export async function dayOf(
  tx: TransactionSql,
  at: Date,
  { timeZone }: Pick<PlanOptions, 'timeZone'>
): Promise<string> {
  const [row] = await tx<{ day: string }[]>`select (${at}::timestamptz at time zone ${timeZone})::date::text as day`
  if (!row) throw new Error('a select without a row')
  return row.day
}
