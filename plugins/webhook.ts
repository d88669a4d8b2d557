// @FEAT:health-monitoring @COMP:plugin @TYPE:integration
import type { FastifyInstance } from 'fastify'
import fp from 'fastify-plugin'
import type { Config } from '../src/config.ts'
import { destinationDetails } from '../src/notifications/destination-check.ts'
import { countWebhookCall, reportOutbox } from '../src/notifications/metrics.ts'
import { outboxDepth } from '../src/notifications/outbox.ts'
import { OutboxSender } from '../src/notifications/outbox-sender.ts'
import type { WebhookMessage } from '../src/notifications/webhook-body.ts'

declare module 'fastify' {
  interface FastifyInstance {
    /** The webhook of alerts; undefined without a configured one. */
    webhook: { send: Send } | undefined
  }
}

/** Sends one message without the outbox. @throws {WebhookError} */
type Send = (
  message: WebhookMessage & { key: string },
  options: { deadlineMs: number; signal: AbortSignal }
) => Promise<void>

/** Owns the client of the webhook, created with its first use, and the sender of its messages. */
async function webhook(app: FastifyInstance, { config }: { config: Config }) {
  const { ALERT_WEBHOOK_URL: url, SERVICE_NAME: applicationName } = config
  const { db, log, metrics } = app
  app.decorate('webhook', undefined)
  if (url === undefined) {
    app.healthChecks.push(() =>
      destinationDetails('webhook', { configured: false, depth: undefined, depthAgeMs: null, latencyMs: null })
    )
    return
  }
  const count = countWebhookCall(metrics)
  let latencyMs: number | null = null
  const { send, disconnect } = lazyClient(config, url, call => {
    latencyMs = Math.round(call.durationMs)
    count(call)
  })
  app.webhook = { send }
  const sender = new OutboxSender({
    database: db,
    destination: 'webhook',
    log,
    instanceId: () => app.replicas.instanceId,
    applicationName,
    send: async ({ text, event, key }, options) => {
      if (event === null) throw new Error('a message to the webhook has no event')
      await send({ text, event, key }, options)
    }
  })
  app.startUpSteps.webhook = async () => {
    await sender.start()
  }
  app.healthChecks.push(() => {
    const { depth, depthAgeMs, depthLatencyMs } = sender
    return destinationDetails('webhook', {
      configured: true,
      depth,
      depthAgeMs,
      latencyMs: latencyMs ?? depthLatencyMs
    })
  })
  metrics.collect(async reading => {
    if (app.health.state.snapshot().migrated) reportOutbox(reading, 'webhook', await outboxDepth(db, 'webhook'))
  })
  app.addHook('onClose', async () => {
    await sender.close()
    await disconnect()
  })
}

/** The client with its connections, created at the first call of `send`. */
function lazyClient(config: Config, url: string, onCall: ReturnType<typeof countWebhookCall>) {
  let connected: ReturnType<typeof connect> | undefined

  async function connect() {
    const [{ createHttpAgent }, { WebhookClient }] = await Promise.all([
      import('../src/http-agent.ts'),
      import('../src/notifications/webhook-client.ts')
    ])
    const dispatcher = createHttpAgent(config, { connections: 2 })
    const { ALERT_WEBHOOK_FORMAT: format, ALERT_WEBHOOK_SECRET: secret, SERVICE_NAME: service } = config
    return { dispatcher, client: new WebhookClient({ url, format, secret, service, dispatcher, onCall }) }
  }

  const send: Send = async (message, options) => {
    connected ??= connect()
    await (await connected).client.send(message, options)
  }
  return {
    send,
    disconnect: async () => (await connected)?.dispatcher.close()
  }
}

export default fp(webhook, { name: 'webhook', fastify: '5.x', dependencies: ['db', 'health', 'metrics'] })
