// @FEAT:trading @COMP:service @TYPE:core
import type { TransactionSql } from '../database/client.ts'
import { anyOf } from './any-of.ts'
import { unseen } from './performance-store.ts'

/** Entries of one transaction; bounds its duration. */
const ENTRIES_AT_ONCE = 500

/** Runs a function in a transaction of the job. */
type InTransaction = <T>(work: (tx: TransactionSql) => Promise<T>) => Promise<T>

/**
 * Assigns funding entries to the positions that were held at their time: new entries, and those of which an execution
 * before them was recorded or removed since. In transactions of a bounded size. A run that ends early is repeated by the
 * next one. Idempotent.
 *
 * @returns the number of parts that are new or have another amount
 */
export async function assignFunding(transaction: InTransaction, signal: AbortSignal): Promise<number> {
  const { ids, asOf } = await transaction(entriesToAssign)
  let assigned = 0
  for (let i = 0; i < ids.length; i += ENTRIES_AT_ONCE) {
    signal.throwIfAborted()
    assigned += await transaction(tx => assignEntries(tx, ids.slice(i, i + ENTRIES_AT_ONCE)))
  }
  await transaction(
    tx => tx`
      insert into funding_progress (assigned_until) values (${asOf}::timestamptz)
      on conflict (is_only) do update set assigned_until = greatest(funding_progress.assigned_until, excluded.assigned_until)`
  )
  return assigned
}

/** The entries whose parts may change, the earliest recorded first, and the time up to which they are complete. */
async function entriesToAssign(tx: TransactionSql): Promise<{ ids: string[]; asOf: string }> {
  const since = tx`(select coalesce((select assigned_until from funding_progress), '-infinity') - ${unseen(tx)})`
  const [row] = await tx<{ as_of: string }[]>`select now()::text as as_of`
  if (row === undefined) throw new Error('a select without a row')
  const wanted = await tx<{ entry_id: string }[]>`
    with changed as (
      select e.account_id, o.exchange_symbol, min(e.executed_at) as first_at
      from (
        select account_id, order_id, executed_at from trade_executions
        where recorded_at > ${since} and market_type = 'FUTURES'
        union all
        select account_id, order_id, executed_at from replaced_executions where replaced_at > ${since}
      ) e
      join orders o using (order_id)
      where o.market_type = 'FUTURES'
      group by 1, 2
    ), wanted as (
      select entry_id from ledger_entries
      where kind = 'funding' and recorded_at > ${since}
      union
      select l.entry_id
      from changed join ledger_entries l on l.account_id = changed.account_id and l.symbol = changed.exchange_symbol
        and l.at > changed.first_at
      where l.kind = 'funding'
    )
    select entry_id from wanted order by entry_id`
  return { ids: wanted.map(({ entry_id }) => entry_id), asOf: row.as_of }
}

/**
 * Assigns entries, and changes the sums of their positions. The parts are by signed quantity, so that of two opposite
 * positions under one net position each has what it pays or receives on its own; where the quantities add up to zero, by
 * their absolute values. The quantity is that before the executions of the same time. Parts are rounded at 20 decimals, and the
 * largest position has what is left. A position counts if its quote currency is the asset of the entry.
 */
async function assignEntries(tx: TransactionSql, entryIds: readonly string[]): Promise<number> {
  // Sent together and executed in sequence: the second statement sees what was committed before the positions were locked.
  const [, [written]] = await Promise.all([
    tx`
      select from strategy_positions p
      where p.market_type = 'FUTURES' and p.holder_account_id in (
        select account_id from ledger_entries where entry_id = ${anyOf(tx, entryIds)}
      )
      order by strategy_account_id, holder_account_id, market_type, symbol, position_side for no key update`,
    tx<{ written: number }[]>`
      with entry as materialized (
        select l.entry_id, l.account_id, l.asset, l.amount, l.at, known.symbol
        from ledger_entries l left join lateral (
          select o.symbol from orders o
          where o.account_id = l.account_id and o.market_type = 'FUTURES' and o.exchange_symbol = l.symbol limit 1
        ) known on true
        where l.entry_id = ${anyOf(tx, entryIds)}
      ), holder as materialized (
        ${holdersOfEntries(tx)}
      ), wanted as (
        ${partsOfEntries(tx)}
      ), changed as materialized (
        select entry_id, coalesce(wanted.strategy_account_id, had.strategy_account_id) as strategy_account_id,
          coalesce(wanted.position_side, had.position_side) as position_side, coalesce(wanted.amount, 0) as amount,
          coalesce(wanted.amount, 0) - coalesce(had.amount, 0) as change
        from (select *, coalesce(strategy_account_id, 0) as a, coalesce(position_side, '') as b from wanted) wanted
        full join (
          select *, coalesce(strategy_account_id, 0) as a, coalesce(position_side, '') as b
          from funding_shares where entry_id = ${anyOf(tx, entryIds)}
        ) had using (entry_id, a, b)
        where coalesce(wanted.amount, 0) is distinct from had.amount
      ), positions as (
        update strategy_positions p set funding = p.funding + moved.change, updated_at = now()
        from (
          select account_id, strategy_account_id, symbol, position_side, sum(change) as change
          from changed join entry using (entry_id) group by 1, 2, 3, 4
        ) moved
        where p.holder_account_id = moved.account_id and p.market_type = 'FUTURES' and p.symbol = moved.symbol
          and p.position_side = moved.position_side
          and coalesce(p.strategy_account_id, 0) = coalesce(moved.strategy_account_id, 0)
      ), touched as (
        update trade_executions e set recorded_at = now()
        where e.execution_id in (${endsAfterEntries(tx)})
      ), written as (
        insert into funding_shares (entry_id, account_id, strategy_account_id, symbol, position_side, currency, amount, at)
        select entry_id, account_id, strategy_account_id, symbol, position_side, asset, changed.amount, at
        from changed join entry using (entry_id) order by entry_id, strategy_account_id, position_side
        on conflict (entry_id, coalesce(strategy_account_id, 0), coalesce(position_side, ''))
          do update set amount = excluded.amount, assigned_at = now()
        returning 1
      )
      select count(*)::int as written from written`
  ])
  return written?.written ?? 0
}

/** The positions at the times of the relation `entry`, with their signed quantities. */
function holdersOfEntries(tx: TransactionSql) {
  const ofPosition = tx`
    e.account_id = p.holder_account_id and e.market_type = p.market_type and e.symbol = p.symbol
    and e.position_side = p.position_side and coalesce(e.strategy_account_id, 0) = coalesce(p.strategy_account_id, 0)
    and e.executed_at < entry.at`
  const change = tx`quantity_change(e.market_type, e.side, e.quantity, e.fee, e.fee_asset, e.base)`
  return tx`
    select entry.entry_id, p.strategy_account_id, p.position_side, held.quantity
    from entry
    join strategy_positions p on p.holder_account_id = entry.account_id and p.market_type = 'FUTURES'
      and p.symbol = entry.symbol and coalesce(p.quote, p.currency) = entry.asset
    cross join lateral (
      select coalesce(e.quantity_before + ${change}, (select sum(${change}) from trade_executions e where ${ofPosition})) as quantity
      from trade_executions e where ${ofPosition}
      order by e.executed_at desc, length(e.exchange_trade_id) desc, e.exchange_trade_id collate "C" desc, e.order_id desc
      limit 1
    ) held
    where held.quantity <> 0`
}

/** The parts of each entry, over the relations `entry` and `holder`. */
function partsOfEntries(tx: TransactionSql) {
  return tx`
    select entry_id, strategy_account_id, position_side,
      case when place = 1 then total - sum(part) over (partition by entry_id) + part else part end as amount
    from (
      select entry_id, strategy_account_id, position_side, place, total,
        round(round(total * case when net <> 0 then quantity else abs(quantity) end, 40)
          / case when net <> 0 then net else gross end, 20) as part
      from (
        select holder.*, entry.amount as total, sum(quantity) over own as net, sum(abs(quantity)) over own as gross,
          row_number() over (
            partition by entry_id order by abs(quantity) desc, strategy_account_id, position_side
          ) as place
        from holder join entry using (entry_id)
        window own as (partition by entry_id)
      ) weighed
    ) divided
    union all
    select entry_id, null, null, amount from entry where not exists (select from holder where holder.entry_id = entry.entry_id)`
}

/** The executions that end the round trips in which the entries of the relation `changed` are: their results change. */
function endsAfterEntries(tx: TransactionSql) {
  return tx`
    select ending.execution_id
    from changed join entry using (entry_id)
    cross join lateral (
      select e.execution_id from trade_executions e
      where e.account_id = entry.account_id and e.market_type = 'FUTURES' and e.symbol = entry.symbol
        and e.position_side = changed.position_side
        and coalesce(e.strategy_account_id, 0) = coalesce(changed.strategy_account_id, 0)
        and e.executed_at >= entry.at and e.round_trip_pnl is not null
      order by e.executed_at, length(e.exchange_trade_id), e.exchange_trade_id collate "C", e.order_id
      limit 1
    ) ending`
}
