// Messages after their sender was killed, and the alert about the restart.
import postgres from 'postgres'
import t from 'tap'
import { startBotApiServer, TEST_TOKEN } from '../support/bot-api-server.ts'
import { createTestDatabase } from '../support/database.ts'
import { until } from '../support/replica.ts'
import { startService } from '../support/service.ts'

t.test('after kill -9 during a delivery the message is sent again once, and the restart is reported once', async t => {
  const { url } = await createTestDatabase(t)
  const bot = await startBotApiServer()
  t.teardown(() => bot.close())
  const sql = postgres(url, { max: 1 })
  t.teardown(() => sql.end({ timeout: 0 }))
  const start = () =>
    startService(t, {
      DATABASE_URL: url,
      // The same name, as for a container that is restarted in its pod.
      INSTANCE_ID: 'pod-0',
      LANGUAGE: 'en',
      TELEGRAM_API_URL: bot.url,
      TELEGRAM_BOT_TOKEN: TEST_TOKEN,
      TELEGRAM_CHAT_ID: '42'
    })
  const arrived = (text: string) => bot.delivered.filter(message => message.text.includes(text)).length

  const killed = await start()
  await killed.logged('schema up to date')
  let answer: () => void = () => undefined
  const answered = new Promise<void>(resolve => {
    answer = resolve
  })
  bot.queue('sendMessage', { kind: 'slow', until: answered })
  await sql`insert into outbox (chat_id, text, dedupe_key) values ('42', 'first', 'first'), ('42', 'second', 'second')`
  await sql`select pg_notify('outbox', '')`
  await bot.receivedCount(1)
  await killed.end('SIGKILL')
  answer()

  const restarted = await start()
  await until(
    async () => arrived('Restarted after an unclean shutdown'),
    count => count > 0
  )
  await until(
    async () => (await sql`select from outbox where delivered_at is null`).length,
    count => count === 0
  )
  t.equal(arrived('Restarted after an unclean shutdown'), 1)
  const texts = bot.delivered.map(({ text }) => text)
  const first = arrived('first')
  t.ok(first >= 1 && first <= 2, `at least once, and again only because its delivery was not confirmed: ${first}`)
  t.equal(arrived('second'), 1)
  t.ok(texts.lastIndexOf('first') < texts.indexOf('second'), `in order: ${texts.join(', ')}`)
  t.strictSame(await restarted.end(), { code: 0, signal: null })

  const after = await start()
  await after.logged('schema up to date')
  await until(
    async () => (await sql`select from replicas where instance_id = 'pod-0'`).length,
    count => count === 1
  )
  t.strictSame(
    (await sql<{ lost_at: Date | null }[]>`select lost_at from replicas`).map(({ lost_at }) => lost_at),
    [null],
    'a shutdown by a signal is not reported'
  )
  for (const { text } of [killed, restarted, after]) t.notOk(text().includes(TEST_TOKEN.split(':')[1] ?? ''))
})
