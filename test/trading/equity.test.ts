import t from 'tap'
import { equityOf, valueIn } from '../../src/trading/equity.ts'

/** Prices by symbol. */
const pricesOf = (prices: Readonly<Record<string, string>>) => ({ spot: (symbol: string) => prices[symbol] ?? null })

t.test('an asset is valued by its pair, its inverse pair, pairs with USDT, then pairs with BTC', async t => {
  const value = (asset: string, currency: string, prices: Record<string, string>) =>
    valueIn(currency, [{ asset, amount: '2' }], pricesOf(prices))
  t.equal(value('USDT', 'USDT', {}), '2')
  t.equal(
    value('ETH', 'USDT', { ETHUSDT: '3000.000000000000000001', ETHBTC: '1', BTCUSDT: '1' }),
    '6000.000000000000000002'
  )
  t.equal(value('TRY', 'USDT', { USDTTRY: '40' }), '0.05')
  t.equal(value('ETH', 'EUR', { ETHUSDT: '3000', EURUSDT: '1.25', ETHBTC: '9', BTCEUR: '9' }), '4800')
  t.equal(value('DAI', 'USDT', { DAIBTC: '0.00001', BTCUSDT: '100000' }), '2')
  t.equal(value('LUNC', 'USDT', { LUNCBTC: '0.00001', LUNCEUR: '1' }), null, 'BTC has no price')
  t.equal(value('ETH', 'USDT', { USDTETH: '0' }), null, 'a price of zero has no inverse')
})

t.test('amounts of several assets are one value, unless one of them has no price', async t => {
  const prices = pricesOf({ BTCUSDT: '100' })
  const amounts = [
    { asset: 'BTC', amount: '-0.5' },
    { asset: 'USDT', amount: '20' }
  ]
  t.equal(valueIn('USDT', amounts, prices), '-30')
  t.equal(valueIn('USDT', [], prices), '0')
  t.equal(valueIn('USDT', [...amounts, { asset: 'LUNC', amount: '1' }], prices), null)
})

t.test('debts and losses are subtracted, and what has no price is listed', async t => {
  const holdings = [
    { asset: 'USDT', amount: '1000' },
    { asset: 'BTC', amount: '-2' },
    { asset: 'LUNC', amount: '5' },
    { asset: 'ABC', amount: '0' }
  ]
  const positions = [
    { symbol: 'ETHUSDC', quote: 'USDC', quantity: '1', unrealizedPnl: '-10' },
    { symbol: 'XRPUSDT', quote: null, quantity: '-3', unrealizedPnl: '7' },
    { symbol: 'XRPUSDT', quote: 'USDT', quantity: '3', unrealizedPnl: null }
  ]
  t.strictSame(equityOf('USDT', holdings, positions, pricesOf({ BTCUSDT: '100', USDCUSDT: '0.99' })), {
    equity: '790.1',
    cash: '1000',
    holdings: '-200',
    unrealizedPnl: '-9.9',
    unvalued: [
      { kind: 'asset', name: 'LUNC', amount: '5' },
      { kind: 'position', name: 'XRPUSDT', amount: '-3' },
      { kind: 'position', name: 'XRPUSDT', amount: '3' }
    ]
  })
})
