// @FEAT:trading @COMP:service @TYPE:core
import type { TransactionSql } from '../database/client.ts'
import type { MarketType } from '../domain/market.ts'

/** What a reading of the wallets of an account showed. */
export interface ReadWallets {
  /** Those that were empty for the first time, although something is recorded in them. */
  emptied: readonly MarketType[]
  /** Those of which not everything was read: what they do not list may be held. */
  incomplete: readonly MarketType[]
}

/**
 * Records that the wallets of an account were read, or could not be read, now. Idempotent.
 *
 * @param read what was read; absent for an account that could not be read: what is recorded of its last reading stays
 */
export async function recordAttempt(tx: TransactionSql, accountId: string, read?: ReadWallets): Promise<void> {
  const emptied = read === undefined ? null : JSON.stringify(read.emptied)
  const incomplete = read === undefined ? null : JSON.stringify(read.incomplete)
  await tx`
    insert into balance_readings as r (account_id, emptied, incomplete, read_at)
    values (
      ${accountId}, coalesce(${emptied}::text::jsonb, '[]'), coalesce(${incomplete}::text::jsonb, '[]'),
      case when ${emptied}::text is not null then now() end
    )
    on conflict (account_id) do update set
      attempted_at = now(),
      emptied = coalesce(${emptied}::text::jsonb, r.emptied),
      incomplete = coalesce(${incomplete}::text::jsonb, r.incomplete),
      read_at = case when ${emptied}::text is null then r.read_at else now() end`
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
