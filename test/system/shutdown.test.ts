// The shutdown does not wait for clients that are idle, slow, or send incomplete requests.
import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { untilStatus } from '../support/app.ts'
import { runCommand } from '../support/command.ts'
import { startAttack } from '../support/connection-attacker.ts'
import { createTestDatabase } from '../support/database.ts'
import { type Service, startService } from '../support/service.ts'
import { Client } from '../support/session.ts'

const PASSWORD = 'violet-anchor-47-lantern'
const MAIN_EACH = 1_000
const OTHER_EACH = 200
const KINDS = 3
const SLOW_DOWNLOADS = 10
const KEPT_ALIVE = 20
const IN_BACKLOG = 50
/** The time limit of the shutdown after the drain. */
const SHUTDOWN_MS = 2_000

async function start(t: Test, DATABASE_URL: string, DRAIN_SECONDS: number) {
  const settings = { DATABASE_URL, DRAIN_SECONDS: String(DRAIN_SECONDS), METRICS_PORT: '0', MAX_CONNECTIONS: '4000' }
  const service = await startService(t, settings)
  const { metrics } = await service.logged('listening')
  await untilStatus(`${service.main}/health/startup`, 200)
  return { service, metrics: String(metrics) }
}

/** Ends the service. @returns the duration after the drain */
async function timedEnd(service: Service, drainSeconds: number) {
  const startMs = performance.now()
  const end = await service.end('SIGTERM')
  return { ...end, afterDrainMs: Math.round(performance.now() - startMs - drainSeconds * 1_000) }
}

function open(t: Test, url: string, text: string): Socket {
  const { hostname, port } = new URL(url)
  const socket = connect({ host: hostname, port: Number(port) })
  socket.on('error', () => undefined)
  socket.once('connect', () => socket.write(text))
  t.teardown(() => socket.destroy())
  return socket
}

/** Requests more on one connection than the kernel buffers, and reads some bytes ten times a second. */
async function slowDownload(t: Test, { url, cookie }: { url: string; cookie: string }): Promise<void> {
  const headers = `Host: ${new URL(url).host}\r\nCookie: ${cookie}\r\n`
  const socket = open(t, url, `GET /docs/static/swagger-ui-bundle.js HTTP/1.1\r\n${headers}\r\n`.repeat(10))
  await once(socket, 'readable')
  const read = setInterval(() => socket.read(1_024), 100)
  t.teardown(() => clearInterval(read))
}

for (const drainSeconds of [0, 2]) {
  t.test(`a shutdown with ${drainSeconds} s of drain waits for no idle, slow or incomplete client`, async t => {
    const { url } = await createTestDatabase(t)
    const quiet = await start(t, url, drainSeconds)
    const usual = await timedEnd(quiet.service, drainSeconds)
    t.equal(usual.code, 0)

    const { service, metrics } = await start(t, url, drainSeconds)
    const environment = { DATABASE_URL: url }
    await runCommand(environment, [PASSWORD], 'user:create', `ada${drainSeconds}`, '--admin')
    const admin = new Client(service.main)
    await admin.signIn(`ada${drainSeconds}`, PASSWORD)
    const attacks = [
      { base: service.main, bodyPath: '/api/auth/login', each: MAIN_EACH },
      { base: service.probes, bodyPath: '/health/live', each: OTHER_EACH },
      { base: metrics, bodyPath: '/metrics', each: OTHER_EACH }
    ].map(({ base, ...attack }) => {
      const { hostname: host, port } = new URL(base)
      return startAttack(t, { host, port: Number(port), openPerSecond: 500, ...attack })
    })
    await Promise.all(attacks.map((attack, i) => attack.opened(KINDS * (i === 0 ? MAIN_EACH : OTHER_EACH))))

    const target = { url: service.main, cookie: String(admin.cookie) }
    await Promise.all(Array.from({ length: SLOW_DOWNLOADS }, () => slowDownload(t, target)))
    const bases = [service.main, service.probes, metrics]
    const kept = bases.flatMap(base =>
      Array.from({ length: KEPT_ALIVE }, () => open(t, base, 'GET / HTTP/1.1\r\nHost: x\r\n\r\n'))
    )
    await Promise.all(kept.map(socket => once(socket, 'data')))
    const openBefore = /trading_health_open_connections\{port="main"\} (\d+)/.exec(await (await fetch(metrics)).text())

    service.child.kill('SIGSTOP')
    for (const base of bases) {
      const waiting = Array.from({ length: IN_BACKLOG }, () => open(t, base, ''))
      await Promise.all(waiting.map(socket => once(socket, 'connect')))
    }
    const ended = timedEnd(service, drainSeconds)
    await sleep(10)
    service.child.kill('SIGCONT')
    const { code, afterDrainMs } = await ended
    t.comment(
      `${drainSeconds} s of drain: ended ${afterDrainMs} ms after it with ${openBefore?.[1]} connections to the main port, ${usual.afterDrainMs} ms without clients`
    )
    t.equal(code, 0)
    const boundMs = SHUTDOWN_MS + usual.afterDrainMs
    t.ok(afterDrainMs <= boundMs, `${afterDrainMs} ms after the drain, of ${boundMs} ms`)
    t.strictSame(
      service.log.filter(({ level, msg }) => level >= 50 || msg === 'shutdown took too long'),
      [],
      'no error is logged'
    )
    t.ok(service.log.some(({ msg }) => msg === 'closed'))
  })
}
