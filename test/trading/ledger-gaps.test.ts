import fc from 'fast-check'
import t from 'tap'
import { type IncompletePeriod, isKnown, periodsAfter } from '../../src/trading/ledger-gaps.ts'

const CODES = ['permission', 'unreadable', 'pending', 'not_provided'] as const

t.test('a reading replaces what was known of its span, and touching periods become one', async t => {
  const after = (periods: IncompletePeriod[], from: number, until: number, ...codes: IncompletePeriod['code'][]) =>
    periodsAfter(periods, { from, until }, codes)
  const first = after([], 0, 10, 'permission')
  t.strictSame(first, [{ from: 0, until: 10, code: 'permission' }])
  t.strictSame(after(first, 10, 20, 'permission'), [{ from: 0, until: 20, code: 'permission' }])
  t.strictSame(after(first, 5, 20, 'permission', 'unreadable'), [
    { from: 0, until: 20, code: 'permission' },
    { from: 5, until: 20, code: 'unreadable' }
  ])
  t.strictSame(after(first, 3, 4), [
    { from: 0, until: 3, code: 'permission' },
    { from: 4, until: 10, code: 'permission' }
  ])
  t.strictSame(after(first, 0, 10), [])
  t.equal(isKnown(first, { from: 10, until: 11 }, 'permission'), true)
  t.equal(isKnown(first, { from: 11, until: 12 }, 'permission'), false)
  t.equal(isKnown(first, { from: 3, until: 4 }, 'unreadable'), false)
})

t.test('the periods are those of a model that keeps the codes of every moment', async () => {
  const reading = fc.record({
    from: fc.integer({ min: 0, max: 40 }),
    length: fc.integer({ min: 1, max: 15 }),
    codes: fc.uniqueArray(fc.constantFrom(...CODES))
  })
  fc.assert(
    fc.property(fc.array(reading, { maxLength: 25 }), readings => {
      const moments = Array.from({ length: 60 }, () => new Set<string>())
      let periods: IncompletePeriod[] = []
      for (const { from, length, codes } of readings) {
        periods = periodsAfter(periods, { from, until: from + length }, codes)
        for (let at = from; at < from + length; at++) moments[at] = new Set(codes)
      }
      const isOrdered = periods.every(({ from }, index) => index === 0 || from >= (periods[index - 1]?.from ?? 0))
      return (
        isOrdered &&
        moments.every((codes, at) =>
          CODES.every(
            code =>
              codes.has(code) ===
              (periods.filter(period => period.code === code && period.from <= at && period.until > at).length === 1)
          )
        )
      )
    })
  )
})

t.test('the number of periods of a code is bounded: the oldest ones become one', async t => {
  let periods: IncompletePeriod[] = []
  for (let index = 0; index < 150; index++) {
    periods = periodsAfter(periods, { from: 10 * index, until: 10 * index + 1 }, ['unreadable'])
  }
  t.equal(periods.length, 100)
  t.strictSame(periods[0], { from: 0, until: 501, code: 'unreadable' })
  t.strictSame(periods.at(-1), { from: 1_490, until: 1_491, code: 'unreadable' })
})
