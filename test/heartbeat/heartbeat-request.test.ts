import t, { type Test } from 'tap'
import { Agent } from 'undici'
import { heartbeatRequest, sendHeartbeat } from '../../src/heartbeat/heartbeat-request.ts'
import { skippingTimers } from '../support/test-timers.ts'
import { startWebhookServer } from '../support/webhook-server.ts'

async function setUp(t: Test) {
  const server = await startWebhookServer()
  const dispatcher = new Agent()
  t.teardown(() => Promise.all([server.close(), dispatcher.destroy()]))
  const timers = skippingTimers()
  const abort = new AbortController()
  const send = (reason: string | null = null, url = `${server.url}/path-secret`) =>
    sendHeartbeat({ url, reason, dispatcher, signal: abort.signal, timers })
  return { server, timers, send, abort }
}

t.test('a failure goes to /fail below the path, with the reason as its body; the query remains', async t => {
  const url = 'https://hc-ping.com/ping-key/slug?create=1&a=%20b'
  t.strictSame(heartbeatRequest(url, null), { url, method: 'POST', body: 'OK' })
  t.strictSame(heartbeatRequest(url, 'jobs_overdue'), {
    url: 'https://hc-ping.com/ping-key/slug/fail?create=1&a=%20b',
    method: 'POST',
    body: 'jobs_overdue'
  })
  t.equal(heartbeatRequest('https://hc-ping.com/uuid/', 'no_runner').url, 'https://hc-ping.com/uuid/fail')
  t.equal(heartbeatRequest('https://hc-ping.com', 'no_runner').url, 'https://hc-ping.com/fail')
})

t.test('a push monitor of Uptime Kuma gets the state in its query', async t => {
  const push = 'https://kuma.example/base/api/push/token?status=up&msg=OK&ping='
  t.strictSame(heartbeatRequest(push, null), { url: push, method: 'GET' })
  t.strictSame(heartbeatRequest(push, 'books_unexplained'), {
    url: 'https://kuma.example/base/api/push/token?status=down&msg=books_unexplained&ping=',
    method: 'GET'
  })
  t.equal(
    heartbeatRequest('https://kuma.example/api/push/token', 'no_runner').url,
    'https://kuma.example/api/push/token?status=down&msg=no_runner'
  )
})

t.test('a request is repeated once when the receiver cannot be reached, and not after another answer', async t => {
  const { server, send, timers } = await setUp(t)
  server.queue({ kind: 'cut', when: 'before' })
  t.strictSame(await send(), { outcome: 'ok', status: 200 })
  server.queue({ kind: 'answer', status: 503 }, { kind: 'answer', status: 429 })
  t.strictSame(await send(), { outcome: 'unreachable', status: 429 })
  t.equal(server.received.length, 4)
  for (const status of [302, 404]) {
    server.queue({ kind: 'answer', status, headers: { location: `${server.url}/elsewhere` } })
    t.strictSame(await send('jobs_overdue'), { outcome: 'rejected', status })
  }
  t.equal(server.received.length, 6)
  t.hasStrict(server.received.at(-1), { method: 'POST', target: '/path-secret/fail', body: 'jobs_overdue' })
  t.strictSame(timers.waits, [2_000, 2_000])
})

t.test('a request ends at its deadline and at an abort', async t => {
  const { server, send, timers, abort } = await setUp(t)
  server.queue({ kind: 'hang' }, { kind: 'hang' }, { kind: 'hang' })
  const late = send()
  for (const count of [1, 2]) {
    await server.receivedCount(count)
    timers.expire()
  }
  t.strictSame(await late, { outcome: 'unreachable', reason: 'TIMEOUT' })
  t.strictSame(timers.deadlines, [10_000, 10_000])
  const aborted = send()
  await server.receivedCount(3)
  abort.abort()
  await t.rejects(aborted, { name: 'HttpCallError', message: 'ABORTED' })
})

t.test('no result has the address', async t => {
  const { send } = await setUp(t)
  t.strictSame(await send(null, 'http://127.0.0.1:1/path-secret'), { outcome: 'unreachable', reason: 'ECONNREFUSED' })
})
