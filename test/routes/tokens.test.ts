// Requests with the tokens of scripts.
import { createHash, randomBytes } from 'node:crypto'
import { request as httpRequest } from 'node:http'
import t, { type Test } from 'tap'
import { createToken, revokeToken, sweepTokens } from '../../src/auth/token-table.ts'
import { Users } from '../../src/auth/users.ts'
import { captureLog, startApp, untilStatus } from '../support/app.ts'
import { assertRows } from '../support/assert-rows.ts'
import { migratedDatabase } from '../support/migrated-database.ts'
import { Client, createUser } from '../support/session.ts'
import { tokenOf } from '../support/token.ts'

const { url: DATABASE_URL } = await migratedDatabase(t)
const log = captureLog()
const environment = { DATABASE_URL, PROBE_PORT: 'off', TRUST_PROXY: '127.0.0.1' }
const { app, url } = await startApp(t, environment, { logger: log.logger })
const other = await startApp(t, environment)
for (const base of [url, other.url]) await untilStatus(`${base}/health/startup`, 200)
const users = new Users(app.db)
const none = async () => undefined

let addresses = 0
/** A client address that no other request of this file has, so that no other failure counts for it. */
const freshAddress = () => `192.0.2.${++addresses}`

interface Request {
  method?: string
  path?: string
  body?: string
  authorization?: string | string[]
  from?: string
  headers?: Record<string, string>
}

/** Makes a request with headers exactly as given; `fetch` would change some of them. */
function send(request: Request = {}, base = url) {
  const { method = 'GET', path = '/api/system/cache-stats', body, authorization, headers } = request
  const { from = freshAddress() } = request
  return new Promise<{ status: number; headers: Record<string, unknown>; answer: Record<string, unknown> }>(
    (resolve, reject) => {
      const outgoing = httpRequest(base + path, { method, agent: false }, response => {
        let text = ''
        response.setEncoding('utf8')
        response.on('data', chunk => {
          text += chunk
        })
        response.on('end', () =>
          resolve({ status: response.statusCode ?? 0, headers: response.headers, answer: text ? JSON.parse(text) : {} })
        )
      })
      outgoing.on('error', reject)
      if (authorization !== undefined) outgoing.setHeader('authorization', authorization)
      outgoing.setHeader('x-forwarded-for', from)
      for (const [name, value] of Object.entries({ ...headers, ...(body && { 'content-type': 'application/json' }) })) {
        outgoing.setHeader(name, value)
      }
      outgoing.end(body)
    }
  )
}

const bearer = (token: string, request: Request = {}, base = url) =>
  send({ ...request, authorization: `Bearer ${token}` }, base)

const auditor = await tokenOf(app, { name: 'auditor', role: 'viewer' })
/** To read the audit log writes the rejections that wait. */
const flushRefusals = () => bearer(auditor, { path: '/api/system/audit-log?limit=1' })

async function assertRefused(t: Test, answer: ReturnType<typeof send>, message: string) {
  const { status, headers, answer: body } = await answer
  t.strictSame(
    [status, headers['www-authenticate'], body],
    [401, 'Bearer', { success: false, error: '로그인이 필요합니다', code: 'UNAUTHENTICATED' }],
    message
  )
}

t.test('a token reads what its role may read, on every replica, in any case of the scheme', async t => {
  const token = await tokenOf(app, { name: 'reader', role: 'viewer' })
  t.match(token, /^th_[\w-]{43}$/)
  for (const scheme of ['Bearer', 'bearer', 'BEARER']) {
    for (const base of [url, other.url])
      t.equal((await send({ authorization: `${scheme} ${token}` }, base)).status, 200)
  }
  t.equal((await bearer(token, { path: '/api/trading/nothing' })).status, 404)
  const clear = { method: 'POST', path: '/api/system/cache-clear', body: '{"dry_run":true}' }
  t.hasStrict(await bearer(token, clear), { status: 403, answer: { code: 'FORBIDDEN' } })
  t.equal((await bearer(token, { path: '/docs/json' })).status, 403)
  const stored = await app.db.run(sql => sql<{ token_hash: Buffer }[]>`select * from api_tokens where name = 'reader'`)
  t.strictSame(stored[0]?.token_hash, createHash('sha256').update(token).digest())
  t.notOk(JSON.stringify(stored).includes(token), 'only the hash is stored')
})

t.test('what is no valid token is rejected in the same words, whatever it is', async t => {
  const valid = await tokenOf(app, { name: 'almost', role: 'admin' })
  const revoked = await tokenOf(app, { name: 'revoked', role: 'admin' })
  t.equal((await bearer(revoked)).status, 200)
  await revokeToken(app.db, 'REVOKED', none)
  const expired = await tokenOf(app, { name: 'expired', role: 'admin' })
  await app.db.run(sql => sql`update api_tokens set expires_at = now() where name = 'expired'`)
  const elsewhere = await tokenOf(app, { name: 'elsewhere', role: 'admin', networks: '10.0.0.0/8' })
  const headers: Record<string, string | string[]> = {
    unknown: `Bearer th_${randomBytes(32).toString('base64url')}`,
    revoked: `Bearer ${revoked}`,
    expired: `Bearer ${expired}`,
    'from another network': `Bearer ${elsewhere}`,
    'without a value': 'Bearer',
    'with a tab': `Bearer\t${valid}`,
    'two tokens': `Bearer ${valid} ${valid}`,
    'two headers': [`Bearer ${valid}`, `Bearer ${valid}`],
    'a second header of another scheme': ['Basic eDp5', `Bearer ${valid}`],
    'without the prefix': `Bearer ${valid.slice(3)}`,
    'in quotes': `Bearer "${valid}"`,
    'in other case': `Bearer ${valid.toLowerCase()}`,
    '8 kB': `Bearer th_${'x'.repeat(8_000)}`,
    'not ASCII': `Bearer ${Buffer.from('토큰').toString('latin1')}`,
    SQL: "Bearer th_'or'1'='1",
    'a hash': `Bearer ${createHash('sha256').update(valid).digest('hex')}`
  }
  for (const [name, authorization] of Object.entries(headers)) await assertRefused(t, send({ authorization }), name)
  await assertRefused(t, send({ headers: { 'x-authorization': `Bearer ${valid}` } }), 'another header')
  await assertRefused(t, send({ authorization: `Basic ${Buffer.from(`x:${valid}`).toString('base64')}` }), 'Basic')
  for (const name of ['token', 'access_token', 'authorization']) {
    const path = `/api/system/cache-stats?${name}=${valid}`
    await assertRefused(t, send({ path }), `${name} in the query`)
  }
  t.equal((await bearer(valid)).status, 200)
})

t.test('a token decides alone: with an invalid one the session does not count', async t => {
  const admin = new Client(url)
  await admin.signIn('ada', await createUser(app, 'ada', { role: 'admin' }))
  const headers = { cookie: String(admin.cookie) }
  const clear = { method: 'POST', path: '/api/system/cache-clear', body: '{"dry_run":true}', headers }
  t.equal((await send(clear)).status, 200)
  await assertRefused(t, bearer('th_nothing', clear), 'an invalid token with a session')
  const token = await tokenOf(app, { name: 'less', role: 'viewer' })
  const got = await bearer(token, clear)
  t.strictSame([got.status, got.headers['set-cookie']], [403, undefined])
  t.equal((await send({ ...clear, authorization: 'Basic eDp5' })).status, 200, 'another scheme is not of this service')
})

t.test('a token does not sign in or out and changes no password, and /me shows what it is', async t => {
  await createUser(app, 'bob', { role: 'viewer' })
  const alone = await tokenOf(app, { name: 'alone', role: 'admin' })
  const token = await tokenOf(app, { name: 'of-bob', role: 'user', username: 'Bob' })
  const rejected = [
    ['/api/auth/login', { username: 'bob', password: 'password of bob' }],
    ['/api/auth/logout', {}],
    ['/api/auth/password', { current_password: 'password of bob', new_password: 'another long one' }]
  ] as const
  for (const [path, body] of rejected) {
    const { status, headers, answer } = await bearer(token, { method: 'POST', path, body: JSON.stringify(body) })
    t.strictSame([status, answer.code, headers['set-cookie']], [403, 'FORBIDDEN', undefined], path)
  }
  const password = { method: 'POST', path: '/api/auth/password', body: '{' }
  await assertRefused(t, bearer('th_nothing', password), 'an invalid token and a password')
  const me = async (token: string) => (await bearer(token, { path: '/api/auth/me' })).answer
  const { token: shown, user } = await me(token)
  t.strictSame(user, { username: 'bob', role: 'viewer', is_admin: false, must_change_password: false })
  t.match(shown, { name: 'of-bob', role: 'user', expires_at: /Z$/ })
  t.match(await me(alone), { user: null, token: { name: 'alone', role: 'admin' } })
  await assertRefused(t, bearer('th_nothing', { path: '/api/auth/me' }), '/me')
})

t.test('a token is exempt from the rules on origins', async t => {
  const token = await tokenOf(app, { name: 'foreign', role: 'admin' })
  const headers = { origin: 'https://elsewhere.example', 'sec-fetch-site': 'cross-site' }
  const clear = { method: 'POST', path: '/api/system/cache-clear', body: '{"dry_run":true}', headers }
  t.equal((await bearer(token, clear)).status, 200)
})

t.test('a token is accepted from its networks alone', async t => {
  const networks = '192.0.2.0/255.255.255.0,10.1.2.3,2001:db8::/32,::ffff:172.16.0.0/108'
  const token = await tokenOf(app, { name: 'bound', role: 'viewer', networks })
  const statuses = async (addresses: string[]) =>
    Promise.all(addresses.map(async from => (await bearer(token, { from })).status))
  t.strictSame(
    await statuses(['192.0.2.255', '10.1.2.3', '2001:db8:1::1', '172.16.9.9', '::ffff:10.1.2.3']),
    Array(5).fill(200)
  )
  t.strictSame(await statuses(['192.0.3.1', '10.1.2.4', '2001:db9::1', '172.32.0.1', 'unknown']), Array(5).fill(401))
})

t.test('a token with networks is rejected while the address of the client is not certain', async t => {
  const networks = '127.0.0.0/8,192.0.2.0/24'
  const bound = await tokenOf(app, { name: 'bound-to-proxy', role: 'viewer', networks })
  const free = await tokenOf(app, { name: 'free', role: 'viewer' })
  const withoutProxy = await startApp(t, { DATABASE_URL, PROBE_PORT: 'off' })
  await untilStatus(`${withoutProxy.url}/health/startup`, 200)
  const direct = async (headers: Record<string, string>) => {
    const options = { headers: { authorization: `Bearer ${bound}`, ...headers } }
    return (await fetch(`${withoutProxy.url}/api/system/cache-stats`, options)).status
  }
  t.equal((await bearer(bound)).status, 200)
  t.equal((await bearer(bound, { from: 'unknown' })).status, 401, 'the proxy does not know the address')
  t.equal((await bearer(free, { from: 'unknown' })).status, 200, 'a token without networks')
  t.equal(await direct({}), 200)
  t.equal(await direct({ 'x-forwarded-for': '192.0.2.1' }), 401, 'the address is that of a proxy')
  t.equal((await bearer(free, {}, withoutProxy.url)).status, 200, 'a token without networks')
})

t.test('a token ends with its user, does no more than its user, and waits for a due password', async t => {
  await createUser(app, 'eve', { role: 'admin' })
  await createUser(app, 'admin-2', { role: 'admin' })
  const token = await tokenOf(app, { name: 'of-eve', role: 'admin', username: 'eve' })
  const statuses = async () => [
    (await bearer(token, { method: 'POST', path: '/api/system/cache-clear', body: '{"dry_run":true}' })).status,
    (await bearer(token)).status,
    (await bearer(token, { path: '/api/trading/nothing' })).status
  ]
  t.strictSame(await statuses(), [200, 200, 404])
  await users.setRole('eve', 'viewer')
  t.strictSame(await statuses(), [403, 200, 404])
  await users.setRole('eve', 'user')
  t.strictSame(await statuses(), [403, 403, 404])
  await users.setRole('eve', 'admin')
  await app.db.run(sql => sql`update users set must_change_password = true where username = 'eve'`)
  t.hasStrict(await bearer(token), { status: 403, answer: { code: 'PASSWORD_CHANGE_REQUIRED' } })
  await app.db.run(sql => sql`update users set must_change_password = false where username = 'eve'`)
  await users.disable('eve')
  t.strictSame(await statuses(), [401, 401, 401])
  await users.enable('eve')
  t.strictSame(await statuses(), [200, 200, 404])
  await app.db.run(sql => sql`delete from users where username = 'eve'`)
  t.strictSame(await statuses(), [401, 401, 401])
})

t.test('a revoked token is rejected at once, on every replica that knew it', async t => {
  const token = await tokenOf(app, { name: 'soon-revoked', role: 'viewer' })
  const statuses = () => Promise.all([url, other.url].map(async base => (await bearer(token, {}, base)).status))
  t.strictSame(await statuses(), [200, 200])
  t.equal(await revokeToken(app.db, 'soon-revoked', none), true)
  t.strictSame(await statuses(), [401, 401])
  const revokedAt = () => app.db.run(sql => sql`select revoked_at from api_tokens where name = 'soon-revoked'`)
  const [first] = await revokedAt()
  t.equal(await revokeToken(app.db, 'soon-revoked', none), true)
  t.strictSame((await revokedAt())[0], first, 'the first time remains')
  t.equal(await revokeToken(app.db, 'nothing', none), false)
})

t.test('the use of a token is written once a minute', async t => {
  const token = await tokenOf(app, { name: 'used', role: 'viewer' })
  const state = async () => {
    const [row] = await app.db.run(
      sql => sql<{ at: string | null; version: string }[]>`
        select last_used_at::text as at, xmin::text as version from api_tokens where name = 'used'`
    )
    return row
  }
  t.equal((await state())?.at, null)
  await Promise.all([url, other.url, url, other.url].map(base => bearer(token, {}, base)))
  const used = await state()
  t.match(used?.at, /^\d{4}-/)
  await Promise.all([url, other.url, url, other.url].map(base => bearer(token, {}, base)))
  t.strictSame(await state(), used, 'the row is not written again')
  await app.db.run(sql => sql`update api_tokens set last_used_at = now() - interval '61 seconds' where name = 'used'`)
  const before = await state()
  await bearer(token)
  t.not((await state())?.at, before?.at)
  await app.db.run(sql => sql`update api_tokens set networks = '10.0.0.1', last_used_at = null where name = 'used'`)
  await assertRefused(t, bearer(token), 'from another network')
  t.equal((await state())?.at, null, 'a rejected request is no use')
})

t.test('actions and rejections of a token are audited with its name', async t => {
  const token = await tokenOf(app, { name: 'audited', role: 'admin' })
  const reader = await tokenOf(app, { name: 'audited-reader', role: 'viewer' })
  const clear = (body: string) => ({ method: 'POST', path: '/api/system/cache-clear', body })
  await bearer(token, clear('{"type":"price"}'))
  await bearer(token, clear('{"nothing":1}'))
  await bearer(reader, clear('{}'))
  const elsewhere = await tokenOf(app, { name: 'audited-elsewhere', role: 'admin', networks: '10.0.0.0/8' })
  await assertRefused(t, bearer(elsewhere, clear('{}')), 'a token from another network')
  const from = freshAddress()
  await bearer('th_nothing', { from })
  const { answer } = await bearer(token, { path: `/api/system/audit-log?actor=token%3Aaudited` })
  assertRows(t, answer.entries, [
    { actor: 'token:audited', action: 'POST /api/system/cache-clear', outcome: 'refused' },
    { actor: 'token:audited', action: 'POST /api/system/cache-clear', outcome: 'succeeded' },
    { actor: 'token:audited', action: 'POST /api/system/cache-clear', outcome: 'requested' }
  ])
  const rows = await app.db.run(
    sql => sql`
      select actor, action, details->>'code' as code from audit_log
      where outcome = 'refused' and (actor like 'token:audited%' or address = ${from}) order by actor`
  )
  assertRows(t, rows, [
    { actor: 'token:audited', action: 'POST /api/system/cache-clear', code: 'VALIDATION_FAILED' },
    { actor: 'token:audited-elsewhere', action: 'POST /api/system/cache-clear', code: 'UNAUTHENTICATED' },
    { actor: 'token:audited-reader', action: 'POST /api/system/cache-clear', code: 'FORBIDDEN' },
    { actor: null, action: 'unauthenticated', code: 'UNAUTHENTICATED' }
  ])
  const line = log.lines.find(({ msg, user }) => msg === 'request' && user === 'token:audited')
  t.equal(line?.status, 200)
})

t.test('a token is in no log, and in no row of the audit log', async t => {
  const token = await tokenOf(app, { name: 'secret', role: 'admin' })
  const action = { method: 'POST', path: `/api/system/jobs/${token}/pause`, body: JSON.stringify({ reason: token }) }
  await bearer(token, action)
  await bearer(token, { path: `/api/system/job-runs/${token}` })
  await bearer(token, { path: `/api/system/nothing/${token}?token=${token}` })
  await bearer(`${token}x`, action)
  await flushRefusals()
  const rows = JSON.stringify(await app.db.run(sql => sql`select * from audit_log`))
  t.ok(rows.includes('"th_…"'), 'the row of the action has the place of the token')
  t.notOk(rows.includes(token))
  t.notOk(log.text().includes(token))
  t.notOk(log.text().includes(token.slice(3)))
})

t.test('invalid tokens of a network have growing waits, which delay no valid token and no sign-in', async t => {
  const from = freshAddress()
  const cold = await tokenOf(app, { name: 'behind-the-same-proxy', role: 'viewer' })
  const password = await createUser(app, 'carl', { role: 'admin' })
  const statuses = []
  for (let i = 0; i < 20; i++) statuses.push((await bearer(`th_${i}`, { from })).status)
  t.strictSame(statuses, Array(20).fill(401))
  // The first wait is a second: a busy machine needs longer.
  await app.db.run(
    sql => sql`update sign_in_limits set locked_until = now() + interval '5 minutes' where locked_until > '-infinity'`
  )
  for (const base of [url, url, other.url]) {
    const { status, headers, answer } = await bearer('th_x', { from }, base)
    t.strictSame([status, answer.code], [429, 'TOO_MANY_ATTEMPTS'])
    const seconds = Number(headers['retry-after'])
    t.ok(seconds >= 1 && seconds <= 300, `Retry-After: ${seconds}`)
  }
  t.equal((await bearer(cold, { from })).status, 200, 'a valid token')
  const login = { method: 'POST', path: '/api/auth/login', body: JSON.stringify({ username: 'carl', password }), from }
  t.equal((await send(login)).status, 200, 'a sign-in')
  t.equal((await bearer('th_x')).status, 401, 'another network')
  const flood = await Promise.all(Array.from({ length: 100 }, (_, i) => bearer(`th_${i}`, { from })))
  t.strictSame(new Set(flood.map(({ status }) => status)), new Set([429]))
  await flushRefusals()
  const [row] = await app.db.run(
    sql => sql`select details->>'code' as code, details->'attempts' as attempts from audit_log
      where address = ${from} and details->>'code' = 'TOO_MANY_ATTEMPTS'`
  )
  t.strictSame({ ...row }, { code: 'TOO_MANY_ATTEMPTS', attempts: 102 }, 'counted in one row')
})

t.test('of unknown tokens that arrive together, most connections of the pool stay free', async t => {
  const known = await tokenOf(app, { name: 'known', role: 'viewer' })
  await bearer(known)
  const flood = Array.from({ length: 200 }, (_, i) => bearer(`th_flood_${i}`, { from: `198.51.100.${i}` }))
  const [{ status }, ...answers] = await Promise.all([bearer(known), ...flood])
  t.equal(status, 200)
  t.strictSame(
    answers.map(({ status }) => status).filter(status => status !== 401 && status !== 503),
    [],
    'rejected, or not looked up'
  )
})

t.test(
  'names are unique while their tokens are in the table, and tokens are removed 90 days after their end',
  async t => {
    const create = (name: string) =>
      createToken(app.db, { name, role: 'viewer', username: undefined, networks: undefined, days: 1 }, none)
    t.match(await create('night-job'), { token: /^th_/ })
    t.equal(await create('Night-Job'), 'name_taken')
    await revokeToken(app.db, 'night-job', none)
    t.equal(await create('night-job'), 'name_taken')
    const sweep = () => app.db.transaction(tx => sweepTokens(tx, 10))
    t.equal(await sweep(), 0)
    await app.db.run(sql => sql`update api_tokens set revoked_at = now() - interval '91 days' where name = 'night-job'`)
    t.equal(await sweep(), 1)
    t.match(await create('night-job'), { token: /^th_/ })
    await app.db.run(sql => sql`update api_tokens set expires_at = now() - interval '91 days' where name = 'night-job'`)
    t.equal(await sweep(), 1)
    t.equal(
      await createToken(app.db, { name: 'x', role: 'admin', username: 'bob', networks: undefined, days: 1 }, none),
      'role_above_user'
    )
    t.equal(
      await createToken(app.db, { name: 'x', role: 'user', username: 'nobody', networks: undefined, days: 1 }, none),
      'no_user'
    )
  }
)
