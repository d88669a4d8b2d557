import t from 'tap'
import { probes as probePaths } from '../../src/health/probes.ts'
import { captureLog, startApp, untilStatus } from '../support/app.ts'
import { migratedDatabase } from '../support/migrated-database.ts'

const ISO = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/

t.test('with a database every probe returns 200 on both ports, for GET and HEAD, with the same body', async t => {
  const { url: databaseUrl } = await migratedDatabase(t)
  const { lines, logger } = captureLog('info')
  const { url, probeUrl } = await startApp(t, { DATABASE_URL: databaseUrl }, { logger })
  await untilStatus(`${url}/health/startup`, 200)
  const logged = lines.length

  const bodies: Record<string, object> = {
    '/health': { status: 'healthy', database: 'healthy', service: 'trading-system' },
    '/health/ready': { status: 'ready', checks: { database: 'ok' } },
    '/health/live': { status: 'alive' },
    '/health/startup': { status: 'started' },
    '/api/system/health': { status: 'healthy' }
  }
  for (const base of [url, probeUrl]) {
    for (const path of Object.keys(probePaths)) {
      const response = await fetch(base + path)
      const body = (await response.json()) as Record<string, unknown>
      t.equal(response.status, 200, path)
      const { timestamp, ...rest } = body
      t.match(timestamp, ISO, path)
      t.strictSame(rest, bodies[path], path)
      const [first, ...others] = Object.keys(rest)
      t.strictSame(Object.keys(body), [first, 'timestamp', ...others], 'fields in this order')
      t.strictSame(Object.keys(rest), Object.keys(bodies[path] ?? {}), 'fields in this order')
      t.equal(response.headers.get('cache-control'), 'no-store')
      t.equal(response.headers.get('content-type'), 'application/json; charset=utf-8')
      t.equal(response.headers.get('set-cookie'), null)

      const head = await fetch(base + path, { method: 'HEAD' })
      t.equal(head.status, 200)
      t.equal(await head.text(), '')
      t.equal(head.headers.get('cache-control'), 'no-store')
      t.equal(head.headers.get('content-length'), response.headers.get('content-length'))
    }
  }
  const probeLines = lines.slice(logged).filter(line => /request|\/health/.test(JSON.stringify(line)))
  t.strictSame(probeLines, [], 'no probe is logged at info')
})

t.test('a query on a probe changes nothing', async t => {
  const { url: databaseUrl } = await migratedDatabase(t)
  const { url, probeUrl } = await startApp(t, { DATABASE_URL: databaseUrl })
  for (const base of [url, probeUrl]) t.equal((await fetch(`${base}/health/live?x=1`)).status, 200)
})

t.test('without a database the port is open, liveness is 200 and the other probes return the reason', async t => {
  const absent = 'postgres://nobody@127.0.0.1:1/none'
  const { url, probeUrl } = await startApp(t, { DATABASE_URL: absent })
  for (const base of [url, probeUrl]) {
    t.equal((await fetch(`${base}/health/live`)).status, 200)
    const expected: Record<string, object> = {
      '/health': { status: 'unhealthy', database: 'unhealthy', service: 'trading-system' },
      '/health/ready': {
        status: 'not_ready',
        checks: { database: 'database_unreachable' },
        error: 'database_unreachable'
      },
      '/health/startup': { status: 'starting', error: 'database_unreachable' },
      '/api/system/health': { status: 'unhealthy' }
    }
    for (const [path, body] of Object.entries(expected)) {
      const response = await fetch(base + path)
      t.equal(response.status, 503, path)
      const { timestamp, ...rest } = (await response.json()) as Record<string, unknown>
      t.match(timestamp, ISO, path)
      t.strictSame(rest, body, path)
    }
  }
})

t.test('the probe port answers other paths with 404', async t => {
  const { probeUrl } = await startApp(t, { DATABASE_URL: 'postgres://nobody@127.0.0.1:1/none' })
  for (const [path, method] of [
    ['/', 'GET'],
    ['/', 'OPTIONS'],
    ['/api/auth/login', 'POST'],
    ['/metrics', 'GET']
  ] as const) {
    const response = await fetch(probeUrl + path, { method })
    t.equal(response.status, 404, `${method} ${path}`)
    t.hasStrict(await response.json(), { success: false, code: 'NOT_FOUND' })
  }
})

t.test('KEEP_ALIVE_SECONDS sets how long both ports keep an idle connection', async t => {
  for (const [environment, seconds] of [
    [{}, 75],
    [{ KEEP_ALIVE_SECONDS: '620' }, 620]
  ] as const) {
    const { url, probeUrl } = await startApp(t, { DATABASE_URL: 'postgres://nobody@127.0.0.1:1/none', ...environment })
    for (const base of [url, probeUrl]) {
      const { headers } = await fetch(`${base}/health/live`)
      t.equal(headers.get('keep-alive'), `timeout=${seconds}`)
    }
  }
})

t.test('PROBE_PORT=off leaves the probes on the main port', async t => {
  const { url: databaseUrl } = await migratedDatabase(t)
  const { app, url } = await startApp(t, { DATABASE_URL: databaseUrl, PROBE_PORT: 'off' })
  t.equal(await app.health.startProbeThread(), undefined)
  t.equal((await untilStatus(`${url}/health/ready`, 200)).status, 200)
})

t.test('draining changes only readiness', async t => {
  const { url: databaseUrl } = await migratedDatabase(t)
  const { app, url, probeUrl } = await startApp(t, { DATABASE_URL: databaseUrl })
  await untilStatus(`${url}/health/startup`, 200)
  app.health.state.setDraining()
  for (const base of [url, probeUrl]) {
    const ready = await fetch(`${base}/health/ready`)
    t.equal(ready.status, 503)
    t.hasStrict(await ready.json(), { status: 'not_ready', error: 'draining', checks: { database: 'ok' } })
    for (const path of ['/health', '/health/live', '/health/startup', '/api/system/health']) {
      t.equal((await fetch(base + path)).status, 200, path)
    }
  }
})
