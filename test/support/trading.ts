/** A migrated database with accounts and orders, and the context of trading jobs in tests. */
import { randomUUID } from 'node:crypto'
import { setMaxListeners } from 'node:events'
import { pino } from 'pino'
import type { Test } from 'tap'
import type { Account, TradingAccounts } from '../../src/accounts/account.ts'
import type { PriceSource } from '../../src/cache/price-source.ts'
import type { TransactionSql } from '../../src/database/client.ts'
import type { Database } from '../../src/database/database.ts'
import type { InstrumentSource } from '../../src/domain/instrument.ts'
import type { ExchangeName, MarketType } from '../../src/domain/market.ts'
import type { ExchangeClient } from '../../src/exchanges/exchange-client.ts'
import type { JobContext } from '../../src/scheduler/job.ts'
import { migratedDatabase, openDatabase } from './migrated-database.ts'

const silent = pino({ level: 'silent' })

export async function tradingDatabase(t: Pick<Test, 'teardown'>): Promise<Database> {
  const { url } = await migratedDatabase(t)
  const database = openDatabase(url)
  t.teardown(() => database.close(0))
  return database
}

export interface SeededAccount extends Account {
  strategyAccountId: string
}

/** A user with one strategy on one account. */
export async function seedAccount(
  database: Database,
  { exchange = 'BINANCE', marketType = 'SPOT' }: { exchange?: ExchangeName; marketType?: MarketType } = {}
): Promise<SeededAccount> {
  const name = randomUUID()
  const [row] = await database.run(
    sql => sql<{ account_id: string; user_id: string; strategy_account_id: string }[]>`
      with owner as (
        insert into users (username, password_hash) values (${name}, 'none') returning user_id
      ), account as (
        insert into accounts (user_id, name, exchange, api_key_encrypted, api_secret_encrypted, key_id)
        select user_id, ${name}, ${exchange}, '', '', 'none' from owner returning account_id, user_id
      ), strategy as (
        insert into strategies (user_id, name, market_type)
        select user_id, ${name}, ${marketType} from owner returning strategy_id
      )
      insert into strategy_accounts (strategy_id, account_id, allocated_capital, capital_currency)
      select strategy_id, account_id, 1000, 'USDT' from strategy, account
      returning strategy_account_id, account_id, (select user_id from account)`
  )
  if (row === undefined) throw new Error('no account was made')
  return {
    accountId: row.account_id,
    userId: row.user_id,
    strategyAccountId: row.strategy_account_id,
    name,
    exchange,
    isTestnet: false,
    state: 'ok'
  }
}

export interface OrderToInsert {
  exchangeOrderId: string | null
  symbol: string
  exchangeSymbol: string
  side: 'BUY' | 'SELL'
  quantity: string
  market?: MarketType
  marketType?: MarketType
  positionSide?: 'BOTH' | 'LONG' | 'SHORT'
  type?: string
  price?: string | null
  /** Default: the order-entry side wrote neither base nor quote. */
  base?: string
  quote?: string
  /** Of its row, in ms. Default now. */
  createdAt?: number | null
}

/** Inserts an order as the order-entry side does. @returns its id */
export async function insertOrder(database: Database, account: SeededAccount, order: OrderToInsert): Promise<string> {
  const [row] = await database.run(
    sql => sql<{ order_id: string }[]>`
      insert into orders (
        strategy_account_id, account_id, market_type, exchange_order_id, symbol, exchange_symbol, side, position_side,
        order_type, price, quantity, status, base, quote, created_at
      ) values (
        ${account.strategyAccountId}, ${account.accountId}, ${order.market ?? order.marketType ?? 'SPOT'},
        ${order.exchangeOrderId}, ${order.symbol}, ${order.exchangeSymbol}, ${order.side},
        ${order.positionSide ?? 'BOTH'}, ${order.type ?? 'LIMIT'}, ${order.price ?? null}, ${order.quantity}, 'pending',
        ${order.base ?? null}, ${order.quote ?? null},
        coalesce(${order.createdAt ? new Date(order.createdAt) : null}::timestamptz, now())
      ) returning order_id`
  )
  if (row === undefined) throw new Error('no order was made')
  return row.order_id
}

/** Makes it time to read the fills of differences again. */
export async function makeFillsDue(database: Database): Promise<void> {
  await database.run(
    sql => sql`update orders set fills_due_at = now() - interval '1 second' where fills_due_at is not null`
  )
}

/**
 * Accounts whose clients come from a function; stores the ids of the accounts with recorded refusals and acceptances.
 */
export class TestAccounts implements TradingAccounts {
  readonly refusals: string[] = []
  readonly acceptances: string[] = []
  /** The ids that `leftOut` returns. */
  leftOutIds: string[] = []
  readonly #accounts: Account[]
  readonly #clientOf: (account: Account, marketType: MarketType) => ExchangeClient

  constructor(accounts: Account[], clientOf: (account: Account, marketType: MarketType) => ExchangeClient) {
    this.#accounts = accounts
    this.#clientOf = clientOf
  }

  async active(): Promise<Account[]> {
    return this.#accounts
  }

  async leftOut(): Promise<string[]> {
    return this.leftOutIds
  }

  async client(account: Account, marketType: MarketType): Promise<ExchangeClient> {
    return this.#clientOf(account, marketType)
  }

  async recordRefusal(tx: TransactionSql, { accountId }: Account): Promise<void> {
    await tx`update accounts set state = 'credentials_refused' where account_id = ${accountId}`
    this.refusals.push(accountId)
  }

  async recordAcceptance(tx: TransactionSql, { accountId }: Account): Promise<void> {
    await tx`update accounts set state = 'ok' where account_id = ${accountId}`
    this.acceptances.push(accountId)
  }
}

/** Fixed prices of one time by symbol, on every market, read at once. They are mark prices, too. */
export function fixedPrices(prices: Readonly<Record<string, string>>, at = new Date()): PriceSource {
  const peek = (symbol: string) => {
    const price = prices[symbol]
    return price === undefined ? undefined : { price, at, readAt: at }
  }
  const foundOf = (symbols: Iterable<string>) =>
    new Map(
      [...symbols].flatMap(symbol => {
        const found = peek(symbol)
        return found === undefined ? [] : [[symbol, found] as const]
      })
    )
  return {
    peek: (_exchange, _marketType, symbol) => peek(symbol),
    current: async (_exchange, _marketType, symbols) => foundOf(symbols),
    currentMarks: async (_exchange, symbols) => foundOf(symbols)
  }
}

/**
 * Instruments that every market lists, each as `BTC/USDT`: its symbol and the exchange's own are base and quote. Default:
 * those that the tests trade.
 */
export function fixedInstruments(pairs: readonly string[] = ['BTC/USDT', 'ETH/USDT']): InstrumentSource {
  const listed = pairs.map(pair => {
    const [base = '', quote = ''] = pair.split('/')
    const symbol = `${base}${quote}`
    const steps = { contractValue: '1', priceStep: null, quantityStep: null }
    return [symbol, { exchangeSymbol: symbol, symbol, base, quote, ...steps, trading: true }] as const
  })
  return { ofMarket: async () => new Map(listed) }
}

export interface TestContext {
  context: JobContext
  progress: [number, number][]
}

/** A run without a scheduler: its transactions are not checked for a lease. */
export function testContext(database: Database, overrides: Partial<JobContext> = {}): TestContext {
  const progress: [number, number][] = []
  const { signal } = new AbortController()
  // As in a run of the service.
  setMaxListeners(0, signal)
  const context: JobContext = {
    runId: randomUUID(),
    jobId: 'test',
    trigger: 'schedule',
    scheduledFor: new Date(),
    signal,
    log: silent,
    progress: (done, total) => progress.push([done, total]),
    transaction: (work, options) => database.transaction(work, { deadlineMs: 8_000, ...options }),
    ...overrides
  }
  return { context, progress }
}

/** Orders, executions and positions of an account: numbers without trailing zeros, without ids and recording times. */
export async function booksOf(database: Database, { accountId }: Pick<Account, 'accountId'>) {
  return await database.run(async sql => {
    const orders = await sql`
      select exchange_order_id, status, trim_scale(filled_quantity)::text as filled_quantity,
        trim_scale(average_price)::text as average_price, misses, error_code, base, quote
      from orders where account_id = ${accountId} order by market_type, exchange_order_id`
    const executions = await sql`
      select market_type, symbol, position_side, exchange_trade_id, side, trim_scale(price)::text as price,
        trim_scale(quantity)::text as quantity, trim_scale(fee)::text as fee, fee_asset,
        trim_scale(fee_value)::text as fee_value, trim_scale(realized_pnl)::text as realized_pnl, executed_at, base, quote
      from trade_executions where account_id = ${accountId}
      order by market_type, symbol, position_side, executed_at, length(exchange_trade_id), exchange_trade_id, order_id`
    const positions = await sql`
      select market_type, symbol, position_side, base, quote, trim_scale(quantity)::text as quantity,
        trim_scale(entry_price)::text as entry_price, trim_scale(realized_pnl)::text as realized_pnl,
        trim_scale(fees)::text as fees, trim_scale(funding)::text as funding, trim_scale(unrealized_pnl)::text as unrealized_pnl
      from strategy_positions where holder_account_id = ${accountId} order by market_type, symbol, position_side`
    return { orders: [...orders], executions: [...executions], positions: [...positions] }
  })
}

/** The accounts that the last run of a job could not read, with the reasons. */
export async function failuresOf(database: Database, account: SeededAccount): Promise<string[]> {
  const rows = await database.run(
    sql => sql<{ error_code: string }[]>`
      select error_code from account_failures where account_id = ${account.accountId} order by job_id`
  )
  return rows.map(({ error_code }) => error_code)
}
