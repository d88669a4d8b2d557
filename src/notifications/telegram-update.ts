// @FEAT:health-monitoring @COMP:service @TYPE:integration
import { asId, asObject, notBotApi } from './bot-api.ts'

/** The chat of an update. */
export interface UpdateChat {
  id: string
  isPrivate: boolean
  /** The name of a public group; undefined where there is none. */
  username: string | undefined
}

/** A text that a person wrote into a chat. */
export interface TextUpdate {
  kind: 'text'
  updateId: number
  chat: UpdateChat
  /** The topic of a forum; undefined in the general one. */
  topicId: number | undefined
  userId: string
  text: string
  /** Seconds since the epoch, by Telegram's clock. */
  sentAt: number
}

/** A person pressed a button under a message of this bot. */
export interface PressUpdate {
  kind: 'press'
  updateId: number
  queryId: string
  chat: UpdateChat
  messageId: string
  userId: string
  data: string
}

/** An update of the bot. `other` is everything that is no command and no pressed button. */
export type Update = TextUpdate | PressUpdate | { kind: 'other'; updateId: number }

/**
 * Reads the result of `getUpdates` (https://core.telegram.org/bots/api#update). What bots wrote, what was forwarded, and
 * what a chat wrote as itself (an anonymous admin, a channel) is `other`: no person can be named for it.
 * @throws {TelegramError} when it is no list of updates
 */
export function readUpdates(result: unknown): Update[] {
  if (!Array.isArray(result)) throw notBotApi('getUpdates')
  const updates = result.flatMap((entry: unknown) => {
    const update = asObject(entry)
    const updateId = update?.update_id
    if (typeof updateId !== 'number' || !Number.isSafeInteger(updateId) || updateId < 0) return []
    return [readText(updateId, update?.message) ?? readPress(updateId, update?.callback_query) ?? other(updateId)]
  })
  // Without an id no update can be confirmed: Telegram would repeat them without end.
  if (updates.length < result.length) throw notBotApi('getUpdates')
  return updates.sort((a, b) => a.updateId - b.updateId)
}

function other(updateId: number): Update {
  return { kind: 'other', updateId }
}

function readText(updateId: number, value: unknown): TextUpdate | undefined {
  const message = asObject(value)
  const chat = readChat(message?.chat)
  const userId = readPerson(message?.from)
  const { text, date, sender_chat, forward_origin, forward_date, via_bot, is_topic_message, message_thread_id } =
    message ?? {}
  if (!chat || userId === undefined || typeof text !== 'string' || typeof date !== 'number') return undefined
  if ([sender_chat, forward_origin, forward_date, via_bot].some(field => field !== undefined)) return undefined
  const topicId = is_topic_message === true && typeof message_thread_id === 'number' ? message_thread_id : undefined
  return { kind: 'text', updateId, chat, topicId, userId, text, sentAt: date }
}

function readPress(updateId: number, value: unknown): PressUpdate | undefined {
  const query = asObject(value)
  const message = asObject(query?.message)
  const chat = readChat(message?.chat)
  const userId = readPerson(query?.from)
  const messageId = asId(message?.message_id)
  const { id: queryId, data } = query ?? {}
  if (!chat || userId === undefined || messageId === undefined) return undefined
  if (typeof queryId !== 'string' || typeof data !== 'string') return undefined
  return { kind: 'press', updateId, queryId, chat, messageId, userId, data }
}

function readChat(value: unknown): UpdateChat | undefined {
  const chat = asObject(value)
  const id = asId(chat?.id)
  if (id === undefined) return undefined
  const username = typeof chat?.username === 'string' ? chat.username : undefined
  return { id, isPrivate: chat?.type === 'private', username }
}

/** The id of a user who is no bot. */
function readPerson(value: unknown): string | undefined {
  const user = asObject(value)
  return user?.is_bot === false ? asId(user.id) : undefined
}
