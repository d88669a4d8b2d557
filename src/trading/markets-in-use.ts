// @FEAT:price-cache @COMP:service @TYPE:core
import { accountsWithoutCredentials } from '../accounts/account-table.ts'
import type { Database } from '../database/database.ts'
import type { Market } from '../domain/market.ts'

/** The markets whose prices are needed: of strategies, unfinished orders, positions and balances of active accounts. */
export async function marketsInUse(database: Database): Promise<Market[]> {
  const rows = await database.run(
    sql => sql<{ exchange: Market['exchange']; market_type: Market['marketType'] }[]>`
      select distinct exchange, market_type from (
        select account_id, market_type from strategy_accounts sa join strategies s using (strategy_id)
        where sa.is_active and s.is_active
        union
        select account_id, market_type from orders where status in ('pending', 'open', 'partially_filled', 'unknown')
        union
        select holder_account_id, market_type from strategy_positions where quantity <> 0
        union
        select account_id, market_type from account_balances where total <> 0
        union
        select account_id, 'SPOT' from ${accountsWithoutCredentials(sql)} spot
      ) used join ${accountsWithoutCredentials(sql)} a using (account_id)
      where a.is_active order by exchange, market_type`
  )
  return rows.map(({ exchange, market_type }) => ({ exchange, marketType: market_type }))
}
