import { mkdir, readdir, readFile, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { ensureFirstAdmin, removeFirstPassword } from '../../src/auth/first-admin.ts'
import { Passwords } from '../../src/auth/passwords.ts'
import { Users } from '../../src/auth/users.ts'
import { tradingDatabase } from '../support/trading.ts'

const FILE = 'first-admin-password'
const passwords = new Passwords()
t.teardown(() => passwords.close())

/** A service on a database without users. */
async function setUp(t: Test) {
  const users = new Users(await tradingDatabase(t))
  const dataDir = t.testdir()
  const path = join(dataDir, FILE)
  const isCurrent = async (password: string) =>
    passwords.verify(password.trim(), (await users.find('admin'))?.passwordHash)
  return { users, dataDir, path, ensure: () => ensureFirstAdmin({ users, passwords, dataDir }), isCurrent }
}

t.test('without a terminal the password is in a file that only the service can read, until it is changed', async t => {
  const { users, dataDir, path, ensure, isCurrent } = await setUp(t)
  t.strictSame(await ensure(), { created: true, file: path })
  t.strictSame(await readdir(dataDir), [FILE], 'no draft is left')
  t.equal((await stat(path)).mode & 0o777, 0o600)
  const content = await readFile(path, 'utf8')
  t.match(content, /^[\w-]{20}\n$/)
  t.equal(await isCurrent(content), true)
  t.hasStrict(await users.find('admin'), { role: 'admin', mustChangePassword: true })
  t.strictSame(await ensure(), { created: false, file: path }, 'the next start logs it again')
  t.equal(await readFile(path, 'utf8'), content)

  await removeFirstPassword(dataDir, 'ops')
  t.strictSame(await readdir(dataDir), [FILE], 'the password of another user does not remove it')
  await removeFirstPassword(dataDir, 'ADMIN')
  t.strictSame(await readdir(dataDir), [])
  await removeFirstPassword(dataDir, 'admin')
  t.strictSame(await ensure(), { created: false })
})

t.test('on a terminal the password is printed, and no file has it', async t => {
  const { users, dataDir, isCurrent } = await setUp(t)
  const printed: string[] = []
  const options = { users, passwords, dataDir, print: (text: string) => void printed.push(text) }
  t.strictSame(await ensureFirstAdmin(options), { created: true })
  t.strictSame(await ensureFirstAdmin(options), { created: false })
  t.equal(printed.length, 1)
  const [, password = ''] = /^first admin: user name admin, password (\S+) /.exec(printed[0] ?? '') ?? []
  t.equal(await isCurrent(password), true)
  t.strictSame(await readdir(dataDir), [])
})

t.test('exactly one of several replicas that start at the same time creates the user and the file', async t => {
  const { users, dataDir, isCurrent } = await setUp(t)
  const directories = ['a', 'b', 'c', 'd'].map(name => join(dataDir, name))
  const reports = await Promise.all(directories.map(dataDir => ensureFirstAdmin({ users, passwords, dataDir })))
  t.equal(reports.filter(({ created }) => created).length, 1)
  const files = reports.flatMap(({ file }) => file ?? [])
  t.equal(files.length, 1)
  t.equal(await isCurrent(await readFile(files[0] ?? '', 'utf8')), true)
  t.strictSame(
    await readdir(dataDir),
    directories.filter(one => files[0]?.startsWith(one)).map(one => one.slice(-1))
  )
})

t.test('a crash between the file and the commit leaves no user, and the next start replaces the file', async t => {
  const { users, dataDir, path, ensure, isCurrent } = await setUp(t)
  const crashing = {
    exist: () => users.exist(),
    find: (name: string) => users.find(name),
    createFirst: (name: string, hash: string, also: () => Promise<void>) =>
      users.createFirst(name, hash, async () => {
        await also()
        throw new Error('killed')
      })
  }
  await t.rejects(ensureFirstAdmin({ users: crashing, passwords, dataDir }), new Error('killed'))
  const lost = await readFile(path, 'utf8')
  t.equal(await users.exist(), false)
  t.strictSame(await ensure(), { created: true, file: path })
  t.not(await readFile(path, 'utf8'), lost)
  t.equal(await isCurrent(await readFile(path, 'utf8')), true)
})

t.test('a file that does not have the current password is removed at the start', async t => {
  const { users, dataDir, path, ensure } = await setUp(t)
  await ensure()
  const content = await readFile(path, 'utf8')
  await writeFile(path, 'the password of another database\n')
  t.strictSame(await ensure(), { created: false }, 'another content')
  t.strictSame(await readdir(dataDir), [])

  await writeFile(path, content)
  t.strictSame(await ensure(), { created: false, file: path })
  await users.setPassword('admin', await passwords.hash(content.trim()))
  t.strictSame(await ensure(), { created: false }, 'another replica changed the password')
  t.strictSame(await readdir(dataDir), [])
})

t.test('if the file cannot be written, the start fails with one line, and no user is created', async t => {
  const { users, dataDir, path, ensure } = await setUp(t)
  await mkdir(path)
  t.equal(
    await ensure().then(() => 'started', String),
    `StartError: the password of the first admin cannot be written: EISDIR at ${path}: set another DATA_DIR`
  )
  t.equal(await users.exist(), false)
  const below = join(dataDir, 'file')
  await writeFile(below, '')
  await t.rejects(ensureFirstAdmin({ users, passwords, dataDir: join(below, 'data') }), {
    name: 'StartError',
    message: /is not a directory: set another DATA_DIR$/
  })
  t.equal(await users.exist(), false)
})

t.test('the listener is called after each password change, and not after a failed one', async t => {
  const { users } = await setUp(t)
  const names: string[] = []
  users.onPasswordSet(async name => void names.push(name))
  await users.create({ username: 'ops', passwordHash: 'one', role: 'user' })
  t.equal(await users.setPassword('OPS', 'two'), true)
  t.equal(await users.setPassword('nobody', 'two'), false)
  t.equal(await users.setPassword('ops', 'three', { currentHash: 'one' }), false)
  t.strictSame(names, ['OPS'])
})
