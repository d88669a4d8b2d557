import { Big } from 'big.js'
import fc from 'fast-check'
import t, { type Test } from 'tap'
import { Agent } from 'undici'
import type { Database } from '../../src/database/database.ts'
import { ExchangeRegistry } from '../../src/exchanges/exchange-registry.ts'
import { syncAccountBalances } from '../../src/jobs/sync-account-balances.ts'
import { recordBalances } from '../../src/trading/balances.ts'
import { SimulatedExchange } from '../support/simulated-exchange/simulated-exchange.ts'
import { seedAccount, TestAccounts, testContext, tradingDatabase } from '../support/trading.ts'

const timeZone = 'Asia/Seoul'
const credentials = { apiKey: 'key', apiSecret: 'secret' }

async function setUp(t: Test) {
  const database = await tradingDatabase(t)
  const exchange = await SimulatedExchange.start({ exchange: 'BINANCE' })
  const dispatcher = new Agent()
  t.teardown(async () => {
    await dispatcher.close()
    await exchange.close()
  })
  const registry = new ExchangeRegistry({ dispatcher, urls: exchange.urls, deadlineMs: 500 })
  const wallet = exchange.addAccount(credentials)
  const account = await seedAccount(database)
  const accounts = new TestAccounts([account], ({ exchange }, marketType) =>
    registry.client({ exchange, marketType, credentials })
  )
  const { context } = testContext(database)
  const sync = () => syncAccountBalances({ accounts, timeZone })(context)
  return { database, exchange, wallet, account, accounts, sync }
}

async function rowsOf(database: Database) {
  const balances = await database.run(
    sql => sql`
      select market_type, asset, trim_scale(free)::text as free, trim_scale(locked)::text as locked,
        trim_scale(total)::text as total
      from account_balances order by market_type, asset`
  )
  const history = await database.run(
    sql => sql`select currency, trim_scale(total)::text as total from account_balance_history order by at, currency`
  )
  return { balances: [...balances], history: [...history] }
}

/** As if so much time had passed since everything that is there. */
async function pass(database: Database, interval: string) {
  await database.run(sql => sql`update account_balance_history set at = at - ${interval}::interval`)
}

t.test('balances of each wallet, and totals per currency over them', async t => {
  const { database, exchange, wallet, sync } = await setUp(t)
  exchange.setBalance(wallet, 'SPOT', 'USDT', '100.000000000000000001', '0.5')
  exchange.setBalance(wallet, 'SPOT', 'BTC', '0.12345678')
  exchange.setBalance(wallet, 'FUTURES', 'USDT', '50')
  t.match(await sync(), { accounts: 1, synced: 1, balances: 3, history_rows: 2, refused: 0, failed: 0 })
  const whole = {
    balances: [
      { market_type: 'FUTURES', asset: 'USDT', free: '50', locked: '0', total: '50' },
      { market_type: 'SPOT', asset: 'BTC', free: '0.12345678', locked: '0', total: '0.12345678' },
      {
        market_type: 'SPOT',
        asset: 'USDT',
        free: '100.000000000000000001',
        locked: '0.5',
        total: '100.500000000000000001'
      }
    ],
    history: [
      { currency: 'BTC', total: '0.12345678' },
      { currency: 'USDT', total: '150.500000000000000001' }
    ]
  }
  t.strictSame(await rowsOf(database), whole)
  t.match(await sync(), { history_rows: 0 })
  t.strictSame(await rowsOf(database), whole, 'a repeat changes nothing')
})

t.test('a total is written down when it changed, not more than once in ten minutes, and on each day', async t => {
  const { database, exchange, wallet, sync } = await setUp(t)
  exchange.setBalance(wallet, 'SPOT', 'USDT', '1')
  await sync()
  exchange.setBalance(wallet, 'SPOT', 'USDT', '2')
  t.match(await sync(), { history_rows: 0 }, 'too early')
  await pass(database, '10 minutes')
  t.match(await sync(), { history_rows: 1 })
  await pass(database, '24 hours')
  t.match(await sync(), { history_rows: 1 }, 'the first of a day, though nothing changed')
  wallet.balances.SPOT.clear()
  await pass(database, '10 minutes')
  t.match(await sync(), { history_rows: 1 }, 'what is gone is zero')
  t.match(await rowsOf(database), {
    balances: [{ asset: 'USDT', free: '0', locked: '0', total: '0' }],
    history: [{ total: '1' }, { total: '2' }, { total: '2' }, { total: '0' }]
  })
  await pass(database, '24 hours')
  t.match(await sync(), { history_rows: 0 }, 'nothing is not written down day after day')
})

t.test('a wallet that cannot be read leaves the account as it was', async t => {
  const { database, exchange, wallet, sync } = await setUp(t)
  exchange.setBalance(wallet, 'SPOT', 'USDT', '1')
  await sync()
  const before = await rowsOf(database)
  exchange.setBalance(wallet, 'SPOT', 'USDT', '2')
  exchange.fault({ kind: 'status', status: 503 }, { path: /fapi/ })
  t.match(await sync(), { synced: 0, failed: 1, history_rows: 0 })
  t.strictSame(await rowsOf(database), before)
})

t.test('refused credentials are said, and so is that they are taken again', async t => {
  const { wallet, account, accounts, sync } = await setUp(t)
  wallet.state = 'revoked'
  t.match(await sync(), { synced: 0, refused: 1 })
  t.strictSame(accounts.refusals, [account.accountId])
  wallet.state = 'ok'
  t.match(await sync(), { synced: 1, refused: 0 })
  t.strictSame(accounts.acceptances, [account.accountId])
})

t.test('totals are sums, digit for digit', async t => {
  const database = await tradingDatabase(t)
  const { accountId } = await seedAccount(database)
  const amount = fc
    .tuple(fc.bigInt({ min: 0n, max: 10n ** 20n }), fc.integer({ min: 0, max: 18 }))
    .map(([digits, scale]) => new Big(digits.toString()).div(new Big(10).pow(scale)).toFixed(scale))
  const wallets = fc.record({ SPOT: fc.tuple(amount, amount), FUTURES: fc.tuple(amount, amount) })
  const outcome = await fc.check(
    fc.asyncProperty(wallets, async ({ SPOT, FUTURES }) => {
      const total = ([free, locked]: [string, string]) => new Big(free).plus(locked)
      await database.run(sql => sql`truncate account_balances, account_balance_history`)
      await database.transaction(async tx => {
        const rows = Object.entries({ SPOT, FUTURES } as const).map(([marketType, held]) => ({
          marketType: marketType === 'SPOT' ? ('SPOT' as const) : ('FUTURES' as const),
          balances: [{ asset: 'USDT', free: held[0], locked: held[1], total: total(held).toFixed() }]
        }))
        await recordBalances(tx, accountId, rows, timeZone)
      })
      const { history } = await rowsOf(database)
      const sum = total(SPOT).plus(total(FUTURES))
      return new Big(String(history[0]?.total ?? '0')).eq(sum)
    }),
    { numRuns: 50 }
  )
  t.notOk(outcome.failed, fc.defaultReportMessage(outcome) ?? '50 accounts')
})
