import { Big } from 'big.js'
import fc from 'fast-check'
import t from 'tap'
import { Agent } from 'undici'
import { negated, toDecimal } from '../../src/domain/decimal.ts'
import { ExchangeRegistry } from '../../src/exchanges/exchange-registry.ts'
import { parseLossless, recordOf, rowsOf, textOf, UnreadableAnswer } from '../../src/exchanges/http/answer-fields.ts'
import { RowReader } from '../../src/exchanges/http/row-reader.ts'
import { SimulatedExchange } from '../support/simulated-exchange/simulated-exchange.ts'
import { cannedExchange } from './canned-exchange.ts'
import { fixture, recordedTest } from './fixtures.ts'

/** Decimals as exchanges write them: up to 30 digits before and after the point. */
const decimals = fc
  .tuple(fc.boolean(), fc.bigInt({ min: 0n, max: 10n ** 30n }), fc.option(fc.stringMatching(/^\d{1,30}$/)))
  .map(([negative, whole, fraction]) => `${negative ? '-' : ''}${whole}${fraction === null ? '' : `.${fraction}`}`)
const exponents = fc.tuple(decimals, fc.constantFrom('e', 'E'), fc.integer({ min: -30, max: 30 }))
const texts = fc.string({ unit: 'grapheme', maxLength: 40 })

t.test('a decimal keeps every digit', async () => {
  fc.assert(fc.property(decimals, decimal => toDecimal(decimal) === decimal))
})

t.test('an exponent is expanded without losing a digit', async () => {
  fc.assert(
    fc.property(exponents, ([decimal, e, exponent]) => {
      const plain = toDecimal(`${decimal}${e}${exponent}`)
      return plain !== null && /^-?\d+(\.\d+)?$/.test(plain) && new Big(plain).eq(new Big(`${decimal}e${exponent}`))
    })
  )
  t.equal(toDecimal('1.4E-7'), '0.00000014')
})

t.test('a decimal negated twice is unchanged', async () => {
  fc.assert(fc.property(decimals, decimal => negated(negated(decimal)) === decimal))
})

t.test('text that is not a number of at most 40 digits is rejected', async t => {
  const hostile = [
    '',
    ' 1',
    '1 ',
    '+1',
    '01',
    '.5',
    '1.',
    'NaN',
    'Infinity',
    '0x10',
    '1e999',
    '1e',
    '１',
    '9'.repeat(41)
  ]
  for (const text of hostile) t.equal(toDecimal(text), null, JSON.stringify(text))
})

t.test('JSON numbers of an answer keep every digit', async () => {
  fc.assert(
    fc.property(fc.array(decimals, { minLength: 1, maxLength: 20 }), numbers => {
      const rows = rowsOf(parseLossless(`[${numbers.map(digits => `{"n":${digits}}`).join(',')}]`), 'rows')
      return rows.every((row, index) => textOf(row, 'n') === numbers[index])
    })
  )
})

t.test('the row reader agrees with the parser for any chunks of an answer', async () => {
  const value = fc.oneof(texts, fc.boolean(), fc.constant(null), fc.array(texts, { maxLength: 3 }), fc.object())
  const row = fc.record({ symbol: texts, price: fc.oneof(decimals, texts), noise: value })
  const cuts = fc.array(fc.integer({ min: 1, max: 40 }), { minLength: 1, maxLength: 30 })
  fc.assert(
    fc.property(fc.array(row, { maxLength: 12 }), cuts, fc.boolean(), fc.boolean(), (rows, cuts, spaced, enveloped) => {
      const list = JSON.stringify(rows, null, spaced ? 2 : undefined)
      const text = enveloped ? `{"code":"0 [","data":${list},"msg":"}]"}` : list
      const read: (string | null)[][] = []
      const reader = new RowReader(['price', 'symbol'], values => read.push([...values]))
      for (const chunk of chunksOf(Buffer.from(text), cuts)) reader.push(chunk)
      const frame = reader.end()
      const expected = rows.map(({ price, symbol }) => [price, symbol])
      const envelope = enveloped ? { code: '0 [', data: [], msg: '}]' } : []
      return (
        JSON.stringify(read) === JSON.stringify(expected) &&
        JSON.stringify(JSON.parse(frame)) === JSON.stringify(envelope)
      )
    })
  )
})

t.test('the row reader reads keyed rows, and other members as the envelope', async t => {
  const read: [string, string | null | undefined][] = []
  const reader = new RowReader(['closing_price'], ([price], key) => read.push([key, price]), { keyed: true })
  const text =
    '{"status":"0000","data":{"BTC":{"closing_price":"9132000"},"date":"1587710878669","E{H":{"closing_price":1.4E-7}}}'
  for (const byte of Buffer.from(text)) reader.push(Buffer.of(byte))
  t.equal(reader.end(), '{"status":"0000","data":{"date":"1587710878669"}}')
  t.strictSame(read, [
    ['BTC', '9132000'],
    ['E{H', '1.4E-7']
  ])
})

t.test('the row reader rejects rows that are truncated, malformed or beyond its bounds', async t => {
  const hostile = [
    '[',
    '[{"symbol":"A"}',
    '[{"symbol":"A"},',
    '[{"symbol":"A"},]',
    '[{"symbol":"A"}{"symbol":"B"}]',
    '[1,2]',
    '["symbol"]',
    '[{symbol:1}]',
    '[{"symbol" 1}]',
    '[{"symbol":"\\x"}]',
    '[{"symbol":{"nested":1}}]',
    `[{"symbol":"${'A'.repeat(300)}"}]`,
    `[{"noise":"${'A'.repeat(9_000)}"}]`,
    `{"noise":"${'A'.repeat(70_000)}"`
  ]
  for (const text of hostile) {
    const reader = new RowReader(['symbol'], () => {})
    const read = () => {
      reader.push(Buffer.from(text))
      return reader.end()
    }
    t.throws(read, UnreadableAnswer, text.slice(0, 40))
  }
})

t.test('an answer that is nested too deeply is rejected', async t => {
  t.throws(() => parseLossless('['.repeat(500_000)), UnreadableAnswer)
})

recordedTest('order ids above 2^53 keep every digit in requests and answers', async t => {
  const rows = rowsOf(fixture('order_ids/binance_usdm_longer_than_2_53.json').rows, 'rows')
  t.not(rows.length, 0)
  const agent = new Agent()
  t.teardown(() => agent.close())
  for (const row of rows) {
    const id = textOf(row, 'order_id')
    const symbol = textOf(row, 'symbol')
    t.not(String(Number(id)), id, 'as a float it would be another order')
    const answer =
      `{"orderId":${id},"symbol":"${symbol}","status":"NEW","clientOrderId":"c","price":"1","avgPrice":"0","origQty":"1",` +
      '"executedQty":"0","type":"LIMIT","side":"BUY","positionSide":"BOTH","time":1700000000000}'
    const asked: (string | null)[] = []
    const url = await cannedExchange(t, (_, query) => {
      asked.push(new URLSearchParams(query).get('orderId'))
      return { status: 200, body: answer }
    })
    const registry = new ExchangeRegistry({ dispatcher: agent, urls: { BINANCE_FUTURES_URL: url } })
    const credentials = { apiKey: 'k', apiSecret: 's' }
    const client = registry.client({ exchange: 'BINANCE', marketType: 'FUTURES', credentials })
    t.equal((await client.order({ exchangeOrderId: id, exchangeSymbol: symbol })).exchangeOrderId, id)
    t.strictSame(asked, [id])
  }
})

t.test('prices keep every digit from the exchange to the client', async t => {
  const agent = new Agent()
  t.teardown(() => agent.close())
  const positive = decimals.filter(decimal => !decimal.startsWith('-') && /[1-9]/.test(decimal))
  for (const exchange of ['BINANCE', 'BYBIT', 'OKX', 'UPBIT', 'BITHUMB'] as const) {
    const simulated = await SimulatedExchange.start({ exchange, symbols: 2 })
    t.teardown(() => simulated.close())
    const registry = new ExchangeRegistry({ dispatcher: agent, urls: simulated.urls })
    const client = registry.client({ exchange, marketType: 'SPOT' })
    const [first = '', second = ''] = simulated.symbols
    // Few runs, because Upbit's public limit is ten calls a second.
    const survive = fc.asyncProperty(positive, positive, async (one, other) => {
      simulated.setPrice('SPOT', first, one)
      simulated.setPrice('SPOT', second, other)
      const prices = await client.lastPrices()
      return prices.find(({ symbol }) => symbol === first)?.price === one && prices[1]?.price === other
    })
    await t.resolves(fc.assert(survive, { numRuns: 8 }), exchange)
  }
})

t.test('a missing or wrong field is an error', async t => {
  t.throws(() => recordOf([], 'the answer'), { message: 'the answer is not an object' })
  t.throws(() => textOf({ id: 'A'.repeat(300) }, 'id'), UnreadableAnswer)
  t.throws(() => textOf({}, 'id'), { message: 'id is missing' })
})

function* chunksOf(bytes: Buffer, sizes: readonly number[]): Generator<Buffer> {
  for (let at = 0, index = 0; at < bytes.length; index++) {
    const size = sizes[index % sizes.length] ?? 1
    yield bytes.subarray(at, at + size)
    at += size
  }
}
