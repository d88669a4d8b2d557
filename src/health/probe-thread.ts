// @FEAT:health-monitoring @COMP:service @TYPE:core
// The probe thread: owns the database check, the verdict and the probe port. It watches the main loop and has nothing
// of it but the shared state.
import { parentPort, workerData } from 'node:worker_threads'
import { pino } from 'pino'
import { DatabaseCheck } from '../database/database-check.ts'
import { logDestination } from '../log/log-destination.ts'
import { Monitor } from './monitor.ts'
import { createProbeServer } from './probe-server.ts'
import { ProbeTally } from './probe-tally.ts'
import { probeAnswers } from './probes.ts'
import { StallWatch } from './stall-watch.ts'
import { SharedState } from './state.ts'
import type { FromThread, ThreadSettings, ToThread } from './thread-messages.ts'

if (!parentPort) throw new Error('the probe thread is started by the service')
const main = parentPort
const settings: ThreadSettings = workerData
const { level, bindings } = settings.log
// The thread writes to standard output by itself: a blocked main loop would not.
const log = pino(
  { level, base: { ...bindings, thread: 'probe' }, timestamp: pino.stdTimeFunctions.isoTime },
  logDestination()
)
const state = new SharedState(settings.state)
const tell = (note: FromThread) => main.postMessage(note)

let check: DatabaseCheck | undefined
let monitor: Monitor | undefined

const server = createProbeServer({
  answer: probeAnswers(settings),
  snapshot: () => state.snapshot(),
  ask: () => monitor?.ask() ?? Promise.resolve(),
  isFresh: () => monitor?.isFresh() ?? true,
  count: new ProbeTally(settings.tally).counter('probe')
})
const stallWatch = new StallWatch({ state, log, stallMs: settings.stallMs })

main.on('message', (message: ToThread) => {
  if (message.type === 'ask') void (monitor?.ask() ?? Promise.resolve()).then(() => tell({ type: 'verdict' }))
  else if (message.type === 'database') watch(message.url)
  else void close()
})

if (settings.port === 'off') {
  tell({ type: 'listening', port: undefined })
} else {
  server.on('error', (err: NodeJS.ErrnoException) => {
    // A connection that cannot be accepted, for want of a descriptor, concerns that client alone.
    if (server.listening) log.debug({ err }, 'probe port failed')
    else tell({ type: 'failed', code: err.code ?? 'UNKNOWN' })
  })
  server.listen({ host: settings.host, port: settings.port }, () => {
    const address = server.address()
    tell({ type: 'listening', port: typeof address === 'object' && address ? address.port : undefined })
  })
}
stallWatch.start()

function watch(url: string): void {
  if (monitor) return
  check = new DatabaseCheck(url, { applicationName: settings.applicationName, deadlineMs: settings.checkTimeoutMs })
  monitor = new Monitor({
    state,
    check: () => check?.check() ?? Promise.reject(new Error('the probe thread has closed')),
    onTransition: ({ from, to, cause }) => {
      if (to === 'ok') log.info({ from, to }, 'database usable')
      else log.warn({ from, to, err: cause }, 'database not usable')
      tell({ type: 'transition', from, to })
    }
  })
  monitor.start()
}

async function close(): Promise<void> {
  stallWatch.stop()
  server.close()
  server.closeAllConnections()
  await monitor?.stop()
  check?.close()
  main.close()
}
