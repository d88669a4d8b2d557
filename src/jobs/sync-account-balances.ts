// @FEAT:trading @COMP:job @TYPE:core
import type { Account, TradingAccounts } from '../exchanges/account.ts'
import { CATALOGUE } from '../exchanges/catalogue.ts'
import { ExchangeError } from '../exchanges/exchange-client.ts'
import type { JobContext, JobResult } from '../scheduler/job.ts'
import { recordBalances, type Wallet } from '../trading/balances.ts'
import { eachAtMost } from './bounded.ts'

/** Accounts whose exchanges are asked side by side. */
const AT_ONCE = 8

/**
 * Takes over the balances of every active account, one transaction each. An account of which any wallet cannot be read is
 * left as it was: a total without it would be wrong.
 */
export function syncAccountBalances({
  accounts,
  timeZone
}: {
  accounts: TradingAccounts
  timeZone: string
}): (context: JobContext) => Promise<JobResult> {
  return async ({ signal, log, progress, transaction }) => {
    const active = await accounts.active()
    const result = { accounts: active.length, synced: 0, balances: 0, history_rows: 0, refused: 0, failed: 0 }
    let done = 0

    await eachAtMost(AT_ONCE, active, async account => {
      signal.throwIfAborted()
      try {
        const wallets = await walletsOf(account)
        result.history_rows += await transaction(async tx => {
          const written = await recordBalances(tx, account.accountId, wallets, timeZone)
          await accounts.accepted(tx, account)
          return written
        })
        result.synced++
        result.balances += wallets.reduce((sum, { balances }) => sum + balances.length, 0)
      } catch (err) {
        if (!(err instanceof ExchangeError) || signal.aborted) throw err
        log.warn({ err, account_id: account.accountId }, 'balances not read')
        if (err.code === 'authentication') {
          await transaction(tx => accounts.refused(tx, account))
          result.refused++
        } else result.failed++
      }
      progress(++done, active.length)
    })
    return result

    async function walletsOf(account: Account): Promise<Wallet[]> {
      return Promise.all(
        CATALOGUE[account.exchange].wallets.map(async marketType => {
          const client = await accounts.client(account, marketType)
          return { marketType, balances: await client.balances({ signal }) }
        })
      )
    }
  }
}
