import { once } from 'node:events'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import { connect, type Socket } from 'node:net'
import t, { type Test } from 'tap'
import { ConnectionCounts } from '../../src/connections/connection-counts.ts'
import { HttpConnections, requestDeadlines } from '../../src/connections/http-connections.ts'
import { answerClientError } from '../../src/protocol-errors.ts'
import { manualTimers } from '../support/test-timers.ts'

const HOST = '127.0.0.1'
const GET = 'GET / HTTP/1.1\r\nHost: x\r\n\r\n'
const HALF = 'GET / HTTP/1.1\r\nHos'
const BODY = 'POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{'
/** More than the kernel buffers for a client that does not read. */
const LARGE = Buffer.alloc(16 * 1024 * 1024)

interface Exchange {
  request: IncomingMessage
  response: ServerResponse
}

/** A server with a small maximum, whose clock advances only by `timers.advance`. */
async function serve(t: Test, { max = 2, hosts = [HOST] }: { max?: number; hosts?: string[] } = {}) {
  const timers = manualTimers()
  const counts = new ConnectionCounts()
  const full: number[] = []
  const connections = new HttpConnections({
    max,
    counts: counts.writer('main'),
    onFull: () => void full.push(timers.now()),
    timers
  })
  const accepted: Socket[] = []
  const exchanges: Exchange[] = []
  const server = createServer(requestDeadlines(30_000), (request, response) => {
    exchanges.push({ request, response })
    if (request.url === '/now') response.end('now')
    if (request.url === '/large') response.end(LARGE)
  })
  connections.attach(server)
  connections.attach(server)
  server.on('clientError', answerClientError)
  server.on('connection', socket => accepted.push(socket))
  await once(server.listen({ host: hosts.length > 1 ? '0.0.0.0' : HOST, port: 0 }), 'listening')
  const address = server.address()
  const port = typeof address === 'object' && address ? address.port : 0
  const closed = once(server, 'close')
  t.teardown(async () => {
    server.close()
    connections.destroy()
    await closed
  })

  /** Opens a connection, sends a text, and waits until the server has read it. */
  async function open(text = '', localAddress = HOST): Promise<Client> {
    const count = accepted.length
    const socket = connect({ host: localAddress, port, localAddress, allowHalfOpen: true })
    const client: Client = { socket, closed: false, text: '' }
    socket.on('error', () => undefined)
    socket.on('data', chunk => {
      client.text += chunk
    })
    for (const event of ['end', 'close'])
      socket.once(event, () => {
        client.closed = true
      })
    t.teardown(() => socket.destroy())
    await until(() => accepted.length > count || client.closed)
    if (text !== '') await send(client, text)
    return client
  }

  async function send(client: Client, text: string): Promise<void> {
    const own = accepted.find(({ remotePort }) => remotePort === client.socket.localPort)
    const before = own?.bytesRead ?? 0
    client.socket.write(text)
    await until(() => own === undefined || own.destroyed || own.bytesRead >= before + text.length)
  }

  const closedCounts = () => counts.read('main').closed
  const size = () => counts.read('main').open
  return { server, connections, timers, exchanges, full, open, send, counts: closedCounts, size, closed }
}

interface Client {
  socket: Socket
  /** Whether the server has closed it. */
  closed: boolean
  /** The received text. */
  text: string
}

async function until(holds: () => boolean): Promise<void> {
  while (!holds()) await new Promise(resolve => setTimeout(resolve, 1))
}

t.test('the deadlines are checked every second', async t => {
  t.strictSame(requestDeadlines(30_000), {
    connectionsCheckingInterval: 1_000,
    headersTimeout: 10_000,
    requestTimeout: 30_000
  })
  t.equal(requestDeadlines(5_000).headersTimeout, 5_000)
})

t.test('the closing of a connection is counted before the client can see it', async t => {
  const { server, open, counts } = await serve(t, { max: 1 })
  const countsAtEnd: object[] = []
  server.on('connection', (socket: Socket) => {
    const { destroy } = socket
    socket.destroy = (...args) => {
      countsAtEnd.push(counts())
      return destroy.apply(socket, args)
    }
  })
  const first = await open()
  await open()
  await until(() => first.closed)
  t.strictSame(countsAtEnd[0], { evicted: 1, refused: 0, unread: 0 })
})

t.test('at the maximum the oldest idle connection is closed in favour of a new one', async t => {
  const { timers, open, counts, full, size } = await serve(t)
  const silent = await open()
  const used = await open('GET /now HTTP/1.1\r\nHost: x\r\n\r\n')
  await until(() => used.text.endsWith('now'))
  timers.advance(1_000)
  const third = await open()
  await until(() => silent.closed)
  t.strictSame([used.closed, third.closed], [false, false])
  await open()
  await until(() => used.closed)
  t.equal(size(), 2)
  t.strictSame(counts(), { evicted: 2, refused: 0, unread: 0 })
  t.strictSame(full, [1_000], 'reported once')
  timers.advance(60_000)
  await open()
  t.strictSame(full, [1_000, 61_000], 'reported again after a minute')
})

t.test('idle connections are closed first, then half-sent headers, then half-sent bodies, never an answer', async t => {
  const { timers, exchanges, open, counts } = await serve(t, { max: 4 })
  const answered = await open(GET)
  const body = await open(BODY)
  const half = await open(HALF)
  const idle = await open()
  await until(() => exchanges.length === 2)
  const attackers = [answered, body, half, idle]
  timers.advance(1_000)
  for (const [i, expected] of [idle, half, body].entries()) {
    const next = await open(GET)
    await until(() => expected.closed)
    t.strictSame(
      attackers.filter(({ closed }) => closed),
      attackers.slice(attackers.indexOf(expected)),
      'the others are open'
    )
    await until(() => exchanges.length === 3 + i)
    t.notOk(next.closed)
  }
  const refused = await open()
  await until(() => refused.closed)
  t.strictSame(counts(), { evicted: 3, refused: 1, unread: 0 })
  exchanges[0]?.response.end('done')
  await until(() => answered.text.endsWith('done'))
})

t.test('a new connection is not closed while an older one has sent a part of a request', async t => {
  const { timers, open } = await serve(t)
  const half = await open(HALF)
  timers.advance(1_000)
  const fresh = await open()
  const next = await open()
  await until(() => half.closed)
  t.strictSame([fresh.closed, next.closed], [false, false])
  const last = await open()
  await until(() => fresh.closed)
  t.strictSame([next.closed, last.closed], [false, false], 'if all are new, the oldest is closed')
})

t.test('the connections of the network that has the most are closed first', async t => {
  const { timers, open } = await serve(t, { max: 4, hosts: ['127.0.0.1', '127.0.0.2'] })
  const other = await open('', '127.0.0.2')
  timers.advance(5_000)
  const hostile = [await open(HALF), await open(HALF), await open(HALF)]
  timers.advance(1_000)
  for (const expected of hostile) {
    const next = await open(HALF)
    timers.advance(1_000)
    await until(() => expected.closed)
    t.strictSame([other.closed, next.closed], [false, false])
  }
})

t.test('a network whose connections are all answered does not protect those of others', async t => {
  const { exchanges, timers, open } = await serve(t, { max: 3, hosts: ['127.0.0.1', '127.0.0.2'] })
  const answered = [await open(GET), await open(GET)]
  const other = await open('', '127.0.0.2')
  await until(() => exchanges.length === 2)
  timers.advance(1_000)
  const next = await open()
  await until(() => other.closed)
  t.strictSame(
    [...answered, next].map(({ closed }) => closed),
    [false, false, false]
  )
})

t.test('a protected request is not closed while its body is sent', async t => {
  const { connections, exchanges, timers, open } = await serve(t, { max: 1 })
  const upload = await open(BODY)
  await until(() => exchanges.length === 1)
  const [exchange] = exchanges
  if (exchange) connections.protect(exchange.request)
  timers.advance(60_000)
  const refused = await open()
  await until(() => refused.closed)
  t.notOk(upload.closed)
})

t.test('a request whose body is complete is not closed', async t => {
  const { exchanges, timers, open, send } = await serve(t, { max: 1 })
  const upload = await open(BODY)
  await until(() => exchanges.length === 1)
  exchanges[0]?.request.resume()
  await send(upload, '}'.repeat(99))
  await until(() => exchanges[0]?.request.complete === true)
  timers.advance(60_000)
  const refused = await open()
  await until(() => refused.closed)
  t.notOk(upload.closed)
})

t.test('after an upload the connection is idle, until a part of the next request comes', async t => {
  const { exchanges, timers, open, send } = await serve(t, { max: 2 })
  const upload = await open(BODY)
  await until(() => exchanges.length === 1)
  exchanges[0]?.request.resume()
  await send(upload, '}'.repeat(99))
  await until(() => exchanges[0]?.request.complete === true)
  exchanges[0]?.response.end('stored')
  await until(() => upload.text.endsWith('stored'))
  timers.advance(1_000)
  const half = await open(HALF)
  timers.advance(1_000)
  const third = await open()
  await until(() => upload.closed)
  t.strictSame([half.closed, third.closed], [false, false])
  const next = await open('GET /now HTTP/1.1\r\nHost: x\r\n\r\n')
  await until(() => half.closed && next.text.endsWith('now'))
  await send(next, HALF)
  timers.advance(1_000)
  const last = await open()
  await until(() => third.closed)
  t.strictSame([next.closed, last.closed], [false, false], 'an older one that sent nothing is closed first')
})

t.test('with pipelining the connection is in use until the last answer has ended', async t => {
  const { exchanges, timers, open } = await serve(t, { max: 1 })
  const client = await open(GET + GET)
  await until(() => exchanges.length === 2)
  exchanges[0]?.response.end('first')
  await until(() => client.text.endsWith('first'))
  timers.advance(1_000)
  const refused = await open()
  await until(() => refused.closed)
  exchanges[1]?.response.end('second')
  await until(() => client.text.endsWith('second'))
  t.notOk(client.closed)
  timers.advance(1_000)
  await open()
  await until(() => client.closed)
})

t.test('an answer that is not read protects its connection for five seconds', async t => {
  const { exchanges, timers, open, counts } = await serve(t, { max: 1 })
  const client = await open()
  client.socket.pause()
  client.socket.write('GET /large HTTP/1.1\r\nHost: x\r\n\r\n')
  await until(() => (exchanges[0]?.request.socket.writableLength ?? 0) > 0)
  timers.advance(5_000)
  const refused = await open()
  await until(() => refused.closed)
  timers.advance(1_000)
  await open()
  t.ok(exchanges[0]?.request.socket.destroyed)
  t.strictSame(counts(), { evicted: 1, refused: 1, unread: 0 })
})

t.test('an answer that is not read for a minute is ended, and one without an end that is read is not', async t => {
  const { exchanges, timers, open, counts } = await serve(t, { max: 4 })
  const stream = await open(GET)
  const unread = await open()
  unread.socket.pause()
  unread.socket.write('GET /large HTTP/1.1\r\nHost: x\r\n\r\n')
  await until(() => (exchanges[1]?.request.socket.writableLength ?? 0) > 0)
  exchanges[0]?.response.write('event')
  await until(() => stream.text.includes('event'))
  timers.advance(60_000)
  t.notOk(exchanges[1]?.request.socket.destroyed)
  timers.advance(1_000)
  t.ok(exchanges[1]?.request.socket.destroyed)
  t.notOk(exchanges[0]?.request.socket.destroyed)
  t.strictSame(counts(), { evicted: 0, refused: 0, unread: 1 })
})

t.test('a connection that the service has ended does not wait for its client', async t => {
  const { timers, open, size } = await serve(t)
  const client = await open('nonsense\r\n\r\n')
  await until(() => client.text.includes('400 Bad Request'))
  t.equal(size(), 1, 'the client keeps it open')
  timers.advance(1_000)
  t.equal(size(), 1)
  timers.advance(1_000)
  t.equal(size(), 0)
})

t.test('a closing port ends idle connections at once, and half-sent requests after half a second', async t => {
  const { server, connections, exchanges, timers, open, closed, size } = await serve(t, { max: 10 })
  const idle = [await open(), await open()]
  const incomplete = [await open(HALF), await open(BODY), await open(BODY)]
  const answered = await open(GET)
  await until(() => exchanges.length === 3)
  const upload = exchanges[1]
  if (upload) connections.protect(upload.request)
  server.close()
  connections.close()
  connections.close()
  await until(() => idle.every(({ closed }) => closed))
  timers.advance(450)
  t.equal(size(), 4, 'a request that is being received may be completed')
  timers.advance(50)
  await until(() => incomplete.every(({ closed }) => closed))
  timers.advance(60_000)
  t.notOk(answered.closed, 'the port waits for a request that is being answered')
  exchanges.find(({ request }) => request.complete)?.response.end('done')
  await until(() => answered.text.endsWith('done'))
  timers.advance(50)
  await closed
  t.equal(timers.pending(), 0, 'no timer is left')
})

t.test('a closing port ends answers that are not read, or have no end, after half a second', async t => {
  const { server, connections, exchanges, timers, open, closed, size } = await serve(t, { max: 10 })
  const stream = await open(GET)
  exchanges[0]?.response.write('event')
  await until(() => stream.text.includes('event'))
  const unread = await open()
  unread.socket.pause()
  unread.socket.write('GET /large HTTP/1.1\r\nHost: x\r\n\r\n')
  await until(() => (exchanges[1]?.request.socket.writableLength ?? 0) > 0)
  server.close()
  connections.close()
  timers.advance(450)
  t.equal(size(), 2)
  timers.advance(50)
  await closed
  await until(() => stream.closed)
})

t.test('the connections of several servers have one maximum', async t => {
  const { connections, timers, open, size } = await serve(t, { max: 1 })
  const second = createServer()
  connections.attach(second)
  await once(second.listen({ host: HOST, port: 0 }), 'listening')
  const address = second.address()
  const client = await open()
  timers.advance(1_000)
  const other = connect({ host: HOST, port: typeof address === 'object' && address ? address.port : 0 })
  t.teardown(() => {
    other.destroy()
    second.close()
  })
  await until(() => client.closed)
  t.equal(size(), 1)
})
