// @FEAT:health-monitoring @COMP:service @TYPE:core

import { HOUR, MINUTE, SECOND } from '../async/durations.ts'
import { sleep, systemTimers } from '../async/timers.ts'
import type { Sql } from '../database/client.ts'
import type { Database } from '../database/database.ts'
import { Listener } from '../database/listener.ts'
import type { Log } from '../log/log.ts'
import { OUTBOX_CHANNEL, type OutboxDepth, outboxDepth } from './outbox.ts'
import { TelegramError, type TelegramErrorCode } from './telegram-error.ts'

/** Chats that are sent to side by side. */
const AT_ONCE = 10
/**
 * A call with all of its retries, and then the time for recording its end: together shorter than the lease, so that a
 * living sender never loses a message to another.
 */
const CALL_MS = 20 * SECOND
const RECORD_MS = 30 * SECOND
const LEASE = '60 seconds'
const RECORD_AGAIN_MS = SECOND
/** What is under way may take so long to end when the sender is closed: cut off, it might arrive twice. */
const GRACE_MS = 1_500
const LOOK_MS = 10 * SECOND
const MAX_BACK_OFF_MS = 10 * MINUTE

/** Why a message was not delivered; `INTERNAL` is a fault of this service. */
export type DeliveryErrorCode = TelegramErrorCode | 'INTERNAL'

/** How long after it was written a message is tried again, by why it failed. */
const PATIENCE_MS: Readonly<Record<DeliveryErrorCode, number>> = {
  INTERNAL: 24 * HOUR,
  TELEGRAM_UNREACHABLE: 24 * HOUR,
  TELEGRAM_RATE_LIMITED: 24 * HOUR,
  TELEGRAM_ABORTED: 24 * HOUR,
  // Somebody may mend these, but not for long: the chats behind would wait.
  TELEGRAM_UNAUTHORIZED: HOUR,
  TELEGRAM_CHAT_NOT_FOUND: HOUR,
  TELEGRAM_BLOCKED: HOUR,
  TELEGRAM_REJECTED: 0
}

interface Claimed {
  messageId: string
  chatId: string
  text: string
  attempts: number
  ageMs: number
}

export interface OutboxSenderOptions {
  database: Database
  log: Log
  instanceId: string
  applicationName: string
  /** Delivers one message within the milliseconds given. @throws {TelegramError} */
  send: (
    message: { chatId: string; text: string },
    options: { deadlineMs: number; signal: AbortSignal }
  ) => Promise<unknown>
}

/**
 * Sends what the outbox holds: of each chat the oldest message first, the next one after it was delivered or given up. A
 * message is leased while it is sent, so that of several replicas one sends it; a sender that died in between makes its
 * lease run out and the message be sent again: each arrives at least once.
 */
export class OutboxSender {
  readonly #options: OutboxSenderOptions
  readonly #closing = new AbortController()
  readonly #delivering = new Set<Promise<void>>()
  #listener: Listener | undefined
  #timer: NodeJS.Timeout | undefined
  #claiming: Promise<void> | undefined
  #again = false
  #failing = false
  #closed = false
  #depth: OutboxDepth | undefined

  constructor(options: OutboxSenderOptions) {
    this.#options = options
  }

  /** How the outbox stood at the last look at it, whoever sends; undefined before the first. */
  get depth(): OutboxDepth | undefined {
    return this.#depth
  }

  /** Begins to send; call it when the schema is there. Idempotent. */
  async start(): Promise<void> {
    const { database, applicationName, log } = this.#options
    const url = await database.address
    if (this.#closed || this.#listener) return
    this.#listener = new Listener({ url, channel: OUTBOX_CHANNEL, applicationName, log, heard: () => this.#wake() })
    this.#listener.restart()
    this.#timer = setInterval(() => {
      this.#wake()
      void this.measure()
    }, LOOK_MS).unref()
    this.#wake()
    void this.measure()
  }

  /** Sends everything that is due, and waits until nothing is under way. Never rejects. */
  async look(): Promise<void> {
    this.#wake()
    while (this.#claiming || this.#delivering.size > 0) await Promise.all([this.#claiming, ...this.#delivering])
  }

  /** Takes in how the outbox stands. Never rejects: what was known stays. */
  async measure(): Promise<void> {
    try {
      this.#depth = await outboxDepth(this.#options.database)
    } catch (err) {
      this.#options.log.debug({ err }, 'outbox not measured')
    }
  }

  /**
   * Claims nothing more, lets what is being sent end within `graceMs` milliseconds, gives back what does not, and releases
   * timer and connection. Idempotent.
   */
  async close(graceMs = GRACE_MS): Promise<void> {
    this.#closed = true
    clearInterval(this.#timer)
    this.#listener?.close()
    const grace = setTimeout(() => this.#closing.abort(), graceMs)
    while (this.#claiming || this.#delivering.size > 0) await Promise.all([this.#claiming, ...this.#delivering])
    clearTimeout(grace)
  }

  /** Looks for messages, as soon as it is not already looking. A chat that takes its time keeps one place of several. */
  #wake(): void {
    this.#again = true
    if (!this.#claiming && this.#mayClaim()) this.#claiming = this.#claimDue()
  }

  #mayClaim(): boolean {
    return !this.#closed && this.#delivering.size < AT_ONCE
  }

  async #claimDue(): Promise<void> {
    try {
      while (this.#again && this.#mayClaim()) {
        this.#again = false
        for (const message of await this.#claim(AT_ONCE - this.#delivering.size)) this.#begin(message)
        if (this.#failing) this.#listener?.restart()
        this.#failing = false
      }
    } catch (err) {
      if (!this.#failing && !this.#closed) this.#options.log.warn({ err }, 'outbox not read')
      this.#failing = true
    } finally {
      this.#claiming = undefined
    }
  }

  #begin(message: Claimed): void {
    const delivering = this.#deliver(message).finally(() => {
      this.#delivering.delete(delivering)
      this.#wake()
    })
    this.#delivering.add(delivering)
  }

  async #claim(limit: number): Promise<Claimed[]> {
    const { database, instanceId } = this.#options
    return database.run(
      sql => sql<Claimed[]>`
        update outbox set leased_by = ${instanceId}, leased_until = now() + ${LEASE}::interval
        where message_id in (
          select message_id from outbox message
          where delivered_at is null and given_up_at is null and next_attempt_at <= now()
            and (leased_until is null or leased_until < now())
            -- One that committed late may stand before one that is being sent.
            and not exists (
              select from outbox other
              where other.chat_id = message.chat_id and other.delivered_at is null and other.given_up_at is null
                and (other.message_id < message.message_id or other.leased_until > now())
            )
          order by message_id limit ${limit} for update skip locked
        )
        returning message_id as "messageId", chat_id as "chatId", text, attempts,
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
    // Whoever holds it by now: it did arrive.
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
    const known = err instanceof TelegramError
    const aborted = this.#closing.signal.aborted || (known && err.code === 'TELEGRAM_ABORTED')
    const code = known ? err.code : 'INTERNAL'
    const givenUp = !aborted && ageMs >= PATIENCE_MS[code]
    const backOffMs = Math.min(SECOND * 2 ** Math.min(attempts, 20), MAX_BACK_OFF_MS)
    const waitMs = aborted ? 0 : Math.max(backOffMs, known ? (err.retryAfterMs ?? 0) : 0)
    if (givenUp) log.error({ err, message_id: messageId, chat_id: chatId }, 'message given up')
    else if (!known && !aborted) log.error({ err, message_id: messageId }, 'message not sent')
    await this.#record(
      messageId,
      sql => sql`
        update outbox set attempts = attempts + ${aborted ? 0 : 1}::int, leased_by = null, leased_until = null,
          next_attempt_at = now() + make_interval(secs => ${waitMs / SECOND}::float8),
          error_code = coalesce(${aborted ? null : code}, error_code), given_up_at = case when ${givenUp} then now() end
        where message_id = ${messageId} and leased_by = ${instanceId} and delivered_at is null`
    )
    if (!aborted) await this.measure()
  }

  /** Tries until it is written, as long as the lease lasts: a message must not arrive twice for a moment without database. */
  async #record(messageId: string, write: (sql: Sql) => Promise<unknown>): Promise<void> {
    const { database, log } = this.#options
    const { signal } = this.#closing
    const begunMs = performance.now()
    for (;;) {
      try {
        await database.run(write)
        return
      } catch (err) {
        if (this.#closed || performance.now() - begunMs > RECORD_MS) {
          log.warn({ err, message_id: messageId }, 'message delivery not recorded, it is sent again')
          return
        }
      }
      await sleep(systemTimers, RECORD_AGAIN_MS, signal).catch(() => undefined)
    }
  }
}
