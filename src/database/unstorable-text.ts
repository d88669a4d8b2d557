/** The character 0, and halves of a surrogate pair: JSON can say them, Postgres refuses both. */
const UNSTORABLE = /\0|\p{Surrogate}/u

/** Whether a parsed value, however deep, holds a text (or a name) that the database could not keep. */
export function holdsUnstorableText(value: unknown): boolean {
  const waiting = [value]
  while (waiting.length > 0) {
    const next = waiting.pop()
    if (typeof next === 'string' && UNSTORABLE.test(next)) return true
    if (typeof next !== 'object' || next === null) continue
    for (const [name, inner] of Object.entries(next)) waiting.push(name, inner)
  }
  return false
}
