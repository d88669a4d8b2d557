import t from 'tap'
import { partsOfSymbol } from '../../src/trading/quote-currency.ts'

t.test('the quote of a symbol is the longest known currency that it ends with', async t => {
  for (const [symbol, base, quote] of [
    ['BTCUSDT', 'BTC', 'USDT'],
    ['BUSDT', 'B', 'USDT'],
    ['USDTKRW', 'USDT', 'KRW'],
    ['USDCUSDT', 'USDC', 'USDT'],
    ['BTCFDUSD', 'BTC', 'FDUSD'],
    ['BTCUSDC', 'BTC', 'USDC'],
    ['BTCUSD', 'BTC', 'USD'],
    ['WBTCETH', 'WBTC', 'ETH'],
    ['ETHBTC', 'ETH', 'BTC'],
    ['1000SHIBUSDT', '1000SHIB', 'USDT'],
    ['币安人生USDT', '币安人生', 'USDT']
  ] as const) {
    t.strictSame(partsOfSymbol(symbol), { base, quote }, symbol)
  }
})

t.test('nothing is guessed', async t => {
  for (const symbol of ['', 'USDT', 'KRW', 'ABCXYZ', 'btcusdt']) t.equal(partsOfSymbol(symbol), null, symbol)
})
