// @FEAT:price-cache @COMP:service @TYPE:helper
import type { Database } from '../database/database.ts'
import type { Market } from './price-cache.ts'

/** The markets whose prices somebody needs: of strategies, unfinished orders and open positions of active accounts. */
export async function marketsInUse(database: Database): Promise<Market[]> {
  return database.run(
    sql => sql<Market[]>`
      select distinct exchange, market_type as "marketType" from (
        select account_id, market_type from strategy_accounts sa join strategies s using (strategy_id)
        where sa.is_active and s.is_active
        union
        select account_id, market_type from orders where status in ('pending', 'open', 'partially_filled', 'unknown')
        union
        select account_id, market_type from strategy_positions join strategy_accounts using (strategy_account_id)
        where quantity <> 0
        union
        select account_id, market_type from account_balances where total <> 0
        union
        select account_id, 'SPOT' from accounts
      ) used join accounts using (account_id)
      where accounts.is_active order by exchange, market_type`
  )
}
