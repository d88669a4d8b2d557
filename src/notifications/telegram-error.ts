/**
 * Why Telegram did not do what was asked:
 * - `TELEGRAM_UNAUTHORIZED`: the bot token is wrong or was revoked
 * - `TELEGRAM_CHAT_NOT_FOUND`: no such chat, or the bot was never in touch with it
 * - `TELEGRAM_BLOCKED`: the bot may not write there: blocked, removed, without rights
 * - `TELEGRAM_RATE_LIMITED`: too many requests; `retryAfterMs` says when again, as far as it is known
 * - `TELEGRAM_UNREACHABLE`: no answer, an error of the server, or an answer that is none of the Bot API's
 * - `TELEGRAM_REJECTED`: it understood, and refuses this very request (markup, length, …)
 * - `TELEGRAM_ABORTED`: the caller's signal ended the call
 */
export type TelegramErrorCode =
  | 'TELEGRAM_UNAUTHORIZED'
  | 'TELEGRAM_CHAT_NOT_FOUND'
  | 'TELEGRAM_BLOCKED'
  | 'TELEGRAM_RATE_LIMITED'
  | 'TELEGRAM_UNREACHABLE'
  | 'TELEGRAM_REJECTED'
  | 'TELEGRAM_ABORTED'

export type TelegramMethod = 'getMe' | 'getChat' | 'sendMessage'

export interface TelegramErrorDetails {
  /**
   * Whether the client tries the same request again by itself. Who keeps a message for later decides by `code`: a
   * `TELEGRAM_UNREACHABLE` that is not temporary (a proxy answered) may end as well, only not within seconds.
   */
  temporary?: boolean
  /** HTTP status of the answer, where there was one. */
  status?: number
  /** What Telegram says about it, withheld when it quotes the token, at most 200 characters. For the log, never for a client. */
  description?: string
  /** A name for what went wrong below: `TIMEOUT`, `ECONNREFUSED`, `NOT_BOT_API`, … */
  reason?: string
  /** Telegram takes no further request before, in milliseconds, at most an hour. */
  retryAfterMs?: number
  /** The group became this supergroup: use its id from now on. */
  migratedTo?: string
}

/**
 * A call to Telegram failed. The token stands in the URL of every call and errors of the network quote URLs, so this
 * one deliberately carries no `cause`: `reason` names it instead.
 */
export class TelegramError extends Error {
  override name = 'TelegramError'
  readonly code: TelegramErrorCode
  readonly method: TelegramMethod
  readonly temporary: boolean
  readonly status: number | undefined
  readonly description: string | undefined
  readonly reason: string | undefined
  readonly retryAfterMs: number | undefined
  readonly migratedTo: string | undefined

  constructor(code: TelegramErrorCode, method: TelegramMethod, details: TelegramErrorDetails = {}) {
    const { temporary = false, status, description, reason, retryAfterMs, migratedTo } = details
    super([`${method}: ${code}`, description ?? reason].filter(part => part !== undefined).join(', '))
    this.code = code
    this.method = method
    this.temporary = temporary
    this.status = status
    this.description = description
    this.reason = reason
    this.retryAfterMs = retryAfterMs
    this.migratedTo = migratedTo
  }
}
