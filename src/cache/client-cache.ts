// @FEAT:exchanges @COMP:service @TYPE:core
import { LRUCache } from 'lru-cache'
import type { Account } from '../accounts/account.ts'
import type { ExchangeName, MarketType } from '../domain/market.ts'
import type { ExchangeClient } from '../exchanges/exchange-client.ts'

/** The figures of `cache-stats`, by the names of the contract. */
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

/** Clients of accounts, made once and kept for a while. The least recently used makes room. */
export class ClientCache {
  readonly #entries: LRUCache<string, Entry>
  readonly #ttlSeconds: number

  /** @param now a clock in ms that never goes back, default `performance.now` */
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
   * The account's client; made when there is none, once for all who ask meanwhile. What could not be made is not kept,
   * and one of another version of the account is not used any more.
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

  /** Drops what is kept for an account, on every market and of every version. */
  forget(accountId: string): void {
    this.#drop(entry => entry.accountId === accountId, false)
  }

  /** Drops what every part of the filter fits; an empty filter is everything. @returns how many it were, or would be */
  clear({ exchange, marketType }: ClientFilter, { dryRun = false } = {}): number {
    const fits = (entry: Entry) =>
      (exchange === undefined || entry.exchange === exchange) &&
      (marketType === undefined || entry.marketType === marketType)
    return this.#drop(fits, dryRun)
  }

  stats(): ClientCacheStats {
    // `size` counts what expired and has not been dropped yet, the keys do not.
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
