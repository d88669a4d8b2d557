import { randomInt } from 'node:crypto'
import { Big } from 'big.js'
import type { Sql } from 'postgres'
import { DAY, HOUR } from '../src/async/durations.ts'
import { EXCHANGE_NAMES, type ExchangeName, type MarketType } from '../src/domain/market.ts'
import { CATALOGUE } from '../src/exchanges/catalogue.ts'
import { totalOf } from '../test/support/simulated-exchange/ledger.ts'
import type {
  NewOrder,
  SimulatedAccount,
  SimulatedOrder
} from '../test/support/simulated-exchange/simulated-exchange.ts'
import { SimulatedExchange } from '../test/support/simulated-exchange/simulated-exchange.ts'

const FIRST_PRICES: Readonly<Record<string, number>> = { BTC: 64_000, ETH: 3_400, XRP: 0.52, SOL: 150, DOGE: 0.12 }
const WON_PER_DOLLAR = 1_400
/** The approximate value of one order, in dollars. */
const STAKE = 500
const OPEN_ORDERS = 4
/** The exchange on which money is lost that no list has. */
export const LOSER: ExchangeName = 'BITHUMB'
/** Every so many calls of `trade` an account is liquidated or withdraws money, in turn. */
const TRADES_PER_EVENT = 60
const MOVE_MS = 1_000

/** An invented account: its keys, and what the order-entry side of a trading system knows about it. */
export interface DemoAccount {
  exchange: ExchangeName
  name: string
  /** The input of `account:add`, one value per line. */
  secrets: readonly string[]
  simulated: SimulatedAccount
  market: MarketType
  quote: string
  /** What it had two weeks ago, in the quote currency. */
  capital: string
}

/** The wallet that trades of a market change. */
export function walletOf(exchange: ExchangeName, market: MarketType): MarketType {
  return CATALOGUE[exchange].wallets.includes(market) ? market : 'SPOT'
}

/**
 * Five simulated exchanges with moving prices, a funded account on each, and a trader that places orders continuously.
 */
export class DemoMarket {
  readonly accounts: readonly DemoAccount[]
  readonly #exchanges: readonly SimulatedExchange[]
  readonly #orders: SimulatedOrder[] = []
  #trades = 0

  private constructor(exchanges: readonly SimulatedExchange[]) {
    this.#exchanges = exchanges
    this.accounts = exchanges.map(exchange => this.#open(exchange))
  }

  static async start(): Promise<DemoMarket> {
    const exchanges = await Promise.all(
      EXCHANGE_NAMES.map((exchange, i) => SimulatedExchange.start({ exchange, seed: i + 1, latencyMs: 20 }))
    )
    return new DemoMarket(exchanges)
  }

  /** The settings that make a service use these exchanges. */
  get urls(): Record<string, string> {
    return Object.assign({}, ...this.#exchanges.map(({ urls }) => urls))
  }

  /**
   * What happened at the exchanges in the two weeks: the results of the trades, a position that was liquidated, a
   * withdrawal, and a loss that no list of the exchange has.
   *
   * @param results of the trades, by the names of the accounts
   */
  async past(sql: Sql, results: ReadonlyMap<string, string>): Promise<void> {
    for (const account of this.accounts) {
      const { simulated, market, quote, capital, name } = account
      const total = new Big(capital).plus(results.get(name) ?? '0').toFixed()
      this.#exchangeOf(account).setBalance(simulated, market, quote, total)
    }
    const now = Date.now()
    const order = { side: 'BUY', price: '3500', quantity: '4', createdAt: now - 5 * DAY } as const
    const traded = this.#accountOn('BYBIT')
    const bought = await this.#insert(sql, traded, { ...order, symbol: 'ETHUSDT' })
    this.#exchangeOf(traded).fill(bought, { at: now - 5 * DAY })
    this.#liquidate(traded, '3150', now - 4 * DAY)
    this.#withdraw(this.#accountOn('UPBIT'), '5000000', now - 3 * DAY)
    const loser = this.#accountOn(LOSER)
    const loss = { kind: 'other', asset: loser.quote, amount: '-350000', at: now - HOUR, listed: false } as const
    this.#exchangeOf(loser).ledger.add(loser.simulated, loss)
  }

  /**
   * Opens, fills and cancels orders as a trading system does: at the exchange first, then in the table.
   *
   * @param except the exchange on which nothing happens. Default none
   */
  async trade(sql: Sql, except?: ExchangeName): Promise<void> {
    for (const account of this.accounts.filter(({ exchange }) => exchange !== except)) {
      const own = this.#orders.filter(order => order.account === account.simulated && isOpen(order))
      if (own.length < OPEN_ORDERS) await this.#place(sql, account)
      const order = own[randomInt(Math.max(own.length, 1))]
      if (!order) continue
      const fate = randomInt(10)
      if (fate === 0) this.#exchangeOf(account).cancel(order)
      else if (fate < 6) this.#fill(account, order)
    }
    this.#trades++
    if (this.#trades % TRADES_PER_EVENT !== 0) return
    if ((this.#trades / TRADES_PER_EVENT) % 2 === 0) this.#withdraw(this.#accountOn('UPBIT'), '100000', Date.now())
    else this.#liquidate(this.#accountOn('OKX'))
  }

  async close(): Promise<void> {
    await Promise.all(this.#exchanges.map(exchange => exchange.close()))
  }

  #open(exchange: SimulatedExchange): DemoAccount {
    const { needsPassphrase, markets, quoteCurrencies, name } = CATALOGUE[exchange.exchange]
    const [quote = ''] = quoteCurrencies
    const rate = quote === 'KRW' ? WON_PER_DOLLAR : 1
    for (const market of exchange.markets) {
      for (const [base, price] of Object.entries(FIRST_PRICES)) {
        exchange.setPrice(market, `${base}${quote}`, String(price * rate))
      }
    }
    exchange.keepMoving(MOVE_MS)
    const [apiKey, apiSecret, passphrase] = ['key', 'secret', 'phrase'].map(kind => `demo-${kind}-of-${name}`)
    const simulated = exchange.addAccount({
      apiKey: apiKey ?? '',
      apiSecret: apiSecret ?? '',
      ...(needsPassphrase && passphrase !== undefined && { passphrase })
    })
    const market = markets.FUTURES === undefined ? 'SPOT' : 'FUTURES'
    return {
      exchange: exchange.exchange,
      name: `${name} demo`,
      secrets: [apiKey ?? '', apiSecret ?? '', ...(needsPassphrase ? [passphrase ?? ''] : [])],
      simulated,
      market,
      quote,
      capital: String(25_000 * rate)
    }
  }

  async #place(sql: Sql, account: DemoAccount): Promise<void> {
    const exchange = this.#exchangeOf(account)
    const symbol = exchange.symbols[randomInt(exchange.symbols.length)] ?? ''
    const price = Number(exchange.price(account.market, symbol))
    const stake = STAKE * (account.quote === 'KRW' ? WON_PER_DOLLAR : 1)
    const quantity = (stake / price).toFixed(price < 10 ? 1 : 4)
    // A spot order can only sell what the account holds.
    const maySell = account.market === 'FUTURES' || this.#unsold(account, symbol).gte(quantity)
    const side = maySell && randomInt(2) === 0 ? 'SELL' : 'BUY'
    const order = { symbol, side, price: price.toFixed(price < 10 ? 5 : 2), quantity } as const
    this.#orders.push(await this.#insert(sql, account, order))
  }

  /** Places an order at the exchange, and records it as the order-entry side does. */
  async #insert(sql: Sql, account: DemoAccount, order: NewOrder): Promise<SimulatedOrder> {
    const placed = this.#exchangeOf(account).place(account.simulated, { market: account.market, ...order })
    await sql`
      insert into orders (strategy_account_id, account_id, market_type, exchange_order_id, symbol, exchange_symbol, side,
        order_type, price, quantity, status, created_at)
      select strategy_account_id, account_id, ${placed.market}, ${placed.exchangeOrderId}, ${placed.symbol},
        ${placed.exchangeSymbol}, ${placed.side}, ${placed.type}, ${placed.price}, ${placed.quantity}, 'open',
        ${new Date(placed.createdAt)}
      from strategy_accounts join accounts using (account_id) where accounts.name = ${account.name}`
    return placed
  }

  /** What a spot account holds of the base of a symbol, less what its open orders sell. */
  #unsold({ simulated, quote }: DemoAccount, symbol: string): Big {
    const held = new Big(totalOf(simulated, 'SPOT', symbol.slice(0, -quote.length)))
    return this.#orders
      .filter(order => order.account === simulated && order.symbol === symbol && order.side === 'SELL' && isOpen(order))
      .reduce((rest, { quantity, filledQuantity }) => rest.minus(quantity).plus(filledQuantity), held)
  }

  /** The exchange closes the largest position of an account, by default 5 % below or above the market. */
  #liquidate(account: DemoAccount, price?: string, at = Date.now()): void {
    const exchange = this.#exchangeOf(account)
    const worth = ({ symbol, quantity }: { symbol: string; quantity: string }) =>
      new Big(exchange.price('FUTURES', symbol)).times(quantity).abs().toNumber()
    const [held] = account.simulated.positions.toSorted((a, b) => worth(b) - worth(a))
    if (held === undefined || worth(held) === 0) return
    const isLong = !held.quantity.startsWith('-')
    const order = exchange.place(account.simulated, {
      market: 'FUTURES',
      symbol: held.symbol,
      side: isLong ? 'SELL' : 'BUY',
      quantity: new Big(held.quantity).abs().toFixed(),
      forced: 'liquidation',
      createdAt: at
    })
    const worse = new Big(exchange.price('FUTURES', held.symbol)).times(isLong ? 0.95 : 1.05)
    exchange.fill(order, { price: price ?? worse.toFixed(5), at })
  }

  #withdraw(account: DemoAccount, amount: string, at: number): void {
    this.#exchangeOf(account).ledger.withdraw(account.simulated, account.quote, amount, { fee: '1000', at })
  }

  #fill(account: DemoAccount, order: SimulatedOrder): void {
    const rest = Number(order.quantity) - Number(order.filledQuantity)
    const part = (rest / 2).toFixed(4)
    const exchange = this.#exchangeOf(account)
    if (randomInt(2) === 0 && Number(part) > 0) exchange.fill(order, { quantity: part })
    else exchange.fill(order)
  }

  #accountOn(exchange: ExchangeName): DemoAccount {
    const found = this.accounts.find(one => one.exchange === exchange)
    if (!found) throw new Error(`this demo has no account on ${exchange}`)
    return found
  }

  #exchangeOf({ exchange }: DemoAccount): SimulatedExchange {
    const found = this.#exchanges.find(one => one.exchange === exchange)
    if (!found) throw new Error(`this demo has no ${exchange}`)
    return found
  }
}

function isOpen({ status }: SimulatedOrder): boolean {
  return status === 'open' || status === 'partially_filled'
}
