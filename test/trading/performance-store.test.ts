import t from 'tap'
import type { Database } from '../../src/database/database.ts'
import {
  computePerformance,
  type PlanOptions,
  planPerformance,
  recordedUntil,
  type Series
} from '../../src/trading/performance-store.ts'
import { assertRows } from '../support/assert-rows.ts'
import { tradingDatabase } from '../support/trading.ts'
import { plain, seedTrading, type TradingRows, trade } from '../support/trading-days.ts'

const timeZone = 'Asia/Seoul'
/** Noon of 25 November in Seoul. */
const AT = new Date('2026-11-25T03:00:00Z')

let database: Database
t.before(async () => {
  database = await tradingDatabase(t)
})

/** Replaces all rows of the database by these rows. */
async function seed(rows: TradingRows = {}): Promise<void> {
  await database.run(sql => sql`truncate users, performance_progress cascade`)
  await seedTrading(database, rows)
}

const planOf = (options: Partial<PlanOptions> = {}) =>
  database.transaction(tx => planPerformance(tx, { timeZone, at: AT, ...options }))

/** The days of the plan, as `strategy currency [testnet] since from to`. */
async function daysOf(options: Partial<PlanOptions> = {}): Promise<string[]> {
  const { series } = await planOf(options)
  return series.map(({ strategyId, currency, isTestnet, since, from, to }) =>
    [strategyId, currency, ...(isTestnet ? ['testnet'] : []), since, from, to].join(' ')
  )
}

const compute = (series: readonly Series[]) => database.transaction(tx => computePerformance(tx, series, { timeZone }))

async function performance() {
  const rows = await database.run(
    sql => sql<Record<string, unknown>[]>`
      select strategy_id, date::text, currency, is_testnet, daily_pnl, cumulative_pnl, daily_return, cumulative_return,
        executions, trades, wins, win_rate, max_drawdown, volatility, sharpe, sortino, fees, fees_unknown, executions_apart
      from strategy_performance order by strategy_id, currency, is_testnet, date`
  )
  return rows.map(row => plain(row))
}

/** Inserts a computed day without amounts. */
function computed(
  date: string,
  { strategy = 1, currency = 'USDT', isTestnet = false, pnl = '0', at = '2026-11-25T02:00:00Z' } = {}
) {
  return database.run(
    sql => sql`
      insert into strategy_performance (strategy_id, date, currency, is_testnet, daily_pnl, cumulative_pnl, trades, wins,
        fees, fees_unknown, executions_apart, computed_at)
      values (${strategy}, ${date}, ${currency}, ${isTestnet}, ${pnl}, 0, 0, 0, 0, 0, 0, ${at})`
  )
}

const twoCurrencies: TradingRows = {
  accounts: [{}, {}, { is_testnet: true }, {}],
  strategyAccounts: [
    { strategy: 0, account: 0, capital: '1000', currency: 'USDT' },
    { strategy: 0, account: 1, capital: '500', currency: 'USDT' },
    { strategy: 0, account: 2, capital: '70', currency: 'USDT' },
    { strategy: 0, account: 3, capital: '2', currency: 'BTC' }
  ]
}

t.test('a strategy without executions is not planned', async t => {
  await seed()
  t.strictSame(await daysOf(), [])
  const { yesterday } = await planOf()
  t.equal(yesterday, '2026-11-24')
})

t.test('a plan begins with the day of the first execution in the time zone, and ends with yesterday', async t => {
  await seed()
  await trade(database, [{ at: '2026-11-23T15:00:00Z' }, { at: '2026-11-22T14:59:59Z' }])
  t.strictSame(await daysOf(), ['1 USDT 2026-11-22 2026-11-22 2026-11-24'])
  t.strictSame(await daysOf({ at: new Date('2026-11-23T14:59:59Z') }), ['1 USDT 2026-11-22 2026-11-22 2026-11-22'])
  t.strictSame(await daysOf({ at: new Date('2026-11-22T14:59:59Z') }), [], 'no day has ended')
})

t.test('each currency, and each testnet, is a series with the capital of its accounts', async t => {
  await seed(twoCurrencies)
  await trade(
    database,
    [0, 1, 2, 3].map(on => ({ on, at: `2026-11-2${4 - on}T00:00:00Z` }))
  )
  t.strictSame(await daysOf(), [
    '1 BTC 2026-11-21 2026-11-21 2026-11-24',
    '1 USDT testnet 2026-11-22 2026-11-22 2026-11-24',
    '1 USDT 2026-11-23 2026-11-23 2026-11-24'
  ])
})

t.test('a plan continues after the last computed day', async t => {
  await seed(twoCurrencies)
  await trade(
    database,
    [0, 2, 3].map(on => ({ on, at: '2026-11-20T00:00:00Z' }))
  )
  for (const day of ['2026-11-20', '2026-11-21', '2026-11-22']) await computed(day)
  await computed('2026-11-20', { isTestnet: true })
  await computed('2026-11-24', { currency: 'BTC' })
  t.strictSame(await daysOf(), [
    '1 USDT testnet 2026-11-20 2026-11-21 2026-11-24',
    '1 USDT 2026-11-20 2026-11-23 2026-11-24'
  ])
})

t.test('a plan begins with the earliest day of which an execution was recorded after it was computed', async t => {
  await seed(twoCurrencies)
  const at = '2026-11-25T02:00:00Z'
  await trade(database, [{ at: '2026-11-20T00:00:00Z', recorded: '2026-11-20T00:00:01Z' }])
  for (const day of [20, 21, 22, 23, 24]) await computed(`2026-11-${day}`)
  t.strictSame(await daysOf(), [])
  await trade(database, [{ at: '2026-11-23T00:00:00Z', recorded: '2026-11-25T01:59:45Z' }])
  t.strictSame(await daysOf(), [], 'recorded more than 15 s before the computation, so it was included')
  await database.run(
    sql => sql`
      insert into replaced_executions (execution_id, order_id, strategy_account_id, account_id, exchange_trade_id,
        currency, side, price, quantity, executed_at, replaced_at)
      select 1000, order_id, strategy_account_id, account_id, 'cum:1:1', 'USDT', side, 1, 1, '2026-11-24T00:00:00Z', ${at}
      from orders order by order_id limit 1`
  )
  t.strictSame(await daysOf(), ['1 USDT 2026-11-20 2026-11-24 2026-11-24'], 'an execution of the day was replaced')
  await database.run(sql => sql`delete from replaced_executions`)
  await trade(database, [{ at: '2026-11-22T15:00:00Z', recorded: '2026-11-25T01:59:45.001Z' }])
  t.strictSame(await daysOf(), ['1 USDT 2026-11-20 2026-11-23 2026-11-24'])
  await trade(database, [{ at: '2026-11-22T14:59:59Z', recorded: at }])
  t.strictSame(await daysOf(), ['1 USDT 2026-11-20 2026-11-22 2026-11-24'])
  await trade(database, [{ at: '2026-11-18T00:00:00Z', recorded: at }])
  t.strictSame(await daysOf(), ['1 USDT 2026-11-18 2026-11-18 2026-11-24'], 'before the first day')
  await trade(database, [{ on: 2, at: '2026-11-24T00:00:00Z', recorded: at }])
  t.strictSame(
    await daysOf(),
    ['1 USDT 2026-11-18 2026-11-18 2026-11-24', '1 USDT testnet 2026-11-24 2026-11-24 2026-11-24'],
    'a testnet has separate days'
  )
})

t.test('an execution is compared with the computation of its own series and day', async t => {
  const account = { capital: '1000', currency: 'USDT' }
  await seed({
    accounts: [{}, { is_testnet: true }, {}],
    strategyAccounts: [
      { strategy: 0, account: 0, ...account },
      { strategy: 0, account: 1, ...account },
      { strategy: 1, account: 0, ...account },
      { strategy: 0, account: 2, ...account, currency: 'BTC' }
    ]
  })
  const others = { at: '2026-11-25T01:00:00Z' }
  for (const day of ['2026-11-22', '2026-11-23', '2026-11-24']) {
    await computed(day, day === '2026-11-23' ? {} : others)
    await computed(day, { ...others, isTestnet: true })
    await computed(day, { ...others, strategy: 2 })
    await computed(day, { ...others, currency: 'BTC' })
  }
  await trade(database, [{ at: '2026-11-23T00:00:00Z', recorded: '2026-11-25T01:59:45Z' }])
  t.strictSame(await daysOf(), [], 'its own day was computed after it')
  await trade(database, [{ at: '2026-11-22T00:00:00Z', recorded: '2026-11-25T01:00:00Z' }])
  t.strictSame(await daysOf(), ['1 USDT 2026-11-22 2026-11-22 2026-11-24'], 'its own day was computed before it')
})

t.test('executions recorded until a completed plan are in its amounts', async t => {
  await seed()
  await trade(database, [{ at: '2026-11-20T00:00:00Z', recorded: '2026-11-20T00:00:01Z' }])
  for (const day of [20, 21, 22, 23, 24]) await computed(`2026-11-${day}`, { at: '2026-11-19T00:00:00Z' })
  const all = ['1 USDT 2026-11-20 2026-11-20 2026-11-24']
  t.strictSame(await daysOf(), all)
  const until = (time: string) => database.transaction(tx => recordedUntil(tx, time))
  await until('2026-11-20T00:00:15.999Z')
  t.strictSame(await daysOf(), all, 'a transaction may have taken 15 s')
  await until('2026-11-20T00:00:16Z')
  t.strictSame(await daysOf(), [])
  await until('2026-11-20T00:00:10Z')
  t.strictSame(await daysOf(), [], 'an earlier plan does not lower the time')
})

t.test('a requested day and the computed days after it are computed again, and no further day', async t => {
  await seed()
  await trade(database, [{ at: '2026-11-20T00:00:00Z', recorded: '2026-11-20T00:00:01Z' }])
  t.strictSame(await daysOf({ date: '2026-11-22' }), ['1 USDT 2026-11-20 2026-11-20 2026-11-22'])
  for (const day of [20, 21, 22, 23]) await computed(`2026-11-${day}`)
  t.strictSame(await daysOf({ date: '2026-11-22' }), ['1 USDT 2026-11-20 2026-11-22 2026-11-23'])
  t.strictSame(await daysOf({ date: '2026-11-20' }), ['1 USDT 2026-11-20 2026-11-20 2026-11-23'])
  t.strictSame(await daysOf({ date: '2026-11-19' }), [], 'there is no day before the first execution')
})

t.test('the time of a plan is the time of its transaction', async t => {
  await seed()
  const isNow = await database.transaction(async tx => {
    const { asOf } = await planPerformance(tx, { timeZone, at: AT })
    const [row] = await tx<{ is_now: boolean }[]>`select ${asOf}::text = now()::text as is_now`
    return row?.is_now
  })
  t.equal(isNow, true)
})

const series = (rest: Partial<Series> = {}): Series => ({
  ...{ strategyId: '1', currency: 'USDT', isTestnet: false, since: '2026-11-20' },
  ...{ from: '2026-11-20', to: '2026-11-22', ...rest }
})

t.test('a day has the executions from its beginning to its end in the zone', async t => {
  await seed()
  await trade(database, [
    { at: '2026-11-19T14:59:59Z', pnl: '500', fee_value: '5' },
    { at: '2026-11-19T15:00:00Z', pnl: '10', fee_value: '1' },
    { at: '2026-11-20T14:59:59Z', pnl: '-5', fee_value: '2' },
    { at: '2026-11-20T15:00:00Z', pnl: null, fee_value: null },
    { at: '2026-11-21T00:00:00Z', pnl: '0', fee_value: '-1' },
    { at: '2026-11-22T00:00:00Z', pnl: '8', fee_value: '0', currency: 'BTC' },
    { at: '2026-11-22T15:00:00Z', pnl: '500', fee_value: '5' }
  ])
  t.strictSame(await compute([series()]), { days: 3, executions: 4, trades: 3, executions_apart: 1, fees_unknown: 1 })
  const day = (date: string, rest: Record<string, unknown>) => ({
    ...{ strategy_id: '1', date, currency: 'USDT', is_testnet: false, ...rest }
  })
  assertRows(t, await performance(), [
    day('2026-11-20', {
      ...{ daily_pnl: '2', cumulative_pnl: '2', daily_return: '0.002', cumulative_return: '0.002', trades: 2, wins: 1 },
      ...{ win_rate: '0.5', fees: '3', fees_unknown: 0, executions_apart: 0, max_drawdown: '0', volatility: null }
    }),
    day('2026-11-21', {
      ...{
        daily_pnl: '1',
        cumulative_pnl: '3',
        daily_return: '0.001',
        cumulative_return: '0.003002',
        executions: 2,
        trades: 1,
        wins: 0
      },
      ...{ win_rate: '0', fees: '-1', fees_unknown: 1, executions_apart: 0 }
    }),
    day('2026-11-22', {
      ...{ daily_pnl: '0', cumulative_pnl: '3', daily_return: '0', cumulative_return: '0.003002', trades: 0, wins: 0 },
      ...{ win_rate: null, fees: '0', fees_unknown: 0, executions_apart: 1 }
    })
  ])
})

t.test('cumulative values continue those of the days before, only of the same series', async t => {
  await seed()
  await computed('2026-11-18', { pnl: '-100' })
  await computed('2026-11-19', { pnl: '50' })
  await computed('2026-11-20', { pnl: '7000' })
  await computed('2026-11-19', { pnl: '9000', currency: 'BTC' })
  await computed('2026-11-19', { pnl: '9000', isTestnet: true })
  await trade(database, [{ at: '2026-11-20T00:00:00Z', pnl: '20' }])
  t.hasStrict(await compute([series({ to: '2026-11-20' })]), { days: 1, trades: 1 })
  const rows = (await performance()).filter(({ date }) => date === '2026-11-20')
  assertRows(t, rows, [
    {
      ...{ daily_pnl: '20', cumulative_pnl: '-30', daily_return: '0.02', cumulative_return: '-0.0361' },
      ...{ max_drawdown: '-0.1', volatility: '1.51641023473201340696', sharpe: '-2.40700037259049747136' },
      sortino: '-3.30907842155485943388'
    }
  ])
})

t.test('a return is on the capital of its day, and does not change when the capital does', async t => {
  await seed()
  await database.run(sql => sql`update strategy_capital set valid_from = '-infinity'`)
  await trade(
    database,
    ['20', '21', '22'].map(day => ({ at: `2026-11-${day}T03:00:00Z`, pnl: '100' }))
  )
  const returns = async () => {
    await compute([series()])
    return (await performance()).map(({ daily_return, cumulative_return }) => [daily_return, cumulative_return])
  }
  const past = [
    ['0.1', '0.1'],
    ['0.1', '0.21'],
    ['0.1', '0.331']
  ]
  t.strictSame(await returns(), past)
  await database.run(sql => sql`update strategy_accounts set allocated_capital = 2000`)
  t.strictSame(await returns(), past, 'the change is later than the days')
  const history = await database.run(
    sql =>
      sql`select amount::text, currency, valid_from = '-infinity' as is_first from strategy_capital order by valid_from`
  )
  t.strictSame(
    [...history],
    [
      { amount: '1000', currency: 'USDT', is_first: true },
      { amount: '2000', currency: 'USDT', is_first: false }
    ]
  )
  // During the second day in Seoul.
  await database.run(sql => sql`update strategy_capital set valid_from = '2026-11-21T00:00:00Z' where amount = 2000`)
  t.strictSame(await returns(), [...past.slice(0, 2), ['0.05', '0.2705']], 'from the next day on')
  await database.run(sql => sql`update strategy_accounts set is_active = false, allocated_capital = 2000`)
  const [count] = await database.run(sql => sql`select count(*)::int as rows from strategy_capital`)
  t.strictSame({ ...count }, { rows: 2 }, 'the same capital is no change')
})

t.test('a day without capital has no return, and is left out of those of later days', async t => {
  await seed({ strategyAccounts: [{ strategy: 0, account: 0, capital: '0', currency: 'USDT' }] })
  await database.run(
    sql => sql`
      insert into strategy_capital (strategy_id, account_id, valid_from, amount, currency)
      values (1, 1, '2026-11-20T12:00:00Z', 1000, 'USDT'), (1, 1, '-infinity', 0, 'USDT')`
  )
  await trade(
    database,
    ['20', '21', '22'].map(day => ({ at: `2026-11-${day}T03:00:00Z`, pnl: '100' }))
  )
  await compute([series()])
  assertRows(t, await performance(), [
    { daily_pnl: '100', daily_return: null, cumulative_return: null, max_drawdown: null },
    { daily_pnl: '100', daily_return: '0.1', cumulative_return: '0.1', max_drawdown: '0' },
    { daily_pnl: '100', daily_return: '0.1', cumulative_return: '0.21', volatility: '0' }
  ])
})

t.test('series are computed together and do not affect each other', async t => {
  await seed({
    ...twoCurrencies,
    strategyAccounts: [
      ...(twoCurrencies.strategyAccounts ?? []),
      { strategy: 1, account: 0, capital: '10', currency: 'USDT' }
    ]
  })
  await trade(
    database,
    [0, 1, 2, 3, 4].map(on => ({
      on,
      at: '2026-11-20T00:00:00Z',
      pnl: String(2 ** on),
      currency: on === 3 ? 'BTC' : 'USDT'
    }))
  )
  const day = { to: '2026-11-20' }
  const counts = await compute([
    series(day),
    series({ ...day, isTestnet: true }),
    series({ ...day, currency: 'BTC' }),
    series({ ...day, strategyId: '2' })
  ])
  t.strictSame(counts, { days: 4, executions: 5, trades: 5, executions_apart: 0, fees_unknown: 0 })
  assertRows(t, await performance(), [
    { strategy_id: '1', currency: 'BTC', is_testnet: false, daily_pnl: '8' },
    { strategy_id: '1', currency: 'USDT', is_testnet: false, daily_pnl: '3' },
    { strategy_id: '1', currency: 'USDT', is_testnet: true, daily_pnl: '4' },
    { strategy_id: '2', currency: 'USDT', is_testnet: false, daily_pnl: '16' }
  ])
})

t.test('a repeated computation replaces every value', async t => {
  await seed()
  await compute([series({ to: '2026-11-21' })])
  await trade(database, [
    { at: '2026-11-20T00:00:00Z', pnl: '-10', fee_value: '1' },
    { at: '2026-11-21T00:00:00Z', pnl: '30', fee_value: null },
    { at: '2026-11-21T00:00:00Z', pnl: '5', currency: 'BTC' }
  ])
  await compute([series({ to: '2026-11-21' })])
  const repeated = await performance()
  await database.run(sql => sql`delete from strategy_performance`)
  await compute([series({ to: '2026-11-21' })])
  t.strictSame(repeated, await performance())
  assertRows(t, repeated, [
    { daily_pnl: '-11', trades: 1, wins: 0, win_rate: '0', fees: '1', fees_unknown: 0, executions_apart: 0 },
    { daily_pnl: '30', trades: 1, wins: 1, win_rate: '1', fees: '0', fees_unknown: 1, executions_apart: 1 }
  ])
})

t.test('without a requested series nothing is computed', async t => {
  await seed()
  t.strictSame(await compute([]), { days: 0, executions: 0, trades: 0, executions_apart: 0, fees_unknown: 0 })
})
