// @FEAT:trading @COMP:service @TYPE:core
import { accountsWithoutCredentials } from '../accounts/account-table.ts'
import type { TransactionSql } from '../database/client.ts'
import { anyOf } from './any-of.ts'
import type { BookKey, Compared } from './book-comparison.ts'

/** A difference is reported when it exists in this run in a row: two are tolerated for what happens between the readings. */
const RUNS_UNTIL_REPORTED = 3
/** The causes of a difference are looked for in this time before it was seen first. */
const BEFORE_IT = '15 minutes'
const AFTER_IT = '5 minutes'
const MAX_EVENTS = 3

/** What becomes of the recorded difference of a key, and of the new one. */
interface DifferenceChange {
  compared: Compared
  /** The recorded difference ends. */
  ends: boolean
  /** A difference begins; it continues if both are false. */
  begins: boolean
}

/**
 * What a comparison changes. A recorded difference ends when both values are equal now, or when records that came later
 * make those equal that it was about: then a difference of now is another one.
 */
function changeOf(compared: Compared): DifferenceChange {
  const { open, isEqual } = compared
  if (open === null) return { compared, ends: false, begins: !isEqual }
  const ends = isEqual || open.wasInFlight
  return { compared, ends, begins: ends && !isEqual }
}

/** A subject of an account whose value was compared, with the time of the reading; null where it could not be compared. */
export interface Check {
  accountId: string
  subject: BookKey['subject']
  readAt: string | null
}

/**
 * Records what was compared, and the differences: begun, continued, reported in the third run in a row with the likely
 * causes, or ended. One that ends before it was reported is deleted. Idempotent for one reading of the exchange.
 *
 * @returns how many differences were reported
 */
export async function recordComparison(
  tx: TransactionSql,
  checks: readonly Check[],
  compared: readonly Compared[]
): Promise<number> {
  await recordChecks(tx, checks)
  const changes = compared.map(changeOf)
  await endDifferences(
    tx,
    changes.flatMap(({ compared: { open }, ends }) => (ends && open !== null ? [open.differenceId] : []))
  )
  await insertDifferences(
    tx,
    changes.flatMap(({ compared, begins }) => (begins ? [compared] : []))
  )
  const lasting = changes.flatMap(({ compared, ends }) => (!ends && compared.open !== null ? [compared] : []))
  return continueDifferences(tx, lasting)
}

async function recordChecks(tx: TransactionSql, checks: readonly Check[]): Promise<void> {
  const rows = checks.map(({ accountId, subject, readAt }) => ({ account_id: accountId, subject, read_at: readAt }))
  await tx`
    insert into book_checks as known (account_id, subject, compared_at)
    select account_id, subject, read_at
    from jsonb_to_recordset(${JSON.stringify(rows)}::text::jsonb) as r (account_id bigint, subject text, read_at timestamptz)
    order by account_id, subject
    on conflict (account_id, subject) do update set
      attempted_at = now(), compared_at = coalesce(excluded.compared_at, known.compared_at)`
}

async function endDifferences(tx: TransactionSql, differenceIds: readonly string[]): Promise<void> {
  if (differenceIds.length === 0) return
  await tx`delete from book_differences
    where difference_id = ${anyOf(tx, differenceIds)} and explained_at is null and unexplained_at is null`
  await tx`
    update book_differences set explained_at = now(), explained_by = 'records', last_checked_at = now()
    where difference_id = ${anyOf(tx, differenceIds)} and explained_at is null`
}

/** Another run may have recorded the difference of this reading. */
async function insertDifferences(tx: TransactionSql, begun: readonly Compared[]): Promise<void> {
  if (begun.length === 0) return
  await tx`
    insert into book_differences (
      account_id, wallet, asset, market_type, symbol, position_side, ours, theirs, difference, runs, since, read_at,
      exchange_symbol, entry_price, mark_price
    )
    select account_id, case when side = '' then subject end, case when side = '' then name end,
      case when side <> '' then 'FUTURES' end, case when side <> '' then name end, nullif(side, ''),
      ours, theirs, difference, 1, read_at, read_at, exchange_symbol, entry_price, mark_price
    from jsonb_to_recordset(${JSON.stringify(begun.map(rowOf))}::text::jsonb) as r (
      account_id bigint, subject text, name text, side text, ours numeric, theirs numeric, difference numeric,
      read_at timestamptz, exchange_symbol text, entry_price numeric, mark_price numeric
    )
    order by account_id, subject, name, side
    on conflict do nothing`
}

/** @returns how many differences were reported */
async function continueDifferences(tx: TransactionSql, lasting: readonly Compared[]): Promise<number> {
  if (lasting.length === 0) return 0
  const rows = lasting.map(one => ({ ...rowOf(one), difference_id: one.open?.differenceId }))
  const due = await tx<{ difference_id: string }[]>`
    update book_differences d set ours = r.ours, theirs = r.theirs, difference = r.difference, read_at = r.read_at,
      exchange_symbol = r.exchange_symbol, entry_price = r.entry_price, mark_price = r.mark_price,
      runs = d.runs + 1, last_checked_at = now(),
      unexplained_at = case when d.runs + 1 >= ${RUNS_UNTIL_REPORTED} then coalesce(d.unexplained_at, now()) end
    from jsonb_to_recordset(${JSON.stringify(rows)}::text::jsonb) as r (
      difference_id bigint, ours numeric, theirs numeric, difference numeric, read_at timestamptz, exchange_symbol text,
      entry_price numeric, mark_price numeric
    ), book_differences before
    where d.difference_id = r.difference_id and d.explained_at is null and r.read_at > d.read_at
      and before.difference_id = d.difference_id
    returning case when before.unexplained_at is null and d.unexplained_at is not null then d.difference_id end
      as difference_id`
  const reported = due.flatMap(({ difference_id }) => difference_id ?? [])
  if (reported.length > 0) await recordCauses(tx, reported)
  return reported.length
}

/** The entries and executions around the start of differences whose amounts are nearest, and what is known to be missing. */
async function recordCauses(tx: TransactionSql, differenceIds: readonly string[]): Promise<void> {
  await tx`
    with reported as materialized (
      select d.*, a.exchange, since - ${BEFORE_IT}::interval as from_at, since + ${AFTER_IT}::interval as until_at
      from book_differences d join ${accountsWithoutCredentials(tx)} a using (account_id)
      where difference_id = ${anyOf(tx, differenceIds)}
    ), events as (
      select r.difference_id, r.difference, e.kind, e.at, e.amount
      from reported r join ledger_entries e on e.account_id = r.account_id and e.wallet in ('SPOT', 'FUTURES')
        and e.at between r.from_at and r.until_at
      where (e.wallet = r.wallet and e.asset = r.asset) or (r.symbol is not null and e.kind = 'liquidation')
      union all
      select r.difference_id, r.difference, 'execution', e.executed_at, sum(c.amount)
      from reported r join trade_executions e on e.account_id = r.account_id
        and e.executed_at between r.from_at and r.until_at
      cross join lateral execution_changes(
        e.market_type, e.base, e.quote, e.side, e.price, e.quantity, e.fee, e.fee_asset,
        coalesce(e.exchange_realized_pnl, e.realized_pnl)
      ) c
      where c.asset = r.asset and book_wallet(r.exchange, e.market_type) = r.wallet
      group by r.difference_id, r.difference, e.execution_id
      union all
      select r.difference_id, r.difference, 'execution', e.executed_at,
        case when e.side = 'BUY' then e.quantity else -e.quantity end
      from reported r join trade_executions e on e.account_id = r.account_id and e.symbol = r.symbol
        and e.market_type = r.market_type and e.executed_at between r.from_at and r.until_at
    ), nearest as (
      select difference_id, jsonb_agg(jsonb_build_object('kind', kind, 'at', at, 'amount', trim_scale(amount)::text)
        order by place) as causes
      from (
        select *, row_number() over (
          partition by difference_id order by abs(abs(amount) - abs(difference)), at desc
        ) as place
        from events
      ) ordered
      where place <= ${MAX_EVENTS} group by difference_id
    )
    update book_differences d set causes = coalesce(n.causes, '[]') || ${knownGaps(tx)}
    from reported r left join nearest n using (difference_id)
    where d.difference_id = r.difference_id`
}

/** What is known to be missing in the books of the account of a reported difference `r`. */
function knownGaps(tx: TransactionSql) {
  return tx`(
    select coalesce(jsonb_agg(jsonb_build_object('kind', gap)), '[]')
    from (
      select 'ledger_incomplete' as gap where exists (
        select from ledger_readings l where l.account_id = r.account_id and l.incomplete <> '[]'
      )
      union all
      select 'fills_missing' where exists (
        select from orders o where o.account_id = r.account_id and o.fills_due_at is not null
      )
      union all
      select 'orders_flagged' where exists (
        select from orders o where o.account_id = r.account_id and o.flagged_at is not null
          and o.status in ('pending', 'open', 'partially_filled', 'unknown')
      )
    ) gaps
  )`
}

function rowOf({ accountId, subject, name, side, ours, theirs, difference, readAt, listed }: Compared) {
  return {
    account_id: accountId,
    subject,
    name,
    side,
    ours,
    theirs,
    difference,
    read_at: readAt,
    exchange_symbol: listed?.exchangeSymbol ?? null,
    entry_price: listed?.entryPrice ?? null,
    mark_price: listed?.markPrice ?? null
  }
}
