// @FEAT:health-monitoring @COMP:plugin @TYPE:core
import type { FastifyInstance } from 'fastify'
import fp from 'fastify-plugin'
import type { Config } from '../src/config.ts'
import { type CheckDetails, databaseDetails, mainLoopDetails, probeThreadDetails } from '../src/health/details.ts'
import { reportHealth } from '../src/health/metrics.ts'
import { ProbeHost } from '../src/health/probe-host.ts'
import { type ProbeAnswer, type ProbePath, probeAnswers } from '../src/health/probes.ts'
import { SharedState } from '../src/health/state.ts'
import { type StartUpSteps, startUp } from '../src/start-up.ts'

declare module 'fastify' {
  interface FastifyInstance {
    health: Health
    /** The start-up steps of the plugins. Their order is that of `START_UP_STEPS`. */
    startUpSteps: StartUpSteps
    /** What admins and metrics see of each dependency. A new check is one more of these; it reads, and makes no call. */
    healthChecks: (() => CheckDetails | readonly CheckDetails[])[]
  }
}

/** The replica's health, as the main thread sees and tells it. */
export interface Health {
  /** What the probes answer from. */
  state: SharedState
  /** The answer of a probe route, now. */
  answer(path: ProbePath): ProbeAnswer
  /** Counts an answer of the main port, and the time from its request to it in milliseconds. */
  count(path: ProbePath, status: ProbeAnswer['status'], ms: number): void
  /** Whether the database verdict can be used as it stands. */
  isFresh(): boolean
  /** Settles when the database verdict is as good as it gets; never rejects. */
  ask(): Promise<void>
  /** All checks, on a database verdict as fresh as probes get it: without probes it is up to a second old, and worth nothing. */
  checks(): Promise<CheckDetails[]>
  /** How often the probe thread was started again. */
  probeThreadRestarts(): number
  /** The port of the probe thread, once it listens; rejects when it cannot. */
  readonly probePort: Promise<number | undefined>
}

export interface HealthOptions {
  config: Config
}

/** Owns the probe thread and the start-up sequence. */
async function health(app: FastifyInstance, { config }: HealthOptions) {
  const state = new SharedState()
  const settings = {
    service: config.SERVICE_NAME,
    stallMs: config.LIVENESS_STALL_SECONDS * 1_000
  }
  const host = new ProbeHost({
    state,
    log: app.log,
    settings: {
      ...settings,
      host: config.HOST,
      port: config.PROBE_PORT,
      applicationName: `${config.SERVICE_NAME}-probe`,
      checkTimeoutMs: config.CHECK_TIMEOUT_MS,
      log: { level: config.LOG_LEVEL, bindings: { instance: config.INSTANCE_ID } }
    },
    onTransition: (from, to) => {
      if (from === 'database_timeout' && to === 'ok') app.db.rebuild()
    }
  })
  const answer = probeAnswers(settings)
  let probePort: Promise<number | undefined> | undefined
  const startThread = () => {
    probePort ??= host.start()
    return probePort
  }

  app.decorate('startUpSteps', {})
  app.decorate('healthChecks', [
    () => databaseDetails(state.snapshot(), state.databaseTiming(), Date.now()),
    () => mainLoopDetails(state.snapshot()),
    () => probeThreadDetails(state.snapshot())
  ])
  app.decorate('health', {
    state,
    answer: path => answer(path, state.snapshot(), Date.now()),
    count: host.tally.counter('main'),
    isFresh: () => host.isFresh(),
    ask: () => host.ask(),
    async checks() {
      if (!host.isFresh()) await host.ask()
      return app.healthChecks.flatMap(check => check())
    },
    probeThreadRestarts: () => host.restarts,
    get probePort() {
      return startThread()
    }
  })

  app.metrics.collect(async reading => {
    const checks = await app.health.checks()
    reportHealth(reading, { snapshot: state.snapshot(), checks, probes: host.tally.series(), restarts: host.restarts })
  })

  const closing = new AbortController()
  let started: Promise<void> = Promise.resolve()

  app.addHook('onListen', () => {
    // Not before: it would take the processor from the main port's first answer.
    startThread().catch(err => app.log.error({ err }, 'probe port not open'))
    void app.db.address.then(url => host.setDatabase(url))
    started = startUp({ database: app.db, state, log: app.log, steps: app.startUpSteps }, closing.signal)
  })

  app.addHook('onClose', async () => {
    closing.abort()
    await Promise.all([started, host.close()])
  })
}

export default fp(health, { name: 'health', fastify: '5.x', dependencies: ['db', 'metrics'] })
