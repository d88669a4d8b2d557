// @FEAT:exchanges @COMP:service @TYPE:core
import { SECOND } from '../async/durations.ts'
import { Poller } from '../async/poller.ts'
import { backgroundTimers, type Timers } from '../async/timers.ts'
import type { Database } from '../database/database.ts'
import type { Log } from '../log/log.ts'
import { storeInvalidRows } from './invalid-row-table.ts'
import type { InvalidRows } from './invalid-rows.ts'

const WRITE_MS = 10 * SECOND
/** Longest wait for the last write when the replica stops, in milliseconds. */
const LAST_WRITE_MS = SECOND

export interface InvalidRowRecorderOptions {
  database: Pick<Database, 'run'>
  invalidRows: InvalidRows
  log: Log
  /** Default `backgroundTimers`. */
  timers?: Timers
}

/**
 * Stores the invalid rows that this replica found, every 10 s in one statement. While the database is not available they
 * wait in memory. A write whose result is not known may be repeated: then rows are counted twice.
 */
export class InvalidRowRecorder {
  readonly #options: InvalidRowRecorderOptions
  readonly #timers: Timers
  readonly #writer: Poller

  constructor(options: InvalidRowRecorderOptions) {
    this.#options = options
    this.#timers = options.timers ?? backgroundTimers
    this.#writer = new Poller({
      poll: () => this.#write(),
      intervalMs: WRITE_MS,
      log: options.log,
      failedMessage: 'invalid rows not stored',
      recoveredMessage: 'invalid rows stored again',
      timers: this.#timers
    })
  }

  /** Starts to write. Makes no call while nothing waits. Idempotent. */
  start(): void {
    this.#writer.start(WRITE_MS)
  }

  /** Writes now. Never rejects. */
  flush(): Promise<void> {
    return this.#writer.kick()
  }

  /** Writes what waits, for at most a second. Idempotent, never rejects. */
  async stop(): Promise<void> {
    let cancel = () => {}
    const deadline = new Promise<void>(resolve => {
      cancel = this.#timers.deadline(LAST_WRITE_MS, resolve)
    })
    await Promise.race([this.flush(), deadline])
    cancel()
    await this.#writer.stop()
  }

  async #write(): Promise<undefined> {
    const { database, invalidRows } = this.#options
    const records = invalidRows.take()
    if (records.length === 0) return
    try {
      await database.run(sql => storeInvalidRows(sql, records, invalidRows.now()))
    } catch (err) {
      invalidRows.giveBack(records)
      throw err
    }
  }
}
