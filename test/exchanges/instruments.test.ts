import t, { type Test } from 'tap'
import { Agent } from 'undici'
import type { ExchangeName, Market } from '../../src/domain/market.ts'
import { ExchangeRegistry } from '../../src/exchanges/exchange-registry.ts'
import { Instruments, type InstrumentsOptions } from '../../src/exchanges/instruments.ts'
import { captureLog } from '../support/app.ts'
import { assertRows } from '../support/assert-rows.ts'
import { frozenDatabase, openDatabase } from '../support/migrated-database.ts'
import { changingRows } from '../support/simulated-exchange/edits.ts'
import { SimulatedExchange } from '../support/simulated-exchange/simulated-exchange.ts'

const LISTS = /exchangeInfo|instruments-info|public\/instruments|market\/all/
const never = new AbortController().signal

const agent = new Agent()
t.teardown(() => agent.close())

/** A market of a simulated exchange, and replicas that share a database. The clocks advance only when a test says so. */
async function setUp(t: Test, exchange: ExchangeName, marketType: Market['marketType'] = 'SPOT', symbols = 2) {
  const simulated = await SimulatedExchange.start({ exchange, symbols })
  t.teardown(() => simulated.close())
  const { url, clock } = await frozenDatabase(t)
  const database = openDatabase(url)
  t.teardown(() => database.close(0))
  const { logger, lines } = captureLog()
  let nowMs = 1_000_000
  const replica = (options: Partial<InstrumentsOptions> = {}) => {
    const registry = new ExchangeRegistry({ dispatcher: agent, urls: simulated.urls, random: () => 0 })
    const read: InstrumentsOptions['read'] = (market, options) => registry.client(market).instruments(options)
    return new Instruments({ database, read, log: logger, closing: never, monotonic: () => nowMs, ...options })
  }
  const advance = async (ms: number) => {
    nowMs += ms
    await clock.advance(ms / 1_000)
  }
  const rows = async () =>
    await database.run(
      sql => sql<{ exchange_symbol: string; trading: boolean; written: string }[]>`
        select *, xmin::text as written from instruments order by exchange_symbol collate "C"`
    )
  const reads = () => simulated.requests.filter(({ path }) => LISTS.test(path)).length
  const market: Market = { exchange, marketType }
  const [first = '', second = ''] = simulated.symbols.map(symbol => simulated.exchangeSymbol(symbol, marketType))
  return { simulated, database, lines, replica, advance, rows, reads, market, first, second }
}

const MARKETS: readonly [ExchangeName, Market['marketType']][] = [
  ['BINANCE', 'SPOT'],
  ['BYBIT', 'FUTURES'],
  ['OKX', 'FUTURES'],
  ['UPBIT', 'SPOT']
]

/** The row of an instrument, and a change after which it cannot be read. */
const UNREADABLE: Readonly<Record<string, (symbol: string) => [Record<string, unknown>, Record<string, unknown>]>> = {
  BINANCE: symbol => [{ symbol }, { baseAsset: null }],
  BYBIT: symbol => [{ symbol }, { quoteCoin: 5.5 }],
  OKX: instId => [{ instId }, { ctVal: 'NaN' }],
  UPBIT: market => [{ market }, { market: ['KRW', 'ETH'] }]
}

/** An edit that leaves out the rows of these instruments. */
function without(names: readonly string[]): (body: string) => string {
  const isKept = (row: Record<string, unknown>) => !names.includes(String(row.symbol ?? row.instId ?? row.market))
  return body =>
    JSON.stringify(JSON.parse(body, (_key, value) => (Array.isArray(value) ? value.filter(isKept) : value)))
}

for (const [exchange, marketType] of MARKETS) {
  t.test(`${exchange} ${marketType}: half of a list counts only when a second list confirms it`, async t => {
    const { simulated, replica, market, advance, rows, reads, lines } = await setUp(t, exchange, marketType, 30)
    const instruments = replica()
    const tradingNow = async () => {
      const list = await instruments.ofMarket(market, never)
      return [...list.values()].filter(({ trading }) => trading).length
    }
    const stored = async () => (await rows()).filter(({ trading }) => trading).length
    t.strictSame([await tradingNow(), await stored()], [30, 30])
    const edit = without(simulated.symbols.slice(15).map(symbol => simulated.exchangeSymbol(symbol, marketType)))
    simulated.fault({ kind: 'edited', edit }, { path: LISTS, times: 1 })
    await advance(3_600_000)
    t.strictSame([await tradingNow(), await stored()], [30, 30], 'one short list')
    t.equal(lines.filter(({ msg }) => msg === 'list of instruments is doubtful').length, 1)
    await advance(60_000)
    t.strictSame([await tradingNow(), await stored(), reads()], [30, 30, 3], 'it is read again after a minute')

    simulated.fault({ kind: 'edited', edit }, { path: LISTS })
    await advance(3_600_000)
    t.equal(await tradingNow(), 30)
    await advance(60_000)
    t.strictSame([await tradingNow(), await stored(), reads()], [15, 15, 5], 'the second list confirms the first')
    await advance(60_000)
    t.strictSame([await tradingNow(), reads()], [15, 5], 'then it is read once an hour again')
  })

  t.test(`${exchange} ${marketType}: one replica reads a list, the others read the table`, async t => {
    const { replica, reads, market, first, advance, rows } = await setUp(t, exchange, marketType)
    const one = replica()
    const lists = await Promise.all([1, 2, 3].map(() => one.ofMarket(market, never)))
    for (const list of lists) t.equal(list.get(first)?.base, 'BTC')
    t.equal(reads(), 1, 'concurrent callers share a read')
    const other = replica()
    t.strictSame([...(await other.ofMarket(market, never))].sort(), [...(lists[0] ?? [])].sort())
    await advance(3_600_000 - 1)
    await one.ofMarket(market, never)
    await other.ofMarket(market, never)
    t.equal(reads(), 1, 'for an hour')
    await advance(1)
    await one.ofMarket(market, never)
    t.equal(reads(), 2)
    await other.ofMarket(market, never)
    t.equal(reads(), 2, 'the other replica finds the new list in the table')
    t.equal((await rows()).length, lists[0]?.size)
  })

  t.test(`${exchange} ${marketType}: a delisted instrument stays, and does not trade`, async t => {
    const { simulated, replica, market, first, second, advance, rows } = await setUp(t, exchange, marketType)
    const instruments = replica()
    await instruments.ofMarket(market, never)
    simulated.suspend(simulated.symbols[1] ?? '')
    const before = await rows()
    await advance(60_000)
    const list = await instruments.ofMarket(market, never, ['none'])
    t.strictSame([list.get(first)?.trading, list.get(second)?.trading], [true, false])
    t.equal(list.get(second)?.base, 'ETH')
    t.strictSame((await replica().ofMarket(market, never)).get(second), list.get(second), 'the table has the same')
    const after = await rows()
    const changed = after.filter(({ written }, i) => written !== before[i]?.written)
    // The first row has the time of the reading.
    assertRows(t, changed, [
      { exchange_symbol: first, trading: true },
      { exchange_symbol: second, trading: false }
    ])
    simulated.resume(simulated.symbols[1] ?? '')
    await advance(60_000)
    t.equal((await instruments.ofMarket(market, never, ['none'])).get(second)?.trading, true)
  })

  t.test(`${exchange} ${marketType}: an instrument whose row cannot be read stays as it was`, async t => {
    const { simulated, replica, market, first, second, advance, rows } = await setUp(t, exchange, marketType)
    const instruments = replica()
    const before = await instruments.ofMarket(market, never)
    const [row = {}, change = {}] = UNREADABLE[exchange]?.(second) ?? []
    simulated.fault({ kind: 'edited', edit: changingRows(row, change) }, { path: LISTS })
    for (const ms of [60_000, 3_600_000]) {
      await advance(ms)
      const after = await instruments.ofMarket(market, never, ['none'])
      t.strictSame(after.get(second), before.get(second))
      t.equal(after.get(first)?.trading, true)
      const trading = { trading: true }
      assertRows(t, await rows(), [trading, trading])
    }
  })

  t.test(`${exchange} ${marketType}: a list without a wanted symbol is read once a minute`, async t => {
    const { simulated, replica, reads, market, advance } = await setUp(t, exchange, marketType)
    const [instruments, other] = [replica(), replica()]
    await instruments.ofMarket(market, never)
    await other.ofMarket(market, never)
    simulated.list({ base: 'NEW', quote: 'USDT' }, '1')
    const symbol = simulated.exchangeSymbol('NEWUSDT', marketType)
    t.notOk((await instruments.ofMarket(market, never, [symbol])).has(symbol))
    await advance(60_000 - 1)
    await instruments.ofMarket(market, never, [symbol])
    t.equal(reads(), 1)
    await advance(1)
    t.hasStrict((await instruments.ofMarket(market, never, [symbol])).get(symbol), { base: 'NEW', quote: 'USDT' })
    await instruments.ofMarket(market, never, ['none'])
    t.equal((await other.ofMarket(market, never, ['none'])).get(symbol)?.base, 'NEW')
    t.equal(reads(), 2, 'the other replica finds the new list in the table')
  })

  t.test(`${exchange} ${marketType}: the table is used while the exchange cannot be read`, async t => {
    const { simulated, replica, reads, market, first, advance, lines } = await setUp(t, exchange, marketType)
    simulated.fault({ kind: 'status', status: 200, body: '[]' })
    const instruments = replica()
    t.equal((await instruments.ofMarket(market, never)).size, 0, 'neither knows the list')
    t.equal(reads(), 1)
    await instruments.ofMarket(market, never)
    t.equal(reads(), 1, 'a failed read is repeated after a minute')
    await advance(60_000)
    simulated.clearFaults()
    t.equal((await instruments.ofMarket(market, never)).get(first)?.base, 'BTC')
    simulated.fault({ kind: 'status', status: 200, body: '[]' })
    await advance(7_200_000)
    t.equal((await replica().ofMarket(market, never)).get(first)?.trading, true)
    t.equal((await instruments.ofMarket(market, never)).get(first)?.trading, true)
    const warned = lines.filter(({ msg }) => msg === 'instruments not updated')
    const names = { exchange, market_type: marketType }
    assertRows(t, warned, [names, names, names])
  })
}

t.test('the list is used while the database cannot be read', async t => {
  const { database, replica, market, first, lines } = await setUp(t, 'BYBIT', 'FUTURES')
  await database.close(0)
  t.equal((await replica().ofMarket(market, never)).get(first)?.quote, 'USDT')
  t.strictSame(
    lines.map(({ msg }) => msg),
    ['stored instruments not read', 'instruments not updated']
  )
})

t.test('a caller does not wait for a slow list, and an aborted one not at all', async t => {
  const { simulated, replica, market, first } = await setUp(t, 'BINANCE')
  simulated.fault({ kind: 'silence' }, { times: 1 })
  const controller = new AbortController()
  const instruments = replica({ waitMs: 20 })
  t.equal((await instruments.ofMarket(market, never)).size, 0)
  // The silence is for this request, not for one of another replica that arrives earlier.
  await simulated.seen(LISTS)
  const waiting = instruments.ofMarket(market, controller.signal)
  controller.abort(new Error('enough'))
  await t.rejects(waiting, { message: 'enough' })
  await t.rejects(instruments.ofMarket(market, controller.signal), { message: 'enough' })
  t.equal((await replica().ofMarket(market, never)).get(first)?.base, 'BTC')
})

t.test('the columns of an instrument are what the exchange reports, quantities in base units', async t => {
  const { replica, market, rows } = await setUp(t, 'OKX', 'FUTURES')
  await replica().ofMarket(market, never)
  assertRows(t, await rows(), [
    {
      exchange: 'OKX',
      market_type: 'FUTURES',
      exchange_symbol: 'BTC-USDT-SWAP',
      symbol: 'BTCUSDT',
      base: 'BTC',
      quote: 'USDT',
      contract_value: '0.01',
      price_step: '0.1',
      quantity_step: '0.001',
      trading: true
    },
    { exchange_symbol: 'ETH-USDT-SWAP', contract_value: '0.1', quantity_step: '0.01' }
  ])
})

t.test('replicas that write the same list at the same time do not wait for each other in a circle', async t => {
  const { replica, market, reads, rows } = await setUp(t, 'BINANCE')
  const replicas = Array.from({ length: 5 }, () => replica())
  await Promise.all(replicas.map(instruments => instruments.ofMarket(market, never)))
  const read = reads()
  t.ok(read >= 1 && read <= 5, `at most one read of each: ${read}`)
  t.equal((await rows()).length, 2)
})
