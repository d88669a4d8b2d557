// @FEAT:trading @COMP:service @TYPE:core
import type { TransactionSql } from '../database/client.ts'

/** Records that the wallets of an account were read, or could not be read, now. Idempotent. */
export async function recordAttempt(tx: TransactionSql, accountId: string): Promise<void> {
  await tx`
    insert into balance_readings (account_id) values (${accountId})
    on conflict (account_id) do update set attempted_at = now()`
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
