import { createHmac } from 'node:crypto'
import t, { type Test } from 'tap'
import { Agent } from 'undici'
import type { NoticeEvent } from '../../src/notifications/notice-event.ts'
import {
  type WebhookCallEnd,
  WebhookClient,
  type WebhookClientOptions
} from '../../src/notifications/webhook-client.ts'
import { WebhookError } from '../../src/notifications/webhook-error.ts'
import { skippingTimers } from '../support/test-timers.ts'
import { type Behaviour, startWebhookServer } from '../support/webhook-server.ts'

const SECRET = `whsec_${Buffer.from('0123456789abcdef0123456789abcdef').toString('base64')}`
const event: NoticeEvent = {
  type: 'alert.raised',
  at: '2026-11-23T12:00:00.000Z',
  data: { kind: 'job_failed', condition: 'job:housekeeping', details: { job_id: 'housekeeping' } }
}
const message = { text: 'Job failed\nJob: <b> & co', event, key: 'webhook:job:housekeeping:1' }

async function setUp(t: Test, options: Partial<WebhookClientOptions> = {}) {
  const server = await startWebhookServer()
  const dispatcher = new Agent()
  t.teardown(() => Promise.all([server.close(), dispatcher.destroy()]))
  const ends: WebhookCallEnd['outcome'][] = []
  const client = new WebhookClient({
    url: `${server.url}/hooks/path-secret?token=query-secret`,
    format: 'json',
    secret: SECRET,
    service: 'trading-system',
    dispatcher,
    onCall: ({ outcome }) => ends.push(outcome),
    ...options
  })
  return { server, client, ends }
}

t.test('a request has the event as JSON, and headers that identify and sign it', async t => {
  const { server, client, ends } = await setUp(t, { now: () => 1_764_000_000_900 })
  await client.send(message)
  const [request] = server.received
  t.hasStrict(request, { method: 'POST', target: '/hooks/path-secret?token=query-secret' })
  t.strictSame(JSON.parse(request?.body ?? ''), {
    type: 'alert.raised',
    timestamp: '2026-11-23T12:00:00.000Z',
    data: { service: 'trading-system', text: message.text, ...event.data }
  })
  const headers = request?.headers ?? {}
  t.equal(headers['content-type'], 'application/json')
  t.equal(headers['webhook-timestamp'], '1764000000')
  const id = String(headers['webhook-id'])
  t.match(id, /^msg_[a-f\d]{32}$/)
  const signed = createHmac('sha256', '0123456789abcdef0123456789abcdef')
    .update(`${id}.1764000000.${request?.body}`)
    .digest('base64')
  t.equal(headers['webhook-signature'], `v1,${signed}`)
  t.strictSame(ends, ['ok'])
})

t.test('the id is the same in every attempt, and the time is that of the attempt', async t => {
  let now = 1_764_000_000_000
  const { server, client } = await setUp(t, { now: () => now })
  server.queue({ kind: 'cut', when: 'before' })
  await t.rejects(client.send(message), { code: 'WEBHOOK_UNREACHABLE' })
  now += 60_000
  await client.send(message)
  await client.send({ ...message, key: 'another' })
  const of = (name: string) => server.received.map(({ headers }) => headers[name])
  const [first, second, other] = of('webhook-id')
  t.equal(first, second)
  t.not(second, other)
  t.strictSame(of('webhook-timestamp').slice(0, 2), ['1764000000', '1764000060'])
  t.not(of('webhook-signature')[0], of('webhook-signature')[1])
})

t.test('each secret of a list signs, a text as its bytes', async t => {
  const text = 'a secret that is not base64'
  const { server, client } = await setUp(t, { secret: `${SECRET},${text}` })
  await client.send(message)
  const headers: Record<string, unknown> = server.received[0]?.headers ?? {}
  const body = server.received[0]?.body
  const of = (key: string) =>
    createHmac('sha256', key)
      .update(`${headers['webhook-id']}.${headers['webhook-timestamp']}.${body}`)
      .digest('base64')
  t.equal(headers['webhook-signature'], `v1,${of('0123456789abcdef0123456789abcdef')} v1,${of(text)}`)
})

t.test(
  'a receiver of Slack messages gets the escaped text, short and without mentions, with a signature or without',
  async t => {
    const { server, client } = await setUp(t, { format: 'slack', secret: undefined })
    await client.send({ ...message, text: `<!channel> @channel @everyone A & B ${'😀'.repeat(2_000)}` })
    const [request] = server.received
    const { text, ...others } = JSON.parse(request?.body ?? '')
    t.strictSame(others, {})
    t.ok(text.startsWith('&lt;!channel&gt; @\u200Bchannel @\u200Beveryone A &amp; B 😀'))
    t.ok(text.isWellFormed())
    t.ok(text.length < 2_050, `at most 2,000 characters and the escapes: ${text.length}`)
    t.equal(request?.headers['webhook-signature'], undefined)
    t.match(request?.headers['webhook-id'], /^msg_/)
  }
)

t.test('an answer other than a success is an error by its status; a redirect is not followed', async t => {
  const { server, client, ends } = await setUp(t)
  const answer = (status: number, headers: Record<string, string> = {}): Behaviour => ({
    kind: 'answer',
    status,
    headers
  })
  const soon = new Date(Date.now() + 90_000).toUTCString()
  const cases: [Behaviour, Partial<WebhookError>][] = [
    [answer(302, { location: `${server.url}/elsewhere` }), { code: 'WEBHOOK_REJECTED', status: 302 }],
    [answer(401), { code: 'WEBHOOK_REJECTED', status: 401, rejectsText: false }],
    [answer(404), { code: 'WEBHOOK_REJECTED', status: 404 }],
    [answer(410), { code: 'WEBHOOK_REJECTED', status: 410, rejectsText: false }],
    [answer(413), { code: 'WEBHOOK_REJECTED', status: 413, rejectsText: true }],
    [answer(408), { code: 'WEBHOOK_UNREACHABLE', status: 408 }],
    [answer(503, { 'retry-after': '120' }), { code: 'WEBHOOK_UNREACHABLE', status: 503, retryAfterMs: 120_000 }],
    [answer(429, { 'retry-after': '99999' }), { code: 'WEBHOOK_RATE_LIMITED', retryAfterMs: 3_600_000 }],
    [answer(429, { 'retry-after': 'soon' }), { code: 'WEBHOOK_RATE_LIMITED', retryAfterMs: undefined }]
  ]
  for (const [behaviour, expected] of cases) {
    server.queue(behaviour)
    const err = await client.send(message).catch((err: unknown) => err)
    t.hasStrict(err, expected)
  }
  server.queue(answer(429, { 'retry-after': soon }))
  const err: unknown = await client.send(message).catch((err: unknown) => err)
  const wait = err instanceof WebhookError ? (err.retryAfterMs ?? 0) : 0
  t.ok(wait > 80_000 && wait <= 91_000, `the date of Retry-After: ${wait}`)
  t.equal(server.received.length, cases.length + 1)
  t.equal(ends.filter(outcome => outcome === 'WEBHOOK_REJECTED').length, 5)
})

t.test('a call ends at its deadline and at an abort, and an answer without an end is a success', async t => {
  const timers = skippingTimers()
  const { server, client } = await setUp(t, { timers })
  server.queue({ kind: 'hang' })
  const late = t.rejects(client.send(message), { code: 'WEBHOOK_UNREACHABLE', message: /TIMEOUT/ })
  await server.receivedCount(1)
  timers.expire()
  await late
  t.strictSame(timers.deadlines, [10_000])
  server.queue({ kind: 'hang' })
  const abort = new AbortController()
  const call = client.send(message, { signal: abort.signal })
  await server.receivedCount(2)
  abort.abort()
  await t.rejects(call, { code: 'WEBHOOK_ABORTED' })
  server.queue({ kind: 'endless' }, { kind: 'cut', when: 'within' })
  await client.send(message)
  await client.send(message)
})

t.test('no error has the address or the secret', async t => {
  const { server, client } = await setUp(t)
  server.queue({ kind: 'answer', status: 404, body: 'path-secret' }, { kind: 'cut', when: 'before' })
  const errors: unknown[] = []
  for (let i = 0; i < 2; i++) await client.send(message).catch((err: unknown) => errors.push(err))
  const closed = new WebhookClient({
    url: 'http://127.0.0.1:1/path-secret?token=query-secret',
    format: 'json',
    secret: SECRET,
    service: 'test',
    dispatcher: new Agent()
  })
  await closed.send(message).catch((err: unknown) => errors.push(err))
  t.equal(errors.length, 3)
  for (const err of errors) {
    t.ok(err instanceof WebhookError)
    const { message, stack, cause } = err as Error
    t.notMatch(JSON.stringify([message, stack, { ...(err as Error) }]), /path-secret|query-secret|whsec/)
    t.equal(cause, undefined)
  }
})
