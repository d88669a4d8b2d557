// The books of one account by the jobs of the service, over real HTTP, with a simulated exchange as the truth.
import t, { type Test } from 'tap'
import { MINUTE } from '../../src/async/durations.ts'
import { EXCHANGE_NAMES, type ExchangeName, type MarketType } from '../../src/domain/market.ts'
import { CATALOGUE } from '../../src/exchanges/catalogue.ts'
import { reconcileBooks } from '../../src/jobs/reconcile-books.ts'
import { syncAccountBalances } from '../../src/jobs/sync-account-balances.ts'
import { updateOpenOrders } from '../../src/jobs/update-open-orders.ts'
import { wrongTotals } from '../../src/trading/book-totals.ts'
import { assertRows } from '../support/assert-rows.ts'
import { ledgerSync } from '../support/ledger-sync.ts'
import type { NewOrder } from '../support/simulated-exchange/simulated-exchange.ts'
import { fixedInstruments, fixedPrices, insertOrder, testContext } from '../support/trading.ts'

async function setUp(t: Test, name: ExchangeName) {
  const {
    database,
    simulated: exchange,
    account: owner,
    seeded: account,
    accounts,
    sync
  } = await ledgerSync(t, {
    exchange: name
  })
  const quote = CATALOGUE[name].quoteCurrencies[0] ?? ''
  for (const wallet of CATALOGUE[name].wallets) {
    exchange.setBalance(owner, wallet, quote, '1000000')
    await database.run(
      sql => sql`
        insert into ledger_entries (account_id, wallet, asset, amount, kind, exchange_kind, exchange_entry_id, at)
        values (${account.accountId}, ${wallet}, ${quote}, 1000000, 'opening', 'opening', ${quote},
          now() - interval '1 hour')`
    )
  }
  const place = async (order: NewOrder & { market: MarketType; quantity: string }) => {
    const placed = exchange.place(owner, order)
    await insertOrder(database, account, { ...placed, quantity: order.quantity })
    return placed
  }
  const instruments = fixedInstruments(exchange.symbols.map(symbol => `${symbol.slice(0, -quote.length)}/${quote}`))
  const updateOrders = updateOpenOrders({ accounts, database, prices: fixedPrices({}), instruments })
  const context = () => testContext(database, { jobId: 'reconcile_books' }).context
  let rounds = 0
  const reconcile = async () => {
    // Ledgers are complete up to a minute ago: the comparison before this one was earlier.
    await database.run(sql => sql`update book_checks set compared_at = compared_at - interval '2 minutes'`)
    await updateOrders(context())
    await sync(++rounds * 5 * MINUTE)
    await syncAccountBalances({ accounts, timeZone: 'UTC', prices: fixedPrices({}), instruments })(context())
    return reconcileBooks({ accounts })(context())
  }
  const differences = async () => [
    ...(await database.run(
      sql => sql`
        select coalesce(asset, symbol) as name, trim_scale(difference)::text as difference
        from book_differences where explained_at is null and unexplained_at is not null order by name`
    ))
  ]
  return { database, exchange, owner, account, quote, place, reconcile, differences }
}

for (const name of EXCHANGE_NAMES) {
  t.test(`${name}: the books equal the exchange after fills, fees and deposits; a withheld fill is found`, async t => {
    const { database, exchange, owner, place, account, quote, reconcile, differences } = await setUp(t, name)
    const [symbol = ''] = exchange.symbols
    const base = symbol.slice(0, -quote.length)
    t.hasStrict(await reconcile(), { accounts: 1, compared: 1, differences: 0 }, 'nothing happened yet')

    for (const market of exchange.markets) {
      const bought = await place({ market, symbol, quantity: '3' })
      exchange.fill(bought, { quantity: '1', price: '100.5' })
      exchange.fill(bought, { quantity: '2', price: '92.25' })
      exchange.fill(await place({ market, symbol, side: 'SELL', quantity: '2' }), { price: '104.125' })
    }
    exchange.ledger.deposit(owner, quote, '77.5')
    t.hasStrict(await reconcile(), { compared: 1, differences: 0 })
    t.strictSame(await database.run(sql => wrongTotals(sql, [account.accountId])), [])

    // An order that we do not know.
    const manual = exchange.place(owner, { symbol, quantity: '0.5' })
    exchange.fill(manual, { price: '100', fee: '0.25' })
    for (const reported of [0, 0, 2]) t.hasStrict(await reconcile(), { compared: 1, differences: 2, reported })
    assertRows(
      t,
      await differences(),
      [
        { name: base, difference: '0.5' },
        { name: quote, difference: '-50.25' }
      ].sort((one, other) => (one.name < other.name ? -1 : 1))
    )
  })
}

t.test('a liquidation is found as a difference of the position and of the wallet', async t => {
  const { exchange, owner, place, reconcile, differences } = await setUp(t, 'BINANCE')
  const [symbol = ''] = exchange.symbols
  const [createdAt, at] = [Date.now() - 3 * MINUTE, Date.now() - 2 * MINUTE]
  const opened = await place({ market: 'FUTURES', symbol, quantity: '1', createdAt })
  exchange.fill(opened, { price: '100000', fee: '40', at })
  t.hasStrict(await reconcile(), { compared: 1, differences: 0 })
  const forced = exchange.place(owner, {
    market: 'FUTURES',
    symbol,
    side: 'SELL',
    quantity: '1',
    forced: 'liquidation'
  })
  exchange.fill(forced, { price: '95000', fee: '38' })
  for (const reported of [0, 0, 2]) t.hasStrict(await reconcile(), { compared: 1, differences: 2, reported })
  t.strictSame(await differences(), [
    { name: symbol, difference: '-1' },
    { name: 'USDT', difference: '-5038' }
  ])
})
