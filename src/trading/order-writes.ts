// @FEAT:trading @COMP:service @TYPE:core
import type { TransactionSql } from '../database/client.ts'
import type { Pair } from '../domain/pair.ts'
import { anyOf } from './any-of.ts'
import { CHECKS_UNTIL_FLAGGED, type KnownOrder, type OrderChange } from './order-reconciliation.ts'
import type { BookedExecution, BookedPosition } from './position-ledger.ts'
import { recordRoundTrips } from './round-trips.ts'

/**
 * How often the fills of an order are read to replace a difference, after 1, 2, 4, … minutes and then once a day: for
 * about three weeks. What an exchange has not listed until then it does not list any more.
 */
export const MAX_FILL_RETRIES = 30
const FIRST_RETRY_SECONDS = 60
const LAST_RETRY_SECONDS = 24 * 60 * 60

/** An order, and what becomes of its row. */
export interface ChangedOrder {
  order: KnownOrder
  change: OrderChange
}

/**
 * Writes orders, executions and positions in one statement, and then the results of round trips. A difference that is removed is kept in `replaced_executions`,
 * with the time, so that the values of its day are computed again.
 *
 * @throws {Error} when another writer recorded or removed one of the executions
 */
export async function writeChanges(
  tx: TransactionSql,
  changes: readonly ChangedOrder[],
  positions: readonly BookedPosition[]
): Promise<void> {
  const booked = positions.flatMap(({ executions, pair }) => executions.map(row => executionRow(row, pair)))
  const fresh = booked.filter(({ execution_id }) => execution_id === null)
  const recomputedIds = booked.flatMap(({ execution_id }) => execution_id ?? [])
  const removedIds = positions.flatMap(({ removedIds }) => removedIds)
  const ids = changes.map(({ order }) => order.orderId)
  const [written] = await tx<{ inserted: number; removed: number }[]>`
    with booked as materialized (
      select * from jsonb_to_recordset(${JSON.stringify(booked)}::text::jsonb) as r(
        execution_id bigint, order_id bigint, strategy_account_id bigint, account_id bigint, market_type text,
        exchange_trade_id text, symbol text, base text, quote text, side text, position_side text, price numeric,
        quantity numeric, fee numeric, fee_asset text, fee_value numeric, realized_pnl numeric, executed_at timestamptz,
        quantity_before numeric, entry_price_before numeric, exchange_realized_pnl numeric
      )
    ), inserted as (
      insert into trade_executions (
        order_id, strategy_account_id, account_id, market_type, exchange_trade_id, symbol, base, quote, side,
        position_side, price, quantity, fee, fee_asset, fee_value, realized_pnl, executed_at, quantity_before,
        entry_price_before, exchange_realized_pnl
      )
      select order_id, strategy_account_id, account_id, market_type, exchange_trade_id, symbol, base, quote, side,
        position_side, price, quantity, fee, fee_asset, fee_value, realized_pnl, executed_at, quantity_before,
        entry_price_before, exchange_realized_pnl
      from booked where execution_id is null
      on conflict do nothing returning 1
    ), recomputed as (
      ${updateExecutions(tx, recomputedIds)}
    ), removed as (
      ${deleteExecutions(tx, removedIds)}
    ), kept as (
      ${keepRemoved(tx)}
    ), positions as (
      ${upsertPositions(tx, positions, 'strategies')}
    ), positions_of_accounts as (
      ${upsertPositions(tx, positions, 'accounts')}
    ), changed as (
      update orders o set
        status = r.status, filled_quantity = r.filled_quantity, average_price = r.average_price, misses = r.misses,
        fill_checks = r.fill_checks, fill_retries = coalesce(r.fill_retries, 0), fills_due_at = ${fillsDueAt(tx)},
        mismatch = r.mismatch, mismatch_checks = r.mismatch_checks,
        error_code = r.error_code, base = coalesce(r.base, o.base), quote = coalesce(r.quote, o.quote),
        last_checked_at = now(), updated_at = now(),
        flagged_at = case when r.status = 'unknown' or r.mismatch_checks >= ${CHECKS_UNTIL_FLAGGED}
          then coalesce(o.flagged_at, now()) end
      from jsonb_to_recordset(${JSON.stringify(changes.map(orderRow))}::text::jsonb) as r(
        order_id bigint, status text, filled_quantity numeric, average_price numeric, misses int, fill_checks int,
        fill_retries int, mismatch text, mismatch_checks int, error_code text, base text, quote text
      )
      where o.order_id = r.order_id and o.order_id = ${anyOf(tx, ids)}
    )
    select (select count(*)::int from inserted) as inserted, (select count(*)::int from removed) as removed`
  // No other writer can record an execution under the lock of its order. If one did, the positions above are wrong.
  if (written?.inserted !== fresh.length) throw new Error('executions were recorded by another writer')
  if (written.removed !== removedIds.length) throw new Error('executions were removed by another writer')
  await recordRoundTrips(tx, positions)
}

/** Updates recorded executions from the relation `booked`. */
function updateExecutions(tx: TransactionSql, executionIds: readonly string[]) {
  return tx`
    update trade_executions e set
      base = coalesce(booked.base, e.base), quote = coalesce(booked.quote, e.quote),
      -- The values of its day are computed again when its currency or an amount has changed.
      recorded_at = case
        when booked.quote <> e.currency or booked.realized_pnl is distinct from e.realized_pnl
          or booked.fee_value is distinct from e.fee_value
        then now() else e.recorded_at end,
      fee = booked.fee, fee_asset = booked.fee_asset, fee_value = booked.fee_value,
      realized_pnl = booked.realized_pnl, quantity_before = booked.quantity_before,
      entry_price_before = booked.entry_price_before
    from booked
    where e.execution_id = booked.execution_id and e.execution_id = ${anyOf(tx, executionIds)}`
}

/** Deletes executions, as the relation `removed`. */
function deleteExecutions(tx: TransactionSql, executionIds: readonly string[]) {
  return tx`
    delete from trade_executions where execution_id = ${anyOf(tx, executionIds)}
    returning execution_id, order_id, strategy_account_id, account_id, exchange_trade_id,
      coalesce(quote, currency) as currency, side, price, quantity, fee_value, realized_pnl, executed_at`
}

function keepRemoved(tx: TransactionSql) {
  return tx`
    insert into replaced_executions (
      execution_id, order_id, strategy_account_id, account_id, exchange_trade_id, currency, side, price, quantity,
      fee_value, realized_pnl, executed_at
    )
    select execution_id, order_id, strategy_account_id, account_id, exchange_trade_id, currency, side, price, quantity,
      fee_value, realized_pnl, executed_at
    from removed`
}

/** When the fills of an order `o` are read again, by its change `r`; null without a difference, and after the last time. */
function fillsDueAt(tx: TransactionSql) {
  return tx`
    case
      when r.fill_retries is null or r.fill_retries >= ${MAX_FILL_RETRIES} then null
      when r.fill_retries = o.fill_retries and o.fills_due_at is not null then o.fills_due_at
      else now() + make_interval(secs => least(${FIRST_RETRY_SECONDS} * 2 ^ least(r.fill_retries, 20), ${LAST_RETRY_SECONDS}))
    end`
}

/**
 * Inserts or updates the positions of strategies, or those of accounts. Realised PnL and fees are added to the stored sums.
 * The unrealised PnL of an open position without a mark is unknown.
 */
function upsertPositions(tx: TransactionSql, positions: readonly BookedPosition[], holders: 'strategies' | 'accounts') {
  const rows = positions
    .filter(({ key }) => (key.strategyAccountId === null) === (holders === 'accounts'))
    .map(positionRow)
  const key =
    holders === 'strategies'
      ? tx`(strategy_account_id, market_type, symbol, position_side)`
      : tx`(holder_account_id, market_type, symbol, position_side) where strategy_account_id is null`
  return tx`
    insert into strategy_positions as held (
      strategy_account_id, holder_account_id, market_type, symbol, position_side, base, quote, quantity, entry_price,
      realized_pnl, fees, unrealized_pnl
    )
    select r.*, case when quantity = 0 then 0 end from jsonb_to_recordset(${JSON.stringify(rows)}::text::jsonb) as r(
      strategy_account_id bigint, account_id bigint, market_type text, symbol text, position_side text, base text,
      quote text, quantity numeric, entry_price numeric, realized_pnl numeric, fees numeric
    )
    order by strategy_account_id, account_id, market_type, symbol, position_side
    on conflict ${key} do update set
      base = excluded.base, quote = excluded.quote,
      quantity = excluded.quantity,
      entry_price = excluded.entry_price,
      realized_pnl = held.realized_pnl + excluded.realized_pnl,
      fees = held.fees + excluded.fees,
      unrealized_pnl = case when excluded.quantity = 0 then 0
        else (held.mark_price - excluded.entry_price) * excluded.quantity end,
      updated_at = now()`
}

function executionRow(
  { entry, executionId, fee, feeAsset, feeValue, realizedPnl, before }: BookedExecution,
  { base, quote }: Pair
) {
  return {
    execution_id: executionId,
    fee,
    fee_asset: feeAsset,
    fee_value: feeValue,
    realized_pnl: realizedPnl,
    quantity_before: before.quantity.toFixed(),
    entry_price_before: before.entryPrice?.toFixed() ?? null,
    ...(entry !== null && {
      order_id: entry.orderId,
      strategy_account_id: entry.strategyAccountId,
      account_id: entry.accountId,
      market_type: entry.marketType,
      exchange_trade_id: entry.exchangeTradeId,
      symbol: entry.symbol,
      base,
      quote,
      side: entry.side,
      position_side: entry.positionSide,
      price: entry.price,
      quantity: entry.quantity,
      executed_at: entry.executedAt,
      exchange_realized_pnl: entry.exchangePnl ?? null
    })
  }
}

function positionRow({ key, pair, holding, realizedPnl, fees }: BookedPosition) {
  return {
    strategy_account_id: key.strategyAccountId,
    account_id: key.accountId,
    market_type: key.marketType,
    symbol: key.symbol,
    position_side: key.positionSide,
    base: pair.base,
    quote: pair.quote,
    quantity: holding.quantity.toFixed(),
    entry_price: holding.entryPrice?.toFixed() ?? null,
    realized_pnl: realizedPnl.toFixed(),
    fees: fees.toFixed()
  }
}

function orderRow({ order, change }: ChangedOrder) {
  // The row of an order that contradicts its exchange stays as it is.
  const pair = change.mismatch === null ? order.pair : null
  return {
    order_id: order.orderId,
    status: change.status,
    filled_quantity: change.filledQuantity,
    average_price: change.averagePrice,
    misses: change.misses,
    fill_checks: change.fillChecks,
    fill_retries: change.fillRetries,
    mismatch: change.mismatch,
    mismatch_checks: change.mismatchChecks,
    error_code: change.errorCode,
    base: pair?.base ?? null,
    quote: pair?.quote ?? null
  }
}
