import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { createServer, type IncomingMessage, type Server } from 'node:http'
import { createServer as createTlsServer } from 'node:https'
import { type AddressInfo, connect } from 'node:net'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { request } from 'undici'
import { createHttpAgent, type ProxySettings } from '../src/http-agent.ts'
import { projectRoot } from './support/project.ts'

const tls = (file: string) => readFileSync(join(projectRoot, 'test/support/tls', file))

async function listening(t: Test, server: Server): Promise<number> {
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => {
    server.closeAllConnections()
    server.close()
  })
  return (server.address() as AddressInfo).port
}

/** An https server and an http proxy, and a function that requests the server through an agent with settings. */
async function setUp(t: Test) {
  const key = tls('server-key.pem')
  const port = await listening(
    t,
    createTlsServer({ key, cert: tls('server-cert.pem') }, (_, res) => res.end('from the server'))
  )
  const tunnels: { to: string | undefined; authorization: string | undefined }[] = []
  const proxy = createServer((_, res) => res.writeHead(500).end())
  proxy.on('connect', ({ url, headers }: IncomingMessage, client) => {
    tunnels.push({ to: url, authorization: headers['proxy-authorization'] })
    if (headers['proxy-authorization'] === undefined) {
      client.end('HTTP/1.1 407 Proxy Authentication Required\r\n\r\n')
      return
    }
    const server = connect(port, '127.0.0.1', () => client.write('HTTP/1.1 200 OK\r\n\r\n'))
    server.pipe(client).pipe(server)
    server.on('error', () => client.destroy())
    client.on('error', () => server.destroy())
  })
  const proxyPort = await listening(t, proxy)

  const ask = async (settings: ProxySettings, url = `https://localhost:${port}/`) => {
    const ca = tls('ca.pem')
    // The first key is for connections without the proxy, the second for those in its tunnel.
    const options = { connect: { ca }, requestTls: { ca } }
    const dispatcher = createHttpAgent(settings, options)
    try {
      const { body } = await request(url, { dispatcher, signal: AbortSignal.timeout(30_000) })
      return await body.text()
    } finally {
      await dispatcher.destroy()
    }
  }
  return { port, tunnels, ask, proxy: (user = 'user:secret@') => `http://${user}127.0.0.1:${proxyPort}` }
}

t.test('calls to https addresses go through the proxy, with its user and password', async t => {
  const { port, tunnels, ask, proxy } = await setUp(t)
  t.equal(await ask({ HTTPS_PROXY: proxy() }), 'from the server')
  const authorization = `Basic ${Buffer.from('user:secret').toString('base64')}`
  t.strictSame(tunnels, [{ to: `localhost:${port}`, authorization }])
})

t.test('hosts of NO_PROXY are called directly, and without a proxy all hosts are', async t => {
  const { port, tunnels, ask, proxy } = await setUp(t)
  for (const noProxy of ['localhost', `localhost:${port}`, 'a.example, localhost', '*']) {
    t.equal(await ask({ HTTPS_PROXY: proxy(), NO_PROXY: noProxy }), 'from the server', noProxy)
  }
  t.equal(await ask({}), 'from the server')
  t.strictSame(tunnels, [])
  await ask({ HTTPS_PROXY: proxy(), NO_PROXY: 'other.example, .localhost.example, localhost:1' })
  t.equal(tunnels.length, 1)
})

t.test('calls to http addresses do not use the proxy, and the environment of the process is ignored', async t => {
  const { tunnels, ask, proxy } = await setUp(t)
  const port = await listening(
    t,
    createServer((_, res) => res.end('without TLS'))
  )
  const former = { ...process.env }
  t.teardown(() => {
    process.env = former
  })
  Object.assign(process.env, { HTTP_PROXY: proxy(), HTTPS_PROXY: proxy(), http_proxy: proxy(), https_proxy: proxy() })
  t.equal(await ask({ HTTPS_PROXY: proxy() }, `http://127.0.0.1:${port}/`), 'without TLS')
  t.equal(await ask({}), 'from the server')
  t.strictSame(tunnels, [])
})

t.test('a proxy that refuses fails the call without the password in the error', async t => {
  const { ask, proxy } = await setUp(t)
  await t.rejects(ask({ HTTPS_PROXY: proxy('') }))
  const err = await ask({ HTTPS_PROXY: 'http://user:secret@127.0.0.1:1' }).catch((err: Error) => err)
  t.ok(err instanceof Error)
  t.notMatch(String((err as Error).stack), 'secret')
})
