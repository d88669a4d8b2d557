// @FEAT:price-cache @COMP:service @TYPE:core
import { LRUCache } from 'lru-cache'
import { DAY, SECOND } from '../async/durations.ts'
import type { Instrument } from '../domain/instrument.ts'
import type { Market, Price } from '../domain/market.ts'
import type { CachedPrice } from './price-source.ts'

/** No exchange lists this many symbols on one market; the cache of each market reserves room for them. */
const MAX_PER_MARKET = 20_000
/**
 * A price whose last trade is older is not current, even if its instrument still trades: on a symbol without a trade for
 * a day nothing can be sold at this price.
 */
const MAX_TRADE_AGE_MS = DAY
/** An entry without a time to live would never expire. */
const SHORTEST_TTL_MS = 0.5

/** A last price as it is cached. */
export interface Entry extends CachedPrice {
  exchangeSymbol: string
  /** Refreshes in a row with the same price while the market was active. */
  unchanged: number
}

/** A mark price as it is cached. */
interface MarkEntry extends CachedPrice {
  exchangeSymbol: string
}

/** The lists of a market that were read at one time. */
export interface MarketLists {
  prices: readonly Price[]
  /** Mark prices; empty on spot, and when they could not be read. */
  marks: readonly Price[]
  /** Empty when the instruments are not known. */
  listed: ReadonlyMap<string, Instrument>
  /** When the prices were read, and how long their storing waited for the list of instruments. */
  readAt: Date
  waitedMs: number
}

/** The prices of one market. With a cache per market, the symbol alone is the key. */
export interface MarketBook extends Market {
  entries: LRUCache<string, Entry>
  /** Made with the first mark price: spot has none. */
  marks: LRUCache<string, MarkEntry> | undefined
  hits: number
  misses: number
  reading: Promise<number> | undefined
  readAt: number
  /** Unified symbols that callers missed since the last reading. */
  missed: Set<string>
}

export interface BookOptions {
  ttlSeconds: number
  /** A monotonic clock in milliseconds. Default `performance.now`. */
  monotonic?: (() => number) | undefined
}

/** The empty book of a market. */
export function newBook({ exchange, marketType }: Market, options: BookOptions): MarketBook {
  return {
    exchange,
    marketType,
    entries: newEntries<Entry>(options),
    marks: undefined,
    hits: 0,
    misses: 0,
    reading: undefined,
    readAt: Number.NEGATIVE_INFINITY,
    missed: new Set()
  }
}

/**
 * Stores a last price that is current. One that is not is left out, and the entry of its symbol dropped.
 *
 * @param isActive whether the market moves: then an unchanged price counts as such
 */
export function storePrice(
  book: MarketBook,
  price: Price,
  lists: MarketLists,
  { ttlSeconds }: BookOptions,
  isActive: boolean
): Entry | undefined {
  const { symbol, ttl } = placeOf(price, lists, ttlSeconds)
  const before = book.entries.peek(symbol, { allowStale: true })
  if (ttl < 0) {
    if (before?.exchangeSymbol === price.exchangeSymbol) book.entries.delete(symbol)
    return undefined
  }
  const isSame = before?.price === price.price
  const entry = {
    price: isSame ? before.price : price.price,
    ...timesOf(price, lists),
    exchangeSymbol: before?.exchangeSymbol ?? price.exchangeSymbol,
    unchanged: isSame ? before.unchanged + (isActive ? 1 : 0) : 0
  }
  if (ttl === ttlSeconds * SECOND) book.entries.set(symbol, entry)
  else book.entries.set(symbol, entry, { ttl: Math.max(ttl, SHORTEST_TTL_MS) })
  return entry
}

/**
 * Stores a mark price that is current. Exchanges compute it all the time, with and without trades: one whose own time is
 * older than the time to live is not current.
 */
export function storeMark(book: MarketBook, mark: Price, lists: MarketLists, options: BookOptions): void {
  const { symbol, ttl } = placeOf({ ...mark, isListTime: true }, lists, options.ttlSeconds)
  if (ttl < 0) {
    if (book.marks?.peek(symbol)?.exchangeSymbol === mark.exchangeSymbol) book.marks.delete(symbol)
    return
  }
  book.marks ??= newEntries<MarkEntry>(options)
  const entry = { price: mark.price, ...timesOf(mark, lists), exchangeSymbol: mark.exchangeSymbol }
  book.marks.set(symbol, entry, { ttl: Math.max(ttl, SHORTEST_TTL_MS) })
}

/** The number of symbols whose last price changed. */
export function changedPrices({ entries }: MarketBook, prices: readonly Price[]): number {
  let changed = 0
  for (const { symbol, price } of prices) {
    const before = entries.peek(symbol, { allowStale: true })
    if (before && before.price !== price) changed++
  }
  return changed
}

/** The unified symbol of a price, and how long it is current; below zero when it is not. */
function placeOf(price: Price, { listed, readAt, waitedMs }: MarketLists, ttlSeconds: number) {
  const instrument = listed.get(price.exchangeSymbol)
  const isTraded = listed.size === 0 || instrument?.trading === true
  const ttl = isTraded ? remainingMs(price, readAt.getTime(), ttlSeconds * SECOND) - waitedMs : -1
  return { symbol: instrument?.symbol ?? price.symbol, ttl }
}

function timesOf({ at }: Price, { readAt }: MarketLists): { at: Date; readAt: Date } {
  return { at: at === null || at >= readAt.getTime() ? readAt : new Date(at), readAt }
}

/** How long a price that is read now stays current; below zero when it is too old. */
function remainingMs({ at, isListTime }: Price, nowMs: number, ttlMs: number): number {
  if (at === null) return ttlMs
  const maxAgeMs = isListTime ? ttlMs : MAX_TRADE_AGE_MS
  return Math.min(ttlMs, maxAgeMs - Math.max(0, nowMs - at))
}

function newEntries<T extends object>({ ttlSeconds, monotonic }: BookOptions): LRUCache<string, T> {
  return new LRUCache({
    max: MAX_PER_MARKET,
    ttl: ttlSeconds * SECOND,
    ...(monotonic && { perf: { now: monotonic }, ttlResolution: 0 })
  })
}
