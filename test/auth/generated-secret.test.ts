import { readdir, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import t from 'tap'
import { generatedSecret } from '../../src/auth/generated-secret.ts'

t.test('a secret is created once, is readable only by its owner, and is the same for concurrent calls', async t => {
  const directory = join(t.testdir(), 'data')
  const secrets = await Promise.all([1, 2, 3, 4].map(() => generatedSecret(directory, 'session-secret')))
  t.equal(new Set(secrets).size, 1)
  t.equal(Buffer.from(secrets[0] ?? '', 'base64').length, 32)
  t.equal(await generatedSecret(directory, 'session-secret'), secrets[0])
  t.equal((await stat(join(directory, 'session-secret'))).mode & 0o777, 0o600)
  t.strictSame(await readdir(directory), ['session-secret'], 'nothing else is left')
})

t.test('a file without a secret is an error, and is not replaced', async t => {
  const directory = t.testdir()
  for (const bad of ['', 'short', 'c2hvcnQ=']) {
    await writeFile(join(directory, 'session-secret'), bad)
    await t.rejects(generatedSecret(directory, 'session-secret'), { name: 'ConfigError', message: /has no secret/ })
  }
})
