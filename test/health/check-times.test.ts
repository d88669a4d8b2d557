import t from 'tap'
import type { CheckDetails } from '../../src/domain/check-details.ts'
import { CheckTimes } from '../../src/health/check-times.ts'

const check = (rest: Partial<CheckDetails> = {}): CheckDetails => {
  return { name: 'a', status: 'ok', code: null, latency_ms: 1, age_ms: 2, since: null, ...rest }
}
const timeOf = (nowMs: number) => new Date(nowMs).toISOString()

t.test('a check has since when it has its status and code', async t => {
  const times = new CheckTimes()
  const since = (nowMs: number, ...checks: CheckDetails[]) => times.complete(checks, nowMs).map(({ since }) => since)
  const failed = check({ status: 'degraded', code: 'timeout' })
  t.strictSame(since(1_000, check(), check({ name: 'b' })), [timeOf(1_000), timeOf(1_000)])
  t.strictSame(since(2_000, failed, check({ name: 'b' })), [timeOf(2_000), timeOf(1_000)])
  t.strictSame(since(3_000, { ...failed, age_ms: 9, latency_ms: null }), [timeOf(2_000)], 'the times are no change')
  t.strictSame(since(4_000, { ...failed, code: 'clock' }), [timeOf(4_000)], 'another code is one')
  t.strictSame(since(5_000, check()), [timeOf(5_000)], 'a recovery is one')
})

t.test('the own time of a check is kept', async t => {
  const own = check({ since: timeOf(7) })
  t.strictSame(new CheckTimes().complete([own], 1_000), [own])
})
