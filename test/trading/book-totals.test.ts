import fc from 'fast-check'
import t from 'tap'
import { MINUTE } from '../../src/async/durations.ts'
import { CATALOGUE } from '../../src/exchanges/catalogue.ts'
import { recountBooks, wrongTotals } from '../../src/trading/book-totals.ts'
import { TestBooks } from '../support/books.ts'
import { untilWaiting } from '../support/locks.ts'

async function totalsOf({ database, account }: TestBooks) {
  const rows = await database.run(
    sql => sql<{ total: string }[]>`
      select concat_ws(' ', wallet, asset, source, trim_scale(amount)::text, rounded) as total
      from book_totals where account_id = ${account.accountId} order by wallet, asset, source`
  )
  return rows.map(({ total }) => total)
}

const wrongOf = ({ database, account }: TestBooks) => database.run(sql => wrongTotals(sql, [account.accountId]))

t.test('totals follow every insert, change and removal of entries and executions', async t => {
  const books = await TestBooks.create(t)
  await books.open('USDT', '1000')
  const id = await books.execution({ price: '100', quantity: '2', fee: '0.02', feeAsset: 'BNB' })
  t.strictSame(await totalsOf(books), [
    'SPOT BNB executions -0.02 0',
    'SPOT BTC executions 2 0',
    'SPOT USDT entries 1000 0',
    'SPOT USDT executions -200 0'
  ])
  const { database } = books
  await database.run(sql => sql`update trade_executions set fee = 1, fee_asset = 'USDT' where execution_id = ${id}`)
  t.strictSame(await totalsOf(books), [
    'SPOT BNB executions 0 0',
    'SPOT BTC executions 2 0',
    'SPOT USDT entries 1000 0',
    'SPOT USDT executions -201 0'
  ])
  await database.run(sql => sql`delete from trade_executions where execution_id = ${id}`)
  t.strictSame(await totalsOf(books), [
    'SPOT BNB executions 0 0',
    'SPOT BTC executions 0 0',
    'SPOT USDT entries 1000 0',
    'SPOT USDT executions 0 0'
  ])
})

t.test('a session that has counted executions counts others after a column of theirs was removed', async t => {
  const books = await TestBooks.create(t)
  const { database } = books
  await books.open('USDT', '1000')
  const id = await books.execution({ price: '100', quantity: '1' })
  await database.run(sql => sql`update trade_executions set quantity = 2 where execution_id = ${id}`)
  await books.execution({ price: '100', quantity: '1' })
  await database.run(sql => sql`alter table trade_executions drop column entry_price_before, add column later text`)
  await books.execution({ price: '100', quantity: '4' })
  await database.run(sql => sql`update trade_executions set quantity = 3 where execution_id = ${id}`)
  t.strictSame(await totalsOf(books), [
    'SPOT BTC executions 8 0',
    'SPOT USDT entries 1000 0',
    'SPOT USDT executions -800 0'
  ])
  await database.run(sql => sql`delete from trade_executions where execution_id = ${id}`)
  t.strictSame(await totalsOf(books), [
    'SPOT BTC executions 5 0',
    'SPOT USDT entries 1000 0',
    'SPOT USDT executions -500 0'
  ])
})

t.test('amounts with more than eight decimals are counted as rounded', async t => {
  const books = await TestBooks.create(t)
  await books.open('USDT', '1')
  await books.execution({ price: '0.00001', quantity: '0.0001', fee: '0.123456789', feeAsset: 'USDT' })
  t.strictSame(await totalsOf(books), [
    'SPOT BTC executions 0.0001 0',
    'SPOT USDT entries 1 0',
    'SPOT USDT executions -0.12345679 2'
  ])
})

t.test('totals are the sums of the whole history after any changes', async t => {
  const books = await TestBooks.create(t, 'OKX')
  const { database } = books
  await books.execution({ price: '7', quantity: '1', agoMs: 90 * MINUTE })
  await books.open('USDT', '1000')
  const asset = fc.constantFrom('USDT', 'BTC', 'BNB')
  const amount = fc.integer({ min: 1, max: 10 ** 6 }).map(units => String(units / 10 ** 4))
  const step = fc.oneof(
    fc.record({ kind: fc.constant('entry' as const), asset, amount }),
    fc.record({
      kind: fc.constant('execution' as const),
      marketType: fc.constantFrom('SPOT' as const, 'FUTURES' as const),
      side: fc.constantFrom('BUY' as const, 'SELL' as const),
      price: amount,
      quantity: amount,
      fee: amount,
      feeAsset: asset,
      exchangePnl: amount,
      agoMs: fc.integer({ min: 1, max: 120 * MINUTE })
    }),
    fc.record({ kind: fc.constant('update' as const), amount, asset }),
    fc.record({ kind: fc.constant('delete' as const) })
  )
  await fc.assert(
    fc.asyncProperty(fc.array(step, { minLength: 1, maxLength: 12 }), async steps => {
      for (const one of steps) {
        if (one.kind === 'entry') await books.entry({ asset: one.asset, amount: one.amount })
        else if (one.kind === 'execution') await books.execution(one)
        else if (one.kind === 'update')
          await database.run(
            sql => sql`update trade_executions set fee = ${one.amount}, fee_asset = ${one.asset}, quantity = quantity + 1
              where execution_id in (select execution_id from trade_executions order by random() limit 3)`
          )
        else
          await database.run(
            sql => sql`delete from trade_executions where execution_id in (
              select execution_id from trade_executions order by execution_id desc limit 1)`
          )
        t.strictSame(await wrongOf(books), [])
      }
    }),
    { numRuns: 25 }
  )
})

t.test('an opening after executions needs one count, after which the totals are right', async t => {
  const books = await TestBooks.create(t)
  await books.execution({ price: '7', quantity: '1' })
  await books.open('USDT', '1000')
  t.strictSame(await wrongOf(books), [
    { accountId: books.account.accountId, wallet: 'SPOT', asset: 'BTC', source: 'executions', total: '0', sum: '1' },
    { accountId: books.account.accountId, wallet: 'SPOT', asset: 'USDT', source: 'executions', total: '0', sum: '-7' }
  ])
  const recount = () => books.database.transaction(tx => recountBooks(tx, [books.account.accountId]))
  await recount()
  t.strictSame(await wrongOf(books), [])
  const totals = await totalsOf(books)
  await recount()
  t.strictSame(await totalsOf(books), totals, 'a repeat changes nothing')
  await books.database.run(sql => sql`alter table trade_executions disable trigger user`)
  await books.database.run(sql => sql`delete from trade_executions`)
  await recount()
  t.strictSame(await wrongOf(books), [], 'a total without a record becomes zero')
})

t.test('what is recorded during a count is added after it', async t => {
  const books = await TestBooks.create(t)
  await books.open('USDT', '1000')
  await books.execution({ price: '7', quantity: '1' })
  let execution: Promise<string> | undefined
  await books.database.transaction(async tx => {
    await recountBooks(tx, [books.account.accountId])
    execution = books.execution({ price: '5', quantity: '1' })
    // It waits for the lock of the total.
    for (let waits = false; !waits; ) {
      const [row] = await tx<{ waits: boolean }[]>`
        select exists (select from pg_locks where not granted and locktype = 'transactionid') as waits`
      waits = row?.waits === true
    }
  })
  await execution
  t.strictSame(await wrongOf(books), [])
})

t.test('what another transaction adds to a new total during a count is not overwritten', async t => {
  const books = await TestBooks.create(t)
  const { account, database } = books
  // Executed before the opening was recorded, and not counted: its total has no row.
  await books.execution({ price: '7', quantity: '1' })
  await books.open('USDT', '1000')
  let count: Promise<void> | undefined
  await database.transaction(async tx => {
    await tx`
      insert into trade_executions (order_id, strategy_account_id, account_id, market_type, exchange_trade_id, symbol,
        base, quote, side, position_side, price, quantity, fee, executed_at)
      select order_id, strategy_account_id, account_id, market_type, 'another', symbol, base, quote, side, position_side,
        5, 2, 0, now() from trade_executions where account_id = ${account.accountId}`
    count = database.transaction(inner => recountBooks(inner, [account.accountId]))
    await untilWaiting(database)
  })
  await count
  t.strictSame(await wrongOf(books), [])
  t.strictSame(await totalsOf(books), [
    'SPOT BTC executions 3 0',
    'SPOT USDT entries 1000 0',
    'SPOT USDT executions -17 0'
  ])
})

t.test('the database knows which exchanges have one wallet for both markets', async t => {
  const { database } = await TestBooks.create(t)
  for (const [exchange, { markets, wallets }] of Object.entries(CATALOGUE)) {
    for (const market of Object.keys(markets)) {
      const [row] = await database.run(
        sql => sql<{ wallet: string }[]>`select book_wallet(${exchange}, ${market}) as wallet`
      )
      const expected = wallets.some(wallet => wallet === market) ? market : 'SPOT'
      t.equal(row?.wallet, expected, `${exchange} ${market}`)
    }
  }
})
