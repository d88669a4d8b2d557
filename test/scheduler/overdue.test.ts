import t from 'tap'
import { isOverdue } from '../../src/scheduler/overdue.ts'

t.test('a job is overdue one period and one maximum run time after it should have succeeded', async t => {
  const job = { periodMs: 300_000, maxRunMs: 120_000 }
  const never = { ...job, firstDueMs: 1_000_000, lastDoneMs: null }
  t.equal(isOverdue(never, 1_420_000), false)
  t.equal(isOverdue(never, 1_420_001), true)
  const once = { ...job, firstDueMs: 1_000_000, lastDoneMs: 2_000_000 }
  t.equal(isOverdue(once, 2_420_000), false)
  t.equal(isOverdue(once, 2_420_001), true)
  t.equal(isOverdue({ ...once, firstDueMs: 9_000_000 }, 9_000_000), false, 'just resumed')
  t.equal(isOverdue({ ...once, firstDueMs: null }, 99_000_000), false, 'stopped or paused')
})
