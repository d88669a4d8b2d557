// @FEAT:trading @COMP:service @TYPE:core
import { accountsWithoutCredentials } from '../accounts/account-table.ts'
import { yieldToEventLoop } from '../async/yield.ts'
import type { TransactionSql } from '../database/client.ts'
import type { Decimal } from '../domain/decimal.ts'
import type { Unvalued } from './equity.ts'
import { developmentOf } from './time-weighted-return.ts'

/** Accounts whose rows one statement reads: at most 150 of a day each. */
const ACCOUNTS_AT_ONCE = 200
/** The equity of so many accounts takes some milliseconds: then the event loop runs. */
const ACCOUNTS_BEFORE_YIELD = 5

/** The equity of an account on a day, as the columns of its daily summary. */
export interface EquityOfDay {
  account_id: string
  currency: string
  /** The last one of the day. */
  equity: Decimal
  equity_return: Decimal | null
  max_drawdown: Decimal | null
  equity_gaps: number
  equity_unvalued: number
}

/** A row: currency, equity, external flow, what has no price, and whether the flow was computed. */
type Row = [string, Decimal, Decimal | null, Unvalued[], boolean]

/**
 * The equity of each account that has one on a day, from the last row before the day on. Return and drawdown are of the rows
 * whose flows are computed: the last minutes are not among them until the ledgers are read.
 */
export async function equityOfDay(tx: TransactionSql, day: string, timeZone: string): Promise<EquityOfDay[]> {
  const all: EquityOfDay[] = []
  for (let after: string | undefined = '0'; after !== undefined; ) {
    const accounts = await rowsOfAccounts(tx, day, timeZone, after)
    for (const [index, { account_id, rows }] of accounts.entries()) {
      all.push(figuresOf(account_id, rows))
      if (index % ACCOUNTS_BEFORE_YIELD === 0) await yieldToEventLoop()
    }
    after = accounts.length < ACCOUNTS_AT_ONCE ? undefined : accounts.at(-1)?.account_id
  }
  return all
}

function figuresOf(account_id: string, rows: readonly Row[]): EquityOfDay {
  const [currency = '', equity = '0', , unvalued = []] = rows.at(-1) ?? []
  // The flow of the first row is of the time before.
  const pending = rows.findIndex(([, , , , isComputed], index) => index > 0 && !isComputed)
  const { timeWeightedReturn, maxDrawdown, gaps } = developmentOf(
    (pending < 0 ? rows : rows.slice(0, pending)).map(([currency, equity, externalFlow, unvalued]) => ({
      currency,
      equity,
      externalFlow,
      unvalued: unvalued.length === 0 ? '' : JSON.stringify(unvalued)
    }))
  )
  return {
    account_id,
    currency,
    equity,
    equity_return: timeWeightedReturn,
    max_drawdown: maxDrawdown,
    equity_gaps: gaps,
    equity_unvalued: unvalued.length
  }
}

async function rowsOfAccounts(tx: TransactionSql, day: string, timeZone: string, after: string) {
  return await tx<{ account_id: string; rows: Row[] }[]>`
    with bounds as (
      select day_begin(${day}::date, ${timeZone}) as begins, day_begin(${day}::date + 1, ${timeZone}) as ends
    ), account as (
      select account_id from ${accountsWithoutCredentials(tx)} a cross join bounds
      where account_id > ${after}::bigint and exists (
        select from equity_history h where h.account_id = a.account_id and h.at >= begins and h.at < ends
      )
      order by account_id limit ${ACCOUNTS_AT_ONCE}
    )
    select a.account_id, jsonb_agg(
      jsonb_build_array(h.currency, h.equity::text, h.external_flow::text, h.unvalued, h.flow_at is not null) order by h.at
    ) as rows
    from account a cross join bounds
    left join lateral (
      select at from equity_history h where h.account_id = a.account_id and h.at < begins order by at desc limit 1
    ) opening on true
    join equity_history h on h.account_id = a.account_id and h.at >= coalesce(opening.at, begins) and h.at < ends
    group by a.account_id order by a.account_id`
}

/** A query: the days, of the last four, with flows that were computed after the summary of their account. */
export function daysWithLaterFlows(tx: TransactionSql, timeZone: string) {
  return tx`
    select distinct s.date
    from daily_account_summaries s join equity_history h on h.account_id = s.account_id
      and h.at >= day_begin(s.date, ${timeZone}) and h.at < day_begin(s.date + 1, ${timeZone})
    where s.date > now() - interval '4 days' and s.equity is not null and h.flow_at > s.computed_at`
}
