// npm run build && node build/bench/scheduler.js: the start delay of fires, compared with croner alone with the same
// jobs; the cost of a claim; the statements per second of an idle replica.

import { execFileSync } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { Cron } from 'croner'
import { pino } from 'pino'
import { buildApp } from '../src/app.ts'
import { HOUR, SECOND } from '../src/async/durations.ts'
import { loadConfig } from '../src/config.ts'
import type { Job } from '../src/scheduler/job.ts'
import { newClaim } from '../src/scheduler/run.ts'
import { RunStore } from '../src/scheduler/run-store.ts'
import { every } from '../src/scheduler/trigger.ts'
import { startTestPostgres } from '../test/support/postgres.ts'

const SECONDS = Number(process.env.SECONDS ?? 60)
/** Jobs that are due at the same moment, every second. */
const JOBS = Number(process.env.JOBS ?? 5)
const CLAIMS = 500
const IDLE_SECONDS = 59
const SESSION_SECRET = 'a secret of a bench and of nothing else'
const ENCRYPTION_KEY = Buffer.alloc(32).toString('base64')
const IDLE_LIMIT = 2

const say = (line: string) => process.stdout.write(`${line}\n`)
const cleanups: (() => unknown)[] = []
const postgres = await startTestPostgres({ teardown: cleanup => void cleanups.unshift(cleanup) })

try {
  const revision = execFileSync('git', ['rev-parse', '--short', 'HEAD'], { encoding: 'utf8' }).trim()
  say(`commit ${revision}, node ${process.version}, ${JOBS} jobs each second, ${SECONDS} s`)
  say('')
  say('| start delay, ms | fires | p50 | p99 | most |')
  say('|---|---|---|---|---|')
  report('croner alone', await cronerDelays())
  report('one replica', await schedulerDelays(1))
  report('three replicas', await schedulerDelays(3))
  say('')
  await claimCost()
  await idleQueries()
} finally {
  for (const cleanup of cleanups) await cleanup()
}

async function cronerDelays(): Promise<number[]> {
  const delays: number[] = []
  const crons = Array.from(
    { length: JOBS },
    () => new Cron('* * * * * *', { protect: true, catch: true }, () => void delays.push(Date.now() % SECOND))
  )
  await sleep(SECONDS * SECOND)
  for (const cron of crons) cron.stop()
  return delays
}

/** All replicas are in this process, on one event loop, so their delays are higher than on separate machines. */
async function schedulerDelays(replicas: number): Promise<number[]> {
  const delays: number[] = []
  const jobs = Array.from({ length: JOBS }, (_, i) =>
    job(`job_${i}`, SECOND, async ({ scheduledFor }) => {
      delays.push(Date.now() - scheduledFor.getTime())
      return {}
    })
  )
  const apps = await Promise.all(Array.from({ length: replicas }, () => replica(jobs)))
  await sleep(3 * SECOND)
  delays.length = 0
  await sleep(SECONDS * SECOND)
  const measured = [...delays]
  await Promise.all(apps.map(app => app.close()))
  return measured
}

/** The time of each statement of a fire, one after the other on an idle server. */
async function claimCost(): Promise<void> {
  const app = await replica([job('claimed', 100_000 * HOUR, async () => ({}))], false)
  const store = new RunStore(app.db)
  while (app.scheduler.health().heartbeatAgeMs === null) await sleep(10)
  const claims: number[] = []
  const losses: number[] = []
  const ends: number[] = []
  const begunMs = Date.now() - CLAIMS * SECOND - SECOND
  await app.db.run(sql => sql`update scheduled_jobs set next_fire_at = ${new Date(begunMs)} where job_id = 'claimed'`)
  for (let i = 0; i < CLAIMS; i++) {
    const dueMs = begunMs + i * SECOND
    const fire = { dueMs, nextMs: dueMs + SECOND, run: { scheduledForMs: dueMs, trigger: 'schedule' as const } }
    const claim = newClaim(randomUUID())
    claims.push(await timed(() => store.claimFire('claimed', fire, claim)))
    losses.push(await timed(() => store.claimFire('claimed', fire, newClaim('loser'))))
    ends.push(await timed(() => store.finish(claim, { outcome: 'succeeded', result: {}, errorCode: null })))
  }
  await app.close()
  say('| statement, ms | p50 | p99 |')
  say('|---|---|---|')
  say(`| claim, won | ${summaryOf(claims)} |`)
  say(`| claim, lost | ${summaryOf(losses)} |`)
  say(`| end (a transaction) | ${summaryOf(ends)} |`)
  say('')
}

/** The statements of an idle replica, from the log of Postgres, without probes. */
async function idleQueries(): Promise<void> {
  await postgres.query("alter system set log_statement = 'all'")
  await postgres.query("alter system set log_line_prefix = 'app=%a '")
  await postgres.query('select pg_reload_conf()')
  const app = await replica(undefined)
  while (app.scheduler.health().heartbeatAgeMs === null) await sleep(10)
  await sleep(2 * SECOND)
  const statements = () =>
    readFileSync(postgres.logFile, 'utf8').match(/^app=bench LOG: {2}(statement|execute).*(\n\t.*)*/gm) ?? []
  const before = statements().length
  await sleep(IDLE_SECONDS * SECOND)
  const idle = statements().slice(before)
  const perSecond = idle.length / IDLE_SECONDS
  await app.close()
  say('| statement | per minute |')
  say('|---|---|')
  const counts = new Map<string, number>()
  for (const statement of idle) {
    const text = statement
      .replace(/^[^:]*: {2}\w+[^:]*: /, '')
      .replace(/\s+/g, ' ')
      .slice(0, 90)
      .replaceAll('|', ' ')
    counts.set(text, (counts.get(text) ?? 0) + 1)
  }
  const most = [...counts].sort(([, a], [, b]) => b - a).slice(0, 12)
  for (const [text, times] of most) say(`| \`${text}\` | ${((times * 60) / IDLE_SECONDS).toFixed(0)} |`)
  say('')
  const holds = perSecond > 0 && perSecond <= IDLE_LIMIT
  say(
    `idle statements per second and replica: ${perSecond.toFixed(2)} (≤ ${IDLE_LIMIT}: ${holds ? 'holds' : 'MISSED'})`
  )
  if (!holds) process.exitCode = 1
}

async function replica(jobs: Job[] | undefined, enabled = true) {
  const config = loadConfig({
    PORT: '0',
    PROBE_PORT: '0',
    LOG_LEVEL: 'silent',
    SERVICE_NAME: 'bench',
    DATABASE_URL: postgres.url,
    METRICS_PORT: 'off',
    SESSION_SECRET,
    ENCRYPTION_KEY,
    SCHEDULER_ENABLED: String(enabled)
  })
  const app = buildApp(
    { SESSION_SECRET, ENCRYPTION_KEY, ...config },
    { logger: pino({ level: 'silent' }), ...(jobs && { jobs }) }
  )
  await app.listen({ host: config.HOST, port: config.PORT })
  return app
}

function job(id: string, periodMs: number, run: Job['run']): Job {
  return {
    id,
    type: id,
    name: id,
    trigger: every(periodMs),
    scope: 'cluster',
    misfire: { policy: 'skip' },
    maxRunMs: HOUR,
    undone: [],
    run
  }
}

async function timed(work: () => Promise<unknown>): Promise<number> {
  const begun = performance.now()
  await work()
  return performance.now() - begun
}

function quantile(sorted: number[], q: number): number {
  return sorted[Math.min(sorted.length - 1, Math.ceil(sorted.length * q) - 1)] ?? Number.NaN
}

function summaryOf(values: number[]): string {
  const sorted = [...values].sort((a, b) => a - b)
  return `${quantile(sorted, 0.5).toFixed(2)} | ${quantile(sorted, 0.99).toFixed(2)}`
}

function report(name: string, delays: number[]): void {
  const most = Math.max(...delays)
  say(`| ${name} | ${delays.length} | ${summaryOf(delays)} | ${most} |`)
}
