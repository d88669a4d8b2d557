import t, { type Test } from 'tap'
import { endSessions, openSessions } from '../../src/auth/user-sessions.ts'
import { Users } from '../../src/auth/users.ts'
import type { Database } from '../../src/database/database.ts'
import { assertRows } from '../support/assert-rows.ts'
import { migratedDatabase, openDatabase } from '../support/migrated-database.ts'

async function setUp(t: Test, admins: readonly string[], others: readonly string[] = []) {
  const { url } = await migratedDatabase(t)
  const database = openDatabase(url)
  t.teardown(() => database.close(0))
  const users = new Users(database)
  for (const username of admins) await users.create({ username, passwordHash: 'hash', role: 'admin' })
  for (const username of others) await users.create({ username, passwordHash: 'hash', role: 'user' })
  return { url, database, users }
}

/** Counts the calls of the further change in the transaction. */
function counter() {
  const counted = { calls: 0, also: async () => void counted.calls++ }
  return counted
}

async function open(database: Database, username: string, id: string, address = '192.0.2.1') {
  await database.run(
    sql => sql`
      insert into sessions (session_hash, user_id, expires_at, data)
      select sha256(${id}::text::bytea), user_id, now() + interval '1 hour', jsonb_build_object('address', ${address}::text)
      from users where username = ${username}`
  )
}

t.test('the last admin who is not disabled can be neither disabled nor demoted', async t => {
  const { users } = await setUp(t, ['ada', 'eve'], ['bob'])
  const { also, ...counted } = counter()
  t.equal(await users.disable('EVE', also), undefined)
  for (const username of ['ada', 'ADA']) {
    t.equal(await users.disable(username, also), 'last_admin')
    for (const role of ['viewer', 'user'] as const) t.equal(await users.setRole(username, role, also), 'last_admin')
  }
  t.equal(await users.setRole('ada', 'admin'), undefined, 'a role that a user has is set again')
  t.equal(await users.disable('bob'), undefined)
  t.equal(await users.disable('bob'), undefined, 'a disabled user is disabled again')
  t.equal(await users.disable('nobody', also), 'no_user')
  t.equal(await users.setRole('nobody', 'viewer', also), 'no_user')
  t.equal(counted.calls, 0)
  assertRows(t, await users.list(), [
    { username: 'ada', role: 'admin', isActive: true },
    { username: 'bob', role: 'user', isActive: false },
    { username: 'eve', role: 'admin', isActive: false }
  ])

  t.equal(await users.enable('Eve'), true)
  t.equal(await users.enable('eve'), true)
  t.equal(await users.enable('nobody'), false)
  t.equal(await users.setRole('ada', 'viewer'), undefined, 'another admin is left')
  t.equal((await users.find('ada'))?.role, 'viewer')
})

t.test('of concurrent changes that leave no admin the last one is rejected', async t => {
  const { url, users } = await setUp(t, ['ada', 'bob', 'eve'])
  const elsewhere = openDatabase(url)
  t.teardown(() => elsewhere.close(0))
  const others = new Users(elsewhere)
  const results = await Promise.all([
    users.disable('ada'),
    others.setRole('bob', 'user'),
    users.setRole('eve', 'viewer')
  ])
  t.equal(results.filter(result => result === 'last_admin').length, 1)
  const admins = (await users.list()).filter(({ role, isActive }) => role === 'admin' && isActive)
  t.equal(admins.length, 1)
})

t.test('is_admin and the role are equal, whichever of both a version writes', async t => {
  const { database, users } = await setUp(t, ['ada'], ['bob'])
  await database.run(
    sql =>
      sql`insert into users (username, password_hash, is_admin) values ('old-admin', 'hash', true), ('old', 'hash', false)`
  )
  await users.setRole('bob', 'viewer')
  const rows = () =>
    database.run(sql => sql`select username, role, is_admin from users order by username`).then(rows => [...rows])
  assertRows(t, await rows(), [
    { username: 'ada', role: 'admin', is_admin: true },
    { username: 'bob', role: 'viewer', is_admin: false },
    { username: 'old', role: 'user', is_admin: false },
    { username: 'old-admin', role: 'admin', is_admin: true }
  ])
  await database.run(sql => sql`update users set is_admin = not is_admin where username in ('ada', 'bob')`)
  await database.run(sql => sql`update users set is_active = false`)
  assertRows(t, (await rows()).slice(0, 2), [
    { username: 'ada', role: 'user', is_admin: false },
    { username: 'bob', role: 'admin', is_admin: true }
  ])
  await t.rejects(
    database.run(sql => sql`update users set role = 'owner'`),
    /users_role_check/
  )
})

t.test('the open sessions of a user are listed, and ended one by one or all', async t => {
  const { database } = await setUp(t, ['ada'], ['bob'])
  for (const id of ['a', 'b', 'idle', 'over']) await open(database, 'ada', id)
  await open(database, 'bob', 'of bob')
  await database.run(sql => sql`update sessions set expires_at = now() where session_hash = sha256('over')`)
  await database.run(
    sql => sql`update sessions set last_seen_at = now() - interval '61 minutes' where session_hash = sha256('idle')`
  )
  const listed = (await openSessions(database, 'ADA', 60)) ?? []
  assertRows(t, listed, [{ address: '192.0.2.1' }, { address: '192.0.2.1' }])
  for (const { number } of listed) t.match(number, /^[0-9a-f]{12}$/)
  t.strictSame(await openSessions(database, 'nobody', 60), undefined)

  const number = listed[0]?.number
  const counted = counter()
  t.equal(await endSessions(database, { username: 'bob', number }, counted.also), 0, 'it is none of his')
  t.equal(await endSessions(database, { username: 'ada', number }, counted.also), 1)
  t.equal(await endSessions(database, { username: 'ada', number }, counted.also), 0, 'it has ended already')
  t.equal((await openSessions(database, 'ada', 60))?.length, 1)
  t.equal(await endSessions(database, { username: 'nobody' }, counted.also), undefined)
  t.equal(await endSessions(database, { username: 'ada' }, counted.also), 3, 'idle ones too')
  t.equal(counted.calls, 4, 'each is recorded where there is such a user')
  t.strictSame(await openSessions(database, 'ada', 60), [])
  t.equal((await openSessions(database, 'bob', 60))?.length, 1)
})
