// @FEAT:health-monitoring @COMP:service @TYPE:core
import type { TransactionSql } from '../database/client.ts'
import type { Database } from '../database/database.ts'
import { plainText } from './html.ts'
import type { NoticeEvent } from './notice-event.ts'
import { suppress } from './quiet-window.ts'

/** The channel of the notifications about new messages. */
export const OUTBOX_CHANNEL = 'outbox'
/** A message that no replica could send is given up after this time. */
const UNSENT_HOURS = 25
const KEPT_DAYS = 30
/** Messages that wait for longer than this are not delivered. Shorter waits are rate limits and repetitions. */
const UNDELIVERED_SECONDS = 300

/** Where messages are sent. Each destination has its own order, its own attempts and its own failures. */
export type Destination = 'telegram' | 'webhook'

export interface Message {
  /** The chat of Telegram; undefined: the message is not for Telegram. */
  chatId: string | undefined
  /** Telegram's HTML, of any length. */
  text: string
  /** Identifies the message: a second message with the same key is not stored. */
  key: string
  /**
   * What the webhook gets; undefined: the message is not for the webhook. A message with an event is not sent in a quiet
   * window.
   */
  event?: NoticeEvent
  /** Its condition, or the event itself, as a line of the summary of a quiet window, in HTML. */
  line?: string
  /** The destinations that have the message already. */
  sent?: ReadonlySet<Destination> | undefined
}

/** A message that the webhook gets, too. */
export type EventMessage = Message & { event: NoticeEvent }

/** All messages to the webhook are in one order. */
const WEBHOOK_CHAT = 'webhook'

interface Row {
  destination: Destination
  chatId: string
  text: string
  event: NoticeEvent | null
  /** The key of the first row of the message to this destination. */
  message: string
  key: string
}

/** The state of the outbox for one destination. */
export interface OutboxDepth {
  waiting: number
  /** Age of the oldest waiting message; 0 without one. */
  oldestSeconds: number
  /** Messages that were given up in the last day. */
  givenUp: number
  givenUpLastHour: number
  /** The error of the newest message that waits or was given up in the last day; null without one. */
  errorCode: string | null
  /** The error of the newest message that waits for another attempt or was given up in the last hour; null without one. */
  failing: string | null
}

/** Messages to Telegram and to the webhook. They are stored in the transaction of the change that they report, and sent later. */
export class Outbox {
  readonly #hasWebhook: boolean

  /** @param options.hasWebhook whether messages with an event are stored for the webhook, too. Default false */
  constructor({ hasWebhook = false }: { hasWebhook?: boolean } = {}) {
    this.#hasWebhook = hasWebhook
  }

  /**
   * Stores messages in a transaction: a row for each destination. A long message to Telegram becomes several rows, `key`,
   * `key#2`, … In a quiet window those with an event are only recorded for its summary. Idempotent.
   * @returns the number of new rows
   */
  async enqueue(tx: TransactionSql, messages: readonly Message[]): Promise<number> {
    // Loaded with the first message.
    const { splitMessage } = await import('./split-message.ts')
    const rowsOf = (message: Message) => [
      ...(message.chatId === undefined || message.sent?.has('telegram')
        ? []
        : telegramRows(message, message.chatId, splitMessage)),
      ...(this.#hasWebhook && hasEvent(message) && !message.sent?.has('webhook') ? [webhookRow(message)] : [])
    ]
    const wanted = messages.map(message => ({ message, rows: rowsOf(message) })).filter(({ rows }) => rows.length > 0)
    const events = wanted.map(({ message }) => message).filter(hasEvent)
    const isQuiet = events.length > 0 && (await suppress(tx, events))
    const rows = wanted.filter(({ message }) => !(isQuiet && hasEvent(message))).flatMap(({ rows }) => rows)
    if (rows.length === 0) return 0
    const { count } = await tx`
      insert into outbox (destination, chat_id, text, event, dedupe_key)
      select part->>'destination', part->>'chatId', part->>'text', nullif(part->'event', 'null'), part->>'key'
      from jsonb_array_elements(${JSON.stringify(rows)}::text::jsonb) with ordinality as parts (part, at)
      -- A known message that is longer now adds no part.
      where not exists (select from outbox where dedupe_key = part->>'message')
      order by at on conflict do nothing`
    if (count > 0) await tx`select pg_notify(${OUTBOX_CHANNEL}, '')`
    return count
  }
}

function hasEvent(message: Message): message is EventMessage {
  return message.event !== undefined
}

function telegramRows({ text, key }: Message, chatId: string, split: (text: string) => string[]): Row[] {
  return split(text).map((part, i) => ({
    destination: 'telegram',
    chatId,
    text: part,
    event: null,
    message: key,
    key: i === 0 ? key : `${key}#${i + 1}`
  }))
}

function webhookRow(message: EventMessage): Row {
  const { key, ...rest } = webhookMessage(message)
  return { destination: WEBHOOK_CHAT, chatId: WEBHOOK_CHAT, ...rest, message: key, key }
}

/** A message with an event as the webhook gets it, with its key in the outbox. */
export function webhookMessage({ text, key, event }: EventMessage) {
  return { text: plainText(text), event, key: `${WEBHOOK_CHAT}:${key}` }
}

/** Reads the state of the outbox for one destination. @throws {DatabaseUnavailableError} */
export async function outboxDepth(database: Database, destination: Destination): Promise<OutboxDepth> {
  const [depth] = await database.run(
    sql => sql<OutboxDepth[]>`
      select count(*) filter (where given_up_at is null)::int as waiting,
        coalesce(extract(epoch from now() - min(created_at) filter (where given_up_at is null)), 0)::float8 as "oldestSeconds",
        count(*) filter (where given_up_at is not null)::int as "givenUp",
        count(*) filter (where given_up_at > now() - interval '1 hour')::int as "givenUpLastHour",
        (array_agg(error_code order by message_id desc) filter (where error_code is not null))[1] as "errorCode",
        (array_agg(error_code order by message_id desc) filter (
          where error_code is not null and (given_up_at is null or given_up_at > now() - interval '1 hour')
        ))[1] as failing
      from outbox
      where destination = ${destination} and delivered_at is null
        and (given_up_at is null or given_up_at > now() - interval '1 day')`
  )
  return depth ?? { waiting: 0, oldestSeconds: 0, givenUp: 0, givenUpLastHour: 0, errorCode: null, failing: null }
}

/** Who must get the messages. */
export interface Recipients {
  operatorChatId: string | undefined
  hasWebhook: boolean
}

/**
 * Whether a message has waited for five minutes, or was given up within the last hour. Chats of users that do not accept
 * messages do not count, nor does a webhook that is not configured. @throws {DatabaseUnavailableError}
 */
export async function hasUndelivered(
  database: Database,
  { operatorChatId = '', hasWebhook }: Recipients
): Promise<boolean> {
  const [row] = await database.run(
    sql => sql<{ found: boolean }[]>`
      select exists (
        select from outbox
        where delivered_at is null
          and (given_up_at > now() - interval '1 hour'
            or (given_up_at is null and created_at < now() - make_interval(secs => ${UNDELIVERED_SECONDS}::int)))
          and case destination when 'webhook' then ${hasWebhook}::boolean
            else chat_id = ${operatorChatId}
              or coalesce(error_code, '') not in ('TELEGRAM_BLOCKED', 'TELEGRAM_CHAT_NOT_FOUND') end
      ) as found`
  )
  return row?.found === true
}

/**
 * Gives up messages that no replica could send for 25 hours, and deletes up to `limit` delivered or given up messages
 * older than 30 days. Idempotent. @returns the number of deleted rows
 */
export async function sweepOutbox(tx: TransactionSql, limit: number): Promise<number> {
  await tx`
    update outbox set given_up_at = now(), error_code = coalesce(error_code, upper(destination) || '_NOT_CONFIGURED')
    where message_id in (
      select message_id from outbox
      where delivered_at is null and given_up_at is null
        and created_at < now() - make_interval(hours => ${UNSENT_HOURS}::int)
      for update skip locked
    )`
  const { count } = await tx`
    delete from outbox where message_id in (
      select message_id from outbox
      where created_at < now() - make_interval(days => ${KEPT_DAYS}::int)
        and (delivered_at is not null or given_up_at is not null)
      order by created_at limit ${limit} for update skip locked
    )`
  return count
}
