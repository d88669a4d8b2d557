import postgres from 'postgres'
import t, { type Test } from 'tap'
import { assertRows } from './assert-rows.ts'
import { createTestDatabase } from './database.ts'
import { sharedPostgres } from './postgres.ts'

function client(t: Test, url: string): postgres.Sql {
  const sql = postgres(url, { max: 1, fetch_types: false, onnotice: () => {} })
  t.teardown(() => sql.end({ timeout: 5 }))
  return sql
}

let prepared = 0
async function onePlant(url: string): Promise<void> {
  prepared++
  const sql = postgres(url, { max: 1, fetch_types: false })
  await sql`create table plants as select 'rose' as name`
  await sql.end()
}

t.test('databases are independent copies of one prepared template', async t => {
  const [one, two] = await Promise.all([createTestDatabase(t, onePlant), createTestDatabase(t, onePlant)])
  t.equal(prepared, 1)
  const [first, second] = [client(t, one.url), client(t, two.url)]
  await first`insert into plants values ('fern')`
  assertRows(t, await first`select count(*)::int from plants`, [{ count: 2 }])
  assertRows(t, await second`select count(*)::int from plants`, [{ count: 1 }])
})

t.test('a database without a template is empty', async t => {
  const { url } = await createTestDatabase(t)
  assertRows(t, await client(t, url)`select count(*)::int from pg_tables where schemaname = 'public'`, [{ count: 0 }])
})

t.test('a prepare function that fails leaves no template', async t => {
  let attempts = 0
  const failsOnce = async () => {
    if (++attempts === 1) throw new Error('no luck')
  }
  await t.rejects(createTestDatabase(t, failsOnce), { message: 'no luck' })
  t.ok((await createTestDatabase(t, failsOnce)).url)
  await t.rejects(
    createTestDatabase(t, async () => {}),
    { message: 'a prepare function without a name needs a key' }
  )
})

t.test('a database is dropped at teardown, even with open connections', async t => {
  const admin = client(t, await sharedPostgres())
  let name = ''
  await t.test('a test', async t => {
    const { url } = await createTestDatabase(t)
    const sql = postgres(url, { max: 1, fetch_types: false, onnotice: () => {} })
    const [row] = await sql`select current_database() as name`
    name = row?.name
    t.equal((await admin`select from pg_database where datname = ${name}`).length, 1)
  })
  t.equal((await admin`select from pg_database where datname = ${name}`).length, 0)
})
