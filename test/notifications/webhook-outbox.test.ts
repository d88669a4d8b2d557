import t, { type Test } from 'tap'
import { Agent } from 'undici'
import type { NoticeEvent } from '../../src/notifications/notice-event.ts'
import { Outbox, outboxDepth, sweepOutbox } from '../../src/notifications/outbox.ts'
import { OutboxSender } from '../../src/notifications/outbox-sender.ts'
import { TelegramClient } from '../../src/notifications/telegram-client.ts'
import { WebhookClient } from '../../src/notifications/webhook-client.ts'
import { captureLog } from '../support/app.ts'
import { assertRows } from '../support/assert-rows.ts'
import { failWith, startBotApiServer } from '../support/bot-api-server.ts'
import { tradingDatabase } from '../support/trading.ts'
import { startWebhookServer } from '../support/webhook-server.ts'

const event: NoticeEvent = { type: 'alert.raised', at: '2026-11-23T12:00:00.000Z', data: { kind: 'no_runner' } }

async function setUp(t: Test) {
  const database = await tradingDatabase(t)
  const bot = await startBotApiServer()
  const server = await startWebhookServer()
  const dispatcher = new Agent()
  const { logger: log, lines, text } = captureLog()
  const senders: OutboxSender[] = []
  t.teardown(async () => {
    for (const sender of senders) await sender.close(0)
    await dispatcher.destroy()
    await Promise.all([bot.close(), server.close()])
  })
  const client = new WebhookClient({
    url: `${server.url}/path-secret`,
    format: 'json',
    secret: 'secret of twenty-four characters',
    service: 'test',
    dispatcher
  })
  const sender = (
    instanceId: string,
    options: Pick<ConstructorParameters<typeof OutboxSender>[0], 'destination' | 'send'>
  ) => {
    const made = new OutboxSender({ database, log, instanceId: () => instanceId, applicationName: 'test', ...options })
    senders.push(made)
    return made
  }
  const webhook = (instanceId = 'one', via = client) =>
    sender(instanceId, {
      destination: 'webhook',
      send: async (message, options) => via.send({ ...message, event: message.event ?? event }, options)
    })
  const telegram = (instanceId = 'one') =>
    sender(instanceId, {
      destination: 'telegram',
      send: ({ chatId, text }, options) =>
        new TelegramClient({ token: bot.token, dispatcher, baseUrl: bot.url, maxAttempts: 1 }).sendMessage(
          chatId,
          text,
          options
        )
    })
  const write = (outbox: Outbox, ...keys: string[]) =>
    database.transaction(tx =>
      outbox.enqueue(
        tx,
        keys.map(key => ({ chatId: '1', text: `<b>${key}</b> &amp; more`, key, event }))
      )
    )
  const pass = (interval: string) =>
    database.run(
      sql => sql`
        update outbox set created_at = created_at - ${interval}::interval, next_attempt_at = next_attempt_at - ${interval}::interval,
          leased_until = leased_until - ${interval}::interval`
    )
  /** The texts that arrived at the webhook, in order. */
  const arrived = () => server.received.map(({ body }) => JSON.parse(body).data.text)
  const rows = () =>
    database.run(
      sql => sql<Record<string, unknown>[]>`
        select destination, attempts, delivered_at is not null as delivered, given_up_at is not null as given_up, error_code
        from outbox order by destination, message_id`
    )
  return { database, bot, server, webhook, telegram, write, pass, arrived, rows, lines, text, dispatcher }
}

const both = new Outbox({ hasWebhook: true })

t.test('a message is stored for each destination, and for a webhook only while there is one', async t => {
  const { write, rows, webhook, telegram, arrived, bot } = await setUp(t)
  await write(new Outbox(), 'before')
  t.equal(await write(both, 'first', 'second'), 4)
  t.equal(await write(both, 'first'), 0)
  await Promise.all([webhook().sendDue(), telegram().sendDue()])
  t.strictSame(arrived(), ['first & more', 'second & more'])
  t.strictSame(
    bot.delivered.map(({ text }) => text),
    ['before & more', 'first & more', 'second & more']
  )
  assertRows(
    t,
    [...(await rows())],
    [
      ...Array(3).fill({ destination: 'telegram', delivered: true }),
      ...Array(2).fill({ destination: 'webhook', delivered: true, attempts: 1 })
    ]
  )
})

t.test('neither destination delays the other', async t => {
  const { write, webhook, telegram, arrived, bot, server, database, pass } = await setUp(t)
  bot.queue('sendMessage', failWith(502, 'Bad Gateway'))
  await write(both, 'first', 'second')
  await Promise.all([telegram().sendDue(), webhook().sendDue()])
  t.strictSame(arrived(), ['first & more', 'second & more'])
  t.equal(bot.delivered.length, 0)
  t.hasStrict(await outboxDepth(database, 'webhook'), { waiting: 0, failing: null })
  t.hasStrict(await outboxDepth(database, 'telegram'), { waiting: 2, failing: 'TELEGRAM_UNREACHABLE' })
  await pass('2 hours')
  server.queue({ kind: 'answer', status: 500 })
  await write(both, 'third')
  await Promise.all([telegram('two').sendDue(), webhook('two').sendDue()])
  t.equal(bot.delivered.length, 3)
  t.hasStrict(await outboxDepth(database, 'webhook'), { waiting: 1, failing: 'WEBHOOK_UNREACHABLE' })
  t.hasStrict(await outboxDepth(database, 'telegram'), { waiting: 0, failing: null })
})

t.test('several replicas send the messages of the webhook in order and once', async t => {
  const { write, webhook, arrived } = await setUp(t)
  const keys = Array.from({ length: 12 }, (_, i) => `message ${i}`)
  await write(both, ...keys)
  await Promise.all(['one', 'two', 'three'].map(id => webhook(id).sendDue()))
  await webhook().sendDue()
  t.strictSame(
    arrived(),
    keys.map(key => `${key} & more`)
  )
})

t.test('a failed message is sent again, not before Retry-After, and the next one waits for it', async t => {
  const { write, webhook, arrived, server, pass, rows } = await setUp(t)
  server.queue({ kind: 'answer', status: 429, headers: { 'retry-after': '120' } })
  await write(both, 'first', 'second')
  await webhook().sendDue()
  await pass('119 seconds')
  await webhook().sendDue()
  t.equal(server.received.length, 1)
  await pass('2 seconds')
  await webhook().sendDue()
  t.strictSame(arrived(), ['first & more', 'first & more', 'second & more'])
  const ids = server.received.map(({ headers }) => headers['webhook-id'])
  t.equal(ids[0], ids[1], 'the receiver recognises the repetition')
  assertRows(t, (await rows()).slice(2), [{ attempts: 2, error_code: null }, { attempts: 1 }])
})

t.test('a message that the receiver rejects waits for an hour, one that is too large does not', async t => {
  const { write, webhook, server, pass, rows, lines, database } = await setUp(t)
  server.queue({ kind: 'answer', status: 410 })
  await write(both, 'gone')
  await webhook().sendDue()
  assertRows(t, (await rows()).slice(1), [{ attempts: 1, given_up: false, error_code: 'WEBHOOK_REJECTED' }])
  await pass('61 minutes')
  server.queue({ kind: 'answer', status: 404 })
  await webhook().sendDue()
  assertRows(t, (await rows()).slice(1), [{ attempts: 2, given_up: true }])
  server.queue({ kind: 'answer', status: 413 })
  await write(both, 'large', 'next')
  await webhook().sendDue()
  assertRows(t, (await rows()).slice(3), [{}, { given_up: true, attempts: 1 }, { delivered: true }])
  t.equal(lines.filter(({ msg }) => msg === 'message given up').length, 2)
  t.hasStrict(await outboxDepth(database, 'webhook'), { givenUp: 2, errorCode: 'WEBHOOK_REJECTED' })
})

t.test('no message is lost in an outage of hours', async t => {
  const { write, webhook, server, pass, rows } = await setUp(t)
  const fault = [
    { kind: 'cut', when: 'before' },
    { kind: 'answer', status: 503 }
  ] as const
  server.queue(...Array.from({ length: 24 }, (_, i) => fault[i % 2] ?? fault[0]))
  await write(both, 'first', 'second')
  const one = webhook()
  for (let hour = 0; hour < 23; hour++) {
    await one.sendDue()
    await pass('1 hour')
  }
  for (let i = 0; i < 6; i++) {
    await one.sendDue()
    await pass('10 minutes')
  }
  assertRows(t, (await rows()).slice(2), [{ delivered: true }, { delivered: true }])
})

t.test('the message of a killed sender is sent again; a sender that closes releases its message', async t => {
  const { write, webhook, server, pass, rows, arrived } = await setUp(t)
  await write(both, 'first')
  server.queue({ kind: 'hang' })
  const died = webhook('died')
  void died.sendDue()
  await server.receivedCount(1)
  const other = webhook('other')
  await other.sendDue()
  t.equal(server.received.length, 1, 'leased by the other sender')
  await pass('61 seconds')
  await other.sendDue()
  t.equal(server.received.length, 2)

  server.queue({ kind: 'hang' })
  await write(both, 'second')
  const closing = webhook('closing')
  const sending = closing.sendDue()
  await server.receivedCount(3)
  await closing.close(0)
  await sending
  assertRows(t, (await rows()).slice(2), [{ delivered: true }, { attempts: 0, delivered: false }])
  await other.sendDue()
  t.equal(arrived().at(-1), 'second & more')
})

t.test('the sweep gives up messages that no replica could send', async t => {
  const { write, pass, rows, database } = await setUp(t)
  await write(both, 'first')
  await pass('26 hours')
  await database.transaction(tx => sweepOutbox(tx, 100))
  assertRows(
    t,
    [...(await rows())],
    [
      { error_code: 'TELEGRAM_NOT_CONFIGURED', given_up: true },
      { error_code: 'WEBHOOK_NOT_CONFIGURED', given_up: true }
    ]
  )
})

t.test('no log line contains the address or the secret', async t => {
  const { write, webhook, server, text } = await setUp(t)
  server.queue({ kind: 'answer', status: 413 }, { kind: 'cut', when: 'before' })
  await write(both, 'first', 'second')
  await webhook().sendDue()
  t.ok(text().includes('message given up'))
  t.notMatch(text(), /path-secret|twenty-four/)
})
