// Every registered route with every role: a route without a row in the table fails.
import t from 'tap'
import { ROLES, type Role, Users } from '../../src/auth/users.ts'
import { startApp, untilStatus } from '../support/app.ts'
import { migratedDatabase } from '../support/migrated-database.ts'
import { Client, createUser } from '../support/session.ts'
import { tokenOf } from '../support/token.ts'

type Least = 'public' | 'signed-in' | 'viewer' | 'admin'

/** The least role that may call each route; `public` without a sign-in, `signed-in` with every role. */
const LEAST: Readonly<Record<string, Least>> = {
  'GET /health': 'public',
  'GET /health/live': 'public',
  'GET /health/ready': 'public',
  'GET /health/startup': 'public',
  'GET /api/system/health': 'public',
  'GET /docs/form.js': 'public',
  'GET /docs': 'admin',
  'GET /docs/*': 'admin',
  'POST /api/auth/login': 'public',
  'POST /api/auth/logout': 'public',
  'GET /api/auth/me': 'signed-in',
  'POST /api/auth/password': 'signed-in',
  'GET /api/system/audit-log': 'viewer',
  'GET /api/system/health/details': 'viewer',
  'GET /api/system/health/history': 'viewer',
  'GET /api/system/scheduler-status': 'viewer',
  'POST /api/system/scheduler-control': 'admin',
  'POST /api/system/jobs/:job_id/pause': 'admin',
  'POST /api/system/jobs/:job_id/resume': 'admin',
  'POST /api/system/trigger-job': 'admin',
  'GET /api/system/job-runs': 'viewer',
  'GET /api/system/job-runs/:run_id': 'viewer',
  'GET /api/system/quiet': 'viewer',
  'POST /api/system/quiet': 'admin',
  'DELETE /api/system/quiet': 'admin',
  'GET /api/system/cache-stats': 'viewer',
  'POST /api/system/cache-clear': 'admin',
  'GET /api/system/exchange-metadata': 'viewer',
  'POST /api/system/test-telegram': 'admin',
  'GET /api/trading/performance': 'signed-in',
  'GET /api/trading/daily-summaries': 'signed-in',
  'GET /api/trading/equity': 'signed-in',
  'GET /api/trading/books': 'signed-in',
  'GET /api/trading/positions': 'signed-in',
  'GET /api/trading/balances': 'signed-in',
  'GET /api/trading/orders': 'signed-in',
  'GET /api/trading/executions': 'signed-in',
  'GET /api/trading/ledger': 'signed-in'
}

const { url: DATABASE_URL } = await migratedDatabase(t)
const routes = new Set<string>()
const { app, url } = await startApp(
  t,
  { DATABASE_URL, PROBE_PORT: 'off' },
  {
    onRoute: ({ method, url }) => {
      for (const one of [method].flat()) routes.add(`${one} ${url}`)
    }
  }
)
await untilStatus(`${url}/health/startup`, 200)
const users = new Users(app.db)

const clientOf = async (username: string, role: Role) => {
  const client = new Client(url)
  await client.signIn(username, await createUser(app, username, { role }))
  return client
}
/** The headers of requests of each role: with the cookie of a session, and with a token. */
const callers = await Promise.all(
  ROLES.flatMap(role => [
    (async () => ({
      role,
      kind: 'session',
      headers: { cookie: String((await clientOf(`${role}-1`, role)).cookie) }
    }))(),
    (async () => {
      await createUser(app, `${role}-2`, { role })
      const token = await tokenOf(app, { name: role, role, username: `${role}-2` })
      return { role, kind: 'token', headers: { authorization: `Bearer ${token}` } }
    })()
  ])
)

/** Routes that require a session, and reject every token. */
const SESSIONS_ONLY: readonly string[] = ['POST /api/auth/login', 'POST /api/auth/logout', 'POST /api/auth/password']

/** The roles that are admitted to a route, by the least one. */
const ADMITTED: Readonly<Record<Least, readonly Role[]>> = {
  public: ROLES,
  'signed-in': ROLES,
  viewer: ['admin', 'viewer'],
  admin: ['admin']
}

/** The status and code of a rejection by role. The body cannot be parsed: a request that is admitted changes nothing. */
async function rejectionOf(credential: Record<string, string>, method: string, path: string): Promise<string> {
  const response = await fetch(url + path, {
    method,
    headers: { ...credential, 'content-type': 'application/json', accept: 'application/json' },
    ...(['GET', 'HEAD', 'OPTIONS'].includes(method) ? {} : { body: '{' })
  })
  const text = await response.text()
  if (response.status !== 401 && response.status !== 403) return 'admitted'
  return method === 'HEAD' ? String(response.status) : `${response.status} ${JSON.parse(text).code}`
}

t.test('every route has a decided role', async t => {
  t.strictSame([...routes].filter(route => !route.startsWith('HEAD ')).sort(), Object.keys(LEAST).sort())
})

t.test('every route admits the roles of the table, and rejects all others before it parses the body', async t => {
  for (const [route, least] of Object.entries(LEAST)) {
    const [method = '', pattern = ''] = route.split(' ')
    const path = pattern.replace(/:\w+/g, 'x').replace('*', 'json')
    for (const one of method === 'GET' ? ['GET', 'HEAD'] : [method]) {
      const withCode = (text: string) => (one === 'HEAD' ? text.replace(/ .*/, '') : text)
      const unknown = least === 'public' ? 'admitted' : withCode('401 UNAUTHENTICATED')
      t.equal(await rejectionOf({}, one, path), unknown, `${one} ${path} without a session`)
      for (const { role, kind, headers } of callers) {
        const isAdmitted = ADMITTED[least].includes(role) && !(kind === 'token' && SESSIONS_ONLY.includes(route))
        const expected = isAdmitted ? 'admitted' : withCode('403 FORBIDDEN')
        t.equal(await rejectionOf(headers, one, path), expected, `${one} ${path}: ${kind} of ${role}`)
      }
    }
  }
})

t.test('unknown paths and methods of a scope have its roles, too', async t => {
  const expected: [method: string, path: string, user: string, viewer: string, admin: string][] = [
    ['GET', '/api/system/nothing', '403 FORBIDDEN', 'admitted', 'admitted'],
    ['OPTIONS', '/api/system/cache-clear', '403 FORBIDDEN', 'admitted', 'admitted'],
    ['POST', '/api/system/nothing', '403 FORBIDDEN', '403 FORBIDDEN', 'admitted'],
    ['PUT', '/api/system/cache-clear', '403 FORBIDDEN', '403 FORBIDDEN', 'admitted'],
    ['DELETE', '/api/system/%', '403 FORBIDDEN', '403 FORBIDDEN', 'admitted'],
    ['GET', '/api/trading/nothing', 'admitted', 'admitted', 'admitted'],
    ['GET', '/api/trading/%', 'admitted', 'admitted', 'admitted'],
    ['POST', '/api/trading/nothing', 'admitted', 'admitted', 'admitted']
  ]
  for (const [method, path, user, viewer, admin] of expected) {
    const codes = { user, viewer, admin }
    t.match(await rejectionOf({}, method, path), /^401 /, `${method} ${path} without a session`)
    for (const { role, kind, headers } of callers) {
      t.equal(await rejectionOf(headers, method, path), codes[role], `${method} ${path}: ${kind} of ${role}`)
    }
  }
})

t.test('a role applies from the next request of the session on', async t => {
  const client = await clientOf('changing', 'viewer')
  const statuses = async () => [
    (await client.send('GET', '/api/system/cache-stats')).status,
    (await client.send('POST', '/api/system/cache-clear', { type: 'price', dry_run: true })).status
  ]
  t.strictSame(await statuses(), [200, 403])
  await users.setRole('changing', 'admin')
  t.strictSame(await statuses(), [200, 200])
  await users.setRole('changing', 'user')
  t.strictSame(await statuses(), [403, 403])
})
