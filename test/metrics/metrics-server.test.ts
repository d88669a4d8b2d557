import { once } from 'node:events'
import { request } from 'node:http'
import { connect } from 'node:net'
import t, { type Test } from 'tap'
import { ConnectionCounts } from '../../src/connections/connection-counts.ts'
import { HttpConnections } from '../../src/connections/http-connections.ts'
import { MetricsServer } from '../../src/metrics/metrics-server.ts'
import { StartError } from '../../src/start-error.ts'
import { captureLog } from '../support/app.ts'

const connections = () =>
  new HttpConnections({ max: 2, counts: new ConnectionCounts().writer('metrics'), onFull: () => undefined })

async function serve(t: Test, render = async () => ({ type: 'text/plain', text: 'up 1\n' })) {
  const { logger, lines } = captureLog()
  const server = new MetricsServer({
    host: '127.0.0.1',
    hostSetting: 'HOST',
    port: 0,
    log: logger,
    render,
    connections: connections()
  })
  t.teardown(() => server.close())
  const port = await server.listen()
  return { server, port, url: `http://127.0.0.1:${port}`, lines }
}

t.test('the metrics server serves only the metrics', async t => {
  const { url } = await serve(t)
  const page = await fetch(`${url}/metrics?x=1`)
  t.equal(page.status, 200)
  t.equal(page.headers.get('content-type'), 'text/plain')
  t.equal(await page.text(), 'up 1\n')

  const head = await fetch(`${url}/metrics`, { method: 'HEAD' })
  t.equal(head.status, 200)
  t.equal(head.headers.get('content-length'), '5')

  for (const path of ['/', '/metrics/', '/health/live', '/api/auth/login']) {
    const other = await fetch(url + path, { headers: { 'accept-language': 'en' } })
    t.equal(other.status, 404, path)
    t.hasStrict(await other.json(), { success: false, code: 'NOT_FOUND' })
  }
  const post = await fetch(`${url}/metrics`, { method: 'POST', body: 'x' })
  t.equal(post.status, 405)
  t.equal(post.headers.get('allow'), 'GET, HEAD, OPTIONS')
  const options = await fetch(`${url}/metrics`, { method: 'OPTIONS' })
  t.equal(options.status, 204)
  t.equal(options.headers.get('allow'), 'GET, HEAD, OPTIONS')
})

t.test('metrics that cannot be rendered are an error without details', async t => {
  const { url, lines } = await serve(t, () => Promise.reject(new Error('hidden')))
  const page = await fetch(`${url}/metrics`)
  t.equal(page.status, 500)
  t.notMatch(await page.text(), 'hidden')
  t.ok(lines.find(({ msg }) => msg === 'metrics not rendered'))
})

t.test('requests at the same time share one reading of the metrics', async t => {
  let readings = 0
  const { url } = await serve(t, async () => {
    const reading = ++readings
    // All requests come in one packet, and are read before this.
    await new Promise(resolve => setImmediate(resolve))
    return { type: 'text/plain', text: `reading ${reading}\n` }
  })
  const { hostname, port } = new URL(url)
  const client = connect(Number(port), hostname)
  t.teardown(() => client.destroy())
  client.write('GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n'.repeat(20))
  let text = ''
  while ([...text.matchAll(/reading/g)].length < 20) text += String((await once(client, 'data'))[0])
  t.strictSame(new Set(text.match(/reading \d+/g)), new Set(['reading 1']))
  t.equal(await (await fetch(`${url}/metrics`)).text(), 'reading 2\n')
})

t.test('a port in use is an error that names the port', async t => {
  const { port } = await serve(t)
  const { logger } = captureLog()
  const second = new MetricsServer({
    host: '127.0.0.1',
    hostSetting: 'HOST',
    port,
    log: logger,
    connections: connections(),
    render: async () => ({ type: '', text: '' })
  })
  const failure = await second.listen().catch((err: unknown) => err)
  const message = `METRICS_PORT ${port} on 127.0.0.1 is in use: stop the process that uses it, or set another METRICS_PORT`
  t.equal(failure instanceof StartError ? failure.message : failure, message)
  second.close()
})

t.test('idle connections do not keep a scrape from its answer', async t => {
  const { port, url } = await serve(t)
  const idle = [connect(port, '127.0.0.1'), connect(port, '127.0.0.1')]
  await Promise.all(idle.map(socket => once(socket, 'connect')))
  t.equal((await fetch(`${url}/metrics`)).status, 200)
  for (const socket of idle) socket.destroy()
})

t.test('closing ends idle connections, and can be repeated', async t => {
  const { server, port } = await serve(t)
  const idle = connect(port, '127.0.0.1')
  await once(idle, 'connect')
  const asked = request({ port, host: '127.0.0.1', path: '/metrics' })
  asked.end()
  const [response] = await once(asked, 'response')
  response.resume()
  const closed = once(idle.resume(), 'close')
  server.close()
  server.close()
  await closed
  await t.rejects(fetch(`http://127.0.0.1:${port}/metrics`))
})
