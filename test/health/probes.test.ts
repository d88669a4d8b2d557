import t from 'tap'
import { isProbePath, type ProbePath, probeAnswers } from '../../src/health/probes.ts'
import type { Snapshot } from '../../src/health/shared-state.ts'

const answer = probeAnswers({ service: 'trading-system', stallMs: 30_000 })
const timestamp = '2026-11-23T12:00:00.000Z'
const nowMs = Date.parse(timestamp)
const healthy: Snapshot = {
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
const unresponsive: Snapshot = { ...healthy, database: 'database_timeout' }

const expected: [path: ProbePath, snapshot: Snapshot, status: number, body: object][] = [
  ['/health', healthy, 200, { status: 'healthy', timestamp, database: 'healthy', service: 'trading-system' }],
  ['/health', unresponsive, 503, { status: 'unhealthy', timestamp, database: 'unhealthy', service: 'trading-system' }],
  ['/health/ready', healthy, 200, { status: 'ready', timestamp, checks: { database: 'ok' } }],
  [
    '/health/ready',
    unresponsive,
    503,
    { status: 'not_ready', timestamp, error: 'database_timeout', checks: { database: 'database_timeout' } }
  ],
  [
    '/health/ready',
    { ...healthy, draining: true },
    503,
    { status: 'not_ready', timestamp, error: 'draining', checks: { database: 'ok' } }
  ],
  [
    '/health/live',
    { ...unresponsive, draining: true, pressure: true, heartbeatAgeMs: 29_999 },
    200,
    { status: 'alive', timestamp }
  ],
  ['/health/live', { ...healthy, heartbeatAgeMs: 30_000 }, 503, { status: 'stalled', timestamp }],
  ['/health/startup', healthy, 200, { status: 'started', timestamp }],
  ['/health/startup', { ...healthy, started: false }, 503, { status: 'starting', timestamp, error: 'starting' }],
  ['/api/system/health', healthy, 200, { status: 'healthy', timestamp }],
  ['/api/system/health', unresponsive, 503, { status: 'unhealthy', timestamp }]
]

t.test('each probe returns the bodies of the contract', async t => {
  for (const [path, snapshot, status, body] of expected) {
    const answered = answer(path, snapshot, nowMs)
    t.equal(answered.status, status, path)
    t.strictSame(JSON.parse(answered.body), body, path)
  }
})

t.test('draining and pressure do not change the database state in the body', async t => {
  const loaded = { ...healthy, draining: true, pressure: true }
  t.equal(answer('/health', loaded, nowMs).status, 200)
  t.equal(answer('/api/system/health', loaded, nowMs).status, 200)
})

t.test('before the first verdict only liveness is 200', async t => {
  const fresh: Snapshot = { ...healthy, database: 'unknown', migrated: false, started: false }
  for (const path of ['/health', '/health/ready', '/health/startup', '/api/system/health'] as const) {
    t.equal(answer(path, fresh, nowMs).status, 503, path)
  }
  t.equal(answer('/health/live', fresh, nowMs).status, 200)
})

t.test('a service name with quotes stays a JSON string', async t => {
  const { body } = probeAnswers({ service: '"},{"x', stallMs: 1 })('/health', healthy, nowMs)
  t.hasStrict(JSON.parse(body), { service: '"},{"x' })
})

t.test('only the probe routes are probe paths', async t => {
  t.ok(isProbePath('/health/live'))
  for (const path of ['/', '/health/', '/HEALTH', '/toString', '/__proto__']) t.notOk(isProbePath(path), path)
})
