import type { Test } from 'tap'

/** A row of which only the named fields are compared. */
export type ExpectedRow = Readonly<Record<string, unknown>>

/**
 * Asserts that there are exactly these rows in this order, and that every row has the fields of its expected row with
 * exactly these values. Fields that an expected row does not name are not compared; nested values are compared whole.
 * @param rows any value: the assertion fails if it is not an array of objects
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

/** Reduces every row to the fields of the expected row with the same index; surplus rows are unchanged. */
export function namedFields(rows: unknown, expected: readonly ExpectedRow[]): unknown {
  if (!Array.isArray(rows)) return rows
  return rows.map((row: unknown, index) => {
    const names = expected[index]
    if (typeof row !== 'object' || row === null || names === undefined) return row
    return Object.fromEntries(Object.keys(names).map(name => [name, Reflect.get(row, name)]))
  })
}
