import { withDeadline } from '../async/deadline.ts'
import { type Client, createClient } from './client.ts'
import { type DatabaseFailure, failureOf } from './failure.ts'

/** What a check found: nothing wrong, or the reason with what was seen. */
export type CheckResult = { state: 'ok' } | { state: DatabaseFailure; cause: unknown }

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
