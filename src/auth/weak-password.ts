/** Why a new password is rejected. Both are codes of the API. */
export type Weakness = 'PASSWORD_TOO_COMMON' | 'PASSWORD_CONTAINS_NAME'

/** Without any letter, a password of fewer characters is a date, a telephone number or a row of keys. */
const MIN_WITHOUT_LETTERS = 12
/** Shorter parts of a name occur in ordinary words. */
const MIN_NAME_PART = 3

/** Common substitutions of letters. */
const SUBSTITUTES: Readonly<Record<string, string>> = {
  '@': 'a',
  '4': 'a',
  '3': 'e',
  '1': 'i',
  '!': 'i',
  '0': 'o',
  $: 's',
  '5': 's',
  '7': 't'
}

/**
 * Returns why a new password is too easy to guess; undefined when it is not. Case and Unicode form do not count.
 *
 * Too common: an entry of `common`, also in reverse, or with digits or punctuation after it; the repetition of fewer than
 * `minLength` characters; a sequence such as abcdefgh or 98765432; fewer than 12 characters without a letter.
 *
 * Contains the name: without the user's name, its reverse, and its parts of three or more characters, fewer than
 * `minLength` characters remain. Separators do not count, and neither do substitutions such as 0 for o.
 * @param username the name of the user whose password it becomes
 * @param minLength the least length of a password, in characters
 * @param common commonest passwords in lower case
 */
export function weaknessOf(
  password: string,
  { username, minLength, common }: { username: string; minLength: number; common: ReadonlySet<string> }
): Weakness | undefined {
  const plain = password.normalize('NFKC').toLowerCase()
  if (isMostlyName(plain, username.toLowerCase(), minLength)) return 'PASSWORD_CONTAINS_NAME'
  const words = [plain, withoutEnd(plain, /[^\p{L}\p{N}]$/u), withoutEnd(plain, /[^\p{L}]$/u)]
  if (words.some(word => common.has(word) || common.has(reversed(word)))) return 'PASSWORD_TOO_COMMON'
  const isTooShort = !/\p{L}/u.test(plain) && plain.length < MIN_WITHOUT_LETTERS
  const isRepeated = repeatedPart(plain).length < minLength
  return isTooShort || isRepeated || isSequence(plain) ? 'PASSWORD_TOO_COMMON' : undefined
}

/** Whether the name is in the password, and fewer than `minLength` characters remain without it. */
function isMostlyName(plain: string, username: string, minLength: number): boolean {
  const folded = fold(plain)
  const parts = [username, ...username.split(/[^a-z0-9]+/)].map(fold).filter(part => part.length >= MIN_NAME_PART)
  const needles = parts.flatMap(part => [part, reversed(part)]).sort((a, b) => b.length - a.length)
  const rest = needles.reduce((text, needle) => text.replaceAll(needle, ''), folded)
  return rest !== folded && rest.length < minLength
}

/** Without separators, and with letters in place of their substitutes. */
function fold(text: string): string {
  return text.replace(/[\s._-]/g, '').replace(/[@431!0$57]/g, character => SUBSTITUTES[character] ?? character)
}

/** One character at a time: a pattern for the whole end would take quadratic time. */
function withoutEnd(text: string, last: RegExp): string {
  let end = text
  while (last.test(end.slice(-2))) end = end.slice(0, -1)
  return end
}

function reversed(text: string): string {
  return [...text].reverse().join('')
}

/** The shortest part of which the text is a repetition; the text itself when there is none. */
function repeatedPart(text: string): string {
  // The first place after the start at which the doubled text contains the text.
  return text.slice(0, (text + text).indexOf(text, 1))
}

/** Whether each character follows, or each precedes, the one before it; 0 follows 9. */
function isSequence(text: string): boolean {
  const steps = Array.from({ length: text.length - 1 }, (_, i) => text.charCodeAt(i + 1) - text.charCodeAt(i))
  return steps.every(step => step === 1 || step === -9) || steps.every(step => step === -1 || step === 9)
}
