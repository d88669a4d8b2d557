/** An account on a simulated exchange, and `update_open_orders` for it, over real HTTP. */
import type { Test } from 'tap'
import { Agent } from 'undici'
import type { Database } from '../../src/database/database.ts'
import type { ExchangeName, MarketType } from '../../src/domain/market.ts'
import { ExchangeRegistry } from '../../src/exchanges/exchange-registry.ts'
import { updateOpenOrders } from '../../src/jobs/update-open-orders.ts'
import { type NewOrder, SimulatedExchange } from './simulated-exchange/simulated-exchange.ts'
import {
  booksOf,
  fixedInstruments,
  fixedPrices,
  insertOrder,
  seedAccount,
  TestAccounts,
  testContext
} from './trading.ts'
import { withoutWaits } from './without-waits.ts'

const CREDENTIALS = { apiKey: 'key', apiSecret: 'secret', passphrase: 'passphrase' }

/** Closed at teardown. `place` places an order at the exchange and records it as the order-entry side does. */
export async function orderBench(t: Test, database: Database, name: ExchangeName) {
  const exchange = await SimulatedExchange.start({ exchange: name })
  const dispatcher = new Agent()
  t.teardown(async () => {
    await exchange.close()
    await dispatcher.close()
  })
  const registry = new ExchangeRegistry({ dispatcher, urls: exchange.urls, ...withoutWaits() })
  const owner = exchange.addAccount(CREDENTIALS)
  const account = await seedAccount(database, { exchange: name })
  const accounts = new TestAccounts([account], (_account, marketType) =>
    registry.client({ exchange: name, marketType, credentials: CREDENTIALS })
  )
  const job = updateOpenOrders({ accounts, database, prices: fixedPrices({}), instruments: fixedInstruments() })
  const place = async (order: NewOrder & { market: MarketType; quantity: string }) => {
    const placed = exchange.place(owner, order)
    await insertOrder(database, account, { ...placed, quantity: order.quantity })
    return placed
  }
  return {
    exchange,
    owner,
    accounts,
    registry,
    place,
    run: () => job(testContext(database).context),
    books: () => booksOf(database, account)
  }
}
