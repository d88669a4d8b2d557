// @FEAT:exchanges @COMP:service @TYPE:helper
import { createCipheriv, createDecipheriv, createHash, randomBytes } from 'node:crypto'

const CIPHER = 'aes-256-gcm'
const KEY_BYTES = 32
/**
 * The first byte of a stored secret is the version of its format. Both have the same parts. Format 1 is that of version
 * 0.1: it is bound to less, and only read.
 */
const [FORMAT_1, FORMAT] = [1, 2]
const NONCE_BYTES = 12
const TAG_BYTES = 16
const HEADER_BYTES = 1 + NONCE_BYTES + TAG_BYTES

/** A stored secret that cannot be decrypted: its key is not in the ring, or it was changed. Contains no secret. */
export class UnreadableSecret extends Error {
  override readonly name = 'UnreadableSecret'
}

/**
 * What a secret is bound to: the associated data of its encryption. It can be decrypted only with the same.
 */
export interface Purpose {
  /** For secrets that are stored now. */
  current: string
  /** For secrets in format 1. Absent where there are none. */
  format1?: string
}

/**
 * The keys that encrypt secrets at rest, by AES-256-GCM. The first key encrypts and every key decrypts, so that keys can
 * be replaced one after the other.
 */
export class KeyRing {
  /** The id of the key that encrypts. */
  readonly currentKeyId: string
  readonly #keys: ReadonlyMap<string, Buffer>

  /**
   * @param keys 32 bytes each in base64, separated by commas; the first is the current key
   * @throws {Error} for a key of another length
   */
  constructor(keys: string) {
    const ring = keys.split(',').map(text => {
      const key = Buffer.from(text.trim(), 'base64')
      if (key.length !== KEY_BYTES) throw new Error('an encryption key has 32 bytes')
      return [keyIdOf(key), key] as const
    })
    this.#keys = new Map(ring)
    this.currentKeyId = ring[0]?.[0] ?? ''
  }

  /** Whether it has the key with this id. */
  has(keyId: string): boolean {
    return this.#keys.has(keyId)
  }

  /** The first byte of what `encrypt` returns. A stored secret with another one should be encrypted again. */
  static readonly format = FORMAT

  /** Encrypts a secret with the current key, in the current format. */
  encrypt(secret: string, { current }: Purpose): Buffer {
    const nonce = randomBytes(NONCE_BYTES)
    const cipher = createCipheriv(CIPHER, this.#key(this.currentKeyId), nonce).setAAD(Buffer.from(current))
    const text = Buffer.concat([cipher.update(secret, 'utf8'), cipher.final()])
    return Buffer.concat([Buffer.of(FORMAT), nonce, cipher.getAuthTag(), text])
  }

  /** Decrypts a stored secret, of either format. @throws {UnreadableSecret} */
  decrypt(stored: Buffer, purpose: Purpose, keyId: string): string {
    const key = this.#key(keyId)
    const associated = { [FORMAT]: purpose.current, [FORMAT_1]: purpose.format1 }[stored[0] ?? 0]
    if (stored.length < HEADER_BYTES || associated === undefined) throw new UnreadableSecret('not an encrypted secret')
    const nonce = stored.subarray(1, 1 + NONCE_BYTES)
    const decipher = createDecipheriv(CIPHER, key, nonce, { authTagLength: TAG_BYTES })
      .setAAD(Buffer.from(associated))
      .setAuthTag(stored.subarray(1 + NONCE_BYTES, HEADER_BYTES))
    try {
      return Buffer.concat([decipher.update(stored.subarray(HEADER_BYTES)), decipher.final()]).toString('utf8')
    } catch (cause) {
      throw new UnreadableSecret('changed since it was encrypted, or encrypted for something else', { cause })
    }
  }

  #key(keyId: string): Buffer {
    const key = this.#keys.get(keyId)
    if (key === undefined) throw new UnreadableSecret(`no key ${keyId} in ENCRYPTION_KEY`)
    return key
  }
}

function keyIdOf(key: Buffer): string {
  return createHash('sha256').update('trading-health key id').update(key).digest('hex').slice(0, 16)
}
