// @FEAT:trading @COMP:service @TYPE:core
import type { TransactionSql } from '../../database/client.ts'
import { type Column, commaSeparated, type Fragment, shown } from './column.ts'
import type { KeyType } from './cursor.ts'
import { firstDayOf, type Moment, timestampOf } from './moment.ts'
import type { Partition, Scope, Selection } from './scope.ts'

/**
 * A list that clients read page by page. To read a page of it at any depth, Postgres needs an index over the columns of
 * `key`, one over the column of each partition and them, and the same with `currency` before them.
 */
export interface Collection {
  /** The last part of its path, such as `daily-summaries`. */
  name: string
  /** The fields of an item, by the names of the columns in `source`. */
  columns: Readonly<Record<string, Column>>
  /**
   * A relation with these columns and those of the key, usually the name of a table. One with a partition is joined for
   * each of its ids, which `id` is.
   */
  source: (tx: TransactionSql, id: Fragment | undefined) => Fragment
  /** How rows are selected by accounts and strategies. */
  scope: Scope
  /** The filters by accounts and strategies that `scope` applies. */
  selectedBy: readonly ('account_id' | 'strategy_id')[]
  /** The column of `from` and `to`, which is the first one of the key; without it there are no such filters. */
  time?: { column: string; kind: 'day' | 'time' }
  /** The column of the filter `currency`; without it there is none. */
  currency?: { column: string; description: string }
  /** The columns that order the items, and identify one. */
  key: readonly (readonly [column: string, type: KeyType])[]
  /** The order of all columns of the key. */
  order: 'asc' | 'desc'
  /**
   * There may be very many partitions, or few of very many rows may match: a page reads a bounded number of index entries
   * and may have fewer items than its limit. `rows`: there is no index by partition and `currency`, and the index of the
   * partition has the column of `currency`, too.
   */
  bounded?: 'parts' | 'rows'
  /** A time that changes whenever an item changes. With it, answers about closed days have an `ETag`. */
  changedAt?: string
}

/** Which items of a collection. */
export interface Filter extends Selection {
  currency?: string | undefined
  /** From this moment on. */
  from?: Moment | undefined
  /** Until before this moment. */
  to?: Moment | undefined
  /** The key of an item: only items after it. */
  after?: readonly string[] | undefined
}

/** The size of a page, and what a day is. */
export interface PageSize {
  /** Rows at most. */
  limit: number
  /** IANA name. */
  timeZone: string
  /** Index entries that a page of a bounded collection reads at most. Default: `MAX_SCANNED`. */
  maxScanned?: number | undefined
}

/** The key of a row, as hidden columns of the page. */
const keyColumn = (index: number) => `key_${index}`

/** The items of a page, in their order, with their keys. */
export function pageOf(
  tx: TransactionSql,
  collection: Collection,
  filter: Filter,
  { limit, timeZone }: PageSize
): Fragment {
  const { columns, key } = collection
  const items = Object.entries(columns).map(([name, column]) => shown(tx, name, column))
  const keys = keyTexts(tx, 't', key)
  const rows = rowsOf(tx, collection, filter, { limit, timeZone })
  return tx`select ${commaSeparated(tx, [...items, ...keys])} from (${rows}) t order by ${orderBy(tx, collection)}`
}

/** Removes the key from a row of `pageOf`. @returns the key */
export function takeKey(row: Record<string, unknown>, { key }: Collection): string[] {
  return key.map((_, i) => {
    const name = keyColumn(i)
    const value = String(row[name])
    delete row[name]
    return value
  })
}

/** The first `limit` rows that match, from the cursor on, with all columns of the source. */
function rowsOf(tx: TransactionSql, collection: Collection, filter: Filter, { limit, timeZone }: PageSize): Fragment {
  const partition = collection.scope(tx, filter)
  const end = tx`order by ${orderBy(tx, collection)} limit ${limit}`
  const conditions = conditionsOf(tx, collection, filter, timeZone)
  if (partition === undefined)
    return tx`select t.* from ${collection.source(tx, undefined)} t where ${conditions} ${end}`
  // Each part is read by its own index. Their first rows are those of the page.
  return tx`
    select t.* from (${partition.ids}) part cross join lateral (
      select t.* from ${collection.source(tx, tx`part.id`)} t where ${isOf(tx, partition)} and ${conditions} ${end}
    ) t order by ${partitionOrder(tx, collection, partition)} limit ${limit}`
}

/** Any `limit` rows that match, from the cursor on: fewer when there are not so many. At most so many rows are read. */
export function anyRowsOf(
  tx: TransactionSql,
  collection: Collection,
  filter: Filter,
  { limit, timeZone }: PageSize
): Fragment {
  const partition = collection.scope(tx, filter)
  const conditions = conditionsOf(tx, collection, filter, timeZone)
  if (partition === undefined)
    return tx`select t.* from ${collection.source(tx, undefined)} t where ${conditions} limit ${limit}`
  return tx`
    select t.* from (${partition.ids}) part cross join lateral (
      select t.* from ${collection.source(tx, tx`part.id`)} t where ${isOf(tx, partition)} and ${conditions} limit ${limit}
    ) t limit ${limit}`
}

/**
 * The order of the rows of all parts. Where it begins with the column of the partition, it is written as the id of the part:
 * Postgres then knows that the parts are in that order, and reads no part beyond the end of the page.
 */
function partitionOrder(tx: TransactionSql, collection: Collection, { column }: Partition): Fragment {
  const [[first], ...rest] = [collection.key[0] ?? [''], ...collection.key.slice(1)]
  if (first !== column) return orderBy(tx, collection)
  return tx`part.id ${directionOf(tx, collection)}, ${orderBy(tx, { ...collection, key: rest })}`
}

function isOf(tx: TransactionSql, { column }: Partition): Fragment {
  return tx`${tx(`t.${column}`)} = part.id`
}

/** The conditions of a filter on the rows of the relation `t`, besides those of the partition. */
export function conditionsOf(tx: TransactionSql, collection: Collection, filter: Filter, timeZone: string): Fragment {
  const { time, currency } = collection
  const conditions: Fragment[] = []
  const bound = (moment: Moment) =>
    time?.kind === 'day' ? firstDayOf(tx, moment, timeZone) : timestampOf(tx, moment, timeZone)
  if (time && filter.from) conditions.push(tx`${tx(`t.${time.column}`)} >= ${bound(filter.from)}`)
  if (time && filter.to) conditions.push(tx`${tx(`t.${time.column}`)} < ${bound(filter.to)}`)
  if (currency && filter.currency !== undefined) conditions.push(tx`${tx(`t.${currency.column}`)} = ${filter.currency}`)
  if (filter.after) conditions.push(isAfterKey(tx, collection, filter.after))
  return conditions.reduce((all, one) => tx`${all} and ${one}`, tx`true`)
}

function isAfterKey(tx: TransactionSql, { key, order }: Collection, after: readonly string[]): Fragment {
  const names = commaSeparated(
    tx,
    key.map(([name]) => tx`${tx(`t.${name}`)}`)
  )
  // The driver would cut the microseconds of a time.
  const values = key.map(([, type], i) => tx`${after[i] ?? null}::text::${tx.unsafe(type)}`)
  const [first, firstValue] = [key[0]?.[0] ?? '', values[0] ?? tx`null`]
  const all = commaSeparated(tx, values)
  // By the first column alone, Postgres finds the place in an index that has another column before it, too.
  return order === 'desc'
    ? tx`${tx(`t.${first}`)} <= ${firstValue} and (${names}) < (${all})`
    : tx`${tx(`t.${first}`)} >= ${firstValue} and (${names}) > (${all})`
}

/** The order of the rows of a relation with the columns of the key. */
export function orderBy(tx: TransactionSql, collection: Collection, relation = 't'): Fragment {
  return commaSeparated(
    tx,
    collection.key.map(([name]) => tx`${tx(`${relation}.${name}`)} ${directionOf(tx, collection)}`)
  )
}

function directionOf(tx: TransactionSql, { order }: Collection): Fragment {
  return order === 'desc' ? tx`desc` : tx`asc`
}

/** The columns of a key in a relation, as `takeKey` reads them. */
export function keyTexts(tx: TransactionSql, relation: string, key: Collection['key']): Fragment[] {
  return key.map(([name, type], i) => {
    const column = tx(`${relation}.${name}`)
    const value =
      type === 'timestamptz'
        ? tx`to_char(${column} at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')`
        : tx`${column}::text`
    return tx`${value} as ${tx(keyColumn(i))}`
  })
}
