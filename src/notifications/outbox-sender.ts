// @FEAT:health-monitoring @COMP:service @TYPE:core
import type { Database } from '../database/database.ts'
import type { Log } from '../log.ts'
import { Listener } from '../scheduler/listener.ts'
import { OUTBOX_CHANNEL } from './outbox.ts'
import { TelegramError, type TelegramErrorCode } from './telegram-error.ts'

const SECOND = 1_000
const MINUTE = 60 * SECOND
const HOUR = 60 * MINUTE

/** Chats that are sent to side by side. */
const AT_ONCE = 10
/** Longer than a call with all of its retries, so that a living sender never loses a message to another. */
const CALL_MS = 20 * SECOND
const LEASE = '60 seconds'
const LOOK_MS = 10 * SECOND
const MAX_BACK_OFF_MS = 10 * MINUTE

/** How long after it was written a message is tried again, by why it failed. */
const PATIENCE_MS: Readonly<Record<TelegramErrorCode, number>> = {
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
  #listener: Listener | undefined
  #timer: NodeJS.Timeout | undefined
  #sending: Promise<void> | undefined
  #again = false
  #failing = false
  #lastErrorCode: TelegramErrorCode | null = null

  constructor(options: OutboxSenderOptions) {
    this.#options = options
  }

  /** Why the last message was not delivered; null when it was, or before the first. */
  get lastErrorCode(): TelegramErrorCode | null {
    return this.#lastErrorCode
  }

  /** Begins to send; call it when the schema is there. Idempotent. */
  async start(): Promise<void> {
    const { database, applicationName, log } = this.#options
    const url = await database.address
    if (this.#closing.signal.aborted || this.#listener) return
    this.#listener = new Listener({ url, channel: OUTBOX_CHANNEL, applicationName, log, heard: () => void this.look() })
    this.#listener.restart()
    this.#timer = setInterval(() => void this.look(), LOOK_MS).unref()
    void this.look()
  }

  /** Sends everything that is due. Never rejects. */
  async look(): Promise<void> {
    if (this.#sending) {
      this.#again = true
      return this.#sending
    }
    this.#sending = this.#sendDue().finally(() => {
      this.#sending = undefined
    })
    return this.#sending
  }

  /** Ends what is being sent, gives it back, and releases timer and connection. Idempotent. */
  async close(): Promise<void> {
    this.#closing.abort()
    clearInterval(this.#timer)
    this.#listener?.close()
    await this.#sending
  }

  async #sendDue(): Promise<void> {
    try {
      do {
        this.#again = false
        const claimed = await this.#claim()
        if (this.#failing) this.#listener?.restart()
        this.#failing = false
        await Promise.all(claimed.map(message => this.#deliver(message)))
        if (claimed.length > 0) this.#again = true
      } while (this.#again && !this.#closing.signal.aborted)
    } catch (err) {
      if (!this.#failing && !this.#closing.signal.aborted) this.#options.log.warn({ err }, 'outbox not read')
      this.#failing = true
    }
  }

  async #claim(): Promise<Claimed[]> {
    const { database, instanceId } = this.#options
    if (this.#closing.signal.aborted) return []
    return database.run(
      sql => sql<Claimed[]>`
        update outbox set leased_by = ${instanceId}, leased_until = now() + ${LEASE}::interval
        where message_id in (
          select message_id from outbox message
          where delivered_at is null and given_up_at is null and next_attempt_at <= now()
            and (leased_until is null or leased_until < now())
            and not exists (
              select from outbox earlier
              where earlier.chat_id = message.chat_id and earlier.message_id < message.message_id
                and earlier.delivered_at is null and earlier.given_up_at is null
            )
          order by message_id limit ${AT_ONCE} for update skip locked
        )
        returning message_id as "messageId", chat_id as "chatId", text, attempts,
          (extract(epoch from now() - created_at) * 1000)::float8 as "ageMs"`
    )
  }

  async #deliver(message: Claimed): Promise<void> {
    const { send, database, instanceId } = this.#options
    try {
      await send(message, { deadlineMs: CALL_MS, signal: this.#closing.signal })
    } catch (err) {
      if (!(err instanceof TelegramError) && !this.#closing.signal.aborted) throw err
      return this.#failed(message, err instanceof TelegramError ? err : undefined)
    }
    this.#lastErrorCode = null
    await database.run(
      sql => sql`
        update outbox set delivered_at = now(), attempts = attempts + 1, error_code = null, leased_by = null, leased_until = null
        where message_id = ${message.messageId} and leased_by = ${instanceId}`
    )
  }

  async #failed({ messageId, chatId, attempts, ageMs }: Claimed, err: TelegramError | undefined): Promise<void> {
    const { database, instanceId, log } = this.#options
    const aborted = err === undefined || err.code === 'TELEGRAM_ABORTED'
    if (!aborted) this.#lastErrorCode = err.code
    const givenUp = err !== undefined && !aborted && ageMs >= PATIENCE_MS[err.code]
    const backOffMs = Math.min(SECOND * 2 ** Math.min(attempts, 20), MAX_BACK_OFF_MS)
    const waitMs = aborted ? 0 : Math.max(backOffMs, err.retryAfterMs ?? 0)
    if (givenUp) log.error({ err, message_id: messageId, chat_id: chatId }, 'message given up')
    await database.run(
      sql => sql`
        update outbox set attempts = attempts + ${aborted ? 0 : 1}::int, leased_by = null, leased_until = null,
          next_attempt_at = now() + make_interval(secs => ${waitMs / SECOND}::float8),
          error_code = coalesce(${aborted ? null : err.code}, error_code), given_up_at = case when ${givenUp} then now() end
        where message_id = ${messageId} and leased_by = ${instanceId}`
    )
  }
}
