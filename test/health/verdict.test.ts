import t from 'tap'
import type { Snapshot } from '../../src/health/shared-state.ts'
import { databaseCheck, FRESH_MS, mayRunJobs, notReady, notStarted } from '../../src/health/verdict.ts'

const ready: Snapshot = {
  database: 'ok',
  databaseAgeMs: 10,
  migrated: true,
  started: true,
  draining: false,
  pressure: false,
  failing: false,
  incompatible: false,
  heartbeatAgeMs: 20
}

t.test('a replica without a reason not to be ready is ready', async t => {
  t.equal(notReady(ready), undefined)
  t.equal(notStarted(ready), undefined)
})

t.test('a verdict is fresh for a tenth of a second', async t => {
  t.equal(FRESH_MS, 100)
})

t.test('of several reasons the first in the list is returned', async t => {
  const worst: Snapshot = {
    ...ready,
    draining: true,
    database: 'unknown',
    migrated: false,
    started: false,
    pressure: true
  }
  t.equal(notReady(worst), 'draining')
  t.equal(notReady({ ...worst, draining: false }), 'starting')
  t.equal(notReady({ ...worst, draining: false, database: 'ok' }), 'migrations_pending')
  t.equal(notReady({ ...ready, database: 'database_timeout', pressure: true }), 'database_timeout')
  t.equal(notReady({ ...ready, pressure: true }), 'overloaded')
})

t.test('before the first database check the reason is the database, not pending migrations', async t => {
  const snapshot: Snapshot = { ...ready, migrated: false, started: false, database: 'database_unreachable' }
  t.equal(notReady(snapshot), 'database_unreachable')
  t.equal(notStarted(snapshot), 'database_unreachable')
})

t.test('a main loop without a heartbeat for more than a second is overloaded', async t => {
  t.equal(notReady({ ...ready, heartbeatAgeMs: 1_000 }), undefined)
  t.equal(notReady({ ...ready, heartbeatAgeMs: 1_001 }), 'overloaded')
})

t.test('a verdict that is not refreshed expires', async t => {
  t.equal(databaseCheck({ ...ready, databaseAgeMs: 500 }), 'ok')
  t.equal(databaseCheck({ ...ready, databaseAgeMs: 501 }), 'overloaded')
  t.equal(databaseCheck({ ...ready, database: 'database_timeout', databaseAgeMs: 2_500 }), 'database_timeout')
  t.equal(databaseCheck({ ...ready, database: 'database_timeout', databaseAgeMs: 2_501 }), 'overloaded')
})

t.test('the warm-up delays start-up, not readiness', async t => {
  const warming: Snapshot = { ...ready, started: false }
  t.equal(notReady(warming), undefined)
  t.equal(notStarted(warming), 'starting')
})

t.test('a started replica stays started', async t => {
  t.equal(notStarted({ ...ready, draining: true, database: 'database_refused', pressure: true }), undefined)
})

t.test('failing statements and an incompatible schema are reasons even while the database check is ok', async t => {
  t.equal(notReady({ ...ready, failing: true }), 'database_failing')
  t.equal(notReady({ ...ready, failing: true, incompatible: true }), 'schema_incompatible')
  t.equal(notReady({ ...ready, failing: true, database: 'database_read_only' }), 'database_read_only')
  t.equal(notReady({ ...ready, failing: true, pressure: true }), 'database_failing')
  t.equal(notReady({ ...ready, failing: true, migrated: false }), 'migrations_pending')
  t.equal(notReady({ ...ready, database: 'database_read_only', migrated: false }), 'database_read_only')
})

t.test('jobs may run unless the schema is incompatible', async t => {
  t.equal(mayRunJobs({ ...ready, failing: true, draining: true, database: 'database_timeout' }), true)
  t.equal(mayRunJobs({ ...ready, database: 'schema_incompatible' }), false)
  t.equal(mayRunJobs({ ...ready, incompatible: true, database: 'database_timeout' }), false)
})
