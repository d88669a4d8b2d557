// @FEAT:exchanges @COMP:service @TYPE:helper
import type { Instrument } from '../../domain/instrument.ts'
import type { Price } from '../../domain/market.ts'
import type { Millis } from '../../domain/millis.ts'
import type { CallOptions, Credentials, InvalidRow } from '../exchange-client.ts'
import { ExchangeError } from '../exchange-error.ts'
import { isRecord, toMillis, UnreadableAnswer } from '../http/answer-fields.ts'
import type { Answer, ReadCall, Route, SignedParts } from '../http/exchange-call.ts'
import type { ExchangeHost } from '../http/exchange-host.ts'
import type { HostOptions } from '../http/host-options.ts'
import { type OnUnreadableRow, RowReader } from '../http/row-reader.ts'
import { type AdapterContext, parsing, tickerPrice } from './adapter.ts'

/**
 * Most rows of a list; bounds memory at about 100 MB for one list. The longest real ones, the fills of one
 * order, have some thousand. A longer list is an error: it must not be returned in part.
 */
const MAX_ROWS = 100_000

export interface ApiOptions<Payload> {
  context: AdapterContext
  host: Omit<HostOptions, 'baseUrl' | 'clock'>
  /** The call that reads the exchange's clock. */
  clock: { route: Route; query?: string; read: (answer: Answer) => Millis }
  /** Headers of every call but that of the clock. Default none. */
  headers?: Readonly<Record<string, string>>
  sign: (request: UnsignedRequest) => SignedParts
  /** The content of an answer without its envelope. @throws {UnreadableAnswer} */
  payloadOf: (body: unknown) => Payload
}

interface UnsignedRequest {
  route: Route
  query: string
  credentials: Credentials
  /** The time by the clock of the exchange. */
  at: Millis
}

/** A route and its query. */
export interface RouteRequest {
  route: Route
  /** Encoded, without `?`. Default none. */
  query?: string
}

/** A list that the exchange returns in pages. */
export interface PagedRequest<Payload, T, Position> {
  route: Route
  /** The query for the page at a position, or for the first page. */
  query: (position: Position | undefined) => string
  /** The rows of a page and the position of the page after it; undefined after the last page. */
  read: (payload: Payload, position: Position | undefined) => { rows: readonly unknown[]; next: Position | undefined }
  /**
   * The fields that identify a row. A row that is on two pages, because the list has changed meanwhile, counts once.
   * Default: rows are not compared.
   */
  idFields?: readonly string[]
  /** Parses rows of one page. @throws {UnreadableAnswer} */
  parse: (rows: unknown[]) => T[]
}

type RowReaderOf<Item> = (add: (item: Item) => void, onUnreadable: OnUnreadableRow | undefined) => RowReader

/** Makes the reader of a list of instruments. */
export type InstrumentReader = RowReaderOf<Instrument>

/** A long list that is read row by row while it arrives. */
export interface StreamedRequest<Item, T> extends RouteRequest {
  /** Makes the reader for one attempt. It calls `add` with each item, and `onUnreadable` with each row that is none. */
  reader: RowReaderOf<Item>
  /** @param body the envelope without the rows */
  read: (items: Item[], body: unknown) => T
}

/** A long list in pages that are read row by row while they arrive. */
export interface PagedRowsRequest<Payload, Item, Position> {
  route: Route
  /** The query for the page at a position, or for the first page. */
  query: (position: Position | undefined) => string
  /** As that of a `StreamedRequest`. */
  reader: RowReaderOf<Item>
  /** The position of the page after this one; undefined after the last page. `payload` is without the rows. */
  next: (payload: Payload, position: Position | undefined) => Position | undefined
}

/** Where a list of tickers has its prices. */
export interface PriceList extends RouteRequest {
  /**
   * Names of the fields of a row. `time` is that of the last trade, in milliseconds; without it prices have none. `mark` is
   * the mark price; without it prices have none.
   */
  fields: { price: string; symbol: string; time?: string; mark?: string } | { price: string }
  /** The exchange's symbol of a row that is the member of an object, by its key. Only for fields without `symbol`. */
  symbolOfKey?: (key: string) => string
  /** The unified symbol; null for a market that is not supported. */
  unifiedSymbol: (exchangeSymbol: string) => string | null
  /** The time of the whole list, from the envelope. Default the time of each row. */
  timeOf?: (body: unknown) => Millis | null
}

/** The calls of one client. `Payload` is the content of an answer without its envelope. */
export class ExchangeApi<Payload> {
  /** Identifies the host among all hosts; shared by the clients that call it. */
  readonly host: ExchangeHost
  readonly #options: ApiOptions<Payload>

  constructor(options: ApiOptions<Payload>) {
    const { context, host, clock } = options
    this.#options = options
    this.host = context.gateway.host({ ...host, baseUrl: context.baseUrl, clock })
  }

  /**
   * Reads one answer.
   *
   * @throws {ExchangeError} `authentication` for a signed route when the client has no credentials
   */
  async read<T>(
    { route, query = '' }: RouteRequest,
    parse: (payload: Payload) => T,
    options: CallOptions | undefined
  ): Promise<T> {
    const read = ({ body }: Answer) => {
      const payload = this.#options.payloadOf(body)
      return this.parse(route.operation, () => parse(payload))
    }
    return await this.host.call({ ...this.#callOf(route, query), read }, options)
  }

  /**
   * Reads a list with all its pages, one after the other. Each page has the deadline of a call. The list is bounded by its
   * progress, and not by a number of pages: every page must have new rows and another position.
   *
   * @throws {ExchangeError} `invalid_answer` for pages that repeat, and for more than 100,000 rows
   */
  async readPages<T, Position>(
    { route, query, read, idFields = [], parse }: PagedRequest<Payload, T, Position>,
    options: CallOptions | undefined
  ): Promise<T[]> {
    const ids = new Set<string>()
    return await this.#allPages<T, Position>(route, async position => {
      const readPage = (payload: Payload) => {
        const { rows, next } = read(payload, position)
        const fresh = rows.filter(row => isNew(row, idFields, ids))
        return { items: parse(fresh), rows: fresh.length, next }
      }
      return await this.read({ route, query: query(position) }, readPage, options)
    })
  }

  /** As `readPages`, for pages that are read row by row while they arrive. @throws {ExchangeError} */
  async readRowPages<Item, Position>(
    { route, query, reader, next }: PagedRowsRequest<Payload, Item, Position>,
    options: CallOptions | undefined
  ): Promise<Item[]> {
    return await this.#allPages<Item, Position>(route, async position => {
      // A page may have nothing but rows that are left out: only its position shows progress.
      const read = (items: Item[], body: unknown) => {
        return { items, rows: Math.max(items.length, 1), next: next(this.#options.payloadOf(body), position) }
      }
      return await this.readRows({ route, query: query(position), reader, read }, options)
    })
  }

  /** @param readPage returns the items of a page, and how many of its rows were on no page before */
  async #allPages<T, Position>(
    route: Route,
    readPage: (position: Position | undefined) => Promise<{ items: T[]; rows: number; next: Position | undefined }>
  ): Promise<T[]> {
    const all: T[] = []
    const positions = new Set<string>()
    let position: Position | undefined
    for (let count = 0; ; ) {
      const { items, rows, next } = await readPage(position)
      for (const item of items) all.push(item)
      if (next === undefined) return all
      count += rows
      const reached = JSON.stringify(next)
      if (rows === 0 || positions.has(reached)) throw this.#endless(route, 'its pages repeat')
      if (count > MAX_ROWS) throw this.#endless(route, `more than ${MAX_ROWS} rows`)
      positions.add(reached)
      position = next
    }
  }

  /**
   * Reads a long list row by row while it arrives. Unreadable rows, and those after the first 100,000, are left out and
   * passed to `onInvalidRow` of the options, one for each kind of fault.
   *
   * @throws {ExchangeError} `invalid_answer` without `onInvalidRow`, for the first unreadable row
   */
  async readRows<Item, T>(
    { route, query = '', reader, read }: StreamedRequest<Item, T>,
    options: CallOptions | undefined
  ): Promise<T> {
    const { onInvalidRow } = options ?? {}
    let items: Item[] = []
    let invalid = new Map<string, InvalidRow>()
    const onUnreadable = (reason: string, row: string) => {
      const times = (invalid.get(reason)?.times ?? 0) + 1
      invalid.set(reason, { kind: 'unreadable', reason, row: invalid.get(reason)?.row ?? row, times })
    }
    const rows = () => {
      // Each attempt begins with an empty list.
      items = []
      invalid = new Map()
      const add = (item: Item) => {
        if (items.length >= MAX_ROWS) throw new UnreadableAnswer(`more than ${MAX_ROWS} rows`)
        items.push(item)
      }
      return reader(add, onInvalidRow && onUnreadable)
    }
    const readAll = ({ body }: Answer) => {
      for (const row of invalid.values()) onInvalidRow?.(row)
      return read(items, body)
    }
    return await this.host.call({ ...this.#callOf(route, query), rows, read: readAll }, options)
  }

  /** Reads the last prices of a market in one call. Markets without a trade are left out. @throws {ExchangeError} */
  async readPrices(list: PriceList, options: CallOptions | undefined): Promise<Price[]> {
    const { timeOf } = list
    const read = (prices: Price[], body: unknown): Price[] => {
      const time = timeOf?.(body) ?? null
      if (time === null) return prices
      const at = this.host.ourTime(time)
      return prices.map(price => ({ ...price, at, isListTime: true }))
    }
    const ourTime = (at: Millis) => this.host.ourTime(at)
    const reader = (add: (price: Price) => void, onUnreadable: OnUnreadableRow | undefined) =>
      priceReader(list, ourTime, add, onUnreadable)
    return await this.readRows<Price, Price[]>({ ...list, reader, read }, options)
  }

  /** The exchange's clock now. @throws {ExchangeError} */
  async serverTime(options: CallOptions | undefined): Promise<Millis> {
    return await this.host.serverTime(options)
  }

  /** `parsing` for this exchange. An unreadable answer is an error of the host. @throws {ExchangeError} */
  parse<T>(operation: string, parse: () => T): T {
    try {
      return parsing(this.#options.context.gateway.exchange, operation, parse)
    } catch (err) {
      if (err instanceof ExchangeError && err.code === 'invalid_answer') this.host.answerUnreadable(err)
      throw err
    }
  }

  #endless(route: Route, reason: string): ExchangeError {
    const { exchange } = this.#options.context.gateway
    return new ExchangeError('invalid_answer', { exchange, operation: route.operation, reason })
  }

  #callOf(route: Route, query: string): Omit<ReadCall<unknown>, 'read'> {
    const { headers, sign } = this.#options
    const call = { route, query, ...(headers && { headers }) }
    if (route.signing === 'none') return call
    const credentials = this.#credentials(route.operation)
    return { ...call, budgetKey: credentials.apiKey, sign: at => sign({ route, query, credentials, at }) }
  }

  #credentials(operation: string): Credentials {
    const { gateway, credentials } = this.#options.context
    if (credentials !== null) return credentials
    const reason = 'the client has no credentials'
    throw new ExchangeError('authentication', { exchange: gateway.exchange, operation, reason })
  }
}

/** Whether no row before had the same fields, which are added to `ids`. A row without one of them is always new. */
function isNew(row: unknown, idFields: readonly string[], ids: Set<string>): boolean {
  const values = isRecord(row) ? idFields.map(field => row[field]) : []
  if (values.length === 0 || values.some(value => typeof value !== 'string')) return true
  const id = values.join(' ')
  if (ids.has(id)) return false
  ids.add(id)
  return true
}

function priceReader(
  { fields, symbolOfKey, unifiedSymbol }: PriceList,
  ourTime: (at: Millis) => Millis,
  add: (price: Price) => void,
  onUnreadable: OnUnreadableRow | undefined
): RowReader {
  const symbolField = 'symbol' in fields ? fields.symbol : null
  const timeField = ('symbol' in fields ? fields.time : null) ?? null
  const markField = ('symbol' in fields ? fields.mark : null) ?? null
  const names = [fields.price, symbolField, timeField, markField].filter(name => name !== null)
  const markAt = markField === null ? -1 : names.indexOf(markField)
  const onRow = (values: readonly (string | null)[], key: string) => {
    const [text, symbol, time] = values
    const exchangeSymbol = symbolOfKey?.(key) ?? symbol
    if (!exchangeSymbol) throw new UnreadableAnswer(`${symbolField ?? 'the symbol'} is missing`)
    const unified = unifiedSymbol(exchangeSymbol)
    if (unified === null) return
    if (text === null) throw new UnreadableAnswer(`${fields.price} is missing`)
    const price = tickerPrice(text)
    if (price === null) return
    const at = time && timeField !== null ? toMillis(time, timeField) : null
    const mark = tickerPrice(values[markAt])
    add({
      symbol: unified,
      exchangeSymbol,
      price,
      at: at === null ? null : ourTime(at),
      ...(mark !== null && { mark })
    })
  }
  return new RowReader(names, onRow, { keyed: symbolOfKey !== undefined, onUnreadable })
}
