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
  /** The position as the exchange listed it; null for an asset, and where it listed none. */
  listed: ListedPosition | null
  /** The difference that is recorded; null when there is none. */
  open: {
    differenceId: string
    runs: number
    isReported: boolean
    /** Whether our value as it was when the exchange was read before is equal to that of the exchange by now. */
    wasInFlight: boolean
  } | null
}

/** How an exchange lists a position. Prices are null where it reports none. */
export interface ListedPosition {
  exchangeSymbol: string
  entryPrice: Decimal | null
  markPrice: Decimal | null
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
 * tolerance, difference_id), with the recorded differences `known`, and `recent` (account_id, subject, name, side, at,
 * amount), what changed our values since the readings.
 *
 * Our value is that of the moment at which the exchange was read: the current one without what changed it since. That moment
 * is not known exactly. If one of the values that ours had around it is equal to that of the exchange, that one counts;
 * otherwise the value at the recorded time.
 *
 * @returns common table expressions, of which `compared` has the columns of the result
 */
export function comparison(sql: Sql | TransactionSql) {
  return sql`
    readings as materialized (
      select *, row_number() over () as reading_id, read_at - ${READ_BEFORE}::interval as first_at,
        read_at + ${READ_AFTER}::interval as last_at
      from reading
      -- Of most values nothing is to be compared further: they are equal, and nothing has changed since.
      where difference_id is not null or abs(theirs - ours_now) > tolerance
        or (account_id, subject, name, side) in (select account_id, subject, name, side from recent)
        or (account_id, subject, name, side) in (select account_id, subject, name, side from known)
    ), moments as (
      select r.*, e.at, r.ours_now - coalesce(sum(e.amount) over (
        partition by r.reading_id order by e.at desc rows between unbounded preceding and 1 preceding
      ), 0) as ours, sum(e.amount) over (partition by r.reading_id) as since, e.at = min(e.at) over (
        partition by r.reading_id
      ) as is_first
      from readings r join recent e using (account_id, subject, name, side) where e.at > r.first_at
    ), candidates as (
      select reading_id, account_id, subject, name, side, theirs, read_at, tolerance, difference_id, ours, 0 as rank, at
      from moments where at <= last_at
      union all
      select reading_id, account_id, subject, name, side, theirs, read_at, tolerance, difference_id, ours_now - since, 0, null
      from moments where is_first
      union all
      -- Where nothing has changed since.
      select reading_id, account_id, subject, name, side, theirs, read_at, tolerance, difference_id, ours_now, 1, null
      from readings
    ), chosen as (
      select distinct on (reading_id) *, abs(theirs - ours) <= tolerance as is_equal
      from candidates
      order by reading_id, rank, abs(theirs - ours) <= tolerance desc, coalesce(at <= read_at, true) desc, at desc nulls last
    ), keys as (
      select account_id, subject, name, side, max(difference_id) as difference_id,
        min(ours) filter (where difference_id is null) as ours, min(theirs) filter (where difference_id is null) as theirs,
        min(read_at) filter (where difference_id is null) as read_at,
        bool_and(is_equal) filter (where difference_id is null) as is_equal,
        bool_and(is_equal) filter (where difference_id is not null) as was_in_flight
      from chosen group by account_id, subject, name, side
      having not bool_and(is_equal) or max(difference_id) is not null
    ), compared as (
      select k.account_id, k.subject, k.name, k.side, trim_scale(k.ours)::text as ours,
        trim_scale(k.theirs)::text as theirs, trim_scale(k.theirs - k.ours)::text as difference, k.is_equal,
        to_char(k.read_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') as read_at, k.difference_id, d.runs,
        d.unexplained_at is not null as is_reported, k.was_in_flight
      from keys k left join book_differences d using (difference_id)
    )`
}

/** The recorded differences as rows with the columns of a key. */
export function openDifferences(sql: Sql | TransactionSql) {
  return sql`(
    select difference_id, account_id, coalesce(wallet, 'POSITIONS') as subject, coalesce(asset, symbol) as name,
      coalesce(position_side, '') as side, theirs, read_at
    from book_differences where explained_at is null
  )`
}

/**
 * Whether the fills of an account, or one of its open orders, were not read since a moment: its executions until then may
 * not be recorded. An order that became unknown is read less and less often and does not count: what it executed is a
 * difference.
 *
 * @param moment a column
 */
export function hasUnreadFills(sql: Sql | TransactionSql, account: string, moment: string) {
  return sql`(exists (
    select from fill_readings f where f.account_id = ${sql(account)} and f.read_until <= ${sql(moment)}
  ) or exists (
    select from fill_symbols f where f.account_id = ${sql(account)} and f.is_followed and f.read_until <= ${sql(moment)}
  ) or exists (
    select from orders o
    where o.account_id = ${sql(account)} and o.exchange_order_id is not null
      and o.status in ('pending', 'open', 'partially_filled')
      and coalesce(o.last_checked_at, o.created_at) <= ${sql(moment)}
  ))`
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
    listed: null,
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
