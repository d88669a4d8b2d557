/**
 * Copies the named fields of every row, so that a test compares these alone, and exactly: the number and order of the
 * rows, too. A field that a row does not have is undefined.
 */
export function picked<T extends object, K extends keyof T & string>(
  rows: readonly T[],
  ...names: readonly K[]
): Record<string, T[K]>[] {
  return rows.map(row => Object.fromEntries(names.map(name => [name, row[name]])))
}
