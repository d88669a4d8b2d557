// Makes requests for every documented answer of every route, and validates each answer against the document.
import t, { type Test } from 'tap'
import { housekeeping } from '../../src/jobs/housekeeping.ts'
import { ApiDocument } from '../support/api-document.ts'
import { startApp, untilStatus } from '../support/app.ts'
import { failWith, startBotApiServer, TEST_TOKEN } from '../support/bot-api-server.ts'
import { freePort } from '../support/free-port.ts'
import { heldJob, testJob } from '../support/jobs.ts'
import { migratedDatabase } from '../support/migrated-database.ts'
import { Client, createUser } from '../support/session.ts'

const bot = await startBotApiServer()
t.teardown(() => bot.close())
const held = heldJob('held')
const jobs = [
  testJob('housekeeping', housekeeping()),
  testJob('half', async () => ({ failed: 1 }), { undone: ['failed'] }),
  testJob('broken', () => Promise.reject(new Error('no'))),
  held.job
]
const { url: DATABASE_URL } = await migratedDatabase(t)
const telegram = { TELEGRAM_BOT_TOKEN: TEST_TOKEN, TELEGRAM_CHAT_ID: '42', TELEGRAM_API_URL: bot.url }
const { app, url } = await startApp(t, { DATABASE_URL, PROBE_PORT: 'off', ...telegram }, { jobs })
const deadDatabase = `postgres://nobody@127.0.0.1:${await freePort()}/none`
const dead = await startApp(t, { DATABASE_URL: deadDatabase, PROBE_PORT: 'off' })
await untilStatus(`${url}/health/startup`, 200)
while (app.scheduler.health().heartbeatAgeMs === null) await new Promise(resolve => setTimeout(resolve, 5))

const document = await ApiDocument.of(app)
/** The statuses of the answers so far, by operation. */
const answered = new Map([...document.operations.keys()].map(name => [name, new Set<number>()]))

/** Makes a request, and validates the answer against the documented schema of its status. */
async function ask(t: Test, client: Client, name: string, { path, body, headers }: Request, status: number) {
  const [method = '', pattern = ''] = name.split(' ')
  const response = await client.send(method, path ?? pattern, body, headers)
  t.equal(response.status, status, `${name} answers ${status}`)
  const schema = document.answers(name).get(response.status)
  t.ok(schema, `${name}: ${response.status} is documented`)
  t.strictSame(document.problems(schema ?? {}, response.answer), [], `${name}: ${status} is as documented`)
  answered.get(name)?.add(response.status)
  return response.answer
}

interface Request {
  /** Default: the path of the operation. */
  path?: string
  body?: unknown
  headers?: Record<string, string>
}

/** The first wait is a second: a busy machine needs longer for the next request. */
const prolongWaits = () =>
  app.db.run(
    sql => sql`update sign_in_limits set locked_until = now() + interval '5 minutes' where locked_until > '-infinity'`
  )

const clientOf = async (username: string, isAdmin: boolean) => {
  const client = new Client(url)
  await client.signIn(username, await createUser(app, username, { isAdmin }))
  return client
}
const stranger = new Client(url)
const admin = await clientOf('ada', true)
const user = await clientOf('bob', false)

t.test('every route gives its successful answers as documented', async t => {
  for (const name of document.operations.keys()) {
    if (!/\/health($|\/(ready|live|startup)$)/.test(name)) continue
    await ask(t, stranger, name, {}, 200)
    await ask(t, new Client(dead.url), name, {}, name === 'GET /health/live' ? 200 : 503)
  }

  const password = 'password of eve'
  const newPassword = 'another password of eve'
  await createUser(app, 'eve', { isAdmin: true })
  const eve = new Client(url)
  const login = 'POST /api/auth/login'
  await ask(t, eve, login, { body: { username: 'eve', password: 'wrong' } }, 401)
  await ask(t, eve, login, { body: { username: 'eve', password } }, 200)
  await ask(t, eve, 'GET /api/auth/me', {}, 200)
  const change = (current_password: string, new_password: string) => ({ body: { current_password, new_password } })
  await ask(t, eve, 'POST /api/auth/password', change(password, newPassword), 200)
  await ask(t, eve, 'POST /api/auth/password', change(newPassword, newPassword), 400)
  for (let i = 0; i < 5; i++) await eve.send('POST', '/api/auth/password', change('wrong', password).body)
  await prolongWaits()
  await ask(t, eve, 'POST /api/auth/password', change('wrong', password), 429)
  await ask(t, eve, 'POST /api/auth/logout', {}, 200)
  for (let i = 0; i < 5; i++) await eve.signIn('eve', 'wrong')
  await prolongWaits()
  await ask(t, eve, login, { body: { username: 'eve', password: 'wrong' } }, 429)

  await ask(t, admin, 'GET /api/system/audit-log', { path: '/api/system/audit-log?limit=5' }, 200)
  await ask(t, admin, 'GET /api/system/health/details', {}, 200)
  await ask(t, admin, 'GET /api/system/health/history', {}, 200)
  await ask(t, admin, 'GET /api/system/scheduler-status', {}, 200)
  const control = 'POST /api/system/scheduler-control'
  await ask(t, admin, control, { body: { action: 'stop', reason: 'test', for_minutes: 1 } }, 200)
  await ask(t, admin, 'GET /api/system/scheduler-status', {}, 200)
  await ask(t, admin, control, { body: { action: 'start' } }, 200)

  const quiet = { for_minutes: 1, reason: 'test' }
  await ask(t, admin, 'POST /api/system/quiet', { body: quiet }, 200)
  await ask(t, admin, 'GET /api/system/quiet', {}, 200)
  await ask(t, admin, 'DELETE /api/system/quiet', {}, 200)

  for (const verb of ['pause', 'resume']) {
    const name = `POST /api/system/jobs/{job_id}/${verb}`
    await ask(t, admin, name, { path: `/api/system/jobs/housekeeping/${verb}` }, 200)
    await ask(t, admin, name, { path: `/api/system/jobs/nothing/${verb}` }, 404)
  }

  const trigger = 'POST /api/system/trigger-job'
  const { run_id } = await ask(t, admin, trigger, { body: { job_type: 'housekeeping' } }, 200)
  await ask(t, admin, trigger, { body: { job_type: 'housekeeping', unless_run_within_seconds: 60 } }, 200)
  await ask(t, admin, trigger, { body: { job_type: 'nothing' } }, 404)
  await ask(t, admin, trigger, { body: { job_type: 'broken' } }, 500)
  const begun = held.begun()
  await ask(t, admin, trigger, { body: { job_type: 'held', wait: false } }, 202)
  await begun
  await ask(t, admin, trigger, { body: { job_type: 'held' } }, 409)
  await ask(t, admin, 'GET /api/system/job-runs', {}, 200)
  held.release()
  const run = 'GET /api/system/job-runs/{run_id}'
  await ask(t, admin, run, { path: `/api/system/job-runs/${run_id}` }, 200)
  await ask(t, admin, run, { path: '/api/system/job-runs/0199e3a0-5c1b-7d2e-9f40-3b6a8c2d1e5f' }, 404)

  await ask(t, admin, 'GET /api/system/cache-stats', {}, 200)
  await ask(t, admin, 'POST /api/system/cache-clear', { body: { type: 'price', dry_run: true } }, 200)
  await ask(t, admin, 'GET /api/system/exchange-metadata', {}, 200)

  for (const name of document.operations.keys()) {
    const path = name.slice('GET '.length)
    if (!path.startsWith('/api/trading/')) continue
    await ask(t, admin, name, {}, 200)
    const unchanged = { path: `${path}?to=2020-01-01`, headers: { 'if-none-match': '*' } }
    if (document.answers(name).has(304)) await ask(t, admin, name, unchanged, 304)
  }

  await ask(t, admin, 'POST /api/system/test-telegram', {}, 200)
  bot.queue('getMe', failWith(401, 'Unauthorized'))
  await ask(t, admin, 'POST /api/system/test-telegram', {}, 502)
})

t.test('every route gives its rejections as documented', async t => {
  const token = { authorization: 'Bearer nothing' }
  for (let i = 0; i < 20; i++) await stranger.send('GET', '/api/auth/me', undefined, token)
  await prolongWaits()
  for (const name of document.operations.keys()) {
    const statuses = document.answers(name)
    const path = name.split(' ')[1]?.replace(/\{\w+\}/g, '0199e3a0-5c1b-7d2e-9f40-3b6a8c2d1e5f') ?? ''
    const json = { 'content-type': 'application/json' }
    if (statuses.has(401) && name !== 'POST /api/auth/login') await ask(t, stranger, name, { path }, 401)
    const foreign = { path, headers: { origin: 'https://elsewhere.example' } }
    const another = { path: `${path}?user=ada` }
    if (statuses.has(403) && name.includes('/trading/')) await ask(t, user, name, another, 403)
    else if (statuses.has(403)) await ask(t, name.includes('/system/') ? user : admin, name, foreign, 403)
    const isOfToken = statuses.has(429) && !/ \/api\/auth\/(login|password)$/.test(name)
    if (isOfToken) await ask(t, stranger, name, { path, headers: token }, 429)
    if (statuses.has(413)) await ask(t, admin, name, { path, body: `"${'x'.repeat(70_000)}"`, headers: json }, 413)
    if (statuses.has(415))
      await ask(t, admin, name, { path, body: '<x/>', headers: { 'content-type': 'text/xml' } }, 415)
    if (statuses.has(400)) {
      const unreadable = { path, body: '{"', headers: json }
      // An invalid id, or an unknown filter.
      const unknown = { path: name.endsWith('}') ? `${path}x` : `${path}?x=x` }
      await ask(t, admin, name, name.startsWith('GET ') ? unknown : unreadable, 400)
    }
  }
})

t.test('every documented status was tested, except 500 and 503', async t => {
  for (const [name, statuses] of answered) {
    const expected = [...document.answers(name).keys()].filter(status => status < 500 || status === 502)
    t.strictSame(
      expected.filter(status => !statuses.has(status)),
      [],
      name
    )
  }
})
