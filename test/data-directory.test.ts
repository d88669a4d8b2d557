import { stat, symlink } from 'node:fs/promises'
import { join } from 'node:path'
import t from 'tap'
import { sessionSecret } from '../src/auth/generated-secret.ts'
import { openDataDirectory } from '../src/data-directory.ts'
import { startEmbeddedPostgres } from '../src/database/embedded/index.ts'

t.test(
  'the data directory is created with its parents, also by several processes at once, and used when it exists',
  async t => {
    const path = join(t.testdir(), 'a/b/c')
    t.strictSame(await Promise.all([1, 2, 3, 4].map(() => openDataDirectory(path))), [path, path, path, path])
    for (const part of [path, join(path, '..')]) t.equal((await stat(part)).mode & 0o777, 0o700)
    t.equal(await openDataDirectory(path), path)
  }
)

t.test('a data directory that cannot be created is an error with the reason', async t => {
  const home = t.testdir({ file: '' })
  await symlink(join(home, 'nothing'), join(home, 'link'))
  const long = join(home, 'x'.repeat(256))
  const errors: [path: string, message: string][] = [
    [join(home, 'file'), `${join(home, 'file')} is not a directory: set another DATA_DIR`],
    [join(home, 'file/a/b'), `${join(home, 'file')} is not a directory: set another DATA_DIR`],
    [long, `the data directory ${long} cannot be created (ENAMETOOLONG): set another DATA_DIR`],
    [join(home, 'link'), `the data directory ${join(home, 'link')} cannot be created (EEXIST): set another DATA_DIR`]
  ]
  // The system reports that the existing directory does not exist.
  if (process.platform === 'linux') {
    errors.push(['/proc/data/x', 'the data directory /proc/data/x cannot be created (ENOENT): set another DATA_DIR'])
  }
  const log = { debug() {}, info() {}, warn() {}, error() {} }
  for (const [dataDir, message] of errors) {
    await t.rejects(openDataDirectory(dataDir), { name: 'StartError', message }, dataDir)
    await t.rejects(sessionSecret(dataDir), { name: 'ConfigError', message }, `secret: ${dataDir}`)
    await t.rejects(startEmbeddedPostgres({ dataDir, log }), { name: 'StartError', message }, `database: ${dataDir}`)
  }
})
