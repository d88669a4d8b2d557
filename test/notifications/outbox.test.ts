import t, { type Test } from 'tap'
import { Agent } from 'undici'
import type { Database } from '../../src/database/database.ts'
import { DatabaseUnavailableError } from '../../src/database/failure.ts'
import { Outbox, outboxDepth, sweepOutbox } from '../../src/notifications/outbox.ts'
import { OutboxSender } from '../../src/notifications/outbox-sender.ts'
import { TelegramClient } from '../../src/notifications/telegram-client.ts'
import { captureLog } from '../support/app.ts'
import { assertRows } from '../support/assert-rows.ts'
import { failWith, startBotApiServer, tooManyRequests } from '../support/bot-api-server.ts'
import { tradingDatabase } from '../support/trading.ts'

const outbox = new Outbox()

async function setUp(t: Test, options: { chats?: string[] } = {}) {
  const database = await tradingDatabase(t)
  const bot = await startBotApiServer(options)
  const dispatcher = new Agent()
  const { logger, lines, text } = captureLog()
  // One client for each message: the rate limit of a shared client would slow the test down.
  const viaTelegram: TelegramClient['sendMessage'] = (chatId, text, options) =>
    new TelegramClient({ token: bot.token, dispatcher, baseUrl: bot.url, maxAttempts: 1 }).sendMessage(
      chatId,
      text,
      options
    )
  const senders: OutboxSender[] = []
  t.teardown(async () => {
    for (const sender of senders) await sender.close(0)
    await dispatcher.destroy()
    await bot.close()
  })
  const sender = (instanceId = 'one', send = viaTelegram, used = database) => {
    const made = new OutboxSender({
      database: used,
      destination: 'telegram',
      log: logger,
      instanceId: () => instanceId,
      applicationName: 'test',
      send: ({ chatId, text }, options) => send(chatId, text, options)
    })
    senders.push(made)
    return made
  }
  const write = (...messages: [chatId: string, text: string, key: string][]) =>
    database.transaction(tx =>
      outbox.enqueue(
        tx,
        messages.map(([chatId, text, key]) => ({ chatId, text, key }))
      )
    )
  /** Moves all times of the outbox into the past. */
  const pass = (interval: string) =>
    database.run(
      sql => sql`
        update outbox set created_at = created_at - ${interval}::interval, next_attempt_at = next_attempt_at - ${interval}::interval,
          leased_until = leased_until - ${interval}::interval`
    )
  return { database, bot, dispatcher, sender, write, pass, lines, text }
}

async function rowsOf(database: Database) {
  const rows = await database.run(
    sql => sql`
      select dedupe_key as key, attempts, delivered_at is not null as delivered, given_up_at is not null as given_up, error_code
      from outbox order by message_id`
  )
  return [...rows]
}

t.test('a message is written once per key, and a long one in parts', async t => {
  const { database, write } = await setUp(t)
  t.equal(await write(['1', 'hello', 'a'], ['1', 'again', 'a']), 1)
  t.equal(await write(['2', 'other', 'a']), 0)
  t.equal(await write(['1', 'line\n'.repeat(2_000), 'long']), 3)
  t.strictSame(
    (await rowsOf(database)).map(({ key }) => key),
    ['a', 'long', 'long#2', 'long#3']
  )
  t.hasStrict(await outboxDepth(database, 'telegram'), { waiting: 4, givenUp: 0, errorCode: null })
  t.equal(await write(['1', 'line\n'.repeat(9_000), 'long']), 0, 'a longer text with a known key adds no part')
})

t.test('several replicas send the messages of a chat in order and once', async t => {
  const { database, bot, sender, write } = await setUp(t)
  const numbers = Array.from({ length: 15 }, (_, i) => i)
  await write(...numbers.map(i => [String(i % 3), `message ${i}`, `key ${i}`] as [string, string, string]))
  await Promise.all(['one', 'two', 'three'].map(id => sender(id).sendDue()))
  // A sender that found a chat leased sends its next message only after another notification.
  await sender().sendDue()
  t.equal(bot.delivered.length, 15)
  for (const chat of ['0', '1', '2']) {
    const arrived = bot.delivered.filter(({ chatId }) => chatId === chat).map(({ text }) => text)
    t.strictSame(
      arrived,
      numbers.filter(i => i % 3 === Number(chat)).map(i => `message ${i}`)
    )
  }
  t.ok((await rowsOf(database)).every(({ delivered, attempts }) => delivered && attempts === 1))
})

t.test('a failed message is sent again later, and delays only its own chat', async t => {
  const { database, bot, sender, write, pass } = await setUp(t)
  bot.queue('sendMessage', tooManyRequests(120))
  await write(['1', 'first', 'a'])
  const one = sender()
  await one.sendDue()
  t.hasStrict(one.depth, { waiting: 1, failing: 'TELEGRAM_RATE_LIMITED' })
  await write(['1', 'second', 'b'], ['2', 'elsewhere', 'c'])
  await one.sendDue()
  t.strictSame(
    bot.delivered.map(({ text }) => text),
    ['elsewhere']
  )
  await pass('119 seconds')
  await one.sendDue()
  t.equal(bot.delivered.length, 1, 'not before the end of retry_after')
  await pass('2 seconds')
  await one.sendDue()
  t.strictSame(
    bot.delivered.map(({ text }) => text),
    ['elsewhere', 'first', 'second']
  )
  const other = sender('two')
  await other.measure()
  t.hasStrict(other.depth, { waiting: 0, failing: null }, 'messages of other senders also count')
  t.hasStrict((await rowsOf(database))[0], { attempts: 2, delivered: true, error_code: null })
})

t.test('a claim that began before the claim of another sender respects its lease', async t => {
  const { database, bot, sender, write } = await setUp(t)
  await write(['1', 'leased', 'a'])
  // now() is the start of a transaction: the other claim began 5 s after this one, and was committed first.
  await database.run(sql => sql`update outbox set leased_by = 'other', leased_until = now() + interval '65 seconds'`)
  await sender().sendDue()
  t.equal(bot.delivered.length, 0)
})

t.test('messages are sent after the database clock was set back by two hours', async t => {
  const { database, bot, sender, write, pass } = await setUp(t)
  await write(['1', 'failed', 'a'], ['1', 'next', 'b'], ['2', 'leased', 'c'])
  bot.queue('sendMessage', tooManyRequests(60))
  await sender().sendDue()
  await database.run(
    sql => sql`
      update outbox set delivered_at = null, leased_by = 'dead', leased_until = now() + interval '60 seconds'
      where dedupe_key = 'c'`
  )
  await pass('-2 hours')
  await sender().sendDue()
  t.strictSame(bot.delivered.map(({ text }) => text).sort(), ['failed', 'leased', 'leased', 'next'])
})

t.test('a message with a permanent error is given up and logged, and the next one is sent', async t => {
  const { database, sender, write, pass, bot, lines } = await setUp(t, { chats: ['1'] })
  const one = sender()
  await write(['9', 'unknown chat', 'a'], ['9', 'unknown chat, second', 'b'], ['1', 'known chat', 'c'])
  await one.sendDue()
  assertRows(t, await rowsOf(database), [
    { attempts: 1, given_up: false, error_code: 'TELEGRAM_CHAT_NOT_FOUND' },
    { attempts: 0 },
    { delivered: true }
  ])
  await pass('61 minutes')
  await one.sendDue()
  assertRows(t, await rowsOf(database), [{ given_up: true }, { given_up: true, attempts: 1 }, {}])
  t.equal(lines.filter(({ msg }) => msg === 'message given up').length, 2)
  t.hasStrict(await outboxDepth(database, 'telegram'), { waiting: 0, givenUp: 2, errorCode: 'TELEGRAM_CHAT_NOT_FOUND' })
  bot.queue('sendMessage', failWith(400, "Bad Request: can't parse entities"))
  await write(['1', 'permanent', 'd'], ['1', 'next', 'e'])
  await one.sendDue()
  assertRows(t, (await rowsOf(database)).slice(3), [
    { given_up: true, error_code: 'TELEGRAM_REJECTED' },
    { delivered: true }
  ])
})

t.test('a message waits for an hour after an error that an operator may end, or an unknown error', async t => {
  const { database, sender, write, pass, bot } = await setUp(t)
  const errors = ['Logged out', 'Bad Request: TOPIC_CLOSED', 'Bad Request: SOMETHING_NEW']
  await write(...errors.map((_, i) => [String(i), 'text', String(i)] as [string, string, string]))
  for (const error of errors) bot.queue('sendMessage', failWith(400, error))
  await sender().sendDue()
  assertRows(t, await rowsOf(database), Array(3).fill({ delivered: false, given_up: false, attempts: 1 }))
  await pass('59 minutes')
  await sender().sendDue()
  assertRows(t, await rowsOf(database), Array(3).fill({ delivered: true, attempts: 2 }))
})

t.test('no message is lost in an outage of hours', async t => {
  const { bot, sender, write, pass } = await setUp(t)
  bot.queue('sendMessage', ...Array.from({ length: 25 }, () => failWith(502, 'Bad Gateway')))
  await write(['1', 'first', 'a'], ['1', 'second', 'b'])
  const one = sender()
  for (let hour = 0; hour < 23; hour++) {
    await one.sendDue()
    await pass('1 hour')
  }
  for (let i = 0; i < 9; i++) {
    await one.sendDue()
    await pass('10 minutes')
  }
  t.strictSame(
    bot.delivered.map(({ text }) => text),
    ['first', 'second']
  )
})

t.test('the message of a killed sender is sent again; a sender that closes releases its message', async t => {
  const { database, bot, sender, write, pass } = await setUp(t)
  await write(['1', 'message', 'a'])
  let begin: () => void = () => undefined
  const begun = new Promise<void>(resolve => {
    begin = resolve
  })
  const died = sender('died', (_chatId, _text, { signal } = {}) => {
    begin()
    return new Promise((_resolve, reject) => signal?.addEventListener('abort', () => reject(signal.reason)))
  })
  void died.sendDue()
  await begun
  const other = sender('other')
  await other.sendDue()
  t.equal(bot.delivered.length, 0, 'leased by the other sender')
  await pass('61 seconds')
  await other.sendDue()
  t.equal(bot.delivered.length, 1)

  await write(['1', 'under way', 'b'])
  bot.queue('sendMessage', { kind: 'hang' })
  const closing = sender('closing')
  const sending = closing.sendDue()
  while (!bot.received.some(({ body }) => body.text === 'under way')) await new Promise(setImmediate)
  await closing.close(0)
  await sending
  t.hasStrict((await rowsOf(database))[1], { attempts: 0, delivered: false })
  await other.sendDue()
  t.equal(bot.delivered.at(-1)?.text, 'under way')
})

t.test('a slow chat does not delay other chats', async t => {
  const { bot, dispatcher, sender, write } = await setUp(t)
  await write(['1', 'hangs', 'a'], ['1', 'waits for it', 'b'])
  let begin: () => void = () => undefined
  const begun = new Promise<void>(resolve => {
    begin = resolve
  })
  const one = sender('one', (chatId, text, options) => {
    const client = new TelegramClient({ token: bot.token, dispatcher, baseUrl: bot.url })
    if (chatId !== '1') return client.sendMessage(chatId, text, options)
    begin()
    return new Promise((_resolve, reject) => options?.signal?.addEventListener('abort', reject))
  })
  await one.start()
  await begun
  await write(['2', 'first', 'c'], ['3', 'second', 'd'])
  await bot.deliveredCount(2)
  t.strictSame(bot.delivered.map(({ text }) => text).sort(), ['first', 'second'])
})

t.test('a short outage of the database does not send a delivered message again', async t => {
  const { database, bot, dispatcher, sender, write } = await setUp(t)
  let down = false
  const flaky = new Proxy(database, {
    get(target, name) {
      if (name === 'run' && down) {
        down = false
        return () => Promise.reject(new DatabaseUnavailableError('database_unreachable'))
      }
      const value: unknown = Reflect.get(target, name, target)
      return typeof value === 'function' ? value.bind(target) : value
    }
  })
  await write(['1', 'message', 'a'])
  const one = sender('one', viaFlaky, flaky)
  async function viaFlaky(...[chatId, text, options]: Parameters<TelegramClient['sendMessage']>) {
    const client = new TelegramClient({ token: bot.token, dispatcher, baseUrl: bot.url })
    const sent = await client.sendMessage(chatId, text, options)
    down = true
    return sent
  }
  await one.sendDue()
  t.equal(bot.delivered.length, 1)
  assertRows(t, await rowsOf(database), [{ delivered: true, attempts: 1 }])
})

t.test('a sender that closes waits for deliveries in progress', async t => {
  const { database, bot, sender, write } = await setUp(t)
  let answer: () => void = () => undefined
  const until = new Promise<void>(resolve => {
    answer = resolve
  })
  bot.queue('sendMessage', { kind: 'slow', until })
  await write(['1', 'under way', 'a'], ['1', 'next', 'b'])
  const one = sender('one')
  void one.sendDue()
  await bot.receivedCount(1)
  const closed = one.close(60_000)
  answer()
  await closed
  assertRows(t, await rowsOf(database), [
    { delivered: true, attempts: 1 },
    { delivered: false, attempts: 0 }
  ])
})

t.test('an internal error is recorded, and the message is sent again', async t => {
  const { database, bot, sender, write, pass, lines } = await setUp(t)
  await write(['1', 'message', 'a'], ['2', 'message', 'b'])
  const broken = sender('one', async () => {
    throw new Error('no module')
  })
  await broken.sendDue()
  t.hasStrict(broken.depth, { waiting: 2, failing: 'INTERNAL' })
  assertRows(t, await rowsOf(database), [
    { attempts: 1, error_code: 'INTERNAL' },
    { attempts: 1, error_code: 'INTERNAL' }
  ])
  t.equal(lines.filter(({ msg }) => msg === 'message not sent').length, 2)
  await pass('2 seconds')
  await sender('two').sendDue()
  t.equal(bot.delivered.length, 2)
})

t.test('a new message is sent at once', async t => {
  const { bot, sender, write } = await setUp(t)
  await sender().start()
  await write(['1', 'message', 'a'])
  await bot.deliveredCount(1)
})

t.test('the sweep gives up messages that no replica could send, and deletes old ones', async t => {
  const { database, write, pass } = await setUp(t)
  await write(['1', 'message', 'a'])
  const sweep = () => database.transaction(tx => sweepOutbox(tx, 100))
  t.equal(await sweep(), 0)
  await pass('26 hours')
  t.equal(await sweep(), 0)
  assertRows(t, await rowsOf(database), [{ given_up: true, error_code: 'TELEGRAM_NOT_CONFIGURED' }])
  await pass('30 days')
  t.equal(await sweep(), 1)
})

t.test('no log line contains the token', async t => {
  const { bot, sender, write, text } = await setUp(t)
  bot.queue('sendMessage', failWith(401, 'Unauthorized'), failWith(400, 'Bad Request: message is too long'))
  await write(['1', 'message', 'a'], ['2', 'message', 'b'])
  await sender().sendDue()
  t.ok(text().includes('message given up'))
  t.notOk(text().includes(bot.token) || text().includes(bot.token.split(':')[1] ?? ''))
})
