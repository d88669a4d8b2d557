// The ledger of Binance, read from the books of the simulated exchange.
import t, { type Test } from 'tap'
import { Agent } from 'undici'
import { DAY, HOUR } from '../../../src/async/durations.ts'
import type { MarketType } from '../../../src/domain/market.ts'
import { BinanceClient } from '../../../src/exchanges/adapters/binance.ts'
import type { CallOptions } from '../../../src/exchanges/exchange-client.ts'
import { ExchangeRegistry } from '../../../src/exchanges/exchange-registry.ts'
import { assertRows } from '../../support/assert-rows.ts'
import { CannedGateway } from '../../support/canned-gateway.ts'
import { changingRows } from '../../support/simulated-exchange/edits.ts'
import { SimulatedExchange } from '../../support/simulated-exchange/simulated-exchange.ts'
import { failureOf } from '../failure.ts'

const credentials = { apiKey: 'key', apiSecret: 'secret' }
const NOW = Math.floor(Date.now() / 1_000) * 1_000

async function setUp(t: Test) {
  const simulated = await SimulatedExchange.start({ exchange: 'BINANCE' })
  const dispatcher = new Agent()
  t.teardown(async () => {
    await dispatcher.close()
    await simulated.close()
  })
  const account = simulated.addAccount(credentials)
  const registry = new ExchangeRegistry({ dispatcher, urls: simulated.urls, deadlineMs: 60_000, attemptMs: 30_000 })
  const read = async (marketType: MarketType, from: number, until = NOW, options: CallOptions = {}) => {
    const client = registry.client({ exchange: 'BINANCE', marketType, credentials })
    return await client.ledger({ from, until }, options)
  }
  return { simulated, account, ledger: simulated.ledger, read }
}

t.test('a transfer between the wallets is an entry of each of them', async t => {
  const { account, ledger, read } = await setUp(t)
  ledger.transfer(account, 'USDT', '300.5', 'SPOT', 'FUTURES', { at: NOW - HOUR })
  ledger.transfer(account, 'USDT', '7', 'FUTURES', 'SPOT', { at: NOW - HOUR + 1 })
  assertRows(t, (await read('SPOT', NOW - DAY)).entries, [
    { kind: 'transfer', exchangeKind: 'MAIN_UMFUTURE', asset: 'USDT', amount: '-300.5' },
    { kind: 'transfer', exchangeKind: 'UMFUTURE_MAIN', asset: 'USDT', amount: '7' }
  ])
  assertRows(t, (await read('FUTURES', NOW - DAY)).entries, [
    { kind: 'transfer', exchangeKind: 'TRANSFER', asset: 'USDT', amount: '300.5' },
    { kind: 'transfer', exchangeKind: 'TRANSFER', asset: 'USDT', amount: '-7' }
  ])
})

t.test('a withdrawal that may come back is an entry, and the ledger is complete until it', async t => {
  const { account, ledger, read } = await setUp(t)
  ledger.deposit(account, 'USDT', '100', { at: NOW - DAY })
  const withdrawal = ledger.withdraw(account, 'USDT', '40', { state: 'pending', at: NOW - 2 * HOUR })
  const before = await read('SPOT', NOW - 3 * HOUR)
  assertRows(t, before.entries, [{ kind: 'withdrawal', amount: '-40' }])
  t.equal(before.completeUntil, NOW - 2 * HOUR)
  ledger.fail(account, withdrawal)
  const after = await read('SPOT', NOW - 3 * HOUR)
  assertRows(t, after.entries, [
    { kind: 'withdrawal', amount: '-40' },
    { kind: 'withdrawal', amount: '40' }
  ])
  t.equal(after.completeUntil, NOW)
})

t.test('a deposit that was seen before the range and credited in it is an entry', async t => {
  const { account, ledger, read } = await setUp(t)
  const deposit = ledger.deposit(account, 'BTC', '1.5', { state: 'pending', at: NOW - 2 * HOUR })
  const before = await read('SPOT', NOW - HOUR)
  t.strictSame(before.entries, [])
  t.equal(before.completeUntil, NOW)
  ledger.complete(account, deposit, NOW - HOUR / 2)
  const after = await read('SPOT', NOW - HOUR)
  assertRows(t, after.entries, [{ kind: 'deposit', asset: 'BTC', amount: '1.5', at: NOW - HOUR / 2 }])
  t.strictSame((await read('SPOT', NOW - HOUR / 4)).entries, [])
})

t.test('lists with pages are read to their end, also when all rows have one time', async t => {
  const { account, ledger, read } = await setUp(t)
  for (let index = 0; index < 2_001; index++) ledger.fund(account, 'BTCUSDT', 'USDT', '1', { at: NOW - HOUR })
  for (let index = 0; index < 201; index++) {
    ledger.transfer(account, 'BTC', '2', 'FUNDING', 'SPOT', { at: NOW - HOUR })
    ledger.deposit(account, 'ETH', '3', { at: NOW - 2 * HOUR })
  }
  const futures = (await read('FUTURES', NOW - DAY)).entries
  t.equal(new Set(futures.map(({ exchangeEntryId }) => exchangeEntryId)).size, 2_001)
  const spot = (await read('SPOT', NOW - DAY)).entries
  t.equal(spot.filter(({ kind }) => kind === 'transfer').length, 201)
  t.equal(spot.filter(({ kind }) => kind === 'deposit').length, 201)
})

t.test('lists without pages are read in halves until every answer is complete', async t => {
  const { account, ledger, read } = await setUp(t)
  for (let index = 0; index < 1_200; index++) {
    ledger.add(account, { kind: 'dividend', asset: 'BNB', amount: '1', at: NOW - DAY + index })
    const more = { at: NOW - 2 * DAY + index, ...(index < 250 && { word: 'dust' }) }
    ledger.convert(account, { asset: 'USDT', amount: '2' }, { asset: 'BNB', amount: '0.5' }, more)
  }
  const { entries } = await read('SPOT', NOW - 6 * DAY)
  const count = (kind: string) => entries.filter(entry => entry.exchangeKind === kind).length
  t.equal(count('BNB distribution'), 1_200)
  t.equal(count('dribblet'), 2 * 250)
  t.equal(count('convert'), 2 * 950)
  t.equal(new Set(entries.map(({ exchangeEntryId }) => exchangeEntryId)).size, entries.length)
})

t.test('a millisecond with more rows than an answer is an unreadable part, and the other lists are read', async t => {
  const { account, ledger, read } = await setUp(t)
  for (let index = 0; index < 500; index++) {
    ledger.add(account, { kind: 'dividend', asset: 'BNB', amount: '1', at: NOW - DAY })
  }
  ledger.deposit(account, 'USDT', '5', { at: NOW - HOUR })
  const { entries, gaps } = await read('SPOT', NOW - 2 * DAY)
  assertRows(t, entries, [{ kind: 'deposit', amount: '5' }])
  t.strictSame(gaps, ['unreadable'])
})

t.test('every window of a long range is read, and no entry outside of it', async t => {
  const { account, ledger, read } = await setUp(t)
  const days = [0.5, 6.9, 7, 7.1, 29, 31, 60, 89]
  for (const [index, day] of days.entries()) {
    ledger.transfer(account, 'USDT', `${index + 1}`, 'SPOT', 'FUTURES', { at: NOW - day * DAY })
    ledger.convert(
      account,
      { asset: 'USDT', amount: '2' },
      { asset: 'BNB', amount: `${index + 1}` },
      {
        at: NOW - day * DAY
      }
    )
  }
  const transfers = async (marketType: MarketType, from: number, until: number) =>
    (await read(marketType, from, until)).entries
      .filter(({ kind }) => kind === 'transfer')
      .map(({ amount }) => Math.abs(Number(amount)))
      .sort()
  for (const marketType of ['SPOT', 'FUTURES'] as const) {
    t.strictSame(await transfers(marketType, NOW - 89 * DAY, NOW), [1, 2, 3, 4, 5, 6, 7, 8])
    t.strictSame(await transfers(marketType, NOW - 7 * DAY, NOW - 0.5 * DAY), [2, 3], 'the end is excluded')
  }
  const conversions = (await read('SPOT', NOW - 89 * DAY)).entries.filter(({ kind }) => kind === 'conversion')
  t.equal(conversions.length, 2 * days.length)
})

t.test('a list that the key may not read is a gap, and a key that may read none is refused', async t => {
  const { account, ledger, read } = await setUp(t)
  ledger.deposit(account, 'USDT', '5', { at: NOW - HOUR })
  ledger.convert(account, { asset: 'USDT', amount: '2' }, { asset: 'BNB', amount: '1' }, { at: NOW - HOUR })
  account.forbidden = /convert|withdraw/
  const { entries, gaps, completeUntil } = await read('SPOT', NOW - DAY)
  assertRows(t, entries, [{ kind: 'deposit', amount: '5' }])
  t.strictSame(gaps, ['permission'])
  t.equal(completeUntil, NOW)
  account.forbidden = /sapi/
  t.hasStrict(await failureOf(read('SPOT', NOW - DAY)), { code: 'authentication' })
})

t.test('a row that cannot be read is reported, and the others are read', async t => {
  const { simulated, account, ledger, read } = await setUp(t)
  for (const amount of ['1', '2', '3']) ledger.deposit(account, 'USDT', amount, { at: NOW - HOUR })
  simulated.fault({ kind: 'edited', edit: changingRows({ amount: '2' }, { amount: 'NaN' }) }, { path: /hisrec/ })
  const reasons: string[] = []
  const { entries } = await read('SPOT', NOW - DAY, NOW, { onInvalidRow: ({ reason }) => reasons.push(reason) })
  t.strictSame(entries.map(({ amount }) => amount).sort(), ['1', '3'])
  t.strictSame(reasons, ['amount is not a number'])
  t.hasStrict(await failureOf(read('SPOT', NOW - DAY)), { code: 'invalid_answer' })
})

t.test('a list that fails for a moment fails the ledger: nothing is concluded from what is missing', async t => {
  const { simulated, read } = await setUp(t)
  simulated.fault({ kind: 'rate_limited', retryAfterSeconds: 600 }, { path: /dribblet/ })
  t.hasStrict(await failureOf(read('SPOT', NOW - DAY)), { code: 'rate_limited' })
})

t.test('the testnet of spot has no ledger, and is not asked for it', async t => {
  const gateway = new CannedGateway('BINANCE')
  const context = { gateway, isTestnet: true, credentials, baseUrl: 'https://binance.example' }
  const client = new BinanceClient({ ...context, marketType: 'SPOT' })
  t.strictSame(await client.ledger({ from: 1, until: 2 }), { entries: [], completeUntil: 2, gaps: ['not_provided'] })
  t.strictSame(gateway.calls, [])
})

t.test('lists of the wallet have limits of their own, by address and by user', async t => {
  const gateway = new CannedGateway('BINANCE', path => {
    if (path.endsWith('hisrec') || path.endsWith('history')) return { status: 200, body: [] }
    const body = { rows: [], list: [], userAssetDribblets: [] }
    return { status: 200, body }
  })
  const context = { gateway, isTestnet: false, credentials, baseUrl: 'https://binance.example' }
  const client = new BinanceClient({ ...context, marketType: 'SPOT' })
  await client.ledger({ from: 1, until: 2 })
  const costs = new Map(gateway.calls.map(({ path, costs }) => [path, costs]))
  t.strictSame(Object.fromEntries([...costs].sort()), {
    '/sapi/v1/asset/assetDividend': '10 wallet',
    '/sapi/v1/asset/dribblet': '1 wallet',
    '/sapi/v1/asset/transfer': '1 wallet',
    '/sapi/v1/capital/deposit/hisrec': '1 wallet',
    '/sapi/v1/capital/withdraw/history': '18000 wallet_user',
    '/sapi/v1/convert/tradeFlow': '3000 wallet_user'
  })
  t.equal(gateway.calls.length, 19)
})
