import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { migratedDatabase, openDatabase } from '../support/migrated-database.ts'
import { projectRoot } from '../support/project.ts'

const guide = readFileSync(join(projectRoot, 'CONTRIBUTING.md'), 'utf8')

/** The SQL after the only sentence that names this migration. */
function migrationOf(file: string): string {
  const found = guide.split(`\`${file}\``)
  if (found.length !== 2) throw new Error(`${file} is named ${found.length - 1} times`)
  return /```sql\n([\s\S]*?)```/.exec(found[1] ?? '')?.[1] ?? ''
}

t.test('in the example of a migration two versions keep two columns equal, until one column is removed', async t => {
  const { url } = await migratedDatabase(t)
  const database = openDatabase(url)
  t.teardown(() => database.close(0))
  const run = (statement: string) => database.run(sql => sql.unsafe<Record<string, string | null>[]>(statement))
  const both = async () => [...(await run('select error_code, failure from outbox order by message_id'))]
  let inserted = 0
  const insert = (column: string, value: string) =>
    run(`insert into outbox (dedupe_key, chat_id, text, ${column}) values ('${inserted++}', '1', 'hello', ${value})`)

  await insert('error_code', "'old'")
  await run(migrationOf('016.do.outbox-failure.sql'))
  t.strictSame(await both(), [{ error_code: 'old', failure: 'old' }], 'a row of before')
  await run('delete from outbox')

  await insert('error_code', "'old'")
  await insert('failure', "'new'")
  await insert('failure', 'null')
  t.strictSame(await both(), [
    { error_code: 'old', failure: 'old' },
    { error_code: 'new', failure: 'new' },
    { error_code: null, failure: null }
  ])
  for (const column of ['error_code', 'failure']) {
    for (const [value, written] of [
      ["'changed'", 'changed'],
      ['null', null],
      ["'again'", 'again']
    ] as const) {
      await run(`update outbox set ${column} = ${value}`)
      const expected = { error_code: written, failure: written }
      t.strictSame(await both(), [expected, expected, expected], `${column} = ${value}`)
    }
  }

  await run(migrationOf('017.do.outbox-error-code.sql'))
  await insert('failure', "'new'")
  const left = await run('select distinct failure from outbox order by failure')
  t.strictSame([...left], [{ failure: 'again' }, { failure: 'new' }])
})
