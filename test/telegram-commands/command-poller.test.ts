import t from 'tap'
import type { Database } from '../../src/database/database.ts'
import { failWith, tooManyRequests } from '../support/bot-api-server.ts'
import { ADA, commandService } from '../support/command-service.ts'
import { type Interruption, interruptedTransactions } from '../support/interrupted-transactions.ts'
import { until } from '../support/replica.ts'

type Service = Awaited<ReturnType<typeof commandService>>

/** The data of the button that confirms, under the last message of the bot. */
function confirmOf(bot: Service['bot']) {
  const [confirm] = bot.delivered.at(-1)?.buttons ?? []
  if (!confirm) throw new Error('no buttons')
  return { data: confirm.data, messageId: bot.delivered.length }
}

async function running(database: Database): Promise<unknown> {
  const [row] = await database.run(sql => sql`select running from scheduler_state`)
  return row?.running
}

async function holder(database: Database): Promise<unknown> {
  const [row] = await database.run(sql => sql`select leased_by from telegram_polling`)
  return row?.leased_by
}

/** The calls of a method that the server received. */
function callsOf(bot: Service['bot'], method: string) {
  return bot.received.filter(call => call.method === method).map(({ body }) => body)
}

t.test('one of several replicas polls, and sets the menu in both languages', async t => {
  const { bot, replica, database } = await commandService(t)
  const [one, two, three] = ['one', 'two', 'three'].map(name => replica(name))
  one?.start()
  await bot.updates.waiting()
  two?.start()
  three?.start()
  for (let i = 0; i < 3; i++) await bot.updates.confirmed(bot.updates.text('/help', ADA))
  await bot.updates.waiting()
  t.equal(await holder(database), 'one')
  t.equal(callsOf(bot, 'getUpdates').length, 4)
  t.strictSame(
    callsOf(bot, 'setMyCommands').map(({ scope, language_code }) => ({ scope, language_code })),
    [undefined, 'ko', 'en'].map(language_code => ({ scope: { type: 'chat', chat_id: '-1001' }, language_code }))
  )
  t.hasStrict(one?.details(), { name: 'telegram_commands', status: 'ok', code: null })
  t.strictSame(callsOf(bot, 'getUpdates')[0], {
    limit: 20,
    timeout: 20,
    allowed_updates: ['message', 'callback_query']
  })
})

t.test('a replica that may no longer poll shows the polling of another one, without the lease', async t => {
  const { bot, replica, database } = await commandService(t)
  let isAllowed = true
  const one = replica('one', { mayPoll: () => isAllowed })
  one.start()
  await bot.updates.waiting()
  isAllowed = false
  const answeredByOne = bot.updates.text('/help', ADA)
  await until(
    () => holder(database),
    name => name === null
  )
  t.ok(bot.updates.unconfirmed.includes(answeredByOne), 'left for another replica')
  await database.run(sql => sql`update telegram_polling set last_poll_at = now() - interval '3 minutes'`)
  await until(
    () => Promise.resolve(one.details()),
    ({ code }) => code === 'no_poll'
  )
  replica('two').start()
  await bot.updates.confirmed(answeredByOne)
  await until(
    () => Promise.resolve(one.details()),
    ({ code, latency_ms: latencyMs }) => code === null && latencyMs !== null
  )
  t.equal(await holder(database), 'two')
})

t.test('another replica continues at once after an orderly end, and after the lease of a killed one', async t => {
  const { bot, replica, database, answers, pass } = await commandService(t)
  const one = replica('one')
  one.start()
  await bot.updates.waiting()
  const two = replica('two')
  two.start()
  await bot.updates.confirmed(bot.updates.text('/help', ADA))
  await one.stop()
  await until(
    () => holder(database),
    name => name === 'two'
  )
  await bot.updates.waiting()
  // A killed replica sends nothing any more, and keeps its lease.
  await database.run(sql => sql`update telegram_polling set lease_token = gen_random_uuid(), leased_by = 'killed'`)
  const update = bot.updates.text('/help', ADA)
  await until(
    () => Promise.resolve(two.details().age_ms ?? 0),
    () => true
  )
  t.equal(await holder(database), 'killed')
  t.ok(bot.updates.unconfirmed.includes(update), 'not handled by a replica without the lease')
  await pass('46 seconds')
  await bot.updates.confirmed(update)
  t.equal(await holder(database), 'two')
  t.equal((await answers()).length, 2)
})

t.test('a replica that lost its lease during a poll changes nothing', async t => {
  const { bot, replica, database, answers, audited } = await commandService(t)
  replica('frozen').start()
  await bot.updates.waiting()
  await database.run(
    sql =>
      sql`update telegram_polling set lease_token = gen_random_uuid(), leased_by = 'other', leased_until = now() + interval '60 seconds'`
  )
  const update = bot.updates.text('/help', ADA)
  await until(
    () => Promise.resolve(callsOf(bot, 'getUpdates').length),
    count => count >= 1
  )
  const [row] = await database.run(sql => sql`select next_update_id from telegram_polling`)
  t.strictSame({ ...row }, { next_update_id: null })
  t.strictSame([await answers(), await audited()], [[], []])
  t.strictSame(bot.updates.unconfirmed, [update])
})

t.test('each failure of Telegram ends the lease, is reported once, and ends', async t => {
  const failures: [name: string, fail: Parameters<Service['bot']['queue']>[1], code: string][] = [
    ['unauthorized', failWith(401, 'Unauthorized'), 'TELEGRAM_UNAUTHORIZED'],
    ['limited', tooManyRequests(7), 'TELEGRAM_RATE_LIMITED'],
    ['server error', failWith(502, 'Bad Gateway'), 'TELEGRAM_UNREACHABLE'],
    ['a proxy', { kind: 'answer', status: 200, body: '<html>' }, 'TELEGRAM_UNREACHABLE'],
    ['no list', { kind: 'answer', status: 200, body: { ok: true, result: {} } }, 'TELEGRAM_UNREACHABLE'],
    [
      'updates without ids',
      { kind: 'answer', status: 200, body: { ok: true, result: [{ message: {} }] } },
      'TELEGRAM_UNREACHABLE'
    ],
    ['cut before', { kind: 'cut', when: 'before' }, 'TELEGRAM_UNREACHABLE'],
    ['cut within', { kind: 'cut', when: 'within' }, 'TELEGRAM_UNREACHABLE'],
    [
      'another poller',
      failWith(
        409,
        'Conflict: terminated by other getUpdates request; make sure that only one bot instance is running'
      ),
      'OTHER_POLLER'
    ],
    [
      'a webhook',
      failWith(
        409,
        "Conflict: can't use getUpdates method while webhook is active; use deleteWebhook to delete the webhook first"
      ),
      'WEBHOOK_ACTIVE'
    ],
    [
      'too large',
      { kind: 'answer', status: 200, body: { ok: true, result: ['x'.repeat(1_100_000)] } },
      'TELEGRAM_UNREACHABLE'
    ]
  ]
  const { bot, replica, database, lines, pass, answers, text } = await commandService(t)
  const one = replica('one')
  for (const [name, failure, code] of failures) {
    const logged = () => lines.filter(({ msg }) => msg === 'telegram commands not polled').length
    const before = logged()
    bot.queue('getUpdates', failure, failure)
    if (name === 'unauthorized') one.start()
    else bot.updates.text('/help', ADA)
    await until(
      () => Promise.resolve(one.details()),
      details => details.code === code
    )
    const [row] = await database.run(
      sql => sql`
        select leased_by, error_code, failing_since is not null as is_failing,
          extract(epoch from next_poll_at - now())::float8 as wait from telegram_polling`
    )
    t.hasStrict({ ...row }, { leased_by: null, error_code: code, is_failing: true }, name)
    if (name === 'limited') t.ok(Number(row?.wait) > 5, `seconds to wait: ${row?.wait}`)
    t.equal(one.details().status, 'degraded', name)
    t.match(one.details().since, /Z$/, name)
    // The second poll fails, too, and is not reported again.
    await until(
      async () => {
        await pass('6 minutes')
        return one.details().code
      },
      now => now === null
    )
    t.equal(logged() - before, 1, `${name}: logged once`)
  }
  await bot.updates.confirmed(bot.updates.text('/help', ADA))
  t.equal((await answers()).length, failures.length)
  t.notMatch(text(), bot.token.split(':')[1] ?? '')
})

t.test('another poller ends the poll, and is not disturbed for ten seconds', async t => {
  const { bot, replica, database } = await commandService(t)
  const one = replica('one')
  one.start()
  await bot.updates.waiting()
  await fetch(`${bot.url}/bot${bot.token}/getUpdates`, { method: 'POST', body: '{}' })
  await until(
    () => Promise.resolve(one.details().code),
    code => code === 'OTHER_POLLER'
  )
  const [row] = await database.run(
    sql => sql`select extract(epoch from next_poll_at - now())::float8 as wait from telegram_polling`
  )
  t.ok(Number(row?.wait) > 8, `seconds to wait: ${row?.wait}`)
})

t.test('a change is neither repeated nor lost by a crash before any of its statements', async t => {
  const { bot, replica, database, audited } = await commandService(t)
  const interruptions: Interruption[] = ['torn', 'severed', 'unacknowledged']
  for (const kind of interruptions) {
    for (let before = 1; ; before++) {
      const name = `${kind} before statement ${before}`
      await database.run(async sql => {
        await sql`update scheduler_state set running = true`
        await sql`delete from audit_log`
        // The rate of the chat is no part of this test.
        await sql`update telegram_updates set handled_at = handled_at - interval '2 minutes'`
      })
      // The first transaction is that of the command, the second that of the button.
      const interrupted = interruptedTransactions(database, kind, before, 2)
      const run: Database['run'] = (work, options) => {
        interrupted.signal.throwIfAborted()
        return database.run(work, options)
      }
      const crashing = replica('one', {
        database: Object.assign(Object.create(null), { run, transaction: interrupted.transaction })
      })
      crashing.start()
      await bot.updates.confirmed(bot.updates.text('/stop', ADA))
      const { data, messageId } = confirmOf(bot)
      const press = bot.updates.press(data, messageId, ADA)
      // It was interrupted, or handled because it has fewer statements.
      await until(
        async () => interrupted.statements() >= before || !bot.updates.unconfirmed.includes(press),
        isOver => isOver || kind === 'unacknowledged'
      )
      await crashing.stop()
      await database.run(
        sql => sql`update telegram_polling set leased_until = now() - interval '1 second', next_poll_at = now()`
      )
      const other = replica('two')
      other.start()
      await bot.updates.confirmed(press)
      await bot.updates.waiting()
      t.equal(await running(database), false, `${name}: done`)
      t.strictSame(
        await audited(),
        ['telegram:42 telegram /stop requested', 'telegram:42 telegram /stop succeeded'],
        name
      )
      t.equal(bot.edited.at(-1)?.messageId, messageId, `${name}: shown`)
      await other.stop()
      if (kind === 'unacknowledged' || before > interrupted.statements()) break
    }
  }
})

t.test('a result is shown later when Telegram fails, and a message that is gone is left', async t => {
  const { bot, replica, database, pass } = await commandService(t)
  replica('one').start()
  await bot.updates.confirmed(bot.updates.text('/stop', ADA))
  const first = confirmOf(bot)
  bot.queue('editMessageText', failWith(500, 'Internal Server Error'), failWith(500, 'Internal Server Error'))
  bot.queue(
    'answerCallbackQuery',
    failWith(400, 'Bad Request: query is too old and response timeout expired or query ID is invalid')
  )
  await bot.updates.confirmed(bot.updates.press(first.data, first.messageId, ADA))
  await bot.updates.confirmed(bot.updates.text('/help', ADA))
  await bot.editedCount(1)
  t.equal(await running(database), false)
  await bot.updates.confirmed(bot.updates.text('/start', ADA))
  const second = confirmOf(bot)
  bot.queue('editMessageText', failWith(400, 'Bad Request: message to edit not found'))
  await bot.updates.confirmed(bot.updates.press(second.data, second.messageId, ADA))
  t.equal(await running(database), true)
  await pass('0 seconds')
  const rows = await database.run(
    sql => sql`select shown_at is not null as shown from telegram_confirmations order by confirmation_id`
  )
  t.strictSame(
    rows.map(row => ({ ...row })),
    [{ shown: true }, { shown: true }]
  )
})

t.test('what was not confirmed lapses, and its message shows it', async t => {
  const { bot, replica, pass } = await commandService(t)
  replica('one').start()
  await bot.updates.confirmed(bot.updates.text('/stop', ADA))
  await pass('61 seconds')
  await bot.updates.confirmed(bot.updates.text('/help', ADA))
  await bot.editedCount(1)
  t.equal(bot.edited[0]?.text.split('\n').at(-1), '⌛ Lapsed: nothing was changed')
})

t.test('buttons that cannot be sent are logged, and a later command works', async t => {
  const { bot, replica, lines } = await commandService(t)
  replica('one').start()
  bot.queue('sendMessage', failWith(403, 'Forbidden: bot was kicked from the supergroup chat'))
  bot.updates.text('/stop', ADA)
  await bot.updates.confirmed(bot.updates.text('/stop', ADA))
  t.equal(lines.filter(({ msg }) => msg === 'confirmation not sent').length, 1)
  t.equal(bot.delivered.length, 1)
})

t.test('a replica that drains or may run no job leaves the commands to others', async t => {
  const { bot, replica, database, answers } = await commandService(t)
  let draining = false
  replica('one', { mayPoll: () => !draining }).start()
  await bot.updates.waiting()
  draining = true
  const update = bot.updates.text('/help', ADA)
  await until(
    () => holder(database),
    name => name === null
  )
  t.ok(bot.updates.unconfirmed.includes(update))
  const refusing = replica('two', { refusal: () => 'SETTINGS_DIFFER' })
  refusing.start()
  await bot.updates.confirmed(bot.updates.text('/stop', ADA))
  const { data, messageId } = confirmOf(bot)
  await bot.updates.confirmed(bot.updates.press(data, messageId, ADA))
  t.equal(await running(database), false, 'a stop needs no job runner')
  t.equal((await answers()).length, 1)
})

t.test('a change of the ids of updates is followed after three days without one', async t => {
  const { bot, replica, database, answers } = await commandService(t)
  bot.updates.continueAt(900_000)
  const one = replica('one')
  one.start()
  await bot.updates.confirmed(bot.updates.text('/help', ADA))
  await one.stop()
  await database.run(sql => sql`update telegram_polling set last_update_at = now() - interval '4 days'`)
  bot.updates.continueAt(5)
  const update = bot.updates.text('/help', ADA)
  replica('two').start()
  await bot.updates.confirmed(update)
  t.equal((await answers()).length, 2)
})

t.test('an error in an answer is reported to the sender, and the next command works', async t => {
  const { bot, replica, answers, audited, lines } = await commandService(t)
  replica('one', {
    checks: async () => {
      throw new Error('a defect')
    }
  }).start()
  bot.updates.text('/health', ADA)
  await bot.updates.confirmed(bot.updates.text('/stop\0 now', ADA))
  t.strictSame(await answers(), ['-1001: The answer failed because of an internal error.'])
  t.strictSame(await audited(), ['telegram:42 telegram /health failed', 'telegram:42 telegram /stop requested'])
  t.equal(lines.filter(({ msg }) => msg === 'command not answered').length, 1)
})
