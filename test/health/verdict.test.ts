import t from 'tap'
import type { Snapshot } from '../../src/health/state.ts'
import { databaseCheck, FRESH_MS, notReady, notStarted } from '../../src/health/verdict.ts'

const ready: Snapshot = {
  database: 'ok',
  databaseAgeMs: 10,
  migrated: true,
  started: true,
  draining: false,
  pressure: false,
  heartbeatAgeMs: 20
}

t.test('a replica with everything in order is ready', async t => {
  t.equal(notReady(ready), undefined)
  t.equal(notStarted(ready), undefined)
})

t.test('a verdict is renewed after a tenth of a second', async t => {
  t.equal(FRESH_MS, 100)
})

t.test('of several reasons the first of the list is told', async t => {
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

t.test('a database that never answered is told, not the migrations that wait for it', async t => {
  const snapshot: Snapshot = { ...ready, migrated: false, started: false, database: 'database_unreachable' }
  t.equal(notReady(snapshot), 'database_unreachable')
  t.equal(notStarted(snapshot), 'database_unreachable')
})

t.test('a main loop without a sign of life for over a second is overloaded', async t => {
  t.equal(notReady({ ...ready, heartbeatAgeMs: 1_000 }), undefined)
  t.equal(notReady({ ...ready, heartbeatAgeMs: 1_001 }), 'overloaded')
})

t.test('a verdict that nobody renews ages out', async t => {
  t.equal(databaseCheck({ ...ready, databaseAgeMs: 500 }), 'ok')
  t.equal(databaseCheck({ ...ready, databaseAgeMs: 501 }), 'overloaded')
  t.equal(databaseCheck({ ...ready, database: 'database_timeout', databaseAgeMs: 2_500 }), 'database_timeout')
  t.equal(databaseCheck({ ...ready, database: 'database_timeout', databaseAgeMs: 2_501 }), 'overloaded')
})

t.test('the warm-up holds start-up, not readiness', async t => {
  const warming: Snapshot = { ...ready, started: false }
  t.equal(notReady(warming), undefined)
  t.equal(notStarted(warming), 'starting')
})

t.test('what has started stays started', async t => {
  t.equal(notStarted({ ...ready, draining: true, database: 'database_refused', pressure: true }), undefined)
})
