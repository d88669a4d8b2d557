// npm run bench:performance: the jobs of a day over a year of trading, while the main port of the same process is
// probed; at a tenth of the size first, for the growth. STRATEGIES and EXECUTIONS set the full size.
import { execFileSync, fork } from 'node:child_process'
import { once } from 'node:events'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { pino } from 'pino'
import postgres from 'postgres'
import { buildApp } from '../src/app.ts'
import { loadConfig } from '../src/config.ts'
import { calculateDailyPerformance } from '../src/jobs/calculate-daily-performance.ts'
import { sendDailySummary } from '../src/jobs/send-daily-summary.ts'
import type { Job } from '../src/scheduler/job.ts'
import { every, HOUR } from '../src/scheduler/trigger.ts'
import { startTestPostgres } from '../test/support/postgres.ts'
import { tableOutbox } from '../test/support/table-outbox.ts'

const STRATEGIES = Number(process.env.STRATEGIES ?? 500)
const EXECUTIONS = Number(process.env.EXECUTIONS ?? 1_000_000)
const DAYS = 365
const STRATEGIES_PER_ACCOUNT = 5
const TIME_ZONE = 'Asia/Seoul'
const PROBE_EVERY_MS = 10

const BARS = { oneDayS: 5, historyS: 60, probeMs: 100, growth: 1.2 }

const say = (line: string) => process.stdout.write(`${line}\n`)

if (process.send) await serve()
else await measure()

/** Runs in a process of its own: the service with both jobs, run when the parent says so. */
async function serve(): Promise<void> {
  const job = (id: string, run: Job['run']): Job => ({
    id,
    type: id,
    name: id,
    trigger: every(100_000 * HOUR),
    scope: 'cluster',
    misfire: { policy: 'skip' },
    maxRunMs: HOUR,
    takesDate: true,
    run
  })
  const jobs = [
    job('performance', calculateDailyPerformance({ timeZone: TIME_ZONE })),
    job('summary', sendDailySummary({ timeZone: TIME_ZONE, language: 'en', operatorChatId: '1', outbox: tableOutbox }))
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
    await generate(server.url, strategies, executions)
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

/** A year of trading up to now, the same for the same size: each strategy trades around the clock. */
async function generate(url: string, strategies: number, executions: number): Promise<void> {
  const accounts = Math.ceil(strategies / STRATEGIES_PER_ACCOUNT)
  const sql = postgres(url, { max: 1, fetch_types: false, onnotice: () => undefined })
  try {
    await sql`insert into users (username, password_hash, telegram_chat_id) values ('bench', '', '2')`
    await sql`
      insert into accounts (user_id, name, exchange, api_key_encrypted, api_secret_encrypted, key_id, created_at)
      select 1, 'account ' || n, (array['BINANCE', 'BYBIT', 'OKX'])[n % 3 + 1], '', '', 'key', now() - interval '2 years'
      from generate_series(1, ${accounts}::int) n`
    await sql`
      insert into strategies (user_id, name, market_type)
      select 1, 'strategy ' || n, 'FUTURES' from generate_series(1, ${strategies}::int) n`
    await sql`
      insert into strategy_accounts (strategy_id, account_id, allocated_capital, capital_currency)
      select n, n % ${accounts}::int + 1, 10000, 'USDT' from generate_series(1, ${strategies}::int) n`
    await sql`
      insert into orders (strategy_account_id, account_id, market_type, symbol, exchange_symbol, side, order_type,
        quantity, status)
      select strategy_account_id, account_id, 'FUTURES', 'BTCUSDT', 'BTCUSDT', 'BUY', 'LIMIT', 1, 'filled'
      from strategy_accounts order by 1`
    await sql`
      insert into trade_executions (order_id, strategy_account_id, account_id, market_type, exchange_trade_id, symbol,
        currency, side, price, quantity, fee, fee_asset, fee_value, realized_pnl, executed_at, recorded_at)
      select sa, sa, sa % ${accounts}::int + 1, 'FUTURES', n, 'BTCUSDT', 'USDT', case when n % 2 = 0 then 'BUY' else 'SELL' end,
        90000 + (n::bigint * 7919 % 10007) / 100.0, 0.001 * (n % 9 + 1), 0.05, 'USDT', 0.05 + (n % 7) / 1000.0,
        case when n % 3 > 0 then (n::bigint * 7919 % 20011 - 9900) / 1000.0 end, at, at + interval '20 seconds'
      from generate_series(1, ${executions}::int) n
      cross join lateral (
        select n % ${strategies}::int + 1 as sa,
          now() - make_interval(days => ${DAYS}::int) * (1 - n / ${executions}::float8) as at
      ) trade`
    await sql`
      insert into account_balance_history (account_id, at, currency, total)
      select account_id, at, 'USDT', 50000 + (account_id * 7919 + extract(epoch from at)::bigint / 3600 * 104729) % 1009
      from generate_series(1, ${accounts}::int) account_id,
        generate_series(now() - make_interval(days => ${DAYS}::int), now(), interval '6 hours') at`
    await sql`
      insert into strategy_positions (strategy_account_id, market_type, symbol, currency, quantity, entry_price, unrealized_pnl)
      select n, 'FUTURES', 'BTCUSDT', 'USDT', 0.1, 90000, 12.5 from generate_series(1, ${strategies}::int) n`
    await sql`analyze`
  } finally {
    await sql.end({ timeout: 5 })
  }
}
