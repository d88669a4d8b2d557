// @FEAT:trading @COMP:service @TYPE:helper
import type { TransactionSql } from '../database/client.ts'

/** How long a replaced difference is kept, for questions about values that have changed. */
const KEPT = '90 days'

/**
 * SQL query: executions with the time of their last change. It has those that were replaced by their fills, too: the
 * values of the day of a replaced one must be computed again, even if no other execution is of that day. So are those of
 * the days of funding and interest.
 */
export function changedExecutions(tx: TransactionSql) {
  return tx`(
    select strategy_account_id, account_id, coalesce(quote, currency) as currency, executed_at, recorded_at
    from trade_executions
    union all
    select strategy_account_id, account_id, currency, executed_at, replaced_at from replaced_executions
    union all
    select strategy_account_id, account_id, currency, at, assigned_at from funding_shares
    union all
    select null, account_id, asset, at, recorded_at from ledger_entries where kind in ('funding', 'interest')
  )`
}

/** Deletes up to `limit` replaced executions that are older than 90 days. Idempotent. @returns the number of deleted rows */
export async function sweepReplacedExecutions(tx: TransactionSql, limit: number): Promise<number> {
  const { count } = await tx`
    delete from replaced_executions where execution_id in (
      select execution_id from replaced_executions where replaced_at < now() - ${KEPT}::interval
      order by execution_id limit ${limit} for update skip locked
    )`
  return count
}
