import t, { type Test } from 'tap'
import { migrate } from '../../src/database/migrate.ts'
import { assertSchema, SchemaError } from '../../src/database/schema.ts'
import { createTestDatabase } from '../support/database.ts'
import { openDatabase } from '../support/migrated-database.ts'

async function emptyDatabase(t: Test) {
  const { url } = await createTestDatabase(t)
  const database = openDatabase(url)
  t.teardown(() => database.close(0))
  const change = (statement: string) => database.run(sql => sql.unsafe(statement))
  const tables = async () => {
    const rows = await database.run(
      sql => sql<{ name: string }[]>`
        select relname as name from pg_class where relnamespace = 'public'::regnamespace and relkind = 'r' order by 1`
    )
    return rows.map(({ name }) => name)
  }
  return { database, change, tables }
}

const foreign = (table: string) =>
  new SchemaError(`the table ${table} was not made by this service: give the service a database or a schema of its own`)

t.test('a table of another system is reported, and nothing is written', async t => {
  const { database, change, tables } = await emptyDatabase(t)
  await change('create table users (id int); create table unrelated (id int)')
  await t.rejects(migrate(database), foreign('users'))
  t.strictSame(await tables(), ['unrelated', 'users'])
})

t.test('a schema_version table of another system is reported, and nothing is written', async t => {
  for (const [record, rows] of [
    ['version bigint, name text, md5 text, run_at timestamptz', "(1, 'invoices')"],
    ['installed_rank int', '(1)']
  ]) {
    const { database, change, tables } = await emptyDatabase(t)
    await change(`create table schema_version (${record}); insert into schema_version values ${rows}`)
    await t.rejects(migrate(database), foreign('schema_version'))
    t.strictSame(await tables(), ['schema_version'])
  }
})

t.test(
  'a schema_version table of another system with a higher version is not accepted as the schema of this service',
  async t => {
    const { database, change, tables } = await emptyDatabase(t)
    await change(
      "create table schema_version (version bigint, name text); insert into schema_version values (999, 'x')"
    )
    t.strictSame(await migrate(database), [])
    await t.rejects(assertSchema(database), { name: 'SchemaError' })
    t.strictSame(await tables(), ['schema_version'])
  }
)

t.test('a database with only unrelated tables is migrated', async t => {
  const { database, change } = await emptyDatabase(t)
  await change('create table unrelated (id int); create table "Users" (id int)')
  const applied = await migrate(database)
  t.ok(applied.length > 10, `applied: ${applied.length}`)
  t.strictSame(await migrate(database), [])
})

t.test('the check uses the schema of the session, with any name', async t => {
  const { url } = await createTestDatabase(t)
  const name = new URL(url).pathname.slice(1)
  const before = openDatabase(url)
  await before.run(sql => sql.unsafe(`create schema "Own Name"; create table "Own Name".orders (id int)`))
  await before.run(sql => sql.unsafe(`alter database ${name} set search_path = "Own Name"`))
  await before.close(0)
  const database = openDatabase(url)
  t.teardown(() => database.close(0))
  await t.rejects(migrate(database), foreign('orders'))
  await database.run(sql => sql`drop table orders`)
  const applied = await migrate(database)
  t.ok(applied.length > 10, `applied there: ${applied.length}`)
})
