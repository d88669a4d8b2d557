// What the job books makes the books equal to those of the exchange.
import t from 'tap'
import { DAY, MINUTE } from '../../src/async/durations.ts'
import { EXCHANGE_NAMES } from '../../src/domain/market.ts'
import { reconcileBooks } from '../../src/jobs/reconcile-books.ts'
import { syncAccountBalances } from '../../src/jobs/sync-account-balances.ts'
import { syncExchangeLedger } from '../../src/jobs/sync-exchange-ledger.ts'
import { fillsBench, open } from '../support/fills-bench.ts'
import { fixedInstruments, fixedPrices, testContext, tradingDatabase } from '../support/trading.ts'

for (const name of EXCHANGE_NAMES) {
  t.test(`${name}: after an opening, a downtime and trades on the site, the books equal the exchange`, async t => {
    const database = await tradingDatabase(t)
    const bench = await fillsBench(t, database, name, 'SPOT')
    const { exchange, account, accounts, quote, symbol } = bench
    const isPerpetual = exchange.markets.includes('FUTURES')
    for (const market of exchange.markets) exchange.setBalance(account, market, quote, '1000000')
    exchange.setBalance(account, 'SPOT', 'BTC', '5')
    if (isPerpetual) exchange.setPosition(account, { symbol, quantity: '2', entryPrice: '90' })
    const context = () => testContext(database, { jobId: 'reconcile_books' }).context
    const instruments = fixedInstruments([`BTC/${quote}`])
    const balances = syncAccountBalances({ accounts, timeZone: 'UTC', prices: fixedPrices({}), instruments })
    await balances(context())
    await open(bench)

    for (let day = 0; day < 8; day++) {
      bench.trade({ market: 'SPOT', side: day % 3 === 0 ? 'SELL' : 'BUY', quantity: '0.5' }, `10${day}.5`)
      if (isPerpetual) bench.trade({ market: 'FUTURES', side: 'SELL', quantity: '0.25' }, `9${day}.25`)
      bench.pass(DAY)
    }
    if (isPerpetual) bench.trade({ market: 'FUTURES', side: 'SELL', quantity: '0.5', forced: 'liquidation' }, '70')
    bench.pass(5 * MINUTE)
    t.hasStrict(await bench.readFills(), { external_orders: isPerpetual ? 16 : 8, forced_orders: isPerpetual ? 1 : 0 })
    bench.catchUp()
    await syncExchangeLedger({ accounts, now: () => Date.now() + MINUTE })(context())
    await balances(context())
    t.hasStrict(await reconcileBooks({ accounts })(context()), { accounts: 1, compared: 1, differences: 0 })
  })
}

t.test('BINANCE: after manual trades in assets that were never held, the books equal the exchange', async t => {
  const database = await tradingDatabase(t)
  const bench = await fillsBench(t, database, 'BINANCE', 'SPOT')
  const { exchange, account, accounts } = bench
  exchange.setBalance(account, 'SPOT', 'USDT', '1000000')
  const context = () => testContext(database, { jobId: 'reconcile_books' }).context
  const instruments = fixedInstruments(['BTC/USDT', 'ETH/USDT'])
  const balances = syncAccountBalances({ accounts, timeZone: 'UTC', prices: fixedPrices({}), instruments })
  await balances(context())
  await open(bench)
  bench.trade({ market: 'SPOT', symbol: 'ETHUSDT', quantity: '2' }, '100.5')
  bench.pass(DAY)
  await bench.readFills()
  const compared = async () => {
    await syncExchangeLedger({ accounts, now: () => Date.now() + MINUTE })(context())
    await balances(context())
    t.hasStrict(await bench.readFills(), { fills_failed: 0 })
    await balances(context())
    return await reconcileBooks({ accounts })(context())
  }
  bench.catchUp()
  t.hasStrict(await compared(), { compared: 1, differences: 0 })
  t.equal((await bench.orders()).length, 1)
})
