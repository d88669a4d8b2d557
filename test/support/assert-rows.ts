import type { Test } from 'tap'

/** A row of which only the named fields matter. */
export type ExpectedRow = Readonly<Record<string, unknown>>

/**
 * Asserts that there are exactly these rows in this order, and that every row has the fields of its expected row with
 * exactly these values. Fields that an expected row does not name are not compared; nested values are compared whole.
 * @param rows anything: what is no array of objects does not pass
 * @param message shown with a failure
 * @returns whether it passed
 */
export function assertRows(
  t: Pick<Test, 'strictSame'>,
  rows: unknown,
  expected: readonly ExpectedRow[],
  message?: string
): boolean {
  return t.strictSame(namedFields(rows, expected), expected, message ?? '')
}

/** Reduces every row to the fields that the expected row at its place names; surplus rows stay as they are. */
export function namedFields(rows: unknown, expected: readonly ExpectedRow[]): unknown {
  if (!Array.isArray(rows)) return rows
  return rows.map((row: unknown, index) => {
    const names = expected[index]
    if (typeof row !== 'object' || row === null || names === undefined) return row
    return Object.fromEntries(Object.keys(names).map(name => [name, Reflect.get(row, name)]))
  })
}
