import t, { type Test } from 'tap'
import { Agent } from 'undici'
import { PriceCache } from '../../src/cache/price-cache.ts'
import type { Database } from '../../src/database/database.ts'
import { EXCHANGE_NAMES, type ExchangeName, MARKET_TYPES, type MarketType } from '../../src/domain/market.ts'
import { CATALOGUE } from '../../src/exchanges/catalogue.ts'
import { ExchangeRegistry } from '../../src/exchanges/exchange-registry.ts'
import { Instruments } from '../../src/exchanges/instruments.ts'
import { calculateUnrealizedPnl } from '../../src/jobs/calculate-unrealized-pnl.ts'
import { captureLog } from '../support/app.ts'
import { assertRows } from '../support/assert-rows.ts'
import { frozenDatabase, openDatabase } from '../support/migrated-database.ts'
import { SimulatedExchange } from '../support/simulated-exchange/simulated-exchange.ts'
import { seedAccount, testContext } from '../support/trading.ts'

const TTL_SECONDS = 90
const DAY_MS = 86_400_000
const never = new AbortController().signal

const MARKETS = EXCHANGE_NAMES.flatMap(exchange =>
  MARKET_TYPES.filter(market => CATALOGUE[exchange].markets[market] !== undefined).map(market => ({ exchange, market }))
)
/** What the time in the prices of a market is. */
const TIMES: Readonly<Record<string, 'trade' | 'list' | 'none'>> = {
  'BINANCE SPOT': 'none',
  'BINANCE FUTURES': 'trade',
  'BYBIT SPOT': 'list',
  'BYBIT FUTURES': 'list',
  'OKX SPOT': 'trade',
  'OKX FUTURES': 'trade',
  'UPBIT SPOT': 'trade',
  'BITHUMB SPOT': 'list'
}

const agent = new Agent()
t.teardown(() => agent.close())

/** The price cache of a replica, over HTTP. Its clocks advance only when a test says so. */
async function setUp(t: Test, exchange: ExchangeName, marketType: MarketType) {
  const simulated = await SimulatedExchange.start({ exchange, symbols: 3 })
  t.teardown(() => simulated.close())
  const { url, clock: databaseClock } = await frozenDatabase(t)
  const database = openDatabase(url)
  t.teardown(() => database.close(0))
  const registry = new ExchangeRegistry({ dispatcher: agent, urls: simulated.urls, random: () => 0 })
  const { logger: log } = captureLog()
  const clock = { now: Date.now(), monotonic: 1_000_000 }
  const [now, monotonic] = [() => clock.now, () => clock.monotonic]
  const instruments = new Instruments({
    database,
    log,
    closing: never,
    monotonic,
    read: (market, options) => registry.client(market).instruments(options)
  })
  const prices = new PriceCache({
    ttlSeconds: TTL_SECONDS,
    log,
    closing: never,
    now,
    monotonic,
    instruments,
    read: (market, signal) => registry.client(market).lastPrices({ signal }),
    readMarks: (market, signal) => registry.client(market).markPrices({ signal })
  })
  const market = { exchange, marketType }
  const [first = '', second = ''] = simulated.symbols
  const refresh = () => prices.refresh(market)
  const peek = (symbol: string) => prices.peek(exchange, marketType, symbol)
  const advance = async (ms: number) => {
    clock.now += ms
    clock.monotonic += ms
    await databaseClock.advance(ms / 1_000)
  }
  /** Advances the clocks, and that of the exchange, by which it answers. */
  const later = async (ms: number) => {
    await advance(ms)
    simulated.answeredAt = clock.now
  }
  return { simulated, database, prices, clock, market, first, second, refresh, peek, advance, later }
}

async function seedPosition(database: Database, exchange: ExchangeName, marketType: MarketType, symbol: string) {
  const { strategyAccountId } = await seedAccount(database, { exchange, marketType })
  await database.run(
    sql => sql`
      insert into strategy_positions (
        strategy_account_id, market_type, symbol, position_side, currency, quantity, entry_price
      ) values (${strategyAccountId}, ${marketType}, ${symbol}, 'BOTH', 'USDT', 1, 1)`
  )
}

for (const { exchange, market } of MARKETS) {
  const time = TIMES[`${exchange} ${market}`] ?? 'none'

  t.test(`${exchange} ${market}: a symbol that does not trade has no price`, async t => {
    const { simulated, prices, first, second, refresh, peek, later } = await setUp(t, exchange, market)
    t.equal(await refresh(), 3)
    simulated.suspend(first)
    await later(3_600_000)
    simulated.movePrices()
    t.equal(await refresh(), 2)
    t.equal(peek(first), undefined)
    t.equal(peek(second)?.price, simulated.price(market, second))
    t.strictSame([...(await prices.current(exchange, market, [first, second], never)).keys()], [second])
    simulated.resume(first)
    await later(3_600_000)
    t.equal(await refresh(), 3)
    t.equal(peek(first)?.price, simulated.price(market, first))
  })

  t.test(`${exchange} ${market}: a suspended symbol loses the price that it had`, async t => {
    const { simulated, prices, first, second, refresh, peek, later } = await setUp(t, exchange, market)
    await refresh()
    simulated.suspend(first)
    simulated.list({ base: 'NEW', quote: simulated.symbols[0]?.slice(3) ?? '' }, '2')
    await later(60_000)
    t.equal(peek(first)?.price, simulated.price(market, first), 'until the list is read again')
    // A wanted symbol that the list does not have.
    await prices.current(exchange, market, [simulated.symbols.at(-1) ?? ''], never)
    t.equal(peek(first), undefined)
    t.equal(peek(second)?.price, simulated.price(market, second))
  })

  if (market === 'FUTURES') {
    t.test(
      `${exchange} ${market}: a mark price is current until its own time is old, and only while it trades`,
      async t => {
        const { simulated, prices, first, second, refresh, peek, later, advance } = await setUp(t, exchange, market)
        const marksOf = async () => {
          const marks = await prices.currentMarks(exchange, [first, second], never)
          return [first, second].map(symbol => marks.get(symbol)?.price)
        }
        simulated.setMarkPrice(first, '99.5')
        simulated.setMarkPrice(second, '101.25')
        t.strictSame(await marksOf(), ['99.5', '101.25'], 'a missing one is read')
        t.equal(peek(first)?.price, simulated.price(market, first), 'the last price is another one')
        await later(60_000)
        simulated.suspend(first)
        await later(3_600_000)
        await refresh()
        t.strictSame(await marksOf(), [undefined, '101.25'])
        await advance(TTL_SECONDS * 1_000 + 1)
        await refresh()
        t.strictSame(await marksOf(), [undefined, undefined], 'an old list has no current mark')
      }
    )

    t.test(`${exchange} ${market}: last prices are stored while mark prices cannot be read`, async t => {
      const { simulated, prices, first, refresh, peek } = await setUp(t, exchange, market)
      simulated.fault({ kind: 'status', status: 400, body: '{}' }, { path: /premiumIndex|mark-price/ })
      t.equal(await refresh(), 3)
      t.equal(peek(first)?.price, simulated.price(market, first))
      const marks = await prices.currentMarks(exchange, [first], never)
      t.strictSame([...marks.keys()], exchange === 'BYBIT' ? [first] : [], 'a last price is never a mark')
    })
  }

  t.test(`${exchange} ${market}: prices flow while no list of instruments can be read`, async t => {
    const { simulated, first, refresh, peek } = await setUp(t, exchange, market)
    simulated.suspend(first)
    simulated.fault(
      { kind: 'status', status: 200, body: '{"code":"0"}' },
      { path: /exchangeInfo|instruments|market\/all/ }
    )
    t.equal(await refresh(), 3)
    t.equal(peek(first)?.price, simulated.price(market, first))
  })

  t.test(`${exchange} ${market}: a new symbol has a price as soon as it is needed`, async t => {
    const { simulated, prices, refresh, peek, later } = await setUp(t, exchange, market)
    await refresh()
    const quote = exchange === 'BITHUMB' ? 'KRW' : 'USDC'
    simulated.list({ base: 'NEW', quote }, '2.5')
    const symbol = `NEW${quote}`
    await later(60_000)
    t.equal(await refresh(), 3, 'it is not in the list of the instruments')
    t.equal(peek(symbol), undefined)
    await later(5_000)
    t.equal((await prices.current(exchange, market, [symbol], never)).get(symbol)?.price, '2.5')
    t.equal(await refresh(), 4)
  })

  t.test(`${exchange} ${market}: a price from 30 days ago is not current`, async t => {
    const { simulated, clock, first, second, refresh, peek } = await setUp(t, exchange, market)
    simulated.movePrices()
    clock.now = Date.now()
    await refresh()
    t.equal(peek(first)?.price, simulated.price(market, first))
    simulated.setTradedAt(market, first, clock.now - 30 * DAY_MS)
    if (time === 'list') simulated.answeredAt = clock.now - 30 * DAY_MS
    await refresh()
    const none = time === 'none'
    t.equal(peek(first)?.price, none ? simulated.price(market, first) : undefined)
    t.equal(peek(second)?.price, time === 'list' ? undefined : simulated.price(market, second), 'the others')
  })

  t.test(`${exchange} ${market}: the bound on the age of a price is exact`, async t => {
    const { simulated, clock, first, refresh, peek, advance } = await setUp(t, exchange, market)
    const maxAgeMs = time === 'trade' ? DAY_MS : TTL_SECONDS * 1_000
    simulated.setTradedAt(market, first, clock.now - maxAgeMs)
    simulated.answeredAt = clock.now - maxAgeMs
    const at = time === 'none' ? clock.now : clock.now - maxAgeMs
    await refresh()
    t.equal(peek(first)?.at.getTime(), at)
    t.equal(peek(first)?.readAt.getTime(), clock.now)
    await advance(1)
    t.equal(peek(first)?.at.getTime(), time === 'none' ? at : undefined, 'a millisecond later')
    await refresh()
    t.equal(peek(first)?.at.getTime(), time === 'none' ? clock.now : undefined, 'also when it is read again')
  })

  t.test(`${exchange} ${market}: a mark has the time of its price`, async t => {
    const { simulated, database, prices, clock, first } = await setUp(t, exchange, market)
    await seedPosition(database, exchange, market, first)
    const earlier = clock.now - 60_000
    simulated.setTradedAt(market, first, earlier)
    simulated.answeredAt = earlier
    await calculateUnrealizedPnl({ database, prices })(testContext(database).context)
    const rows = await database.run(
      sql => sql`select marked_at, mark_price::text as mark from strategy_positions where symbol = ${first}`
    )
    const marked_at = new Date(time === 'none' ? clock.now : earlier)
    assertRows(t, rows, [{ marked_at, mark: simulated.price(market, first) }])
  })
}

t.test('the symbol of a price is base and quote of its instrument', async t => {
  const bybit = await setUp(t, 'BYBIT', 'FUTURES')
  bybit.simulated.list({ base: 'BTC', quote: 'USDC' }, '61000.5')
  t.equal(bybit.simulated.exchangeSymbol('BTCUSDC', 'FUTURES'), 'BTCPERP')
  await bybit.refresh()
  t.equal(bybit.peek('BTCUSDC')?.price, '61000.5')
  for (const exchange of ['BINANCE', 'BYBIT', 'OKX'] as const) {
    const { simulated, refresh, peek } = await setUp(t, exchange, 'SPOT')
    const pairs = ['XRP RLUSD', 'USDT USD', 'GRT USD', 'BTC MNT', 'BTC U'].map(pair => pair.split(' '))
    for (const [i, [base = '', quote = '']] of pairs.entries()) simulated.list({ base, quote }, `${i + 1}.5`)
    await refresh()
    t.strictSame(
      pairs.map(parts => peek(parts.join(''))?.price),
      ['1.5', '2.5', '3.5', '4.5', '5.5'],
      exchange
    )
  }
})

t.test('prices of an exchange whose clock differs are as old as they are', async t => {
  for (const [exchange, market] of [
    ['BYBIT', 'SPOT'],
    ['OKX', 'SPOT'],
    ['UPBIT', 'SPOT']
  ] as const) {
    for (const skewMs of [-300_000, 300_000]) {
      const { simulated, clock, first, refresh, peek } = await setUp(t, exchange, market)
      simulated.clockSkewMs = skewMs
      simulated.setPrice(market, first, '7')
      clock.now = Date.now()
      await refresh()
      const ageMs = clock.now - (peek(first)?.at.getTime() ?? 0)
      t.ok(ageMs >= 0 && ageMs < 60_000, `${exchange} ${skewMs}: not five minutes, but ${ageMs} ms`)
    }
  }
})

t.test('a price with a time in the future has the time of its reading', async t => {
  const { simulated, clock, first, refresh, peek } = await setUp(t, 'OKX', 'FUTURES')
  simulated.setTradedAt('FUTURES', first, clock.now + 3_600_000)
  await refresh()
  t.equal(peek(first)?.at.getTime(), clock.now)
})
