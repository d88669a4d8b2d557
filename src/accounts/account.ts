// @FEAT:exchanges @COMP:service @TYPE:core
import type { TransactionSql } from '../database/client.ts'
import type { ExchangeName, MarketType } from '../domain/market.ts'
import type { ExchangeClient } from '../exchanges/exchange-client.ts'

/** An account at an exchange, without its credentials. */
export interface Account {
  accountId: string
  userId: string
  name: string
  exchange: ExchangeName
  isTestnet: boolean
  state: 'ok' | 'credentials_refused'
  /** Changes whenever its credentials are stored again, or the network that they are for changes. */
  version?: string
}

/** The accounts of the trading system, for its jobs. Does not give out credentials. */
export interface TradingAccounts {
  /**
   * Active accounts by id. Those with refused credentials are left out until ten minutes after the last refusal.
   */
  active(): Promise<Account[]>
  /** The ids of the active accounts that `active` leaves out. */
  leftOut(): Promise<string[]>
  /**
   * A client of the account, from the client cache.
   * @throws {ExchangeError} `authentication` when its credentials cannot be read
   * @throws {NotOffered} when the exchange has no such market
   */
  client(account: Account, marketType: MarketType): Promise<ExchangeClient>
  /** Records in the transaction that the exchange refused the credentials of the account. Idempotent. */
  recordRefusal(tx: TransactionSql, account: Account): Promise<void>
  /** Records in the transaction that the exchange accepted the credentials. Does nothing unless they were refused. */
  recordAcceptance(tx: TransactionSql, account: Account): Promise<void>
}
