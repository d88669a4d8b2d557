// The process of a replica with jobs for tests, started by startReplica instead of src/server.ts. The jobs write their
// effects to the table `effects`, in their own transactions.

import { setTimeout as sleep } from 'node:timers/promises'
import { pino } from 'pino'
import { buildApp } from '../../src/app.ts'
import { MINUTE, SECOND } from '../../src/async/durations.ts'
import { loadConfig } from '../../src/config.ts'
import { calculateDailyPerformance } from '../../src/jobs/calculate-daily-performance.ts'
import { SUMMARY_MAX_AGES } from '../../src/jobs/index.ts'
import { sendDailySummary } from '../../src/jobs/send-daily-summary.ts'
import { Outbox } from '../../src/notifications/outbox.ts'
import type { JobContext } from '../../src/scheduler/job.ts'
import { every } from '../../src/scheduler/trigger.ts'
import { ENCRYPTION_KEY, SESSION_SECRET, TEST_ENVIRONMENT } from './app.ts'
import { testJob } from './jobs.ts'

const config = {
  SESSION_SECRET,
  ENCRYPTION_KEY,
  ...loadConfig({ ...TEST_ENVIRONMENT, ...process.env }),
  // The tests count answers, and a busy replica would shed load. 0 means no limit.
  MAX_EVENT_LOOP_DELAY_MS: 0
}
const log = pino({ level: config.LOG_LEVEL, base: { instance: config.INSTANCE_ID } })

const effect = ({ runId, jobId, scheduledFor, transaction }: JobContext) =>
  transaction(async tx => {
    await tx`
      insert into effects (run_id, job_id, instance, scheduled_for, at)
      values (${runId}, ${jobId}, ${config.INSTANCE_ID}, ${scheduledFor}, clock_timestamp())`
  })

const jobs = [
  testJob(
    'each_second',
    async context => {
      await effect(context)
      return {}
    },
    { trigger: every(SECOND) }
  ),
  // Writes ten times a second until it is aborted. A rejected write is logged.
  testJob('long', async context => {
    for (let done = 0; ; done++) {
      context.progress(done, 10_000)
      try {
        await effect(context)
      } catch (err) {
        context.log.info({ err, aborted: context.signal.aborted }, 'effect refused')
        if (context.signal.aborted) throw err
      }
      await sleep(100)
    }
  }),
  // Runs until the row in the table `gate` is open, or until it is aborted.
  testJob('held', async ({ signal, transaction }) => {
    while (!signal.aborted) {
      const [row] = await transaction(tx => tx<{ open: boolean }[]>`select open from gate`)
      if (row?.open) return { held: 1 }
      await sleep(100)
    }
    throw signal.reason
  }),
  // As long as in the service: a year of days takes more than a minute on a busy machine.
  testJob('daily_performance', calculateDailyPerformance({ timeZone: config.TIME_ZONE }), { maxRunMs: 15 * MINUTE }),
  testJob(
    'daily_summary',
    sendDailySummary({
      timeZone: config.TIME_ZONE,
      language: 'en',
      operatorChatId: '1',
      maxAges: SUMMARY_MAX_AGES,
      outbox: new Outbox()
    })
  )
].filter(({ id }) => process.env.TEST_JOBS?.split(',').includes(id))

const app = buildApp(config, { logger: log, jobs })
process.on('SIGTERM', () => {
  app.health.state.setDraining()
  void app.close().then(() => process.exit(0))
})
const main = await app.listen({ host: config.HOST, port: config.PORT })
const port = await app.health.startProbeThread()
log.info({ main, probes: port === undefined ? main : `http://127.0.0.1:${port}` }, 'listening')
