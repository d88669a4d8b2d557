import t from 'tap'
import { OrderStore } from '../../src/trading/order-store.ts'
import { openTransaction, untilWaiting } from '../support/locks.ts'
import { insertOrder, seedAccount, tradingDatabase } from '../support/trading.ts'

t.test('orders that were checked are locked in the order of their ids', async t => {
  const database = await tradingDatabase(t)
  const account = await seedAccount(database)
  const ids: string[] = []
  for (const exchangeOrderId of ['1', '2', '3']) {
    const order = { exchangeOrderId, symbol: 'BTCUSDT', exchangeSymbol: 'BTCUSDT', side: 'BUY', quantity: '1' } as const
    ids.push(await insertOrder(database, account, order))
  }
  const [first = '', second = '', third = ''] = ids
  // The row of the first order is then the last one in the table.
  await database.run(sql => sql`update orders set price = 1 where order_id = ${first}`)
  const holder = await openTransaction(t, database)
  await holder.sql`select from orders where order_id = ${second} for no key update`
  const checking = database.transaction(async tx => {
    // The plan that does not read the rows in the order of an index.
    await tx`set local enable_indexscan = off`
    await tx`set local enable_bitmapscan = off`
    await new OrderStore(database).checked(tx, [third, second, first])
  })
  await untilWaiting(database)
  const free = await database.run(
    sql => sql<{ order_id: string }[]>`select order_id from orders order by order_id for no key update skip locked`
  )
  t.strictSame(
    free.map(({ order_id }) => order_id),
    [third]
  )
  await holder.commit()
  await checking
  const unchecked = await database.run(sql => sql`select from orders where last_checked_at is null`)
  t.equal(unchecked.length, 0)
})
