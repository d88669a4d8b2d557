import t from 'tap'
import { ADA, BOB, commandService, OPERATOR } from '../support/command-service.ts'
import { heldJob, testJob } from '../support/jobs.ts'
import { inGroup, privateChat } from '../support/update-queue.ts'

/** The data of the buttons under the last message of the bot, and the id of the message. */
function lastButtons(bot: Awaited<ReturnType<typeof commandService>>['bot']) {
  const [confirm, cancel] = bot.delivered.at(-1)?.buttons ?? []
  if (!confirm || !cancel) throw new Error('no buttons')
  return { confirm: confirm.data, cancel: cancel.data, messageId: bot.delivered.length }
}

t.test('a reading command is answered through the outbox, and audited', async t => {
  const { bot, replica, answers, audited, outcomes } = await commandService(t)
  replica().start()
  await bot.updates.confirmed(bot.updates.text('/help', ADA))
  const [help = '', ...others] = await answers()
  t.strictSame(others, [])
  t.match(help, /^-1001: <b>Commands<\/b>\n\/status: .*\n\/jobs: /)
  t.match(help, /\/stop \[30m\] \[reason\]: Stop the scheduler/)
  t.strictSame(await audited(), ['telegram:42 telegram /help succeeded'])
  t.strictSame(outcomes, ['help succeeded'])
})

t.test('the state of the service, its jobs and its checks are answered', async t => {
  const service = await commandService(t)
  const { bot, answers } = service
  const rest = { latency_ms: null, age_ms: null, since: null }
  const replicas = [
    {
      instance_id: 'one',
      version: '9.9.9',
      started_at: new Date(),
      last_seen_at: new Date(),
      draining: true,
      runs_jobs: true
    }
  ]
  service
    .replica('one', {
      checks: async () => [
        { name: 'database', status: 'ok', code: null, ...rest },
        { name: 'books', status: 'degraded', code: 'unexplained', ...rest }
      ],
      replicas: async () => replicas
    })
    .start()
  for (const command of ['/status', '/JOBS', '  /health  ', '/books', '/positions', '/daily']) {
    await bot.updates.confirmed(bot.updates.text(command, ADA))
  }
  const [status = '', jobs = '', health = '', books = '', positions = '', daily = ''] = await answers()
  t.match(status, /🔴 <b>Status<\/b>/)
  t.match(status, /Scheduler: running\nJobs: 1 \(running 0, overdue 0, paused 0\)\nReplicas: 1/)
  t.match(status, /• books: <code>unexplained<\/code>/)
  t.match(jobs, /<b>one<\/b>\n<code>one<\/code>\n-, next /)
  t.match(health, /<b>Checks<\/b> 1\/2\n• books: <code>unexplained<\/code>\n\n<b>Replicas<\/b> 1\n• one 9\.9\.9 ⏏/)
  t.equal(books, '-1001: 📒 The books agree with the exchanges.')
  t.equal(positions, '-1001: There are no open positions.')
  t.equal(daily, '-1001: There are no accounts.')
})

t.test('a change is done when its sender presses the button, once, and the message shows it', async t => {
  const { bot, replica, audited, database } = await commandService(t)
  replica().start()
  await bot.updates.confirmed(bot.updates.text('/pause one', ADA))
  t.match(bot.delivered.at(-1)?.text, /Pause the job\?\none \(one\)/)
  const paused = async () =>
    (await database.run(sql => sql`select paused, paused_by from scheduled_jobs`)).map(row => ({ ...row }))
  t.strictSame(await paused(), [{ paused: false, paused_by: null }], 'nothing changes before the button is pressed')
  const { confirm, messageId } = lastButtons(bot)
  t.ok(Buffer.byteLength(confirm) <= 64, `bytes of a button: ${Buffer.byteLength(confirm)}`)
  bot.updates.press(confirm, messageId, ADA)
  await bot.updates.confirmed(bot.updates.press(confirm, messageId, ADA))
  t.strictSame(await paused(), [{ paused: true, paused_by: 'telegram:42' }])
  t.strictSame(
    bot.answered.map(({ text }) => text),
    ['The job was paused', 'This button no longer has an effect']
  )
  t.strictSame(
    bot.edited.map(({ text }) => text),
    ['⚙️ Pause the job?\none (one)\n\n✅ The job was paused']
  )
  t.strictSame(await audited(), [
    'telegram:42 telegram /pause one requested',
    'telegram:42 telegram /pause one succeeded',
    'telegram:42 telegram button refused'
  ])
})

t.test('every change calls the scheduler, with reason and duration', async t => {
  const { bot, replica, database } = await commandService(t)
  replica().start()
  const change = async (command: string) => {
    await bot.updates.confirmed(bot.updates.text(command, ADA))
    const { confirm, messageId } = lastButtons(bot)
    await bot.updates.confirmed(bot.updates.press(confirm, messageId, ADA))
  }
  const state = async () => {
    const [row] = await database.run(
      sql => sql`
        select running, changed_by, reason, round(extract(epoch from resumes_at - changed_at) / 60)::int as minutes
        from scheduler_state`
    )
    return { ...row }
  }
  await change('/stop 1h30m exchange   maintenance')
  t.strictSame(await state(), {
    running: false,
    changed_by: 'telegram:42',
    reason: 'exchange maintenance',
    minutes: 90
  })
  await change('/start')
  t.strictSame(await state(), { running: true, changed_by: 'telegram:42', reason: null, minutes: null })
  await change('/stop')
  t.strictSame(await state(), { running: false, changed_by: 'telegram:42', reason: null, minutes: null })
  await change('/pause ONE')
  await change('/resume one')
  const [job] = await database.run(sql => sql`select paused from scheduled_jobs`)
  t.strictSame({ ...job }, { paused: false })
})

t.test('a run is started once, and its end replaces the result', async t => {
  const held = heldJob('slow')
  const { bot, replica, database } = await commandService(t, { jobs: [held.job] })
  replica().start()
  const ask = async () => {
    await bot.updates.confirmed(bot.updates.text('/run slow', ADA))
    return lastButtons(bot)
  }
  const [first, second] = [await ask(), await ask()]
  const begun = held.begun()
  await bot.updates.confirmed(bot.updates.press(first.confirm, first.messageId, ADA))
  await begun
  await bot.updates.confirmed(bot.updates.press(second.confirm, second.messageId, ADA))
  t.strictSame(
    bot.edited.map(({ text }) => text.split('\n').at(-1)),
    ['✅ The job was started', '❌ The job is running already']
  )
  held.release()
  await bot.editedCount(3)
  t.match(bot.edited[2]?.text, /✅ succeeded \(\d+ s\)\n[\da-f-]{36}$/)
  const runs = await database.run(sql => sql`select trigger, actor, outcome from job_runs`)
  t.strictSame(
    runs.map(row => ({ ...row })),
    [{ trigger: 'manual', actor: 'telegram:42', outcome: 'succeeded' }]
  )
})

t.test('a replica job is run as well', async t => {
  let runs = 0
  const job = testJob('local', async () => ({ runs: ++runs }), { scope: 'replica' })
  const { bot, replica } = await commandService(t, { jobs: [job] })
  replica().start()
  await bot.updates.confirmed(bot.updates.text('/run local', ADA))
  const { confirm, messageId } = lastButtons(bot)
  await bot.updates.confirmed(bot.updates.press(confirm, messageId, ADA))
  await bot.editedCount(1)
  // The run may end before its start is shown.
  if (!bot.edited[0]?.text.includes('succeeded')) await bot.editedCount(2)
  t.match(bot.edited.at(-1)?.text, /✅ succeeded/)
  t.equal(runs, 1)
})

t.test('a button works only for its sender, in its chat, for 60 seconds, and with its token', async t => {
  const { bot, replica, audited, database, pass } = await commandService(t)
  replica().start()
  await bot.updates.confirmed(bot.updates.text('/stop', ADA))
  const { confirm, messageId } = lastButtons(bot)
  bot.updates.press(confirm, messageId, BOB)
  bot.updates.press(confirm, messageId, privateChat(42))
  bot.updates.press(confirm, messageId, inGroup(-1_002, 42))
  bot.updates.press('c:AAAAAAAAAAAAAAAAAAAAAA', messageId, ADA)
  await bot.updates.confirmed(bot.updates.press('x'.repeat(64), messageId, ADA))
  await pass('61 seconds')
  await bot.updates.confirmed(bot.updates.press(confirm, messageId, ADA))
  const [state] = await database.run(sql => sql`select running from scheduler_state`)
  t.strictSame({ ...state }, { running: true })
  t.strictSame(
    bot.answered.map(({ text }) => text),
    [
      'Only the sender of the command may press this',
      'This button no longer has an effect',
      'This button no longer has an effect',
      'This button no longer has an effect'
    ],
    'buttons of other chats get no answer'
  )
  t.equal(bot.edited.at(-1)?.text.split('\n').at(-1), '⌛ Lapsed: nothing was changed')
  const audit = await audited()
  t.strictSame(audit.slice(1), [
    'telegram:43 telegram button refused',
    'telegram:42 telegram button refused',
    'telegram:42 telegram button refused',
    'telegram:42 telegram button refused'
  ])
})

t.test('a canceled change is not done', async t => {
  const { bot, replica, audited, database } = await commandService(t)
  replica().start()
  await bot.updates.confirmed(bot.updates.text('/stop', ADA))
  const { confirm, cancel, messageId } = lastButtons(bot)
  bot.updates.press(cancel, messageId, ADA)
  await bot.updates.confirmed(bot.updates.press(confirm, messageId, ADA))
  const [state] = await database.run(sql => sql`select running from scheduler_state`)
  t.strictSame({ ...state }, { running: true })
  t.equal(bot.edited.at(-1)?.text.split('\n').at(-1), '✖️ Canceled')
  t.strictSame((await audited()).slice(0, 2), [
    'telegram:42 telegram /stop requested',
    'telegram:42 telegram /stop refused'
  ])
})

t.test('unknown chats, bots, channels and forwarded messages get no answer and leave no trace', async t => {
  const { bot, replica, answers, audited } = await commandService(t)
  replica().start()
  bot.updates.text('/status', privateChat(77))
  bot.updates.text('/status', inGroup(-5, 42))
  bot.updates.text('/status', { chat: ADA.chat, from: { id: 9, is_bot: true, first_name: 'B' } })
  bot.updates.text('/status', ADA, { sender_chat: { id: OPERATOR, type: 'supergroup' } })
  bot.updates.text('/status', ADA, { forward_origin: { type: 'user' } })
  bot.updates.text('good morning', ADA)
  bot.updates.text('/status@another_bot', ADA)
  bot.updates.add({ edited_message: { message_id: 1, chat: ADA.chat, from: ADA.from, date: 1, text: '/status' } })
  bot.updates.add({ channel_post: { message_id: 1, chat: ADA.chat, date: 1, text: '/status' } })
  bot.updates.add({ message: { chat: ADA.chat } })
  bot.updates.add({ callback_query: { id: '1', from: ADA.from, inline_message_id: 'x', data: 'c:1' } })
  await bot.updates.confirmed(bot.updates.add({}))
  t.strictSame(await answers(), [])
  t.strictSame(await audited(), [])
  t.strictSame(bot.delivered, [])
  await bot.updates.confirmed(bot.updates.text('/help@TEST_bot', ADA))
  t.equal((await answers()).length, 1, 'the name of the bot is accepted')
})

t.test('a user reads the own accounts in the own private chat, and changes nothing', async t => {
  const service = await commandService(t)
  const { bot, database, answers } = service
  const [own, foreign] = [await service.user(77, 'mine'), await service.user(78, 'theirs')]
  await database.run(
    sql => sql`
      insert into strategy_positions (strategy_account_id, market_type, symbol, position_side, quantity, base, quote, currency, entry_price, mark_price, marked_at, unrealized_pnl)
      select id::bigint, 'FUTURES', 'BTCUSDT', 'BOTH', -0.5, 'BTC', 'USDT', 'USDT', 61000, 60000, '2026-01-02T03:04:05Z', 500
      from unnest(string_to_array(${`${own},${foreign}`}, ',')) as ids (id)`
  )
  service.replica().start()
  const user = privateChat(77)
  for (const text of ['/positions', '/daily', '/daily 7', '/stop', '/status'])
    await bot.updates.confirmed(bot.updates.text(text, user))
  bot.updates.text('/positions', { chat: user.chat, from: { id: 79, is_bot: false } })
  await bot.updates.confirmed(bot.updates.text('/positions', ADA))
  const [positions = '', daily = '', days = '', stop = '', status = '', ofAll = '', ...others] = await answers()
  t.strictSame(others, [])
  t.equal(
    positions,
    '77: 📈 <b>Positions</b> 1\n\n<b>mine</b> (BINANCE)\n• BTCUSDT -0.5\n  61,000 → 60,000 (01-02 03:04): +500 USDT'
  )
  t.match(daily, /^77: 📊 <b>Daily summary/)
  t.match(daily, /mine/)
  t.notMatch(daily, /theirs/)
  t.equal(days, '77: 📊 <b>Net</b> (7)\nNo trades and no changes.')
  for (const refused of [stop, status]) {
    t.match(
      refused,
      /^77: There is no such command\.\n\n<b>Commands<\/b>\n\/daily \[days\]: .*\n\/positions: .*\n\/help: .*$/
    )
  }
  t.match(ofAll, /^-1001: [\s\S]*mine[\s\S]*theirs/)
  t.strictSame(bot.delivered, [], 'no buttons')
})

t.test('a disabled user gets no answer', async t => {
  const service = await commandService(t)
  await service.user(77, 'mine')
  await service.database.run(sql => sql`update users set is_active = false`)
  service.replica().start()
  await service.bot.updates.confirmed(service.bot.updates.text('/positions', privateChat(77)))
  t.strictSame(await service.answers(), [])
})

t.test('an old command and wrong arguments are refused', async t => {
  const { bot, replica, answers, audited } = await commandService(t)
  replica().start()
  const date = Math.floor(Date.now() / 1_000) - 400
  bot.updates.text('/stop', ADA, { date })
  for (const text of ['/stop 8d', '/stop 0m', '/stop 30s x', '/run', '/run two', '/daily x', '/daily 32', '/nothing']) {
    await bot.updates.confirmed(bot.updates.text(text, ADA))
  }
  t.strictSame(
    (await answers()).map(answer => answer.split('\n')[0]),
    [
      '-1001: The command arrived more than 5 minutes late and was not executed. Send it again.',
      '-1001: The duration is from 1 minute to 7 days: 30m, 2h, 1h30m, 1d',
      '-1001: The duration is from 1 minute to 7 days: 30m, 2h, 1h30m, 1d',
      '-1001: The duration is from 1 minute to 7 days: 30m, 2h, 1h30m, 1d',
      '-1001: The name of a job is needed. Jobs:',
      '-1001: There is no such job. Jobs:',
      '-1001: The number of days is from 1 to 31.',
      '-1001: The number of days is from 1 to 31.',
      '-1001: There is no such command.'
    ]
  )
  t.strictSame((await audited())[0], 'telegram:42 telegram /stop refused')
  t.strictSame(bot.delivered, [])
})

t.test('a chat that sends too much is asked to slow down once, and others are answered', async t => {
  const service = await commandService(t)
  const { bot, answers, pass } = service
  await service.user(77, 'mine')
  service.replica().start()
  for (let i = 0; i < 25; i++) bot.updates.text('/help', ADA)
  await bot.updates.confirmed(bot.updates.text('/help', privateChat(77)))
  const chats = (await answers()).map(answer => answer.split(' ').slice(0, 3).join(' '))
  t.equal(chats.filter(answer => answer.startsWith('-1001: <b>Commands')).length, 20)
  t.equal(chats.filter(answer => answer === '-1001: Too many').length, 1)
  t.equal(chats.filter(answer => answer.startsWith('77:')).length, 1)
  await pass('61 seconds')
  await bot.updates.confirmed(bot.updates.text('/help', ADA))
  t.equal((await answers()).length, 23)
})

t.test('the operator is answered however much the users send, and confirms over the limit', async t => {
  const { bot, replica, database, answers, user } = await commandService(t)
  await user(77, 'mine')
  const handled = (chatId: string, count: number) =>
    database.run(
      sql => sql`
        insert into telegram_updates (bot_id, update_id, chat_id, outcome)
        select bot_id, -(random() * 1e15)::bigint, ${chatId}, 'succeeded' from telegram_polling, generate_series(1, ${count}::int)`
    )
  replica().start()
  await bot.updates.waiting()
  await handled('other', 60)
  bot.updates.text('/help', privateChat(77))
  await bot.updates.confirmed(bot.updates.text('/stop', ADA))
  t.strictSame(
    (await answers()).map(answer => answer.split(' ').slice(0, 3).join(' ')),
    ['77: Too many']
  )
  t.match(bot.delivered.at(-1)?.text, /Stop the scheduler/)
  await handled('-1001', 20)
  const { confirm, messageId } = lastButtons(bot)
  bot.updates.press('c:nothing', messageId, ADA)
  await bot.updates.confirmed(bot.updates.press(confirm, messageId, ADA))
  const [row] = await database.run(sql => sql`select running from scheduler_state`)
  t.strictSame({ ...row }, { running: false })
  t.equal(bot.answered.length, 1, 'a button without an effect is not answered over the limit')
})

t.test('nothing can be changed from a public group, and a topic is the only one that is answered', async t => {
  const { bot, replica, answers } = await commandService(t)
  replica('one', { operator: { chatId: '@Traders', topicId: 7 } }).start()
  const chat = { id: OPERATOR, type: 'supergroup', username: 'traders' }
  const inTopic = { is_topic_message: true, message_thread_id: 7 }
  bot.updates.text('/help', { ...ADA, chat })
  bot.updates.text('/help', { ...ADA, chat }, { ...inTopic, message_thread_id: 8 })
  bot.updates.text('/help', { ...ADA, chat }, inTopic)
  await bot.updates.confirmed(bot.updates.text('/stop', { ...ADA, chat }, inTopic))
  const [help = '', stop = '', ...others] = await answers()
  t.match(help, /^@Traders: <b>Commands/)
  t.equal(stop, '@Traders: Nothing can be changed from a public group.')
  t.strictSame(others, [])
})
