// @FEAT:trading @COMP:job @TYPE:core
import type { Account, TradingAccounts } from '../accounts/account.ts'
import { failureCode, hasFailures, recordFailures } from '../accounts/account-failures.ts'
import { eachAtMost, isolatingErrors, oneAtATime, portionsOf } from '../async/bounded.ts'
import { MINUTE, SECOND } from '../async/durations.ts'
import type { PriceSource } from '../cache/price-source.ts'
import type { TransactionSql } from '../database/client.ts'
import type { Database } from '../database/database.ts'
import { DatabaseUnavailableError } from '../database/failure.ts'
import type { ExchangeErrorCode } from '../domain/exchange-error-code.ts'
import type { InstrumentSource } from '../domain/instrument.ts'
import { MARKET_TYPES, type Market, type MarketType } from '../domain/market.ts'
import type { UnifiedOrder } from '../domain/order.ts'
import { CATALOGUE, spelledPair } from '../exchanges/catalogue.ts'
import type { CallOptions, ExchangeClient, InvalidRow } from '../exchanges/exchange-client.ts'
import { ExchangeError } from '../exchanges/exchange-error.ts'
import { type JobContext, type JobResult, LeaseLostError } from '../scheduler/job.ts'
import { groupedBy } from '../trading/grouped.ts'
import { listsOf } from '../trading/order-reading.ts'
import { differs, isEnded, type KnownOrder, needsFills, type OrderAnswer } from '../trading/order-reconciliation.ts'
import { endedFillsRef, fillsRef, orderRef } from '../trading/order-refs.ts'
import { type AnsweredOrder, OrderStore, type PriceOf, type Written } from '../trading/order-store.ts'
import {
  completeRows,
  hasIncompleteRows,
  incompleteMarkets,
  type PriceOn,
  rebookExecutions
} from '../trading/pair-completion.ts'
import { recordPortions } from '../trading/record-portions.ts'
import { hasSuperseded, withdrawSuperseded } from '../trading/superseded-orders.ts'

/** Accounts of one exchange, and orders of one account, that are read at the same time. */
const CONCURRENT_ACCOUNTS = 16
const CONCURRENT_ORDERS = 4
/** Accounts whose orders one query reads; bounds memory. */
const ACCOUNTS_PER_READ = 250
const CHECKED_PER_TRANSACTION = 2_000
/**
 * Calls wait for room in the rate limits until so long after the begin of the run, all to the same end: with a limit of its
 * own for each call, accounts that waited in vain would be overtaken by those behind them. The next run begins after 29 s.
 */
const WAIT_MS = 25 * SECOND
/** Errors of one order that a further attempt in the same run would meet again. */
const FILLS_ARE_GONE: ReadonlySet<ExchangeErrorCode> = new Set(['order_not_found', 'bad_symbol', 'invalid_answer'])
/** Transactions of a run that complete rows of earlier versions. */
const COMPLETIONS_PER_RUN = 10
/** Pause until rows of earlier versions are looked for again. Where many cannot be completed, that takes half a second. */
const COMPLETION_PAUSE_MS = 10 * MINUTE

export interface UpdateOpenOrdersServices {
  accounts: TradingAccounts
  prices: PriceSource
  instruments: InstrumentSource
  database: Database
  /** Executions and corrections of one order that one transaction records. Default 2,000. */
  fillsPerTransaction?: number
}

/**
 * Updates orders, executions and positions from the exchanges. For each account and market with unfinished orders, the
 * open orders are listed, unless it takes less of the rate limit to read the orders by their ids. An order that is not
 * listed is read by its id; the fills of an order that filled further are read, too, and once in a while those of ended
 * orders that have a difference instead. Differences are recorded in transactions per account and market; for other orders only the time of the check
 * is. Orders that cannot be read stay as they are for the next run. A row of the list that cannot be read does not affect
 * the others: its order, if it is one of these, is read by its id.
 *
 * Exchanges are processed concurrently, and on each the accounts that were not checked for the longest time come first: a
 * slow exchange, or one whose rate limits are too small for a run, delays neither other exchanges nor any account for ever.
 */
export function updateOpenOrders(services: UpdateOpenOrdersServices): (context: JobContext) => Promise<JobResult> {
  const store = new OrderStore(services.database, services.fillsPerTransaction)
  let completesFrom = Number.NEGATIVE_INFINITY
  return async context => {
    const active = new Map((await services.accounts.active()).map(account => [account.accountId, account]))
    const work = await store.accountsToCheck([...active.keys()])
    const leftOut = await store.accountsToCheck(await services.accounts.leftOut())
    const run = new OrdersRun(services, store, context, work.length)
    const accounts = work.flatMap(accountId => active.get(accountId) ?? [])
    const exchanges = [...groupedBy(accounts, ({ exchange }) => exchange).values()]
    await eachAtMost(exchanges.length, exchanges, group => run.exchange(group))
    if (run.failures.size > 0 || (await services.database.run(sql => hasFailures(sql, context.jobId)))) {
      await context.transaction(tx => recordFailures(tx, context.jobId, run.failures))
    }
    if (await services.database.run(hasSuperseded)) await context.transaction(withdrawSuperseded)
    if (performance.now() >= completesFrom) {
      // Also after an error: it must not fail every run.
      completesFrom = performance.now() + COMPLETION_PAUSE_MS
      if (!(await run.completePairs())) completesFrom = Number.NEGATIVE_INFINITY
    }
    return { accounts: work.length, ...run.counts, accounts_left_out: leftOut.length }
  }
}

/** Counts of a run, as its result shows them. */
interface Counts extends Written {
  /** Orders that the exchange answered. */
  checked: number
  /** Orders whose base and quote are not known: nothing of them is booked. */
  unknownSymbols: number
  /** Orders and executions of earlier versions that got their base and quote. */
  completed: number
  /** Orders that could not be checked or recorded: they stay as they are. */
  failed: number
  /** Accounts whose credentials the exchange refused. */
  accountsRefused: number
  /** Calls to exchanges. */
  calls: number
}

/** Counts orders as failed, and logs why. */
type Leave = (orders: readonly KnownOrder[], err: unknown) => void

class OrdersRun {
  readonly #services: UpdateOpenOrdersServices
  readonly #store: OrderStore
  readonly #context: JobContext
  readonly #total: number
  /** The row of the run serialises its transactions anyway. Waiting here occupies no connection of the pool. */
  readonly #inTurn = oneAtATime()
  readonly #waitUntil = performance.now() + WAIT_MS
  #done = 0
  /** Why accounts failed, by their ids: a market of theirs, or all of their orders, could not be read. */
  readonly failures = new Map<string, string>()
  #counts: Counts = {
    checked: 0,
    unknownSymbols: 0,
    completed: 0,
    changed: 0,
    failed: 0,
    skipped: 0,
    fills: 0,
    unknown: 0,
    waiting: 0,
    flagged: 0,
    feesUnknown: 0,
    oversold: 0,
    accountsRefused: 0,
    calls: 0
  }

  constructor(services: UpdateOpenOrdersServices, store: OrderStore, context: JobContext, total: number) {
    this.#services = services
    this.#store = store
    this.#context = context
    this.#total = total
  }

  get counts(): JobResult {
    const { feesUnknown, unknownSymbols, accountsRefused, ...counts } = this.#counts
    return {
      ...counts,
      fees_unknown: feesUnknown,
      unknown_symbols: unknownSymbols,
      accounts_refused: accountsRefused
    }
  }

  /** Checks accounts of one exchange. */
  async exchange(accounts: readonly Account[]): Promise<void> {
    for (const portion of portionsOf(accounts, ACCOUNTS_PER_READ)) {
      const orders = await this.#store.ordersToCheck(portion.map(({ accountId }) => accountId))
      const byAccount = groupedBy(orders, ({ accountId }) => accountId)
      const unchanged: string[] = []
      await eachAtMost(CONCURRENT_ACCOUNTS, portion, async account => {
        this.#context.signal.throwIfAborted()
        unchanged.push(...(await this.#account(account, byAccount.get(account.accountId) ?? [])))
        this.#context.progress(++this.#done, this.#total)
      })
      for (const ids of portionsOf(unchanged, CHECKED_PER_TRANSACTION)) {
        await this.#transaction(tx => this.#store.checked(tx, ids))
      }
    }
  }

  /** Completes rows of earlier versions, a bounded number of them. @returns whether none is left */
  async completePairs(): Promise<boolean> {
    const { database, instruments } = this.#services
    const { signal } = this.#context
    await Promise.all((await incompleteMarkets(database)).map(market => instruments.ofMarket(market, signal)))
    const priceOn: PriceOn = (exchange, asset, quote) => this.#priceOf({ exchange })(asset, quote)
    for (let i = 0; i < COMPLETIONS_PER_RUN; i++) {
      signal.throwIfAborted()
      if (!(await hasIncompleteRows(database))) return true
      const completed = await this.#transaction(completeRows)
      const rebooked = await this.#transaction(tx => rebookExecutions(tx, priceOn))
      this.#counts.completed += completed + rebooked
    }
    return false
  }

  /** Checks an account. @returns the ids of unchanged orders */
  async #account(account: Account, orders: readonly KnownOrder[]): Promise<string[]> {
    const unchanged: string[] = []
    const left = new Set<KnownOrder>()
    const leave: Leave = (some, err) => {
      for (const order of some) left.add(order)
      if (left.size === orders.length) this.failures.set(account.accountId, failureCode(err))
      this.#logFailure(account, some.length, err)
    }
    let refused = 0
    for (const marketType of MARKET_TYPES) {
      const own = orders.filter(order => order.marketType === marketType)
      if (own.length === 0) continue
      try {
        unchanged.push(...(await this.#market(account, marketType, own, leave)))
      } catch (err) {
        if (!this.#isOfOrders(err)) throw err
        leave(own, err)
        this.failures.set(account.accountId, failureCode(err))
        if (isRefusal(err)) refused++
      }
    }
    if (refused > 0) await this.#refused(account, refused)
    this.#counts.failed += left.size
    return unchanged
  }

  /**
   * Binance refuses keys for one market with the same code as keys that are wrong: only a refusal by every wallet is one of
   * the account. `sync_account_balances` reads every wallet.
   */
  async #refused(account: Account, wallets: number): Promise<void> {
    this.#counts.accountsRefused++
    if (wallets < CATALOGUE[account.exchange].wallets.length) return
    await this.#transaction(tx => this.#services.accounts.recordRefusal(tx, account))
  }

  async #market(
    account: Account,
    marketType: MarketType,
    orders: readonly KnownOrder[],
    leave: Leave
  ): Promise<string[]> {
    const { accounts } = this.#services
    const client = await accounts.client(account, marketType)
    const seen = await this.#answersOf(client, await this.#withPairs(account, marketType, orders), leave)
    if (account.state === 'credentials_refused') await this.#transaction(tx => accounts.recordAcceptance(tx, account))
    this.#counts.checked += seen.length
    this.#counts.unknownSymbols += seen.filter(({ order }) => order.pair === null).length
    const different = seen.filter(({ order, answer }) => differs(order, answer))
    const record = async (some: readonly AnsweredOrder[]) => {
      for (let left = some; left.length > 0; ) {
        this.#context.signal.throwIfAborted()
        const orders = left
        const recorded = await this.#transaction(tx => this.#store.record(tx, orders, this.#priceOf(account)))
        this.#add(recorded.written)
        left = recorded.unfinished
      }
    }
    for (const portion of recordPortions(different)) {
      await isolatingErrors(portion, record, this.#isOfOrders, ({ order }, err) => leave([order], err))
    }
    const changed = new Set(different)
    return seen.filter(one => !changed.has(one)).map(({ order }) => order.orderId)
  }

  /** The orders with their pair by the exchange: by its spelling, else by its instruments, else as it is recorded. */
  async #withPairs(
    { exchange }: Account,
    marketType: MarketType,
    orders: readonly KnownOrder[]
  ): Promise<KnownOrder[]> {
    const market: Market = { exchange, marketType }
    const named = orders.map(order => ({ order, spelled: spelledPair(market, order.exchangeSymbol) }))
    const unspelled = named.filter(({ spelled }) => spelled === null).map(({ order }) => order)
    const wanted = unspelled.filter(({ pair }) => pair === null).map(({ exchangeSymbol }) => exchangeSymbol)
    const { instruments } = this.#services
    const listed = unspelled.length === 0 ? new Map() : await instruments.ofMarket(market, this.#context.signal, wanted)
    return named.map(({ order, spelled }) => ({
      ...order,
      pair: spelled ?? listed.get(order.exchangeSymbol) ?? order.pair
    }))
  }

  /** The answers of the exchange about the orders, without those that could not be read. */
  async #answersOf(client: ExchangeClient, orders: readonly KnownOrder[], leave: Leave): Promise<AnsweredOrder[]> {
    const unfinished = orders.filter(order => !isEnded(order))
    const states = unfinished.length === 0 ? [] : await this.#statesOf(client, unfinished, leave)
    return [...states, ...(await this.#fillsOfEnded(client, orders.filter(isEnded), leave))]
  }

  async #statesOf(client: ExchangeClient, orders: readonly KnownOrder[], leave: Leave): Promise<AnsweredOrder[]> {
    const seen: AnsweredOrder[] = []
    const invalid: unknown[] = []
    const onInvalidRow = ({ row }: InvalidRow) => invalid.push(row)
    const lists = listsOf(client.orderCosts, orders)
    const open: UnifiedOrder[] = []
    await eachAtMost(CONCURRENT_ORDERS, lists, async list => {
      this.#counts.calls++
      open.push(...(await client.openOrders({ ...list, ...this.#callOptions, onInvalidRow })))
    })
    const at = Date.now()
    const listed = new Map(open.map(order => [`${order.exchangeSymbol} ${order.exchangeOrderId}`, order]))
    await eachAtMost(CONCURRENT_ORDERS, orders, async order => {
      try {
        const found = listed.get(`${order.exchangeSymbol} ${order.exchangeOrderId}`)
        if (found === undefined) this.#counts.calls++
        const current = found ?? (await client.order(orderRef(order), this.#callOptions))
        const asked = needsFills(order, current)
        if (asked) this.#counts.calls++
        const fills = asked ? await client.fills(fillsRef(order, current), this.#callOptions) : null
        seen.push({ order, answer: { kind: 'found', order: current, fills, at } })
      } catch (err) {
        const answer = missingBy(err)
        // The list contains something that may be this order: it must not be treated as missing.
        if (answer !== null && invalid.some(row => mayBe(order, row))) leave([order], err)
        else if (answer !== null) seen.push({ order, answer })
        else if (!isRefusal(err) && this.#isOfOrders(err)) leave([order], err)
        else throw err
      }
    })
    return seen
  }

  /** The fills of ended orders. An order whose fills cannot be read counts as without them: it must not fail each run. */
  async #fillsOfEnded(client: ExchangeClient, orders: readonly KnownOrder[], leave: Leave): Promise<AnsweredOrder[]> {
    const seen: AnsweredOrder[] = []
    await eachAtMost(CONCURRENT_ORDERS, orders, async order => {
      this.#counts.calls++
      try {
        seen.push({
          order,
          answer: { kind: 'fills', fills: await client.fills(endedFillsRef(order), this.#callOptions), at: Date.now() }
        })
      } catch (err) {
        if (isRefusal(err) || !this.#isOfOrders(err)) throw err
        if (err instanceof ExchangeError && FILLS_ARE_GONE.has(err.code))
          seen.push({ order, answer: { kind: 'missing', code: err.code } })
        else leave([order], err)
      }
    })
    return seen
  }

  /** Whether an error concerns only the orders that were read or recorded: all but the end of the run and of the database. */
  readonly #isOfOrders = (err: unknown): boolean =>
    !(this.#context.signal.aborted || err instanceof LeaseLostError || err instanceof DatabaseUnavailableError)

  get #callOptions(): CallOptions {
    return { signal: this.#context.signal, maxWaitMs: Math.max(0, this.#waitUntil - performance.now()) }
  }

  #logFailure({ accountId, exchange }: Account, orders: number, err: unknown): void {
    const code = err instanceof ExchangeError ? err.code : undefined
    const line = { account_id: accountId, exchange, orders, code, err }
    // An exchange that is down fails for every account: the health check of the exchange reports that once.
    if (code === undefined) this.#context.log.warn(line, 'orders not updated')
    else this.#context.log.debug(line, 'orders not updated')
  }

  #priceOf({ exchange }: Pick<Account, 'exchange'>): PriceOf {
    const { prices } = this.#services
    return (asset, quote) => {
      const symbol = `${asset}${quote}`
      return (prices.peek(exchange, 'SPOT', symbol) ?? prices.peek(exchange, 'FUTURES', symbol))?.price ?? null
    }
  }

  #transaction<T>(work: (tx: TransactionSql) => Promise<T>): Promise<T> {
    return this.#inTurn(() => this.#context.transaction(work))
  }

  #add(written: Written): void {
    const counts = this.#counts
    counts.changed += written.changed
    counts.skipped += written.skipped
    counts.fills += written.fills
    counts.unknown += written.unknown
    counts.waiting += written.waiting
    counts.flagged += written.flagged
    counts.feesUnknown += written.feesUnknown
    counts.oversold += written.oversold
  }
}

function missingBy(err: unknown): OrderAnswer | null {
  if (!(err instanceof ExchangeError)) return null
  return err.code === 'order_not_found' || err.code === 'bad_symbol' ? { kind: 'missing', code: err.code } : null
}

/** Whether a row that cannot be read may be the order: it names its id or symbol, or is no object at all. */
function mayBe({ exchangeOrderId, exchangeSymbol }: KnownOrder, row: unknown): boolean {
  if (typeof row !== 'object' || row === null) return true
  return Object.values(row).some(value => value === exchangeOrderId || value === exchangeSymbol)
}

function isRefusal(err: unknown): boolean {
  return err instanceof ExchangeError && err.code === 'authentication'
}
