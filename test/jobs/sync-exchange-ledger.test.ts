import t from 'tap'
import { DAY, HOUR, MINUTE } from '../../src/async/durations.ts'
import { EXCHANGE_NAMES } from '../../src/domain/market.ts'
import { recordBalances } from '../../src/trading/balances.ts'
import { assertRows } from '../support/assert-rows.ts'
import { undoneBy } from '../support/jobs.ts'
import { entriesOf, ledgerSync, readingsOf, sumsOf } from '../support/ledger-sync.ts'
import { changingRows } from '../support/simulated-exchange/edits.ts'
import { totalOf } from '../support/simulated-exchange/ledger.ts'
import { failuresOf, seedAccount, TestAccounts } from '../support/trading.ts'

t.test('each change of a wallet is one entry, with all digits, however often it is read', async t => {
  const { database, ledger, account, seeded, start, sync } = await ledgerSync(t)
  const at = start - HOUR
  ledger.deposit(account, 'USDT', '1000.000000000000000001', { at })
  ledger.withdraw(account, 'USDT', '99.5', { fee: '0.5', at: at + 1_000 })
  ledger.transfer(account, 'USDT', '300', 'SPOT', 'FUTURES', { at: at + 2_000 })
  ledger.fund(account, 'BTCUSDT', 'USDT', '-0.12345678', { at: at + 3_000 })
  ledger.convert(account, { asset: 'USDT', amount: '20' }, { asset: 'BNB', amount: '0.06' }, { at: at + 4_000 })
  ledger.deposit(account, 'BTC', '5', { at: start - 2 * DAY })
  const result = await sync()
  t.hasStrict(result, { accounts: 1, wallets: 2, entries: 7, conflicts: 0, wallets_incomplete: 0, failed: 0 })
  t.strictSame(undoneBy('sync_exchange_ledger', result), {}, 'everything is done')
  t.strictSame(await sumsOf(database, seeded), {
    'FUTURES USDT': '299.87654322',
    'SPOT BNB': '0.06',
    'SPOT USDT': '580.000000000000000001'
  })
  t.hasStrict(await sync(5 * MINUTE), { wallets: 2, entries: 0, conflicts: 0 })
  t.equal((await entriesOf(database)).length, 7, 'what was before the account was added is no entry')
})

for (const exchange of EXCHANGE_NAMES) {
  t.test(`${exchange}: the entries add up to the wallets`, async t => {
    const { database, ledger, account, seeded, start, sync } = await ledgerSync(t, { exchange, ageMs: 10 * DAY })
    for (const day of [9, 8, 1]) {
      const at = start - day * DAY
      ledger.deposit(account, 'USDT', '1000.00000001', { at })
      ledger.withdraw(account, 'USDT', '99.5', { fee: '0.5', at: at + 1_000 })
      ledger.deposit(account, 'BTC', '0.25', { at: at + 2_000 })
    }
    t.hasStrict(await sync(), { failed: 0, wallets_incomplete: 0, wallets_behind: 0, conflicts: 0 })
    t.hasStrict(await sync(5 * MINUTE), { entries: 0, failed: 0, conflicts: 0 }, 'a repeat records nothing')
    t.strictSame(await sumsOf(database, seeded), {
      'SPOT BTC': totalOf(account, 'SPOT', 'BTC'),
      'SPOT USDT': totalOf(account, 'SPOT', 'USDT')
    })
  })
}

t.test('fills are no entries: the results and commissions of futures are in the executions', async t => {
  const { database, simulated, account, sync } = await ledgerSync(t)
  const order = simulated.place(account, { market: 'FUTURES', quantity: '2', price: '100' })
  simulated.fill(order, { fee: '0.1' })
  simulated.fill(simulated.place(account, { market: 'FUTURES', side: 'SELL', quantity: '2', price: '110' }))
  t.hasStrict(await sync(), { entries: 0, failed: 0 })
  t.strictSame([...(await entriesOf(database))], [])
})

t.test('an entry that the exchange lists late is found by a later run', async t => {
  const { database, ledger, account, start, sync } = await ledgerSync(t, { ageMs: 5 * DAY })
  const late = ledger.fund(account, 'BTCUSDT', 'USDT', '-1', { at: start - 20 * MINUTE, listed: false })
  t.hasStrict(await sync(), { entries: 0 })
  late.listed = true
  t.hasStrict(await sync(5 * MINUTE), { entries: 1 })
  ledger.fund(account, 'BTCUSDT', 'USDT', '-2', { at: start - 20 * HOUR })
  t.hasStrict(await sync(10 * MINUTE), { entries: 0 })
  t.hasStrict(await sync(DAY), { entries: 1 }, 'the first run of a day reads two days again')
  t.equal((await entriesOf(database)).length, 2)
})

t.test('a month of downtime is read by several runs, in order, without gaps at the borders of windows', async t => {
  const { database, ledger, account, start, sync } = await ledgerSync(t, { ageMs: 40 * DAY })
  const first = start - 40 * DAY
  // Three entries at each border, and one on each side of it.
  for (let week = 0; week < 6; week++) {
    for (const ms of [-1, 0, 0, 0, 1]) {
      const at = first + week * 7 * DAY + ms
      if (at >= first) ledger.fund(account, 'BTCUSDT', 'USDT', '-1', { at })
    }
  }
  const result = await sync()
  t.hasStrict(result, { wallets: 2, wallets_behind: 2, entries: 20 })
  t.strictSame(undoneBy('sync_exchange_ledger', result), { wallets_behind: 2 }, 'the run is partial')
  t.equal((await readingsOf(database)).FUTURES?.readUntil, first + 28 * DAY)
  t.hasStrict(await sync(), { wallets_behind: 0, entries: 9 })
  t.equal((await readingsOf(database)).FUTURES?.readUntil, start)
  t.equal((await entriesOf(database)).length, 29)
})

t.test('what the exchange does not provide any more is an incomplete period, reported once', async t => {
  const { database, ledger, account, lines, start, sync } = await ledgerSync(t, { ageMs: 100 * DAY })
  ledger.fund(account, 'BTCUSDT', 'USDT', '-1', { at: start - 95 * DAY })
  ledger.fund(account, 'BTCUSDT', 'USDT', '-2', { at: start - 85 * DAY })
  const results = []
  for (let run = 0; run < 5; run++) results.push(await sync())
  t.strictSame(
    results.map(({ wallets_incomplete }) => wallets_incomplete),
    [1, 0, 0, 0, 0]
  )
  t.strictSame(await readingsOf(database), {
    FUTURES: {
      readUntil: start,
      incomplete: [{ from: start - 100 * DAY, until: start - 90 * DAY, code: 'not_provided' }]
    },
    SPOT: { readUntil: start, incomplete: [] }
  })
  assertRows(t, lines, [
    {
      msg: 'ledger incomplete',
      market_type: 'FUTURES',
      code: 'not_provided',
      from: new Date(start - 100 * DAY).toISOString(),
      until: new Date(start - 90 * DAY).toISOString()
    }
  ])
  assertRows(t, await entriesOf(database), [{ kind: 'funding', amount: '-2' }])
})

t.test('what the key may not read is incomplete until it may, and is read then', async t => {
  const { database, ledger, account, lines, start, sync } = await ledgerSync(t, { ageMs: 10 * DAY })
  ledger.withdraw(account, 'USDT', '1', { at: start - 9 * DAY })
  ledger.withdraw(account, 'USDT', '2', { at: start - HOUR })
  ledger.deposit(account, 'USDT', '5', { at: start - HOUR })
  account.forbidden = /withdraw/
  for (const ms of [0, 5 * MINUTE]) {
    const result = await sync(ms)
    t.strictSame(undoneBy('sync_exchange_ledger', result), { wallets_incomplete: 1 })
    t.strictSame((await readingsOf(database)).SPOT, {
      readUntil: start + ms,
      incomplete: [{ from: start - 10 * DAY, until: start + ms, code: 'permission' }]
    })
  }
  assertRows(t, await entriesOf(database), [{ kind: 'deposit', amount: '5' }])
  t.equal(lines.filter(({ msg, code }) => msg === 'ledger incomplete' && code === 'permission').length, 1)
  account.forbidden = null
  for (let run = 2; run <= 4; run++) await sync(run * 5 * MINUTE)
  t.strictSame((await readingsOf(database)).SPOT?.incomplete, [])
  t.strictSame((await entriesOf(database)).map(({ amount }) => amount).sort(), ['-1', '-2', '5'])
})

t.test('a row that cannot be read leaves its window incomplete, and is an entry once it can be read', async t => {
  const { database, simulated, ledger, account, start, sync } = await ledgerSync(t)
  for (const amount of ['1', '2', '3']) ledger.deposit(account, 'USDT', amount, { at: start - 5 * HOUR })
  simulated.fault({ kind: 'edited', edit: changingRows({ amount: '2' }, { amount: '?' }) }, { path: /hisrec/ })
  t.hasStrict(await sync(), { entries: 2, wallets_incomplete: 1, failed: 0 })
  const whole = [{ from: start - DAY, until: start, code: 'unreadable' }]
  t.strictSame((await readingsOf(database)).SPOT, { readUntil: start, incomplete: whole })
  simulated.clearFaults()
  t.hasStrict(await sync(5 * MINUTE), { entries: 1, wallets_incomplete: 0 })
  t.strictSame((await readingsOf(database)).SPOT, { readUntil: start + 5 * MINUTE, incomplete: [] })
})

t.test('a pending deposit is no entry, and is read again until it is credited', async t => {
  const { database, ledger, account, start, sync } = await ledgerSync(t, { ageMs: 12 * DAY })
  const pending = ledger.deposit(account, 'USDT', '7', { at: start - 10 * DAY, state: 'pending' })
  ledger.deposit(account, 'USDT', '1', { at: start - 11 * DAY })
  ledger.deposit(account, 'USDT', '2', { at: start - HOUR })
  t.hasStrict(await sync(), { entries: 2, wallets_incomplete: 0 })
  t.equal((await readingsOf(database)).SPOT?.readUntil, start - 10 * DAY, 'complete only until the pending entry')
  t.hasStrict(await sync(5 * MINUTE), { entries: 0 })
  ledger.complete(account, pending, start)
  t.hasStrict(await sync(10 * MINUTE), { entries: 1 })
  t.strictSame((await readingsOf(database)).SPOT, { readUntil: start + 10 * MINUTE, incomplete: [] })
  t.equal((await entriesOf(database)).length, 3)
})

t.test('a deposit that is pending for two weeks is an incomplete period, and an entry when it is credited', async t => {
  const { database, ledger, account, start, sync } = await ledgerSync(t, { ageMs: 20 * DAY })
  const pending = ledger.deposit(account, 'USDT', '7', { at: start - 15 * DAY, state: 'pending' })
  t.hasStrict(await sync(), { entries: 0, wallets_incomplete: 1 })
  const window = { from: start - 20 * DAY, until: start - 13 * DAY, code: 'pending' }
  t.strictSame((await readingsOf(database)).SPOT, { readUntil: start, incomplete: [window] })
  t.hasStrict(await sync(5 * MINUTE), { entries: 0, wallets_incomplete: 1 }, 'it is read again, and still pending')
  t.strictSame((await readingsOf(database)).SPOT, { readUntil: start + 5 * MINUTE, incomplete: [window] })
  ledger.complete(account, pending, start)
  t.hasStrict(await sync(10 * MINUTE), { entries: 1, wallets_incomplete: 0 })
  t.strictSame((await readingsOf(database)).SPOT?.incomplete, [])
})

t.test('an entry that the exchange changes keeps its amount, is counted, and reported once', async t => {
  const { database, ledger, account, lines, start, sync } = await ledgerSync(t)
  const deposit = ledger.deposit(account, 'USDT', '5', { at: start - HOUR })
  await sync()
  deposit.amount = '6'
  const result = await sync()
  t.strictSame(undoneBy('sync_exchange_ledger', result), { conflicts: 1 })
  t.hasStrict(await sync(), { conflicts: 0 })
  assertRows(t, await entriesOf(database), [{ amount: '5' }])
  assertRows(t, lines, [{ msg: 'ledger entry changed by the exchange', code: 'entry_changed', kind: 'deposit' }])
})

t.test('a wallet that the exchange denies and that never held anything does not belong to the account', async t => {
  const { database, account, seeded, sync } = await ledgerSync(t)
  account.forbidden = /fapi/
  const closed = await sync()
  t.hasStrict(closed, { wallets: 1, wallets_closed: 1, failed: 0 })
  t.strictSame(undoneBy('sync_exchange_ledger', closed), {})
  const balances = [{ asset: 'USDT', free: '1', locked: '0', total: '1' }]
  await database.transaction(tx =>
    recordBalances(tx, seeded.accountId, [{ marketType: 'FUTURES', balances }], { timeZone: 'UTC' })
  )
  const denied = await sync()
  t.strictSame(undoneBy('sync_exchange_ledger', denied), { failed: 1 })
  t.strictSame(await failuresOf(database, seeded), ['authentication'])
  account.forbidden = /api/
  t.strictSame(undoneBy('sync_exchange_ledger', await sync()), { refused: 1 })
  account.forbidden = null
  t.hasStrict(await sync(), { wallets: 2, failed: 0, refused: 0 })
  t.strictSame(await failuresOf(database, seeded), [])
})

t.test(
  'an account that fails is counted, and the others are read; the one that waited longest comes first',
  async t => {
    const { database, clientOf, seeded, sync } = await ledgerSync(t)
    const others = [await seedAccount(database), await seedAccount(database)]
    const order: string[] = []
    const failing = new Set([seeded.accountId])
    const accounts = new TestAccounts([seeded, ...others], (account, marketType) => {
      order.push(account.accountId)
      if (failing.has(account.accountId)) throw new Error('defect')
      return clientOf(account, marketType)
    })
    t.hasStrict(await sync(MINUTE, {}, accounts), { accounts: 3, wallets: 4, failed: 1 })
    t.strictSame(await failuresOf(database, seeded), ['internal'])
    const attempted = `update ledger_readings set attempted_at = now() - interval '1 hour' where account_id = `
    await database.run(sql => sql.unsafe(`${attempted}${others[1]?.accountId}`))
    order.length = 0
    failing.clear()
    t.hasStrict(await sync(MINUTE, {}, accounts), { wallets: 6, failed: 0 })
    t.equal(order[0], others[1]?.accountId)
  }
)

t.test('an account without credentials for the moment is counted as left out', async t => {
  const { accounts, sync } = await ledgerSync(t)
  accounts.leftOutIds = ['7']
  t.strictSame(undoneBy('sync_exchange_ledger', await sync()), { accounts_left_out: 1 })
})

t.test('two replicas that read at the same time record each entry once', async t => {
  const { database, ledger, account, seeded, start, sync } = await ledgerSync(t, { ageMs: 20 * DAY })
  for (let day = 0; day < 20; day++) {
    ledger.deposit(account, 'USDT', '1.5', { at: start - day * DAY - HOUR })
    ledger.fund(account, 'BTCUSDT', 'USDT', '-0.25', { at: start - day * DAY - HOUR })
  }
  const results = await Promise.all([sync(), sync()])
  t.equal(
    results.reduce((sum, { entries }) => sum + Number(entries), 0),
    40
  )
  t.strictSame(await sumsOf(database, seeded), { 'FUTURES USDT': '-5', 'SPOT USDT': '30' })
})
