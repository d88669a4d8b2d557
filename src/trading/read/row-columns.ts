// @FEAT:trading @COMP:service @TYPE:helper
import type { TransactionSql } from '../../database/client.ts'
import { type Fragment, id, orNull, text } from './column.ts'

/** Columns that positions, orders and executions have in common. */
export const STRATEGY = orNull(id('null: of the account itself, not of a strategy'))
export const STRATEGY_ACCOUNT = orNull(id('identifies the strategy on the account'))
export const MARKET_TYPE = text({ values: ['SPOT', 'FUTURES'] })
export const ORDER_SIDE = text({ values: ['BUY', 'SELL'] })
export const POSITION_SIDE = text({
  description: '`BOTH` on spot and in one-way mode',
  values: ['BOTH', 'LONG', 'SHORT']
})

/** Their filter `currency`. */
export const QUOTE = { column: 'quote', description: 'the quote currency; items without a known one are left out' }

/** The strategy of a row of the relation `row`. Read for the rows of a page only. */
export function strategyOf(tx: TransactionSql, row: string): Fragment {
  return tx`(
    select strategy_id from strategy_accounts sa
    where sa.strategy_account_id = ${tx(`${row}.strategy_account_id`)}
  )`
}
