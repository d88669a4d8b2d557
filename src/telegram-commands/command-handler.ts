// @FEAT:health-monitoring @COMP:service @TYPE:core
import { SECOND } from '../async/durations.ts'
import type { AuditEntry } from '../auth/audit-log.ts'
import { DatabaseUnavailableError } from '../database/failure.ts'
import { TelegramError } from '../notifications/telegram-error.ts'
import type { TextUpdate, Update } from '../notifications/telegram-update.ts'
import { limitedTransaction } from '../scheduler/transaction.ts'
import {
  auditEntry,
  type CommandContext,
  type CommandLabel,
  type CommandOutcome,
  isOperatorChat,
  isThrottled
} from './command-context.ts'
import { type CommandLine, type CommandName, readCommand, USER_COMMANDS } from './command-line.ts'
import { addConfirmation, newToken } from './confirmations.ts'
import { NotClaimedError } from './polling-store.ts'
import { isRefusalOfReplica, type PressHandler } from './press-handler.ts'
import { type ChangingCommand, isChanging, readRequest } from './requests.ts'
import { say } from './words.ts'

/** A command that arrives later is not executed: its sender does not expect it any more. In seconds. */
const MAX_AGE_SECONDS = 300
/** The deadline of the message with the buttons, in milliseconds. */
const ASK_MS = 15 * SECOND

/** Who asks: the operator, or the users with this private chat. */
export type Reader = { isOperator: true } | { isOperator: false; chatId: string }

export type ReadingCommand = Exclude<CommandName, ChangingCommand>

export interface CommandHandlerOptions {
  context: CommandContext
  presses: PressHandler
  /** The answer to a command that changes nothing, in Telegram's HTML. */
  answer: (name: ReadingCommand, rest: string, reader: Reader) => Promise<string>
  /** Which of these chats belong to users. */
  userChats: (chatIds: readonly string[]) => Promise<ReadonlySet<string>>
}

interface Asked {
  update: TextUpdate
  command: CommandLabel
  reader: Reader
}

/** Handles the updates of a bot: answers commands, and asks for the confirmation of those that change something. */
export class CommandHandler {
  readonly #options: CommandHandlerOptions
  readonly #context: CommandContext

  constructor(options: CommandHandlerOptions) {
    this.#options = options
    this.#context = options.context
  }

  /**
   * Handles updates in their order, each of them once, until `signal` is aborted.
   * @param bot the name of the bot in lower case, for commands that name one
   * @throws {DatabaseUnavailableError} the update, and those after it, must be handled again
   * @throws {NotClaimedError} another replica handles the updates
   * @throws {ServiceError} this replica may change nothing at the moment
   */
  async handle(updates: readonly Update[], bot: string | undefined, signal: AbortSignal): Promise<void> {
    const commands = updates.map(update => ({ update, line: lineOf(update, bot) }))
    const users = await this.#usersIn(commands)
    // The last update, unless it was claimed.
    let ignored: number | undefined
    for (const { update, line } of commands) {
      if (signal.aborted) break
      const isHandled = await this.#handleOne(update, line, users, signal)
      ignored = isHandled ? undefined : update.updateId
    }
    // A claim stores the offset too. Without it Telegram would send the ignored updates again, at every poll.
    if (ignored !== undefined) await this.#context.store.recordOffset(ignored)
  }

  /** @returns false for an update that needed no action */
  async #handleOne(
    update: Update,
    line: CommandLine | undefined,
    users: ReadonlySet<string>,
    signal: AbortSignal
  ): Promise<boolean> {
    try {
      if (update.kind === 'press') return await this.#options.presses.handle(update, signal)
      if (update.kind !== 'text' || !line) return false
      const reader = this.#readerOf(update, users)
      if (!reader) return false
      return await this.#handleCommand({ update, reader, command: line.name ?? 'unknown' }, line, signal)
    } catch (err) {
      if (err instanceof NotClaimedError && !err.isLeaseLost) return false
      if (err instanceof NotClaimedError || err instanceof DatabaseUnavailableError) throw err
      if (isRefusalOfReplica(err)) throw err
      // The update must not stop all others.
      this.#context.log.error({ err, update_id: update.updateId }, 'command not handled')
      return false
    }
  }

  async #handleCommand(asked: Asked, { name, rest }: CommandLine, signal: AbortSignal): Promise<boolean> {
    const { update, reader } = asked
    const { store, language } = this.#context
    const admission = await store.admission(update.updateId, update.chat.id)
    const isOverLimit = isThrottled(admission, reader)
    if (admission.isHandled || (isOverLimit && admission.isWarned)) return false
    const refuse = (html: string, outcome: CommandOutcome = 'refused') => this.#reply(asked, html, 'refused', outcome)
    if (isOverLimit) return refuse(say('slowDown', language), 'throttled')
    if (admission.now - update.sentAt > MAX_AGE_SECONDS) return refuse(say('tooOld', language))
    if (name === undefined || !(reader.isOperator || USER_COMMANDS.includes(name))) {
      const help = await this.#options.answer('help', '', reader)
      return refuse(`${say('unknownCommand', language)}\n\n${help}`)
    }
    if (isChanging(name)) return this.#ask(asked, name, rest, signal)
    return this.#read(asked, name, rest)
  }

  async #read(asked: Asked, name: ReadingCommand, rest: string): Promise<boolean> {
    let html: string
    try {
      html = await this.#options.answer(name, rest, asked.reader)
    } catch (err) {
      if (err instanceof DatabaseUnavailableError) throw err
      this.#context.log.error({ err, command: name }, 'command not answered')
      return this.#reply(asked, say('failed', this.#context.language), 'failed', 'failed')
    }
    return this.#reply(asked, html, 'succeeded', 'succeeded')
  }

  /** Claims the update and stores its answer, in one transaction. */
  async #reply(
    { update, command, reader }: Asked,
    html: string,
    audited: AuditEntry['outcome'],
    outcome: CommandOutcome
  ): Promise<true> {
    const { database, store, outbox, audit, botId, onCommand, operator } = this.#context
    const { updateId, userId } = update
    const entry = auditEntry({ command, userId, chatId: update.chat.id, updateId }, audited)
    const chatId = reader.isOperator ? (operator?.chatId ?? update.chat.id) : reader.chatId
    await limitedTransaction(
      database,
      async tx => {
        await store.claim(tx, updateId, { chatId: update.chat.id, outcome })
        await outbox.enqueue(tx, [{ chatId, text: html, key: `command:${botId}:${updateId}` }])
        await audit.record(entry, tx)
      },
      { kind: 'answer to a command' }
    )
    onCommand(command, outcome)
    return true
  }

  /** Claims the update and stores what is to be confirmed, and sends the buttons. */
  async #ask(asked: Asked, name: ChangingCommand, rest: string, signal: AbortSignal): Promise<boolean> {
    const { update } = asked
    const { database, language, store, audit, scheduler, onCommand } = this.#context
    const { updateId, userId, chat } = update
    if (chat.username !== undefined && !chat.isPrivate) {
      return this.#reply(asked, say('publicGroup', language), 'refused', 'refused')
    }
    const request = readRequest(name, rest, { jobs: scheduler.jobs, language })
    if (!request.isValid) return this.#reply(asked, request.refusal, 'refused', 'refused')
    const { action, question, target } = request
    const token = newToken()
    const { kind: _kind, ...details } = action
    await limitedTransaction(
      database,
      async tx => {
        await store.claim(tx, updateId, { chatId: chat.id, outcome: 'requested' })
        await addConfirmation(tx, { token, chatId: chat.id, userId, action, question })
        await audit.record(
          auditEntry({ command: name, userId, chatId: chat.id, updateId }, 'requested', { target, ...details }),
          tx
        )
      },
      { kind: 'request of a command' }
    )
    onCommand(name, 'requested')
    await this.#sendButtons(update, { token, question }, signal)
    return true
  }

  /** The message is sent directly: with its buttons it is useless a minute later. */
  async #sendButtons(
    update: TextUpdate,
    { token, question }: { token: string; question: string },
    signal: AbortSignal
  ): Promise<void> {
    const { client, confirmations, language, operator, log } = this.#context
    const buttons = [
      { text: `✅ ${say('confirm', language)}`, data: `c:${token}` },
      { text: `✖️ ${say('cancel', language)}`, data: `x:${token}` }
    ]
    try {
      const html = `${question}\n\n<i>${say('lapsesSoon', language)}</i>`
      const chatId = operator?.chatId ?? update.chat.id
      const { messageId } = await client.sendMessage(chatId, html, { buttons, deadlineMs: ASK_MS, signal })
      await confirmations.recordMessage(token, messageId)
    } catch (err) {
      if (!(err instanceof TelegramError)) throw err
      log.warn({ err, update_id: update.updateId }, 'confirmation not sent')
    }
  }

  #readerOf({ chat, topicId, userId }: TextUpdate, users: ReadonlySet<string>): Reader | undefined {
    const { operator } = this.#context
    if (isOperatorChat(operator, chat)) {
      return operator?.topicId === undefined || operator.topicId === topicId ? { isOperator: true } : undefined
    }
    return chat.isPrivate && chat.id === userId && users.has(chat.id)
      ? { isOperator: false, chatId: chat.id }
      : undefined
  }

  /** One query for all unknown chats of the updates. */
  async #usersIn(commands: readonly { update: Update; line: CommandLine | undefined }[]): Promise<ReadonlySet<string>> {
    const chats = commands.flatMap(({ update, line }) =>
      update.kind === 'text' && line && update.chat.isPrivate && !isOperatorChat(this.#context.operator, update.chat)
        ? [update.chat.id]
        : []
    )
    return chats.length === 0 ? new Set() : this.#options.userChats([...new Set(chats)])
  }
}

function lineOf(update: Update, bot: string | undefined): CommandLine | undefined {
  const line = update.kind === 'text' ? readCommand(update.text) : undefined
  return line?.bot === undefined || line.bot === bot ? line : undefined
}
