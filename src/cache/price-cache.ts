// @FEAT:price-cache @COMP:service @TYPE:core
import { unlessAborted } from '../async/abort.ts'
import { SECOND } from '../async/durations.ts'
import { yieldToEventLoop } from '../async/yield.ts'
import type { Instrument, InstrumentSource } from '../domain/instrument.ts'
import type { ExchangeName, Market, MarketType, Price } from '../domain/market.ts'
import type { Log } from '../log/log.ts'
import {
  changedPrices,
  type Entry,
  type MarketBook,
  type MarketLists,
  newBook,
  storeMark,
  storePrice
} from './market-book.ts'
import type { CachedPrice, PriceSource } from './price-source.ts'

export const MAX_PRICES = 50_000
/** A market that was read within this time is not read again for an unknown symbol. */
const REREAD_AFTER_MS = 5 * SECOND
/** A symbol is frozen after this many refreshes in a row with the same price: about ten minutes. */
const FROZEN_REFRESHES = 20
/** A market is active in a refresh when this share of its prices changed; most symbols of a market trade rarely. */
const ACTIVE_SHARE = 0.1
const NOT_LISTED: ReadonlyMap<string, Instrument> = new Map()
/** Storing prices yields to the event loop when it took this long, checked every so many prices. */
const YIELD_CHECK_PRICES = 1_000
const YIELD_AFTER_MS = 4

/** Entries that match every part; the empty filter matches all. Names in capitals, the symbol in any spelling. */
export interface PriceFilter {
  exchange?: ExchangeName | undefined
  marketType?: MarketType | undefined
  symbol?: string | undefined
}

interface MarketStats {
  exchange: ExchangeName
  market_type: MarketType
  entries: number
  hits: number
  misses: number
  oldest_age_seconds: number | null
}

/** The metrics of the price cache, with the names of the contract of `cache-stats`. Counts since the start. */
export interface PriceCacheStats {
  /** Entries that are not expired. */
  entries: number
  /** Expired entries that were not overwritten or dropped yet. */
  expired: number
  max_entries: number
  ttl_seconds: number
  hits: number
  misses: number
  updates: number
  /** Hits per lookup; 0 before the first lookup. */
  hit_rate: number
  /** The age of the oldest entry that is not expired; null without entries. */
  oldest_age_seconds: number | null
  /** Symbols whose price does not change while their market is active. */
  frozen: number
  exchanges: MarketStats[]
}

export interface PriceCacheOptions {
  ttlSeconds: number
  /** Reads all last prices of a market, with its own deadline. */
  read: (market: Market, signal: AbortSignal) => Promise<readonly Price[]>
  /** Reads all mark prices of a market that the last prices do not have. Default none. */
  readMarks?: (market: Market, signal: AbortSignal) => Promise<readonly Price[]>
  /** The instruments with their state and unified symbol. Default: not known. */
  instruments?: InstrumentSource
  log: Pick<Log, 'warn'>
  /** Aborts reads when the service closes. */
  closing: AbortSignal
  max?: number
  /** Milliseconds since the epoch. Default `Date.now`. */
  now?: () => number
  /** A monotonic clock in milliseconds. Default `performance.now`. */
  monotonic?: () => number
}

/** Caches last prices, and the mark prices of perpetuals next to them. Entries live longer than the interval of refreshes, and are not served after that. */
export class PriceCache implements PriceSource {
  readonly #options: PriceCacheOptions
  readonly #books: Record<ExchangeName, Partial<Record<MarketType, MarketBook>>> = {
    BINANCE: {},
    BYBIT: {},
    OKX: {},
    UPBIT: {},
    BITHUMB: {}
  }
  readonly #now: () => number
  readonly #monotonic: () => number
  #updates = 0

  constructor(options: PriceCacheOptions) {
    this.#options = options
    this.#now = options.now ?? Date.now
    this.#monotonic = options.monotonic ?? (() => performance.now())
  }

  peek(exchange: ExchangeName, marketType: MarketType, symbol: string): CachedPrice | undefined {
    const book = this.#books[exchange][marketType] ?? this.#book(exchange, marketType)
    const entry = book.entries.get(symbol)
    if (entry === undefined) book.misses++
    else book.hits++
    return entry
  }

  async current(
    exchange: ExchangeName,
    marketType: MarketType,
    symbols: Iterable<string>,
    signal: AbortSignal
  ): Promise<ReadonlyMap<string, CachedPrice>> {
    return await this.#found(this.#book(exchange, marketType), book => book.entries, symbols, signal)
  }

  async currentMarks(
    exchange: ExchangeName,
    symbols: Iterable<string>,
    signal: AbortSignal
  ): Promise<ReadonlyMap<string, CachedPrice>> {
    return await this.#found(this.#book(exchange, 'FUTURES'), book => book.marks, symbols, signal)
  }

  /** What a cache of the book has for the symbols, after a reading if one of them is missing. */
  async #found(
    book: MarketBook,
    cacheOf: (book: MarketBook) => { get(symbol: string): CachedPrice | undefined } | undefined,
    symbols: Iterable<string>,
    signal: AbortSignal
  ): Promise<ReadonlyMap<string, CachedPrice>> {
    signal.throwIfAborted()
    const { exchange, marketType } = book
    const found = new Map<string, CachedPrice>()
    const missing: string[] = []
    for (const symbol of symbols) {
      const price = cacheOf(book)?.get(symbol)
      if (price) found.set(symbol, price)
      else missing.push(symbol)
    }
    book.hits += found.size
    book.misses += missing.length
    if (missing.length === 0) return found
    if (this.#monotonic() - book.readAt >= REREAD_AFTER_MS) {
      for (const symbol of missing) book.missed.add(symbol)
      await unlessAborted(
        this.refresh({ exchange, marketType }).catch(err => {
          this.#options.log.warn({ err, exchange, market_type: marketType }, 'prices not read')
        }),
        signal
      )
    }
    for (const symbol of missing) {
      const price = cacheOf(book)?.get(symbol)
      if (price) found.set(symbol, price)
    }
    return found
  }

  /**
   * Reads a market and stores all of its current prices. Concurrent callers share one call.
   * @returns the number of stored prices
   * @throws {ExchangeError} the stored prices stay
   */
  refresh(market: Market): Promise<number> {
    const book = this.#book(market.exchange, market.marketType)
    book.reading ??= this.#read(book).finally(() => {
      book.reading = undefined
    })
    return book.reading
  }

  /** Mark prices are dropped, too, and not counted. @returns how many last prices, expired ones included, were dropped, or would be */
  clear({ exchange, marketType, symbol }: PriceFilter, { dryRun = false } = {}): number {
    const spelling = symbol?.toUpperCase()
    let cleared = 0
    for (const book of this.#known()) {
      if (exchange !== undefined && book.exchange !== exchange) continue
      if (marketType !== undefined && book.marketType !== marketType) continue
      for (const [key, { value }] of book.entries.dump()) {
        if (spelling !== undefined && key !== spelling && value.exchangeSymbol.toUpperCase() !== spelling) continue
        cleared++
        if (!dryRun) book.entries.delete(key)
      }
      for (const [key, { value }] of book.marks?.dump() ?? []) {
        if (spelling !== undefined && key !== spelling && value.exchangeSymbol.toUpperCase() !== spelling) continue
        if (!dryRun) book.marks?.delete(key)
      }
    }
    return cleared
  }

  /** Reads every entry: for the statistics, not for frequent calls. */
  stats(): PriceCacheStats {
    const now = this.#now()
    const exchanges: MarketStats[] = []
    let [entries, size, frozen] = [0, 0, 0]
    let oldest: number | null = null
    for (const { exchange, marketType: market_type, hits, misses, entries: cached } of this.#known()) {
      const market: MarketStats = { exchange, market_type, entries: 0, hits, misses, oldest_age_seconds: null }
      for (const entry of cached.values()) {
        market.entries++
        if (entry.unchanged >= FROZEN_REFRESHES) frozen++
        const age = tenths(Math.max(0, now - entry.readAt.getTime()) / SECOND)
        market.oldest_age_seconds = Math.max(market.oldest_age_seconds ?? 0, age)
      }
      exchanges.push(market)
      entries += market.entries
      size += cached.size
      if (market.oldest_age_seconds !== null) oldest = Math.max(oldest ?? 0, market.oldest_age_seconds)
    }
    const hits = exchanges.reduce((sum, market) => sum + market.hits, 0)
    const misses = exchanges.reduce((sum, market) => sum + market.misses, 0)
    return {
      entries,
      expired: size - entries,
      max_entries: this.#options.max ?? MAX_PRICES,
      ttl_seconds: this.#options.ttlSeconds,
      hits,
      misses,
      updates: this.#updates,
      hit_rate: hits + misses === 0 ? 0 : Math.round((hits / (hits + misses)) * 10_000) / 10_000,
      oldest_age_seconds: oldest,
      frozen,
      exchanges
    }
  }

  async #read(book: MarketBook): Promise<number> {
    const { exchange, marketType } = book
    const lists = await this.#readLists(book)
    const { prices } = lists
    const frozen: Entry[] = []
    const isActive = changedPrices(book, prices) > prices.length * ACTIVE_SHARE
    let [stored, began] = [0, performance.now()]
    for (const [i, price] of prices.entries()) {
      const entry = storePrice(book, price, lists, this.#options, isActive)
      if (entry !== undefined) stored++
      if (price.mark !== undefined) storeMark(book, { ...price, price: price.mark }, lists, this.#options)
      if (isActive && entry?.unchanged === FROZEN_REFRESHES) frozen.push(entry)
      if (i % YIELD_CHECK_PRICES === 0 && performance.now() - began > YIELD_AFTER_MS) {
        await yieldToEventLoop()
        began = performance.now()
      }
    }
    for (const mark of lists.marks) storeMark(book, mark, lists, this.#options)
    this.#updates += stored
    this.#makeRoom()
    if (frozen.length > 0) {
      const symbols = frozen.slice(0, 10).map(entry => entry.exchangeSymbol)
      this.#options.log.warn(
        { exchange, market_type: marketType, frozen: frozen.length, symbols },
        'prices unchanged while their market changes'
      )
    }
    return stored
  }

  /** Reads the prices of a market, its mark prices and the list of its instruments at the same time. */
  async #readLists(book: MarketBook): Promise<MarketLists> {
    const { read, instruments, closing } = this.#options
    const missed = book.missed
    book.missed = new Set()
    let readAt = new Date(0)
    const readPrices = async () => {
      const prices = await read(book, closing)
      readAt = new Date(this.#now())
      return prices
    }
    try {
      let [prices, listed, marks] = await Promise.all([
        readPrices(),
        instruments?.ofMarket(book, closing) ?? NOT_LISTED,
        this.#readMarks(book)
      ])
      // A new symbol may be younger than the list.
      const isNew = (price: Price) => missed.has(price.symbol) && !listed.has(price.exchangeSymbol)
      const wanted = missed.size === 0 ? [] : prices.filter(isNew).map(({ exchangeSymbol }) => exchangeSymbol)
      if (instruments && wanted.length > 0) listed = await instruments.ofMarket(book, closing, wanted)
      return { prices, marks, listed, readAt, waitedMs: this.#now() - readAt.getTime() }
    } finally {
      // A market that cannot be read is not read again for each symbol, either.
      book.readAt = this.#monotonic()
    }
  }

  /** Without them the last prices are stored as usual, and the marks expire. */
  async #readMarks({ exchange, marketType }: MarketBook): Promise<readonly Price[]> {
    const { readMarks, closing, log } = this.#options
    if (readMarks === undefined || marketType !== 'FUTURES') return []
    try {
      return await readMarks({ exchange, marketType }, closing)
    } catch (err) {
      if (!closing.aborted) log.warn({ err, exchange, market_type: marketType }, 'mark prices not read')
      return []
    }
  }

  /** Drops the least recently used entries of the markets that were read longest ago, down to the limit. */
  #makeRoom(): void {
    const { max = MAX_PRICES } = this.#options
    const books = this.#known().sort((a, b) => a.readAt - b.readAt)
    let surplus = books.reduce((sum, { entries }) => sum + entries.size, 0) - max
    for (const { entries } of books) while (surplus > 0 && entries.pop()) surplus--
  }

  #book(exchange: ExchangeName, marketType: MarketType): MarketBook {
    const books = this.#books[exchange]
    books[marketType] ??= newBook({ exchange, marketType }, this.#options)
    return books[marketType]
  }

  #known(): MarketBook[] {
    return Object.values(this.#books).flatMap(books => Object.values(books))
  }
}

function tenths(seconds: number): number {
  return Math.round(seconds * 10) / 10
}
