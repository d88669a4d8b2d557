import t from 'tap'
import { isAfter, MOMENT_PATTERN, type Moment, momentOf } from '../../../src/trading/read/moment.ts'

t.test('a day, or a time with its offset, is a moment', async t => {
  const moments: [text: string, moment: Moment][] = [
    ['2026-11-22', { day: '2026-11-22' }],
    ['0001-01-01', { day: '0001-01-01' }],
    ['9999-12-31', { day: '9999-12-31' }],
    ['2024-02-29', { day: '2024-02-29' }],
    ['2026-11-22T00:00:00Z', { time: '2026-11-22T00:00:00Z' }],
    ['2026-11-22T00:00:00.123456Z', { time: '2026-11-22T00:00:00.123456Z' }],
    ['2026-11-22T00:00:00.5+09:00', { time: '2026-11-21T15:00:00.5Z' }],
    ['2026-11-22T23:59:59-12:00', { time: '2026-11-23T11:59:59Z' }]
  ]
  for (const [text, moment] of moments) {
    t.ok(new RegExp(MOMENT_PATTERN, 'u').test(text), `${text} has the pattern`)
    t.strictSame(momentOf(text), moment, text)
  }
})

t.test('other texts are no moments', async t => {
  for (const text of [
    ...[
      '',
      '2026',
      '2026-13-01',
      '2026-02-30',
      '2025-02-29',
      '0000-01-01',
      '2026-00-10',
      '10000-01-01',
      '-000001-01-01'
    ],
    ...['2026-11-22T24:00:00Z', '2026-11-22T23:60:00Z', '2026-11-22T23:59:60Z', '2026-11-22T00:00:00'],
    ...[
      '2026-11-22T00:00:00+99:99',
      '2026-11-22T00:00:00+15:00',
      '0001-01-01T00:00:00+09:00',
      '9999-12-31T23:00:00-09:00'
    ],
    ...['2026-11-22T00:00:00.1234567Z', 'infinity', 'now', '2026-11-22 00:00:00Z', '2026-11-22T00:00:00Z\n']
  ]) {
    t.equal(momentOf(text), undefined, text)
  }
})

t.test('moments of one kind have an order', async t => {
  const after = (one: string, other: string) => {
    const [first, second] = [momentOf(one), momentOf(other)]
    return first && second && isAfter(first, second)
  }
  t.equal(after('2026-11-23', '2026-11-22'), true)
  t.equal(after('2026-11-22', '2026-11-22'), false)
  t.equal(after('2026-11-22T00:00:00.1Z', '2026-11-22T00:00:00Z'), true)
  t.equal(after('2026-11-22T00:00:00Z', '2026-11-22T00:00:00.000001Z'), false)
  t.equal(after('2026-11-22T09:00:00+09:00', '2026-11-22T00:00:00.000Z'), false)
  t.equal(after('2026-11-23', '2026-11-22T00:00:00Z'), false, 'a day and a time are not compared')
  t.equal(after('2026-11-23T00:00:00Z', '2026-11-22'), false)
})
