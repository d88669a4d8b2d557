import { randomBytes } from 'node:crypto'
import fc from 'fast-check'
import t from 'tap'
import { KeyRing, UnreadableSecret } from '../../src/accounts/key-ring.ts'
import { codePoint } from '../support/code-point.ts'
import { secretInFormat1 } from '../support/stored-secret.ts'

const [older, newer] = [randomBytes(32).toString('base64'), randomBytes(32).toString('base64')]

const TEST = { current: 'test' }

t.test('a secret is decrypted only for the purpose for which it was encrypted', async t => {
  const ring = new KeyRing(String(newer))
  const outcome = fc.check(
    fc.property(fc.string({ unit: codePoint }), fc.string(), fc.string(), (secret, purpose, other) => {
      const stored = ring.encrypt(secret, { current: purpose })
      if (ring.decrypt(stored, { current: purpose }, ring.currentKeyId) !== Buffer.from(secret).toString()) return false
      if (other === purpose) return true
      try {
        ring.decrypt(stored, { current: other, format1: purpose }, ring.currentKeyId)
        return false
      } catch (err) {
        return err instanceof UnreadableSecret && (secret === '' || !err.message.includes(secret) || secret.length < 4)
      }
    })
  )
  t.notOk(outcome.failed, fc.defaultReportMessage(outcome) ?? '100 secrets')
})

t.test('no two ciphertexts are the same, and a ciphertext with any changed byte is rejected', async t => {
  const ring = new KeyRing(String(newer))
  const stored = ring.encrypt('a secret', TEST)
  t.notOk(ring.encrypt('a secret', TEST).equals(stored))
  for (let i = 0; i < stored.length; i++) {
    const changed = Buffer.from(stored)
    changed[i] = (changed[i] ?? 0) ^ 1
    t.throws(() => ring.decrypt(changed, TEST, ring.currentKeyId), UnreadableSecret)
  }
  for (const length of [0, 10, stored.length - 1]) {
    t.throws(() => ring.decrypt(stored.subarray(0, length), TEST, ring.currentKeyId), UnreadableSecret)
  }
})

t.test('the first key encrypts, every key decrypts', async t => {
  const before = new KeyRing(String(older))
  const stored = before.encrypt('a secret', TEST)
  const during = new KeyRing(`${newer}, ${older}`)
  t.not(during.currentKeyId, before.currentKeyId)
  t.equal(during.decrypt(stored, TEST, before.currentKeyId), 'a secret')
  const after = new KeyRing(String(newer))
  t.equal(after.currentKeyId, during.currentKeyId)
  t.throws(() => after.decrypt(stored, TEST, before.currentKeyId), /^.*no key [0-9a-f]{16} in ENCRYPTION_KEY/)
})

t.test('a secret in format 1 is decrypted only for its own purpose, if it has one', async t => {
  const key = String(newer)
  const ring = new KeyRing(key)
  const stored = secretInFormat1(key, 'a secret', 'test')
  t.equal(ring.decrypt(stored, { current: 'other', format1: 'test' }, ring.currentKeyId), 'a secret')
  t.throws(() => ring.decrypt(stored, { current: 'test', format1: 'other' }, ring.currentKeyId), UnreadableSecret)
  t.throws(() => ring.decrypt(stored, TEST, ring.currentKeyId), UnreadableSecret)
  const current = ring.encrypt('a secret', TEST)
  t.strictSame([stored[0], current[0], KeyRing.format], [1, 2, 2], 'the first byte is the format')
  current[0] = 1
  t.throws(() => ring.decrypt(current, { current: 'x', format1: 'y' }, ring.currentKeyId), UnreadableSecret)
})
