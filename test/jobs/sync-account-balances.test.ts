import { Big } from 'big.js'
import fc from 'fast-check'
import t, { type Test } from 'tap'
import { Agent } from 'undici'
import { MINUTE } from '../../src/async/durations.ts'
import type { Database } from '../../src/database/database.ts'
import type { ExchangeName } from '../../src/domain/market.ts'
import type { CallOptions } from '../../src/exchanges/exchange-client.ts'
import { ExchangeError } from '../../src/exchanges/exchange-error.ts'
import { ExchangeRegistry } from '../../src/exchanges/exchange-registry.ts'
import { syncAccountBalances } from '../../src/jobs/sync-account-balances.ts'
import { recordBalances } from '../../src/trading/balances.ts'
import { assertRows } from '../support/assert-rows.ts'
import { undoneBy } from '../support/jobs.ts'
import { changingRows } from '../support/simulated-exchange/edits.ts'
import { SimulatedExchange } from '../support/simulated-exchange/simulated-exchange.ts'
import {
  failuresOf,
  fixedInstruments,
  fixedPrices,
  seedAccount,
  TestAccounts,
  testContext,
  tradingDatabase
} from '../support/trading.ts'
import { localDay } from '../support/trading-days.ts'

/** A zone where it is about noon, so that "ten minutes ago" is the same day, whenever the test runs. */
const { timeZone: noonZone } = localDay(12)
const timeZone = 'Asia/Seoul'
const services = { prices: fixedPrices({}), instruments: fixedInstruments() }
const credentials = { apiKey: 'key', apiSecret: 'secret', passphrase: 'passphrase' }
/** Deadlines that no call of these tests misses. */
const PATIENT = { deadlineMs: 60_000, attemptMs: 30_000 }

async function setUp(t: Test, name: ExchangeName = 'BINANCE') {
  const database = await tradingDatabase(t)
  const exchange = await SimulatedExchange.start({ exchange: name })
  const dispatcher = new Agent()
  t.teardown(async () => {
    await dispatcher.close()
    await exchange.close()
  })
  const registry = new ExchangeRegistry({ dispatcher, urls: exchange.urls, ...PATIENT })
  const wallet = exchange.addAccount(credentials)
  const account = await seedAccount(database, { exchange: name })
  const accounts = new TestAccounts([account], ({ exchange }, marketType) =>
    registry.client({ exchange, marketType, credentials })
  )
  const { context } = testContext(database)
  const sync = () => syncAccountBalances({ ...services, accounts, timeZone: noonZone })(context)
  return { database, exchange, wallet, account, accounts, registry, sync }
}

async function rowsOf(database: Database) {
  const balances = await database.run(
    sql => sql`
      select market_type, asset, trim_scale(free)::text as free, trim_scale(locked)::text as locked,
        trim_scale(total)::text as total
      from account_balances order by market_type, asset`
  )
  const history = await database.run(
    sql => sql`select currency, trim_scale(total)::text as total from account_balance_history order by at, currency`
  )
  return { balances: [...balances], history: [...history] }
}

/** Moves all stored times into the past by the interval. */
async function pass(database: Database, interval: string) {
  await database.transaction(async tx => {
    await tx`update account_balance_history set at = at - ${interval}::interval`
    await tx`update account_balances set synced_at = synced_at - ${interval}::interval`
  })
}

t.test('each wallet has its balances, and each currency its total over the wallets', async t => {
  const { database, exchange, wallet, sync } = await setUp(t)
  exchange.setBalance(wallet, 'SPOT', 'USDT', '100.000000000000000001', '0.5')
  exchange.setBalance(wallet, 'SPOT', 'BTC', '0.12345678')
  exchange.setBalance(wallet, 'FUTURES', 'USDT', '50')
  t.hasStrict(await sync(), { accounts: 1, synced: 1, balances: 3, history_rows: 2, refused: 0, failed: 0 })
  const whole = {
    balances: [
      { market_type: 'FUTURES', asset: 'USDT', free: '50', locked: '0', total: '50' },
      { market_type: 'SPOT', asset: 'BTC', free: '0.12345678', locked: '0', total: '0.12345678' },
      {
        market_type: 'SPOT',
        asset: 'USDT',
        free: '100.000000000000000001',
        locked: '0.5',
        total: '100.500000000000000001'
      }
    ],
    history: [
      { currency: 'BTC', total: '0.12345678' },
      { currency: 'USDT', total: '150.500000000000000001' }
    ]
  }
  t.strictSame(await rowsOf(database), whole)
  t.hasStrict(await sync(), { history_rows: 0 })
  t.strictSame(await rowsOf(database), whole, 'a repeat changes nothing')
})

t.test('a changed total is recorded at most once in ten minutes, and once for each day', async t => {
  const { database, exchange, wallet, sync } = await setUp(t)
  exchange.setBalance(wallet, 'SPOT', 'USDT', '1')
  await sync()
  exchange.setBalance(wallet, 'SPOT', 'USDT', '2')
  t.hasStrict(await sync(), { history_rows: 0 }, 'within ten minutes of the last row')
  await pass(database, '10 minutes')
  t.hasStrict(await sync(), { history_rows: 1 })
  t.hasStrict(await sync(), { history_rows: 0 }, 'nothing changed')
  await pass(database, '24 hours')
  t.hasStrict(await sync(), { history_rows: 1 }, 'the total at the end of the day before, although it is unchanged')
  wallet.balances.SPOT.clear()
  await pass(database, '10 minutes')
  t.hasStrict(await sync(), { history_rows: 0, wallets_incomplete: 1 }, 'an emptied wallet is not confirmed yet')
  t.hasStrict(await sync(), { history_rows: 1, wallets_incomplete: 0 }, 'a missing asset has a total of zero')
  t.strictSame(await rowsOf(database), {
    balances: [{ market_type: 'SPOT', asset: 'USDT', free: '0', locked: '0', total: '0' }],
    history: ['1', '2', '2', '0'].map(total => ({ currency: 'USDT', total }))
  })
  await pass(database, '24 hours')
  t.hasStrict(await sync(), { history_rows: 0 }, 'an unchanged total of zero is not recorded again each day')
})

const AMOUNTS = { BINANCE: ['asset', 'free'], BYBIT: ['coin', 'walletBalance'], OKX: ['ccy', 'eq'] } as const

for (const name of ['BINANCE', 'BYBIT', 'OKX'] as const) {
  t.test(
    `${name}: an asset that cannot be read keeps what is recorded of it, and the wallet is incomplete`,
    async t => {
      const { database, exchange, wallet, sync } = await setUp(t, name)
      for (const asset of ['BTC', 'ETH', 'XRP']) exchange.setBalance(wallet, 'SPOT', asset, '5')
      t.hasStrict(await sync(), { synced: 1, wallets_incomplete: 0 })
      await pass(database, '10 minutes')
      const [asset, amount] = AMOUNTS[name]
      exchange.setBalance(wallet, 'SPOT', 'BTC', '6')
      exchange.setBalance(wallet, 'SPOT', 'ETH', '7')
      wallet.balances.SPOT.delete('XRP')
      exchange.fault({ kind: 'edited', edit: changingRows({ [asset]: 'ETH' }, { [amount]: 'NaN' }) })
      t.hasStrict(await sync(), { synced: 1, failed: 0, wallets_incomplete: 1, history_rows: 1 })
      const totals = async () =>
        (await rowsOf(database)).balances.map(({ asset: held, total }) => `${String(held)} ${String(total)}`)
      t.strictSame(await totals(), ['BTC 6', 'ETH 5', 'XRP 5'], 'what is not listed may be what cannot be read')
      exchange.clearFaults()
      t.hasStrict(await sync(), { synced: 1, wallets_incomplete: 0, history_rows: 2 })
      t.strictSame(await totals(), ['BTC 6', 'ETH 7', 'XRP 0'])
    }
  )
}

t.test('when a wallet cannot be read, the account is unchanged', async t => {
  const { database, exchange, wallet, account, sync } = await setUp(t)
  exchange.setBalance(wallet, 'SPOT', 'USDT', '1')
  await sync()
  t.strictSame(await failuresOf(database, account), [])
  const before = await rowsOf(database)
  exchange.setBalance(wallet, 'SPOT', 'USDT', '2')
  exchange.fault({ kind: 'status', status: 503 }, { path: /fapi/ })
  const result = await sync()
  t.hasStrict(result, { synced: 0, failed: 1, history_rows: 0 })
  t.strictSame(undoneBy('sync_account_balances', result), { failed: 1 }, 'the run is partial')
  t.strictSame(await rowsOf(database), before)
  t.strictSame(await failuresOf(database, account), ['unavailable'])
  exchange.clearFaults()
  await sync()
  t.strictSame(await failuresOf(database, account), [], 'the account can be read again')
})

const EMPTY: [exchange: ExchangeName, path: RegExp, body: unknown, outcome: 'synced' | 'failed'][] = [
  ['BINANCE', /account/, { balances: [] }, 'synced'],
  ['BYBIT', /wallet-balance/, { retCode: 0, result: { list: [{ coin: [] }] } }, 'synced'],
  ['OKX', /balance/, { code: '0', data: [{ details: [] }] }, 'synced'],
  ['UPBIT', /accounts/, [], 'synced'],
  ['BITHUMB', /accounts/, [], 'synced'],
  // The account itself is missing.
  ['BYBIT', /wallet-balance/, { retCode: 0, result: { list: [] } }, 'failed'],
  ['OKX', /balance/, { code: '0', data: [] }, 'failed'],
  ['BYBIT', /wallet-balance/, { retCode: 0, result: {} }, 'failed'],
  ['BINANCE', /account/, { code: 0 }, 'failed'],
  ['BINANCE', /fapi.*balance/, null, 'failed'],
  ['UPBIT', /accounts/, {}, 'failed'],
  ['BITHUMB', /accounts/, { data: [] }, 'failed']
]

for (const [name, path, body, outcome] of EMPTY) {
  t.test(
    `${name}: ${JSON.stringify(body)} of ${path.source} is not an empty wallet unless the next run confirms it`,
    async t => {
      const { database, exchange, wallet, sync, registry } = await setUp(t, name)
      exchange.setBalance(wallet, 'SPOT', 'BTC', '10000')
      t.hasStrict(await sync(), { synced: 1 })
      const isEmptied = outcome === 'synced'
      const held = async (total: string) => assertRows(t, (await rowsOf(database)).balances, [{ asset: 'BTC', total }])
      const answerOnce = () =>
        exchange.fault({ kind: 'status', status: 200, body: JSON.stringify(body) }, { path, times: 1 })
      const emptyRun = async (incomplete: number) => {
        answerOnce()
        const before = exchange.requests.length
        t.hasStrict(await sync(), { [outcome]: 1, wallets_incomplete: isEmptied ? incomplete : 0 })
        const asked = exchange.requests.slice(before).filter(request => path.test(request.path))
        t.equal(new Set(asked.map(request => request.path)).size, asked.length, 'each wallet is read once')
      }
      await emptyRun(1)
      if (outcome === 'failed') t.equal(registry.status()[0]?.lastErrorCode, 'invalid_answer')
      await held('10000')
      t.hasStrict(await sync(), { synced: 1, wallets_incomplete: 0 }, 'the next run reads it full')
      await held('10000')
      await emptyRun(1)
      await held('10000')
      await emptyRun(0)
      await held(isEmptied ? '0' : '10000')
      t.hasStrict(await sync(), { synced: 1, wallets_incomplete: 0 })
      await held('10000')
    }
  )
}

t.test('a run waits for every wallet, also when the first fails', async t => {
  const { exchange, wallet, sync } = await setUp(t)
  exchange.setBalance(wallet, 'FUTURES', 'USDT', '1')
  exchange.fault({ kind: 'status', status: 401, body: '{"code":-1002,"msg":"no"}' }, { path: /^\/api/ })
  exchange.fault({ kind: 'slow', ms: 100 }, { path: /^\/fapi/ })
  t.hasStrict(await sync(), { synced: 1, wallets_closed: 1, balances: 1 })
})

t.test('a wallet that rejects the keys is left out of the total, unless it was read before', async t => {
  const { database, exchange, wallet, account, accounts, sync } = await setUp(t)
  const refusal = {
    kind: 'status' as const,
    status: 401,
    body: '{"code":-2015,"msg":"Invalid API-key, IP, or permissions"}'
  }
  exchange.fault(refusal, { path: /^\/fapi/ })
  exchange.setBalance(wallet, 'SPOT', 'USDT', '1')
  exchange.setBalance(wallet, 'FUTURES', 'USDT', '5')
  t.hasStrict(await sync(), { synced: 1, refused: 0, failed: 0, wallets_closed: 1, history_rows: 1 })
  t.strictSame(accounts.refusals, [], 'keys with access to spot only do not count as refused')
  t.strictSame((await rowsOf(database)).history, [{ currency: 'USDT', total: '1' }])

  exchange.clearFaults()
  await pass(database, '10 minutes')
  t.hasStrict(await sync(), { synced: 1, wallets_closed: 0, history_rows: 1 })
  const whole = await rowsOf(database)
  exchange.fault(refusal, { path: /^\/fapi/ })
  await pass(database, '10 minutes')
  t.hasStrict(await sync(), { synced: 0, failed: 1, refused: 0 }, 'without this wallet the total would be wrong')
  t.strictSame(await rowsOf(database), whole)
  t.strictSame(accounts.acceptances, [account.accountId, account.accountId])
})

t.test('an account that cannot be read does not affect the others', async t => {
  const { database, exchange, wallet, account } = await setUp(t)
  exchange.setBalance(wallet, 'SPOT', 'USDT', '1')
  const odd = { ...(await seedAccount(database, { exchange: 'UPBIT' })), isTestnet: true }
  const dispatcher = new Agent()
  t.teardown(() => dispatcher.close())
  const registry = new ExchangeRegistry({ dispatcher, urls: exchange.urls })
  const accounts = new TestAccounts([odd, account], ({ exchange, isTestnet }, marketType) =>
    registry.client({ exchange, marketType, isTestnet, credentials })
  )
  const { context, progress } = testContext(database)
  t.hasStrict(await syncAccountBalances({ ...services, accounts, timeZone })(context), {
    accounts: 2,
    synced: 1,
    failed: 1
  })
  t.strictSame(progress.at(-1), [2, 2])
})

t.test('refused credentials are recorded, and accepted ones too', async t => {
  const { wallet, account, accounts, sync } = await setUp(t)
  wallet.state = 'revoked'
  const refused = await sync()
  t.hasStrict(refused, { synced: 0, refused: 1 })
  t.strictSame(undoneBy('sync_account_balances', refused), { refused: 1 }, 'the run is partial')
  t.strictSame(accounts.refusals, [account.accountId])
  wallet.state = 'ok'
  accounts.leftOutIds = ['999']
  const leftOut = await sync()
  t.hasStrict(leftOut, { synced: 1, refused: 0 })
  t.strictSame(undoneBy('sync_account_balances', leftOut), { accounts_left_out: 1 }, 'one is left out for ten minutes')
  accounts.leftOutIds = []
  t.strictSame(undoneBy('sync_account_balances', await sync()), {}, 'everything is done')
  t.strictSame(accounts.acceptances, [account.accountId, account.accountId])
})

t.test('totals are exact sums', async t => {
  const database = await tradingDatabase(t)
  const { accountId } = await seedAccount(database)
  const amount = fc
    .tuple(fc.bigInt({ min: 0n, max: 10n ** 20n }), fc.integer({ min: 0, max: 18 }))
    .map(([digits, scale]) => new Big(digits.toString()).div(new Big(10).pow(scale)).toFixed(scale))
  const wallets = fc.record({ SPOT: fc.tuple(amount, amount), FUTURES: fc.tuple(amount, amount) })
  const outcome = await fc.check(
    fc.asyncProperty(wallets, async ({ SPOT, FUTURES }) => {
      const total = ([free, locked]: [string, string]) => new Big(free).plus(locked)
      await database.run(sql => sql`truncate account_balances, account_balance_history`)
      await database.transaction(async tx => {
        const rows = Object.entries({ SPOT, FUTURES } as const).map(([marketType, held]) => ({
          marketType: marketType === 'SPOT' ? ('SPOT' as const) : ('FUTURES' as const),
          balances: [{ asset: 'USDT', free: held[0], locked: held[1], total: total(held).toFixed() }]
        }))
        await recordBalances(tx, accountId, rows, { timeZone })
      })
      const { history } = await rowsOf(database)
      const sum = total(SPOT).plus(total(FUTURES))
      return new Big(String(history[0]?.total ?? '0')).eq(sum)
    }),
    { numRuns: 50 }
  )
  t.notOk(outcome.failed, fc.defaultReportMessage(outcome) ?? '50 accounts')
})

/** Midnight in Seoul. */
const MIDNIGHT = Date.parse('2026-11-23T15:00:00Z')

/** Records one balance of an account at the given time; a total of 0 means no asset. */
async function holdAt(database: Database, accountId: string, at: number, total: string) {
  const balances = new Big(total).eq(0) ? [] : [{ asset: 'USDT', free: total, locked: '0', total }]
  await database.transaction(tx =>
    recordBalances(tx, accountId, [{ marketType: 'SPOT', balances }], { timeZone, at: new Date(at) })
  )
}

async function historyOf(database: Database, accountId: string) {
  const rows = await database.run(
    sql => sql<{ at: Date; total: string }[]>`
      select at, trim_scale(total)::text as total from account_balance_history where account_id = ${accountId} order by at`
  )
  return rows.map(({ at, total }) => ({ at: at.getTime(), total }))
}

t.test('the last row before a day is the total at its start, also after a late change', async t => {
  const database = await tradingDatabase(t)
  const { accountId } = await seedAccount(database)
  const at = (minutes: number) => MIDNIGHT + minutes * MINUTE
  await holdAt(database, accountId, at(-11), '1')
  await holdAt(database, accountId, at(-7), '2')
  await holdAt(database, accountId, at(-2), '3')
  t.strictSame(
    await historyOf(database, accountId),
    [{ at: at(-11), total: '1' }],
    'within ten minutes of the last row'
  )
  await holdAt(database, accountId, at(2), '4')
  const turned = [
    { at: at(-11), total: '1' },
    { at: at(-2), total: '3' }
  ]
  t.strictSame(await historyOf(database, accountId), turned, 'deposits before midnight belong to the day before')
  await holdAt(database, accountId, at(3), '4')
  t.strictSame(await historyOf(database, accountId), turned, 'recorded once a day')
  await holdAt(database, accountId, at(9), '5')
  t.strictSame(await historyOf(database, accountId), [...turned, { at: at(9), total: '5' }])
})

t.test('a change in the last minute of a day is recorded at once, for the job right after midnight', async t => {
  const database = await tradingDatabase(t)
  const { accountId } = await seedAccount(database)
  await holdAt(database, accountId, MIDNIGHT - 3 * MINUTE, '1')
  await holdAt(database, accountId, MIDNIGHT - 60_000, '2')
  t.equal((await historyOf(database, accountId)).length, 1)
  await holdAt(database, accountId, MIDNIGHT - 59_000, '2')
  t.strictSame((await historyOf(database, accountId)).at(-1), { at: MIDNIGHT - 59_000, total: '2' })
  await holdAt(database, accountId, MIDNIGHT, '2')
  t.equal((await historyOf(database, accountId)).length, 2, 'not recorded again after midnight')
})

t.test('for any balances, each day begins with the total of the last run before it', async t => {
  const database = await tradingDatabase(t)
  const step = fc.record({
    afterMs: fc.oneof(fc.integer({ min: 1, max: 70_000 }), fc.integer({ min: 1, max: 40 * 60 * MINUTE })),
    total: fc.constantFrom('0', '1', '1.000000000000000001', '2.50')
  })
  const outcome = await fc.check(
    fc.asyncProperty(
      fc.integer({ min: 0, max: 20 * MINUTE }),
      fc.array(step, { maxLength: 12 }),
      async (from, steps) => {
        const { accountId } = await seedAccount(database)
        const looks: { at: number; total: string }[] = []
        let at = MIDNIGHT - from
        for (const { afterMs, total } of steps) {
          at += afterMs
          looks.push({ at, total })
          await holdAt(database, accountId, at, total)
          await holdAt(database, accountId, at, total)
        }
        const history = await historyOf(database, accountId)
        const before = (rows: { at: number; total: string }[], moment: number) =>
          new Big(rows.findLast(row => row.at < moment)?.total ?? '0')
        const days = Array.from({ length: 22 }, (_, day) => MIDNIGHT + day * 24 * 60 * MINUTE).filter(day => day <= at)
        const endings = days.flatMap(day => looks.findLast(look => look.at < day)?.at ?? [])
        return (
          days.every(day => before(history, day).eq(before(looks, day))) &&
          history.every(row => looks.some(look => look.at === row.at && new Big(look.total).eq(row.total))) &&
          history.every((row, i) => {
            const last = history[i - 1]
            const isAllowed = isLastMinute(row.at) || endings.includes(row.at)
            return last === undefined || row.at - last.at >= 10 * MINUTE || isAllowed
          })
        )
      }
    ),
    { numRuns: 60 }
  )
  t.notOk(outcome.failed, fc.defaultReportMessage(outcome) ?? '60 histories')
})

function isLastMinute(at: number): boolean {
  const day = 24 * 60 * MINUTE
  return (((MIDNIGHT - at) % day) + day) % day <= 59_000
}

t.test('a run has one transaction at a time, so that it does not exhaust the pool', async t => {
  const { database, exchange, account } = await setUp(t)
  const dispatcher = new Agent()
  t.teardown(() => dispatcher.close())
  const registry = new ExchangeRegistry({ dispatcher, urls: exchange.urls, ...PATIENT })
  const several = [account, await seedAccount(database), await seedAccount(database)]
  const accounts = new TestAccounts(several, ({ exchange }, marketType) =>
    registry.client({ exchange, marketType, credentials })
  )
  let open = 0
  const counts: number[] = []
  const { context } = testContext(database, {
    transaction: async work => {
      counts.push(++open)
      try {
        return await database.transaction(work)
      } finally {
        open--
      }
    }
  })
  const result = await syncAccountBalances({ ...services, accounts, timeZone })(context)
  t.equal(result.synced, 3)
  t.strictSame(counts, [1, 1, 1, 1], 'one before, and one for each account: none failed')
})

t.test('the accounts that wait longest are read first, so that a small rate limit leaves out none', async t => {
  const { database, account: first, registry } = await setUp(t)
  const others: (typeof first)[] = []
  for (let i = 0; i < 22; i++) others.push(await seedAccount(database, { exchange: 'BINANCE' }))
  const all = [first, ...others]
  const perRun = 6
  let read: string[] = []
  const accounts = new TestAccounts(all, ({ accountId, exchange }, marketType) => {
    const client = registry.client({ exchange, marketType, credentials })
    if (!read.includes(accountId)) read.push(accountId)
    const fails = accountId === all[3]?.accountId
    const code = read.indexOf(accountId) >= perRun ? 'rate_limited' : fails ? 'unavailable' : null
    const refusal = code && new ExchangeError(code, { exchange, operation: 'balances' })
    return Object.assign(Object.create(client) as typeof client, {
      balances: async (options: CallOptions) => {
        if (refusal) throw refusal
        return await client.balances(options)
      }
    })
  })
  const { context } = testContext(database)
  const job = syncAccountBalances({ ...services, accounts, timeZone: noonZone })
  const runs: string[][] = []
  for (let run = 0; run < 8; run++) {
    read = []
    await job(context)
    runs.push(read.slice(0, perRun))
  }
  t.equal(new Set(runs.slice(0, 4).flat()).size, all.length, 'four runs of six read 23 accounts')
  t.equal(new Set(runs.slice(4).flat()).size, all.length, 'and read them all again, although one always fails')
})
