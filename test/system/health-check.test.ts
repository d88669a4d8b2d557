// The health check of the container, as the Containerfile starts it.
import { spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { createServer } from 'node:http'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import t, { type Test } from 'tap'
import { spawnNode } from '../support/node-process.ts'
import { healthCheckScript, projectRoot } from '../support/project.ts'
import { startService } from '../support/service.ts'

const NO_DATABASE = 'postgres://nobody@127.0.0.1:1/none'

/** @returns the exit code and the line that the container platform shows */
async function check(settings: Record<string, string>): Promise<{ code: unknown; line: string }> {
  const child = spawnNode(healthCheckScript, [], { env: settings, stdio: ['ignore', 'pipe', 'inherit'] })
  if (!child.stdout) throw new Error('the check has no output')
  const [line, [code]] = await Promise.all([text(child.stdout), once(child, 'exit')])
  return { code, line: line.trimEnd() }
}

/** A server that answers every request with a status. @returns the port; undefined if the machine lacks the address */
async function answering(t: Test, host: string, status: number): Promise<string | undefined> {
  const server = createServer((_request, response) => response.writeHead(status).end())
  server.listen(0, host)
  try {
    await once(server, 'listening')
  } catch {
    return undefined
  }
  t.teardown(() => server.close())
  const address = server.address()
  return String(typeof address === 'object' && address?.port)
}

t.test('the Containerfile runs the health check in the folder of the service', async t => {
  const [, command = ''] =
    /^HEALTHCHECK .* CMD (\[.*\])$/m.exec(readFileSync(join(projectRoot, 'Containerfile'), 'utf8')) ?? []
  const [node = '', ...words]: string[] = JSON.parse(command)
  const { status, stdout } = spawnSync(node, words, {
    cwd: projectRoot,
    env: { PROBE_PORT: '1', PATH: process.env.PATH },
    encoding: 'utf8'
  })
  t.equal(status, 1)
  t.equal(stdout, '/health/live on port 1 of 127.0.0.1 does not answer: connect ECONNREFUSED 127.0.0.1:1\n')
})

t.test('a port that the system chose is checked, on the probe port or on the main port', async t => {
  for (const PROBE_PORT of ['0', 'off']) {
    const PROBE_PORT_PATH = join(t.testdir(), 'port')
    const settings = { HOST: '127.0.0.1', PORT: '0', PROBE_PORT, PROBE_PORT_PATH }
    const unrecorded = await check(settings)
    t.strictSame(unrecorded, {
      code: 1,
      line: `PROBE_PORT_PATH must name a file that the service has written: ${PROBE_PORT_PATH}`
    })
    const service = await startService(t, { ...settings, DATABASE_URL: NO_DATABASE })
    const { port } = new URL(service.probes)
    t.strictSame(await check(settings), { code: 0, line: `/health/live on port ${port} of 127.0.0.1 answers 200` })
    await service.end('SIGKILL')
    t.equal((await check(settings)).code, 1, 'the service has ended')
  }
})

t.test('a port that cannot be recorded logs one warning, and the service works', async t => {
  const PROBE_PORT_PATH = join(t.testdir(), 'nothing/port')
  const service = await startService(t, { DATABASE_URL: NO_DATABASE, PROBE_PORT_PATH })
  const { level, path } = await service.logged('probe port not recorded')
  t.strictSame({ level, path }, { level: 40, path: PROBE_PORT_PATH })
  t.equal((await fetch(`${service.probes}/health/live`)).status, 200)
})

t.test('the health check uses the address of the settings', async t => {
  for (const host of ['127.0.0.2', '0.0.0.0', '::', 'localhost']) {
    const port = await answering(t, host, 200)
    if (port === undefined) {
      t.comment(`skipped: this machine has no ${host}`)
      continue
    }
    const main = host === 'localhost'
    const settings = main ? { PORT: port, PROBE_PORT: 'off' } : { PORT: '1', PROBE_PORT: port }
    const line = `/health/live on port ${port} of ${host} answers 200`
    t.strictSame(await check({ HOST: host, ...settings }), { code: 0, line }, host)
  }
})

t.test('liveness other than 200, or a wrong setting, is unhealthy, with the reason', async t => {
  const port = await answering(t, '127.0.0.1', 503)
  t.strictSame(await check({ PROBE_PORT: String(port) }), {
    code: 1,
    line: `/health/live on port ${port} of 127.0.0.1 answers 503`
  })
  t.strictSame(await check({ PROBE_PORT: 'x' }), { code: 1, line: 'PROBE_PORT must be a port from 0 to 65535, or off' })
})
