// @FEAT:health-monitoring @COMP:service @TYPE:core
import { SECOND } from '../async/durations.ts'
import { Poller } from '../async/poller.ts'
import type { Database } from '../database/database.ts'
import type { CheckDetails } from '../domain/check-details.ts'
import type { Log } from '../log/log.ts'
import type { Reading } from '../metrics/metrics.ts'
import { differenceCounts } from './book-state.ts'

/** The job that records differences runs every 300 s. */
const POLL_MS = 30 * SECOND

export interface BookMonitorOptions {
  database: Pick<Database, 'run'>
  log: Log
  /** Milliseconds since the epoch. Default `Date.now`. */
  now?: () => number
}

interface State {
  unexplained: number
  oldestSince: Date | null
  readAtMs: number
  latencyMs: number
}

/** Keeps the number of unexplained differences of the cluster, read every 30 s, for the health check and the metrics. */
export class BookMonitor {
  readonly #now: () => number
  readonly #poller: Poller
  #state: State | undefined

  constructor({ database, log, now = Date.now }: BookMonitorOptions) {
    this.#now = now
    this.#poller = new Poller({
      poll: async () => {
        const askedMs = performance.now()
        const { unexplained, oldestSince } = await database.run(differenceCounts)
        const latencyMs = Math.round(performance.now() - askedMs)
        this.#state = { unexplained, oldestSince, readAtMs: now(), latencyMs }
        return undefined
      },
      intervalMs: POLL_MS,
      log,
      failedMessage: 'book differences not read',
      recoveredMessage: 'book differences read again'
    })
  }

  /** Starts to read; call it when the schema exists. Idempotent. */
  start(): void {
    this.#poller.start()
  }

  /** Reads now. Never rejects. */
  refresh(): Promise<void> {
    return this.#poller.kick()
  }

  /** Idempotent. */
  close(): Promise<void> {
    return this.#poller.stop()
  }

  /** Degraded while a difference of an active account is unexplained; latency and age are those of the last reading. */
  details(): CheckDetails {
    const isUnexplained = this.#state !== undefined && this.#state.unexplained > 0
    return {
      name: 'books',
      status: isUnexplained ? 'degraded' : 'ok',
      code: isUnexplained ? 'unexplained' : null,
      latency_ms: this.#state?.latencyMs ?? null,
      age_ms: this.#state === undefined ? null : Math.max(0, this.#now() - this.#state.readAtMs),
      since: isUnexplained ? (this.#state?.oldestSince?.toISOString() ?? null) : null
    }
  }

  /** Sets the metrics; without a reading there are none. */
  report(reading: Reading): void {
    if (this.#state === undefined) return
    const { unexplained, oldestSince } = this.#state
    const ageMs = oldestSince === null ? 0 : Math.max(0, this.#now() - oldestSince.getTime())
    reading.set('trading_health_book_differences', {}, unexplained)
    reading.set('trading_health_book_difference_oldest_age_seconds', {}, ageMs / SECOND)
  }
}
