// @FEAT:exchanges @COMP:service @TYPE:core
import type { TransactionSql } from '../database/client.ts'
import type { ExchangeName, MarketType } from '../domain/market.ts'
import type { ExchangeClient } from '../exchanges/exchange-client.ts'

/** An account at an exchange, without what opens it. */
export interface Account {
  accountId: string
  userId: string
  name: string
  exchange: ExchangeName
  isTestnet: boolean
  state: 'ok' | 'credentials_refused'
  /** Another one whenever its credentials are stored anew. */
  version?: string
}

/** The accounts of the trading system, as its jobs see them. Credentials never pass through here. */
export interface TradingAccounts {
  /** Active accounts by id: those in order, and those refused whose next attempt (ten minutes after the last) is due. */
  active(): Promise<Account[]>
  /**
   * A client of the account, from the client cache.
   * @throws {ExchangeError} `authentication` when its credentials cannot be read
   * @throws {NotOffered} when the exchange has no such market
   */
  client(account: Account, marketType: MarketType): Promise<ExchangeClient>
  /** Says in the transaction that the exchange refused the credentials; the first time, the operator is told of it. */
  refused(tx: TransactionSql, account: Account): Promise<void>
  /** Says in the transaction that the exchange took them; a no-op unless they had been refused. */
  accepted(tx: TransactionSql, account: Account): Promise<void>
}
