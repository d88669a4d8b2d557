// While the main event loop is blocked, the probe port answers and reports it.
import { spawn } from 'node:child_process'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { probes as probePaths } from '../../src/health/probes.ts'
import { startTestPostgres } from '../support/postgres.ts'
import { type Probed, Prober } from '../support/prober.ts'
import { compiledTests } from '../support/project.ts'
import { startService } from '../support/service.ts'

const paths = Object.keys(probePaths)
const preload = ['--import', join(compiledTests, 'support/block-loop.js')]

async function started(t: Test, environment: Record<string, string>) {
  const postgres = await startTestPostgres(t)
  const service = await startService(t, { DATABASE_URL: postgres.url, ...environment }, preload)
  const prober = new Prober(t)
  while ((await prober.probe(`${service.probes}/health/startup`)).status !== 200) await sleep(20)
  prober.results.length = 0
  return { postgres, service, prober }
}

const quantile = (results: Probed[], q: number) => {
  const sorted = results.map(({ tookMs }) => tookMs).sort((a, b) => a - b)
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * q))] ?? Number.NaN
}
const of = (results: Probed[], path: string) => results.filter(({ url }) => new URL(url).pathname === path)

t.test('probes are answered while the main loop is blocked for 2 s of every 5 s for a minute', async t => {
  const { service, prober } = await started(t, { BLOCK_MS: '2000' })
  const blocks: number[] = []
  prober.start(
    paths.map(path => service.probes + path),
    5
  )
  for (let i = 0; i < 12; i++) {
    blocks.push(performance.now())
    service.child.kill('SIGWINCH')
    await sleep(5_000)
  }
  await prober.stop()

  const { results } = prober
  t.ok(results.length > 1_400, `probes were sent: ${results.length}`)
  t.strictSame(
    results.filter(({ status, tookMs }) => status === 0 || tookMs > 1_000),
    [],
    'no probe failed or took over 1 s'
  )
  t.ok(quantile(results, 0.99) <= 50, `p99 ≤ 50 ms: ${quantile(results, 0.99).toFixed(1)}`)
  t.ok(
    of(results, '/health/live').every(({ status }) => status === 200),
    'liveness stays 200'
  )
  for (const { sentMs, status, body } of of(results, '/health/ready')) {
    const block = blocks.findLast(begun => begun <= sentMs)
    if (block === undefined) continue
    const into = sentMs - block
    // The delivery of the signal takes some milliseconds, so either answer is accepted at the start and end of a block.
    if (into > 1_150 && into < 1_950)
      t.hasStrict({ status, body }, { status: 503, body: { error: 'overloaded' } }, `${into}`)
    if (into > 3_050) t.equal(status, 200, `ready within 1 s after the block: ${into}`)
  }
  t.ok(service.log.find(({ msg }) => msg === 'main loop blocked'))
  const stalledMs = service.log.filter(({ msg }) => msg === 'main loop unblocked').map(line => Number(line.stalled_ms))
  t.ok(Math.max(...stalledMs) > 1_000, `stalled for over 1 s: ${stalledMs.join(', ')} ms`)
  const running = service.log.find(({ msg }) => msg === 'main loop stack')
  t.match(JSON.stringify(running), /blockTheLoop/, 'the stack of the blocking function is logged')
})

t.test('liveness fails after the main loop was blocked for 30 s', async t => {
  const { service, prober } = await started(t, { BLOCK_MS: '40000' })
  const begun = performance.now()
  service.child.kill('SIGWINCH')
  prober.start([`${service.probes}/health/live`], 10)
  const stalled = await prober.until(({ status }) => status === 503)
  const into = stalled.sentMs - begun
  t.ok(into > 29_500 && into < 31_000, `liveness fails 30 s into the block: ${Math.round(into)} ms`)
  t.match(stalled.body, { status: 'stalled', timestamp: String })
  await prober.until(({ status }) => status === 200)
  await service.logged('main loop blocked for too long, liveness fails')
})

t.test('a frozen database and a blocked main loop at the same time are both reported', async t => {
  const { postgres, service, prober } = await started(t, { BLOCK_MS: '4000' })
  prober.start([`${service.probes}/health/ready`, `${service.probes}/health`], 10)
  await prober.until(({ status }) => status === 200)
  service.child.kill('SIGWINCH')
  await prober.until(({ body }) => body.error === 'overloaded')
  await postgres.freeze()
  await prober.until(({ body }) => body.error === 'database_timeout')
  await postgres.thaw()
  await prober.until(({ body }) => body.error === 'overloaded')
  await prober.until(({ url, status }) => status === 200 && url.endsWith('/ready'))
  await prober.stop()
  const slowestMs = Math.max(...prober.results.map(({ tookMs }) => tookMs))
  t.ok(slowestMs <= 1_000, `no answer over 1 s: ${Math.round(slowestMs)} ms`)
})

t.test('probes are answered while other processes use both cores', async t => {
  const { service, prober } = await started(t, {})
  const busyProcesses = [1, 2, 3, 4].map(() => spawn(process.execPath, ['-e', 'for(;;);'], { stdio: 'ignore' }))
  const release = () => {
    for (const busy of busyProcesses) busy.kill('SIGKILL')
  }
  t.teardown(release)
  prober.start(
    paths.map(path => service.probes + path),
    10
  )
  await sleep(10_000)
  await prober.stop()
  release()
  t.ok(quantile(prober.results, 1) <= 500, `worst probe ≤ 500 ms: ${Math.round(quantile(prober.results, 1))}`)
  t.ok(prober.results.every(({ status }) => status !== 0))
})
