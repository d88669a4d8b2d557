// @FEAT:trading @COMP:service @TYPE:core
import type { Sql, TransactionSql } from '../database/client.ts'
import type { Decimal } from '../domain/decimal.ts'

/** What is compared: an asset in a wallet of an account, or a position. `group` and `name` are its parts. */
export interface BookKey {
  accountId: string
  /** The wallet of an asset: `SPOT` or `FUTURES`. Of a position: `POSITIONS`. */
  subject: 'SPOT' | 'FUTURES' | 'POSITIONS'
  /** The asset, or the symbol of a position. */
  name: string
  /** Empty for an asset. */
  side: '' | 'BOTH' | 'LONG' | 'SHORT'
}

/** A value of ours that was compared with that of the exchange, where they differ or differed before. */
export interface Compared extends BookKey {
  ours: Decimal
  theirs: Decimal
  /** theirs - ours */
  difference: Decimal
  isEqual: boolean
  /** When the exchange was read, ISO 8601 with microseconds. */
  readAt: string
  /** The difference that is recorded; null when there is none. */
  open: {
    differenceId: string
    runs: number
    isReported: boolean
    /** Whether our value as it was when the exchange was read before is equal to that of the exchange by now. */
    wasInFlight: boolean
  } | null
}

interface ComparedRow {
  account_id: string
  subject: BookKey['subject']
  name: string
  side: BookKey['side']
  ours: Decimal
  theirs: Decimal
  difference: Decimal
  is_equal: boolean
  read_at: string
  difference_id: string | null
  runs: number | null
  is_reported: boolean | null
  was_in_flight: boolean | null
}

/**
 * The exchange read the value at some moment of this time before the recorded time of the reading, or after it: a call lasts
 * up to ten seconds and waits to be recorded, and the clocks of exchanges differ from ours.
 */
export const READ_BEFORE = '30 seconds'
const READ_AFTER = '5 seconds'

/**
 * The parts of a statement that compare the relation `reading` (account_id, subject, name, side, ours_now, theirs, read_at,
 * tolerance, difference_id), with the recorded differences and `recent` (account_id, subject, name, side, at, amount), what
 * changed our values since the readings.
 *
 * Our value is that of the moment at which the exchange was read: the current one without what changed it since. That moment
 * is not known exactly. Of the values that ours had around it, the nearest to that of the exchange counts.
 *
 * @returns common table expressions, of which `compared` has the columns of the result
 */
export function comparison(sql: Sql | TransactionSql) {
  return sql`
    readings as materialized (
      select *, row_number() over () as reading_id, read_at - ${READ_BEFORE}::interval as first_at,
        read_at + ${READ_AFTER}::interval as last_at
      from reading
    ), moments as (
      select r.reading_id, r.theirs, e.at, r.last_at, r.ours_now - coalesce(sum(e.amount) over (
        partition by r.reading_id order by e.at desc, e.amount rows between unbounded preceding and 1 preceding
      ), 0) as ours
      from readings r join recent e using (account_id, subject, name, side) where e.at > r.first_at
      union all
      select r.reading_id, min(r.theirs), null, null, min(r.ours_now) - sum(e.amount)
      from readings r join recent e using (account_id, subject, name, side) where e.at > r.first_at
      group by r.reading_id
    ), nearest as (
      select distinct on (reading_id) reading_id, ours from moments where at is null or at <= last_at
      order by reading_id, abs(theirs - ours)
    ), result as materialized (
      select r.*, coalesce(n.ours, r.ours_now) as ours,
        abs(r.theirs - coalesce(n.ours, r.ours_now)) <= r.tolerance as is_equal
      from readings r left join nearest n using (reading_id)
    ), compared as (
      select r.account_id, r.subject, r.name, r.side, trim_scale(r.ours)::text as ours,
        trim_scale(r.theirs)::text as theirs, trim_scale(r.theirs - r.ours)::text as difference, r.is_equal,
        to_char(r.read_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') as read_at, d.difference_id, d.runs,
        d.unexplained_at is not null as is_reported, b.is_equal as was_in_flight
      from result r
      left join result b on b.account_id = r.account_id and b.subject = r.subject and b.name = r.name
        and b.side = r.side and b.difference_id is not null
      left join book_differences d on d.difference_id = b.difference_id
      where r.difference_id is null and (not r.is_equal or b.difference_id is not null)
    )`
}

/** The recorded differences of `subjects` as rows with the columns of a key. */
export function openDifferences(sql: Sql | TransactionSql) {
  return sql`(
    select difference_id, account_id, coalesce(wallet, 'POSITIONS') as subject, coalesce(asset, symbol) as name,
      coalesce(position_side, '') as side, theirs, read_at
    from book_differences where explained_at is null
  )`
}

/**
 * Whether an order of the account `account_id` was not read since a moment: its executions until then may not be recorded.
 *
 * @param moment a column
 */
export function hasUnreadOrders(sql: Sql | TransactionSql, account: string, moment: string) {
  return sql`exists (
    select from orders o
    where o.account_id = ${sql(account)} and o.exchange_order_id is not null
      and o.status in ('pending', 'open', 'partially_filled', 'unknown')
      and coalesce(o.last_checked_at, o.created_at) <= ${sql(moment)}
  )`
}

/** A row of `compared` as an object. */
export function comparedOf(row: ComparedRow): Compared {
  const { account_id, subject, name, side, ours, theirs, difference, is_equal, read_at, difference_id, runs } = row
  return {
    accountId: account_id,
    subject,
    name,
    side,
    ours,
    theirs,
    difference,
    isEqual: is_equal,
    readAt: read_at,
    open:
      difference_id === null
        ? null
        : {
            differenceId: difference_id,
            runs: runs ?? 1,
            isReported: row.is_reported === true,
            wasInFlight: row.was_in_flight === true
          }
  }
}
