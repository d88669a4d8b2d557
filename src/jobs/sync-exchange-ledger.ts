// @FEAT:trading @COMP:job @TYPE:core
import type { Account, TradingAccounts } from '../accounts/account.ts'
import { failureCode, recordFailures } from '../accounts/account-failures.ts'
import { eachAtMost, oneAtATime } from '../async/bounded.ts'
import { DAY, MINUTE } from '../async/durations.ts'
import { DatabaseUnavailableError } from '../database/failure.ts'
import type { LedgerEntry, LedgerGapCode } from '../domain/ledger-entry.ts'
import type { MarketType } from '../domain/market.ts'
import type { Millis } from '../domain/millis.ts'
import { CATALOGUE } from '../exchanges/catalogue.ts'
import type { ExchangeClient, InvalidRow, TimeRange } from '../exchanges/exchange-client.ts'
import { ExchangeError } from '../exchanges/exchange-error.ts'
import { type JobContext, type JobResult, LeaseLostError } from '../scheduler/job.ts'
import { hasBalances } from '../trading/balances.ts'
import { recordLedgerEntries } from '../trading/ledger-entries.ts'
import { isKnown, periodsAfter } from '../trading/ledger-gaps.ts'
import {
  type AccountLedgers,
  accountLedgers,
  type LedgerProgress,
  recordLedgerAttempt,
  recordLedgerReading
} from '../trading/ledger-readings.ts'
import { nextWindows, retriedWindow } from '../trading/ledger-windows.ts'

/** Accounts whose ledgers are read at the same time. */
const CONCURRENT_ACCOUNTS = 8
/** Calls wait for room in the rate limits until so long after the begin of the run. The next run begins after 300 s. */
const WAIT_MS = 4 * MINUTE + MINUTE / 2
/** A pending entry holds the checkpoint for so long at most. After that its time is an incomplete period. */
const HELD_MS = 14 * DAY

export interface SyncExchangeLedgerServices {
  accounts: TradingAccounts
  /** Our clock. Default `Date.now`. */
  now?: () => Millis
}

/** The wallet of an account that a run reads. */
interface Wallet {
  account: Account
  marketType: MarketType
  client: ExchangeClient
  progress: LedgerProgress
  createdAt: Millis
}

/** Whether a window moves the checkpoint: it is held by a pending entry of an earlier window, or it has passed the window. */
type Checkpoint = 'moves' | 'held' | 'passed'

/** What was read of a window, what is missing in it, and the progress to record with it. */
interface Window {
  range: TimeRange
  entries: readonly LedgerEntry[]
  gaps: readonly LedgerGapCode[]
  progress: LedgerProgress
}

/**
 * Records the ledgers of every active account: what changes its wallets besides fills. Each wallet is read from the time
 * until which it was read, minus an overlap for entries that the exchange lists late, to now, in windows. A window and its
 * checkpoint are one transaction, so that nothing is left out or recorded twice, wherever a run ends. What is too much for
 * one run is read by the next ones, in order of time. Idempotent.
 *
 * Periods that the exchange does not provide (any more), that the key may not read, or whose rows cannot be read, are
 * recorded as incomplete, logged once, and read again while the exchange provides them. A wallet that the exchange denies
 * and that never held anything does not belong to the account, as in `sync_account_balances`, which also decides whether
 * credentials are refused.
 *
 * The accounts that wait longest come first: a run that ends early, or whose calls do not fit the rate limit, does not
 * leave out the same accounts as the one before it.
 */
export function syncExchangeLedger(services: SyncExchangeLedgerServices): (context: JobContext) => Promise<JobResult> {
  return async context => {
    const { signal, progress } = context
    const active = new Map((await services.accounts.active()).map(account => [account.accountId, account]))
    const ledgers = await context.transaction(accountLedgers)
    const sync = new LedgerSync(services, context)
    let done = 0
    const waiting = [...ledgers].flatMap(([accountId, account]) => {
      const known = active.get(accountId)
      return known === undefined ? [] : [{ account: known, ledgers: account }]
    })
    await eachAtMost(CONCURRENT_ACCOUNTS, waiting, async ({ account, ledgers }) => {
      signal.throwIfAborted()
      await sync.account(account, ledgers)
      progress(++done, waiting.length)
    })
    await context.transaction(tx => recordFailures(tx, context.jobId, sync.failures))
    const leftOut = await services.accounts.leftOut()
    return { accounts: waiting.length, ...sync.counts, accounts_left_out: leftOut.length }
  }
}

class LedgerSync {
  readonly #services: SyncExchangeLedgerServices
  readonly #context: JobContext
  readonly #now: () => Millis
  readonly #waitUntil = performance.now() + WAIT_MS
  /** The row of the run serialises its transactions anyway. Waiting here occupies no connection of the pool. */
  readonly #inTurn = oneAtATime()
  /** Why accounts failed, by their ids. */
  readonly failures = new Map<string, string>()
  readonly counts = {
    wallets: 0,
    entries: 0,
    conflicts: 0,
    wallets_closed: 0,
    wallets_behind: 0,
    wallets_incomplete: 0,
    refused: 0,
    failed: 0
  }

  constructor(services: SyncExchangeLedgerServices, context: JobContext) {
    this.#services = services
    this.#context = context
    this.#now = services.now ?? Date.now
  }

  /** Reads and records the ledgers of one account. */
  async account(account: Account, ledgers: AccountLedgers): Promise<void> {
    const failures: { marketType: MarketType; err: unknown }[] = []
    let read = 0
    for (const marketType of CATALOGUE[account.exchange].wallets) {
      this.#context.signal.throwIfAborted()
      try {
        const client = await this.#services.accounts.client(account, marketType)
        const start = { readUntil: ledgers.createdAt, incomplete: [] }
        const progress = ledgers.readings[marketType] ?? start
        await this.#wallet({ account, marketType, client, progress, createdAt: ledgers.createdAt })
        read++
      } catch (err) {
        this.#context.signal.throwIfAborted()
        if (err instanceof LeaseLostError || err instanceof DatabaseUnavailableError) throw err
        failures.push({ marketType, err })
        this.#logFailure(account, marketType, err)
      }
    }
    await this.#recordFailed(account, ledgers, failures, read > 0)
  }

  async #wallet(wallet: Wallet): Promise<void> {
    const { client, createdAt } = wallet
    const now = this.#now()
    const earliest = now - client.ledgerReachMs
    let { progress } = wallet
    let isIncomplete = false
    const found = new Set<LedgerGapCode>()
    const commit = async (window: Window) => {
      const isNew = await this.#commit(wallet, window, progress)
      progress = window.progress
      for (const code of window.gaps) found.add(code)
      // A list that the exchange does not have is reported once.
      isIncomplete ||= isNew || window.gaps.some(code => code !== 'not_provided')
    }
    if (progress.readUntil < earliest) await commit(lostWindow(progress, earliest))
    const { windows, isBehind } = nextWindows({ ...progress, createdAt, earliest, now })
    let checkpoint: Checkpoint = 'moves'
    for (const range of windows) {
      await commit(await this.#window(wallet, range, progress, checkpoint))
      if (progress.readUntil < range.until) checkpoint = 'held'
    }
    const retried = isBehind ? null : retriedWindow({ ...progress, windows, found, earliest, now })
    if (retried !== null) await commit(await this.#window(wallet, retried, progress, 'passed'))
    this.counts.wallets++
    if (isBehind) this.counts.wallets_behind++
    if (isIncomplete) this.counts.wallets_incomplete++
  }

  async #window(wallet: Wallet, range: TimeRange, progress: LedgerProgress, checkpoint: Checkpoint): Promise<Window> {
    const { entries, completeUntil, gaps } = await this.#read(wallet, range)
    const heldUntil = checkpoint === 'passed' ? range.until : this.#now() - HELD_MS
    const isOverdue = completeUntil < Math.min(range.until, heldUntil)
    const codes: LedgerGapCode[] = isOverdue ? [...gaps, 'pending'] : gaps
    const reached = isOverdue ? range.until : completeUntil
    const readUntil = checkpoint === 'moves' ? reached : progress.readUntil
    const incomplete = periodsAfter(progress.incomplete, range, codes)
    return { entries, range, gaps: codes, progress: { readUntil, incomplete } }
  }

  async #read({ client }: Wallet, range: TimeRange) {
    const { signal } = this.#context
    const maxWaitMs = Math.max(0, this.#waitUntil - performance.now())
    const gaps = new Set<LedgerGapCode>()
    const onInvalidRow = ({ kind }: InvalidRow) => {
      if (kind === 'unreadable') gaps.add('unreadable')
    }
    const reading = await client.ledger(range, { signal, maxWaitMs, onInvalidRow })
    for (const code of reading.gaps ?? []) gaps.add(code)
    const completeUntil = Math.min(reading.completeUntil, range.until)
    return { entries: reading.entries, completeUntil, gaps: [...gaps] }
  }

  /**
   * Records the entries of a window and its checkpoint, in one transaction.
   *
   * @returns whether something is missing in it that was not known before
   */
  async #commit({ account, marketType }: Wallet, window: Window, before: LedgerProgress): Promise<boolean> {
    const { accountId, exchange } = account
    const { range, gaps } = window
    const wallet = { accountId, wallet: marketType }
    const { recorded, conflicts } = await this.#inTurn(() =>
      this.#context.transaction(async tx => {
        const result = await recordLedgerEntries(tx, wallet, window.entries)
        await recordLedgerReading(tx, wallet, window.progress, range.until)
        return result
      })
    )
    this.counts.entries += recorded
    this.counts.conflicts += conflicts.length
    const ids = { account_id: accountId, exchange, market_type: marketType }
    for (const { kind, exchangeEntryId } of conflicts) {
      const line = { ...ids, code: 'entry_changed', kind, exchange_entry_id: exchangeEntryId }
      this.#context.log.warn(line, 'ledger entry changed by the exchange')
    }
    const added = gaps.filter(code => !isKnown(before.incomplete, range, code))
    const [from, until] = [new Date(range.from), new Date(range.until)]
    for (const code of added) this.#context.log.warn({ ...ids, code, from, until }, 'ledger incomplete')
    return added.length > 0
  }

  #logFailure({ accountId, exchange }: Account, marketType: MarketType, err: unknown): void {
    const { log } = this.#context
    const line = { account_id: accountId, exchange, market_type: marketType, err }
    // An exchange that is down fails for every account: the health check of the exchange reports that once.
    if (err instanceof ExchangeError) log.debug({ ...line, code: err.code }, 'ledger not read')
    else log.warn(line, 'ledger not read')
  }

  async #recordFailed(
    account: Account,
    { createdAt }: AccountLedgers,
    failures: readonly { marketType: MarketType; err: unknown }[],
    hasRead: boolean
  ): Promise<void> {
    const [first] = failures
    if (first === undefined) return
    const { accountId } = account
    const denied = failures.filter(({ err }) => hasCode(err, 'authentication') || hasCode(err, 'permission'))
    const markets = failures.map(({ marketType }) => marketType)
    const isInUse = await this.#inTurn(() =>
      this.#context.transaction(async tx => {
        for (const { marketType, err } of failures) {
          // An account whose calls did not fit the rate limit keeps its place.
          if (hasCode(err, 'rate_limited')) continue
          await recordLedgerAttempt(tx, { accountId, wallet: marketType }, createdAt)
        }
        return await hasBalances(tx, accountId, markets)
      })
    )
    const isDenied = denied.length === failures.length
    if (isDenied && hasRead && !isInUse) this.counts.wallets_closed += failures.length
    else if (isDenied && !hasRead && failures.every(({ err }) => hasCode(err, 'authentication'))) this.counts.refused++
    else {
      this.counts.failed++
      this.failures.set(accountId, failureCode(first.err))
    }
  }
}

/** What the exchange does not provide any more. */
function lostWindow({ readUntil, incomplete }: LedgerProgress, earliest: Millis): Window {
  const range = { from: readUntil, until: earliest }
  const gaps = ['not_provided'] as const
  return {
    range,
    entries: [],
    gaps,
    progress: { readUntil: earliest, incomplete: periodsAfter(incomplete, range, gaps) }
  }
}

function hasCode(err: unknown, code: ExchangeError['code']): boolean {
  return err instanceof ExchangeError && err.code === code
}
