import type { Log } from '../log/log.ts'
import { type Client, createClient } from './client.ts'

const CONNECT_TIMEOUT_MS = 3_000
/** Between two attempts: the driver makes them without end while the database refuses or is away. */
const RECONNECT_MS = 500

export interface ListenerOptions {
  url: string
  channel: string
  applicationName: string
  log: Log
  onNotification: () => void
  /** Called each time when LISTEN has begun, after a lost connection too: earlier notifications were missed. */
  listening?: (() => void) | undefined
}

/**
 * Listens on one channel, on a connection of its own. Notifications may never arrive, as behind a transaction-pooling
 * pgbouncer, or stop to arrive: the caller must poll as well.
 */
export class Listener {
  readonly #options: ListenerOptions
  #client: Client | undefined
  #closed = false

  constructor(options: ListenerOptions) {
    this.#options = options
  }

  /** Opens a new connection and listens again: after a failure of the database the old one may be lost without an error. */
  restart(): void {
    if (this.#closed) return
    const { url, channel, applicationName, log, onNotification, listening } = this.#options
    this.#client?.destroy()
    const client = createClient(url, {
      max: 1,
      applicationName,
      connectTimeoutMs: CONNECT_TIMEOUT_MS,
      reconnectMs: RECONNECT_MS
    })
    this.#client = client
    client.sql.listen(channel, onNotification, listening).catch(err => {
      if (client === this.#client) log.debug({ err }, 'not listening')
    })
  }

  close(): void {
    this.#closed = true
    this.#client?.destroy()
    this.#client = undefined
  }
}
