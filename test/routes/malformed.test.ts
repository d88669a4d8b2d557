// Malformed requests, which reach no route, get the headers and the envelope of all other errors, on every port.
import { once } from 'node:events'
import { connect } from 'node:net'
import { text } from 'node:stream/consumers'
import t from 'tap'
import { captureLog, startApp } from '../support/app.ts'
import { freePort } from '../support/free-port.ts'

const METRICS_PORT = String(await freePort())
const log = captureLog()
const { url, probeUrl } = await startApp(
  t,
  { DATABASE_URL: 'postgres://nobody@127.0.0.1:1/none', METRICS_PORT },
  { logger: log.logger }
)
const ports = new Map([
  ['main', Number(new URL(url).port)],
  ['probe', Number(new URL(probeUrl).port)],
  ['metrics', Number(METRICS_PORT)]
])

/** Sends bytes on a separate connection. @returns everything that the server sends until it closes the connection */
async function raw(port: number, ...packets: string[]): Promise<string> {
  const socket = connect(port, '127.0.0.1').setNoDelay()
  await once(socket, 'connect')
  const received = text(socket)
  for (const packet of packets) {
    socket.write(packet, 'latin1')
    await new Promise(resolve => setImmediate(resolve))
  }
  return received
}

interface Answer {
  status: number
  headers: Record<string, string>
  body: string
}

function parsed(answer: string): Answer {
  const [head = '', ...rest] = answer.split('\r\n\r\n')
  const [line = '', ...lines] = head.split('\r\n')
  const headers = Object.fromEntries(
    lines.map(header => {
      const [name = '', ...value] = header.split(': ')
      return [name.toLowerCase(), value.join(': ')]
    })
  )
  return { status: Number(line.split(' ')[1]), headers, body: rest.join('\r\n\r\n') }
}

/** The headers that differ between answers. */
const OWN = ['date', 'request-id', 'content-length', 'connection', 'keep-alive', 'allow', 'www-authenticate']

function shared({ headers }: Answer): Record<string, string> {
  return Object.fromEntries(
    Object.entries(headers)
      .filter(([name]) => !OWN.includes(name))
      .sort()
  )
}

const CLOSE = 'Host: x\r\nConnection: close\r\n'
const usual = parsed(await raw(ports.get('main') ?? 0, `GET /api/system/nothing HTTP/1.1\r\n${CLOSE}\r\n`))

const malformed: [name: string, status: number, code: string, bytes: string][] = [
  ['no HTTP', 400, 'BAD_REQUEST', 'NONSENSE\r\n\r\n'],
  ['another version', 400, 'BAD_REQUEST', `GET /health/live HTTP/3.0\r\n${CLOSE}\r\n`],
  ['the preface of HTTP/2', 400, 'BAD_REQUEST', 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'],
  ['TLS', 400, 'BAD_REQUEST', '\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03'],
  ['an unknown method', 400, 'BAD_REQUEST', `FOO /health/live HTTP/1.1\r\n${CLOSE}\r\n`],
  ['no host', 400, 'BAD_REQUEST', 'GET /health/live HTTP/1.1\r\nConnection: close\r\n\r\n'],
  ['CONNECT', 400, 'BAD_REQUEST', `CONNECT x:1 HTTP/1.1\r\n${CLOSE}\r\n`],
  ['a header without a colon', 400, 'BAD_REQUEST', `GET /health/live HTTP/1.1\r\nbad\r\n${CLOSE}\r\n`],
  ['a space before the colon', 400, 'BAD_REQUEST', `GET /health/live HTTP/1.1\r\na : b\r\n${CLOSE}\r\n`],
  ['a control character', 400, 'BAD_REQUEST', `GET /health/live HTTP/1.1\r\na: \x01\r\n${CLOSE}\r\n`],
  ['a target with a space', 400, 'BAD_REQUEST', `GET /health /live HTTP/1.1\r\n${CLOSE}\r\n`],
  ['two lengths', 400, 'BAD_REQUEST', `POST / HTTP/1.1\r\n${CLOSE}Content-Length: 1\r\nContent-Length: 2\r\n\r\n`],
  ['a length that is no number', 400, 'BAD_REQUEST', `POST / HTTP/1.1\r\n${CLOSE}Content-Length: x\r\n\r\n`],
  [
    'a length and chunks',
    400,
    'BAD_REQUEST',
    `POST / HTTP/1.1\r\n${CLOSE}Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n`
  ],
  ['large headers', 431, 'HEADERS_TOO_LARGE', `GET / HTTP/1.1\r\n${CLOSE}a: ${'x'.repeat(20_000)}\r\n\r\n`],
  ['a large target', 431, 'HEADERS_TOO_LARGE', `GET /${'x'.repeat(20_000)} HTTP/1.1\r\n${CLOSE}\r\n`],
  ['a malformed path', 400, 'BAD_REQUEST', `GET /health/%zz HTTP/1.1\r\n${CLOSE}\r\n`],
  ['an unknown path', 404, 'NOT_FOUND', `GET /nothing HTTP/1.1\r\n${CLOSE}\r\n`]
]

t.test('the usual headers are those of @fastify/helmet, no caching, and the id', async t => {
  t.equal(usual.status, 401)
  t.equal(Object.keys(shared(usual)).length, 14)
  t.hasStrict(usual.headers, { 'x-content-type-options': 'nosniff', 'cache-control': 'no-store' })
})

t.test('every malformed request gets these headers and the envelope, on every port', async t => {
  const ids = new Set<string>()
  for (const [name, status, code, bytes] of malformed) {
    for (const [port, number] of ports) {
      const answer = parsed(await raw(number, bytes))
      t.equal(answer.status, status, `${name} on the ${port} port`)
      t.strictSame(shared(answer), shared(usual), `${name} on the ${port} port`)
      t.equal(Number(answer.headers['content-length']), Buffer.byteLength(answer.body), name)
      t.equal(answer.headers.connection, 'close', name)
      t.ok(Number.isFinite(Date.parse(answer.headers.date ?? '')), name)
      t.match(answer.headers['request-id'], /^[\w-]+-\w+$/, name)
      ids.add(answer.headers['request-id'] ?? '')
      t.hasStrict(JSON.parse(answer.body), { success: false, code }, name)
    }
  }
  t.equal(ids.size, malformed.length * ports.size, 'each has its own id')
})

t.test('HEAD has no body, and the language is that of the request', async t => {
  const requests: [name: string, bytes: string][] = [
    ['no host', 'HEAD /health/live HTTP/1.1\r\nConnection: close\r\n\r\n'],
    ['a bad header', 'HEAD /health/live HTTP/1.1\r\nbad\r\n\r\n'],
    ['large headers', `HEAD / HTTP/1.1\r\na: ${'x'.repeat(20_000)}\r\n\r\n`],
    ['a malformed path', `HEAD /health/%zz HTTP/1.1\r\n${CLOSE}\r\n`]
  ]
  for (const [name, bytes] of requests) {
    for (const [port, number] of ports) {
      const answer = parsed(await raw(number, bytes))
      t.ok(answer.status === 400 || answer.status === 431, `${name} on the ${port} port: ${answer.status}`)
      t.equal(answer.body, '', `${name} on the ${port} port`)
      t.strictSame(shared(answer), shared(usual), `${name} on the ${port} port`)
    }
  }
  for (const number of ports.values()) {
    const { body } = parsed(await raw(number, `GET / HTTP/1.1\r\nAccept-Language: en\r\nbad\r\n\r\n`))
    t.equal(JSON.parse(body).error, 'The request cannot be parsed')
  }
})

t.test('a malformed body gets one answer', async t => {
  const main = ports.get('main') ?? 0
  const post = (path: string) =>
    `POST ${path} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n`
  for (const packets of [
    [`${post('/api/auth/login')}zz\r\n`],
    [post('/api/auth/login'), 'zz\r\n'],
    [`${post('/api/auth/login')}1\r\n{`, 'zz\r\n']
  ]) {
    const answer = parsed(await raw(main, ...packets))
    t.equal(answer.status, 400)
    t.strictSame(shared(answer), shared(usual))
    t.hasStrict(JSON.parse(answer.body), { success: false, code: 'BAD_REQUEST' })
  }
  const statuses = async (first: string, next: string) => {
    const socket = connect(main, '127.0.0.1')
    const received: string[] = []
    socket.setEncoding('utf8').on('data', (part: unknown) => received.push(String(part)))
    socket.write(first)
    while (!received.join('').includes('UNAUTHENTICATED')) await once(socket, 'data')
    socket.end(next)
    await once(socket, 'close')
    const [, ...answers] = received.join('').split('HTTP/1.1 ')
    return answers.map(answer => answer.slice(0, 3))
  }
  const refused = post('/api/system/nothing')
  t.strictSame(await statuses(refused, 'zz\r\n'), ['401'], 'no second answer follows')
  t.strictSame(
    await statuses(`${refused}1\r\n{\r\n0\r\n\r\n`, `GET / HTTP/1.1\r\n${CLOSE}a: ${'x'.repeat(20_000)}\r\n\r\n`),
    ['401', '431'],
    'the next request has an answer of its own'
  )
  t.strictSame(
    log.lines.filter(({ level }) => Number(level) >= 50),
    [],
    'no request was a defect'
  )
})
