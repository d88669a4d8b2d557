import type { Test } from 'tap'

/**
 * Asserts that there are exactly as many texts as patterns, and that each text matches the pattern at its place.
 * @param message shown with a failure, in front of the texts
 */
export function assertTexts(
  t: Pick<Test, 'equal' | 'match'>,
  texts: readonly string[],
  patterns: readonly RegExp[],
  message = 'texts'
): void {
  t.equal(texts.length, patterns.length, `${message}: ${JSON.stringify(texts)}`)
  for (const [index, pattern] of patterns.entries()) t.match(texts[index], pattern, message)
}
