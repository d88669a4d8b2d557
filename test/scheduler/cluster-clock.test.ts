import fc from 'fast-check'
import t from 'tap'
import { ClusterClock } from '../../src/scheduler/cluster-clock.ts'

t.test(
  'the time is never ahead of the database clock, and behind it by at most the duration of the fastest reading',
  async t => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1_000_000, max: 2_000_000_000 }),
        fc.array(fc.tuple(fc.integer({ min: 0, max: 80 }), fc.integer({ min: 0, max: 80 })), {
          minLength: 1,
          maxLength: 30
        }),
        (offset, readings) => {
          let local = 0
          const clock = new ClusterClock(() => local)
          for (const [there, back] of readings) {
            const askedMs = local
            local += there
            const databaseMs = local + offset
            local += back
            clock.observe(databaseMs, askedMs, local)
            local += 1_000
          }
          const behind = local + offset - clock.nowMs()
          const fastest = Math.min(...readings.map(([there, back]) => there + back))
          t.ok(behind >= 0 && behind <= fastest + 1_000 * 31 * 0.000_2 * 2 + 1, `behind by ${behind} ms`)
        }
      )
    )
  }
)

t.test('the next reading corrects the time after a jump of the database clock or a suspension', async t => {
  let local = 0
  const clock = new ClusterClock(() => local)
  t.equal(clock.known, false)
  clock.observe(1_000_000, 0, 2)
  t.equal(clock.known, true)
  local = 1_000
  t.equal(clock.nowMs(), 1_000_998)
  for (const jumped of [9_000_000, 500_000]) {
    clock.observe(jumped, local, local + 2)
    t.equal(clock.nowMs(), jumped - 2)
  }
})

t.test('a fast reading is kept over later slow ones, minus the drift of the clocks', async t => {
  let local = 1_000_000
  const clock = new ClusterClock(() => local)
  const offset = 5_000_000
  clock.observe(local + offset, local, local)
  t.equal(clock.nowMs(), local + offset)
  local += 10_000
  clock.observe(local + offset, local - 50, local + 100)
  t.equal(clock.nowMs(), local + offset - 3, '0.02 % of 10.1 s')
  clock.observe(local + offset - 1_000, local, local + 2)
  t.equal(clock.nowMs(), local + offset - 1_002, 'the clock was set back by a second')
})

t.test('a bound that is consistent with the next reading is kept', async t => {
  const clock = new ClusterClock(() => 0)
  clock.observe(9_000_000, 0, 0)
  // The drift of 5 s is 1 ms.
  clock.observe(8_999_999, 0, 5_000)
  t.equal(clock.nowMs(), 8_999_999)
  clock.observe(8_999_998, 0, 5_000)
  t.equal(clock.nowMs(), 8_994_998, 'the clock was set back')
})
