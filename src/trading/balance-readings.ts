// @FEAT:trading @COMP:service @TYPE:core
import type { TransactionSql } from '../database/client.ts'
import type { MarketType } from '../domain/market.ts'

/**
 * Records that the wallets of an account were read, or could not be read, now. Idempotent.
 *
 * @param emptied the wallets that were empty for the first time, although something is recorded in them; what is recorded
 *   of that stays when it is not given, as for an account that could not be read
 */
export async function recordAttempt(
  tx: TransactionSql,
  accountId: string,
  emptied?: readonly MarketType[]
): Promise<void> {
  const list = emptied === undefined ? null : JSON.stringify(emptied)
  await tx`
    insert into balance_readings as r (account_id, emptied) values (${accountId}, coalesce(${list}::text::jsonb, '[]'))
    on conflict (account_id) do update set attempted_at = now(), emptied = coalesce(${list}::text::jsonb, r.emptied)`
}

/** The wallets that were empty at their last reading for the first time, as `<account id> <market type>`. */
export async function emptiedWallets(tx: TransactionSql): Promise<ReadonlySet<string>> {
  const rows = await tx<{ wallet: string }[]>`
    select concat(account_id, ' ', market_type) as wallet
    from balance_readings, jsonb_array_elements_text(emptied) as market_type`
  return new Set(rows.map(({ wallet }) => wallet))
}

/** The accounts in the order of their last attempts: those that were never read first, then the longest-waiting one. */
export async function longestWaitingFirst<T extends { accountId: string }>(
  tx: TransactionSql,
  accounts: readonly T[]
): Promise<T[]> {
  const rows = await tx<
    { account_id: string }[]
  >`select account_id from balance_readings order by attempted_at, account_id`
  const places = new Map(rows.map(({ account_id }, index) => [account_id, index]))
  return accounts.toSorted((a, b) => (places.get(a.accountId) ?? -1) - (places.get(b.accountId) ?? -1))
}
