import t from 'tap'
import { schedulerDetails } from '../../src/scheduler/scheduler-check.ts'

const health = { running: true, heartbeatAgeMs: 310, pollMs: 3, wedged: false, overdue: [], runners: 1 }

t.test('the scheduler is degraded while it does not poll, or a job is overdue', async t => {
  t.hasStrict(schedulerDetails(health), { name: 'scheduler', status: 'ok', code: null, latency_ms: 3, age_ms: 310 })
  const overdue = { ...health, overdue: ['housekeeping'] }
  t.hasStrict(schedulerDetails(overdue), { status: 'degraded', code: 'overdue' })
  t.hasStrict(schedulerDetails({ ...overdue, runners: 0 }), { status: 'degraded', code: 'no_runner' })
  t.hasStrict(schedulerDetails({ ...health, runners: null }), { status: 'ok', code: null })
  t.hasStrict(schedulerDetails({ ...overdue, runners: 0, wedged: true }), { status: 'degraded', code: 'wedged' })
})

t.test('before the first poll there is no age', async t => {
  t.hasStrict(schedulerDetails({ ...health, heartbeatAgeMs: null, pollMs: null }), {
    status: 'ok',
    latency_ms: null,
    age_ms: null
  })
})
