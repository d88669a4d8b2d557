import { createCipheriv, randomBytes } from 'node:crypto'

/**
 * A secret as version 0.1 stored it: AES-256-GCM, after the byte 1, the nonce and the tag.
 * @param key 32 bytes in base64
 * @param purpose the associated data
 */
export function secretInFormat1(key: string, secret: string, purpose: string): Buffer {
  const nonce = randomBytes(12)
  const cipher = createCipheriv('aes-256-gcm', Buffer.from(key, 'base64'), nonce).setAAD(Buffer.from(purpose))
  const text = Buffer.concat([cipher.update(secret, 'utf8'), cipher.final()])
  return Buffer.concat([Buffer.of(1), nonce, cipher.getAuthTag(), text])
}
