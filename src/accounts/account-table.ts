// @FEAT:exchanges @COMP:service @TYPE:core
import type { Sql, TransactionSql } from '../database/client.ts'

/** An active account whose credentials the exchange refuses. */
export interface RefusedAccount {
  accountId: string
  name: string
  exchange: string
}

/**
 * A subquery: the accounts without their credentials, for statements of other modules that join their tables with
 * accounts. No other module can read the encrypted columns.
 */
export function accountsWithoutCredentials(sql: Sql | TransactionSql) {
  return sql`(select account_id, user_id, name, exchange, is_testnet, is_active, state, created_at, valuation_currency
    from accounts)`
}

/** The active accounts whose credentials the exchange refuses. */
export async function refusedAccounts(tx: TransactionSql): Promise<RefusedAccount[]> {
  const rows = await tx<{ account_id: string; name: string; exchange: string }[]>`
    select account_id, name, exchange from accounts where is_active and state = 'credentials_refused'`
  return rows.map(({ account_id, name, exchange }) => ({ accountId: account_id, name, exchange }))
}
