import { request as httpRequest } from 'node:http'
import type { FastifyPluginAsync } from 'fastify'
import t from 'tap'
import { startApp, untilStatus } from '../../support/app.ts'
import { assertRows } from '../../support/assert-rows.ts'
import { startBotApiServer } from '../../support/bot-api-server.ts'
import { migratedDatabase } from '../../support/migrated-database.ts'
import { until } from '../../support/replica.ts'
import { Client, createUser } from '../../support/session.ts'
import { startWebhookServer } from '../../support/webhook-server.ts'

/** Paths that the router cannot decode, known ones among them. */
const MALFORMED = [
  '/%',
  '/%zz',
  '/%ff',
  '/%c0%af',
  '/jobs/%/pause',
  '/audit-log%',
  '/health%',
  '/health/%',
  '//%',
  '/..%',
  '/%?a=%'
]

t.test('every route under /api/system/ except health rejects other users, before its body is read', async t => {
  const { url: databaseUrl } = await migratedDatabase(t)
  const routes: { method: string; url: string }[] = []
  const { app, url } = await startApp(
    t,
    { DATABASE_URL: databaseUrl, PROBE_PORT: 'off' },
    { onRoute: route => routes.push(...[route.method].flat().map(method => ({ method, url: route.url }))) }
  )
  await untilStatus(`${url}/health/startup`, 200)
  const guarded = routes.filter(route => route.url.startsWith('/api/system/') && route.url !== '/api/system/health')
  t.ok(guarded.length >= 4, `there are routes: ${guarded.length}`)
  const unknown = ['GET', 'POST', 'PUT', 'DELETE', 'OPTIONS', 'PROPFIND'].flatMap(method =>
    ['/nothing/here', `/jobs/${'x'.repeat(2_000)}/pause`, '/health/x', '/', ...MALFORMED].map(path => ({
      method,
      url: `/api/system${path}`
    }))
  )

  const stranger = new Client(url)
  const user = new Client(url)
  await user.signIn('user', await createUser(app, 'user'))
  for (const { method, url: path } of [...guarded, ...unknown]) {
    const target = path.replace(/:\w+/g, 'x')
    const unreadable = method === 'GET' || method === 'HEAD' ? undefined : '{'
    for (const [client, status, code] of [
      [stranger, 401, 'UNAUTHENTICATED'],
      [user, 403, 'FORBIDDEN']
    ] as const) {
      const { answer, ...got } = await client.send(method, target, unreadable)
      t.equal(got.status, status, `${method} ${target}`)
      if (method !== 'HEAD') t.equal(answer.code, code, `${method} ${target}`)
    }
  }
})

t.test('an admin gets 404 for an unknown path and 405 for a wrong method', async t => {
  const { url: databaseUrl } = await migratedDatabase(t)
  const { app, url } = await startApp(t, { DATABASE_URL: databaseUrl, PROBE_PORT: 'off' })
  await untilStatus(`${url}/health/startup`, 200)
  const admin = new Client(url)
  await admin.signIn('ops', await createUser(app, 'ops', { isAdmin: true }))
  t.hasStrict(await admin.send('GET', '/api/system/nothing'), { status: 404, answer: { code: 'NOT_FOUND' } })
  for (const path of MALFORMED) {
    const { status } = await admin.send('GET', `/api/system${path}`)
    t.equal(status, path === '/jobs/%/pause' ? 405 : 404, path)
  }
  const wrong = await admin.send('POST', '/api/system/audit-log')
  t.hasStrict(wrong, { status: 405, answer: { code: 'METHOD_NOT_ALLOWED' } })
  t.equal(wrong.headers.get('allow'), 'GET, HEAD, OPTIONS')

  t.equal(wrong.headers.get('x-content-type-options'), 'nosniff', 'the security headers are set')
  const probe = await new Client(url).send('POST', '/api/system/health')
  t.hasStrict(probe, { status: 405, answer: { code: 'METHOD_NOT_ALLOWED' } }, 'the public probe requires no sign-in')
  t.equal((await new Client(url).send('POST', '/api/system/health?x=1')).status, 405)

  t.test('the audit log is read in pages', async t => {
    const page = async (query: string) => (await admin.send('GET', `/api/system/audit-log?${query}`)).answer
    await app.db.run(
      sql =>
        sql`insert into audit_log (actor, action, outcome) select 'robot', 'test', 'succeeded' from generate_series(1, 5)`
    )
    const first = await page('actor=robot&limit=3')
    t.equal((first.entries as unknown[]).length, 3)
    const second = await page(`actor=robot&limit=3&before=${String(first.next_before)}`)
    t.equal((second.entries as unknown[]).length, 2)
    t.equal(second.next_before, null)
    const { entries } = await page('action=sign_in')
    assertRows(t, entries, [{ actor: 'ops', outcome: 'succeeded', address: '127.0.0.1' }])
  })

  t.test('an unknown filter is rejected', async t => {
    for (const query of [
      'limit=0',
      'limit=x',
      'limit=501',
      'limit=1e309',
      'before=x',
      'actr=ops',
      'actor=%00',
      'action=a%00'
    ]) {
      t.hasStrict(await admin.send('GET', `/api/system/audit-log?${query}`), { status: 400 }, query)
    }
  })

  t.test('a number in a query is a decimal integer', async t => {
    const numbers = [
      '1e2',
      '1E2',
      '0x10',
      '0b1',
      '0o7',
      ' 5',
      '5 ',
      '+5',
      '5.0',
      '5.',
      '.5',
      '05',
      '-0',
      '',
      'Infinity',
      '5_0',
      '５'
    ]
    for (const path of ['/api/system/audit-log', '/api/system/job-runs']) {
      for (const number of numbers) {
        const { status, answer } = await admin.send('GET', `${path}?limit=${encodeURIComponent(number)}`)
        t.equal(status, 400, `${path} ${number}`)
        const [{ field, rule }] = answer.details as [{ field: string; rule: string }]
        t.strictSame([field, rule], ['/querystring/limit', 'type'], number)
      }
      t.equal((await admin.send('GET', `${path}?limit=5`)).status, 200)
      t.equal((await admin.send('GET', `${path}?limit=5&limit=5`)).status, 400, 'twice')
    }
  })

  t.test('the health details have the checks, the event loop and the replicas', async t => {
    const { status, answer } = await admin.send('GET', '/api/system/health/details')
    t.equal(status, 200)
    t.match(answer, {
      success: true,
      draining: false,
      event_loop: { delay_ms: Number, pressure: false },
      probe_thread: { restarts: 0 },
      ages_ms: { overdue_jobs: Number }
    })
    t.hasStrict(answer, { ages_ms: { replicas: 0 } })
    const { checks, replicas } = answer as { checks: object[]; replicas: object[] }
    assertRows(t, checks, [
      { name: 'database', status: 'ok', code: null },
      { name: 'main_loop', status: 'ok' },
      { name: 'probe_thread', status: 'ok' },
      { name: 'settings', status: 'ok', code: null },
      { name: 'telegram', status: 'ok', code: 'not_configured' },
      { name: 'webhook', status: 'ok', code: 'not_configured' },
      { name: 'scheduler', status: 'ok' },
      { name: 'books', status: 'ok', code: null },
      { name: 'telegram_commands', status: 'ok', code: 'not_configured' }
    ])
    for (const check of checks) {
      const { name, ...rest } = check as { name: string }
      const isConfigured = !('code' in rest && rest.code === 'not_configured')
      if (isConfigured) t.match(rest, { latency_ms: Number, age_ms: Number, since: /Z$/ }, name)
      else t.match(rest, { since: /Z$/ }, name)
    }
    assertRows(t, replicas, [{ instance: app.replicas.instanceId, draining: false }])
    t.match(replicas[0], { version: /^\d+\.\d+\.\d+$/, started_at: /Z$/, last_seen_at: /Z$/ })
  })
})

t.test('the checks of a service with a bot, a webhook and a heartbeat have latency, age and since', async t => {
  const { url: databaseUrl } = await migratedDatabase(t)
  const [bot, receiver] = [await startBotApiServer(), await startWebhookServer()]
  t.teardown(() => Promise.all([bot.close(), receiver.close()]))
  const { app, url } = await startApp(t, {
    ...{ DATABASE_URL: databaseUrl, PROBE_PORT: 'off', HEARTBEAT_URL: `${receiver.url}/beat` },
    ...{ TELEGRAM_BOT_TOKEN: bot.token, TELEGRAM_API_URL: bot.url, TELEGRAM_CHAT_ID: '-1001' },
    ...{ ALERT_WEBHOOK_URL: `${receiver.url}/alerts`, ALERT_WEBHOOK_FORMAT: 'slack' }
  })
  await untilStatus(`${url}/health/startup`, 200)
  const admin = new Client(url)
  await admin.signIn('ops', await createUser(app, 'ops', { isAdmin: true }))
  const names = ['telegram', 'webhook', 'telegram_commands', 'heartbeat']
  const read = async () => {
    const { answer } = await admin.send('GET', '/api/system/health/details')
    const { checks } = answer as { checks: { name: string; latency_ms: unknown; age_ms: unknown; since: unknown }[] }
    return checks.filter(({ name }) => names.includes(name))
  }
  // Telegram answers a poll without an update after 25 s.
  await bot.updates.waiting()
  bot.updates.add({ my_chat_member: {} })
  const checks = await until(read, all =>
    all.every(({ latency_ms, age_ms }) => typeof latency_ms === 'number' && typeof age_ms === 'number')
  )
  t.strictSame(new Set(checks.map(({ name }) => name)), new Set(names))
  for (const { name, since } of checks) t.match(since, /Z$/, name)
})

t.test('an admin action is recorded when it is requested, and with its outcome', async t => {
  const { url: databaseUrl } = await migratedDatabase(t)
  let [entered, leave] = [() => {}, () => {}]
  const inside = new Promise<void>(resolve => {
    entered = resolve
  })
  const left = new Promise<void>(resolve => {
    leave = resolve
  })
  const actions: FastifyPluginAsync = async app => {
    app.addHook('onRequest', app.requireAdmin)
    app.addHook('preHandler', app.auditRequested)
    app.addHook('onSend', app.auditFinished)
    app.post('/test/plain', async () => ({ success: true }))
    app.post('/test/fails', async () => {
      throw new Error('no')
    })
    app.post('/test/slow', async () => {
      entered()
      await left
      return { success: true }
    })
    app.post('/test/transaction/:id', async request => {
      await app.db.transaction(tx => request.audit.succeeded(tx, { changed: 1 }))
      return { success: true }
    })
  }
  const { app, url } = await startApp(t, { DATABASE_URL: databaseUrl, PROBE_PORT: 'off' }, { api: actions })
  await untilStatus(`${url}/health/startup`, 200)
  const admin = new Client(url)
  await admin.signIn('ops', await createUser(app, 'ops', { isAdmin: true }))
  for (const path of ['/test/plain', '/test/fails', '/test/transaction/7']) await admin.send('POST', path)
  const rows = async () =>
    app.db.run(
      sql => sql`select action, target, outcome, details from audit_log where action like 'POST %' order by audit_id`
    )
  assertRows(t, await rows(), [
    { action: 'POST /test/plain', outcome: 'requested' },
    { action: 'POST /test/plain', outcome: 'succeeded', details: { status: 200 } },
    { action: 'POST /test/fails', outcome: 'requested' },
    { action: 'POST /test/fails', outcome: 'failed', details: { status: 500 } },
    { action: 'POST /test/transaction/:id', target: '7', outcome: 'requested' },
    { action: 'POST /test/transaction/:id', target: '7', outcome: 'succeeded', details: { changed: 1 } }
  ])

  t.test('the outcome is recorded when the client has disconnected', async t => {
    const request = httpRequest(`${url}/test/slow`, { method: 'POST', headers: { cookie: String(admin.cookie) } })
    const gone = new Promise(resolve => request.on('error', () => undefined).once('close', resolve))
    request.end()
    await inside
    request.destroy()
    await gone
    leave()
    while ((await rows()).length < 8) await new Promise(resolve => setTimeout(resolve, 5))
    assertRows(t, (await rows()).slice(6), [
      { action: 'POST /test/slow', outcome: 'requested' },
      { action: 'POST /test/slow', outcome: 'succeeded' }
    ])
  })
})
