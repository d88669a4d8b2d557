import fc from 'fast-check'
import t from 'tap'
import { MINUTE, SECOND } from '../../../src/async/durations.ts'
import { type Purpose, purposeOf } from '../../../src/exchanges/http/budget-shares.ts'
import { RateBudget } from '../../../src/exchanges/http/rate-budget.ts'

/** The limit of Binance spot, of which nine tenths are used. */
const LIMIT = { name: 'weight', weight: 6_000, perMs: MINUTE, scope: 'address' } as const
const USABLE = 5_400

/** What a purpose asks for: at each time so many calls, one after the other, each until it is granted or the time is over. */
interface Demand {
  purpose: Purpose
  weight: number
  everyMs: number
  calls: number
}

/** What each purpose was granted per second, when all ask for so long. */
function simulate(demands: readonly Demand[], forMs: number) {
  let now = 0
  const budget = new RateBudget([LIMIT], () => now)
  const granted = demands.map(() => [] as number[])
  const left = demands.map(() => 0)
  for (; now < forMs; now += SECOND) {
    for (const [index, { purpose, weight, everyMs, calls }] of demands.entries()) {
      if (now % everyMs === 0) left[index] = calls
      let taken = 0
      while ((left[index] ?? 0) > 0 && budget.take([{ limit: 'weight', weight }], '', purpose) === 0) {
        left[index] = (left[index] ?? 0) - 1
        taken += weight
      }
      granted[index]?.push(taken)
    }
  }
  return granted.map(seconds => ({
    total: (from: number, to: number) =>
      seconds.slice(from / SECOND, to / SECOND).reduce((sum, weight) => sum + weight, 0)
  }))
}

/** A purpose that asks for more than the whole limit, all the time. */
const greedy = (purpose: Purpose): Demand => ({ purpose, weight: 4, everyMs: SECOND, calls: 10_000 })

t.test('a purpose that alone has calls uses the whole limit', async t => {
  for (const purpose of ['prices', 'orders', 'balances', 'ledger', 'other'] as const) {
    const [alone] = simulate([greedy(purpose)], 10 * MINUTE)
    t.equal(alone?.total(0, 10 * MINUTE), 10 * USABLE, purpose)
  }
})

t.test('each purpose has its share, although all ask for more than the whole limit', async t => {
  const purposes = ['orders', 'other', 'balances', 'prices', 'ledger'] as const
  const granted = simulate(purposes.map(greedy), 20 * MINUTE)
  for (const [index, share] of [0.5, 0.05, 0.25, 0.1, 0.1].entries()) {
    // The first windows are those in which the demand becomes known.
    const weight = granted[index]?.total(2 * MINUTE, 20 * MINUTE) ?? 0
    const least = 0.95 * share * 18 * USABLE
    t.ok(weight >= least, `${purposes[index]}: ${weight} of at least ${least}`)
  }
  const all = granted.reduce((sum, { total }) => sum + total(2 * MINUTE, 20 * MINUTE), 0)
  t.ok(all >= 0.97 * 18 * USABLE, `${all} of ${18 * USABLE} are used`)
})

t.test('a share that is not needed is used by the others', async t => {
  const balances: Demand = { purpose: 'balances', weight: 20, everyMs: 59 * SECOND, calls: 5 }
  const [orders, few] = simulate([greedy('orders'), balances], 20 * MINUTE)
  const weight = orders?.total(2 * MINUTE, 20 * MINUTE) ?? 0
  // 100 of balances a minute, or 200 if two of their runs begin in it, of a share of 1,350.
  t.ok(weight >= 18 * (USABLE - 420), `orders: ${weight}`)
  const need = few?.total(2 * MINUTE, 20 * MINUTE) ?? 0
  t.ok(need >= 1_800, `balances: ${need}`)
})

t.test('prices are read at once, whatever else there is to read', async t => {
  let now = 0
  const budget = new RateBudget([LIMIT], () => now)
  const price = () => budget.take([{ limit: 'weight', weight: 4 }], '', 'prices')
  const fill = () => {
    for (const purpose of ['orders', 'balances', 'ledger', 'other'] as const) {
      while (budget.take([{ limit: 'weight', weight: 4 }], '', purpose) === 0);
    }
  }
  t.equal(price(), 0, 'the warm-up comes first')
  for (let minute = 0; minute < 30; minute++) {
    for (const pauseMs of [31 * SECOND, 31 * SECOND]) {
      fill()
      now += pauseMs
      fill()
      t.equal(price(), 0, `at ${now / SECOND} s`)
    }
  }
})

t.test('the purposes together never have more than the limit in any window', async () => {
  const purpose = fc.constantFrom<Purpose>('prices', 'orders', 'balances', 'ledger', 'other')
  const steps = fc.array(fc.tuple(fc.integer({ min: 0, max: 20_000 }), fc.integer({ min: 1, max: 900 }), purpose), {
    maxLength: 80
  })
  fc.assert(
    fc.property(steps, steps => {
      let now = 0
      const budget = new RateBudget([LIMIT], () => now)
      const taken: { at: number; weight: number }[] = []
      for (const [pause, weight, purpose] of steps) {
        now += pause
        if (budget.take([{ limit: 'weight', weight }], '', purpose) === 0) taken.push({ at: now, weight })
      }
      return taken.every(({ at }) => {
        const window = taken.filter(other => other.at > at - MINUTE && other.at <= at)
        return window.reduce((sum, { weight }) => sum + weight, 0) <= USABLE
      })
    })
  )
})

t.test('a wait for an answer is not a need for a share', async t => {
  let now = 0
  const budget = new RateBudget(
    [LIMIT],
    () => now,
    () => 2,
    ['weight']
  )
  const take = (weight: number, purpose: Purpose) => budget.take([{ limit: 'weight', weight }], '', purpose)
  const settle = (weight: number, used: number) =>
    budget.settle([{ limit: 'weight', weight }], '', { usage: { limit: 'weight', used }, hostTime: now })
  t.equal(take(20, 'balances'), 0)
  settle(20, 20)
  t.equal(take(300, 'balances'), 0)
  t.equal(take(20, 'balances'), 20, 'as much as may be under way without a report')
  settle(300, 320)
  now += 61_000
  let used = 0
  while (take(40, 'orders') === 0) {
    used += 40
    settle(40, used)
  }
  t.ok(used >= 4_700, `orders use what balances do not need: ${used}`)
})

t.test('limits of a key have no shares, because its account is read by one job at a time', async t => {
  const budget = new RateBudget([{ ...LIMIT, scope: 'key', weight: 10 }], () => 0)
  const calls = (purpose: Purpose) => {
    let count = 0
    while (budget.take([{ limit: 'weight', weight: 1 }], 'a', purpose) === 0) count++
    return count
  }
  t.equal(calls('orders'), 9)
  t.equal(calls('balances'), 0)
})

t.test('every operation that the jobs call has a purpose of its own', async t => {
  t.strictSame(
    [
      'lastPrices',
      'markPrices',
      'openOrders',
      'order',
      'fills',
      'balances',
      'ledger',
      'accountFills',
      'serverTime',
      'constructor'
    ].map(purposeOf),
    ['prices', 'prices', 'orders', 'orders', 'orders', 'balances', 'ledger', 'ledger', 'other', 'other']
  )
})
