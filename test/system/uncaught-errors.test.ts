// Errors outside of all promises, and the release of resources when they end the process.
import { once } from 'node:events'
import { closeSync, mkdtempSync, openSync, readFileSync, rmSync } from 'node:fs'
import { connect, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import postgres from 'postgres'
import t from 'tap'
import { TEST_ENVIRONMENT, untilStatus } from '../support/app.ts'
import { runCommand } from '../support/command.ts'
import { createTestDatabase } from '../support/database.ts'
import { spawnNode } from '../support/node-process.ts'
import { processIdentity } from '../support/process-identity.ts'
import { serverScript } from '../support/project.ts'
import { startService } from '../support/service.ts'
import { Client } from '../support/session.ts'
import { stablePort } from '../support/stable-port.ts'

const UNCAUGHT = fileURLToPath(new URL('../support/uncaught-errors.js', import.meta.url))
const PASSWORD = 'correct horse battery'

t.test('the embedded Postgres ends when uncaught errors end the process', async t => {
  const directory = mkdtempSync(join(tmpdir(), 'trading-health-uncaught-'))
  t.teardown(() => rmSync(directory, { recursive: true, force: true }))
  const service = await startService(t, { DATA_DIR: directory }, ['--import', UNCAUGHT])
  const { data } = await service.logged('embedded postgres started')
  const pid = Number(readFileSync(join(String(data), 'postmaster.pid'), 'utf8').split('\n')[0])
  t.ok(await processIdentity(pid), `the server runs as process ${pid}`)
  const { code } = await service.end('SIGUSR2')
  t.equal(code, 1)
  t.equal(await processIdentity(pid), undefined)
  const fatal = service.log.filter(({ level }) => level === 60).map(({ msg, err }) => [msg, Object(err).message])
  t.strictSame(fatal, [
    ['uncaught error, shutting down', 'first uncaught error of the test'],
    ['uncaught error', 'second uncaught error of the test'],
    ['uncaught error', 'third uncaught error of the test']
  ])
})

t.test('the embedded Postgres ends when a second signal ends the process', async t => {
  const directory = mkdtempSync(join(tmpdir(), 'trading-health-uncaught-'))
  t.teardown(() => rmSync(directory, { recursive: true, force: true }))
  const service = await startService(t, { DATA_DIR: directory, DRAIN_SECONDS: '60' })
  const { data } = await service.logged('embedded postgres started')
  const pid = Number(readFileSync(join(String(data), 'postmaster.pid'), 'utf8').split('\n')[0])
  service.child.kill('SIGTERM')
  await service.logged('draining')
  await sleep(350)
  const { code } = await service.end('SIGTERM')
  t.equal(code, 1)
  while ((await processIdentity(pid)) !== undefined) await sleep(20)
  t.pass('the server has ended')
})

t.test('a Postgres that is still starting ends when a second signal ends the process', async t => {
  const directory = mkdtempSync(join(tmpdir(), 'trading-health-uncaught-'))
  t.teardown(() => rmSync(directory, { recursive: true, force: true }))
  const service = await startService(t, { DATA_DIR: directory, DRAIN_SECONDS: '60', SHUTDOWN_SECONDS: '60' })
  let pid = Number.NaN
  while (Number.isNaN(pid)) {
    try {
      pid = Number(readFileSync(join(directory, 'postgres', 'postmaster.pid'), 'utf8').split('\n')[0] || Number.NaN)
    } catch {
      // Not started yet.
    }
    await sleep(1)
  }
  service.child.kill('SIGTERM')
  await sleep(350)
  t.hasStrict(await service.end('SIGTERM'), { code: 1 })
  while ((await processIdentity(pid)) !== undefined) await sleep(20)
  t.pass('the server has ended')
})

t.test('a run ends and its lease is released when an uncaught error ends its process', async t => {
  const { url } = await createTestDatabase(t)
  const environment = { DATABASE_URL: url, SCHEDULER_ENABLED: 'false', SHUTDOWN_SECONDS: '6' }
  const service = await startService(t, environment, ['--import', UNCAUGHT])
  await untilStatus(`${service.main}/health/startup`, 200)
  await runCommand(environment, [PASSWORD], 'user:create', 'ada', '--admin')
  const client = new Client(service.main)
  await client.signIn('ada', PASSWORD)

  const sql = postgres(url, { max: 2, onnotice: () => undefined })
  t.teardown(() => sql.end({ timeout: 0 }))
  const unlock = await new Promise<() => void>(resolve => {
    void sql.begin(async tx => {
      await tx`lock table outbox in access exclusive mode`
      await new Promise<void>(unlocked => resolve(() => unlocked()))
    })
  })
  const { status } = await client.send('POST', '/api/system/trigger-job', { job_type: 'housekeeping', wait: false })
  t.equal(status, 202)
  const ended = service.end('SIGUSR2')
  await service.logged('uncaught error, shutting down')
  unlock()
  t.strictSame(await ended, { code: 1, signal: null })
  const runs = await sql`select outcome, lease_expires_at from job_runs where job_id = 'housekeeping'`
  t.strictSame([...runs], [{ outcome: 'succeeded', lease_expires_at: null }])
})

t.test('clients that use every file descriptor do not end the process', async t => {
  const { url } = await createTestDatabase(t)
  const service = await startService(t, { DATABASE_URL: url, METRICS_PORT: '0' }, [], { openFiles: 100 })
  await untilStatus(`${service.main}/health/ready`, 200)
  const ports = [service.main, service.probes, String((await service.logged('listening')).metrics)]
  const sockets: Socket[] = []
  for (let i = 0; i < 300; i++) {
    const { hostname, port } = new URL(ports[i % ports.length] ?? '')
    const socket = connect({ host: hostname, port: Number(port) })
    socket.on('error', () => undefined)
    sockets.push(socket)
  }
  // Longer than each timer interval of the service and its libraries.
  await sleep(4_000)
  t.equal(service.child.exitCode, null)
  for (const socket of sockets) socket.destroy()
  for (const base of [service.main, service.probes]) await untilStatus(`${base}/health/ready`, 200)
  t.equal((await fetch(ports[2] ?? '')).status, 200)
  t.strictSame(
    service.log.filter(({ level }) => level === 60),
    []
  )
})

t.test('a full disk behind standard output only loses log lines', { skip: noFullDevice() }, async t => {
  const { url } = await createTestDatabase(t)
  const full = openSync('/dev/full', 'w')
  const port = await stablePort()
  const service = spawnNode(serverScript, [], {
    env: { ...TEST_ENVIRONMENT, DATABASE_URL: url, PORT: String(port), DRAIN_SECONDS: '0' },
    stdio: ['ignore', full, full]
  })
  closeSync(full)
  const ended = once(service, 'exit')
  t.teardown(async () => {
    service.kill('SIGKILL')
    await ended
  })
  const main = `http://127.0.0.1:${port}`
  while ((await fetch(`${main}/health/ready`).catch(() => undefined))?.status !== 200) await sleep(50)
  service.kill('SIGTERM')
  t.strictSame(await ended, [0, null])
})

function noFullDevice(): string | false {
  try {
    closeSync(openSync('/dev/full', 'w'))
    return false
  } catch {
    return 'this system has no /dev/full'
  }
}
