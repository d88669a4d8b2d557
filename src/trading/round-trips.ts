// @FEAT:trading @COMP:service @TYPE:core
import type { Sql, TransactionSql } from '../database/client.ts'
import type { BookedPosition } from './position-ledger.ts'

/**
 * Records the results of round trips in the executions that end them: of each position from the earliest execution that
 * was added, changed or removed. A round trip is from flat to flat, a position through zero ends one and begins the next.
 * Its result is net of fees; the quantity that an execution leaves decides, so that late and removed executions move the
 * ends. An execution whose round trip has another result gets `recorded_at` of now: the amounts of its day are computed
 * again. Needs the executions and the locks of the transaction that booked them. Idempotent.
 */
export async function recordRoundTrips(tx: TransactionSql, positions: readonly BookedPosition[]): Promise<void> {
  const changed = positions.filter(({ executions, removedIds }) => {
    return removedIds.length > 0 || executions.some(one => one.realizedPnl !== null || one.executionId !== null)
  })
  if (changed.length === 0) return
  const [ofStrategies, ofAccounts] = [changed.filter(isOfStrategy), changed.filter(one => !isOfStrategy(one))]
  if (ofStrategies.length > 0) await recordResults(tx, ofStrategies, tx`round_trips`)
  if (ofAccounts.length > 0) await recordResults(tx, ofAccounts, tx`round_trips_of_account`)
}

function isOfStrategy({ key }: BookedPosition): boolean {
  return key.strategyAccountId !== null
}

/** @param tripsOf the function that returns the round trips of one position, by its holder */
async function recordResults(
  tx: TransactionSql,
  positions: readonly BookedPosition[],
  tripsOf: ReturnType<TransactionSql>
): Promise<void> {
  const rows = positions.map(({ key, since }) => ({
    holder_id: key.strategyAccountId ?? key.accountId,
    market_type: key.marketType,
    symbol: key.symbol,
    position_side: key.positionSide,
    since
  }))
  await tx`
    update trade_executions e set
      round_trip_pnl = trip.pnl, round_trip_opened_at = trip.opened_at, recorded_at = now()
    from jsonb_to_recordset(${JSON.stringify(rows)}::text::jsonb) as p(
      holder_id bigint, market_type text, symbol text, position_side text, since timestamptz
    )
    cross join lateral ${tripsOf}(p.holder_id, p.market_type, p.symbol, p.position_side, p.since) trip
    where e.execution_id = trip.execution_id
      and (e.round_trip_pnl, e.round_trip_opened_at) is distinct from (trip.pnl, trip.opened_at)`
}

/**
 * SQL expression: the result of the round trip that the execution `e` ends, net of fees and funding; null when it ends
 * none. An entry at the time of an execution belongs to what was held before it.
 */
export function roundTripResult(tx: Sql | TransactionSql) {
  return tx`
    case when e.round_trip_pnl is not null then e.round_trip_pnl + (
      select coalesce(sum(f.amount), 0) from funding_shares f
      where e.market_type = 'FUTURES' and f.account_id = e.account_id and f.symbol = e.symbol
        and f.position_side = e.position_side
        and coalesce(f.strategy_account_id, 0) = coalesce(e.strategy_account_id, 0)
        and f.at > e.round_trip_opened_at and f.at <= e.executed_at
    ) end`
}
