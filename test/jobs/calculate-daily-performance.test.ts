import { Big } from 'big.js'
import fc from 'fast-check'
import t, { type Test } from 'tap'
import type { Database } from '../../src/database/database.ts'
import { calculateDailyPerformance } from '../../src/jobs/calculate-daily-performance.ts'
import { JobError } from '../../src/scheduler/job.ts'
import { captureLog } from '../support/app.ts'
import { assertRows } from '../support/assert-rows.ts'
import { undoneBy } from '../support/jobs.ts'
import { tradingDatabase } from '../support/trading.ts'
import { type ExecutionRow, plain, type RunOverrides, runJob, seedTrading, trade } from '../support/trading-days.ts'

const SEOUL = 'Asia/Seoul'

/** Runs the job in the night after the given day. */
function run(database: Database, at: string, overrides: RunOverrides = {}, timeZone = SEOUL) {
  return runJob(database, calculateDailyPerformance({ timeZone }), { scheduledFor: new Date(at), ...overrides })
}

/** The rows of all strategies, without the time at which they were computed. */
async function performanceOf(database: Database, columns?: readonly string[]): Promise<Record<string, unknown>[]> {
  const rows = await database.run(
    sql => sql<Record<string, unknown>[]>`
      select strategy_id, date::text, currency, is_testnet, daily_pnl, cumulative_pnl, daily_return, cumulative_return,
        executions, trades, wins, win_rate, max_drawdown, volatility, sharpe, sortino, fees, fees_unknown, executions_apart
      from strategy_performance order by strategy_id, currency, is_testnet, date`
  )
  return rows.map(row => (columns ? Object.fromEntries(columns.map(name => [name, row[name]])) : { ...row }))
}

/** The days from one to another, `YYYY-MM-DD`, both included. */
function days(from: string, to: string): string[] {
  const list: string[] = []
  for (let ms = Date.parse(from); ms <= Date.parse(to); ms += 86_400_000) {
    list.push(new Date(ms).toISOString().slice(0, 10))
  }
  return list
}

t.test('three days of one strategy equal a manual computation', async t => {
  const database = await tradingDatabase(t)
  await seedTrading(database)
  await trade(database, [
    { at: '2026-03-01T10:00:00+09:00', fee_value: '1' },
    { at: '2026-03-01T11:00:00+09:00', pnl: '101', fee_value: '0' },
    { at: '2026-03-02T00:00:00+09:00', pnl: '-60', fee_value: '0.5' },
    { at: '2026-03-02T23:59:59.999+09:00', pnl: '10.5', fee_value: null },
    { at: '2026-03-04T00:00:00+09:00', pnl: '999' }
  ])
  const { result, progress } = await run(database, '2026-03-04T00:00:13+09:00')
  t.hasStrict(result, { strategies: 1, days: 3, executions: 4, trades: 3, executions_apart: 0, fees_unknown: 1 })
  t.equal(progress.at(-1)?.[0], progress.at(-1)?.[1], 'progress ends at its total')

  const rows = await performanceOf(database)
  assertRows(t, rows, [
    {
      ...{ date: '2026-03-01', currency: 'USDT', is_testnet: false, daily_pnl: '100', cumulative_pnl: '100' },
      ...{
        daily_return: '0.1',
        cumulative_return: '0.1',
        executions: 2,
        trades: 1,
        wins: 1,
        win_rate: '1',
        max_drawdown: '0'
      },
      ...{ volatility: null, sharpe: null, sortino: null, fees: '1', fees_unknown: 0 }
    },
    // The compounded value falls from a peak of 1.1 to 1.045.
    {
      ...{ date: '2026-03-02', daily_pnl: '-50.0', cumulative_pnl: '50.0', daily_return: '-0.05', trades: 2, wins: 1 },
      ...{ win_rate: '0.5', max_drawdown: '-0.05', fees: '0.5', fees_unknown: 1 }
    },
    {
      ...{ date: '2026-03-03', daily_pnl: '0', cumulative_pnl: '50.0', daily_return: '0', trades: 0, wins: 0 },
      ...{ win_rate: null, max_drawdown: '-0.05', fees: '0' }
    }
  ])
  // Returns 0.1, −0.05, 0: mean 1/60, std √(7/1200), downside √(0.0025/3), times √365.
  const last = rows.at(-1)
  const near = (got: unknown, wanted: number) => t.ok(Math.abs(Number(got) - wanted) < 1e-14, `${got} is ${wanted}`)
  near(last?.volatility, Math.sqrt(7 / 1200) * Math.sqrt(365))
  near(last?.sharpe, (1 / 60 / Math.sqrt(7 / 1200)) * Math.sqrt(365))
  near(last?.sortino, (1 / 60 / Math.sqrt(0.0025 / 3)) * Math.sqrt(365))
})

t.test(
  'a strategy whose days cannot be computed does not affect the others, and is computed by the next run',
  async t => {
    const database = await tradingDatabase(t)
    await seedTrading(database, {
      accounts: [{}, {}],
      strategyAccounts: [0, 1].map(n => ({ strategy: n, account: n, capital: '1000', currency: 'USDT' }))
    })
    await trade(database, [
      { on: 0, at: '2026-01-01T10:00:00+09:00', pnl: '1' },
      { on: 1, at: '2026-02-20T10:00:00+09:00', pnl: '2' }
    ])
    const night = '2026-03-04T00:00:13+09:00'
    await database.run(sql =>
      sql
        .unsafe(`
      create function broken() returns trigger language plpgsql as $$ begin
        if new.strategy_id = (select min(strategy_id) from strategies) and new.date >= '2026-02-10' then
          raise exception 'cannot be computed' using errcode = '22003';
        end if;
        return new;
      end $$;
      create trigger broken before insert on strategy_performance for each row execute function broken()`)
        .simple()
    )
    const { result, progress } = await run(database, night)
    // Months of 31 days from the first execution: the first month of the first strategy is written, the rest fails.
    t.hasStrict(result, { strategies: 2, days: 31 + 12, days_failed: 31, summary_days_failed: 0 })
    t.strictSame(undoneBy('calculate_daily_performance', result), { days_failed: 31 }, 'the run is partial')
    t.equal(progress.at(-1)?.[0], progress.at(-1)?.[1], 'progress ends at its total')
    const [recorded] = await database.run(sql => sql`select count(*)::int as rows from performance_progress`)
    t.strictSame(recorded, { rows: 0 }, 'executions of the failed days count as not seen')

    await database.run(sql => sql`drop trigger broken on strategy_performance`)
    const { result: repaired } = await run(database, night)
    t.hasStrict(repaired, { days: 31, days_failed: 0 })
    t.strictSame(undoneBy('calculate_daily_performance', repaired), {}, 'everything is done')
  }
)

t.test('a database that is too slow for a transaction computes the days in smaller ones', async t => {
  const database = await tradingDatabase(t)
  const indexes = Array.from({ length: 8 }, (_, index) => index)
  await seedTrading(database, {
    accounts: indexes.map(() => ({})),
    strategyAccounts: indexes.map(n => ({ strategy: n, account: n, capital: '1000', currency: 'USDT' }))
  })
  await trade(
    database,
    indexes.map(on => ({ on, at: '2026-01-01T10:00:00+09:00', pnl: String(on) }))
  )
  const night = '2026-03-04T00:00:13+09:00'
  await run(database, night)
  const wanted = await performanceOf(database)
  await database.run(sql => sql`truncate strategy_performance, performance_progress`)
  await database.run(sql =>
    sql
      .unsafe(`
    create function slow() returns trigger language plpgsql as $$ begin
      if (select count(distinct strategy_id) > 2 from added) then
        raise exception 'canceling statement due to statement timeout' using errcode = '57014';
      end if;
      return null;
    end $$;
    create trigger slow after insert on strategy_performance referencing new table as added
      for each statement execute function slow()`)
      .simple()
  )
  const log = captureLog()
  const { result } = await run(database, night, { log: log.logger })
  t.hasStrict(result, { strategies: 8, days: 8 * 62, days_failed: 0, trades: 8 })
  t.strictSame(await performanceOf(database), wanted)
  const lines = log.lines.filter(({ msg }) => msg === 'days computed in smaller transactions')
  // The first month has 248 rows. The second begins with smaller transactions.
  assertRows(t, lines, [{ series: 8, rows: 62 }])
})

t.test('a day whose summaries cannot be written does not affect the other days', async t => {
  const database = await tradingDatabase(t)
  await seedTrading(database)
  await trade(database, [{ at: '2026-03-01T10:00:00+09:00' }, { at: '2026-03-02T10:00:00+09:00' }])
  await database.run(sql => sql`update accounts set created_at = '2026-01-01'`)
  await database.run(
    sql => sql`
      insert into daily_account_summaries (account_id, date, currency, realized_pnl, unrealized_pnl, fees, trades, wins,
        losses, volume, is_final, computed_at)
      select account_id, '2026-03-01', 'USDT', 0, 0, 0, 0, 0, 0, 0, false, now() from accounts`
  )
  await database.run(sql =>
    sql.unsafe(`
      alter table daily_account_summaries add constraint broken check (date <> '2026-03-01' or not is_final)`)
  )
  const { result } = await run(database, '2026-03-03T00:00:13+09:00')
  t.strictSame(undoneBy('calculate_daily_performance', result), { summary_days_failed: 1 }, 'the run is partial')
  const rows = await database.run(
    sql => sql`select date::text, is_final from daily_account_summaries where currency = 'USDT' order by date`
  )
  assertRows(t, rows, [
    { date: '2026-03-01', is_final: false },
    { date: '2026-03-02', is_final: true }
  ])
})

t.test('a strategy that has never traded has no rows', async t => {
  const database = await tradingDatabase(t)
  await seedTrading(database)
  const { result } = await run(database, '2026-03-04T00:00:13+09:00')
  t.hasStrict(result, { strategies: 0, days: 0, executions: 0, trades: 0 })
  t.strictSame(await performanceOf(database), [])
})

t.test('results are in the currency of the capital, executions in others are counted', async t => {
  const database = await tradingDatabase(t)
  await seedTrading(database, {
    accounts: [{}, { exchange: 'UPBIT' }],
    strategyAccounts: [
      { strategy: 0, account: 0, capital: '1000', currency: 'USDT' },
      { strategy: 0, account: 1, capital: '5000000', currency: 'KRW' }
    ]
  })
  await trade(database, [
    { on: 0, at: '2026-03-01T10:00:00+09:00', pnl: '10' },
    { on: 0, at: '2026-03-01T11:00:00+09:00', pnl: '700', currency: 'USDC', fee_value: null },
    { on: 1, at: '2026-03-01T12:00:00+09:00', pnl: '-25000', currency: 'KRW' }
  ])
  const { result } = await run(database, '2026-03-02T00:00:13+09:00')
  t.hasStrict(result, { strategies: 1, days: 2, trades: 2, executions_apart: 1, fees_unknown: 0 })
  assertRows(t, await performanceOf(database), [
    { currency: 'KRW', daily_pnl: '-25000', daily_return: '-0.005', trades: 1, executions_apart: 0 },
    { currency: 'USDT', daily_pnl: '10', daily_return: '0.01', trades: 1, executions_apart: 1 }
  ])
})

t.test('accounts of one currency share their capital; testnets have separate rows', async t => {
  const database = await tradingDatabase(t)
  await seedTrading(database, {
    accounts: [{}, {}, { is_testnet: true }],
    strategyAccounts: [0, 1, 2].map(account => ({ strategy: 0, account, capital: '500', currency: 'USDT' }))
  })
  await trade(
    database,
    [0, 1, 2].map(on => ({ on, at: '2026-03-01T10:00:00+09:00', pnl: '100' }))
  )
  await run(database, '2026-03-02T00:00:13+09:00')
  assertRows(t, await performanceOf(database), [
    { is_testnet: false, daily_pnl: '200', daily_return: '0.2' },
    { is_testnet: true, daily_pnl: '100', daily_return: '0.2' }
  ])
})

t.test('missed days are computed, and a second run changes nothing', async t => {
  const database = await tradingDatabase(t)
  await seedTrading(database)
  await trade(database, [{ at: '2026-03-01T10:00:00+09:00', pnl: '10' }])
  await run(database, '2026-03-02T00:00:13+09:00')
  await trade(database, [{ at: '2026-03-04T10:00:00+09:00', pnl: '-5' }])
  const { result } = await run(database, '2026-03-07T00:00:13+09:00')
  t.hasStrict(result, { strategies: 1, days: 5 })
  t.strictSame(
    await performanceOf(database, ['date', 'cumulative_pnl']),
    ['10', '10', '10', '5', '5', '5'].map((cumulative_pnl, i) => ({ date: `2026-03-0${i + 1}`, cumulative_pnl }))
  )
  t.hasStrict((await run(database, '2026-03-07T00:00:13+09:00')).result, { strategies: 0, days: 0 })
})

t.test('the day of late executions is computed again, and the following days are updated', async t => {
  const database = await tradingDatabase(t)
  await seedTrading(database)
  const early: ExecutionRow = { at: '2026-02-27T23:59:00+09:00', pnl: '7', fee_value: '1' }
  const late: ExecutionRow = { at: '2026-03-02T09:00:00+09:00', pnl: '-40', fee_value: '2' }
  const others: ExecutionRow[] = days('2026-03-01', '2026-03-05').map((day, i) => ({
    at: `${day}T12:00:00+09:00`,
    pnl: String(i * 10 - 15)
  }))
  await trade(database, others)
  await run(database, '2026-03-06T00:00:13+09:00')
  const now = new Date().toISOString()
  await trade(database, [{ ...late, recorded: now }])
  t.hasStrict(
    (await run(database, '2026-03-06T00:00:13+09:00')).result,
    { days: 4 },
    'computed from the day of the late execution'
  )
  await trade(database, [{ ...early, recorded: now }])
  t.hasStrict(
    (await run(database, '2026-03-06T00:00:13+09:00')).result,
    { days: 7 },
    'also for a day before the first one'
  )

  const undisturbed = await tradingDatabase(t)
  await seedTrading(undisturbed)
  await trade(undisturbed, [...others, late, early])
  await run(undisturbed, '2026-03-06T00:00:13+09:00')
  t.strictSame(await performanceOf(database), await performanceOf(undisturbed))
})

t.test('a manual run computes the given day', async t => {
  const database = await tradingDatabase(t)
  await seedTrading(database)
  await trade(
    database,
    days('2026-03-01', '2026-03-05').map((day, i) => ({ at: `${day}T12:00:00+09:00`, pnl: String(7 - i * 3) }))
  )
  const at = '2026-03-06T09:00:00+09:00'
  t.hasStrict(
    (await run(database, at, { trigger: 'manual', date: '2026-03-03' })).result,
    { days: 3 },
    'missing days before it are computed first'
  )
  await run(database, at)
  const before = await performanceOf(database)
  t.hasStrict(
    (await run(database, at, { trigger: 'manual', date: '2026-03-03' })).result,
    { days: 3 },
    'days after it are computed again'
  )
  t.strictSame(await performanceOf(database), before, 'the repeated run gives the same rows')
  t.hasStrict(
    (await run(database, at, { trigger: 'manual', date: '2025-12-31' })).result,
    { days: 0 },
    'a day before the first execution'
  )
  for (const date of ['2026-03-06', '2027-01-01']) {
    await t.rejects(
      run(database, at, { trigger: 'manual', date }),
      new JobError('DAY_NOT_OVER'),
      'a day that is not over'
    )
  }
  t.strictSame(await performanceOf(database), before)
})

t.test('a day has the length of the day in its time zone', async t => {
  // Havana has two midnights on a day in November, São Paulo had none on a day in November 2018, Apia skipped a whole
  // day.
  const zones = [
    ['Europe/Berlin', '2026-03-29T21:59:59.999Z', '2026-03-29T22:00:00Z', '2026-03-29'],
    ['Europe/Berlin', '2026-10-24T21:59:59.999Z', '2026-10-24T22:00:00Z', '2026-10-24'],
    ['America/Havana', '2026-11-01T03:59:59.999Z', '2026-11-01T04:00:00Z', '2026-10-31'],
    ['America/Havana', '2026-11-02T04:59:59.999Z', '2026-11-02T05:00:00Z', '2026-11-01'],
    ['America/Sao_Paulo', '2018-11-04T02:59:59.999Z', '2018-11-04T03:00:00Z', '2018-11-03'],
    ['Pacific/Apia', '2011-12-30T09:59:59.999Z', '2011-12-30T10:00:00Z', '2011-12-29']
  ] as const
  for (const [zone, last, first, day] of zones) {
    const database = await tradingDatabase(t)
    await seedTrading(database)
    await trade(database, [
      { at: last, pnl: '1' },
      { at: first, pnl: '10' }
    ])
    const later = new Date(Date.parse(first) + 3 * 86_400_000).toISOString()
    await run(database, later, {}, zone)
    const rows = await performanceOf(database, ['date', 'daily_pnl'])
    t.strictSame(rows[0], { date: day, daily_pnl: '1' }, `${zone}: ${day} ends at its last millisecond`)
    const next = rows.find(({ daily_pnl }) => daily_pnl === '10')
    t.equal(next?.date, zone === 'Pacific/Apia' ? '2011-12-31' : days(day, '2099-01-01')[1], `${zone}: the next begins`)
  }
})

t.test('a run that failed before one of its transactions is completed by the next run, with the same rows', async t => {
  const executions: ExecutionRow[] = days('2026-01-01', '2026-04-30').map((day, i) => ({
    on: i % 3,
    at: `${day}T12:00:00+09:00`,
    pnl: String(((i * 7919) % 211) - 100),
    fee_value: '0.25'
  }))
  const prepared = async (t: Test) => {
    const database = await tradingDatabase(t)
    await seedTrading(database, {
      strategyAccounts: [0, 1, 2].map(strategy => ({ strategy, account: 0, capital: '1000', currency: 'USDT' }))
    })
    await trade(database, executions)
    return database
  }
  const at = '2026-05-01T00:00:13+09:00'
  const undisturbed = await prepared(t)
  const { transactions } = await run(undisturbed, at)
  const wanted = await performanceOf(undisturbed)
  t.ok(transactions > 6, `one transaction per month: ${transactions} transactions`)
  for (let killedBefore = 1; killedBefore <= transactions; killedBefore++) {
    const database = await prepared(t)
    const killed = run(database, at, {
      before: transaction => {
        if (transaction === killedBefore) throw new Error('killed')
      }
    })
    await t.rejects(killed, { message: 'killed' })
    await run(database, at)
    t.strictSame(await performanceOf(database), wanted, `killed before transaction ${killedBefore}`)
  }
})

t.test('an aborted run stops between two transactions', async t => {
  const database = await tradingDatabase(t)
  await seedTrading(database)
  await trade(database, [{ at: '2026-01-01T10:00:00+09:00', pnl: '10' }])
  const controller = new AbortController()
  await t.rejects(
    run(database, '2026-05-01T00:00:13+09:00', {
      signal: controller.signal,
      before: transaction => {
        if (transaction === 5) controller.abort(new Error('aborted'))
      }
    }),
    { message: 'aborted' }
  )
  t.equal((await performanceOf(database)).length, 31, 'one month was computed')
})

/** A naive computation of the rows of `strategy_performance`: day by day over lists, in big.js with many digits. */
function naiveRows(
  executions: readonly RandomExecution[],
  first: string,
  last: string,
  capital: number
): Record<string, unknown>[] {
  const Wide = Big()
  Wide.DP = 60
  const sum = (list: readonly Big[]) => list.reduce((a, b) => a.plus(b), new Wide(0))
  const root365 = new Wide(365).sqrt()
  const rounded = (value: Big | null | undefined) => value?.round(20, Big.roundHalfUp).toFixed() ?? null
  const returns: Big[] = []
  let total = new Wide(0)
  let index = new Wide(1)
  let peak = index
  let drawdown = new Wide(0)
  return days(first, last).map(day => {
    const own = executions.filter(({ at, currency }) => seoulDay(at) === day && currency === 'USDT')
    const closes = own.flatMap(({ pnl }) => (pnl === null ? [] : [new Wide(pnl)]))
    const wins = closes.filter(pnl => pnl.gt(0)).length
    const fees = sum(own.map(({ fee_value }) => new Wide(fee_value ?? 0)))
    const daily = sum(closes).minus(fees)
    returns.push(daily.div(capital))
    total = total.plus(daily)
    index = index.times(daily.div(capital).plus(1))
    if (index.gt(peak)) peak = index
    const fall = index.div(peak).minus(1)
    if (fall.lt(drawdown)) drawdown = fall
    const n = returns.length
    const mean = sum(returns).div(n)
    const squares = (list: readonly Big[]) => sum(list.map(r => r.times(r)))
    const deviation =
      n > 1
        ? squares(returns.map(r => r.minus(mean)))
            .div(n - 1)
            .sqrt()
        : null
    const downside =
      n > 1
        ? squares(returns.filter(r => r.lt(0)))
            .div(n)
            .sqrt()
        : null
    // A deviation below the stored digits is only a rounding error of equal returns.
    const per = (risk: Big | null) => (risk?.gt('1e-25') ? mean.div(risk).times(root365) : null)
    return {
      date: day,
      daily_pnl: daily.toFixed(),
      cumulative_pnl: total.toFixed(),
      daily_return: rounded(daily.div(capital)),
      cumulative_return: rounded(index.minus(1)),
      executions: own.length,
      trades: closes.length,
      wins,
      win_rate: closes.length === 0 ? null : rounded(new Wide(wins).div(closes.length)),
      max_drawdown: rounded(drawdown),
      volatility: rounded(deviation?.times(root365)),
      sharpe: rounded(per(deviation)),
      sortino: rounded(per(downside)),
      fees: fees.toFixed(),
      fees_unknown: own.filter(({ fee_value }) => fee_value === null).length,
      executions_apart: executions.filter(({ at, currency }) => seoulDay(at) === day && currency !== 'USDT').length
    }
  })
}

type RandomExecution = { at: string; currency: string; pnl: string | null; fee_value: string | null }
const seoulDay = (at: string) => new Date(Date.parse(at) + 9 * 3_600_000).toISOString().slice(0, 10)

const amounts = fc.integer({ min: -1_000_000, max: 1_000_000 }).map(n => new Big(n).div(10_000).toFixed())
const randomExecution: fc.Arbitrary<RandomExecution> = fc.record({
  at: fc
    .integer({ min: 0, max: 8 * 86_400 - 1 })
    .map(seconds => new Date(Date.parse('2026-03-01T00:00:00+09:00') + seconds * 1_000).toISOString()),
  currency: fc.constantFrom('USDT', 'USDT', 'USDT', 'USDC'),
  pnl: fc.option(amounts),
  fee_value: fc.option(fc.integer({ min: -10, max: 1_000 }).map(n => new Big(n).div(1_000).toFixed()))
})
/** A gain, and a loss of a billionth of the capital. */
const SMALL_LOSS: RandomExecution[] = [
  { at: '2026-03-01T10:00:00+09:00', currency: 'USDT', pnl: '100', fee_value: null },
  { at: '2026-03-02T10:00:00+09:00', currency: 'USDT', pnl: null, fee_value: '0.001' }
]

t.test('for random executions, recorded in random order between runs, the rows equal a naive computation', async t => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(randomExecution, { minLength: 1, maxLength: 30 }),
      fc.integer({ min: 1, max: 1_000_000 }),
      fc.integer({ min: 0, max: 30 }),
      fc.integer({ min: 2, max: 9 }),
      async (executions, capital, split, firstRun) => {
        const database = await tradingDatabase(t)
        const strategyAccounts = [{ strategy: 0, account: 0, capital: String(capital), currency: 'USDT' }]
        await seedTrading(database, { strategyAccounts })
        const recorded = new Date().toISOString()
        const rows = executions.map(execution => ({ ...execution, recorded }))
        await trade(database, rows.slice(0, split))
        await run(database, `2026-03-${String(firstRun).padStart(2, '0')}T00:00:13+09:00`)
        await trade(database, rows.slice(split))
        await run(database, '2026-03-09T00:00:13+09:00')

        const first = executions.map(({ at }) => seoulDay(at)).sort()[0] ?? ''
        const wanted = naiveRows(executions, first, '2026-03-08', capital)
        const got = await performanceOf(database)
        t.equal(got.length, wanted.length)
        for (const [i, row] of wanted.entries()) t.hasStrict(plain(got[i]), row)
      }
    ),
    { numRuns: 25, examples: [[SMALL_LOSS, 1_000_000, 2, 9]] }
  )
})
