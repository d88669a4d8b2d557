/** The commands of a bot on a database, with a Bot API server and without the service around them. */
import { randomUUID } from 'node:crypto'
import type { Test } from 'tap'
import { Agent } from 'undici'
import { Outbox } from '../../src/notifications/outbox.ts'
import { Pacer } from '../../src/notifications/pacer.ts'
import { TelegramClient } from '../../src/notifications/telegram-client.ts'
import type { Job } from '../../src/scheduler/job.ts'
import { Scheduler, type SchedulerOptions } from '../../src/scheduler/scheduler.ts'
import { SchedulerStore } from '../../src/scheduler/store.ts'
import type { CommandPoller } from '../../src/telegram-commands/command-poller.ts'
import { type CommandServices, createCommands } from '../../src/telegram-commands/commands.ts'
import { captureLog } from './app.ts'
import { startBotApiServer } from './bot-api-server.ts'
import { testJob } from './jobs.ts'
import { tradingDatabase } from './trading.ts'
import { inGroup } from './update-queue.ts'

/** The operator's chat of the tests, and two of its members. */
export const OPERATOR = -1_001
export const ADA = inGroup(OPERATOR, 42)
export const BOB = inGroup(OPERATOR, 43)

const MAX_AGES = { balancesMs: 1_000, ordersMs: 1_000, marksMs: 1_000 }

export interface ReplicaOptions extends Partial<CommandServices> {
  refusal?: SchedulerOptions['refusal']
}

export async function commandService(t: Test, { jobs = [testJob('one', async () => ({}))] }: { jobs?: Job[] } = {}) {
  const database = await tradingDatabase(t)
  const bot = await startBotApiServer()
  const dispatcher = new Agent()
  const { logger, lines, text } = captureLog()
  const pollers: CommandPoller[] = []
  const schedulers: Scheduler[] = []
  t.teardown(async () => {
    for (const poller of pollers) await poller.stop()
    for (const scheduler of schedulers) {
      await scheduler.drain(0)
      await scheduler.close()
    }
    for (const poller of pollers) await poller.settled()
    await bot.close()
    await dispatcher.destroy()
  })
  const definitions = jobs.map(({ id, trigger }) => ({ jobId: id, definition: trigger.definition }))
  await new SchedulerStore(database).register(definitions)
  const outcomes: string[] = []

  /** A replica that reads the commands. */
  const replica = (name = 'one', { refusal, ...rest }: ReplicaOptions = {}) => {
    const { database: used = database } = rest
    const scheduler = new Scheduler({
      ...{ database: used, jobs, enabled: true, applicationName: 'test', log: logger },
      instance: () => name,
      isDraining: () => false,
      ...(refusal && { refusal })
    })
    schedulers.push(scheduler)
    const client = () =>
      new TelegramClient({
        ...{ token: bot.token, dispatcher, baseUrl: bot.url, maxAttempts: 1 },
        ...{
          attemptTimeoutMs: 30_000,
          deadlineMs: 30_000,
          maxAnswerBytes: 1_000_000,
          pacer: new Pacer({ perChatMs: 0 })
        }
      })
    const poller = createCommands({
      ...{ database: used, log: logger, language: 'en', timeZone: 'UTC', maxAges: MAX_AGES, scheduler },
      ...{ client: client(), pollClient: client(), outbox: new Outbox(), botId: '1234567890' },
      ...{ operator: { chatId: String(OPERATOR), topicId: undefined }, idleMs: 20, waitSeconds: 20 },
      instance: () => name,
      mayPoll: () => true,
      checks: async () => [],
      replicas: async () => [],
      onCommand: (command, outcome) => outcomes.push(`${command} ${outcome}`),
      ...rest
    })
    pollers.push(poller)
    return poller
  }
  return {
    ...{ database, bot, lines, text, replica, outcomes },
    /** The answers in the outbox, oldest first, as `chat: text`. */
    async answers() {
      const rows = await database.run(
        sql => sql<{ chat_id: string; text: string }[]>`select chat_id, text from outbox order by message_id`
      )
      return rows.map(row => `${row.chat_id}: ${row.text}`)
    },
    /** The audit log, oldest first. */
    async audited() {
      const rows = await database.run(
        sql => sql<{ actor: string; action: string; target: string | null; outcome: string }[]>`
          select actor, action, target, outcome from audit_log order by audit_id`
      )
      return rows.map(({ actor, action, target, outcome }) =>
        [actor, action, target, outcome].filter(Boolean).join(' ')
      )
    },
    /** Moves the times of the confirmations, the lease and the waits into the past. */
    async pass(interval: string) {
      await database.run(async sql => {
        await sql`update telegram_confirmations set expires_at = expires_at - ${interval}::interval`
        await sql`update telegram_updates set handled_at = handled_at - ${interval}::interval`
        await sql`update telegram_polling set leased_until = leased_until - ${interval}::interval,
          next_poll_at = next_poll_at - ${interval}::interval`
      })
    },
    /** A user with this private chat, with a strategy on an account of this name. @returns the id of the strategy account */
    async user(chatId: number, account: string): Promise<string> {
      const [row] = await database.run(
        sql => sql<{ strategy_account_id: string }[]>`
          with owner as (
            insert into users (username, password_hash, telegram_chat_id)
            values (${randomUUID()}, 'none', ${String(chatId)}) returning user_id
          ), account as (
            insert into accounts (user_id, name, exchange, api_key_encrypted, api_secret_encrypted, key_id)
            select user_id, ${account}, 'BINANCE', '', '', 'none' from owner returning account_id, user_id
          ), strategy as (
            insert into strategies (user_id, name, market_type)
            select user_id, ${account}, 'FUTURES' from owner returning strategy_id
          )
          insert into strategy_accounts (strategy_id, account_id, allocated_capital, capital_currency)
          select strategy_id, account_id, 1000, 'USDT' from strategy, account
          returning strategy_account_id`
      )
      if (!row) throw new Error('no account was made')
      return row.strategy_account_id
    }
  }
}
