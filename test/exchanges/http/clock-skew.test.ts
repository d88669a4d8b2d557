import t from 'tap'
import { ClockSkew } from '../../../src/exchanges/http/clock-skew.ts'

/** The local time of the request, at the start of a second. */
const ASKED_AT = Date.parse('2026-01-01T00:00:00Z')
const dateHeader = (offsetMs: number) => new Date(ASKED_AT + offsetMs).toUTCString()

t.test('without a reading of the host clock the skew is 0, and times are whole milliseconds', async t => {
  const skew = new ClockSkew()
  t.equal(skew.ms, null)
  t.equal(skew.hostTime(1_000.7), 1_000)
})

t.test('a reading of the host clock sets the skew', async t => {
  const skew = new ClockSkew()
  skew.measure(ASKED_AT + 1_500.5, ASKED_AT)
  t.equal(skew.ms, 1_500.5)
  t.equal(skew.hostTime(10_000), 11_500)
})

t.test('a Date header near the local time means no skew', async t => {
  const skew = new ClockSkew()
  skew.correctByDateHeader(dateHeader(0), ASKED_AT, 10)
  t.equal(skew.ms, 0)
})

t.test('a Date header sets the skew by the middle of its second', async t => {
  const skew = new ClockSkew()
  skew.correctByDateHeader(dateHeader(-60_000), ASKED_AT, 10)
  t.equal(skew.ms, -59_500)
  skew.correctByDateHeader(dateHeader(-61_000), ASKED_AT, 10)
  t.equal(skew.ms, -59_500, 'it agrees within one second')
  skew.correctByDateHeader(dateHeader(-62_000), ASKED_AT, 10)
  t.equal(skew.ms, -61_500)
})

t.test('a Date header does not replace a measured skew that agrees with it', async t => {
  const skew = new ClockSkew()
  skew.measure(ASKED_AT + 300, ASKED_AT)
  skew.correctByDateHeader(dateHeader(0), ASKED_AT, 10)
  t.equal(skew.ms, 300)
})

t.test('a Date header is ignored when it is absent or not a date, or arrived after a second', async t => {
  const skew = new ClockSkew()
  skew.correctByDateHeader(null, ASKED_AT, 10)
  skew.correctByDateHeader('yesterday', ASKED_AT, 10)
  skew.correctByDateHeader(dateHeader(-60_000), ASKED_AT, 1_000)
  t.equal(skew.ms, null)
  skew.correctByDateHeader(dateHeader(-60_000), ASKED_AT, 999)
  t.equal(skew.ms, -59_500)
})
