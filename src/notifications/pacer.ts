// @FEAT:health-monitoring @COMP:service @TYPE:helper
import { SECOND } from '../async/durations.ts'
import { systemTimers, type Timers } from '../async/timers.ts'

/** The message may be sent now, or the wait would be too long: then retry after `retryAfterMs`. */
export type Turn = { granted: true } | { granted: false; retryAfterMs: number }

interface Waiter {
  chatId: string
  latest: number
  settle: (turn: Turn) => void
}

export interface PacerOptions {
  timers?: Timers
  /** Shortest interval between two messages to one chat, in milliseconds. */
  perChatMs?: number
  /** Messages to all chats in any second. */
  perSecond?: number
}

/**
 * Keeps the rate limit of Telegram for bots (https://core.telegram.org/bots/faq#my-bot-is-hitting-limits-how-do-i-avoid-this):
 * one message a second to a chat, 30 a second in total, for one process. The messages of a chat keep their order; a chat
 * that waits does not delay other chats. It has a timer only while a message waits.
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
   * Waits until one message may be sent to a chat. Resolves without a grant as soon as the turn is known to come after
   * `latest` (on the clock of the timers).
   * @throws the reason of `signal` when that is aborted during the wait; the turn is free then
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

  /** Grants no turn to a chat for `ms` milliseconds, as an answer 429 of Telegram demands. */
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
