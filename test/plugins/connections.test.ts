import dns from 'node:dns'
import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import t, { type Test } from 'tap'
import { captureLog, startApp } from '../support/app.ts'

const environment = { DATABASE_URL: 'postgres://nobody@127.0.0.1:1/none', METRICS_PORT: '0', MAX_CONNECTIONS: '2' }

async function idle(t: Test, url: string): Promise<Socket> {
  const { hostname, port } = new URL(url)
  const socket = connect({ host: hostname.replace(/^\[|\]$/g, ''), port: Number(port) })
  t.teardown(() => socket.destroy())
  await once(socket, 'connect')
  return socket.resume()
}

async function opened(t: Test, environment: Record<string, string>) {
  const { lines, logger } = captureLog()
  const { app, url, probeUrl } = await startApp(t, environment, { logger })
  const metrics = `http://127.0.0.1:${await app.openMetricsPort()}`
  return { app, url, lines, ports: { main: url, probe: probeUrl, metrics } }
}

t.test('at MAX_CONNECTIONS every port closes an idle connection in favour of a new one', async t => {
  const { ports, app, lines } = await opened(t, environment)
  for (const [port, url] of Object.entries(ports)) {
    const first = await idle(t, url)
    const closed = once(first, 'close')
    const others = [await idle(t, url), await idle(t, url)]
    await closed
    t.strictSame(
      others.map(socket => socket.destroyed),
      [false, false],
      port
    )
  }
  t.equal(app.connections.limit.max, 2)
  t.strictSame(
    (['main', 'probe', 'metrics'] as const).map(port => app.connections.counts.read(port).closed.evicted),
    [1, 1, 1]
  )
  const full = lines.filter(({ msg }) => msg === 'connections at the maximum')
  t.strictSame(
    full.map(({ port, max }) => ({ port, max })),
    ['main', 'metrics'].map(port => ({ port, max: 2 })),
    'the probe thread has a separate log'
  )
})

t.test('with HOST=localhost the connections of both address families have one maximum', async t => {
  const { lookup } = dns
  t.teardown(() => {
    dns.lookup = lookup
  })
  // The call that Fastify makes for each address of a host with two.
  const both = [
    { address: '127.0.0.1', family: 4 },
    { address: '::1', family: 6 }
  ]
  dns.lookup = ((host: string, options: object, done: (err: null, addresses: object[]) => void) =>
    'all' in options ? done(null, both) : lookup(host, options, done as never)) as typeof lookup
  const { url, app } = await opened(t, { ...environment, HOST: 'localhost' })
  if (app.addresses().length < 2) return t.comment('this machine has no IPv6')
  const { port } = new URL(url)
  const first = await idle(t, `http://[::1]:${port}`)
  const closed = once(first, 'close')
  await idle(t, `http://127.0.0.1:${port}`)
  await idle(t, `http://127.0.0.1:${port}`)
  await closed
  t.equal(app.connections.counts.read('main').open, 2)
})

t.test('closing ends connections that sent nothing, or a part of a request', async t => {
  const { app, ports } = await opened(t, { ...environment, MAX_CONNECTIONS: '10' })
  const sockets: Socket[] = []
  for (const url of Object.values(ports)) {
    const half = await idle(t, url)
    half.write('GET / HTTP/1.1\r\nHos')
    sockets.push(await idle(t, url), half)
  }
  const closed = Promise.all(sockets.map(socket => once(socket, 'close')))
  await app.close()
  await closed
  t.pass('all are closed')
})
