// @FEAT:trading @COMP:service @TYPE:core
import type { TransactionSql } from '../../database/client.ts'
import { boundedPageOf } from './bounded-page.ts'
import { type Collection, type Filter, type PageSize, pageOf, takeKey } from './collection.ts'
import type { Value } from './csv.ts'

/** An item of a collection. Its fields are the columns of the collection. */
export type Item = Record<string, Value>

/** Rows of a page. */
export interface Rows {
  items: Item[]
  /** The key from which the next page goes on; undefined on the last one. */
  lastKey: string[] | undefined
}

/** Reads the first rows that match, from the cursor on. */
export async function readRows(
  tx: TransactionSql,
  collection: Collection,
  filter: Filter,
  { limit, ...others }: PageSize
): Promise<Rows> {
  // One more shows whether there is a next page.
  const size = { limit: limit + 1, ...others }
  const partition = collection.bounded && collection.scope(tx, filter)
  if (!partition) {
    const rows = await tx<Item[]>`${pageOf(tx, collection, filter, size)}`
    const keys = keysIn(rows, collection)
    return { items: rows.slice(0, limit), lastKey: rows.length > limit ? keys[limit - 1] : undefined }
  }
  const ids = (await tx<{ id: string }[]>`${partition.ids}`).map(({ id }) => id)
  if (ids.length === 0) return { items: [], lastKey: undefined }
  const parts = { column: partition.column, ids }
  const rows = await tx<(Item & { is_item: boolean })[]>`${boundedPageOf(tx, collection, filter, parts, size)}`
  const keys = keysIn(rows, collection)
  const items = rows.flatMap(({ is_item, ...item }) => (is_item ? [item] : []))
  // After the items there is the place where the page ends, if it does not end with the last row.
  return { items: items.slice(0, limit), lastKey: items.length > limit ? keys[limit - 1] : keys[items.length] }
}

/** Removes the keys from rows. */
function keysIn(rows: Item[], collection: Collection): string[][] {
  return rows.map(row => takeKey(row, collection))
}
