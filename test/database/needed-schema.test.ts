import t, { type Test } from 'tap'
import { NEEDED_COLUMNS, SCHEMA_DIFFERENCE } from '../../src/database/needed-schema.ts'
import { migratedDatabase, openDatabase } from '../support/migrated-database.ts'

async function migrated(t: Pick<Test, 'teardown'>) {
  const { url } = await migratedDatabase(t)
  const database = openDatabase(url)
  t.teardown(() => database.close(0))
  const change = (statement: string) => database.run(sql => sql.unsafe(statement))
  const difference = async () =>
    (
      await database.run(sql =>
        sql.unsafe<{ difference: string | null }[]>(`select ${SCHEMA_DIFFERENCE} as difference`)
      )
    )[0]?.difference
  return { database, change, difference }
}

t.test('the needed columns are those of the schema after all migrations', async t => {
  const { database } = await migrated(t)
  const rows = await database.run(
    sql => sql<{ name: string; columns: string }[]>`
      select relname as name, string_agg(attname, ' ' order by attname collate "C") as columns
      from pg_attribute join pg_class on pg_class.oid = attrelid
      where relkind = 'r' and relnamespace = 'public'::regnamespace and attnum > 0 and not attisdropped
      group by relname order by relname collate "C"`
  )
  const expected = Object.fromEntries(rows.map(({ name, columns }) => [name, columns]))
  t.strictSame(NEEDED_COLUMNS, expected, 'src/database/needed-schema.ts lists what the migrations make')
})

t.test('the first difference is named: a missing table, then a missing column', async t => {
  const { change, difference } = await migrated(t)
  t.equal(await difference(), null)
  await change('alter table users add column later text')
  t.equal(await difference(), null, 'what a later version adds is no difference')
  await change('alter table job_runs rename column lease_token to lease_key')
  t.equal(await difference(), 'column lease_token of table job_runs is missing')
  await change('drop table outbox')
  t.equal(await difference(), 'table outbox is missing')
})

t.test('a lock on a table does not delay the comparison', async t => {
  const { database, difference } = await migrated(t)
  await database.transaction(async tx => {
    await tx`lock table job_runs in access exclusive mode`
    t.equal(await difference(), null)
  })
})
