// @FEAT:trading @COMP:service @TYPE:helper

/** A value of an item, as JSON has it. */
export type Value = string | number | boolean | null | object

const NUMBER = /^-?\d+(?:\.\d+)?$/
/** A spreadsheet reads a cell that begins with one of these, also in full width, as a formula. */
const FORMULA = /^[=+\-@\t\r\n＝＋－＠]/
const QUOTED = /[",\r\n]/

/** A line of CSV (RFC 4180), with its end. */
export function csvLine(values: readonly Value[]): string {
  return `${values.map(cellOf).join(',')}\r\n`
}

/** Null is an empty cell. A text that a spreadsheet would read as a formula gets an apostrophe; numbers stay as they are. */
function cellOf(value: Value): string {
  if (value === null) return ''
  const text = typeof value === 'object' ? JSON.stringify(value) : String(value)
  const harmless = FORMULA.test(text) && !NUMBER.test(text) ? `'${text}` : text
  return QUOTED.test(harmless) ? `"${harmless.replaceAll('"', '""')}"` : harmless
}
