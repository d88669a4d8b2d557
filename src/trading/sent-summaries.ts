// @FEAT:trading @COMP:service @TYPE:core
import type { TransactionSql } from '../database/client.ts'
import type { Decimal } from '../domain/decimal.ts'

/** A change of an amount by this share of what was sent is reported; of trades, a change by one. */
const REPORTED_SHARE = '0.001'
/** Restated days of one account and currency in one message; the next messages have the others. */
const DAYS_PER_MESSAGE = 10

/** Rows that no message had are looked for in so many days before it. */
const UNSENT_DAYS = 4

/** What a message said about an account and currency on a day. */
export interface SentValues {
  /** Realised − fees + funding − interest. */
  net: Decimal
  end_balance: Decimal | null
  unrealized_pnl: Decimal | null
  trades: number
}

/** A final row of a day that differs from what the last message about it said. */
export interface RestatedDay {
  account_id: string
  /** `YYYY-MM-DD`. */
  date: string
  currency: string
  sent: SentValues
  final: SentValues
}

/**
 * The final rows before a day that differ from what was sent of them: an amount by more than 0.1 %, or the number of
 * trades. A row that is not known on one side differs. One that no message had, although a message had other rows of the
 * account on its day, counts as sent without result and trades. At most ten per account and currency, the oldest first.
 */
export async function restatedDays(tx: TransactionSql, day: string): Promise<RestatedDay[]> {
  const rows = await tx<RestatedDay[]>`
    select account_id, date::text as date, currency, sent, final
    from (
      select restated.*, row_number() over (partition by account_id, currency order by date) as place
      from (${computedSinceSent(tx, day)}) restated
      where differs
    ) placed
    where place <= ${DAYS_PER_MESSAGE}::int
    order by account_id, currency, date`
  return [...rows]
}

/**
 * Records that a message was stored that has the rows of a day and the restated days. Rows that do not differ are not
 * compared again until they are computed again. Idempotent.
 */
export async function recordSent(tx: TransactionSql, day: string, restated: readonly RestatedDay[]): Promise<void> {
  const listed = restated.map(({ account_id, date, currency }) => ({ account_id, date, currency }))
  await tx`
    with listed as materialized (
      select * from jsonb_to_recordset(${JSON.stringify(listed)}::text::jsonb) as r (account_id bigint, date date, currency text)
    ), compared as materialized (
      select account_id, date, currency, final, differs from (${computedSinceSent(tx, day)}) rows
    ), said as (
      select account_id, date, currency, ${valuesOf(tx)} as values from daily_account_summaries s where date = ${day}::date
      union all
      select account_id, date, currency, case when differs then final end from compared
      where not differs or (account_id, date, currency) in (select account_id, date, currency from listed)
    ), locked as materialized (
      select account_id, date, currency, said.values
      from said join daily_account_summaries s using (account_id, date, currency)
      order by account_id, date, currency for no key update of s
    )
    update daily_account_summaries s set sent = coalesce(locked.values, s.sent), sent_at = now()
    from locked
    where s.account_id = locked.account_id and s.date = locked.date and s.currency = locked.currency`
}

/** The final rows before a day that were computed after they were sent, and whether they differ from what was sent. */
function computedSinceSent(tx: TransactionSql, day: string) {
  const differs = (name: string) => {
    const [now, then] = [`(final ->> '${name}')::numeric`, `(sent ->> '${name}')::numeric`]
    return tx.unsafe(
      `(${now} is distinct from ${then} and coalesce(abs(${now} - ${then}) > ${REPORTED_SHARE} * abs(${then}), true))`
    )
  }
  return tx`
    select account_id, date, currency, sent, final,
      ${differs('net')} or ${differs('end_balance')} or ${differs('unrealized_pnl')}
        or (final -> 'trades') is distinct from (sent -> 'trades') as differs
    from (
      select account_id, date, currency, sent, ${valuesOf(tx)} as final
      from daily_account_summaries s
      where computed_at > sent_at and is_final and date < ${day}::date
      union all
      select account_id, date, currency, jsonb_build_object('net', '0', 'end_balance', s.end_balance::text,
        'unrealized_pnl', s.unrealized_pnl::text, 'trades', 0), ${valuesOf(tx)}
      from daily_account_summaries s
      where sent_at is null and is_final and date < ${day}::date and date >= ${day}::date - ${UNSENT_DAYS}::int
        and exists (
          select from daily_account_summaries other
          where other.account_id = s.account_id and other.date = s.date and other.sent_at is not null
        )
    ) computed`
}

/** The values of a row `s`, as `SentValues` in JSON. */
function valuesOf(tx: TransactionSql) {
  return tx`jsonb_build_object(
    'net', (s.realized_pnl - s.fees + s.funding - s.interest)::text, 'end_balance', s.end_balance::text,
    'unrealized_pnl', s.unrealized_pnl::text, 'trades', s.trades
  )`
}
