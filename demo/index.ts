// A service in a simulated environment: exchanges, Telegram, accounts, orders, a market with moving prices.
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm, symlink } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import postgres, { type Sql } from 'postgres'
import { runningEmbeddedPostgres } from '../src/database/embedded/index.ts'
import { startBotApiServer } from '../test/support/bot-api-server.ts'
import { cliScript } from '../test/support/project.ts'
import { inventHistory } from './history.ts'
import { DemoMarket, LOSER } from './market.ts'
import { portOrAny } from './ports.ts'
import { DemoService } from './service.ts'

const USERNAME = 'demo'
const PASSWORD = 'a password of the demo'
const CHAT = '4242'
/** What a comparison of the books needs, three comparisons, by which a difference is reported, and what follows from them. */
const START_JOBS = [
  ...['update_prices', 'update_orders', 'sync_ledger'],
  ...Array<string[]>(3).fill(['sync_balances', 'reconcile_books']).flat(),
  ...['calculate_pnl', 'calculate_performance']
]
const TRADE_MS = 1_500
const RETRY_MS = 200

const stopping = new AbortController()
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => stopping.abort())

const dataDir = await mkdtemp(join(tmpdir(), 'trading-health-demo-'))
progress('Starting five simulated exchanges and a simulated Telegram.')
const market = await DemoMarket.start()
const bot = await startBotApiServer({ chats: [CHAT] })
const environment = {
  PORT: await portOrAny('5001'),
  PROBE_PORT: await portOrAny('5002'),
  METRICS_PORT: await portOrAny('9464'),
  ...process.env,
  ...market.urls,
  DATA_DIR: dataDir,
  DATABASE_URL: '',
  DRAIN_SECONDS: '0',
  LOG_LEVEL: 'info',
  TELEGRAM_API_URL: bot.url,
  TELEGRAM_BOT_TOKEN: bot.token,
  TELEGRAM_CHAT_ID: CHAT
}
progress('Starting the service with a new database.')
const service = new DemoService(environment)
let failed = false
void service.ended.then(reason => {
  if (stopping.signal.aborted) return
  failed = true
  process.stderr.write(`${reason}\n`)
  stopping.abort()
})

try {
  await populate(await service.started(stopping.signal))
} catch (err) {
  if (!stopping.signal.aborted) throw err
} finally {
  stopping.abort()
  await service.stop()
  await Promise.all([market.close(), bot.close()])
  await rm(dataDir, { recursive: true, force: true })
}
process.exitCode = failed ? 1 : 0

function progress(text: string): void {
  process.stdout.write(`${text}\n`)
}

/** Fills the database, prints what can be tried, and trades until it is stopped. */
async function populate(main: string): Promise<void> {
  progress('Creating a user, five accounts and two weeks of trades.')
  await command([PASSWORD], 'user:create', USERNAME, '--admin')
  for (const { exchange, name, secrets } of market.accounts) {
    await command(secrets, 'account:add', '--user', USERNAME, '--exchange', exchange, '--name', name)
  }
  const url = await runningEmbeddedPostgres(dataDir)
  if (url === undefined) throw new Error('the embedded database is gone')
  const sql = postgres(url, { max: 1, onnotice: () => {} })
  try {
    await sql`update users set telegram_chat_id = ${CHAT}`
    await market.past(sql, await inventHistory(sql, USERNAME, market.accounts))
    for (let i = 0; i < 4; i++) await market.trade(sql, LOSER)
    progress('Running the jobs, which compares the books three times.')
    await runJobs(main, sql)
    // libpq does not accept a socket directory with a comma in its name: a comma separates hosts.
    const socket = join(dataDir, 'socket')
    await symlink(decodeURIComponent(new URL(url).hostname), socket)
    process.stdout.write(invitation(new URL(main).port, socket))
    // Trades of the account that are recorded later would be in the reported difference, too.
    let isReported = false
    while (!stopping.signal.aborted) {
      await market.trade(sql, isReported ? undefined : LOSER)
      for (const { text } of bot.delivered.splice(0)) {
        process.stdout.write(`\n--- Telegram ---\n${text}\n`)
        isReported ||= text.includes(`• ${LOSER} `)
      }
      await sleep(TRADE_MS, undefined, { signal: stopping.signal })
    }
  } finally {
    await sql.end({ timeout: 1 })
  }
}

async function runJobs(main: string, sql: Sql): Promise<void> {
  const signedIn = await post(`${main}/api/auth/login`, { username: USERNAME, password: PASSWORD })
  const cookie = signedIn.headers.getSetCookie()[0]?.split(';')[0] ?? ''
  for (const job_type of START_JOBS) {
    // A comparison needs later readings than the one before it. The next ones would be minutes later.
    await sql`update book_checks set compared_at = compared_at - interval '10 minutes'`
    for (;;) {
      const answer = await post(`${main}/api/system/trigger-job`, { job_type }, cookie)
      if (answer.ok) break
      if (answer.status !== 409) throw new Error(`${job_type}: ${await answer.text()}`)
      // The schedule has started it.
      await sleep(RETRY_MS, undefined, { signal: stopping.signal })
    }
  }
  await post(`${main}/api/auth/logout`, {}, cookie)
}

function post(url: string, body: unknown, cookie = ''): Promise<Response> {
  const headers = { 'content-type': 'application/json', cookie }
  return fetch(url, { method: 'POST', headers, body: JSON.stringify(body), signal: stopping.signal })
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

function invitation(port: string, socket: string): string {
  return `
The demo runs until Ctrl-C. What the service sends to Telegram is printed here. Sign in, then try some requests:

  http --session=demo :${port}/api/auth/login username=${USERNAME} password='${PASSWORD}'

  http --session=demo :${port}/api/system/health/details
  http --session=demo :${port}/api/system/scheduler-status
  http --session=demo :${port}/api/system/cache-stats
  http --session=demo :${port}/api/system/trigger-job job_type=calculate_pnl
  http --session=demo :${port}/api/system/trigger-job job_type=daily_summary
  http --session=demo :${port}/api/system/job-runs limit==5

The Bybit account was liquidated, the Upbit account withdrew money, and the Bithumb account lost 350,000 won that no list of
the exchange has. Messages report the first and the last. So does \`books\` in the health details, within 30 s. The next lines
show the difference (\`reported\` is yes; others are of trades that are recorded later), the withdrawals and the liquidations.
More withdrawals and liquidations follow every three minutes, and are recorded within five:

  DATA_DIR='${dataDir}' npm run --silent admin -- books:list
  psql -h ${socket} -U postgres -c "select * from ledger_entries where kind = 'withdrawal'"
  psql -h ${socket} -U postgres -c "select * from orders where origin = 'forced'"

Or query its database:

  psql -h ${socket} -U postgres
`
}
