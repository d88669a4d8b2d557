// @FEAT:trading @COMP:service @TYPE:core
import type { Sql, TransactionSql } from '../database/client.ts'

/** Prefix of the trade id of an execution that is an opening position. */
export const OPENING = 'opening:'
/** Prefix of the trade id of an execution that is an adjustment of a position; the id of the adjustment follows. */
export const ADJUSTMENT = 'adjustment:'

/**
 * SQL expression: whether an execution is an opening position or an adjustment. It was not traded: it counts in no volume
 * and no number of executions, and it realises nothing, whatever was held before it.
 */
export function isUntraded(sql: Sql | TransactionSql) {
  return sql`(starts_with(exchange_trade_id, ${OPENING}) or starts_with(exchange_trade_id, ${ADJUSTMENT}))`
}
