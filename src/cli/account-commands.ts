// @FEAT:exchanges @COMP:service @TYPE:helper
import { Agent } from 'undici'
import type { Account } from '../accounts/account.ts'
import { Accounts } from '../accounts/accounts.ts'
import { KeyRing } from '../accounts/key-ring.ts'
import type { Config } from '../config.ts'
import type { TransactionSql } from '../database/client.ts'
import type { Database } from '../database/database.ts'
import { isExchangeName, MARKET_TYPES, type MarketType } from '../domain/market.ts'
import { CATALOGUE } from '../exchanges/catalogue.ts'
import { ExchangeError } from '../exchanges/exchange-error.ts'
import { assertOffered, ExchangeRegistry, NotOffered } from '../exchanges/exchange-registry.ts'
import { URL_SETTINGS } from '../exchanges/url-settings.ts'
import { CommandError } from './command-error.ts'
import { readSecret } from './read-secret.ts'

const NAME = /^[^\p{Control}]{1,64}$/u
/** No exchange's secret is longer, and none holds anything but printable ASCII. */
const SECRET = /^[\x20-\x7e]{1,512}$/

/** What the operator wrote after the command. */
export interface AccountArguments {
  words: readonly string[]
  user?: string | undefined
  exchange?: string | undefined
  name?: string | undefined
  testnet: boolean
}

export interface AccountCommandContext {
  database: Database
  config: Config & { ENCRYPTION_KEY: string }
  /** Writes the command down in the transaction of its change. */
  audited: (target: string) => (tx: TransactionSql) => Promise<void>
}

/** What a command says, and the exit code it ends with; 0 unless it says so. */
export interface CommandOutcome {
  text: string
  exitCode: number
}

/** Runs an `account:` or `keys:` command; undefined for any other. @throws {CommandError} */
export async function runAccountCommand(
  command: string,
  given: AccountArguments,
  { database, config, audited }: AccountCommandContext
): Promise<CommandOutcome | undefined> {
  const dispatcher = new Agent()
  try {
    const urls = Object.fromEntries(URL_SETTINGS.flatMap(name => (config[name] ? [[name, config[name]]] : [])))
    const registry = new ExchangeRegistry({ dispatcher, urls })
    const keyRing = new KeyRing(config.ENCRYPTION_KEY)
    const accounts = new Accounts({ database, keyRing, connect: options => registry.client(options) })
    switch (command) {
      case 'account:add':
        return said(await add(accounts, given, audited))
      case 'account:list':
        return said(await list(accounts))
      case 'account:test':
        return await test(accounts, await chosen(accounts, given))
      case 'account:disable': {
        const { accountId, name } = await chosen(accounts, given)
        await accounts.disable(accountId, audited(accountId))
        return said(`account ${accountId} (${name}) disabled`)
      }
      case 'keys:rotate':
        return await rotate(accounts, keyRing, audited)
      default:
        return undefined
    }
  } catch (err) {
    if (err instanceof NotOffered) throw new CommandError(err.message, { cause: err })
    throw err
  } finally {
    await dispatcher.close()
  }
}

async function add(
  accounts: Accounts,
  { user = '', exchange: given = '', name = '', testnet }: AccountArguments,
  audited: AccountCommandContext['audited']
): Promise<string> {
  const exchange = given.toUpperCase()
  if (!isExchangeName(exchange)) throw new CommandError(`--exchange is one of ${Object.keys(CATALOGUE).join(', ')}`)
  if (user === '') throw new CommandError('--user names whose account it is')
  if (!NAME.test(name)) throw new CommandError('--name has 1 to 64 characters')
  for (const market of CATALOGUE[exchange].wallets) assertOffered(exchange, market, testnet)
  const credentials = {
    apiKey: await secret('API key: '),
    apiSecret: await secret('API secret: '),
    ...(CATALOGUE[exchange].needsPassphrase && { passphrase: await secret('passphrase: ') })
  }
  const account = { username: user, exchange, name, isTestnet: testnet, credentials }
  const added = await accounts.add(account, audited(`${exchange} ${name}`))
  if (added === 'no_user') throw new CommandError(`there is no user ${user}`)
  if (added === 'name_taken') throw new CommandError(`${user} has an account ${name} already`)
  return `${exchange} account ${name} added`
}

async function list(accounts: Accounts): Promise<string> {
  return (await accounts.list())
    .map(({ accountId, username, exchange, isTestnet, isActive, state, name }) =>
      [
        accountId,
        username,
        exchange,
        isTestnet ? 'testnet' : 'real',
        isActive ? 'active' : 'disabled',
        state,
        name
      ].join('\t')
    )
    .join('\n')
}

/** Calls the exchange for everything that the jobs need of it, and says what works. */
async function test(accounts: Accounts, account: Account): Promise<CommandOutcome> {
  const { markets, wallets } = CATALOGUE[account.exchange]
  const lines: string[] = []
  let failed = false
  const attempt = async (market: MarketType, what: string, work: () => Promise<unknown>) => {
    try {
      await work()
      lines.push(`${market}\t${what}\tok`)
    } catch (err) {
      if (!(err instanceof ExchangeError)) throw err
      failed = true
      lines.push(`${market}\t${what}\t${err.code}${err.exchangeCode === null ? '' : ` (${err.exchangeCode})`}`)
    }
  }
  for (const market of MARKET_TYPES.filter(market => markets[market] !== undefined)) {
    const client = await accounts.client(account, market).catch((err: unknown) => {
      if (err instanceof ExchangeError) throw new CommandError(err.message, { cause: err })
      throw err
    })
    await attempt(market, 'server time', () => client.serverTime())
    if (wallets.includes(market)) await attempt(market, 'balances', () => client.balances())
    await attempt(market, 'open orders', () => client.openOrders())
  }
  return { text: lines.join('\n'), exitCode: failed ? 1 : 0 }
}

async function rotate(
  accounts: Accounts,
  { currentKeyId }: KeyRing,
  audited: AccountCommandContext['audited']
): Promise<CommandOutcome> {
  const { rotated, unreadable } = await accounts.rotateKeys((tx, count) =>
    audited(`${count} accounts to key ${currentKeyId}`)(tx)
  )
  const told = `${rotated} accounts encrypted with key ${currentKeyId}`
  if (unreadable.length === 0) return said(told)
  return { text: `${told}; no key reads account ${unreadable.join(', ')}`, exitCode: 1 }
}

async function chosen(accounts: Accounts, { words }: AccountArguments) {
  const [accountId = ''] = words
  const found = (await accounts.list()).find(account => account.accountId === accountId)
  if (!found) throw new CommandError('name an account by its number, as account:list shows it')
  return found
}

async function secret(prompt: string): Promise<string> {
  const value = (await readSecret(prompt)).trim()
  if (!SECRET.test(value)) throw new CommandError('a key, secret or passphrase has 1 to 512 printable characters')
  return value
}

function said(text: string): CommandOutcome {
  return { text, exitCode: 0 }
}
