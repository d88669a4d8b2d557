// Three replicas with all real jobs, under all actions of admins and operators at the same time.
import { randomBytes } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import postgres from 'postgres'
import type { Test } from 'tap'
import { Accounts } from '../../src/accounts/accounts.ts'
import { KeyRing } from '../../src/accounts/key-ring.ts'
import { AuditLog } from '../../src/auth/audit-log.ts'
import { Passwords } from '../../src/auth/passwords.ts'
import { createToken, revokeToken } from '../../src/auth/token-table.ts'
import { Users } from '../../src/auth/users.ts'
import { Database } from '../../src/database/database.ts'
import { captureLog, untilStatus } from './app.ts'
import { startBotApiServer } from './bot-api-server.ts'
import { runCommand } from './command.ts'
import { steadyScript } from './project.ts'
import { until } from './replica.ts'
import { type Service, startService } from './service.ts'
import { Client } from './session.ts'
import { TradingLoad } from './trading-load.ts'
import { privateChat } from './update-queue.ts'
import { startWebhookServer } from './webhook-server.ts'

const NAMES = ['one', 'two', 'three']
/** Triggers of one job that are sent at the same time, over all replicas, unless a test sets it. */
const WAVE = 60
const ACCOUNTS_PER_EXCHANGE = 1
const CHAT = '4242'
const PASSWORD = 'correct horse battery'
/** The jobs that run once in the cluster: their types and ids. */
export const CLUSTER_JOBS: Readonly<Record<string, string>> = {
  update_orders: 'update_open_orders',
  calculate_pnl: 'calculate_unrealized_pnl',
  daily_summary: 'send_daily_summary',
  calculate_performance: 'calculate_daily_performance',
  sync_balances: 'sync_account_balances',
  sync_ledger: 'sync_exchange_ledger',
  reconcile_books: 'reconcile_books',
  housekeeping: 'housekeeping'
}
const KEYS = [randomBytes(32).toString('base64'), randomBytes(32).toString('base64')]

/** Commands of the operator in Telegram. Those that change something are confirmed. */
const BOT_COMMANDS = [
  '/run housekeeping',
  '/status',
  '/pause send_daily_summary',
  '/stop 1m a test',
  '/start',
  '/daily',
  '/resume send_daily_summary',
  '/books'
]
/** At most 20 commands and buttons of a chat are handled in a minute. */
const BETWEEN_COMMANDS_MS = 6_500

/** A sign-in with a wrong password. */
const REFUSED = 'refused login'

type Sent = Awaited<ReturnType<Client['send']>>

/** Three replicas and their environment. */
export interface Cluster {
  url: string
  sql: postgres.Sql
  replicas: (Service & { name: string; admin: Client })[]
  database: Database
  trading: TradingLoad
  bot: Awaited<ReturnType<typeof startBotApiServer>>
  environment: Record<string, string>
  /** Warnings and errors of the replicas, each kind once per replica with its count. */
  complaints(): { instance: string; line: string }[]
}

/**
 * Opens the books of all accounts, with an amount that their exchanges do not have. The ledgers of spot wallets are read
 * until after the test, so that their balances are compared at once. Those of the others have entries to read.
 */
async function openBooks(sql: postgres.Sql): Promise<void> {
  await sql`
    insert into ledger_entries (account_id, wallet, asset, amount, kind, exchange_kind, exchange_entry_id, at)
    select account_id, wallet, 'USDT', 0.5, 'opening', 'opening', 'USDT', now()
    from accounts, unnest(array['SPOT', 'FUTURES']) wallet
    on conflict do nothing`
  await sql`
    insert into ledger_readings (account_id, wallet, read_until)
    select account_id, wallet, now() + case wallet when 'SPOT' then interval '1 day' else interval '-1 minute' end
    from accounts, unnest(array['SPOT', 'FUTURES']) wallet
    on conflict (account_id, wallet) do update set read_until = excluded.read_until`
}

/**
 * Three replicas with all jobs, accounts on every exchange, a bot, a receiver of heartbeats, and an admin who is signed in
 * on each.
 */
export async function startCluster(t: Test, { url, directUrl }: { url: string; directUrl: string }): Promise<Cluster> {
  const trading = await TradingLoad.start(t)
  const bot = await startBotApiServer({ chats: [CHAT] })
  t.teardown(() => bot.close())
  const heartbeats = await startWebhookServer()
  t.teardown(() => heartbeats.close())
  const environment = {
    DATABASE_URL: url,
    ENCRYPTION_KEY: KEYS.join(),
    TRUST_PROXY: '127.0.0.1',
    LOG_LEVEL: 'warn',
    TELEGRAM_API_URL: bot.url,
    TELEGRAM_BOT_TOKEN: bot.token,
    TELEGRAM_CHAT_ID: CHAT,
    HEARTBEAT_URL: `${heartbeats.url}/heartbeat`,
    ...trading.urls
  }
  const services = await Promise.all(
    NAMES.map(name => startService(t, { ...environment, INSTANCE_ID: name, LOG_LEVEL: 'info' }, [steadyScript]))
  )
  for (const { main } of services) await untilStatus(`${main}/health/startup`, 200)

  const sql = postgres(directUrl, { max: 4, onnotice: () => undefined })
  t.teardown(() => sql.end({ timeout: 0 }))
  const database = new Database({ max: 4, applicationName: 'operator', log: captureLog().logger })
  database.open(url)
  t.teardown(() => database.close(0))
  const passwords = new Passwords()
  t.teardown(() => passwords.close())
  const passwordHash = await passwords.hash(PASSWORD)
  for (const username of ['ada', ...NAMES]) {
    await new Users(database).create({ username, passwordHash, role: 'admin' })
  }
  const accounts = accountsOf(database, KEYS)
  await trading.addAccounts(sql, accounts, 'ada', ACCOUNTS_PER_EXCHANGE)
  await trading.trade(sql)
  await openBooks(sql)
  const replicas = await Promise.all(
    services.map(async (service, i) => {
      const admin = new Client(service.main)
      // Three replicas that start at the same time on a small machine may shed load for a short time.
      const { status } = await until(
        () => admin.signIn('ada', PASSWORD),
        ({ status }) => status !== 503
      )
      if (status !== 200) throw new Error(`the admin was not signed in: ${status}`)
      return { ...service, name: NAMES[i] ?? '', admin }
    })
  )
  return {
    ...{ url, sql, replicas, database, trading, bot, environment },
    complaints: () =>
      replicas.flatMap(({ name, log }) => {
        const counts = new Map<string, number>()
        for (const { level, msg, err } of log.filter(({ level }) => level >= 40)) {
          const kind = `${level} ${msg}: ${causeOf(err)}`
          counts.set(kind, (counts.get(kind) ?? 0) + 1)
        }
        return [...counts].map(([kind, count]) => ({ instance: name, line: `${count} × ${kind}` }))
      })
  }
}

function causeOf(err: unknown): string {
  const text = JSON.stringify(err) ?? ''
  return text.slice(0, 300)
}

function accountsOf(database: Database, keys: readonly string[]): Accounts {
  const connect = () => {
    throw new Error('no client is made here')
  }
  return new Accounts({ database, keyRing: new KeyRing(keys.join()), connect })
}

/** The answers of the replicas, by action. */
export class Answers {
  readonly #byAction = new Map<string, Map<number, number>>()
  readonly #slowestMs = new Map<string, number>()
  /** Every answer of 5xx. */
  readonly failures: string[] = []

  async of(action: string, sent: Promise<Sent>): Promise<Sent> {
    const sentMs = performance.now()
    const { status, answer } = await sent
    this.#slowestMs.set(action, Math.max(this.#slowestMs.get(action) ?? 0, performance.now() - sentMs))
    const statuses = this.#byAction.get(action) ?? new Map<number, number>()
    this.#byAction.set(action, statuses.set(status, (statuses.get(status) ?? 0) + 1))
    if (status >= 500) this.failures.push(`${action}: ${status} ${answer.code}`)
    return sent
  }

  /** The number of answers by status, and the slowest answer, for each action. */
  counts(): [string, string][] {
    return [...this.#byAction].map(([action, statuses]) => [
      action,
      `${[...statuses].map(([status, count]) => `${count} × ${status}`).join(', ')}; slowest ${Math.round(this.#slowestMs.get(action) ?? 0)} ms`
    ])
  }

  /** The actions that never had the expected outcome. */
  get withoutSuccess(): string[] {
    return [...this.#byAction]
      .filter(([action, statuses]) => {
        const wanted = (status: number) => (action === REFUSED ? status === 429 : status < 300)
        return ![...statuses.keys()].some(wanted)
      })
      .map(([action]) => action)
  }
}

/**
 * All actions of admins, the operator and the scheduler, at the same time. Each job runs at least once, one of them by
 * its schedule, and no run is unfinished at the end.
 * @param durationMs no activity begins after this time and `isEnough`
 * @param wave triggers of one job that are sent at the same time. Default 60
 * @param isEnough called after `durationMs`, until it returns true
 */
export async function load(
  cluster: Cluster,
  durationMs: number,
  wave = WAVE,
  isEnough: (answers: Answers) => Promise<boolean> = async () => true
): Promise<Answers> {
  const answers = new Answers()
  let isOver = false
  const end = async () => {
    await sleep(durationMs)
    while (!(await isEnough(answers))) await sleep(1_000)
    isOver = true
  }
  /** Repeats an activity. The first failure ends it and is recorded. */
  const repeat = async (activity: string, work: (round: number) => Promise<unknown>) => {
    try {
      for (let round = 0; !isOver; round++) await work(round)
    } catch (err) {
      answers.failures.push(`${activity}: ${err}`)
    }
  }
  await Promise.all([
    end(),
    ...Object.keys(CLUSTER_JOBS).map((job_type, i) => {
      const body = { job_type, wait: false }
      return answers.of('trigger', nth(cluster.replicas, i).admin.send('POST', '/api/system/trigger-job', body))
    }),
    repeat('triggerConcurrently', round => triggerConcurrently(cluster, answers, round, wave)),
    repeat('fires', round => makeDue(cluster, round)),
    repeat('trade', () => Promise.all([cluster.trading.trade(cluster.sql), sleep(200)])),
    repeat('operator', round => operate(cluster, round)),
    repeat('intruder', () => signInWithWrongPassword(cluster, answers)),
    useCommands(cluster),
    repeat('telegram', round => writeToBot(cluster, round)),
    repeat('quiet', round => quiet(answers, nth(cluster.replicas, round).admin)),
    ...cluster.replicas.flatMap(({ main, name, admin }) => [
      repeat('trigger', round => trigger(answers, admin, round)),
      repeat('pause', round => pause(answers, admin, round)),
      repeat('control', round => control(answers, admin, round)),
      repeat('clear', round => clear(answers, admin, round)),
      repeat('read', round => read(answers, admin, round)),
      repeat('sign-in', round => signInAndOut(answers, main, name, round))
    ])
  ])
  await nth(cluster.replicas, 0).admin.send('POST', '/api/system/scheduler-control', { action: 'start' })
  await until(
    async () => {
      await makeDue(cluster, 0)
      return cluster.sql`select from job_runs where trigger = 'schedule' and outcome <> 'skipped'`
    },
    rows => rows.length > 0
  )
  await until(
    () => cluster.sql`select from job_runs where outcome = 'running'`,
    rows => rows.length === 0
  )
  return answers
}

/** Triggers one job many times at once, on all replicas. No request waits for the run. */
async function triggerConcurrently(
  { replicas }: Cluster,
  answers: Answers,
  round: number,
  wave: number
): Promise<void> {
  const job_type = nth(Object.keys(CLUSTER_JOBS), round)
  const body = { job_type, wait: false }
  await Promise.all(
    Array.from({ length: wave }, (_, i) =>
      answers.of('wave of triggers', nth(replicas, i).admin.send('POST', '/api/system/trigger-job', body))
    )
  )
}

async function trigger(answers: Answers, admin: Client, round: number): Promise<void> {
  const job_type = nth([...Object.keys(CLUSTER_JOBS), 'update_prices'], round)
  const yesterday = new Date(Date.now() - 2 * 86_400_000).toISOString().slice(0, 10)
  const body = {
    job_type,
    ...(round % 2 === 1 && { unless_run_within_seconds: 1, wait: false }),
    ...(job_type === 'calculate_performance' && round % 4 > 1 && { date: yesterday })
  }
  await answers.of('trigger', admin.send('POST', '/api/system/trigger-job', body))
}

async function pause(answers: Answers, admin: Client, round: number): Promise<void> {
  const jobId = nth([...Object.values(CLUSTER_JOBS), 'update_price_cache'], round)
  for (const verb of ['pause', 'resume']) {
    await answers.of(verb, admin.send('POST', `/api/system/jobs/${jobId}/${verb}`))
  }
}

async function control(answers: Answers, admin: Client, round: number): Promise<void> {
  const action = nth(['restart', 'stop', 'start'], round)
  await answers.of(action, admin.send('POST', '/api/system/scheduler-control', { action, reason: 'a test' }))
  await sleep(300)
}

async function clear(answers: Answers, admin: Client, round: number): Promise<void> {
  const body = nth([{ type: 'price' }, { exchange: 'BINANCE' }, { symbol: 'BTCUSDT' }, {}], round)
  await answers.of('cache-clear', admin.send('POST', '/api/system/cache-clear', body))
}

async function read(answers: Answers, admin: Client, round: number): Promise<void> {
  const what = nth(['audit-log?limit=50', 'job-runs', 'scheduler-status', 'cache-stats', 'health/details'], round)
  await answers.of(what, admin.send('GET', `/api/system/${what}`))
  if (round % 40 === 0) await answers.of('test-telegram', admin.send('POST', '/api/system/test-telegram'))
}

/** A quiet window of a second, and a shorter time without one. */
async function quiet(answers: Answers, admin: Client): Promise<void> {
  const body = { for_minutes: 1, reason: 'a test' }
  await answers.of('quiet', admin.send('POST', '/api/system/quiet', body))
  await sleep(1_000)
  await answers.of('end of quiet', admin.send('DELETE', '/api/system/quiet'))
  await sleep(500)
}

/** The operator sends a command to the bot and confirms what it asks. */
async function writeToBot({ bot }: Cluster, round: number): Promise<void> {
  const operator = privateChat(Number(CHAT))
  const before = bot.delivered.length
  await bot.updates.confirmed(bot.updates.text(nth(BOT_COMMANDS, round), operator))
  const asked = bot.delivered.findIndex(({ buttons }, i) => i >= before && buttons.length > 0)
  const [confirm] = bot.delivered[asked]?.buttons ?? []
  if (confirm) await bot.updates.confirmed(bot.updates.press(confirm.data, asked + 1, operator))
  await sleep(BETWEEN_COMMANDS_MS)
}

/** A user named after the replica signs in, changes the password to the other of two values, and signs out. */
async function signInAndOut(answers: Answers, main: string, username: string, round: number): Promise<void> {
  const [before, after] = round % 2 === 0 ? [PASSWORD, `${PASSWORD}!`] : [`${PASSWORD}!`, PASSWORD]
  const client = new Client(main)
  await answers.of('login', client.signIn(username, before))
  await answers.of('me', client.send('GET', '/api/auth/me'))
  const change = { current_password: before, new_password: after }
  await answers.of('password', client.send('POST', '/api/auth/password', change))
  await answers.of('logout', client.send('POST', '/api/auth/logout'))
}

/** Sign-ins with a wrong password, all from one address: more than are verified without a wait. */
async function signInWithWrongPassword({ replicas }: Cluster, answers: Answers): Promise<void> {
  const credentials = { username: 'ada', password: 'a wrong password' }
  const headers = { 'x-forwarded-for': '203.0.113.7' }
  const everyReplicaTwice = [...replicas, ...replicas]
  await Promise.all(
    everyReplicaTwice.map(({ main }) =>
      answers.of(REFUSED, new Client(main).send('POST', '/api/auth/login', credentials, headers))
    )
  )
}

/**
 * The functions behind the operator's commands: users, tokens and accounts are added and ended, keys rotated, passwords
 * set.
 */
async function operate({ database }: Cluster, round: number): Promise<void> {
  const users = new Users(database)
  const audit = new AuditLog(database)
  const audited = (action: string) => (tx: Parameters<Parameters<Database['transaction']>[0]>[0]) =>
    audit.record({ actor: 'cli:test', action, outcome: 'succeeded' }, tx)
  const accounts = accountsOf(database, round % 2 === 0 ? KEYS.toReversed() : KEYS)
  const username = `user-${round}`
  const credentials = { apiKey: `unknown ${round}`, apiSecret: 'a secret of sixteen' }
  await users.create({ username, passwordHash: 'none', role: 'user' }, audited('user:create'))
  await accounts.add(
    { username, exchange: 'BINANCE', name: username, isTestnet: false, credentials },
    audited('account:add')
  )
  await accounts.rotateKeys(audited('keys:rotate'))
  await users.setPassword(username, 'another', {}, audited('user:password'))
  await users.setTelegramChat(username, CHAT, audited('user:telegram'))
  const token = { name: `of-${username}`, role: 'user', username, networks: undefined, days: 1 } as const
  await createToken(database, token, audited('token:create'))
  await revokeToken(database, token.name, audited('token:revoke'))
  for (const { accountId, username: owner } of await accounts.list()) {
    if (owner === `user-${round - 3}`) await accounts.disable(accountId, audited('account:disable'))
  }
  await users.disable(username, audited('user:disable'))
}

/** The same through the commands, once. */
async function useCommands({ environment }: Cluster): Promise<void> {
  const command = async (lines: string[], ...words: string[]) => {
    const { code, stderr } = await runCommand(environment, lines, ...words)
    if (code !== 0) throw new Error(`${words[0]}: ${stderr}`)
  }
  await command([PASSWORD], 'user:create', 'eve')
  await command(['key', 'secret'], 'account:add', '--user=eve', '--exchange=UPBIT', '--name=eve')
  await command([], 'account:test', '1')
  await command([], 'keys:rotate')
  await command([], 'user:disable', 'eve')
}

/** Makes a job due now: each replica tries to claim its run. */
async function makeDue({ sql }: Cluster, round: number): Promise<void> {
  const jobId = nth(Object.values(CLUSTER_JOBS), round)
  await sql`
    update scheduled_jobs set next_fire_at = date_trunc('milliseconds', clock_timestamp())
    where job_id = ${jobId} and next_fire_at is not null`
  await sql`notify scheduler`
  await sleep(100)
}

function nth<T>(items: readonly T[], n: number): T {
  const item = items[n % items.length]
  if (item === undefined) throw new Error('no items')
  return item
}
