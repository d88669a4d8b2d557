import fc from 'fast-check'
import t from 'tap'
import { HOUR, MINUTE, SECOND } from '../../src/async/durations.ts'
import { type Misfire, ON_TIME_MS, planFire } from '../../src/scheduler/misfire.ts'
import { daily, every } from '../../src/scheduler/trigger.ts'

const skip: Misfire = { policy: 'skip' }
const at = (text: string) => Date.parse(text)

t.test('a fire on time runs, and the next fire time follows', async t => {
  const trigger = every(29 * SECOND)
  t.strictSame(planFire(trigger, skip, 290_000, 290_003), {
    dueMs: 290_000,
    nextMs: 319_000,
    run: { scheduledForMs: 290_000, trigger: 'schedule', mayRepeat: true }
  })
})

t.test('after a minute without fires a short interval runs once, and its missed fires are counted', async t => {
  t.strictSame(planFire(every(SECOND), skip, 100_000, 160_400), {
    dueMs: 100_000,
    nextMs: 161_000,
    run: { scheduledForMs: 160_000, trigger: 'schedule', mayRepeat: true },
    missed: { count: 60, fromMs: 100_000, untilMs: 159_000 }
  })
})

t.test('a fire that is too late is missed with `skip`, and runs within its grace with `catch_up`', async t => {
  const summary = daily({ hour: 21, minute: 3 }, 'Asia/Seoul')
  const dueMs = at('2026-11-20T12:03:00Z')
  const late = at('2026-11-22T12:33:00Z')
  const latest = at('2026-11-22T12:03:00Z')
  const nextMs = at('2026-11-23T12:03:00Z')
  t.strictSame(planFire(summary, skip, dueMs, late), {
    dueMs,
    nextMs,
    missed: { count: 3, fromMs: dueMs, untilMs: latest }
  })
  t.strictSame(planFire(summary, { policy: 'catch_up', graceMs: HOUR }, dueMs, late), {
    dueMs,
    nextMs,
    run: { scheduledForMs: latest, trigger: 'catch_up', mayRepeat: false },
    missed: { count: 2, fromMs: dueMs, untilMs: at('2026-11-21T12:03:00Z') }
  })
  t.strictSame(planFire(summary, { policy: 'catch_up', graceMs: 29 * MINUTE }, dueMs, late), {
    dueMs,
    nextMs,
    missed: { count: 3, fromMs: dueMs, untilMs: latest }
  })
})

t.test(
  'after any time without fires at most one run starts, every fire is counted, and the next fire time follows',
  async t => {
    const misfires = fc.oneof(
      fc.constant<Misfire>(skip),
      fc.integer({ min: 0, max: 4 * HOUR }).map((graceMs): Misfire => ({ policy: 'catch_up', graceMs }))
    )
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 900 }),
        misfires,
        fc.integer({ min: 1, max: 1_000_000 }),
        fc.integer({ min: 0, max: 6 * HOUR }),
        (seconds, misfire, slot, lateMs) => {
          const period = seconds * SECOND
          const trigger = every(period)
          const dueMs = slot * period
          const nowMs = dueMs + lateMs
          const plan = planFire(trigger, misfire, dueMs, nowMs)
          // The reference: all due times until now.
          const come: number[] = []
          for (let due = dueMs; due <= nowMs; due += period) come.push(due)
          const last = come.at(-1) ?? Number.NaN
          const grace = misfire.policy === 'catch_up' ? Math.max(misfire.graceMs, ON_TIME_MS) : ON_TIME_MS
          t.equal(plan.run?.scheduledForMs, nowMs - last <= grace ? last : undefined)
          t.equal((plan.missed?.count ?? 0) + (plan.run ? 1 : 0), come.length)
          t.equal(plan.nextMs, last + period)
          if (plan.missed) {
            t.equal(plan.missed.fromMs, dueMs)
            t.equal(plan.missed.untilMs, plan.run ? last - period : last)
          }
        }
      ),
      { numRuns: 500 }
    )
  }
)

t.test('a fire time of a previous schedule fires, and the next one is of the new schedule', async t => {
  const plan = planFire(every(31 * SECOND), skip, 290_000, 290_001)
  t.strictSame(plan.run, { scheduledForMs: 290_000, trigger: 'schedule', mayRepeat: true })
  t.equal(plan.nextMs, 310_000)
  t.equal(plan.missed, undefined)
})

t.test('a fire is on time for 10 s, and catches up until its grace has passed', async t => {
  const trigger = every(HOUR)
  const runOf = (misfire: Misfire, lateMs: number) => planFire(trigger, misfire, HOUR, HOUR + lateMs).run
  const run = { scheduledForMs: HOUR, trigger: 'schedule', mayRepeat: false }
  t.strictSame([runOf(skip, 10_000), runOf(skip, 10_001)], [{ ...run, mayRepeat: true }, undefined])
  const grace: Misfire = { policy: 'catch_up', graceMs: MINUTE }
  t.strictSame([runOf(grace, 10_000), runOf(grace, 10_001)], [run, { ...run, trigger: 'catch_up' }])
  t.strictSame([runOf(grace, 60_000), runOf(grace, 60_001)], [{ ...run, trigger: 'catch_up' }, undefined])
})

t.test('a missed fire time of a previous schedule counts as one', async t => {
  t.strictSame(planFire(every(31 * SECOND), skip, 295_000, 310_001), {
    dueMs: 295_000,
    nextMs: 341_000,
    run: { scheduledForMs: 310_000, trigger: 'schedule', mayRepeat: true },
    missed: { count: 1, fromMs: 295_000, untilMs: 295_000 }
  })
})
