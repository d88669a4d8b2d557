import { mkdir, readdir, readFile, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import t from 'tap'
import { readSecretFile, sessionSecret, writeSecretFile } from '../../src/auth/generated-secret.ts'

/** The possible contents of the file after a power cut: nothing, zeros, a part of the content, other bytes. */
const GARBLED = ['', '\0'.repeat(44), 'c2hvcnQ=', 'short', `${'x'.repeat(40)}\u{fffd}\u0007xx=`]

t.test('a secret is created once, is readable only by its owner, and is the same for concurrent calls', async t => {
  const directory = join(t.testdir(), 'data')
  const secrets = await Promise.all([1, 2, 3, 4].map(() => sessionSecret(directory)))
  t.equal(new Set(secrets).size, 1)
  t.equal(Buffer.from(secrets[0] ?? '', 'base64').length, 32)
  t.equal(await sessionSecret(directory, () => t.fail('it is kept')), secrets[0])
  t.equal((await stat(join(directory, 'session-secret'))).mode & 0o777, 0o600)
  t.strictSame(await readdir(directory), ['session-secret'], 'there is no other file')
})

t.test('a garbled session secret is replaced, and reported', async t => {
  const directory = t.testdir()
  const path = join(directory, 'session-secret')
  for (const garbled of GARBLED) {
    await writeFile(path, garbled)
    const replaced: string[] = []
    const secret = await sessionSecret(directory, path => replaced.push(path))
    t.strictSame(replaced, [path])
    t.equal(Buffer.from(secret, 'base64').length, 32)
    t.equal(await readFile(path, 'utf8'), secret)
    t.equal(await sessionSecret(directory, path => replaced.push(path)), secret)
    t.strictSame(replaced, [path], 'once')
  }
  t.strictSame(await readdir(directory), ['session-secret'], 'there is no other file')
})

t.test('reading an encryption key writes nothing; a key of another length or other bytes are not accepted', async t => {
  const directory = t.testdir()
  const path = join(directory, 'encryption-key')
  t.equal((await readSecretFile(directory, 'encryption-key')).reason, 'missing')
  t.strictSame(await readdir(directory), [])
  for (const garbled of [...GARBLED, Buffer.alloc(31).toString('base64'), Buffer.alloc(33).toString('base64')]) {
    await writeFile(path, garbled)
    t.equal((await readSecretFile(directory, 'encryption-key')).reason, 'garbled', garbled)
    t.equal(await readFile(path, 'utf8'), garbled)
  }
  const key = Buffer.alloc(32, 7).toString('base64')
  for (const kept of [key, `${key}\n`, `${key},${key}`]) {
    await writeFile(path, kept)
    t.strictSame(await readSecretFile(directory, 'encryption-key'), { path, secret: kept.trim() })
  }
})

t.test('a new secret does not replace one that another process wrote meanwhile', async t => {
  const directory = t.testdir()
  const path = join(directory, 'encryption-key')
  const secret = (fill: number) => Buffer.alloc(32, fill).toString('base64')
  for (const reason of ['missing', 'garbled'] as const) {
    await writeFile(path, secret(1))
    t.equal(await writeSecretFile(directory, 'encryption-key', { path, reason, secret: secret(2) }), secret(1))
    t.equal(await readFile(path, 'utf8'), secret(1))
  }
  t.strictSame(await readdir(directory), ['encryption-key'], 'there is no other file')
})

t.test('a directory in place of the file is reported with one sentence with its path', async t => {
  const directory = t.testdir()
  for (const name of ['session-secret', 'encryption-key'] as const) {
    await mkdir(join(directory, name))
    const message = `${join(directory, name)} must be a file and is a directory: remove it, or restore the file from a backup`
    await t.rejects(readSecretFile(directory, name), { name: 'ConfigError', message })
  }
})
