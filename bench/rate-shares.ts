// npm run bench:rate-shares: how long accounts wait for their orders, balances and ledgers under the rate limits of each exchange,
// in six simulated hours. Uses the limits and costs of the adapters and the product's own budget, with one open order per
// account, an exchange that answers at once, and the schedules, waits and concurrency of the jobs. What is allowed grows
// linearly with the accounts. Then the weight of a run, and the period that results from it by the product's own estimate.
import { MINUTE, SECOND } from '../src/async/durations.ts'
import { EXCHANGE_NAMES, type ExchangeName, MARKET_TYPES, type MarketType } from '../src/domain/market.ts'
import { type CallCosts, callCosts } from '../src/exchanges/call-costs.ts'
import { CATALOGUE } from '../src/exchanges/catalogue.ts'
import { type Purpose, SHARES } from '../src/exchanges/http/budget-shares.ts'
import type { HostOptions } from '../src/exchanges/http/host-options.ts'
import { type Cost, RateBudget, USED_SHARE } from '../src/exchanges/http/rate-budget.ts'
import { JOB_PERIODS } from '../src/jobs/job-periods.ts'
import { budgetNeeds } from '../src/trading/budget-need.ts'

const HOURS = 6
const SIZES = [1, 100, 300, 1_000]
const STEP_MS = SECOND
/** Between the end of waits for room and the next run. */
const BETWEEN_RUNS_MS = 4 * SECOND
/** Sorts before every time. */
const NEVER = -1

const say = (line = '') => process.stdout.write(`${line}\n`)
let missed = 0

/** A job and its accounts. */
interface Job {
  purpose: Purpose
  everyMs: number
  concurrency: number
  costs: readonly Cost[]
  /** When each account was last read, or `NEVER`. */
  readAt: number[]
  /** The longest that an account waited. */
  worstMs: number
  /** The accounts that this run still has to read, and those whose call waits. */
  queue: number[]
  waiting: number[]
  nextRunMs: number
  /** The end of waits for room. */
  untilMs: number
}

async function costsOf(exchange: ExchangeName, marketType: MarketType): Promise<CallCosts> {
  const address = CATALOGUE[exchange].markets[marketType]
  if (address === undefined) throw new Error(`${exchange} has no market ${marketType}`)
  return await callCosts({ exchange, marketType }, address.url)
}

function jobOf(purpose: Purpose, everyMs: number, concurrency: number, costs: readonly Cost[], accounts: number): Job {
  return {
    purpose,
    everyMs,
    concurrency,
    costs,
    readAt: new Array<number>(accounts).fill(NEVER),
    worstMs: 0,
    queue: [],
    waiting: [],
    nextRunMs: 0,
    untilMs: 0
  }
}

/** One step of a job: its run begins when it is due, and makes the calls for which there is room. */
function step(job: Job, budget: RateBudget, now: number): void {
  if (job.queue.length === 0 && job.waiting.length === 0 && now >= job.nextRunMs) {
    // The account that waits longest comes first.
    job.queue = job.readAt.map((_, account) => account).sort((a, b) => (job.readAt[a] ?? 0) - (job.readAt[b] ?? 0))
    job.nextRunMs = now + job.everyMs
    job.untilMs = now + job.everyMs - BETWEEN_RUNS_MS
  }
  const isDone = (account: number) => {
    const waitMs = budget.take(job.costs, `key-${account}`, job.purpose)
    if (waitMs === 0) {
      job.worstMs = Math.max(job.worstMs, now - Math.max(0, job.readAt[account] ?? 0))
      job.readAt[account] = now
    }
    return waitMs === 0 || now + waitMs >= job.untilMs
  }
  job.waiting = job.waiting.filter(account => !isDone(account))
  while (job.queue.length > 0 && job.waiting.length < job.concurrency) {
    const account = job.queue.shift() ?? 0
    if (!isDone(account)) job.waiting.push(account)
  }
}

function simulate(costs: Awaited<ReturnType<typeof costsOf>>, accounts: number) {
  let now = 0
  const budget = new RateBudget(costs.limits, () => now)
  const prices = jobOf('prices', 31 * SECOND, 1, costs.prices, 1)
  const orders = jobOf('orders', 29 * SECOND, 16, costs.order, accounts)
  const balances = jobOf('balances', 59 * SECOND, 8, costs.balances, accounts)
  const ledger = jobOf('ledger', 300 * SECOND, 8, costs.ledger, accounts)
  const jobs = [prices, orders, balances, ledger]
  for (; now < HOURS * 60 * MINUTE; now += STEP_MS) for (const job of jobs) step(job, budget, now)
  for (const job of jobs) {
    for (const readAt of job.readAt) job.worstMs = Math.max(job.worstMs, now - Math.max(0, readAt))
  }
  return { prices, orders, balances, ledger }
}

/** What all accounts need, divided by the guaranteed part of the limit, and one run. In ms. */
function boundOf({ purpose, costs, everyMs, readAt }: Job, limits: HostOptions['limits']): number {
  const waits = limits
    .filter(({ scope }) => scope === 'address')
    .map(({ name, weight, perMs }) => {
      const need =
        readAt.length * costs.filter(({ limit }) => limit === name).reduce((sum, cost) => sum + cost.weight, 0)
      return (need / (weight * USED_SHARE * SHARES[purpose])) * perMs
    })
  return Math.max(0, ...waits) + 2 * everyMs
}

function needsOf(exchange: ExchangeName, marketType: MarketType, costs: CallCosts, accounts: number): string {
  const load = {
    exchange,
    marketType,
    costs,
    wallets: CATALOGUE[exchange].wallets.includes(marketType) ? accounts : 0,
    orders: [{ ordersOfSymbols: [1], accounts }]
  }
  const { list, order } = costs.orderCosts
  const listed = { ...load, orders: [{ ordersOfSymbols: [1], accounts: (accounts * list) / order }] }
  const needOf = (one: typeof load) =>
    budgetNeeds([one], { periodsMs: JOB_PERIODS }).find(({ weightPerRun }) => weightPerRun.orders > 0)
  const [after, before] = [needOf(load), needOf(listed)]
  if (after === undefined || before === undefined) return '- | - | - | - | - | - | - | -'
  const times = (need: number) => need.toFixed(2)
  return [
    before.weightPerRun.orders,
    after.weightPerRun.orders,
    after.weightPerRun.balances,
    times(before.need),
    times(after.need),
    `${seconds(before.periodsMs.orders)} s`,
    `${seconds(after.periodsMs.orders)} s`,
    `${seconds(after.periodsMs.balances)} s`
  ].join(' | ')
}

function bar(text: string, holds: boolean): void {
  if (holds) return
  missed++
  say(`MISSED ${text}`)
}

const seconds = (ms: number) => (ms / SECOND).toFixed(0)

say(`Longest wait of an account in ${HOURS} simulated hours, in seconds (in brackets what is allowed)`)
say()
say('| exchange | market | accounts | orders | balances | ledgers | prices | accounts never read |')
say('|---|---|---|---|---|---|---|---|')
for (const exchange of EXCHANGE_NAMES) {
  for (const marketType of MARKET_TYPES) {
    if (CATALOGUE[exchange].markets[marketType] === undefined) continue
    const costs = await costsOf(exchange, marketType)
    for (const accounts of SIZES) {
      const { prices, orders, balances, ledger } = simulate(costs, accounts)
      const starved = [orders, balances, ledger].flatMap(({ readAt }) => readAt.filter(at => at === NEVER)).length
      const cell = (job: Job) => `${seconds(job.worstMs)} (${seconds(boundOf(job, costs.limits))})`
      const name = `${exchange} ${marketType}, ${accounts} accounts`
      say(
        `| ${exchange} | ${marketType} | ${accounts} | ${cell(orders)} | ${cell(balances)} | ${cell(ledger)} | ${seconds(prices.worstMs)} | ${starved} |`
      )
      for (const job of [orders, balances, ledger])
        bar(`${name}: ${job.purpose}`, job.worstMs <= boundOf(job, costs.limits))
      bar(`${name}: prices`, prices.worstMs <= 2 * prices.everyMs)
    }
  }
}
say()
say(
  'Weight of one run over all accounts, and the estimated period: before, with the list of all open orders of each account,'
)
say(
  'and after, with the cheapest calls. Of the limit that the orders of all accounts share; `-` where each has limits of its own.'
)
say()
say(
  '| exchange | market | accounts | orders before | orders after | balances | need before | need after | orders every, before | after | balances every |'
)
say('|---|---|---|---|---|---|---|---|---|---|---|')
for (const exchange of EXCHANGE_NAMES) {
  for (const marketType of MARKET_TYPES) {
    if (CATALOGUE[exchange].markets[marketType] === undefined) continue
    const costs = await costsOf(exchange, marketType)
    for (const accounts of SIZES)
      say(`| ${exchange} | ${marketType} | ${accounts} | ${needsOf(exchange, marketType, costs, accounts)} |`)
  }
}
say()
say(missed === 0 ? 'Every bar holds.' : `${missed} bars are missed.`)
process.exitCode = missed === 0 ? 0 : 1
