import t, { type Test } from 'tap'
import { SessionStore, type StoredSession, sessionHash } from '../../src/auth/session-store.ts'
import type { Database } from '../../src/database/database.ts'
import { migratedDatabase, openDatabase } from '../support/migrated-database.ts'

const LIFETIME = { idleMinutes: 60, maxHours: 12 }
const ID = 'the id of a session'

async function setUp(t: Test, knownMs?: number) {
  const { url } = await migratedDatabase(t)
  const database = openDatabase(url)
  t.teardown(() => database.close(0))
  await database.run(
    sql => sql`
      with ada as (insert into users (username, password_hash) values ('ada', 'hash') returning user_id)
      insert into sessions (session_hash, user_id, expires_at)
      select ${sessionHash(ID)}, user_id, now() + interval '1 hour' from ada`
  )
  const store = new SessionStore(database, LIFETIME, knownMs)
  const get = (id = ID) =>
    new Promise<StoredSession | null | undefined>((resolve, reject) =>
      store.get(id, (err, session) => (err ? reject(err) : resolve(session)))
    )
  const destroy = (id = ID) => new Promise(resolve => store.destroy(id, resolve))
  return { database, store, get, destroy }
}

t.test('while the database is unavailable, a session that was read before is returned, with the reason', async t => {
  const { database, get } = await setUp(t)
  t.hasStrict(await get(), { user: { username: 'ada' }, unverified: undefined })
  await database.close(0)
  t.hasStrict(await get(), { user: { username: 'ada' }, unverified: { code: 'database_unreachable' } })
  await t.rejects(get('another id'), { code: 'database_unreachable' })
})

t.test('a session is cached for a limited time', async t => {
  const { database, get } = await setUp(t, 1)
  await get()
  await database.close(0)
  await new Promise(resolve => setTimeout(resolve, 5))
  await t.rejects(get(), { code: 'database_unreachable' })
})

t.test('an ended session is not returned, whether this or another replica ended it', async t => {
  const here = await setUp(t)
  await here.get()
  await here.database.close(0)
  await here.destroy()
  await t.rejects(here.get(), { code: 'database_unreachable' })

  const there = await setUp(t)
  await there.get()
  await there.database.run(sql => sql`delete from sessions`)
  t.equal(await there.get(), null)
  await there.database.close(0)
  await t.rejects(there.get(), { code: 'database_unreachable' })
})

t.test('a session is cached from the sign-in on', async t => {
  const { database, store, get } = await setUp(t)
  const user = { userId: '1', username: 'eve', role: 'user' as const, mustChangePassword: false }
  await new Promise(resolve => store.set('new id', { user }, resolve))
  await database.close(0)
  t.hasStrict(await get('new id'), { user: { username: 'eve' }, unverified: { code: 'database_unreachable' } })
})

t.test(
  'of more than twenty sessions of a user the oldest end, also when they open at once on two replicas',
  async t => {
    const { url } = await migratedDatabase(t)
    const databases = [openDatabase(url), openDatabase(url)]
    for (const database of databases) t.teardown(() => database.close(0))
    const [database] = databases as [Database, Database]
    await database.run(sql => sql`insert into users (username, password_hash) values ('ada', 'hash'), ('bob', 'hash')`)
    const stores = databases.map(database => new SessionStore(database, LIFETIME))
    const open = (id: string, userId: string, passwordHash = 'hash', replica = 0) =>
      (databases[replica] as Database).transaction(tx =>
        (stores[replica] as SessionStore).open(id, { user: { userId, passwordHash }, address: '192.0.2.1' }, tx)
      )
    const openIds = async (userId: string) => {
      const rows = await database.run(
        sql =>
          sql<
            { hash: Buffer }[]
          >`select session_hash as hash from sessions where user_id = ${userId} order by created_at`
      )
      return rows.map(({ hash }) => hash.toString('hex'))
    }
    const hex = (id: string) => sessionHash(id).toString('hex')

    for (let i = 0; i < 20; i++) await open(`ada ${i}`, '1')
    await open('bob', '2')
    t.equal(await open('ada 20', '1', 'a former hash'), false)
    t.equal((await openIds('1')).length, 20, 'a sign-in that fails ends none')
    await database.run(sql => sql`update sessions set expires_at = now() where session_hash = ${sessionHash('ada 5')}`)
    await open('ada 20', '1')
    t.notOk((await openIds('1')).includes(hex('ada 5')), 'first one that has ended')
    await open('ada 21', '1')
    t.strictSame(
      await openIds('1'),
      [1, 2, 3, 4, ...Array.from({ length: 16 }, (_, i) => i + 6)].map(i => hex(`ada ${i}`)),
      'then the oldest'
    )

    await Promise.all(Array.from({ length: 30 }, (_, i) => open(`at once ${i}`, '1', 'hash', i % 2)))
    const left = await openIds('1')
    t.equal(left.length, 20)
    t.equal(left.filter(id => Array.from({ length: 30 }, (_, i) => hex(`at once ${i}`)).includes(id)).length, 20)
    t.strictSame(await openIds('2'), [hex('bob')], 'those of others remain')
  }
)
