// @FEAT:health-monitoring @COMP:plugin @TYPE:integration
import type { FastifyInstance } from 'fastify'
import fp from 'fastify-plugin'
import type { Config } from '../src/config.ts'
import { destinationDetails } from '../src/notifications/destination-check.ts'
import { countTelegramCall, reportOutbox } from '../src/notifications/metrics.ts'
import { Outbox, outboxDepth } from '../src/notifications/outbox.ts'
import { OutboxSender } from '../src/notifications/outbox-sender.ts'
import type { TelegramClient } from '../src/notifications/telegram-client.ts'
import { type TelegramTestResult, testTelegram } from '../src/notifications/telegram-test.ts'

declare module 'fastify' {
  interface FastifyInstance {
    telegram: {
      /** Tests the connection to the operator's chat with a message in the language of the service. */
      test(): Promise<TelegramTestResult>
      /** Stores messages, which this or another replica sends. */
      outbox: Outbox
      /** The client of the bot; undefined without a token. */
      client(): Promise<TelegramClient | undefined>
      /** Sends one message without the outbox. @throws {TelegramError} */
      send: (message: { chatId: string; text: string }, options: SendOptions) => Promise<void>
    }
  }
}

interface SendOptions {
  deadlineMs: number
  signal: AbortSignal
}

/** Owns the client of Telegram, created with its first use, and the sender of the outbox. */
async function telegram(app: FastifyInstance, { config }: { config: Config }) {
  const { TELEGRAM_BOT_TOKEN: token, TELEGRAM_CHAT_ID: chatId, SERVICE_NAME: serviceName, LANGUAGE: language } = config
  const { db, log, metrics } = app
  const closing = new AbortController()
  const count = countTelegramCall(metrics)
  let latencyMs: number | null = null
  const { client, disconnect } = lazyClient(config, call => {
    latencyMs = Math.round(call.durationMs)
    count(call)
  })

  const send: FastifyInstance['telegram']['send'] = async ({ chatId, text }, options) => {
    const bot = await client()
    // Otherwise the message would count as delivered.
    if (!bot) throw new Error('no bot is configured')
    await bot.sendMessage(chatId, text, options)
  }
  const sender = new OutboxSender({
    database: db,
    destination: 'telegram',
    log,
    instanceId: () => app.replicas.instanceId,
    applicationName: config.SERVICE_NAME,
    send
  })
  app.decorate('telegram', {
    test: async () => testTelegram({ client: await client(), chatId, language, serviceName, signal: closing.signal }),
    outbox: new Outbox({ hasWebhook: config.ALERT_WEBHOOK_URL !== undefined }),
    client,
    send
  })
  // Without a token this replica sends nothing: messages wait for a replica with a token, or are given up.
  if (token !== undefined) {
    app.startUpSteps.outbox = async () => {
      await sender.start()
    }
  }
  app.healthChecks.push(() => {
    const { depth, depthAgeMs, depthLatencyMs } = sender
    return destinationDetails('telegram', {
      configured: token !== undefined,
      depth,
      depthAgeMs,
      latencyMs: latencyMs ?? depthLatencyMs
    })
  })
  metrics.collect(async reading => {
    if (app.health.state.snapshot().migrated) reportOutbox(reading, 'telegram', await outboxDepth(db, 'telegram'))
  })

  app.addHook('onClose', async () => {
    closing.abort()
    await sender.close()
    await disconnect()
  })
}

/** The client with its connections, created at the first call of `client`; undefined without a token. */
function lazyClient(config: Config, onCall: ReturnType<typeof countTelegramCall>) {
  const {
    TELEGRAM_BOT_TOKEN: token,
    TELEGRAM_API_URL: baseUrl,
    TELEGRAM_CHAT_ID: chatId,
    TELEGRAM_TOPIC_ID: id
  } = config
  const topic = chatId !== undefined && id !== undefined ? { chatId, id } : undefined
  let connected: ReturnType<typeof connect> | undefined

  async function connect(token: string) {
    const [{ createHttpAgent }, { TelegramClient }] = await Promise.all([
      import('../src/http-agent.ts'),
      import('../src/notifications/telegram-client.ts')
    ])
    const dispatcher = createHttpAgent(config, { connections: 4 })
    return {
      dispatcher,
      client: new TelegramClient({
        token,
        dispatcher,
        baseUrl,
        ...(topic && { topic }),
        onCall
      })
    }
  }

  return {
    async client() {
      if (token !== undefined) connected ??= connect(token)
      return (await connected)?.client
    },
    disconnect: async () => (await connected)?.dispatcher.close()
  }
}

export default fp(telegram, { name: 'telegram', fastify: '5.x', dependencies: ['db', 'health', 'metrics'] })
