import t from 'tap'
import { MINUTE, SECOND } from '../../src/async/durations.ts'
import { EXCHANGE_NAMES, type ExchangeName, MARKET_TYPES, type MarketType } from '../../src/domain/market.ts'
import { type CallCosts, callCosts } from '../../src/exchanges/call-costs.ts'
import { CATALOGUE } from '../../src/exchanges/catalogue.ts'
import { budgetNeeds, isNearLimit, type MarketLoad, needText } from '../../src/trading/budget-need.ts'

const periodsMs = { orders: 29 * SECOND, balances: 59 * SECOND, prices: 31 * SECOND, ledger: 300 * SECOND }
const weight = { name: 'weight', weight: 2_400, perMs: MINUTE, scope: 'address' as const }

/** Binance futures as it was read before: with both lists of open orders for each account. */
const listing: CallCosts = {
  host: 'futures',
  limits: [weight, { name: 'key', weight: 1, perMs: SECOND, scope: 'key' }],
  orderCosts: { list: 80, listOfSymbol: 80, order: 80 },
  order: [
    { limit: 'weight', weight: 80 },
    { limit: 'key', weight: 1 }
  ],
  balances: [{ limit: 'weight', weight: 5 }],
  ledger: [],
  prices: [{ limit: 'weight', weight: 2 }]
}

function load(accounts: number, overrides: Partial<MarketLoad> = {}): MarketLoad {
  const orders = [{ ordersOfSymbols: [1], accounts }]
  return { exchange: 'BINANCE', marketType: 'FUTURES', costs: listing, wallets: accounts, orders, ...overrides }
}

t.test('100 accounts of which every list is read need 7.1 times the limit of Binance futures', async t => {
  const [need, ...others] = budgetNeeds([load(100)], { periodsMs })
  t.strictSame(others, [], 'limits of a key are not shared')
  t.strictSame(need?.weightPerRun, { prices: 2, orders: 8_000, balances: 500, ledger: 0 })
  t.equal(need?.need.toFixed(3), '7.110')
  // The share of balances (540) and twice the need of prices (7.7) are kept free: orders get 1,612.3 a minute of 16,551.7.
  t.strictSame(need?.periodsMs, { prices: 31_000, orders: 297_719, balances: 59_000, ledger: 300_000 })
  t.equal(need && needText(need, 100), '100 accounts: 7.1 × the limit, orders every 5.0 min, balances every 59 s')
  t.equal(need && isNearLimit(need), true)
})

t.test('every job that needs more than its share gets its share, and takes longer in proportion', async t => {
  const [need] = budgetNeeds([load(1_000)], { periodsMs })
  // 2,160 a minute without twice the need of prices, two thirds for orders and one third for balances.
  const rest = 2_160 - (2 * 2 * 60) / 31
  const wanted = { orders: (80_000 * 60) / 29, balances: (5_000 * 60) / 59 }
  t.strictSame(need?.periodsMs, {
    prices: 31_000,
    orders: Math.round((29_000 * wanted.orders) / ((rest * 2) / 3)),
    balances: Math.round((59_000 * wanted.balances) / (rest / 3)),
    ledger: 300_000
  })
})

t.test('a load within the limit keeps the schedule, and is near the limit from 72 % on', async t => {
  for (const [accounts, near] of [
    [1, false],
    [10, false],
    [11, true]
  ] as const) {
    const [need] = budgetNeeds([load(accounts)], { periodsMs })
    t.strictSame(need?.periodsMs, periodsMs)
    t.equal(need && isNearLimit(need), near, `${accounts} accounts: ${need?.need}`)
  }
})

t.test('orders cost the cheapest plan of each account', async t => {
  const costs = {
    ...listing,
    orderCosts: { list: 80, listOfSymbol: 2, order: 1 },
    order: [{ limit: 'weight', weight: 1 }]
  }
  const orders = (ordersOfSymbols: number[]) => {
    const [need] = budgetNeeds([load(0, { costs, orders: [{ ordersOfSymbols, accounts: 10 }] })], { periodsMs })
    return need?.weightPerRun.orders
  }
  t.equal(orders([1]), 10, 'one order by its id')
  t.equal(orders([7]), 20, 'the list of the symbol')
  t.equal(orders([3, 3]), 40, 'the lists of two symbols')
  t.equal(orders(new Array<number>(50).fill(3)), 800, 'the list of all')
  t.equal(orders([]), 0)
})

t.test('markets with one host share its limits, and each replica reads the prices', async t => {
  const spot = load(3, { marketType: 'SPOT', wallets: 0 })
  const [need, ...others] = budgetNeeds([spot, load(2)], { periodsMs, replicas: 3 })
  t.strictSame(others, [])
  t.strictSame(need?.marketTypes, ['SPOT', 'FUTURES'])
  t.strictSame(need?.weightPerRun, { prices: 12, orders: 400, balances: 10, ledger: 0 })
  t.equal(budgetNeeds([], { periodsMs }).length, 0)
})

t.test('the costs of the calls of every market are those of its adapter', async t => {
  const costs: Record<string, unknown> = {}
  for (const exchange of EXCHANGE_NAMES) {
    for (const marketType of MARKET_TYPES) {
      const address = CATALOGUE[exchange].markets[marketType]
      if (address === undefined) continue
      const own = await callCosts({ exchange, marketType }, address.url)
      const text = (some: CallCosts['order']) => some.map(({ limit, weight }) => `${weight} ${limit}`).join(', ')
      costs[`${exchange} ${marketType}`] = [text(own.order), text(own.balances), text(own.prices)]
      t.ok(own.limits.length > 0, own.host)
    }
  }
  t.strictSame(costs, {
    'BINANCE SPOT': ['4 weight', '20 weight', '4 weight'],
    'BINANCE FUTURES': ['1 weight', '5 weight', '2 weight, 10 weight'],
    'BYBIT SPOT': ['1 address, 1 key', '1 address, 1 key', '1 address'],
    'BYBIT FUTURES': ['1 address, 1 key', '1 address, 1 key', '1 address'],
    'OKX SPOT': ['1 order', '1 balance', '1 tickers'],
    'OKX FUTURES': ['1 order', '1 balance', '1 tickers, 1 mark-price'],
    'UPBIT SPOT': ['1 private', '1 private', '1 public'],
    'BITHUMB SPOT': ['1 private', '1 private', '1 public']
  })
})

t.test('the costs of a ledger are those of all its lists', async t => {
  const sums = async (exchange: ExchangeName, marketType: MarketType) => {
    const url = CATALOGUE[exchange].markets[marketType]?.url ?? ''
    const sum: Record<string, number> = {}
    for (const { limit, weight } of (await callCosts({ exchange, marketType }, url)).ledger) {
      sum[limit] = (sum[limit] ?? 0) + weight
    }
    return sum
  }
  t.strictSame(await sums('BINANCE', 'SPOT'), { wallet: 26, wallet_user: 21_000 })
  t.strictSame(await sums('BINANCE', 'FUTURES'), { weight: 30 })
})
