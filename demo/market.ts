import { randomInt } from 'node:crypto'
import type { Sql } from 'postgres'
import { EXCHANGE_NAMES, type ExchangeName, type MarketType } from '../src/domain/market.ts'
import { CATALOGUE } from '../src/exchanges/catalogue.ts'
import type { SimulatedAccount, SimulatedOrder } from '../test/support/simulated-exchange/simulated-exchange.ts'
import { SimulatedExchange } from '../test/support/simulated-exchange/simulated-exchange.ts'

const FIRST_PRICES: Readonly<Record<string, number>> = { BTC: 64_000, ETH: 3_400, XRP: 0.52, SOL: 150, DOGE: 0.12 }
const WON_PER_DOLLAR = 1_400
/** The approximate value of one order, in dollars. */
const STAKE = 500
const OPEN_ORDERS = 4
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
}

/**
 * Five simulated exchanges with moving prices, a funded account on each, and a trader that places orders continuously.
 */
export class DemoMarket {
  readonly accounts: readonly DemoAccount[]
  readonly #exchanges: readonly SimulatedExchange[]
  readonly #orders: SimulatedOrder[] = []

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

  /** Opens, fills and cancels orders as a trading system does: at the exchange first, then in the table. */
  async trade(sql: Sql): Promise<void> {
    for (const account of this.accounts) {
      const own = this.#orders.filter(order => order.account === account.simulated && isOpen(order))
      if (own.length < OPEN_ORDERS) await this.#place(sql, account)
      const order = own[randomInt(Math.max(own.length, 1))]
      if (!order) continue
      const fate = randomInt(10)
      if (fate === 0) this.#exchangeOf(account).cancel(order)
      else if (fate < 6) this.#fill(account, order)
    }
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
    exchange.setBalance(simulated, market, quote, String(25_000 * rate))
    return {
      exchange: exchange.exchange,
      name: `${name} demo`,
      secrets: [apiKey ?? '', apiSecret ?? '', ...(needsPassphrase ? [passphrase ?? ''] : [])],
      simulated,
      market,
      quote
    }
  }

  async #place(sql: Sql, account: DemoAccount): Promise<void> {
    const exchange = this.#exchangeOf(account)
    const symbol = exchange.symbols[randomInt(exchange.symbols.length)] ?? ''
    const price = Number(exchange.price(account.market, symbol))
    const stake = STAKE * (account.quote === 'KRW' ? WON_PER_DOLLAR : 1)
    // A spot order can only sell what the account holds.
    const side = account.market === 'FUTURES' && randomInt(2) === 0 ? 'SELL' : 'BUY'
    const order = exchange.place(account.simulated, {
      market: account.market,
      symbol,
      side,
      price: price.toFixed(price < 10 ? 5 : 2),
      quantity: (stake / price).toFixed(price < 10 ? 1 : 4)
    })
    this.#orders.push(order)
    await sql`
      insert into orders (strategy_account_id, account_id, market_type, exchange_order_id, symbol, exchange_symbol, side,
        order_type, price, quantity, status)
      select strategy_account_id, account_id, ${order.market}, ${order.exchangeOrderId}, ${symbol}, ${order.exchangeSymbol},
        ${side}, ${order.type}, ${order.price}, ${order.quantity}, 'open'
      from strategy_accounts join accounts using (account_id) where accounts.name = ${account.name}`
  }

  #fill(account: DemoAccount, order: SimulatedOrder): void {
    const rest = Number(order.quantity) - Number(order.filledQuantity)
    const part = (rest / 2).toFixed(4)
    const exchange = this.#exchangeOf(account)
    if (randomInt(2) === 0 && Number(part) > 0) exchange.fill(order, { quantity: part })
    else exchange.fill(order)
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
