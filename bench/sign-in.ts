// npm run bench:sign-in: rounds of twenty concurrent sign-ins, while both ports are probed. The result is the worst
// probe.
import { spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { setTimeout as sleep } from 'node:timers/promises'
import { freePort } from '../test/support/free-port.ts'
import { startTestPostgres } from '../test/support/postgres.ts'
import { cliScript, serverScript } from '../test/support/project.ts'
import { summary } from './launch.ts'

const ROUNDS = 5
const AT_ONCE = 20
const PROBE_EVERY_MS = 10
const BAR_MS = 100

const cleanups: (() => unknown)[] = []
const postgres = await startTestPostgres({ teardown: cleanup => void cleanups.unshift(cleanup) })
const [main, probe] = [await freePort(), await freePort()]
const env = {
  PATH: process.env.PATH,
  DATABASE_URL: postgres.url,
  SESSION_SECRET: randomBytes(32).toString('base64'),
  ENCRYPTION_KEY: randomBytes(32).toString('base64'),
  PORT: String(main),
  PROBE_PORT: String(probe),
  METRICS_PORT: '0'
}

try {
  const service = spawn(process.execPath, [serverScript], {
    env,
    stdio: ['ignore', 'ignore', 'inherit']
  })
  cleanups.unshift(() => service.kill('SIGKILL'))
  while ((await timed(main, '/health/startup')).status !== 200) await sleep(20)
  for (let i = 0; i < AT_ONCE; i++) {
    const created = spawn(process.execPath, [cliScript, 'user:create', `user${i}`], {
      env,
      stdio: ['pipe', 'ignore', 'inherit']
    })
    created.stdin.end('a password of a bench\n')
    await once(created, 'exit')
  }

  const probes: Record<string, number[]> = { 'main port': [], 'probe port': [] }
  let probing = true
  const probers = Object.entries({ 'main port': main, 'probe port': probe }).map(async ([name, port]) => {
    while (probing) {
      for (const path of ['/health/live', '/health/ready']) probes[name]?.push((await timed(port, path)).tookMs)
      await sleep(PROBE_EVERY_MS)
    }
  })
  const signIns: number[] = []
  for (let round = 0; round < ROUNDS; round++) {
    const begun = performance.now()
    const statuses = await Promise.all(Array.from({ length: AT_ONCE }, (_, i) => signIn(`user${i}`)))
    signIns.push(performance.now() - begun)
    if (statuses.some(status => status !== 200)) throw new Error(`sign-ins failed: ${statuses.join(' ')}`)
  }
  probing = false
  await Promise.all(probers)

  process.stdout.write(
    `${AT_ONCE} sign-ins at once, ${ROUNDS} rounds: median ${Math.round(summary(signIns).median)} ms a round\n`
  )
  for (const [name, times] of Object.entries(probes)) {
    const worst = Math.max(...times)
    process.stdout.write(
      `${name}: ${times.length} probes, median ${summary(times).median.toFixed(1)} ms, worst ${worst.toFixed(1)} ms (≤ ${BAR_MS}: ${worst <= BAR_MS ? 'holds' : 'MISSED'})\n`
    )
    if (worst > BAR_MS) process.exitCode = 1
  }
} finally {
  for (const cleanup of cleanups) await cleanup()
}

async function timed(port: number, path: string): Promise<{ status: number; tookMs: number }> {
  const begun = performance.now()
  try {
    const response = await fetch(`http://127.0.0.1:${port}${path}`)
    await response.arrayBuffer()
    return { status: response.status, tookMs: performance.now() - begun }
  } catch {
    return { status: 0, tookMs: 0 } // not listening yet
  }
}

async function signIn(username: string): Promise<number> {
  const response = await fetch(`http://127.0.0.1:${main}/api/auth/login`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ username, password: 'a password of a bench' })
  })
  await response.arrayBuffer()
  return response.status
}
