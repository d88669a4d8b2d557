// Rejected requests leave who, from where and what, in the audit log and in the log.
import t from 'tap'
import { captureLog, startApp, untilStatus } from '../../support/app.ts'
import { migratedDatabase } from '../../support/migrated-database.ts'
import { adminOf, Client, createUser } from '../../support/session.ts'

interface Row {
  actor: string | null
  address: string | null
  action: string
  outcome: string
  request_id: string | null
  details: Record<string, unknown>
}

const { url: databaseUrl } = await migratedDatabase(t)
const log = captureLog()
const environment = {
  DATABASE_URL: databaseUrl,
  PROBE_PORT: 'off',
  SCHEDULER_ENABLED: 'false',
  TRUST_PROXY: '127.0.0.1'
}
const { app, url } = await startApp(t, environment, { logger: log.logger })
await untilStatus(`${url}/health/startup`, 200)
const admin = await adminOf(app)
const vera = new Client(url)
await vera.signIn('vera', await createUser(app, 'vera'))
const stranger = new Client(url)
const from = (address: string) => ({ 'x-forwarded-for': address })

/** The rows of refusals since the last call, the oldest first. */
let seen = '0'
async function refusals(): Promise<string[]> {
  const { answer } = await admin.send('GET', '/api/system/audit-log?limit=500')
  const rows = (answer.entries as (Row & { audit_id: string })[]).filter(
    ({ audit_id }) => BigInt(audit_id) > BigInt(seen)
  )
  seen = rows[0]?.audit_id ?? seen
  return rows
    .filter(({ outcome, action }) => outcome === 'refused' && action !== 'sign_in')
    .map(({ actor, address, action, details: { code, status, attempts } }) =>
      [actor, address, action, code, status, attempts].map(String).join(', ')
    )
    .sort()
}

t.test('requests without a session are one row per network', async t => {
  await refusals()
  const before = log.lines.length
  for (const path of ['/api/system/audit-log', '/api/system/nothing', '/api/system/%', '/api/auth/me']) {
    await stranger.send('GET', path, undefined, from('192.0.2.7:4711'))
  }
  await stranger.send('POST', '/api/system/cache-clear', '{', from('[2001:db8::7]:1'))
  t.strictSame(await refusals(), [
    'null, 192.0.2.7, unauthenticated, UNAUTHENTICATED, 401, 4',
    'null, 2001:db8::7, unauthenticated, UNAUTHENTICATED, 401, 1'
  ])
  const lines = log.lines.slice(before).filter(({ msg, status }) => msg === 'request' && status === 401)
  t.strictSame(
    lines.map(({ address, user, code }) => [address, user, code]),
    [...Array(4).fill(['192.0.2.7', undefined, 'UNAUTHENTICATED']), ['2001:db8::7', undefined, 'UNAUTHENTICATED']]
  )
})

t.test('what a user is not allowed to do is recorded with the name', async t => {
  await vera.send('POST', '/api/system/jobs/housekeeping/pause', undefined, from('192.0.2.8'))
  await vera.send('POST', '/api/system/jobs/housekeeping/pause', undefined, from('192.0.2.9'))
  await vera.send('GET', '/api/system/nothing')
  t.strictSame(await refusals(), [
    'vera, 127.0.0.1, GET unknown path, FORBIDDEN, 403, 1',
    'vera, null, POST /api/system/jobs/:job_id/pause, FORBIDDEN, 403, 2'
  ])
})

t.test('requests of other sites are recorded, those to sign in and out too', async t => {
  const evil = { origin: 'https://evil.example' }
  await admin.send('POST', '/api/system/cache-clear', {}, evil)
  await stranger.send('POST', '/api/auth/login', { username: 'ada', password: 'x' }, { ...evil, ...from('192.0.2.7') })
  t.strictSame(await refusals(), [
    'ada, 127.0.0.1, POST /api/system/cache-clear, FOREIGN_ORIGIN, 403, 1',
    'null, 192.0.2.7, POST /api/auth/login, FOREIGN_ORIGIN, 403, 1'
  ])
})

t.test('what an admin sends that breaks a rule is recorded, once', async t => {
  await admin.send('POST', '/api/system/cache-clear', { exchnge: 'BINANCE' })
  await admin.send('POST', '/api/system/cache-clear', '{"type":"price","type":"all"}')
  await admin.send('POST', '/api/system/cache-clear', '{')
  await admin.send('POST', '/api/system/cache-clear', 'type=all', { 'content-type': 'text/plain' })
  await admin.send('POST', '/api/system/cache-clear', JSON.stringify('x'.repeat(70_000)))
  await admin.send('GET', '/api/system/job-runs?limit=1e2')
  // Rejected by the handler: its two rows are those of an action.
  await admin.send('POST', '/api/system/cache-clear', { exchange: 'NOWHERE' })
  t.strictSame(await refusals(), [
    'ada, 127.0.0.1, GET /api/system/job-runs, VALIDATION_FAILED, 400, 1',
    'ada, 127.0.0.1, POST /api/system/cache-clear, MALFORMED_JSON, 400, 1',
    'ada, 127.0.0.1, POST /api/system/cache-clear, PAYLOAD_TOO_LARGE, 413, 1',
    'ada, 127.0.0.1, POST /api/system/cache-clear, UNSUPPORTED_MEDIA_TYPE, 415, 1',
    'ada, 127.0.0.1, POST /api/system/cache-clear, VALIDATION_FAILED, 400, 2',
    'ada, 127.0.0.1, POST /api/system/cache-clear, undefined, 400, undefined'
  ])
})

t.test('probes, unknown paths and wrong credentials leave no such row', async t => {
  await stranger.send('GET', '/health/live')
  await stranger.send('POST', '/health/live')
  await stranger.send('GET', '/nothing')
  await stranger.signIn('ada', 'wrong')
  await admin.send('GET', '/api/system/nothing')
  await admin.send('PUT', '/api/system/audit-log')
  t.strictSame(await refusals(), [])
})

t.test('refusals are written when the service closes', async t => {
  const second = await startApp(t, environment)
  await untilStatus(`${second.url}/health/startup`, 200)
  await new Client(second.url).send('GET', '/api/system/audit-log', undefined, from('192.0.2.99'))
  await second.app.close()
  t.strictSame(await refusals(), ['null, 192.0.2.99, unauthenticated, UNAUTHENTICATED, 401, 1'])
})
