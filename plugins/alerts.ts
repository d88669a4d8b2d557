// @FEAT:health-monitoring @COMP:plugin @TYPE:integration
import type { FastifyInstance } from 'fastify'
import fp from 'fastify-plugin'
import type { Config } from '../src/config.ts'
import { notReady } from '../src/health/verdict.ts'
import { operatorChatId } from '../src/notifications/operator-chat.ts'
import { webhookMessage } from '../src/notifications/outbox.ts'

declare module 'fastify' {
  interface FastifyInstance {
    /** Evaluates the alerts now; does nothing where no messages are sent. Never rejects. */
    evaluateAlerts: () => Promise<void>
  }
}

/** Deadline of a message that is sent without the outbox, in milliseconds. */
const DIRECT_MS = 10_000

/** Owns the evaluation of alerts. Without a bot and its chat, and without a webhook, there are none. */
async function alerts(app: FastifyInstance, { config }: { config: Config }) {
  const { LANGUAGE: language, TIME_ZONE: timeZone } = config
  const { db, log, scheduler, telegram, webhook, health } = app
  const chatId = operatorChatId(config)
  app.decorate('evaluateAlerts', async () => {})
  if (chatId === undefined && webhook === undefined) return
  const { AlertRunner } = await import('../src/alerts/alert-runner.ts')
  const jobs = scheduler.jobs.filter(({ scope }) => scope === 'cluster')
  const closing = new AbortController()
  const direct = { deadlineMs: DIRECT_MS, signal: closing.signal }
  const runner = new AlertRunner({
    database: db,
    outbox: telegram.outbox,
    log,
    instanceId: () => app.replicas.instanceId,
    chatId,
    text: { language, timeZone },
    jobs,
    overdue: () => scheduler.health().overdue,
    notReady: async () => {
      await health.refresh()
      const snapshot = health.state.snapshot()
      return snapshot.draining || !snapshot.started ? null : (notReady(snapshot) ?? null)
    },
    sendDirectly: {
      ...(chatId !== undefined && { telegram: ({ text }) => telegram.send({ chatId, text }, direct) }),
      ...(webhook && { webhook: message => webhook.send(webhookMessage(message), direct) })
    }
  })
  app.evaluateAlerts = () => runner.evaluate()
  app.startUpSteps.alerts = async () => {
    runner.start()
    return { jobs: jobs.length }
  }
  app.addHook('onClose', async () => {
    closing.abort()
    await runner.close()
  })
}

export default fp(alerts, {
  name: 'alerts',
  fastify: '5.x',
  dependencies: ['db', 'health', 'scheduler', 'telegram', 'webhook']
})
