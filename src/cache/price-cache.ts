// @FEAT:price-cache @COMP:service @TYPE:core
import { LRUCache } from 'lru-cache'
import { unlessAborted } from '../abort.ts'
import type { ExchangeName, MarketType, Price } from '../exchanges/exchange-client.ts'
import type { Log } from '../log.ts'
import type { CachedPrice, PriceSource } from './price-source.ts'

const SECOND = 1_000
export const MAX_PRICES = 50_000
/** A market that was read so lately is not read again for a symbol that it does not have. */
const READ_AGAIN_MS = 5 * SECOND
/** Refreshes in a row, with the same price, after which a symbol is taken for frozen: some ten minutes. */
const FROZEN_REFRESHES = 20
/** A refresh moved the market when this share of its symbols changed; most symbols of a market trade rarely. */
const MOVED_SHARE = 0.1
/** Work on prices that arrived before other events get their turn. */
const SLICE = 1_000
const SLICE_MS = 4

export interface Market {
  exchange: ExchangeName
  marketType: MarketType
}

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

interface MarketBook extends Market {
  hits: number
  misses: number
  reading: Promise<number> | undefined
  readAt: number
}

/** Last prices, kept for so long that each refresh finds the one before, and never served when they are older. */
export class PriceCache implements PriceSource {
  readonly #options: PriceCacheOptions
  readonly #entries: LRUCache<string, Entry>
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
    const { ttlSeconds, max = MAX_PRICES, monotonic } = options
    this.#options = options
    this.#now = options.now ?? Date.now
    this.#monotonic = monotonic ?? (() => performance.now())
    this.#entries = new LRUCache({
      max,
      ttl: ttlSeconds * SECOND,
      ...(monotonic && { perf: { now: monotonic }, ttlResolution: 0 })
    })
  }

  peek(exchange: ExchangeName, marketType: MarketType, symbol: string): CachedPrice | undefined {
    const entry = this.#entries.get(keyOf(exchange, marketType, symbol))
    const book = this.#book(exchange, marketType)
    if (entry) book.hits++
    else book.misses++
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
      const price = this.#entries.get(keyOf(exchange, marketType, symbol))
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
    const prefix = exchange === undefined ? '' : `${exchange}:`
    const market = marketType === undefined ? '' : `:${marketType}:`
    const spelling = symbol?.toUpperCase()
    let cleared = 0
    for (const [key, { value }] of this.#entries.dump()) {
      if (!key.startsWith(prefix) || !key.includes(market)) continue
      if (
        spelling !== undefined &&
        key.slice(key.lastIndexOf(':') + 1) !== spelling &&
        value.exchangeSymbol.toUpperCase() !== spelling
      ) {
        continue
      }
      cleared++
      if (!dryRun) this.#entries.delete(key)
    }
    return cleared
  }

  /** Walks over every entry: for people who ask, not for the path of a request that others wait for. */
  stats(): PriceCacheStats {
    const now = this.#now()
    const markets = new Map<string, MarketStats>()
    let entries = 0
    let frozen = 0
    let oldest = 0
    for (const book of this.#known()) {
      const { exchange, marketType: market_type, hits, misses } = book
      const stats = { exchange, market_type, entries: 0, hits, misses, oldest_age_seconds: 0 }
      markets.set(keyOf(exchange, market_type, ''), stats)
    }
    for (const [key, entry] of this.#entries.entries()) {
      const age = Math.max(0, now - entry.readAt.getTime()) / SECOND
      const market = markets.get(key.slice(0, key.lastIndexOf(':') + 1))
      entries++
      if (entry.unchanged >= FROZEN_REFRESHES) frozen++
      oldest = Math.max(oldest, age)
      if (!market) continue
      market.entries++
      market.oldest_age_seconds = Math.max(market.oldest_age_seconds, tenths(age))
    }
    const exchanges = [...markets.values()]
    const hits = exchanges.reduce((sum, market) => sum + market.hits, 0)
    const misses = exchanges.reduce((sum, market) => sum + market.misses, 0)
    return {
      entries,
      expired: this.#entries.size - entries,
      max_entries: this.#entries.max,
      ttl_seconds: this.#options.ttlSeconds,
      hits,
      misses,
      updates: this.#updates,
      hit_rate: hits + misses === 0 ? 0 : Math.round((hits / (hits + misses)) * 10_000) / 10_000,
      oldest_age_seconds: tenths(oldest),
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
      const key = keyOf(exchange, marketType, symbol)
      const before = this.#entries.peek(key, { allowStale: true })
      const still = before?.price === price
      const unchanged = still ? (before?.unchanged ?? 0) + (moved ? 1 : 0) : 0
      const entry = {
        price: still ? before.price : price,
        readAt,
        exchangeSymbol: before?.exchangeSymbol ?? exchangeSymbol,
        unchanged
      }
      this.#entries.set(key, entry)
      if (moved && unchanged === FROZEN_REFRESHES) frozen.push(entry)
      if (i % SLICE === 0 && performance.now() - began > SLICE_MS) {
        await turn()
        began = performance.now()
      }
    }
    this.#updates += prices.length
    if (frozen.length > 0) {
      const symbols = frozen.slice(0, 10).map(entry => entry.exchangeSymbol)
      this.#options.log.warn(
        { exchange, market_type: marketType, frozen: frozen.length, symbols },
        'prices stand still while their market moves'
      )
    }
    return prices.length
  }

  /** How many symbols have another price than before. */
  #changed({ exchange, marketType }: Market, prices: readonly Price[]): number {
    let changed = 0
    for (const { symbol, price } of prices) {
      const before = this.#entries.peek(keyOf(exchange, marketType, symbol), { allowStale: true })
      if (before && before.price !== price) changed++
    }
    return changed
  }

  #book(exchange: ExchangeName, marketType: MarketType): MarketBook {
    const books = this.#books[exchange]
    books[marketType] ??= {
      exchange,
      marketType,
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

function keyOf(exchange: string, marketType: string, symbol: string): string {
  return `${exchange}:${marketType}:${symbol}`
}

function tenths(seconds: number): number {
  return Math.round(seconds * 10) / 10
}

/** Lets every event that waits have its turn. */
function turn(): Promise<void> {
  return new Promise(resolve => setImmediate(resolve))
}
