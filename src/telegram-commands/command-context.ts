// @FEAT:health-monitoring @COMP:service @TYPE:core
import type { AuditEntry, AuditLog } from '../auth/audit-log.ts'
import type { Database } from '../database/database.ts'
import type { Log } from '../log/log.ts'
import type { Language } from '../messages.ts'
import type { Outbox } from '../notifications/outbox.ts'
import type { TelegramClient } from '../notifications/telegram-client.ts'
import type { UpdateChat } from '../notifications/telegram-update.ts'
import type { ActionScheduler } from './actions.ts'
import type { CommandName } from './command-line.ts'
import type { Confirmations } from './confirmations.ts'
import type { Admission, PollingStore } from './polling-store.ts'

/** Commands of one chat that are answered in a minute. Users are answered while all chats sent fewer than `MAX_OF_ALL`. */
const MAX_OF_CHAT = 20
const MAX_OF_ALL = 60

/** What became of a command, for the metrics. */
export type CommandOutcome = 'requested' | 'succeeded' | 'refused' | 'failed' | 'throttled'

/** The name of a command in the metrics and the audit log. */
export type CommandLabel = CommandName | 'unknown' | 'button'

/** The operator's chat, and its topic where one is set. */
export interface OperatorChat {
  /** The number of the chat, or `@name`. */
  chatId: string
  topicId: number | undefined
}

/** What the handlers of commands and buttons share. */
export interface CommandContext {
  database: Database
  log: Log
  language: Language
  /** The public number of the bot. */
  botId: string
  store: PollingStore
  confirmations: Confirmations
  audit: Pick<AuditLog, 'record'>
  outbox: Pick<Outbox, 'enqueue'>
  client: Pick<TelegramClient, 'sendMessage' | 'editMessage' | 'answerPress'>
  scheduler: ActionScheduler
  /** Undefined without one: only users get answers. */
  operator: OperatorChat | undefined
  onCommand: (command: CommandLabel, outcome: CommandOutcome) => void
}

/** Whether a chat is the operator's. A topic is compared only where one is set. */
export function isOperatorChat(operator: OperatorChat | undefined, chat: UpdateChat): boolean {
  if (operator === undefined) return false
  const { chatId } = operator
  return chatId.startsWith('@') ? chatId.slice(1).toLowerCase() === chat.username?.toLowerCase() : chatId === chat.id
}

/** Whether a chat sent more than is answered, or for a user's chat all chats together. */
export function isThrottled({ ofChat, ofAll }: Admission, { isOperator }: { isOperator: boolean }): boolean {
  return ofChat >= MAX_OF_CHAT || (!isOperator && ofAll >= MAX_OF_ALL)
}

/** A row of the audit log about a command. */
export function auditEntry(
  of: { command: CommandLabel; userId: string; chatId: string; updateId: number },
  outcome: AuditEntry['outcome'],
  { target, ...details }: Record<string, unknown> & { target?: string | undefined } = {}
): AuditEntry {
  const { command, userId, chatId, updateId } = of
  const action = command === 'button' || command === 'unknown' ? `telegram ${command}` : `telegram /${command}`
  return {
    actor: `telegram:${userId}`,
    action,
    target,
    outcome,
    details: { chat_id: chatId, update_id: updateId, ...details }
  }
}
