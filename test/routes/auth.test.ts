import { Signer } from '@fastify/cookie'
import type { FastifyInstance } from 'fastify'
import t, { type Test } from 'tap'
import type { Overrides } from '../../src/app.ts'
import { Users } from '../../src/auth/users.ts'
import { captureLog, SESSION_SECRET, startApp, untilStatus } from '../support/app.ts'
import { assertRows } from '../support/assert-rows.ts'
import { frozenDatabase, migratedDatabase } from '../support/migrated-database.ts'
import { adminOf, Client, createUser } from '../support/session.ts'

/** A service on a database with a stopped clock: a wait of a second does not end on a slow machine. */
async function started(t: Test, environment: Record<string, string> = {}, overrides: Partial<Overrides> = {}) {
  const { url: databaseUrl } = await frozenDatabase(t)
  const log = captureLog('trace')
  const settings = { DATABASE_URL: databaseUrl, PROBE_PORT: 'off', SCHEDULER_ENABLED: 'false', ...environment }
  const start = () => startApp(t, settings, { logger: log.logger, ...overrides })
  const { app, url } = await start()
  await untilStatus(`${url}/health/startup`, 200)
  return { app, url, log, start, client: new Client(url) }
}

const shared = await started(t)

/** The service of the tests that change only rows, without the rows of earlier tests. */
async function sharedService() {
  const { app, url } = shared
  await app.db.run(
    sql => sql`truncate users, sessions, audit_log, sign_in_networks, sign_in_limits restart identity cascade`
  )
  return { app, url, client: new Client(url) }
}

t.test('an admin signs in, is returned by /me, and signs out', async t => {
  const { app, client } = await sharedService()
  const password = await createUser(app, 'Ops', { isAdmin: true })

  const login = await client.signIn('ops', password)
  t.equal(login.status, 200)
  t.strictSame(login.answer, {
    success: true,
    user: { username: 'Ops', is_admin: true }
  })
  t.match(login.setCookie, /^session=[^;]+; Path=\/; HttpOnly; SameSite=Strict$/, 'not Secure over plain HTTP')

  const me = await client.send('GET', '/api/auth/me')
  t.match(me.answer, { success: true, user: { username: 'Ops' }, session: { expires_at: /Z$/ } })
  t.equal((await client.send('GET', '/api/system/audit-log')).status, 200)

  const stolen = client.cookie
  t.strictSame((await client.send('POST', '/api/auth/logout')).answer, { success: true })
  client.cookie = stolen
  t.equal((await client.send('GET', '/api/auth/me')).status, 401, 'a cookie is invalid after the sign-out')
  t.equal((await client.send('POST', '/api/auth/logout')).status, 200, 'a repeated sign-out is not an error')
})

t.test('every kind of wrong credentials has the same answer', async t => {
  const { app, client } = await sharedService()
  const password = await createUser(app, 'ops')
  await createUser(app, 'gone', { password })
  await app.db.run(sql => sql`update users set is_active = false where username = 'gone'`)
  const answers = await Promise.all([
    client.signIn('ops', 'wrong password'),
    client.signIn('nobody', password),
    client.signIn('gone', password)
  ])
  for (const { status, answer, setCookie } of answers) {
    t.equal(status, 401)
    t.strictSame(answer, answers[0].answer)
    t.equal(answer.code, 'INVALID_CREDENTIALS')
    t.equal(setCookie, undefined)
  }
})

t.test('a session from before the sign-in is invalid after it', async t => {
  const { app, client } = await sharedService()
  const password = await createUser(app, 'ops', { isAdmin: true })
  await client.signIn('ops', password)
  const first = client.cookie
  await client.signIn('ops', password)
  t.not(client.cookie, first)
  const old = new Client(String(app.listeningOrigin))
  old.cookie = first
  t.equal((await old.send('GET', '/api/auth/me')).status, 401)
})

t.test('a tampered cookie is not a session', async t => {
  const { app, client } = await sharedService()
  await client.signIn('ops', await createUser(app, 'ops', { isAdmin: true }))
  client.cookie = `${client.cookie?.slice(0, -4)}AAAA`
  t.equal((await client.send('GET', '/api/system/audit-log')).status, 401)
})

/** Cookies without an open session, by the reason. The session of `client` is open. */
async function lapsedCookies(app: FastifyInstance, url: string, password: string) {
  const cookieOf = async () => {
    const client = new Client(url)
    await client.signIn('ops', password)
    return { client, cookie: String(client.cookie) }
  }
  const expired = await cookieOf()
  await app.db.run(sql => sql`update sessions set expires_at = now()`)
  const ended = await cookieOf()
  await new Client(url).send('POST', '/api/auth/logout', undefined, { cookie: ended.cookie })
  const id = expired.cookie.split('=')[1]?.split('.')[0]
  const lapsed = {
    expired: expired.cookie,
    'ended elsewhere': ended.cookie,
    'signed by another secret': `session=${encodeURIComponent(new Signer('x'.repeat(32)).sign(String(id)))}`,
    unsigned: 'session=x',
    'not decodable': 'session=%E0%A4%A',
    empty: 'session='
  }
  return { open: await cookieOf(), lapsed }
}

t.test('a sign-in and a sign-out set one cookie, in every state of the former session', async t => {
  const { app, url } = await sharedService()
  const password = await createUser(app, 'ops')
  const { open, lapsed } = await lapsedCookies(app, url, password)
  for (const [state, cookie] of Object.entries({ ...lapsed, open: open.cookie, none: '' })) {
    const send = (method: string, path: string, cookie: string, body?: unknown) =>
      new Client(url).send(method, path, body, { cookie })
    const signIn = await send('POST', '/api/auth/login', cookie, { username: 'ops', password })
    t.equal(signIn.headers.getSetCookie().length, 1, state)
    const [set = ''] = String(signIn.setCookie).split(';')
    t.equal((await send('GET', '/api/auth/me', set)).status, 200, state)
    const signOut = await send('POST', '/api/auth/logout', set)
    t.equal(signOut.headers.getSetCookie().length, 1, state)
    t.match(signOut.setCookie, /^session=; Max-Age=0; /, state)
    t.equal((await send('POST', '/api/auth/logout', cookie)).headers.getSetCookie().length, 1, state)
  }
})

t.test('the cookie of the open session is used among several, in any position', async t => {
  const { app, url } = await sharedService()
  const { open, lapsed } = await lapsedCookies(app, url, await createUser(app, 'ops'))
  const me = (...cookies: string[]) =>
    new Client(url).send('GET', '/api/auth/me', undefined, { cookie: cookies.join('; ') })
  for (const [state, cookie] of Object.entries(lapsed)) {
    for (const cookies of [
      [cookie, open.cookie],
      [open.cookie, cookie],
      ['a=b', cookie, cookie, open.cookie, 'c=d']
    ]) {
      const { status, setCookie } = await me(...cookies)
      t.equal(status, 200, `${state}: ${cookies.indexOf(open.cookie)}`)
      t.equal(setCookie, undefined, `${state}: the open session is not cleared`)
    }
    t.equal((await me(cookie, cookie)).status, 401, state)
  }
  t.equal((await me(...Object.values(lapsed), open.cookie)).status, 200, 'all of them together')
  t.equal((await me(...Object.values(lapsed))).status, 401, 'without an open session')
})

t.test('changes of roles and accounts apply to the next request on every replica', async t => {
  const { app, client, start } = await started(t)
  const other = await start()
  await client.signIn('ops', await createUser(app, 'ops', { isAdmin: true }))
  const elsewhere = new Client(other.url)
  elsewhere.cookie = client.cookie
  t.equal(
    (await elsewhere.send('GET', '/api/system/audit-log')).status,
    200,
    'the session is valid on the other replica'
  )

  await app.db.run(sql => sql`update users set is_admin = false`)
  t.hasStrict(await elsewhere.send('GET', '/api/system/audit-log'), { status: 403, answer: { code: 'FORBIDDEN' } })
  await app.db.run(sql => sql`update users set is_active = false`)
  t.equal((await elsewhere.send('GET', '/api/auth/me')).status, 401)
  await app.db.run(sql => sql`delete from users`)
  t.equal((await client.send('GET', '/api/auth/me')).status, 401)
})

t.test('a session ends when it is idle, and at its maximum age', async t => {
  const { app, client } = await sharedService()
  const password = await createUser(app, 'ops')
  await client.signIn('ops', password)
  await app.db.run(sql => sql`update sessions set last_seen_at = now() - interval '61 minutes'`)
  t.equal((await client.send('GET', '/api/auth/me')).status, 401)

  await client.signIn('ops', password)
  await app.db.run(sql => sql`update sessions set last_seen_at = now() - interval '59 minutes'`)
  t.equal((await client.send('GET', '/api/auth/me')).status, 200)
  const [seen] = await app.db.run(
    sql => sql`select count(*)::int from sessions where last_seen_at > now() - interval '1 minute'`
  )
  t.equal(seen?.count, 1, 'a request renews the idle time')
  await app.db.run(sql => sql`update sessions set expires_at = now()`)
  t.equal((await client.send('GET', '/api/auth/me')).status, 401)
})

t.test('requests renew a session with an idle time of one minute', async t => {
  const { app, client } = await started(t, { SESSION_IDLE_MINUTES: '1' })
  await client.signIn('ops', await createUser(app, 'ops'))
  for (let i = 0; i < 3; i++) {
    await app.db.run(sql => sql`update sessions set last_seen_at = last_seen_at - interval '40 seconds'`)
    t.equal((await client.send('GET', '/api/auth/me')).status, 200)
  }
})

t.test('a password change or a disabled user ends a concurrent sign-in', async t => {
  let auth: FastifyInstance['auth'] | undefined
  const { app } = await started(
    t,
    {},
    {
      api: async scope => {
        auth = scope.auth
      }
    }
  )
  if (!auth) throw new Error('no sign-in')
  const { signIn, users } = auth
  const origin = { address: '192.0.2.1', requestId: 'test' }
  const ends: [name: string, end: () => Promise<unknown>][] = [
    ['changed', () => users.setPassword('changed', 'another hash')],
    ['barred', () => users.disable('barred')]
  ]
  for (const [name, end] of ends) {
    const user = await signIn.authenticate(name, await createUser(app, name), origin)
    await end()
    await t.rejects(signIn.open(user, 'a session id', origin), { code: 'INVALID_CREDENTIALS' }, name)
  }
  const [left] = await app.db.run(sql => sql`select count(*)::int from sessions`)
  t.equal(left?.count, 0)
  const rows = await app.db.run(sql => sql`select actor, outcome from audit_log order by audit_id`)
  t.strictSame(
    [...rows],
    [
      { actor: 'changed', outcome: 'refused' },
      { actor: 'barred', outcome: 'refused' }
    ]
  )
})

t.test('a change with the old password does not overwrite a password that was set meanwhile', async t => {
  const { app } = await sharedService()
  const users = new Users(app.db)
  await createUser(app, 'ops')
  const before = await users.find('ops')
  await users.setPassword('ops', 'set by the operator')
  t.equal(await users.setPassword('ops', 'set by the thief', { currentHash: before?.passwordHash ?? '' }), false)
  t.equal((await users.find('ops'))?.passwordHash, 'set by the operator')
})

t.test('a sign-out clears the cookie and ends the session where its audit row cannot be written', async t => {
  const { app, client, log } = await started(t)
  await client.signIn('ops', await createUser(app, 'ops'))
  await app.db.run(sql => sql`alter table audit_log add constraint none check (action <> 'sign_out') not valid`)
  const cookie = client.cookie
  const { status, setCookie } = await client.send('POST', '/api/auth/logout')
  t.equal(status, 200)
  t.match(setCookie, /^session=; .*Expires=Thu, 01 Jan 1970/)
  client.cookie = cookie
  t.equal((await client.send('GET', '/api/auth/me')).status, 401)
  const [line, ...others] = log.lines.filter(({ msg }) => msg === 'outcome not audited')
  t.hasStrict(line, { level: 50, err: { code: '23514', constraint: 'none', table: 'audit_log' } })
  t.equal(others.length, 0)
})

t.test('a sign-out clears the cookie while the database cannot be used', async t => {
  const { app, url, client } = await started(t)
  const password = await createUser(app, 'ops')
  const unknown = new Client(url)
  for (const one of [client, unknown]) await one.signIn('ops', password)
  await client.send('GET', '/api/auth/me')
  await app.db.run(sql => sql`alter table sessions rename to gone`)
  const cookie = String(client.cookie)
  for (const one of [client, unknown]) {
    const { status, answer, setCookie } = await one.send('POST', '/api/auth/logout')
    t.equal(status, 503)
    t.equal(answer.code, 'DATABASE_UNAVAILABLE')
    t.match(setCookie, /^session=; .*Expires=Thu, 01 Jan 1970/)
  }
  const foreign = await client.send('POST', '/api/auth/logout', undefined, { cookie, origin: 'https://evil.example' })
  t.notMatch(String(foreign.setCookie), /session=;/, 'another site cannot do it')
  await app.db.run(sql => sql`alter table gone rename to sessions`)
  const { status, setCookie } = await client.send('POST', '/api/auth/logout', undefined, {
    cookie,
    origin: 'https://evil.example'
  })
  t.strictSame([status, setCookie], [403, undefined])
  client.cookie = cookie
  t.equal((await client.send('POST', '/api/auth/logout')).status, 200, 'the session is ended later')
})

t.test('a session that cannot be stored is an error in the envelope, without a cookie', async t => {
  const { app, client } = await started(t)
  const password = await createUser(app, 'ops')
  await app.db.run(sql => sql`alter table sessions add constraint none check (user_id < 0) not valid`)
  const { status, answer, setCookie } = await client.signIn('ops', password)
  t.equal(status, 500)
  t.strictSame(answer, { success: false, error: 'An internal error occurred', code: 'INTERNAL_ERROR' })
  t.equal(setCookie, undefined)
  const rows = await app.db.run(sql => sql`select outcome from audit_log where outcome = 'succeeded'`)
  t.equal(rows.length, 0, 'the sign-in is not audited')
})

t.test('only the password change is allowed while it is due, and it ends the other sessions', async t => {
  const { app, url, client } = await sharedService()
  const password = await createUser(app, 'ops', { isAdmin: true })
  await app.db.run(sql => sql`update users set must_change_password = true`)
  const elsewhere = new Client(url)
  await elsewhere.signIn('ops', password)
  await client.signIn('ops', password)
  t.hasStrict((await client.send('GET', '/api/auth/me')).answer, { user: { must_change_password: true } })
  for (const path of ['/api/system/audit-log', '/api/system/unknown']) {
    t.hasStrict(await client.send('GET', path), { status: 403, answer: { code: 'PASSWORD_CHANGE_REQUIRED' } }, path)
  }

  const change = (current_password: string, new_password: string) =>
    client.send('POST', '/api/auth/password', { current_password, new_password })
  t.hasStrict(await change('wrong', 'a new password'), { status: 401, answer: { code: 'INVALID_CREDENTIALS' } })
  t.hasStrict(await change(password, password), { status: 400, answer: { code: 'PASSWORD_UNCHANGED' } })
  t.hasStrict(await change(password, 'short'), { status: 400, answer: { code: 'VALIDATION_FAILED' } })
  t.hasStrict(await change(password, 'iloveyou123'), { status: 400, answer: { code: 'PASSWORD_TOO_COMMON' } })
  t.hasStrict(await change(password, 'ops-0PS-1'), { status: 400, answer: { code: 'PASSWORD_CONTAINS_NAME' } })
  t.equal((await change(password, 'a new password')).status, 200)
  t.equal((await client.send('GET', '/api/system/audit-log')).status, 200)
  t.equal((await elsewhere.send('GET', '/api/auth/me')).status, 401)
  t.equal((await new Client(url).signIn('ops', password)).status, 401)

  const rows = await app.db.run(
    sql => sql`select outcome from audit_log where action = 'change_password' order by audit_id`
  )
  t.strictSame(
    rows.map(({ outcome }) => outcome),
    ['refused', 'refused', 'refused', 'refused', 'succeeded'],
    'only a successful change is audited as succeeded'
  )
})

t.test('failures delay attempts by name and address, also for unknown names, without a lock-out', async t => {
  const { app, url } = await started(t, { TRUST_PROXY: '127.0.0.1' })
  const password = await createUser(app, 'ops')
  const from = (address: string) => {
    const client = new Client(url)
    return (username: string, password: string) =>
      client.send('POST', '/api/auth/login', { username, password }, { 'x-forwarded-for': address })
  }
  for (const name of ['ops', 'nobody']) {
    const attacker = from(name === 'ops' ? '192.0.2.1' : '192.0.2.2')
    const statuses: number[] = []
    for (let i = 0; i < 6; i++) statuses.push((await attacker(name, 'wrong password')).status)
    t.strictSame(statuses, [401, 401, 401, 401, 401, 429], name)
    const refused = await attacker(name, password)
    t.equal(refused.status, 429, 'even with the right password')
    t.equal(refused.headers.get('retry-after'), '1')
  }
  t.equal((await from('192.0.2.3')('ops', password)).status, 200, 'the user can sign in from another address')

  const [throttled] = await app.db.run(
    sql => sql`select count(*)::int as rows, sum((details->>'attempts')::int)::int as attempts
      from audit_log where details ? 'attempts'`
  )
  t.strictSame(
    { ...throttled },
    { rows: 2, attempts: 4 },
    'attempts beyond the limit are counted, and have no separate audit entries'
  )
})

/** A client whose requests a trusted proxy forwards from an address. */
const signInFrom = (url: string, address: string, username: string, password: string) =>
  new Client(url).send('POST', '/api/auth/login', { username, password }, { 'x-forwarded-for': address })

t.test('an account is not guessed at from many addresses, and its user signs in from a known one', async t => {
  const { app, url } = await started(t, { TRUST_PROXY: '127.0.0.1' })
  const password = await createUser(app, 'ops')
  t.equal((await signInFrom(url, '2001:db8::1', 'ops', password)).status, 200)
  for (const name of ['ops', 'nobody']) {
    const guesses = await Promise.all(
      Array.from({ length: 60 }, (_, i) => signInFrom(url, `198.51.100.${i % 25}`, name, 'a wrong password'))
    )
    t.strictSame(
      [401, 429].map(wanted => guesses.filter(({ status }) => status === wanted).length),
      [20, 40],
      name
    )
    const [first] = guesses.filter(({ status }) => status === 429)
    t.equal(first?.headers.get('retry-after'), '1', name)
  }
  const rows = await app.db.run(
    sql => sql`select actor, (details->>'attempts')::int as attempts from audit_log where details ? 'attempts'`
  )
  t.strictSame(
    rows.map(({ actor, attempts }) => [actor, attempts]).sort(),
    [
      ['ops', 40],
      [null, 40]
    ].sort(),
    'one row for all throttled attempts of a name, from any address'
  )

  t.equal((await signInFrom(url, '203.0.113.1', 'ops', password)).status, 429, 'the password is not checked')
  t.equal((await signInFrom(url, '2001:db8::ffff', 'OPS', password)).status, 200, 'a known /64 network is not delayed')
  const stored = await app.db.run(sql => sql`select * from sign_in_networks`)
  t.equal(stored.length, 1)
  t.notMatch(JSON.stringify(stored), /2001:db8|ops/)
})

t.test('the right password is checked from a known address while a hundred others wait', async t => {
  let auth: FastifyInstance['auth'] | undefined
  const api = async (scope: FastifyInstance) => {
    auth = scope.auth
  }
  const { app, url } = await started(t, { TRUST_PROXY: '127.0.0.1' }, { api })
  const password = await createUser(app, 'ops')
  t.equal((await signInFrom(url, '203.0.113.1', 'ops', password)).status, 200)
  const ended: number[] = []
  const hostile = Array.from({ length: 100 }, async (_, i) => {
    const { status } = await signInFrom(url, `198.51.${i}.1`, `name-${i}`, 'a wrong password')
    ended.push(status)
  })
  // Then the lane of the unknown callers is full.
  while (!ended.includes(503)) await new Promise(resolve => setTimeout(resolve, 5))
  t.equal((await signInFrom(url, '203.0.113.1', 'ops', password)).status, 200)
  const before = ended.filter(status => status === 401).length
  t.ok(before < 62, `of the 64 others, checked before: ${before}`)
  await auth?.passwords.close()
  await Promise.all(hostile)
})

t.test('no more guesses are checked when they are concurrent', async t => {
  const { app, client } = await sharedService()
  await createUser(app, 'ops')
  const guesses = await Promise.all(Array.from({ length: 40 }, () => client.signIn('ops', 'wrong password')))
  t.equal(guesses.filter(({ status }) => status === 401).length, 5)
  t.equal(guesses.filter(({ status }) => status === 429).length, 35)
  const rows = await app.db.run(sql => sql`select outcome, details from audit_log order by audit_id`)
  t.equal(rows.length, 6, 'the other attempts have one audit entry')
  t.equal(
    rows.reduce((sum, { details }) => sum + (details.attempts ?? 0), 0),
    35
  )
})

t.test('a name is case-insensitive, and an invalid name is not a user', async t => {
  const { app, client } = await sharedService()
  const password = await createUser(app, 'admin')
  for (const name of ['adm\u0130n', 'adm\u0131n', 'admin ', "'; --", '관리자']) {
    t.hasStrict(
      await client.signIn(name, password),
      { status: 401, answer: { code: 'INVALID_CREDENTIALS' } },
      encodeURIComponent(name)
    )
  }
  t.hasStrict(await client.signIn('admin\u0000', password), { status: 400, answer: { code: 'VALIDATION_FAILED' } })
  t.equal((await client.signIn('ADMIN', password)).status, 200)
})

t.test('an address that tries many names is also delayed', async t => {
  const { app, client } = await sharedService()
  await app.db.run(sql => sql`select 1`)
  const statuses: number[] = []
  for (let i = 0; i < 21; i++) statuses.push((await client.signIn(`name-${i}`, 'wrong password')).status)
  t.equal(statuses.at(19), 401)
  t.equal(statuses.at(20), 429)
})

t.test('a request from another site is rejected, with or without a session', async t => {
  const { app, client, url } = await sharedService()
  const password = await createUser(app, 'ops', { isAdmin: true })
  const foreign = { status: 403, answer: { code: 'FOREIGN_ORIGIN' } }
  const login = (headers: Record<string, string>) =>
    client.send('POST', '/api/auth/login', { username: 'ops', password }, headers)
  t.hasStrict(await login({ origin: 'https://evil.example' }), foreign)
  t.hasStrict(await login({ origin: 'null' }), foreign)
  t.hasStrict(await login({ 'sec-fetch-site': 'cross-site' }), foreign)
  t.hasStrict(await login({ 'sec-fetch-site': 'same-site' }), foreign)
  t.equal((await login({ origin: url })).status, 200)
  t.hasStrict(await client.send('POST', '/api/auth/logout', undefined, { origin: 'https://evil.example' }), foreign)
  const form = { 'content-type': 'application/x-www-form-urlencoded' }
  t.equal((await client.send('POST', '/api/auth/login', 'username=ops', form)).status, 415)
})

t.test('behind a trusted proxy with TLS the cookie is Secure and SameSite=Strict', async t => {
  const { app, client } = await started(t, { TRUST_PROXY: '127.0.0.1' })
  const password = await createUser(app, 'ops')
  const { setCookie } = await client.send(
    'POST',
    '/api/auth/login',
    { username: 'ops', password },
    { 'x-forwarded-proto': 'https' }
  )
  t.match(setCookie, /; Secure/)
  t.match(setCookie, /; SameSite=Strict/)
})

t.test('headers of a proxy that is not trusted are ignored, with one warning', async t => {
  const { app, client, log } = await started(t)
  const password = await createUser(app, 'ops')
  for (const _ of [1, 2]) {
    const { setCookie } = await client.send(
      'POST',
      '/api/auth/login',
      { username: 'ops', password },
      { 'x-forwarded-proto': 'https', 'x-forwarded-for': '192.0.2.9' }
    )
    t.notMatch(setCookie, /Secure/)
  }
  t.equal(log.lines.filter(({ msg }) => String(msg).startsWith('forwarded headers')).length, 1)
})

t.test('a client that delays all others behind an untrusted proxy is reported, once', async t => {
  const { client, log } = await started(t)
  const reports = () => log.lines.filter(({ msg }) => String(msg).startsWith('one client behind a proxy'))
  const attempt = (headers: Record<string, string>) =>
    client.send('POST', '/api/auth/login', { username: 'ops', password: 'a wrong password' }, headers)
  for (let i = 0; i < 7; i++) await attempt({})
  t.strictSame(reports(), [], 'a client without forwarded headers delays itself')
  for (let i = 0; i < 3; i++) t.equal((await attempt({ 'x-forwarded-for': `192.0.2.${i}` })).status, 429)
  assertRows(t, reports(), [{ level: 40, address: '127.0.0.1' }])
})

t.test('with TRUST_PROXY, headers of another proxy are ignored with a warning', async t => {
  const { client, log } = await started(t, { TRUST_PROXY: '192.0.2.0/24' })
  await client.send('GET', '/api/auth/me', undefined, { 'x-forwarded-for': '192.0.2.9' })
  t.equal(log.lines.filter(({ msg }) => String(msg).startsWith('forwarded headers')).length, 1)
})

t.test('the address of a client has one spelling in the limits, the audit log and the log', async t => {
  const { app, client, log } = await started(t, { TRUST_PROXY: '127.0.0.1,10.0.0.0/8' })
  const cases: [forwarded: string, address: string][] = [
    ['192.0.2.9', '192.0.2.9'],
    ['192.0.2.9:4711', '192.0.2.9'],
    ['::ffff:192.0.2.9', '192.0.2.9'],
    ['[::ffff:192.0.2.9]:4711', '192.0.2.9'],
    ['192.0.2.9, 10.1.2.3:443, [::ffff:10.1.2.4]:443', '192.0.2.9'],
    ['[2001:DB8:0::9]:4711', '2001:db8::9'],
    ['fe80::9%eth0', 'fe80::9'],
    ['192.0.2.9, unknown', '127.0.0.1'],
    ['x'.repeat(5_000), '127.0.0.1'],
    ['', '127.0.0.1']
  ]
  for (const [forwarded] of cases) {
    await client.send(
      'POST',
      '/api/auth/login',
      { username: 'ops', password: 'wrong' },
      { 'x-forwarded-for': forwarded }
    )
  }
  const admin = await adminOf(app)
  const { entries } = (await admin.send('GET', '/api/system/audit-log?action=sign_in')).answer
  const refused = (entries as { address: string; outcome: string }[]).filter(({ outcome }) => outcome === 'refused')
  t.strictSame(
    refused.map(({ address }) => address).reverse(),
    cases.map(([_forwarded, address]) => address)
  )
  const wait = await client.send(
    'POST',
    '/api/auth/login',
    { username: 'ops', password: 'wrong' },
    { 'x-forwarded-for': '192.0.2.9:1' }
  )
  t.equal(wait.status, 429, 'the five spellings were counted as one address')
  t.notMatch(log.text(), /xxxx/)
})

t.test('session secrets can be rotated with a list', async t => {
  const { url: databaseUrl } = await migratedDatabase(t)
  const old = await startApp(t, { DATABASE_URL: databaseUrl, PROBE_PORT: 'off' })
  await untilStatus(`${old.url}/health/startup`, 200)
  const rotated = await startApp(t, {
    DATABASE_URL: databaseUrl,
    PROBE_PORT: 'off',
    SESSION_SECRET: `${'n'.repeat(40)},${SESSION_SECRET}`
  })
  const client = new Client(old.url)
  await client.signIn('ops', await createUser(old.app, 'ops'))
  const moved = new Client(rotated.url)
  moved.cookie = client.cookie
  const { status, setCookie } = await moved.send('GET', '/api/auth/me')
  t.equal(status, 200)
  t.equal(setCookie, undefined, 'a cookie that an earlier secret of the list signed is not cleared')
})

t.test('no log line of a sign-in has a password, a cookie, a session id or a secret', async t => {
  const { app, client, log } = await started(t)
  const password = await createUser(app, 'ops', { isAdmin: true })
  await client.signIn('ops', 'wrong password 1')
  await client.signIn('ops', password)
  const cookie = String(client.cookie).slice('session='.length)
  await client.send('GET', '/api/system/audit-log')
  await client.send('POST', '/api/auth/password', { current_password: password, new_password: 'a new password' })
  await client.send('POST', '/api/auth/logout')
  const id = decodeURIComponent(cookie).split('.')[0] ?? ''
  t.equal(log.lines.filter(({ msg }) => msg === 'request').length, 5, 'the requests are logged')
  for (const secret of ['wrong password 1', password, 'a new password', cookie, id, SESSION_SECRET]) {
    t.notOk(log.text().includes(secret), secret.slice(0, 5))
  }
  const rows = await app.db.run(sql => sql`select * from audit_log`)
  t.equal(rows.length, 4)
  t.notOk(JSON.stringify(rows).includes('password 1'))
  const sessions = await app.db.run(sql => sql`select encode(session_hash, 'escape') as hash from sessions`)
  t.notOk(JSON.stringify(sessions).includes(id))
})
