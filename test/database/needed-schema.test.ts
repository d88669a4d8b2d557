import t, { type Test } from 'tap'
import { COLUMN_TYPE, NEEDED_COLUMNS, SCHEMA_DIFFERENCE } from '../../src/database/needed-schema.ts'
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

/** Columns by table that this version no longer uses and a later version drops, such as `{ users: ['old_name'] }`. */
const UNUSED: Record<string, readonly string[]> = {}

t.test('the needed columns and their types are those that the migrations produce', async t => {
  const { database } = await migrated(t)
  const rows = await database.run(
    sql => sql<{ table_name: string; name: string; type: string }[]>`
      select relname as table_name, attname as name,
        ${sql.unsafe(COLUMN_TYPE)} as type
      from pg_attribute join pg_class on pg_class.oid = attrelid join pg_type on pg_type.oid = atttypid
      where relkind = 'r' and relnamespace = 'public'::regnamespace and attnum > 0 and not attisdropped
      order by relname collate "C", attname collate "C"`
  )
  const produced: Record<string, string[]> = {}
  for (const { table_name, name, type } of rows) {
    if (UNUSED[table_name]?.includes(name)) continue
    produced[table_name] = [...(produced[table_name] ?? []), `${name} ${type}`]
  }
  const expected = Object.fromEntries(Object.entries(produced).map(([name, columns]) => [name, columns.join(', ')]))
  t.strictSame(NEEDED_COLUMNS, expected, 'src/database/needed-schema.ts lists what the migrations produce')
})

t.test('the first difference is reported: a missing table, then a missing column, then another type', async t => {
  const { change, difference } = await migrated(t)
  t.equal(await difference(), null)
  await change('alter table users add column later text')
  t.equal(await difference(), null, 'an addition of a later version is not a difference')
  await change('alter table account_balances alter column total type float8')
  t.equal(await difference(), 'column total of table account_balances has the type float8, this version needs numeric')
  await change('alter table job_runs rename column lease_token to lease_key')
  t.equal(await difference(), 'column lease_token of table job_runs is missing')
  await change('drop table outbox')
  t.equal(await difference(), 'table outbox is missing')
})

t.test('a type with other values is a difference, and varchar equals text', async t => {
  const { change, difference } = await migrated(t)
  const types: [column: string, type: string, found: string | null, needed: string][] = [
    ['account_balances.free', 'numeric(10,2)', 'numeric(10,2)', 'numeric'],
    ['orders.misses', 'bigint', 'int8', 'int4'],
    ['trade_executions.symbol', 'varchar', null, 'text'],
    ['trade_executions.side', 'varchar(8)', 'varchar(8)', 'text'],
    ['replicas.last_seen_at', 'timestamp', 'timestamp', 'timestamptz'],
    ['replicas.started_at', 'timestamptz(0)', 'timestamptz(0)', 'timestamptz'],
    ['replicas.settings', 'json', 'json', 'jsonb'],
    ['replicas.incarnation', 'text', 'text', 'uuid'],
    ['outbox.chat_id', 'text[] using array[chat_id]', '_text', 'text']
  ]
  for (const [path, type, found, needed] of types) {
    const [table = '', column = ''] = path.split('.')
    await change(`alter table ${table} alter column ${column} type ${type}`)
    const message = `column ${column} of table ${table} has the type ${found}, this version needs ${needed}`
    t.equal(await difference(), found === null ? null : message)
    const back = found === '_text' ? `text using ${column}[1]` : `${needed} using ${column}::${needed}`
    await change(`alter table ${table} alter column ${column} type ${back}`)
    t.equal(await difference(), null, `${path} is ${needed} again`)
  }
})

t.test('a lock on a table does not delay the comparison', async t => {
  const { database, difference } = await migrated(t)
  await database.transaction(async tx => {
    await tx`lock table job_runs in access exclusive mode`
    t.equal(await difference(), null)
  })
})
