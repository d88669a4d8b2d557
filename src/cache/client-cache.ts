// @FEAT:exchanges @COMP:service @TYPE:core
import { LRUCache } from 'lru-cache'
import type { Account } from '../accounts/account.ts'
import type { ExchangeName, MarketType } from '../domain/market.ts'
import type { ExchangeClient } from '../exchanges/exchange-client.ts'

/** The metrics of the client cache, with the names of the contract of `cache-stats`. */
export interface ClientCacheStats {
  total_cached_clients: number
  active_clients: number
  expired_clients: number
  cache_max_size: number
  cache_ttl_seconds: number
}

export interface ClientFilter {
  exchange?: ExchangeName | undefined
  marketType?: MarketType | undefined
}

interface Entry {
  accountId: string
  exchange: ExchangeName
  marketType: MarketType
  client: Promise<ExchangeClient>
}

/** Caches the clients of accounts. A full cache drops the least recently used client. */
export class ClientCache {
  readonly #entries: LRUCache<string, Entry>
  readonly #ttlSeconds: number

  /** @param now a monotonic clock in milliseconds, default `performance.now` */
  constructor({ max, ttlSeconds, now }: { max: number; ttlSeconds: number; now?: () => number }) {
    this.#ttlSeconds = ttlSeconds
    this.#entries = new LRUCache({
      max,
      ttl: ttlSeconds * 1_000,
      ttlResolution: 0,
      ...(now && { perf: { now } })
    })
  }

  /**
   * Returns the account's client. Concurrent callers share one creation. A failed creation is not cached; a client of
   * another version of the account is not used.
   */
  getOrMake(account: Account, marketType: MarketType, make: () => Promise<ExchangeClient>): Promise<ExchangeClient> {
    const key = `${account.accountId} ${marketType} ${account.version ?? ''}`
    const known = this.#entries.get(key)
    if (known) return known.client
    const client = make()
    const entry = { accountId: account.accountId, exchange: account.exchange, marketType, client }
    this.#entries.set(key, entry)
    client.catch(() => {
      if (this.#entries.peek(key) === entry) this.#entries.delete(key)
    })
    return client
  }

  /** Drops the clients of an account, of every market and version. */
  forget(accountId: string): void {
    this.#drop(entry => entry.accountId === accountId, false)
  }

  /** Drops the clients that match every part of the filter. @returns how many were dropped, or would be */
  clear({ exchange, marketType }: ClientFilter, { dryRun = false } = {}): number {
    const fits = (entry: Entry) =>
      (exchange === undefined || entry.exchange === exchange) &&
      (marketType === undefined || entry.marketType === marketType)
    return this.#drop(fits, dryRun)
  }

  stats(): ClientCacheStats {
    // `size` includes expired entries that were not dropped yet; the keys do not.
    const total = this.#entries.size
    const active = [...this.#entries.keys()].length
    return {
      total_cached_clients: total,
      active_clients: active,
      expired_clients: total - active,
      cache_max_size: this.#entries.max,
      cache_ttl_seconds: this.#ttlSeconds
    }
  }

  #drop(fits: (entry: Entry) => boolean, dryRun: boolean): number {
    let dropped = 0
    for (const [key, { value }] of this.#entries.dump()) {
      if (!fits(value)) continue
      dropped++
      if (!dryRun) this.#entries.delete(key)
    }
    return dropped
  }
}
