// @FEAT:health-monitoring @COMP:plugin @TYPE:integration
import type { FastifyInstance } from 'fastify'
import fp from 'fastify-plugin'
import type { Config } from '../src/config.ts'
import type { Language } from '../src/messages.ts'
import { countTelegramCall } from '../src/notifications/figures.ts'
import { type TelegramTestResult, testTelegram } from '../src/notifications/telegram-test.ts'

declare module 'fastify' {
  interface FastifyInstance {
    telegram: {
      /** Tests the way to the operator's chat; the message that arrives there is in `language`. */
      test(language: Language): Promise<TelegramTestResult>
    }
  }
}

/** Owns the connections to Telegram. They are made when they are first needed; closing aborts what is under way. */
async function telegram(app: FastifyInstance, { config }: { config: Config }) {
  const {
    TELEGRAM_BOT_TOKEN: token,
    TELEGRAM_CHAT_ID: chatId,
    TELEGRAM_API_URL: baseUrl,
    SERVICE_NAME: serviceName
  } = config
  const closing = new AbortController()
  let connected: ReturnType<typeof connect> | undefined

  async function connect(token: string) {
    const [{ Agent }, { TelegramClient }] = await Promise.all([
      import('../src/http-agent.ts'),
      import('../src/notifications/telegram-client.ts')
    ])
    const dispatcher = new Agent({ connections: 4 })
    return {
      dispatcher,
      client: new TelegramClient({ token, dispatcher, baseUrl, onCall: countTelegramCall(app.metrics) })
    }
  }

  app.decorate('telegram', {
    async test(language) {
      if (token !== undefined) connected ??= connect(token)
      const client = (await connected)?.client
      return testTelegram({ client, chatId, language, serviceName, signal: closing.signal })
    }
  })

  app.addHook('onClose', async () => {
    closing.abort()
    await (await connected)?.dispatcher.close()
  })
}

export default fp(telegram, { name: 'telegram', fastify: '5.x', dependencies: ['metrics'] })
