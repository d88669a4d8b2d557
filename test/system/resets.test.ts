// All connections to the database are reset once a second while jobs run, over TLS with SCRAM at a distance.
import { setTimeout as sleep } from 'node:timers/promises'
import postgres from 'postgres'
import t, { type Test } from 'tap'
import { probes as probePaths } from '../../src/health/probes.ts'
import { untilStatus } from '../support/app.ts'
import { startBotApiServer } from '../support/bot-api-server.ts'
import { runCommand } from '../support/command.ts'
import { startControlServer } from '../support/control-server.ts'
import { reportFault, shown } from '../support/fault-report.ts'
import { startDistantPostgres } from '../support/networks.ts'
import { Prober } from '../support/prober.ts'
import { startService } from '../support/service.ts'
import { Client } from '../support/session.ts'
import { SimulatedExchange } from '../support/simulated-exchange/simulated-exchange.ts'

const PASSWORD = 'correct horse battery'
const RESETS = 30
const RESET_EVERY_MS = 1_000
const TRIGGER_EVERY_MS = 100
const PROBES_PER_SECOND = 10
const ORDERS = 5
/** Triggered types, and the jobs that they run. */
const jobs = {
  update_orders: 'update_open_orders',
  calculate_pnl: 'calculate_unrealized_pnl',
  sync_balances: 'sync_account_balances',
  sync_ledger: 'sync_exchange_ledger',
  daily_summary: 'send_daily_summary',
  calculate_performance: 'calculate_daily_performance',
  housekeeping: 'housekeeping'
}
const jobTypes = Object.keys(jobs)
/** The statuses of a trigger with `wait: false`. */
const triggerAnswers = { accepted: 202, alreadyRunning: 409, unavailable: 503 }

// At 20 ms most of each second remains for work; at 150 ms the set-up of a connection takes all of it.
for (const roundTripMs of [20, 60, 150]) {
  t.test(`all connections are reset once a second for 30 s at a round trip of ${roundTripMs} ms`, async t => {
    const { postgres: server, proxy, url } = await startDistantPostgres(t)
    const { service, admin, sql } = await startTrading(t, { directUrl: server.url, serviceUrl: url })
    await proxy.setConditions({ delayMs: roundTripMs / 2 })

    const controlUrl = await startControlServer(t)
    const prober = new Prober(t)
    const probed = [service.main, service.probes].flatMap(base => Object.keys(probePaths).map(path => base + path))
    prober.start([...probed, controlUrl], PROBES_PER_SECOND)
    const ending = new AbortController()
    const answers: Record<string, number> = {}
    const triggering = jobTypes.map(async job_type => {
      while (!ending.signal.aborted) {
        const answer = await admin.send('POST', '/api/system/trigger-job', { job_type, wait: false }).then(
          ({ status }) => String(status),
          () => 'none'
        )
        answers[answer] = (answers[answer] ?? 0) + 1
        await sleep(TRIGGER_EVERY_MS)
      }
    })
    // Jobs run during the first reset, however long a new connection takes afterwards.
    await until(async () => (await running(sql)).length >= 3)
    let connections = 0
    for (let i = 0; i < RESETS; i++) {
      connections += await proxy.reset()
      await sleep(RESET_EVERY_MS)
    }
    const [end] = await sql<{ at: Date }[]>`select clock_timestamp() as at`
    ending.abort()
    await Promise.all(triggering)
    await prober.stop()

    const results = prober.results.filter(({ url }) => url !== controlUrl)
    const control = prober.results.filter(({ url }) => url === controlUrl)
    t.ok(connections >= RESETS, `connections were reset: ${connections}`)
    t.ok(results.length >= 2_500, `100 probes a second were sent: ${results.length}`)
    t.strictSame(
      shown(results.filter(({ tookMs, status }) => tookMs > 1_000 || (status !== 200 && status !== 503))),
      [],
      'every probe on both ports was answered within 1 s, with 200 or 503'
    )
    t.strictSame(
      shown(results.filter(({ url, status }) => url.endsWith('/health/live') && status !== 200)),
      [],
      'liveness stays 200'
    )
    const expected = Object.values(triggerAnswers).map(String)
    t.strictSame(
      Object.keys(answers).filter(answer => !expected.includes(answer)),
      [],
      'each trigger was accepted, or rejected because the job ran or the database was unavailable'
    )
    t.comment(`answers to triggers: ${JSON.stringify(answers)}`)

    await t.test('interrupted runs end as abandoned or failed, and their jobs continue', async t => {
      const outcomes = jobTypes.map(async job_type => {
        const { answer } = await untilNotBusy(() => admin.send('POST', '/api/system/trigger-job', { job_type }))
        return [job_type, answer.outcome ?? (await outcomeOf(sql, String(answer.run_id)))]
      })
      t.strictSame(
        await Promise.all(outcomes),
        jobTypes.map(job_type => [job_type, 'succeeded'])
      )
      const began = await sql<{ job_id: string; outcome: string }[]>`
        select job_id, outcome from job_runs where started_at < ${end?.at ?? 0} and outcome <> 'skipped'`
      const interrupted = began.filter(({ outcome }) => outcome !== 'succeeded' && outcome !== 'partial')
      t.ok(interrupted.length > 0, `runs were interrupted: ${interrupted.length} of ${began.length}`)
      t.strictSame(
        interrupted.filter(({ outcome }) => outcome !== 'abandoned' && outcome !== 'failed'),
        []
      )
    })
    await reportFault(t, { service, results, control, databaseUrl: server.url })

    await proxy.setConditions({})
    await untilStatus(`${service.main}/health/ready`, 200)
  })
}

/** A service with an account, orders and a signed-in admin, so that each job has something to do. */
async function startTrading(t: Test, { directUrl, serviceUrl }: { directUrl: string; serviceUrl: string }) {
  const exchange = await SimulatedExchange.start({ exchange: 'BINANCE', latencyMs: 100 })
  const bot = await startBotApiServer()
  t.teardown(() => Promise.all([exchange.close(), bot.close()]))
  const environment = {
    TELEGRAM_API_URL: bot.url,
    TELEGRAM_BOT_TOKEN: bot.token,
    TELEGRAM_CHAT_ID: '42',
    ...exchange.urls
  }
  const service = await startService(t, { ...environment, DATABASE_URL: serviceUrl })
  await untilStatus(`${service.main}/health/startup`, 200)

  const direct = { ...environment, DATABASE_URL: directUrl }
  const secrets = { apiKey: 'key', apiSecret: 'secret' }
  const account = exchange.addAccount(secrets)
  exchange.setBalance(account, 'SPOT', 'USDT', '100000')
  const created = await runCommand(direct, [PASSWORD], 'user:create', 'ada', '--admin')
  t.equal(created.code, 0, created.stderr)
  const add = ['account:add', '--user', 'ada', '--exchange', 'BINANCE', '--name', 'main']
  const added = await runCommand(direct, Object.values(secrets), ...add)
  t.equal(added.code, 0, added.stderr)

  const sql = postgres(directUrl, { max: 1, onnotice: () => undefined })
  t.teardown(() => sql.end({ timeout: 1 }))
  await sql`
    with strategy as (
      insert into strategies (user_id, name, market_type) select user_id, 'one', 'SPOT' from users returning strategy_id
    )
    insert into strategy_accounts (strategy_id, account_id, allocated_capital, capital_currency)
    select strategy_id, account_id, 1000, 'USDT' from strategy, accounts`
  for (let i = 0; i < ORDERS; i++) {
    const order = exchange.place(account, { symbol: exchange.symbols[i] ?? '', quantity: '1', price: '100' })
    await sql`
      insert into orders (strategy_account_id, account_id, market_type, exchange_order_id, symbol, exchange_symbol, side,
        order_type, price, quantity, status)
      select strategy_account_id, account_id, 'SPOT', ${order.exchangeOrderId}, ${order.symbol}, ${order.exchangeSymbol},
        'BUY', 'LIMIT', 100, 1, 'open' from strategy_accounts`
  }
  const admin = new Client(service.main)
  t.equal((await admin.signIn('ada', PASSWORD)).status, 200)
  return { service, admin, sql }
}

const running = (sql: postgres.Sql) => sql<{ run_id: string }[]>`select run_id from job_runs where outcome = 'running'`

async function until(condition: () => Promise<boolean>): Promise<void> {
  while (!(await condition())) await sleep(5)
}

/**
 * The outcome of a run that a trigger did not wait for: after the many interrupted ones, calls for the ledger wait for room
 * in the limits of the exchange.
 */
async function outcomeOf(sql: postgres.Sql, runId: string): Promise<string | undefined> {
  for (;;) {
    const [run] = await sql<{ outcome: string }[]>`select outcome from job_runs where run_id = ${runId}`
    if (run?.outcome !== 'running') return run?.outcome
    await sleep(TRIGGER_EVERY_MS)
  }
}

/** Repeats a trigger while the job is still claimed by an interrupted run, or the pool is not connected yet. */
async function untilNotBusy(trigger: () => ReturnType<Client['send']>): ReturnType<Client['send']> {
  for (;;) {
    const answered = await trigger()
    if (answered.status !== triggerAnswers.alreadyRunning && answered.status !== triggerAnswers.unavailable) {
      return answered
    }
    await sleep(TRIGGER_EVERY_MS)
  }
}
