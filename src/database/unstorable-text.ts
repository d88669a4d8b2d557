/** The character 0 and unpaired surrogates: JSON allows both, Postgres rejects both. */
const UNSTORABLE = /\0|\p{Surrogate}/u

/** Whether a parsed value contains, at any depth, a text or a field name that Postgres cannot store. */
export function holdsUnstorableText(value: unknown): boolean {
  const pending = [value]
  while (pending.length > 0) {
    const next = pending.pop()
    if (typeof next === 'string' && UNSTORABLE.test(next)) return true
    if (typeof next !== 'object' || next === null) continue
    for (const [name, inner] of Object.entries(next)) pending.push(name, inner)
  }
  return false
}
