// @FEAT:scheduler @COMP:service @TYPE:core
import { oneAtATime } from '../async/bounded.ts'
import { SECOND } from '../async/durations.ts'
import type { AuditEntry } from '../auth/audit-log.ts'
import type { TransactionSql } from '../database/client.ts'
import { catalogue, ServiceError } from '../errors.ts'
import { type MessageKey, message } from '../messages.ts'
import { escapeHtml } from '../notifications/html.ts'
import { TelegramError, type TelegramErrorCode } from '../notifications/telegram-error.ts'
import type { PressUpdate } from '../notifications/telegram-update.ts'
import type { Run, RunResult } from '../scheduler/run.ts'
import { limitedTransaction } from '../scheduler/transaction.ts'
import { type Action, perform } from './actions.ts'
import { auditEntry, type CommandContext, isOperatorChat, isThrottled } from './command-context.ts'
import { type Confirmation, decide, NotOpenError } from './confirmations.ts'
import { NotClaimedError } from './polling-store.ts'
import { outcomeText, say } from './words.ts'

const DATA = /^([cx]):([\w-]{22})$/
const CALL_MS = 5 * SECOND
/** Telegram does not edit the message later either: it was deleted, is the same already, or the chat is closed. */
const NEVER_EDITED: ReadonlySet<TelegramErrorCode> = new Set([
  'TELEGRAM_REJECTED',
  'TELEGRAM_CHAT_NOT_FOUND',
  'TELEGRAM_BLOCKED'
])
/** Another replica may do what this one refuses because of these. */
const OF_REPLICA: ReadonlySet<string> = new Set(['DRAINING', 'SETTINGS_DIFFER', 'DATABASE_UNAVAILABLE'])

const done: Readonly<Record<Action['kind'], MessageKey>> = {
  run: 'job.started',
  pause: 'job.paused',
  resume: 'job.resumed',
  stop: 'scheduler.stop',
  start: 'scheduler.start'
}

/** Whether an error says that this replica may change nothing at the moment. */
export function isRefusalOfReplica(err: unknown): err is ServiceError {
  return err instanceof ServiceError && OF_REPLICA.has(err.code)
}

/** Handles pressed buttons: decides what waits for them, once, and shows the result in their message. */
export class PressHandler {
  readonly #context: CommandContext
  readonly #inOrder = oneAtATime()
  readonly #runs = new Set<Promise<void>>()

  constructor(context: CommandContext) {
    this.#context = context
  }

  /**
   * @returns false for a button that needs no action: of another chat, or over the limit and with nothing to confirm
   * @throws as `CommandHandler.handle`
   */
  async handle(update: PressUpdate, signal: AbortSignal): Promise<boolean> {
    const { store, confirmations, operator } = this.#context
    if (!isOperatorChat(operator, update.chat)) return false
    const admission = await store.admission(update.updateId, update.chat.id)
    if (admission.isHandled) return false
    const [, button, token] = DATA.exec(update.data) ?? []
    const found = token === undefined ? undefined : await confirmations.find(token)
    const isOpen = found?.isOpen === true && found.chatId === update.chat.id
    const isOwn = isOpen && found.userId === update.userId
    // A confirmation of its sender would lapse without an answer.
    if (!isOwn && isThrottled(admission, { isOperator: true })) return false
    if (!isOpen) return this.#refuse(update, 'notOpen', signal)
    if (!isOwn) return this.#refuse(update, 'notYours', signal)
    const toast = await this.#decide(update, found, button === 'c')
    if (toast === undefined) return this.#refuse(update, 'notOpen', signal)
    await this.#answer(update, toast, signal)
    await this.showResults(signal)
    return true
  }

  /** Shows results that their messages do not show yet. @throws {DatabaseUnavailableError} */
  showResults(signal: AbortSignal): Promise<void> {
    return this.#inOrder(async () => {
      const { client, confirmations, log } = this.#context
      for (const decided of await confirmations.toShow()) {
        const { chatId, messageId, html, confirmationId } = decided
        try {
          await client.editMessage(chatId, messageId, html, { deadlineMs: CALL_MS, signal })
        } catch (err) {
          if (!(err instanceof TelegramError)) throw err
          if (!NEVER_EDITED.has(err.code)) return
          log.debug({ err, confirmation_id: confirmationId }, 'message of a confirmation not edited')
        }
        await confirmations.recordShown(decided)
      }
    })
  }

  /** Waits until the ends of runs that buttons started are recorded. The runs must end. Never rejects. */
  async settled(): Promise<void> {
    await Promise.all(this.#runs)
  }

  /** @returns what the sender is notified of; undefined when nothing waits for the button any more */
  async #decide(update: PressUpdate, found: Confirmation, isConfirmed: boolean): Promise<string | undefined> {
    const { language } = this.#context
    try {
      if (isConfirmed) return await this.#confirm(update, found)
      const text = say('canceled', language)
      await this.#record(update, found, { result: `✖️ ${text}`, audited: 'refused', details: { canceled: true } })
      return text
    } catch (err) {
      if (err instanceof NotOpenError) return undefined
      throw err
    }
  }

  async #confirm(update: PressUpdate, found: Confirmation): Promise<string> {
    const { scheduler, language, onCommand } = this.#context
    const { action, confirmationId } = found
    const text = message(done[action.kind], language)
    const inTransaction = this.#decision(update, found, { result: `✅ ${escapeHtml(text)}`, audited: 'succeeded' })
    try {
      const run = await perform(scheduler, action, { actor: `telegram:${update.userId}`, inTransaction })
      onCommand(action.kind, 'succeeded')
      if (run) this.#reportEnd(run, confirmationId)
      return text
    } catch (err) {
      if (!(err instanceof ServiceError) || isRefusalOfReplica(err)) throw err
      return this.#refusedBy(err, update, found)
    }
  }

  /** Records that the scheduler refused an action. */
  async #refusedBy({ code }: ServiceError, update: PressUpdate, found: Confirmation): Promise<string> {
    const text = message(code, this.#context.language)
    const result = `❌ ${escapeHtml(text)}`
    const audited = catalogue[code] < 500 ? 'refused' : 'failed'
    try {
      await this.#record(update, found, { result, audited, details: { code } })
    } catch (err) {
      // The run of a replica job began after the decision was recorded.
      if (!(err instanceof NotClaimedError) || err.isLeaseLost) throw err
      await this.#context.confirmations.replaceResult(found.confirmationId, result)
    }
    return text
  }

  async #record(update: PressUpdate, found: Confirmation, decision: Decision): Promise<void> {
    await limitedTransaction(this.#context.database, this.#decision(update, found, decision), {
      kind: 'decision of a confirmation'
    })
    this.#context.onCommand(found.action.kind, decision.audited)
  }

  /** The statements of a decision: the update is claimed, the confirmation decided, the outcome audited. */
  #decision(update: PressUpdate, { confirmationId, action }: Confirmation, { result, audited, details }: Decision) {
    const { store, audit } = this.#context
    const { updateId, userId, messageId, chat } = update
    const { kind: command, ...parameters } = action
    const target = 'jobId' in action ? action.jobId : undefined
    const entry = auditEntry({ command, userId, chatId: chat.id, updateId }, audited, {
      target,
      ...parameters,
      ...details
    })
    return async (tx: TransactionSql) => {
      await store.claim(tx, updateId, { chatId: chat.id, outcome: audited })
      await decide(tx, confirmationId, { messageId, result })
      await audit.record(entry, tx)
    }
  }

  async #refuse(update: PressUpdate, reason: 'notOpen' | 'notYours', signal: AbortSignal): Promise<true> {
    const { database, store, audit, onCommand, language } = this.#context
    const { updateId, userId, chat } = update
    const entry = auditEntry({ command: 'button', userId, chatId: chat.id, updateId }, 'refused', { reason })
    await limitedTransaction(
      database,
      async tx => {
        await store.claim(tx, updateId, { chatId: chat.id, outcome: 'refused' })
        await audit.record(entry, tx)
      },
      { kind: 'refusal of a button' }
    )
    onCommand('button', 'refused')
    await this.#answer(update, say(reason, language), signal)
    await this.showResults(signal)
    return true
  }

  /** The sender sees a short text. Telegram accepts none a while after the press, which changes nothing. */
  async #answer({ queryId, updateId }: PressUpdate, text: string, signal: AbortSignal): Promise<void> {
    const { client, log } = this.#context
    try {
      await client.answerPress(queryId, text, { deadlineMs: CALL_MS, signal })
    } catch (err) {
      if (!(err instanceof TelegramError)) throw err
      log.debug({ err, update_id: updateId }, 'pressed button not answered')
    }
  }

  #reportEnd(run: Run, confirmationId: string): void {
    const { confirmations, log, language } = this.#context
    const reporting = run.finished
      .then(async end => {
        await confirmations.replaceResult(confirmationId, endText(end, run.runId, language))
        await this.showResults(new AbortController().signal)
      })
      .catch((err: unknown) => log.warn({ err, run_id: run.runId }, 'end of run not shown'))
      .finally(() => this.#runs.delete(reporting))
    this.#runs.add(reporting)
  }
}

interface Decision {
  /** In Telegram's HTML. */
  result: string
  audited: Exclude<AuditEntry['outcome'], 'requested'>
  details?: Record<string, unknown>
}

function endText(end: RunResult, runId: string, language: CommandContext['language']): string {
  const mark = end.outcome === 'succeeded' ? '✅' : end.outcome === 'partial' ? '⚠️' : '❌'
  const cause = end.outcome === 'failed' ? ` <code>${escapeHtml(end.errorCode)}</code>` : ''
  return `${mark} ${outcomeText(end.outcome, language)}${cause} (${Math.round(end.durationMs / SECOND)} s)\n<code>${escapeHtml(runId)}</code>`
}
