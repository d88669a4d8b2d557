import t from 'tap'
import type { Database } from '../../src/database/database.ts'
import { pairOf } from '../../src/domain/pair.ts'
import { bookEntries, type Entry } from '../../src/trading/position-ledger.ts'
import { insertOrder, type SeededAccount, seedAccount, tradingDatabase } from '../support/trading.ts'

const AT = Date.parse('2026-11-24T00:00:00Z')

let database: Database
t.before(async () => {
  database = await tradingDatabase(t)
})

async function accountWithOrder() {
  const account = await seedAccount(database)
  const order = {
    exchangeOrderId: '1',
    symbol: 'BTCUSDT',
    exchangeSymbol: 'BTCUSDT',
    side: 'BUY',
    quantity: '9'
  } as const
  return { account, orderId: await insertOrder(database, account, order) }
}

interface Recorded {
  tradeId: string
  seconds: number
  side?: 'BUY' | 'SELL'
  price?: string
  quantity: string
  fee?: string
  realized?: string | null
  before?: [quantity: string, entryPrice: string | null] | null
  symbol?: string
}

/** Inserts an execution as the job or, without `before`, another program recorded it. */
async function record(account: SeededAccount, orderId: string, row: Recorded): Promise<string> {
  const [quantity, entry] = row.before ?? [null, null]
  const [inserted] = await database.run(
    sql => sql<{ execution_id: string }[]>`
      insert into trade_executions (order_id, strategy_account_id, account_id, market_type, exchange_trade_id, symbol,
        currency, side, price, quantity, fee, fee_asset, fee_value, realized_pnl, executed_at, quantity_before,
        entry_price_before)
      values (${orderId}, ${account.strategyAccountId}, ${account.accountId}, 'FUTURES', ${row.tradeId},
        ${row.symbol ?? 'BTCUSDT'}, 'USDT', ${row.side ?? 'BUY'}, ${row.price ?? '10'}, ${row.quantity},
        ${row.fee ?? '0'}, 'USDT', ${row.fee ?? '0'}, ${row.realized ?? null}, ${new Date(AT + row.seconds * 1_000)},
        ${quantity}, ${entry})
      returning execution_id`
  )
  return inserted?.execution_id ?? ''
}

function hold(account: SeededAccount, quantity: string, entryPrice: string | null, symbol = 'BTCUSDT') {
  return database.run(
    sql => sql`
      insert into strategy_positions (strategy_account_id, market_type, symbol, currency, quantity, entry_price)
      values (${account.strategyAccountId}, 'FUTURES', ${symbol}, 'USDT', ${quantity}, ${entryPrice})`
  )
}

const entry = (
  account: SeededAccount,
  orderId: string,
  tradeId: string,
  seconds: number,
  rest: Partial<Entry> = {}
): Entry => ({
  ...{ executionId: null, orderId, accountId: account.accountId, strategyAccountId: account.strategyAccountId },
  ...{ marketType: 'FUTURES', symbol: 'BTCUSDT', positionSide: 'BOTH', pair: pairOf('BTC', 'USDT') },
  ...{ exchangeTradeId: tradeId, executedAt: new Date(AT + seconds * 1_000), side: 'BUY', price: '10', quantity: '1' },
  ...{ fee: '0.1', feeAsset: 'USDT', feeValue: '0.1', ...rest }
})

/** Books entries. @returns each changed position, and each written execution */
async function book(entries: readonly Entry[]) {
  const positions = await database.transaction(tx => bookEntries(tx, entries))
  return positions.map(({ key, pair, holding, realizedPnl, fees, executions }) => ({
    position: [key.marketType, key.symbol, key.positionSide, pair.quote].join(' '),
    holding: [holding.quantity.toFixed(), holding.entryPrice?.toFixed() ?? null],
    change: [realizedPnl.toFixed(), fees.toFixed()],
    executions: executions.map(({ entry, executionId, realizedPnl, before, fee, feeValue }) => [
      entry?.exchangeTradeId ?? executionId,
      realizedPnl,
      before.quantity.toFixed(),
      before.entryPrice?.toFixed() ?? null,
      fee,
      feeValue
    ])
  }))
}

t.test('a first entry opens a position', async t => {
  const { account, orderId } = await accountWithOrder()
  t.strictSame(await book([entry(account, orderId, '1', 0)]), [
    {
      position: 'FUTURES BTCUSDT BOTH USDT',
      holding: ['1', '10'],
      change: ['0', '0.1'],
      executions: [['1', null, '0', null, '0.1', '0.1']]
    }
  ])
})

t.test('the newest entries start from the current position, with any history', async t => {
  const { account, orderId } = await accountWithOrder()
  await hold(account, '5', '20')
  await record(account, orderId, { tradeId: '1', seconds: 0, quantity: '1', before: ['0', null] })
  const sale = entry(account, orderId, '3', 2, { side: 'SELL', price: '26', quantity: '2', feeValue: null })
  t.strictSame(await book([sale, entry(account, orderId, '2', 1, { price: '26' })]), [
    {
      position: 'FUTURES BTCUSDT BOTH USDT',
      holding: ['4', '21'],
      change: ['10', '0.1'],
      executions: [
        ['2', null, '5', '20', '0.1', '0.1'],
        ['3', '10', '6', '21', '0.1', null]
      ]
    }
  ])
})

t.test('a late entry is inserted at its place, and only executions after it that change are written', async t => {
  const { account, orderId } = await accountWithOrder()
  await hold(account, '2', '20')
  await record(account, orderId, { tradeId: '1', seconds: 0, quantity: '2', price: '20', before: ['0', null] })
  const sold = await record(account, orderId, {
    ...{ tradeId: '3', seconds: 2, side: 'SELL' as const, quantity: '1', price: '30', realized: '10', fee: '0.3' },
    before: ['2', '20']
  })
  const added = await record(account, orderId, {
    tradeId: '4',
    seconds: 3,
    quantity: '1',
    price: '20',
    before: ['1', '20']
  })
  t.strictSame(await book([entry(account, orderId, '2', 1, { price: '26', quantity: '1' })]), [
    {
      position: 'FUTURES BTCUSDT BOTH USDT',
      holding: ['3', '21.33333333333333333333'],
      change: ['-2', '0.1'],
      executions: [
        ['2', null, '2', '20', '0.1', '0.1'],
        [sold, '8', '3', '22', '0.3', '0.3'],
        [added, null, '2', '22', '0', '0']
      ]
    }
  ])
})

t.test('an execution that a late entry does not change is not written', async t => {
  const { account, orderId } = await accountWithOrder()
  await hold(account, '1', '20')
  // The late entries open and close before it. Its position before is zero in another spelling.
  await record(account, orderId, { tradeId: '9', seconds: 9, quantity: '1', price: '20', before: ['0.00', null] })
  const opening = entry(account, orderId, '1', 1, { quantity: '1', price: '10' })
  const closing = entry(account, orderId, '2', 2, { quantity: '1', price: '15', side: 'SELL' })
  t.strictSame(await book([opening, closing]), [
    {
      position: 'FUTURES BTCUSDT BOTH USDT',
      holding: ['1', '20'],
      change: ['5', '0.2'],
      executions: [
        ['1', null, '0', null, '0.1', '0.1'],
        ['2', '5', '1', '10', '0.1', '0.1']
      ]
    }
  ])
})

t.test('a late entry among executions of another program is computed from the beginning', async t => {
  const { account, orderId } = await accountWithOrder()
  await hold(account, '7', '70')
  const first = await record(account, orderId, { tradeId: '1', seconds: 0, quantity: '1', price: '10' })
  const third = await record(account, orderId, { tradeId: '3', seconds: 3, quantity: '2', price: '40', realized: '99' })
  t.strictSame(await book([entry(account, orderId, '2', 2, { price: '20' })]), [
    {
      position: 'FUTURES BTCUSDT BOTH USDT',
      holding: ['4', '27.5'],
      change: ['-99', '0.1'],
      executions: [
        [first, null, '0', null, '0', '0'],
        ['2', null, '1', '10', '0.1', '0.1'],
        [third, null, '2', '15', '0', '0']
      ]
    }
  ])
})

t.test('a corrected fee replaces the recorded one', async t => {
  const { account, orderId } = await accountWithOrder()
  await hold(account, '1', '10')
  const executionId = await record(account, orderId, {
    ...{ tradeId: '1', seconds: 0, quantity: '1', fee: '0.5' },
    before: ['0', null]
  })
  const corrected = entry(account, orderId, '1', 0, { executionId, fee: '0.2', feeValue: '0.2' })
  t.strictSame(await book([corrected]), [
    {
      position: 'FUTURES BTCUSDT BOTH USDT',
      holding: ['1', '10'],
      change: ['0', '-0.3'],
      executions: [['1', null, '0', null, '0.2', '0.2']]
    }
  ])
})

t.test('trade ids of one time are ordered as numbers, then by order', async t => {
  const { account, orderId } = await accountWithOrder()
  const orderOf = (tradeId: string) => entry(account, orderId, tradeId, 0, { price: tradeId })
  const [position] = await book(['10', '9', '100'].map(orderOf))
  t.strictSame(
    position?.executions.map(([tradeId]) => tradeId),
    ['9', '10', '100']
  )
})

t.test('each symbol, market, side and account has a separate position', async t => {
  const { account, orderId } = await accountWithOrder()
  const other = await accountWithOrder()
  await hold(account, '1', '10', 'ETHUSDT')
  await hold(other.account, '50', '10')
  const positions = await book([
    entry(account, orderId, '1', 0),
    entry(account, orderId, '2', 0, { symbol: 'ETHUSDT', pair: pairOf('ETH', 'USDT') }),
    entry(account, orderId, '3', 0, { positionSide: 'SHORT', side: 'SELL' }),
    entry(account, orderId, '4', 0, { marketType: 'SPOT', feeAsset: 'BTC', feeValue: '1' }),
    entry(other.account, other.orderId, '5', 0)
  ])
  t.strictSame(
    positions.map(({ position, holding, change }) => [position, ...holding, ...change]),
    [
      ['FUTURES BTCUSDT BOTH USDT', '1', '10', '0', '0.1'],
      ['FUTURES ETHUSDT BOTH USDT', '2', '10', '0', '0.1'],
      ['FUTURES BTCUSDT SHORT USDT', '-1', '10', '0', '0.1'],
      ['SPOT BTCUSDT BOTH USDT', '0.9', '10', '0', '1'],
      ['FUTURES BTCUSDT BOTH USDT', '51', '10', '0', '0.1']
    ]
  )
})
