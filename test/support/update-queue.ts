/** The updates of a bot, as getUpdates of the Bot API returns them: https://core.telegram.org/bots/api#getupdates */
import { EventEmitter } from 'node:events'
import type { Socket } from 'node:net'

const OTHER_POLLER = 'Conflict: terminated by other getUpdates request; make sure that only one bot instance is running'
const WEBHOOK =
  "Conflict: can't use getUpdates method while webhook is active; use deleteWebhook to delete the webhook first"

/** A chat and the user who writes there. */
export interface Sender {
  chat?: Record<string, unknown>
  from?: Record<string, unknown>
}

/** A private chat of a user, as the sender of updates. */
export function privateChat(id: number): Required<Sender> {
  return { chat: { id, type: 'private', first_name: 'U' }, from: { id, is_bot: false, first_name: 'U' } }
}

/** A user in a group. */
export function inGroup(chatId: number, userId: number): Required<Sender> {
  return { chat: { id: chatId, type: 'supergroup', title: 'G' }, from: { id: userId, is_bot: false, first_name: 'U' } }
}

/** Long polling of one bot: a new poll ends the one that waits, and an offset confirms all updates before it. */
export class UpdateQueue {
  #nextId = 1_000
  #pending: { update_id: number }[] = []
  readonly #changed = new EventEmitter()
  readonly #pressed = new Set<string>()
  #endWaiting: ((conflict: string) => void) | undefined
  /** While set, polls are refused. */
  hasWebhook = false
  /** The polls that were answered, and those that wait. */
  polls = 0

  /** Adds an update with the next id, which is returned. */
  add(update: Record<string, unknown>): number {
    const update_id = this.#nextId++
    this.#pending.push({ update_id, ...update })
    this.#changed.emit('update')
    return update_id
  }

  /** A person writes a text. */
  text(text: string, { chat, from }: Required<Sender>, rest: Record<string, unknown> = {}): number {
    const date = Math.floor(Date.now() / 1_000)
    return this.add({ message: { message_id: this.#nextId, chat, from, date, text, ...rest } })
  }

  /** A person presses a button under a message of the bot. */
  press(data: string, messageId: number, { chat, from }: Required<Sender>): number {
    const id = `query-${this.#nextId}`
    this.#pressed.add(id)
    return this.add({
      callback_query: { id, from, chat_instance: '1', data, message: { message_id: messageId, chat, date: 1 } }
    })
  }

  /** Whether a button with this query was pressed. */
  isPressed(queryId: string): boolean {
    return this.#pressed.has(queryId)
  }

  /** Sets the id of the next update. */
  continueAt(updateId: number): void {
    this.#nextId = updateId
  }

  /** The updates that no poll has confirmed. */
  get unconfirmed(): number[] {
    return this.#pending.map(({ update_id }) => update_id)
  }

  /** Resolves when a poll has confirmed an update: the bot has handled it. */
  async confirmed(updateId: number): Promise<void> {
    while (this.#pending.some(({ update_id }) => update_id <= updateId)) {
      await new Promise(resolve => this.#changed.once('poll', resolve))
    }
  }

  /** Resolves when a poll waits. */
  async waiting(): Promise<void> {
    while (this.#endWaiting === undefined) await new Promise(resolve => this.#changed.once('waiting', resolve))
  }

  /** Answers a poll. @returns the updates, or the description of the conflict */
  async poll(
    { offset, limit = 100, timeout = 0 }: Record<string, unknown>,
    socket: Socket
  ): Promise<unknown[] | string> {
    this.#endWaiting?.(OTHER_POLLER)
    if (this.hasWebhook) return WEBHOOK
    this.polls++
    if (typeof offset === 'number') this.#pending = this.#pending.filter(({ update_id }) => update_id >= offset)
    this.#changed.emit('poll')
    if (this.#pending.length === 0 && Number(timeout) > 0) {
      const conflict = await this.#wait(Number(timeout), socket)
      if (conflict !== undefined) return conflict
    }
    return this.#pending.slice(0, Number(limit))
  }

  #wait(seconds: number, socket: Socket): Promise<string | undefined> {
    return new Promise(resolve => {
      const end = (conflict?: string) => {
        clearTimeout(timer)
        this.#changed.off('update', more)
        socket.off('close', more)
        this.#endWaiting = undefined
        resolve(conflict)
      }
      const more = () => end()
      const timer = setTimeout(more, seconds * 1_000)
      this.#changed.on('update', more)
      socket.on('close', more)
      this.#endWaiting = end
      this.#changed.emit('waiting')
    })
  }
}
