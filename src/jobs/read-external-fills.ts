// @FEAT:trading @COMP:job @TYPE:core
import type { Account, TradingAccounts } from '../accounts/account.ts'
import { failureCode, hasFailures, recordFailures } from '../accounts/account-failures.ts'
import { eachAtMost, oneAtATime } from '../async/bounded.ts'
import { DAY, MINUTE } from '../async/durations.ts'
import type { PriceSource } from '../cache/price-source.ts'
import type { TransactionSql } from '../database/client.ts'
import type { Database } from '../database/database.ts'
import { DatabaseUnavailableError } from '../database/failure.ts'
import type { Fill } from '../domain/fill.ts'
import type { InstrumentSource } from '../domain/instrument.ts'
import { MARKET_TYPES, type MarketType } from '../domain/market.ts'
import type { Millis } from '../domain/millis.ts'
import type { UnifiedOrder } from '../domain/order.ts'
import type { Pair } from '../domain/pair.ts'
import { CATALOGUE, spelledPair } from '../exchanges/catalogue.ts'
import type { AccountFillsRange, CallOptions, ExchangeClient } from '../exchanges/exchange-client.ts'
import { ExchangeError } from '../exchanges/exchange-error.ts'
import type { Language } from '../messages.ts'
import type { Message } from '../notifications/outbox.ts'
import { type JobContext, type JobResult, LeaseLostError } from '../scheduler/job.ts'
import { externalOrderEvent, externalOrderLine, externalOrderText } from '../trading/external-order-text.ts'
import { type ExternalOrder, insertExternalOrder, lockOrderEntry, orderOfFills } from '../trading/external-orders.ts'
import { isSound } from '../trading/fill-comparison.ts'
import {
  beginOf,
  type FillReading,
  fillReadings,
  type Holdings,
  recordFillsAttempt,
  recordFillsRead,
  recordHoldings
} from '../trading/fill-readings.ts'
import { groupedBy } from '../trading/grouped.ts'
import { rememberOldOrders } from '../trading/old-orders.ts'
import { OrderStore, type PriceOf } from '../trading/order-store.ts'
import { knownOrderIds, type UnknownOrder, unknownOrders } from '../trading/unknown-orders.ts'
import { readHoldings } from './account-holdings.ts'
import { listOldOrders } from './list-old-orders.ts'
import { openAccount } from './open-account.ts'
import { type BookSymbols, SymbolFills } from './symbol-fills.ts'

/** Accounts that are read at the same time. */
const CONCURRENT_ACCOUNTS = 8
/** Calls wait for room in the rate limits until so long after the begin of the run. */
const WAIT_MS = 4 * MINUTE
/** One checkpoint has so much time at most. */
const STEP_MS = 7 * DAY
/** Fills may be listed so late. Each reading begins so long before the end of the last one. */
const OVERLAP_MS = 10 * MINUTE
/** A fill this new may be listed later than a newer one, and its order may be recorded later than it. */
const UNSETTLED_MS = 2 * MINUTE
/** The clock of the exchange may be ahead of ours. */
const CLOCK_MARGIN_MS = MINUTE
/** How long before a range the orders of its fills may have been created. */
const ORDER_LIFE_MS = 40 * DAY

export interface ReadExternalFillsServices {
  accounts: TradingAccounts
  database: Database
  instruments: InstrumentSource
  prices: PriceSource
  /** Stores messages in the transaction; a message with a known key is skipped. */
  outbox: { enqueue(tx: TransactionSql, messages: readonly Message[]): Promise<number> }
  /** The operator's chat; undefined where there is none. */
  operatorChatId?: string | undefined
  language: Language
  /** Our clock. Default `Date.now`. */
  now?: () => Millis
}

/**
 * Reads all fills of every active account, and books those without a recorded order: manual ones, liquidations, and orders
 * that the order-entry side did not record. Each gets a row in `orders` with its origin, its executions and one message, in
 * one transaction. From there on `update_open_orders` follows it. Each market is read from the time until which it was
 * read, minus an overlap, to now; a checkpoint is recorded after everything before it. Idempotent.
 *
 * The first run of an account reads what it holds; later runs record it as its opening, when all fills of before are
 * recorded. A market that the exchange denies to the key, and that was never read, does not belong to the account.
 */
export function readExternalFills(services: ReadExternalFillsServices): (context: JobContext) => Promise<JobResult> {
  const store = new OrderStore(services.database)
  return async context => {
    const active = await services.accounts.active()
    const readings = groupedBy(await context.transaction(fillReadings), ({ accountId }) => accountId)
    const places = new Map([...readings.keys()].map((accountId, index) => [accountId, index]))
    const placeOf = ({ accountId }: Account) => places.get(accountId) ?? -1
    const run = new FillsRun(services, store, context)
    await eachAtMost(
      CONCURRENT_ACCOUNTS,
      active.toSorted((a, b) => placeOf(a) - placeOf(b)),
      async account => {
        context.signal.throwIfAborted()
        await run.account(account, readings.get(account.accountId) ?? [])
      }
    )
    // The ledgers of the same run have failures of their own.
    const failuresId = `${context.jobId}:fills`
    if (run.failures.size > 0 || (await services.database.run(sql => hasFailures(sql, failuresId)))) {
      await context.transaction(tx => recordFailures(tx, failuresId, run.failures))
    }
    return { ...run.counts, symbols_searched: run.symbolsSearched }
  }
}

class FillsRun {
  readonly #services: ReadExternalFillsServices
  readonly #store: OrderStore
  readonly #context: JobContext
  readonly #now: () => Millis
  readonly #waitUntil = performance.now() + WAIT_MS
  /** The row of the run serialises its transactions anyway. Waiting here occupies no connection of the pool. */
  readonly #inTurn = oneAtATime()
  readonly #symbols: SymbolFills
  /** Why accounts failed, by their ids. */
  readonly failures = new Map<string, string>()
  readonly counts = {
    external_orders: 0,
    forced_orders: 0,
    /** Orders that may be recorded by the order-entry side. */
    orders_awaited: 0,
    openings: 0,
    /** Accounts that held a position without any price: what they hold is read again. */
    openings_without_price: 0,
    /** Markets of which a period is not listed any more. */
    fills_missed: 0,
    /** Markets with fills that cannot be read: they are read again from there. */
    fills_unreadable: 0,
    fills_failed: 0
  }

  constructor(services: ReadExternalFillsServices, store: OrderStore, context: JobContext) {
    this.#services = services
    this.#store = store
    this.#context = context
    this.#now = services.now ?? Date.now
    const { instruments } = services
    const { signal } = context
    this.#symbols = new SymbolFills({ instruments, signal, transaction: work => this.#transaction(work) })
  }

  get symbolsSearched(): number {
    return this.#symbols.searched
  }

  async account(account: Account, known: readonly FillReading[]): Promise<void> {
    try {
      const marketTypes = MARKET_TYPES.filter(
        marketType => CATALOGUE[account.exchange].markets[marketType] !== undefined
      )
      const missing = marketTypes.filter(one => known.every(({ marketType }) => marketType !== one))
      const readings = [...known, ...(await this.#begin(account, missing, known.length === 0))]
      const read: FillReading[] = []
      for (const reading of readings) read.push({ ...reading, readUntil: await this.#market(account, reading) })
      await this.#open(account, read)
    } catch (err) {
      this.#context.signal.throwIfAborted()
      if (err instanceof LeaseLostError || err instanceof DatabaseUnavailableError) throw err
      this.counts.fills_failed++
      this.failures.set(account.accountId, failureCode(err))
      const line = { account_id: account.accountId, exchange: account.exchange, err }
      // An exchange that is down fails for every account: the health check of the exchange reports that once.
      if (err instanceof ExchangeError) this.#context.log.debug({ ...line, code: err.code }, 'fills not read')
      else this.#context.log.warn(line, 'fills not read')
      await this.#transaction(tx => recordFillsAttempt(tx, account.accountId))
    }
  }

  /** Reads what the account holds on markets. Those that are denied are left out if another one is open. */
  async #begin(account: Account, marketTypes: readonly MarketType[], isNew: boolean): Promise<FillReading[]> {
    const begun: FillReading[] = []
    let denied: unknown
    for (const marketType of marketTypes) {
      try {
        const opening = await this.#holdings(account, marketType)
        await this.#transaction(tx => recordHoldings(tx, account.accountId, marketType, opening))
        begun.push({ accountId: account.accountId, marketType, readUntil: opening.from, opening, openedAt: null })
      } catch (err) {
        if (!(err instanceof ExchangeError && (err.code === 'authentication' || err.code === 'permission'))) throw err
        denied = err
      }
    }
    if (isNew && begun.length === 0 && denied !== undefined) throw denied
    return begun
  }

  async #holdings(account: Account, marketType: MarketType): Promise<Holdings> {
    const client = await this.#services.accounts.client(account, marketType)
    return await readHoldings(client, () => this.#callOptions)
  }

  /** Reads the fills of a market to now. @returns until when all of them are read */
  async #market(account: Account, reading: FillReading): Promise<Millis> {
    const client = await this.#services.accounts.client(account, reading.marketType)
    if (client.fillsListedBy === 'account') return await this.#toNow(account, client, reading, {})
    if (client.fillsListedBy === 'order') {
      const open = await listOldOrders(client, this.#now(), this.#callOptions)
      const readUntil = reading.readUntil - OVERLAP_MS
      const orders = await this.#transaction(tx => rememberOldOrders(tx, reading, { ...open, readUntil }))
      return await this.#toNow(account, client, reading, { orders })
    }
    const symbols = await this.#symbols.followed(account, reading)
    const readUntil = await this.#toNow(account, client, reading, { symbols: symbols.current })
    const reach = this.#now() - client.fillsReachMs
    const book: BookSymbols = (range, options) =>
      this.#book(account, client, reading, { ...range, from: Math.max(range.from - OVERLAP_MS, reach) }, options)
    const caughtUp = await this.#symbols.catchUp(reading, { symbols, readUntil, reach, book })
    if (caughtUp === readUntil) await this.#symbols.search(account, reading, { readUntil, reach, book })
    return caughtUp
  }

  /** Reads the fills of a market to now, in steps. @returns until when they are read */
  async #toNow(
    account: Account,
    client: ExchangeClient,
    reading: FillReading,
    what: Pick<AccountFillsRange, 'orders'> & { symbols?: readonly string[] }
  ): Promise<Millis> {
    const now = this.#now()
    const reach = now - client.fillsReachMs
    let { readUntil } = reading
    let missed = readUntil < reach ? { from: readUntil, until: reach } : null
    if (missed !== null) {
      this.counts.fills_missed++
      const ids = { account_id: account.accountId, exchange: account.exchange, market_type: reading.marketType }
      this.#context.log.warn({ ...ids, ...missed }, 'fills are not listed any more')
    }
    for (let begin = Math.max(readUntil, reach); ; ) {
      const until = Math.min(begin + STEP_MS, now + CLOCK_MARGIN_MS)
      const range = { from: Math.max(begin - OVERLAP_MS, reach), until, symbols: [], ...what }
      const { isWhole, unsettled } = await this.#book(account, client, reading, range)
      if (!isWhole) return readUntil
      const checkpoint = Math.min(until, now - UNSETTLED_MS, unsettled)
      readUntil = Math.max(readUntil, checkpoint)
      const gap = missed
      await this.#transaction(tx => recordFillsRead(tx, reading, checkpoint, gap))
      missed = null
      if (until >= now || checkpoint < until) return readUntil
      begin = until
    }
  }

  /** Reads and books the fills of a range. `unsettled`: the time of the first fill that must be read again. */
  async #book(
    account: Account,
    client: ExchangeClient,
    reading: FillReading,
    range: AccountFillsRange,
    options: CallOptions = this.#callOptions
  ): Promise<{ isWhole: boolean; unsettled: Millis }> {
    this.#context.signal.throwIfAborted()
    const since = range.from - ORDER_LIFE_MS
    const known =
      client.fillsListedBy === 'order' ? await this.#transaction(tx => knownOrderIds(tx, reading, since)) : undefined
    let isWhole = true
    const onInvalidRow: NonNullable<CallOptions['onInvalidRow']> = ({ kind }) => {
      if (kind === 'unreadable') isWhole = false
    }
    const listed = await client.accountFills({ ...range, ...(known && { known }) }, { ...options, onInvalidRow })
    const fills = listed.filter(fill => isSound(fill, fill, this.#now()))
    isWhole &&= fills.length === listed.length
    const unsettled = await this.#bookUnknown(account, client, fills, reading)
    if (!isWhole) this.counts.fills_unreadable++
    return { isWhole, unsettled }
  }

  /** Books the orders that are not recorded. @returns the time of the first fill that must be read again */
  async #bookUnknown(
    account: Account,
    client: ExchangeClient,
    fills: readonly Fill[],
    reading: FillReading
  ): Promise<Millis> {
    const { marketType } = reading
    const begin = beginOf(reading)
    const own = fills.filter(({ executedAt }) => executedAt >= begin)
    if (own.length === 0) return Number.POSITIVE_INFINITY
    const market = { accountId: account.accountId, marketType }
    const unknown = await this.#transaction(tx => unknownOrders(tx, market, own))
    let unsettled = Number.POSITIVE_INFINITY
    for (const order of unknown) {
      this.#context.signal.throwIfAborted()
      const isBooked = !order.mayBeOwn && (await this.#bookOne(account, client, order, begin))
      if (isBooked) continue
      this.counts.orders_awaited++
      unsettled = Math.min(unsettled, order.fills[0].executedAt)
    }
    return unsettled
  }

  /** @returns false when the order-entry side is inserting orders now */
  async #bookOne(account: Account, client: ExchangeClient, unknown: UnknownOrder, begin: Millis): Promise<boolean> {
    const external = await this.#external(account, client, unknown, begin)
    const { outbox, operatorChatId, language } = this.#services
    const outcome = await this.#transaction(async tx => {
      if (!(await lockOrderEntry(tx, account.accountId))) return 'busy'
      const answered = await insertExternalOrder(tx, external)
      if (answered === null) return 'known'
      // All portions: the job of orders does not continue an order of fills.
      const price = this.#priceOf(account)
      for (let left = [answered]; left.length > 0; ) left = (await this.#store.record(tx, left, price)).unfinished
      const isOfStrategy = answered.order.strategyAccountId !== null
      const text = externalOrderText(external, { account, isOfStrategy, language })
      const key = `external_order:${answered.order.orderId}`
      const event = externalOrderEvent(external, { account, isOfStrategy, at: this.#now() })
      const line = externalOrderLine(external, { account, language })
      await outbox.enqueue(tx, [{ chatId: operatorChatId, text, key, event, line }])
      return 'booked'
    })
    if (outcome === 'booked') this.counts[external.origin === 'forced' ? 'forced_orders' : 'external_orders']++
    return outcome !== 'busy'
  }

  /** @param begin fills of before are a part of the opening: of an order with some, only the later ones are booked */
  async #external(
    account: Account,
    client: ExchangeClient,
    unknown: UnknownOrder,
    begin: Millis
  ): Promise<ExternalOrder> {
    const { exchangeSymbol, exchangeOrderId, fills: seen } = unknown
    const ref = { exchangeSymbol, exchangeOrderId, createdAt: seen[0].executedAt - ORDER_LIFE_MS }
    const found = await this.#orderOf(client, ref)
    const createdAt = Math.min(found?.createdAt ?? ref.createdAt, ref.createdAt)
    const whose = { ...ref, createdAt, ...(found && { filledQuantity: found.filledQuantity }) }
    const listed = found && (await client.fills(whose, this.#callOptions))
    const isSplit = listed?.some(({ executedAt }) => executedAt < begin) === true
    const whole = listed === null || listed.length === 0 || isSplit ? seen : listed
    const order = found === null || isSplit ? orderOfFills(seen) : found
    const isForced = found?.forced === true || seen.some(({ forced }) => forced === true)
    return {
      accountId: account.accountId,
      marketType: client.marketType,
      pair: await this.#pairOf(account, client.marketType, exchangeSymbol),
      origin: isForced ? 'forced' : 'external',
      order,
      fills: whole,
      at: this.#now()
    }
  }

  /** Null for an order that the exchange does not return (any more): then its fills are all that is known of it. */
  async #orderOf(
    client: ExchangeClient,
    ref: { exchangeSymbol: string; exchangeOrderId: string; createdAt: Millis }
  ): Promise<UnifiedOrder | null> {
    try {
      return await client.order(ref, this.#callOptions)
    } catch (err) {
      if (err instanceof ExchangeError && (err.code === 'order_not_found' || err.code === 'invalid_answer')) return null
      throw err
    }
  }

  async #pairOf({ exchange }: Account, marketType: MarketType, exchangeSymbol: string): Promise<Pair | null> {
    const market = { exchange, marketType }
    const spelled = spelledPair(market, exchangeSymbol)
    if (spelled !== null) return spelled
    const listed = await this.#services.instruments.ofMarket(market, this.#context.signal, [exchangeSymbol])
    return listed.get(exchangeSymbol) ?? null
  }

  async #open(account: Account, readings: readonly FillReading[]): Promise<void> {
    const outcome = await openAccount(account, readings, {
      log: this.#context.log,
      transaction: work => this.#transaction(work),
      holdings: (...market) => this.#holdings(...market),
      pairOf: (...symbol) => this.#pairOf(...symbol)
    })
    if (outcome === 'opened') this.counts.openings++
    if (outcome === 'without_price') this.counts.openings_without_price++
  }

  #priceOf({ exchange }: Account): PriceOf {
    const { prices } = this.#services
    return (asset, quote) => {
      const symbol = `${asset}${quote}`
      return (prices.peek(exchange, 'SPOT', symbol) ?? prices.peek(exchange, 'FUTURES', symbol))?.price ?? null
    }
  }

  get #callOptions(): CallOptions {
    return { signal: this.#context.signal, maxWaitMs: Math.max(0, this.#waitUntil - performance.now()) }
  }

  #transaction<T>(work: (tx: TransactionSql) => Promise<T>): Promise<T> {
    return this.#inTurn(() => this.#context.transaction(work))
  }
}
