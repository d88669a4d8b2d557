import { EventEmitter, once } from 'node:events'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import { UpdateQueue } from './update-queue.ts'

/** A received call. */
export interface ReceivedCall {
  method: string
  token: string
  body: Record<string, unknown>
}

/** An accepted message: the text that Telegram would show, without markup. */
interface DeliveredMessage {
  chatId: string
  html: string
  text: string
  /** The buttons under it. */
  buttons: { text: string; data: string }[]
}

interface Answer {
  status: number
  body: unknown
}

/**
 * The behaviour of the server for one call:
 * - `answer`: a status and a body, JSON unless it is a string
 * - `hang`: reads the request and sends nothing, or half an answer, until the connection ends
 * - `slow`: answers as usual, but not before `until` is settled
 * - `cut`: ends the connection before an answer, or in the middle of it
 */
export type Behaviour =
  | { kind: 'answer'; status: number; body: unknown }
  | { kind: 'hang'; when?: 'before' | 'within' }
  | { kind: 'slow'; until: Promise<unknown> }
  | { kind: 'cut'; when: 'before' | 'within' }

export interface BotApiOptions {
  token?: string
  /** 0 takes any free port. */
  port?: number
  /** Chats that the bot knows. Default: every chat. */
  chats?: readonly string[]
}

/** A token of the right form that belongs to no bot. */
export const TEST_TOKEN = '1234567890:AAF-not-a-real-token_0123456789abcde'

/**
 * A Bot API server on loopback, as strict about texts as Telegram, with behaviours that a test queues, and with updates
 * that a test sends to the bot. For tests and the demo. `close` ends it and every connection.
 */
export async function startBotApiServer({ token = TEST_TOKEN, port = 0, chats }: BotApiOptions = {}) {
  const received: ReceivedCall[] = []
  const delivered: DeliveredMessage[] = []
  const edited: (Omit<DeliveredMessage, 'buttons'> & { messageId: number })[] = []
  const answered: { queryId: string; text: string }[] = []
  const queued = new Map<string, Behaviour[]>()
  const events = new EventEmitter()
  const updates = new UpdateQueue()

  async function serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const [, asked = '', method = ''] = /^\/bot([^/]*)\/(\w+)$/.exec(request.url ?? '') ?? []
    const call: ReceivedCall = { method, token: asked, body: readObject(await readText(request)) }
    received.push(call)
    const behaviour = queued.get(method)?.shift()
    events.emit('call', call)
    if (behaviour?.kind === 'hang') return behaviour.when === 'within' ? beginAnswer(response) : undefined
    if (behaviour?.kind === 'cut') return cut(response, behaviour.when)
    if (behaviour?.kind === 'slow') await behaviour.until
    const { status, body } = behaviour?.kind === 'answer' ? behaviour : await decide(call, request)
    if (response.destroyed) return
    const text = typeof body === 'string' ? body : JSON.stringify(body)
    response.writeHead(status, { 'content-type': typeof body === 'string' ? 'text/html' : 'application/json' })
    response.end(text)
  }

  async function decide({ method, token: asked, body }: ReceivedCall, request: IncomingMessage): Promise<Answer> {
    if (asked !== token) return refuse(401, 'Unauthorized')
    if (method === 'getUpdates') {
      const result = await updates.poll(body, request.socket)
      return Array.isArray(result) ? accept(result) : refuse(409, result)
    }
    if (method === 'setMyCommands') return accept(true)
    if (method === 'answerCallbackQuery') {
      if (!updates.isPressed(String(body.callback_query_id))) return refuse(400, TOO_OLD)
      answered.push({ queryId: String(body.callback_query_id), text: String(body.text) })
      events.emit('answered')
      return accept(true)
    }
    if (method === 'getMe') return accept({ id: 1234567890, is_bot: true, first_name: 'Test', username: 'test_bot' })
    const chatId = String(body.chat_id ?? '')
    if (chats && !chats.includes(chatId)) return refuse(400, 'Bad Request: chat not found')
    const chat = { id: Number(chatId), type: Number(chatId) < 0 ? 'supergroup' : 'private' }
    if (method === 'getChat') return accept(chat)
    if (method !== 'sendMessage' && method !== 'editMessageText') return refuse(404, 'Not Found')
    const html = String(body.text ?? '')
    const message = readHtml(html)
    if ('error' in message) return refuse(400, `Bad Request: can't parse entities: ${message.error}`)
    if (message.text.trim() === '') return refuse(400, 'Bad Request: message text is empty')
    if (message.text.length > 4_096) return refuse(400, 'Bad Request: message is too long')
    if (message.entities > 100) return refuse(400, 'Bad Request: entities too long')
    if (method === 'editMessageText') return edit(body, { chatId, html, text: message.text })
    const buttons = buttonsOf(body.reply_markup)
    delivered.push({ chatId, html, text: message.text, buttons })
    events.emit('delivered')
    return accept({ message_id: delivered.length, chat, date: 0, text: message.text })
  }

  function edit(
    { message_id }: Record<string, unknown>,
    { chatId, html, text }: Omit<DeliveredMessage, 'buttons'>
  ): Answer {
    const message = delivered[Number(message_id) - 1]
    if (message === undefined) return refuse(400, 'Bad Request: message to edit not found')
    const last = edited.findLast(({ messageId }) => messageId === Number(message_id))
    if ((last ?? message).html === html) return refuse(400, NOT_MODIFIED)
    edited.push({ messageId: Number(message_id), chatId, html, text })
    events.emit('edited')
    return accept({ message_id, text })
  }

  const server = createServer((request, response) => {
    serve(request, response).catch(err => response.destroy(err))
  })
  server.listen(port, '127.0.0.1')
  await once(server, 'listening')
  const address = server.address()
  if (address === null || typeof address === 'string') throw new Error('not listening on a port')

  return {
    url: `http://127.0.0.1:${address.port}`,
    token,
    /** Every call, oldest first. */
    received,
    /** Every message that was accepted, oldest first. The id of the first is 1. */
    delivered,
    /** Every accepted change of a message, oldest first. */
    edited,
    /** The short texts that were shown after pressed buttons, oldest first. */
    answered,
    /** The updates of the bot. */
    updates,
    /** Sets the behaviour of the next calls of a method, in order. Later calls are answered as usual. */
    queue(method: string, ...behaviours: Behaviour[]): void {
      queued.set(method, [...(queued.get(method) ?? []), ...behaviours])
    },
    /** Resolves when `count` calls have arrived since the start. */
    async receivedCount(count: number): Promise<void> {
      while (received.length < count) await once(events, 'call')
    },
    /** Resolves when `count` messages have been accepted since the start. */
    async deliveredCount(count: number): Promise<void> {
      while (delivered.length < count) await once(events, 'delivered')
    },
    /** Resolves when `count` messages have been edited since the start. */
    async editedCount(count: number): Promise<void> {
      while (edited.length < count) await once(events, 'edited')
    },
    /** Resolves when `count` pressed buttons have been answered since the start. */
    async answeredCount(count: number): Promise<void> {
      while (answered.length < count) await once(events, 'answered')
    },
    async close(): Promise<void> {
      const closed = once(server, 'close')
      server.close()
      server.closeAllConnections()
      await closed
    }
  }
}

/** A 429 with a retry_after. */
export function tooManyRequests(retryAfterSeconds: number): Behaviour {
  const description = `Too Many Requests: retry after ${retryAfterSeconds}`
  const parameters = { retry_after: retryAfterSeconds }
  return { kind: 'answer', status: 429, body: { ok: false, error_code: 429, description, parameters } }
}

/** Any error answer of the Bot API. */
export function failWith(status: number, description: string, parameters?: Record<string, unknown>): Behaviour {
  return { kind: 'answer', ...refuse(status, description, parameters) }
}

/**
 * Reads Telegram's HTML by the rules of https://core.telegram.org/bots/api#html-style: the text that is shown and the
 * number of entities, or the error of Telegram. Strict, and independent of the code under test.
 */
export function readHtml(html: string): { text: string; entities: number } | { error: string } {
  const open: string[] = []
  let entities = 0
  let text = ''
  let rest = html
  while (rest !== '') {
    const tag = /^<(\/?)([a-z-]+)((?: [a-z-]+(?:="[^"<>]*")?)*)>/.exec(rest)
    const entity = /^&(amp|lt|gt|quot);/.exec(rest)
    if (tag) {
      const [source, slash, name = ''] = tag
      if (!allowedTags.has(name)) return { error: `Unsupported start tag "${name}"` }
      if (!slash) {
        open.push(name)
        entities++
      } else if (open.pop() !== name) return { error: `Unmatched end tag "${name}"` }
      rest = rest.slice(source.length)
    } else if (entity) {
      text += shown[entity[1] ?? '']
      rest = rest.slice(entity[0].length)
    } else {
      if (/^[<>&]/.test(rest)) return { error: `Unexpected "${rest[0]}"` }
      const plain = /^[^<>&]+/.exec(rest)?.[0] ?? ''
      text += plain
      rest = rest.slice(plain.length)
    }
  }
  return open.length > 0
    ? { error: `Can't find end tag corresponding to start tag "${open.at(-1)}"` }
    : { text, entities }
}

const TOO_OLD = 'Bad Request: query is too old and response timeout expired or query ID is invalid'
const NOT_MODIFIED =
  'Bad Request: message is not modified: specified new message content and reply markup are exactly the same as a current content and reply markup of the message'

function buttonsOf(markup: unknown): DeliveredMessage['buttons'] {
  const rows = readObject(JSON.stringify(markup ?? {})).inline_keyboard
  if (!Array.isArray(rows)) return []
  return rows.flat().map(button => ({ text: String(button.text), data: String(button.callback_data) }))
}

const allowedTags = new Set(['a', 'b', 'blockquote', 'code', 'i', 'pre', 's', 'span', 'tg-spoiler', 'u'])
const shown: Record<string, string> = { amp: '&', lt: '<', gt: '>', quot: '"' }

function accept(result: unknown) {
  return { status: 200, body: { ok: true, result } }
}

function refuse(status: number, description: string, parameters?: Record<string, unknown>) {
  return { status, body: { ok: false, error_code: status, description, ...(parameters && { parameters }) } }
}

function cut(response: ServerResponse, when: 'before' | 'within'): void {
  if (when === 'before') {
    response.destroy()
    return
  }
  beginAnswer(response, () => response.destroy())
}

function beginAnswer(response: ServerResponse, written = () => {}): void {
  response.writeHead(200, { 'content-type': 'application/json', 'content-length': '1000' })
  response.write('{"ok":true,"result":{"message_id":1', written)
}

async function readText(stream: AsyncIterable<Buffer>): Promise<string> {
  const chunks: Buffer[] = []
  for await (const chunk of stream) chunks.push(chunk)
  return Buffer.concat(chunks).toString()
}

function readObject(text: string): Record<string, unknown> {
  const value: unknown = text === '' ? {} : JSON.parse(text)
  return typeof value === 'object' && value !== null ? { ...value } : {}
}
