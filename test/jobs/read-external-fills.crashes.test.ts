// Runs that are interrupted in each transaction.
import t from 'tap'
import { DAY, MINUTE } from '../../src/async/durations.ts'
import { assertRows } from '../support/assert-rows.ts'
import { type FillsBench, fillsBench, open } from '../support/fills-bench.ts'
import {
  INTERRUPTIONS,
  type Interruption,
  interruptedTransactions,
  isInterruption
} from '../support/interrupted-transactions.ts'
import { tradingDatabase } from '../support/trading.ts'

/**
 * What interrupts each statement. The others interrupt each transaction once: it is rolled back as a whole, whichever of
 * its statements fails.
 */
const EACH: Interruption = 'torn'

/** Runs the job with one transaction that ends before a statement. @returns whether it was interrupted */
async function interrupted(
  { readFills, database }: FillsBench & { database: Awaited<ReturnType<typeof tradingDatabase>> },
  kind: Interruption,
  which: number,
  before: number
): Promise<boolean> {
  const { transaction, signal } = interruptedTransactions(database, kind, before, which)
  try {
    await readFills({ transaction, signal })
    return false
  } catch (err) {
    if (!isInterruption(err)) throw err
    return true
  }
}

for (const kind of INTERRUPTIONS) {
  t.test(`a run that ends in any transaction (${kind}) books each order once, with one message`, async t => {
    const database = await tradingDatabase(t)
    const bench = { ...(await fillsBench(t, database, 'BYBIT', 'FUTURES')), database }
    await open(bench)
    let trades = 0
    let interruptions = 0
    // The transactions of a run: its begin, two markets, the failures.
    for (let which = 1; which <= 8; which++) {
      for (let before = 1; before <= (kind === EACH ? 12 : 1); before++) {
        bench.trade({ quantity: '1', side: trades % 2 === 0 ? 'BUY' : 'SELL' })
        trades++
        bench.pass(5 * MINUTE)
        const isInterrupted = await interrupted(bench, kind, which, before)
        if (isInterrupted) interruptions++
        await bench.readFills()
        if (!isInterrupted) break
      }
    }
    t.ok(interruptions >= 5, `at least 5 interruptions: ${interruptions}`)
    const orders = await bench.orders()
    t.strictSame(
      orders.map(({ id }) => id),
      bench.account.orders.map(({ exchangeOrderId }) => exchangeOrderId)
    )
    t.equal(orders.filter(({ status, filled }) => status === 'filled' && filled === '1').length, trades)
    assertRows(t, await bench.positions(), [{ quantity: String(trades % 2) }])
    t.equal((await bench.messages()).length, trades)
  })

  t.test(`a new symbol is read completely, in whichever transaction a run ends (${kind})`, async t => {
    let interruptions = 0
    for (let which = 1; which <= 12; which++) {
      const database = await tradingDatabase(t)
      const bench = { ...(await fillsBench(t, database, 'BINANCE', 'SPOT')), database }
      await open(bench)
      bench.trade({ symbol: 'ETHUSDT', quantity: '1' })
      bench.pass(10 * DAY)
      bench.trade({ symbol: 'ETHUSDT', quantity: '2' })
      bench.pass(DAY)
      await bench.readFills()
      await database.run(
        sql => sql`
          insert into account_balances (account_id, market_type, asset, free, locked, total, synced_at)
          select ${bench.accountId}, 'SPOT', asset, 1, 0, 1, now() from unnest(array['ETH', 'USDT']) asset`
      )
      const isInterrupted = await interrupted(bench, kind, which, 1)
      if (isInterrupted) interruptions++
      await bench.readFills()
      t.equal((await bench.orders()).length, 2)
      assertRows(t, await bench.positions(), [{ symbol: 'ETHUSDT', quantity: '3' }])
      t.equal((await bench.messages()).length, 2)
      if (!isInterrupted) break
    }
    t.ok(interruptions >= 5, `at least 5 interruptions: ${interruptions}`)
  })

  t.test(`an opening is recorded once, in whichever transaction a run ends (${kind})`, async t => {
    let interruptions = 0
    for (let which = 1; which <= 7; which++) {
      for (let before = 1; before <= (kind === EACH ? 14 : 1); before++) {
        const database = await tradingDatabase(t)
        const bench = { ...(await fillsBench(t, database, 'BYBIT', 'FUTURES')), database }
        bench.exchange.setBalance(bench.account, 'FUTURES', 'USDT', '500')
        bench.exchange.setPosition(bench.account, { symbol: 'BTCUSDT', quantity: '2', entryPrice: '40' })
        await bench.readFills()
        bench.pass(5 * MINUTE)
        const isInterrupted = await interrupted(bench, kind, which, before)
        if (isInterrupted) interruptions++
        await bench.readFills()
        assertRows(t, await bench.entries(), [{ wallet: 'SPOT', asset: 'USDT', amount: '500' }])
        assertRows(t, await bench.positions(), [{ quantity: '2', entry: '40' }])
        assertRows(t, await bench.orders(), [{ type: 'OPENING' }])
        if (!isInterrupted) break
      }
    }
    t.ok(interruptions >= 5, `at least 5 interruptions: ${interruptions}`)
  })
}

t.test('two runs at the same time book each order once, with one message', async t => {
  const database = await tradingDatabase(t)
  const bench = await fillsBench(t, database, 'OKX', 'FUTURES')
  await open(bench)
  for (let i = 0; i < 5; i++) bench.trade({ quantity: '1' })
  bench.pass(5 * MINUTE)
  const results = await Promise.all([bench.readFills(), bench.readFills(), bench.readFills()])
  const total = results.reduce((sum, { external_orders }) => sum + Number(external_orders), 0)
  await bench.readFills()
  t.ok(total <= 5, `at most 5 orders: ${total}`)
  t.equal((await bench.orders()).length, 5)
  assertRows(t, await bench.positions(), [{ quantity: '5' }])
  t.equal((await bench.messages()).length, 5)
})
