// The network swallows every packet between the service and its database, and gives them back.
import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { setTimeout as sleep } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { startApp, untilStatus } from '../support/app.ts'
import { startTestPostgres } from '../support/postgres.ts'
import { Prober } from '../support/prober.ts'

const NAMESPACE = `th${process.pid}`
const HOST_ADDRESS = '10.231.77.1'
const INNER_ADDRESS = '10.231.77.2'

const ip = (...words: string[]) => spawnSync('ip', words, { encoding: 'utf8' })

/** Why the test is skipped; false where a network namespace of our own can be made. */
const notPermitted = (): string | false => {
  const made = ip('netns', 'add', `${NAMESPACE}x`)
  if (made.error) return 'ip is not installed (Debian package iproute2)'
  if (made.status !== 0) return `a network namespace is not permitted here: ${made.stderr.trim()}`
  ip('netns', 'del', `${NAMESPACE}x`)
  return false
}

/** A namespace with a cable to it: the database is reached through the cable, so a packet filter can swallow all. */
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

/** Inside the namespace: hands every connection on to the database's unix socket. */
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

/** The namespace forgets the way back: whatever it would answer is lost without a sign. */
const hole = (action: 'add' | 'del') => ip('-n', NAMESPACE, 'route', action, 'blackhole', `${HOST_ADDRESS}/32`)

t.test(
  'a black hole is told within 2 s, and requests that need the pool work within 5 s of its end',
  { skip: notPermitted() },
  async t => {
    const server = await startTestPostgres(t)
    makeCable(t)
    const { username, password, pathname } = new URL(server.url)
    await startRelay(t, server.socket)

    const { url } = await startApp(
      t,
      { DATABASE_URL: `postgres://${username}:${password}@${INNER_ADDRESS}:5432${pathname}` },
      {
        api: async app => {
          app.get('/pool', () => app.db.run(async sql => ({ rows: await sql`select pg_sleep(0.01)` })))
        }
      }
    )
    await untilStatus(`${url}/health/ready`, 200)
    t.equal((await fetch(`${url}/pool`)).status, 200)

    const prober = new Prober(t)
    prober.start([`${url}/health/ready`], 10)
    t.equal(hole('add').status, 0)
    const openedMs = performance.now()
    const lost = await prober.until(({ status }) => status === 503)
    t.ok(
      lost.sentMs + lost.tookMs - openedMs <= 2_000,
      `told after ${Math.round(lost.sentMs + lost.tookMs - openedMs)} ms`
    )
    t.hasStrict(lost.body, { error: 'database_timeout' })

    // Requests that fall into the hole fill the pool with connections that are dead without a sign.
    const fallen = await Promise.all(Array.from({ length: 20 }, () => fetch(`${url}/pool`)))
    t.ok(fallen.every(({ status }) => status === 503))
    await sleep(3_000)

    t.equal(hole('del').status, 0)
    const closedMs = performance.now()
    let answered: Response
    do answered = await fetch(`${url}/pool`)
    while (answered.status !== 200)
    const after = performance.now() - closedMs
    t.ok(after <= 5_000, `the pool works ${Math.round(after)} ms after the hole closed`)
    await prober.until(({ status }) => status === 200)
    await prober.stop()
    const slowestMs = Math.max(...prober.results.map(({ tookMs }) => tookMs))
    t.ok(slowestMs <= 1_000, `no probe over 1 s: ${Math.round(slowestMs)} ms`)
  }
)
