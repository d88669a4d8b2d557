// @FEAT:price-cache @COMP:service @TYPE:core

import { LRUCache } from 'lru-cache'
import { unlessAborted } from '../async/abort.ts'
import { SECOND } from '../async/durations.ts'
import { yieldToEventLoop } from '../async/yield.ts'
import type { ExchangeName, Market, MarketType, Price } from '../domain/market.ts'
import type { Log } from '../log/log.ts'
import type { CachedPrice, PriceSource } from './price-source.ts'

export const MAX_PRICES = 50_000
/** No exchange lists as many symbols on one market; room for them is reserved per market. */
const MAX_PER_MARKET = 20_000
/** A market that was read so lately is not read again for a symbol that it does not have. */
const READ_AGAIN_MS = 5 * SECOND
/** Refreshes in a row, with the same price, after which a symbol is taken for frozen: some ten minutes. */
const FROZEN_REFRESHES = 20
/** A refresh moved the market when this share of its symbols changed; most symbols of a market trade rarely. */
const MOVED_SHARE = 0.1
/** Work on prices that arrived before other events get their turn. */
const SLICE = 1_000
const SLICE_MS = 4

/** What every part of it fits is cleared; an empty one is everything. Names in capitals, the symbol in any spelling. */
export interface PriceFilter {
  exchange?: ExchangeName | undefined
  marketType?: MarketType | undefined
  symbol?: string | undefined
}

export interface MarketStats {
  exchange: ExchangeName
  market_type: MarketType
  entries: number
  hits: number
  misses: number
  oldest_age_seconds: number
}

/** The figures of `cache-stats`, by the names of the contract. Counts since the start. */
export interface PriceCacheStats {
  /** Current ones. */
  entries: number
  /** Too old to be served, not yet overwritten or dropped. */
  expired: number
  max_entries: number
  ttl_seconds: number
  hits: number
  misses: number
  updates: number
  /** Of all look-ups; 0 before the first. */
  hit_rate: number
  /** Of the current entries; 0 when there are none. */
  oldest_age_seconds: number
  /** Symbols whose price stands still while their market moves. */
  frozen: number
  exchanges: MarketStats[]
}

export interface PriceCacheOptions {
  ttlSeconds: number
  /** Reads all last prices of a market within a deadline of its own. */
  read: (market: Market, signal: AbortSignal) => Promise<readonly Price[]>
  log: Pick<Log, 'warn'>
  /** Aborts what is being read when the service closes. */
  closing: AbortSignal
  max?: number
  /** Our wall clock. Default `Date.now`. */
  now?: () => number
  /** A clock in ms that never goes back. Default `performance.now`. */
  monotonic?: () => number
}

interface Entry extends CachedPrice {
  exchangeSymbol: string
  /** Refreshes in a row that left the price as it was while the market moved. */
  unchanged: number
}

/** One market: with a cache for itself, a look-up needs no key put together of exchange, market and symbol. */
interface MarketBook extends Market {
  entries: LRUCache<string, Entry>
  hits: number
  misses: number
  reading: Promise<number> | undefined
  readAt: number
}

/** Last prices, kept for so long that each refresh finds the one before, and never served when they are older. */
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
    if (this.#monotonic() - book.readAt >= READ_AGAIN_MS) {
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
   * Reads a market and keeps all of its prices; who asks while it is being read shares the answer.
   * @returns how many prices it were
   * @throws {ExchangeError} and keeps what it has
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

  /** Walks over every entry: for people who ask, not for the path of a request that others wait for. */
  stats(): PriceCacheStats {
    const now = this.#now()
    const exchanges: MarketStats[] = []
    let [entries, size, frozen, oldest] = [0, 0, 0, 0]
    for (const { exchange, marketType: market_type, hits, misses, entries: cached } of this.#known()) {
      const market = { exchange, market_type, entries: 0, hits, misses, oldest_age_seconds: 0 }
      for (const entry of cached.values()) {
        market.entries++
        if (entry.unchanged >= FROZEN_REFRESHES) frozen++
        const age = tenths(Math.max(0, now - entry.readAt.getTime()) / SECOND)
        market.oldest_age_seconds = Math.max(market.oldest_age_seconds, age)
      }
      exchanges.push(market)
      entries += market.entries
      size += cached.size
      oldest = Math.max(oldest, market.oldest_age_seconds)
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
    const { read, closing } = this.#options
    let prices: readonly Price[]
    try {
      prices = await read(book, closing)
    } finally {
      // A market that cannot be read is not asked once more for each symbol, either.
      book.readAt = this.#monotonic()
    }
    const readAt = new Date(this.#now())
    const frozen: Entry[] = []
    const changed = this.#changed(book, prices)
    const moved = changed > prices.length * MOVED_SHARE
    let began = performance.now()
    for (const [i, { symbol, exchangeSymbol, price }] of prices.entries()) {
      const before = book.entries.peek(symbol, { allowStale: true })
      const still = before?.price === price
      const unchanged = still ? (before?.unchanged ?? 0) + (moved ? 1 : 0) : 0
      const entry = {
        price: still ? before.price : price,
        readAt,
        exchangeSymbol: before?.exchangeSymbol ?? exchangeSymbol,
        unchanged
      }
      book.entries.set(symbol, entry)
      if (moved && unchanged === FROZEN_REFRESHES) frozen.push(entry)
      if (i % SLICE === 0 && performance.now() - began > SLICE_MS) {
        await yieldToEventLoop()
        began = performance.now()
      }
    }
    this.#updates += prices.length
    this.#makeRoom()
    if (frozen.length > 0) {
      const symbols = frozen.slice(0, 10).map(entry => entry.exchangeSymbol)
      this.#options.log.warn(
        { exchange, market_type: marketType, frozen: frozen.length, symbols },
        'prices stand still while their market moves'
      )
    }
    return prices.length
  }

  /** Drops what was used least of the markets that were read longest ago, until no more is kept than the limit. */
  #makeRoom(): void {
    const { max = MAX_PRICES } = this.#options
    const books = this.#known().sort((a, b) => a.readAt - b.readAt)
    let surplus = books.reduce((sum, { entries }) => sum + entries.size, 0) - max
    for (const { entries } of books) while (surplus > 0 && entries.pop()) surplus--
  }

  /** How many symbols have another price than before. */
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
      readAt: Number.NEGATIVE_INFINITY
    }
    return books[marketType]
  }

  #known(): MarketBook[] {
    return Object.values(this.#books).flatMap(books => Object.values(books))
  }
}

function tenths(seconds: number): number {
  return Math.round(seconds * 10) / 10
}
