import { Big } from 'big.js'
import t from 'tap'
import { Agent } from 'undici'
import type { ExchangeErrorCode } from '../../src/domain/exchange-error-code.ts'
import { EXCHANGE_NAMES, type ExchangeName, type MarketType } from '../../src/domain/market.ts'
import { CATALOGUE } from '../../src/exchanges/catalogue.ts'
import type { ExchangeClient } from '../../src/exchanges/exchange-client.ts'
import { ExchangeRegistry } from '../../src/exchanges/exchange-registry.ts'
import { isRecord, type JsonRecord } from '../../src/exchanges/http/answer-fields.ts'
import { RowReader } from '../../src/exchanges/http/row-reader.ts'
import { cannedExchange } from './canned-exchange.ts'
import { failureOf } from './failure.ts'
import { exchangeFixture, fixtureNames, recordedTest } from './fixtures.ts'

/** The call that gets the recorded answer. */
type Question = (client: ExchangeClient) => Promise<unknown>

interface Row {
  market?: MarketType
  ask: Question
  /** Differences from ccxt's reading, by field, with the reason for each. Fields not named here must agree. */
  differences?: Readonly<Record<string, string>>
  /** The call fails with this code. */
  refused?: ExchangeErrorCode
  exchangeCode?: string
  /** Everything in the answer is unsupported and left out. */
  empty?: boolean
  /** Wraps the recorded body into the answer of the call. */
  wrapped?: (body: string) => string
  /** The port does not make this call. The rows of the answer are read for these fields. */
  field?: { symbol: string; price: string }
}

const prices: Question = client => client.lastPrices()
const marks: Question = client => client.markPrices()
const openOrders: Question = client => client.openOrders()
const balances: Question = client => client.balances()
const positions: Question = client => client.positions()
const order =
  (exchangeOrderId: string, exchangeSymbol: string, orderType = 'LIMIT'): Question =>
  async client => [await client.order({ exchangeOrderId, exchangeSymbol, orderType })]
const fills =
  (exchangeOrderId: string, exchangeSymbol: string): Question =>
  client =>
    client.fills({ exchangeOrderId, exchangeSymbol })
const anyOrder = order('1', 'BTCUSDT')
const anyMarketOrder = order('1', 'KRW-BTC')
const asList = (body: string) => `[${body}]`
const asOkxData = (body: string) => `{"code":"0","msg":"","data":[${body}]}`

const OWN_TYPE = { orderType: 'the exchange’s own type is kept, ccxt knows only limit and market' }
const FLAT = { rows: 'a flat position is left out' }
const EMPTY_ASSETS = { rows: 'an asset with a balance of zero is left out' }
const TICK_TIME = { at: 'the time of the tick, not of the last trade: a quiet symbol is not an old price' }

const PAYLOADS: Readonly<Record<string, Row>> = {
  'binance/any.error.bad_key_2015.json': { ask: anyOrder, refused: 'authentication', exchangeCode: '-2015' },
  'binance/any.error.order_not_found_2013.json': { ask: anyOrder, refused: 'order_not_found', exchangeCode: '-2013' },
  'binance/any.error.rate_limited_1003.json': {
    ask: client => client.openOrders({ deadlineMs: 1_000 }),
    refused: 'rate_limited',
    exchangeCode: '-1003'
  },
  'binance/futures.algo_order.BTCUSDT_stop.json': {
    market: 'FUTURES',
    ask: order('3358', 'BTCUSDT', 'STOP'),
    differences: OWN_TYPE
  },
  'binance/futures.balance.USDT.json': { market: 'FUTURES', ask: balances },
  'binance/futures.mark_price.BTCUSDT.json': {
    market: 'FUTURES',
    ask: marks,
    wrapped: asList
  },
  'binance/futures.my_trades.ETHUSDT_short_roundtrip.json': {
    market: 'FUTURES',
    ask: fills('831238666', 'ETHUSDT'),
    differences: {
      rows: 'the recorded list is of a symbol, the port’s list of one order: the other order’s trade is left out'
    }
  },
  'binance/futures.open_orders.BTCUSDT.json': {
    market: 'FUTURES',
    // openOrders() also requests the conditional ones, and both requests would get this answer.
    ask: order('1917641', 'BTCUSDT'),
    wrapped: body => body.slice(1, -1),
    differences: OWN_TYPE
  },
  'binance/futures.order.BTCUSDT_new.json': { market: 'FUTURES', ask: order('3697213934', 'BTCUSDT') },
  'binance/futures.order.BTCUSDT_trailing_docs.json': {
    market: 'FUTURES',
    ask: order('1917641', 'BTCUSDT'),
    differences: OWN_TYPE
  },
  'binance/futures.order.ETHUSD_PERP_coinm_filled.json': {
    market: 'FUTURES',
    ask: order('18742727411', 'ETHUSDT'),
    refused: 'bad_symbol'
  },
  'binance/futures.positions.BTCUSDT_hedge_long_short.json': {
    market: 'FUTURES',
    ask: positions,
    differences: { entryPrice: 'an entry price of zero means unknown' }
  },
  'binance/futures.positions.BTCUSDT_long_2024.json': { market: 'FUTURES', ask: positions },
  'binance/futures.positions.BTCUSDT_v3_long_and_empty_short.json': {
    market: 'FUTURES',
    ask: positions,
    differences: FLAT
  },
  'binance/futures.ticker_price.BTCUSDT.json': { market: 'FUTURES', ask: prices, wrapped: asList },
  'binance/spot.all_orders.BNBBTC_canceled.json': { ask: openOrders },
  'binance/spot.balance.docs.json': { ask: balances },
  'binance/spot.open_orders.BNBBTC_new.json': { ask: openOrders },
  'binance/spot.open_orders.LTCBTC.json': { ask: openOrders },
  'binance/spot.order.BTCUSDT_market_filled.json': {
    ask: order('5403233939', 'BTCUSDT'),
    differences: { price: 'a market order has no limit price; ccxt puts the average there' }
  },
  'binance/spot.order.BTCUSDT_new.json': { ask: order('16383176297', 'BTCUSDT') },
  'binance/spot.order.LTCBTC_new.json': { ask: order('1', 'LTCBTC') },
  'binance/spot.order.SOLUSDT_new_iceberg.json': { ask: order('9780331417', 'SOLUSDT') },
  'binance/spot.ticker_24h.BTCUSDT_2024.json': {
    ask: prices,
    wrapped: asList,
    field: { symbol: 'symbol', price: 'lastPrice' }
  },
  'binance/spot.ticker_price.LTCBTC.json': { ask: prices, wrapped: asList },
  'binance/spot.tickers_batch.12symbols_2018.json': {
    ask: prices,
    differences: { symbol: 'Binance’s test coin has no known quote, so its symbol is not split' }
  },

  'bybit/any.balance.unified_BTC_USDT.json': {
    ask: balances,
    differences: {
      ...EMPTY_ASSETS,
      free: 'a debt of spot margin is a balance below zero; ccxt leaves it out',
      total: 'a debt of spot margin is a balance below zero; ccxt leaves it out'
    }
  },
  'bybit/any.error.bad_params_10001.json': { ask: prices, refused: 'bad_symbol', exchangeCode: '10001' },
  'bybit/any.error.server_timeout_5004.json': { ask: anyOrder, refused: 'timeout', exchangeCode: '5004' },
  'bybit/any.error.timeout_10016.json': { ask: anyOrder, refused: 'timeout', exchangeCode: '10016' },
  'bybit/any.error.too_many_visits_10006.json': {
    ask: client => client.balances({ deadlineMs: 500 }),
    refused: 'rate_limited',
    exchangeCode: '10006'
  },
  'bybit/futures.open_orders.ETHUSDT_realtime.json': {
    market: 'FUTURES',
    ask: openOrders
  },
  'bybit/futures.orders_history.BTCUSDT_filled_sell_reduceonly.json': {
    market: 'FUTURES',
    ask: order('f5f2d355-9a11-4af3-9b83-aa1d6ab6ddfe', 'BTCUSDT'),
    differences: { price: 'a market order has no limit price; the given one bounds its slippage' }
  },
  'bybit/futures.orders_history.BTCUSDT_partially_filled_rejected.json': {
    market: 'FUTURES',
    ask: order('5cf98598-39a7-459e-97bf-76ca765ee021', 'BTCUSDT')
  },
  'bybit/futures.positions.BTC_long_ETH_short.json': {
    market: 'FUTURES',
    ask: positions,
    differences: {
      ...FLAT,
      updatedAt: 'the time of the last change; ccxt gives the time of the opening'
    }
  },
  'bybit/futures.tickers_batch.inverse_BTCUSD.json': { market: 'FUTURES', ask: prices, empty: true },
  'bybit/spot.tickers_batch.docs_BTCUSDT.json': { ask: prices },

  'okx/any.balance.USDT_isolated_upl.json': {
    ask: balances,
    differences: {
      total: 'equity without its unrealised loss of 0.0273, as the port defines it; ccxt gives the equity',
      locked: 'this total minus the free part'
    }
  },
  'okx/any.error.insufficient_51119.json': { ask: openOrders, refused: 'invalid_answer', exchangeCode: '51119' },
  'okx/any.error.no_such_key_50119.json': { ask: balances, refused: 'authentication', exchangeCode: '50119' },
  'okx/futures.mark_price.BTC-USDT-SWAP.json': { market: 'FUTURES', ask: marks },
  'okx/futures.open_orders.BTC-USDT-SWAP_long.json': {
    market: 'FUTURES',
    ask: openOrders,
    differences: { quantity: 'in base units: 0.10 contracts of 0.01 BTC; ccxt gives contracts' }
  },
  'okx/futures.positions.BTC-USDT-SWAP_synthetic.json': { market: 'FUTURES', ask: positions },
  'okx/futures.positions.ETH-USD-210430_docs.json': { market: 'FUTURES', ask: positions, empty: true },
  'okx/futures.tickers_batch.SWAP_docs.json': { market: 'FUTURES', ask: prices, empty: true },
  'okx/spot.order.ETH-USDT_live.json': { ask: order('317251910906576896', 'ETH-USDT'), wrapped: asOkxData },
  'okx/spot.orders_history.BTC-USDT_filled.json': {
    ask: order('680800019749904384', 'BTC-USDT'),
    differences: {
      price: 'a market order has no limit price; ccxt puts the average there',
      quantity: 'the order has an amount of 100 USDT and no quantity; ccxt gives the filled quantity'
    }
  },
  'okx/spot.tickers_batch.ETH-BTC.json': { ask: prices },

  'upbit/any.error.invalid_access_key.json': {
    ask: anyMarketOrder,
    refused: 'authentication',
    exchangeCode: 'invalid_access_key'
  },
  'upbit/any.error.missing_parameter_400.json': { ask: anyMarketOrder, refused: 'invalid_answer', exchangeCode: '400' },
  'upbit/any.error.order_not_found.json': {
    ask: anyMarketOrder,
    refused: 'order_not_found',
    exchangeCode: 'order_not_found'
  },
  'upbit/any.error.out_of_scope.json': { ask: anyMarketOrder, refused: 'permission', exchangeCode: 'out_of_scope' },
  'upbit/spot.balance.BTC_ETH.json': { ask: balances },
  'upbit/spot.closed_orders.SGD-XRP_done.json': {
    ask: openOrders,
    differences: { status: 'an order that is done without an execution was canceled (immediate-or-cancel)' }
  },
  'upbit/spot.open_orders.SGD-XRP_wait.json': { ask: openOrders },
  'upbit/spot.order.KRW-BTC_bid_done_2trades.json': { ask: order('a08f09b1-1718-42e2-9358-f0e5e083d3ee', 'KRW-BTC') },
  'upbit/spot.order.KRW-BTC_bid_wait_2025.json': { ask: order('63b38774-27db-4439-ac20-1be16a24d18e', 'KRW-BTC') },
  'upbit/spot.tickers_batch.BTC-ETH_2018.json': { ask: prices, differences: TICK_TIME },
  'upbit/spot.tickers_batch.KRW-BTC_KRW-ETH_2025.json': { ask: prices, differences: TICK_TIME },

  'bithumb/any.error.missing_parameter_400.json': {
    ask: anyMarketOrder,
    refused: 'invalid_answer',
    exchangeCode: '400'
  },
  'bithumb/spot.balance.KRW.json': { ask: balances },
  'bithumb/spot.open_orders.KRW-BTC_2026.json': { ask: openOrders },
  'bithumb/spot.order.KRW-BTC_bid_wait_2026.json': { ask: order('C0101000003152406454', 'KRW-BTC') },
  // Generation 1 has other signatures and is not used for orders: its answer is rejected.
  'bithumb/spot.order.legacy_ask_cancel_partial.json': { ask: anyMarketOrder, refused: 'invalid_answer' },
  'bithumb/spot.tickers_batch.BTC-USDC_2026.json': { ask: prices, field: { symbol: 'market', price: 'trade_price' } },
  'bithumb/spot.tickers_batch.legacy_ALL_KRW.json': { ask: prices }
}

/** OKX has a separate list of contract sizes; this is the real one of BTC-USDT-SWAP. */
const INSTRUMENTS =
  '{"code":"0","msg":"","data":[{"instId":"BTC-USDT-SWAP","ctType":"linear","ctVal":"0.01","ctMult":"1"}]}'

/** Bybit has a separate list of contracts that settle in USDC. */
const EMPTY_LIST = '{"retCode":0,"retMsg":"OK","result":{"list":[],"nextPageCursor":""},"time":1}'

const agent = new Agent()
t.teardown(() => agent.close())

recordedTest('every recorded payload of every exchange is in the table', async t => {
  const recorded = EXCHANGE_NAMES.flatMap(exchange => fixtureNames(exchange.toLowerCase()))
  t.strictSame(Object.keys(PAYLOADS).sort(), recorded.sort())
})

for (const [name, row] of Object.entries(PAYLOADS)) {
  recordedTest(`reads ${name}`, async t => {
    const { status, body, parsedByCcxt } = exchangeFixture(name)
    const answer = { status, body: row.wrapped?.(body) ?? body }
    if (row.field !== undefined) {
      t.strictSame(rowsBy(row.field, answer.body), pricesOf(parsedByCcxt))
      return
    }
    const exchange = exchangeOf(name)
    const url = await cannedExchange(t, (path, query) => {
      if (path === '/api/v5/public/instruments') return { status: 200, body: INSTRUMENTS }
      return query.includes('settleCoin=USDC') ? { status: 200, body: EMPTY_LIST } : answer
    })
    const setting = CATALOGUE[exchange].markets[row.market ?? 'SPOT']?.setting ?? 'BINANCE_URL'
    const registry = new ExchangeRegistry({ dispatcher: agent, urls: { [setting]: url }, random: () => 0 })
    const credentials = { apiKey: 'k', apiSecret: 's', passphrase: 'p' }
    const client = registry.client({ exchange, marketType: row.market ?? 'SPOT', credentials })
    if (row.refused !== undefined) {
      const expected = { code: row.refused, ...(row.exchangeCode && { exchangeCode: row.exchangeCode }) }
      t.hasStrict(await failureOf(row.ask(client)), expected)
      return
    }
    const ours = await row.ask(client)
    if (!Array.isArray(ours)) throw new Error('nothing was read')
    if (row.empty) {
      t.strictSame(ours, [])
      return
    }
    t.not(ours.length, 0)
    t.strictSame(differences(ours, parsedByCcxt).sort(), Object.keys(row.differences ?? {}).sort())
  })
}

t.test('coin-margined and dated contracts are rejected with a clear reason, without a call', async t => {
  const url = await cannedExchange(t, () => {
    throw new Error('called')
  })
  const urls = { BINANCE_FUTURES_URL: url, BYBIT_URL: url, OKX_URL: url }
  const registry = new ExchangeRegistry({ dispatcher: agent, urls })
  const credentials = { apiKey: 'k', apiSecret: 's', passphrase: 'p' }
  const refused: [ExchangeName, string][] = [
    ['BINANCE', 'ETHUSD_PERP'],
    ['BINANCE', 'BTCUSDT_260327'],
    ['BYBIT', 'BTCUSD'],
    ['BYBIT', 'BTCUSDT-26DEC25'],
    ['OKX', 'BTC-USD-SWAP'],
    ['OKX', 'ETH-USD-210430']
  ]
  for (const [exchange, exchangeSymbol] of refused) {
    const client = registry.client({ exchange, marketType: 'FUTURES', credentials })
    const expected = { code: 'bad_symbol', message: /contracts are not supported, only linear perpetuals/ }
    await t.rejects(client.order({ exchangeOrderId: '1', exchangeSymbol }), expected)
    await t.rejects(client.fills({ exchangeOrderId: '1', exchangeSymbol }), expected)
  }
})

function exchangeOf(name: string): ExchangeName {
  const exchange = EXCHANGE_NAMES.find(candidate => name.startsWith(`${candidate.toLowerCase()}/`))
  if (exchange === undefined) throw new Error(`${name} belongs to no exchange`)
  return exchange
}

function rowsBy({ symbol, price }: { symbol: string; price: string }, body: string): (string | null)[] {
  const found: (string | null)[] = []
  const reader = new RowReader([symbol, price], ([, value]) => found.push(value ?? null))
  reader.push(Buffer.from(body))
  reader.end()
  return found
}

function pricesOf(opinion: unknown): unknown[] {
  return recordsOf(opinion).map(ticker => ticker.last)
}

/** The fields that differ from those of ccxt; `rows` when the number of rows differs. */
function differences(ours: readonly unknown[], opinion: unknown): string[] {
  const theirs = isRecord(opinion) ? balancesOf(opinion) : recordsOf(opinion).map(unified)
  const found = new Set<string>()
  if (ours.length !== theirs.length) found.add('rows')
  for (const [index, row] of ours.entries()) {
    const own = isRecord(row) ? row : {}
    const other = theirs.find(candidate => isSame(candidate, own)) ?? theirs[index] ?? {}
    for (const [field, value] of Object.entries(other)) if (!isEqual(own[field], value)) found.add(field)
  }
  return [...found]
}

function isSame(theirs: JsonRecord, own: JsonRecord): boolean {
  return ['exchangeOrderId', 'exchangeTradeId', 'asset'].some(key => key in theirs && theirs[key] === own[key])
}

/** A row of ccxt with the field names of the port, without absent fields. */
function unified(row: JsonRecord): JsonRecord {
  const symbol = String(row.symbol).replace('/', '').split(':')[0]
  if (row.contracts !== undefined) return unifiedPosition(row, symbol)
  if (row.order !== undefined) return unifiedFill(row, symbol)
  if (row.id !== undefined) return unifiedOrder(row, symbol)
  return {
    symbol,
    price: row.last ?? row.price ?? row.markPrice,
    ...(row.timestamp !== undefined && { at: row.timestamp })
  }
}

const STATES: Readonly<Record<string, string>> = { open: 'open', closed: 'filled' }

function unifiedOrder(row: JsonRecord, symbol: unknown): JsonRecord {
  return {
    exchangeOrderId: row.id,
    clientOrderId: row.clientOrderId ?? null,
    symbol,
    side: String(row.side).toUpperCase(),
    orderType: String(row.type).toUpperCase(),
    price: row.price ?? null,
    stopPrice: row.triggerPrice ?? null,
    quantity: row.amount,
    filledQuantity: row.filled,
    averagePrice: row.average ?? null,
    status: STATES[String(row.status)] ?? row.status,
    createdAt: row.timestamp,
    ...(row.lastUpdateTimestamp !== undefined && { updatedAt: row.lastUpdateTimestamp })
  }
}

function unifiedFill(row: JsonRecord, symbol: unknown): JsonRecord {
  const fee = isRecord(row.fee) ? row.fee : {}
  return {
    exchangeTradeId: row.id,
    exchangeOrderId: row.order,
    symbol,
    side: String(row.side).toUpperCase(),
    price: row.price,
    quantity: row.amount,
    fee: fee.cost,
    feeAsset: fee.currency,
    executedAt: row.timestamp
  }
}

function unifiedPosition(row: JsonRecord, symbol: unknown): JsonRecord {
  // In Binance's hedge mode ccxt reports no side; the profit shows it: a short loses when the mark is above its entry.
  const size = new Big(String(row.contracts)).times(String(row.contractSize))
  return {
    symbol,
    ...(row.side !== undefined && { quantity: (row.side === 'short' ? size.neg() : size).toFixed() }),
    entryPrice: row.entryPrice,
    markPrice: row.markPrice,
    unrealizedPnl: row.unrealizedPnl,
    ...(row.timestamp !== undefined && { updatedAt: row.timestamp })
  }
}

function balancesOf(opinion: JsonRecord): JsonRecord[] {
  const assets = isRecord(opinion.total) ? Object.keys(opinion.total) : []
  return assets.map(asset => {
    const held = isRecord(opinion[asset]) ? opinion[asset] : {}
    return { asset, free: held.free, locked: held.used, total: held.total }
  })
}

function recordsOf(opinion: unknown): JsonRecord[] {
  return Array.isArray(opinion) ? opinion.filter(isRecord) : []
}

/** Two numbers are equal when their values are, in any spelling. */
function isEqual(own: unknown, theirs: unknown): boolean {
  if (own === theirs) return true
  const numeric = (value: unknown) => /^-?\d+(\.\d+)?$/.test(String(value))
  return numeric(own) && numeric(theirs) && new Big(String(own)).eq(String(theirs))
}
