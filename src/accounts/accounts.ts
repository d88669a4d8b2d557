// @FEAT:exchanges @COMP:service @TYPE:core
import { userIdOf, usersWithChats } from '../auth/user-table.ts'
import type { TransactionSql } from '../database/client.ts'
import type { Database } from '../database/database.ts'
import type { ExchangeName, MarketType } from '../domain/market.ts'
import type { Credentials, ExchangeClient } from '../exchanges/exchange-client.ts'
import { ExchangeError } from '../exchanges/exchange-error.ts'
import type { ClientOptions } from '../exchanges/exchange-registry.ts'
import type { Account, TradingAccounts } from './account.ts'
import { KeyRing, type Purpose, UnreadableSecret } from './key-ring.ts'

/** Refused credentials are used again after this time. */
const RETRY_AFTER = '10 minutes'
const ROTATION_BATCH = 200

export interface NewAccount {
  username: string
  exchange: ExchangeName
  name: string
  isTestnet: boolean
  /** The currency of its equity; null for the main quote currency of the exchange. Default null. */
  valuationCurrency?: string | null
  credentials: Credentials
}

export interface ListedAccount extends Account {
  username: string
  isActive: boolean
}

export interface AccountsOptions {
  database: Database
  keyRing: KeyRing
  /** Makes a client: `client` of the exchange registry. */
  connect: (options: ClientOptions) => ExchangeClient | Promise<ExchangeClient>
  /** Keeps clients. Default none: every call makes one. */
  clients?: {
    getOrMake(account: Account, marketType: MarketType, make: () => Promise<ExchangeClient>): Promise<ExchangeClient>
  }
}

/** What the credentials of an account are bound to: in a row that differs in any of these they cannot be decrypted. */
type Owner = Pick<Account, 'accountId' | 'userId' | 'exchange' | 'isTestnet'>

/** The columns of an account's encrypted credentials. */
interface EncryptedCredentials {
  keyId: string
  apiKey: Buffer
  apiSecret: Buffer
  passphrase: Buffer | null
}

/** The table of accounts. Credentials are encrypted at rest. They are decrypted here, and only a client gets them. */
export class Accounts implements TradingAccounts {
  readonly #options: AccountsOptions

  constructor(options: AccountsOptions) {
    this.#options = options
  }

  async active(): Promise<Account[]> {
    return this.#options.database.run(
      sql => sql<Account[]>`
        select account_id as "accountId", user_id as "userId", name, exchange, is_testnet as "isTestnet", state,
          md5(api_key_encrypted || api_secret_encrypted || coalesce(passphrase_encrypted, '')) || is_testnet as version
        from accounts
        where is_active and (state = 'ok' or updated_at < now() - ${RETRY_AFTER}::interval)
        order by account_id`
    )
  }

  async leftOut(): Promise<string[]> {
    const rows = await this.#options.database.run(
      sql => sql<{ account_id: string }[]>`
        select account_id from accounts
        where is_active and state <> 'ok' and updated_at >= now() - ${RETRY_AFTER}::interval order by account_id`
    )
    return rows.map(({ account_id }) => account_id)
  }

  /** Every account, by id. */
  async list(): Promise<ListedAccount[]> {
    return this.#options.database.run(
      sql => sql<ListedAccount[]>`
        select account_id as "accountId", user_id as "userId", username, name, exchange, is_testnet as "isTestnet", state,
          a.is_active as "isActive"
        from accounts a join ${usersWithChats(sql)} users using (user_id) order by account_id`
    )
  }

  async client(account: Account, marketType: MarketType): Promise<ExchangeClient> {
    const { connect, clients } = this.#options
    const { accountId, exchange, isTestnet } = account
    const connectAccount = async () => {
      const credentials = await this.#credentials(account)
      return connect({ exchange, marketType, isTestnet, credentials, accountId })
    }
    return clients ? clients.getOrMake(account, marketType, connectAccount) : connectAccount()
  }

  async recordRefusal(tx: TransactionSql, { accountId }: Account): Promise<void> {
    await tx`update accounts set state = 'credentials_refused', updated_at = now() where account_id = ${accountId}`
  }

  async recordAcceptance(tx: TransactionSql, { accountId }: Account): Promise<void> {
    await tx`
      update accounts set state = 'ok', updated_at = now()
      where account_id = ${accountId} and state = 'credentials_refused'`
  }

  /**
   * Adds an account.
   * @param also runs in the same transaction, when the account was added
   * @returns `no_user` or `name_taken` when it was not added
   */
  async add(
    { username, exchange, name, isTestnet, valuationCurrency = null, credentials }: NewAccount,
    also: (tx: TransactionSql) => Promise<void>
  ): Promise<'added' | 'no_user' | 'name_taken'> {
    return this.#options.database.transaction(async tx => {
      const userId = await userIdOf(tx, username)
      if (userId === undefined) return 'no_user'
      // The credentials are bound to the id, which the insert gives.
      const [added] = await tx<{ account_id: string }[]>`
        insert into accounts (user_id, name, exchange, is_testnet, valuation_currency, api_key_encrypted,
          api_secret_encrypted, key_id)
        values (${userId}, ${name}, ${exchange}, ${isTestnet}, ${valuationCurrency}, '', '', '')
        on conflict do nothing returning account_id`
      if (!added) return 'name_taken'
      const { account_id: accountId } = added
      const { keyId, apiKey, apiSecret, passphrase } = this.#encrypt(
        { accountId, userId, exchange, isTestnet },
        credentials
      )
      await tx`
        update accounts set key_id = ${keyId}, api_key_encrypted = ${apiKey}, api_secret_encrypted = ${apiSecret},
          passphrase_encrypted = ${passphrase}
        where account_id = ${accountId}`
      await also(tx)
      return 'added'
    })
  }

  /**
   * Makes an account inactive; deletes nothing. Idempotent.
   * @param also runs in the same transaction, when the account exists
   * @returns whether the account exists
   */
  async disable(accountId: string, also: (tx: TransactionSql) => Promise<void>): Promise<boolean> {
    return this.#options.database.transaction(async tx => {
      const { count } = await tx`
        update accounts set is_active = false, updated_at = now() where account_id = ${accountId}`
      if (count > 0) await also(tx)
      return count > 0
    })
  }

  /**
   * Encrypts the credentials of every account with the current key and in the current format, in one transaction per
   * batch of 200. Those that have both are left as they are. It may be interrupted and repeated, and may run while the
   * service reads accounts.
   * @param also runs in the transaction of each batch with changes
   * @returns the number of changed accounts, and the ids of those that no key of the ring can decrypt
   */
  async rotateKeys(
    also: (tx: TransactionSql, rotated: number) => Promise<void>
  ): Promise<{ rotated: number; unreadable: string[] }> {
    let rotated = 0
    const unreadable: string[] = []
    let after = '0'
    for (;;) {
      const batch = await this.#options.database.transaction(async tx => {
        const rows = await this.#lockOutdated(tx, after)
        const unread: string[] = []
        const changed = rows.flatMap(row => {
          try {
            return [{ accountId: row.accountId, ...this.#encrypt(row, this.#decrypt(row, row)) }]
          } catch (err) {
            if (!(err instanceof UnreadableSecret)) throw err
            unread.push(row.accountId)
            return []
          }
        })
        await tx`
          update accounts a set key_id = new.key_id, api_key_encrypted = decode(new.api_key, 'hex'),
            api_secret_encrypted = decode(new.api_secret, 'hex'), passphrase_encrypted = decode(new.passphrase, 'hex')
          from jsonb_to_recordset(${JSON.stringify(changed.map(toHexColumns))}::text::jsonb)
            as new (account_id bigint, key_id text, api_key text, api_secret text, passphrase text)
          where a.account_id = new.account_id`
        if (changed.length > 0) await also(tx, changed.length)
        return { read: rows.length, last: rows.at(-1)?.accountId, changed: changed.length, unread }
      })
      rotated += batch.changed
      unreadable.push(...batch.unread)
      after = batch.last ?? after
      if (batch.read < ROTATION_BATCH) return { rotated, unreadable }
    }
  }

  /** The next batch of accounts whose credentials have another key or format than the current one. */
  #lockOutdated(tx: TransactionSql, after: string) {
    const format = Buffer.of(KeyRing.format)
    return tx<(EncryptedCredentials & Owner)[]>`
      select account_id as "accountId", user_id as "userId", exchange, is_testnet as "isTestnet", key_id as "keyId",
        api_key_encrypted as "apiKey", api_secret_encrypted as "apiSecret", passphrase_encrypted as passphrase
      from accounts
      where account_id > ${after} and (
        key_id <> ${this.#options.keyRing.currentKeyId} or substring(api_key_encrypted for 1) <> ${format}
        or substring(api_secret_encrypted for 1) <> ${format} or substring(passphrase_encrypted for 1) <> ${format}
      )
      order by account_id limit ${ROTATION_BATCH} for no key update`
  }

  /** Bound to what the client is made for, which may differ from what the row has by now. */
  async #credentials(account: Account): Promise<Credentials> {
    const { accountId, exchange } = account
    const [row] = await this.#options.database.run(
      sql => sql<EncryptedCredentials[]>`
        select key_id as "keyId", api_key_encrypted as "apiKey", api_secret_encrypted as "apiSecret",
          passphrase_encrypted as passphrase
        from accounts where account_id = ${accountId}`
    )
    try {
      if (!row) throw new UnreadableSecret('the account does not exist')
      return this.#decrypt(account, row)
    } catch (cause) {
      if (!(cause instanceof UnreadableSecret)) throw cause
      throw new ExchangeError('authentication', { exchange, operation: 'credentials', reason: cause.message, cause })
    }
  }

  #encrypt(owner: Owner, { apiKey, apiSecret, passphrase }: Credentials): EncryptedCredentials {
    const { keyRing } = this.#options
    return {
      keyId: keyRing.currentKeyId,
      apiKey: keyRing.encrypt(apiKey, purposeOf(owner, 'api_key')),
      apiSecret: keyRing.encrypt(apiSecret, purposeOf(owner, 'api_secret')),
      passphrase: passphrase === undefined ? null : keyRing.encrypt(passphrase, purposeOf(owner, 'passphrase'))
    }
  }

  #decrypt(owner: Owner, { keyId, apiKey, apiSecret, passphrase }: EncryptedCredentials): Credentials {
    const { keyRing } = this.#options
    return {
      apiKey: keyRing.decrypt(apiKey, purposeOf(owner, 'api_key'), keyId),
      apiSecret: keyRing.decrypt(apiSecret, purposeOf(owner, 'api_secret'), keyId),
      ...(passphrase && { passphrase: keyRing.decrypt(passphrase, purposeOf(owner, 'passphrase'), keyId) })
    }
  }
}

/**
 * A secret that was copied to another column, account or exchange cannot be decrypted there, nor that of a real account
 * for a testnet or the reverse. Ids never change, and have no spaces.
 */
function purposeOf({ accountId, userId, exchange, isTestnet }: Owner, column: string): Purpose {
  return {
    current: `account ${accountId} of ${userId} at ${exchange} ${isTestnet ? 'testnet' : 'real'} ${column}`,
    format1: `account ${exchange} ${userId} ${column}`
  }
}

function toHexColumns(row: EncryptedCredentials & Pick<Owner, 'accountId'>) {
  const { accountId, keyId, apiKey, apiSecret, passphrase } = row
  return {
    account_id: accountId,
    key_id: keyId,
    api_key: apiKey.toString('hex'),
    api_secret: apiSecret.toString('hex'),
    passphrase: passphrase?.toString('hex') ?? null
  }
}
