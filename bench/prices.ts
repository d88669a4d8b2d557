// npm run bench:prices: the event-loop delay of a refresh of 15,000 prices, the cost of a look-up compared with a bare
// lru-cache, and the memory of 50,000 prices. Runs node with --expose-gc.
import { once } from 'node:events'
import { join } from 'node:path'
import { monitorEventLoopDelay } from 'node:perf_hooks'
import { createInterface } from 'node:readline'
import { LRUCache } from 'lru-cache'
import { pino } from 'pino'
import { Agent } from 'undici'
import { MAX_PRICES, PriceCache, type PriceCacheOptions } from '../src/cache/price-cache.ts'
import { EXCHANGE_NAMES, type Price } from '../src/domain/market.ts'
import { ExchangeRegistry } from '../src/exchanges/exchange-registry.ts'
import { spawnNode } from '../test/support/node-process.ts'

const SYMBOLS = 15_000
const REFRESHES = 20
const STALL_BAR_MS = 30
const LOOKUP_BAR = 0.7
const MEMORY_BAR_MB = 25
const TTL_SECONDS = 90
const ROUNDS = 15
const LOOKUPS = 2_000_000

const closing = new AbortController()
const options: Omit<PriceCacheOptions, 'read'> = {
  ttlSeconds: TTL_SECONDS,
  log: pino({ level: 'silent' }),
  closing: closing.signal
}

await stalls()
await lookups()
await memory()

/**
 * The event-loop delay while a market in another process is refreshed. The first refresh compiles code and is not
 * counted.
 */
async function stalls(): Promise<void> {
  const server = spawnNode(
    join(import.meta.dirname, '../test/support/simulated-exchange/serve.js'),
    ['BINANCE', String(SYMBOLS), '200'],
    { stdio: ['pipe', 'pipe', 'inherit'] }
  )
  const dispatcher = new Agent()
  try {
    if (!server.stdout) throw new Error('no output')
    const [line] = (await once(createInterface({ input: server.stdout }), 'line')) as [string]
    const urls: Record<string, string> = JSON.parse(line)
    const client = new ExchangeRegistry({ dispatcher, urls }).client({ exchange: 'BINANCE', marketType: 'SPOT' })
    const cache = new PriceCache({ ...options, read: (_market, signal) => client.lastPrices({ signal }) })
    const market = { exchange: 'BINANCE', marketType: 'SPOT' } as const
    await cache.refresh(market)
    const delay = monitorEventLoopDelay({ resolution: 1 })
    const begun = performance.now()
    delay.enable()
    for (let i = 0; i < REFRESHES; i++) {
      const count = await cache.refresh(market)
      if (count !== SYMBOLS) throw new Error(`${count} prices`)
    }
    delay.disable()
    const each = (performance.now() - begun) / REFRESHES
    const [p99, most] = [delay.percentile(99) / 1e6, delay.max / 1e6]
    report(
      `refresh of ${SYMBOLS} symbols: ${each.toFixed(0)} ms; loop delay p99 ${p99.toFixed(1)} ms, most ${most.toFixed(1)} ms (p99 ≤ ${STALL_BAR_MS})`,
      p99 <= STALL_BAR_MS
    )
  } finally {
    server.stdin?.end()
    await dispatcher.close()
  }
}

/** Look-ups of the same keys in both caches, interleaved. The result is the median of the rounds' ratios. */
async function lookups(): Promise<void> {
  const cache = new PriceCache({ ...options, read: async () => invented(SYMBOLS) })
  await cache.refresh({ exchange: 'BINANCE', marketType: 'SPOT' })
  const bare = new LRUCache<string, { price: string; readAt: Date }>({ max: MAX_PRICES, ttl: TTL_SECONDS * 1_000 })
  const readAt = new Date()
  for (const { symbol, price } of invented(SYMBOLS)) bare.set(`BINANCE:SPOT:${symbol}`, { price, readAt })
  const symbols = invented(SYMBOLS).map(({ symbol }) => symbol)
  const keys = symbols.map(symbol => `BINANCE:SPOT:${symbol}`)
  const perSecond = (look: (i: number) => unknown) => {
    const begun = performance.now()
    let found = 0
    for (let i = 0; i < LOOKUPS; i++) if (look((i * 7919) % SYMBOLS)) found++
    if (found !== LOOKUPS) throw new Error('a price is missing')
    return (LOOKUPS / (performance.now() - begun)) * 1_000
  }
  const ours = () => perSecond(i => cache.peek('BINANCE', 'SPOT', symbols[i] ?? ''))
  const theirs = () => perSecond(i => bare.get(keys[i] ?? ''))
  ours()
  theirs()
  const ratios: number[] = []
  let last = 0
  for (let round = 0; round < ROUNDS; round++) {
    const [a, b] = round % 2 === 0 ? [ours(), theirs()] : [theirs(), ours()].reverse()
    last = a ?? 0
    ratios.push((a ?? 0) / (b ?? 1))
  }
  const ratio = ratios.sort((a, b) => a - b)[Math.floor(ROUNDS / 2)] ?? 0
  report(
    `look-ups: ${ratio.toFixed(2)} × a bare lru-cache with TTL (≥ ${LOOKUP_BAR}), ${(last / 1e6).toFixed(1)} million a second`,
    ratio >= LOOKUP_BAR
  )
}

async function memory(): Promise<void> {
  const { gc } = globalThis
  if (!gc) throw new Error('run with --expose-gc')
  const used = () => {
    gc()
    gc()
    const { heapUsed, external } = process.memoryUsage()
    return heapUsed + external
  }
  const before = used()
  const cache = new PriceCache({ ...options, read: async () => invented(MAX_PRICES / 5) })
  // Twice, because later refreshes replace the entries of the first.
  for (const exchange of [...EXCHANGE_NAMES, ...EXCHANGE_NAMES]) await cache.refresh({ exchange, marketType: 'SPOT' })
  const mb = (used() - before) / 2 ** 20
  if (cache.stats().entries !== MAX_PRICES) throw new Error('prices are missing')
  report(`${MAX_PRICES} cached prices: ${mb.toFixed(1)} MB (≤ ${MEMORY_BAR_MB})`, mb <= MEMORY_BAR_MB)
}

/** New strings, as the parser of an answer creates them. */
function invented(count: number): Price[] {
  return Array.from({ length: count }, (_, i) => {
    const symbol = `COIN${i}USDT`
    return { symbol, exchangeSymbol: Buffer.from(symbol).toString(), price: `${i}.${1_000_000 + i}`, at: null }
  })
}

function report(text: string, holds: boolean): void {
  process.stdout.write(`${text}: ${holds ? 'holds' : 'MISSED'}\n`)
  if (!holds) process.exitCode = 1
}
