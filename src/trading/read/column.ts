// @FEAT:trading @COMP:service @TYPE:helper
import type { PendingQuery, Row } from 'postgres'
import type { TransactionSql } from '../../database/client.ts'

/** A part of a statement. */
export type Fragment = PendingQuery<Row[]>

/**
 * How a value is read and shown. `id` and `amount` are exact decimal text, without trailing zeros; `time` is ISO 8601 in
 * UTC with milliseconds, `day` is `YYYY-MM-DD`; `count` is an integer; `flag` is a boolean; `list` is JSON.
 */
export type ColumnKind = 'id' | 'text' | 'amount' | 'count' | 'flag' | 'day' | 'time' | 'list'

/** A field of the items of a collection. */
export interface Column {
  kind: ColumnKind
  /** Null: unknown, or without a meaning for the item. */
  isNullable: boolean
  /** Shown in the API document. */
  description?: string
  /** The values of a text, if they are a closed list. */
  values?: readonly string[]
}

type Details = Pick<Column, 'description' | 'values'>

const columnOf =
  (kind: ColumnKind) =>
  (details: Details | string = {}): Column => ({
    kind,
    isNullable: false,
    ...(typeof details === 'string' ? { description: details } : details)
  })

/** Columns by their kind: `amount('net')`, `orNull(amount())`. */
export const id = columnOf('id')
export const text = columnOf('text')
export const amount = columnOf('amount')
export const count = columnOf('count')
export const flag = columnOf('flag')
export const day = columnOf('day')
export const time = columnOf('time')
export const list = columnOf('list')

/** The column, with null for what is not known. */
export function orNull(column: Column): Column {
  return { ...column, isNullable: true }
}

/** The value of a column of the relation `t`, as items show it. */
export function shown(tx: TransactionSql, name: string, { kind }: Column): Fragment {
  const column = tx(`t.${name}`)
  switch (kind) {
    case 'id':
    case 'day':
      return tx`${column}::text as ${tx(name)}`
    case 'amount':
      return tx`trim_scale(${column})::text as ${tx(name)}`
    case 'time':
      return tx`to_char(${column} at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"') as ${tx(name)}`
    default:
      return tx`${column}`
  }
}

/** The fragments, separated by commas. */
export function commaSeparated(tx: TransactionSql, fragments: readonly Fragment[]): Fragment {
  return fragments.reduce((all, one) => tx`${all}, ${one}`)
}
