/**
 * Days of an account at a simulated exchange, which keeps its own books: everything that changes wallets and positions
 * happens there, and the jobs read it over HTTP. The clocks of the exchange, of this process and of the database are one,
 * which advances only here, so that a day takes less than a second.
 */
import { mock } from 'node:test'
import { Big } from 'big.js'
import type { Test } from 'tap'
import { Agent } from 'undici'
import { DAY, MINUTE, SECOND } from '../../src/async/durations.ts'
import type { PriceCache } from '../../src/cache/price-cache.ts'
import type { CachedPrice, PriceSource } from '../../src/cache/price-source.ts'
import type { Database } from '../../src/database/database.ts'
import type { ExchangeName, MarketType } from '../../src/domain/market.ts'
import type { OrderSide } from '../../src/domain/order.ts'
import { CATALOGUE } from '../../src/exchanges/catalogue.ts'
import { ExchangeRegistry } from '../../src/exchanges/exchange-registry.ts'
import { jobTable } from '../../src/jobs/index.ts'
import { Outbox } from '../../src/notifications/outbox.ts'
import type { Job, JobResult } from '../../src/scheduler/job.ts'
import { INTERRUPTIONS, interruptedTransactions, isInterruption } from './interrupted-transactions.ts'
import { frozenDatabase, openDatabase } from './migrated-database.ts'
import { randomNumbers } from './random-numbers.ts'
import { changingRows } from './simulated-exchange/edits.ts'
import { totalOf } from './simulated-exchange/ledger.ts'
import { type NewOrder, type SimulatedAccount, SimulatedExchange } from './simulated-exchange/simulated-exchange.ts'
import { fixedInstruments, insertOrder, type SeededAccount, seedAccount, TestAccounts, testContext } from './trading.ts'
import { withoutWaits } from './without-waits.ts'

const KEYS = { apiKey: 'key', apiSecret: 'secret', passphrase: 'passphrase' }
const BASES = ['BTC', 'ETH'] as const
/** A third asset, in which fees are paid. */
const FEE_ASSET = 'BNB'
/** The jobs that read and compare, in the order of a round. */
const JOBS = ['update_open_orders', 'sync_exchange_ledger', 'sync_account_balances', 'reconcile_books']

/** What changes a wallet besides fills, as far as the ledger of the exchange lists it. */
const EVENTS = {
  BINANCE: ['deposit', 'withdraw', 'fund', 'move', 'dust', 'convert', 'dividend', 'rebate'],
  BYBIT: ['moveIn', 'moveOut', 'fund', 'interest', 'borrow', 'convert', 'dividend', 'rebate'],
  OKX: ['moveIn', 'moveOut', 'fund', 'interest', 'borrow', 'repay', 'convert', 'dividend', 'rebate'],
  UPBIT: ['deposit', 'withdraw'],
  BITHUMB: ['deposit', 'withdraw']
} as const satisfies Record<ExchangeName, readonly string[]>
type WalletEvent = (typeof EVENTS)[ExchangeName][number]

/** The fault of a run: one of its transactions ends, or the exchange answers with a fault. */
const FAULTS = [...INTERRUPTIONS, 'status', 'garbage', 'cut_midway', 'unreadable'] as const

/** A trade; what is not given is random. */
type SimulatedTrade = NewOrder & {
  /** Whether the order-entry side records it. */
  isOwn: boolean
  isWhole?: boolean
  /** Whether lists have its fill and, of manual ones, its order. Default true. */
  isListed?: boolean
  /** The asset of its fee. */
  feeAsset?: string
}

interface FillOptions {
  isWhole?: boolean
  listed?: boolean
  feeAsset?: string | undefined
}

/** A recorded difference that is not explained. */
export interface OpenDifference {
  what: string
  difference: string
  reported: boolean
}

export class BooksSimulation {
  readonly exchange: SimulatedExchange
  readonly database: Database
  readonly account: SeededAccount
  readonly owner: SimulatedAccount
  /** What happened, for the message of a failure. */
  readonly events: string[] = []
  /** The main quote currency. */
  readonly quote: string
  readonly #random: () => number
  readonly #advance: (ms: number) => Promise<void>
  readonly #jobs: readonly Job[]

  private constructor(
    parts: Pick<BooksSimulation, 'exchange' | 'database' | 'account' | 'owner'>,
    random: () => number,
    advance: (ms: number) => Promise<void>,
    jobs: readonly Job[]
  ) {
    this.exchange = parts.exchange
    this.database = parts.database
    this.account = parts.account
    this.owner = parts.owner
    this.quote = quoteOf(parts.exchange.exchange)
    this.#random = random
    this.#advance = advance
    this.#jobs = jobs
  }

  /** Starts an exchange, a database, and an account that holds something. Everything ends at teardown. */
  static async start(t: Test, { exchange: name, seed }: { exchange: ExchangeName; seed: number }) {
    const { url, clock } = await frozenDatabase(t)
    const database = openDatabase(url)
    const [row] = await database.run(sql => sql<{ now: Date }[]>`select now() as now`)
    const began = row?.now.getTime() ?? Date.now()
    let now = began
    mock.timers.enable({ apis: ['Date'], now })
    const pairs = [...BASES, FEE_ASSET].map(base => ({ base, quote: quoteOf(name) }))
    const exchange = await SimulatedExchange.start({ exchange: name, symbols: pairs, seed, now: () => now })
    const agent = new Agent()
    t.teardown(async () => {
      mock.timers.reset()
      await Promise.all([exchange.close(), agent.close(), database.close(0)])
    })
    const owner = exchange.addAccount(KEYS)
    for (const market of CATALOGUE[name].wallets) {
      exchange.setBalance(
        owner,
        market,
        quoteOf(name),
        quoteOf(name) === 'KRW' ? '100000000000.00000001' : '1000000.00000001'
      )
      exchange.setBalance(owner, market, FEE_ASSET, '1000')
    }
    const account = await seedAccount(database, { exchange: name })
    const limits = withoutWaits()
    const registry = new ExchangeRegistry({
      dispatcher: agent,
      urls: exchange.urls,
      ...limits,
      // Limits count by the clock of the simulation, too.
      monotonic: () => now - began + limits.monotonic()
    })
    const accounts = new TestAccounts([account], (_, marketType) =>
      registry.client({ exchange: name, marketType, credentials: KEYS, accountId: account.accountId })
    )
    const jobs = jobTable({
      ...{ database, accounts, outbox: new Outbox() },
      // Only the job that fills the cache uses more of it, and does not run here.
      prices: pricesOf(exchange) as PriceCache,
      instruments: fixedInstruments(pairs.map(({ base, quote }) => `${base}/${quote}`)),
      ...{ operatorChatId: 'operator', language: 'en' as const, timeZone: 'Asia/Seoul' },
      minutePrice: async () => null
    })
    const advance = async (ms: number) => {
      now += ms
      await clock.advance(ms / 1_000)
      mock.timers.setTime(now)
    }
    return new BooksSimulation({ exchange, database, account, owner }, randomNumbers(seed), advance, jobs)
  }

  /** Advances all clocks. */
  async pass(ms: number): Promise<void> {
    await this.#advance(ms)
  }

  /** Runs a job, with a fault. @returns null when the fault ended it */
  async run(jobId: string, fault?: (typeof FAULTS)[number]): Promise<JobResult | null> {
    const job = this.#jobs.find(({ id }) => id === jobId)
    if (job === undefined) throw new Error(`there is no job ${jobId}`)
    const interruption = INTERRUPTIONS.find(kind => kind === fault)
    if (fault !== undefined) this.events.push(`${jobId} ${fault}`)
    if (fault === 'status') this.exchange.fault({ kind: 'status', status: 500 }, { times: this.#upTo(4) })
    if (fault === 'unreadable') this.#makeUnreadable()
    if (fault === 'garbage' || fault === 'cut_midway') this.exchange.fault({ kind: fault }, { times: this.#upTo(4) })
    const overrides = interruption
      ? interruptedTransactions(this.database, interruption, this.#upTo(6), this.#upTo(3))
      : {}
    try {
      return await job.run(testContext(this.database, { jobId, ...overrides }).context)
    } catch (err) {
      if (interruption === undefined || !isInterruption(err)) throw err
      return null
    } finally {
      this.exchange.clearFaults()
    }
  }

  /** Makes the last fill, or the balance of an asset, unreadable in some answers. */
  #makeUnreadable(): void {
    const market = this.#pick(this.exchange.markets)
    const { asset, amount, fill, fillQuantity } = this.exchange.fields(market)
    const last = this.owner.orders.flatMap(({ fills }) => fills).at(-1)
    const edit =
      last !== undefined && this.#random() < 0.5
        ? changingRows({ [fill]: last.tradeId }, { [fillQuantity]: 'x' })
        : changingRows({ [asset]: FEE_ASSET }, { [amount]: 'x' })
    this.exchange.fault({ kind: 'edited', edit }, { times: this.#upTo(6) })
  }

  /** Runs each job once. @returns the results by job */
  async round(isFaulty = false): Promise<Record<string, JobResult | null>> {
    const results: Record<string, JobResult | null> = {}
    for (const jobId of JOBS) {
      await this.pass(this.#upTo(4) * MINUTE)
      results[jobId] = await this.run(jobId, isFaulty && this.#random() < 0.4 ? this.#pick(FAULTS) : undefined)
    }
    return results
  }

  /** A day: events at random times, and rounds of which some meet faults; on some days the service does not run. */
  async day(): Promise<void> {
    const isDown = this.#random() < 0.15
    const steps = this.#upTo(8)
    for (let step = 0; step < steps; step++) {
      await this.pass(this.#upTo(90) * MINUTE + this.#upTo(59) * SECOND)
      await this.#happens()
      if (!isDown && this.#random() < 0.5) await this.round(true)
    }
    if (isDown && this.#random() < 0.3) {
      this.events.push('a week without the service')
      await this.pass(7 * DAY)
    }
  }

  /** Runs rounds until the account was compared as a whole and has no difference. @returns the number of rounds */
  async settle(most = 6): Promise<number> {
    for (let rounds = 1; ; rounds++) {
      await this.pass(10 * MINUTE)
      const { reconcile_books: result } = await this.round()
      if ((result?.compared === 1 && result.differences === 0) || rounds === most) return rounds
    }
  }

  /** Runs each job so often that a difference that exists is reported. @returns the differences after each run */
  async roundsUntilReported(): Promise<OpenDifference[][]> {
    const found: OpenDifference[][] = []
    for (let run = 1; run <= 3; run++) {
      await this.pass(10 * MINUTE)
      await this.round()
      found.push(await this.differences())
    }
    return found
  }

  /** Changes what the exchange says that the account holds, without any reason. */
  manipulate(asset: string, amount: string): void {
    const { free = '0', locked = '0' } = this.owner.balances.SPOT.get(asset) ?? {}
    this.exchange.setBalance(this.owner, 'SPOT', asset, new Big(free).plus(amount).toFixed(), locked)
  }

  /** Something of the kinds that the exchange has. */
  async #happens(): Promise<void> {
    const isTrade = this.#random() < 0.6
    if (isTrade) await this.trade({ isOwn: this.#random() < 0.6 })
    else this.walletEvent(this.#pick(EVENTS[this.exchange.exchange]))
    for (const order of this.owner.orders.filter(({ status }) => status === 'open' || status === 'partially_filled')) {
      if (this.#random() < 0.3) this.#fill(order)
      else if (this.#random() < 0.1) this.exchange.cancel(order)
    }
    for (const entry of this.owner.entries.filter(({ state }) => state === 'pending')) {
      if (this.#random() < 0.4) this.exchange.ledger.complete(this.owner, entry)
    }
  }

  /** Places an order, and fills it or a part of it. An own one is recorded by the order-entry side, too. */
  async trade({ isOwn, isWhole, isListed = true, feeAsset, ...order }: SimulatedTrade): Promise<void> {
    const market = order.market ?? this.#pick(this.exchange.markets)
    const symbol = order.symbol ?? `${this.#pick(BASES)}${this.quote}`
    const held = this.#held(market, symbol)
    const side: OrderSide = order.side ?? (market === 'SPOT' && held.lte('0.5') ? 'BUY' : this.#pick(['BUY', 'SELL']))
    const most = market === 'SPOT' && side === 'SELL' ? held : new Big(3)
    const quantity = order.quantity ?? most.times(this.#random().toFixed(3)).plus('0.001').round(4, 0).toFixed()
    const isForced = market === 'FUTURES' && !isOwn && this.#random() < 0.3
    const placed = this.exchange.place(this.owner, {
      ...{ market, symbol, side, quantity, price: this.#price(market, symbol) },
      ...(isForced && { forced: this.#pick(['liquidation', 'adl'] as const) }),
      ...order
    })
    if (!isListed) this.exchange.forget(placed)
    this.events.push(`${isOwn ? 'own' : (placed.forced ?? 'manual')} ${market} ${symbol} ${side} ${quantity}`)
    if (isOwn) {
      const { exchangeOrderId, exchangeSymbol, type, price, createdAt } = placed
      await insertOrder(this.database, this.account, {
        ...{ exchangeOrderId, symbol, exchangeSymbol, side, quantity, market, type, price, createdAt }
      })
    }
    if (isWhole || !isOwn || this.#random() < 0.7)
      this.#fill(placed, { isWhole: isWhole ?? !isOwn, listed: isListed, feeAsset })
  }

  #fill(
    order: SimulatedAccount['orders'][number],
    { isWhole = this.#random() < 0.6, listed = true, feeAsset: paidIn }: FillOptions = {}
  ): void {
    const left = new Big(order.quantity).minus(order.filledQuantity)
    const quantity = isWhole ? left : left.times('0.5').round(5, 0)
    if (quantity.lte(0)) return
    const price = this.#price(order.market, order.symbol)
    const cost = new Big(price).times(quantity)
    // Upbit and Bithumb have fees in the quote currency alone.
    const isToken = this.quote === 'KRW'
    const isQuote = isToken || order.market === 'FUTURES' || this.#random() < 0.6
    const feeAsset = paidIn ?? (isQuote ? this.quote : this.#feeAsset(order))
    const fee = feeAsset === this.quote ? cost.times('0.0005').round(8, 0) : quantity.times('0.001').round(8, 0)
    this.exchange.fill(order, { quantity: quantity.toFixed(), price, fee: fee.toFixed(), feeAsset, listed })
  }

  #feeAsset({ symbol, side }: { symbol: string; side: OrderSide }): string {
    return side === 'BUY' && this.#random() < 0.5 ? symbol.slice(0, -this.quote.length) : FEE_ASSET
  }

  /** Changes the wallets as a ledger event does. */
  walletEvent(event: WalletEvent): void {
    const { ledger } = this.exchange
    const [quote, owner] = [this.quote, this.owner]
    const amount = this.#amount(500)
    const [symbol = ''] = this.owner.positions
      .filter(({ quantity }) => !new Big(quantity).eq(0))
      .map(p => p.exchangeSymbol)
    this.events.push(`${event} ${amount}`)
    const state = this.#random() < 0.3 ? 'pending' : 'done'
    const [from, to]: [MarketType, MarketType] = this.#random() < 0.5 ? ['SPOT', 'FUTURES'] : ['FUTURES', 'SPOT']
    const happens: Record<WalletEvent, () => unknown> = {
      deposit: () => ledger.deposit(owner, this.#pick([quote, 'BTC']), amount, { state }),
      withdraw: () => ledger.withdraw(owner, quote, amount, { fee: '1', state }),
      fund: () => symbol !== '' && ledger.fund(owner, symbol, quote, this.#signed(amount)),
      move: () => ledger.transfer(owner, quote, amount, from, to),
      moveIn: () => ledger.transfer(owner, quote, amount, 'FUNDING', 'SPOT'),
      moveOut: () => ledger.transfer(owner, quote, amount, 'SPOT', 'FUNDING'),
      dust: () =>
        ledger.convert(
          owner,
          { asset: quote, amount: '0.00012345' },
          { asset: FEE_ASSET, amount: '0.00000077' },
          { word: 'dust' }
        ),
      convert: () => ledger.convert(owner, { asset: quote, amount }, { asset: FEE_ASSET, amount: this.#amount(2) }),
      dividend: () => ledger.add(owner, { kind: 'dividend', asset: FEE_ASSET, amount: this.#amount(1) }),
      rebate: () =>
        ledger.add(owner, { kind: 'rebate', asset: quote, amount: this.#amount(1), market: this.#futuresOrSpot() }),
      borrow: () => this.#borrow(amount),
      repay: () => ledger.add(owner, { kind: 'repay', asset: quote, amount: `-${amount}` }),
      interest: () => ledger.add(owner, { kind: 'interest', asset: quote, amount: `-${this.#amount(1)}` })
    }
    happens[event]()
  }

  /** OKX lists what was borrowed. Bybit does not: a balance is without the debt. */
  #borrow(amount: string): void {
    const { quote, owner } = this
    if (this.exchange.exchange === 'OKX') this.exchange.ledger.add(owner, { kind: 'borrow', asset: quote, amount })
    else {
      this.manipulate(quote, amount)
      owner.borrowed.set(quote, new Big(owner.borrowed.get(quote) ?? 0).plus(amount).toFixed())
    }
  }

  /** Income is a list of the futures market on Binance. */
  #futuresOrSpot(): MarketType {
    return this.exchange.exchange === 'BINANCE' ? 'FUTURES' : 'SPOT'
  }

  /**
   * Where our books differ from those of the exchange: wallets by opening, entries and executions, computed here from the
   * rows; positions by the sum of all holders. Empty when all are equal to the last digit.
   */
  async mismatches(): Promise<string[]> {
    const ours = await this.#ourBooks()
    const theirs = this.#theirBooks()
    return [...new Set([...ours.keys(), ...theirs.keys()])].sort().flatMap(key => {
      const [our, their] = [ours.get(key) ?? new Big(0), theirs.get(key) ?? new Big(0)]
      return our.eq(their) ? [] : [`${key}: ours ${our.toFixed()}, theirs ${their.toFixed()}`]
    })
  }

  #theirBooks(): Map<string, Big> {
    const books = new Map<string, Big>()
    const { wallets } = CATALOGUE[this.exchange.exchange]
    for (const market of ['SPOT', 'FUTURES'] as const) {
      const wallet = wallets.includes(market) ? market : 'SPOT'
      for (const asset of this.owner.balances[market].keys())
        add(books, `${wallet} ${asset}`, totalOf(this.owner, market, asset))
    }
    for (const [asset, debt] of this.owner.borrowed) add(books, `SPOT ${asset}`, `-${debt}`)
    for (const { symbol, quantity } of this.owner.positions) add(books, `position ${symbol}`, quantity)
    return books
  }

  async #ourBooks(): Promise<Map<string, Big>> {
    const { accountId } = this.account
    const books = new Map<string, Big>()
    const openedAt = new Map<string, number>()
    const [entries, executions, positions] = await this.database.run(sql =>
      Promise.all([
        sql<{ wallet: string; asset: string; amount: string; kind: string; at: Date }[]>`
          select wallet, asset, amount, kind, at from ledger_entries where account_id = ${accountId}
          order by kind = 'opening' desc`,
        sql<ExecutionRow[]>`
          select market_type, base, quote, side, price, quantity, fee, coalesce(fee_asset, quote) as fee_asset,
            coalesce(exchange_realized_pnl, realized_pnl, 0) as pnl, executed_at
          from trade_executions where account_id = ${accountId}`,
        sql<{ symbol: string; quantity: string }[]>`
          select symbol, quantity from strategy_positions where holder_account_id = ${accountId} and market_type = 'FUTURES'`
      ])
    )
    for (const { wallet, asset, amount, kind, at } of entries) {
      if (kind === 'opening') openedAt.set(wallet, at.getTime())
      else if (at.getTime() <= (openedAt.get(wallet) ?? 0)) continue
      add(books, `${wallet} ${asset}`, amount)
    }
    const { wallets } = CATALOGUE[this.exchange.exchange]
    for (const {
      market_type: market,
      base,
      quote,
      side,
      price,
      quantity,
      fee,
      fee_asset,
      pnl,
      executed_at
    } of executions) {
      const wallet = wallets.includes(market) ? market : 'SPOT'
      if (executed_at.getTime() <= (openedAt.get(wallet) ?? 0)) continue
      const sign = side === 'BUY' ? 1 : -1
      if (market === 'SPOT') {
        add(books, `${wallet} ${base}`, new Big(quantity).times(sign).toFixed())
        add(books, `${wallet} ${quote}`, new Big(price).times(quantity).times(-sign).toFixed())
      } else add(books, `${wallet} ${quote}`, pnl)
      add(books, `${wallet} ${fee_asset}`, new Big(fee).neg().toFixed())
    }
    for (const { symbol, quantity } of positions) add(books, `position ${symbol}`, quantity)
    return books
  }

  /** The differences that are recorded and not explained. */
  async differences(): Promise<OpenDifference[]> {
    const rows = await this.database.run(
      sql => sql<OpenDifference[]>`
        select concat_ws(' ', wallet, asset, symbol) as what, trim_scale(difference)::text as difference,
          unexplained_at is not null as reported
        from book_differences where account_id = ${this.account.accountId} and explained_at is null order by 1`
    )
    return [...rows]
  }

  #held(market: MarketType, symbol: string): Big {
    return new Big(totalOf(this.owner, market, symbol.slice(0, -this.quote.length)))
  }

  /** The price of the symbol, moved by up to two per cent. */
  #price(market: MarketType, symbol: string): string {
    return new Big(this.exchange.price(market, symbol))
      .times((0.98 + this.#random() * 0.04).toFixed(4))
      .round(4)
      .toFixed()
  }

  #amount(most: number): string {
    return new Big((this.#random() * most).toFixed(8)).plus('0.00000001').toFixed()
  }

  #signed(amount: string): string {
    return this.#random() < 0.5 ? amount : `-${amount}`
  }

  #upTo(most: number): number {
    return 1 + Math.floor(this.#random() * most)
  }

  #pick<T>(items: readonly T[]): T {
    const item = items[Math.floor(this.#random() * items.length)]
    if (item === undefined) throw new Error('nothing to pick from')
    return item
  }
}

interface ExecutionRow {
  market_type: MarketType
  base: string
  quote: string
  side: OrderSide
  price: string
  quantity: string
  fee: string
  fee_asset: string
  pnl: string
  executed_at: Date
}

function add(books: Map<string, Big>, key: string, amount: string): void {
  books.set(key, (books.get(key) ?? new Big(0)).plus(amount))
}

function quoteOf(exchange: ExchangeName): string {
  return CATALOGUE[exchange].quoteCurrencies[0] ?? 'USDT'
}

/** The prices of a simulated exchange, always current. */
function pricesOf(exchange: SimulatedExchange): PriceSource {
  const peek = (market: MarketType, symbol: string): CachedPrice | undefined => {
    if (!exchange.symbols.includes(symbol)) return undefined
    const at = new Date()
    return { price: exchange.price(market, symbol), at, readAt: at }
  }
  const foundOf = (market: MarketType, symbols: Iterable<string>) =>
    new Map(
      [...symbols].flatMap(symbol => {
        const price = peek(market, symbol)
        return price === undefined ? [] : [[symbol, price] as const]
      })
    )
  return {
    peek: (_exchange, market, symbol) => peek(market, symbol),
    current: async (_exchange, market, symbols) => foundOf(market, symbols),
    currentMarks: async (_exchange, symbols) => foundOf('FUTURES', symbols)
  }
}
