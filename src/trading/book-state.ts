// @FEAT:trading @COMP:service @TYPE:core
import { accountsWithoutCredentials } from '../accounts/account-table.ts'
import type { Sql, TransactionSql } from '../database/client.ts'

/** How many differences are recorded, reported or not, of active accounts. */
export async function differenceCounts(
  sql: Sql | TransactionSql
): Promise<{ differences: number; unexplained: number; oldestSince: Date | null }> {
  const [row] = await sql<{ differences: number; unexplained: number; oldest_since: Date | null }[]>`
    select count(*)::int as differences, count(unexplained_at)::int as unexplained,
      min(since) filter (where unexplained_at is not null) as oldest_since
    from book_differences d join ${accountsWithoutCredentials(sql)} a using (account_id)
    where d.explained_at is null and a.is_active`
  return {
    differences: row?.differences ?? 0,
    unexplained: row?.unexplained ?? 0,
    oldestSince: row?.oldest_since ?? null
  }
}
