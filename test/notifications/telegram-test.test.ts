import { readFileSync } from 'node:fs'
import { inspect } from 'node:util'
import t, { type Test } from 'tap'
import { Agent } from 'undici'
import { type CallOptions, TelegramClient } from '../../src/notifications/telegram-client.ts'
import { testTelegram } from '../../src/notifications/telegram-test.ts'
import { recordedTest } from '../exchanges/fixtures.ts'
import { assertRows } from '../support/assert-rows.ts'
import {
  type BotApiOptions,
  failWith,
  startBotApiServer,
  TEST_TOKEN,
  tooManyRequests
} from '../support/bot-api-server.ts'
import { skippingTimers } from '../support/test-timers.ts'

const fixtures = '../shared/fixtures/telegram'

async function prepare(t: Test, options: BotApiOptions & { clientToken?: string } = {}) {
  const server = await startBotApiServer(options)
  const dispatcher = new Agent()
  t.teardown(async () => {
    await dispatcher.destroy()
    await server.close()
  })
  const timers = skippingTimers()
  const token = options.clientToken ?? TEST_TOKEN
  const client = new TelegramClient({ token, dispatcher, baseUrl: server.url, timers, maxAttempts: 1 })
  return { server, timers, request: { client, chatId: '42', language: 'ko', serviceName: 'trading-system' } as const }
}

t.test('all three stages succeed in order, with durations, and the message arrives', async t => {
  const { server, request } = await prepare(t)
  let clock = 0
  const result = await testTelegram({ ...request, now: () => (clock += 10.4) })
  t.hasStrict(result, { ok: true })
  t.strictSame(result.stages, [
    { stage: 'get_me', ok: true, duration_ms: 10 },
    { stage: 'get_chat', ok: true, duration_ms: 10 },
    { stage: 'send_message', ok: true, duration_ms: 10 }
  ])
  t.strictSame(
    server.received.map(({ method }) => method),
    ['getMe', 'getChat', 'sendMessage']
  )
})

t.test('the message is in the given language and has the name of the service', async t => {
  const { server, request } = await prepare(t)
  await testTelegram({ ...request, serviceName: '<R&D>' })
  await testTelegram({ ...request, serviceName: '<R&D>', language: 'en' })
  t.match(server.delivered[0]?.text, /텔레그램 연결 테스트\n.*<R&D>/)
  t.match(server.delivered[1]?.text, /Telegram connection test\n.*<R&D>/)
})

t.test('without a token or a chat it is not configured, and no call is made', async t => {
  const { server, request } = await prepare(t)
  const expected = { ok: false, code: 'TELEGRAM_NOT_CONFIGURED', stages: [] }
  t.strictSame(await testTelegram({ ...request, client: undefined }), expected)
  t.strictSame(await testTelegram({ ...request, chatId: undefined }), expected)
  t.strictSame(await testTelegram({ ...request, chatId: '' }), expected)
  t.equal(server.received.length, 0)
})

t.test('a wrong token fails at get_me', async t => {
  const { request } = await prepare(t, { clientToken: '1:wrong' })
  const result = await testTelegram(request)
  t.hasStrict(result, { ok: false, code: 'TELEGRAM_UNAUTHORIZED', stage: 'get_me' })
  assertRows(t, result.stages, [{ stage: 'get_me', ok: false }])
  t.match(result.stages[0], { duration_ms: Number })
})

t.test('a wrong chat fails at get_chat', async t => {
  const { request } = await prepare(t, { chats: ['1'] })
  const result = await testTelegram(request)
  t.hasStrict(result, { ok: false, code: 'TELEGRAM_CHAT_NOT_FOUND', stage: 'get_chat' })
  assertRows(t, result.stages, [
    { stage: 'get_me', ok: true },
    { stage: 'get_chat', ok: false }
  ])
})

t.test('each error at each stage has a code of the contract', async t => {
  const cases = [
    [failWith(403, 'Forbidden: bot was blocked by the user'), 'TELEGRAM_BLOCKED'],
    [tooManyRequests(41), 'TELEGRAM_RATE_LIMITED'],
    [failWith(502, 'Bad Gateway'), 'TELEGRAM_UNREACHABLE'],
    [{ kind: 'cut', when: 'within' }, 'TELEGRAM_UNREACHABLE']
  ] as const
  const stages = { get_me: 'getMe', get_chat: 'getChat', send_message: 'sendMessage' }
  for (const [behaviour, code] of cases) {
    for (const [stage, method] of Object.entries(stages)) {
      const { server, request } = await prepare(t)
      server.queue(method, behaviour)
      const result = await testTelegram(request)
      t.hasStrict(result, { ok: false, code, stage })
      t.notMatch(inspect(result, { depth: Infinity, showHidden: true }), TEST_TOKEN.slice(11))
    }
  }
})

t.test('an unknown rejection is reported as an error of the chat', async t => {
  const odd = failWith(400, 'Bad Request: something new')
  for (const [method, code] of [
    ['getMe', 'TELEGRAM_UNREACHABLE'],
    ['getChat', 'TELEGRAM_CHAT_NOT_FOUND'],
    ['sendMessage', 'TELEGRAM_BLOCKED']
  ] as const) {
    const { server, request } = await prepare(t)
    server.queue(method, odd)
    t.hasStrict(await testTelegram(request), { ok: false, code, error: { code: 'TELEGRAM_REJECTED' } })
  }
})

recordedTest('every fixture ends the test with a code of the contract', async t => {
  const codes: Record<string, string> = {
    'bad-request-chat-not-found': 'TELEGRAM_CHAT_NOT_FOUND',
    'bad-request-entities-too-long': 'TELEGRAM_BLOCKED',
    'bad-request-message-text-is-empty': 'TELEGRAM_BLOCKED',
    'forbidden-bot-blocked-by-user': 'TELEGRAM_BLOCKED',
    'too-many-requests': 'TELEGRAM_RATE_LIMITED',
    'too-many-requests-retry-after-41': 'TELEGRAM_RATE_LIMITED',
    unauthorized: 'TELEGRAM_UNAUTHORIZED'
  }
  for (const [name, code] of Object.entries(codes)) {
    const { server, request } = await prepare(t)
    const { response } = JSON.parse(readFileSync(`${fixtures}/${name}.json`, 'utf8'))
    server.queue('sendMessage', { kind: 'answer', status: response.status, body: response.body })
    t.hasStrict(await testTelegram(request), { ok: false, code, stage: 'send_message' }, name)
  }
})

t.test('a migrated chat succeeds, and its new id is returned', async t => {
  const { server, request } = await prepare(t)
  const upgraded = failWith(400, 'Bad Request: group chat was upgraded', { migrate_to_chat_id: -100 })
  server.queue('getChat', upgraded)
  server.queue('sendMessage', upgraded)
  t.hasStrict(await testTelegram(request), { ok: true, migratedTo: '-100' })
  t.equal(server.delivered[0]?.chatId, '-100')
})

t.test('each stage gets the rest of the deadline', async t => {
  const { request } = await prepare(t)
  const deadlines: (number | undefined)[] = []
  class Recording extends TelegramClient {
    override getMe(bounds: CallOptions) {
      deadlines.push(bounds.deadlineMs)
      return request.client.getMe(bounds)
    }
    override getChat(chatId: string, bounds: CallOptions) {
      deadlines.push(bounds.deadlineMs)
      return request.client.getChat(chatId, bounds)
    }
    override sendMessage(chatId: string, html: string, bounds: CallOptions) {
      deadlines.push(bounds.deadlineMs)
      return request.client.sendMessage(chatId, html, bounds)
    }
  }
  const dispatcher = new Agent()
  t.teardown(() => dispatcher.destroy())
  const client = new Recording({ token: TEST_TOKEN, dispatcher })
  let clock = -1_000
  await testTelegram({ ...request, client, deadlineMs: 15_000, now: () => (clock += 1_000) })
  t.strictSame(deadlines, [14_000, 12_000, 10_000])
})

t.test('a test that takes too long or is aborted ends', async t => {
  const { server, timers, request } = await prepare(t)
  server.queue('getMe', { kind: 'hang' })
  const test = testTelegram({ ...request, deadlineMs: 2_000, now: () => 0 })
  await server.receivedCount(1)
  t.strictSame(timers.deadlines, [2_000])
  timers.expire()
  t.hasStrict(await test, { ok: false, code: 'TELEGRAM_UNREACHABLE', stage: 'get_me' })
  const signal = AbortSignal.abort()
  t.hasStrict(await testTelegram({ ...request, signal }), { ok: false, code: 'TELEGRAM_UNREACHABLE', stage: 'get_me' })
})
