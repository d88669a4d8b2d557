/** The part of a test that `assertTexts` uses. */
interface Asserts {
  equal(found: unknown, wanted: unknown, message: string): boolean
  match(found: unknown, pattern: RegExp, message: string): boolean
}

/**
 * Asserts that there are exactly as many texts as patterns, and that each text matches the pattern with the same index.
 * @param message shown with a failure, in front of the texts
 */
export function assertTexts(
  t: Asserts,
  texts: readonly string[],
  patterns: readonly RegExp[],
  message = 'texts'
): void {
  t.equal(texts.length, patterns.length, `${message}: ${JSON.stringify(texts)}`)
  for (const [index, pattern] of patterns.entries()) t.match(texts[index], pattern, message)
}
