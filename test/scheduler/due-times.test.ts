import t from 'tap'
import { SECOND } from '../../src/async/durations.ts'
import { dueTimes } from '../../src/scheduler/due-times.ts'
import { frozenDatabase, openDatabase } from '../support/migrated-database.ts'

t.test('a job is due since its last success or its first due time, the later one', async t => {
  const { url } = await frozenDatabase(t)
  const database = openDatabase(url)
  t.teardown(() => database.close(0))
  const [now] = await database.run(sql => sql<{ at: Date }[]>`select now() as at`)
  const ago = (seconds: number) => new Date((now?.at.getTime() ?? 0) - seconds * SECOND)
  await database.run(
    sql => sql`
      insert into scheduled_jobs (job_id, definition, first_due_at, last_success_at) values
        ('due', 'x', ${ago(10)}, ${ago(20)}), ('succeeded', 'x', ${ago(20)}, ${ago(10)}), ('new', 'x', null, null),
        ('never', 'x', ${ago(30)}, null), ('other', 'x', null, null)`
  )
  const found = await database.transaction(tx => dueTimes(tx, ['due', 'succeeded', 'new', 'never', 'unknown']), {
    deadlineMs: 8_000
  })
  t.strictSame(
    new Map(found.map(({ jobId, dueAt }) => [jobId, dueAt])),
    new Map([
      ['due', ago(10)],
      ['succeeded', ago(10)],
      ['new', ago(0)],
      ['never', ago(30)]
    ])
  )
})

t.test('without jobs there is no statement', async t => {
  t.strictSame(await dueTimes(undefined as never, []), [])
})
