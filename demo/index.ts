// A service with everything around it invented: exchanges, Telegram, accounts, orders, a market that moves.
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import postgres from 'postgres'
import { runningEmbeddedPostgres } from '../src/database/embedded/index.ts'
import { startBotApiServer } from '../test/support/bot-api-server.ts'
import { cliScript, serverScript } from '../test/support/project.ts'
import { inventHistory } from './history.ts'
import { DemoMarket } from './market.ts'

const USERNAME = 'demo'
const PASSWORD = 'a password of the demo'
const CHAT = '4242'
const START_JOBS = ['update_prices', 'sync_balances', 'update_orders', 'calculate_pnl', 'calculate_performance']
const TRADE_MS = 1_500

const stopping = new AbortController()
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => stopping.abort())

const dataDir = await mkdtemp(join(tmpdir(), 'trading-health-demo-'))
const market = await DemoMarket.start()
const bot = await startBotApiServer({ chats: [CHAT] })
const { PORT = '5001', PROBE_PORT = '5002' } = process.env
const environment = {
  PORT,
  PROBE_PORT,
  ...process.env,
  ...market.urls,
  DATA_DIR: dataDir,
  DATABASE_URL: '',
  DRAIN_SECONDS: '0',
  LOG_LEVEL: 'warn',
  TELEGRAM_API_URL: bot.url,
  TELEGRAM_BOT_TOKEN: bot.token,
  TELEGRAM_CHAT_ID: CHAT
}
const base = `http://127.0.0.1:${PORT}`
const service = spawn(process.execPath, [serverScript], {
  env: environment,
  stdio: ['ignore', 'ignore', 'inherit'],
  // Its own group: an interrupt of the terminal comes here first, and is passed on.
  detached: true
})
service.once('exit', () => stopping.abort())

try {
  await started()
  await populate()
} catch (err) {
  if (!stopping.signal.aborted) throw err
} finally {
  if (service.exitCode === null && service.signalCode === null) {
    service.kill('SIGTERM')
    await once(service, 'exit')
  }
  await Promise.all([market.close(), bot.close()])
  await rm(dataDir, { recursive: true, force: true })
}
process.exitCode = service.exitCode ?? 1

async function started(): Promise<void> {
  for (;;) {
    stopping.signal.throwIfAborted()
    const answer = await fetch(`${base}/health/startup`).catch(() => undefined)
    if (answer?.ok) return
    await sleep(100)
  }
}

/** Fills the database, shows what can be seen, and trades until it is stopped. */
async function populate(): Promise<void> {
  await command([PASSWORD], 'user:create', USERNAME, '--admin')
  for (const { exchange, name, secrets } of market.accounts) {
    await command(secrets, 'account:add', '--user', USERNAME, '--exchange', exchange, '--name', name)
  }
  const url = await runningEmbeddedPostgres(dataDir)
  if (url === undefined) throw new Error('the embedded database is gone')
  const sql = postgres(url, { max: 1, onnotice: () => {} })
  try {
    await sql`update users set telegram_chat_id = ${CHAT}`
    await inventHistory(sql, USERNAME, market.accounts)
    for (let i = 0; i < 4; i++) await market.trade(sql)
    await runJobs()
    process.stdout.write(invitation())
    while (!stopping.signal.aborted) {
      await market.trade(sql)
      for (const { text } of bot.delivered.splice(0)) process.stdout.write(`\n--- Telegram ---\n${text}\n`)
      await sleep(TRADE_MS, undefined, { signal: stopping.signal })
    }
  } finally {
    await sql.end({ timeout: 1 })
  }
}

async function runJobs(): Promise<void> {
  const signedIn = await post('/api/auth/login', { username: USERNAME, password: PASSWORD })
  const cookie = signedIn.headers.getSetCookie()[0]?.split(';')[0] ?? ''
  for (const job_type of START_JOBS) {
    const answer = await post('/api/system/trigger-job', { job_type }, cookie)
    // The clock may have been first.
    if (!answer.ok && answer.status !== 409) throw new Error(`${job_type}: ${await answer.text()}`)
  }
  await post('/api/auth/logout', {}, cookie)
}

function post(path: string, body: unknown, cookie = ''): Promise<Response> {
  const headers = { 'content-type': 'application/json', cookie }
  return fetch(base + path, { method: 'POST', headers, body: JSON.stringify(body), signal: stopping.signal })
}

/** Runs one of the operator's commands on the demo's database. */
async function command(secrets: readonly string[], ...words: string[]): Promise<void> {
  const child: ChildProcess = spawn(process.execPath, [cliScript, ...words], {
    env: environment,
    stdio: ['pipe', 'ignore', 'inherit']
  })
  child.stdin?.end(secrets.map(line => `${line}\n`).join(''))
  const [code] = await once(child, 'exit')
  if (code !== 0) throw new Error(`${words[0]} failed`)
}

function invitation(): string {
  return `
The demo runs until Ctrl-C. Sign in, then look around:

  http --session=demo :${PORT}/api/auth/login username=${USERNAME} password='${PASSWORD}'

  http --session=demo :${PORT}/api/system/scheduler-status
  http --session=demo :${PORT}/api/system/cache-stats
  http --session=demo :${PORT}/api/system/trigger-job job_type=calculate_pnl
  http --session=demo :${PORT}/api/system/trigger-job job_type=daily_summary
  http --session=demo :${PORT}/api/system/job-runs limit==5

The database: ${dataDir}; its message of the day comes here in place of Telegram.
`
}
