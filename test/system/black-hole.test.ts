// The network between the service and its database drops all packets, without an error, until the fault ends.
import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { setTimeout as sleep } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { startApp, untilStatus } from '../support/app.ts'
import { shown, worstMs } from '../support/fault-report.ts'
import { startDistantPostgres } from '../support/networks.ts'
import { startTestPostgres } from '../support/postgres.ts'
import { Prober } from '../support/prober.ts'

const NAMESPACE = `th${process.pid}`
const HOST_ADDRESS = '10.231.77.1'
const INNER_ADDRESS = '10.231.77.2'

const ip = (...words: string[]) => spawnSync('ip', words, { encoding: 'utf8' })

/** Why the test is skipped; false if a network namespace can be created. */
const notPermitted = (): string | false => {
  const made = ip('netns', 'add', `${NAMESPACE}x`)
  if (made.error) return 'ip is not installed (Debian package iproute2)'
  if (made.status !== 0) return `a network namespace is not permitted here: ${made.stderr.trim()}`
  ip('netns', 'del', `${NAMESPACE}x`)
  return false
}

/**
 * A network namespace with a veth pair: the database is reached through the pair, so a packet filter can drop all
 * packets.
 */
function makeCable(t: Test): void {
  const steps = [
    ['netns', 'add', NAMESPACE],
    ['link', 'add', `${NAMESPACE}a`, 'type', 'veth', 'peer', 'name', `${NAMESPACE}b`, 'netns', NAMESPACE],
    ['addr', 'add', `${HOST_ADDRESS}/30`, 'dev', `${NAMESPACE}a`],
    ['link', 'set', `${NAMESPACE}a`, 'up'],
    ['-n', NAMESPACE, 'addr', 'add', `${INNER_ADDRESS}/30`, 'dev', `${NAMESPACE}b`],
    ['-n', NAMESPACE, 'link', 'set', `${NAMESPACE}b`, 'up'],
    ['-n', NAMESPACE, 'link', 'set', 'lo', 'up']
  ]
  t.teardown(() => void ip('netns', 'del', NAMESPACE))
  for (const step of steps) {
    const { status, stderr } = ip(...step)
    if (status !== 0) throw new Error(`ip ${step.join(' ')}: ${stderr}`)
  }
}

/** Inside the namespace: forwards every connection to the database's unix socket. */
const RELAY = `
const { connect, createServer } = require('node:net')
createServer(client => {
  const server = connect(process.argv[1])
  for (const socket of [client, server]) socket.on('error', () => { client.destroy(); server.destroy() })
  client.pipe(server).pipe(client)
}).listen(5432, '${INNER_ADDRESS}', () => console.log('relaying'))
`

async function startRelay(t: Test, socket: string): Promise<void> {
  const relay = spawn('ip', ['netns', 'exec', NAMESPACE, process.execPath, '-e', RELAY, socket], {
    stdio: ['ignore', 'pipe', 'inherit']
  })
  const ended = once(relay, 'exit')
  t.teardown(async () => {
    relay.kill('SIGKILL')
    await ended
  })
  await once(relay.stdout, 'data')
}

/** Removes the route back from the namespace: answers are lost without an error. */
const hole = (action: 'add' | 'del') => ip('-n', NAMESPACE, 'route', action, 'blackhole', `${HOST_ADDRESS}/32`)

interface BlackHole {
  /** A part of the name of the test. */
  name: string
  skip: string | false
  /** @returns the address of a database behind the network, and a function that switches the black hole */
  start(t: Test): Promise<{ url: string; setHole: (on: boolean) => Promise<void> }>
}

const blackHoles: BlackHole[] = [
  {
    name: 'made by a packet filter',
    skip: notPermitted(),
    async start(t) {
      const server = await startTestPostgres(t)
      makeCable(t)
      const { username, password, pathname } = new URL(server.url)
      await startRelay(t, server.socket)
      return {
        url: `postgres://${username}:${password}@${INNER_ADDRESS}:5432${pathname}`,
        setHole: async on => {
          t.equal(hole(on ? 'add' : 'del').status, 0)
        }
      }
    }
  },
  {
    name: 'that delivers late, over TLS with SCRAM at a round trip of 20 ms,',
    skip: false,
    async start(t) {
      const { url, proxy } = await startDistantPostgres(t, { roundTripMs: 20 })
      return { url, setHole: on => proxy.blackHole(on) }
    }
  },
  {
    name: 'that leaves connections silent, over TLS with SCRAM at a round trip of 20 ms,',
    skip: false,
    async start(t) {
      const { url, proxy } = await startDistantPostgres(t, { roundTripMs: 20 })
      return { url, setHole: on => proxy.blackHole(on, { forget: !on }) }
    }
  }
]

for (const { name, skip, start } of blackHoles) {
  const title = `a black hole ${name} is detected within 2 s, and the pool works within 5 s of its end`
  t.test(title, { skip }, async t => {
    const { url: databaseUrl, setHole } = await start(t)
    const { app, url } = await startApp(
      t,
      // The default of the service, because this test is about the deadline of the check.
      { DATABASE_URL: databaseUrl, CHECK_TIMEOUT_MS: '400' },
      {
        api: async app => {
          app.get('/pool', () => app.db.run(async sql => ({ rows: await sql`select pg_sleep(0.01)` })))
        }
      }
    )
    await untilStatus(`${url}/health/ready`, 200)
    t.equal((await fetch(`${url}/pool`)).status, 200)

    const prober = new Prober(t)
    prober.start([`${url}/health/ready`, `${url}/health/live`], 10)
    await setHole(true)
    const openedMs = performance.now()
    const lost = await prober.until(({ status }) => status === 503)
    const detectedMs = Math.round(lost.sentMs + lost.tookMs - openedMs)
    t.ok(detectedMs <= 2_000, `detected after ${detectedMs} ms`)
    t.equal(lost.body.error, 'database_timeout')

    // Pending requests fill the pool with connections that are lost without an error.
    const requests = await Promise.all(Array.from({ length: 20 }, () => fetch(`${url}/pool`)))
    t.strictSame(
      requests.filter(({ status }) => status !== 503),
      []
    )
    await sleep(3_000)

    await setHole(false)
    const closedMs = performance.now()
    let answered: Response
    do answered = await fetch(`${url}/pool`)
    while (answered.status !== 200)
    const afterMs = Math.round(performance.now() - closedMs)
    t.ok(afterMs <= 5_000, `the pool works ${afterMs} ms after the end`)
    await prober.until(({ status, url }) => status === 200 && url.endsWith('/health/ready'))
    await prober.stop()
    const worst = worstMs(prober.results)
    t.ok(worst <= 1_000, `no probe over 1 s: ${worst} ms`)
    t.strictSame(
      shown(prober.results.filter(({ url, status }) => url.endsWith('/health/live') && status !== 200)),
      [],
      'liveness stays 200'
    )
    t.equal(app.health.probeThreadRestarts(), 0, 'no uncaught error in the probe thread')
    t.comment(`worst probe ${worst} ms, detected after ${detectedMs} ms, pool works after ${afterMs} ms`)
  })
}
