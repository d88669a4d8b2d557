import { readdirSync, readFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { inspect } from 'node:util'
import t, { type Test } from 'tap'
import { Agent } from 'undici'
import { createLogger } from '../../src/log/logger.ts'
import { Pacer } from '../../src/notifications/pacer.ts'
import { splitMessage } from '../../src/notifications/split-message.ts'
import { TelegramClient, type TelegramClientOptions } from '../../src/notifications/telegram-client.ts'
import { TelegramError, type TelegramErrorCode } from '../../src/notifications/telegram-error.ts'
import { recordedTest } from '../exchanges/fixtures.ts'
import {
  type Behaviour,
  type BotApiOptions,
  failWith,
  startBotApiServer,
  TEST_TOKEN,
  tooManyRequests
} from '../support/bot-api-server.ts'
import { skippingTimers } from '../support/test-timers.ts'

const fixtures = '../shared/fixtures/telegram'
const secret = TEST_TOKEN.slice(TEST_TOKEN.indexOf(':') + 1)

/** A server, and a client of it whose waits end at once. */
async function connect(t: Test, options: Partial<TelegramClientOptions> = {}, serverOptions: BotApiOptions = {}) {
  const server = await startBotApiServer(serverOptions)
  t.teardown(() => server.close())
  return { server, ...clientOf(t, { baseUrl: server.url, ...options }) }
}

function clientOf(t: Test, options: Partial<TelegramClientOptions>) {
  const dispatcher = new Agent()
  t.teardown(() => dispatcher.destroy())
  const timers = skippingTimers()
  return { timers, client: new TelegramClient({ token: TEST_TOKEN, dispatcher, timers, random: () => 0, ...options }) }
}

/** The error of a call. Asserts that it contains no token, in any representation. */
async function failure(t: Test, call: Promise<unknown>): Promise<TelegramError> {
  const err: unknown = await call.then(
    () => undefined,
    (err: unknown) => err
  )
  if (!(err instanceof TelegramError)) throw new Error('the call did not fail with a TelegramError', { cause: err })
  const lines: string[] = []
  createLogger({ level: 'trace' }, { write: line => void lines.push(line) }).error({ err }, 'telegram call failed')
  const shown = [inspect(err, { depth: Infinity, showHidden: true }), JSON.stringify(err), err.stack, ...lines].join()
  t.notMatch(shown, secret, 'the token is not in the error')
  t.notMatch(shown, encodeURIComponent(TEST_TOKEN))
  t.equal(err.cause, undefined)
  return err
}

t.test('getMe returns the bot, getChat the chat', async t => {
  const { client, server } = await connect(t)
  t.strictSame(await client.getMe(), { id: '1234567890', username: 'test_bot' })
  t.strictSame(await client.getChat('-1001234567890'), { id: '-1001234567890', type: 'supergroup', migrated: false })
  t.strictSame(server.received, [
    { method: 'getMe', token: TEST_TOKEN, body: {} },
    { method: 'getChat', token: TEST_TOKEN, body: { chat_id: '-1001234567890' } }
  ])
})

t.test('sendMessage sends HTML and returns where the message went', async t => {
  const { client, server } = await connect(t)
  t.strictSame(await client.sendMessage('42', '<b>R&amp;D</b>'), { messageId: '1', chatId: '42', migrated: false })
  t.strictSame(server.delivered, [{ chatId: '42', html: '<b>R&amp;D</b>', text: 'R&D', buttons: [] }])
  t.hasStrict(server.received[0]?.body, { parse_mode: 'HTML', link_preview_options: { is_disabled: true } })
})

t.test('messages to the chat of a topic are sent to that topic, also after the chat became a supergroup', async t => {
  const { client, server } = await connect(t, { topic: { chatId: '42', id: 7 } })
  await client.sendMessage('42', 'in the topic')
  await client.sendMessage('43', 'elsewhere')
  server.queue('sendMessage', failWith(400, 'Bad Request: group chat was upgraded', { migrate_to_chat_id: -100_1 }))
  await client.sendMessage('42', 'again')
  t.strictSame(
    server.received.map(({ body }) => [body.chat_id, body.message_thread_id]),
    [
      ['42', 7],
      ['43', undefined],
      ['42', 7],
      ['-1001', 7]
    ]
  )
})

t.test('an error about the text of the message is distinguished from all other errors', async t => {
  const { client, server } = await connect(t)
  const cases: [description: string, rejectsText: boolean][] = [
    ["Bad Request: can't parse entities: Unsupported start tag", true],
    ['Bad Request: message is too long', true],
    ['Bad Request: message text is empty', true],
    ['Bad Request: entities too long', true],
    ['Bad Request: text must be encoded in UTF-8', true],
    ['Bad Request: TOPIC_CLOSED', false],
    ['Bad Request: SOMETHING_NEW', false],
    ['Logged out', false]
  ]
  for (const [description, rejectsText] of cases) {
    server.queue('sendMessage', failWith(400, description))
    t.hasStrict(await failure(t, client.sendMessage('1', 'text')), { rejectsText }, description)
  }
})

t.test('a base address may have a path', async t => {
  const { client, server } = await connect(t)
  const behind = clientOf(t, { baseUrl: `${server.url}/proxy/` })
  t.hasStrict(await failure(t, behind.client.getMe()), { code: 'TELEGRAM_UNAUTHORIZED' }, 'the server has another path')
  t.ok(await client.getMe())
  t.throws(() => clientOf(t, { baseUrl: 'not a url' }), TypeError)
})

recordedTest('each error of the fixtures has its code', async t => {
  const expected: Record<string, Partial<TelegramError>> = {
    'bad-request-chat-not-found.json': { code: 'TELEGRAM_CHAT_NOT_FOUND', temporary: false },
    'bad-request-entities-too-long.json': { code: 'TELEGRAM_REJECTED', temporary: false },
    'bad-request-group-chat-migrated.json': { code: 'TELEGRAM_CHAT_NOT_FOUND', migratedTo: '-123456789' },
    'bad-request-message-text-is-empty.json': { code: 'TELEGRAM_REJECTED', temporary: false },
    'forbidden-bot-blocked-by-user.json': { code: 'TELEGRAM_BLOCKED', temporary: false },
    'too-many-requests-retry-after-41.json': { code: 'TELEGRAM_RATE_LIMITED', retryAfterMs: 41_000, temporary: true },
    'too-many-requests.json': { code: 'TELEGRAM_RATE_LIMITED', retryAfterMs: 123_000, temporary: true },
    'unauthorized.json': { code: 'TELEGRAM_UNAUTHORIZED', temporary: false }
  }
  t.strictSame(readdirSync(fixtures).sort(), Object.keys(expected))
  for (const [file, error] of Object.entries(expected)) {
    const { client, server } = await connect(t)
    const { response } = JSON.parse(readFileSync(`${fixtures}/${file}`, 'utf8'))
    const behaviour: Behaviour = { kind: 'answer', status: response.status, body: response.body }
    const calls = error.migratedTo === undefined ? 1 : 2
    server.queue('sendMessage', ...Array<Behaviour>(calls).fill(behaviour))
    t.hasStrict(await failure(t, client.sendMessage('1', 'text')), { ...error, status: response.status }, file)
    t.equal(server.received.length, calls, 'the call is not repeated')
  }
})

t.test('each other error of Telegram has its code', async t => {
  const cases: [Behaviour, TelegramErrorCode][] = [
    [failWith(404, 'Not Found'), 'TELEGRAM_UNAUTHORIZED'],
    [failWith(403, 'Forbidden: user is deactivated'), 'TELEGRAM_BLOCKED'],
    [failWith(400, 'Bad Request: not enough rights to send text messages to the chat'), 'TELEGRAM_BLOCKED'],
    [failWith(400, 'Bad Request: PEER_ID_INVALID'), 'TELEGRAM_CHAT_NOT_FOUND'],
    [failWith(400, 'Logged out'), 'TELEGRAM_UNAUTHORIZED'],
    [failWith(400, 'Bad Request: TOPIC_CLOSED'), 'TELEGRAM_BLOCKED'],
    [failWith(400, 'Bad Request: CHAT_SEND_PLAIN_FORBIDDEN'), 'TELEGRAM_BLOCKED'],
    [failWith(400, 'Bad Request: message thread not found'), 'TELEGRAM_CHAT_NOT_FOUND'],
    [failWith(400, 'Bad Request: TOPIC_DELETED'), 'TELEGRAM_CHAT_NOT_FOUND'],
    [failWith(400, 'Bad Request: SOMETHING_NEW'), 'TELEGRAM_REJECTED'],
    [failWith(400, "Bad Request: can't parse entities: Unsupported start tag"), 'TELEGRAM_REJECTED'],
    [{ kind: 'answer', status: 404, body: '<html>nginx</html>' }, 'TELEGRAM_UNREACHABLE'],
    [{ kind: 'answer', status: 302, body: '' }, 'TELEGRAM_UNREACHABLE'],
    [{ kind: 'answer', status: 401, body: 'log in to the hotel network' }, 'TELEGRAM_UNREACHABLE'],
    [{ kind: 'answer', status: 200, body: { ok: true, result: true } }, 'TELEGRAM_UNREACHABLE'],
    [{ kind: 'answer', status: 200, body: '[]' }, 'TELEGRAM_UNREACHABLE']
  ]
  for (const [behaviour, code] of cases) {
    const { client, server } = await connect(t)
    server.queue('sendMessage', behaviour)
    t.hasStrict(await failure(t, client.sendMessage('1', 'text')), { code, temporary: false })
    t.equal(server.received.length, 1)
  }
})

t.test('after a 429 the client waits for retry_after', async t => {
  const { client, server, timers } = await connect(t, { deadlineMs: 60_000 })
  server.queue('sendMessage', tooManyRequests(41))
  t.ok(await client.sendMessage('1', 'text'))
  t.equal(timers.now(), 41_000)
  t.equal(server.received.length, 2)
})

t.test('a 429 with a retry_after beyond the deadline ends the call and holds the chat', async t => {
  const { client, server } = await connect(t)
  server.queue('sendMessage', tooManyRequests(41))
  t.hasStrict(await failure(t, client.sendMessage('1', 'text')), {
    code: 'TELEGRAM_RATE_LIMITED',
    retryAfterMs: 41_000
  })
  t.hasStrict(await failure(t, client.sendMessage('1', 'text')), { code: 'TELEGRAM_RATE_LIMITED', reason: 'PACED' })
  t.equal(server.received.length, 1, 'the second call sent no request')
  t.ok(await client.sendMessage('2', 'text'), 'another chat is served')
})

t.test('a longer retry_after is reported as one hour', async t => {
  const { client, server } = await connect(t)
  server.queue('getMe', tooManyRequests(1e12), tooManyRequests(-1), tooManyRequests(0), tooManyRequests(-5))
  t.equal((await failure(t, client.getMe())).retryAfterMs, 3_600_000)
  t.match(await failure(t, client.getMe()), { code: 'TELEGRAM_RATE_LIMITED', retryAfterMs: undefined })
})

t.test('server errors and broken connections are retried, with three attempts in total', async t => {
  const { client, server, timers } = await connect(t)
  server.queue('getMe', { kind: 'answer', status: 502, body: '<html>' }, { kind: 'cut', when: 'before' })
  t.ok(await client.getMe())
  t.strictSame(timers.waits, [1_000, 2_000])
  server.queue('getMe', ...Array<Behaviour>(3).fill({ kind: 'cut', when: 'within' }))
  t.hasStrict(await failure(t, client.getMe()), { code: 'TELEGRAM_UNREACHABLE', temporary: true })
  t.equal(server.received.length, 6)
})

t.test('no retry begins after the deadline', async t => {
  const { client, server } = await connect(t, { deadlineMs: 1_000 })
  server.queue('getMe', failWith(500, 'Internal Server Error'))
  t.hasStrict(await failure(t, client.getMe()), { code: 'TELEGRAM_UNREACHABLE', status: 500 })
  t.equal(server.received.length, 1)
})

t.test('each attempt without an answer times out', async t => {
  const { client, server, timers } = await connect(t, { attemptTimeoutMs: 4_000, deadlineMs: 10_000 })
  for (const when of ['before', 'within'] as const) {
    server.queue('getMe', ...Array<Behaviour>(3).fill({ kind: 'hang', when }))
    const arrived = server.received.length
    const call = failure(t, client.getMe())
    for (const attempt of [1, 2, 3]) {
      await server.receivedCount(arrived + attempt)
      timers.expire()
    }
    t.hasStrict(await call, { code: 'TELEGRAM_UNREACHABLE', reason: 'TIMEOUT', temporary: true })
  }
  t.equal(server.received.length, 6)
  t.strictSame(timers.waits, [1_000, 2_000, 1_000, 2_000])
  t.strictSame(timers.deadlines, Array(6).fill(4_000))
})

t.test('an attempt ends with the deadline of its call', async t => {
  const { client, server, timers } = await connect(t, { attemptTimeoutMs: 5_000, deadlineMs: 7_000 })
  server.queue('getMe', ...Array<Behaviour>(2).fill(failWith(500, 'Internal Server Error')))
  t.ok(await client.getMe())
  t.strictSame(timers.deadlines, [5_000, 5_000, 4_000], 'the waits are 1 s and 2 s')
})

t.test('a late answer is accepted', async t => {
  const { client, server } = await connect(t)
  let release = () => {}
  const until = new Promise<void>(resolve => {
    release = resolve
  })
  server.queue('getMe', { kind: 'slow', until })
  const call = client.getMe()
  await server.receivedCount(1)
  release()
  t.ok(await call)
})

t.test('an address without a server, or with one that does not speak HTTP, is unreachable', async t => {
  const notHttp = createServer(socket => socket.end('SSH-2.0-OpenSSH_9.6\r\n', () => socket.destroy()))
  await new Promise<void>(resolve => notHttp.listen(0, '127.0.0.1', resolve))
  const address = notHttp.address()
  const port = typeof address === 'object' && address ? address.port : 0
  const baseUrl = `http://127.0.0.1:${port}`
  t.hasStrict(await failure(t, clientOf(t, { baseUrl }).client.getMe()), { code: 'TELEGRAM_UNREACHABLE' })
  await new Promise(resolve => notHttp.close(resolve))
  t.hasStrict(await failure(t, clientOf(t, { baseUrl }).client.getMe()), { reason: 'ECONNREFUSED', temporary: true })
})

t.test('an endless answer is aborted', async t => {
  const { client, server } = await connect(t, { maxAttempts: 1 })
  server.queue('getMe', { kind: 'answer', status: 200, body: 'x'.repeat(300_000) })
  t.hasStrict(await failure(t, client.getMe()), { code: 'TELEGRAM_UNREACHABLE', reason: 'ANSWER_TOO_LARGE' })
})

t.test('the caller can abort a call before it, during it and during its waits', async t => {
  const { client, server } = await connect(t)
  const aborted = AbortSignal.abort()
  t.hasStrict(await failure(t, client.getMe({ signal: aborted })), { code: 'TELEGRAM_ABORTED' })
  t.hasStrict(await failure(t, client.sendMessage('1', 'text', { signal: aborted })), { code: 'TELEGRAM_ABORTED' })
  t.equal(server.received.length, 0)

  server.queue('getMe', { kind: 'hang' })
  const underWay = new AbortController()
  const call = failure(t, client.getMe({ signal: underWay.signal }))
  await server.receivedCount(1)
  underWay.abort()
  t.hasStrict(await call, { code: 'TELEGRAM_ABORTED' })

  const waiting = new AbortController()
  const waitingClient = clientOf(t, {
    baseUrl: server.url,
    timers: {
      ...skippingTimers(),
      after: () => {
        queueMicrotask(() => waiting.abort())
        return () => {}
      }
    }
  })
  server.queue('getMe', failWith(500, 'Internal Server Error'))
  t.hasStrict(await failure(t, waitingClient.client.getMe({ signal: waiting.signal })), { code: 'TELEGRAM_ABORTED' })
  t.equal(server.received.length, 2)
})

t.test('after a group became a supergroup, the message is sent to its new id once, and the id is reported', async t => {
  const moved = failWith(400, 'Bad Request: group chat was upgraded to a supergroup chat', {
    migrate_to_chat_id: -1001234567890
  })
  const { client, server } = await connect(t)
  server.queue('sendMessage', moved)
  t.strictSame(await client.sendMessage('-5', 'text'), { messageId: '1', chatId: '-1001234567890', migrated: true })
  server.queue('getChat', moved)
  t.hasStrict(await client.getChat('-5'), { id: '-1001234567890', migrated: true })

  server.queue('sendMessage', moved, failWith(403, 'Forbidden: bot was kicked from the supergroup chat'))
  t.hasStrict(await failure(t, client.sendMessage('-5', 'text')), {
    code: 'TELEGRAM_BLOCKED',
    migratedTo: '-1001234567890'
  })
  server.queue('sendMessage', moved, moved)
  t.hasStrict(await failure(t, client.sendMessage('-5', 'text')), { code: 'TELEGRAM_CHAT_NOT_FOUND' })
  t.equal(server.received.length, 8)
})

t.test('messages to a chat respect the rate limit, retries included', async t => {
  const timers = skippingTimers()
  const { client, server } = await connect(t, { timers, pacer: new Pacer({ timers }) })
  server.queue('sendMessage', failWith(500, 'Internal Server Error'))
  await client.sendMessage('1', 'one')
  await client.sendMessage('1', 'two')
  t.equal(timers.now(), 2_000)
  t.strictSame(
    server.delivered.map(({ text }) => text),
    ['one', 'two']
  )
})

t.test('a long message arrives in parts that the server accepts', async t => {
  const { client, server } = await connect(t)
  const html = `<b>${'잔고 &amp; 손익\n'.repeat(1_000)}</b>`
  for (const part of splitMessage(html)) await client.sendMessage('1', part)
  t.ok(server.delivered.length > 1, `in ${server.delivered.length} parts`)
  t.equal(server.delivered.map(({ text }) => text).join(''), '잔고 & 손익\n'.repeat(1_000))
  t.hasStrict(await failure(t, client.sendMessage('1', html)), { code: 'TELEGRAM_REJECTED' })
})

t.test('the token is not in errors, not even if the server quotes it, and not in the inspected client', async t => {
  const { client, server } = await connect(t, { maxAttempts: 1 })
  const quotes = [
    TEST_TOKEN,
    encodeURIComponent(TEST_TOKEN),
    secret,
    `${'x'.repeat(180)}${TEST_TOKEN}`,
    TEST_TOKEN.slice(0, 20),
    TEST_TOKEN.slice(-9),
    TEST_TOKEN.toUpperCase()
  ]
  for (const text of quotes) {
    server.queue('getMe', failWith(400, `Bad Request: /bot${text}/getMe`))
    t.equal((await failure(t, client.getMe())).description, '[withheld: it quotes the token]')
  }
  server.queue('getMe', failWith(400, `Bad Request: ${'long '.repeat(100)}`))
  t.equal((await failure(t, client.getMe())).description?.length, 200)
  server.queue('getMe', { kind: 'answer', status: 500, body: `no route for /bot${TEST_TOKEN}/getMe` })
  await failure(t, client.getMe())
  t.notMatch(inspect(client, { depth: Infinity, showHidden: true }), secret)
  t.notMatch(JSON.stringify(client), secret)
})

t.test('a token of the wrong form is rejected without a call', async t => {
  for (const token of ['', 'token', '123:', '123:abc/../getMe', '123:a b']) {
    const { client, server } = await connect(t, { token })
    const error = await client.getMe().then(undefined, (err: unknown) => err)
    t.hasStrict(error, { code: 'TELEGRAM_UNAUTHORIZED', reason: 'MALFORMED_TOKEN' })
    t.equal(server.received.length, 0)
  }
})
