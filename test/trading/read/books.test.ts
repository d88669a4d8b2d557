import t from 'tap'
import { books } from '../../../src/trading/read/books.ts'
import { TradingReader } from '../../../src/trading/read/trading-reader.ts'
import { tradingDatabase } from '../../support/trading.ts'
import { seedTraders } from '../../support/trading-records.ts'

const database = await tradingDatabase(t)
const reader = new TradingReader(database, 'UTC')
const [{ accountId, strategyAccountId }, { accountId: other }] = await seedTraders(database)
const booksOf = async (accountId: string) =>
  (await reader.page({ collection: books, filter: { owner: undefined, accountId }, limit: 500 }, 500)).items

t.test('an item has our value, the value of the exchange and their difference, of assets and positions', async t => {
  await database.run(async sql => {
    await sql`
      insert into book_totals (account_id, wallet, asset, source, amount) values
        (${accountId}, 'SPOT', 'BTC', 'entries', 1.50), (${accountId}, 'SPOT', 'BTC', 'executions', -1),
        (${accountId}, 'SPOT', 'ETH', 'entries', 2), (${accountId}, 'SPOT', 'XRP', 'entries', 3),
        (${accountId}, 'SPOT', 'GONE', 'entries', 0)`
    await sql`
      insert into account_balances (account_id, market_type, asset, free, locked, total, synced_at) values
        (${accountId}, 'SPOT', 'BTC', 0.5, 0, 0.5, '2026-11-23T12:00:00Z'),
        (${accountId}, 'SPOT', 'ETH', 1.9, 0, 1.9, '2026-11-23T12:00:00Z'),
        (${accountId}, 'SPOT', 'NIL', 0, 0, 0, '2026-11-23T12:00:00Z'),
        (${accountId}, 'FUTURES', 'USDT', 7, 0, 7, '2026-11-23T12:00:00Z')`
    await sql`
      insert into book_checks (account_id, subject, compared_at) values
        (${accountId}, 'SPOT', '2026-11-23T11:58:00Z'), (${accountId}, 'POSITIONS', '2026-11-23T11:59:00Z')`
    await sql`
      insert into book_differences (account_id, wallet, asset, ours, theirs, difference, runs, since, read_at,
        unexplained_at, explained_at, explained_by)
      values
        (${accountId}, 'SPOT', 'ETH', 2, 1.90, -0.10, 3, '2026-11-23T09:00:00Z', '2026-11-23T11:58:00Z',
          '2026-11-23T09:10:00Z', null, null),
        (${accountId}, 'SPOT', 'BTC', 9, 8, -1, 3, '2026-11-01', '2026-11-01', '2026-11-01', '2026-11-02', 'records')`
    await sql`
      insert into book_differences (account_id, market_type, symbol, position_side, ours, theirs, difference, runs, since,
        read_at)
      values (${accountId}, 'FUTURES', 'ETHUSDT', 'LONG', 0, 4, 4, 1, '2026-11-23T11:59:00Z', '2026-11-23T11:59:00Z')`
    await sql`
      insert into strategy_positions (strategy_account_id, market_type, symbol, currency, quantity) values
        (${strategyAccountId}, 'FUTURES', 'BTCUSDT', 'USDT', -2), (${strategyAccountId}, 'FUTURES', 'XRPUSDT', 'USDT', 0),
        (${strategyAccountId}, 'SPOT', 'BTCUSDT', 'USDT', 0.5)`
  })
  const asset = { account_id: accountId, market_type: null, symbol: null, position_side: null }
  const position = { account_id: accountId, wallet: null, asset: null, market_type: 'FUTURES' }
  const equal = { difference: '0', since: null, reported_at: null }
  const spot = { wallet: 'SPOT', compared_at: '2026-11-23T11:58:00.000Z' }
  const read_at = '2026-11-23T12:00:00.000Z'
  const compared_at = '2026-11-23T11:59:00.000Z'
  t.strictSame(await booksOf(accountId), [
    {
      ...asset,
      ...{ wallet: 'FUTURES', asset: 'USDT', ours: null, theirs: '7', read_at, compared_at: null },
      ...{ difference: null, since: null, reported_at: null }
    },
    {
      ...position,
      ...{ symbol: 'BTCUSDT', position_side: 'BOTH', ours: '-2', theirs: null, ...equal, read_at: null, compared_at }
    },
    {
      ...position,
      ...{ symbol: 'ETHUSDT', position_side: 'LONG', ours: '0', theirs: '4', difference: '4' },
      ...{ since: compared_at, reported_at: null, read_at: compared_at, compared_at }
    },
    { ...asset, ...spot, asset: 'BTC', ours: '0.5', theirs: '0.5', ...equal, read_at },
    {
      ...asset,
      ...{ ...spot, asset: 'ETH', ours: '2', theirs: '1.9', difference: '-0.1', since: '2026-11-23T09:00:00.000Z' },
      ...{ reported_at: '2026-11-23T09:10:00.000Z', read_at: '2026-11-23T11:58:00.000Z' }
    },
    { ...asset, ...spot, asset: 'XRP', ours: '3', theirs: null, ...equal, read_at: null }
  ])
})

t.test('the pages of the books of all accounts follow each other by account', async t => {
  await database.run(
    sql =>
      sql`insert into book_totals (account_id, wallet, asset, source, amount) values (${other}, 'SPOT', 'BTC', 'entries', 1)`
  )
  const ids = [accountId, other].sort((one, two) => Number(one) - Number(two))
  const whole = (await Promise.all(ids.map(booksOf))).flat()
  const items = []
  let after: string[] | undefined
  do {
    const page = await reader.page({ collection: books, filter: { owner: undefined, after }, limit: 2 }, 2)
    items.push(...page.items)
    after = page.lastKey
  } while (after !== undefined)
  t.strictSame(items, whole)
})

t.test('an account without anything in its books has no items', async t => {
  const [, , { accountId: third }] = await seedTraders(database)
  t.strictSame(await booksOf(third), [])
})
