import t from 'tap'
import type { Database } from '../../src/database/database.ts'
import { heldMarkets, type Mark, markPositions, openPositions } from '../../src/trading/unrealized-pnl.ts'
import { seedAccount, tradingDatabase } from '../support/trading.ts'

/** Adds a position; a quantity of 0 means closed. */
function hold(
  database: Database,
  { strategyAccountId }: { strategyAccountId: string },
  symbol: string,
  { quantity = '1', entry = '10' as string | null, market = 'SPOT', side = 'BOTH' } = {}
) {
  return database.run(
    sql => sql`
      insert into strategy_positions (
        strategy_account_id, market_type, symbol, position_side, currency, quantity, entry_price
      ) values (${strategyAccountId}, ${market}, ${symbol}, ${side}, 'USDT', ${quantity}, ${entry})`
  )
}

async function marksOf(database: Database) {
  const rows = await database.run(
    sql => sql`
      select strategy_account_id as account, market_type as market, symbol, position_side as side,
        trim_scale(mark_price)::text as mark, trim_scale(unrealized_pnl)::text as pnl, marked_at
      from strategy_positions order by strategy_account_id, market_type, symbol, position_side`
  )
  return rows.map(({ account, market, symbol, side, mark, pnl }) => [account, market, symbol, side, mark, pnl])
}

const at = new Date('2026-11-24T00:00:00Z')
const mark = (symbol: string, price: string, rest: Partial<Mark> = {}): Mark => ({
  ...{ exchange: 'BINANCE', market_type: 'SPOT', symbol, price, at },
  ...rest
})

t.test('open positions are listed by market, without closed ones', async t => {
  const database = await tradingDatabase(t)
  t.strictSame(await heldMarkets(database), [])
  const [binance, upbit] = [await seedAccount(database), await seedAccount(database, { exchange: 'UPBIT' })]
  const second = await seedAccount(database)
  await hold(database, binance, 'BTCUSDT')
  await hold(database, second, 'BTCUSDT')
  await hold(database, binance, 'ETHUSDT', { quantity: '-1' })
  await hold(database, binance, 'XRPUSDT', { quantity: '0', entry: null })
  await hold(database, binance, 'BTCUSDT', { market: 'FUTURES' })
  await hold(database, upbit, 'BTCKRW')
  const markets = await heldMarkets(database)
  const listed = markets.map(({ exchange, marketType, symbols }) => [exchange, marketType, ...symbols.sort()].join(' '))
  t.strictSame(listed.sort(), ['BINANCE FUTURES BTCUSDT', 'BINANCE SPOT BTCUSDT ETHUSDT', 'UPBIT SPOT BTCKRW'])
})

t.test('ranges end before they exceed their size, and a larger account is one range', async t => {
  const database = await tradingDatabase(t)
  t.strictSame(await openPositions(database, 3), { total: 0, ranges: [] })
  const ids: string[] = []
  for (const count of [1, 2, 1, 2, 5, 1]) {
    const account = await seedAccount(database)
    ids.push(account.strategyAccountId)
    for (let i = 0; i < count; i++) await hold(database, account, `C${i}USDT`)
    await hold(database, account, 'XRPUSDT', { quantity: '0', entry: null })
  }
  const range = (from: number, to: number) => ({ from: ids[from], to: ids[to] })
  t.strictSame(await openPositions(database, 3), {
    total: 12,
    ranges: [range(0, 1), range(2, 3), range(4, 4), range(5, 5)]
  })
})

t.test('the positions of a range are valued by the price of their market', async t => {
  const database = await tradingDatabase(t)
  const accounts = [await seedAccount(database), await seedAccount(database), await seedAccount(database)]
  const upbit = await seedAccount(database, { exchange: 'UPBIT' })
  const [first, second, third] = accounts
  if (!first || !second || !third) throw new Error('three accounts were made')
  for (const account of [...accounts, upbit]) await hold(database, account, 'BTCUSDT', { quantity: '2' })
  await hold(database, second, 'BTCUSDT', { market: 'FUTURES', side: 'SHORT', quantity: '-3' })
  await hold(database, second, 'BTCUSDT', { market: 'FUTURES', side: 'LONG', quantity: '3', entry: null })
  await hold(database, second, 'ETHUSDT')
  await hold(database, second, 'XRPUSDT', { quantity: '0', entry: null })
  const marks = [
    mark('BTCUSDT', '11'),
    mark('BTCUSDT', '12', { market_type: 'FUTURES' }),
    mark('BTCUSDT', '99', { exchange: 'UPBIT' }),
    mark('XRPUSDT', '1')
  ]
  const marked = await database.transaction(tx =>
    markPositions(tx, marks, { from: second.strategyAccountId, to: third.strategyAccountId })
  )
  t.strictSame({ ...marked }, { checked: 5, changed: 3, without_price: 1 })
  t.strictSame(await marksOf(database), [
    [first.strategyAccountId, 'SPOT', 'BTCUSDT', 'BOTH', null, null],
    [second.strategyAccountId, 'FUTURES', 'BTCUSDT', 'LONG', null, null],
    [second.strategyAccountId, 'FUTURES', 'BTCUSDT', 'SHORT', '12', '-6'],
    [second.strategyAccountId, 'SPOT', 'BTCUSDT', 'BOTH', '11', '2'],
    [second.strategyAccountId, 'SPOT', 'ETHUSDT', 'BOTH', null, null],
    [second.strategyAccountId, 'SPOT', 'XRPUSDT', 'BOTH', null, null],
    [third.strategyAccountId, 'SPOT', 'BTCUSDT', 'BOTH', '11', '2'],
    [upbit.strategyAccountId, 'SPOT', 'BTCUSDT', 'BOTH', null, null]
  ])
})

t.test('a price of the same moment replaces a mark, an older one does not', async t => {
  const database = await tradingDatabase(t)
  const account = await seedAccount(database)
  await hold(database, account, 'BTCUSDT')
  const range = { from: account.strategyAccountId, to: account.strategyAccountId }
  const markAt = async (price: string, ms: number) => {
    const marks = [mark('BTCUSDT', price, { at: new Date(at.getTime() + ms) })]
    const { changed } = await database.transaction(tx => markPositions(tx, marks, range))
    return [changed, ...(await marksOf(database)).map(row => row.at(-1))]
  }
  t.strictSame(await markAt('11', 0), [1, '1'])
  t.strictSame(await markAt('12', 0), [1, '2'])
  t.strictSame(await markAt('13', -1), [0, '2'])
  t.strictSame(await markAt('14', 1), [1, '4'])
})
