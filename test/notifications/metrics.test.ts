import { pino } from 'pino'
import t from 'tap'
import { Agent } from 'undici'
import { Metrics } from '../../src/metrics/metrics.ts'
import { countTelegramCall } from '../../src/notifications/metrics.ts'
import { TelegramClient } from '../../src/notifications/telegram-client.ts'
import { startBotApiServer, TEST_TOKEN } from '../support/bot-api-server.ts'
import { skippingTimers } from '../support/test-timers.ts'

t.test('each call counts once, by method and outcome', async t => {
  const server = await startBotApiServer()
  const dispatcher = new Agent()
  t.teardown(() => Promise.all([server.close(), dispatcher.destroy()]))
  const metrics = new Metrics({ log: pino({ level: 'silent' }) })
  const options = { dispatcher, baseUrl: server.url, timers: skippingTimers(), onCall: countTelegramCall(metrics) }
  const client = new TelegramClient({ ...options, token: TEST_TOKEN })
  const stranger = new TelegramClient({ ...options, token: '1:other' })

  await client.getMe()
  await client.sendMessage('42', 'hello')
  await t.rejects(stranger.getMe(), { code: 'TELEGRAM_UNAUTHORIZED' })
  const of = (method: string, outcome: string) => ({ labels: { method, outcome }, value: 1 })
  t.strictSame((await metrics.read()).get('trading_health_telegram_calls_total'), [
    of('getMe', 'ok'),
    of('sendMessage', 'ok'),
    of('getMe', 'TELEGRAM_UNAUTHORIZED')
  ])
})
