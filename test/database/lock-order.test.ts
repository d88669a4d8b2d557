import t from 'tap'
import { LOCK_ORDER } from '../../src/database/lock-order.ts'
import { tradingDatabase } from '../support/trading.ts'

t.test('each table of the schema has one place in the order of locks', async t => {
  const database = await tradingDatabase(t)
  const rows = await database.run(
    sql => sql<{ name: string }[]>`
      select relname as name from pg_class where relkind = 'r' and relnamespace = 'public'::regnamespace`
  )
  const tables = LOCK_ORDER.flatMap(step => step.tables)
  t.strictSame([...tables].sort(), rows.map(({ name }) => name).sort())
})

t.test('a table is locked after those that its foreign keys refer to', async t => {
  const database = await tradingDatabase(t)
  const rows = await database.run(
    sql => sql<{ referring: string; referred: string }[]>`
      select conrelid::regclass::text as referring, confrelid::regclass::text as referred
      from pg_constraint where contype = 'f'`
  )
  const stepOf = (name: string) => LOCK_ORDER.findIndex(({ tables }) => tables.includes(name))
  t.ok(rows.length > 0, `foreign keys were compared: ${rows.length}`)
  t.strictSame(
    rows.filter(({ referring, referred }) => stepOf(referring) <= stepOf(referred)),
    []
  )
})
