// How many accounts each run of 29 s can check under each exchange's stated limits, in a long sequence of runs. Uses
// the adapters and their rate budgets on a simulated clock, with an exchange that answers at once.
import { Readable } from 'node:stream'
import { type Dispatcher, MockAgent } from 'undici'
import { EXCHANGE_NAMES, type ExchangeName, MARKET_TYPES, type MarketType } from '../src/domain/market.ts'
import { CATALOGUE } from '../src/exchanges/catalogue.ts'
import { ExchangeError } from '../src/exchanges/exchange-error.ts'
import { ExchangeRegistry } from '../src/exchanges/exchange-registry.ts'

const RUN_MS = 29_000
/** The rate windows fill up during this time. Accounts are counted afterwards. */
const SETTLED_MS = 60_000
const MEASURED_MS = 240_000
/** If this many accounts need no wait, only the calls of each key are limited. */
const MANY = 1_500

const NOTHING: Readonly<Record<ExchangeName, string>> = {
  BINANCE: '[]',
  BYBIT: '{"retCode":0,"result":{"list":[]}}',
  OKX: '{"code":"0","data":[]}',
  UPBIT: '[]',
  BITHUMB: '[]'
}

export interface Capacity {
  exchange: ExchangeName
  marketType: MarketType
  /** Accounts with one open order that can be checked in 29 s; null when the exchange has no limit across keys. */
  oneOrder: number | null
  /** The same when that order has changed, so that its fills are read. */
  oneChange: number | null
  /** Accounts of which all open orders can be listed. */
  listed: number | null
}

/** Every market of the catalogue. */
export async function accountCapacities(): Promise<Capacity[]> {
  const capacities: Capacity[] = []
  for (const exchange of EXCHANGE_NAMES) {
    for (const marketType of MARKET_TYPES) {
      if (CATALOGUE[exchange].markets[marketType] === undefined) continue
      const market = { exchange, marketType }
      capacities.push({
        ...market,
        oneOrder: await accountsIn(market, ['order']),
        oneChange: await accountsIn(market, ['order', 'fills']),
        listed: await accountsIn(market, ['openOrders'])
      })
    }
  }
  return capacities
}

async function accountsIn(
  { exchange, marketType }: { exchange: ExchangeName; marketType: MarketType },
  operations: readonly ('openOrders' | 'order' | 'fills')[]
): Promise<number | null> {
  let now = 0
  const registry = new ExchangeRegistry({ dispatcher: answering(NOTHING[exchange]), monotonic: () => now })
  const ref = { exchangeOrderId: '1', exchangeSymbol: spelling(exchange, marketType) }
  let settled = 0
  for (let accounts = 0; accounts < MANY || now > 0; accounts++) {
    if (now < SETTLED_MS) settled = accounts
    if (now >= SETTLED_MS + MEASURED_MS) return Math.floor(((accounts - settled) * RUN_MS) / (now - SETTLED_MS))
    const credentials = { apiKey: `key-${accounts}`, apiSecret: 's', passphrase: 'p' }
    const client = registry.client({ exchange, marketType, credentials })
    const calls = {
      openOrders: () => client.openOrders({ deadlineMs: 50 }),
      order: () => client.order(ref, { deadlineMs: 50 }),
      fills: () => client.fills(ref, { deadlineMs: 50 })
    }
    for (const operation of operations) {
      const call = calls[operation]
      for (let wait = await waitOf(call); wait > 0; wait = await waitOf(call)) now += wait
    }
  }
  return null
}

/** Ms to wait before the call fits into the limits; 0 when it did. */
async function waitOf(call: () => Promise<unknown>): Promise<number> {
  try {
    await call()
    return 0
  } catch (err) {
    if (!(err instanceof ExchangeError)) throw err
    // The answer is empty, so the order is not in it. The request was made and counts.
    return err.code === 'rate_limited' ? (err.retryAfterMs ?? 0) : 0
  }
}

function answering(body: string): Dispatcher {
  const dispatcher = new MockAgent()
  dispatcher.disableNetConnect()
  const request: Dispatcher['request'] = async () =>
    ({ statusCode: 200, headers: {}, trailers: {}, body: Readable.from([Buffer.from(body)]) }) as never
  return Object.assign(dispatcher, { request })
}

function spelling(exchange: ExchangeName, marketType: MarketType): string {
  if (exchange === 'UPBIT' || exchange === 'BITHUMB') return 'KRW-BTC'
  if (exchange !== 'OKX') return 'BTCUSDT'
  return marketType === 'SPOT' ? 'BTC-USDT' : 'BTC-USDT-SWAP'
}
