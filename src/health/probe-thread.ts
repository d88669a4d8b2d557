// @FEAT:health-monitoring @COMP:service @TYPE:core
// The probe thread: runs the database check, writes the verdict, serves the probe port and watches the main loop. It
// shares only memory with the main thread, and receives messages from it.
import { parentPort, workerData } from 'node:worker_threads'
import { ConnectionCounts } from '../connections/connection-counts.ts'
import { ACCEPT_BACKLOG, HttpConnections } from '../connections/http-connections.ts'
import { DatabaseCheck } from '../database/database-check.ts'
import { createLogger } from '../log/logger.ts'
import { Monitor } from './monitor.ts'
import { ProbeDurations } from './probe-durations.ts'
import { createProbeServer } from './probe-server.ts'
import { probeAnswers } from './probes.ts'
import { SharedState } from './shared-state.ts'
import { StallWatch } from './stall-watch.ts'
import { type FromThread, REFRESH_GRACE_MS, type ThreadSettings, type ToThread } from './thread-messages.ts'

if (!parentPort) throw new Error('the probe thread is started by the service')
const main = parentPort
const settings: ThreadSettings = workerData
const { level, bindings } = settings.log
// The thread writes to standard output by itself: a blocked main loop would not.
const log = createLogger({ level, base: { ...bindings, thread: 'probe' } })
const state = new SharedState(settings.state)
const send = (message: FromThread) => main.postMessage(message)

let check: DatabaseCheck | undefined
let monitor: Monitor | undefined

const connections = new HttpConnections({
  max: settings.maxConnections,
  counts: new ConnectionCounts(settings.connectionCounts).writer('probe'),
  onFull: () => log.warn({ port: 'probe', max: settings.maxConnections }, 'connections at the maximum')
})
const server = createProbeServer({
  connections,
  keepAliveMs: settings.keepAliveMs,
  answer: probeAnswers(settings),
  snapshot: () => state.snapshot(),
  refresh,
  isFresh: () => monitor?.isFresh() ?? true,
  record: new ProbeDurations(settings.durations).recorder('probe')
})
const stallWatch = new StallWatch({ state, log, stallMs: settings.stallMs })

main.on('message', (message: ToThread) => {
  if (message.type === 'refresh') void refresh().then(() => send({ type: 'refreshed' }))
  else if (message.type === 'database') startMonitor(message.url)
  else void close()
})

if (settings.port === 'off') {
  send({ type: 'listening', port: undefined })
} else {
  server.on('error', (err: NodeJS.ErrnoException) => {
    // A connection that cannot be accepted, as there is no free descriptor, affects one client only.
    if (server.listening) log.debug({ err }, 'probe port failed')
    else send({ type: 'failed', code: err.code ?? 'UNKNOWN' })
  })
  server.listen({ host: settings.host, port: settings.port, backlog: ACCEPT_BACKLOG }, () => {
    const address = server.address()
    send({ type: 'listening', port: typeof address === 'object' && address ? address.port : undefined })
  })
}
stallWatch.start()

async function refresh(): Promise<void> {
  await monitor?.refresh()
}

function startMonitor(url: string): void {
  if (monitor) return
  const { applicationName, checkTimeoutMs: deadlineMs } = settings
  const isMigrated = () => state.snapshot().migrated
  check = new DatabaseCheck(url, { applicationName, deadlineMs, isMigrated })
  monitor = new Monitor({
    state,
    refreshMs: deadlineMs + REFRESH_GRACE_MS,
    check: () => check?.check() ?? Promise.reject(new Error('the probe thread has closed')),
    onTransition: ({ from, to, cause }) => {
      if (to === 'ok') log.info({ from, to }, 'database usable')
      else log.warn({ from, to, err: cause }, 'database not usable')
      send({ type: 'transition', from, to })
    }
  })
  monitor.start()
}

async function close(): Promise<void> {
  stallWatch.stop()
  server.close()
  connections.destroy()
  await monitor?.stop()
  check?.close()
  main.close()
}
