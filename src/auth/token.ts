import { createHash, randomBytes } from 'node:crypto'

/** So that a token is recognised in a text, by people and by scanners of secrets. `src/log/redact.ts` has it, too. */
const PREFIX = 'th_'
const RANDOM_BYTES = 32

/** A new token: the prefix and 256 random bits, 46 characters. */
export function newToken(): string {
  return PREFIX + randomBytes(RANDOM_BYTES).toString('base64url')
}

/** The hash of a token. Only hashes are stored: a reader of the table cannot use a token. */
export function tokenHash(token: string): Buffer {
  return createHash('sha256').update(token).digest()
}
