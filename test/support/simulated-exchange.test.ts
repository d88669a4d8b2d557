import t, { type Test } from 'tap'
import { assertRows } from './assert-rows.ts'
import { totalOf } from './simulated-exchange/ledger.ts'
import { type NewOrder, SimulatedExchange } from './simulated-exchange/simulated-exchange.ts'

async function simulate(t: Test, seed = 1) {
  const simulated = await SimulatedExchange.start({ exchange: 'BINANCE', symbols: 3, seed })
  t.teardown(() => simulated.close())
  return { simulated, account: simulated.addAccount({ apiKey: 'k', apiSecret: 's' }) }
}

t.test('the prices of a market change in the same way for the same seed, and frozen ones do not change', async t => {
  const [one, other] = [await simulate(t, 7), await simulate(t, 7)]
  const [first = '', second = ''] = one.simulated.symbols
  for (const { simulated } of [one, other]) {
    simulated.freeze(second)
    for (let i = 0; i < 5; i++) simulated.movePrices()
  }
  const before = '100'
  t.not(one.simulated.price('SPOT', first), before)
  t.equal(one.simulated.price('SPOT', first), other.simulated.price('SPOT', first))
  t.equal(one.simulated.price('SPOT', second), before)
})

t.test('a spot fill moves an amount from one wallet to the other, minus the fee', async t => {
  const { simulated, account } = await simulate(t)
  simulated.setBalance(account, 'SPOT', 'USDT', '1000')
  simulated.fill(simulated.place(account, { quantity: '2', price: '100' }), { fee: '0.5', feeAsset: 'USDT' })
  t.strictSame(account.balances.SPOT.get('USDT'), { free: '799.5', locked: '0' })
  t.strictSame(account.balances.SPOT.get('BTC'), { free: '2', locked: '0' })
})

t.test('futures fills keep a position by average cost, also across zero', async t => {
  const { simulated, account } = await simulate(t)
  const trade = (side: NewOrder['side'], quantity: string, price: string) => {
    const placed = simulated.place(account, { market: 'FUTURES', side: side ?? 'BUY', quantity, price })
    return simulated.fill(placed, { fee: '0' }).realizedPnl
  }
  t.equal(trade('BUY', '1', '100'), '0')
  t.equal(trade('BUY', '1', '110'), '0')
  assertRows(t, account.positions, [{ quantity: '2', entryPrice: '105' }])
  t.equal(trade('SELL', '1', '115'), '10')
  t.equal(trade('SELL', '3', '100'), '-5')
  assertRows(t, account.positions, [{ quantity: '-2', entryPrice: '100' }])
  t.equal(trade('BUY', '2', '90'), '20')
  assertRows(t, account.positions, [{ quantity: '0' }])
  t.equal(account.balances.FUTURES.get('USDT')?.free, '25')
})

t.test('a fault affects the given number of requests, on its path only', async t => {
  const { simulated } = await simulate(t)
  simulated.fault({ kind: 'status', status: 503 }, { times: 1, path: /price/ })
  const statuses = []
  for (const path of ['/api/v3/time', '/api/v3/ticker/price', '/api/v3/ticker/price']) {
    statuses.push((await fetch(`${simulated.url}${path}`)).status)
  }
  t.strictSame(statuses, [200, 503, 200])
  await simulated.seen(/price/, 2)
})

t.test('requests with a wrong key or signature are rejected', async t => {
  const { simulated } = await simulate(t)
  const headers = { 'x-mbx-apikey': 'k' }
  const unsigned = await fetch(`${simulated.url}/api/v3/account?timestamp=${Date.now()}&signature=00`, { headers })
  t.hasStrict(await unsigned.json(), { code: -1022 })
  const unknown = await fetch(`${simulated.url}/api/v3/account`)
  t.hasStrict(await unknown.json(), { code: -2015 })
})

t.test('its own books and its fills add up to its wallets', async t => {
  const { simulated, account } = await simulate(t)
  const { ledger } = simulated
  ledger.deposit(account, 'USDT', '1000')
  const pending = ledger.deposit(account, 'BTC', '2', { state: 'pending' })
  ledger.withdraw(account, 'USDT', '99', { fee: '1' })
  const refused = ledger.withdraw(account, 'USDT', '5', { fee: '0.5', state: 'pending' })
  t.equal(totalOf(account, 'SPOT', 'USDT'), '894.5')
  ledger.fail(account, refused)
  ledger.transfer(account, 'USDT', '300', 'SPOT', 'FUTURES')
  ledger.transfer(account, 'USDT', '50', 'FUNDING', 'SPOT')
  ledger.convert(account, { asset: 'USDT', amount: '20' }, { asset: 'BNB', amount: '0.06' })
  ledger.fund(account, 'BTCUSDT', 'USDT', '-0.25')
  simulated.fill(simulated.place(account, { quantity: '1', price: '100' }), { fee: '0.5', feeAsset: 'USDT' })
  t.equal(totalOf(account, 'SPOT', 'USDT'), '529.5')
  t.equal(totalOf(account, 'FUTURES', 'USDT'), '299.75')
  t.equal(totalOf(account, 'SPOT', 'BNB'), '0.06')
  t.equal(totalOf(account, 'SPOT', 'BTC'), '1')
  ledger.complete(account, pending)
  t.equal(totalOf(account, 'SPOT', 'BTC'), '3')
  t.equal(pending.totalAfter, '3')
})
