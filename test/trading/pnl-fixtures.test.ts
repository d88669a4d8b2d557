import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import type { Database } from '../../src/database/database.ts'
import { Exact } from '../../src/domain/decimal.ts'
import { updateOpenOrders } from '../../src/jobs/update-open-orders.ts'
import { assignFunding } from '../../src/trading/funding-shares.ts'
import { recordLedgerEntries } from '../../src/trading/ledger-entries.ts'
import { roundTripResult } from '../../src/trading/round-trips.ts'
import { recordedTest } from '../exchanges/fixtures.ts'
import { ScriptedExchange } from '../support/scripted-exchange.ts'
import { projectRoot } from '../support/service.ts'
import {
  booksOf,
  fixedInstruments,
  fixedPrices,
  insertOrder,
  seedAccount,
  TestAccounts,
  testContext,
  tradingDatabase
} from '../support/trading.ts'

const FIXTURES = join(projectRoot, '../shared/fixtures/pnl')

interface PartialCloses {
  cases: {
    fee_rate_each_side: number
    fills: {
      side: 'buy' | 'sell'
      quantity: number
      price: number
      after: {
        quantity: number
        average_entry_price: number
        cumulative_realized_pnl: number
        realized_pnl_of_this_fill: number | null
      }
    }[]
    expected_final_realized_pnl: number
  }[]
}

interface LongShort {
  cases: {
    side: 'long' | 'short'
    leverage: number
    quantity: number
    open_price: number
    close_price: number
    open_fee_rate: number
    close_fee_rate: number
    funding_received: number
    expected_profit: number
  }[]
}

const read = <T>(name: string): T => JSON.parse(readFileSync(join(FIXTURES, name), 'utf8'))

let database: Database
t.before(async () => {
  database = await tradingDatabase(t)
})

/** An account whose trades are recorded by the job, each with a fee in the quote currency at the given rate. */
async function setUp(market: 'SPOT' | 'FUTURES') {
  const exchange = new ScriptedExchange()
  const account = await seedAccount(database)
  const accounts = new TestAccounts([account], (_account, marketType) => exchange.client(marketType))
  const job = updateOpenOrders({ accounts, database, prices: fixedPrices({}), instruments: fixedInstruments() })
  const trade = async (side: 'BUY' | 'SELL', quantity: number, price: number, feeRate: number) => {
    exchange.now += 1
    const order = exchange.place({ market, side, quantity: String(quantity) })
    await insertOrder(database, account, { ...order, quantity: String(quantity) })
    const fee = new Exact(quantity).times(price).times(feeRate).toFixed()
    exchange.fill(order, { quantity: String(quantity), price: String(price), fee })
    await job(testContext(database).context)
    const { positions, executions } = await booksOf(database, account)
    const [position] = positions
    const realized = executions.at(-1)?.realized_pnl
    if (position === undefined) throw new Error('no position')
    return { position, realized: realized === undefined ? null : realized }
  }
  /** Records a funding entry after the last execution, and assigns it. */
  const fund = async (amount: number) => {
    exchange.now += 1
    if (amount === 0) return
    const entry = {
      exchangeEntryId: '1',
      asset: 'USDT',
      amount: String(amount),
      kind: 'funding',
      exchangeKind: 'x'
    } as const
    await database.transaction(tx =>
      recordLedgerEntries(tx, { accountId: account.accountId, wallet: 'FUTURES' }, [
        { ...entry, exchangeSymbol: 'BTCUSDT', at: exchange.now }
      ])
    )
    await assignFunding(work => database.transaction(work), new AbortController().signal)
  }
  /** The result of the round trip that ended. */
  const roundTrip = async () => {
    const [row] = await database.run(
      sql => sql<{ pnl: string }[]>`
        select ${roundTripResult(sql)} as pnl from trade_executions e
        where account_id = ${account.accountId} and round_trip_pnl is not null`
    )
    return row?.pnl
  }
  return Object.assign(trade, { fund, roundTrip })
}

t.test('manual computation: a close keeps the average cost, and a fill across zero opens at its price', async t => {
  const trade = await setUp('FUTURES')
  const valuesAfter = async (...args: Parameters<typeof trade>) => {
    const { position, realized } = await trade(...args)
    return { quantity: position.quantity, average: position.entry_price, realized, fees: position.fees }
  }
  t.strictSame(await valuesAfter('BUY', 2, 100, 0.001), { quantity: '2', average: '100', realized: null, fees: '0.2' })
  t.strictSame(await valuesAfter('BUY', 2, 110, 0.001), { quantity: '4', average: '105', realized: null, fees: '0.42' })
  t.strictSame(await valuesAfter('SELL', 1, 120, 0.001), {
    quantity: '3',
    average: '105',
    realized: '15',
    fees: '0.54'
  })
  t.strictSame(await valuesAfter('SELL', 5, 90, 0.001), {
    quantity: '-2',
    average: '90',
    realized: '-45',
    fees: '0.99'
  })
  t.strictSame(await valuesAfter('BUY', 2, 80, 0), { quantity: '0', average: null, realized: '20', fees: '0.99' })
})

recordedTest('average cost through partial closes, to the last digit of the source', async t => {
  t.comment('expected_final_ratio is not checked: these jobs do not compute a return on the sum of all purchases')
  for (const [index, { fee_rate_each_side: rate, fills, expected_final_realized_pnl }] of read<PartialCloses>(
    'average_cost_partial_closes.json'
  ).cases.entries()) {
    await t.test(`case ${index}, fee rate ${rate}`, async t => {
      const trade = await setUp('SPOT')
      let net = new Exact(0)
      let last: Awaited<ReturnType<typeof trade>> | undefined
      for (const [step, { side, quantity, price, after }] of fills.entries()) {
        const average = last?.position.entry_price
        last = await trade(side === 'buy' ? 'BUY' : 'SELL', quantity, price, rate)
        const closes = last.position.quantity === '0'
        t.equal(
          last.position.entry_price,
          closes ? null : String(after.average_entry_price),
          `average after fill ${step}`
        )
        if (side === 'sell') {
          // The source subtracts its share of the opening fee from a close: q·exit·(1−f) − q·avg·(1+f).
          const fees = new Exact(price).plus(average).times(quantity).times(rate)
          const own = new Exact(last.realized).minus(fees)
          net = net.plus(own)
          t.ok(own.eq(after.realized_pnl_of_this_fill ?? Number.NaN), `realised by fill ${step}`)
          t.ok(net.eq(after.cumulative_realized_pnl), `realised until fill ${step}`)
        } else t.equal(last.realized, null)
        // After the last close the source keeps the quantity from before, as its note says.
        if (!closes) t.equal(last.position.quantity, String(after.quantity))
      }
      const { position } = last ?? {}
      const kept = new Exact(position?.realized_pnl).minus(position?.fees)
      t.ok(kept.eq(expected_final_realized_pnl), `${kept.toFixed()} at the end`)
    })
  }
})

recordedTest('long and short with fees and funding, to the precision of the source, 1e-6', async t => {
  const { cases } = read<LongShort>('long_short_fees_funding.json')
  for (const [index, example] of cases.entries()) {
    const trade = await setUp('FUTURES')
    const [opening, closing] = example.side === 'long' ? (['BUY', 'SELL'] as const) : (['SELL', 'BUY'] as const)
    await trade(opening, example.quantity, example.open_price, example.open_fee_rate)
    await trade.fund(example.funding_received)
    const { position } = await trade(closing, example.quantity, example.close_price, example.close_fee_rate)
    const net = new Exact(position.realized_pnl).minus(position.fees).plus(position.funding)
    t.ok(net.minus(example.expected_profit).abs().lte('0.000001'), `case ${index}: ${net.toFixed()}`)
    t.equal(position.quantity, '0')
    const roundTrip = await trade.roundTrip()
    t.ok(new Exact(roundTrip ?? 'NaN').eq(net), `case ${index}: the round trip has the same result`)
  }
})
