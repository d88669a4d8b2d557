import t, { type Test } from 'tap'
import { Agent } from 'undici'
import { MINUTE } from '../../src/async/durations.ts'
import { EXCHANGE_NAMES, type ExchangeName, MARKET_TYPES, type MarketType } from '../../src/domain/market.ts'
import { CATALOGUE } from '../../src/exchanges/catalogue.ts'
import { MAX_EXCERPT } from '../../src/exchanges/excerpt.ts'
import type { InvalidRow } from '../../src/exchanges/exchange-client.ts'
import { ExchangeRegistry } from '../../src/exchanges/exchange-registry.ts'
import { changingRows, replacingRows } from '../support/simulated-exchange/edits.ts'
import { SimulatedExchange } from '../support/simulated-exchange/simulated-exchange.ts'

const KEYS = { apiKey: 'KEYOFALICE', apiSecret: 'secretofalice', passphrase: 'passphrase' }
const PATIENT = { deadlineMs: 60_000, attemptMs: 30_000 }

const MARKETS = EXCHANGE_NAMES.flatMap(exchange =>
  MARKET_TYPES.filter(market => CATALOGUE[exchange].markets[market] !== undefined).map(market => ({ exchange, market }))
)

const agent = new Agent()
t.teardown(() => agent.close())

async function start(t: Test, exchange: ExchangeName, market: MarketType) {
  const simulated = await SimulatedExchange.start({ exchange, symbols: 3 })
  t.teardown(() => simulated.close())
  const account = simulated.addAccount(KEYS)
  let now = Date.now()
  const counted: string[] = []
  const registry = new ExchangeRegistry({
    dispatcher: agent,
    urls: simulated.urls,
    ...PATIENT,
    random: () => 0,
    now: () => now,
    onInvalidRows: ({ operation, kind, rows }) => counted.push(`${operation} ${kind} ${rows}`)
  })
  const client = registry.client({ exchange, marketType: market, credentials: KEYS, accountId: '7' })
  const invalid: InvalidRow[] = []
  const accepting = { onInvalidRow: (row: InvalidRow) => invalid.push(row) }
  return {
    simulated,
    account,
    registry,
    client,
    counted,
    invalid,
    accepting,
    count: () => registry.status()[0]?.invalidRows,
    pass: (ms: number) => {
      now += ms
    }
  }
}

const ENDLESS = {
  BINANCE: { row: '{"symbol":"BTCUSDT","price":"1"}', before: '[', after: ']' },
  BYBIT: { row: '{"symbol":"BTCUSDT","lastPrice":"1"}', before: '{"retCode":0,"result":{"list":[', after: ']}}' },
  OKX: { row: '{"instId":"BTC-USDT","last":"1"}', before: '{"code":"0","data":[', after: ']}' }
} as const

for (const exchange of ['BINANCE', 'BYBIT', 'OKX'] as const) {
  t.test(`${exchange}: the rows of a list after the first 100,000 are left out, and counted`, async t => {
    const { simulated, client, accepting, count } = await start(t, exchange, 'SPOT')
    const { row, before, after } = ENDLESS[exchange]
    const body = before + Array.from({ length: 100_007 }, () => row).join(',') + after
    simulated.fault({ kind: 'status', status: 200, body })
    t.equal((await client.lastPrices(accepting)).length, 100_000)
    t.equal(count(), 7)
  })
}

for (const { exchange, market } of MARKETS) {
  t.test(
    `${exchange} ${market}: a ticker that is NaN leaves the other prices, and is counted until it is a number`,
    async t => {
      const { simulated, client, accepting, invalid, count, counted, registry } = await start(t, exchange, market)
      const [first = '', second = '', third = ''] = simulated.symbols
      const symbol = simulated.exchangeSymbol(second, market)
      const names = simulated.fields(market)
      const row = { [names.symbol]: names.symbol === 'key' ? symbol.split('-')[1] : symbol }
      simulated.fault({ kind: 'edited', edit: changingRows(row, { [names.price]: 'NaN' }) })
      const prices = await client.lastPrices(accepting)
      t.strictSame(prices.map(price => price.symbol).sort(), [first, third].sort())
      t.strictSame(
        invalid.map(({ kind, reason, times }) => ({ kind, reason, times })),
        [{ kind: 'unreadable', reason: 'a price is not a number', times: 1 }]
      )
      t.equal(count(), 1)
      t.strictSame(counted, ['lastPrices unreadable 1'])
      await t.rejects(client.lastPrices(), { code: 'invalid_answer', operation: 'lastPrices' }, 'unless it is accepted')

      simulated.clearFaults()
      for (const removed of [null, 'text', [1]]) {
        simulated.fault({ kind: 'edited', edit: changingRows(row, { [names.price]: removed }) }, { times: 1 })
        t.equal((await client.lastPrices(accepting)).length, 2, `the others of ${JSON.stringify(removed)}`)
        t.equal(count(), 1)
      }
      t.equal((await client.lastPrices()).length, 3)
      t.equal(count(), 0)
      t.equal(registry.status()[0]?.lastErrorCode, null)
    }
  )

  t.test(`${exchange} ${market}: an order with an unknown state leaves the other orders`, async t => {
    const { simulated, account, client, accepting, invalid, count } = await start(t, exchange, market)
    const names = simulated.fields(market)
    const orders = [0, 1, 2].map(() => simulated.place(account, { market, quantity: '1' }))
    const [good, bad, other] = orders
    if (!good || !bad || !other) throw new Error('three orders')
    const ids = async () => (await client.openOrders(accepting)).map(({ exchangeOrderId }) => exchangeOrderId).sort()
    const both = [good, other].map(({ exchangeOrderId }) => exchangeOrderId).sort()
    const row = { [names.orderId]: bad.exchangeOrderId }
    const edits = [
      changingRows(row, { [names.state]: 'PENDING_REVIEW' }),
      changingRows(row, { [names.state]: undefined }),
      changingRows(row, { side: { of: 'none' } }),
      replacingRows(row, null)
    ]
    for (const [index, edit] of edits.entries()) {
      simulated.clearFaults()
      simulated.fault({ kind: 'edited', edit })
      t.strictSame(await ids(), both, `edit ${index}`)
      t.equal(count(), 1, `edit ${index} is counted`)
    }
    t.strictSame(
      invalid.map(({ reason }) => reason),
      [`${names.state} is unknown`, `${names.state} is missing`, 'side is not a short text', 'a row is not an object']
    )
    await t.rejects(client.openOrders(), { code: 'invalid_answer' }, 'unless they are accepted')
    simulated.clearFaults()
    t.equal((await ids()).length, 3)
    t.equal(count(), 0)
  })

  t.test(`${exchange} ${market}: an asset that cannot be read leaves the others`, async t => {
    const { simulated, account, client, accepting, invalid, count } = await start(t, exchange, market)
    for (const asset of ['BTC', 'XRP', 'SOL']) simulated.setBalance(account, market, asset, '5')
    const { asset, amount } = simulated.fields(market)
    for (const value of ['NaN', undefined, [5]]) {
      simulated.clearFaults()
      simulated.fault({ kind: 'edited', edit: changingRows({ [asset]: 'XRP' }, { [amount]: value }) })
      const read = await client.balances(accepting)
      t.strictSame(read.map(({ asset }) => asset).sort(), ['BTC', 'SOL'])
      t.equal(count(), 1)
    }
    t.strictSame(
      invalid.map(({ reason }) => reason),
      [`${amount} is not a number`, `${amount} is missing`, `${amount} is not a short text`]
    )
    await t.rejects(client.balances(), { code: 'invalid_answer', operation: 'balances' }, 'unless it is accepted')
  })
}

const CONTRADICTIONS = [
  { exchange: 'BYBIT', row: { coin: 'XRP' }, change: { equity: '4.9999' } },
  { exchange: 'BYBIT', row: { coin: 'XRP' }, change: { spotBorrow: '0.00000005' } },
  { exchange: 'BYBIT', row: { coin: 'XRP' }, change: { equity: 'NaN' } },
  { exchange: 'OKX', row: { ccy: 'XRP' }, change: { cashBal: '5.1' } },
  { exchange: 'OKX', row: { ccy: 'XRP' }, change: { isoEq: '1', isoUpl: '-0.5' } },
  { exchange: 'OKX', row: { ccy: 'XRP' }, change: { interest: '0.001' } }
] as const

for (const { exchange, row, change } of CONTRADICTIONS) {
  t.test(
    `${exchange}: a balance that contradicts its equation is used, and counted: ${JSON.stringify(change)}`,
    async t => {
      const { simulated, account, client, accepting, invalid, count, registry } = await start(t, exchange, 'SPOT')
      for (const asset of ['BTC', 'XRP']) simulated.setBalance(account, 'SPOT', asset, '5')
      t.equal((await client.balances()).length, 2)
      t.equal(count(), 0)
      simulated.fault({ kind: 'edited', edit: changingRows(row, change) })
      t.equal((await client.balances(accepting)).length, 2)
      t.strictSame(
        invalid.map(({ kind, times }) => ({ kind, times })),
        [{ kind: 'contradictory', times: 1 }]
      )
      t.equal(count(), 1)
      t.equal((await client.balances()).length, 2, 'the list is complete')
      t.hasStrict(registry.invalidRows.take()[0], { kind: 'contradictory', operation: 'balances', times: 2 })
      simulated.clearFaults()
      await client.balances()
      t.equal(count(), 0)
    }
  )
}

for (const exchange of ['UPBIT', 'BITHUMB'] as const) {
  t.test(`${exchange}: an order whose volumes contradict each other is used, and counted`, async t => {
    const { simulated, account, client, count } = await start(t, exchange, 'SPOT')
    const order = simulated.place(account, { quantity: '3' })
    simulated.fill(order, { quantity: '1' })
    simulated.fault({
      kind: 'edited',
      edit: changingRows({ uuid: order.exchangeOrderId }, { remaining_volume: '1.5' })
    })
    t.equal((await client.openOrders())[0]?.filledQuantity, '1')
    t.equal(count(), 1)
    await client.order(order)
    t.equal(count(), 2)
    simulated.clearFaults()
    await client.openOrders()
    await client.order(order)
    t.equal(count(), 0)
  })
}

t.test('amounts that the equation does not know, and rounding, are no contradiction', async t => {
  const cases = [
    ['BYBIT', { coin: 'XRP' }, { equity: '5.00000003' }],
    ['BYBIT', { coin: 'XRP' }, { walletBalance: '7', spotBorrow: '2' }],
    ['BYBIT', { coin: 'XRP' }, { unrealisedPnl: '-1', equity: '4' }],
    [
      'BYBIT',
      { accountType: 'UNIFIED' },
      { totalEquity: '9', totalMarginBalance: '5', coin: [{ coin: 'XRP', walletBalance: '5', equity: '9' }] }
    ],
    ['OKX', { ccy: 'XRP' }, { cashBal: '1', isoEq: '4', isoUpl: '-0.5', upl: '-0.5' }],
    ['OKX', { ccy: 'XRP' }, { cashBal: '3', stgyEq: '2' }],
    ['OKX', { ccy: 'XRP' }, { cashBal: '5.000000000000002' }],
    ['OKX', { ccy: 'XRP' }, { cashBal: '' }]
  ] as const
  for (const [exchange, row, change] of cases) {
    const { simulated, account, client, invalid, accepting } = await start(t, exchange, 'SPOT')
    simulated.setBalance(account, 'SPOT', 'XRP', '5')
    simulated.fault({ kind: 'edited', edit: changingRows(row, change) })
    t.equal((await client.balances(accepting)).length, 1)
    t.strictSame(invalid, [], JSON.stringify(change))
  }
})

t.test(
  'BINANCE: a conditional order with an unknown state leaves the ordinary and the other conditional orders',
  async t => {
    const { simulated, account, client, accepting, invalid, count } = await start(t, 'BINANCE', 'FUTURES')
    const market = 'FUTURES'
    const stop = { market, type: 'STOP_MARKET', stopPrice: '90', quantity: '1' } as const
    const [ordinary, bad, good] = [{ market, quantity: '1' } as const, stop, stop].map(one =>
      simulated.place(account, one)
    )
    simulated.fault({
      kind: 'edited',
      edit: changingRows({ algoId: bad?.exchangeOrderId }, { algoStatus: 'PAUSED_BY_SYSTEM' })
    })
    const listed = (await client.openOrders(accepting)).map(({ exchangeOrderId }) => exchangeOrderId)
    t.strictSame(listed.sort(), [ordinary?.exchangeOrderId, good?.exchangeOrderId].sort())
    t.strictSame(
      invalid.map(({ reason }) => reason),
      ['algoStatus is unknown']
    )
    t.equal(count(), 1)
  }
)

for (const exchange of ['BINANCE', 'BYBIT', 'OKX', 'UPBIT'] as const) {
  t.test(
    `${exchange}: an unreadable signed answer is an error of the exchange, and counted until it is readable`,
    async t => {
      const { simulated, account, client, count, counted, registry, pass } = await start(t, exchange, 'SPOT')
      const { exchangeOrderId, exchangeSymbol } = simulated.place(account, { quantity: '1' })
      const other = simulated.place(account, { quantity: '1' })
      const { orderId, state } = simulated.fields('SPOT')
      simulated.fault({ kind: 'edited', edit: changingRows({ [orderId]: exchangeOrderId }, { [state]: 'UNHEARD' }) })
      await t.rejects(client.order({ exchangeOrderId, exchangeSymbol }), { code: 'invalid_answer' })
      t.equal(registry.status()[0]?.lastErrorCode, 'invalid_answer')
      t.equal(count(), 1)
      t.strictSame(counted, ['order unreadable 1'])
      t.equal((await client.order(other)).status, 'open')
      t.equal(count(), 1, 'another order is another list')
      simulated.clearFaults()
      t.equal((await client.order({ exchangeOrderId, exchangeSymbol })).status, 'open')
      t.equal(count(), 0)

      simulated.fault({ kind: 'edited', edit: () => '{"code":"0","retCode":0,"data":{},"result":{}}' })
      await t.rejects(client.openOrders(), { code: 'invalid_answer' })
      t.equal(count(), 1)
      pass(10 * MINUTE)
      t.equal(count(), 0, 'a list that is not read any more is not counted')
    }
  )
}

t.test('what waits to be stored is one row per kind of fault, with the times and no secret', async t => {
  for (const exchange of ['BINANCE', 'BYBIT', 'OKX'] as const) {
    const { simulated, account, client, accepting, registry, pass } = await start(t, exchange, 'SPOT')
    const [bad, worse] = [simulated.place(account, { quantity: '1' }), simulated.place(account, { quantity: '1' })]
    const { orderId, state } = simulated.fields('SPOT')
    const secrets = {
      clientOrderId: KEYS.apiKey,
      note: `x${KEYS.apiSecret}y`,
      [KEYS.passphrase]: KEYS.passphrase,
      signature: 'deadbeef',
      text: 'z'.repeat(3_000),
      url: 'https://api.example/?signature=0123456789abcdef'
    }
    const spoil = (id: string) => changingRows({ [orderId]: id }, { ...secrets, [state]: 'UNHEARD' })
    const edit = (body: string) => spoil(bad.exchangeOrderId)(spoil(worse.exchangeOrderId)(body))
    simulated.fault({ kind: 'edited', edit })
    await client.openOrders(accepting)
    pass(MINUTE)
    await client.openOrders(accepting)
    const [record, ...rest] = registry.invalidRows.take()
    t.strictSame(rest, [])
    t.hasStrict(record, {
      exchange,
      marketType: 'SPOT',
      operation: 'openOrders',
      accountId: '7',
      kind: 'unreadable',
      reason: `${state} is unknown`,
      times: 4
    })
    t.equal((record?.lastSeenAt ?? 0) - (record?.firstSeenAt ?? 0), MINUTE)
    const excerpt = record?.excerpt ?? ''
    t.ok(excerpt.length <= MAX_EXCERPT, `at most ${MAX_EXCERPT} characters: ${excerpt.length}`)
    t.ok(excerpt.includes(`"${orderId}"`), excerpt)
    for (const secret of [...Object.values(KEYS), 'deadbeef', '0123456789abcdef', 'zzz'])
      t.notOk(excerpt.includes(secret), `${secret} is not in ${excerpt}`)
    t.strictSame(registry.invalidRows.take(), [], 'it waits no more')
    if (record) registry.invalidRows.giveBack([record])
    await client.openOrders(accepting)
    t.equal(registry.invalidRows.take()[0]?.times, 6, 'what could not be stored is added to what came later')
  }
})
