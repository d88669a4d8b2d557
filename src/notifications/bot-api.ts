import { HOUR, SECOND } from '../async/durations.ts'
import { TelegramError, type TelegramErrorCode, type TelegramMethod } from './telegram-error.ts'

const MAX_DESCRIPTION = 200
const WITHHELD = '[withheld: it quotes the token]'

type JsonObject = Record<string, unknown>

/** Descriptions of answers with status 400 about the chat or the bot's rights in it, not about the request. */
const noSuchChat =
  /chat not found|chat_id is empty|chat_id_invalid|peer_id_invalid|user not found|chat was (migrated|upgraded|deactivated)|thread not found|topic_deleted|topic_id_invalid|channel_(private|invalid)/i
const noRights =
  /not enough rights|have no rights|need administrator rights|_forbidden|user_is_blocked|user_banned|chat_restricted|chat_admin_required|topic_closed/i
/** A bot that was logged out of this server, to use another one, is answered with status 400. */
const loggedOut = /logged out/i
/** Descriptions of answers with status 400 about the text of the message: no later attempt succeeds. */
const rejectedText =
  /can't parse|message is too long|message_too_long|message text|message_empty|text must be|entit(y|ies)|button|reply markup/i

/**
 * Reads an answer of the Bot API (https://core.telegram.org/bots/api#making-requests): its `result`, or the error.
 * @param quotesToken whether a text holds a piece of the token: then it is withheld
 * @throws {TelegramError} for every answer that is not a result
 */
export function readAnswer(
  method: TelegramMethod,
  status: number,
  text: string,
  quotesToken: (text: string) => boolean
): unknown {
  const answer = parseObject(text)
  if (answer?.ok === true && status === 200) return answer.result
  const isBotApi = answer?.ok === false
  const parameters = asObject(answer?.parameters)
  const telegramDescription = isBotApi && typeof answer.description === 'string' ? answer.description : undefined
  // The whole of it, for the half that a replacement would miss.
  const description =
    telegramDescription && quotesToken(telegramDescription) ? WITHHELD : telegramDescription?.slice(0, MAX_DESCRIPTION)
  const code = codeOf(status, isBotApi, telegramDescription ?? '')
  throw new TelegramError(code, method, {
    status,
    temporary: status === 429 || status >= 500,
    rejectsText: code === 'TELEGRAM_REJECTED' && rejectedText.test(telegramDescription ?? ''),
    ...reasonOf(code, status, isBotApi, telegramDescription ?? ''),
    ...(description !== undefined && { description }),
    ...retryAfter(parameters),
    ...migration(parameters)
  })
}

/**
 * The answer to a call had not the fields that the Bot API promises, so something else answered.
 */
export function notBotApi(method: TelegramMethod): TelegramError {
  return new TelegramError('TELEGRAM_UNREACHABLE', method, { status: 200, reason: 'NOT_BOT_API' })
}

/** An object of JSON, or undefined for everything else. */
export function asObject(value: unknown): JsonObject | undefined {
  return isObject(value) ? value : undefined
}

function isObject(value: unknown): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

/** An id of a chat or message: Telegram's numbers have at most 52 significant bits. */
export function asId(value: unknown): string | undefined {
  if (typeof value === 'number' && Number.isSafeInteger(value)) return String(value)
  return typeof value === 'string' && /^-?\d{1,16}$/.test(value) ? value : undefined
}

function parseObject(text: string): JsonObject | undefined {
  try {
    return asObject(JSON.parse(text))
  } catch (err) {
    if (err instanceof SyntaxError) return undefined
    throw err
  }
}

function codeOf(status: number, isBotApi: boolean, description: string): TelegramErrorCode {
  if (status === 429) return 'TELEGRAM_RATE_LIMITED'
  if (!isBotApi || status >= 500) return 'TELEGRAM_UNREACHABLE'
  // A token of the wrong form is answered with 404: it is part of the path.
  if (status === 401 || status === 404 || loggedOut.test(description)) return 'TELEGRAM_UNAUTHORIZED'
  if (status === 409) return 'TELEGRAM_CONFLICT'
  if (status === 403 || noRights.test(description)) return 'TELEGRAM_BLOCKED'
  return noSuchChat.test(description) ? 'TELEGRAM_CHAT_NOT_FOUND' : 'TELEGRAM_REJECTED'
}

function reasonOf(code: TelegramErrorCode, status: number, isBotApi: boolean, text: string): { reason?: string } {
  if (code === 'TELEGRAM_CONFLICT') return { reason: /webhook/i.test(text) ? 'WEBHOOK_ACTIVE' : 'OTHER_POLLER' }
  return isBotApi ? {} : { reason: status >= 500 ? 'SERVER_ERROR' : 'NOT_BOT_API' }
}

function retryAfter(parameters: JsonObject | undefined): { retryAfterMs?: number } {
  const seconds = parameters?.retry_after
  if (typeof seconds !== 'number' || !(seconds > 0)) return {}
  return { retryAfterMs: Math.min(Math.ceil(seconds * SECOND), HOUR) }
}

function migration(parameters: JsonObject | undefined): { migratedTo?: string } {
  const migratedTo = asId(parameters?.migrate_to_chat_id)
  return migratedTo === undefined ? {} : { migratedTo }
}
