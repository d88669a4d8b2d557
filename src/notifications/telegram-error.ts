/**
 * Why a call to Telegram failed:
 * - `TELEGRAM_UNAUTHORIZED`: the bot token is wrong or was revoked, or the bot was logged out of this server
 * - `TELEGRAM_CHAT_NOT_FOUND`: the chat or its topic does not exist, or the bot has no contact with it
 * - `TELEGRAM_BLOCKED`: the bot may not write to the chat: blocked, removed, without rights, topic closed
 * - `TELEGRAM_RATE_LIMITED`: too many requests; retry after `retryAfterMs`, where it is known
 * - `TELEGRAM_UNREACHABLE`: no answer, a server error, or an answer of something other than the Bot API
 * - `TELEGRAM_CONFLICT`: the bot has a webhook, or another program reads its updates; `reason` says which
 * - `TELEGRAM_REJECTED`: Telegram rejects this request (markup, length, …)
 * - `TELEGRAM_ABORTED`: the caller's signal aborted the call
 */
export type TelegramErrorCode =
  | 'TELEGRAM_UNAUTHORIZED'
  | 'TELEGRAM_CHAT_NOT_FOUND'
  | 'TELEGRAM_BLOCKED'
  | 'TELEGRAM_RATE_LIMITED'
  | 'TELEGRAM_UNREACHABLE'
  | 'TELEGRAM_CONFLICT'
  | 'TELEGRAM_REJECTED'
  | 'TELEGRAM_ABORTED'

export type TelegramMethod =
  | 'getMe'
  | 'getChat'
  | 'sendMessage'
  | 'editMessageText'
  | 'getUpdates'
  | 'answerCallbackQuery'
  | 'setMyCommands'

export interface TelegramErrorDetails {
  /**
   * Whether the client retries the request within seconds. A caller that stores messages decides by `code`: a
   * `TELEGRAM_UNREACHABLE` that is not temporary (a proxy answered) may end, too, but not within seconds.
   */
  temporary?: boolean
  /** Whether Telegram rejects the text of the message, which no later attempt changes. Default false. */
  rejectsText?: boolean
  /** HTTP status of the answer, where there was one. */
  status?: number
  /** Telegram's description, at most 200 characters, withheld when it quotes the token. For the log, not for clients. */
  description?: string
  /** The technical reason: `TIMEOUT`, `ECONNREFUSED`, `NOT_BOT_API`, `WEBHOOK_ACTIVE`, `OTHER_POLLER`, … */
  reason?: string
  /** The wait before Telegram accepts another request, in milliseconds, at most an hour. */
  retryAfterMs?: number
  /** The group became this supergroup: use its id from now on. */
  migratedTo?: string
}

/**
 * A call to Telegram failed. The URL of every call contains the token, and network errors quote URLs, so this error has
 * no `cause`: `reason` names it instead.
 */
export class TelegramError extends Error {
  override name = 'TelegramError'
  readonly code: TelegramErrorCode
  readonly method: TelegramMethod
  readonly temporary: boolean
  readonly rejectsText: boolean
  readonly status: number | undefined
  readonly description: string | undefined
  readonly reason: string | undefined
  readonly retryAfterMs: number | undefined
  readonly migratedTo: string | undefined

  constructor(code: TelegramErrorCode, method: TelegramMethod, details: TelegramErrorDetails = {}) {
    const { temporary = false, rejectsText = false, status, description, reason, retryAfterMs, migratedTo } = details
    super([`${method}: ${code}`, description ?? reason].filter(part => part !== undefined).join(', '))
    this.code = code
    this.method = method
    this.temporary = temporary
    this.rejectsText = rejectsText
    this.status = status
    this.description = description
    this.reason = reason
    this.retryAfterMs = retryAfterMs
    this.migratedTo = migratedTo
  }
}
