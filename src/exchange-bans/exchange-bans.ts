// @FEAT:exchanges @COMP:service @TYPE:core
import { SECOND } from '../async/durations.ts'
import { Poller } from '../async/poller.ts'
import type { Database } from '../database/database.ts'
import { Listener } from '../database/listener.ts'
import type { Millis } from '../domain/millis.ts'
import type { Log } from '../log/log.ts'
import { type Ban, currentBans, storeBan } from './ban-table.ts'

const CHANNEL = 'exchange_bans'
/** Behind a transaction-pooling pgbouncer no notification arrives: then the poll limits the delay of a ban. */
const POLL_MS = 2 * SECOND
/** With notifications, the poll finds out when they stop, and that a row was deleted: it waits so many times as long. */
const WITH_NOTIFICATIONS = 10
/** An exchange writes its code: what does not have this form is not stored. */
const CODE = /^[\w.-]{1,40}$/

/** A ban that this replica received from an exchange. */
export interface ReportedBan {
  exchange: string
  /** The id of the host, without any key. */
  host: string
  exchangeCode: string | null
  /** Milliseconds until its end, now. */
  endsInMs: () => Millis
  /** Called once when the ban is stored: from then on the stored one counts, which an operator can delete. */
  stored: () => void
}

export interface ExchangeBansOptions {
  database: Database
  /** The name of this replica. */
  instanceId: () => string
  applicationName: string
  log: Log
  /** Applies all bans of the cluster; one that is not among them any more has ended or was deleted. */
  apply: (bans: readonly Ban[]) => void
  /** The wait between two polls without notifications, in milliseconds; ten times that with them. Default 2,000. */
  pollMs?: number
  /** A clock in ms that never goes back. Default `performance.now`. */
  monotonic?: () => number
}

/**
 * The bans of all replicas, in a table: each replica stores those that it receives, and applies those of the others within
 * two seconds, and before its first call after a start. While the database is not available, the bans that are known
 * continue, and new ones are stored later.
 */
export class ExchangeBans {
  readonly #options: ExchangeBansOptions
  readonly #poller: Poller
  readonly #monotonic: () => number
  /** Bans of this replica that are not stored yet, the latest of each host. */
  readonly #unstored = new Map<string, ReportedBan>()
  #known: ReadonlyMap<string, { ban: Ban; untilMs: Millis }> = new Map()
  #listener: Listener | undefined
  #receivesNotifications = false
  #started = false
  #closed = false

  constructor(options: ExchangeBansOptions) {
    this.#options = options
    this.#monotonic = options.monotonic ?? (() => performance.now())
    this.#poller = new Poller({
      poll: () => this.#pollOnce(),
      intervalMs: options.pollMs ?? POLL_MS,
      log: options.log,
      failedMessage: 'exchange bans not polled',
      recoveredMessage: 'exchange bans polled again',
      onRecovered: () => this.#listener?.restart()
    })
  }

  /**
   * Applies the stored bans and starts to poll; to be called when the schema exists, before the first call of an exchange.
   * Idempotent.
   * @throws {DatabaseUnavailableError} nothing was applied
   */
  async start(): Promise<void> {
    const { database, applicationName, log, pollMs = POLL_MS } = this.#options
    if (this.#started || this.#closed) return
    await this.#pollOnce()
    const url = await database.address
    if (this.#closed) return
    this.#started = true
    this.#listener = new Listener({
      url,
      channel: CHANNEL,
      applicationName,
      log,
      onNotification: () => {
        this.#receivesNotifications = true
        this.#kick()
      },
      listening: () => void this.#testNotifications()
    })
    this.#listener.restart()
    this.#poller.start(pollMs)
  }

  /** Stores a ban soon, for all replicas. Returns at once and never throws. */
  report(ban: ReportedBan): void {
    this.#unstored.set(keyOf(ban), ban)
    if (this.#started) this.#kick()
  }

  /** The bans of the cluster as of the last poll, without those that have ended since. */
  current(): Ban[] {
    const now = this.#monotonic()
    return [...this.#known.values()]
      .map(({ ban, untilMs }) => ({ ...ban, endsInMs: untilMs - now }))
      .filter(({ endsInMs }) => endsInMs > 0)
  }

  /** Ends the polls and closes the connection. Idempotent, never rejects. */
  async close(): Promise<void> {
    this.#closed = true
    const ended = this.#poller.stop()
    this.#listener?.close()
    await ended
  }

  #kick(): void {
    void this.#poller.kick()
  }

  /** A LISTEN that succeeds does not mean that notifications arrive. Earlier ones were missed: bans are polled, too. */
  async #testNotifications(): Promise<void> {
    const { database, log } = this.#options
    this.#receivesNotifications = false
    this.#kick()
    try {
      await database.run(sql => sql`select pg_notify(${CHANNEL}, '')`)
    } catch (err) {
      log.debug({ err }, 'notification of bans not tested')
    }
  }

  /** @returns the wait before the next poll, in milliseconds */
  async #pollOnce(): Promise<number> {
    const { database, apply, pollMs = POLL_MS } = this.#options
    const reported = [...this.#unstored.values()]
    for (const ban of reported) await this.#store(ban)
    const askedMs = this.#monotonic()
    const bans = await database.run(sql => currentBans(sql))
    this.#logChanges(bans)
    // Counted from before the query: a ban ends a little early rather than never, and the exchange repeats it.
    this.#known = new Map(bans.map(ban => [keyOf(ban), { ban, untilMs: askedMs + ban.endsInMs }]))
    apply(bans)
    for (const ban of reported) {
      if (this.#unstored.get(keyOf(ban)) === ban) this.#unstored.delete(keyOf(ban))
      ban.stored()
    }
    return this.#receivesNotifications ? WITH_NOTIFICATIONS * pollMs : pollMs
  }

  async #store({ exchange, host, exchangeCode, endsInMs }: ReportedBan): Promise<void> {
    const { database, instanceId, log } = this.#options
    const code = exchangeCode !== null && CODE.test(exchangeCode) ? exchangeCode : null
    const ban: Ban = { exchange, host, exchangeCode: code, endsInMs: endsInMs() }
    if (ban.endsInMs <= 0) return
    await database.run(sql => storeBan(sql, ban, instanceId(), CHANNEL))
    log.warn(fieldsOf(ban), 'exchange ban stored')
  }

  #logChanges(bans: readonly Ban[]): void {
    const { log } = this.#options
    const found = new Set(bans.map(keyOf))
    for (const ban of bans) if (!this.#known.has(keyOf(ban))) log.warn(fieldsOf(ban), 'exchange ban applies')
    const ended = [...this.#known.entries()].filter(([key]) => !found.has(key))
    for (const [, { ban, untilMs }] of ended) {
      const left = Math.max(0, untilMs - this.#monotonic())
      log.info(fieldsOf({ ...ban, endsInMs: left }), 'exchange ban ended')
    }
  }
}

function keyOf({ exchange, host }: { exchange: string; host: string }): string {
  return `${exchange} ${host}`
}

function fieldsOf({ exchange, host, exchangeCode, endsInMs }: Ban) {
  return { exchange, host, exchange_code: exchangeCode, seconds: Math.round(endsInMs / SECOND) }
}
