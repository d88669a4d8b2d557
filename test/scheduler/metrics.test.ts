import t from 'tap'
import { Metrics } from '../../src/metrics/metrics.ts'
import { createRunSeries, recordRunEnd, reportScheduler } from '../../src/scheduler/metrics.ts'
import { captureLog } from '../support/app.ts'
import { testJob } from '../support/jobs.ts'

const nothing = async () => ({})
const jobs = [testJob('a', nothing), testJob('b', nothing)]
const health = { running: true, heartbeatAgeMs: 0, pollMs: 3, wedged: false, overdue: ['b'] }

const metricsOf = () => new Metrics({ log: captureLog().logger })

t.test('every outcome of every job has a series before the first run', async t => {
  const metrics = metricsOf()
  createRunSeries(metrics, jobs)
  const series = await metrics.read()
  const outcomes = ['succeeded', 'partial', 'failed', 'abandoned', 'skipped']
  t.strictSame(
    series.get('trading_health_job_runs_total'),
    ['a', 'b'].flatMap(job_id => outcomes.map(outcome => ({ labels: { job_id, outcome }, value: 0 })))
  )
  t.strictSame(
    series.get('trading_health_job_lease_losses_total'),
    ['a', 'b'].map(job_id => ({ labels: { job_id }, value: 0 }))
  )
})

t.test('the end of a run is counted by its outcome, with its durations in seconds', async t => {
  const metrics = metricsOf()
  recordRunEnd(metrics, { jobId: 'a', outcome: 'failed', durationMs: 1_500, startDelayMs: 250 })
  recordRunEnd(metrics, { jobId: 'a', outcome: 'skipped' })
  const series = await metrics.read()
  t.strictSame(
    series.get('trading_health_job_runs_total'),
    ['failed', 'skipped'].map(outcome => ({ labels: { job_id: 'a', outcome }, value: 1 }))
  )
  t.equal(series.get('trading_health_job_lease_losses_total'), undefined)
  const labels = { job_id: 'a' }
  t.strictSame(series.get('trading_health_job_run_duration_seconds'), [
    { labels, counts: [0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0], sum: 1.5 }
  ])
  t.strictSame(series.get('trading_health_job_start_delay_seconds'), [
    { labels, counts: [0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0], sum: 0.25 }
  ])
})

t.test('a run that lost its lease counts as a lost lease, not as an ended run', async t => {
  const metrics = metricsOf()
  recordRunEnd(metrics, { jobId: 'a', outcome: 'lost', durationMs: 0 })
  const series = await metrics.read()
  t.strictSame(series.get('trading_health_job_lease_losses_total'), [{ labels: { job_id: 'a' }, value: 1 }])
  t.equal(series.get('trading_health_job_runs_total'), undefined)
})

t.test('a run that its own runner abandoned counts as a lost lease and as an abandoned run', async t => {
  const metrics = metricsOf()
  recordRunEnd(metrics, { jobId: 'a', outcome: 'abandoned', durationMs: 0 })
  recordRunEnd(metrics, { jobId: 'a', outcome: 'abandoned' })
  const series = await metrics.read()
  t.strictSame(series.get('trading_health_job_lease_losses_total'), [{ labels: { job_id: 'a' }, value: 1 }])
  const labels = { job_id: 'a', outcome: 'abandoned' }
  t.strictSame(series.get('trading_health_job_runs_total'), [{ labels, value: 2 }])
})

t.test('the state of the scheduler is exported once it is known', async t => {
  const metrics = metricsOf()
  let state: Parameters<typeof reportScheduler>[2] = { ...health, running: null, runners: null }
  metrics.collect(reading => reportScheduler(reading, jobs, state))
  t.equal((await metrics.read()).get('trading_health_scheduler_running'), undefined)
  t.equal((await metrics.read()).get('trading_health_job_runners'), undefined)
  for (const running of [true, false]) {
    state = { ...health, running, runners: running ? 2 : 0 }
    const series = await metrics.read()
    t.strictSame(series.get('trading_health_scheduler_running'), [{ labels: {}, value: running ? 1 : 0 }])
    t.strictSame(series.get('trading_health_job_runners'), [{ labels: {}, value: running ? 2 : 0 }])
    t.strictSame(series.get('trading_health_job_overdue'), [
      { labels: { job_id: 'a' }, value: 0 },
      { labels: { job_id: 'b' }, value: 1 }
    ])
  }
})
