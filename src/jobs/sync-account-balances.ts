// @FEAT:trading @COMP:job @TYPE:core
import { setMaxListeners } from 'node:events'
import type { Account, TradingAccounts } from '../accounts/account.ts'
import { eachAtMost, oneAtATime } from '../async/bounded.ts'
import { DatabaseUnavailableError } from '../database/failure.ts'
import type { MarketType } from '../domain/market.ts'
import { CATALOGUE } from '../exchanges/catalogue.ts'
import { ExchangeError } from '../exchanges/exchange-error.ts'
import type { JobContext, JobResult } from '../scheduler/job.ts'
import { hasBalances, recordBalances, type Wallet } from '../trading/balances.ts'

/** Accounts whose exchanges are asked side by side. */
const AT_ONCE = 8

export interface SyncAccountBalancesServices {
  accounts: TradingAccounts
  timeZone: string
}

/** What came of asking for the wallets of an account. */
interface Reading {
  wallets: Wallet[]
  failures: { marketType: MarketType; err: unknown }[]
}

type Outcome = 'synced' | 'refused' | 'failed'

/**
 * Takes over the balances of every active account, one transaction each. An account of which any wallet cannot be read is
 * left as it was: a total without it would be wrong. A wallet that has never been read and that the exchange keeps from
 * keys which open another one, as Binance keeps futures from keys for spot alone, is none of the account's. An account
 * that cannot be asked at all is counted as failed, and the others go on.
 */
export function syncAccountBalances({
  accounts,
  timeZone
}: SyncAccountBalancesServices): (context: JobContext) => Promise<JobResult> {
  return async ({ signal, log, progress, transaction }) => {
    // The run's row serialises the transactions anyway. Waiting for it here holds no connection of the pool.
    const inTurn = oneAtATime()
    // Each call under way listens to it, and there are as many as may be.
    setMaxListeners(0, signal)
    const active = await accounts.active()
    const counts = { synced: 0, balances: 0, history_rows: 0, wallets_closed: 0, refused: 0, failed: 0 }
    let done = 0

    await eachAtMost(AT_ONCE, active, async account => {
      signal.throwIfAborted()
      const reading = await read(account)
      counts[await conclude(account, reading)]++
      progress(++done, active.length)
    })
    return { accounts: active.length, ...counts }

    /** Waits for every wallet, whatever becomes of the others: nothing of it goes on behind the run. */
    async function read(account: Account): Promise<Reading> {
      const reading: Reading = { wallets: [], failures: [] }
      await Promise.all(
        CATALOGUE[account.exchange].wallets.map(async marketType => {
          try {
            const client = await accounts.client(account, marketType)
            reading.wallets.push({ marketType, balances: await client.balances({ signal }) })
          } catch (err) {
            reading.failures.push({ marketType, err })
          }
        })
      )
      signal.throwIfAborted()
      return reading
    }

    async function conclude(account: Account, { wallets, failures }: Reading): Promise<Outcome> {
      for (const { marketType, err } of failures) {
        if (err instanceof DatabaseUnavailableError) throw err
        const line = { account_id: account.accountId, exchange: account.exchange, market_type: marketType, err }
        // An exchange that is down says the same of every account: the exchange's own health tells it once.
        if (err instanceof ExchangeError) log.debug({ ...line, code: err.code }, 'balances not read')
        else log.warn(line, 'balances not read')
      }
      if (wallets.length === 0 && failures.some(({ err }) => isRefusal(err))) {
        await inTurn(() => transaction(tx => accounts.recordRefusal(tx, account)))
        return 'refused'
      }
      if (!failures.every(({ err }) => isRefusal(err) || isForbidden(err)) || wallets.length === 0) return 'failed'
      const closed = failures.map(({ marketType }) => marketType)
      const written = await inTurn(() =>
        transaction(async tx => {
          if (await hasBalances(tx, account.accountId, closed)) return null
          // Accounts are locked before balances: see LOCK_ORDER.
          await accounts.recordAcceptance(tx, account)
          return await recordBalances(tx, account.accountId, wallets, { timeZone })
        })
      )
      if (written === null) return 'failed'
      counts.history_rows += written
      counts.wallets_closed += closed.length
      counts.balances += wallets.reduce((sum, { balances }) => sum + balances.length, 0)
      return 'synced'
    }
  }
}

function isRefusal(err: unknown): boolean {
  return err instanceof ExchangeError && err.code === 'authentication'
}

function isForbidden(err: unknown): boolean {
  return err instanceof ExchangeError && err.code === 'permission'
}
