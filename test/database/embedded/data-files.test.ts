import { mkdir, readdir, readFile, stat, symlink, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import t from 'tap'
import { clusterVersion, explainFileError, removeEmptyFile } from '../../../src/database/embedded/data-files.ts'

/** The beginning of a `pg_control`: the identifier of the cluster, then the version of the file. */
function control(version: number): Buffer {
  const bytes = Buffer.alloc(8192, 1)
  bytes.writeUInt32LE(version, 8)
  return bytes
}

const GARBLED = ['', '\0\0\0', 'eighteen\n']

const failureOf = (work: Promise<unknown>) => work.then(() => 'none', String)

t.test('a missing or garbled version is written again if pg_control is of this version', async t => {
  for (const content of [undefined, ...GARBLED]) {
    const version = content === undefined ? {} : { PG_VERSION: content }
    const dir = t.testdir({ global: {}, base: { 1: version, 5: { PG_VERSION: '18\n' }, pgsql_tmp: {} }, ...version })
    await writeFile(join(dir, 'global/pg_control'), control(1800))
    const repaired: string[] = []
    t.equal(await clusterVersion(dir, '18', path => repaired.push(path)), '18')
    t.strictSame(repaired, [join(dir, 'PG_VERSION'), join(dir, 'base/1/PG_VERSION')])
    for (const path of repaired) t.equal(await readFile(path, 'utf8'), '18\n')
    t.equal((await stat(join(dir, 'PG_VERSION'))).mode & 0o777, content === undefined ? 0o600 : 0o644)
    t.strictSame(await readdir(join(dir, 'base/pgsql_tmp')), [])

    t.equal(await clusterVersion(dir, '18', () => t.fail('a second call writes nothing')), '18')
  }
})

t.test('data of another version keep their version, even if pg_control is of this version', async t => {
  for (const version of ['17', '9.6', '19']) {
    const dir = t.testdir({ global: {}, PG_VERSION: `${version}\n` })
    await writeFile(join(dir, 'global/pg_control'), control(1800))
    t.equal(await clusterVersion(dir, '18', () => t.fail('nothing is written')), version)
  }
})

t.test('without a pg_control of this version the file and the remedy are reported, and nothing is written', async t => {
  for (const content of GARBLED) {
    for (const bytes of [undefined, Buffer.alloc(0), Buffer.alloc(8192), control(1700)]) {
      const dir = t.testdir({ global: {}, base: { 1: {} }, PG_VERSION: content })
      if (bytes) await writeFile(join(dir, 'global/pg_control'), bytes)
      t.equal(
        await failureOf(clusterVersion(dir, '18', () => t.fail('nothing is written'))),
        `StartError: ${join(dir, 'PG_VERSION')} is missing or garbled: restore ${dir} from a backup, or set another DATA_DIR`
      )
      t.equal(await readFile(join(dir, 'PG_VERSION'), 'utf8'), content)
      t.strictSame(await readdir(join(dir, 'base/1')), [])
    }
  }
})

t.test('an absent or empty directory is not a cluster; a file in its place is reported', async t => {
  const home = t.testdir({ empty: {}, file: '' })
  const onRepaired = () => t.fail('nothing is written')
  t.equal(await clusterVersion(join(home, 'absent'), '18', onRepaired), undefined)
  t.equal(await clusterVersion(join(home, 'empty'), '18', onRepaired), undefined)
  const file = join(home, 'file')
  t.equal(
    await failureOf(clusterVersion(file, '18', onRepaired)),
    `StartError: ${file} must be a directory and is a file: restore it from a backup, or move it away to begin with an empty database`
  )
})

t.test('an empty file in place of a directory is removed, a file with content is not', async t => {
  const home = t.testdir({ empty: '', directory: { kept: '' }, full: 'kept' })
  await symlink(join(home, 'directory'), join(home, 'link'))
  for (const name of ['empty', 'directory', 'link', 'absent']) await removeEmptyFile(join(home, name))
  const full = join(home, 'full')
  t.equal(await failureOf(removeEmptyFile(full)), `StartError: ${full} must be a directory and is a file: move it away`)
  t.strictSame((await readdir(home)).sort(), ['directory', 'full', 'link'])
})

t.test('a system error about a file is reported with the file and the remedy, other errors are unchanged', async t => {
  const home = t.testdir({ file: '' })
  await mkdir(join(home, 'directory'))
  const errorOf = (work: Promise<unknown>) => work.then(() => undefined, explainFileError)
  t.equal(
    String(await errorOf(readFile(join(home, 'file/below')))),
    `StartError: ${home}/file/below cannot be used (ENOTDIR of open): correct this, or set another DATA_DIR`
  )
  t.equal(
    String(await errorOf(writeFile(join(home, 'directory'), ''))),
    `StartError: ${home}/directory must be a file and is a directory: move it away`
  )
  const defect = new TypeError('a defect')
  t.equal(explainFileError(defect), defect)
})
