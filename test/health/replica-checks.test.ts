import t from 'tap'
import { databaseDetails, mainLoopDetails, probeThreadDetails } from '../../src/health/replica-checks.ts'
import type { Snapshot } from '../../src/health/shared-state.ts'

const ready: Snapshot = {
  database: 'ok',
  databaseAgeMs: 40,
  migrated: true,
  started: true,
  draining: false,
  pressure: false,
  failing: false,
  incompatible: false,
  heartbeatAgeMs: 90
}
const now = Date.parse('2026-11-23T12:00:00.000Z')
const timing = { latencyMs: 0.6, sinceMs: 60_000, failingSinceMs: 5_000 }

t.test('the database is failed with the code of its last check', async t => {
  t.strictSame(databaseDetails(ready, timing, now), {
    name: 'database',
    status: 'ok',
    code: null,
    latency_ms: 0.6,
    age_ms: 40,
    since: '2026-11-23T11:59:00.000Z'
  })
  const failed = { ...ready, database: 'database_refused' } as const
  t.hasStrict(databaseDetails(failed, timing, now), { status: 'failed', code: 'database_refused' })
})

t.test('failing statements make the database check failed since their first failure', async t => {
  t.hasStrict(databaseDetails({ ...ready, failing: true }, timing, now), {
    status: 'failed',
    code: 'database_failing',
    since: '2026-11-23T11:59:55.000Z'
  })
  t.hasStrict(databaseDetails({ ...ready, database: 'database_read_only', failing: true }, timing, now), {
    code: 'database_read_only',
    since: '2026-11-23T11:59:00.000Z'
  })
})

t.test('before the first check the database is unknown', async t => {
  t.strictSame(databaseDetails({ ...ready, database: 'unknown' }, timing, now), {
    name: 'database',
    status: 'failed',
    code: 'starting',
    latency_ms: null,
    age_ms: null,
    since: null
  })
})

t.test('the main loop is degraded by pressure, and by a heartbeat older than a second', async t => {
  t.hasStrict(mainLoopDetails(ready, 1.4), { name: 'main_loop', status: 'ok', code: null, latency_ms: 1.4, age_ms: 90 })
  t.hasStrict(mainLoopDetails({ ...ready, heartbeatAgeMs: 1_000 }, 1.4), { status: 'ok' })
  t.hasStrict(mainLoopDetails({ ...ready, heartbeatAgeMs: 1_001 }, 1.4), { status: 'degraded', code: 'overloaded' })
  t.hasStrict(mainLoopDetails({ ...ready, pressure: true }, 1.4), { status: 'degraded', code: 'overloaded' })
})

t.test('the probe thread is failed when its verdict is older than 5 s', async t => {
  t.hasStrict(probeThreadDetails({ ...ready, databaseAgeMs: 5_000 }, 0.6), {
    name: 'probe_thread',
    status: 'ok',
    code: null,
    latency_ms: 0.6
  })
  t.hasStrict(probeThreadDetails({ ...ready, databaseAgeMs: 5_001 }, 0.6), { status: 'failed', code: 'overloaded' })
  t.hasStrict(probeThreadDetails({ ...ready, database: 'unknown', databaseAgeMs: 9_000 }, 0.6), {
    status: 'ok',
    age_ms: null
  })
})
