// @FEAT:trading @COMP:service @TYPE:helper
import type { Command } from 'commander'
import type { Database } from '../database/database.ts'
import { isZero, toDecimal } from '../domain/decimal.ts'
import { isMarketType } from '../domain/market.ts'
import { AdjustmentRefused, adjustBooks, openDifferencesOf } from '../trading/book-adjustment.ts'
import { booksToVerify, recountBooks, wrongTotals } from '../trading/book-totals.ts'
import { CommandError } from './command-error.ts'
import { type CommandResult, succeeded } from './command-result.ts'
import { type Audit, withDatabase } from './operator-database.ts'
import { table } from './table.ts'

const NUMBER = /^[1-9]\d{0,17}$/
const ASSET = /^[^\p{Control}\s]{1,40}$/u
const TEXT = /^[^\p{Control}]{1,200}$/u
/** Longest wait for the sums of one account, in milliseconds. */
const VERIFY_DEADLINE_MS = 120_000

interface AdjustOptions {
  reason: string
  id?: string
}

/** Adds the commands of the books: `books:list`, `books:adjust` and `books:verify`. */
export function addBookCommands(program: Command, report: (result: CommandResult) => void): void {
  const run = async (action: string, work: (database: Database, audit: Audit) => Promise<CommandResult>) =>
    report(await withDatabase(action, work))
  program
    .command('books:list')
    .description('list the differences between our books and the exchanges')
    .action(() => run('books:list', list))
  program
    .command('books:adjust')
    .description('record an adjustment of our books, by which a reported difference ends')
    .argument('<account>', 'a number as account:list shows it')
    .argument('<wallet>', 'SPOT or FUTURES')
    .argument('<asset>')
    .argument('<amount>', 'what our books change by: the difference, as books:list shows it')
    .requiredOption('--reason <text>', 'why; 1 to 200 characters')
    .option('--id <text>', 'identifies the adjustment; needed for a part of the difference')
    .action((account: string, wallet: string, asset: string, amount: string, options: AdjustOptions) =>
      run('books:adjust', (database, audit) => adjust(database, audit, { account, wallet, asset, amount, ...options }))
    )
  program
    .command('books:verify')
    .description('compare the running totals of the books with the sums of all entries and executions')
    .option('--repair', 'set wrong totals to the sums', false)
    .action(({ repair }: { repair: boolean }) =>
      run('books:verify', (database, audit) => verify(database, audit, repair))
    )
}

async function list(database: Database): Promise<CommandResult> {
  const differences = await database.run(openDifferencesOf)
  if (differences.length === 0) return succeeded('The books agree with the exchanges.')
  const rows = differences.map(
    ({ accountId, account, exchange, what, ours, theirs, difference, runs, since, isReported, causes }) => [
      accountId,
      exchange,
      account,
      what,
      ours,
      theirs,
      difference,
      runs,
      since.toISOString(),
      isReported ? 'yes' : 'no',
      causes
    ]
  )
  const columns = ['number', 'exchange', 'name', 'what', 'ours', 'theirs', 'difference', 'runs', 'since', 'reported']
  return succeeded(table([...columns, 'around its start'], rows))
}

interface AdjustArguments extends AdjustOptions {
  account: string
  wallet: string
  asset: string
  amount: string
}

async function adjust(database: Database, audit: Audit, given: AdjustArguments): Promise<CommandResult> {
  const { account: accountId, asset, reason, id } = given
  const wallet = given.wallet.toUpperCase()
  const amount = toDecimal(given.amount)
  if (!NUMBER.test(accountId)) throw new CommandError('the account is a number, as account:list shows it')
  if (!isMarketType(wallet)) throw new CommandError('the wallet is SPOT or FUTURES')
  if (!ASSET.test(asset)) throw new CommandError('the asset has 1 to 40 characters')
  if (amount === null || isZero(amount)) throw new CommandError('the amount is a decimal number other than 0')
  for (const [name, text] of Object.entries({ reason, ...(id !== undefined && { id }) })) {
    if (!TEXT.test(text)) throw new CommandError(`--${name} has 1 to 200 characters`)
  }
  try {
    const left = await database.transaction(async tx => {
      const left = await adjustBooks(tx, { accountId, wallet, asset, amount, reason, id })
      if (left !== null) await audit(`${accountId} ${wallet} ${asset} ${amount}: ${reason}`)(tx)
      return left
    })
    if (left === null) return succeeded('this adjustment was recorded before')
    return succeeded(`adjusted account ${accountId} ${wallet} ${asset} by ${amount}; the difference is ${left} now`)
  } catch (err) {
    if (err instanceof AdjustmentRefused) throw new CommandError(err.message, { cause: err })
    throw err
  }
}

/** The exit code is 1 when a total is wrong. */
async function verify(database: Database, audit: Audit, repair: boolean): Promise<CommandResult> {
  const accountIds = await database.run(booksToVerify)
  const wrong = []
  for (const accountId of accountIds) {
    const found = await database.run(sql => wrongTotals(sql, [accountId]), { deadlineMs: VERIFY_DEADLINE_MS })
    wrong.push(...found)
    if (!repair || found.length === 0) continue
    await database.transaction(
      async tx => {
        await recountBooks(tx, [accountId])
        await audit(`${accountId}: ${found.length} totals`)(tx)
      },
      { deadlineMs: VERIFY_DEADLINE_MS }
    )
  }
  if (wrong.length === 0) return succeeded(`the totals of ${accountIds.length} accounts are right`)
  const rows = wrong.map(({ accountId, wallet, asset, source, total, sum }) => [
    accountId,
    wallet,
    asset,
    source,
    total,
    sum
  ])
  const text = table(['number', 'wallet', 'asset', 'of', 'total', 'sum'], rows)
  return repair ? succeeded(`${text}\nset to the sums`) : { text, exitCode: 1 }
}
