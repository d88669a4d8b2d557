import t from 'tap'
import { startApp, untilStatus } from '../../support/app.ts'
import { assertRows } from '../../support/assert-rows.ts'
import { migratedDatabase } from '../../support/migrated-database.ts'
import { adminOf, Client, createUser } from '../../support/session.ts'

const PATH = '/api/system/quiet'
const ISO = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/

const { url: DATABASE_URL } = await migratedDatabase(t)
const settings = {
  DATABASE_URL,
  PROBE_PORT: 'off',
  ALERT_WEBHOOK_URL: 'http://127.0.0.1:9/',
  ALERT_WEBHOOK_FORMAT: 'slack'
}
const { app, url } = await startApp(t, settings)
await untilStatus(`${url}/health/startup`, 200)
const admin = await adminOf(app)
const viewer = new Client(url)
await viewer.signIn('vera', await createUser(app, 'vera', { role: 'viewer' }))

const texts = async () => {
  const rows = await app.db.run(sql => sql<{ text: string }[]>`select text from outbox order by message_id`)
  return rows.map(({ text }) => text)
}
const current = async () => {
  const window = await app.quiet.current()
  if (!window) throw new Error('there is no quiet window')
  return window
}

t.test('without a window the answer is null, and ending none is no error', async t => {
  t.strictSame((await admin.send('GET', PATH)).answer, { success: true, quiet: null })
  t.hasStrict(await admin.send('DELETE', PATH), { status: 200, answer: { success: true, quiet: null } })
  await app.evaluateAlerts()
  t.strictSame(await texts(), [])
})

t.test('an admin starts a window, which viewers and other replicas read', async t => {
  const { status, answer } = await admin.send('POST', PATH, { for_minutes: 1440, reason: 'release' })
  t.equal(status, 200)
  t.match(answer, { message: String, quiet: { by: 'ada', reason: 'release', since: ISO, until: ISO } })
  const { since, until } = await current()
  t.equal(until.getTime() - since.getTime(), 1440 * 60_000)
  t.strictSame((await viewer.send('GET', PATH)).answer, { success: true, quiet: answer.quiet })
  const later = await startApp(t, settings)
  await untilStatus(`${later.url}/health/startup`, 200)
  const elsewhere = await later.app.quiet.current()
  t.strictSame(elsewhere, await current(), 'a replica that starts later has it')
})

t.test('a window replaces the current one, and its end is one summary', async t => {
  const { answer } = await admin.send('POST', PATH, { for_minutes: 1, reason: 'shorter' })
  t.hasStrict(answer, { message: 'Notifications are suppressed', quiet: { reason: 'shorter' } })
  const ended = await admin.send('DELETE', PATH)
  t.strictSame(ended.answer, { success: true, message: 'Notifications are sent again', quiet: null })
  await admin.send('DELETE', PATH)
  while ((await texts()).length === 0) await app.evaluateAlerts()
  await app.evaluateAlerts()
  const [text = '', ...others] = await texts()
  t.match(text, /^🔔 알림 중지 종료\n조작자: ada\n사유: shorter\n/)
  t.strictSame(others, [])
})

t.test('a body that is not valid changes nothing', async t => {
  const bodies = [
    undefined,
    null,
    [],
    {},
    { for_minutes: 5 },
    { reason: 'x' },
    { for_minutes: 0, reason: 'x' },
    { for_minutes: 1441, reason: 'x' },
    { for_minutes: 1.5, reason: 'x' },
    { for_minutes: '5', reason: 'x' },
    { for_minutes: 1e308, reason: 'x' },
    { for_minutes: 5, reason: '' },
    { for_minutes: 5, reason: 'x'.repeat(501) },
    { for_minutes: 5, reason: 'a\u0000b' },
    { for_minutes: 5, reason: { $ne: 1 } },
    { for_minutes: 5, reason: 'x', until: '2030-01-01' }
  ]
  for (const body of bodies) {
    t.equal((await admin.send('POST', PATH, body)).status, 400, JSON.stringify(body))
  }
  t.equal((await admin.send('DELETE', PATH, { all: true })).status, 400)
  t.equal((await admin.send('DELETE', PATH, {})).status, 200, 'HTTPie may send an empty object')
  t.strictSame((await admin.send('GET', PATH)).answer, { success: true, quiet: null })
})

t.test('viewers neither start nor end a window', async t => {
  await admin.send('POST', PATH, { for_minutes: 5, reason: 'x' })
  t.equal((await viewer.send('POST', PATH, { for_minutes: 1, reason: 'x' })).status, 403)
  t.equal((await viewer.send('DELETE', PATH)).status, 403)
  t.hasStrict((await viewer.send('GET', PATH)).answer, { quiet: { by: 'ada' } })
})

t.test('the start and the end are in the audit log', async t => {
  const rows = await app.db.run(
    sql => sql`
      select distinct actor, action, outcome from audit_log
      where action like '%/quiet' and outcome = 'succeeded' order by action`
  )
  assertRows(t, rows, [
    { actor: 'ada', action: `DELETE ${PATH}`, outcome: 'succeeded' },
    { actor: 'ada', action: `POST ${PATH}`, outcome: 'succeeded' }
  ])
})
