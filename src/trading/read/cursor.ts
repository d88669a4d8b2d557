// @FEAT:trading @COMP:service @TYPE:helper
import { holdsUnstorableText } from '../../database/unstorable-text.ts'
import { isDay, isTimestamp } from './moment.ts'

/** The type of a column of a key. */
export type KeyType = 'bigint' | 'date' | 'timestamptz' | 'text' | 'boolean'

/** The longest cursor: a key has a few short values. */
export const MAX_CURSOR = 400
const MAX_TEXT = 100
const MAX_BIGINT = 2n ** 63n - 1n

const isOfType: Record<KeyType, (value: string) => boolean> = {
  bigint: value => /^(?:0|[1-9]\d{0,18})$/.test(value) && BigInt(value) <= MAX_BIGINT,
  date: isDay,
  timestamptz: isTimestamp,
  text: value => value.length <= MAX_TEXT && !holdsUnstorableText(value),
  boolean: value => value === 'true' || value === 'false'
}

/** The cursor of an item: the collection and the key of the item, as opaque text. */
export function cursorOf(collection: string, key: readonly string[]): string {
  return Buffer.from(JSON.stringify([collection, ...key])).toString('base64url')
}

/**
 * The key in a cursor.
 * @returns undefined unless it is a cursor of this collection
 */
export function keyOf(cursor: string, collection: string, types: readonly KeyType[]): string[] | undefined {
  const parts = parsed(cursor)
  if (!isTexts(parts) || parts.length !== types.length + 1) return undefined
  const [name, ...key] = parts
  const isValid = name === collection && types.every((type, i) => isOfType[type](key[i] ?? ''))
  // Each key has one spelling.
  return isValid && cursorOf(collection, key) === cursor ? key : undefined
}

function parsed(cursor: string): unknown {
  if (cursor.length > MAX_CURSOR) return undefined
  try {
    return JSON.parse(Buffer.from(cursor, 'base64url').toString())
  } catch (err) {
    if (err instanceof SyntaxError) return undefined
    throw err
  }
}

function isTexts(value: unknown): value is string[] {
  return Array.isArray(value) && value.every(one => typeof one === 'string')
}
