// @FEAT:trading @COMP:service @TYPE:helper
import type { Command } from 'commander'
import type { Database } from '../database/database.ts'
import { isZero, toDecimal } from '../domain/decimal.ts'
import { isMarketType } from '../domain/market.ts'
import type { PositionSide } from '../domain/position.ts'
import { AdjustmentRefused } from '../trading/adjustment-refused.ts'
import { type Adjustment, adjustBooks, openDifferencesOf } from '../trading/book-adjustment.ts'
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

const POSITION_SIDES: readonly PositionSide[] = ['BOTH', 'LONG', 'SHORT']

interface AdjustOptions {
  reason: string
  id?: string
  position?: string
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
    .argument('<asset>', 'the asset, or with --position the symbol of a position')
    .argument('<amount>', 'what our books change by: the difference, as books:list shows it')
    .requiredOption('--reason <text>', 'why; 1 to 200 characters')
    .option('--position <side>', 'adjusts a position of a perpetual: BOTH, LONG or SHORT')
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
  const adjustment = adjustmentOf(given)
  const { accountId, amount, reason } = adjustment
  const what = [given.wallet.toUpperCase(), given.asset, given.position?.toUpperCase()].filter(Boolean).join(' ')
  try {
    const left = await database.transaction(async tx => {
      const left = await adjustBooks(tx, adjustment)
      if (left !== null) await audit(`${accountId} ${what} ${amount}: ${reason}`)(tx)
      return left
    })
    if (left === null) return succeeded('this adjustment was recorded before')
    return succeeded(`adjusted account ${accountId} ${what} by ${amount}; the difference is ${left} now`)
  } catch (err) {
    if (err instanceof AdjustmentRefused) throw new CommandError(err.message, { cause: err })
    throw err
  }
}

/** @throws {CommandError} for an argument that is not valid */
function adjustmentOf(given: AdjustArguments): Adjustment {
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
  if (given.position === undefined) return { accountId, wallet, asset, amount, reason, id }
  const positionSide = POSITION_SIDES.find(side => side === given.position?.toUpperCase())
  if (positionSide === undefined) throw new CommandError('--position is BOTH, LONG or SHORT')
  if (wallet !== 'FUTURES') throw new CommandError('a position is of FUTURES')
  return { accountId, symbol: asset, positionSide, amount, reason, id }
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
