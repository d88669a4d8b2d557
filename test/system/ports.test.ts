// The ports: address families, and what a start reports when a port or the data directory is in use.
import { spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync, realpathSync } from 'node:fs'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { parseEnv } from 'node:util'
import t, { type Test } from 'tap'
import { TEST_ENVIRONMENT } from '../support/app.ts'
import { runCommand } from '../support/command.ts'
import { spawnNode } from '../support/node-process.ts'
import { projectRoot, serverScript } from '../support/project.ts'
import { startService } from '../support/service.ts'

const { HOST = '' } = parseEnv(readFileSync(join(projectRoot, 'deploy/kubernetes/settings.env'), 'utf8'))

/**
 * Starts the service on its default ports in a network namespace, and reads liveness and metrics from every address.
 */
const SCRIPT = `
ip link set lo up && eval "$SET_UP" || exit 90
"$NODE" "$SERVER" >&2 &
"$NODE" --input-type=module -e '
  const statuses = []
  for (const path of process.argv.slice(1)) {
    while (performance.now() < 30_000) {
      const answer = await fetch("http://" + path).catch(() => undefined)
      if (answer === undefined) { await new Promise(resolve => setTimeout(resolve, 50)); continue }
      statuses.push(answer.status)
      break
    }
  }
  console.log(JSON.stringify(statuses))
  process.exit()
' $URLS
kill $!
wait
`
const unshared = spawnSync('unshare', ['--net', 'ip', 'link', 'set', 'lo', 'up'])
const skip = unshared.status !== 0 && 'a network namespace and ip(8) are not permitted or not installed'

for (const { network, setUp, hosts } of [
  { network: 'IPv6 only', setUp: 'ip -4 address flush dev lo', hosts: ['[::1]'] },
  { network: 'both families', setUp: 'true', hosts: ['127.0.0.1', '[::1]'] },
  { network: 'IPv6 disabled on the interfaces', setUp: 'ip -6 address flush dev lo', hosts: ['127.0.0.1'] }
]) {
  t.test(`with HOST of the manifests every port answers in a network with ${network}`, { skip }, async t => {
    const urls = hosts.flatMap(host => [`${host}:5001/health/live`, `${host}:5002/health/live`, `${host}:9464/metrics`])
    const { PORT, PROBE_PORT, METRICS_PORT, ...secrets } = TEST_ENVIRONMENT
    const { status, stdout, stderr } = spawnSync('unshare', ['--net', 'sh', '-c', SCRIPT], {
      env: {
        ...secrets,
        ...{ PATH: process.env.PATH, SET_UP: setUp, URLS: urls.join(' ') },
        ...{ NODE: process.execPath, SERVER: serverScript },
        ...{ HOST, DRAIN_SECONDS: '0', DATABASE_URL: 'postgres://nobody@127.0.0.1:1/none', LOG_LEVEL: 'fatal' }
      },
      encoding: 'utf8'
    })
    t.equal(status, 0, stderr)
    t.equal(stdout, `${JSON.stringify(urls.map(() => 200))}\n`, stderr)
  })
}

const NO_DATABASE = { DATABASE_URL: 'postgres://nobody@127.0.0.1:1/none', LOG_LEVEL: 'error' }

/** A port of the loopback interface that another process listens on. */
async function takenPort(t: Test): Promise<string> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => server.close())
  const address = server.address()
  return String(typeof address === 'object' && address?.port)
}

/** Starts the service and waits for its end. Its log has lines from `error` on. */
async function failedStart(t: Test, settings: Record<string, string>) {
  const env = { ...TEST_ENVIRONMENT, DRAIN_SECONDS: '0', LOG_LEVEL: 'error', ...settings }
  const child = spawnNode(serverScript, [], { env, stdio: ['ignore', 'pipe', 'pipe'] })
  t.teardown(() => child.kill('SIGKILL'))
  const { stdout, stderr } = child
  if (!stdout || !stderr) throw new Error('the service has no output')
  const [out, err, [code]] = await Promise.all([text(stdout), text(stderr), once(child, 'exit')])
  return { out, err, code }
}

t.test('a port in use is reported with one line with the setting and the port, and exit code 1', async t => {
  const port = await takenPort(t)
  const all = { PORT: port, PROBE_PORT: port, METRICS_PORT: port }
  const cases = [
    { settings: all, setting: 'PORT' },
    { settings: { ...all, PORT: '0', METRICS_PORT: 'off' }, setting: 'PROBE_PORT' },
    { settings: { METRICS_PORT: port, METRICS_HOST: '127.0.0.1' }, setting: 'METRICS_PORT' }
  ]
  for (const { settings, setting } of cases) {
    const err = `start: ${setting} ${port} on 127.0.0.1 is in use: stop the process that uses it, or set another ${setting}\n`
    t.strictSame(await failedStart(t, { ...NO_DATABASE, ...settings }), { out: '', err, code: 1 }, setting)
  }
})

t.test('an address that this machine does not have is reported with one line with its setting', async t => {
  for (const setting of ['HOST', 'METRICS_HOST']) {
    const err = `start: ${setting} 192.0.2.1 is not an address of this machine (EADDRNOTAVAIL): set another ${setting}\n`
    const settings = { ...NO_DATABASE, METRICS_PORT: '0', [setting]: '192.0.2.1' }
    t.strictSame(await failedStart(t, settings), { out: '', err, code: 1 }, setting)
  }
})

t.test(
  'a data directory in use is reported with one line with the setting and the directory, and exit code 1',
  async t => {
    const DATA_DIR = realpathSync(t.testdir())
    const first = await startService(t, { DATA_DIR })
    await first.logged('embedded postgres started')
    const err = `start: DATA_DIR ${DATA_DIR} is in use by another service (process ${first.pid}): stop it, or set another DATA_DIR\n`
    t.strictSame(await failedStart(t, { DATA_DIR }), { out: '', err, code: 1 })
    t.strictSame(await first.end(), { code: 0, signal: null })
  }
)

t.test(
  'data of another version of Postgres are reported with one line with both versions, by the service and a command',
  async t => {
    const DATA_DIR = realpathSync(t.testdir({ postgres: { PG_VERSION: '17\n' } }))
    const message = `DATA_DIR ${DATA_DIR} has data of Postgres 17, and this service has Postgres 18: start the version of the service that made them, or move them to Postgres 18 as docs/deployment.md#embedded-database describes, or set another DATA_DIR\n`
    t.strictSame(await failedStart(t, { DATA_DIR }), { out: '', err: `start: ${message}`, code: 1 })
    t.strictSame(await runCommand({ DATA_DIR }, [], 'user:list'), { code: 1, stdout: '', stderr: message })
  }
)
