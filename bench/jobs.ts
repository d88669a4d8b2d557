// npm run bench:jobs: open orders and unrealised PnL at the size of a large installation. Probes run at the same time.
// ACCOUNTS and POSITIONS set a smaller size.

import { execFileSync } from 'node:child_process'
import { monitorEventLoopDelay } from 'node:perf_hooks'
import { Big } from 'big.js'
import { pino } from 'pino'
import { Agent } from 'undici'
import { buildApp } from '../src/app.ts'
import { HOUR } from '../src/async/durations.ts'
import { loadConfig } from '../src/config.ts'
import { ExchangeRegistry } from '../src/exchanges/exchange-registry.ts'
import { calculateUnrealizedPnl } from '../src/jobs/calculate-unrealized-pnl.ts'
import { updateOpenOrders } from '../src/jobs/update-open-orders.ts'
import type { Job, JobResult } from '../src/scheduler/job.ts'
import { every } from '../src/scheduler/trigger.ts'
import { startTestPostgres } from '../test/support/postgres.ts'
import { fixedInstruments, fixedPrices, seedAccount, TestAccounts } from '../test/support/trading.ts'
import { accountCapacities } from './account-capacity.ts'
import { startHelper } from './helper-process.ts'

const ACCOUNTS = Number(process.env.ACCOUNTS ?? 1_000)
const ORDERS_PER_ACCOUNT = 10
const POSITIONS = Number(process.env.POSITIONS ?? 100_000)
const LATENCY_MS = 5
const CHANGED_PERCENT = 10
/** Positions that are also valued one by one. */
const SAMPLE = 2_000
const SYMBOLS = 500
const ROUNDS = 3

const ORDERS_BAR_S = 20
const FASTER_BAR = 20
const GROWTH_BAR = 1.2
const PROBE_BAR_MS = 100

const say = (line = '') => process.stdout.write(`${line}\n`)
const cleanups: (() => unknown)[] = []

try {
  const revision = execFileSync('git', ['rev-parse', '--short', 'HEAD'], { encoding: 'utf8' }).trim()
  say(`commit ${revision}, node ${process.version}`)
  say()
  await orders()
  say()
  await capacities()
  say()
  await pnl()
} finally {
  for (const cleanup of cleanups.reverse()) await cleanup()
}

interface Service {
  app: ReturnType<typeof buildApp>
  /** Runs a job through the scheduler. Returns its duration, its result, and the probes during the run. */
  run(run: Job['run']): Promise<{ ms: number; result: JobResult; probes: Probes }>
}

interface Probes {
  /** The longest event-loop delay of this process, in ms: the part of a probe's time that the service causes. */
  loop: number
  probes: number
  median: number
  worst: number
  failed: number
}

/** The whole service in this process, with one job that runs a given function. Another process sends the probes. */
async function startService(): Promise<Service> {
  const postgres = await startTestPostgres({ teardown: cleanup => void cleanups.push(cleanup) })
  let work: Job['run'] = async () => ({})
  const job: Job = {
    id: 'bench',
    type: 'bench',
    name: 'bench',
    trigger: every(100_000 * HOUR),
    scope: 'cluster',
    misfire: { policy: 'skip' },
    maxRunMs: HOUR,
    undone: [],
    run: context => work(context)
  }
  const secrets = {
    SESSION_SECRET: 'a secret of a bench and of nothing else',
    ENCRYPTION_KEY: Buffer.alloc(32).toString('base64')
  }
  const config = loadConfig({
    PORT: '0',
    PROBE_PORT: '0',
    METRICS_PORT: 'off',
    LOG_LEVEL: 'silent',
    DATABASE_URL: postgres.url,
    ...secrets
  })
  const app = buildApp({ ...secrets, ...config }, { logger: pino({ level: 'silent' }), jobs: [job] })
  cleanups.push(() => app.close())
  const url = await app.listen({ host: config.HOST, port: config.PORT })
  while ((await fetch(`${url}/health/ready`)).status !== 200) await new Promise(resolve => setTimeout(resolve, 20))
  const prober = startHelper('servers/prober.js', [`${url}/health/live`, `${url}/health/ready`])
  cleanups.push(() => prober.end())
  const run: Service['run'] = async run => {
    work = run
    await prober.ask('')
    const delay = monitorEventLoopDelay({ resolution: 1 })
    delay.enable()
    const begun = performance.now()
    const triggered = await app.scheduler.trigger(job, { actor: 'bench' })
    if (triggered.kind !== 'started') throw new Error('the job did not start')
    const finished = await triggered.run.finished
    const ms = performance.now() - begun
    if (finished.outcome !== 'succeeded') throw new Error('the job failed')
    delay.disable()
    const probes = (await prober.ask('')) as Omit<Probes, 'loop'>
    return { ms, result: finished.result, probes: { ...probes, loop: delay.max / 1e6 } }
  }
  return { app, run }
}

async function orders(): Promise<void> {
  say(
    `## update_open_orders, Upbit simulated (its limits are per key), ${LATENCY_MS} ms latency, ${ORDERS_PER_ACCOUNT} orders per account`
  )
  say()
  say(
    '| accounts | run | seconds | orders changed | fills | HTTP requests | accounts + changed | worst probe, ms | longest loop delay, ms | failed probes |'
  )
  say('|---|---|---|---|---|---|---|---|---|---|')
  const small = await ordersAt(Math.round(ACCOUNTS / 10))
  const full = await ordersAt(ACCOUNTS)
  say()
  for (const [i, { name, ms, worst }] of full.entries()) {
    const growth = ms / (small[i]?.ms ?? 0) / 10
    bar(`${name}: ${(ms / 1_000).toFixed(1)} s ≤ ${ORDERS_BAR_S} s`, ms / 1_000 <= ORDERS_BAR_S)
    bar(`${name}: growth from a tenth ${growth.toFixed(2)} × linear ≤ ${GROWTH_BAR}`, growth <= GROWTH_BAR)
    bar(`${name}: worst probe ${worst.toFixed(0)} ms ≤ ${PROBE_BAR_MS} ms`, worst <= PROBE_BAR_MS)
  }
}

async function ordersAt(count: number): Promise<{ name: string; ms: number; worst: number }[]> {
  const { app, run } = await startService()
  const exchange = startHelper('servers/exchange.js', [
    'UPBIT',
    String(count),
    String(ORDERS_PER_ACCOUNT),
    String(LATENCY_MS)
  ])
  cleanups.push(() => exchange.end())
  const { urls, orders } = (await exchange.ask()) as { urls: Record<string, string>; orders: object[][] }
  const dispatcher = new Agent()
  cleanups.push(() => dispatcher.close())
  const registry = new ExchangeRegistry({ dispatcher, urls })
  const keys = new Map<string, string>()
  const seeded = []
  for (const [i, own] of orders.entries()) {
    const account = await seedAccount(app.db, { exchange: 'UPBIT' })
    keys.set(account.accountId, String(i))
    seeded.push(account)
    const rows = JSON.stringify(own)
    await app.db.run(
      sql => sql`
        insert into orders (strategy_account_id, account_id, market_type, exchange_order_id, symbol, exchange_symbol, side,
          order_type, quantity)
        select ${account.strategyAccountId}, ${account.accountId}, 'SPOT', "exchangeOrderId", symbol, "exchangeSymbol",
          side, 'LIMIT', quantity
        from jsonb_to_recordset(${rows}::text::jsonb)
          as r("exchangeOrderId" text, symbol text, "exchangeSymbol" text, side text, quantity numeric)`
    )
  }
  const accounts = new TestAccounts(seeded, ({ accountId }, marketType) => {
    const id = keys.get(accountId)
    const credentials = { apiKey: `key-${id}`, apiSecret: `secret-${id}` }
    return registry.client({ exchange: 'UPBIT', marketType, credentials })
  })
  const job = updateOpenOrders({ accounts, database: app.db, prices: fixedPrices({}), instruments: fixedInstruments() })
  const measured = []
  for (const [name, percent] of [
    ['every order becomes open', 0],
    [`${CHANGED_PERCENT} % change`, CHANGED_PERCENT],
    ['nothing changes', 0]
  ] as const) {
    const changes = percent === 0 ? null : ((await exchange.ask(`advance ${percent}`)) as Record<string, number>)
    await exchange.ask('count')
    const { ms, result, probes } = await run(job)
    if (result.failed !== 0) throw new Error(`${result.failed} orders failed`)
    const { requests } = (await exchange.ask('count')) as { requests: number }
    const moved = changes === null ? 0 : Number(result.changed)
    say(
      `| ${count} | ${name} | ${(ms / 1_000).toFixed(2)} | ${result.changed} | ${result.fills} | ${requests} | ${count + moved} | ${probes.worst.toFixed(0)} | ${probes.loop.toFixed(0)} | ${probes.failed} of ${probes.probes} |`
    )
    if (changes !== null) {
      say(
        `|  | of these ${changes.further} filled further (1 call each: fills), ${changes.canceled} cancelled (1: by id), ${changes.wholly} filled wholly (2: by id, fills) |  |  |  |  |  |  |  |  |`
      )
      const needed = count + Number(changes.further) + Number(changes.canceled) + 2 * Number(changes.wholly)
      if (requests !== needed) throw new Error(`${requests} requests where ${needed} are needed`)
    } else if (requests !== count) throw new Error(`${requests} requests where ${count} are needed`)
    measured.push({ name, ms, worst: probes.worst })
  }
  return measured
}

async function capacities(): Promise<void> {
  say('## accounts that fit into each run of 29 s under 90 % of the stated limits')
  say()
  say(
    'Run after run, from the budgets of the adapters. What does not fit fails for that run, and comes first in the next.'
  )
  say()
  say('| exchange | market | one open order each | one changed order each | all open orders listed |')
  say('|---|---|---|---|---|')
  const limitOf = (accounts: number | null) => (accounts === null ? 'limits are per key' : String(accounts))
  for (const { exchange, marketType, oneOrder, oneChange, listed } of await accountCapacities()) {
    say(`| ${exchange} | ${marketType} | ${limitOf(oneOrder)} | ${limitOf(oneChange)} | ${limitOf(listed)} |`)
  }
}

async function pnl(): Promise<void> {
  say(`## calculate_unrealized_pnl, ${POSITIONS} positions`)
  say()
  const { app, run } = await startService()
  const prices = Object.fromEntries(Array.from({ length: SYMBOLS }, (_, i) => [`C${i}USDT`, `${i + 1}.12345678`]))
  let clock = Date.now()
  const value = async (expected: number) => {
    const all = []
    const each = []
    for (let round = 0; round < ROUNDS; round++) {
      const job = calculateUnrealizedPnl({ database: app.db, prices: fixedPrices(prices, new Date(clock++)) })
      const measured = await run(job)
      if (measured.result.changed !== expected) throw new Error(`${measured.result.changed} of ${expected} valued`)
      all.push(measured)
      // Alternates with the others, because the speed of the machine changes from one minute to the next.
      each.push(await rowByRow(app, prices))
    }
    return {
      each: median(each),
      loop: Math.max(...all.map(({ probes }) => probes.loop)),
      ms: median(all.map(({ ms }) => ms)),
      worst: Math.max(...all.map(({ probes }) => probes.worst)),
      failed: all.reduce((sum, { probes }) => sum + probes.failed, 0)
    }
  }
  await hold(app, POSITIONS / 10)
  const small = await value(POSITIONS / 10)
  await hold(app, POSITIONS - POSITIONS / 10)
  const full = await value(POSITIONS)
  const { each } = full
  const rows = (each * POSITIONS) / 1_000
  say('| | seconds | worst probe, ms | longest loop delay, ms | failed probes |')
  say('|---|---|---|---|---|')
  say(
    `| a tenth, set-based, median of ${ROUNDS} | ${(small.ms / 1_000).toFixed(2)} | ${small.worst.toFixed(0)} | ${small.loop.toFixed(0)} | ${small.failed} |`
  )
  say(
    `| all, set-based, median of ${ROUNDS} | ${(full.ms / 1_000).toFixed(2)} | ${full.worst.toFixed(0)} | ${full.loop.toFixed(0)} | ${full.failed} |`
  )
  say(
    `| all, row by row: ${each.toFixed(3)} ms each in samples of ${SAMPLE}, median of ${ROUNDS}, times ${POSITIONS} | ${rows.toFixed(1)} | | | |`
  )
  say()
  const faster = (rows * 1_000) / full.ms
  const growth = full.ms / small.ms / 10
  bar(`${faster.toFixed(0)} × faster than row by row ≥ ${FASTER_BAR}`, faster >= FASTER_BAR)
  bar(`growth from a tenth ${growth.toFixed(2)} × linear ≤ ${GROWTH_BAR}`, growth <= GROWTH_BAR)
  bar(`worst probe ${full.worst.toFixed(0)} ms ≤ ${PROBE_BAR_MS} ms`, full.worst <= PROBE_BAR_MS)
}

async function hold(app: Service['app'], count: number): Promise<void> {
  const { strategyAccountId } = await seedAccount(app.db)
  // A strategy has one position per symbol, so more positions need more strategies.
  const strategies = Math.ceil(count / SYMBOLS)
  const ids = [strategyAccountId]
  for (let i = 1; i < strategies; i++) ids.push((await seedAccount(app.db)).strategyAccountId)
  await app.db.run(
    sql => sql`
      insert into strategy_positions (strategy_account_id, market_type, symbol, currency, quantity, entry_price)
      select id::bigint, 'SPOT', 'C' || n || 'USDT', 'USDT', 1.23456789 + n, 100.000001 + n
      from jsonb_array_elements_text(${JSON.stringify(ids)}::text::jsonb) id, generate_series(0, ${SYMBOLS - 1}::int) n
      limit ${count}`,
    { deadlineMs: 60_000 }
  )
}

/** The same arithmetic with the same driver, but each row is valued and written on its own; ms per row. */
async function rowByRow(app: Service['app'], prices: Readonly<Record<string, string>>): Promise<number> {
  return await app.db.run(
    async sql => {
      const rows = await sql<
        { strategy_account_id: string; symbol: string; quantity: string; entry_price: string }[]
      >`select strategy_account_id, symbol, quantity, entry_price from strategy_positions limit ${SAMPLE}`
      const begun = performance.now()
      for (const { strategy_account_id, symbol, quantity, entry_price } of rows) {
        const price = prices[symbol] ?? '0'
        const unrealized = new Big(price).minus(entry_price).times(quantity).toFixed()
        await sql`
          update strategy_positions set mark_price = ${price}, marked_at = to_timestamp(0), unrealized_pnl = ${unrealized}
          where strategy_account_id = ${strategy_account_id} and market_type = 'SPOT' and symbol = ${symbol}
            and position_side = 'BOTH'`
      }
      return (performance.now() - begun) / rows.length
    },
    { deadlineMs: 120_000 }
  )
}

function bar(text: string, holds: boolean): void {
  say(`- ${text}: ${holds ? 'holds' : 'MISSED'}`)
  if (!holds) process.exitCode = 1
}

function median(values: number[]): number {
  return values.sort((a, b) => a - b)[values.length >> 1] ?? Number.NaN
}
