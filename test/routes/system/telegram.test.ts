import t, { type Test } from 'tap'
import { captureLog, startApp, untilStatus } from '../../support/app.ts'
import { assertRows } from '../../support/assert-rows.ts'
import { failWith, startBotApiServer, TEST_TOKEN } from '../../support/bot-api-server.ts'
import { migratedDatabase } from '../../support/migrated-database.ts'
import { adminOf } from '../../support/session.ts'

async function started(t: Test, environment: Record<string, string>) {
  const { url: databaseUrl } = await migratedDatabase(t)
  const log = captureLog('trace')
  const { app, url } = await startApp(
    t,
    { DATABASE_URL: databaseUrl, PROBE_PORT: 'off', ...environment },
    { logger: log.logger }
  )
  await untilStatus(`${url}/health/startup`, 200)
  return { admin: await adminOf(app), log }
}

t.test('the test returns each of its three stages, and its message is in the language of the service', async t => {
  const server = await startBotApiServer()
  t.teardown(() => server.close())
  const { admin, log } = await started(t, {
    TELEGRAM_BOT_TOKEN: TEST_TOKEN,
    TELEGRAM_CHAT_ID: '42',
    TELEGRAM_API_URL: server.url,
    LANGUAGE: 'en'
  })
  const test = (language: string) =>
    admin.send('POST', '/api/system/test-telegram', undefined, { 'accept-language': language })
  const { status, answer } = await test('ko')
  t.equal(status, 200)
  t.hasStrict(answer, { success: true, message: '텔레그램 연결 성공' })
  const stages = answer.stages as { duration_ms: unknown }[]
  assertRows(t, stages, [
    { stage: 'get_me', ok: true },
    { stage: 'get_chat', ok: true },
    { stage: 'send_message', ok: true }
  ])
  for (const stage of stages) t.match(stage, { duration_ms: Number })
  t.hasStrict(await test('en'), { status: 200, answer: { message: 'Telegram is connected' } })
  assertRows(t, server.delivered, [{ chatId: '42' }, { chatId: '42' }])
  t.match(server.delivered[0]?.text, /This is a test message from/)
  t.equal(server.delivered[1]?.text, server.delivered[0]?.text)

  server.queue('getChat', failWith(403, 'Forbidden: bot was blocked by the user'))
  const blocked = await test('en')
  t.hasStrict(blocked, {
    status: 502,
    answer: { success: false, code: 'TELEGRAM_BLOCKED', stage: 'get_chat' }
  })
  assertRows(t, blocked.answer.stages, [
    { stage: 'get_me', ok: true },
    { stage: 'get_chat', ok: false }
  ])
  t.notOk((log.text() + JSON.stringify(blocked.answer)).includes(TEST_TOKEN), 'the token is not in the answer')
})

t.test('the message of the test goes to the configured topic', async t => {
  const server = await startBotApiServer()
  t.teardown(() => server.close())
  const { admin } = await started(t, {
    TELEGRAM_BOT_TOKEN: TEST_TOKEN,
    TELEGRAM_CHAT_ID: '-42',
    TELEGRAM_TOPIC_ID: '7',
    TELEGRAM_COMMANDS: 'off',
    TELEGRAM_API_URL: server.url
  })
  server.queue('sendMessage', failWith(400, 'Bad Request: group chat was upgraded', { migrate_to_chat_id: -1001 }))
  t.hasStrict(await admin.send('POST', '/api/system/test-telegram'), { status: 200, answer: { success: true } })
  t.strictSame(
    server.received.map(({ method, body }) => [method, body.message_thread_id]),
    [
      ['getMe', undefined],
      ['getChat', undefined],
      ['sendMessage', 7],
      ['sendMessage', 7]
    ]
  )
})

t.test('without a configuration the answer is TELEGRAM_NOT_CONFIGURED', async t => {
  const { admin } = await started(t, {})
  t.hasStrict(await admin.send('POST', '/api/system/test-telegram'), {
    status: 503,
    answer: { success: false, code: 'TELEGRAM_NOT_CONFIGURED' }
  })
})
