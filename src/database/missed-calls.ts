import type { DeadlineError } from '../async/deadline.ts'
import { backgroundTimers, type Timers } from '../async/timers.ts'
import type { Client } from './client.ts'

/** A connection without a byte in this time, while a call that missed its deadline still waits, is dead. Milliseconds. */
const SILENCE_MS = 3_000

/** The bytes that each connection of a client had received at a moment. */
export type Received = ReturnType<Client['received']>

/**
 * Calls that missed their deadline on a client that answered others meanwhile. Either all of its connections are busy and
 * the calls wait in turn, or one connection is dead without an error. Decides which.
 */
export class MissedCalls {
  readonly #timers: Timers
  readonly #ends = new Set<() => void>()

  constructor(timers: Timers = backgroundTimers) {
    this.#timers = timers
  }

  /** Whether a client received something since a moment. */
  static hasAnswered(client: Pick<Client, 'received'>, since: Received): boolean {
    return [...client.received()].some(([connection, bytes]) => bytes > (since.get(connection) ?? 0))
  }

  /**
   * Follows a call until it is settled. `onDead` is called once when a connection of the client received nothing for
   * three seconds, and the call is not settled yet.
   */
  add(
    client: Pick<Client, 'received'>,
    working: Promise<unknown>,
    err: DeadlineError,
    onDead: (err: DeadlineError) => void
  ): void {
    let cancel: () => void = () => undefined
    const end = () => {
      cancel()
      this.#ends.delete(end)
    }
    const check = () => {
      const before = client.received()
      cancel = this.#timers.after(SILENCE_MS, async () => {
        // What arrived while the event loop was blocked is read first.
        await new Promise(resolve => setImmediate(resolve))
        if (!this.#ends.has(end)) return
        const now = client.received()
        const isSilent = [...before].some(([connection, bytes]) => now.get(connection) === bytes)
        if (!isSilent) return check()
        end()
        onDead(err)
      })
    }
    this.#ends.add(end)
    check()
    working.then(end, end)
  }

  /** Follows no call any more. */
  clear(): void {
    for (const end of this.#ends) end()
  }
}
