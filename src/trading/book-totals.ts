// @FEAT:trading @COMP:service @TYPE:core
import type { Sql, TransactionSql } from '../database/client.ts'
import type { Decimal } from '../domain/decimal.ts'
import type { MarketType } from '../domain/market.ts'
import { anyOf } from './any-of.ts'

/** A total that is not the sum of what it counts. */
export interface WrongTotal {
  accountId: string
  wallet: MarketType
  asset: string
  source: 'entries' | 'executions'
  total: Decimal
  sum: Decimal
}

/**
 * Sets the totals of accounts to the sums of all of their entries and executions. The triggers of the tables keep them
 * up to date from there. Idempotent.
 */
export async function recountBooks(tx: TransactionSql, accountIds: readonly string[]): Promise<void> {
  if (accountIds.length === 0) return
  await tx`select recount_books(${`{${[...new Set(accountIds)].join(',')}}`}::bigint[])`
}

/** The totals of accounts that are not the sums of all of their entries and executions. Reads the whole history. */
export async function wrongTotals(sql: Sql | TransactionSql, accountIds: readonly string[]): Promise<WrongTotal[]> {
  const ids = `{${[...new Set(accountIds)].join(',')}}`
  const rows = await sql<(Omit<WrongTotal, 'accountId'> & { account_id: string })[]>`
    select account_id, wallet, asset, source, trim_scale(coalesce(t.amount, 0))::text as total,
      trim_scale(coalesce(s.amount, 0))::text as sum
    from (select * from book_totals where account_id = ${anyOf(sql, accountIds)}) t
    full join book_sums(${ids}::bigint[]) s using (account_id, wallet, asset, source)
    where coalesce(t.amount, 0) <> coalesce(s.amount, 0) or coalesce(t.rounded, 0) <> coalesce(s.rounded, 0)
    order by account_id, wallet, asset, source`
  return rows.map(({ account_id, ...rest }) => ({ accountId: account_id, ...rest }))
}

/** The accounts whose books were opened, in the order of their ids. */
export async function booksToVerify(sql: Sql | TransactionSql): Promise<string[]> {
  const rows = await sql<{ account_id: string }[]>`
    select distinct account_id from ledger_entries where kind = 'opening' order by account_id`
  return rows.map(({ account_id }) => account_id)
}
