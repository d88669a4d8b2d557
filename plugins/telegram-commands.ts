// @FEAT:health-monitoring @COMP:plugin @TYPE:integration
import type { FastifyInstance } from 'fastify'
import fp from 'fastify-plugin'
import { SECOND } from '../src/async/durations.ts'
import type { Config } from '../src/config.ts'
import { SUMMARY_MAX_AGES } from '../src/jobs/index.ts'
import { countTelegramCall } from '../src/notifications/metrics.ts'
import type { CommandPoller } from '../src/telegram-commands/command-poller.ts'

/** The longest call of the client that reads the updates: Telegram waits for one for 25 s. In milliseconds. */
const POLL_CALL_MS = 40 * SECOND
const MAX_ANSWER_BYTES = 8 * 1_024 * 1_024

/** Owns the reader of the commands of the Telegram bot, and its connection. Without a bot, or turned off, there is none. */
async function telegramCommands(app: FastifyInstance, { config }: { config: Config }) {
  const { TELEGRAM_BOT_TOKEN: token, TELEGRAM_COMMANDS: isOn, TELEGRAM_CHAT_ID: chatId } = config
  if (token === undefined || isOn === 'off') {
    const code = token === undefined ? 'not_configured' : 'off'
    const rest = { latency_ms: null, age_ms: null, since: null }
    app.healthChecks.push(() => ({ name: 'telegram_commands', status: 'ok', code, ...rest }))
    return
  }
  let commands: Awaited<ReturnType<typeof connect>> | undefined
  let isClosing = false
  app.healthChecks.push(() => commands?.poller.details() ?? [])
  app.startUpSteps.telegram_commands = async () => {
    commands ??= await connect(app, config, token)
    if (!isClosing) commands.poller.start()
    return { chat: chatId !== undefined }
  }
  app.addHook('preClose', async () => {
    isClosing = true
    await commands?.poller.stop()
  })
  app.addHook('onClose', async () => {
    await commands?.poller.settled()
    await commands?.dispatcher.close()
  })
}

/** Loaded when the replica starts to read commands. */
async function connect(app: FastifyInstance, config: Config, token: string) {
  const [{ createHttpAgent }, { TelegramClient }, { createCommands }] = await Promise.all([
    import('../src/http-agent.ts'),
    import('../src/notifications/telegram-client.ts'),
    import('../src/telegram-commands/commands.ts')
  ])
  const client = await app.telegram.client()
  if (!client) throw new Error('no bot is configured')
  const dispatcher = createHttpAgent(config, { connections: 1 })
  const pollClient = new TelegramClient({
    token,
    dispatcher,
    baseUrl: config.TELEGRAM_API_URL,
    attemptTimeoutMs: POLL_CALL_MS,
    deadlineMs: POLL_CALL_MS,
    maxAttempts: 1,
    maxAnswerBytes: MAX_ANSWER_BYTES,
    onCall: countTelegramCall(app.metrics)
  })
  const { TELEGRAM_CHAT_ID: chatId, TELEGRAM_TOPIC_ID: topicId, LANGUAGE: language, TIME_ZONE: timeZone } = config
  const { db: database, log, health, replicas, scheduler, telegram, metrics } = app
  const poller: CommandPoller = createCommands({
    ...{ database, log, language, timeZone, scheduler, client, pollClient, outbox: telegram.outbox },
    // The part before the colon is the public id of the bot.
    botId: token.split(':')[0] ?? '',
    maxAges: SUMMARY_MAX_AGES,
    operator: chatId === undefined ? undefined : { chatId, topicId },
    instance: () => replicas.instanceId,
    mayPoll: () => !health.state.snapshot().draining && replicas.refusal === undefined,
    checks: () => health.checks(),
    replicas: () => replicas.alive(),
    onCommand: (command, outcome) => metrics.count('trading_health_telegram_commands_total', { command, outcome })
  })
  return { poller, dispatcher }
}

export default fp(telegramCommands, {
  name: 'telegram-commands',
  fastify: '5.x',
  dependencies: ['db', 'health', 'metrics', 'replicas', 'scheduler', 'telegram']
})
