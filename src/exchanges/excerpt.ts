// @FEAT:exchanges @COMP:service @TYPE:helper

/** Longest excerpt, in characters. */
export const MAX_EXCERPT = 400
const MAX_READ = 8_192

/** A text of JSON, and whether it is the name of a field. The last one may be cut. */
const TEXT = /"(?:[^"\\]|\\.)*(?:"(\s*:)?|$)/g
const NUMBER = /^-?\d{1,40}(?:\.\d{1,40})?(?:[eE][+-]?\d{1,4})?$/
const WORD = /^[A-Za-z][A-Za-z_-]{0,23}$/
const SYMBOL = /^[A-Z0-9]{2,16}(?:-[A-Z0-9]{2,16}){0,2}$/
/** Characters outside of texts that are no number and no literal. */
const LONG_RUN = /[A-Za-z0-9_+/=-]{41,}/g
/** Postgres cannot store all of them. */
const UNPRINTABLE = /[^ -~]/g
const SENSITIVE = /pass|secret|token|key|sign|cookie|auth|credential/i

/**
 * The shape of a row for diagnosis, at most 400 characters: names of fields, numbers, words and symbols. Every other text
 * is replaced by its length, as are texts in fields named like credentials, and the given secrets anywhere, in capitals or
 * not.
 *
 * @param row a JSON value, or the beginning of its text
 */
export function excerptOf(row: unknown, secrets: readonly string[]): string {
  const text = (typeof row === 'string' ? row : (JSON.stringify(row) ?? '')).slice(0, MAX_READ)
  const spellings = secrets
    .flatMap(secret => [secret, JSON.stringify(secret).slice(1, -1)])
    .filter(one => one !== '')
    .map(spelling => spelling.toLowerCase())
  const isSecret = (value: string) => spellings.some(spelling => value.toLowerCase().includes(spelling))
  let isSensitive = false
  const masked = text.replace(TEXT, (quoted, colon: string | undefined) => {
    const isName = colon !== undefined
    const value = quoted.slice(1).replace(/"\s*:?$/, '')
    const isWhole = isName || quoted.endsWith('"')
    const isPublic = isWhole && (NUMBER.test(value) || WORD.test(value) || SYMBOL.test(value)) && !isSecret(value)
    const isHidden = !isName && isSensitive
    isSensitive = isName && SENSITIVE.test(value)
    if (isPublic && !isHidden) return isName ? `"${value}":` : quoted
    return `"(${value.length} characters)"${isName ? ':' : ''}`
  })
  // What is not in quotation marks is masked as well: the row need not be JSON.
  const outside = masked.replace(LONG_RUN, run => `(${run.length} characters)`)
  return (isSecret(outside) ? '(contains a secret)' : outside).replace(UNPRINTABLE, '?').slice(0, MAX_EXCERPT)
}
