import t from 'tap'
import type { Database } from '../../src/database/database.ts'
import { dayOf, summariesOf, summarise, unfinishedDays } from '../../src/trading/daily-summaries.ts'
import { assertRows } from '../support/assert-rows.ts'
import { frozenDatabase, openDatabase } from '../support/migrated-database.ts'
import { tradingDatabase } from '../support/trading.ts'
import {
  holdPositions,
  localDay,
  plain,
  recordBalances,
  seedTrading,
  type TradingRows,
  trade
} from '../support/trading-days.ts'

let database: Database
t.before(async () => {
  database = await tradingDatabase(t)
})

/** Replaces all rows of the database by these rows. */
async function seed(rows: TradingRows = {}): Promise<void> {
  await database.run(sql => sql`truncate users cascade`)
  await seedTrading(database, rows)
}

/** A day that is half over; the day before it ended twelve hours ago. */
const noon = localDay(12)
/** A day that began an hour ago: the positions at the end of the day before are still known. */
const night = localDay(1)
const dayBefore = (date: string, days = 1) => new Date(Date.parse(date) - days * 86_400_000).toISOString().slice(0, 10)

const run = (day: string, timeZone: string) => database.transaction(tx => summarise(tx, day, { timeZone }))

const rowsOf = (day: string) => database.transaction(tx => summariesOf(tx, day, { timeZone: noon.timeZone }))

const unfinished = (yesterday: string, timeZone = noon.timeZone) =>
  database.transaction(tx => unfinishedDays(tx, yesterday, { timeZone }))

t.test('a summary counts the executions from the beginning of the day to its end', async t => {
  await seed()
  await trade(database, [
    { at: noon.at(-24.001), pnl: '1000', fee_value: '100' },
    { at: noon.at(-24), price: '10', quantity: '2', pnl: '0.5', fee_value: '1' },
    { at: noon.at(-12), price: '10', quantity: '3', pnl: '-4', fee_value: '0.5' },
    { at: noon.at(-6), price: '10', quantity: '1', pnl: '0', fee_value: null },
    { at: noon.at(-0.001), price: '10', quantity: '4', pnl: null, fee_value: '0.25' },
    { at: noon.at(0), pnl: '2000', fee_value: '200' }
  ])
  t.strictSame(await run(dayBefore(noon.date), noon.timeZone), {
    accounts: 1,
    summaries: 1,
    fees_unknown: 1,
    unmarked: 0
  })
  const [{ at, ...row } = { at: null }] = await rowsOf(dayBefore(noon.date))
  t.equal(at?.toISOString(), new Date(noon.at(0)).toISOString(), 'the values are those of the end of the day')
  t.strictSame(plain({ ...row }), {
    ...{ balances_as_of: null, orders_as_of: null, marks_as_of: null, positions_unmarked: 0, positions_old_mark: 0 },
    ...{ equity: null, equity_return: null, equity_gaps: 0, equity_unvalued: 0 },
    ...{ account_id: '1', account: 'account 1', exchange: 'BINANCE', is_testnet: false, credentials_refused: false },
    ...{ chat_id: null, currency: 'USDT', start_balance: null, end_balance: null, realized_pnl: '-3.5' },
    ...{
      unrealized_pnl: null,
      fees: '1.75',
      fees_unknown: 1,
      funding: '0',
      interest: '0',
      executions: 4,
      trades: 3,
      wins: 1,
      losses: 1
    },
    week: [null, null, null, null, null, null, '-5.25'],
    ...{ win_rate: '0.33333333333333333333', volume: '100', max_drawdown: null, is_final: true }
  })
})

t.test('balances are the last ones before the start and the end of the day, and have no drawdown', async t => {
  await seed({ accounts: [{}, {}] })
  await recordBalances(database, [
    { at: noon.at(-40), total: '5000' },
    { at: noon.at(-24.001), total: '100' },
    { at: noon.at(-24), total: '200' },
    { at: noon.at(-20), total: '150' },
    { at: noon.at(-10), total: '160' },
    { at: noon.at(0), total: '1' },
    { at: noon.at(-24.001), total: '7', currency: 'BTC' },
    { account: 1, at: noon.at(-30), total: '400' },
    { account: 1, at: noon.at(-1), total: '300' }
  ])
  await run(dayBefore(noon.date), noon.timeZone)
  assertRows(
    t,
    (await rowsOf(dayBefore(noon.date))).map(row => plain({ ...row })),
    [
      { account_id: '1', start_balance: '100', end_balance: '160', max_drawdown: null },
      { account_id: '2', start_balance: '400', end_balance: '300', max_drawdown: null }
    ]
  )
})

t.test('a balance of zero is known, and a first balance within the day is not the start balance', async t => {
  await seed({ accounts: [{}, {}] })
  await recordBalances(database, [
    { at: noon.at(-24.001), total: '0' },
    { account: 1, at: noon.at(-24), total: '80' },
    { account: 1, at: noon.at(-20), total: '60' }
  ])
  await run(dayBefore(noon.date), noon.timeZone)
  assertRows(
    t,
    (await rowsOf(dayBefore(noon.date))).map(row => plain({ ...row })),
    [
      { account_id: '1', start_balance: '0', end_balance: '0', max_drawdown: null },
      { account_id: '2', start_balance: null, end_balance: '60', max_drawdown: null }
    ]
  )
})

t.test('the row of the valuation currency has equity, return and drawdown, net of external flows', async t => {
  await seed({ accounts: [{}, {}, { exchange: 'UPBIT' }] })
  await recordEquities([
    [0, -25, '5000', '0'],
    [0, -24.001, '100', '0'],
    [0, -20, '200', '0'],
    [0, -16, '300', '200'],
    [0, -12, '150', '0'],
    [0, -8, '50', '-100'],
    [0, -4, '60', '0'],
    [0, 0, '1', '0'],
    // Flows that cannot be known, and one that is not computed yet.
    [1, -20, '100', null],
    [1, -16, '90', '0'],
    [1, -12, '500', null],
    [1, -8, '550', '0'],
    [1, -4, '990', undefined],
    [2, -4, '1000000', undefined]
  ])
  await run(dayBefore(noon.date), noon.timeZone)
  assertRows(
    t,
    (await rowsOf(dayBefore(noon.date))).map(row => plain({ ...row })),
    [
      // 100 → 200 → 100 (and 200 more) → half of it → the same → 6/5.
      { account_id: '1', equity: '60', equity_return: '-0.4', max_drawdown: '-0.75', equity_gaps: 0 },
      { account_id: '2', equity: '990', equity_return: '-0.01', max_drawdown: '-0.1', equity_gaps: 1 },
      { account_id: '3', currency: 'KRW', equity: '1000000', equity_return: null, max_drawdown: null, equity_gaps: 0 }
    ]
  )
})

t.test('a day is completed again when flows were computed after its summary', async t => {
  await seed()
  const day = dayBefore(noon.date)
  await recordEquities([
    [0, -20, '100', '0'],
    [0, -0.2, '50', undefined]
  ])
  await run(day, noon.timeZone)
  t.strictSame(await unfinished(noon.date, noon.timeZone), [noon.date])
  await database.run(sql => sql`update equity_history set external_flow = -50, flow_at = now() where flow_at is null`)
  t.strictSame(await unfinished(noon.date, noon.timeZone), [day, noon.date])
  await run(day, noon.timeZone)
  const [row] = await rowsOf(day)
  t.hasStrict(plain({ ...row }), { equity: '50', equity_return: '0', max_drawdown: '0' })
  t.strictSame(await unfinished(noon.date, noon.timeZone), [noon.date])
})

/** Records rows of the equity: index of the account, hours from noon, equity, and flow; undefined: not computed yet. */
async function recordEquities(rows: readonly [number, number, string, string | null | undefined][]) {
  for (const [account, hours, equity, flow] of rows) {
    await database.run(
      sql => sql`
        insert into equity_history (account_id, at, currency, equity, cash, holdings, unrealized_pnl, external_flow, flow_at)
        select account_id, ${new Date(noon.at(hours))}, case when exchange = 'UPBIT' then 'KRW' else 'USDT' end, ${equity},
          ${equity}, 0, 0, ${flow ?? null}, ${flow === undefined ? null : new Date()}
        from accounts order by account_id offset ${account} limit 1`
    )
  }
}

t.test('until three hours after the end of a day, its unrealised PnL is that of the open positions', async t => {
  await seed({
    accounts: [{}, {}],
    strategyAccounts: [
      { strategy: 0, account: 0, capital: '1', currency: 'USDT' },
      { strategy: 1, account: 0, capital: '1', currency: 'USDT' },
      { strategy: 1, account: 1, capital: '1', currency: 'USDT' }
    ]
  })
  await holdPositions(database, [
    { symbol: 'BTCUSDT', unrealized: '5' },
    { symbol: 'ETHUSDT', quantity: '-1', unrealized: '-2' },
    { symbol: 'XRPUSDT', quantity: '0', unrealized: '50' },
    { on: 1, symbol: 'BTCUSDT', unrealized: '0.5' },
    { on: 1, symbol: 'ETHBTC', currency: 'BTC', unrealized: '0.001' }
  ])
  const day = dayBefore(night.date)
  t.strictSame(await run(day, night.timeZone), { accounts: 2, summaries: 3, fees_unknown: 0, unmarked: 0 })
  const held = async () => (await rowsOf(day)).map(row => plain({ ...row }))
  const expected = [
    { account_id: '1', currency: 'BTC', unrealized_pnl: '0.001', is_final: true },
    { account_id: '1', currency: 'USDT', unrealized_pnl: '3.5', is_final: true },
    { account_id: '2', currency: 'USDT', unrealized_pnl: '0', is_final: true }
  ]
  assertRows(t, await held(), expected)
  await holdPositions(database, [{ symbol: 'BTCUSDT', unrealized: '90' }])
  await run(day, night.timeZone)
  assertRows(t, await held(), expected)
})

t.test('an ended day that was not summarised within three hours has no unrealised PnL', async t => {
  await seed()
  await holdPositions(database, [{ symbol: 'BTCUSDT', unrealized: '5' }])
  for (const [hour, expected] of [
    [2, '5'],
    [3, null],
    [4, null]
  ] as const) {
    const { date, timeZone } = localDay(hour)
    const day = dayBefore(date)
    await database.run(sql => sql`delete from daily_account_summaries`)
    await run(day, timeZone)
    assertRows(
      t,
      (await rowsOf(day)).map(row => plain({ ...row })),
      [{ unrealized_pnl: expected }]
    )
  }
})

t.test('a day is final after its end, and its unrealised PnL is unknown from three hours after its end', async t => {
  const { url, clock } = await frozenDatabase(t)
  const frozen = openDatabase(url)
  t.teardown(() => frozen.close(0))
  const day = '2026-11-23'
  await frozen.run(sql => sql`update frozen_clock set at = '2026-11-24T00:00:00Z'::timestamptz - interval '1 second'`)
  await seedTrading(frozen)
  await holdPositions(frozen, [{ symbol: 'BTCUSDT', unrealized: '5' }])
  const summary = async () => {
    await frozen.run(sql => sql`delete from daily_account_summaries`)
    await frozen.transaction(tx => summarise(tx, day, { timeZone: 'UTC' }))
    const rows = await frozen.transaction(tx => summariesOf(tx, day, { timeZone: 'UTC' }))
    return rows.map(({ is_final, unrealized_pnl }) => [
      is_final,
      unrealized_pnl === null ? null : Number(unrealized_pnl)
    ])
  }
  t.strictSame(await summary(), [[false, 5]])
  await clock.advance(1)
  t.strictSame(await summary(), [[true, 5]])
  await clock.advance(3 * 60 * 60 - 1)
  t.strictSame(await summary(), [[true, 5]])
  await clock.advance(1)
  t.strictSame(await summary(), [[true, null]])
})

t.test('a day that is completed later than three hours after its end keeps its earlier unrealised PnL', async t => {
  await seed()
  const day = dayBefore(noon.date)
  await database.run(
    sql => sql`
      insert into daily_account_summaries (account_id, date, currency, realized_pnl, unrealized_pnl, fees, fees_unknown,
        trades, wins, losses, volume, is_final)
      values (1, ${day}, 'USDT', 99, 12, 99, 9, 9, 9, 9, 99, false)`
  )
  await holdPositions(database, [{ symbol: 'BTCUSDT', unrealized: '5' }])
  await run(day, noon.timeZone)
  const [row] = await rowsOf(day)
  t.strictSame(plain({ ...row }), {
    ...{ account_id: '1', account: 'account 1', exchange: 'BINANCE', is_testnet: false, credentials_refused: false },
    ...{ chat_id: null, currency: 'USDT', start_balance: null, end_balance: null, realized_pnl: '0' },
    ...{
      unrealized_pnl: '12',
      fees: '0',
      fees_unknown: 0,
      funding: '0',
      interest: '0',
      executions: 0,
      trades: 0,
      wins: 0,
      losses: 0
    },
    week: [null, null, null, null, null, null, '0'],
    ...{ win_rate: null, volume: '0', max_drawdown: null, is_final: true, at: new Date(noon.at(0)) },
    ...{ balances_as_of: null, orders_as_of: null, marks_as_of: null, positions_unmarked: 0, positions_old_mark: 0 },
    ...{ equity: null, equity_return: null, equity_gaps: 0, equity_unvalued: 0 }
  })
})

t.test('a repeated summary replaces every value', async t => {
  await seed()
  await run(noon.date, noon.timeZone)
  const before = await database.run(sql => sql`select computed_at from daily_account_summaries`)
  await recordBalances(database, [
    { at: noon.at(-1), total: '100' },
    { at: noon.at(1), total: '80' }
  ])
  await trade(database, [
    { at: noon.at(1), pnl: '5', fee_value: '1' },
    { at: noon.at(2), pnl: '-1', fee_value: null },
    { at: noon.at(3), pnl: '-2', fee_value: '1' }
  ])
  await holdPositions(database, [{ symbol: 'BTCUSDT', unrealized: '5' }])
  await run(noon.date, noon.timeZone)
  assertRows(
    t,
    (await rowsOf(noon.date)).map(row => plain({ ...row })),
    [
      {
        ...{ start_balance: '100', end_balance: '80', realized_pnl: '2', unrealized_pnl: '5', fees: '2' },
        ...{
          fees_unknown: 1,
          executions: 3,
          trades: 3,
          wins: 1,
          losses: 2,
          win_rate: '0.33333333333333333333',
          volume: '300'
        },
        ...{ max_drawdown: null, is_final: false }
      }
    ]
  )
  const [later] = await database.run(
    sql => sql`select computed_at > ${before[0]?.computed_at} as later from daily_account_summaries`
  )
  t.strictSame({ ...later }, { later: true })
})

t.test('a disabled account keeps its existing days, and gets no new one', async t => {
  await seed({ accounts: [{}, {}] })
  const [first, second] = [dayBefore(noon.date, 2), dayBefore(noon.date)]
  await run(first, noon.timeZone)
  await database.run(sql => sql`update accounts set is_active = false where account_id = 2`)
  t.strictSame(await run(first, noon.timeZone), { accounts: 2, summaries: 2, fees_unknown: 0, unmarked: 0 })
  const one = { accounts: 1, summaries: 1, fees_unknown: 0, unmarked: 0 }
  t.strictSame(await run(second, noon.timeZone), one)
  t.strictSame(await run(second, noon.timeZone), one, 'the summary of another account does not count')
})

t.test('a currency without activity keeps an existing summary of the day, and gets none for other days', async t => {
  await seed()
  await holdPositions(database, [{ symbol: 'ETHBTC', currency: 'BTC', unrealized: '5' }])
  await run(noon.date, noon.timeZone)
  await holdPositions(database, [{ symbol: 'ETHBTC', currency: 'BTC', quantity: '0', unrealized: '5' }])
  t.strictSame(await run(noon.date, noon.timeZone), { accounts: 1, summaries: 2, fees_unknown: 0, unmarked: 0 })
  assertRows(
    t,
    (await rowsOf(noon.date)).map(row => plain({ ...row })),
    [
      { currency: 'BTC', unrealized_pnl: '0' },
      { currency: 'USDT', unrealized_pnl: '0' }
    ]
  )
  t.hasStrict(await run(dayBefore(noon.date), noon.timeZone), { summaries: 1 })
})

t.test('an account has no summary of a day that ended before its creation', async t => {
  await seed()
  const created = (at: string) => database.run(sql => sql`update accounts set created_at = ${at}`)
  await created(noon.at(0))
  t.strictSame(await run(dayBefore(noon.date), noon.timeZone), {
    accounts: 0,
    summaries: 0,
    fees_unknown: 0,
    unmarked: 0
  })
  await created(noon.at(-0.001))
  t.hasStrict(await run(dayBefore(noon.date), noon.timeZone), { accounts: 1, summaries: 1 })
})

t.test('summaries are ordered by name, with the chat of an owner who may sign in', async t => {
  await seed({
    chats: ['11', '22'],
    accounts: [
      { name: 'zeta', exchange: 'UPBIT' },
      { name: 'Alpha', owner: 1, is_testnet: true },
      { name: 'beta', state: 'credentials_refused' }
    ]
  })
  await database.run(sql => sql`update users set is_active = false where user_id = 2`)
  await run(noon.date, noon.timeZone)
  await run(dayBefore(noon.date), noon.timeZone)
  assertRows(t, await rowsOf(noon.date), [
    { account: 'Alpha', currency: 'USDT', chat_id: null, is_testnet: true, credentials_refused: false },
    { account: 'beta', currency: 'USDT', chat_id: '11', is_testnet: false, credentials_refused: true },
    { account: 'zeta', currency: 'KRW', chat_id: '11', is_testnet: false, credentials_refused: false }
  ])
})

t.test('the days to complete are yesterday, days that are not final, and days after the last one', async t => {
  await seed()
  const day = (ago: number) => dayBefore(noon.date, ago)
  t.strictSame(await unfinished(day(1)), [day(1)])
  const finished = async (ago: number, isFinal = true) => {
    await database.run(
      sql => sql`
        insert into daily_account_summaries (account_id, date, currency, realized_pnl, unrealized_pnl, fees,
          fees_unknown, trades, wins, losses, volume, is_final)
        values (1, ${day(ago)}, 'USDT', 0, 0, 0, 0, 0, 0, 0, 0, ${isFinal})`
    )
  }
  await finished(9)
  await finished(8, false)
  await finished(7)
  await finished(5)
  t.strictSame(await unfinished(day(1)), [day(8), day(4), day(3), day(2), day(1)])
  await finished(1)
  await finished(0, false)
  t.strictSame(await unfinished(day(1)), [day(8), day(4), day(3), day(2), day(1)], 'today has not ended')
})

t.test('a day is completed again when one of its executions was recorded after its summary', async t => {
  await seed({ accounts: [{}, {}] })
  const day = (ago: number) => dayBefore(noon.date, ago)
  const summary = (account: number, ago: number, computed: string) =>
    database.run(
      sql => sql`
        insert into daily_account_summaries (account_id, date, currency, realized_pnl, unrealized_pnl, fees,
          fees_unknown, trades, wins, losses, volume, is_final, computed_at)
        values (${account}, ${day(ago)}, 'USDT', 0, 0, 0, 0, 0, 0, 0, 0, true, ${computed})`
    )
  const second = (seconds: number) => noon.at(seconds / 3_600)
  for (const ago of [6, 5, 4, 3, 2, 1]) await summary(1, ago, second(0))
  await summary(2, 3, second(60))
  await summary(1, 7, second(-7_200))
  await trade(database, [
    // In the first and in the last second of a day.
    { at: noon.at(-6 * 24), recorded: second(1) },
    { at: noon.at(-4 * 24 - 0.001), recorded: second(-14.9) },
    { at: noon.at(-4 * 24), recorded: second(-15) },
    { at: noon.at(-2 * 24), recorded: second(-3_600) },
    // Recorded early enough before the first summary to be included.
    { at: noon.at(-9 * 24), recorded: second(-7_215) }
  ])
  t.strictSame(await unfinished(day(1)), [day(6), day(5), day(1)])
  await trade(database, [{ at: noon.at(-8 * 24), recorded: second(-1) }])
  t.strictSame(await unfinished(day(1)), [day(8), day(6), day(5), day(1)], 'a day without a summary')
  await trade(database, [{ at: noon.at(-3 * 24), recorded: second(30), currency: 'BTC' }])
  t.strictSame(await unfinished(day(1)), [day(8), day(6), day(5), day(3), day(1)], 'a currency without a summary')
  await database.run(
    sql => sql`
      insert into replaced_executions (execution_id, order_id, strategy_account_id, account_id, exchange_trade_id,
        currency, side, price, quantity, executed_at, replaced_at)
      select 1000, order_id, strategy_account_id, account_id, 'cum:1:1', 'USDT', side, 1, 1, ${noon.at(-2 * 24)}, ${second(2)}
      from orders order by order_id limit 1`
  )
  const all = [day(8), day(6), day(5), day(3), day(2), day(1)]
  t.strictSame(await unfinished(day(1)), all, 'a day of which an execution was replaced by those of other days')
  await database.run(sql => sql`delete from replaced_executions`)
  await trade(database, [{ at: noon.at(1), recorded: second(3_700) }])
  t.strictSame(await unfinished(day(1)), [day(8), day(6), day(5), day(3), day(1)], 'today has not ended')
})

t.test('the day of a time is that in the time zone', async t => {
  const at = (time: string, timeZone: string) => database.transaction(tx => dayOf(tx, new Date(time), { timeZone }))
  t.equal(await at('2026-11-24T14:59:59Z', 'Asia/Seoul'), '2026-11-24')
  t.equal(await at('2026-11-24T15:00:00Z', 'Asia/Seoul'), '2026-11-25')
  t.equal(await at('2026-11-24T15:00:00Z', 'UTC'), '2026-11-24')
})

t.test(
  'a summary has the ages of its balances, orders and marks, and counts positions without a current mark',
  async t => {
    await seed()
    await holdPositions(database, [
      { symbol: 'BTCUSDT', unrealized: '5' },
      { symbol: 'ETHUSDT', unrealized: '2' },
      { symbol: 'XRPUSDT', unrealized: null },
      { symbol: 'ETHBTC', currency: 'BTC', unrealized: null }
    ])
    const ago = (minutes: number) => `now() - interval '${minutes} minutes'`
    const execute = (statement: string) => database.run(sql => sql.unsafe(statement))
    await execute(`update strategy_positions set marked_at = ${ago(14)} where symbol = 'BTCUSDT'`)
    await execute(`update strategy_positions set marked_at = ${ago(16)} where symbol = 'ETHUSDT'`)
    await execute(`insert into account_balances (account_id, market_type, asset, free, locked, total, synced_at) values
    (1, 'SPOT', 'USDT', 1, 0, 1, ${ago(3)}), (1, 'FUTURES', 'USDT', 1, 0, 1, ${ago(9)}), (1, 'SPOT', 'BTC', 1, 0, 1, ${ago(2)})`)
    for (const [id, status, minutes] of [
      ['1', 'open', 4],
      ['2', 'pending', 7],
      ['3', 'filled', 60],
      ['4', 'unknown', 90]
    ]) {
      await execute(`insert into orders (order_id, strategy_account_id, account_id, market_type, exchange_order_id,
      symbol, exchange_symbol, side, order_type, quantity, status, last_checked_at) overriding system value
      values (90000 + ${id}, 1, 1, 'SPOT', '${id}', 'BTCUSDT', 'BTCUSDT', 'BUY', 'LIMIT', 1, '${status}', ${ago(Number(minutes))})`)
    }
    t.strictSame(await run(noon.date, noon.timeZone), { accounts: 1, summaries: 2, fees_unknown: 0, unmarked: 2 })
    const [btc, usdt] = await rowsOf(noon.date)
    const ages = (row: typeof btc) =>
      [row?.balances_as_of, row?.orders_as_of, row?.marks_as_of].map(asOf =>
        asOf && row ? Math.round((row.at.getTime() - asOf.getTime()) / 60_000) : null
      )
    t.strictSame(ages(btc), [2, 7, null])
    t.hasStrict(btc, { currency: 'BTC', unrealized_pnl: null, positions_unmarked: 1, positions_old_mark: 0 })
    t.strictSame(ages(usdt), [9, 7, 16])
    t.hasStrict(usdt, { currency: 'USDT', unrealized_pnl: '7', positions_unmarked: 1, positions_old_mark: 1 })
  }
)

t.test('the ages of the first final summary are kept', async t => {
  await seed()
  await holdPositions(database, [{ symbol: 'BTCUSDT', unrealized: null }])
  const day = dayBefore(night.date)
  await run(day, night.timeZone)
  const [before] = await database.transaction(tx => summariesOf(tx, day, night))
  t.hasStrict(before, { is_final: true, unrealized_pnl: null, positions_unmarked: 1, balances_as_of: null })
  await holdPositions(database, [{ symbol: 'BTCUSDT', unrealized: '3' }])
  await recordBalances(database, [{ at: night.at(0.5), total: '1' }])
  await database.run(
    sql => sql`
      insert into account_balances (account_id, market_type, asset, free, locked, total, synced_at)
      values (1, 'SPOT', 'USDT', 1, 0, 1, now())`
  )
  await run(day, night.timeZone)
  const [after] = await database.transaction(tx => summariesOf(tx, day, night))
  t.hasStrict(after, { unrealized_pnl: null, positions_unmarked: 1, balances_as_of: null, marks_as_of: null })
})

t.test('a value that has become unknown replaces an earlier one of the same day', async t => {
  await seed()
  await holdPositions(database, [{ symbol: 'BTCUSDT', unrealized: '4' }])
  await run(noon.date, noon.timeZone)
  assertRows(t, await rowsOf(noon.date), [{ unrealized_pnl: '4', positions_unmarked: 0 }])
  await holdPositions(database, [{ symbol: 'BTCUSDT', unrealized: null }])
  await run(noon.date, noon.timeZone)
  assertRows(t, await rowsOf(noon.date), [{ unrealized_pnl: null, positions_unmarked: 1 }])
})
