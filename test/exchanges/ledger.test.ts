import { Big } from 'big.js'
import t, { type Test } from 'tap'
import { Agent } from 'undici'
import { DAY, HOUR, SECOND } from '../../src/async/durations.ts'
import type { LedgerReading } from '../../src/domain/ledger-entry.ts'
import { type ExchangeName, MARKET_TYPES, type MarketType } from '../../src/domain/market.ts'
import { CATALOGUE } from '../../src/exchanges/catalogue.ts'
import type { CallOptions, ExchangeClient, InvalidRow } from '../../src/exchanges/exchange-client.ts'
import { ExchangeRegistry } from '../../src/exchanges/exchange-registry.ts'
import { changingRows } from '../support/simulated-exchange/edits.ts'
import { type SimulatedAccount, SimulatedExchange } from '../support/simulated-exchange/simulated-exchange.ts'
import { withoutWaits } from '../support/without-waits.ts'
import { failureOf } from './failure.ts'

const KEYS = { apiKey: 'key', apiSecret: 'secret', passphrase: 'passphrase' }
/** The exchanges whose ledger is one log or a few lists of the whole wallet. */
const UNIFIED = ['BYBIT', 'OKX'] as const
const TOKEN = ['UPBIT', 'BITHUMB'] as const
const EXCHANGES = [...UNIFIED, ...TOKEN]
const LEDGER_PATH = /bills|transaction-log|deposits|withdraws/

const agent = new Agent()
t.teardown(() => agent.close())

interface Bench {
  simulated: SimulatedExchange
  account: SimulatedAccount
  clients: Partial<Record<MarketType, ExchangeClient>>
  read: (from: number, until: number, options?: CallOptions) => Promise<LedgerReading>
  /** The time of the exchange, a whole second as in the answers of Upbit and Bithumb. */
  now: number
}

async function setUp(t: Test, exchange: ExchangeName, limits?: 'reported'): Promise<Bench> {
  const simulated = await SimulatedExchange.start({ exchange, symbols: 2, ...(limits && { limits }) })
  t.teardown(() => simulated.close())
  const account = simulated.addAccount(KEYS)
  // Limits that the exchange counts need real waits.
  const waits = limits === undefined ? withoutWaits() : { random: () => 0 }
  const registry = new ExchangeRegistry({ dispatcher: agent, urls: simulated.urls, ...waits })
  const markets = MARKET_TYPES.filter(market => CATALOGUE[exchange].markets[market] !== undefined)
  const clients = Object.fromEntries(
    markets.map(marketType => [marketType, registry.client({ exchange, marketType, credentials: KEYS })])
  )
  const read = async (from: number, until: number, options?: CallOptions) => {
    const reading = await clients.SPOT?.ledger({ from, until }, options)
    if (reading === undefined) throw new Error(`${exchange} has no ledger`)
    return reading
  }
  return { simulated, account, clients, read, now: Math.floor(simulated.now() / SECOND) * SECOND }
}

/** What entries and fills add up to, by asset, without those that add up to zero. */
async function booksOf({ simulated, clients, read }: Bench, from: number, until: number) {
  const sums = new Map<string, Big>()
  const add = (asset: string, amount: Big | string) => sums.set(asset, (sums.get(asset) ?? new Big(0)).plus(amount))
  for (const { asset, amount } of (await read(from, until)).entries) add(asset, amount)
  for (const client of Object.values(clients)) {
    for (const fill of await client.accountFills({ from, until, symbols: [] })) {
      const quote = fill.symbol.slice(3)
      if (fill.feeAsset !== null) add(fill.feeAsset, new Big(fill.fee ?? 0).neg())
      if (client.marketType === 'FUTURES') add(quote, fill.realizedPnl ?? '0')
      else {
        const sign = fill.side === 'BUY' ? 1 : -1
        add(fill.symbol.slice(0, 3), new Big(fill.quantity).times(sign))
        add(quote, new Big(fill.price).times(fill.quantity).times(-sign))
      }
    }
  }
  return textsOf(sums, simulated)
}

async function balancesOf({ simulated, clients }: Bench) {
  const balances = (await clients.SPOT?.balances()) ?? []
  return textsOf(new Map(balances.map(({ asset, total }) => [asset, new Big(total)])), simulated)
}

function textsOf(sums: ReadonlyMap<string, Big>, { exchange }: SimulatedExchange) {
  const rows = [...sums].filter(([, sum]) => !sum.eq(0)).map(([asset, sum]) => `${exchange} ${asset} ${sum.toFixed()}`)
  return rows.sort()
}

for (const exchange of UNIFIED) {
  t.test(`${exchange}: entries and fills add up to the balances of the unified wallet`, async t => {
    const bench = await setUp(t, exchange)
    const { simulated, account, now } = bench
    const { ledger } = simulated
    const perpetual = simulated.exchangeSymbol('BTCUSDT', 'FUTURES')
    const at = (age: number) => ({ at: now - age })
    ledger.transfer(account, 'USDT', '5000', 'FUNDING', 'SPOT', at(20 * DAY))
    ledger.deposit(account, 'BNB', '3', at(19 * DAY))
    const buy = simulated.place(account, { quantity: '2', price: '100', createdAt: now - 18 * DAY })
    simulated.fill(buy, { quantity: '0.5', fee: '0.0005', feeAsset: 'BTC', ...at(18 * DAY) })
    simulated.fill(buy, { quantity: '1.5', fee: '0.003', feeAsset: 'BNB', ...at(17 * DAY) })
    const open = simulated.place(account, { market: 'FUTURES', quantity: '3', price: '100', createdAt: now - 10 * DAY })
    simulated.fill(open, { fee: '0.3', ...at(10 * DAY) })
    ledger.fund(account, perpetual, 'USDT', '-1.00000001', at(9 * DAY))
    ledger.fund(account, perpetual, 'USDT', '0.5', at(8 * DAY))
    const forced = { market: 'FUTURES' as const, side: 'SELL' as const, createdAt: now - 5 * DAY }
    const liquidated = simulated.place(account, { ...forced, quantity: '1', price: '80', forced: 'liquidation' })
    simulated.fill(liquidated, { fee: '0.08', ...at(5 * DAY) })
    const deleveraged = simulated.place(account, { ...forced, quantity: '1', price: '130', forced: 'adl' })
    simulated.fill(deleveraged, { fee: '0', ...at(5 * DAY) })
    ledger.add(account, { kind: 'liquidation', asset: 'USDT', amount: '-2.5', ...at(5 * DAY) })
    ledger.convert(account, { asset: 'BNB', amount: '0.1' }, { asset: 'USDT', amount: '60.1' }, at(4 * DAY))
    ledger.convert(account, { asset: 'BTC', amount: '0.0001' }, { asset: 'BNB', amount: '0.00001' }, { word: 'dust' })
    for (const kind of ['interest', 'borrow', 'repay', 'rebate', 'commission', 'dividend', 'other'] as const) {
      ledger.add(account, { kind, asset: 'USDT', amount: kind === 'repay' ? '-7' : '7', ...at(3 * DAY) })
    }
    ledger.withdraw(account, 'USDT', '100', { fee: '1', ...at(2 * DAY) })
    const failed = ledger.withdraw(account, 'USDT', '50', { state: 'pending', ...at(2 * DAY) })
    ledger.fail(account, failed, now - DAY)
    ledger.add(account, { kind: 'other', word: '77777', asset: 'USDT', amount: '0.00000014' })
    t.strictSame(await booksOf(bench, now - 30 * DAY, simulated.now() + 1), await balancesOf(bench))
    // Each range has its own part.
    const parts = [30, 12, 8.5, 5, 3, 2, 1].map(days => now - days * DAY)
    const whole = await bench.read(now - 30 * DAY, simulated.now() + 1)
    const inParts = []
    for (const [index, from] of parts.entries()) {
      inParts.push(...(await bench.read(from, parts[index + 1] ?? simulated.now() + 1)).entries)
    }
    t.strictSame(inParts, whole.entries)
    t.strictSame(
      whole.entries.map(({ kind }) => kind),
      [
        ...['transfer', 'transfer', 'funding', 'funding', 'liquidation', 'conversion', 'conversion'],
        ...['interest', 'borrow', 'repay', 'rebate', 'commission', 'dividend', 'other', 'transfer', 'transfer'],
        ...['transfer', 'conversion', 'conversion', 'other']
      ]
    )
    t.equal(whole.entries.find(({ kind }) => kind === 'funding')?.exchangeSymbol, perpetual)
    t.equal(whole.entries.at(-1)?.exchangeKind, '77777')
    // The wallet is the same for both markets.
    const { clients } = bench
    const ofFutures = await clients.FUTURES?.ledger({ from: now - 30 * DAY, until: simulated.now() + 1 })
    t.strictSame(ofFutures?.entries, whole.entries)
  })
}

for (const exchange of TOKEN) {
  t.test(`${exchange}: transfers and fills add up to the balances`, async t => {
    const bench = await setUp(t, exchange)
    const { simulated, account, now } = bench
    const { ledger } = simulated
    const at = (age: number) => ({ at: now - age })
    ledger.deposit(account, 'KRW', '500000000', at(20 * DAY))
    ledger.deposit(account, 'BTC', '0.00000014', at(19 * DAY))
    const order = simulated.place(account, { quantity: '2', createdAt: now - 5 * DAY })
    simulated.fill(order, { quantity: '0.5', ...at(5 * DAY) })
    simulated.fill(order, { quantity: '1.5', ...at(4 * DAY) })
    ledger.withdraw(account, 'BTC', '1', { fee: '0.0009', ...at(3 * DAY) })
    ledger.withdraw(account, 'KRW', '6000', { fee: '1000', ...at(2 * DAY) })
    ledger.withdraw(account, 'KRW', '7000', { fee: '1000', state: 'pending', ...at(DAY) })
    ledger.fail(account, ledger.deposit(account, 'BTC', '9', { state: 'pending', ...at(DAY) }))
    t.strictSame(await booksOf(bench, now - 30 * DAY, simulated.now() + 1), await balancesOf(bench))
    const { entries, completeUntil } = await bench.read(now - 30 * DAY, simulated.now() + 1)
    t.equal(completeUntil, now - DAY, 'the pending withdrawal')
    t.strictSame(
      entries.map(({ kind, asset, amount }) => `${kind} ${asset} ${amount}`),
      [
        ...['deposit KRW 500000000', 'deposit BTC 0.00000014', 'withdrawal BTC -1', 'commission BTC -0.0009'],
        ...['withdrawal KRW -6000', 'commission KRW -1000']
      ]
    )
    t.equal(new Set(entries.map(({ kind, exchangeEntryId }) => `${kind} ${exchangeEntryId}`)).size, entries.length)
  })

  t.test(`${exchange}: a deposit that is pending is an entry once it is credited`, async t => {
    const { simulated, account, read, now } = await setUp(t, exchange)
    const created = now - 12 * DAY
    const deposit = simulated.ledger.deposit(account, 'BTC', '1.5', { state: 'pending', at: created })
    simulated.ledger.deposit(account, 'BTC', '2', { at: now - 10 * DAY })
    const first = await read(now - 20 * DAY, now - 9 * DAY)
    t.strictSame(
      first.entries.map(({ amount }) => amount),
      ['2']
    )
    t.equal(first.completeUntil, created)
    simulated.ledger.complete(account, deposit, now - HOUR)
    const second = await read(first.completeUntil, now)
    t.strictSame(
      second.entries.map(({ amount, at }) => [amount, at]),
      [
        ['2', now - 10 * DAY],
        ['1.5', now - HOUR]
      ]
    )
    t.equal(second.completeUntil, now)
  })

  t.test(`${exchange}: a list that the key may not read is a gap`, async t => {
    const { simulated, account, read, now } = await setUp(t, exchange)
    simulated.ledger.deposit(account, 'KRW', '1000', { at: now - HOUR })
    simulated.ledger.withdraw(account, 'KRW', '500', { at: now - HOUR })
    account.forbidden = /withdraws/
    const reading = await read(now - DAY, now)
    t.strictSame(reading.gaps, ['permission'])
    t.strictSame(
      reading.entries.map(({ amount }) => amount),
      ['1000']
    )
    account.forbidden = /deposits|withdraws/
    const { entries, gaps } = await read(now - DAY, now)
    t.strictSame({ entries, gaps }, { entries: [], gaps: ['permission'] })
    account.state = 'revoked'
    t.equal((await failureOf(read(now - DAY, now))).code, 'authentication')
  })
}

for (const exchange of EXCHANGES) {
  t.test(`${exchange}: an empty ledger has no entries, and is complete`, async t => {
    const { read, now } = await setUp(t, exchange)
    t.strictSame(await read(now - 40 * DAY, now), { entries: [], completeUntil: now })
  })

  t.test(`${exchange}: a thousand entries of one moment are read once each`, async t => {
    const { simulated, account, read, now } = await setUp(t, exchange)
    const at = now - 3 * DAY
    for (let count = 0; count < 1_000; count++) simulated.ledger.deposit(account, 'BTC', '0.001', { at })
    const { entries } = await read(now - 10 * DAY, now)
    t.equal(entries.length, 1_000)
    t.equal(new Set(entries.map(({ exchangeEntryId }) => exchangeEntryId)).size, 1_000)
    t.strictSame((await read(at + SECOND, now)).entries, [])
    t.equal((await read(at, at + SECOND)).entries.length, 1_000)
  })

  t.test(`${exchange}: a page that is full is not the last one`, async t => {
    for (const count of [50, 100, 101]) {
      const { simulated, account, read, now } = await setUp(t, exchange)
      for (let index = 0; index < count; index++) {
        simulated.ledger.deposit(account, 'BTC', '1', { at: now - DAY - index * SECOND })
      }
      t.equal((await read(now - 10 * DAY, now)).entries.length, count)
    }
  })

  t.test(`${exchange}: a row that cannot be read is reported, and bounds what is complete`, async t => {
    const { simulated, account, read, now } = await setUp(t, exchange)
    const [good, bad] = [now - 3 * DAY, now - 2 * DAY]
    simulated.ledger.deposit(account, 'BTC', '1', { at: good })
    simulated.ledger.deposit(account, 'BTC', '77', { at: bad })
    for (const field of ['balChg', 'change', 'amount']) {
      simulated.fault(
        { kind: 'edited', edit: changingRows({ [field]: '77' }, { [field]: null }) },
        { path: LEDGER_PATH }
      )
      const rows: InvalidRow[] = []
      const reading = await read(now - 10 * DAY, now, { onInvalidRow: row => rows.push(row) })
      simulated.clearFaults()
      if (rows.length === 0) continue
      t.strictSame(
        reading.entries.map(({ at }) => at),
        [good]
      )
      t.equal(reading.completeUntil, bad)
      t.strictSame(
        rows.map(({ reason, times }) => [reason, times]),
        [[`${field} is missing`, 1]]
      )
      return
    }
    t.fail('no row had an amount')
  })

  t.test(`${exchange}: the limits of the ledger's calls are kept`, async t => {
    const { simulated, account, read, now } = await setUp(t, exchange, 'reported')
    for (let index = 0; index < 620; index++) {
      simulated.ledger.deposit(account, 'BTC', '1', { at: now - DAY - index * SECOND })
    }
    t.equal((await read(now - 5 * DAY, now)).entries.length, 620)
    t.equal(simulated.addressLimits?.refusals, 0)
  })
}

t.test('Bybit and OKX: a ledger that the key may not read is refused', async t => {
  for (const exchange of UNIFIED) {
    const { account, read, now } = await setUp(t, exchange)
    account.forbidden = LEDGER_PATH
    t.equal((await failureOf(read(now - DAY, now))).code, 'permission')
  }
})

t.test('Bybit and OKX: rows of an unknown type are entries of the kind other', async t => {
  for (const exchange of UNIFIED) {
    const { simulated, account, read, now } = await setUp(t, exchange)
    simulated.ledger.add(account, { kind: 'other', asset: 'USDT', amount: '-3', at: now - HOUR, word: 'BRAND_NEW' })
    const { entries } = await read(now - DAY, now)
    t.strictSame(
      entries.map(({ kind, exchangeKind, amount }) => ({ kind, exchangeKind, amount })),
      [{ kind: 'other', exchangeKind: 'BRAND_NEW', amount: '-3' }]
    )
  }
})

t.test('Upbit and Bithumb: an unknown state is a row that cannot be read', async t => {
  for (const exchange of TOKEN) {
    const { simulated, account, read, now } = await setUp(t, exchange)
    simulated.ledger.deposit(account, 'BTC', '3', { at: now - HOUR, word: 'BRAND_NEW' })
    const rows: InvalidRow[] = []
    const reading = await read(now - DAY, now, { onInvalidRow: row => rows.push(row) })
    t.strictSame(reading, { entries: [], completeUntil: now - HOUR })
    t.strictSame(
      rows.map(({ reason }) => reason),
      ['state is unknown']
    )
  }
})
