/** A table for a terminal: a header line, then one line for each row, in aligned columns. */
export function table(columns: readonly string[], rows: readonly (readonly unknown[])[]): string {
  const cells = [columns, ...rows].map(row => row.map(cell))
  const widths = columns.map((_, i) => Math.max(...cells.map(row => row[i]?.length ?? 0)))
  return cells
    .map(row =>
      row
        .map((text, i) => text.padEnd(widths[i] ?? 0))
        .join('  ')
        .trimEnd()
    )
    .join('\n')
}

/** One cell: a dash for an absent value, without line breaks or anything else that moves a terminal's cursor. */
export function cell(value: unknown): string {
  return value === undefined || value === null ? '-' : String(value).replace(/\p{Control}/gu, ' ')
}
