// @FEAT:scheduler @COMP:plugin @TYPE:core
import type { FastifyInstance } from 'fastify'
import fp from 'fastify-plugin'
import type { Config } from '../src/config.ts'
import { schedulerDetails } from '../src/health/details.ts'
import { jobTable } from '../src/jobs/index.ts'
import type { Job } from '../src/scheduler/job.ts'
import { countRun, presentRuns, tellScheduler } from '../src/scheduler/metrics.ts'
import { ABORT_GRACE_MS } from '../src/scheduler/run.ts'
import { Scheduler } from '../src/scheduler/scheduler.ts'

declare module 'fastify' {
  interface FastifyInstance {
    /** The clock of the cluster and its jobs. It looks at the database once the schema is there. */
    scheduler: Scheduler
  }
}

export interface SchedulerOptions {
  config: Config
  /** In place of the service's own. */
  jobs?: readonly Job[] | undefined
}

/** Of the time for the shutdown, what is kept for recording aborted runs and closing the rest. */
const CLOSING_MS = ABORT_GRACE_MS + 2_000

/** Owns the scheduler: it is drained first of all, while the database is still there. */
async function scheduler(app: FastifyInstance, { config, jobs: given }: SchedulerOptions) {
  const { health, db, accounts, caches, metrics, telegram } = app
  const jobs =
    given ??
    jobTable({
      database: db,
      accounts,
      prices: caches.prices,
      outbox: telegram.outbox,
      operatorChatId: config.TELEGRAM_BOT_TOKEN === undefined ? undefined : config.TELEGRAM_CHAT_ID,
      language: config.LANGUAGE,
      timeZone: config.TIME_ZONE
    })
  const own = new Scheduler({
    database: db,
    jobs,
    instance: config.INSTANCE_ID,
    enabled: config.SCHEDULER_ENABLED,
    applicationName: config.SERVICE_NAME,
    log: app.log,
    isReady: () => health.state.snapshot().migrated,
    isDraining: () => health.state.snapshot().draining,
    onRunEnd: end => countRun(metrics, end)
  })
  app.decorate('scheduler', own)
  app.healthChecks.push(() => schedulerDetails(own.health()))
  presentRuns(metrics, jobs)
  metrics.collect(reading => tellScheduler(reading, jobs, own.health()))

  const shutdownMs = config.SHUTDOWN_SECONDS * 1_000
  app.addHook('onListen', () => own.start())
  app.addHook('preClose', () => own.drain(Math.max(shutdownMs / 2, shutdownMs - CLOSING_MS)))
  app.addHook('onClose', () => own.close())
}

export default fp(scheduler, {
  name: 'scheduler',
  fastify: '5.x',
  dependencies: ['db', 'health', 'accounts', 'cache', 'metrics', 'telegram']
})
