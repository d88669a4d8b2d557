// @FEAT:trading @COMP:service @TYPE:core
import type { TransactionSql } from '../../database/client.ts'
import { type Collection, conditionsOf, type Filter, keyTexts, orderBy, type PageSize } from './collection.ts'
import { commaSeparated, type Fragment, shown } from './column.ts'

/** A page reads at most so many index entries, in all of its parts, unless there are more parts. */
const MAX_SCANNED = 8_000

/** The rows whose column is one of the ids. */
export interface Parts {
  column: string
  ids: readonly string[]
}

/**
 * The items of a page, in their order, with their keys, read in bounded time also where few of the rows match, or where
 * there are hundreds of parts. Of each part at most the same number of keys is read, by the index of the part. The page
 * ends where a part ends that has more. This place is a row of its own, with `is_item` false: the next page begins there,
 * and this page may have fewer items than its limit, or none.
 */
export function boundedPageOf(
  tx: TransactionSql,
  collection: Collection,
  filter: Filter,
  { column, ids }: Parts,
  { limit, timeZone, maxScanned = MAX_SCANNED }: PageSize
): Fragment {
  const { columns, key, order, source, currency, bounded } = collection
  // With an index by partition and currency, all entries match.
  const wanted = bounded === 'rows' ? filter.currency : undefined
  const others = { ...filter, currency: bounded === 'rows' ? undefined : filter.currency }
  const matches = currency && wanted !== undefined ? tx`${tx(`t.${currency.column}`)} = ${wanted}` : tx`true`
  const share = Math.max(1, Math.floor(maxScanned / ids.length))
  // All keys match unless there is a currency.
  const rows = wanted === undefined ? Math.min(limit, share) : share
  const keysOf = (relation: string) =>
    commaSeparated(
      tx,
      key.map(([name]) => tx`${tx(`${relation}.${name}`)}`)
    )
  const [keys, inOrder, isBeyond] = [
    keysOf('t'),
    tx`order by ${orderBy(tx, collection)}`,
    order === 'desc' ? tx`>` : tx`<`
  ]
  const items = Object.entries(columns).map(([name, one]) => shown(tx, name, one))
  return tx`
    with scanned as materialized (
      select t.* from unnest(${`{${ids.join(',')}}`}::text::bigint[]) part (id) cross join lateral (
        select ${keys}, ${matches} as matches, row_number() over (${inOrder}) = ${rows}::int as is_last
        from ${source(tx, undefined)} t
        where ${tx(`t.${column}`)} = part.id and ${conditionsOf(tx, collection, others, timeZone)}
        ${inOrder} limit ${rows}
      ) t
    ), page_end as materialized (
      select ${keys} from scanned t where is_last ${inOrder} limit 1
    ), page as materialized (
      (
        select ${keys}, true as is_item from scanned t
        where matches and not exists (select from page_end e where (${keysOf('e')}) ${isBeyond} (${keys}))
        ${inOrder} limit ${limit}
      )
      union all
      select ${keys}, false from page_end t
    )
    select ${commaSeparated(tx, [...items, ...keyTexts(tx, 'k', key)])}, k.is_item
    from page k
    left join lateral (select t.* from ${source(tx, undefined)} t where (${keys}) = (${keysOf('k')}) limit 1) t on k.is_item
    order by ${orderBy(tx, collection, 'k')}, k.is_item desc`
}
