// @FEAT:trading @COMP:job @TYPE:core
import type { Account } from '../accounts/account.ts'
import { failureCode, hasFailures, recordFailures } from '../accounts/account-failures.ts'
import { eachAtMost, oneAtATime } from '../async/bounded.ts'
import { SECOND } from '../async/durations.ts'
import { DatabaseUnavailableError } from '../database/failure.ts'
import type { MarketType } from '../domain/market.ts'
import { CATALOGUE } from '../exchanges/catalogue.ts'
import type { ExchangeClient, InvalidRow } from '../exchanges/exchange-client.ts'
import { ExchangeError } from '../exchanges/exchange-error.ts'
import { type JobContext, type JobResult, LeaseLostError } from '../scheduler/job.ts'
import { emptiedWallets, longestWaitingFirst, recordAttempt } from '../trading/balance-readings.ts'
import { hasBalances, recordBalances, type Wallet, walletsInUse } from '../trading/balances.ts'
import { dueAccounts, recordEquity } from '../trading/equity-history.ts'
import { AccountEquity, type AccountEquityServices, type EquityReading } from './account-equity.ts'

/** Accounts whose wallets are read at the same time. */
const CONCURRENT_ACCOUNTS = 8
/**
 * Calls wait for room in the rate limits until so long after the begin of the run, all to the same end: with a limit of its
 * own for each call, accounts that waited in vain would be overtaken by those behind them. The next run begins after 59 s.
 */
const WAIT_MS = 55 * SECOND

export interface SyncAccountBalancesServices extends AccountEquityServices {
  timeZone: string
}

/** The results of reading the wallets of an account. */
interface Reading {
  wallets: Wallet[]
  /** Those of them that are empty for the first time, although something is recorded in them. */
  emptied: MarketType[]
  failures: { marketType: MarketType; err: unknown }[]
}

type Outcome = 'synced' | 'refused' | 'failed'

/**
 * Records the balances of every active account, one transaction each. When a wallet cannot be read, the account stays as
 * it was: a total without that wallet would be wrong. One exception: a wallet that was never read and that the exchange
 * denies to keys which open another wallet (Binance denies futures to keys for spot) does not belong to the account. An
 * account that fails is counted, and the others continue. Assets that cannot be read keep what is recorded of them, as do
 * all that such an answer does not list, and the wallet is counted as incomplete. So is a wallet that held something and
 * is empty now: it keeps what is recorded until the next reading of it, by a later run, is empty, too. Idempotent.
 *
 * Where the equity of the account is due, its positions are read, and its equity is written in the same transaction. Not
 * when they cannot be read, and not while a wallet is incomplete or may have been emptied: what is recorded of it is old.
 *
 * The accounts that wait longest come first: a run that ends early, or whose calls do not fit the rate limit, does not
 * leave out the same accounts as the one before it.
 */
export function syncAccountBalances(
  services: SyncAccountBalancesServices
): (context: JobContext) => Promise<JobResult> {
  return async context => {
    const { signal, progress } = context
    const accounts = await services.accounts.active()
    const [active, inUse, emptied, failed, due] = await context.transaction(
      async tx =>
        [
          await longestWaitingFirst(tx, accounts),
          await walletsInUse(tx),
          await emptiedWallets(tx),
          await hasFailures(tx, context.jobId),
          await dueAccounts(tx, services)
        ] as const
    )
    const filled = new Set([...inUse].filter(wallet => !emptied.has(wallet)))
    const sync = new BalanceSync(services, context, filled, new AccountEquity(services, context, due))
    let done = 0
    await eachAtMost(CONCURRENT_ACCOUNTS, active, async account => {
      signal.throwIfAborted()
      await sync.account(account)
      progress(++done, active.length)
    })
    if (failed || sync.failures.size > 0) {
      await context.transaction(tx => recordFailures(tx, context.jobId, sync.failures))
    }
    const leftOut = await services.accounts.leftOut()
    return { accounts: active.length, ...sync.counts, accounts_left_out: leftOut.length }
  }
}

class BalanceSync {
  readonly #services: SyncAccountBalancesServices
  readonly #context: JobContext
  /** The wallets that hold something, and were not empty at their last reading. */
  readonly #filled: ReadonlySet<string>
  readonly #waitUntil = performance.now() + WAIT_MS
  readonly #equity: AccountEquity
  /** The row of the run serialises its transactions anyway. Waiting here occupies no connection of the pool. */
  readonly #inTurn = oneAtATime()
  /** Why accounts failed, by their ids. */
  readonly failures = new Map<string, string>()
  readonly counts = {
    synced: 0,
    balances: 0,
    history_rows: 0,
    equity_rows: 0,
    equity_failed: 0,
    wallets_closed: 0,
    wallets_incomplete: 0,
    refused: 0,
    failed: 0
  }

  constructor(
    services: SyncAccountBalancesServices,
    context: JobContext,
    filled: ReadonlySet<string>,
    equity: AccountEquity
  ) {
    this.#services = services
    this.#context = context
    this.#filled = filled
    this.#equity = equity
  }

  /** Reads and records one account. */
  async account(account: Account): Promise<void> {
    const [reading, equity] = await Promise.all([this.#read(account), this.#equity.read(account)])
    this.#logFailures(account, reading)
    let err: unknown = reading.failures[0]?.err
    const outcome = await this.#record(account, reading, equity).catch(rejection => {
      this.#context.signal.throwIfAborted()
      if (rejection instanceof LeaseLostError || rejection instanceof DatabaseUnavailableError) throw rejection
      err = rejection
      const line = { account_id: account.accountId, exchange: account.exchange, err }
      this.#context.log.warn(line, 'balances not recorded')
      return 'failed' as const
    })
    this.counts[outcome]++
    if (outcome !== 'failed') return
    this.failures.set(account.accountId, failureCode(err))
    // An account whose calls did not fit the rate limit keeps its place.
    if (reading.failures.some(failure => isPostponed(failure.err))) return
    await this.#inTurn(() => this.#context.transaction(tx => recordAttempt(tx, account.accountId)))
  }

  /** Waits for every wallet, also when one fails: no call continues after the run. */
  async #read(account: Account): Promise<Reading> {
    const reading: Reading = { wallets: [], emptied: [], failures: [] }
    await Promise.all(
      CATALOGUE[account.exchange].wallets.map(async marketType => {
        try {
          const client = await this.#services.accounts.client(account, marketType)
          const wallet = await this.#wallet(client, marketType)
          const isEmpty = wallet.balances.length === 0 && wallet.isComplete !== false
          const isEmptied = isEmpty && this.#filled.has(`${account.accountId} ${marketType}`)
          if (isEmptied) reading.emptied.push(marketType)
          reading.wallets.push(isEmptied ? { ...wallet, isComplete: false } : wallet)
        } catch (err) {
          reading.failures.push({ marketType, err })
        }
      })
    )
    this.#context.signal.throwIfAborted()
    return reading
  }

  async #wallet(client: ExchangeClient, marketType: MarketType): Promise<Wallet> {
    const { signal } = this.#context
    const maxWaitMs = Math.max(0, this.#waitUntil - performance.now())
    let isComplete = true
    const onInvalidRow = ({ kind }: InvalidRow) => {
      if (kind === 'unreadable') isComplete = false
    }
    const balances = await client.balances({ signal, maxWaitMs, onInvalidRow })
    return { marketType, balances, isComplete }
  }

  /** @throws {DatabaseUnavailableError} when that is one of the failures */
  #logFailures({ accountId, exchange }: Account, { failures }: Reading): void {
    const { log } = this.#context
    for (const { marketType, err } of failures) {
      if (err instanceof DatabaseUnavailableError) throw err
      const line = { account_id: accountId, exchange, market_type: marketType, err }
      // An exchange that is down fails for every account: the health check of the exchange reports that once.
      if (err instanceof ExchangeError) log.debug({ ...line, code: err.code }, 'balances not read')
      else log.warn(line, 'balances not read')
    }
  }

  async #record(
    account: Account,
    { wallets, emptied, failures }: Reading,
    equity: EquityReading | undefined
  ): Promise<Outcome> {
    const { accounts, timeZone } = this.#services
    const { transaction } = this.#context
    if (wallets.length === 0 && failures.some(({ err }) => isRefusal(err))) {
      await this.#inTurn(() =>
        transaction(async tx => {
          await accounts.recordRefusal(tx, account)
          await recordAttempt(tx, account.accountId)
        })
      )
      return 'refused'
    }
    if (!failures.every(({ err }) => isRefusal(err) || isForbidden(err)) || wallets.length === 0) return 'failed'
    const closed = failures.map(({ marketType }) => marketType)
    const incomplete = wallets.filter(({ isComplete }) => isComplete === false).map(({ marketType }) => marketType)
    // Keys that may not read the futures wallet have no positions. A wallet that is incomplete has old amounts.
    const positions = closed.includes('FUTURES') ? [] : equity?.positions
    const valued = equity !== undefined && positions && incomplete.length === 0 ? { ...equity, positions } : undefined
    const recorded = await this.#inTurn(() =>
      transaction(async tx => {
        if (await hasBalances(tx, account.accountId, closed)) return null
        // Accounts are locked before balances: see LOCK_ORDER.
        await accounts.recordAcceptance(tx, account)
        await recordAttempt(tx, account.accountId, { emptied, incomplete: [...incomplete, ...closed] })
        const historyRows = await recordBalances(tx, account.accountId, wallets, { timeZone })
        const equityRows = valued && (await recordEquity(tx, valued.due, valued.positions, valued.prices, { timeZone }))
        return { historyRows, equityRows }
      })
    )
    if (recorded === null) return 'failed'
    this.counts.history_rows += recorded.historyRows
    this.counts.equity_rows += recorded.equityRows ?? 0
    this.counts.equity_failed += Number(equity !== undefined && positions === null)
    this.counts.wallets_closed += closed.length
    this.counts.wallets_incomplete += incomplete.length
    this.counts.balances += wallets.reduce((sum, { balances }) => sum + balances.length, 0)
    return 'synced'
  }
}

function isRefusal(err: unknown): boolean {
  return err instanceof ExchangeError && err.code === 'authentication'
}

function isPostponed(err: unknown): boolean {
  return err instanceof ExchangeError && err.code === 'rate_limited'
}

function isForbidden(err: unknown): boolean {
  return err instanceof ExchangeError && err.code === 'permission'
}
