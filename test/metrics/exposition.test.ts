import t from 'tap'
import { definitions } from '../../src/metrics/definitions.ts'
import { expose } from '../../src/metrics/exposition.ts'

t.test('every metric has its HELP and TYPE, with and without series', async t => {
  const text = await expose(new Map())
  for (const [name, { kind, help }] of Object.entries(definitions)) {
    t.ok(text.includes(`# HELP ${name} ${help}\n# TYPE ${name} ${kind}\n`), name)
  }
  t.match(text, /^process_cpu_seconds_total \d/m, 'also the metrics of the runtime')
})

t.test('counters and gauges have their labels, escaped', async t => {
  const text = await expose(
    new Map([
      ['trading_health_sign_ins_total', [{ labels: { outcome: 'refused' }, value: 3 }]],
      ['trading_health_build_info', [{ labels: { version: 'a"\\\nb', node_version: 'v1' }, value: 1 }]]
    ] as const)
  )
  t.ok(text.includes('trading_health_sign_ins_total{outcome="refused"} 3\n'))
  t.ok(text.includes('trading_health_build_info{version="a\\"\\\\\\nb",node_version="v1"} 1\n'))
})

t.test('a histogram has cumulative buckets, with +Inf last', async t => {
  const counts = [1, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0, 4]
  const text = await expose(
    new Map([['trading_health_job_run_duration_seconds', [{ labels: { job_id: 'a' }, counts, sum: 9.5 }]]] as const)
  )
  const written = text.split('\n').filter(line => line.startsWith('trading_health_job_run_duration_seconds'))
  const bucket = (le: string, count: number) =>
    `trading_health_job_run_duration_seconds_bucket{le="${le}",job_id="a"} ${count}`
  t.strictSame(
    written
      .map(line => line.replace('job_id="a",le=', 'le='))
      .map(line => line.replace(/\{(le="[^"]+")\}/, '{$1,job_id="a"}')),
    [
      bucket('0.01', 1),
      bucket('0.05', 1),
      ...['0.1', '0.5', '1', '5', '10', '30', '60', '120', '300'].map(le => bucket(le, 3)),
      bucket('+Inf', 7),
      'trading_health_job_run_duration_seconds_sum{job_id="a"} 9.5',
      'trading_health_job_run_duration_seconds_count{job_id="a"} 7'
    ]
  )
})
