import { spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { createServer } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import { definitions } from '../../src/metrics/definitions.ts'
import { StartError } from '../../src/start-error.ts'
import { startApp, untilStatus } from '../support/app.ts'
import { migratedDatabase } from '../support/migrated-database.ts'
import { adminOf, Client } from '../support/session.ts'
import { changingRows } from '../support/simulated-exchange/edits.ts'
import { SimulatedExchange } from '../support/simulated-exchange/simulated-exchange.ts'
import { missingTool } from '../support/tools.ts'
import { insertOrder, seedAccount } from '../support/trading.ts'

const { url: DATABASE_URL } = await migratedDatabase(t)

/** Metrics of calls that this file does not make. The tests of their clients cover them. */
const silent = /^trading_health_(telegram|webhook|heartbeat)s?_/

t.test('the metrics port exports the values of every module', async t => {
  const binance = await SimulatedExchange.start({ exchange: 'BINANCE' })
  t.teardown(() => binance.close())
  const { app, url, probeUrl } = await startApp(t, { DATABASE_URL, METRICS_PORT: '0', ...binance.urls })
  const scrape = async () => (await fetch(`http://127.0.0.1:${await app.openMetricsPort()}/metrics`)).text()
  await untilStatus(`${url}/health/startup`, 200)
  await untilStatus(`${probeUrl}/health/ready`, 200)
  const admin = await adminOf(app)
  await admin.signIn('ada', 'wrong')
  await admin.send('POST', '/api/system/trigger-job', { job_type: 'housekeeping' })
  for (let i = 0; i < 30; i++) await new Client(url).send('GET', `/api/system/no/such/${i}?user=${i}`)
  binance.fault({ kind: 'edited', edit: changingRows({ symbol: 'BTCUSDT' }, { price: 'NaN' }) }, { times: 1 })
  for (let i = 0; i < 2; i++) await app.caches.prices.refresh({ exchange: 'BINANCE', marketType: 'SPOT' })
  for (const symbol of ['BTCUSDT', 'NOTHING']) app.caches.prices.peek('BINANCE', 'SPOT', symbol)
  const account = await seedAccount(app.db)
  const order = {
    exchangeOrderId: '1',
    symbol: 'BTCUSDT',
    exchangeSymbol: 'BTCUSDT',
    side: 'BUY',
    quantity: '1'
  } as const
  await insertOrder(app.db, account, order)
  await app.exchangeBudgets.poll()
  const text = await scrape()

  for (const line of [
    /^trading_health_build_info\{version="\d+\.\d+\.\d+",node_version="v[\d.]+"\} 1$/m,
    /^trading_health_started 1$/m,
    /^trading_health_ready 1$/m,
    /^trading_health_check_state\{check="database",state="ok"\} 1$/m,
    /^trading_health_check_latency_seconds\{check="database"\} [\d.e-]+$/m,
    /^trading_health_check_age_seconds\{check="database"\} [\d.]+$/m,
    /^trading_health_check_state\{check="scheduler",state="ok"\} 1$/m,
    /^trading_health_probe_duration_seconds_count\{port="main",route="\/health\/startup",code="200"\} 1$/m,
    /^trading_health_probe_duration_seconds_count\{port="probe",route="\/health\/ready",code="200"\} 1$/m,
    /^trading_health_sign_ins_total\{outcome="succeeded"\} 1$/m,
    /^trading_health_sign_ins_total\{outcome="refused"\} 1$/m,
    /^trading_health_job_runs_total\{job_id="housekeeping",outcome="succeeded"\} 1$/m,
    /^trading_health_job_run_duration_seconds_count\{job_id="housekeeping"\} 1$/m,
    /^trading_health_job_overdue\{job_id="housekeeping"\} 0$/m,
    /^trading_health_scheduler_running 1$/m,
    /^trading_health_cached_prices\{exchange="BINANCE",market_type="SPOT"\} 5$/m,
    /^trading_health_price_lookups_total\{exchange="BINANCE",market_type="SPOT",outcome="hit"\} 1$/m,
    /^trading_health_price_lookups_total\{exchange="BINANCE",market_type="SPOT",outcome="miss"\} 1$/m,
    // The instruments once, the prices twice.
    /^trading_health_exchange_calls_total\{exchange="BINANCE",outcome="ok"\} 3$/m,
    /^trading_health_exchange_invalid_rows\{exchange="BINANCE"\} 0$/m,
    /^trading_health_exchange_limit_used_ratio\{exchange="BINANCE"\} 0\.00\d+$/m,
    /^trading_health_exchange_need_ratio\{exchange="BINANCE"\} 0\.0\d+$/m,
    /^trading_health_exchange_period_seconds\{exchange="BINANCE",read="orders"\} 29$/m,
    /^trading_health_exchange_wait_seconds\{exchange="BINANCE",read="balances"\} [\d.]+$/m,
    /^trading_health_exchange_invalid_rows_total\{exchange="BINANCE",operation="lastPrices",kind="unreadable"\} 1$/m,
    /^trading_health_outbox_waiting\{destination="telegram"\} 0$/m,
    /^trading_health_database_pool_max 10$/m,
    /^trading_health_database_pool_connections [1-9]\d*$/m,
    /^trading_health_database_calls_total\{outcome="succeeded"\} [1-9]\d*$/m,
    /^trading_health_event_loop_utilization_ratio [\d.e-]+$/m,
    /^trading_health_http_request_duration_seconds_count\{route="\/api\/auth\/login",status_class="2xx"\} 1$/m,
    /^trading_health_http_request_duration_seconds_count\{route="\/api\/auth\/login",status_class="4xx"\} 1$/m,
    /^process_resident_memory_bytes \d+$/m
  ]) {
    t.match(text, line)
  }

  t.test('a replica that is not probed is ready', async t => {
    for (let i = 0; i < 3; i++) {
      while (app.health.isFresh()) await sleep(10)
      t.match(await scrape(), /^trading_health_ready 1$/m)
    }
  })

  t.test('an unknown path does not add a series', async t => {
    const routes = [...text.matchAll(/_request_duration_seconds_count\{route="([^"]*)"/g)].map(([, route]) => route)
    t.strictSame([...new Set(routes)].sort(), ['/api/auth/login', '/api/system/trigger-job', 'unmatched'])
    t.notMatch(text, '"ada"', 'a user name does not add a series')
  })

  t.test('every metric has a series, except those of calls that were not made', async t => {
    const startDelay = 'trading_health_job_start_delay_seconds' // a scheduled run, which no test waits for
    for (const [name, { kind }] of Object.entries(definitions)) {
      if (silent.test(name) || name === startDelay) continue
      t.match(text, new RegExp(`^${name}${kind === 'histogram' ? '_count' : ''}(\\{.*\\})? [\\d.e+-]+$`, 'm'), name)
    }
  })

  t.test('promtool reports no problem', { skip: missingTool('promtool', 'prometheus') }, async t => {
    const { status, stdout, stderr } = spawnSync('promtool', ['check', 'metrics'], { input: text, encoding: 'utf8' })
    t.equal(status, 0, stdout + stderr)
  })

  t.test('the other ports do not serve the metrics', async t => {
    for (const origin of [url, probeUrl]) t.equal((await fetch(`${origin}/metrics`)).status, 404)
  })
})

t.test('the start fails when the metrics port is in use; METRICS_PORT=off opens no port', async t => {
  const other = createServer().listen(0, '127.0.0.1')
  await once(other, 'listening')
  t.teardown(() => other.close())
  const address = other.address()
  const port = typeof address === 'object' && address ? address.port : 0
  const start = startApp(t, { DATABASE_URL, PROBE_PORT: 'off', METRICS_PORT: String(port) })
  const failure = await start.catch((err: unknown) => err)
  const message = `METRICS_PORT ${port} on 127.0.0.1 is in use: stop the process that uses it, or set another METRICS_PORT`
  t.equal(failure instanceof StartError ? failure.message : failure, message)
  const { app } = await startApp(t, { DATABASE_URL, PROBE_PORT: 'off', METRICS_PORT: 'off' })
  t.equal(await app.openMetricsPort(), undefined)
})
