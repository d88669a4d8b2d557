// @FEAT:trading @COMP:job @TYPE:core
import type { Account, TradingAccounts } from '../accounts/account.ts'
import { failureCode, recordFailures } from '../accounts/account-failures.ts'
import { eachAtMost } from '../async/bounded.ts'
import { SECOND } from '../async/durations.ts'
import { DatabaseUnavailableError } from '../database/failure.ts'
import { CATALOGUE } from '../exchanges/catalogue.ts'
import type { InvalidRow } from '../exchanges/exchange-client.ts'
import { ExchangeError } from '../exchanges/exchange-error.ts'
import type { JobContext, JobResult } from '../scheduler/job.ts'
import { type Check, recordComparison } from '../trading/book-differences.ts'
import { differenceCounts } from '../trading/book-state.ts'
import { recountBooks } from '../trading/book-totals.ts'
import { comparePositions, type PositionReading, positionStates } from '../trading/position-comparison.ts'
import { compareWallets, neverCompared } from '../trading/wallet-comparison.ts'

/** Bounds the duration of a transaction and of its locks. */
const ACCOUNTS_PER_TRANSACTION = 100
/** Accounts whose positions are read at the same time. */
const CONCURRENT_ACCOUNTS = 8
/** Calls wait for room in the rate limits until so long after the begin of the run. The next run begins after 300 s. */
const WAIT_MS = 180 * SECOND

export interface ReconcileBooksServices {
  accounts: TradingAccounts
  /** Default 100. */
  accountsPerTransaction?: number
}

/** Why an account was not compared as a whole, the most important reason first. */
type Outcome = 'without_opening' | 'failed' | 'incomplete' | 'postponed' | 'compared'
const OUTCOMES: readonly Outcome[] = ['without_opening', 'failed', 'incomplete', 'postponed', 'compared']

/**
 * Compares the books of every active account with its exchange: of each wallet the balances that were read last, and the
 * positions, which it reads. A difference is tolerated in two runs and reported in the third. An account whose exchange
 * was not read since the last comparison is postponed, and one that was not opened is not compared; both are counted.
 * Idempotent: a reading is compared once.
 */
export function reconcileBooks(services: ReconcileBooksServices): (context: JobContext) => Promise<JobResult> {
  return async context => {
    const accounts = await services.accounts.active()
    const reconciliation = new Reconciliation(services, context, accounts)
    await reconciliation.wallets()
    await reconciliation.positions()
    await context.transaction(tx => recordFailures(tx, context.jobId, reconciliation.failures))
    const leftOut = await services.accounts.leftOut()
    const { differences, unexplained } = await context.transaction(differenceCounts)
    return {
      accounts: accounts.length,
      ...reconciliation.counts(),
      differences,
      unexplained,
      reported: reconciliation.reported,
      accounts_left_out: leftOut.length
    }
  }
}

class Reconciliation {
  readonly #services: ReconcileBooksServices
  readonly #context: JobContext
  readonly #accounts: ReadonlyMap<string, Account>
  readonly #perTransaction: number
  readonly #waitUntil = performance.now() + WAIT_MS
  readonly #outcomes = new Map<string, Outcome>()
  /** Why the positions of accounts could not be read, by the ids of the accounts. */
  readonly failures = new Map<string, string>()
  reported = 0

  constructor(services: ReconcileBooksServices, context: JobContext, accounts: readonly Account[]) {
    this.#services = services
    this.#context = context
    this.#accounts = new Map(accounts.map(account => [account.accountId, account]))
    this.#perTransaction = services.accountsPerTransaction ?? ACCOUNTS_PER_TRANSACTION
  }

  /** How many accounts have each outcome. */
  counts(): Record<Outcome, number> {
    const counts = { compared: 0, postponed: 0, without_opening: 0, incomplete: 0, failed: 0 }
    for (const outcome of this.#outcomes.values()) counts[outcome]++
    return counts
  }

  /** Compares the balances that were read last. */
  async wallets(): Promise<void> {
    for (const batch of batches([...this.#accounts.values()], this.#perTransaction)) {
      this.#context.signal.throwIfAborted()
      const asked = batch.flatMap(({ accountId, exchange }) =>
        CATALOGUE[exchange].wallets.map(wallet => ({ accountId, wallet }))
      )
      for (const accountId of await this.#context.transaction(tx => neverCompared(tx, asked))) {
        await this.#context.transaction(tx => recountBooks(tx, [accountId]))
      }
      const { wallets, reported } = await this.#context.transaction(async tx => {
        const { wallets, compared } = await compareWallets(tx, asked)
        const checks = wallets
          .filter(({ state }) => state === 'compared' || state === 'postponed')
          .map(({ accountId, wallet, state, readAt }): Check => {
            return { accountId, subject: wallet, readAt: state === 'compared' ? readAt : null }
          })
        return { wallets, reported: await recordComparison(tx, checks, compared) }
      })
      this.reported += reported
      for (const { accountId, state } of wallets) if (state !== 'closed') this.#count(accountId, state)
    }
  }

  /** Reads and compares the positions of accounts on exchanges with perpetuals, the longest-waiting accounts first. */
  async positions(): Promise<void> {
    const ids = [...this.#accounts.values()]
      .filter(({ exchange }) => CATALOGUE[exchange].markets.FUTURES !== undefined)
      .map(({ accountId }) => accountId)
    if (ids.length === 0) return
    const states = await this.#context.transaction(tx => positionStates(tx, ids))
    for (const { accountId, state } of states) if (state !== 'compared') this.#count(accountId, state)
    let done = 0
    for (const batch of batches(
      states.filter(({ state }) => state === 'compared'),
      this.#perTransaction
    )) {
      const readings: PositionReading[] = []
      const attempts: string[] = []
      await eachAtMost(CONCURRENT_ACCOUNTS, batch, async ({ accountId, isHeld }) => {
        this.#context.signal.throwIfAborted()
        const reading = await this.#read(accountId, isHeld)
        if (reading === 'failed') attempts.push(accountId)
        else if (reading !== null) readings.push(reading)
        this.#context.progress(++done, states.length)
      })
      await this.#compare(readings, attempts)
    }
  }

  async #compare(readings: readonly PositionReading[], attempts: readonly string[]): Promise<void> {
    const check = (accountId: string, readAt: Date | null): Check => {
      return { accountId, subject: 'POSITIONS', readAt: readAt?.toISOString() ?? null }
    }
    const checks = [
      ...readings.map(({ accountId, readAt }) => check(accountId, readAt)),
      ...attempts.map(accountId => check(accountId, null))
    ]
    if (checks.length === 0) return
    this.reported += await this.#context.transaction(async tx =>
      recordComparison(tx, checks, await comparePositions(tx, readings))
    )
  }

  /** @returns null for an account that keeps its place, or has no positions that can be read */
  async #read(accountId: string, isHeld: boolean): Promise<PositionReading | 'failed' | null> {
    const account = this.#accounts.get(accountId)
    if (account === undefined) return null
    const { signal, log } = this.#context
    let isComplete = true
    const onInvalidRow = ({ kind }: InvalidRow) => {
      if (kind === 'unreadable') isComplete = false
    }
    try {
      const client = await this.#services.accounts.client(account, 'FUTURES')
      const maxWaitMs = Math.max(0, this.#waitUntil - performance.now())
      const positions = await client.positions({ signal, maxWaitMs, onInvalidRow })
      this.#count(accountId, isComplete ? 'compared' : 'incomplete')
      return { accountId, positions, isComplete, readAt: new Date() }
    } catch (err) {
      signal.throwIfAborted()
      if (err instanceof DatabaseUnavailableError) throw err
      const code = failureCode(err)
      // A key without a right to perpetuals: the account has none, unless a strategy holds one.
      if (code === 'permission' && !isHeld) return null
      const line = { account_id: accountId, exchange: account.exchange, code, err }
      // An exchange that is down fails for every account: the health check of the exchange reports that once.
      if (err instanceof ExchangeError) log.debug(line, 'positions not read')
      else log.warn(line, 'positions not read')
      if (code === 'rate_limited') {
        this.#count(accountId, 'postponed')
        return null
      }
      this.#count(accountId, 'failed')
      this.failures.set(accountId, code)
      return 'failed'
    }
  }

  /** An account counts once, with the most important reason. */
  #count(accountId: string, outcome: Outcome): void {
    const before = this.#outcomes.get(accountId)
    if (before !== undefined && OUTCOMES.indexOf(before) <= OUTCOMES.indexOf(outcome)) return
    this.#outcomes.set(accountId, outcome)
  }
}

function batches<T>(items: readonly T[], size: number): T[][] {
  return Array.from({ length: Math.ceil(items.length / size) }, (_, index) =>
    items.slice(index * size, (index + 1) * size)
  )
}
