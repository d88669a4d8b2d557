import t, { type Test } from 'tap'
import type { Database } from '../../src/database/database.ts'
import { recordBalances } from '../../src/trading/balances.ts'
import type { OpenPerpetual } from '../../src/trading/equity.ts'
import { dueAccounts, recordEquity } from '../../src/trading/equity-history.ts'
import { type SeededAccount, seedAccount, tradingDatabase } from '../support/trading.ts'

const timeZone = 'UTC'
const NOON = Date.parse('2026-11-25T12:00:00Z')
const MINUTE = 60_000

/** An account whose wallet a test records at its times, and the prices that value it. */
async function setUp(t: Test, exchange: 'BINANCE' | 'UPBIT' = 'BINANCE') {
  const database = await tradingDatabase(t)
  const account = await seedAccount(database, { exchange })
  const prices: Record<string, string> = {}
  const spot = (symbol: string) => prices[symbol] ?? null
  const record = (minutes: number, balances: Record<string, string>, positions: OpenPerpetual[] = []) =>
    database.transaction(async tx => {
      const at = new Date(NOON + minutes * MINUTE)
      const rows = Object.entries(balances).map(([asset, total]) => ({ asset, free: total, locked: '0', total }))
      await recordBalances(tx, account.accountId, [{ marketType: 'SPOT', balances: rows }], { timeZone, at })
      const due = (await dueAccounts(tx, { timeZone, at })).get(account.accountId)
      return due === undefined ? 0 : await recordEquity(tx, due, positions, { spot }, { timeZone, at })
    })
  return { database, account, prices, record }
}

async function rowsOf(database: Database) {
  const rows = await database.run(
    sql => sql`
      select round(extract(epoch from at - ${new Date(NOON)}::timestamptz) / 60)::int as minutes, currency,
        trim_scale(equity)::text as equity, trim_scale(cash)::text as cash, trim_scale(holdings)::text as holdings,
        trim_scale(unrealized_pnl)::text as unrealized_pnl, unvalued, trim_scale(external_flow)::text as external_flow,
        flow_at is not null as is_flow_computed
      from equity_history order by at`
  )
  return [...rows]
}

/** The equity and the flow of each row. */
async function flowsOf(database: Database) {
  return (await rowsOf(database)).map(({ minutes, equity, external_flow, is_flow_computed }) => [
    minutes,
    equity,
    external_flow,
    is_flow_computed
  ])
}

/** Records entries of the ledger, each a kind, an asset, an amount and a time, and that the ledger was read until then. */
async function readLedger(
  database: Database,
  { accountId }: SeededAccount,
  untilMinutes: number,
  entries: [string, string, string, number][] = [],
  incomplete: unknown[] = []
) {
  const at = (minutes: number) => new Date(NOON + minutes * MINUTE)
  await database.run(async sql => {
    for (const [kind, asset, amount, minutes] of entries) {
      await sql`
        insert into ledger_entries (account_id, wallet, asset, amount, kind, exchange_kind, exchange_entry_id, at)
        values (${accountId}, 'SPOT', ${asset}, ${amount}, ${kind}, 'test', ${`${kind} ${minutes} ${asset}`}, ${at(minutes)})`
    }
    await sql`
      insert into ledger_readings (account_id, wallet, read_until, incomplete)
      values (${accountId}, 'SPOT', ${at(untilMinutes)}, ${JSON.stringify(incomplete)}::text::jsonb)
      on conflict (account_id, wallet) do update set read_until = excluded.read_until, incomplete = excluded.incomplete`
  })
}

t.test('the equity is cash, holdings and unrealised PnL, and lists what has no price', async t => {
  const { database, prices, record } = await setUp(t)
  prices.BTCUSDT = '50000.5'
  prices.DAIBTC = '0.00002'
  const positions = [
    { symbol: 'ETHUSDT', quote: 'USDT', quantity: '2', unrealizedPnl: '-400.25' },
    { symbol: 'XRPUSDT', quote: 'USDT', quantity: '-5', unrealizedPnl: null }
  ]
  t.equal(await record(0, { USDT: '1000.000000000000000001', BTC: '0.1', DAI: '10', LUNC: '3' }, positions), 1)
  t.strictSame(await rowsOf(database), [
    {
      minutes: 0,
      currency: 'USDT',
      equity: '5609.800100000000000001',
      cash: '1000.000000000000000001',
      holdings: '5010.0501',
      unrealized_pnl: '-400.25',
      unvalued: [
        { kind: 'asset', name: 'LUNC', amount: '3' },
        { kind: 'position', name: 'XRPUSDT', amount: '-5' }
      ],
      external_flow: null,
      is_flow_computed: false
    }
  ])
})

t.test('a row is written every ten minutes, and at the turn of the day', async t => {
  const { database, record } = await setUp(t)
  const day = 12 * 60
  const written: number[] = []
  for (const minutes of [
    0,
    0,
    9.5,
    10,
    11,
    19,
    20,
    day - 2,
    day - 0.9,
    day - 0.1,
    day + 0.5,
    day + 1,
    day + 10,
    day + 11
  ]) {
    if ((await record(minutes, { USDT: '1' })) > 0) written.push(minutes)
  }
  t.strictSame(written, [0, 10, 20, day - 2, day - 0.9, day + 0.5, day + 11])
  t.equal((await rowsOf(database)).length, written.length)
})

t.test('the currency is the main one of the exchange, or that of the account', async t => {
  const { database, account, prices, record } = await setUp(t, 'UPBIT')
  prices.BTCKRW = '140000000'
  await record(0, { KRW: '1000', BTC: '0.01' })
  await database.run(sql => sql`update accounts set valuation_currency = 'BTC' where account_id = ${account.accountId}`)
  await record(10, { BTC: '0.01' })
  t.strictSame(
    (await rowsOf(database)).map(({ currency, equity }) => [currency, equity]),
    [
      ['KRW', '1401000'],
      ['BTC', '0.01']
    ]
  )
})

t.test('a flow is known when the ledger was read until its row, in the currency of the row', async t => {
  const { database, account, prices, record } = await setUp(t)
  prices.BTCUSDT = '50000'
  await record(0, { USDT: '1000' })
  await record(10, { USDT: '800', BTC: '0.01' })
  t.strictSame(await flowsOf(database), [
    [0, '1000', null, false],
    [10, '1300', null, false]
  ])
  await readLedger(database, account, 9, [['withdrawal', 'USDT', '-200', 5]])
  await record(20, { USDT: '800', BTC: '0.01' })
  await readLedger(database, account, 25, [
    ['deposit', 'BTC', '0.01', 8],
    ['funding', 'USDT', '-1', 8],
    ['transfer', 'USDT', '7', 10.5],
    ['transfer', 'USDT', '-7', 10.5 + 1 / 60]
  ])
  await record(30, { USDT: '800', BTC: '0.01' })
  t.strictSame(await flowsOf(database), [
    // No row is before the first one.
    [0, '1000', null, true],
    [10, '1300', '300', true],
    [20, '1300', '0', true],
    [30, '1300', null, false]
  ])
})

t.test('a flow without a price, in a gap of the ledger, or with an opening is not known', async t => {
  const { database, account, record } = await setUp(t)
  for (const minutes of [0, 10, 20, 30, 40]) await record(minutes, { USDT: '1000' })
  const gap = { from: NOON + 25 * MINUTE, until: NOON + 26 * MINUTE, code: 'unreadable' }
  await readLedger(
    database,
    account,
    60,
    [
      ['deposit', 'LUNC', '5', 5],
      ['opening', 'USDT', '1000', 15]
    ],
    [gap]
  )
  await record(50, { USDT: '1000' })
  t.strictSame(await flowsOf(database), [
    [0, '1000', null, true],
    [10, '1000', null, true],
    [20, '1000', null, true],
    [30, '1000', null, true],
    [40, '1000', '0', true],
    [50, '1000', null, false]
  ])
})

t.test('a flow while the wallets of a row were read is not known: the row may be without it', async t => {
  const { database, account, record } = await setUp(t)
  const seconds = (count: number) => count / 60
  await record(0, { USDT: '1000' })
  // The deposit is later than the reading of the wallet, and before the row.
  await record(10, { USDT: '1000' })
  await record(20, { USDT: '2000' })
  await record(30, { USDT: '2000' })
  await record(40, { USDT: '1500' })
  await readLedger(database, account, 45, [
    ['deposit', 'USDT', '1000', 10 - seconds(2)],
    ['withdrawal', 'USDT', '-500', 40 - seconds(31)]
  ])
  await record(50, { USDT: '1500' })
  t.strictSame(await flowsOf(database), [
    [0, '1000', null, true],
    [10, '1000', null, true],
    [20, '2000', null, true],
    [30, '2000', '0', true],
    [40, '1500', '-500', true],
    [50, '1500', null, false]
  ])
  // The same, recorded later.
  await readLedger(database, account, 55, [['transfer', 'USDT', '7', 30 - seconds(1)]])
  await record(60, { USDT: '1500' })
  t.strictSame((await flowsOf(database)).slice(3, 6), [
    [30, '2000', null, true],
    [40, '1500', null, true],
    [50, '1500', '0', true]
  ])
})

t.test('an entry that is recorded later changes the flow of its time', async t => {
  const { database, account, record } = await setUp(t)
  for (const minutes of [0, 10, 20]) await record(minutes, { USDT: '1000' })
  await readLedger(database, account, 25)
  await record(30, { USDT: '1000' })
  await readLedger(database, account, 26, [['adjustment', 'USDT', '50', 5]])
  await record(40, { USDT: '1000' })
  t.strictSame(await flowsOf(database), [
    [0, '1000', null, true],
    [10, '1000', '50', true],
    [20, '1000', '0', true],
    [30, '1000', null, false],
    [40, '1000', null, false]
  ])
})

t.test('an account is due for its flows as soon as its ledger was read', async t => {
  const { database, account, record } = await setUp(t)
  const due = (minutes: number) =>
    database.transaction(async tx => [
      ...(await dueAccounts(tx, { timeZone, at: new Date(NOON + minutes * MINUTE) })).keys()
    ])
  t.strictSame(await due(0), [account.accountId], 'there is no row')
  await record(0, { USDT: '1' })
  t.strictSame(await due(1), [])
  await readLedger(database, account, 1)
  t.strictSame(await due(1), [account.accountId])
  await record(2, { USDT: '1' })
  t.strictSame(await due(3), [])
  await database.run(sql => sql`update accounts set is_active = false`)
  t.strictSame(await due(20), [])
})
