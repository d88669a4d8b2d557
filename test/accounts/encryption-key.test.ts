import { readdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import t from 'tap'
import { Accounts } from '../../src/accounts/accounts.ts'
import { generatedKey } from '../../src/accounts/encryption-key.ts'
import { KeyRing } from '../../src/accounts/key-ring.ts'
import { migrate } from '../../src/database/migrate.ts'
import { createTestDatabase } from '../support/database.ts'
import { openDatabase } from '../support/migrated-database.ts'
import { tradingDatabase } from '../support/trading.ts'

const failureOf = (work: Promise<unknown>) => work.then(() => 'kept', String)

const OTHER_KEY = Buffer.alloc(32, 1).toString('base64')

const FILES = { missing: undefined, garbled: '\0'.repeat(44) }

t.test('a missing or garbled key is replaced after a check that the database has no account', async t => {
  const database = await tradingDatabase(t)
  for (const [reason, content] of Object.entries(FILES)) {
    const dataDir = t.testdir(content === undefined ? {} : { 'encryption-key': content })
    const { key, keep } = await generatedKey(dataDir)
    t.strictSame(
      await readdir(dataDir),
      content === undefined ? [] : ['encryption-key'],
      'nothing is written before the check'
    )
    t.equal(await keep(database), reason)
    t.equal(await readFile(join(dataDir, 'encryption-key'), 'utf8'), key)
    t.equal(await keep(database), reason, 'a second call is allowed')
    const next = await generatedKey(dataDir)
    t.strictSame([next.key, await next.keep(database)], [key, 'kept'], 'the next start has the key')
  }
})

t.test('a database without tables has no account', async t => {
  const database = openDatabase((await createTestDatabase(t)).url)
  t.teardown(() => database.close(0))
  const dataDir = t.testdir()
  const { key, keep } = await generatedKey(dataDir)
  t.equal(await keep(database), 'missing')
  t.equal(await readFile(join(dataDir, 'encryption-key'), 'utf8'), key)
  await migrate(database)
})

t.test(
  'with an account, even a disabled one, the start fails with the file and the remedy, and nothing changes',
  async t => {
    const database = await tradingDatabase(t)
    const { key } = await generatedKey(t.testdir())
    await database.run(sql => sql`insert into users (username, password_hash) values ('ada', 'none')`)
    const connect = () => Promise.reject(new Error('no exchange is called'))
    const accounts = new Accounts({ database, keyRing: new KeyRing(key), connect })
    const remedy =
      'encrypted with it: restore the file from a backup, or set ENCRYPTION_KEY to its content; where it is lost, see docs/deployment.md#embedded-database'
    for (const [name, lost] of [
      ['first', 'the keys of 1 account are'],
      ['second', 'the keys of 2 accounts are']
    ] as const) {
      const credentials = { apiKey: 'key', apiSecret: 'secret' }
      const account = { username: 'ada', exchange: 'UPBIT', name, isTestnet: false, credentials } as const
      t.equal(await accounts.add(account, async () => {}), 'added')
      await database.run(sql => sql`update accounts set is_active = false`)
      for (const [reason, content] of Object.entries(FILES)) {
        const dataDir = t.testdir(content === undefined ? {} : { 'encryption-key': content })
        const path = join(dataDir, 'encryption-key')
        const state = reason === 'missing' ? 'is missing' : 'has no key'
        const { keep } = await generatedKey(dataDir)
        t.equal(await failureOf(keep(database)), `StartError: ${path} ${state}, and ${lost} ${remedy}`)
        if (content === undefined) t.strictSame(await readdir(dataDir), [])
        else t.equal(await readFile(path, 'utf8'), content)
      }

      const other = await generatedKey(t.testdir({ 'encryption-key': OTHER_KEY }))
      const path = join(t.testdirName, 'encryption-key')
      const whose = lost.replace(' are', '')
      t.equal(
        await failureOf(other.keep(database)),
        `StartError: ${path} has another key than the one that encrypted ${whose}: ${remedy.replace('encrypted with it: ', '')}`
      )
      const ring = await generatedKey(t.testdir({ 'encryption-key': `${OTHER_KEY},${key}` }))
      t.equal(await ring.keep(database), 'kept', 'a later key of the list may decrypt them')
    }
  }
)

t.test('a key that another process wrote meanwhile is kept, and this start fails', async t => {
  const database = await tradingDatabase(t)
  const dataDir = t.testdir()
  const path = join(dataDir, 'encryption-key')
  const { keep } = await generatedKey(dataDir)
  await writeFile(path, OTHER_KEY)
  t.equal(
    await failureOf(keep(database)),
    `StartError: ${path} was created by another process at the same time: start again`
  )
  t.equal(await readFile(path, 'utf8'), OTHER_KEY)
})
