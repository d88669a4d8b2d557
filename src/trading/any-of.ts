import type { Sql, TransactionSql } from '../database/client.ts'

/**
 * `any (…)` over ids of ours. Unlike rows that a function makes of JSON, the planner sees how few they are, and looks
 * them up instead of reading whole tables.
 *
 * @param ids bigints as text, as the database gave them
 */
export function anyOf(sql: Sql | TransactionSql, ids: Iterable<string>) {
  return sql`any (${`{${[...new Set(ids)].join(',')}}`}::bigint[])`
}
