// @FEAT:health-monitoring @COMP:service @TYPE:integration

import { type Dispatcher, request } from 'undici'
import { backOffMs } from '../async/back-off.ts'
import { DeadlineError, withDeadline } from '../async/deadline.ts'
import { SECOND } from '../async/durations.ts'
import { sleep, systemTimers, type Timers } from '../async/timers.ts'
import { asId, asObject, notBotApi, readAnswer } from './bot-api.ts'
import { Pacer } from './pacer.ts'
import {
  TelegramError,
  type TelegramErrorCode,
  type TelegramErrorDetails,
  type TelegramMethod
} from './telegram-error.ts'

const RETRIES = { minMs: SECOND, maxMs: 8 * SECOND, jitter: 0.5 }
const MAX_ANSWER_BYTES = 256 * 1_024
/** A part of the token's secret of this length must not be logged; no sentence contains it by chance. */
const TOKEN_PIECE = 6

export interface TelegramClientOptions {
  /** The bot's token, `<number>:<secret>`. Another form fails with `TELEGRAM_UNAUTHORIZED` without a call. */
  token: string
  /** Sends the requests; its creator closes it. */
  dispatcher: Dispatcher
  /** The address of the Bot API, without `/bot<token>`. Default: https://api.telegram.org */
  baseUrl?: string
  /** A topic of one chat: messages to that chat go there. Default: none. */
  topic?: { chatId: string; id: number }
  /** Longest duration of one attempt, in milliseconds. Default 5 s. */
  attemptTimeoutMs?: number
  /** Longest duration of one call with its waits and retries, in milliseconds. Default 30 s. */
  deadlineMs?: number
  /** Attempts of one call, at least 1. Default 3. */
  maxAttempts?: number
  /** The longest answer that is read, in bytes. Default 256 KiB. */
  maxAnswerBytes?: number
  /** The rate limit of messages. Default: an own pacer. */
  pacer?: Pacer
  timers?: Timers
  /** Returns a number from 0 to 1, for the jitter of retries. Default `Math.random`. */
  random?: () => number
  /** Called at the end of each call. */
  onCall?: (end: TelegramCallEnd) => void
}

/** The end of a call, for metrics. */
export interface TelegramCallEnd {
  method: TelegramMethod
  outcome: 'ok' | TelegramErrorCode | 'internal'
  /** All waits and attempts included, in milliseconds. */
  durationMs: number
}

export interface CallOptions {
  /** Longest duration of this call, in milliseconds. Default: the client's. */
  deadlineMs?: number
  signal?: AbortSignal | undefined
}

/** A button under a message: `data` comes back in the update when it is pressed. At most 64 bytes. */
export interface Button {
  text: string
  data: string
}

/** A command in the menu of a chat. */
export interface MenuCommand {
  command: string
  description: string
}

/** The bot that the token belongs to. */
export interface Bot {
  id: string
  username: string | undefined
}

export interface Chat {
  id: string
  type: string
  /** The requested group became the supergroup `id`: use that id from now on. */
  migrated: boolean
}

export interface SentMessage {
  messageId: string
  /** The chat that received the message. */
  chatId: string
  /** The group became the supergroup `chatId`: use that id from now on. */
  migrated: boolean
}

interface Call {
  method: TelegramMethod
  parameters: Record<string, unknown>
  /** On the clock of the timers. */
  latest: number
  signal: AbortSignal | undefined
}

/**
 * The calls of the Bot API that this service makes. Every call ends within its deadline. It is retried after a 429
 * (after `retry_after`, if the deadline allows it), a 5xx, a timeout or a broken connection; not after another answer.
 * A message is delivered at least once: when an answer is lost, the message is sent again.
 *
 * The path of each URL contains the token. No error and no inspectable field of this object contains it.
 */
export class TelegramClient {
  readonly #options: Required<Omit<TelegramClientOptions, 'topic'>>
  readonly #topic: TelegramClientOptions['topic']

  /** @throws {TypeError} when `baseUrl` is no URL */
  constructor(options: TelegramClientOptions) {
    const { topic, ...rest } = options
    const timers = options.timers ?? systemTimers
    this.#topic = topic
    this.#options = {
      attemptTimeoutMs: 5 * SECOND,
      deadlineMs: 30 * SECOND,
      maxAttempts: 3,
      maxAnswerBytes: MAX_ANSWER_BYTES,
      pacer: new Pacer({ timers }),
      random: Math.random,
      onCall: () => undefined,
      ...rest,
      timers,
      baseUrl: new URL(options.baseUrl ?? 'https://api.telegram.org').href.replace(/\/+$/, '')
    }
  }

  /**
   * Returns the bot: Telegram is reachable and accepts the token.
   * @throws {TelegramError}
   */
  async getMe(options: CallOptions = {}): Promise<Bot> {
    const result = asObject(await this.#call('getMe', {}, this.#bounds(options)))
    const id = asId(result?.id)
    if (id === undefined) throw notBotApi('getMe')
    return { id, username: typeof result?.username === 'string' ? result.username : undefined }
  }

  /**
   * Returns a chat that the bot has access to.
   * @param chatId the number, or `@name` of a public channel or group
   * @throws {TelegramError}
   */
  async getChat(chatId: string, options: CallOptions = {}): Promise<Chat> {
    const bounds = this.#bounds(options)
    return followMigration(chatId, async id => {
      const result = asObject(await this.#call('getChat', { chat_id: id }, bounds))
      const found = asId(result?.id)
      if (found === undefined || typeof result?.type !== 'string') throw notBotApi('getChat')
      return { id: found, type: result.type }
    })
  }

  /**
   * Sends one message, within the rate limit of Telegram. Not idempotent.
   * @param chatId the number, or `@name` of a public channel or group
   * @param html the text in Telegram's HTML; longer ones go through `splitMessage` first
   * @param options.buttons one row of buttons under the text
   * @throws {TelegramError}
   */
  async sendMessage(
    chatId: string,
    html: string,
    { buttons, ...options }: CallOptions & { buttons?: readonly Button[] } = {}
  ): Promise<SentMessage> {
    const bounds = this.#bounds(options)
    const topic = this.#topic?.chatId === chatId ? { message_thread_id: this.#topic.id } : {}
    return followMigration(chatId, async id => {
      const keyboard = buttons?.map(({ text, data }) => ({ text, callback_data: data }))
      const parameters = {
        ...{ chat_id: id, ...topic, ...htmlText(html) },
        ...(keyboard && { reply_markup: { inline_keyboard: [keyboard] } })
      }
      const result = asObject(await this.#call('sendMessage', parameters, bounds, id))
      const messageId = asId(result?.message_id)
      if (messageId === undefined) throw notBotApi('sendMessage')
      return { messageId, chatId: id }
    })
  }

  /** Replaces the text of a message of this bot, and removes its buttons. Idempotent. @throws {TelegramError} */
  async editMessage(chatId: string, messageId: string, html: string, options: CallOptions = {}): Promise<void> {
    const parameters = { chat_id: chatId, message_id: Number(messageId), ...htmlText(html) }
    await this.#call('editMessageText', parameters, this.#bounds(options), chatId)
  }

  /** Ends the wait that the app of a user shows after a pressed button, with a short text. @throws {TelegramError} */
  async answerPress(queryId: string, text: string, options: CallOptions = {}): Promise<void> {
    await this.#call('answerCallbackQuery', { callback_query_id: queryId, text }, this.#bounds(options))
  }

  /** Sets the menu of commands of a chat for users of a language; without one for all others. @throws {TelegramError} */
  async setCommands(
    commands: readonly MenuCommand[],
    { chatId, language, ...options }: CallOptions & { chatId: string; language?: string }
  ): Promise<void> {
    const scope = { type: 'chat', chat_id: chatId }
    const parameters = { commands, scope, ...(language !== undefined && { language_code: language }) }
    await this.#call('setMyCommands', parameters, this.#bounds(options))
  }

  /**
   * Waits up to `waitSeconds` for messages and pressed buttons, in one attempt. Telegram forgets the updates before
   * `offset`; without one it returns the oldest that it has.
   * @throws {TelegramError}
   */
  async getUpdates(
    { offset, limit, waitSeconds }: { offset: number | undefined; limit: number; waitSeconds: number },
    options: CallOptions = {}
  ): Promise<unknown> {
    const parameters = { offset, limit, timeout: waitSeconds, allowed_updates: ['message', 'callback_query'] }
    return this.#call('getUpdates', parameters, this.#bounds(options))
  }

  #bounds({ deadlineMs = this.#options.deadlineMs, signal }: CallOptions): Pick<Call, 'latest' | 'signal'> {
    return { latest: this.#options.timers.now() + deadlineMs, signal }
  }

  /** @param pacedChat the chat whose rate limit each attempt waits for */
  async #call(
    method: TelegramMethod,
    parameters: Record<string, unknown>,
    bounds: Pick<Call, 'latest' | 'signal'>,
    pacedChat?: string
  ): Promise<unknown> {
    const { timers, onCall } = this.#options
    const startedMs = timers.now()
    const report = (outcome: TelegramCallEnd['outcome']) =>
      onCall({ method, outcome, durationMs: timers.now() - startedMs })
    try {
      const result = await this.#attempts(method, parameters, bounds, pacedChat)
      report('ok')
      return result
    } catch (err) {
      report(err instanceof TelegramError ? err.code : 'internal')
      throw err
    }
  }

  async #attempts(
    method: TelegramMethod,
    parameters: Record<string, unknown>,
    bounds: Pick<Call, 'latest' | 'signal'>,
    pacedChat?: string
  ): Promise<unknown> {
    const { timers, pacer, maxAttempts, random } = this.#options
    const { latest, signal } = bounds
    if (!/^\d{1,20}:[\w-]{1,128}$/.test(this.#options.token)) {
      throw new TelegramError('TELEGRAM_UNAUTHORIZED', method, { reason: 'MALFORMED_TOKEN' })
    }
    for (let attempt = 1; ; attempt++) {
      try {
        if (pacedChat !== undefined) await this.#awaitTurn(pacedChat, method, bounds)
        return await this.#attempt({ method, parameters, ...bounds })
      } catch (err) {
        if (!(err instanceof TelegramError)) throw err
        if (pacedChat !== undefined && err.retryAfterMs !== undefined) pacer.hold(pacedChat, err.retryAfterMs)
        const waitMs = err.retryAfterMs ?? backOffMs(RETRIES, attempt, random)
        if (!err.temporary || attempt >= maxAttempts || timers.now() + waitMs >= latest) throw err
        await abortable(method, signal, sleep(timers, waitMs, signal))
      }
    }
  }

  async #awaitTurn(chatId: string, method: TelegramMethod, { latest, signal }: Pick<Call, 'latest' | 'signal'>) {
    const turn = await abortable(method, signal, this.#options.pacer.turn(chatId, latest, signal))
    if (turn.granted) return
    const { retryAfterMs } = turn
    throw new TelegramError('TELEGRAM_RATE_LIMITED', method, { temporary: true, reason: 'PACED', retryAfterMs })
  }

  async #attempt({ method, parameters, latest, signal }: Call): Promise<unknown> {
    const { token, baseUrl, dispatcher, timers, attemptTimeoutMs, maxAnswerBytes } = this.#options
    if (signal?.aborted) throw new TelegramError('TELEGRAM_ABORTED', method)
    const timeoutMs = Math.min(attemptTimeoutMs, latest - timers.now())
    const post = async (signal: AbortSignal) => {
      const answer = await request(`${baseUrl}/bot${token}/${method}`, {
        method: 'POST',
        dispatcher,
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify(parameters),
        signal
      })
      return { status: answer.statusCode, text: await readText(answer.body, maxAnswerBytes) }
    }
    try {
      const { status, text } = await withDeadline(post, timeoutMs, { signal, timers })
      return readAnswer(method, status, text, description => this.#quotesToken(description))
    } catch (err) {
      if (err instanceof TelegramError) throw err
      if (signal?.aborted) throw new TelegramError('TELEGRAM_ABORTED', method)
      const reason = err instanceof DeadlineError ? 'TIMEOUT' : nameOf(err)
      throw new TelegramError('TELEGRAM_UNREACHABLE', method, { temporary: true, reason })
    }
  }

  /** Whether a text contains a part of the token's secret: a server may quote the path, cut or in capitals. */
  #quotesToken(text: string): boolean {
    const { token } = this.#options
    const secret = token.slice(token.indexOf(':') + 1).toLowerCase()
    const lowerCase = text.toLowerCase()
    const length = Math.min(TOKEN_PIECE, secret.length)
    for (let at = 0; at + length <= secret.length; at++) {
      if (lowerCase.includes(secret.slice(at, at + length))) return true
    }
    return false
  }
}

function htmlText(html: string) {
  return { text: html, parse_mode: 'HTML', link_preview_options: { is_disabled: true } }
}

/** Calls `act` for a chat, and again for the supergroup that the chat has become. */
async function followMigration<T>(
  chatId: string,
  act: (chatId: string) => Promise<T>
): Promise<T & { migrated: boolean }> {
  try {
    return { ...(await act(chatId)), migrated: false }
  } catch (err) {
    if (!(err instanceof TelegramError) || err.migratedTo === undefined) throw err
    const { migratedTo } = err
    try {
      return { ...(await act(migratedTo)), migrated: true }
    } catch (second) {
      if (!(second instanceof TelegramError)) throw second
      throw new TelegramError(second.code, second.method, { ...detailsOf(second), migratedTo })
    }
  }
}

function detailsOf({
  temporary,
  rejectsText,
  status,
  description,
  reason,
  retryAfterMs
}: TelegramError): TelegramErrorDetails {
  return {
    temporary,
    rejectsText,
    ...(status !== undefined && { status }),
    ...(description !== undefined && { description }),
    ...(reason !== undefined && { reason }),
    ...(retryAfterMs !== undefined && { retryAfterMs })
  }
}

/** Waits, and reports an abort by the caller's signal as a `TelegramError`. */
async function abortable<T>(method: TelegramMethod, signal: AbortSignal | undefined, wait: Promise<T>): Promise<T> {
  try {
    return await wait
  } catch (err) {
    if (signal?.aborted) throw new TelegramError('TELEGRAM_ABORTED', method)
    throw err
  }
}

/** The code of an error of Node or undici. A token contains a colon, so the pattern cannot match one. */
function nameOf(err: unknown): string {
  const code = typeof err === 'object' && err !== null && 'code' in err ? err.code : undefined
  return typeof code === 'string' && /^[A-Z][A-Z0-9_]{1,40}$/.test(code) ? code : 'CONNECTION_FAILED'
}

async function readText(body: AsyncIterable<Uint8Array>, maxBytes: number): Promise<string> {
  const chunks: Uint8Array[] = []
  let size = 0
  for await (const chunk of body) {
    size += chunk.length
    if (size > maxBytes) throw Object.assign(new Error('answer too large'), { code: 'ANSWER_TOO_LARGE' })
    chunks.push(chunk)
  }
  return Buffer.concat(chunks).toString()
}
