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

t.test('an unknown quote currency is not guessed', async t => {
  for (const symbol of ['', 'USDT', 'KRW', 'ABCXYZ', 'btcusdt']) t.equal(partsOfSymbol(symbol), null, symbol)
})

t.test('each of these currencies is a quote', async t => {
  const quotes = [
    ...[
      'USDT',
      'USDC',
      'FDUSD',
      'TUSD',
      'BUSD',
      'USDP',
      'USDE',
      'USD1',
      'DAI',
      'EURI',
      'USD',
      'EUR',
      'GBP',
      'TRY',
      'BRL'
    ],
    ...['JPY', 'AUD', 'KRW', 'IDR', 'THB', 'SGD', 'PLN', 'ARS', 'MXN', 'ZAR', 'UAH', 'BTC', 'ETH', 'BNB', 'SOL', 'XRP'],
    ...['TRX', 'DOGE', 'DOT', 'OKB']
  ]
  for (const quote of quotes) t.strictSame(partsOfSymbol(`QQQ${quote}`), { base: 'QQQ', quote }, quote)
})
