import type { ExchangeName } from '../../../src/domain/market.ts'
import { binanceWeightOf } from './binance.ts'
import type { SimulatedAnswer } from './dialect.ts'

/** A limit of one address or of one key, as the exchange counts it. */
interface AddressLimit {
  /** The paths that count. */
  paths: RegExp
  weight: number
  perMs: number
  /** Counted in spans that begin at the multiples of `perMs` of its clock. Otherwise in rolling spans. */
  fixed?: boolean
  /** Counted for each API key. Default for all requests together. */
  perKey?: boolean
  /** Default 1. */
  weightOf?: (path: string, query: URLSearchParams) => number
  refusal: SimulatedAnswer
  /** The header that reports the count. Default none. */
  header?: (used: number) => Record<string, string>
}

const BINANCE = {
  perMs: 60_000,
  fixed: true,
  weightOf: binanceWeightOf,
  refusal: {
    status: 429,
    headers: { 'retry-after': '30' },
    body: '{"code":-1003,"msg":"Too much request weight used"}'
  },
  header: (used: number) => ({ 'x-mbx-used-weight-1m': String(used) })
}
const OKX = { perMs: 2_000, refusal: { status: 429, body: '{"code":"50011","msg":"Too Many Requests","data":[]}' } }
const TOO_MANY = { status: 429, body: '{"error":{"name":"too_many_requests","message":"Too many API requests."}}' }

const LIMITS: Partial<Readonly<Record<ExchangeName, readonly AddressLimit[]>>> = {
  BINANCE: [
    { ...BINANCE, paths: /^\/api\//, weight: 6_000 },
    { ...BINANCE, paths: /^\/fapi\//, weight: 2_400 }
  ],
  BYBIT: [{ paths: /^/, weight: 600, perMs: 5_000, refusal: { status: 403, body: 'access too frequent' } }],
  OKX: [
    { ...OKX, paths: /public\/time/, weight: 10 },
    { ...OKX, paths: /market\/tickers/, weight: 20 },
    { ...OKX, paths: /public\/mark-price/, weight: 10 },
    { ...OKX, paths: /public\/instruments/, weight: 20 },
    { ...OKX, paths: /account\/bills$/, weight: 5, perMs: 1_000, perKey: true },
    { ...OKX, paths: /account\/bills-archive$/, weight: 5, perKey: true }
  ],
  UPBIT: [
    {
      paths: /^\/v1\/ticker/,
      weight: 10,
      perMs: 1_000,
      fixed: true,
      refusal: TOO_MANY,
      header: used => ({ 'remaining-req': `group=ticker; min=600; sec=${Math.max(0, 10 - used)}` })
    }
  ],
  BITHUMB: [
    { paths: /^\/(public|v1\/ticker)/, weight: 150, perMs: 1_000, refusal: TOO_MANY },
    { paths: /^\/v1\/(orders?|accounts|deposits|withdraws)/, weight: 140, perMs: 1_000, refusal: TOO_MANY }
  ]
}

/** Counts the requests of one address and refuses those beyond the limits of an exchange. */
export class AddressLimits {
  readonly #limits: readonly AddressLimit[]
  readonly #now: () => number
  readonly #isReported: boolean
  readonly #counted = new Map<AddressLimit, Map<string, { at: number; weight: number }[]>>()
  /** Requests that were refused. */
  refusals = 0

  /** @param now the exchange's clock */
  constructor(exchange: ExchangeName, now: () => number, isReported: boolean) {
    this.#limits = LIMITS[exchange] ?? []
    this.#now = now
    this.#isReported = isReported
  }

  /**
   * Counts a request of an API key.
   *
   * @returns the headers of its answer, and the refusal when it is beyond a limit
   */
  count(
    path: string,
    query: URLSearchParams,
    apiKey: string
  ): { headers: Record<string, string>; refusal: SimulatedAnswer | null } {
    const limit = this.#limits.find(({ paths }) => paths.test(path))
    if (limit === undefined) return { headers: {}, refusal: null }
    const byKey = this.#counted.get(limit) ?? new Map<string, { at: number; weight: number }[]>()
    this.#counted.set(limit, byKey)
    const key = limit.perKey ? apiKey : ''
    const counted = byKey.get(key) ?? []
    byKey.set(key, counted)
    counted.push({ at: this.#now(), weight: limit.weightOf?.(path, query) ?? 1 })
    const used = this.#usedOf(limit, counted)
    const isBeyond = used > limit.weight
    if (isBeyond) this.refusals++
    const headers = (this.#isReported && limit.header?.(used)) || {}
    return { headers, refusal: isBeyond ? limit.refusal : null }
  }

  /** The weight that was counted for a path from one time to another, by the exchange's clock. */
  usedBetween(path: string, from: number, to: number): number {
    const limit = this.#limits.find(({ paths }) => paths.test(path))
    const counted = [...((limit && this.#counted.get(limit))?.values() ?? [])].flat()
    return counted.reduce((sum, { at, weight }) => (at >= from && at < to ? sum + weight : sum), 0)
  }

  #usedOf({ perMs, fixed = false }: AddressLimit, counted: readonly { at: number; weight: number }[]): number {
    const now = this.#now()
    const from = fixed ? Math.floor(now / perMs) * perMs : now - perMs + 1
    let used = 0
    for (const { at, weight } of counted.toReversed()) {
      if (at < from) break
      used += weight
    }
    return used
  }
}
