import t from 'tap'
import { SECOND } from '../../src/async/durations.ts'
import { dueTimes } from '../../src/scheduler/due-times.ts'
import { frozenScheduler } from '../support/runs.ts'

t.test('a job is due since its last run that did not fail, or its first due time, whichever is later', async t => {
  const { database, reset } = await frozenScheduler(t)
  const nowMs = await reset()
  const ago = (seconds: number) => new Date(nowMs - seconds * SECOND)
  await database.run(
    sql => sql`
      insert into scheduled_jobs (job_id, definition, first_due_at, last_success_at, last_partial_at) values
        ('due', 'x', ${ago(10)}, ${ago(20)}, null), ('succeeded', 'x', ${ago(20)}, ${ago(10)}, ${ago(15)}),
        ('partial', 'x', ${ago(20)}, ${ago(10)}, ${ago(5)}), ('new', 'x', null, null, null),
        ('never', 'x', ${ago(30)}, null, null), ('other', 'x', null, null, null)`
  )
  const found = await database.transaction(
    tx => dueTimes(tx, ['due', 'succeeded', 'partial', 'new', 'never', 'unknown']),
    {
      deadlineMs: 8_000
    }
  )
  t.strictSame(
    new Map(found.map(({ jobId, dueAt }) => [jobId, dueAt])),
    new Map([
      ['due', ago(10)],
      ['succeeded', ago(10)],
      ['partial', ago(5)],
      ['new', ago(0)],
      ['never', ago(30)]
    ])
  )
})

t.test('no statement is executed without jobs', async t => {
  t.strictSame(await dueTimes(undefined as never, []), [])
})
