// @FEAT:trading @COMP:service @TYPE:core
import { accountsWithoutCredentials } from '../accounts/account-table.ts'
import type { Sql, TransactionSql } from '../database/client.ts'
import type { Decimal } from '../domain/decimal.ts'

/** What happened around the start of a difference (a kind of ledger entry, or `execution`), or what is known to be missing. */
interface BookCause {
  kind: string
  /** ISO 8601; absent for what is missing. */
  at?: string
  /** By how much it changed our value. */
  amount?: Decimal
}

/** A difference that was reported and is not explained. */
export interface UnexplainedDifference {
  account: string
  exchange: string
  /** The wallet and the asset, or the symbol and the side of the position. */
  what: string
  difference: Decimal
  causes: BookCause[]
}

/** The unexplained differences of active accounts. */
export interface UnexplainedDifferences {
  count: number
  /** Those that were reported last, five at most, the last one first. */
  differences: UnexplainedDifference[]
  /** Since when the oldest exists, and when the last was reported. */
  since: Date
  newestAt: Date
}

/** Reads the unexplained differences. @returns undefined when there are none */
export async function unexplainedDifferences(sql: Sql | TransactionSql): Promise<UnexplainedDifferences | undefined> {
  const [row] = await sql<
    { count: number; differences: UnexplainedDifference[]; since: Date | null; newest_at: Date | null }[]
  >`
    with unexplained as materialized (
      select d.*, a.name, a.exchange
      from book_differences d join ${accountsWithoutCredentials(sql)} a using (account_id)
      where d.explained_at is null and d.unexplained_at is not null and a.is_active
    )
    select count(*)::int as count, min(since) as since, max(unexplained_at) as newest_at, (
      select coalesce(jsonb_agg(jsonb_build_object('account', name, 'exchange', exchange,
        'what', concat_ws(' ', wallet, asset, symbol, position_side),
        'difference', trim_scale(difference)::text, 'causes', causes
      ) order by unexplained_at desc, difference_id), '[]')
      from (select * from unexplained order by unexplained_at desc, difference_id limit 5) newest
    ) as differences
    from unexplained`
  if (!row?.since || !row.newest_at) return undefined
  return { count: row.count, differences: row.differences, since: row.since, newestAt: row.newest_at }
}

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
