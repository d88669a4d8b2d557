// The equity that sync_account_balances writes, with the simulated exchange as the source of wallets and positions.
import { Big } from 'big.js'
import t, { type Test } from 'tap'
import { Agent } from 'undici'
import type { Database } from '../../src/database/database.ts'
import type { ExchangeName } from '../../src/domain/market.ts'
import { ExchangeRegistry } from '../../src/exchanges/exchange-registry.ts'
import { syncAccountBalances } from '../../src/jobs/sync-account-balances.ts'
import { equityOfDay } from '../../src/trading/equity-of-day.ts'
import { SimulatedExchange } from '../support/simulated-exchange/simulated-exchange.ts'
import {
  fixedInstruments,
  fixedPrices,
  seedAccount,
  TestAccounts,
  testContext,
  tradingDatabase
} from '../support/trading.ts'
import { localDay } from '../support/trading-days.ts'

/** A zone where it is about noon. */
const { timeZone, date } = localDay(12)
const credentials = { apiKey: 'key', apiSecret: 'secret', passphrase: 'passphrase' }
/** Deadlines that no call of these tests misses. */
const PATIENT = { deadlineMs: 60_000, attemptMs: 30_000 }

/** An account of a simulated exchange. `sync` runs the job ten minutes after the run before it. */
async function setUp(t: Test, name: ExchangeName = 'BINANCE', prices: Record<string, string> = { BTCUSDT: '100' }) {
  const database = await tradingDatabase(t)
  const exchange = await SimulatedExchange.start({ exchange: name })
  const dispatcher = new Agent()
  t.teardown(async () => {
    await dispatcher.close()
    await exchange.close()
  })
  const registry = new ExchangeRegistry({ dispatcher, urls: exchange.urls, ...PATIENT })
  const wallet = exchange.addAccount(credentials)
  const account = await seedAccount(database, { exchange: name })
  const accounts = new TestAccounts([account], ({ exchange }, marketType) =>
    registry.client({ exchange, marketType, credentials })
  )
  const services = { accounts, prices: fixedPrices(prices), instruments: fixedInstruments(), timeZone }
  const sync = async () => {
    await database.run(sql => sql`update equity_history set at = at - interval '10 minutes'`)
    await database.run(sql => sql`update ledger_entries set at = at - interval '10 minutes'`)
    return await syncAccountBalances(services)(testContext(database).context)
  }
  /** The ledgers of both wallets are read until now, with a withdrawal of now. */
  const readLedgers = (withdrawn?: string) =>
    database.run(async sql => {
      if (withdrawn !== undefined) {
        await sql`
          insert into ledger_entries (account_id, wallet, asset, amount, kind, exchange_kind, exchange_entry_id, at)
          values (${account.accountId}, 'SPOT', 'USDT', ${`-${withdrawn}`}, 'withdrawal', 'test', '1', now())`
      }
      await sql`
        insert into ledger_readings (account_id, wallet, read_until)
        values (${account.accountId}, 'SPOT', now()), (${account.accountId}, 'FUTURES', now())
        on conflict (account_id, wallet) do update set read_until = excluded.read_until`
    })
  /** Equity, return and drawdown of the day, after the flows are computed. */
  const amounts = async () => {
    const [day] = await database.transaction(tx => equityOfDay(tx, date, timeZone))
    if (day === undefined) throw new Error('there is no equity')
    return [day.equity, day.equity_return, day.max_drawdown].map(value =>
      value === null ? null : new Big(value).toFixed()
    )
  }
  return { database, exchange, wallet, account, sync, readLedgers, amounts }
}

async function equities(database: Database): Promise<string[]> {
  const rows = await database.run(
    sql => sql<{ equity: string }[]>`select trim_scale(equity)::text as equity from equity_history order by at`
  )
  return rows.map(({ equity }) => equity)
}

t.test('buying a coin is 0 %, and so is a withdrawal', async t => {
  const { exchange, wallet, sync, readLedgers, amounts } = await setUp(t)
  exchange.setBalance(wallet, 'SPOT', 'USDT', '1000')
  t.hasStrict(await sync(), { synced: 1, equity_rows: 1, equity_failed: 0 })
  exchange.setBalance(wallet, 'SPOT', 'USDT', '100')
  exchange.setBalance(wallet, 'SPOT', 'BTC', '9')
  await sync()
  await readLedgers()
  await sync()
  t.strictSame(await amounts(), ['1000', '0', '0'])
  exchange.setBalance(wallet, 'SPOT', 'USDT', '40')
  await readLedgers('60')
  await sync()
  await readLedgers()
  await sync()
  t.strictSame(await amounts(), ['940', '0', '0'])
})

t.test('a perpetual that is 40 % of the equity under water is -40 %', async t => {
  const { database, exchange, wallet, sync, readLedgers, amounts } = await setUp(t)
  exchange.setBalance(wallet, 'FUTURES', 'USDT', '1000')
  const position = { market: 'FUTURES', symbol: 'BTCUSDT', exchangeSymbol: 'BTCUSDT', positionSide: 'BOTH' } as const
  exchange.setPrice('FUTURES', 'BTCUSDT', '100')
  wallet.positions.push({ ...position, quantity: '10', entryPrice: '100' })
  await sync()
  exchange.setPrice('FUTURES', 'BTCUSDT', '60')
  await sync()
  await readLedgers()
  await sync()
  t.strictSame(await equities(database), ['1000', '600', '600'])
  t.strictSame(await amounts(), ['600', '-0.4', '-0.4'])
})

t.test('an account whose positions cannot be read has no equity, and the run is partial', async t => {
  const { database, exchange, wallet, sync } = await setUp(t)
  exchange.setBalance(wallet, 'SPOT', 'USDT', '1000')
  exchange.fault({ kind: 'status', status: 500 }, { path: /positionRisk/ })
  t.hasStrict(await sync(), { synced: 1, equity_rows: 0, equity_failed: 1 })
  exchange.clearFaults()
  t.hasStrict(await sync(), { synced: 1, equity_rows: 1, equity_failed: 0 })
  t.strictSame(await equities(database), ['1000'])
})

t.test('while a wallet may have been emptied there is no equity', async t => {
  const { database, exchange, wallet, sync } = await setUp(t)
  exchange.setBalance(wallet, 'SPOT', 'USDT', '1000')
  exchange.setBalance(wallet, 'FUTURES', 'USDT', '500')
  await sync()
  exchange.setBalance(wallet, 'FUTURES', 'USDT', '0')
  t.hasStrict(await sync(), { equity_rows: 0, equity_failed: 0 })
  t.hasStrict(await sync(), { equity_rows: 1 })
  t.strictSame(await equities(database), ['1500', '1000'])
})

for (const [name, expected, prices] of [
  ['UPBIT', '2000', { BTCKRW: '500' }],
  ['BITHUMB', '2000', { BTCKRW: '500' }],
  ['BYBIT', '2000', { BTCUSDT: '500' }],
  ['OKX', '2000', { BTCUSDT: '500' }]
] as const) {
  t.test(`${name}: the equity is in the main quote currency`, async t => {
    const { database, exchange, wallet, sync } = await setUp(t, name, prices)
    const currency = name === 'UPBIT' || name === 'BITHUMB' ? 'KRW' : 'USDT'
    exchange.setBalance(wallet, 'SPOT', currency, '1000')
    exchange.setBalance(wallet, 'SPOT', 'BTC', '2')
    exchange.setBalance(wallet, 'SPOT', 'NOPRICE', '5')
    t.hasStrict(await sync(), { equity_rows: 1, equity_failed: 0 })
    const rows = await database.run(
      sql => sql`select currency, trim_scale(equity)::text as equity, unvalued from equity_history`
    )
    t.strictSame(
      [...rows],
      [{ currency, equity: expected, unvalued: [{ kind: 'asset', name: 'NOPRICE', amount: '5' }] }]
    )
  })
}
