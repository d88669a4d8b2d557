import { pino } from 'pino'
import t, { type Test } from 'tap'
import { Agent } from 'undici'
import { SECOND } from '../../src/async/durations.ts'
import { ExchangeRegistry } from '../../src/exchanges/exchange-registry.ts'
import type { Reading } from '../../src/metrics/metrics.ts'
import { ExchangeBudgets } from '../../src/trading/exchange-budgets.ts'
import { insertOrder, seedAccount, tradingDatabase } from '../support/trading.ts'

const periodsMs = { orders: 29 * SECOND, balances: 59 * SECOND, prices: 31 * SECOND, ledger: 300 * SECOND }
const ORDER = { symbol: 'BTCUSDT', exchangeSymbol: 'BTCUSDT', side: 'BUY', quantity: '1' } as const

async function setUp(t: Test, market: 'SPOT' | 'FUTURES' = 'FUTURES') {
  const database = await tradingDatabase(t)
  const dispatcher = new Agent()
  const registry = new ExchangeRegistry({ dispatcher })
  t.teardown(() => dispatcher.close())
  const lines: Record<string, unknown>[] = []
  const log = pino({ base: null }, { write: (line: string) => void lines.push(JSON.parse(line)) })
  const budgets = new ExchangeBudgets({
    database,
    log,
    periodsMs,
    replicas: () => 1,
    hosts: () => registry.status(),
    callCosts: (...of) => registry.callCosts(...of)
  })
  t.teardown(() => budgets.close())
  const account = async (orders: number) => {
    const seeded = await seedAccount(database, { exchange: 'BINANCE', marketType: market })
    for (let i = 0; i < orders; i++) {
      await insertOrder(database, seeded, { ...ORDER, market, exchangeOrderId: `${seeded.accountId}-${i}` })
    }
    return seeded
  }
  return { database, registry, budgets, lines, account }
}

t.test('without active accounts there is no estimate', async t => {
  const { database, budgets, account } = await setUp(t)
  const { accountId } = await account(1)
  await database.run(sql => sql`update accounts set is_active = false where account_id = ${accountId}`)
  t.strictSame([...(await budgets.read())], [])
})

t.test('the needs of accounts come from their unfinished orders, and the waits from the last readings', async t => {
  const { database, registry, budgets, account } = await setUp(t)
  const [first, second] = [await account(3), await account(3)]
  const refused = await account(1)
  await database.run(async sql => {
    await sql`update accounts set created_at = now() - interval '1 hour'`
    await sql`update accounts set state = 'credentials_refused' where account_id = ${refused.accountId}`
    await sql`update orders set last_checked_at = now() - interval '40 seconds' where account_id = ${first.accountId}`
    await sql`update orders set last_checked_at = now() - interval '70 seconds' where account_id = ${second.accountId}`
    await sql`insert into balance_readings (account_id, attempted_at) values
      (${first.accountId}, now() - interval '90 seconds'), (${second.accountId}, now() - interval '5 seconds')`
  })
  const budget = (await budgets.read()).get('BINANCE')
  t.equal(budget?.accounts, 3)
  t.strictSame(
    budget?.limits.map(({ marketTypes, weightPerRun, used }) => ({ marketTypes, weightPerRun, used })),
    [
      // Two accounts with the two lists of one symbol (1 + 1 each), one with one order, and three wallets.
      { marketTypes: ['FUTURES'], weightPerRun: { prices: 12, orders: 5, balances: 15, ledger: 90 }, used: null },
      { marketTypes: ['SPOT'], weightPerRun: { prices: 4, orders: 0, balances: 60, ledger: 0 }, used: null },
      // The lists of deposits and the like have a limit of their own.
      { marketTypes: ['SPOT'], weightPerRun: { prices: 0, orders: 0, balances: 0, ledger: 78 }, used: null }
    ]
  )
  const { orders, balances } = budget?.lateness ?? {}
  t.ok(Number(orders?.waitMs) >= 70_000 && Number(orders?.waitMs) < 90_000, `orders: ${orders?.waitMs} ms`)
  t.ok(Number(balances?.waitMs) >= 90_000 && Number(balances?.waitMs) < 110_000, `balances: ${balances?.waitMs} ms`)
  t.strictSame([orders?.periodMs, balances?.periodMs], [29_000, 59_000])
  registry.client({ exchange: 'BINANCE', marketType: 'FUTURES' })
  const called = (await budgets.read()).get('BINANCE')?.limits.map(({ used }) => used)
  t.strictSame(called?.sort(), [0, null, null], 'the host that has a client has used nothing')
})

t.test('an exchange without unfinished orders has no wait for orders', async t => {
  const { budgets, account } = await setUp(t)
  await account(0)
  t.equal((await budgets.read()).get('BINANCE')?.lateness.orders.waitMs, null)
})

t.test(
  'the first estimate logs once which exchanges need more than their limits, and every one sets the gauges',
  async t => {
    const { database, budgets, lines, account } = await setUp(t)
    for (let i = 0; i < 40; i++) {
      const { accountId, strategyAccountId } = await account(0)
      await database.run(
        sql => sql`
        insert into orders (strategy_account_id, account_id, market_type, exchange_order_id, symbol, exchange_symbol, side,
          order_type, quantity)
        select ${strategyAccountId}, ${accountId}, 'FUTURES', n::text, 'S' || n, 'S' || n, 'BUY', 'LIMIT', 1
        from generate_series(1, 41) n`
      )
    }
    t.strictSame(gauges(budgets), {}, 'before the first estimate')
    await budgets.poll()
    await budgets.poll()
    t.strictSame(
      lines.map(({ level, time, ...line }) => line),
      [
        {
          exchange: 'BINANCE',
          accounts: 40,
          limit: 'weight',
          need: 1.61,
          estimate: '40 accounts: 1.6 × the limit, orders every 67 s, balances every 59 s',
          msg: 'accounts need more than the rate limit, or nearly so'
        }
      ]
    )
    const set = gauges(budgets)
    t.equal(set.trading_health_exchange_need_ratio?.toFixed(2), '1.61')
    t.strictSame(Object.keys(set).sort(), [
      'trading_health_exchange_need_ratio',
      'trading_health_exchange_period_seconds balances',
      'trading_health_exchange_period_seconds orders',
      'trading_health_exchange_wait_seconds balances',
      'trading_health_exchange_wait_seconds orders'
    ])
  }
)

/** The gauges that a reading gets, by name and kind of reading. */
function gauges(budgets: ExchangeBudgets): Record<string, number> {
  const set: Record<string, number> = {}
  const reading: Pick<Reading, 'set'> = {
    set: (name, labels, value) => {
      const read = Object.entries(labels).find(([label]) => label === 'read')?.[1]
      set[read === undefined ? name : `${name} ${read}`] = value
    }
  }
  budgets.report(reading)
  return set
}
