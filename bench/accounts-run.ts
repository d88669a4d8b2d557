// npm run bench:accounts-run -- --minutes=4: accounts with one open order each on a simulated Binance that enforces its
// limits, the jobs of the service and a real Postgres. Every account must get its balances and orders within what all
// accounts need, divided by the budget, and one run. ACCOUNTS sets another number.
import { execFileSync } from 'node:child_process'
import { setTimeout as sleep } from 'node:timers/promises'
import { parseArgs } from 'node:util'
import { Agent } from 'undici'
import { MINUTE, SECOND } from '../src/async/durations.ts'
import { ExchangeRegistry } from '../src/exchanges/exchange-registry.ts'
import { JOB_PERIODS } from '../src/jobs/job-periods.ts'
import { syncAccountBalances } from '../src/jobs/sync-account-balances.ts'
import { updateOpenOrders } from '../src/jobs/update-open-orders.ts'
import type { JobResult } from '../src/scheduler/job.ts'
import { exchangeLoads, marketLoads } from '../src/trading/budget-loads.ts'
import { budgetNeeds } from '../src/trading/budget-need.ts'
import { SimulatedExchange } from '../test/support/simulated-exchange/simulated-exchange.ts'
import {
  fixedInstruments,
  fixedPrices,
  insertOrder,
  seedAccount,
  TestAccounts,
  testContext,
  tradingDatabase
} from '../test/support/trading.ts'

const { values } = parseArgs({ options: { minutes: { type: 'string', default: '4' } } })
const MINUTES = Number(values.minutes)
const ACCOUNTS = Number(process.env.ACCOUNTS ?? 320)
/** Between the samples of what each account waits for. */
const SAMPLE_MS = SECOND

const say = (line = '') => process.stdout.write(`${line}\n`)
const cleanups: (() => unknown)[] = []
const database = await tradingDatabase({ teardown: cleanup => void cleanups.unshift(cleanup) })

try {
  const revision = execFileSync('git', ['rev-parse', '--short', 'HEAD'], { encoding: 'utf8' }).trim()
  say(`commit ${revision}, node ${process.version}, ${ACCOUNTS} accounts, ${MINUTES} minutes`)
  say()
  await measure()
} finally {
  for (const cleanup of cleanups) await cleanup()
}

async function measure(): Promise<void> {
  const exchange = await SimulatedExchange.start({ exchange: 'BINANCE', limits: 'reported' })
  const dispatcher = new Agent()
  cleanups.unshift(async () => {
    await dispatcher.close()
    await exchange.close()
  })
  const registry = new ExchangeRegistry({ dispatcher, urls: exchange.urls })
  const { accounts, ids } = await seeded(exchange, registry)
  const services = { database, accounts, prices: fixedPrices({}), instruments: fixedInstruments(), timeZone: 'UTC' }
  const jobs = {
    orders: repeated(updateOpenOrders(services), JOB_PERIODS.orders),
    balances: repeated(syncAccountBalances(services), JOB_PERIODS.balances),
    prices: repeated(async ({ signal }) => {
      for (const marketType of exchange.markets)
        await registry.client({ exchange: 'BINANCE', marketType }).lastPrices({ signal })
      return {}
    }, JOB_PERIODS.prices)
  }
  const begun = Date.now()
  const running = Object.values(jobs).map(job => job.until(begun + MINUTES * MINUTE))
  const worst = await longestWaits(begun, ids)
  await Promise.all(running)
  await report(registry, worst, jobs)
  const refusals = exchange.addressLimits?.refusals ?? 0
  bar(`${refusals} requests were refused`, refusals === 0)
}

/** Accounts of the simulated exchange with a balance in both wallets and one open order, half of them on each market. */
async function seeded(exchange: SimulatedExchange, registry: ExchangeRegistry) {
  const keys = new Map<string, string>()
  const all = []
  for (let index = 0; index < ACCOUNTS; index++) {
    const credentials = { apiKey: `key-${index}`, apiSecret: `secret-${index}` }
    const owner = exchange.addAccount(credentials)
    for (const market of exchange.markets) owner.balances[market].set('USDT', { free: '100', locked: '0' })
    const account = await seedAccount(database, { exchange: 'BINANCE' })
    keys.set(account.accountId, String(index))
    all.push(account)
    const market = index % 2 === 0 ? 'SPOT' : 'FUTURES'
    const placed = exchange.place(owner, { market, quantity: '1', price: '90' })
    await insertOrder(database, account, { ...placed, market, quantity: '1' })
  }
  const accounts = new TestAccounts(all, ({ accountId }, marketType) => {
    const id = keys.get(accountId)
    return registry.client({
      exchange: 'BINANCE',
      marketType,
      credentials: { apiKey: `key-${id}`, apiSecret: `secret-${id}` }
    })
  })
  return { accounts, ids: all.map(({ accountId }) => accountId) }
}

/** Runs a job at its period, as the scheduler does: a run that takes longer lets the times pass that it covers. */
function repeated(run: ReturnType<typeof updateOpenOrders>, everyMs: number) {
  const results: JobResult[] = []
  return {
    results,
    async until(endMs: number) {
      const closing = new AbortController()
      for (let due = Date.now(); due < endMs; ) {
        results.push(await run(testContext(database, { signal: closing.signal }).context))
        do due += everyMs
        while (due < Date.now())
        await sleep(Math.max(0, Math.min(due, endMs) - Date.now()))
      }
    }
  }
}

/** The longest wait of any account for its orders and for its balances, from the begin on, in ms; and those never read. */
async function longestWaits(begun: number, ids: readonly string[]) {
  const worst = { orders: 0, balances: 0 }
  let starved = { orders: ids.length, balances: ids.length }
  while (Date.now() < begun + MINUTES * MINUTE) {
    await sleep(SAMPLE_MS)
    const [row] = await database.run(
      sql => sql<{ orders_ms: number; balances_ms: number; orders: number; balances: number }[]>`
        select max(extract(epoch from clock_timestamp() - greatest(last_checked_at, to_timestamp(${begun / SECOND}::float8))))::float8 * 1000 as orders_ms,
          max(extract(epoch from clock_timestamp() - greatest(attempted_at, to_timestamp(${begun / SECOND}::float8))))::float8 * 1000 as balances_ms,
          count(*) filter (where last_checked_at is null)::int as orders,
          count(*) filter (where attempted_at is null)::int as balances
        from orders left join balance_readings using (account_id)`
    )
    if (row === undefined) continue
    worst.orders = Math.max(worst.orders, row.orders_ms)
    worst.balances = Math.max(worst.balances, row.balances_ms)
    starved = { orders: row.orders, balances: row.balances }
  }
  return { worst, starved }
}

async function report(
  registry: ExchangeRegistry,
  { worst, starved }: Awaited<ReturnType<typeof longestWaits>>,
  jobs: Record<'orders' | 'balances', { results: JobResult[] }>
): Promise<void> {
  const [load] = await exchangeLoads(database)
  if (load === undefined) throw new Error('no account is active')
  const needs = budgetNeeds(await marketLoads(load, (...of) => registry.callCosts(...of)), { periodsMs: JOB_PERIODS })
  say('| what | need of the fullest limit | estimated period, s | longest wait, s | allowed, s | runs | never read |')
  say('|---|---|---|---|---|---|---|')
  for (const read of ['orders', 'balances'] as const) {
    const period = Math.max(...needs.map(need => need.periodsMs[read]))
    // One run, and two samples on a busy machine.
    const allowed = period + JOB_PERIODS[read] + 2 * SAMPLE_MS
    const need = Math.max(...needs.map(one => one.need))
    const cells = [read, need.toFixed(2), period / SECOND, worst[read] / SECOND, allowed / SECOND]
    const text = cells.map(cell => (typeof cell === 'number' ? cell.toFixed(0) : cell)).join(' | ')
    say(`| ${text} | ${jobs[read].results.length} | ${starved[read]} |`)
    bar(`${read}: the longest wait is within what is allowed`, worst[read] <= allowed)
    bar(`${read}: no account was left unread`, starved[read] === 0)
  }
}

function bar(text: string, holds: boolean): void {
  if (holds) return
  say(`MISSED ${text}`)
  process.exitCode = 1
}
