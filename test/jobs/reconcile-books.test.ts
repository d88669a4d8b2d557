import t from 'tap'
import { MINUTE, SECOND } from '../../src/async/durations.ts'
import { ExchangeError } from '../../src/exchanges/exchange-error.ts'
import { assertRows } from '../support/assert-rows.ts'
import { position, TestBooks } from '../support/books.ts'
import { undoneBy } from '../support/jobs.ts'
import { failuresOf } from '../support/trading.ts'

/** The causes of a difference, as kind and amount. */
async function causesOf({ database }: TestBooks, name: string): Promise<string[]> {
  const rows = await database.run(
    sql => sql<{ cause: string }[]>`
      select concat_ws(' ', cause ->> 'kind', cause ->> 'amount') as cause
      from book_differences cross join jsonb_array_elements(causes) cause where ${name} in (asset, symbol)`
  )
  return rows.map(({ cause }) => cause)
}

t.test('opening, entries and executions are equal to the balance', async t => {
  const books = await TestBooks.create(t)
  await books.open('USDT', '1000')
  await books.entry({ asset: 'USDT', amount: '-100.5', kind: 'withdrawal' })
  await books.execution({ price: '100', quantity: '2', fee: '0.001', feeAsset: 'BNB' })
  await books.execution({ side: 'SELL', price: '110', quantity: '1', fee: '0.11', feeAsset: 'USDT' })
  await books.entry({ asset: 'BNB', amount: '1', kind: 'dividend' })
  const result = await books.round({ USDT: '809.39', BTC: '1', BNB: '0.999' })
  t.strictSame(result, {
    accounts: 1,
    compared: 1,
    postponed: 0,
    without_opening: 0,
    incomplete: 0,
    failed: 0,
    differences: 0,
    unexplained: 0,
    reported: 0,
    accounts_left_out: 0
  })
  t.strictSame(undoneBy('reconcile_books', result), {})
})

t.test('a withheld fill is reported in the third run with the events around it', async t => {
  const books = await TestBooks.create(t)
  await books.open('USDT', '1000')
  await books.entry({ asset: 'USDT', amount: '5', kind: 'rebate', agoMs: 2 * MINUTE })
  const balances = { USDT: '905', BTC: '1' }
  t.hasStrict(await books.round(balances), { compared: 1, differences: 2, unexplained: 0, reported: 0 })
  t.hasStrict(await books.round(balances), { differences: 2, unexplained: 0, reported: 0 })
  t.hasStrict(await books.round(balances), { differences: 2, unexplained: 2, reported: 2 })
  t.hasStrict(await books.round(balances), { differences: 2, unexplained: 2, reported: 0 }, 'reported once')
  assertRows(t, await books.differences(), [
    { what: 'SPOT BTC', ours: '0', theirs: '1', difference: '1', runs: 4, is_reported: true, explained_by: null },
    { what: 'SPOT USDT', ours: '1005', theirs: '905', difference: '-100', runs: 4, is_reported: true }
  ])
  t.strictSame(await causesOf(books, 'USDT'), ['rebate 5'])

  await books.execution({ price: '100', quantity: '1', agoMs: 5 * MINUTE })
  t.hasStrict(await books.round(balances), { differences: 0, unexplained: 0 }, 'it ends when the fill is recorded')
  assertRows(t, await books.differences(), [
    { what: 'SPOT BTC', difference: '1', is_reported: true, explained_by: 'records' },
    { what: 'SPOT USDT', difference: '-100', is_reported: true, explained_by: 'records' }
  ])
})

t.test('a manipulated balance is reported, and ends with the next true balance', async t => {
  const books = await TestBooks.create(t)
  await books.open('USDT', '1000')
  for (const reported of [0, 0, 1]) t.hasStrict(await books.round({ USDT: '1000.00000002' }), { reported })
  assertRows(t, await books.differences(), [{ what: 'SPOT USDT', difference: '0.00000002', is_reported: true }])
  t.hasStrict(await books.round({ USDT: '1000' }), { differences: 0, unexplained: 0 })
})

t.test('an amount that the exchange may have rounded is tolerated with one unit of the eighth decimal', async t => {
  const books = await TestBooks.create(t)
  await books.open('USDT', '1000')
  await books.execution({ price: '0.000012345', quantity: '0.0003', base: 'PEPE' })
  t.hasStrict(await books.round({ USDT: '999.99999998', PEPE: '0.0003' }), { differences: 0 })
  t.hasStrict(await books.round({ USDT: '999.99999997', PEPE: '0.0003' }), { differences: 1 })
})

t.test('a difference that is gone in the third run was in flight, and leaves no row', async t => {
  const books = await TestBooks.create(t)
  await books.open('USDT', '1000')
  t.hasStrict(await books.round({ USDT: '1050' }), { differences: 1 })
  t.hasStrict(await books.round({ USDT: '1050' }), { differences: 1 })
  await books.entry({ asset: 'USDT', amount: '50', agoMs: 5 * MINUTE })
  t.hasStrict(await books.round({ USDT: '1050' }), { differences: 0, reported: 0 })
  t.strictSame(await books.differences(), [])
})

t.test('an account that has something in flight in every run is not reported', async t => {
  const books = await TestBooks.create(t)
  await books.open('USDT', '1000')
  let total = 1_000
  for (let round = 0; round < 5; round++) {
    total += 10 + round
    t.hasStrict(await books.round({ USDT: String(total) }), { differences: 1, reported: 0 })
    // The ledger lists it after the balance was read.
    await books.entry({ asset: 'USDT', amount: String(10 + round), agoMs: SECOND })
  }
  assertRows(t, await books.differences(), [{ difference: '14', runs: 1, is_reported: false }])
  t.hasStrict(await books.round({ USDT: String(total) }), { differences: 0 })
})

t.test('what is recorded after the balance was read does not count', async t => {
  const books = await TestBooks.create(t)
  await books.open('USDT', '1000')
  await books.read({ USDT: '1000' })
  await books.execution({ price: '10', quantity: '1', agoMs: 0 })
  await books.entry({ asset: 'USDT', amount: '7', agoMs: 0 })
  t.hasStrict(await books.reconcile(), { compared: 1, differences: 0 })
  t.hasStrict(await books.round({ USDT: '997', BTC: '1' }), { compared: 1, differences: 0 })
})

t.test('what happened before the opening is part of it', async t => {
  const books = await TestBooks.create(t)
  await books.entry({ asset: 'USDT', amount: '400', agoMs: 90 * MINUTE })
  await books.execution({ price: '100', quantity: '1', agoMs: 90 * MINUTE })
  await books.open('USDT', '1000')
  await books.execution({ price: '100', quantity: '2', agoMs: 80 * MINUTE })
  await books.execution({ price: '100', quantity: '3' })
  t.hasStrict(await books.round({ USDT: '700', BTC: '3' }), { differences: 0 })
})

t.test('a wallet is postponed until its balance, its ledger and its orders were read again', async t => {
  const books = await TestBooks.create(t)
  await books.open('USDT', '1000')
  t.hasStrict(await books.round({ USDT: '1001' }), { compared: 1, postponed: 0, differences: 1 })
  t.hasStrict(await books.reconcile(), { compared: 0, postponed: 1 }, 'nothing was read again')
  await books.readLedger()
  const result = await books.reconcile()
  t.hasStrict(result, { compared: 0, postponed: 1 }, 'the balance was not')
  t.strictSame(undoneBy('reconcile_books', result), { postponed: 1 })
  const { accountId, strategyAccountId } = books.account
  await books.database.run(
    sql => sql`
      insert into orders (strategy_account_id, account_id, market_type, exchange_order_id, symbol, exchange_symbol, side,
        order_type, quantity, status, created_at)
      values (${strategyAccountId}, ${accountId}, 'SPOT', '1', 'BTCUSDT', 'BTCUSDT', 'BUY', 'LIMIT', 1, 'open',
        now() - interval '10 minutes')`
  )
  t.hasStrict(await books.round({ USDT: '1001' }), { compared: 0, postponed: 1 }, 'an open order was not')
  await books.database.run(sql => sql`update orders set last_checked_at = now()`)
  t.hasStrict(await books.reconcile(), { compared: 1, postponed: 0 })
  assertRows(t, await books.differences(), [{ difference: '1', runs: 2, is_reported: false }])
  await books.database.run(sql => sql`update ledger_readings set read_until = now() - interval '1 hour'`)
  await books.database.run(sql => sql`update balance_readings set read_at = now()`)
  t.hasStrict(await books.reconcile(), { compared: 0, postponed: 1 }, 'the ledger was not')
})

t.test('an order that became unknown does not postpone the comparison', async t => {
  const books = await TestBooks.create(t)
  await books.open('USDT', '1000')
  await books.round({ USDT: '1000' })
  const { accountId, strategyAccountId } = books.account
  await books.database.run(
    sql => sql`
      insert into orders (strategy_account_id, account_id, market_type, exchange_order_id, symbol, exchange_symbol, side,
        order_type, quantity, status, misses, last_checked_at, created_at)
      values (${strategyAccountId}, ${accountId}, 'SPOT', '1', 'BTCUSDT', 'BTCUSDT', 'BUY', 'LIMIT', 1, 'unknown', 6,
        now() - interval '1 day', now() - interval '2 days')`
  )
  t.hasStrict(await books.round({ USDT: '900', BTC: '1' }), { compared: 1, postponed: 0, differences: 2 })
})

t.test('a pending entry, which holds back the ledger, does not postpone the comparison', async t => {
  const books = await TestBooks.create(t)
  await books.open('USDT', '1000')
  await books.round({ USDT: '1000' })
  await books.read({ USDT: '1001' })
  await books.database.run(
    sql => sql`update ledger_readings set read_until = now() - interval '1 hour', listed_until = now()`
  )
  t.hasStrict(await books.reconcile(), { compared: 1, postponed: 0, differences: 1 })
})

t.test('an account is postponed until its fills were read since the last comparison', async t => {
  const books = await TestBooks.create(t)
  await books.open('USDT', '1000')
  const readFills = (until: string) =>
    books.database.run(
      sql => sql`
        insert into fill_readings (account_id, market_type, read_until, opening)
        values (${books.account.accountId}, 'FUTURES', now() + ${until}::interval, '{}')
        on conflict (account_id, market_type) do update set read_until = excluded.read_until`
    )
  t.hasStrict(await books.round({ USDT: '1000' }), { compared: 1, postponed: 0 })
  await readFills('-1 hour')
  t.hasStrict(await books.round({ USDT: '1001' }), { compared: 0, postponed: 1, differences: 0 })
  await readFills('0')
  t.hasStrict(await books.round({ USDT: '1001' }), { compared: 1, postponed: 0, differences: 1 })
})

t.test(
  'an account is postponed while the fills of a new symbol are not read, but not by a symbol that was searched',
  async t => {
    const books = await TestBooks.create(t)
    await books.open('USDT', '1000')
    const readSymbol = (isFollowed: boolean, until: string | null) =>
      books.database.run(
        sql => sql`
        insert into fill_symbols (account_id, market_type, exchange_symbol, is_followed, read_until)
        values (${books.account.accountId}, 'SPOT', 'ETHUSDT', ${isFollowed}, now() + ${until}::interval)
        on conflict (account_id, market_type, exchange_symbol)
          do update set read_until = excluded.read_until, is_followed = excluded.is_followed`
      )
    await readSymbol(false, '-1 hour')
    t.hasStrict(await books.round({ USDT: '1000' }), { compared: 1, postponed: 0 })
    await readSymbol(true, '-1 hour')
    t.hasStrict(await books.round({ USDT: '1001' }), { compared: 0, postponed: 1, differences: 0 })
    await readSymbol(true, null)
    t.hasStrict(await books.round({ USDT: '1001' }), { compared: 1, postponed: 0, differences: 1 })
  }
)

t.test('an account without an opening is not compared, and counted', async t => {
  const books = await TestBooks.create(t)
  books.positions = [position('1')]
  await books.entry({ asset: 'USDT', amount: '5' })
  const result = await books.round({ USDT: '10' })
  t.hasStrict(result, { accounts: 1, compared: 0, without_opening: 1, differences: 0 })
  t.strictSame(undoneBy('reconcile_books', result), { without_opening: 1 })
})

t.test('an asset that an incomplete reading does not list is not compared', async t => {
  const books = await TestBooks.create(t)
  await books.open('USDT', '1000')
  await books.open('ETH', '2')
  await books.open('XRP', '3')
  await books.read({ USDT: '1000', ETH: '2' }, {}, ['SPOT'])
  t.hasStrict(await books.reconcile(), { compared: 1, differences: 0 })
  await books.read({ USDT: '999' }, {}, ['SPOT'])
  t.hasStrict(await books.reconcile(), { compared: 1, differences: 1 })
  t.hasStrict(await books.round({ USDT: '1000' }), { differences: 2 }, 'a complete reading has no ETH and no XRP')
})

t.test('a wallet that the exchange does not open to the key is not part of the account', async t => {
  const books = await TestBooks.create(t)
  await books.open('USDT', '1000')
  await books.read({ USDT: '1000' }, {}, ['FUTURES'])
  await books.database.run(sql => sql`delete from ledger_readings where wallet = 'FUTURES'`)
  t.hasStrict(await books.reconcile(), { compared: 1, postponed: 0 })
})

t.test('a perpetual changes the wallet by what the exchange says that it realised', async t => {
  const books = await TestBooks.create(t)
  await books.open('USDT', '0')
  await books.open('USDT', '1000', 'FUTURES')
  const perpetual = { marketType: 'FUTURES', price: '100', quantity: '1' } as const
  await books.execution({ ...perpetual, fee: '0.04', feeAsset: 'USDT' })
  await books.execution({ ...perpetual, side: 'SELL', realizedPnl: '9.99', exchangePnl: '10' })
  await books.execution({ ...perpetual, side: 'SELL', realizedPnl: '5' })
  t.hasStrict(await books.round({}, { USDT: '1014.96' }), { differences: 0 })
})

t.test('a unified account has one wallet for both markets', async t => {
  const books = await TestBooks.create(t, 'BYBIT')
  await books.open('USDT', '1000')
  await books.execution({ marketType: 'FUTURES', price: '100', quantity: '1', exchangePnl: '10' })
  await books.execution({ price: '100', quantity: '1' })
  t.hasStrict(await books.round({ USDT: '910', BTC: '1' }), { compared: 1, differences: 0 })
})

t.test('a position that the exchange liquidated is reported in the third run', async t => {
  const books = await TestBooks.create(t)
  await books.open('USDT', '100000', 'FUTURES')
  await books.hold('1')
  books.positions = [position('1')]
  const futures = { USDT: '100000' }
  t.hasStrict(await books.round({}, futures), { compared: 1, differences: 0 })
  books.positions = []
  await books.entry({ asset: 'USDT', amount: '-5000', kind: 'liquidation', wallet: 'FUTURES' })
  futures.USDT = '95000'
  for (const reported of [0, 0, 1]) t.hasStrict(await books.round({}, futures), { differences: 1, reported })
  assertRows(t, await books.differences(), [
    { what: 'BTCUSDT BOTH', ours: '1', theirs: '0', difference: '-1', is_reported: true, explained_by: null }
  ])
  t.strictSame(await causesOf(books, 'BTCUSDT'), ['liquidation -5000'])
  await books.hold('0')
  t.hasStrict(await books.round({}, futures), { differences: 0, unexplained: 0 })
})

t.test('a fill that is recorded after the positions were read was in flight', async t => {
  const books = await TestBooks.create(t)
  await books.open('USDT', '1000', 'FUTURES')
  let held = 0
  for (let round = 0; round < 4; round++) {
    books.positions = [position(String(held + 1))]
    t.hasStrict(await books.round({}, { USDT: '1000' }), { differences: 1, reported: 0 })
    held += 1
    await books.execution({ marketType: 'FUTURES', price: '100', quantity: '1', agoMs: SECOND })
    await books.hold(String(held))
  }
  t.hasStrict(await books.round({}, { USDT: '1000' }), { differences: 0 })
})

t.test('positions that cannot be read are counted, and nothing follows from their absence', async t => {
  const books = await TestBooks.create(t)
  await books.open('USDT', '1000', 'FUTURES')
  await books.hold('1')
  await books.hold('2', 'ETHUSDT')
  books.positions = [position('1.5')]
  books.isUnreadable = true
  const incomplete = await books.round({}, { USDT: '1000' })
  t.hasStrict(incomplete, { compared: 0, incomplete: 1, differences: 1 })
  t.strictSame(undoneBy('reconcile_books', incomplete), { incomplete: 1 })
  books.isUnreadable = false
  books.positions = new ExchangeError('timeout', { exchange: 'BINANCE', operation: 'positions' })
  t.hasStrict(await books.round({}, { USDT: '1000' }), { failed: 1, differences: 1 })
  t.strictSame(await failuresOf(books.database, books.account), ['timeout'])
  books.positions = new ExchangeError('rate_limited', { exchange: 'BINANCE', operation: 'positions' })
  t.hasStrict(await books.round({}, { USDT: '1000' }), { postponed: 1, differences: 1 })
  books.positions = []
  t.hasStrict(await books.round({}, { USDT: '1000' }), { compared: 1, differences: 2 })
})

t.test('a key without a right to perpetuals is no failure while no strategy holds one', async t => {
  const books = await TestBooks.create(t)
  await books.open('USDT', '1000')
  books.positions = new ExchangeError('permission', { exchange: 'BINANCE', operation: 'positions' })
  t.hasStrict(await books.round({ USDT: '1000' }), { compared: 1, failed: 0 })
  await books.hold('1')
  t.hasStrict(await books.round({ USDT: '1000' }), { compared: 0, failed: 1 })
})

t.test('quantities that differ by less than a step of the instrument are equal', async t => {
  const books = await TestBooks.create(t)
  await books.open('USDT', '1000', 'FUTURES')
  await books.database.run(
    sql => sql`
      insert into instruments (exchange, market_type, exchange_symbol, symbol, base, quote, contract_value, quantity_step,
        trading, read_at)
      values ('BINANCE', 'FUTURES', 'BTCUSDT', 'BTCUSDT', 'BTC', 'USDT', 1, 0.001, true, now())`
  )
  await books.hold('1.00000000000000000001')
  books.positions = [position('1')]
  t.hasStrict(await books.round({}, { USDT: '1000' }), { differences: 0 })
  await books.hold('1.001')
  t.hasStrict(await books.round({}, { USDT: '1000' }), { differences: 1 })
})

/** Books in which USDT and a position differ since the last run, before the run that reports them. */
async function aboutToReport(t: Parameters<typeof TestBooks.create>[0]) {
  const books = await TestBooks.create(t)
  await books.open('USDT', '1000')
  books.positions = [position('1')]
  for (let round = 0; round < 2; round++) await books.round({ USDT: '1001' })
  await books.read({ USDT: '1001' })
  return books
}

const REPORTED = [
  { what: 'SPOT USDT', difference: '1', runs: 3, is_reported: true, explained_by: null },
  { what: 'BTCUSDT BOTH', difference: '1', runs: 3, is_reported: true, explained_by: null }
]

t.test('a run that dies before or after any of its transactions is continued by the next one', async t => {
  const complete = await aboutToReport(t)
  let transactions = 0
  await complete.reconcile({
    transaction: (work, options) => {
      transactions++
      return complete.database.transaction(work, options)
    }
  })
  assertRows(t, await complete.differences(), REPORTED)
  for (let dying = 1; dying <= transactions; dying++) {
    for (const moment of ['before', 'after'] as const) {
      const books = await aboutToReport(t)
      let count = 0
      const run = books.reconcile({
        transaction: async (work, options) => {
          const dies = ++count === dying
          const result = await books.database.transaction(async tx => {
            const inside = await work(tx)
            if (dies && moment === 'before') throw new Error('died')
            return inside
          }, options)
          if (dies) throw new Error('died')
          return result
        }
      })
      await t.rejects(run, { message: 'died' }, `transaction ${dying}, ${moment} its commit`)
      await books.reconcile()
      assertRows(
        t,
        (await books.differences()).map(row => ({ ...row, runs: Math.min(Number(row.runs), 3) })),
        REPORTED
      )
    }
  }
})

t.test('two runs at the same time compare a reading of the balances once', async t => {
  const books = await TestBooks.create(t)
  await books.open('USDT', '1000')
  for (let round = 1; round <= 3; round++) {
    await books.read({ USDT: '1001' })
    await Promise.all([books.reconcile(), books.reconcile()])
    assertRows(t, await books.differences(), [{ difference: '1', runs: round, is_reported: round === 3 }])
  }
})
