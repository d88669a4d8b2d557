import { type Client, createClient } from '../database/client.ts'
import { withDeadline } from '../database/deadline.ts'
import { failureOf } from '../database/failure.ts'
import type { CheckResult } from './monitor.ts'

/**
 * Checks the database on a connection of its own, so that a busy pool cannot delay it. A connection that failed or
 * missed the deadline is closed: the next check opens a new one.
 */
export class DatabaseCheck {
  readonly #url: string
  readonly #applicationName: string
  readonly #deadlineMs: number
  #client: Client | undefined

  /** @param deadlineMs of one check, the connecting included, in milliseconds */
  constructor(url: string, { applicationName, deadlineMs }: { applicationName: string; deadlineMs: number }) {
    this.#url = url
    this.#applicationName = applicationName
    this.#deadlineMs = deadlineMs
  }

  /** Runs one check: settles within the deadline, never rejects. */
  async check(): Promise<CheckResult> {
    try {
      const client = this.#connected()
      await withDeadline(client.sql.unsafe('select 1').simple(), this.#deadlineMs)
      return { state: 'ok' }
    } catch (err) {
      this.close()
      return { state: failureOf(err), cause: err }
    }
  }

  /** Closes the connection. The check can be used again. */
  close(): void {
    this.#client?.destroy()
    this.#client = undefined
  }

  #connected(): Client {
    this.#client ??= createClient(this.#url, {
      max: 1,
      applicationName: this.#applicationName,
      connectTimeoutMs: this.#deadlineMs
    })
    return this.#client
  }
}
