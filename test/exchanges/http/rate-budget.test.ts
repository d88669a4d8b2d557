import fc from 'fast-check'
import t from 'tap'
import { MINUTE } from '../../../src/async/durations.ts'
import { RateBudget } from '../../../src/exchanges/http/rate-budget.ts'

const WEIGHT = { name: 'weight', weight: 100, perMs: MINUTE, scope: 'address' } as const
const KEYED = { name: 'keyed', weight: 10, perMs: 1_000, scope: 'key' } as const

/** A budget and its clock, which only the test advances. */
function budget() {
  const clock = { now: 0 }
  return { clock, budget: new RateBudget([WEIGHT, KEYED], () => clock.now) }
}

const cost = (weight: number) => [{ limit: 'weight', weight }]

t.test('grants nine tenths of a limit, then returns how long to wait', async t => {
  const { clock, budget: spent } = budget()
  t.equal(spent.take(cost(80), ''), 0)
  clock.now = 10_000
  t.equal(spent.take(cost(10), ''), 0)
  t.equal(spent.take(cost(1), ''), 50_000, 'until the first one is outside the window')
  clock.now = 60_000
  t.equal(spent.take(cost(80), ''), 0)
})

t.test('the use of the limits of the address is that of the window, or what the exchange reports', async t => {
  const clock = { now: 0 }
  const spent = new RateBudget(
    [WEIGHT, KEYED],
    () => clock.now,
    () => 1,
    ['weight']
  )
  const used = () => spent.uses().map(({ limit, used }) => `${limit.name} ${used}`)
  t.strictSame(used(), ['weight 0'], 'limits of a key are not among them')
  spent.take(cost(10), '')
  t.strictSame(used(), ['weight 10'])
  spent.settle(cost(10), '', { usage: { limit: 'weight', used: 40 }, hostTime: 0 })
  spent.take(cost(5), '')
  t.strictSame(used(), ['weight 45'], 'what others behind the address used, and the call that is not reported yet')
  clock.now = MINUTE
  t.strictSame(used(), ['weight 0'], 'after the window')
})

t.test('never grants more than nine tenths in any span of the window', async () => {
  const steps = fc.array(fc.tuple(fc.integer({ min: 0, max: 30_000 }), fc.integer({ min: 1, max: 90 })), {
    maxLength: 60
  })
  fc.assert(
    fc.property(steps, steps => {
      const { clock, budget: spent } = budget()
      const taken: { at: number; weight: number }[] = []
      for (const [pause, weight] of steps) {
        clock.now += pause
        if (spent.take(cost(weight), '') === 0) taken.push({ at: clock.now, weight })
      }
      return taken.every(({ at }) => {
        const window = taken.filter(other => other.at > at - MINUTE && other.at <= at)
        return window.reduce((sum, { weight }) => sum + weight, 0) <= 90
      })
    })
  )
})

t.test('after the returned wait the costs are granted', async () => {
  const costs = fc.array(fc.integer({ min: 1, max: 90 }), { minLength: 1, maxLength: 40 })
  fc.assert(
    fc.property(costs, costs => {
      const { clock, budget: spent } = budget()
      for (const weight of costs) {
        const wait = spent.take(cost(weight), '')
        clock.now += wait
        if (wait > 0 && spent.take(cost(weight), '') !== 0) return false
      }
      return true
    })
  )
})

t.test('takes all costs of a call or none', async t => {
  const { budget: spent } = budget()
  const both = [...cost(10), { limit: 'keyed', weight: 9 }]
  t.equal(spent.take(both, 'a'), 0)
  t.equal(spent.take(both, 'a'), 1_000)
  t.equal(spent.take(cost(80), 'a'), 0, 'the refused call did not use the other limit')
})

t.test('has one count per key and one for the address', async t => {
  const { budget: spent } = budget()
  const keyed = [{ limit: 'keyed', weight: 9 }]
  t.equal(spent.take(keyed, 'a'), 0)
  t.equal(spent.take(keyed, 'b'), 0)
  t.equal(spent.take(keyed, 'a'), 1_000)
  t.equal(spent.take(cost(90), 'a'), 0)
  t.equal(spent.take(cost(1), 'b'), MINUTE)
})

t.test('uses the count of the exchange when it is higher', async t => {
  const { budget: spent } = budget()
  spent.take(cost(10), '')
  spent.settle([], '', { usage: { limit: 'weight', used: 5 }, hostTime: 0 })
  t.equal(spent.take(cost(10), ''), 0)
  spent.settle([], '', { usage: { limit: 'weight', used: 90 }, hostTime: 0 })
  t.equal(spent.take(cost(1), ''), MINUTE)
})

/** A budget whose limit of the address is shared by three replicas and reported in minutes of the exchange's clock. */
function sharedBudget({ reported = true, fixed = true }) {
  const clock = { now: 0 }
  const limit = { name: 'weight', weight: 1_000, perMs: MINUTE, scope: 'address', fixed } as const
  const budget = new RateBudget(
    [limit, KEYED],
    () => clock.now,
    () => 3,
    reported ? ['weight', 'keyed'] : []
  )
  const answer = (weight: number, used: number | null) => {
    const usage = used === null ? null : { limit: 'weight', used }
    budget.settle(cost(weight), '', { usage, hostTime: clock.now })
  }
  return { clock, budget, answer }
}

t.test('without reports a replica has a third of the limit of the address, and the whole limit of a key', async t => {
  const { budget: spent } = sharedBudget({ reported: false })
  t.equal(spent.take(cost(300), ''), 0)
  t.equal(spent.take(cost(1), ''), MINUTE)
  t.equal(spent.take([{ limit: 'keyed', weight: 9 }], 'a'), 0)
})

t.test('with reports a replica has few calls under way, and uses what the others leave', async t => {
  const { clock, budget: spent, answer } = sharedBudget({})
  clock.now = 5_000
  t.equal(spent.take(cost(10), ''), 0)
  t.equal(spent.take(cost(10), ''), 20, 'before the first report one call is under way')
  answer(10, 10)
  t.equal(spent.take(cost(10), ''), 0)
  t.equal(spent.take(cost(10), ''), 0)
  t.equal(spent.take(cost(10), ''), 20, 'then a third of the last tenth, less one call')
  answer(10, 850)
  t.equal(spent.take(cost(10), ''), 0)
  answer(10, 870)
  answer(10, 860)
  t.equal(spent.take(cost(10), ''), 0, 'answers may arrive in another order')
  answer(10, 890)
  t.equal(spent.take(cost(20), ''), 56_000, 'until a second after the end of the minute')
  clock.now = 61_000
  t.equal(spent.take(cost(20), ''), 0)
})

t.test('a call without an answer counts until the next report, or until it has left the window', async t => {
  const { clock, budget: spent, answer } = sharedBudget({})
  clock.now = 5_000
  spent.take(cost(10), '')
  spent.settle(cost(10), '', null)
  t.equal(spent.take(cost(10), ''), 20)
  clock.now += MINUTE
  t.equal(spent.take(cost(10), ''), 0)
  answer(10, 10)
  spent.take(cost(10), '')
  spent.take(cost(10), '')
  spent.settle(cost(10), '', null)
  answer(10, 30)
  t.equal(spent.take(cost(10), ''), 0)
  t.equal(spent.take(cost(10), ''), 0)
})

t.test('a limit is divided while the exchange does not report it', async t => {
  const { clock, budget: spent, answer } = sharedBudget({})
  clock.now = 5_000
  spent.take(cost(10), '')
  answer(10, null)
  t.equal(spent.take(cost(290), ''), 0)
  t.equal(spent.take(cost(1), ''), MINUTE)
  answer(290, 300)
  t.equal(spent.take(cost(1), ''), 0)
})

t.test('grants nothing while the exchange demands a pause', async t => {
  const { clock, budget: spent } = budget()
  spent.blockFor(5_000)
  spent.blockFor(1_000)
  t.equal(spent.take(cost(1), ''), 5_000)
  t.equal(spent.take([{ limit: 'keyed', weight: 1 }], 'a'), 5_000)
  clock.now = 5_000
  t.equal(spent.take(cost(1), ''), 0)
})

t.test('a call with a weight above the whole limit waits for an empty window, and is then granted', async t => {
  const { clock, budget: spent } = budget()
  spent.take(cost(1), '')
  t.equal(spent.take(cost(500), ''), MINUTE)
  clock.now = MINUTE
  t.equal(spent.take(cost(500), ''), 0)
})

t.test('drops the counts of idle keys', async t => {
  const { clock, budget: spent } = budget()
  for (let key = 0; key < 5_000; key++) {
    clock.now += 1
    t.equal(spent.take([{ limit: 'keyed', weight: 1 }], `key-${key}`), 0)
  }
})
