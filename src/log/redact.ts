/** Removes secrets and values from texts of errors before they are logged or printed. */

const MAX_TEXT = 4_000

/** A token of the API, as `src/auth/token.ts` makes it, or a long part of one. */
const TOKEN = /(?<![A-Za-z0-9])th_[\w-]{16,}/g

/** What Postgres names in quotes: identifiers of the schema and the session, never values. */
const IDENTIFIER =
  /\b(?:The|column|constraint|cursor|database|encoding|extension|function|host|index|operator|parameter|policy|portal|relation|role|schema|sequence|server|statement|table|tablespace|trigger|type|user|view) "[A-Za-z_][\w$.-]{0,62}"/g
/** From the first quote that does not name an identifier to the last one: a value may contain quotes itself. */
const QUOTED = /["«»„“”][\s\S]*["«»„“”]|["«»„“”][\s\S]*$/

/**
 * A text of an error without the values that it quotes and without credentials, at most 4,000 characters. The names of
 * tables, columns, constraints and users remain.
 */
export function redactMessage(text: string): string {
  const names: string[] = []
  // Names are replaced by a character that the text cannot have, so that they are not taken for values.
  const marked = text
    .slice(0, MAX_TEXT)
    .replaceAll('\u0000', ' ')
    .replace(/\bKey \([\s\S]*?\)=\([\s\S]*\)/g, 'Key (…)=(…)')
    .replace(/\bFailing row contains[\s\S]*/g, 'Failing row contains (…)')
    .replace(/\bReceived (?!undefined$|null$)[\s\S]*/g, 'Received …')
  const values = QUOTED.exec(
    marked.replace(IDENTIFIER, name => {
      names.push(name)
      return '\u0000'
    })
  )
  const unquoted = values === null ? undefined : values.input.replace(QUOTED, '"…"')
  const restored = unquoted === undefined ? marked : unquoted.replaceAll('\u0000', () => names.shift() ?? '')
  return redactCredentials(restored)
}

/** A text without the credentials of URLs and of headers. Other parts of the text remain. */
export function redactCredentials(text: string): string {
  return text
    .replace(/(:\/\/)(?!\/)[^\n]*@/g, '$1…@')
    .replace(/(\w:\/\/[^\s?"']*)\?[^\s"']*/g, '$1?…')
    .replace(/\/bot[^/\s"']+/g, '/bot…')
    .replace(/\bbot\d+:[^/\s"']+/g, 'bot…')
    .replace(/\b\d{6,}:[\w-]{30,}/g, '…')
    .replace(TOKEN, 'th_…')
    .replace(/\b(bearer|basic)\s+[\w.~+/=-]+/gi, '$1 …')
    .replace(/\b(\w*(?:passw(?:or)?d|pwd|secret|token|api[_-]?key|signature|cookie))\s*=\s*[^\s&]+/gi, '$1=…')
}

/** A text without tokens of the API. */
export function redactTokens(text: string): string {
  return text.replace(TOKEN, 'th_…')
}

/** A whole line of the log without the credentials of URLs: for texts that are not of errors. The line remains JSON. */
export function redactLine(line: string): string {
  return line
    .replace(/(:\/\/)[^\s"\\/]*:[^\s"\\]*@/g, '$1…@')
    .replace(/\bbot\d+:[\w-]+/g, 'bot…')
    .replace(TOKEN, 'th_…')
}
