// npm run bench:probe-thread: the memory and idle CPU of the probe thread in a process that does nothing else. The
// results include the heartbeat of the main thread and the check once a second.
import { setTimeout as sleep } from 'node:timers/promises'
import { pino } from 'pino'
import { ConnectionCounts } from '../src/connections/connection-counts.ts'
import { ProbeThreadSupervisor } from '../src/health/probe-thread-supervisor.ts'
import { SharedState } from '../src/health/shared-state.ts'
import { startTestPostgres } from '../test/support/postgres.ts'

const SETTLE_MS = 3_000
const OBSERVED_MS = 20_000
const RSS_BAR_MB = 20
const CPU_BAR = 0.01

const cleanups: (() => unknown)[] = []
const postgres = await startTestPostgres({ teardown: cleanup => void cleanups.unshift(cleanup) })
const state = new SharedState()
const supervisor = new ProbeThreadSupervisor({
  state,
  log: pino({ level: 'silent' }),
  settings: {
    host: '127.0.0.1',
    port: 0,
    maxConnections: 100,
    connectionCounts: new ConnectionCounts().buffer,
    service: 'bench',
    applicationName: 'bench-probe',
    keepAliveMs: 75_000,
    checkTimeoutMs: 400,
    stallMs: 30_000,
    log: { level: 'silent', bindings: {} }
  },
  onTransition: () => undefined
})

try {
  await sleep(SETTLE_MS)
  const before = process.memoryUsage().rss
  await supervisor.start()
  supervisor.setDatabase(postgres.url)
  await sleep(SETTLE_MS)
  const megabytes = (process.memoryUsage().rss - before) / 1e6
  if (state.snapshot().database !== 'ok') throw new Error('the thread has no verdict on the database')

  const cpu = process.cpuUsage()
  await sleep(OBSERVED_MS)
  const { user, system } = process.cpuUsage(cpu)
  const share = (user + system) / 1_000 / OBSERVED_MS
  const verdict = (holds: boolean) => (holds ? 'holds' : 'MISSED')
  process.stdout.write(`memory: ${megabytes.toFixed(1)} MB (≤ ${RSS_BAR_MB}: ${verdict(megabytes <= RSS_BAR_MB)})\n`)
  process.stdout.write(`idle CPU: ${(share * 100).toFixed(2)} % (≤ ${CPU_BAR * 100}: ${verdict(share <= CPU_BAR)})\n`)
  if (megabytes > RSS_BAR_MB || share > CPU_BAR) process.exitCode = 1
} finally {
  await supervisor.close()
  for (const cleanup of cleanups) await cleanup()
}
