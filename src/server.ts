// The process: settings, listening, draining, exit codes. Only the embedded Postgres also listens for its exit.
import closeWithGrace from 'close-with-grace'
import { type GeneratedKey, generatedKey } from './accounts/encryption-key.ts'
import { buildApp, type ServiceConfig } from './app.ts'
import { sessionSecret } from './auth/generated-secret.ts'
import { ConfigError, loadConfig } from './config.ts'
import { ACCEPT_BACKLOG } from './connections/http-connections.ts'
import { recordProbePort } from './health/probe-address.ts'
import { createLogger } from './log/logger.ts'
import { printUncaught } from './log/uncaught.ts'
import { warnOfUnsupportedNode } from './node-version.ts'
import { portError, StartError } from './start-error.ts'

/** Exit codes: 0 drained and closed, 1 failed or forced, 2 the configuration breaks a rule. */
const EXIT_FAILED = 1
const EXIT_CONFIG = 2

/**
 * Two signals within this time count as one. Under npm a Ctrl-C comes from the terminal and from npm, and the end of a
 * terminal comes from the kernel and from the shell. Otherwise a second Ctrl-C may follow quickly.
 */
const SAME_SIGNAL_MS = 300
const SAME_INTERRUPT_MS = process.env.npm_lifecycle_event === undefined ? 30 : SAME_SIGNAL_MS

const signals = ['SIGTERM', 'SIGINT', 'SIGHUP'] as const

const logUncaught = printUncaught('start')
const { config, keepKey, replaced } = await readConfig()
const log = createLogger({
  level: config.LOG_LEVEL,
  base: { service: config.SERVICE_NAME, instance: config.INSTANCE_ID }
})
// Only the admin password and libraries are written here; the reader of the output may have ended.
process.stdout.on('error', () => undefined)
process.stderr.on('error', () => undefined)
warnOfUnsupportedNode(log, process.version)
for (const path of replaced) log.warn({ path }, 'session secret garbled, a new one is used')
/** Only a terminal: what reads another output keeps it. */
const terminal = [process.stdout, process.stderr].find(({ isTTY }) => isTTY)
const print = terminal && ((text: string) => void terminal.write(text))
const app = buildApp(config, { logger: log, ...(print && { print }), ...(keepKey && { keepKey }) })

const { close } = closeWithGrace(
  {
    delay: (config.DRAIN_SECONDS + config.SHUTDOWN_SECONDS) * 1_000,
    skip: [...signals, 'SIGQUIT', 'beforeExit', 'uncaughtException', 'unhandledRejection'],
    logger: { error: (err: unknown) => log.fatal({ err }, 'shutdown failed') },
    onTimeout: () => log.fatal('shutdown took too long')
  },
  shutDown
)

logUncaught()
/** An uncaught error. It ends the process in order: see `shutDown`. */
let uncaught: unknown
for (const event of ['uncaughtException', 'unhandledRejection'] as const) {
  process.on(event, err => {
    // The shutdown goes on after a further error, so that leases and the database are released.
    if (err instanceof ConfigError) log.fatal({ reason: err.message }, 'setting rejected, shutting down')
    else if (err instanceof StartError) reportStart(err)
    else log.fatal({ err, event }, uncaught === undefined ? 'uncaught error, shutting down' : 'uncaught error')
    if (uncaught !== undefined) return
    uncaught = err ?? new Error('rejected without a reason')
    if (signalledMs === undefined) void close()
  })
}

let signalledMs: number | undefined
for (const signal of signals) {
  process.on(signal, () => {
    const now = Date.now()
    if (signalledMs === undefined) {
      signalledMs = now
      log.info({ signal }, 'signal received')
      if (process.stderr.isTTY) process.stderr.write(shutdownText())
      if (uncaught === undefined) void close()
    } else if (now - signalledMs > (signal === 'SIGINT' ? SAME_INTERRUPT_MS : SAME_SIGNAL_MS)) {
      log.warn({ signal }, 'second signal, exiting at once')
      process.exit(EXIT_FAILED)
    }
  })
}

await listen()

interface StartSettings {
  config: ServiceConfig
  keepKey: GeneratedKey['keep'] | undefined
  /** Files whose secret was lost, and replaced. */
  replaced: string[]
}

async function readConfig(): Promise<StartSettings> {
  try {
    const config = loadConfig(process.env)
    const replaced: string[] = []
    const { SESSION_SECRET = await sessionSecret(config.DATA_DIR, path => replaced.push(path)) } = config
    const { key, keep }: Partial<GeneratedKey> & { key: string } =
      config.ENCRYPTION_KEY === undefined ? await generatedKey(config.DATA_DIR) : { key: config.ENCRYPTION_KEY }
    return { config: { ...config, SESSION_SECRET, ENCRYPTION_KEY: key }, keepKey: keep, replaced }
  } catch (err) {
    if (!(err instanceof ConfigError)) throw err
    process.stderr.write(`configuration: ${err.message}\n`)
    process.exit(EXIT_CONFIG)
  }
}

async function listen(): Promise<void> {
  try {
    // The main port first: a second service on the same ports is reported by it.
    const main = await listenOnMainPort()
    const port = await app.health.startProbeThread()
    const probes = port === undefined ? main : `http://${hostText(config.HOST)}:${port}`
    const metricsPort = await app.openMetricsPort()
    const metrics = metricsPort && `http://${hostText(config.METRICS_HOST ?? config.HOST)}:${metricsPort}/metrics`
    await recordPort(port ?? Number(new URL(main).port))
    log.info(
      { main, probes: `${probes}/health/ready`, metrics, max_connections: app.connections.limit.max },
      'listening'
    )
  } catch (err) {
    if (signalledMs !== undefined) return
    if (err instanceof StartError) reportStart(err)
    else log.fatal({ err }, 'cannot listen')
    process.exitCode = EXIT_FAILED
    await app.close()
    process.exit(EXIT_FAILED)
  }
}

/** Records a port that the system chose. The service works without: only the health check of the container needs it. */
async function recordPort(port: number): Promise<void> {
  const { PORT, PROBE_PORT, PROBE_PORT_PATH: path } = config
  if (path === undefined || (PROBE_PORT === 'off' ? PORT : PROBE_PORT) !== 0) return
  try {
    await recordProbePort(path, port)
  } catch (err) {
    log.warn({ err, path }, 'probe port not recorded')
  }
}

/** @throws {StartError} when the port cannot be listened on */
async function listenOnMainPort(): Promise<string> {
  const { HOST: host, PORT: port } = config
  try {
    return await app.listen({ host, port, backlog: ACCEPT_BACKLOG, listenTextResolver: () => 'main port open' })
  } catch (err) {
    if (!(err instanceof Error && 'syscall' in err && 'code' in err)) throw err
    throw portError({ setting: 'PORT', port, hostSetting: 'HOST', host }, String(err.code), err)
  }
}

/** In the log too: the output of a service manager may have only that. */
function reportStart({ message }: StartError): void {
  log.warn({ reason: message }, 'start failed')
  process.stderr.write(`start: ${message}\n`)
}

/**
 * Drain: not ready, still serving. Then close: in-flight requests, jobs with their leases, connections, the embedded
 * database last. After an uncaught error there is no drain, and the exit code is 1.
 */
async function shutDown(): Promise<void> {
  if (uncaught === undefined) await drain()
  await app.close()
  log.info('closed')
  if (uncaught !== undefined) process.exit(uncaught instanceof ConfigError ? EXIT_CONFIG : EXIT_FAILED)
}

/** For the person at a terminal. The log has the same as `draining`. */
function shutdownText(): string {
  const { DRAIN_SECONDS: drain, SHUTDOWN_SECONDS: shutdown } = config
  const first = drain === 0 ? 'Shutting down' : `Draining for ${drain} s, then shutting down`
  return `\n${first} within ${shutdown} s. Press Ctrl-C again to exit immediately.\n`
}

async function drain(): Promise<void> {
  app.health.state.setDraining()
  // Clients on a keep-alive connection open a new one for the next request, which a load balancer routes to another replica.
  app.server.prependListener('request', (_request, response) => {
    response.shouldKeepAlive = false
  })
  log.info({ seconds: config.DRAIN_SECONDS }, 'draining')
  await new Promise(resolve => setTimeout(resolve, config.DRAIN_SECONDS * 1_000))
}

function hostText(host: string): string {
  return host.includes(':') ? `[${host}]` : host
}
