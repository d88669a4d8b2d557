// @FEAT:scheduler @COMP:service @TYPE:core
import { createHash, randomBytes } from 'node:crypto'
import type { TransactionSql } from '../database/client.ts'
import type { Database } from '../database/database.ts'
import type { Action } from './actions.ts'

/** A button that is not pressed within this time does nothing. */
const LAPSES_AFTER = '60 seconds'
/** A message that cannot be edited for this long keeps its buttons, which do nothing. */
const SHOWN_WITHIN = '1 hour'
const KEPT_DAYS = 8
const TOKEN_BYTES = 16
const MAX_SHOWN = 10

/** A change that waits for its button, or was decided. */
export interface Confirmation {
  confirmationId: string
  chatId: string
  userId: string
  action: Action
  isOpen: boolean
}

/** A message whose text is to be replaced by `html`, without its buttons. */
export interface Decided {
  confirmationId: string
  chatId: string
  messageId: string
  result: string
  html: string
}

/** Nothing waits for the button any more: the transaction is undone. */
export class NotOpenError extends Error {
  override name = 'NotOpenError'
}

/** A token for the buttons of a confirmation. 22 characters; only its hash is stored. */
export function newToken(): string {
  return randomBytes(TOKEN_BYTES).toString('base64url')
}

/** Adds a confirmation that waits for its button. */
export async function addConfirmation(
  tx: TransactionSql,
  asked: { token: string; chatId: string; userId: string; action: Action; question: string }
): Promise<void> {
  await tx`
    insert into telegram_confirmations (token_hash, chat_id, user_id, action, question, expires_at)
    values (${hashOf(asked.token)}, ${asked.chatId}, ${asked.userId}, ${JSON.stringify(asked.action)}::text::jsonb,
      ${asked.question}, now() + ${LAPSES_AFTER}::interval)`
}

/**
 * Decides a confirmation in the transaction of its change, once and in time.
 * @param messageId the message with the buttons, whose text the result follows
 * @throws {NotOpenError}
 */
export async function decide(
  tx: TransactionSql,
  confirmationId: string,
  { messageId, result }: { messageId: string; result: string }
): Promise<void> {
  const { count } = await tx`
    update telegram_confirmations set result = ${result}, message_id = ${messageId}, decided_at = now()
    where confirmation_id = ${confirmationId} and result is null and expires_at > clock_timestamp()`
  if (count !== 1) throw new NotOpenError('nothing waits for this button')
}

/** Reads and writes what waits for a button, and what its message has to show. */
export class Confirmations {
  readonly #database: Database
  readonly #lapsed: string

  /** @param lapsed the result of a confirmation whose button was not pressed in time, in Telegram's HTML */
  constructor(database: Database, { lapsed }: { lapsed: string }) {
    this.#database = database
    this.#lapsed = lapsed
  }

  /** The confirmation of a token; undefined for an unknown one. @throws {DatabaseUnavailableError} */
  async find(token: string): Promise<Confirmation | undefined> {
    const [found] = await this.#database.run(
      sql => sql<Confirmation[]>`
        select confirmation_id as "confirmationId", chat_id as "chatId", user_id as "userId", action,
          result is null and expires_at > clock_timestamp() as "isOpen"
        from telegram_confirmations where token_hash = ${hashOf(token)}`
    )
    return found
  }

  /** Records the message with the buttons. @throws {DatabaseUnavailableError} */
  async recordMessage(token: string, messageId: string): Promise<void> {
    await this.#database.run(
      sql => sql`
        update telegram_confirmations set message_id = coalesce(message_id, ${messageId})
        where token_hash = ${hashOf(token)}`
    )
  }

  /** Replaces the result of what was decided, such as by the end of a run. @throws {DatabaseUnavailableError} */
  async replaceResult(confirmationId: string, result: string): Promise<void> {
    await this.#database.run(
      sql => sql`
        update telegram_confirmations set result = ${result}, shown_at = null
        where confirmation_id = ${confirmationId} and result is not null`
    )
  }

  /** Ends what lapsed, and lists the messages that do not show their result yet. @throws {DatabaseUnavailableError} */
  async toShow(): Promise<Decided[]> {
    await this.#database.run(
      sql => sql`
        update telegram_confirmations set result = ${this.#lapsed}, decided_at = now()
        where confirmation_id in (
          select confirmation_id from telegram_confirmations
          where shown_at is null and result is null and expires_at <= now() for update skip locked
        )`
    )
    const rows = await this.#database.run(
      sql => sql<Decided[]>`
        select confirmation_id as "confirmationId", chat_id as "chatId", message_id as "messageId", result,
          question || E'\n\n' || result as html
        from telegram_confirmations
        where shown_at is null and result is not null and message_id is not null
          and created_at > now() - ${SHOWN_WITHIN}::interval
        order by confirmation_id limit ${MAX_SHOWN}`
    )
    return [...rows]
  }

  /** Records that a message shows a result. @throws {DatabaseUnavailableError} */
  async recordShown({ confirmationId, result }: Decided): Promise<void> {
    await this.#database.run(
      sql => sql`
        update telegram_confirmations set shown_at = now()
        where confirmation_id = ${confirmationId} and result = ${result}`
    )
  }
}

/** Deletes up to `limit` confirmations older than 8 days. Idempotent. @returns the number of deleted rows */
export async function sweepConfirmations(tx: TransactionSql, limit: number): Promise<number> {
  const { count } = await tx`
    delete from telegram_confirmations where confirmation_id in (
      select confirmation_id from telegram_confirmations
      where created_at < now() - make_interval(days => ${KEPT_DAYS}::int)
      order by confirmation_id limit ${limit} for update skip locked
    )`
  return count
}

function hashOf(token: string): Buffer {
  return createHash('sha256').update(token).digest()
}
