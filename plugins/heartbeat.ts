// @FEAT:health-monitoring @COMP:plugin @TYPE:integration
import type { FastifyInstance } from 'fastify'
import fp from 'fastify-plugin'
import type { Config } from '../src/config.ts'
import { Heartbeat } from '../src/heartbeat/heartbeat.ts'

/** Owns the dead man's switch. Without `HEARTBEAT_URL` there is none. */
async function heartbeat(app: FastifyInstance, { config }: { config: Config }) {
  const { HEARTBEAT_URL: url, SCHEDULER_ENABLED: enabled } = config
  if (url === undefined) return
  const { db, log, metrics, scheduler, replicas } = app
  let connected: ReturnType<typeof connect> | undefined
  const own = new Heartbeat({
    database: db,
    log,
    instanceId: () => replicas.instanceId,
    maySend: () => {
      const { running, runners } = scheduler.health()
      if (running === null || app.health.state.snapshot().draining) return false
      return (enabled && replicas.refusal === undefined) || runners === 0
    },
    scheduler: () => scheduler.health(),
    recipients: { operatorChatId: config.TELEGRAM_CHAT_ID, hasWebhook: config.ALERT_WEBHOOK_URL !== undefined },
    send: async (reason, signal) => {
      connected ??= connect(config)
      const { dispatcher, sendHeartbeat } = await connected
      return sendHeartbeat({ url, reason, dispatcher, signal })
    },
    onSent: labels => metrics.count('trading_health_heartbeats_total', labels)
  })
  app.healthChecks.push(() => own.details())
  metrics.collect(reading => {
    if (own.ageMs !== undefined) reading.set('trading_health_heartbeat_age_seconds', {}, own.ageMs / 1_000)
  })
  app.startUpSteps.heartbeat = async () => {
    own.start()
    return { enabled }
  }
  app.addHook('onClose', async () => {
    await own.close()
    await (await connected)?.dispatcher.destroy()
  })
}

async function connect(config: Config) {
  const [{ createHttpAgent }, { sendHeartbeat }] = await Promise.all([
    import('../src/http-agent.ts'),
    import('../src/heartbeat/heartbeat-request.ts')
  ])
  return { dispatcher: createHttpAgent(config, { connections: 1 }), sendHeartbeat }
}

export default fp(heartbeat, {
  name: 'heartbeat',
  fastify: '5.x',
  dependencies: ['db', 'health', 'metrics', 'replicas', 'scheduler']
})
