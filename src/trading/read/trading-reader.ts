// @FEAT:trading @COMP:service @TYPE:core
import { createHash } from 'node:crypto'
import { atMost } from '../../async/bounded.ts'
import { withDeadline } from '../../async/deadline.ts'
import type { TransactionSql } from '../../database/client.ts'
import type { Database } from '../../database/database.ts'
import { asUnavailable } from '../../database/failure.ts'
import { anyRowsOf, type Collection, type Filter } from './collection.ts'
import { id } from './column.ts'
import { csvLine } from './csv.ts'
import { cursorOf } from './cursor.ts'
import { timestampOf } from './moment.ts'
import { type Item, readRows } from './page.ts'

export type { Item }

/** How many items of a stream are in memory at once, and are read by one statement. */
export const STREAM_PAGE = 500
/** Longest wait for one page, in milliseconds, and the time in which a cancelled statement is to be reported. */
const PAGE_DEADLINE_MS = 5_000
const CANCEL_MS = 1_000
/** A version is of at most so many items: that of more would take as long as a part of the answer. */
const MAX_VERSIONED = 20_000
/** Changes when the same items are shown in another way. */
const REPRESENTATION = 1

/** Items of one collection, as one request asks for them. */
export interface Reading {
  collection: Collection
  filter: Filter
  /** Items at most; undefined: all. */
  limit: number | undefined
}

/** A page of a collection. */
export interface Page {
  /** The database time of the page: what was committed before it is in the page. */
  asOf: string
  items: Item[]
  /** The key of the last item, when more items follow. */
  lastKey: string[] | undefined
  /** The cursor of the next page; null on the last one. */
  next: string | null
}

/** Limits of a reader. Only tests set them. */
export interface ReaderLimits {
  /** Index entries that a page of a bounded collection reads at most. */
  maxScanned?: number | undefined
  /** Longest wait for one page, in milliseconds. */
  deadlineMs?: number
}

/**
 * Reads the collections of trading data. Each page is a read-only transaction with a deadline, which the server applies,
 * too. At most half of the connections of the pool read pages, so that slow pages do not delay everything else.
 */
export class TradingReader {
  readonly #database: Database
  readonly #timeZone: string
  readonly #maxScanned: number | undefined
  readonly #deadlineMs: number
  readonly #inTurn: ReturnType<typeof atMost>

  /** @param timeZone IANA name: a day is a day of this zone */
  constructor(database: Database, timeZone: string, { maxScanned, deadlineMs = PAGE_DEADLINE_MS }: ReaderLimits = {}) {
    this.#database = database
    this.#timeZone = timeZone
    this.#maxScanned = maxScanned
    this.#deadlineMs = deadlineMs
    this.#inTurn = atMost(Math.max(1, Math.floor(database.usage().max / 2)))
  }

  /** Reads one page. @throws {DatabaseUnavailableError} */
  async page({ collection, filter }: Reading, limit: number): Promise<Page> {
    const [as, { items, lastKey }] = await this.#read(collection, tx =>
      Promise.all([
        tx<{ as_of: string }[]>`
          select to_char(now() at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"') as as_of`,
        readRows(tx, collection, filter, { limit, timeZone: this.#timeZone, maxScanned: this.#maxScanned })
      ])
    )
    const next = lastKey === undefined ? null : cursorOf(collection.name, lastKey)
    return { asOf: as[0]?.as_of ?? '', items, lastKey, next }
  }

  /**
   * A page and all pages after it as CSV, with a header. At most two pages are in memory. The caller ends it early by its
   * `return`.
   * @throws {DatabaseUnavailableError}
   */
  async *csv(reading: Reading, first: Page): AsyncGenerator<string, void> {
    const { collection, filter } = reading
    yield headerOf(collection) + linesOf(collection, first)
    let page = first
    while (page.lastKey !== undefined) {
      page = await this.page({ ...reading, filter: { ...filter, after: page.lastKey } }, STREAM_PAGE)
      yield linesOf(collection, page)
    }
  }

  /**
   * Identifies the present content of an answer about days that are over: it changes when one of the items is computed
   * again, added or removed.
   * @param format of the answer
   * @returns undefined when the days are not over, the collection has no versions, or the items are too many
   * @throws {DatabaseUnavailableError}
   */
  async version({ collection, filter, limit }: Reading, format: string): Promise<string | undefined> {
    const { changedAt } = collection
    const { to } = filter
    if (changedAt === undefined || to === undefined) return undefined
    const timeZone = this.#timeZone
    const times = await this.#read(collection, async tx => {
      const [day] = await tx<{ closed: boolean }[]>`
        select ${timestampOf(tx, to, timeZone)} <= day_begin((now() at time zone ${timeZone}::text)::date, ${timeZone}) as closed`
      if (!day?.closed) return undefined
      // With all digits, as text.
      const changes = { ...collection, columns: { [changedAt]: id() } }
      if (limit !== undefined) {
        const { items, lastKey } = await readRows(tx, changes, filter, {
          limit,
          timeZone,
          maxScanned: this.#maxScanned
        })
        return [lastKey ?? null, ...items.map(item => item[changedAt])]
      }
      const rows = anyRowsOf(tx, collection, filter, { limit: MAX_VERSIONED + 1, timeZone })
      const [sum] = await tx<{ items: number; changes: string }[]>`
        select count(*)::int as items, coalesce(sum((extract(epoch from ${tx(changedAt)}) * 1000000)::bigint), 0)::text as changes
        from (${rows}) t`
      return sum !== undefined && sum.items <= MAX_VERSIONED ? [sum.items, sum.changes] : undefined
    })
    if (times === undefined) return undefined
    const parts = [REPRESENTATION, format, collection.name, filter, limit, times]
    return createHash('sha256').update(JSON.stringify(parts)).digest('base64url').slice(0, 27)
  }

  async #read<T>({ name }: Collection, work: (tx: TransactionSql) => Promise<T>): Promise<T> {
    const endMs = performance.now() + this.#deadlineMs
    const readOnly = async (tx: TransactionSql) => {
      // Sent before the first statement and together with it.
      const mode = tx`set transaction read only`.execute()
      const [, result] = await Promise.all([mode, work(tx)])
      return result
    }
    const inTurn = (signal: AbortSignal) =>
      this.#inTurn(async () => {
        signal.throwIfAborted()
        const deadlineMs = Math.max(1, endMs - performance.now())
        return this.#database.transaction(readOnly, { deadlineMs, kind: `read ${name}`, mayBeSlow: true })
      })
    try {
      return await withDeadline(inTurn, this.#deadlineMs + CANCEL_MS)
    } catch (err) {
      throw asUnavailable(err)
    }
  }
}

/** The names of the columns as a line of CSV. */
export function headerOf({ columns }: Collection): string {
  return csvLine(Object.keys(columns))
}

/** The items of a page as lines of CSV. */
export function linesOf({ columns }: Collection, { items }: Pick<Page, 'items'>): string {
  const names = Object.keys(columns)
  return items.map(item => csvLine(names.map(name => item[name] ?? null))).join('')
}
