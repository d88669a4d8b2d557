import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import { Metrics } from '../../src/metrics/metrics.ts'
import { captureLog } from '../support/app.ts'

function metricsOf() {
  const { logger, lines } = captureLog()
  return { metrics: new Metrics({ log: logger }), lines }
}

t.test('a counter increases from the series that was created with 0', async t => {
  const { metrics } = metricsOf()
  metrics.count('trading_health_sign_ins_total', { outcome: 'refused' }, 0)
  metrics.count('trading_health_sign_ins_total', { outcome: 'refused' })
  metrics.count('trading_health_sign_ins_total', { outcome: 'refused' }, 2)
  metrics.count('trading_health_sign_ins_total', { outcome: 'succeeded' })
  t.strictSame((await metrics.read()).get('trading_health_sign_ins_total'), [
    { labels: { outcome: 'refused' }, value: 3 },
    { labels: { outcome: 'succeeded' }, value: 1 }
  ])
})

t.test('a value is counted in the first bucket whose bound it does not exceed, else in the last', async t => {
  const { metrics } = metricsOf()
  for (const seconds of [0.001, 0.01, 0.011, 1_000]) {
    metrics.observe('trading_health_job_run_duration_seconds', { job_id: 'housekeeping' }, seconds)
  }
  const counts = [2, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]
  t.strictSame((await metrics.read()).get('trading_health_job_run_duration_seconds'), [
    { labels: { job_id: 'housekeeping' }, counts, sum: 1_000.022 }
  ])
})

t.test('a collector is called at each reading, and only then', async t => {
  const { metrics } = metricsOf()
  let draining = 0
  metrics.collect(async reading => reading.set('trading_health_draining', {}, draining++))
  t.equal(draining, 0)
  for (const value of [0, 1]) {
    t.strictSame((await metrics.read()).get('trading_health_draining'), [{ labels: {}, value }])
  }
})

t.test('concurrent calls share one reading', async t => {
  const { metrics } = metricsOf()
  let asked = 0
  metrics.collect(async () => {
    asked++
    await sleep(1)
  })
  await Promise.all([metrics.read(), metrics.read(), metrics.read()])
  t.equal(asked, 1)
})

t.test('a collector that fails adds no series, and is counted', async t => {
  const { metrics, lines } = metricsOf()
  metrics.collect(reading => {
    reading.set('trading_health_ready', {}, 1)
    throw new Error('no')
  })
  metrics.collect(async () => Promise.reject(new Error('never')))
  metrics.collect(reading => reading.set('trading_health_started', {}, 1))
  const series = await metrics.read()
  t.equal(series.get('trading_health_ready'), undefined)
  t.strictSame(series.get('trading_health_started'), [{ labels: {}, value: 1 }])
  t.strictSame(series.get('trading_health_collector_failures_total'), [{ labels: {}, value: 2 }])
  t.equal(lines.filter(({ msg }) => msg === 'metrics not collected').length, 2)
})

t.test('a value that is not a finite number is left out', async t => {
  const { metrics } = metricsOf()
  metrics.collect(reading => {
    reading.set('trading_health_event_loop_delay_seconds', {}, Number.POSITIVE_INFINITY)
    reading.set('trading_health_event_loop_utilization_ratio', {}, Number.NaN)
  })
  t.strictSame([...(await metrics.read()).keys()], ['trading_health_collector_failures_total'])
})
