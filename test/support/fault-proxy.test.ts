import { once } from 'node:events'
import { connect, createServer, type Socket } from 'node:net'
import postgres from 'postgres'
import t, { type Test } from 'tap'
import { errorCode } from '../../src/database/error-code.ts'
import { type FaultProxy, startFaultProxy } from './fault-proxy.ts'
import { startTestPostgres } from './postgres.ts'
import { settled } from './settled.ts'

/** One end of a connection, with all received bytes and the way in which it ended. */
interface End {
  socket: Socket
  text(): string
  /** Resolves when `bytes` bytes have been received. */
  received(bytes: number): Promise<void>
  /** Resolves with `FIN`, or the code of the error. */
  ended: Promise<string>
}

function endOf(t: Test, socket: Socket): End {
  const chunks: Buffer[] = []
  const text = () => Buffer.concat(chunks).toString()
  socket.on('data', chunk => chunks.push(chunk))
  t.teardown(() => socket.destroy())
  return {
    socket,
    text,
    async received(bytes) {
      while (Buffer.concat(chunks).length < bytes) await once(socket, 'data')
    },
    ended: new Promise(resolve => {
      socket.once('end', () => resolve('FIN')).once('error', err => resolve(errorCode(err) ?? err.message))
    })
  }
}

/** A proxy in front of a server of this test, which sends nothing on its own. */
async function startPair(t: Test) {
  const accepted: End[] = []
  const listener = createServer(socket => accepted.push(endOf(t, socket))).listen(0, '127.0.0.1')
  await once(listener, 'listening')
  t.teardown(() => listener.close())
  const address = listener.address()
  if (typeof address !== 'object' || !address) throw new Error('no address')
  const proxy = await startFaultProxy(t, { host: '127.0.0.1', port: address.port })

  /** Connects through the proxy and waits until the server has accepted. */
  async function open(): Promise<{ client: End; server: End }> {
    const number = accepted.length
    const client = await openClient(t, proxy)
    while (accepted.length === number) await once(listener, 'connection')
    const server = accepted[number]
    if (!server) throw new Error('no connection')
    return { client, server }
  }
  return { proxy, open, accepted }
}

async function openClient(t: Test, proxy: FaultProxy): Promise<End> {
  const socket = connect(proxy.port, '127.0.0.1')
  const client = endOf(t, socket)
  await once(socket, 'connect')
  return client
}

t.test('bytes and the end of a connection pass in both directions, and are counted', async t => {
  const { proxy, open } = await startPair(t)
  const { client, server } = await open()
  client.socket.write('question')
  await server.received(8)
  server.socket.write('an answer')
  await client.received(9)
  t.equal(server.text(), 'question')
  t.equal(client.text(), 'an answer')
  t.strictSame(await proxy.stats(), { open: 1, connections: [{ toClient: 9, toServer: 8, open: true }] })

  client.socket.end()
  t.equal(await server.ended, 'FIN')
  t.equal(await client.ended, 'FIN')
  const second = await open()
  t.strictSame(await proxy.stats(), {
    open: 1,
    connections: [
      { toClient: 9, toServer: 8, open: false },
      { toClient: 0, toServer: 0, open: true }
    ]
  })
  second.server.socket.resetAndDestroy()
  t.equal(await second.client.ended, 'ECONNRESET')
})

t.test('a server that does not accept resets the client', async t => {
  const proxy = await startFaultProxy(t, { path: '/nonexistent/socket' })
  // The reset may arrive before the client's connect event.
  const client = endOf(t, connect(proxy.port, '127.0.0.1'))
  t.equal(await client.ended, 'ECONNRESET')
})

t.test('a delay is applied in each direction, and to the set-up of a connection', async t => {
  const { proxy, open } = await startPair(t)
  await proxy.setConditions({ delayMs: 40 })
  const beganMs = performance.now()
  const opening = open()
  const { client, server } = await opening
  client.socket.write('1')
  await server.received(1)
  const firstMs = performance.now() - beganMs
  t.ok(firstMs >= 119, `the first byte arrives after a handshake and one way: ${firstMs} ms`)

  const sentMs = performance.now()
  client.socket.write('2')
  await server.received(2)
  server.socket.write('3')
  await client.received(1)
  const tookMs = performance.now() - sentMs
  t.ok(tookMs >= 79, `a round trip takes two delays: ${tookMs} ms`)
})

t.test('jitter and changed conditions preserve the order of bytes', async t => {
  const { proxy, open } = await startPair(t)
  const { client, server } = await open()
  let sent = ''
  for (const conditions of [{ delayMs: 30, jitterMs: 20 }, { jitterMs: 5 }, {}]) {
    await proxy.setConditions(conditions)
    for (let i = 0; i < 50; i++) {
      const piece = `${i};`
      sent += piece
      client.socket.write(piece)
      // Each piece is a separate packet.
      await new Promise(setImmediate)
    }
  }
  await server.received(sent.length)
  t.equal(server.text(), sent)
})

t.test('a bandwidth limits the throughput', async t => {
  const { proxy, open } = await startPair(t)
  const { client, server } = await open()
  await proxy.setConditions({ bytesPerSecond: 100_000 })
  const beganMs = performance.now()
  client.socket.write('x'.repeat(30_000))
  await server.received(30_000)
  const tookMs = performance.now() - beganMs
  t.ok(tookMs >= 299, `30,000 bytes at 100,000 a second took ${tookMs} ms`)
})

t.test('large data are unchanged', async t => {
  const { proxy, open } = await startPair(t)
  const { client, server } = await open()
  await proxy.setConditions({ delayMs: 1 })
  const sent = Buffer.alloc(8_000_000, 'the quick brown fox ')
  client.socket.write(sent)
  const chunks: Buffer[] = []
  let size = 0
  server.socket.on('data', chunk => {
    chunks.push(chunk)
    size += chunk.length
  })
  while (size < sent.length) await once(server.socket, 'data')
  t.ok(Buffer.concat(chunks).equals(sent))
})

t.test('a reset is sent to both sides of all connections, or of the newest', async t => {
  const { proxy, open } = await startPair(t)
  const [first, second, third] = [await open(), await open(), await open()]
  t.equal(await proxy.reset('newest'), 1)
  t.equal(await third.client.ended, 'ECONNRESET')
  t.equal(await third.server.ended, 'ECONNRESET')
  t.strictSame(
    (await proxy.stats()).connections.map(({ open }) => open),
    [true, true, false]
  )
  t.equal(await proxy.reset(), 2)
  for (const { client, server } of [first, second]) {
    t.equal(await client.ended, 'ECONNRESET')
    t.equal(await server.ended, 'ECONNRESET')
  }
  t.equal(await proxy.reset(), 0)
})

t.test('a half-open connection ends at the server, and the client receives nothing', async t => {
  const { proxy, open } = await startPair(t)
  const halved = await open()
  let signs = 0
  for (const event of ['data', 'end', 'error', 'close']) halved.client.socket.on(event, () => signs++)
  t.equal(await proxy.halfOpen(), 1)
  t.equal(await halved.server.ended, 'FIN')
  await new Promise(resolve => halved.client.socket.write('lost', resolve))

  const whole = await open()
  whole.client.socket.write('kept')
  await whole.server.received(4)
  t.equal(signs, 0)
  t.strictSame((await proxy.stats()).connections, [
    { toClient: 0, toServer: 0, open: true },
    { toClient: 0, toServer: 4, open: true }
  ])
  halved.client.socket.end()
  t.equal(await halved.client.ended, 'FIN')
})

t.test('a black hole accepts connections and delivers nothing until it ends', async t => {
  const { proxy, open, accepted } = await startPair(t)
  const { client, server } = await open()
  await proxy.blackHole(true)
  await new Promise(resolve => client.socket.write('late', resolve))
  await new Promise(resolve => server.socket.write('later', resolve))
  const late = await openClient(t, proxy)
  await new Promise(resolve => late.socket.write('new', resolve))
  await until(async () => (await proxy.stats()).connections.length === 2)
  t.strictSame(await proxy.stats(), {
    open: 2,
    connections: [
      { toClient: 0, toServer: 0, open: true },
      { toClient: 0, toServer: 0, open: true }
    ]
  })
  t.equal(accepted.length, 1, 'the server sees no new connection')

  await proxy.blackHole(false)
  await server.received(4)
  await client.received(5)
  await until(async () => accepted.length === 2)
  await accepted[1]?.received(3)
  t.equal(accepted[1]?.text(), 'new')
})

t.test('the end of a connection is not delivered during a black hole', async t => {
  const { proxy, open } = await startPair(t)
  const { client, server } = await open()
  await proxy.blackHole(true)
  client.socket.end('last')
  await until(async () => (await proxy.stats()).open === 0)
  t.equal(server.socket.readableEnded, false)
  await proxy.blackHole(false)
  t.equal(await server.ended, 'FIN')
  t.equal(server.text(), 'last')
})

t.test('connections can stay silent after a black hole that lost their data', async t => {
  const { proxy, open } = await startPair(t)
  const lost = await open()
  const idle = await open()
  await proxy.blackHole(true)
  lost.client.socket.end('lost')
  await until(async () => (await proxy.stats()).open === 1)
  await proxy.blackHole(false, { forget: true })

  idle.client.socket.write('kept')
  await idle.server.received(4)
  t.equal(idle.server.text(), 'kept')
  t.equal(lost.server.text(), '')
  t.equal(lost.server.socket.readableEnded, false)
})

t.test('new connections can be refused temporarily, and are accepted on the same port afterwards', async t => {
  const { proxy, open } = await startPair(t)
  const { client, server } = await open()
  await proxy.refuse(true)
  await proxy.refuse(true)
  await t.rejects(openClient(t, proxy), { code: 'ECONNREFUSED' })
  client.socket.write('still open')
  await server.received(10)
  await proxy.refuse(false)
  await proxy.refuse(false)
  await open()
})

for (const how of ['reset', 'end'] as const) {
  const sign = how === 'reset' ? 'ECONNRESET' : 'FIN'
  t.test(`a cut by ${how} delivers exactly the bytes before it`, async t => {
    const { proxy, open } = await startPair(t)
    await proxy.cutAfter({ bytes: 7, direction: 'to_client', how })
    const answers = await open()
    answers.server.socket.write('12345')
    answers.server.socket.write('6789')
    t.equal(await answers.client.ended, sign)
    t.equal(await answers.server.ended, sign)
    t.equal(answers.client.text(), '1234567')

    const whole = await open()
    whole.server.socket.write('123456789')
    await whole.client.received(9)

    await proxy.cutAfter({ bytes: 3, direction: 'to_server', connections: 'present', how })
    whole.client.socket.write('12345')
    t.equal(await whole.server.ended, sign)
    t.equal(await whole.client.ended, sign)
    t.equal(whole.server.text(), '123')
    const { connections } = await proxy.stats()
    t.strictSame(connections, [
      { toClient: 7, toServer: 0, open: false },
      { toClient: 9, toServer: 3, open: false }
    ])
  })
}

t.test('a cut before the first byte ends the connection when it is accepted', async t => {
  const { proxy } = await startPair(t)
  await proxy.cutAfter({ bytes: 0, direction: 'to_client' })
  // The reset may arrive before the client's connect event.
  const client = endOf(t, connect(proxy.port, '127.0.0.1'))
  t.equal(await client.ended, 'ECONNRESET')
})

t.test('a cut of all connections applies to each that follows, until it is disarmed', async t => {
  const { proxy, open } = await startPair(t)
  const before = await open()
  await proxy.cutAfter({ bytes: 2, direction: 'to_server', connections: 'all' })
  for (let i = 0; i < 2; i++) {
    const { client, server } = await open()
    client.socket.write('1234')
    t.equal(await client.ended, 'ECONNRESET')
    t.equal(server.text(), '12')
  }
  const armed = await open()
  await proxy.disarm()
  for (const { client, server } of [before, armed, await open()]) {
    client.socket.write('1234')
    await server.received(4)
  }
})

t.test('commands fail when the proxy is closed', async t => {
  const { proxy, open } = await startPair(t)
  const { client } = await open()
  await proxy.close()
  await proxy.close()
  await client.ended
  await t.rejects(proxy.stats(), { message: 'the fault proxy has ended' })
})

t.test('TLS and SCRAM work through the proxy, with a delay, and can be cut at any byte', async t => {
  const server = await startTestPostgres(t, { tls: true })
  const { port } = new URL(server.url)
  const proxy = await startFaultProxy(t, { host: '127.0.0.1', port: Number(port) })
  const url = proxy.url(server.url)
  t.equal(new URL(url).search, '?sslmode=require')
  const ask = async () => {
    const sql = postgres(url, { max: 1, connect_timeout: 60, fetch_types: false })
    try {
      return (await sql`select ssl from pg_stat_ssl where pid = pg_backend_pid()`).map(({ ssl }) => ssl)
    } finally {
      await sql.end({ timeout: 0 })
    }
  }
  await proxy.setConditions({ delayMs: 5 })
  t.strictSame(await ask(), [true])
  const [conversation] = (await proxy.stats()).connections
  if (!conversation) throw new Error('no connection')
  t.ok(conversation.toClient > 1_000, `the certificate is among the ${conversation.toClient} bytes`)

  for (const bytes of [0, 1, 500, conversation.toClient - 100]) {
    await proxy.cutAfter({ bytes, direction: 'to_client' })
    const { error } = await settled(ask())
    t.ok(error instanceof Error, `cut after ${bytes} bytes`)
  }
  t.strictSame(await ask(), [true])
  const { connections } = await proxy.stats()
  t.strictSame(
    connections.slice(1, 5).map(({ toClient }) => toClient),
    [0, 1, 500, conversation.toClient - 100]
  )
})

async function until(condition: () => Promise<boolean>): Promise<void> {
  while (!(await condition())) await new Promise(resolve => setTimeout(resolve, 1))
}
