import { Big } from 'big.js'
import fc from 'fast-check'
import t from 'tap'
import type { Database } from '../../src/database/database.ts'
import { calculateDailyPerformance } from '../../src/jobs/calculate-daily-performance.ts'
import { SUMMARY_MAX_AGES } from '../../src/jobs/index.ts'
import { type DailySummaryServices, sendDailySummary } from '../../src/jobs/send-daily-summary.ts'
import { Outbox } from '../../src/notifications/outbox.ts'
import { assertRows } from '../support/assert-rows.ts'
import { undoneBy } from '../support/jobs.ts'
import { tradingDatabase } from '../support/trading.ts'
import {
  holdPositions,
  localDay,
  plain,
  type RunOverrides,
  recordBalances,
  runJob,
  seedTrading,
  trade
} from '../support/trading-days.ts'

const OPERATOR = '-100'
/** A day that is half over, and a day that has just begun. */
const noon = localDay(12)
const night = localDay(0)

const dayBeforeOf = (date: string, days: number) =>
  new Date(Date.parse(date) - days * 86_400_000).toISOString().slice(0, 10)

function send(database: Database, overrides: RunOverrides = {}, services: Partial<DailySummaryServices> = {}) {
  const job = sendDailySummary({
    timeZone: noon.timeZone,
    language: 'en',
    operatorChatId: OPERATOR,
    maxAges: SUMMARY_MAX_AGES,
    outbox: new Outbox(),
    ...services
  })
  return runJob(database, job, overrides)
}

async function summaries(database: Database): Promise<Record<string, unknown>[]> {
  const rows = await database.run(
    sql => sql<Record<string, unknown>[]>`
      select account_id, date::text, currency, start_balance, end_balance, realized_pnl, unrealized_pnl, fees,
        fees_unknown, executions, trades, wins, losses, win_rate, volume, max_drawdown, is_final
      from daily_account_summaries order by account_id, date, currency`
  )
  return rows.map(row => plain(row))
}

function messages(database: Database): Promise<{ chat_id: string; text: string; dedupe_key: string }[]> {
  return database.run(async sql => [
    ...(await sql<{ chat_id: string; text: string; dedupe_key: string }[]>`
        select chat_id, text, dedupe_key from outbox order by chat_id, message_id`)
  ])
}

t.test('the summary of an incomplete day equals a manual computation', async t => {
  const database = await tradingDatabase(t)
  await seedTrading(database)
  await recordBalances(database, [
    { at: noon.at(-20), total: '900' },
    { at: noon.at(-1), total: '1000' },
    { at: noon.at(2), total: '1100' },
    { at: noon.at(4), total: '990' },
    { at: noon.at(6), total: '1050.5' }
  ])
  await trade(database, [
    { at: noon.at(-0.01), pnl: '5000' },
    { at: noon.at(0), price: '60000', quantity: '0.5', fee_value: '3' },
    { at: noon.at(5), price: '61000.25', quantity: '0.2', pnl: '200.05', fee_value: '2.5' },
    { at: noon.at(6), price: '59000', quantity: '0.2', pnl: '-100', fee_value: null },
    { at: noon.at(7), price: '60000', quantity: '0.1', pnl: '0', fee_value: '-0.5' }
  ])
  await holdPositions(database, [
    { symbol: 'BTCUSDT', unrealized: '12.5' },
    { symbol: 'ETHUSDT', quantity: '-3', unrealized: '-2.25' },
    { symbol: 'XRPUSDT', quantity: '0', unrealized: '99' }
  ])
  const { result, progress } = await send(database)
  const counts = {
    accounts: 1,
    summaries: 1,
    fees_unknown: 1,
    unmarked: 0,
    outdated: 0,
    restated: 0,
    recipients: 1,
    messages: 1
  }
  t.strictSame(result, { day: noon.date, ...counts })
  t.strictSame(undoneBy('send_daily_summary', result), {}, 'everything is done')
  t.strictSame(progress.at(-1), [1, 1])
  t.strictSame(await summaries(database), [
    {
      ...{ account_id: '1', date: noon.date, currency: 'USDT', start_balance: '1000', end_balance: '1050.5' },
      ...{
        realized_pnl: '100.05',
        unrealized_pnl: '10.25',
        fees: '5',
        fees_unknown: 1,
        executions: 4,
        trades: 3,
        wins: 1,
        losses: 1
      },
      ...{ win_rate: '0.33333333333333333333', volume: '60000.05', max_drawdown: null, is_final: false }
    }
  ])
})

t.test('a summary with an old balance or a position without a mark is sent, and its run is partial', async t => {
  const database = await tradingDatabase(t)
  await seedTrading(database)
  await holdPositions(database, [
    { symbol: 'BTCUSDT', unrealized: '5' },
    { symbol: 'ETHUSDT', unrealized: null }
  ])
  const synced = (secondsAgo: number) =>
    database.run(
      sql => sql`
        insert into account_balances (account_id, market_type, asset, free, locked, total, synced_at)
        values (1, 'SPOT', 'USDT', 1, 0, 1, now() - make_interval(secs => ${secondsAgo}::int))
        on conflict (account_id, market_type, asset) do update set synced_at = excluded.synced_at`
    )
  await synced(3 * 59 + 5)
  const { result } = await send(database)
  t.hasStrict(result, { messages: 1 })
  t.strictSame(undoneBy('send_daily_summary', result), { outdated: 1, unmarked: 1 }, 'the run is partial')
  const [message] = await messages(database)
  const lines = message?.text.split('\n') ?? []
  t.strictSame(
    lines.filter(line => line.startsWith('⚠️')).map(line => line.replace(/\d{4}-.*/, '(time)')),
    ['⚠️ Positions without a mark: 1', '⚠️ Balance as of (time)']
  )
  t.ok(lines.includes('Unrealised +5'))
  await synced(0)
  const { result: next } = await send(database, { trigger: 'manual' })
  t.strictSame(undoneBy('send_daily_summary', next), { unmarked: 1 })
})

t.test('a summary has a row per currency that is traded, held or of the exchange, and no sum over these', async t => {
  const database = await tradingDatabase(t)
  await seedTrading(database, { accounts: [{}, { exchange: 'UPBIT' }, { is_active: false }] })
  await trade(database, [{ at: noon.at(1), pnl: '5', currency: 'USDC' }])
  await holdPositions(database, [{ symbol: 'ETHBTC', currency: 'BTC', unrealized: '0.001' }])
  const { result } = await send(database)
  t.hasStrict(result, { accounts: 2, summaries: 4 })
  assertRows(t, await summaries(database), [
    { account_id: '1', currency: 'BTC', unrealized_pnl: '0.001', realized_pnl: '0', trades: 0, win_rate: null },
    { account_id: '1', currency: 'USDC', realized_pnl: '5', unrealized_pnl: '0', trades: 1, win_rate: '1' },
    { account_id: '1', currency: 'USDT', trades: 0, start_balance: null, end_balance: null, max_drawdown: null },
    { account_id: '2', currency: 'KRW', trades: 0, volume: '0', fees: '0' }
  ])
})

t.test('a repeated run replaces the rows; the message is sent once, and again for a manual run', async t => {
  const database = await tradingDatabase(t)
  await seedTrading(database)
  await trade(database, [{ at: noon.at(1), pnl: '5' }])
  t.hasStrict((await send(database, { runId: 'a' })).result, { messages: 1 })
  await trade(database, [{ at: noon.at(2), pnl: '6' }])
  t.hasStrict((await send(database, { runId: 'b', trigger: 'catch_up' })).result, { messages: 0, recipients: 1 })
  assertRows(t, await summaries(database), [{ realized_pnl: '11' }])
  t.hasStrict((await send(database, { runId: 'c', trigger: 'manual' })).result, { messages: 1 })
  t.hasStrict((await send(database, { runId: 'c', trigger: 'manual' })).result, { messages: 0 }, 'one message per run')
  t.hasStrict((await send(database, { runId: 'd', trigger: 'manual' })).result, { messages: 1 })
  t.strictSame(
    (await messages(database)).map(({ dedupe_key }) => dedupe_key),
    ['', ':c', ':d'].map(run => `daily_summary:${noon.date}:${OPERATOR}${run}`)
  )
})

t.test('the operator gets all accounts, each owner their own, in one message per chat', async t => {
  const database = await tradingDatabase(t)
  await seedTrading(database, {
    chats: ['1', null, '3', '3', OPERATOR],
    accounts: [0, 1, 2, 3, 4].map(owner => ({ owner, name: `account of ${owner}` }))
  })
  const { result } = await send(database)
  t.hasStrict(result, { recipients: 3, messages: 3 })
  const names = (text: string) => [...text.matchAll(/account of (\d)<.*\n.*Net/g)].map(([, owner]) => owner).join('')
  t.strictSame(
    (await messages(database)).map(({ chat_id, text }) => [chat_id, names(text)]),
    [
      [OPERATOR, '01234'],
      ['1', '0'],
      ['3', '23']
    ]
  )
})

t.test('the rows are written even without a recipient', async t => {
  const database = await tradingDatabase(t)
  await seedTrading(database, { chats: ['1'] })
  await database.run(sql => sql`update users set is_active = false`)
  const { result } = await send(database, {}, { operatorChatId: undefined })
  t.hasStrict(result, { summaries: 1, recipients: 0, messages: 0 })
})

t.test('if the messages cannot be stored, no rows are written', async t => {
  const database = await tradingDatabase(t)
  await seedTrading(database)
  const outbox = { enqueue: () => Promise.reject(new Error('no outbox')) }
  await t.rejects(send(database, {}, { outbox }), { message: 'no outbox' })
  t.strictSame(await summaries(database), [])
})

t.test('the message has rounded amounts, in the language of the service, and escapes names', async t => {
  const database = await tradingDatabase(t)
  await seedTrading(database, {
    accounts: [
      { name: '<b>\n& "x" \u202e', exchange: 'BYBIT', is_testnet: true },
      { name: 'plain', exchange: 'UPBIT', state: 'credentials_refused' }
    ]
  })
  await recordBalances(database, [
    { at: noon.at(-1), total: '1234567.890100000000001' },
    { at: noon.at(1), total: '1234000' }
  ])
  await trade(database, [
    { at: noon.at(1), price: '1000.5', quantity: '2', pnl: '-1500.25', fee_value: '0.75' },
    { at: noon.at(1), price: '1', quantity: '1', pnl: '1', fee_value: null }
  ])
  await send(database, { scheduledFor: new Date(noon.at(11.5)) })
  await send(database, { scheduledFor: new Date(noon.at(11.5)), trigger: 'manual' }, { language: 'ko' })
  const [english, korean] = await messages(database)
  t.equal(
    english?.text,
    `📊 <b>Daily summary ${noon.date}</b>
As of 11:30 (${noon.timeZone})

<b>Net 0 KRW</b> ······▁
<b>Net -1,500 USDT</b> ······▁ [testnet]

-1,500 USDT · <b>&lt;b&gt; &amp; &quot;x&quot;</b> (Bybit) 🧪 ⚠️
0 KRW · <b>plain</b> (Upbit) ⚠️

<blockquote expandable><b>&lt;b&gt; &amp; &quot;x&quot;</b> (Bybit) [testnet]
<b>Net -1,500 USDT</b>
······▁ 7 days -1,500
Realised -1,499.25, fees 0.75
⚠️ Fees of unknown value: 1
Trades 2: 1 won, 1 lost (50.00%)
Executions 2, volume 2,002
Balance 1,234,567.89 → 1,234,000

<b>plain</b> (Upbit)
⚠️ Keys rejected: values may be old
<b>Net 0 KRW</b>, no trades
Balance ? → ?

<i>Net: after fees, funding, interest</i></blockquote>`
  )
  t.match(korean?.text, /일일 요약.*순손익 -1,500.*\[테스트넷\].*50\.00%.*거래 없음.*펀딩/s)
})

t.test('the summary is of the day of the scheduled time, also for a run after midnight', async t => {
  const database = await tradingDatabase(t)
  await seedTrading(database)
  await trade(database, [
    { at: night.at(-5), pnl: '5' },
    { at: night.at(0), pnl: '70' }
  ])
  const { timeZone } = night
  await send(database, { scheduledFor: new Date(night.at(-3)), trigger: 'catch_up' }, { timeZone })
  const [row, ...others] = await summaries(database)
  t.hasStrict(row, { realized_pnl: '5', is_final: true }, 'the day is complete by then')
  t.strictSame(others, [])
})

t.test('after midnight the performance job completes the day, missed days, and days with late executions', async t => {
  const database = await tradingDatabase(t)
  await seedTrading(database)
  const { timeZone } = night
  const dayBefore = (days: number) => new Date(Date.parse(night.date) - days * 86_400_000).toISOString().slice(0, 10)
  const complete = () =>
    runJob(database, calculateDailyPerformance({ timeZone }), { scheduledFor: new Date(night.at(0.01)) })
  await database.run(
    sql => sql`
      insert into daily_account_summaries (account_id, date, currency, realized_pnl, unrealized_pnl, fees, trades, wins,
        losses, volume, is_final, computed_at)
      values (1, ${dayBefore(4)}, 'USDT', 0, 0, 0, 0, 0, 0, 0, true, '2000-01-01'),
        (1, ${dayBefore(3)}, 'USDT', 1, 33, 0, 1, 1, 0, 0, false, '2000-01-01')`
  )
  await recordBalances(database, [
    { at: night.at(-30), total: '100' },
    { at: night.at(-1), total: '80' },
    { at: night.at(0.001), total: '7' }
  ])
  await holdPositions(database, [{ symbol: 'BTCUSDT', unrealized: '4' }])
  await trade(database, [
    { at: night.at(-71), pnl: '3', recorded: '2001-01-01T00:00:00Z' },
    { at: night.at(-23), pnl: '-4', recorded: '2001-01-01T00:00:00Z' }
  ])
  t.hasStrict((await complete()).result, { summaries: 3 })
  assertRows(t, await summaries(database), [
    { date: dayBefore(4), realized_pnl: '0' },
    { date: dayBefore(3), realized_pnl: '3', unrealized_pnl: '33', is_final: true },
    { date: dayBefore(2), realized_pnl: '0', unrealized_pnl: null, end_balance: '100', is_final: true },
    {
      ...{ date: dayBefore(1), realized_pnl: '-4', unrealized_pnl: '4', is_final: true },
      ...{ start_balance: '100', end_balance: '80' }
    }
  ])

  await holdPositions(database, [{ symbol: 'BTCUSDT', unrealized: '5000' }])
  await trade(database, [{ at: night.at(-90), pnl: '10', recorded: new Date().toISOString() }])
  await complete()
  assertRows(t, await summaries(database), [
    { date: dayBefore(4), realized_pnl: '10', trades: 1 },
    { date: dayBefore(3), unrealized_pnl: '33' },
    { date: dayBefore(2) },
    { date: dayBefore(1), realized_pnl: '-4', unrealized_pnl: '4' }
  ])
})

const amounts = fc.integer({ min: -1_000_000, max: 1_000_000 }).map(n => new Big(n).div(10_000).toFixed())
const positive = fc.integer({ min: 1, max: 1_000_000 }).map(n => new Big(n).div(1_000).toFixed())
const executions = fc.array(
  fc.record({
    hours: fc.double({ min: -3, max: 11, noNaN: true }),
    currency: fc.constantFrom('USDT', 'USDC'),
    price: positive,
    quantity: positive,
    pnl: fc.option(amounts),
    fee_value: fc.option(amounts)
  }),
  { maxLength: 30 }
)
const balances = fc.uniqueArray(fc.record({ hour: fc.integer({ min: -5, max: 11 }), total: positive }), {
  selector: ({ hour }) => hour,
  maxLength: 10
})

/** The lines of a message about restated days: each has an arrow, except that of a balance of the day itself. */
function restatedLinesOf(text: string): string[] {
  const from = text.search(/↻ \w+ \d/)
  return from < 0
    ? []
    : (text
        .slice(from)
        .split(/<|\n\n/, 1)[0]
        ?.split('\n') ?? [])
}

t.test('the message has the net result of the last seven days; a day without a row is marked', async t => {
  const database = await tradingDatabase(t)
  await seedTrading(database)
  const day = (ago: number, net: string) =>
    database.run(
      sql => sql`
        insert into daily_account_summaries (account_id, date, currency, realized_pnl, fees, funding, interest, trades, wins,
          losses, volume, is_final, computed_at)
        values (1, ${noon.date}::date - ${ago}::int, 'USDT', ${net}::numeric + 3, 2, 1, 2, 0, 0, 0, 0, true, now())`
    )
  for (const [ago, net] of [
    [7, '900'],
    [6, '-14'],
    [5, '14'],
    [3, '0'],
    [1, '6']
  ] as const)
    await day(ago, net)
  await trade(database, [{ at: noon.at(1), pnl: '10', fee_value: '0' }])
  await send(database)
  const [message] = await messages(database)
  t.equal(message?.text.split('\n')[5], '▁█·▅·▆▇ 7 days +16')
})

t.test('a day whose final row differs from its message is restated once in the next message', async t => {
  const database = await tradingDatabase(t)
  await seedTrading(database, { chats: ['7'], accounts: [{}, {}] })
  const days = { yesterday: dayBeforeOf(noon.date, 1), earlier: dayBeforeOf(noon.date, 2) }
  const restatedLines = async () => {
    const rows = await messages(database)
    await database.run(sql => sql`delete from outbox`)
    return rows.map(({ chat_id, text }) => [chat_id, restatedLinesOf(text)])
  }
  await recordBalances(database, [{ at: noon.at(-60), total: '100' }])
  await trade(database, [{ at: noon.at(-40), pnl: '1000', fee_value: '0' }])
  const finalise = () =>
    runJob(database, calculateDailyPerformance({ timeZone: noon.timeZone }), { scheduledFor: new Date(noon.at(13)) })
  const at = (hours: number, rest: RunOverrides = {}) =>
    send(database, { scheduledFor: new Date(noon.at(hours)), ...rest })
  await at(-27)
  t.strictSame(await restatedLines(), [
    [OPERATOR, []],
    ['7', []]
  ])
  // After the message: less than 0.1 % more, and no trade.
  await trade(database, [{ at: noon.at(-25), pnl: '1', fee_value: '0.5', roundTrip: null }])
  await finalise()
  await at(-3)
  t.strictSame(await restatedLines(), [
    [OPERATOR, []],
    ['7', []]
  ])
  await trade(database, [
    { at: noon.at(-26), recorded: new Date().toISOString(), pnl: '0', fee_value: null },
    { at: noon.at(-1), pnl: '-20', fee_value: '0.126' }
  ])
  await recordBalances(database, [{ at: noon.at(-1), total: '79.874' }])
  await finalise()
  const { result } = await at(21)
  t.hasStrict(result, { restated: 2, messages: 2 })
  const lines = [
    ...[`↻ Restated ${days.earlier} USDT`, 'Net +1,000 → +1,000.5', 'Trades 1 → 2'],
    ...[`↻ Restated ${days.yesterday} USDT`, 'Net 0 → -20.13', 'Trades 0 → 1', 'Balance 100 → 79.87']
  ]
  t.strictSame(await restatedLines(), [
    [OPERATOR, lines],
    ['7', lines]
  ])
  await finalise()
  await at(21.1, { trigger: 'manual', runId: 'run-2' })
  t.strictSame(await restatedLines(), [
    [OPERATOR, []],
    ['7', []]
  ])
  const [row] = await database.run(
    sql => sql`
      select sent from daily_account_summaries where account_id = 1 and date = ${days.yesterday} and currency = 'USDT'`
  )
  t.hasStrict(row?.sent, { trades: 1 })
})

t.test('a currency that is traded first after the message of its day is restated once', async t => {
  const database = await tradingDatabase(t)
  await seedTrading(database)
  await trade(database, [{ at: noon.at(-30), pnl: '3' }])
  await send(database, { scheduledFor: new Date(noon.at(-27)) })
  await trade(database, [{ at: noon.at(-25), currency: 'BTC', pnl: '-2', fee_value: '0' }])
  await runJob(database, calculateDailyPerformance({ timeZone: noon.timeZone }), {
    scheduledFor: new Date(noon.at(-11))
  })
  const restated = async (hours: number) => {
    const { result } = await send(database, { scheduledFor: new Date(noon.at(hours)) })
    const [message] = await messages(database)
    await database.run(sql => sql`delete from outbox`)
    return [result.restated, restatedLinesOf(message?.text ?? '')]
  }
  await database.run(sql => sql`delete from outbox`)
  const date = dayBeforeOf(noon.date, 2)
  t.strictSame(await restated(-3), [1, [`↻ Restated ${date} BTC`, 'Net 0 → -2', 'Trades 0 → 1']])
  t.strictSame(await restated(21), [0, []])
})

t.test('a message that is not stored again restates nothing', async t => {
  const database = await tradingDatabase(t)
  await seedTrading(database)
  await send(database, { scheduledFor: new Date(noon.at(-3)) })
  await trade(database, [{ at: noon.at(-1), pnl: '5' }])
  await runJob(database, calculateDailyPerformance({ timeZone: noon.timeZone }), { scheduledFor: new Date(noon.at(1)) })
  const scheduledFor = new Date(noon.at(21))
  t.hasStrict((await send(database, { scheduledFor })).result, { restated: 1, messages: 1 })
  await trade(database, [{ at: noon.at(-2), pnl: '5' }])
  await runJob(database, calculateDailyPerformance({ timeZone: noon.timeZone }), { scheduledFor: new Date(noon.at(1)) })
  t.hasStrict((await send(database, { scheduledFor })).result, { restated: 0, messages: 0 }, 'the same message')
  t.hasStrict((await send(database, { scheduledFor, trigger: 'manual' })).result, { restated: 1, messages: 1 })
})

t.test('for random executions and balances the rows equal a naive computation', async t => {
  const sum = (list: readonly string[]) => list.reduce((a, b) => a.plus(b), new Big(0)).toFixed()
  await fc.assert(
    fc.asyncProperty(executions, balances, async (dealt, totals) => {
      const database = await tradingDatabase(t)
      await seedTrading(database)
      await trade(
        database,
        dealt.map(({ hours, ...rest }) => ({ at: noon.at(hours), ...rest }))
      )
      await recordBalances(
        database,
        totals.map(({ hour, total }) => ({ at: noon.at(hour), total }))
      )
      await send(database)
      const rows = await summaries(database)
      // Dates have milliseconds: a time that is rounded into the day belongs to the day.
      const own = dealt.filter(({ hours }) => noon.at(hours) >= noon.at(0))
      for (const currency of ['USDC', 'USDT']) {
        const traded = own.filter(execution => execution.currency === currency)
        const row = rows.find(found => found.currency === currency)
        if (currency === 'USDC' && traded.length === 0) {
          t.equal(row, undefined)
          continue
        }
        const closes = traded.flatMap(({ pnl }) => (pnl === null ? [] : [pnl]))
        const wins = closes.filter(pnl => Number(pnl) > 0).length
        const fees = traded.flatMap(({ fee_value }) => (fee_value === null ? [] : [fee_value]))
        t.hasStrict(row, {
          realized_pnl: sum(closes),
          fees: sum(fees),
          fees_unknown: traded.filter(({ fee_value }) => fee_value === null).length,
          executions: traded.length,
          trades: closes.length,
          wins,
          losses: closes.filter(pnl => Number(pnl) < 0).length,
          volume: sum(traded.map(({ price, quantity }) => new Big(price).times(quantity).toFixed()))
        })
        t.equal(Number(row?.win_rate ?? -1).toFixed(12), (closes.length === 0 ? -1 : wins / closes.length).toFixed(12))
      }
      const ordered = [...totals].sort((a, b) => a.hour - b.hour)
      const opening = ordered.filter(({ hour }) => hour < 0).at(-1)
      const row = rows.find(({ currency }) => currency === 'USDT')
      t.equal(row?.start_balance, opening?.total ?? null)
      t.equal(row?.end_balance, ordered.at(-1)?.total ?? null)
    }),
    { numRuns: 20 }
  )
})
