import { type Client, createClient } from '../database/client.ts'
import type { Log } from '../log.ts'

const CONNECT_TIMEOUT_MS = 3_000
/** Between two attempts: the driver makes them without end while the database refuses or is away. */
const RECONNECT_MS = 500

export interface ListenerOptions {
  url: string
  channel: string
  applicationName: string
  log: Log
  heard: () => void
  /** At each beginning, that after a lost connection included: what was said before it was not heard. */
  listening?: (() => void) | undefined
}

/**
 * Listens on one channel, on a connection of its own. It may hear nothing, as behind a transaction-pooling pgbouncer, or
 * nothing any more: whoever uses it polls as well.
 */
export class Listener {
  readonly #options: ListenerOptions
  #client: Client | undefined
  #closed = false

  constructor(options: ListenerOptions) {
    this.#options = options
  }

  /** Listens afresh: after a failure of the database the old connection may be dead without a sign. */
  restart(): void {
    if (this.#closed) return
    const { url, channel, applicationName, log, heard, listening } = this.#options
    this.#client?.destroy()
    const client = createClient(url, {
      max: 1,
      applicationName,
      connectTimeoutMs: CONNECT_TIMEOUT_MS,
      reconnectMs: RECONNECT_MS
    })
    this.#client = client
    client.sql.listen(channel, heard, listening).catch(err => {
      if (client === this.#client) log.debug({ err }, 'not listening')
    })
  }

  close(): void {
    this.#closed = true
    this.#client?.destroy()
    this.#client = undefined
  }
}
