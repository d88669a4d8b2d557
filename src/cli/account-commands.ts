// @FEAT:exchanges @COMP:service @TYPE:helper
import type { Command } from 'commander'
import type { Account } from '../accounts/account.ts'
import { Accounts } from '../accounts/accounts.ts'
import { type GeneratedKey, generatedKey } from '../accounts/encryption-key.ts'
import { KeyRing } from '../accounts/key-ring.ts'
import { loadConfig } from '../config.ts'
import type { Database } from '../database/database.ts'
import { type ExchangeName, isExchangeName, MARKET_TYPES, type Market, type MarketType } from '../domain/market.ts'
import { CATALOGUE } from '../exchanges/catalogue.ts'
import { ExchangeError } from '../exchanges/exchange-error.ts'
import { assertOffered, ExchangeRegistry, NotOffered } from '../exchanges/exchange-registry.ts'
import { urlsOf } from '../exchanges/url-settings.ts'
import { createHttpAgent } from '../http-agent.ts'
import { JOB_PERIODS } from '../jobs/job-periods.ts'
import { livingVersions } from '../replicas/replica-table.ts'
import { exchangeLoads, marketLoads } from '../trading/budget-loads.ts'
import { budgetNeeds, isNearLimit, needText } from '../trading/budget-need.ts'
import { CommandError } from './command-error.ts'
import { type CommandResult, succeeded } from './command-result.ts'
import { type Audit, UNUSED_SECRET, withDatabase } from './operator-database.ts'
import { readSecret } from './read-secret.ts'
import { table } from './table.ts'

const NAME = /^[^\p{Control}]{1,64}$/u
/** No exchange's secret is longer, and all consist of printable ASCII characters. */
const SECRET = /^[\x20-\x7e]{1,512}$/

/** Versions whose replicas cannot read a key that this version stores. They would treat the account as refused. */
const CANNOT_READ = /^0\.[01]\./

/** Options of `account:add`. */
interface AddOptions {
  user: string
  exchange: string
  name: string
  testnet: boolean
}

interface Context {
  database: Database
  registry: ExchangeRegistry
  accounts: Accounts
  keyRing: KeyRing
  audit: Audit
}

/** Adds the commands of the exchange accounts and of the keys that encrypt them: `account:add`, `keys:rotate` and so on. */
export function addAccountCommands(program: Command, report: (result: CommandResult) => void): void {
  const run = async (action: string, work: (context: Context) => Promise<CommandResult>) =>
    report(await withAccounts(action, work))
  const exchanges = Object.keys(CATALOGUE).join(', ')

  program
    .command('account:add')
    .description('add an account; its key, secret and, for OKX, passphrase are asked for, or lines of standard input')
    .requiredOption('--user <name>', 'the user whose account it is')
    .requiredOption('--exchange <exchange>', `one of ${exchanges}`)
    .requiredOption('--name <name>', 'a name of 1 to 64 characters')
    .option('--testnet', "an account of the exchange's testnet", false)
    .action((options: AddOptions) => run('account:add', context => add(context, options)))
  program
    .command('account:list')
    .description('list the accounts')
    .action(() => run('account:list', list))
  program
    .command('account:test')
    .description('call the exchange with the keys of an account, and report which calls succeed')
    .argument('<number>', 'as account:list shows it')
    .action((number: string) => run('account:test', context => test(context, number)))
  program
    .command('account:disable')
    .description('disable an account')
    .argument('<number>', 'as account:list shows it')
    .action((number: string) => run('account:disable', context => disable(context, number)))
  program
    .command('keys:rotate')
    .description('encrypt all keys with the first key of ENCRYPTION_KEY')
    .action(() => run('keys:rotate', rotate))
}

async function withAccounts(
  action: string,
  work: (context: Context) => Promise<CommandResult>
): Promise<CommandResult> {
  const config = loadConfig({ SESSION_SECRET: UNUSED_SECRET, ...process.env })
  const { key, keep }: Partial<GeneratedKey> & { key: string } =
    config.ENCRYPTION_KEY === undefined ? await generatedKey(config.DATA_DIR) : { key: config.ENCRYPTION_KEY }
  const keyRing = new KeyRing(key)
  const dispatcher = createHttpAgent(config)
  const registry = new ExchangeRegistry({ dispatcher, urls: urlsOf(config) })
  try {
    return await withDatabase(action, async (database, audit) => {
      await keep?.(database)
      const accounts = new Accounts({ database, keyRing, connect: options => registry.client(options) })
      return work({ database, registry, accounts, keyRing, audit })
    })
  } catch (err) {
    if (err instanceof NotOffered) throw new CommandError(err.message, { cause: err })
    throw err
  } finally {
    await dispatcher.close()
  }
}

async function add(
  { database, registry, accounts, audit }: Context,
  { user, exchange: given, name, testnet }: AddOptions
) {
  const exchange = given.toUpperCase()
  if (!isExchangeName(exchange)) throw new CommandError(`--exchange is one of ${Object.keys(CATALOGUE).join(', ')}`)
  if (user === '') throw new CommandError('--user is the name of the user whose account it is')
  if (!NAME.test(name)) throw new CommandError('--name has 1 to 64 characters')
  for (const market of CATALOGUE[exchange].wallets) assertOffered(exchange, market, testnet)
  await assertReadable(database)
  const credentials = {
    apiKey: await secret('API key: '),
    apiSecret: await secret('API secret: '),
    ...(CATALOGUE[exchange].needsPassphrase && { passphrase: await secret('passphrase: ') })
  }
  const [valuationCurrency] = CATALOGUE[exchange].quoteCurrencies
  const account = {
    username: user,
    exchange,
    name,
    isTestnet: testnet,
    valuationCurrency: valuationCurrency ?? null,
    credentials
  }
  const added = await accounts.add(account, audit(`${exchange} ${name}`))
  if (added === 'no_user') throw new CommandError(`there is no user ${user}`)
  if (added === 'name_taken') throw new CommandError(`${user} has an account ${name} already`)
  const estimates = await estimatesOf(database, registry, exchange)
  return succeeded([`${exchange} account ${name} added`, ...estimates].join('\n'))
}

/** What the accounts of the exchange need of the limits that they share, with a warning where it nears or exceeds one. */
async function estimatesOf(database: Database, registry: ExchangeRegistry, exchange: ExchangeName): Promise<string[]> {
  const loads = (await exchangeLoads(database)).filter(load => load.exchange === exchange)
  const costsOf = (market: Market, isTestnet: boolean) => registry.callCosts(market, isTestnet)
  const markets = await Promise.all(loads.map(load => marketLoads(load, costsOf)))
  const accounts = loads.reduce((sum, load) => sum + load.accounts, 0)
  const needs = budgetNeeds(markets.flat(), { periodsMs: JOB_PERIODS })
  const ofAccounts = needs.filter(({ weightPerRun }) => weightPerRun.orders + weightPerRun.balances > 0)
  return ofAccounts.map(need => {
    const text = `${need.marketTypes.join(' and ')}: ${needText(need, accounts)}`
    return isNearLimit(need) ? `warning: ${text}` : text
  })
}

async function list({ accounts }: Context) {
  const all = await accounts.list()
  if (all.length === 0) return succeeded('There are no accounts. Add one with account:add.')
  const rows = all.map(({ accountId, username, exchange, isTestnet, isActive, state, name }) => [
    accountId,
    username,
    exchange,
    isTestnet ? 'testnet' : 'real',
    isActive ? 'active' : 'disabled',
    state,
    name
  ])
  return succeeded(table(['number', 'user', 'exchange', 'network', 'active', 'keys', 'name'], rows))
}

/** Makes each call that the jobs need. The exit code is 1 when one fails. */
async function test({ accounts }: Context, number: string): Promise<CommandResult> {
  const account = await find(accounts, number)
  const { markets, wallets } = CATALOGUE[account.exchange]
  const rows: string[][] = []
  for (const market of MARKET_TYPES.filter(market => markets[market] !== undefined)) {
    const client = await clientOf(accounts, account, market)
    rows.push([market, 'server time', await resultOf(() => client.serverTime())])
    if (wallets.includes(market)) rows.push([market, 'balances', await resultOf(() => client.balances())])
    rows.push([market, 'open orders', await resultOf(() => client.openOrders())])
  }
  const text = table(['market', 'call', 'result'], rows)
  return { text, exitCode: rows.every(([, , result]) => result === 'ok') ? 0 : 1 }
}

async function clientOf(accounts: Accounts, account: Account, market: MarketType) {
  try {
    return await accounts.client(account, market)
  } catch (err) {
    if (err instanceof ExchangeError) throw new CommandError(err.message, { cause: err })
    throw err
  }
}

/** `ok`, or the code of the call's failure with the exchange's own code. */
async function resultOf(call: () => Promise<unknown>): Promise<string> {
  try {
    await call()
    return 'ok'
  } catch (err) {
    if (!(err instanceof ExchangeError)) throw err
    return `${err.code}${err.exchangeCode === null ? '' : ` (${err.exchangeCode})`}`
  }
}

async function disable({ accounts, audit }: Context, number: string) {
  const { accountId, name } = await find(accounts, number)
  await accounts.disable(accountId, audit(accountId))
  return succeeded(`account ${accountId} (${name}) disabled`)
}

/** @throws {CommandError} while a replica runs that could not read what is stored */
async function assertReadable(database: Database): Promise<void> {
  const versions = await database.transaction(livingVersions)
  const old = versions.find(version => CANNOT_READ.test(version))
  if (old === undefined) return
  throw new CommandError(
    `a replica of version ${old} is running, which cannot read the keys that this command stores: complete the upgrade, and repeat it 30 s later`
  )
}

async function rotate({ database, accounts, keyRing, audit }: Context): Promise<CommandResult> {
  await assertReadable(database)
  const { currentKeyId } = keyRing
  const { rotated, unreadable } = await accounts.rotateKeys((tx, count) =>
    audit(`${count} accounts to key ${currentKeyId}`)(tx)
  )
  const text = `${rotated} accounts encrypted with key ${currentKeyId}`
  if (unreadable.length === 0) return succeeded(text)
  return { text: `${text}; no key decrypts account ${unreadable.join(', ')}`, exitCode: 1 }
}

async function find(accounts: Accounts, number: string) {
  const found = (await accounts.list()).find(({ accountId }) => accountId === number)
  if (!found) throw new CommandError(`there is no account ${number}: account:list shows the numbers`)
  return found
}

async function secret(prompt: string): Promise<string> {
  const value = (await readSecret(prompt)).trim()
  if (!SECRET.test(value)) throw new CommandError('a key, secret or passphrase has 1 to 512 printable characters')
  return value
}
