// @FEAT:health-monitoring @COMP:service @TYPE:helper
import { SECOND } from '../async/durations.ts'
import { systemTimers, type Timers } from '../async/timers.ts'

/** Either one may send now, or waiting would take too long: then try again after so many milliseconds. */
export type Turn = { granted: true } | { granted: false; retryAfterMs: number }

interface Waiter {
  chatId: string
  latest: number
  settle: (turn: Turn) => void
}

export interface PacerOptions {
  timers?: Timers
  /** Shortest distance of two messages to one chat, in milliseconds. */
  perChatMs?: number
  /** Messages to all chats together in any second. */
  perSecond?: number
}

/**
 * Keeps the pace that Telegram asks of bots (https://core.telegram.org/bots/faq#my-bot-is-hitting-limits-how-do-i-avoid-this):
 * one message a second to a chat, 30 a second in all. It paces one process. Waiters of a chat are served in the order
 * in which they came; a chat that must wait holds up no other. It owns a timer only while somebody waits.
 */
export class Pacer {
  readonly #timers: Timers
  readonly #perChatMs: number
  readonly #perSecond: number
  readonly #waiters = new Set<Waiter>()
  readonly #readyAt = new Map<string, number>()
  #grantedAt: number[] = []
  #cancel: (() => void) | undefined

  constructor({ timers = systemTimers, perChatMs = SECOND, perSecond = 30 }: PacerOptions = {}) {
    this.#timers = timers
    this.#perChatMs = perChatMs
    this.#perSecond = perSecond
  }

  /**
   * Waits for the turn to send one message to a chat. Resolves to a refusal as soon as it is known that the turn would
   * come after `latest` (on the clock of the timers).
   * @throws the reason of `signal` when that is aborted while waiting; the turn is given up then
   */
  turn(chatId: string, latest = Number.POSITIVE_INFINITY, signal?: AbortSignal): Promise<Turn> {
    return new Promise((resolve, reject) => {
      if (signal?.aborted) return reject(signal.reason)
      const leave = () => {
        this.#waiters.delete(waiter)
        this.#serve()
        reject(signal?.reason)
      }
      const waiter: Waiter = {
        chatId,
        latest,
        settle: turn => {
          signal?.removeEventListener('abort', leave)
          resolve(turn)
        }
      }
      signal?.addEventListener('abort', leave, { once: true })
      this.#waiters.add(waiter)
      this.#serve()
    })
  }

  /** Sends nothing to a chat for `ms` milliseconds: what Telegram asks for with a 429. */
  hold(chatId: string, ms: number): void {
    const until = this.#timers.now() + ms
    this.#readyAt.set(chatId, Math.max(until, this.#readyAt.get(chatId) ?? 0))
    this.#serve()
  }

  #serve(): void {
    this.#cancel?.()
    this.#cancel = undefined
    const now = this.#timers.now()
    this.#forget(now)
    let next = Number.POSITIVE_INFINITY
    for (const waiter of this.#waiters) {
      const ready = Math.max(this.#readyAt.get(waiter.chatId) ?? 0, this.#anyReadyAt(), now)
      if (ready <= now) {
        this.#waiters.delete(waiter)
        this.#readyAt.set(waiter.chatId, now + this.#perChatMs)
        this.#grantedAt.push(now)
        waiter.settle({ granted: true })
      } else if (ready > waiter.latest) {
        this.#waiters.delete(waiter)
        waiter.settle({ granted: false, retryAfterMs: Math.ceil(ready - now) })
      } else {
        next = Math.min(next, ready)
      }
    }
    if (this.#waiters.size > 0) this.#cancel = this.#timers.after(next - now, () => this.#serve())
  }

  #anyReadyAt(): number {
    const oldest = this.#grantedAt.at(-this.#perSecond)
    return oldest === undefined ? 0 : oldest + SECOND
  }

  #forget(now: number): void {
    this.#grantedAt = this.#grantedAt.filter(at => at + SECOND > now)
    for (const [chatId, at] of this.#readyAt) if (at <= now) this.#readyAt.delete(chatId)
  }
}
