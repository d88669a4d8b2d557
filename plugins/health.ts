// @FEAT:health-monitoring @COMP:plugin @TYPE:core
import type { FastifyInstance } from 'fastify'
import fp from 'fastify-plugin'
import type { Config } from '../src/config.ts'
import { reportSettings } from '../src/database/settings-report.ts'
import type { CheckDetails } from '../src/domain/check-details.ts'
import { CheckTimes } from '../src/health/check-times.ts'
import { reportHealth } from '../src/health/metrics.ts'
import { ProbeThreadSupervisor } from '../src/health/probe-thread-supervisor.ts'
import { type ProbeAnswer, type ProbePath, probeAnswers } from '../src/health/probes.ts'
import { databaseDetails, mainLoopDetails, probeThreadDetails } from '../src/health/replica-checks.ts'
import { type DatabaseState, SharedState } from '../src/health/shared-state.ts'
import { type StartUpSteps, startUp } from '../src/start-up.ts'

declare module 'fastify' {
  interface FastifyInstance {
    health: Health
    /** The start-up steps of the plugins. Their order is that of `START_UP_STEPS`. */
    startUpSteps: StartUpSteps
    /** The checks of the health details and the metrics. A check reads a state and makes no call. */
    healthChecks: (() => CheckDetails | readonly CheckDetails[])[]
  }
}

/** The health of the replica, on the main thread. */
interface Health {
  /** The state that the probes are answered from. */
  state: SharedState
  /** The current answer of a probe route. */
  answer(path: ProbePath): ProbeAnswer
  /** Records an answer of the main port with the time from its request. */
  recordAnswer(path: ProbePath, status: ProbeAnswer['status'], durationMs: number): void
  /** The delay of the event loop in milliseconds, as the plugin `pressure` measured it last; null before. */
  loopDelayMs: number | null
  /** Whether the database verdict can be used without `refresh`. */
  isFresh(): boolean
  /** Resolves when the database verdict is fresh, or will not be within the deadline. Never rejects. */
  refresh(): Promise<void>
  /** All checks, after a refresh of the database verdict, which is up to a second old without probes. */
  checks(): Promise<CheckDetails[]>
  /** How often the probe thread was started again. */
  probeThreadRestarts(): number
  /**
   * Starts the probe thread; later calls return the result of the first one.
   * @returns the probe port, once the thread listens; undefined when the port is `off`
   * @throws {StartError} when the thread cannot listen
   */
  startProbeThread(): Promise<number | undefined>
}

/** After these states of the database the connections of the pool may be dead, or sessions that are read-only. */
const STALE_SESSIONS: ReadonlySet<DatabaseState> = new Set(['database_timeout', 'database_read_only'])

/** Owns the shared state, the probe thread and the start-up sequence. */
async function health(app: FastifyInstance, { config }: { config: Config }) {
  const state = new SharedState()
  const supervisor = superviseProbeThread(app, state, config)
  watchStatements(app, state)
  app.decorate('startUpSteps', {
    session_settings: async () => ({ differ: Object.keys(await reportSettings(app.db, app.log)) })
  })
  app.decorate('healthChecks', [
    () => databaseDetails(state.snapshot(), state.databaseTiming(), Date.now()),
    () => mainLoopDetails(state.snapshot(), app.health.loopDelayMs),
    () => probeThreadDetails(state.snapshot(), state.databaseTiming().latencyMs)
  ])
  app.decorate('health', healthOf(app, state, supervisor, config))
  app.metrics.collect(async reading => {
    const checks = await app.health.checks()
    const probes = supervisor.durations.series()
    reportHealth(reading, { snapshot: state.snapshot(), checks, probes, probeThreadRestarts: supervisor.restarts })
  })

  const closing = new AbortController()
  let started: Promise<void> = Promise.resolve()
  app.addHook('onListen', () => {
    // Not earlier: the thread would take the processor from the first answer of the main port.
    // Who waits for the port gets its error.
    app.health.startProbeThread().catch(() => undefined)
    void app.db.address.then(url => supervisor.setDatabase(url))
    started = startUp({ database: app.db, state, log: app.log, steps: app.startUpSteps }, closing.signal)
    // A rejection of this one is unhandled on purpose: it ends the process.
    void started.then()
  })
  app.addHook('onClose', async () => {
    closing.abort()
    await Promise.allSettled([started, supervisor.close()])
  })
}

function superviseProbeThread(app: FastifyInstance, state: SharedState, config: Config): ProbeThreadSupervisor {
  return new ProbeThreadSupervisor({
    state,
    log: app.log,
    settings: {
      ...answerSettings(config),
      host: config.HOST,
      port: config.PROBE_PORT,
      maxConnections: app.connections.limit.max,
      connectionCounts: app.connections.counts.buffer,
      keepAliveMs: config.KEEP_ALIVE_SECONDS * 1_000,
      applicationName: `${config.SERVICE_NAME}-probe`,
      checkTimeoutMs: config.CHECK_TIMEOUT_MS,
      log: { level: config.LOG_LEVEL, bindings: { instance: config.INSTANCE_ID } }
    },
    onTransition: (from, to) => {
      if (to === 'ok' && STALE_SESSIONS.has(from)) app.db.rebuild()
    }
  })
}

function watchStatements(app: FastifyInstance, state: SharedState): void {
  app.db.watch({
    isAnswering: () => state.snapshot().database === 'ok',
    onChange: change => {
      state.setFailing(change.failing)
      if (change.failing) app.log.warn({ err: change.err }, 'statements fail, not ready')
      else app.log.info({ failures: change.failures, lasted_ms: change.lastedMs }, 'statements succeed again')
    }
  })
}

function answerSettings(config: Config) {
  return { service: config.SERVICE_NAME, stallMs: config.LIVENESS_STALL_SECONDS * 1_000 }
}

function healthOf(app: FastifyInstance, state: SharedState, supervisor: ProbeThreadSupervisor, config: Config): Health {
  const answer = probeAnswers(answerSettings(config))
  const times = new CheckTimes()
  let port: Promise<number | undefined> | undefined
  return {
    state,
    answer: path => answer(path, state.snapshot(), Date.now()),
    loopDelayMs: null,
    recordAnswer: supervisor.durations.recorder('main'),
    isFresh: () => supervisor.isFresh(),
    refresh: () => supervisor.refresh(),
    async checks() {
      if (!supervisor.isFresh()) await supervisor.refresh()
      const checks = app.healthChecks.flatMap(check => check())
      return times.complete(checks, Date.now())
    },
    probeThreadRestarts: () => supervisor.restarts,
    startProbeThread() {
      port ??= supervisor.start()
      return port
    }
  }
}

export default fp(health, { name: 'health', fastify: '5.x', dependencies: ['connections', 'db', 'metrics'] })
