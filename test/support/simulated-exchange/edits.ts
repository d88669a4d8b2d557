import { isLosslessNumber, parse, stringify } from 'lossless-json'

/** Fields of a row with the values that they have, or get; numbers as text. */
type Fields = Readonly<Record<string, unknown>>

/**
 * An edit of an answer, for the fault `edited`: each object that has these values gets the changes. Other digits stay as
 * they are. A change to undefined removes the field.
 */
export function changingRows(where: Fields, change: Fields): (body: string) => string {
  return editing((row, key) => (matches(row, key, where) ? { ...row, ...change } : row))
}

/** An edit of an answer, for the fault `edited`: each object that has these values is replaced by a value. */
export function replacingRows(where: Fields, replacement: unknown): (body: string) => string {
  return editing((row, key) => (matches(row, key, where) ? replacement : row))
}

type Row = Record<string, unknown>

function editing(change: (row: Row, key: string) => unknown): (body: string) => string {
  const walk = (value: unknown, key: string): unknown => {
    if (Array.isArray(value)) return value.map((item, index) => walk(item, String(index)))
    if (typeof value !== 'object' || value === null || isLosslessNumber(value)) return value
    const row = Object.fromEntries(Object.entries(value).map(([name, field]) => [name, walk(field, name)]))
    return change(row, key)
  }
  return body => stringify(walk(parse(body), '')) ?? ''
}

/** `key` among the fields means the name of the member that the row is. */
function matches(row: Row, key: string, where: Fields): boolean {
  return Object.entries(where).every(([field, value]) => String(field === 'key' ? key : row[field]) === String(value))
}
