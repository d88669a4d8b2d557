// @FEAT:price-cache @COMP:service @TYPE:core

import { LRUCache } from 'lru-cache'
import { unlessAborted } from '../async/abort.ts'
import { DAY, SECOND } from '../async/durations.ts'
import { yieldToEventLoop } from '../async/yield.ts'
import type { Instrument, InstrumentSource } from '../domain/instrument.ts'
import type { ExchangeName, Market, MarketType, Price } from '../domain/market.ts'
import type { Log } from '../log/log.ts'
import type { CachedPrice, PriceSource } from './price-source.ts'

export const MAX_PRICES = 50_000
/** No exchange lists this many symbols on one market; the cache of each market reserves room for them. */
const MAX_PER_MARKET = 20_000
/** A market that was read within this time is not read again for an unknown symbol. */
const REREAD_AFTER_MS = 5 * SECOND
/** A symbol is frozen after this many refreshes in a row with the same price: about ten minutes. */
const FROZEN_REFRESHES = 20
/** A market is active in a refresh when this share of its prices changed; most symbols of a market trade rarely. */
const ACTIVE_SHARE = 0.1
/**
 * A price whose last trade is older is not current, even if its instrument still trades: on a symbol without a trade for
 * a day nothing can be sold at this price.
 */
const MAX_TRADE_AGE_MS = DAY
/** An entry without a time to live would never expire. */
const SHORTEST_TTL_MS = 0.5
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

interface Entry extends CachedPrice {
  exchangeSymbol: string
  /** Refreshes in a row with the same price while the market was active. */
  unchanged: number
}

/** What was read of a market. */
interface MarketLists {
  prices: readonly Price[]
  /** Empty when the instruments are not known. */
  listed: ReadonlyMap<string, Instrument>
  /** When the prices were read, and how long their storing waited for the list of instruments. */
  readAt: Date
  waitedMs: number
}

/** The prices of one market. With a cache per market, the symbol alone is the key. */
interface MarketBook extends Market {
  entries: LRUCache<string, Entry>
  hits: number
  misses: number
  reading: Promise<number> | undefined
  readAt: number
  /** Unified symbols that callers missed since the last reading. */
  missed: Set<string>
}

/** Caches last prices. Entries live longer than the interval of refreshes, and are not served after that. */
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
    signal.throwIfAborted()
    const found = new Map<string, CachedPrice>()
    const missing: string[] = []
    for (const symbol of symbols) {
      const price = this.peek(exchange, marketType, symbol)
      if (price) found.set(symbol, price)
      else missing.push(symbol)
    }
    if (missing.length === 0) return found
    const book = this.#book(exchange, marketType)
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
      const price = book.entries.get(symbol)
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

  /** @returns how many entries, expired ones included, were dropped, or would be */
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
    const isActive = this.#changed(book, prices) > prices.length * ACTIVE_SHARE
    let [stored, began] = [0, performance.now()]
    for (const [i, price] of prices.entries()) {
      const entry = this.#store(book, price, lists, isActive)
      if (entry !== undefined) stored++
      if (isActive && entry?.unchanged === FROZEN_REFRESHES) frozen.push(entry)
      if (i % YIELD_CHECK_PRICES === 0 && performance.now() - began > YIELD_AFTER_MS) {
        await yieldToEventLoop()
        began = performance.now()
      }
    }
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

  /** Reads the prices of a market and the list of its instruments at the same time. */
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
      let [prices, listed] = await Promise.all([readPrices(), instruments?.ofMarket(book, closing) ?? NOT_LISTED])
      // A new symbol may be younger than the list.
      const isNew = (price: Price) => missed.has(price.symbol) && !listed.has(price.exchangeSymbol)
      const wanted = missed.size === 0 ? [] : prices.filter(isNew).map(({ exchangeSymbol }) => exchangeSymbol)
      if (instruments && wanted.length > 0) listed = await instruments.ofMarket(book, closing, wanted)
      return { prices, listed, readAt, waitedMs: this.#now() - readAt.getTime() }
    } finally {
      // A market that cannot be read is not read again for each symbol, either.
      book.readAt = this.#monotonic()
    }
  }

  /** Stores a price that is current. One that is not is left out, and the entry of its symbol dropped. */
  #store(book: MarketBook, price: Price, lists: MarketLists, isActive: boolean): Entry | undefined {
    const { listed, readAt, waitedMs } = lists
    const instrument = listed.get(price.exchangeSymbol)
    const symbol = instrument?.symbol ?? price.symbol
    const before = book.entries.peek(symbol, { allowStale: true })
    const ttlMs = this.#options.ttlSeconds * SECOND
    const isTraded = listed.size === 0 || instrument?.trading === true
    const ttl = isTraded ? remainingMs(price, readAt.getTime(), ttlMs) - waitedMs : -1
    if (ttl < 0) {
      if (before?.exchangeSymbol === price.exchangeSymbol) book.entries.delete(symbol)
      return undefined
    }
    const isSame = before?.price === price.price
    const entry = {
      price: isSame ? before.price : price.price,
      at: price.at === null || price.at >= readAt.getTime() ? readAt : new Date(price.at),
      readAt,
      exchangeSymbol: before?.exchangeSymbol ?? price.exchangeSymbol,
      unchanged: isSame ? before.unchanged + (isActive ? 1 : 0) : 0
    }
    if (ttl === ttlMs) book.entries.set(symbol, entry)
    else book.entries.set(symbol, entry, { ttl: Math.max(ttl, SHORTEST_TTL_MS) })
    return entry
  }

  /** Drops the least recently used entries of the markets that were read longest ago, down to the limit. */
  #makeRoom(): void {
    const { max = MAX_PRICES } = this.#options
    const books = this.#known().sort((a, b) => a.readAt - b.readAt)
    let surplus = books.reduce((sum, { entries }) => sum + entries.size, 0) - max
    for (const { entries } of books) while (surplus > 0 && entries.pop()) surplus--
  }

  /** The number of symbols whose price changed. */
  #changed({ entries }: MarketBook, prices: readonly Price[]): number {
    let changed = 0
    for (const { symbol, price } of prices) {
      const before = entries.peek(symbol, { allowStale: true })
      if (before && before.price !== price) changed++
    }
    return changed
  }

  #book(exchange: ExchangeName, marketType: MarketType): MarketBook {
    const books = this.#books[exchange]
    const { ttlSeconds, monotonic } = this.#options
    books[marketType] ??= {
      exchange,
      marketType,
      entries: new LRUCache({
        max: MAX_PER_MARKET,
        ttl: ttlSeconds * SECOND,
        ...(monotonic && { perf: { now: monotonic }, ttlResolution: 0 })
      }),
      hits: 0,
      misses: 0,
      reading: undefined,
      readAt: Number.NEGATIVE_INFINITY,
      missed: new Set()
    }
    return books[marketType]
  }

  #known(): MarketBook[] {
    return Object.values(this.#books).flatMap(books => Object.values(books))
  }
}

/** How long a price that is read now stays current; below zero when it is too old. */
function remainingMs({ at, isListTime }: Price, nowMs: number, ttlMs: number): number {
  if (at === null) return ttlMs
  const maxAgeMs = isListTime ? ttlMs : MAX_TRADE_AGE_MS
  return Math.min(ttlMs, maxAgeMs - Math.max(0, nowMs - at))
}

function tenths(seconds: number): number {
  return Math.round(seconds * 10) / 10
}
