// npm run bench:performance: the daily jobs over a year of trading, while the main port of the same process is probed.
// A tenth of the size is measured first, to show the growth. STRATEGIES and EXECUTIONS set the full size.

import { execFileSync, fork } from 'node:child_process'
import { once } from 'node:events'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { pino } from 'pino'
import { buildApp } from '../src/app.ts'
import { HOUR } from '../src/async/durations.ts'
import { loadConfig } from '../src/config.ts'
import { calculateDailyPerformance } from '../src/jobs/calculate-daily-performance.ts'
import { SUMMARY_MAX_AGES } from '../src/jobs/index.ts'
import { sendDailySummary } from '../src/jobs/send-daily-summary.ts'
import { Outbox } from '../src/notifications/outbox.ts'

import { testJob } from '../test/support/jobs.ts'
import { startTestPostgres } from '../test/support/postgres.ts'
import { generateTrading } from '../test/support/trading-year.ts'

const STRATEGIES = Number(process.env.STRATEGIES ?? 500)
const EXECUTIONS = Number(process.env.EXECUTIONS ?? 1_000_000)
const DAYS = 365
const TIME_ZONE = 'Asia/Seoul'
const PROBE_EVERY_MS = 10

const BARS = { oneDayS: 5, historyS: 60, probeMs: 100, growth: 1.2 }

const say = (line: string) => process.stdout.write(`${line}\n`)

if (process.send) await serve()
else await measure()

/** Runs in a process of its own: the service with both jobs, which run when the parent sends a message. */
async function serve(): Promise<void> {
  const settings = { maxRunMs: HOUR, takesDate: () => true }
  const jobs = [
    testJob('performance', calculateDailyPerformance({ timeZone: TIME_ZONE }), settings),
    testJob(
      'summary',
      sendDailySummary({
        timeZone: TIME_ZONE,
        language: 'en',
        operatorChatId: '1',
        maxAges: SUMMARY_MAX_AGES,
        outbox: new Outbox()
      }),
      settings
    )
  ]
  const secrets = { SESSION_SECRET: 'a secret of a bench and of nothing else', ENCRYPTION_KEY: '' }
  secrets.ENCRYPTION_KEY = Buffer.alloc(32).toString('base64')
  const { DATABASE_URL } = process.env
  const config = loadConfig({
    ...secrets,
    PORT: '0',
    PROBE_PORT: 'off',
    METRICS_PORT: 'off',
    LOG_LEVEL: 'silent',
    DATABASE_URL
  })
  const app = buildApp({ ...config, ...secrets }, { logger: pino({ level: 'silent' }), jobs })
  const url = await app.listen({ host: config.HOST, port: config.PORT })
  while (app.scheduler.health().heartbeatAgeMs === null) await sleep(10)
  process.on('message', async ({ type, date }: { type: string; date?: string }) => {
    if (type === 'end') {
      await app.close()
      process.disconnect()
      return
    }
    const found = app.scheduler.jobOfType(type)
    if (!found) throw new Error(`no job ${type}`)
    const begunMs = performance.now()
    const triggered = await app.scheduler.trigger(found, { actor: 'bench', date })
    const ended = triggered.kind === 'started' ? await triggered.run.finished : undefined
    process.send?.({ seconds: (performance.now() - begunMs) / 1_000, ended })
  })
  process.send?.({ url })
}

interface Measured {
  seconds: number
  worstProbeMs: number
  probes: number
  result: string
}

async function measure(): Promise<void> {
  const revision = execFileSync('git', ['rev-parse', '--short', 'HEAD'], { encoding: 'utf8' }).trim()
  say(`commit ${revision}, node ${process.version}, ${DAYS} days`)
  say('')
  say('| what | strategies | executions | s | worst probe, ms | result |')
  say('|---|---|---|---|---|---|')
  const small = await measureSize(STRATEGIES / 10, EXECUTIONS / 10)
  const full = await measureSize(STRATEGIES, EXECUTIONS)
  say('')
  say('| bar | measured | wanted | |')
  say('|---|---|---|---|')
  const all = [...Object.values(small), ...Object.values(full)]
  bar('history, s', full.history.seconds, BARS.historyS)
  bar('one day, s', full.day.seconds, BARS.oneDayS)
  bar('worst probe, ms', Math.max(...all.map(({ worstProbeMs }) => worstProbeMs)), BARS.probeMs)
  bar('history, growth from a tenth / 10', full.history.seconds / small.history.seconds / 10, BARS.growth)
  bar('one day, growth from a tenth / 10', full.day.seconds / small.day.seconds / 10, BARS.growth)
}

function bar(name: string, value: number, wanted: number): void {
  const holds = value <= wanted
  say(`| ${name} | ${value.toFixed(2)} | ≤ ${wanted} | ${holds ? 'holds' : 'MISSED'} |`)
  if (!holds) process.exitCode = 1
}

async function measureSize(strategies: number, executions: number) {
  const cleanups: (() => unknown)[] = []
  const server = await startTestPostgres({ teardown: cleanup => void cleanups.unshift(cleanup) })
  try {
    const child = fork(fileURLToPath(import.meta.url), { env: { ...process.env, DATABASE_URL: server.url } })
    cleanups.unshift(() => child.kill('SIGKILL'))
    const [{ url }] = await once(child, 'message')
    await generateTrading(server.url, { strategies, executions, days: DAYS })
    // The first requests and statements of a process compile their schemas and open their connections.
    for (let i = 0; i < 200; i++) await Promise.all([fetch(`${url}/health/live`), fetch(`${url}/health/ready`)])

    const run = async (name: string, message: object): Promise<Measured> => {
      const probes: number[] = []
      let probing = true
      const prober = (async () => {
        while (probing) {
          for (const path of ['/health/live', '/health/ready']) {
            const begunMs = performance.now()
            const response = await fetch(url + path)
            await response.arrayBuffer()
            if (response.status !== 200) throw new Error(`${path} answered ${response.status}`)
            probes.push(performance.now() - begunMs)
          }
          await sleep(PROBE_EVERY_MS)
        }
      })()
      child.send(message)
      const [{ seconds, ended }] = await once(child, 'message')
      probing = false
      await prober
      if (ended?.outcome !== 'succeeded') throw new Error(`${name}: ${JSON.stringify(ended)}`)
      const worstProbeMs = Math.max(...probes)
      const result = Object.entries(ended.result)
        .map(([key, value]) => `${key} ${value}`)
        .join(', ')
      say(
        `| ${name} | ${strategies} | ${executions} | ${seconds.toFixed(2)} | ${worstProbeMs.toFixed(1)} | ${result} |`
      )
      return { seconds, worstProbeMs, probes: probes.length, result }
    }
    const yesterday = new Intl.DateTimeFormat('sv-SE', { timeZone: TIME_ZONE }).format(Date.now() - 24 * HOUR)
    const measured = {
      history: await run('history', { type: 'performance' }),
      day: await run('one day', { type: 'performance', date: yesterday }),
      idle: await run('nothing new', { type: 'performance' }),
      summary: await run('daily summary', { type: 'summary' })
    }
    child.send({ type: 'end' })
    await once(child, 'exit')
    return measured
  } finally {
    for (const cleanup of cleanups) await cleanup()
  }
}
