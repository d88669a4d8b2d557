/** The books of accounts in tests: openings, entries, executions, readings of the exchange, and runs of the reconciliation. */
import { randomUUID } from 'node:crypto'
import type { Test } from 'tap'
import { MINUTE } from '../../src/async/durations.ts'
import type { Database } from '../../src/database/database.ts'
import type { ExchangeName, MarketType } from '../../src/domain/market.ts'
import type { Position } from '../../src/domain/position.ts'
import type { CallOptions, ExchangeClient } from '../../src/exchanges/exchange-client.ts'
import { reconcileBooks } from '../../src/jobs/reconcile-books.ts'
import type { JobContext } from '../../src/scheduler/job.ts'
import { recordAttempt } from '../../src/trading/balance-readings.ts'
import { recordBalances } from '../../src/trading/balances.ts'
import { type SeededAccount, seedAccount, TestAccounts, testContext, tradingDatabase } from './trading.ts'

export interface ExecutionToInsert {
  side?: 'BUY' | 'SELL'
  price: string
  quantity: string
  marketType?: MarketType
  base?: string
  quote?: string
  positionSide?: 'BOTH' | 'LONG' | 'SHORT'
  fee?: string
  feeAsset?: string
  realizedPnl?: string
  exchangePnl?: string
  /** How long ago. Default one minute. */
  agoMs?: number
}

/** The books of one account, and a simulated exchange that reads its positions from `positions`. */
export class TestBooks {
  /** The positions that the exchange lists; an error is thrown instead. */
  positions: Position[] | Error = []
  /** Whether a row of the list of positions cannot be read. */
  isUnreadable = false
  readonly database: Database
  readonly account: SeededAccount
  readonly accounts: TestAccounts

  constructor(database: Database, account: SeededAccount) {
    this.database = database
    this.account = account
    this.accounts = new TestAccounts([account], () => this.#client())
  }

  static async create(t: Pick<Test, 'teardown'>, exchange: ExchangeName = 'BINANCE'): Promise<TestBooks> {
    const database = await tradingDatabase(t)
    return new TestBooks(database, await seedAccount(database, { exchange }))
  }

  /** Opens the books an hour ago. */
  async open(asset: string, amount: string, wallet: MarketType = 'SPOT'): Promise<void> {
    await this.entry({ asset, amount, wallet, kind: 'opening', agoMs: 60 * MINUTE })
  }

  async entry(entry: {
    asset: string
    amount: string
    kind?: string
    wallet?: MarketType
    agoMs?: number
  }): Promise<void> {
    const { asset, amount, kind = 'deposit', wallet = 'SPOT', agoMs = MINUTE } = entry
    await this.database.run(
      sql => sql`
        insert into ledger_entries (account_id, wallet, asset, amount, kind, exchange_kind, exchange_entry_id, at)
        values (${this.account.accountId}, ${wallet}, ${asset}, ${amount}, ${kind}, ${kind}, ${randomUUID()},
          now() - make_interval(secs => ${agoMs / 1_000}))`
    )
  }

  /** Records an execution of an order that is filled. @returns the id of the execution */
  async execution(execution: ExecutionToInsert): Promise<string> {
    const { accountId, strategyAccountId } = this.account
    const { side = 'BUY', price, quantity, marketType = 'SPOT', base = 'BTC', quote = 'USDT' } = execution
    const { positionSide = 'BOTH', fee = '0', feeAsset = null, agoMs = MINUTE } = execution
    const { realizedPnl = null, exchangePnl = null } = execution
    const symbol = `${base}${quote}`
    const [row] = await this.database.run(
      sql => sql<{ execution_id: string }[]>`
        with placed as (
          insert into orders (
            strategy_account_id, account_id, market_type, exchange_order_id, symbol, exchange_symbol, side, position_side,
            order_type, quantity, filled_quantity, status, base, quote, last_checked_at
          ) values (
            ${strategyAccountId}, ${accountId}, ${marketType}, ${randomUUID()}, ${symbol}, ${symbol}, ${side},
            ${positionSide}, 'LIMIT', ${quantity}, ${quantity}, 'filled', ${base}, ${quote}, now()
          ) returning order_id
        )
        insert into trade_executions (
          order_id, strategy_account_id, account_id, market_type, exchange_trade_id, symbol, currency, base, quote, side,
          position_side, price, quantity, fee, fee_asset, realized_pnl, exchange_realized_pnl, executed_at
        )
        select order_id, ${strategyAccountId}, ${accountId}, ${marketType}, ${randomUUID()}, ${symbol}, ${quote}, ${base},
          ${quote}, ${side}, ${positionSide}, ${price}, ${quantity}, ${fee}, ${feeAsset}, ${realizedPnl}, ${exchangePnl},
          now() - make_interval(secs => ${agoMs / 1_000})
        from placed returning execution_id`
    )
    if (row === undefined) throw new Error('no execution was recorded')
    return row.execution_id
  }

  /** Sets the position of the strategy. */
  async hold(quantity: string, symbol = 'BTCUSDT', positionSide = 'BOTH'): Promise<void> {
    await this.database.run(
      sql => sql`
        insert into strategy_positions (strategy_account_id, market_type, symbol, position_side, currency, base, quote, quantity)
        values (${this.account.strategyAccountId}, 'FUTURES', ${symbol}, ${positionSide}, 'USDT', 'BTC', 'USDT', ${quantity})
        on conflict (strategy_account_id, market_type, symbol, position_side) do update set quantity = excluded.quantity`
    )
  }

  /** Reads ledger and balances: of each wallet its assets, of those in `incomplete` not all. */
  async read(
    spot: Readonly<Record<string, string>>,
    futures: Readonly<Record<string, string>> = {},
    incomplete: readonly MarketType[] = []
  ): Promise<void> {
    await this.readLedger()
    const { accountId } = this.account
    const wallets = Object.entries({ SPOT: spot, FUTURES: futures }).map(([marketType, assets]) => ({
      marketType: marketType as MarketType,
      isComplete: !incomplete.includes(marketType as MarketType),
      balances: Object.entries(assets).map(([asset, total]) => ({ asset, free: total, locked: '0', total }))
    }))
    await this.database.transaction(async tx => {
      await recordAttempt(tx, accountId, { emptied: [], incomplete })
      await recordBalances(tx, accountId, wallets, { timeZone: 'UTC' })
    })
  }

  async readLedger(): Promise<void> {
    await this.database.run(
      sql => sql`
        insert into ledger_readings (account_id, wallet, read_until)
        select ${this.account.accountId}, wallet, now() from unnest(array['SPOT', 'FUTURES']) wallet
        on conflict (account_id, wallet) do update set read_until = now()`
    )
  }

  /** One run of the job. */
  async reconcile(overrides: Partial<JobContext> = {}) {
    const { context } = testContext(this.database, { jobId: 'reconcile_books', ...overrides })
    return reconcileBooks({ accounts: this.accounts })(context)
  }

  /** Reads the wallet `SPOT` and reconciles. */
  async round(spot: Readonly<Record<string, string>>, futures: Readonly<Record<string, string>> = {}) {
    await this.read(spot, futures)
    return this.reconcile()
  }

  /** The recorded differences, the oldest first: numbers without trailing zeros, times as whether they are set. */
  async differences() {
    const rows = await this.database.run(
      sql => sql`
        select concat_ws(' ', wallet, asset, symbol, position_side) as what, trim_scale(ours)::text as ours,
          trim_scale(theirs)::text as theirs, trim_scale(difference)::text as difference, runs,
          unexplained_at is not null as is_reported, explained_by
        from book_differences order by difference_id`
    )
    return [...rows]
  }

  #client(): ExchangeClient {
    const positions = async (options?: CallOptions) => {
      if (this.positions instanceof Error) throw this.positions
      if (this.isUnreadable) options?.onInvalidRow?.({ kind: 'unreadable', reason: 'quantity', row: null, times: 1 })
      return this.positions
    }
    // The job calls nothing else.
    return { positions } as unknown as ExchangeClient
  }
}

/** An open position of `BTCUSDT` in one-way mode. */
export function position(quantity: string, rest: Partial<Position> = {}): Position {
  return {
    symbol: 'BTCUSDT',
    exchangeSymbol: 'BTCUSDT',
    positionSide: 'BOTH',
    quantity,
    entryPrice: null,
    markPrice: null,
    unrealizedPnl: null,
    updatedAt: null,
    ...rest
  }
}
