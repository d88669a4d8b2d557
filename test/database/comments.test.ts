// Programs of other teams read the tables: each table and each column has a comment in the database.
import t, { type Test } from 'tap'
import { migratedDatabase, openDatabase } from '../support/migrated-database.ts'

async function migrated(t: Pick<Test, 'teardown'>) {
  const { url } = await migratedDatabase(t)
  const database = openDatabase(url)
  t.teardown(() => database.close(0))
  return database
}

/** Statements that are missing: what a migration must say of each table, view or column without a comment. */
async function missingComments(database: Awaited<ReturnType<typeof migrated>>): Promise<string[]> {
  const rows = await database.run(
    sql => sql<{ statement: string }[]>`
      select format('add to a migration: comment on %s %s is ''…'';',
        case when attname is not null then 'column' when relkind = 'v' then 'view' else 'table' end,
        concat_ws('.', relname, attname)
      ) as statement
      from pg_class c cross join lateral (
        select null as attname, obj_description(c.oid, 'pg_class') as comment
        union all
        select attname, col_description(c.oid, attnum) from pg_attribute
        where attrelid = c.oid and attnum > 0 and not attisdropped
      ) described
      where relnamespace = 'public'::regnamespace and relkind in ('r', 'p', 'v', 'm') and coalesce(comment, '') = ''
      order by relname collate "C", attname collate "C" nulls first`
  )
  return rows.map(({ statement }) => statement)
}

t.test('every table and every column has a comment', async t => {
  t.strictSame(
    await missingComments(await migrated(t)),
    [],
    'a comment says what it means, its unit, when it is null and which side writes it; then npm run docs:schema'
  )
})

t.test('a table and a column without a comment are found', async t => {
  const database = await migrated(t)
  const before = new Set(await missingComments(database))
  await database.run(sql => sql`alter table orders add column later text`)
  await database.run(sql => sql`create table added (first text)`)
  const added = (await missingComments(database)).filter(statement => !before.has(statement))
  t.strictSame(added, [
    "add to a migration: comment on table added is '…';",
    "add to a migration: comment on column added.first is '…';",
    "add to a migration: comment on column orders.later is '…';"
  ])
})
