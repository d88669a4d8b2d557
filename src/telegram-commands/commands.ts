// @FEAT:health-monitoring @COMP:service @TYPE:core
import { randomUUID } from 'node:crypto'
import { AuditLog } from '../auth/audit-log.ts'
import { chatsOfUsers } from '../auth/user-table.ts'
import type { TelegramClient } from '../notifications/telegram-client.ts'
import type { Scheduler } from '../scheduler/scheduler.ts'
import { accountText } from '../trading/account-text.ts'
import { groupedBy } from '../trading/grouped.ts'
import type { MaxAges } from '../trading/summary-ages.ts'
import { summaryText } from '../trading/summary-text.ts'
import type { CommandContext } from './command-context.ts'
import { CommandHandler, type CommandHandlerOptions } from './command-handler.ts'
import { CommandPoller, type CommandPollerOptions } from './command-poller.ts'
import { Confirmations } from './confirmations.ts'
import { PollingStore } from './polling-store.ts'
import { PressHandler } from './press-handler.ts'
import { healthAnswer, helpText, jobsAnswer, type ServiceAnswerOptions, statusAnswer } from './service-answers.ts'
import { booksAnswer, dailyAnswer, positionsAnswer, type TradingAnswerOptions } from './trading-answers.ts'
import { say } from './words.ts'

/** What the commands need of the service. */
export interface CommandServices
  extends Omit<CommandContext, 'store' | 'confirmations' | 'audit' | 'client' | 'scheduler'>,
    Pick<CommandPollerOptions, 'instance' | 'mayPoll' | 'idleMs' | 'waitSeconds'>,
    Pick<ServiceAnswerOptions, 'checks' | 'replicas'> {
  /** IANA name. */
  timeZone: string
  /** From which ages a summary shows from when a value is. */
  maxAges: MaxAges
  scheduler: Pick<Scheduler, 'trigger' | 'control' | 'setPaused' | 'jobs' | 'status'>
  /** Sends messages. */
  client: TelegramClient
  /** Reads the updates, on a connection of its own. */
  pollClient: TelegramClient
}

/** Makes the reader of the commands of a bot. It does nothing before it is started. */
export function createCommands(services: CommandServices): CommandPoller {
  const { database, language, botId, log, scheduler, client, pollClient, instance, mayPoll, idleMs, waitSeconds } =
    services
  const store = new PollingStore(database, { botId, token: randomUUID() })
  const confirmations = new Confirmations(database, { lapsed: `⌛ ${say('lapsed', language)}` })
  const { operator, outbox, onCommand } = services
  const audit = new AuditLog(database)
  const context: CommandContext = {
    ...{ database, log, language, botId, store, confirmations, audit },
    ...{ outbox, client, scheduler, operator, onCommand }
  }
  const presses = new PressHandler(context)
  const userChats = (chatIds: readonly string[]) => database.run(sql => chatsOfUsers(sql, chatIds))
  const handler = new CommandHandler({ context, presses, answer: answerer(services), userChats })
  return new CommandPoller({
    ...{ store, handler, presses, client: pollClient, log, instance, mayPoll, language },
    menuChatId: operator?.chatId,
    ...(idleMs !== undefined && { idleMs }),
    ...(waitSeconds !== undefined && { waitSeconds })
  })
}

/** The answers to the commands that change nothing. */
function answerer(services: CommandServices): CommandHandlerOptions['answer'] {
  const { database, language, timeZone, scheduler, checks, replicas } = services
  const ofService: ServiceAnswerOptions = { language, timeZone, status: () => scheduler.status(), checks, replicas }
  const ofTrading: TradingAnswerOptions = { database, language, timeZone, summaryText: dayText(services) }
  return async (name, rest, reader) => {
    const owner = { ownerChatId: reader.isOperator ? undefined : reader.chatId }
    switch (name) {
      case 'status':
        return statusAnswer(ofService)
      case 'jobs':
        return jobsAnswer(ofService)
      case 'health':
        return healthAnswer(ofService)
      case 'books':
        return booksAnswer(ofTrading)
      case 'daily':
        return dailyAnswer(ofTrading, owner, rest)
      case 'positions':
        return positionsAnswer(ofTrading, owner)
      case 'help':
        return helpText(language, reader.isOperator)
    }
  }
}

/** The text of a day, as the daily summary has it. */
function dayText({ language, timeZone, maxAges }: CommandServices): TradingAnswerOptions['summaryText'] {
  return (summaries, day, at) => {
    const accounts = groupedBy(summaries, ({ account_id }) => account_id)
    const texts = [...accounts.values()].flatMap(([first, ...others]) => {
      if (first === undefined) return []
      return [{ summaries: [first, ...others], text: accountText([first, ...others], { language, timeZone, maxAges }) }]
    })
    return summaryText(texts, { day, at, language, timeZone })
  }
}
