// npm run bench:read-api: walks over the pages of executions, orders and the ledger, for admins and users, with each filter,
// and a CSV of all executions. Database time is the CPU time of the database session (Linux), all data in its caches: it
// has no waits of a busy machine. Wall time is from the call to the page, in this process. EXECUTIONS sets a smaller size.

import { execFileSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { get } from 'node:http'
import postgres from 'postgres'
import { buildApp } from '../src/app.ts'
import { loadConfig } from '../src/config.ts'
import { Database } from '../src/database/database.ts'
import { migrate } from '../src/database/migrate.ts'
import { createLogger } from '../src/log/logger.ts'
import { balances } from '../src/trading/read/balances.ts'
import { books } from '../src/trading/read/books.ts'
import type { Collection, Filter } from '../src/trading/read/collection.ts'
import { dailySummaries } from '../src/trading/read/daily-summaries.ts'
import { equity } from '../src/trading/read/equity.ts'
import { executions } from '../src/trading/read/executions.ts'
import { ledger } from '../src/trading/read/ledger.ts'
import { orders } from '../src/trading/read/orders.ts'
import { performance as performances } from '../src/trading/read/performance.ts'
import { positions } from '../src/trading/read/positions.ts'
import { TradingReader } from '../src/trading/read/trading-reader.ts'
import { ENCRYPTION_KEY, SESSION_SECRET, TEST_ENVIRONMENT } from '../test/support/app.ts'
import { startTestPostgres } from '../test/support/postgres.ts'
import { adminOf } from '../test/support/session.ts'
import { generateHistory, HISTORY } from './trading-history.ts'

const EXECUTIONS = Number(process.env.EXECUTIONS ?? 1_000_000)
const LIMIT = 500
const BARS = { databaseMs: 50, rssMb: 80 }
const WRITTEN = 20_000

const say = (line: string) => process.stdout.write(`${line}\n`)
const cleanups: (() => unknown)[] = []
const t = { teardown: (end: () => unknown) => void cleanups.unshift(end) }
const silent = createLogger({ level: 'silent' })

async function measure(): Promise<void> {
  const { url } = await startTestPostgres(t)
  const database = new Database({ max: 1, applicationName: 'bench', log: silent })
  database.open(url)
  t.teardown(() => database.close(0))
  await migrate(database)
  const sql = postgres(url, { max: 1, fetch_types: false, onnotice: () => undefined })
  t.teardown(() => sql.end({ timeout: 5 }))
  const begunMs = performance.now()
  await generateHistory(sql, {
    executions: EXECUTIONS,
    orders: EXECUTIONS / 5,
    entries: EXECUTIONS / 20,
    equity: EXECUTIONS
  })
  const revision = execFileSync('git', ['rev-parse', '--short', 'HEAD'], { encoding: 'utf8' }).trim()
  const seconds = ((performance.now() - begunMs) / 1_000).toFixed(0)
  say(`commit ${revision}, node ${process.version}: ${EXECUTIONS} executions, made in ${seconds} s; pages of ${LIMIT}`)
  say('')
  say('| walk | items | pages | database, mean ms | database, worst ms | wall, worst ms |')
  say('|---|---|---|---|---|---|')
  const worst = []
  for (const [name, collection, filter] of WALKS) worst.push(await walk(database, name, collection, filter))
  say('')
  const csv = await streamCsv(url)
  say(`CSV: ${csv.items} items, ${csv.mb.toFixed(0)} MB in ${csv.seconds.toFixed(0)} s`)
  await writes(sql)
  say('')
  say('| bar | measured | wanted | |')
  say('|---|---|---|---|')
  bar('database time of a page, ms', Math.max(...worst), BARS.databaseMs)
  bar('growth of the memory of the service during the CSV, MB', csv.grownMb, BARS.rssMb)
  bar('executions that the CSV is without', EXECUTIONS - csv.items, 0)
}

const all: Filter = { owner: undefined }
const large: Filter = { owner: { username: 'large' } }
const medium: Filter = { owner: { username: 'medium' } }
const day = (daysAgo: number) => ({ time: new Date(Date.now() - daysAgo * 86_400_000).toISOString() })
type Walk = [name: string, collection: Collection, filter: Filter]
const WALKS: readonly Walk[] = [
  ['executions: all', executions, all],
  ['executions: a user with few', executions, { owner: { username: 'small' } }],
  ['executions: an account with a third of all', executions, { ...all, accountId: HISTORY.busyAccount }],
  ['executions: a strategy on 300 accounts', executions, { ...all, strategyId: HISTORY.wideStrategy }],
  ['executions: a strategy at the beginning', executions, { ...all, strategyId: HISTORY.rareStrategy }],
  ['executions: a currency at the beginning', executions, { ...all, currency: HISTORY.currency }],
  ['executions: the same of 300 accounts', executions, { ...large, currency: HISTORY.currency }],
  [
    'executions: the same of an account with a third of all',
    executions,
    { ...all, accountId: HISTORY.busyAccount, currency: HISTORY.currency }
  ],
  ['executions: a month', executions, { ...all, from: day(200), to: day(170) }],
  ['executions: a month of 300 accounts', executions, { ...large, from: day(200), to: day(170) }],
  ['orders: all', orders, all],
  ['orders: a currency of 300 accounts', orders, { ...large, currency: HISTORY.currency }],
  ['ledger: all', ledger, all],
  ['ledger: a currency of 300 accounts', ledger, { ...large, currency: HISTORY.currency }],
  ['positions: a currency of 300 accounts', positions, { ...large, currency: HISTORY.currency }],
  ...[performances, dailySummaries, equity, books, positions, balances, orders, executions, ledger].flatMap(
    (collection): Walk[] => [
      [`${collection.name}: a user with 300 accounts`, collection, large],
      [`${collection.name}: a user with 20 accounts`, collection, medium]
    ]
  )
]

/** Walks over all pages. @returns the most database time of a page, in ms */
async function walk(database: Database, name: string, collection: Collection, filter: Filter): Promise<number> {
  const reader = new TradingReader(database, 'Asia/Seoul')
  const pid = await database.run(
    async sql => (await sql<{ pid: number }[]>`select pg_backend_pid() as pid`)[0]?.pid ?? 0
  )
  const databaseMs: number[] = []
  const wallMs: number[] = []
  let items = 0
  let after: string[] | undefined
  // Fills the caches of the session with the catalogue.
  await reader.page({ collection, filter, limit: LIMIT }, LIMIT)
  do {
    const [begunMs, cpuMs] = [performance.now(), cpuMsOf(pid)]
    const page = await reader.page({ collection, filter: { ...filter, after }, limit: LIMIT }, LIMIT)
    wallMs.push(performance.now() - begunMs)
    databaseMs.push(cpuMsOf(pid) - cpuMs)
    items += page.items.length
    after = page.lastKey
  } while (after !== undefined)
  const mean = databaseMs.reduce((sum, ms) => sum + ms, 0) / databaseMs.length
  const worst = databaseMs.reduce((most, ms) => Math.max(most, ms), 0)
  const wall = wallMs.reduce((most, ms) => Math.max(most, ms), 0)
  say(`| ${name} | ${items} | ${databaseMs.length} | ${mean.toFixed(1)} | ${worst.toFixed(1)} | ${wall.toFixed(0)} |`)
  return worst
}

/** The CPU time of a process until now. */
function cpuMsOf(pid: number): number {
  return Number(readFileSync(`/proc/${pid}/schedstat`, 'utf8').split(' ')[0]) / 1e6
}

/** Reads all executions as CSV from a service in this process, without keeping them. */
async function streamCsv(DATABASE_URL: string) {
  const config = loadConfig({ ...TEST_ENVIRONMENT, PROBE_PORT: 'off', LOG_LEVEL: 'silent', DATABASE_URL })
  const app = buildApp({ ...config, SESSION_SECRET, ENCRYPTION_KEY, MAX_EVENT_LOOP_DELAY_MS: 0 }, { logger: silent })
  t.teardown(() => app.close())
  const origin = await app.listen({ host: config.HOST, port: config.PORT })
  const { cookie } = await adminOf(app)
  const begunMs = performance.now()
  const read = { items: -1, bytes: 0, grownMb: 0, baseMb: 0 }
  await new Promise<void>((resolve, reject) => {
    const headers = { cookie: String(cookie), accept: 'text/csv' }
    const request = get(`${origin}/api/trading/executions`, { headers }, response => {
      response.on('data', (chunk: Buffer) => {
        for (let at = chunk.indexOf('\n'); at !== -1; at = chunk.indexOf('\n', at + 1)) read.items++
        read.bytes += chunk.length
        const rssMb = process.memoryUsage.rss() / 1e6
        // After the first twentieth the code is compiled and the heap has its size.
        if (read.items < EXECUTIONS / 20) read.baseMb = rssMb
        else read.grownMb = Math.max(read.grownMb, rssMb - read.baseMb)
      })
      response.once('end', resolve).once('error', reject)
    })
    request.once('error', reject)
  })
  return { ...read, mb: read.bytes / 1e6, seconds: (performance.now() - begunMs) / 1_000 }
}

/** Inserts per second of CPU time of the session, with the indexes of the read API and with those before them. */
async function writes(sql: postgres.Sql): Promise<void> {
  const [{ pid } = { pid: 0 }] = await sql<{ pid: number }[]>`select pg_backend_pid() as pid`
  const insert = async (tx: postgres.TransactionSql) => {
    const cpuMs = cpuMsOf(pid)
    for (let first = 1; first <= WRITTEN; first += 100) {
      await tx`
        insert into trade_executions (order_id, strategy_account_id, account_id, market_type, exchange_trade_id, symbol,
          currency, side, price, quantity, base, quote, executed_at)
        select order_id, strategy_account_id, account_id, 'FUTURES', 'new ' || ${first}::int + row_number() over (), 'BTCUSDT',
          'USDT', 'BUY', 1, 1, 'BTC', 'USDT', now() + make_interval(secs => ${first}::int)
        from orders where order_id > ${first}::int order by order_id limit 100`
    }
    return (WRITTEN / (cpuMsOf(pid) - cpuMs)) * 1_000
  }
  class Undone extends Error {}
  const undone = async (prepare: (tx: postgres.TransactionSql) => Promise<unknown>) => {
    let rate = 0
    await sql
      .begin(async tx => {
        await prepare(tx)
        rate = await insert(tx)
        throw new Undone()
      })
      .catch(err => {
        if (!(err instanceof Undone)) throw err
      })
    return rate.toFixed(0)
  }
  const now = await undone(async () => undefined)
  const before = await undone(tx =>
    tx
      .unsafe(`
        drop index trade_executions_by_time, trade_executions_by_quote, trade_executions_account,
          trade_executions_strategy_account;
        create index trade_executions_account on trade_executions (account_id, executed_at);
        create index trade_executions_strategy_account on trade_executions (strategy_account_id, executed_at)`)
      .simple()
  )
  say(`inserts of executions per second of CPU time: ${now}, without the indexes of the read API ${before}`)
}

function bar(name: string, value: number, wanted: number): void {
  const holds = value <= wanted
  say(`| ${name} | ${value.toFixed(1)} | ≤ ${wanted} | ${holds ? 'holds' : 'MISSED'} |`)
  if (!holds) process.exitCode = 1
}

try {
  await measure()
} finally {
  for (const end of cleanups) await end()
}
