// @FEAT:scheduler @COMP:plugin @TYPE:core
import type { FastifyInstance } from 'fastify'
import fp from 'fastify-plugin'
import type { Config } from '../src/config.ts'
import { minutePrices } from '../src/exchanges/minute-prices.ts'
import { mayRunJobs } from '../src/health/verdict.ts'
import { jobTable } from '../src/jobs/index.ts'
import { operatorChatId } from '../src/notifications/operator-chat.ts'
import type { Job } from '../src/scheduler/job.ts'
import { createRunSeries, recordRunEnd, reportScheduler } from '../src/scheduler/metrics.ts'
import { ABORT_GRACE_MS } from '../src/scheduler/run.ts'
import { Scheduler } from '../src/scheduler/scheduler.ts'
import { schedulerDetails } from '../src/scheduler/scheduler-check.ts'
import { assertSameDays } from '../src/trading/day-boundaries.ts'

declare module 'fastify' {
  interface FastifyInstance {
    /** The scheduler of the cluster and its jobs. It polls the database when the schema is there. */
    scheduler: Scheduler
  }
}

interface SchedulerOptions {
  config: Config
  /** Replaces the jobs of the service. */
  jobs?: readonly Job[] | undefined
}

/** The part of the shutdown time that is reserved for recording aborted runs and closing the rest, in milliseconds. */
const CLOSING_MS = ABORT_GRACE_MS + 2_000

/** Owns the scheduler. It is drained before everything else is closed, while the database can still be used. */
async function scheduler(app: FastifyInstance, { config, jobs: given }: SchedulerOptions) {
  const { health, db, accounts, caches, exchanges, metrics, replicas, telegram } = app
  const jobs =
    given ??
    jobTable({
      database: db,
      accounts,
      prices: caches.prices,
      instruments: exchanges.instruments,
      minutePrice: minutePrices(exchanges),
      outbox: telegram.outbox,
      operatorChatId: operatorChatId(config),
      language: config.LANGUAGE,
      timeZone: config.TIME_ZONE
    })
  const own = new Scheduler({
    database: db,
    jobs,
    instance: () => replicas.instanceId,
    runners: () => replicas.jobRunners,
    enabled: config.SCHEDULER_ENABLED,
    applicationName: config.SERVICE_NAME,
    log: app.log,
    isDraining: () => health.state.snapshot().draining,
    refusal: () => (mayRunJobs(health.state.snapshot()) ? replicas.refusal : 'DATABASE_UNAVAILABLE'),
    onRunEnd: end => recordRunEnd(metrics, end)
  })
  app.decorate('scheduler', own)
  app.healthChecks.push(() => schedulerDetails(own.health()))
  createRunSeries(metrics, jobs)
  metrics.collect(reading => reportScheduler(reading, jobs, own.health()))

  const shutdownMs = config.SHUTDOWN_SECONDS * 1_000
  app.startUpSteps.time_zone = async () => {
    await assertSameDays(db, config.TIME_ZONE)
    return { time_zone: config.TIME_ZONE }
  }
  app.startUpSteps.scheduler = async () => {
    await own.start()
    return { jobs: jobs.length, enabled: config.SCHEDULER_ENABLED }
  }
  app.addHook('preClose', () => own.drain(Math.max(shutdownMs / 2, shutdownMs - CLOSING_MS)))
  app.addHook('onClose', () => own.close())
}

export default fp(scheduler, {
  name: 'scheduler',
  fastify: '5.x',
  dependencies: ['db', 'health', 'accounts', 'cache', 'exchanges', 'metrics', 'replicas', 'telegram']
})
