import { Big } from 'big.js'
import t from 'tap'
import { DAY, HOUR, MINUTE } from '../../src/async/durations.ts'
import { entriesOf, ledgerSync, readingsOf, sumsOf } from '../support/ledger-sync.ts'
import { totalOf } from '../support/simulated-exchange/ledger.ts'
import type { SimulatedAccount } from '../support/simulated-exchange/simulated-exchange.ts'

const EXCHANGES = ['BYBIT', 'OKX', 'UPBIT', 'BITHUMB'] as const
const isUnified = (exchange: (typeof EXCHANGES)[number]) => exchange === 'BYBIT' || exchange === 'OKX'

/** What the exchange has of each asset, both markets of a unified wallet together. */
function walletOf(account: SimulatedAccount, assets: readonly string[]): Record<string, string> {
  const rows = assets.map(asset => {
    const sum = new Big(totalOf(account, 'SPOT', asset)).plus(totalOf(account, 'FUTURES', asset))
    return [`SPOT ${asset}`, sum.toFixed()]
  })
  return Object.fromEntries(rows.sort())
}

for (const exchange of EXCHANGES) {
  t.test(`${exchange}: a ledger of forty days adds up to the wallet, and is recorded once`, async t => {
    const { database, ledger, account, seeded, start, sync } = await ledgerSync(t, { exchange, ageMs: 41 * DAY })
    const at = (days: number) => ({ at: start - days * DAY })
    for (let day = 40; day > 0; day -= 0.5) {
      ledger.deposit(account, 'BTC', '0.00000014', at(day))
      ledger.withdraw(account, 'BTC', '0.00000001', { fee: '0.00000003', ...at(day) })
      if (isUnified(exchange)) ledger.fund(account, 'BTCUSDT', 'USDT', day % 1 === 0 ? '-0.25' : '0.125', at(day))
      else ledger.deposit(account, 'KRW', '5000', at(day))
    }
    // A run has four windows of seven days; the second reads the rest.
    t.hasStrict(await sync(), { wallets: 1, wallets_behind: 1, wallets_incomplete: 0, failed: 0 })
    t.hasStrict(await sync(), { wallets: 1, wallets_behind: 0, wallets_incomplete: 0, failed: 0 })
    t.strictSame(await sumsOf(database, seeded), walletOf(account, ['BTC', isUnified(exchange) ? 'USDT' : 'KRW']))
    t.strictSame(await readingsOf(database), { SPOT: { readUntil: start, incomplete: [] } })
    const { length } = await entriesOf(database)
    t.hasStrict(await sync(5 * MINUTE), { entries: 0, conflicts: 0 })
    t.hasStrict(await sync(DAY), { entries: 0, conflicts: 0 })
    t.equal((await entriesOf(database)).length, length)
  })
}

for (const exchange of ['UPBIT', 'BITHUMB'] as const) {
  t.test(`${exchange}: a deposit that is pending for twenty days is recorded when it is credited`, async t => {
    const { database, ledger, account, seeded, start, sync } = await ledgerSync(t, { exchange, ageMs: 25 * DAY })
    const created = Math.floor((start - 20 * DAY) / 1_000) * 1_000
    const pending = ledger.deposit(account, 'BTC', '1.5', { state: 'pending', at: created })
    ledger.deposit(account, 'BTC', '2', { at: start - 10 * DAY })
    await sync()
    t.strictSame(await sumsOf(database, seeded), { 'SPOT BTC': '2' })
    ledger.complete(account, pending, start - HOUR / 2)
    await sync(MINUTE)
    t.strictSame(await sumsOf(database, seeded), { 'SPOT BTC': '3.5' })
    t.strictSame(await sumsOf(database, seeded), walletOf(account, ['BTC']))
    for (let run = 2; run < 8; run++) await sync(run * 5 * MINUTE)
    t.strictSame(await sumsOf(database, seeded), { 'SPOT BTC': '3.5' })
    const { SPOT } = await readingsOf(database)
    t.strictSame(SPOT, { readUntil: start + 35 * MINUTE, incomplete: [] })
  })

  t.test(`${exchange}: without the right to read withdrawals the ledger is incomplete until there is one`, async t => {
    const { database, ledger, account, seeded, start, sync } = await ledgerSync(t, { exchange, ageMs: 2 * DAY })
    ledger.deposit(account, 'KRW', '5000', { at: start - HOUR })
    ledger.withdraw(account, 'KRW', '1000', { fee: '500', at: start - HOUR })
    account.forbidden = /withdraws/
    t.hasStrict(await sync(), { wallets: 1, wallets_incomplete: 1, failed: 0 })
    t.strictSame(await sumsOf(database, seeded), { 'SPOT KRW': '5000' })
    t.strictSame(
      (await readingsOf(database)).SPOT?.incomplete.map(({ code }) => code),
      ['permission']
    )
    account.forbidden = null
    await sync(MINUTE)
    t.strictSame(await sumsOf(database, seeded), { 'SPOT KRW': '3500' })
  })
}
