import t, { type Test } from 'tap'
import { Agent } from 'undici'
import type { TransactionSql } from '../../src/database/client.ts'
import type { ExchangeName } from '../../src/domain/market.ts'
import { ExchangeRegistry } from '../../src/exchanges/exchange-registry.ts'
import { Instruments } from '../../src/exchanges/instruments.ts'
import { updateOpenOrders } from '../../src/jobs/update-open-orders.ts'
import { dayOf, summarise } from '../../src/trading/daily-summaries.ts'
import { computePerformance, planPerformance } from '../../src/trading/performance-store.ts'
import { captureLog } from '../support/app.ts'
import { assertRows } from '../support/assert-rows.ts'
import { changingRows } from '../support/simulated-exchange/edits.ts'
import { type NewOrder, SimulatedExchange } from '../support/simulated-exchange/simulated-exchange.ts'
import {
  booksOf,
  fixedPrices,
  insertOrder,
  seedAccount,
  TestAccounts,
  testContext,
  tradingDatabase
} from '../support/trading.ts'

/** Deadlines that no call of these tests misses. */
const PATIENT = { deadlineMs: 60_000, attemptMs: 30_000 }
const CREDENTIALS = { apiKey: 'key', apiSecret: 'secret', passphrase: 'passphrase' }
/** Longer than the pause after which a list without a wanted symbol is read again. */
const LATER_MS = 120_000
const never = new AbortController().signal

const agent = new Agent()
t.teardown(() => agent.close())

interface Options {
  pairs: readonly { base: string; quote: string }[]
  prices?: Record<string, string>
}

/** An account on a simulated exchange, whose orders the job updates over HTTP with the instruments of the exchange. */
async function start(t: Test, name: ExchangeName, { pairs, prices = {} }: Options) {
  const database = await tradingDatabase(t)
  const exchange = await SimulatedExchange.start({ exchange: name, symbols: pairs })
  t.teardown(() => exchange.close())
  const registry = new ExchangeRegistry({ dispatcher: agent, urls: exchange.urls, ...PATIENT })
  const owner = exchange.addAccount(CREDENTIALS)
  const account = await seedAccount(database, { exchange: name })
  const accounts = new TestAccounts([account], (_account, marketType) =>
    registry.client({ exchange: name, marketType, credentials: CREDENTIALS })
  )
  let nowMs = 1_000_000
  const instruments = new Instruments({
    database,
    read: (market, options) => registry.client(market).instruments({ ...options, ...PATIENT }),
    log: captureLog().logger,
    closing: never,
    monotonic: () => nowMs,
    waitMs: PATIENT.deadlineMs
  })
  const job = updateOpenOrders({ accounts, database, prices: fixedPrices(prices), instruments })
  const place = async (order: NewOrder & { quantity: string; recordedSymbol?: string }) => {
    const placed = exchange.place(owner, order)
    const symbol = order.recordedSymbol ?? placed.symbol
    const orderId = await insertOrder(database, account, { ...placed, symbol, quantity: order.quantity })
    return Object.assign(placed, { orderId })
  }
  return {
    database,
    exchange,
    account,
    place,
    run: (overrides = {}) => job(testContext(database, overrides).context),
    books: () => booksOf(database, account),
    /** Advances the clock of the instruments. */
    wait: () => {
      nowMs += LATER_MS
    }
  }
}

const AMBIGUOUS = [
  ['XRP', 'RLUSD'],
  ['USDT', 'USD'],
  ['GRT', 'USD'],
  ['BTC', 'MNT'],
  ['BTC', 'U']
] as const
const CASES: readonly (readonly [ExchangeName, string, string])[] = [
  ...(['BINANCE', 'BYBIT'] as const).flatMap(name => AMBIGUOUS.map(pair => [name, ...pair] as const)),
  ['OKX', 'XRP', 'RLUSD'],
  ['UPBIT', 'USDT', 'BTC'],
  ['BITHUMB', 'XRP', 'KRW']
]

for (const [name, base, quote] of CASES) {
  t.test(`${name} ${base}/${quote}: a fee in the base lowers the quantity held, and counts in the quote`, async t => {
    const { exchange, place, run, books } = await start(t, name, { pairs: [{ base, quote }] })
    const order = await place({ quantity: '10', price: '2' })
    // Upbit and Bithumb take every fee in the quote.
    const inQuote = name === 'UPBIT' || name === 'BITHUMB'
    exchange.fill(order, {
      quantity: '10',
      price: '2',
      ...(inQuote ? { fee: '0.02' } : { fee: '0.01', feeAsset: base })
    })
    t.hasStrict(await run(), { fills: 1, flagged: 0, fees_unknown: 0, unknown_symbols: 0, failed: 0 })
    const { orders, executions, positions } = await books()
    assertRows(t, orders, [{ status: 'filled', base, quote, error_code: null }])
    assertRows(t, executions, [{ base, quote, fee_value: '0.02', fee_asset: inQuote ? quote : base }])
    const held = inQuote ? '10' : '9.99'
    assertRows(t, positions, [{ base, quote, quantity: held, entry_price: '2', fees: '0.02' }])
  })
}

for (const [base, quote, side, coin, value] of [
  ['XRP', 'RLUSD', 'SELL', 'USD', null],
  ['XRP', 'RLUSD', 'SELL', 'RLUSD', '0.05'],
  ['XRP', 'RLUSD', 'BUY', 'XR', null],
  ['XRP', 'RLUSD', 'BUY', 'XRP', '0.1'],
  ['USDT', 'USD', 'SELL', 'TUSD', null],
  ['BTC', 'U', 'SELL', 'BTC', null]
] as const) {
  const title = `BYBIT ${base}/${quote}: a ${side} without the currency of its fee, with a tax in ${coin}, has the fee ${value}`
  t.test(title, async t => {
    const { exchange, place, run, books } = await start(t, 'BYBIT', { pairs: [{ base, quote }] })
    const order = await place({ quantity: '10', price: '2', side })
    const feeAsset = side === 'BUY' ? base : quote
    const tax = { coin, amount: '0.02' }
    exchange.fill(order, { quantity: '10', price: '2', fee: '0.03', feeAsset, isFeeAssetNamed: false, tax })
    const isUnknown = value === null
    t.hasStrict(await run(), { fills: 1, flagged: 0, fees_unknown: isUnknown ? 1 : 0, failed: 0 })
    const { executions } = await books()
    assertRows(t, executions, [{ fee_value: value, fee_asset: isUnknown ? null : feeAsset }])
  })
}

for (const [execType, market] of [
  ['AdlTrade', 'FUTURES'],
  ['BustTrade', 'FUTURES'],
  ['BlockTrade', 'SPOT'],
  ['BlockTrade', 'FUTURES'],
  ['MovePosition', 'FUTURES'],
  ['FutureSpread', 'SPOT'],
  ['FutureSpread', 'FUTURES'],
  ['UNKNOWN', 'FUTURES']
] as const) {
  t.test(`BYBIT ${market}: an execution of the type ${execType} is a fill of its order, with its fee`, async t => {
    const { exchange, place, run, books } = await start(t, 'BYBIT', { pairs: [{ base: 'BTC', quote: 'USDT' }] })
    const order = await place({ market, quantity: '3', price: '100' })
    exchange.fill(order, { quantity: '1', fee: '0.05' })
    const { tradeId } = exchange.fill(order, { quantity: '2', fee: '0.1' })
    // The fee of a spot leg has a field of its own.
    const fee = execType === 'FutureSpread' && market === 'SPOT' ? { execFee: '0', execFeeV2: '0.1' } : {}
    exchange.fault({ kind: 'edited', edit: changingRows({ execId: tradeId }, { execType, ...fee }) })
    t.hasStrict(await run(), { fills: 2, flagged: 0, fees_unknown: 0, failed: 0 })
    const { orders, positions } = await books()
    assertRows(t, orders, [{ status: 'filled', filled_quantity: '3' }])
    assertRows(t, positions, [{ quantity: '3', fees: '0.15' }])
  })
}

for (const quoteCoin of ['USDC', 'USD', '']) {
  t.test(`BYBIT: BTCPERP is BTC in USDC, in which it settles, with the quote ${quoteCoin || 'missing'}`, async t => {
    const pairs = [{ base: 'BTC', quote: 'USDC' }]
    const { exchange, place, run, books } = await start(t, 'BYBIT', { pairs })
    exchange.fault(
      { kind: 'edited', edit: changingRows({ symbol: 'BTCPERP' }, { quoteCoin }) },
      { path: /instruments/ }
    )
    const order = await place({ market: 'FUTURES', quantity: '1', price: '100' })
    t.equal(order.exchangeSymbol, 'BTCPERP')
    exchange.fill(order, { fee: '0.05' })
    t.hasStrict(await run(), { fills: 1, flagged: 0, fees_unknown: 0, unknown_symbols: 0 })
    const { orders, positions } = await books()
    assertRows(t, orders, [{ status: 'filled', error_code: null, base: 'BTC', quote: 'USDC' }])
    assertRows(t, positions, [{ symbol: 'BTCUSDC', base: 'BTC', quote: 'USDC', fees: '0.05' }])
  })
}

t.test('OKX: BTC-USDT-SWAP is BTC in USDT, without a list of instruments', async t => {
  const { exchange, place, run, books } = await start(t, 'OKX', { pairs: [{ base: 'BTC', quote: 'USDT' }] })
  exchange.suspend('BTCUSDT')
  exchange.fill(await place({ market: 'FUTURES', quantity: '1', price: '100' }), { fee: '0.05' })
  t.hasStrict(await run(), { fills: 1, flagged: 0 })
  assertRows(t, (await books()).positions, [{ symbol: 'BTCUSDT', base: 'BTC', quote: 'USDT', fees: '0.05' }])
})

for (const [name, pair] of [
  ['BINANCE', { base: 'GRT', quote: 'USD' }],
  ['BYBIT', { base: 'BTC', quote: 'MNT' }],
  ['BINANCE', { base: 'USDT', quote: 'USD' }]
] as const) {
  const symbol = `${pair.base}${pair.quote}`
  t.test(`${name} ${symbol}: an order is booked once its instrument is known, and once only`, async t => {
    const pairs = [pair, { base: 'BTC', quote: 'USDT' }]
    const { database, exchange, place, run, books, wait } = await start(t, name, { pairs })
    exchange.suspend(symbol)
    exchange.fault({ kind: 'status', status: 200, body: '{}' }, { path: /exchangeInfo|instruments-info/ })
    const order = await place({ symbol, quantity: '10', price: '2' })
    exchange.fill(order, { quantity: '4', price: '2', fee: '0.04', feeAsset: pair.quote })
    const before = await books()
    for (const flagged of [0, 0, 1, 1]) {
      t.hasStrict(await run(), { checked: 1, fills: 0, failed: 0, flagged, unknown_symbols: 1 })
    }
    const flagged = await books()
    assertRows(t, flagged.orders, [
      { status: 'pending', filled_quantity: '0', error_code: 'unknown_symbol', base: null, quote: null }
    ])
    t.strictSame([flagged.executions, flagged.positions], [before.executions, before.positions])
    t.strictSame(
      exchange.requests.filter(({ path }) => /myTrades|execution/.test(path)),
      [],
      'fills that cannot be booked are not asked for'
    )

    exchange.clearFaults()
    exchange.resume(symbol)
    wait()
    const torn = (work: (tx: TransactionSql) => Promise<unknown>) =>
      database.transaction(async tx => {
        await work(tx)
        throw new Error('the process ended before the commit')
      })
    await t.rejects(run({ transaction: torn }), { message: 'the process ended before the commit' })
    t.strictSame((await books()).executions, [])
    t.hasStrict(await run(), { fills: 1, flagged: 0, unknown_symbols: 0 })
    exchange.fill(order, { quantity: '6', price: '2', fee: '0.06', feeAsset: pair.quote })
    t.hasStrict(await run(), { fills: 1 })
    t.hasStrict(await run(), { accounts: 0, fills: 0 })
    const { orders, executions, positions } = await books()
    assertRows(t, orders, [{ status: 'filled', filled_quantity: '10', error_code: null, ...pair }])
    t.equal(executions.length, 2)
    assertRows(t, positions, [{ quantity: '10', fees: '0.1', ...pair }])
  })
}

for (const [name, pair, market] of [
  ['BINANCE', { base: 'XRP', quote: 'RLUSD' }, 'SPOT'],
  ['BYBIT', { base: 'BTC', quote: 'USDC' }, 'FUTURES'],
  ['OKX', { base: 'BTC', quote: 'USDT' }, 'FUTURES']
] as const) {
  t.test(`${name} ${market}: an order with another symbol than that of its instrument is never booked`, async t => {
    const { exchange, place, run, books } = await start(t, name, { pairs: [pair] })
    exchange.fill(await place({ market, quantity: '1', price: '2', recordedSymbol: 'ETHUSDT' }))
    for (const flagged of [0, 0, 1]) t.hasStrict(await run(), { fills: 0, flagged, failed: 0 })
    assertRows(t, (await books()).orders, [{ error_code: 'symbol_differs', filled_quantity: '0', base: null }])
  })
}

t.test('a spot fee whose asset is not named follows the rule of Bybit, and is unknown elsewhere', async t => {
  const pair = { base: 'XRP', quote: 'RLUSD' }
  const fees = async (name: ExchangeName, fee: string) => {
    const { exchange, place, run, books } = await start(t, name, { pairs: [pair] })
    const [buy, sell] = [
      await place({ quantity: '10', price: '2' }),
      await place({ side: 'SELL', quantity: '1', price: '2' })
    ]
    for (const order of [buy, sell]) exchange.fill(order, { fee, isFeeAssetNamed: false })
    const { fills, fees_unknown: unknown } = await run()
    t.equal(fills, 2)
    const { executions, positions } = await books()
    const [position] = positions
    return {
      ...{ unknown, held: position?.quantity, fees: position?.fees },
      assets: executions
        .map(execution => [execution.side, execution.fee, execution.fee_asset, execution.fee_value].join(' '))
        .sort()
    }
  }
  t.strictSame(await fees('BYBIT', '0.01'), {
    ...{ unknown: 0, held: '8.99', fees: '0.03' },
    assets: ['BUY 0.01 XRP 0.02', 'SELL 0.01 RLUSD 0.01']
  })
  t.strictSame(await fees('BYBIT', '-0.01'), {
    ...{ unknown: 0, held: '9.01', fees: '-0.03' },
    assets: ['BUY -0.01 RLUSD -0.01', 'SELL -0.01 XRP -0.02']
  })
  for (const name of ['BINANCE', 'OKX'] as const) {
    t.strictSame(
      await fees(name, '0.01'),
      { ...{ unknown: 2, held: '9', fees: '0' }, assets: ['BUY 0.01  ', 'SELL 0.01  '] },
      name
    )
  }
})

t.test('fees in the base, the quote and a third asset are valued in the quote of the exchange', async t => {
  for (const name of ['BINANCE', 'BYBIT', 'OKX'] as const) {
    const options = { pairs: [{ base: 'XRP', quote: 'RLUSD' }], prices: { BNBRLUSD: '600' } }
    const { exchange, place, run, books } = await start(t, name, options)
    const order = await place({ quantity: '4', price: '2' })
    for (const feeAsset of ['XRP', 'RLUSD', 'BNB', 'XYZ']) {
      exchange.fill(order, { quantity: '1', price: '2', fee: '0.01', feeAsset })
    }
    t.hasStrict(await run(), { fills: 4, fees_unknown: 1 }, name)
    const { executions, positions } = await books()
    t.strictSame(
      executions.map(({ fee_asset, fee_value }) => `${fee_asset} ${fee_value}`).sort(),
      ['BNB 6', 'RLUSD 0.01', 'XRP 0.02', 'XYZ null'],
      name
    )
    assertRows(t, positions, [{ quantity: '3.99', fees: '6.03' }])
  }
})

t.test('a run completes rows of an earlier version by the instruments of their market', async t => {
  const { database, account, exchange, place, run, books } = await start(t, 'BYBIT', {
    pairs: [{ base: 'BTC', quote: 'MNT' }]
  })
  const old = await place({ quantity: '1', price: '2' })
  await database.run(
    sql => sql`
      insert into trade_executions (order_id, strategy_account_id, account_id, market_type, exchange_trade_id, symbol,
        currency, side, price, quantity, fee, fee_asset, executed_at)
      values (${old.orderId}, ${account.strategyAccountId}, ${account.accountId}, 'SPOT', 'old', 'BTCMNT', 'T', 'BUY', 2, 1,
        0.01, 'BTC', now() - interval '1 day')`
  )
  await database.run(
    sql => sql`update orders set status = 'filled', filled_quantity = 1 where order_id = ${old.orderId}`
  )
  t.hasStrict(await run(), { accounts: 0, completed: 2 })
  exchange.fill(await place({ quantity: '3', price: '2' }), { fee: '0.03', feeAsset: 'BTC' })
  t.hasStrict(await run(), { fills: 1, completed: 0, failed: 0 })
  const { executions, positions } = await books()
  assertRows(t, executions, [
    { exchange_trade_id: 'old', base: 'BTC', quote: 'MNT', fee_value: '0.02' },
    { base: 'BTC', quote: 'MNT', fee_value: '0.06' }
  ])
  assertRows(t, positions, [{ base: 'BTC', quote: 'MNT', quantity: '3.96', fees: '0.08' }])
})

t.test('the values of a day and of a strategy are in the quote of the exchange', async t => {
  for (const [name, base, quote] of [
    ['BINANCE', 'XRP', 'RLUSD'],
    ['BYBIT', 'BTC', 'MNT'],
    ['OKX', 'GRT', 'USD']
  ] as const) {
    const { database, exchange, account, place, run } = await start(t, name, { pairs: [{ base, quote }] })
    await database.run(sql => sql`update strategy_accounts set capital_currency = ${quote}`)
    exchange.fill(await place({ quantity: '10', price: '2' }), { fee: '0.01', feeAsset: base })
    exchange.fill(await place({ side: 'SELL', quantity: '1', price: '3' }), { fee: '0.5', feeAsset: quote })
    await run()
    const timeZone = 'UTC'
    const [summaries, performance] = await database.transaction(async tx => {
      const day = await dayOf(tx, new Date(), { timeZone })
      await summarise(tx, day, { timeZone })
      // The day counts as over.
      const at = new Date(Date.now() + 86_400_000)
      const { series } = await planPerformance(tx, { timeZone, at })
      await computePerformance(tx, series, { timeZone })
      return await Promise.all([
        tx`
          select currency, trim_scale(realized_pnl)::text as realized_pnl, trim_scale(fees)::text as fees, executions, trades
          from daily_account_summaries where account_id = ${account.accountId} and executions > 0`,
        tx`
          select currency, trim_scale(daily_pnl)::text as daily_pnl, executions, trades, executions_apart from strategy_performance`
      ])
    })
    assertRows(t, summaries, [{ currency: quote, realized_pnl: '1', fees: '0.52', executions: 2, trades: 0 }])
    assertRows(t, performance, [{ currency: quote, daily_pnl: '0.48', executions: 2, trades: 0, executions_apart: 0 }])
  }
})

t.test('the instruments of a market are read once, for all its orders and runs', async t => {
  for (const [name, base, quote] of [
    ['BINANCE', 'XRP', 'RLUSD'],
    ['BYBIT', 'GRT', 'USD'],
    ['UPBIT', 'BTC', 'KRW']
  ] as const) {
    const { exchange, place, run } = await start(t, name, { pairs: [{ base, quote }] })
    const orders = []
    for (let i = 0; i < 20; i++) orders.push(await place({ quantity: '1', price: '2' }))
    t.hasStrict(await run(), { checked: 20, changed: 20 })
    for (const order of orders.slice(0, 10)) exchange.fill(order)
    t.hasStrict(await run(), { fills: 10 })
    const lists = exchange.requests.filter(({ path }) => /exchangeInfo|instruments-info|market\/all/.test(path))
    t.equal(lists.length, name === 'UPBIT' ? 0 : 1, name)
  }
})

t.test('rows of an earlier version that cannot be completed do not fail every run', async t => {
  const { database, exchange, place, run } = await start(t, 'BINANCE', { pairs: [{ base: 'GRT', quote: 'USD' }] })
  const old = await place({ quantity: '1', price: '2' })
  await database.run(sql => sql`update orders set status = 'filled' where order_id = ${old.orderId}`)
  await database.run(sql =>
    sql.unsafe(`
      create function reject() returns trigger language plpgsql as $$ begin raise exception 'rejected'; end $$;
      create trigger reject before update on orders for each row when (old.order_id = ${old.orderId}) execute function reject()`)
  )
  await t.rejects(run(), { message: 'rejected' })
  exchange.fill(await place({ quantity: '1', price: '2' }))
  t.hasStrict(await run(), { fills: 1, failed: 0, completed: 0 })
})
