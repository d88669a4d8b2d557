// @FEAT:health-monitoring @COMP:service @TYPE:core
import { backOffMs } from '../async/back-off.ts'
import { DeadlineError, withDeadline } from '../async/deadline.ts'
import { HOUR, MINUTE, SECOND } from '../async/durations.ts'
import { Poller } from '../async/poller.ts'
import { sleep, systemTimers } from '../async/timers.ts'
import type { Sql } from '../database/client.ts'
import type { Database } from '../database/database.ts'
import { Listener } from '../database/listener.ts'
import type { Log } from '../log/log.ts'
import type { NoticeEvent } from './notice-event.ts'
import { type Destination, OUTBOX_CHANNEL, type OutboxDepth, outboxDepth } from './outbox.ts'
import { TelegramError, type TelegramErrorCode } from './telegram-error.ts'
import { WebhookError, type WebhookErrorCode } from './webhook-error.ts'

/** Chats that receive messages at the same time. */
const CONCURRENT_CHATS = 10
/**
 * One call with all of its retries, and the time for recording its result: together shorter than the lease, so that no
 * other replica claims the message of a sender that is alive.
 */
const CALL_MS = 20 * SECOND
const RECORD_MS = 30 * SECOND
const LEASE = '60 seconds'
/**
 * A lease or a wait that ends later than this was written before the database's clock was set back. It is well above the
 * longest one: a claim that waited for a lock began before the claim that it compares with, and so has an earlier time.
 */
const LEASE_LIMIT = '120 seconds'
const WAIT_LIMIT = '61 minutes'
const RECORD_RETRY_MS = SECOND
/** How long a call may continue when the sender closes. A message whose call is aborted may arrive twice. */
const GRACE_MS = 1_500
const INTERVAL_MS = 10 * SECOND
const ATTEMPTS = { minMs: SECOND, maxMs: 10 * MINUTE }

/** Why a message was not delivered; `INTERNAL` is a fault of this service. */
type DeliveryErrorCode = TelegramErrorCode | WebhookErrorCode | 'INTERNAL'

/** The age at which a message is given up, by the error of its last attempt. */
const GIVE_UP_AFTER_MS: Readonly<Record<DeliveryErrorCode, number>> = {
  INTERNAL: 24 * HOUR,
  TELEGRAM_UNREACHABLE: 24 * HOUR,
  TELEGRAM_RATE_LIMITED: 24 * HOUR,
  TELEGRAM_ABORTED: 24 * HOUR,
  WEBHOOK_UNREACHABLE: 24 * HOUR,
  WEBHOOK_RATE_LIMITED: 24 * HOUR,
  WEBHOOK_ABORTED: 24 * HOUR,
  TELEGRAM_CONFLICT: 24 * HOUR,
  // An operator may fix these. Until then, later messages of the chat wait.
  TELEGRAM_UNAUTHORIZED: HOUR,
  TELEGRAM_CHAT_NOT_FOUND: HOUR,
  TELEGRAM_BLOCKED: HOUR,
  TELEGRAM_REJECTED: HOUR,
  WEBHOOK_REJECTED: HOUR
}

/** A message as it is sent. */
interface OutboxMessage {
  chatId: string
  text: string
  key: string
  /** Null for messages to Telegram. */
  event: NoticeEvent | null
}

interface Claimed extends OutboxMessage {
  messageId: string
  attempts: number
  ageMs: number
}

export interface OutboxSenderOptions {
  database: Database
  /** The messages that it sends. */
  destination: Destination
  log: Log
  /** The name of this replica. */
  instanceId: () => string
  applicationName: string
  /** Delivers one message within `deadlineMs` milliseconds. @throws {TelegramError | WebhookError} */
  send: (message: OutboxMessage, options: { deadlineMs: number; signal: AbortSignal }) => Promise<unknown>
}

/**
 * Sends the messages of the outbox to one destination: of each chat the oldest message first, the next one after it was delivered or given
 * up. A message is leased while it is sent, so that only one replica sends it. When a sender dies, the lease expires and
 * another sender sends the message again: each message arrives at least once.
 */
export class OutboxSender {
  readonly #options: OutboxSenderOptions
  readonly #poller: Poller
  readonly #closing = new AbortController()
  readonly #delivering = new Set<Promise<void>>()
  #listener: Listener | undefined
  #closed = false
  #depth: OutboxDepth | undefined
  #measuredAtMs = Number.NEGATIVE_INFINITY
  #depthLatencyMs: number | null = null

  constructor(options: OutboxSenderOptions) {
    this.#options = options
    this.#poller = new Poller({
      poll: () => this.#poll(),
      intervalMs: INTERVAL_MS,
      log: options.log,
      failedMessage: 'outbox not read',
      recoveredMessage: 'outbox read again',
      onRecovered: () => this.#listener?.restart()
    })
  }

  /** The state of the outbox of all replicas, for this destination, when it was last read; undefined before. */
  get depth(): OutboxDepth | undefined {
    return this.#depth
  }

  /** Milliseconds since the state of the outbox was last read; null before. */
  get depthAgeMs(): number | null {
    return this.#depth === undefined ? null : Math.round(performance.now() - this.#measuredAtMs)
  }

  /** How long the last reading of the state of the outbox took, in milliseconds; null before. */
  get depthLatencyMs(): number | null {
    return this.#depthLatencyMs
  }

  /** Starts to send; call it when the schema exists. Idempotent. */
  async start(): Promise<void> {
    const { database, applicationName, log } = this.#options
    const url = await database.address
    if (this.#closed || this.#listener) return
    const onNotification = () => void this.#poller.kick()
    this.#listener = new Listener({ url, channel: OUTBOX_CHANNEL, applicationName, log, onNotification })
    this.#listener.restart()
    this.#poller.start()
  }

  /** Sends all messages that are due, and waits until no delivery is in progress. Never rejects. */
  async sendDue(): Promise<void> {
    for (;;) {
      await this.#poller.kick()
      if (this.#delivering.size === 0) return
      await Promise.all(this.#delivering)
    }
  }

  /** Reads the state of the outbox. Never rejects: after a failure `depth` stays as it was. */
  async measure(): Promise<void> {
    const askedMs = performance.now()
    try {
      this.#depth = await outboxDepth(this.#options.database, this.#options.destination)
      this.#measuredAtMs = performance.now()
      this.#depthLatencyMs = Math.round(this.#measuredAtMs - askedMs)
    } catch (err) {
      this.#options.log.debug({ err }, 'outbox not measured')
    }
  }

  /**
   * Claims no further message, waits up to `graceMs` milliseconds for deliveries that are in progress, aborts the rest and
   * returns their messages to the outbox. Idempotent.
   */
  async close(graceMs = GRACE_MS): Promise<void> {
    this.#closed = true
    this.#listener?.close()
    const ended = this.#poller.stop().then(() => this.#deliveriesEnded())
    try {
      await withDeadline(ended, graceMs)
    } catch (err) {
      if (!(err instanceof DeadlineError)) throw err
      this.#closing.abort()
      await ended
    }
  }

  async #deliveriesEnded(): Promise<void> {
    while (this.#delivering.size > 0) await Promise.all(this.#delivering)
  }

  async #poll(): Promise<undefined> {
    if (performance.now() - this.#measuredAtMs >= INTERVAL_MS) await this.measure()
    // A chat whose calls are slow occupies one place; the others continue.
    const free = CONCURRENT_CHATS - this.#delivering.size
    if (free > 0) for (const message of await this.#claim(free)) this.#begin(message)
  }

  #begin(message: Claimed): void {
    const delivering = this.#deliver(message).finally(() => {
      this.#delivering.delete(delivering)
      void this.#poller.kick()
    })
    this.#delivering.add(delivering)
  }

  async #claim(limit: number): Promise<Claimed[]> {
    const { database, destination, instanceId } = this.#options
    return database.run(
      sql => sql<Claimed[]>`
        update outbox set leased_by = ${instanceId()}, leased_until = now() + ${LEASE}::interval
        where message_id in (
          select message_id from outbox message
          where destination = ${destination} and delivered_at is null and given_up_at is null
            and (next_attempt_at <= now() or next_attempt_at > now() + ${WAIT_LIMIT}::interval)
            and (leased_until is null or not ${isLeased(sql)})
            -- A message that was committed late may precede one that is being sent.
            and not exists (
              select from outbox other
              where other.destination = message.destination and other.chat_id = message.chat_id
                and other.delivered_at is null and other.given_up_at is null
                and (other.message_id < message.message_id or ${isLeased(sql, sql`other.`)})
            )
          order by message_id limit ${limit} for update skip locked
        )
        returning message_id as "messageId", chat_id as "chatId", text, dedupe_key as key, event, attempts,
          (extract(epoch from now() - created_at) * 1000)::float8 as "ageMs"`
    )
  }

  /** Never rejects. */
  async #deliver(message: Claimed): Promise<void> {
    try {
      await this.#options.send(message, { deadlineMs: CALL_MS, signal: this.#closing.signal })
    } catch (err) {
      return this.#failed(message, err)
    }
    const { messageId } = message
    // Whichever replica holds the lease by now: the message arrived.
    await this.#record(
      messageId,
      sql => sql`
        update outbox set delivered_at = now(), given_up_at = null, attempts = attempts + 1, error_code = null,
          leased_by = null, leased_until = null
        where message_id = ${messageId} and delivered_at is null`
    )
  }

  async #failed({ messageId, chatId, attempts, ageMs }: Claimed, err: unknown): Promise<void> {
    const { instanceId, log } = this.#options
    const known = err instanceof TelegramError || err instanceof WebhookError
    const aborted = this.#closing.signal.aborted || (known && err.code.endsWith('_ABORTED'))
    const code = known ? err.code : 'INTERNAL'
    const givenUp = !aborted && ((known && err.rejectsText) || ageMs >= GIVE_UP_AFTER_MS[code])
    const retryAfterMs = known ? (err.retryAfterMs ?? 0) : 0
    const waitMs = aborted ? 0 : Math.max(backOffMs(ATTEMPTS, attempts + 1), retryAfterMs)
    if (givenUp) log.error({ err, message_id: messageId, chat_id: chatId }, 'message given up')
    else if (!known && !aborted) log.error({ err, message_id: messageId }, 'message not sent')
    await this.#record(
      messageId,
      sql => sql`
        update outbox set attempts = attempts + ${aborted ? 0 : 1}::int, leased_by = null, leased_until = null,
          next_attempt_at = now() + make_interval(secs => ${waitMs / SECOND}::float8),
          error_code = coalesce(${aborted ? null : code}, error_code), given_up_at = case when ${givenUp} then now() end
        where message_id = ${messageId} and leased_by = ${instanceId()} and delivered_at is null`
    )
    if (!aborted) await this.measure()
  }

  /** Retries within the lease: a short outage of the database must not make a message arrive twice. */
  async #record(messageId: string, write: (sql: Sql) => Promise<unknown>): Promise<void> {
    const { database, log } = this.#options
    const { signal } = this.#closing
    const startedMs = performance.now()
    for (;;) {
      try {
        await database.run(write)
        return
      } catch (err) {
        if (this.#closed || performance.now() - startedMs > RECORD_MS) {
          log.warn({ err, message_id: messageId }, 'message delivery not recorded, it is sent again')
          return
        }
      }
      await sleep(systemTimers, RECORD_RETRY_MS, signal).catch(() => undefined)
    }
  }
}

/** Whether a sender holds a message. */
function isLeased(sql: Sql, table = sql``) {
  return sql`(${table}leased_until > now() and ${table}leased_until <= now() + ${LEASE_LIMIT}::interval)`
}
