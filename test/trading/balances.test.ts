import t from 'tap'
import { MINUTE } from '../../src/async/durations.ts'
import type { Database } from '../../src/database/database.ts'
import { hasBalances, recordBalances, type Wallet } from '../../src/trading/balances.ts'
import { seedAccount, tradingDatabase } from '../support/trading.ts'

/** Midnight in Seoul. */
const MIDNIGHT = Date.parse('2026-11-23T15:00:00Z')
const timeZone = 'Asia/Seoul'

let database: Database
t.before(async () => {
  database = await tradingDatabase(t)
})

const spot = (...balances: [asset: string, total: string][]): Wallet => ({
  marketType: 'SPOT',
  balances: balances.map(([asset, total]) => ({ asset, free: total, locked: '0', total }))
})

/** Records the wallets `minutes` after midnight. @returns the number of rows written to the history */
function recordAt(accountId: string, minutes: number, wallets: readonly Wallet[]): Promise<number> {
  const at = new Date(MIDNIGHT + minutes * MINUTE)
  return database.transaction(tx => recordBalances(tx, accountId, wallets, { timeZone, at }))
}

/** The history as minutes after midnight, currency and total. */
async function historyOf(accountId: string) {
  const rows = await database.run(
    sql => sql<{ at: Date; currency: string; total: string }[]>`
      select at, currency, trim_scale(total)::text as total from account_balance_history
      where account_id = ${accountId} order by at, currency`
  )
  return rows.map(({ at, currency, total }) => [(at.getTime() - MIDNIGHT) / MINUTE, currency, total])
}

async function balancesOf(accountId: string) {
  const rows = await database.run(
    sql => sql<{ market_type: string; asset: string; free: string; locked: string; total: string; synced_at: Date }[]>`
      select market_type, asset, free::text, locked::text, total::text, synced_at from account_balances
      where account_id = ${accountId} order by market_type, asset`
  )
  return rows.map(row => [
    row.market_type,
    row.asset,
    row.free,
    row.locked,
    row.total,
    (row.synced_at.getTime() - MIDNIGHT) / MINUTE
  ])
}

t.test('each wallet is stored completely, and a missing asset is zero from then on', async t => {
  const { accountId } = await seedAccount(database)
  const other = await seedAccount(database)
  await recordAt(other.accountId, 60, [spot(['USDT', '9'], ['XRP', '4'])])
  const futures: Wallet = {
    marketType: 'FUTURES',
    balances: [{ asset: 'USDT', free: '1', locked: '2', total: '3' }]
  }
  t.equal(await recordAt(accountId, 60, [spot(['BTC', '5'], ['USDT', '7']), futures]), 2)
  t.strictSame(await balancesOf(accountId), [
    ['FUTURES', 'USDT', '1', '2', '3', 60],
    ['SPOT', 'BTC', '5', '0', '5', 60],
    ['SPOT', 'USDT', '7', '0', '7', 60]
  ])
  t.equal(await recordAt(accountId, 61, [spot(['USDT', '8']), { ...futures, balances: [] }]), 0)
  t.strictSame(await balancesOf(accountId), [
    ['FUTURES', 'USDT', '0', '0', '0', 61],
    ['SPOT', 'BTC', '0', '0', '0', 61],
    ['SPOT', 'USDT', '8', '0', '8', 61]
  ])
  t.strictSame(await historyOf(accountId), [
    [60, 'BTC', '5'],
    [60, 'USDT', '10']
  ])
  const others = [
    ['SPOT', 'USDT', '9', '0', '9', 60],
    ['SPOT', 'XRP', '4', '0', '4', 60]
  ]
  t.strictSame(await balancesOf(other.accountId), others, 'another account is not changed')
})

t.test('a changed total is recorded after ten minutes, an unchanged one is not', async t => {
  const { accountId } = await seedAccount(database)
  t.equal(await recordAt(accountId, 60, [spot(['USDT', '1'])]), 1)
  t.equal(await recordAt(accountId, 69.999, [spot(['USDT', '2'])]), 0)
  t.equal(await recordAt(accountId, 70, [spot(['USDT', '2'])]), 1)
  t.equal(await recordAt(accountId, 90, [spot(['USDT', '2'])]), 0)
  t.equal(await recordAt(accountId, 95, [spot(['USDT', '3'])]), 1)
  t.strictSame(await historyOf(accountId), [
    [60, 'USDT', '1'],
    [70, 'USDT', '2'],
    [95, 'USDT', '3']
  ])
})

t.test('the history of an asset does not depend on another asset or account', async t => {
  const { accountId } = await seedAccount(database)
  const other = await seedAccount(database)
  await recordAt(accountId, 60, [spot(['USDT', '1'])])
  t.equal(await recordAt(accountId, 61, [spot(['BTC', '1'], ['USDT', '1'])]), 1)
  t.equal(await recordAt(other.accountId, 62, [spot(['USDT', '1'])]), 1)
  t.strictSame(await historyOf(accountId), [
    [60, 'USDT', '1'],
    [61, 'BTC', '1']
  ])
  t.strictSame(await historyOf(other.accountId), [[62, 'USDT', '1']])
})

t.test('the first call of a day records the balances of the last call before, with the time of that call', async t => {
  const { accountId } = await seedAccount(database)
  await recordAt(accountId, -6, [spot(['BTC', '1'], ['USDT', '1'])])
  await recordAt(accountId, -2, [spot(['USDT', '2'])])
  t.strictSame(await historyOf(accountId), [
    [-6, 'BTC', '1'],
    [-6, 'USDT', '1']
  ])
  t.equal(await recordAt(accountId, 0, [spot(['USDT', '3'])]), 2)
  t.strictSame(await historyOf(accountId), [
    [-6, 'BTC', '1'],
    [-6, 'USDT', '1'],
    [-2, 'BTC', '0'],
    [-2, 'USDT', '2']
  ])
  t.equal(await recordAt(accountId, 1, [spot(['USDT', '3'])]), 0, 'recorded once a day')
})

t.test('a balance read at midnight belongs to the new day', async t => {
  const { accountId } = await seedAccount(database)
  await recordAt(accountId, -4, [spot(['USDT', '1'])])
  await recordAt(accountId, 0, [spot(['USDT', '2'])])
  t.strictSame(await historyOf(accountId), [[-4, 'USDT', '1']])
  t.equal(await recordAt(accountId, 1, [spot(['USDT', '2'])]), 0, 'it is not the last balance of the day before')
  t.strictSame(await historyOf(accountId), [[-4, 'USDT', '1']])
})

t.test('a fraction of an asset is recorded at the end of each day, an unchanged zero is not', async t => {
  const { accountId } = await seedAccount(database)
  const day = 24 * 60
  await recordAt(accountId, -60, [spot(['BTC', '0.5'], ['USDT', '0.5'])])
  await recordAt(accountId, -30, [spot(['BTC', '0.5'])])
  t.equal(await recordAt(accountId, 60, [spot(['BTC', '0.5'])]), 1)
  t.equal(await recordAt(accountId, day + 60, [spot(['BTC', '0.5'])]), 1)
  t.strictSame(await historyOf(accountId), [
    [-60, 'BTC', '0.5'],
    [-60, 'USDT', '0.5'],
    [-30, 'BTC', '0.5'],
    [-30, 'USDT', '0'],
    [60, 'BTC', '0.5']
  ])
})

t.test('in the last 59 seconds of a day a change is recorded at once', async t => {
  const { accountId } = await seedAccount(database)
  const day = 24 * 60
  await recordAt(accountId, day - 3, [spot(['USDT', '1'])])
  t.equal(await recordAt(accountId, day - 1, [spot(['USDT', '2'])]), 0)
  t.equal(await recordAt(accountId, day - 59 / 60, [spot(['USDT', '2'])]), 1)
  t.equal(await recordAt(accountId, day - 0.5, [spot(['USDT', '2'])]), 0, 'an unchanged total is not recorded')
  t.equal(await recordAt(accountId, day - 0.25, [spot(['USDT', '3'])]), 1)
})

t.test('without a given time the balances have the time of the transaction', async t => {
  const { accountId } = await seedAccount(database)
  const options = { timeZone }
  const [row] = await database.transaction(async tx => {
    await recordBalances(tx, accountId, [spot(['USDT', '1'])], options)
    return await tx`
      select (select synced_at = now() from account_balances where account_id = ${accountId}) as stored,
        (select at = now() from account_balance_history where account_id = ${accountId}) as recorded`
  })
  t.strictSame({ ...row }, { stored: true, recorded: true })
})

t.test('a wallet has balances after one was recorded, even if it is zero', async t => {
  const { accountId } = await seedAccount(database)
  const other = await seedAccount(database)
  const has = (...marketTypes: ('SPOT' | 'FUTURES')[]) =>
    database.transaction(tx => hasBalances(tx, accountId, marketTypes))
  await recordAt(other.accountId, 60, [spot(['USDT', '1'])])
  t.equal(await has('SPOT', 'FUTURES'), false, 'balances of another account do not count')
  await recordAt(accountId, 60, [spot(['USDT', '0'])])
  t.equal(await has('SPOT', 'FUTURES'), true)
  t.equal(await has('SPOT'), true)
  t.equal(await has('FUTURES'), false)
  t.equal(await has(), false)
})
