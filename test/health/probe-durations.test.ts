import t from 'tap'
import { ProbeDurations } from '../../src/health/probe-durations.ts'
import { PROBE_BUCKETS } from '../../src/metrics/definitions.ts'
import { assertRows } from '../support/assert-rows.ts'

t.test('the durations of both threads are read from shared memory', async t => {
  const durations = new ProbeDurations()
  const onMain = durations.recorder('main')
  const inThread = new ProbeDurations(durations.buffer).recorder('probe')
  onMain('/health/live', 200, 0.4)
  onMain('/health/live', 200, 0.6)
  onMain('/health/ready', 503, 5_000)
  inThread('/health/ready', 200, 1_000)

  const recorded = durations.series().filter(({ counts }) => counts.some(Boolean))
  const at = (...buckets: number[]) =>
    [...PROBE_BUCKETS, Number.POSITIVE_INFINITY].map((_bound, i) => buckets.filter(bucket => bucket === i).length)
  assertRows(t, recorded, [
    { port: 'main', route: '/health/ready', code: 503, counts: at(PROBE_BUCKETS.length), sum: 5 },
    { port: 'main', route: '/health/live', code: 200, counts: at(0, 1), sum: 0.001 },
    { port: 'probe', route: '/health/ready', code: 200, counts: at(PROBE_BUCKETS.length - 1), sum: 1 }
  ])
  t.equal(durations.series().length, 20, 'series without an answer are included')
})

t.test('no two series share memory', async t => {
  const durations = new ProbeDurations()
  for (const { port, route, code } of durations.series()) durations.recorder(port)(route, code, 0)
  for (const { port, route, code, counts } of durations.series()) {
    t.equal(
      counts.reduce((sum, count) => sum + count, 0),
      1,
      `${port} ${route} ${code}`
    )
  }
})
