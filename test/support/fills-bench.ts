/** An account at a simulated exchange whose clock a test sets, with runs of the jobs that book its orders and fills. */
import type { Test } from 'tap'
import { Agent } from 'undici'
import { DAY, MINUTE } from '../../src/async/durations.ts'
import type { Database } from '../../src/database/database.ts'
import type { ExchangeName, MarketType } from '../../src/domain/market.ts'
import { CATALOGUE } from '../../src/exchanges/catalogue.ts'
import { ExchangeRegistry } from '../../src/exchanges/exchange-registry.ts'
import { readExternalFills } from '../../src/jobs/read-external-fills.ts'
import { updateOpenOrders } from '../../src/jobs/update-open-orders.ts'
import { Outbox } from '../../src/notifications/outbox.ts'
import type { JobContext, JobResult } from '../../src/scheduler/job.ts'
import { type NewOrder, SimulatedExchange } from './simulated-exchange/simulated-exchange.ts'
import { fixedInstruments, fixedPrices, insertOrder, seedAccount, TestAccounts, testContext } from './trading.ts'
import { withoutWaits } from './without-waits.ts'

const KEYS = { apiKey: 'key', apiSecret: 'secret', passphrase: 'passphrase' }

const OPERATOR = 'operator'

/** An exchange with one account. Its clock begins 20 days ago, at a whole second. */
export async function fillsBench(t: Test, database: Database, name: ExchangeName, marketType: MarketType) {
  const clock = { now: Math.floor((Date.now() - 20 * DAY) / 1_000) * 1_000 }
  const exchange = await SimulatedExchange.start({ exchange: name, now: () => clock.now })
  const agent = new Agent()
  t.teardown(() => Promise.all([exchange.close(), agent.close()]))
  const account = exchange.addAccount(KEYS)
  const owner = await seedAccount(database, { exchange: name, marketType })
  const registry = new ExchangeRegistry({ dispatcher: agent, urls: exchange.urls, ...withoutWaits() })
  const accounts = new TestAccounts([owner], (_, market) =>
    registry.client({ exchange: name, marketType: market, credentials: KEYS })
  )
  const quote = CATALOGUE[name].quoteCurrencies[0] ?? 'USDT'
  const instruments = fixedInstruments([`BTC/${quote}`, `ETH/${quote}`])
  const services = {
    ...{ accounts, database, instruments, outbox: new Outbox(), operatorChatId: OPERATOR, language: 'en' as const },
    ...{ prices: fixedPrices({}), now: () => clock.now }
  }
  const contextOf = (overrides: Partial<JobContext>) => testContext(database, overrides).context
  return {
    ...{ exchange, account, owner, accounts, quote, symbol: `BTC${quote}` },
    accountId: owner.accountId,
    /** The time of the exchange. */
    now: () => clock.now,
    /** Moves the clock of the exchange, which is also that of the job. */
    pass: (ms: number) => {
      clock.now += ms
    },
    /** Sets the clock to that of the database. */
    catchUp: () => {
      clock.now = Date.now()
    },
    readFills: (overrides: Partial<JobContext> = {}): Promise<JobResult> =>
      readExternalFills(services)(contextOf(overrides)),
    updateOrders: (overrides: Partial<JobContext> = {}): Promise<JobResult> =>
      updateOpenOrders(services)(contextOf(overrides)),
    /** Places an order that the order-entry side records, too. */
    placeOwn: async (order: NewOrder = {}) => {
      const placed = exchange.place(account, { market: marketType, ...order })
      const { exchangeOrderId, symbol, exchangeSymbol, side, positionSide, type, quantity } = placed
      const row = { exchangeOrderId, symbol, exchangeSymbol, side, positionSide, type, quantity, market: marketType }
      await insertOrder(database, owner, { ...row, createdAt: placed.createdAt })
      return placed
    },
    /** Trades without the order-entry side, at a price. */
    trade: (order: NewOrder & { at?: number }, price = '100') => {
      const placed = exchange.place(account, { market: marketType, price, ...order })
      exchange.fill(placed, { price })
      return placed
    },
    messages: () => messagesOf(database),
    orders: () => ordersOf(database, owner.accountId),
    positions: () => positionsOf(database, owner.accountId),
    entries: () => entriesOf(database, owner.accountId)
  }
}

export type FillsBench = Awaited<ReturnType<typeof fillsBench>>

/** Runs the job until it has recorded the opening of the account. */
export async function open({ readFills, updateOrders, pass }: FillsBench): Promise<void> {
  await readFills()
  pass(5 * MINUTE)
  await updateOrders()
  const result = await readFills()
  if (result.openings !== 1) throw new Error(`the account was not opened: ${JSON.stringify(result)}`)
}

async function messagesOf(database: Database): Promise<string[]> {
  const rows = await database.run(
    sql => sql<{ text: string }[]>`select text from outbox where chat_id = ${OPERATOR} order by message_id`
  )
  return rows.map(({ text }) => text)
}

async function ordersOf(database: Database, accountId: string) {
  return await database.run(
    sql => sql<Record<string, unknown>[]>`
      select exchange_order_id as id, origin, status, side, order_type as type, strategy_account_id is not null as owned,
        trim_scale(filled_quantity)::text as filled, trim_scale(average_price)::text as average, is_mark_price
      from orders where account_id = ${accountId} order by order_id`
  )
}

async function positionsOf(database: Database, accountId: string) {
  return await database.run(
    sql => sql<Record<string, unknown>[]>`
      select symbol, position_side as side, strategy_account_id is not null as owned,
        trim_scale(quantity)::text as quantity, trim_scale(entry_price)::text as entry,
        trim_scale(realized_pnl)::text as realized
      from strategy_positions where holder_account_id = ${accountId} order by symbol, strategy_account_id, position_side`
  )
}

async function entriesOf(database: Database, accountId: string) {
  return await database.run(
    sql => sql<Record<string, unknown>[]>`
      select wallet, asset, trim_scale(amount)::text as amount, kind from ledger_entries
      where account_id = ${accountId} order by wallet, asset`
  )
}
