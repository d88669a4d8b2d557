import t from 'tap'
import type { PriceSource } from '../../src/cache/price-source.ts'
import type { Database } from '../../src/database/database.ts'
import { calculateUnrealizedPnl } from '../../src/jobs/calculate-unrealized-pnl.ts'
import { undoneBy } from '../support/jobs.ts'
import { fixedPrices, seedAccount, testContext, tradingDatabase } from '../support/trading.ts'

interface Held {
  market?: 'SPOT' | 'FUTURES'
  symbol: string
  side?: 'BOTH' | 'LONG' | 'SHORT'
  quantity: string
  entry: string | null
}

async function start(t_: { teardown: (work: () => unknown) => void }, held: Held[]) {
  const database = await tradingDatabase(t_)
  const { strategyAccountId } = await seedAccount(database)
  const rows = held.map(({ market = 'SPOT', side = 'BOTH', ...rest }) => ({ market, side, ...rest }))
  await database.run(
    sql => sql`
      insert into strategy_positions (
        strategy_account_id, market_type, symbol, position_side, currency, quantity, entry_price
      )
      select ${strategyAccountId}, market, symbol, side, 'USDT', quantity, entry
      from jsonb_to_recordset(${JSON.stringify(rows)}::text::jsonb)
        as r(market text, symbol text, side text, quantity numeric, entry numeric)`
  )
  return database
}

async function marksOf(database: Database) {
  const rows = await database.run(
    sql => sql`
      select symbol || ' ' || position_side as id, trim_scale(mark_price)::text as mark,
        trim_scale(unrealized_pnl)::text as pnl, marked_at
      from strategy_positions order by 1`
  )
  return [...rows]
}

const run = (database: Database, prices: PriceSource, overrides = {}) =>
  calculateUnrealizedPnl({ database, prices })(testContext(database, overrides).context)

t.test('the unrealised PnL is exactly the signed difference of mark and entry', async t => {
  const database = await start(t, [
    { symbol: 'BTCUSDT', quantity: '0.123456789', entry: '98765.4321' },
    { symbol: 'ETHUSDT', quantity: '-3', entry: '1.66666666666666666667', market: 'FUTURES', side: 'SHORT' },
    { symbol: 'XRPUSDT', quantity: '0', entry: null }
  ])
  const readAt = new Date('2026-11-24T00:00:00Z')
  const result = await run(database, fixedPrices({ BTCUSDT: '100000', ETHUSDT: '2', XRPUSDT: '1' }, readAt))
  t.strictSame(result, {
    checked: 2,
    changed: 2,
    skipped: 0,
    without_price: 0,
    funding_assigned: 0,
    fees_valued: 0,
    fees_unvalued: 0
  })
  t.strictSame(await marksOf(database), [
    { id: 'BTCUSDT BOTH', mark: '100000', pnl: '152.4157887364731', marked_at: readAt },
    { id: 'ETHUSDT SHORT', mark: '2', pnl: '-0.99999999999999999999', marked_at: readAt },
    { id: 'XRPUSDT BOTH', mark: null, pnl: null, marked_at: null }
  ])
})

t.test('a position without a current price keeps its mark, and is counted', async t => {
  const database = await start(t, [
    { symbol: 'BTCUSDT', quantity: '1', entry: '10' },
    { symbol: 'ETHUSDT', quantity: '1', entry: '10' }
  ])
  const [first, second] = [new Date('2026-11-24T00:00:00Z'), new Date('2026-11-24T00:05:00Z')]
  await run(database, fixedPrices({ BTCUSDT: '11', ETHUSDT: '12' }, first))
  const result = await run(database, fixedPrices({ BTCUSDT: '13' }, second))
  t.strictSame(result, {
    checked: 2,
    changed: 1,
    skipped: 0,
    without_price: 1,
    funding_assigned: 0,
    fees_valued: 0,
    fees_unvalued: 0
  })
  t.strictSame(undoneBy('calculate_unrealized_pnl', result), { without_price: 1 }, 'the run is partial')
  t.strictSame(await marksOf(database), [
    { id: 'BTCUSDT BOTH', mark: '13', pnl: '3', marked_at: second },
    { id: 'ETHUSDT BOTH', mark: '12', pnl: '2', marked_at: first }
  ])
})

t.test('a mark that is newer than the price is kept', async t => {
  const database = await start(t, [{ symbol: 'BTCUSDT', quantity: '1', entry: '10' }])
  const [older, newer] = [new Date('2026-11-24T00:00:00Z'), new Date('2026-11-24T00:05:00Z')]
  await run(database, fixedPrices({ BTCUSDT: '11' }, newer))
  const result = await run(database, fixedPrices({ BTCUSDT: '12' }, older))
  t.strictSame(result, {
    checked: 1,
    changed: 0,
    skipped: 1,
    without_price: 0,
    funding_assigned: 0,
    fees_valued: 0,
    fees_unvalued: 0
  })
  t.strictSame(undoneBy('calculate_unrealized_pnl', result), {}, 'everything is done')
  t.strictSame(await marksOf(database), [{ id: 'BTCUSDT BOTH', mark: '11', pnl: '1', marked_at: newer }])
})

t.test('each market is read once, for the symbols of its positions', async t => {
  const database = await start(t, [
    { symbol: 'BTCUSDT', quantity: '1', entry: '10' },
    { symbol: 'ETHUSDT', quantity: '1', entry: '10' },
    { symbol: 'BTCUSDT', quantity: '1', entry: '10', market: 'FUTURES', side: 'LONG' },
    { symbol: 'BTCUSDT', quantity: '-1', entry: '10', market: 'FUTURES', side: 'SHORT' },
    { symbol: 'XRPUSDT', quantity: '0', entry: null }
  ])
  const asked: unknown[] = []
  const prices = fixedPrices({})
  await run(database, {
    ...prices,
    current: async (exchange, marketType, symbols) => {
      asked.push([exchange, marketType, [...symbols].sort()])
      return new Map()
    },
    currentMarks: async (exchange, symbols) => {
      asked.push([exchange, 'FUTURES marks', [...symbols].sort()])
      return new Map()
    }
  })
  t.strictSame(asked.sort(), [
    ['BINANCE', 'FUTURES marks', ['BTCUSDT']],
    ['BINANCE', 'SPOT', ['BTCUSDT', 'ETHUSDT']]
  ])
})

t.test('a perpetual is valued at its mark price, and never at a last price', async t => {
  const database = await start(t, [
    { symbol: 'BTCUSDT', quantity: '2', entry: '100' },
    { symbol: 'BTCUSDT', quantity: '2', entry: '100', market: 'FUTURES' },
    { symbol: 'ETHUSDT', quantity: '-1', entry: '10', market: 'FUTURES' }
  ])
  const at = new Date('2026-11-24T00:00:00Z')
  const last = fixedPrices({ BTCUSDT: '120', ETHUSDT: '12' }, at)
  const result = await run(database, { ...last, currentMarks: fixedPrices({ BTCUSDT: '95' }, at).currentMarks })
  t.strictSame(result, {
    checked: 3,
    changed: 2,
    skipped: 0,
    without_price: 1,
    funding_assigned: 0,
    fees_valued: 0,
    fees_unvalued: 0
  })
  const rows = await database.run(
    sql => sql`
      select market_type, symbol, trim_scale(mark_price)::text as mark, trim_scale(unrealized_pnl)::text as pnl
      from strategy_positions order by 1, 2`
  )
  t.strictSame(
    [...rows],
    [
      { market_type: 'FUTURES', symbol: 'BTCUSDT', mark: '95', pnl: '-10' },
      { market_type: 'FUTURES', symbol: 'ETHUSDT', mark: null, pnl: null },
      { market_type: 'SPOT', symbol: 'BTCUSDT', mark: '120', pnl: '40' }
    ]
  )
})

t.test('positions are marked in batches with progress, and an aborted run stops', async t => {
  const database = await tradingDatabase(t)
  for (const count of [9_000, 2_000, 8_000, 12_000, 1]) {
    const { strategyAccountId } = await seedAccount(database)
    await database.run(
      sql => sql`
        insert into strategy_positions (strategy_account_id, market_type, symbol, currency, quantity, entry_price)
        select ${strategyAccountId}, 'SPOT', 'C' || n || 'USDT', 'USDT', 1, 1 from generate_series(1, ${count}::int) n`
    )
  }
  const symbols = Array.from({ length: 12_000 }, (_, i) => [`C${i + 1}USDT`, '2'])
  const prices = fixedPrices(Object.fromEntries(symbols))
  const progress: number[][] = []
  const result = await run(database, prices, {
    progress: (done: number, total: number) => progress.push([done, total])
  })
  t.strictSame(result, {
    checked: 31_001,
    changed: 31_001,
    skipped: 0,
    without_price: 0,
    funding_assigned: 0,
    fees_valued: 0,
    fees_unvalued: 0
  })
  t.strictSame(
    progress,
    [9_000, 19_000, 31_000, 31_001].map(done => [done, 31_001])
  )
  const [sum] = await database.run(sql => sql`select sum(unrealized_pnl)::text as pnl from strategy_positions`)
  t.strictSame(sum, { pnl: '31001' })

  const controller = new AbortController()
  const ending = run(database, prices, {
    signal: controller.signal,
    progress: () => controller.abort(new Error('aborted'))
  })
  await t.rejects(ending, { message: 'aborted' })
})
