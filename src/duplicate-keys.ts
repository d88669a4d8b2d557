/**
 * Whether an object in a JSON text, at any depth, has a key more than once, in any spelling (`a`, `\u0061`). Parsers keep
 * the last value of such a key, and each reader of the text may see another one.
 * @param text valid JSON
 * @param value what `JSON.parse` made of it, which has each key once
 */
export function hasDuplicateKeys(text: string, value: unknown): boolean {
  return keysInText(text) > countKeys(value)
}

/** The strings that a colon follows. Only brackets, commas and colons are next to strings in valid JSON. */
function keysInText(text: string): number {
  let keys = 0
  for (let start = text.indexOf('"'); start !== -1; ) {
    let end = endOfString(text, start)
    while (' \t\r\n'.includes(text.charAt(++end)) && end < text.length);
    if (text[end] === ':') keys++
    start = text.indexOf('"', end)
  }
  return keys
}

/** The quote that ends the string: the first one after an even number of backslashes. */
function endOfString(text: string, start: number): number {
  for (let end = text.indexOf('"', start + 1); ; end = text.indexOf('"', end + 1)) {
    let backslashes = 0
    while (text[end - 1 - backslashes] === '\\') backslashes++
    if (backslashes % 2 === 0) return end
  }
}

/** The keys of all objects in a value. Without recursion: the nesting of a body may be deep. */
function countKeys(value: unknown): number {
  let keys = 0
  const open: unknown[] = [value]
  while (open.length > 0) {
    const next = open.pop()
    if (typeof next !== 'object' || next === null) continue
    const values: unknown[] = Array.isArray(next) ? next : Object.values(next)
    if (values !== next) keys += values.length
    for (const one of values) open.push(one)
  }
  return keys
}
