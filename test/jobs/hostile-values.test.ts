// Answers with values that the database cannot store, or that are no possible values, over real HTTP.
import t, { type Test } from 'tap'
import { Agent } from 'undici'
import type { Database } from '../../src/database/database.ts'
import type { ExchangeName } from '../../src/domain/market.ts'
import { ExchangeRegistry } from '../../src/exchanges/exchange-registry.ts'
import { syncAccountBalances } from '../../src/jobs/sync-account-balances.ts'
import { orderBench } from '../support/order-bench.ts'
import { changingRows } from '../support/simulated-exchange/edits.ts'
import { SimulatedExchange, type SimulatedOrder } from '../support/simulated-exchange/simulated-exchange.ts'
import {
  failuresOf,
  fixedInstruments,
  fixedPrices,
  type SeededAccount,
  seedAccount,
  TestAccounts,
  testContext,
  tradingDatabase
} from '../support/trading.ts'

let database: Database
t.before(async () => {
  database = await tradingDatabase(t)
})

const services = { prices: fixedPrices({}), instruments: fixedInstruments() }
const NUL = '\u0000'
const FILLS = /myTrades|userTrades|fills|execution|\/v1\/order/

for (const [exchange, name, idField, change] of [
  ['BINANCE', 'a time in the year 275760', 'id', { time: '8640000000000000' }],
  ['BYBIT', 'a time in microseconds', 'execId', { execTime: '1780000000000000' }],
  ['UPBIT', 'a time before the year 0', 'uuid', { created_at: '-000001-01-01T00:00:00Z' }],
  ['BYBIT', 'a trade id that Postgres cannot store', 'execId', { execId: `1${NUL}2` }],
  ['OKX', 'a fee asset that Postgres cannot store', 'tradeId', { feeCcy: NUL }],
  ['BINANCE', 'a fee asset with half a character', 'id', { commissionAsset: '\ud800' }]
] as const) {
  t.test(`${exchange}: a fill with ${name} is not recorded, and does not affect other orders`, async t => {
    const { exchange: simulated, place, run, books } = await orderBench(t, database, exchange)
    const bad = await place({ market: 'SPOT', quantity: '1' })
    const good = await place({ market: 'SPOT', quantity: '1' })
    const fill = simulated.fill(bad, { quantity: '1', price: '100' })
    simulated.fill(good, { quantity: '1', price: '100' })
    simulated.fault({ kind: 'edited', edit: changingRows({ [idField]: fill.tradeId }, change) }, { path: FILLS })
    t.hasStrict(await run(), { fills: 1, failed: 1 })
    const { executions } = await books()
    t.strictSame(
      executions.map(({ exchange_trade_id }) => exchange_trade_id),
      [good.fills[0]?.tradeId]
    )
  })
}

/** A bad and a good account on a simulated exchange: the bad one holds the asset BAD, the good one USDT. */
async function twoAccounts(t: Test, exchange: ExchangeName) {
  const simulated = await SimulatedExchange.start({ exchange })
  const dispatcher = new Agent()
  t.teardown(async () => {
    await simulated.close()
    await dispatcher.close()
  })
  const registry = new ExchangeRegistry({ dispatcher, urls: simulated.urls, deadlineMs: 60_000, attemptMs: 30_000 })
  const keys = ['bad', 'good'].map(apiKey => ({ apiKey, apiSecret: 'secret', passphrase: 'passphrase' }))
  for (const [i, key] of keys.entries()) {
    simulated.setBalance(simulated.addAccount(key), 'SPOT', i === 0 ? 'BAD' : 'USDT', '1')
  }
  const [bad, good] = [await seedAccount(database, { exchange }), await seedAccount(database, { exchange })]
  const accounts = new TestAccounts([bad, good], ({ accountId }, marketType) =>
    registry.client({ exchange, marketType, credentials: keys[accountId === bad.accountId ? 0 : 1] ?? null })
  )
  const sync = () => syncAccountBalances({ ...services, accounts, timeZone: 'UTC' })(testContext(database).context)
  const assetsOf = async ({ accountId }: SeededAccount) => {
    const rows = await database.run(sql => sql`select asset from account_balances where account_id = ${accountId}`)
    return rows.map(({ asset }) => asset)
  }
  return { simulated, sync, assetsOf, bad, good }
}

for (const [exchange, field] of [
  ['BINANCE', 'asset'],
  ['BYBIT', 'coin'],
  ['OKX', 'ccy']
] as const) {
  for (const name of [`X${NUL}`, '\ud800']) {
    t.test(`${exchange}: an asset ${JSON.stringify(name)} does not affect other accounts`, async t => {
      const { simulated, sync, assetsOf, bad, good } = await twoAccounts(t, exchange)
      simulated.fault({ kind: 'edited', edit: changingRows({ [field]: 'BAD' }, { [field]: name }) })
      t.hasStrict(await sync(), { synced: 2, wallets_incomplete: 1 })
      t.strictSame([await assetsOf(bad), await assetsOf(good)], [[], ['USDT']])
    })
  }
}

for (const exchange of ['BINANCE', 'OKX', 'BITHUMB'] as const) {
  t.test(`${exchange}: what the database rejects of one account or order does not affect the others`, async t => {
    const { sync, assetsOf, bad, good } = await twoAccounts(t, exchange)
    const { exchange: simulated, place, run, books } = await orderBench(t, database, exchange)
    const orders = []
    for (let i = 0; i < 7; i++) orders.push(await place({ market: 'SPOT', quantity: '1' }))
    const rejected = simulated.fill(orders[3] as SimulatedOrder, { quantity: '1', price: '66.6' })
    for (const order of orders.filter(({ fills }) => fills.length === 0)) simulated.fill(order)
    await database.run(sql => sql`alter table trade_executions add constraint rejecting check (price <> 66.6)`)
    await database.run(sql => sql`alter table account_balances add constraint rejecting check (asset <> 'BAD')`)
    t.teardown(async () => {
      await database.run(sql => sql`alter table trade_executions drop constraint rejecting`)
      await database.run(sql => sql`alter table account_balances drop constraint rejecting`)
    })
    t.hasStrict(await run(), { fills: 6, failed: 1, changed: 6 })
    const recorded = (await books()).executions.map(({ exchange_trade_id }) => exchange_trade_id)
    t.equal(recorded.length, 6)
    t.notOk(recorded.includes(rejected.tradeId))
    t.hasStrict(await sync(), { synced: 1, failed: 1 })
    t.strictSame([await assetsOf(bad), await assetsOf(good)], [[], ['USDT']])
    t.strictSame(await failuresOf(database, bad), ['internal'])
  })
}

t.test('BINANCE: a trade id that is no number at the end of a page does not affect other orders', async t => {
  const { exchange: simulated, place, run, books } = await orderBench(t, database, 'BINANCE')
  const bad = await place({ market: 'SPOT', quantity: '1000' })
  const good = await place({ market: 'SPOT', quantity: '1' })
  for (let i = 0; i < 1000; i++) simulated.fill(bad, { quantity: '1', price: '100' })
  simulated.fill(good, { quantity: '1', price: '100' })
  const last = bad.fills.at(-1)?.tradeId ?? ''
  simulated.fault({ kind: 'edited', edit: changingRows({ id: last }, { id: '12x' }) })
  t.hasStrict(await run(), { fills: 1, failed: 1 })
  const { executions } = await books()
  t.strictSame(
    executions.map(({ exchange_trade_id }) => exchange_trade_id),
    [good.fills[0]?.tradeId]
  )
})

t.test('BYBIT: a message that is an object with a text as its method does not affect the run', async t => {
  const { exchange: simulated, place, run } = await orderBench(t, database, 'BYBIT')
  await place({ market: 'SPOT', quantity: '1' })
  simulated.fault({ kind: 'status', status: 200, body: '{"retCode":"10001","retMsg":{"toString":"x"},"result":{}}' })
  t.hasStrict(await run(), { failed: 1 })
})
