// @FEAT:trading @COMP:service @TYPE:core
import { accountsWithoutCredentials } from '../accounts/account-table.ts'
import type { TransactionSql } from '../database/client.ts'
import type { Position } from '../domain/position.ts'
import { listedPairs } from '../exchanges/instrument-table.ts'
import { anyOf } from './any-of.ts'
import {
  type Compared,
  comparedOf,
  comparison,
  hasUnreadFills,
  type ListedPosition,
  openDifferences,
  READ_BEFORE
} from './book-comparison.ts'

/** The positions of an account as its exchange listed them. */
export interface PositionReading {
  accountId: string
  positions: readonly Position[]
  /** False when some could not be read: nothing follows from the absence of a position. */
  isComplete: boolean
  readAt: Date
}

/** Whether the positions of an account can be compared. */
export interface PositionState {
  accountId: string
  state: 'compared' | 'postponed' | 'without_opening'
  /** Whether a strategy holds a position. */
  isHeld: boolean
}

/**
 * Which of the accounts can be compared, the longest-waiting first: those whose books were opened, and whose orders were
 * read since the positions were compared last.
 */
export async function positionStates(tx: TransactionSql, accountIds: readonly string[]): Promise<PositionState[]> {
  const ids = anyOf(tx, accountIds)
  const rows = await tx<{ account_id: string; state: PositionState['state']; is_held: boolean }[]>`
    with last as materialized (
      select a.account_id, c.attempted_at, c.compared_at,
        exists (
          select from ledger_entries e
          where e.account_id = a.account_id and e.wallet in ('SPOT', 'FUTURES') and e.kind = 'opening'
        ) as is_opened
      from ${accountsWithoutCredentials(tx)} a left join book_checks c on c.account_id = a.account_id and c.subject = 'POSITIONS'
      where a.account_id = ${ids}
    ), held as materialized (
      select distinct p.holder_account_id as account_id from strategy_positions p
      where p.holder_account_id = ${ids} and p.market_type = 'FUTURES' and p.quantity <> 0
    )
    select account_id, case when not is_opened then 'without_opening'
        when ${hasUnreadFills(tx, 'last.account_id', 'last.compared_at')} then 'postponed'
        else 'compared' end as state,
      account_id in (select account_id from held) as is_held
    from last order by attempted_at nulls first, account_id`
  return rows.map(({ account_id, state, is_held }) => ({ accountId: account_id, state, isHeld: is_held }))
}

/**
 * Compares the positions of accounts, those of their strategies and their own, with those that were read. Positions that are equal and have no
 * recorded difference are not returned. Two quantities are equal when they differ by at most half of the smallest step of the
 * instrument. Writes nothing.
 */
export async function comparePositions(tx: TransactionSql, readings: readonly PositionReading[]): Promise<Compared[]> {
  if (readings.length === 0) return []
  const rows = await tx<Parameters<typeof comparedOf>[0][]>`
    with ${readPositions(tx, readings)}, ${heldPositions(tx, readings)}, ${comparison(tx)} select * from compared`
  return rows.map(row => {
    const compared = comparedOf(row)
    return { ...compared, listed: listedAs(compared, readings) }
  })
}

/** The position of a key as its exchange listed it. Several of one key have no entry price in common. */
function listedAs({ accountId, name, side }: Compared, readings: readonly PositionReading[]): ListedPosition | null {
  const listed = readings
    .filter(reading => reading.accountId === accountId)
    .flatMap(({ positions }) => positions.filter(one => one.symbol === name && one.positionSide === side))
  const [first] = listed
  if (first === undefined) return null
  const { exchangeSymbol, entryPrice, markPrice } = first
  return { exchangeSymbol, entryPrice: listed.length === 1 ? entryPrice : null, markPrice }
}

/** The relations `read` and `theirs`: the accounts and the positions that were read. */
function readPositions(tx: TransactionSql, readings: readonly PositionReading[]) {
  const accounts = readings.map(({ accountId, isComplete, readAt }) => ({
    account_id: accountId,
    is_complete: isComplete,
    read_at: readAt.toISOString()
  }))
  const positions = readings.flatMap(({ accountId, positions }) =>
    positions.map(({ symbol, positionSide, quantity }) => ({
      account_id: accountId,
      name: symbol,
      side: positionSide,
      quantity
    }))
  )
  return tx`
    read as materialized (
      select r.account_id, a.exchange, r.is_complete, r.read_at
      from jsonb_to_recordset(${JSON.stringify(accounts)}::text::jsonb)
        as r (account_id bigint, is_complete boolean, read_at timestamptz)
      join ${accountsWithoutCredentials(tx)} a using (account_id)
    ), theirs as (
      select account_id, name, side, sum(quantity) as quantity
      from jsonb_to_recordset(${JSON.stringify(positions)}::text::jsonb)
        as p (account_id bigint, name text, side text, quantity numeric)
      group by account_id, name, side
    )`
}

/** The relations `reading` and `recent` of positions. `offset 0` makes Postgres find the few executions by an index. */
function heldPositions(tx: TransactionSql, readings: readonly PositionReading[]) {
  const ids = anyOf(
    tx,
    readings.map(({ accountId }) => accountId)
  )
  return tx`
    ours as (
      select p.holder_account_id as account_id, p.symbol as name, p.position_side as side, sum(p.quantity) as quantity
      from strategy_positions p
      where p.holder_account_id = ${ids} and p.market_type = 'FUTURES' and p.quantity <> 0
      group by p.holder_account_id, p.symbol, p.position_side
    ), known as materialized (
      select * from ${openDifferences(tx)} d where subject = 'POSITIONS' and account_id = ${ids}
    ), names as (
      select account_id, name, side from theirs union select account_id, name, side from ours
      union select account_id, name, side from known
    ), steps as materialized (
      select exchange, symbol, min(quantity_step) as step from ${listedPairs(tx)} i
      where market_type = 'FUTURES' group by exchange, symbol
    ), listed as materialized (
      select account_id, 'POSITIONS' as subject, name, side, coalesce(o.quantity, 0) as ours_now,
        coalesce(t.quantity, 0) as theirs, r.read_at, coalesce(s.step, 0) / 2 as tolerance
      from names k join read r using (account_id)
      left join theirs t using (account_id, name, side) left join ours o using (account_id, name, side)
      left join steps s on s.exchange = r.exchange and s.symbol = k.name
      where r.is_complete or t.quantity is not null
    ), reading as (
      select *, null::bigint as difference_id from listed
      union all
      select l.account_id, l.subject, l.name, l.side, l.ours_now, d.theirs, d.read_at, l.tolerance, d.difference_id
      from known d join listed l using (account_id, name, side)
    ), since as materialized (
      select account_id, least(read_at, (select min(d.read_at) from known d where d.account_id = read.account_id))
        - ${READ_BEFORE}::interval as at
      from read
    ), recent as materialized (
      select s.account_id, 'POSITIONS' as subject, e.symbol as name, e.position_side as side, e.executed_at as at,
        sum(case when e.side = 'BUY' then e.quantity else -e.quantity end) as amount
      from since s cross join lateral (
        select * from trade_executions e where e.account_id = s.account_id and e.executed_at > s.at
          and e.market_type = 'FUTURES'
        offset 0
      ) e
      group by s.account_id, e.symbol, e.position_side, e.executed_at
    )`
}
