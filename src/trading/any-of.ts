import type { Sql, TransactionSql } from '../database/client.ts'

/**
 * `any (…)` over our own ids. The planner sees how few they are and uses an index. For rows that a function makes of
 * JSON it would read whole tables.
 *
 * @param ids bigints as text, as the database gave them
 */
export function anyOf(sql: Sql | TransactionSql, ids: Iterable<string>) {
  return sql`any (${`{${[...new Set(ids)].join(',')}}`}::bigint[])`
}
