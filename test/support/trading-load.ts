import type { Sql } from 'postgres'
import type { Test } from 'tap'
import type { Accounts } from '../../src/accounts/accounts.ts'
import { EXCHANGE_NAMES, type MarketType } from '../../src/domain/market.ts'
import { CATALOGUE } from '../../src/exchanges/catalogue.ts'
import {
  type SimulatedAccount,
  SimulatedExchange,
  type SimulatedOrder
} from './simulated-exchange/simulated-exchange.ts'

/** Orders of one account that are open at the same time. */
const OPEN_ORDERS = 6
/** The number of days before today on which each account has an execution. */
const PAST_DAYS = 5

interface Trader {
  exchange: SimulatedExchange
  account: SimulatedAccount
  name: string
  market: MarketType
  orders: SimulatedOrder[]
}

/** Simulated exchanges with accounts whose orders are placed and filled, as an order-entry system does. */
export class TradingLoad {
  readonly #exchanges: readonly SimulatedExchange[]
  readonly #traders: Trader[] = []

  private constructor(exchanges: readonly SimulatedExchange[]) {
    this.#exchanges = exchanges
  }

  /** Starts one simulated exchange of each kind, with moving prices. They are closed at teardown. */
  static async start(t: Pick<Test, 'teardown'>): Promise<TradingLoad> {
    const exchanges = await Promise.all(EXCHANGE_NAMES.map(exchange => SimulatedExchange.start({ exchange })))
    t.teardown(() => Promise.all(exchanges.map(exchange => exchange.close())))
    for (const exchange of exchanges) exchange.keepMoving(500)
    return new TradingLoad(exchanges)
  }

  /** The settings that make a service use these exchanges. */
  get urls(): Record<string, string> {
    return Object.assign({}, ...this.#exchanges.map(({ urls }) => urls))
  }

  /**
   * Adds accounts of an existing user to each exchange, each with a strategy of its own that has traded on past days.
   * @param perExchange the number of accounts on each exchange
   */
  async addAccounts(sql: Sql, accounts: Accounts, username: string, perExchange: number): Promise<void> {
    for (const exchange of this.#exchanges) {
      const { needsPassphrase, markets, quoteCurrencies } = CATALOGUE[exchange.exchange]
      const [quote = ''] = quoteCurrencies
      const market = markets.FUTURES === undefined ? 'SPOT' : 'FUTURES'
      for (let i = 0; i < perExchange; i++) {
        const name = `${exchange.exchange} ${i}`
        const credentials = {
          apiKey: `key of ${name}`.replaceAll(' ', '-'),
          apiSecret: 'a secret of sixteen',
          ...(needsPassphrase && { passphrase: 'a phrase' })
        }
        const account = exchange.addAccount(credentials)
        exchange.setBalance(account, market, quote, '5000000')
        await accounts.add(
          { username, exchange: exchange.exchange, name, isTestnet: false, credentials },
          async () => undefined
        )
        await sql`
          with strategy as (
            insert into strategies (user_id, name, market_type)
            select user_id, ${name}, ${market} from users where username = ${username} returning strategy_id
          )
          insert into strategy_accounts (strategy_id, account_id, allocated_capital, capital_currency)
          select strategy_id, account_id, 100000, ${quote} from strategy, accounts where name = ${name}`
        await sql`
          with past as (
            insert into orders (strategy_account_id, account_id, market_type, exchange_order_id, symbol, exchange_symbol,
              side, order_type, price, quantity, filled_quantity, status)
            select strategy_account_id, account_id, ${market}, 'past ' || day, 'PASTBTC', 'PASTBTC', 'SELL', 'LIMIT', 10, 1, 1,
              'filled'
            from strategy_accounts join accounts using (account_id), generate_series(1, ${PAST_DAYS}::int) day
            where accounts.name = ${name}
            returning order_id, strategy_account_id, account_id, exchange_order_id, right(exchange_order_id, 1)::int as day
          )
          insert into trade_executions (order_id, strategy_account_id, account_id, market_type, exchange_trade_id, symbol,
            currency, side, price, quantity, fee_value, realized_pnl, executed_at, recorded_at)
          select order_id, strategy_account_id, account_id, ${market}, exchange_order_id, 'PASTBTC', ${quote}, 'SELL', 10, 1,
            0, 1, now() - make_interval(days => day), now() - make_interval(days => day)
          from past`
        this.#traders.push({ exchange, account, name, market, orders: [] })
      }
    }
  }

  /** Places orders until each account has enough open ones, fills one of each account and part of another, pays funding. */
  async trade(sql: Sql): Promise<void> {
    for (const trader of this.#traders) {
      const { exchange, account, orders } = trader
      const [held] = account.positions
      if (held) exchange.ledger.fund(account, held.exchangeSymbol, 'USDT', '-0.25')
      while (orders.length < OPEN_ORDERS) orders.push(await this.#place(sql, trader))
      const [first, second] = orders
      if (first) exchange.fill(first)
      if (second?.status === 'open') exchange.fill(second, { quantity: '0.25' })
      trader.orders = orders.slice(1)
      exchange.setBalance(account, trader.market, 'BTC', String(account.orders.length))
    }
  }

  async #place(sql: Sql, { exchange, account, name, market }: Trader): Promise<SimulatedOrder> {
    const symbol = exchange.symbols[account.orders.length % exchange.symbols.length] ?? ''
    const order = exchange.place(account, { market, symbol, quantity: '1', price: exchange.price(market, symbol) })
    await sql`
      insert into orders (strategy_account_id, account_id, market_type, exchange_order_id, symbol, exchange_symbol, side,
        order_type, price, quantity, status)
      select strategy_account_id, account_id, ${market}, ${order.exchangeOrderId}, ${symbol}, ${order.exchangeSymbol},
        'BUY', 'LIMIT', ${order.price}, 1, 'open'
      from strategy_accounts join accounts using (account_id) where accounts.name = ${name}`
    return order
  }
}
