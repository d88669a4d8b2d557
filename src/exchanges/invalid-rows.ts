// @FEAT:exchanges @COMP:service @TYPE:core
import { MINUTE } from '../async/durations.ts'
import type { ExchangeName, MarketType } from '../domain/market.ts'
import type { Millis } from '../domain/millis.ts'
import type { InvalidRow } from './exchange-client.ts'

/** A list that is not read again for so long is not counted: its account is disabled, or another replica reads it. */
const COUNTED_MS = 10 * MINUTE
const MAX_LISTS = 5_000
const MAX_WAITING = 1_000

/** A call of a client whose answer was read. */
export interface ListReading {
  exchange: ExchangeName
  marketType: MarketType
  /** The method of `ExchangeClient`. */
  operation: string
  /** Null for prices and time. */
  accountId: string | null
  /** What distinguishes the lists of one operation, such as an order. Empty where there is one. */
  subject: string
  /** Its invalid rows, with an excerpt each: one per kind of fault, without secrets. Empty for a clean list. */
  invalid: readonly (Omit<InvalidRow, 'row'> & { excerpt: string })[]
}

/** Invalid rows of one kind, to be stored. */
export interface InvalidRowRecord {
  exchange: ExchangeName
  marketType: MarketType
  operation: string
  accountId: string | null
  kind: InvalidRow['kind']
  reason: string
  /** Of the latest row. */
  excerpt: string
  firstSeenAt: Millis
  lastSeenAt: Millis
  times: number
}

export interface InvalidRowsOptions {
  /** Milliseconds since the epoch. Default `Date.now`. */
  now?: () => Millis
}

/**
 * The invalid rows in the latest reading of each list, and those that wait to be stored. In memory and bounded: 5,000
 * lists, 1,000 kinds of waiting rows; further ones replace the oldest.
 */
export class InvalidRows {
  /** Milliseconds since the epoch, as in the records. */
  readonly now: () => Millis
  readonly #lists = new Map<string, { exchange: ExchangeName; rows: number; at: Millis }>()
  #waiting = new Map<string, InvalidRowRecord>()

  constructor({ now = Date.now }: InvalidRowsOptions = {}) {
    this.now = now
  }

  /** Replaces what was known of the list. */
  record({ exchange, marketType, operation, accountId, subject, invalid }: ListReading): void {
    const at = this.now()
    const list = [exchange, marketType, operation, accountId, subject].join(' ')
    this.#lists.delete(list)
    if (invalid.length === 0) return
    this.#lists.set(list, { exchange, rows: invalid.reduce((sum, { times }) => sum + times, 0), at })
    dropOldest(this.#lists, MAX_LISTS)
    for (const { kind, reason, excerpt, times } of invalid) {
      const of = { exchange, marketType, operation, accountId, kind, reason }
      this.#wait({ ...of, excerpt, firstSeenAt: at, lastSeenAt: at, times })
    }
  }

  /** The invalid rows in the latest readings of the lists of an exchange, none older than ten minutes. */
  count(exchange: ExchangeName): number {
    const oldest = this.now() - COUNTED_MS
    let rows = 0
    for (const [key, list] of this.#lists) {
      if (list.at <= oldest) this.#lists.delete(key)
      else if (list.exchange === exchange) rows += list.rows
    }
    return rows
  }

  /** The rows that wait to be stored. They wait no more: what is not stored must be given back. */
  take(): InvalidRowRecord[] {
    const taken = [...this.#waiting.values()]
    this.#waiting = new Map()
    return taken
  }

  /** Makes rows wait again that could not be stored. */
  giveBack(records: readonly InvalidRowRecord[]): void {
    const newer = this.take()
    for (const record of [...records, ...newer]) this.#wait(record)
  }

  #wait(record: InvalidRowRecord): void {
    const { exchange, marketType, operation, accountId, kind, reason, times, firstSeenAt } = record
    const key = [exchange, marketType, operation, accountId, kind, reason].join(' ')
    const before = this.#waiting.get(key)
    this.#waiting.delete(key)
    this.#waiting.set(key, {
      ...record,
      times: times + (before?.times ?? 0),
      firstSeenAt: before?.firstSeenAt ?? firstSeenAt
    })
    dropOldest(this.#waiting, MAX_WAITING)
  }
}

function dropOldest(map: Map<string, unknown>, max: number): void {
  for (const key of map.keys()) {
    if (map.size <= max) return
    map.delete(key)
  }
}
