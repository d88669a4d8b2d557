import { connect } from 'node:net'
import { text } from 'node:stream/consumers'
import { Type } from '@sinclair/typebox'
import type { FastifyPluginAsync } from 'fastify'
import t from 'tap'
import { DatabaseUnavailableError } from '../../src/database/failure.ts'
import { ServiceError } from '../../src/errors.ts'
import { captureLog, startApp } from '../support/app.ts'
import { migratedDatabase } from '../support/migrated-database.ts'

const absent = 'postgres://nobody:hunter2@127.0.0.1:1/none'

const api: FastifyPluginAsync = async app => {
  const body = Type.Object(
    { name: Type.String({ maxLength: 5 }), kind: Type.Optional(Type.Union([Type.Literal('a'), Type.Literal('b')])) },
    { additionalProperties: false }
  )
  app.post('/test/body', { schema: { body } }, async () => ({ success: true }))
  app.post('/test/none', async ({ body }) => ({ success: true, body: body ?? null }))
  app.get('/test/throws', async () => {
    throw new Error('select * from secrets at host db.internal', { cause: new Error('hunter2') })
  })
  app.get('/test/no-database', async () => {
    throw new DatabaseUnavailableError('database_timeout', new Error('db.internal'))
  })
  app.get('/test/refused', async () => {
    throw new ServiceError('DATABASE_UNAVAILABLE')
  })
  app.get('/test/things/:id', async () => ({ success: true }))
  app.delete('/test/things/:id', async () => ({ success: true }))
}

async function started(t: Parameters<typeof startApp>[0]) {
  const log = captureLog()
  const { url } = await startApp(t, { DATABASE_URL: absent, PROBE_PORT: 'off' }, { api, logger: log.logger })
  const send = async (method: string, path: string, init: RequestInit = {}) => {
    const response = await fetch(url + path, { method, ...init })
    const answer = (await response.json()) as Record<string, unknown>
    return { status: response.status, headers: response.headers, answer }
  }
  return { url, send, log }
}
const json = { 'content-type': 'application/json', 'accept-language': 'en' }

t.test('every rejection has the envelope, its status, its code and a request id, and is not cached', async t => {
  const { send } = await started(t)
  const refusals: [method: string, path: string, init: RequestInit, status: number, code: string][] = [
    ['GET', '/nothing', {}, 404, 'NOT_FOUND'],
    ['GET', '/api/nothing', {}, 404, 'NOT_FOUND'],
    ['POST', '/health/ready', {}, 405, 'METHOD_NOT_ALLOWED'],
    ['PUT', '/test/things/7', {}, 405, 'METHOD_NOT_ALLOWED'],
    ['POST', '/test/body', { headers: { 'content-type': 'text/plain' }, body: '{}' }, 415, 'UNSUPPORTED_MEDIA_TYPE'],
    ['POST', '/test/body', { headers: json, body: '{' }, 400, 'MALFORMED_JSON'],
    ['POST', '/test/body', { headers: json, body: '{"__proto__":{"a":1}}' }, 400, 'MALFORMED_JSON'],
    ['POST', '/test/body', { headers: json, body: '' }, 400, 'VALIDATION_FAILED'],
    ['POST', '/test/body', { headers: json, body: '{}' }, 400, 'VALIDATION_FAILED'],
    ['POST', '/test/body', { headers: json, body: JSON.stringify('x'.repeat(70_000)) }, 413, 'PAYLOAD_TOO_LARGE'],
    ['GET', '/%zz', {}, 400, 'BAD_REQUEST'],
    ['GET', '/test/throws', {}, 500, 'INTERNAL_ERROR'],
    ['GET', '/test/no-database', {}, 503, 'DATABASE_UNAVAILABLE']
  ]
  for (const [method, path, init, status, code] of refusals) {
    const { headers, answer, ...got } = await send(method, path, init)
    t.equal(got.status, status, `${method} ${path}`)
    t.match(answer, { success: false, code, error: String }, `${method} ${path}`)
    t.equal(headers.get('cache-control'), 'no-store')
    t.ok(headers.get('request-id'))
  }
})

t.test('405 has the allowed methods', async t => {
  const { send } = await started(t)
  t.equal((await send('POST', '/health/ready')).headers.get('allow'), 'GET, HEAD, OPTIONS')
  t.equal((await send('PUT', '/test/things/7')).headers.get('allow'), 'DELETE, GET, HEAD, OPTIONS')
})

t.test('a validation error names the field and the rule, in the requested language', async t => {
  const { send } = await started(t)
  const details = async (body: unknown, language: string) =>
    (
      await send('POST', '/test/body', {
        headers: { ...json, 'accept-language': language },
        body: JSON.stringify(body)
      })
    ).answer.details
  t.strictSame(await details({}, 'en'), [{ field: '/body/name', rule: 'required', message: 'is required' }])
  t.strictSame(await details({ name: 'a', x: 1 }, 'en'), [
    { field: '/body/x', rule: 'additionalProperties', message: 'is not a known field' }
  ])
  t.strictSame(await details({ name: 1 }, 'en'), [
    { field: '/body/name', rule: 'type', message: 'must be of type string' }
  ])
  t.strictSame(await details({ name: 'too long' }, 'ko'), [
    { field: '/body/name', rule: 'maxLength', message: '5자 이하여야 합니다' }
  ])
})

t.test('a number is not accepted as a string', async t => {
  const { send } = await started(t)
  const { status } = await send('POST', '/test/body', { headers: json, body: '{"name":5}' })
  t.equal(status, 400)
})

t.test('a body with a field of the same name twice is rejected, at any depth and in any spelling', async t => {
  const { send } = await started(t)
  for (const body of [
    '{"name":"a","name":"b"}',
    '{"name":"a","name":"a"}',
    '{"name":"a","n\\u0061me":"b"}',
    '{"name":"a","kind":{"x":1,"x":2}}'
  ]) {
    for (const path of ['/test/body', '/test/none']) {
      const { status, answer } = await send('POST', path, { headers: json, body })
      t.equal(status, 400, body)
      t.strictSame(answer.details, [
        { field: '/body', rule: 'uniqueKeys', message: 'has a field of the same name twice' }
      ])
    }
  }
  const { answer } = await send('POST', '/test/body', { headers: json, body: '{"__proto__":1,"__proto__":2}' })
  t.equal(answer.code, 'MALFORMED_JSON')
  t.equal((await send('POST', '/test/body', { headers: json, body: '{"name":"a"}' })).status, 200)
})

t.test('a POST without a body is accepted, with and without a content type', async t => {
  const { send } = await started(t)
  t.hasStrict((await send('POST', '/test/none')).answer, { success: true, body: null })
  t.hasStrict((await send('POST', '/test/none', { headers: json, body: '' })).answer, { success: true, body: null })
})

t.test('the cause of an error is in the log with the request id, and in no answer', async t => {
  const { send, log } = await started(t)
  for (const path of ['/test/throws', '/test/no-database']) {
    const { answer, headers } = await send('GET', path)
    t.notMatch(JSON.stringify(answer), /secrets|internal|hunter2|stack/)
    const line = log.lines.find(({ request_id, err }) => err !== undefined && request_id === headers.get('request-id'))
    t.ok(line, 'logged with its id')
  }
})

t.test('a refusal because of the database is logged as a request without database, by whichever error', async t => {
  const { send, log } = await started(t)
  for (const path of ['/test/no-database', '/test/refused']) {
    log.lines.length = 0
    const { status, answer } = await send('GET', path)
    t.strictSame([status, answer.code], [503, 'DATABASE_UNAVAILABLE'], path)
    const reports = log.lines.filter(({ level, request_id }) => Number(level) >= 40 && request_id !== undefined)
    t.strictSame(
      reports.map(({ level, msg }) => ({ level, msg })),
      [{ level: 40, msg: 'request without database' }],
      path
    )
  }
})

t.test('the language is Korean unless English is requested', async t => {
  const { send } = await started(t)
  t.equal((await send('GET', '/nothing')).answer.error, '요청한 경로를 찾을 수 없습니다')
  const { answer } = await send('GET', '/nothing', { headers: { 'accept-language': 'en' } })
  t.equal(answer.error, 'There is no such path')
})

t.test('bytes that are not HTTP, and too large headers, are rejected with the envelope', async t => {
  const { url } = await started(t)
  const raw = async (bytes: string) => {
    const socket = connect(Number(new URL(url).port), '127.0.0.1')
    socket.write(bytes)
    return text(socket)
  }
  t.match(await raw('NONSENSE\r\n\r\n'), /^HTTP\/1\.1 400 [\s\S]*"code":"BAD_REQUEST"/)
  t.match(
    await raw(`GET / HTTP/1.1\r\nx: ${'y'.repeat(20_000)}\r\n\r\n`),
    /^HTTP\/1\.1 431 [\s\S]*"code":"HEADERS_TOO_LARGE"/
  )
})

t.test('one log line per request has the route, never the URL with its query', async t => {
  const { send, log } = await started(t)
  await send('GET', '/test/things/7?token=hunter2')
  const line = log.lines.find(({ msg }) => msg === 'request')
  t.match(line, { method: 'GET', route: '/test/things/:id', status: 200, duration_ms: Number })
  t.notMatch(log.text(), /hunter2/)
})

t.test('a deadlock at every repetition is answered with 503, not 500', async t => {
  const { url: databaseUrl } = await migratedDatabase(t)
  const conflicts: FastifyPluginAsync = async app => {
    app.get('/test/conflict', async () => {
      await app.db.transaction(tx => tx`do $$ begin raise exception using errcode = '40P01'; end $$`)
    })
  }
  const { url } = await startApp(t, { DATABASE_URL: databaseUrl, PROBE_PORT: 'off' }, { api: conflicts })
  const response = await fetch(`${url}/test/conflict`)
  const answer: unknown = await response.json()
  t.equal(response.status, 503)
  t.equal(response.headers.get('retry-after'), '5')
  t.equal(typeof answer === 'object' && answer !== null && 'code' in answer && answer.code, 'DATABASE_UNAVAILABLE')
})
