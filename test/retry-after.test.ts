import t from 'tap'
import { parseRetryAfter } from '../src/retry-after.ts'

t.test('Retry-After is a number of seconds, a date, or unknown', async t => {
  const now = Date.parse('2026-01-01T00:00:00Z')
  t.equal(parseRetryAfter('120', now), 120_000)
  t.equal(parseRetryAfter('0', now), 0)
  t.equal(parseRetryAfter('Thu, 01 Jan 2026 00:01:30 GMT', now), 90_000)
  for (const header of [null, '', 'soon']) t.equal(parseRetryAfter(header, now), null)
})
