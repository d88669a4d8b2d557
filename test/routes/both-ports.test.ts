// The main port and the probe port accept the same requests for probes.
import { once } from 'node:events'
import { Agent, type IncomingMessage, request } from 'node:http'
import { connect } from 'node:net'
import { text } from 'node:stream/consumers'
import fc from 'fast-check'
import t from 'tap'
import { probes } from '../../src/health/probes.ts'
import { startApp } from '../support/app.ts'

const RUNS = 300
const { url, probeUrl } = await startApp(t, { DATABASE_URL: 'postgres://nobody@127.0.0.1:1/none' })
const ports = [url, probeUrl].map(base => Number(new URL(base).port))
const agent = new Agent({ keepAlive: true, maxSockets: 1 })
t.teardown(() => agent.destroy())

/** The parts of an answer that a client distinguishes. The body of a probe has no code. */
async function answerOf(port: number, method: string, path: string, headers: Record<string, string> = {}) {
  const sent = request({ host: '127.0.0.1', port, method, path, headers, agent }).end()
  const [response]: [IncomingMessage] = (await once(sent, 'response')) as [IncomingMessage]
  const body = await text(response)
  const code = body && JSON.parse(body).code
  return { status: response.statusCode, allow: response.headers.allow, code, language: languageOf(body) }
}

function languageOf(body: string): string | undefined {
  const { error } = JSON.parse(body || '{}')
  return error && (/\p{Script=Hangul}/u.test(error) ? 'ko' : 'en')
}

const ok = { status: 200, allow: undefined, code: undefined, language: undefined }
const error = (status: number, code: string, allow?: string) => ({ status, allow, code, language: 'ko' })
const ALLOW = 'GET, HEAD, OPTIONS'

t.test('targets and methods have the same answer on both ports', async t => {
  const requests: [method: string, target: string, answer: object][] = [
    ['GET', '/health/live', ok],
    ['GET', '/health/live?', ok],
    ['GET', '/health/live?a=/b#c', ok],
    ['GET', '/health/live#c', ok],
    ['GET', '/%68ealth/%6Cive', ok],
    ['GET', 'http://service.example/health/live', ok],
    ['GET', 'HTTP://service.example:5001/health/live?a', ok],
    ['GET', 'https://[::1]:5001/health/live', ok],
    ['GET', 'http://service.example', error(404, 'NOT_FOUND')],
    ['GET', 'http:///health/live', error(400, 'BAD_REQUEST')],
    ['GET', 'http://a:b:c/health/live', error(400, 'BAD_REQUEST')],
    ['GET', 'ftp://service.example/health/live', error(404, 'NOT_FOUND')],
    ['GET', '/health%2Flive', error(404, 'NOT_FOUND')],
    ['GET', '//health/live', error(404, 'NOT_FOUND')],
    ['GET', '/health/live/', error(404, 'NOT_FOUND')],
    ['GET', '/health/', error(404, 'NOT_FOUND')],
    ['GET', '/api/system/health/', error(404, 'NOT_FOUND')],
    ['GET', '/HEALTH', error(404, 'NOT_FOUND')],
    ['GET', '/health/%zz', error(400, 'BAD_REQUEST')],
    ['OPTIONS', '*', error(404, 'NOT_FOUND')],
    ['OPTIONS', '/', error(404, 'NOT_FOUND')],
    ['PROPFIND', '/health', error(405, 'METHOD_NOT_ALLOWED', ALLOW)],
    ['TRACE', '/health', error(405, 'METHOD_NOT_ALLOWED', ALLOW)]
  ]
  for (const path of Object.keys(probes)) {
    requests.push(['OPTIONS', path, { ...ok, status: 204, allow: ALLOW, code: '' }])
    requests.push(['OPTIONS', `http://x${path}`, { ...ok, status: 204, allow: ALLOW, code: '' }])
    for (const method of ['POST', 'PUT', 'DELETE', 'PATCH']) {
      requests.push([method, path, error(405, 'METHOD_NOT_ALLOWED', ALLOW)])
    }
  }
  for (const [method, target, answer] of requests) {
    for (const [index, port] of ports.entries()) {
      const name = `${method} ${target} on the ${index === 0 ? 'main' : 'probe'} port`
      t.strictSame(await answerOf(port, method, target), answer, name)
    }
  }
  for (const port of ports) {
    const { language } = await answerOf(port, 'POST', '/health', { 'accept-language': 'en' })
    t.equal(language, 'en')
  }
})

t.test('generated targets have the same answer on both ports', async t => {
  const encoded = (path: string, index: number) => {
    const at = 1 + (index % (path.length - 1))
    return `${path.slice(0, at)}%${path.charCodeAt(at).toString(16)}${path.slice(at + 1)}`
  }
  const path = fc
    .tuple(fc.constantFrom(...Object.keys(probes)), fc.option(fc.nat(40)))
    .map(([path, index]) => (index === null ? path : encoded(path, index)))
  const target = fc
    .tuple(
      fc.constantFrom('', '', 'http://x', 'HTTPS://x:1', 'http://', 'http://[', '/', '.'),
      path,
      fc.constantFrom('', '', '/', '//', '?', '?a=%', '#', '#/', '/?', '%', '%2F', '%25', ';a', '/.', '/..', 'x')
    )
    .map(parts => parts.join(''))
  const method = fc.constantFrom('GET', 'OPTIONS', 'POST', 'LINK')
  const property = fc.asyncProperty(method, target, async (method, target) => {
    const [main, probe] = await Promise.all(ports.map(port => answerOf(port, method, target)))
    // The main port has other paths below /api/system/, which require a sign-in, malformed ones too.
    const malformed = probe?.status === 400 ? error(400, 'BAD_REQUEST') : error(404, 'NOT_FOUND')
    const unknown = main?.status === 401 ? malformed : main
    if (JSON.stringify(unknown) !== JSON.stringify(probe)) {
      throw new Error(`${JSON.stringify(main)} on the main port, ${JSON.stringify(probe)} on the probe port`)
    }
  })
  const result = await fc.check(property, { numRuns: RUNS })
  t.equal(result.failed ? fc.defaultReportMessage(result) : undefined, undefined)
})

t.test('a request that is not valid HTTP gets the error envelope on both ports', async t => {
  const requests: [name: string, bytes: string, status: number, code: string][] = [
    ['no HTTP', 'NONSENSE\r\n\r\n', 400, 'BAD_REQUEST'],
    ['an unknown method', 'FOO /health HTTP/1.1\r\nHost: x\r\n\r\n', 400, 'BAD_REQUEST'],
    ['no host', 'GET /health/live HTTP/1.1\r\nConnection: close\r\n\r\n', 400, 'BAD_REQUEST'],
    ['CONNECT', 'CONNECT x:1 HTTP/1.1\r\nHost: x\r\n\r\n', 400, 'BAD_REQUEST'],
    ['large headers', `GET / HTTP/1.1\r\nHost: ${'x'.repeat(20_000)}\r\n\r\n`, 431, 'HEADERS_TOO_LARGE']
  ]
  const raw = (port: number, bytes: string) =>
    text(
      connect(port, '127.0.0.1').on('connect', function (this: ReturnType<typeof connect>) {
        this.write(bytes)
      })
    )
  for (const [name, bytes, status, code] of requests) {
    for (const port of ports) {
      const [head = '', body = ''] = (await raw(port, bytes)).split('\r\n\r\n')
      t.equal(head.slice(0, 13), `HTTP/1.1 ${status} `, name)
      t.hasStrict(JSON.parse(body), { success: false, code }, name)
    }
  }
  for (const [name, bytes] of [
    ['HTTP/1.0 without a host', 'GET /health/live HTTP/1.0\r\n\r\n'],
    ['an unknown expectation', 'GET /health/live HTTP/1.1\r\nHost: x\r\nExpect: x\r\nConnection: close\r\n\r\n']
  ] as const) {
    for (const port of ports) t.equal((await raw(port, bytes)).slice(0, 13), 'HTTP/1.1 200 ', name)
  }
})
