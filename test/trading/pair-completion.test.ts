import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import type { Database } from '../../src/database/database.ts'
import { completeRows, hasIncompleteRows, rebookExecutions } from '../../src/trading/pair-completion.ts'
import { assertRows } from '../support/assert-rows.ts'
import { projectRoot } from '../support/project.ts'
import { booksOf, insertOrder, type SeededAccount, seedAccount, tradingDatabase } from '../support/trading.ts'

const MIGRATIONS = join(projectRoot, 'src/database/migrations')
const MIGRATION = readdirSync(MIGRATIONS).find(name => name.endsWith('.do.base-and-quote.sql')) ?? ''

interface EarlierRow {
  symbol: string
  exchangeSymbol: string
  /** The quote currency that the earlier version derived from the symbol. */
  currency: string
  feeAsset: string
  feeValue: string | null
  /** The quantity that the earlier version recorded as held; 10 were bought. */
  held: string
}

const GUESSED: EarlierRow = {
  ...{ symbol: 'XRPRLUSD', exchangeSymbol: 'XRPRLUSD', currency: 'USD' },
  ...{ feeAsset: 'XRP', feeValue: null, held: '10' }
}
const RIGHT: EarlierRow = {
  ...{ symbol: 'BTCUSDT', exchangeSymbol: 'BTCUSDT', currency: 'USDT' },
  ...{ feeAsset: 'BTC', feeValue: '0.02', held: '9.99' }
}

/** A purchase of 10 at 2 with a fee of 0.01 as an earlier version recorded it, with its position. @returns the order's id */
async function insertEarlier(database: Database, account: SeededAccount, row: EarlierRow): Promise<string> {
  const { symbol, exchangeSymbol, currency, feeAsset, feeValue, held } = row
  const order = { exchangeOrderId: `of ${symbol}`, symbol, exchangeSymbol, side: 'BUY' as const, quantity: '10' }
  const orderId = await insertOrder(database, account, order)
  const { strategyAccountId, accountId } = account
  await database.run(
    sql => sql`
      insert into trade_executions (order_id, strategy_account_id, account_id, market_type, exchange_trade_id, symbol,
        currency, side, price, quantity, fee, fee_asset, fee_value, executed_at, recorded_at, quantity_before)
      values (${orderId}, ${strategyAccountId}, ${accountId}, 'SPOT', '1', ${symbol}, ${currency}, 'BUY', 2, 10, 0.01,
        ${feeAsset}, ${feeValue}, now() - interval '2 days', now() - interval '2 days', 0)`
  )
  await database.run(
    sql => sql`
      insert into strategy_positions (strategy_account_id, market_type, symbol, currency, quantity, entry_price, fees)
      values (${account.strategyAccountId}, 'SPOT', ${symbol}, ${currency}, ${held}, 2, ${feeValue ?? '0'})`
  )
  await database.run(sql => sql`update orders set status = 'filled' where order_id = ${orderId}`)
  return orderId
}

async function list(database: Database, exchange: string, symbol: string, base: string, quote: string): Promise<void> {
  await database.run(
    sql => sql`
      insert into instruments (exchange, market_type, exchange_symbol, symbol, base, quote, contract_value, trading, read_at)
      values (${exchange}, 'SPOT', ${symbol}, ${symbol}, ${base}, ${quote}, 1, false, now())`
  )
}

const complete = async (database: Database) => ({
  completed: await database.transaction(completeRows),
  rebooked: await database.transaction(tx => rebookExecutions(tx, () => null))
})
const recordedNow = async (database: Database) =>
  await database.run(
    sql => sql`
      select symbol, currency, recorded_at > now() - interval '1 day' as is_new from trade_executions order by symbol`
  )

t.test(
  'rows of an earlier version get base and quote from the instruments, and wrong ones are booked again',
  async t => {
    const database = await tradingDatabase(t)
    const account = await seedAccount(database)
    for (const row of [GUESSED, RIGHT]) await insertEarlier(database, account, row)
    t.equal(await hasIncompleteRows(database), false, 'without instruments nothing can be completed')
    t.strictSame(await complete(database), { completed: 0, rebooked: 0 })

    await list(database, 'BINANCE', 'XRPRLUSD', 'XRP', 'RLUSD')
    await list(database, 'BINANCE', 'BTCUSDT', 'BTC', 'USDT')
    await list(database, 'BYBIT', 'BTCUSDT', 'BT', 'CUSDT')
    t.equal(await hasIncompleteRows(database), true)
    t.strictSame(await complete(database), { completed: 3, rebooked: 1 })
    t.equal(await hasIncompleteRows(database), false)
    t.strictSame(await complete(database), { completed: 0, rebooked: 0 }, 'once')

    const { orders, executions, positions } = await booksOf(database, account)
    assertRows(t, orders, [
      { base: 'BTC', quote: 'USDT' },
      { base: 'XRP', quote: 'RLUSD' }
    ])
    assertRows(t, executions, [
      { base: 'BTC', quote: 'USDT', fee_value: '0.02' },
      { base: 'XRP', quote: 'RLUSD', fee_value: '0.02' }
    ])
    assertRows(t, positions, [
      { base: 'BTC', quote: 'USDT', quantity: '9.99', fees: '0.02' },
      { base: 'XRP', quote: 'RLUSD', quantity: '9.99', fees: '0.02' }
    ])
    assertRows(t, await recordedNow(database), [
      { symbol: 'BTCUSDT', currency: 'USDT', is_new: false },
      { symbol: 'XRPRLUSD', currency: 'RLUSD', is_new: true }
    ])
  }
)

t.test('an order that no instrument fits stays without base and quote', async t => {
  const database = await tradingDatabase(t)
  const account = await seedAccount(database)
  await insertEarlier(database, account, { ...RIGHT, exchangeSymbol: 'BTCUSDC' })
  await list(database, 'BINANCE', 'BTCUSDC', 'BTC', 'USDC')
  t.equal(await hasIncompleteRows(database), false, 'its symbol contradicts the instrument')
  t.strictSame(await complete(database), { completed: 0, rebooked: 0 })
  assertRows(t, (await booksOf(database, account)).executions, [{ base: null, quote: null }])
})

t.test('an execution that an earlier version records after its order was completed is completed too', async t => {
  const database = await tradingDatabase(t)
  const account = await seedAccount(database)
  const orderId = await insertEarlier(database, account, RIGHT)
  await list(database, 'BINANCE', 'BTCUSDT', 'BTC', 'USDT')
  await complete(database)
  await database.run(
    sql => sql`
      insert into trade_executions (order_id, strategy_account_id, account_id, market_type, exchange_trade_id, symbol,
        currency, side, price, quantity, executed_at)
      values (${orderId}, ${account.strategyAccountId}, ${account.accountId}, 'SPOT', '2', 'BTCUSDT', 'USDT', 'BUY', 2, 1,
        now())`
  )
  t.equal(await hasIncompleteRows(database), true)
  t.strictSame(await complete(database), { completed: 1, rebooked: 0 })
  assertRows(t, (await booksOf(database, account)).executions, [{ quote: 'USDT' }, { quote: 'USDT' }])
})

t.test('a row with a quote alone has it as currency, for earlier versions', async t => {
  const database = await tradingDatabase(t)
  const { strategyAccountId } = await seedAccount(database)
  await database.run(
    sql => sql`
      insert into strategy_positions (strategy_account_id, market_type, symbol, base, quote)
      values (${strategyAccountId}, 'SPOT', 'BTCMNT', 'BTC', 'MNT')`
  )
  const rows = await database.run(sql => sql`select currency from strategy_positions`)
  assertRows(t, rows, [{ currency: 'MNT' }])
})

t.test('the migration completes rows of exchanges that separate base and quote, and no others', async t => {
  const database = await tradingDatabase(t)
  const accounts: SeededAccount[] = []
  for (const [exchange, row] of [
    ['BINANCE', RIGHT],
    ['OKX', { ...RIGHT, exchangeSymbol: 'BTC-USDT' }],
    ['OKX', { ...RIGHT, exchangeSymbol: 'BTC-USDT-SWAP' }],
    ['OKX', { ...RIGHT, exchangeSymbol: 'ETH-USDT' }],
    ['OKX', { ...GUESSED, exchangeSymbol: 'XRP-RLUSD' }],
    ['UPBIT', { ...RIGHT, symbol: 'BTCKRW', exchangeSymbol: 'KRW-BTC', currency: 'KRW' }],
    ['BITHUMB', { ...RIGHT, symbol: 'ETHBTC', exchangeSymbol: 'BTC-ETH', currency: 'BTC' }]
  ] as const) {
    const account = await seedAccount(database, { exchange })
    await insertEarlier(database, account, row)
    accounts.push(account)
  }
  // The schema before the migration.
  await database.run(sql =>
    sql.unsafe(`
      drop trigger currency_of_quote on trade_executions;
      drop trigger currency_of_quote on strategy_positions;
      drop function currency_of_quote();
      alter table orders drop column base, drop column quote;
      alter table trade_executions drop column base, drop column quote;
      alter table strategy_positions drop column base, drop column quote`)
  )
  await database.run(sql => sql.unsafe(readFileSync(join(MIGRATIONS, MIGRATION), 'utf8')))
  const pairs = await Promise.all(
    accounts.map(async account => {
      const { orders, executions, positions } = await booksOf(database, account)
      return [...orders, ...executions, ...positions].map(({ base, quote }) => `${base} ${quote}`)
    })
  )
  const none = 'null null'
  t.strictSame(pairs, [
    [none, none, none],
    ['BTC USDT', 'BTC USDT', 'BTC USDT'],
    ['BTC USDT', 'BTC USDT', 'BTC USDT'],
    [none, none, none],
    ['XRP RLUSD', none, none],
    ['BTC KRW', 'BTC KRW', 'BTC KRW'],
    ['ETH BTC', 'ETH BTC', 'ETH BTC']
  ])
  t.strictSame(await complete(database), { completed: 0, rebooked: 1 }, 'what was booked with a wrong quote')
  const [, , , , guessed] = accounts
  assertRows(t, (await booksOf(database, guessed ?? ({} as SeededAccount))).positions, [
    { quote: 'RLUSD', quantity: '9.99' }
  ])
})
