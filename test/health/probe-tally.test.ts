import t from 'tap'
import { ProbeTally } from '../../src/health/probe-tally.ts'
import { PROBE_BUCKETS } from '../../src/metrics/definitions.ts'
import { assertRows } from '../support/assert-rows.ts'

t.test('what each thread counts is read from the one memory', async t => {
  const tally = new ProbeTally()
  const onMain = tally.counter('main')
  const inThread = new ProbeTally(tally.buffer).counter('probe')
  onMain('/health/live', 200, 0.4)
  onMain('/health/live', 200, 0.6)
  onMain('/health/ready', 503, 5_000)
  inThread('/health/ready', 200, 1_000)

  const counted = tally.series().filter(({ counts }) => counts.some(Boolean))
  const at = (...buckets: number[]) =>
    [...PROBE_BUCKETS, Number.POSITIVE_INFINITY].map((_bound, i) => buckets.filter(bucket => bucket === i).length)
  assertRows(t, counted, [
    { port: 'main', route: '/health/ready', code: 503, counts: at(PROBE_BUCKETS.length), sum: 5 },
    { port: 'main', route: '/health/live', code: 200, counts: at(0, 1), sum: 0.001 },
    { port: 'probe', route: '/health/ready', code: 200, counts: at(PROBE_BUCKETS.length - 1), sum: 1 }
  ])
  t.equal(tally.series().length, 20, 'every series is there from the start')
})

t.test('no two series share memory', async t => {
  const tally = new ProbeTally()
  for (const { port, route, code } of tally.series()) tally.counter(port)(route, code, 0)
  for (const { port, route, code, counts } of tally.series()) {
    t.equal(
      counts.reduce((sum, count) => sum + count, 0),
      1,
      `${port} ${route} ${code}`
    )
  }
})
