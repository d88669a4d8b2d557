// npm run bench:probes: this service's probes compared with a bare node:http server (twice, the second as control), a
// plain Fastify route with a response schema, and a Fastify route that queries for each request.
import { execFileSync } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { freePort } from '../test/support/free-port.ts'
import { startTestPostgres } from '../test/support/postgres.ts'
import { serverScript } from '../test/support/project.ts'
import { type Launched, type Load, launch, load, requireTools, shuffled, summary } from './launch.ts'

const LAUNCHES = Number(process.env.LAUNCHES ?? 10)
const SECONDS = Number(process.env.SECONDS ?? 2)
/** The highest deviation between the two bare servers. Above it the measurement is void. */
const CONTROL_LIMIT = 0.05
const IDLE_MS = 3_000

requireTools('wrk', 'taskset')

const bare = join(import.meta.dirname, 'servers/bare.js')
const fastify = join(import.meta.dirname, 'servers/fastify.js')

type Measured = { firstAnswerMs: number; rssMb?: number; loads: Record<string, Load> }
interface Subject {
  script: string
  path: string
  env: Record<string, string>
  /** Addresses to load, by name. A path without a port is on the server's own port. */
  loads: Record<string, { path: string; port?: number; close: boolean }>
  idle?: boolean
}

const cleanups: (() => unknown)[] = []
const postgres = await startTestPostgres({ teardown: cleanup => void cleanups.unshift(cleanup) })
const dataDir = mkdtempSync(join(tmpdir(), 'bench-'))
cleanups.unshift(() => rmSync(dataDir, { recursive: true }))
const DATABASE_URL = postgres.url
const SESSION_SECRET = randomBytes(32).toString('base64')
const ENCRYPTION_KEY = randomBytes(32).toString('base64')

try {
  const probePort = await freePort()
  const both = (name: string, path: string, port?: number) => ({
    [`${name}, keep-alive`]: { path, close: false, ...(port && { port }) },
    [`${name}, close`]: { path, close: true, ...(port && { port }) }
  })
  const subjects: Record<string, Subject> = {
    bare: { script: bare, path: '/', env: {}, loads: both('bare', '/') },
    control: { script: bare, path: '/', env: {}, loads: both('control', '/') },
    fastify: { script: fastify, path: '/health/live', env: {}, loads: both('fastify', '/health/live') },
    query: { script: fastify, path: '/health/live', env: { DATABASE_URL }, loads: both('query', '/health/ready') },
    service: {
      script: serverScript,
      path: '/health/live',
      env: { DATABASE_URL, SESSION_SECRET, ENCRYPTION_KEY, PROBE_PORT: String(probePort), DATA_DIR: dataDir },
      loads: {
        ...both('live', '/health/live'),
        ...both('ready', '/health/ready'),
        ...both('probe port live', '/health/live', probePort),
        ...both('probe port ready', '/health/ready', probePort)
      },
      idle: true
    }
  }

  const results: Record<string, Measured[]> = {}
  for (let i = 0; i < LAUNCHES; i++) {
    for (const [name, subject] of shuffled(Object.entries(subjects))) {
      const measured = await measure(subject)
      results[name] = [...(results[name] ?? []), measured]
      process.stderr.write(`launch ${i + 1}/${LAUNCHES} ${name}\n`)
    }
  }
  report(results, await statementsPerSecond(subjects.service as Subject))
} finally {
  for (const cleanup of cleanups) await cleanup()
}

async function measure({ script, path, env, loads, idle }: Subject): Promise<Measured> {
  const port = await freePort()
  const server = await launch(script, { port, path, env })
  try {
    const measured: Measured = { firstAnswerMs: server.firstAnswerMs, loads: {} }
    if (idle) {
      await sleep(IDLE_MS)
      measured.rssMb = server.rssMb()
    }
    for (const [name, target] of shuffled(Object.entries(loads))) {
      const url = `http://127.0.0.1:${target.port ?? port}${target.path}`
      measured.loads[name] = await load(server, url, { seconds: SECONDS, close: target.close })
    }
    return measured
  } finally {
    await server.end()
  }
}

/**
 * The highest number of statements per second that the database logged for this service while it was probed at full
 * rate.
 */
async function statementsPerSecond({ script, path, env }: Subject): Promise<number> {
  await postgres.query("alter system set log_statement = 'all'")
  await postgres.query("alter system set log_line_prefix = 'at=%n app=%a '")
  await postgres.query('select pg_reload_conf()')
  const server: Launched = await launch(script, { port: await freePort(), path, env })
  try {
    await sleep(2_000)
    await load(server, `http://127.0.0.1:${server.port}/health/ready`, { seconds: 5, close: false })
  } finally {
    await server.end()
  }
  const seconds = new Map<string, number>()
  for (const [, second] of readFileSync(postgres.logFile, 'utf8').matchAll(
    /^at=(\d+)\.\d+ app=\S*-probe LOG: {2}statement/gm
  )) {
    if (second) seconds.set(second, (seconds.get(second) ?? 0) + 1)
  }
  if (seconds.size === 0) throw new Error('the statement log names no statement of the probes')
  return Math.max(...seconds.values())
}

function report(results: Record<string, Measured[]>, statements: number): void {
  const rates = (subject: string, name: string) =>
    summary((results[subject] ?? []).map(({ loads }) => loads[name]?.requestsPerSecond ?? Number.NaN))
  const median = (subject: string, name: string) => rates(subject, name).median
  const say = (line: string) => process.stdout.write(`${line}\n`)

  say(
    `commit ${execFileSync('git', ['rev-parse', '--short', 'HEAD'], { encoding: 'utf8' }).trim()}, node ${process.version}, ${LAUNCHES} launches, ${SECONDS} s each`
  )
  say('')
  say('| what | requests/s (median, 95 %) | CPU µs/request | of bare |')
  say('|---|---|---|---|')
  for (const [subject, measured] of Object.entries(results)) {
    for (const name of Object.keys(measured[0]?.loads ?? {}).sort()) {
      const { median: rate, low, high } = rates(subject, name)
      const cpu = summary(measured.map(({ loads }) => loads[name]?.cpuUsPerRequest ?? Number.NaN)).median
      const mode = name.endsWith('close') ? 'close' : 'keep-alive'
      const share = (rate / median('bare', `bare, ${mode}`)).toFixed(2)
      say(`| ${name} | ${Math.round(rate)} (${Math.round(low)}–${Math.round(high)}) | ${cpu.toFixed(1)} | ${share} |`)
    }
  }
  say('')

  const first = (subject: string) => summary((results[subject] ?? []).map(({ firstAnswerMs }) => firstAnswerMs)).median
  const rss = summary((results.service ?? []).map(({ rssMb }) => rssMb ?? Number.NaN)).median
  const failed = Object.values(results)
    .flat()
    .flatMap(({ loads }) => Object.values(loads))
    .reduce((sum, { failed }) => sum + failed, 0)
  const bars: [name: string, value: number, bar: string, holds: boolean][] = []
  const atLeast = (name: string, value: number, bar: number) => bars.push([name, value, `≥ ${bar}`, value >= bar])
  const atMost = (name: string, value: number, bar: number) => bars.push([name, value, `≤ ${bar}`, value <= bar])
  for (const mode of ['keep-alive', 'close']) {
    const control = median('control', `control, ${mode}`) / median('bare', `bare, ${mode}`)
    atMost(`control against bare, ${mode} (deviation)`, Math.abs(control - 1), CONTROL_LIMIT)
  }
  for (const mode of ['keep-alive', 'close']) {
    atLeast(
      `live / plain Fastify, ${mode}`,
      median('service', `live, ${mode}`) / median('fastify', `fastify, ${mode}`),
      0.95
    )
    atLeast(`ready / live, ${mode}`, median('service', `ready, ${mode}`) / median('service', `live, ${mode}`), 0.8)
    atLeast(
      `probe port live / bare, ${mode}`,
      median('service', `probe port live, ${mode}`) / median('bare', `bare, ${mode}`),
      0.85
    )
  }
  atLeast(
    'ready / query per request, keep-alive',
    median('service', 'ready, keep-alive') / median('query', 'query, keep-alive'),
    3
  )
  atMost('statements per second', statements, 10)
  atMost('idle RSS, MB', rss, 95)
  atMost('first 200 / plain Fastify', first('service') / first('fastify'), 1.6)
  atMost('failed requests', failed, 0)

  say('| bar | measured | wanted | |')
  say('|---|---|---|---|')
  for (const [name, value, bar, holds] of bars)
    say(`| ${name} | ${value.toFixed(2)} | ${bar} | ${holds ? 'holds' : 'MISSED'} |`)
  const [keepAlive, close] = bars
  if (!keepAlive?.[3] || !close?.[3]) say('\nVOID: the two bare servers do not agree within 5 %')
  if (bars.some(([, , , holds]) => !holds)) process.exitCode = 1
}
