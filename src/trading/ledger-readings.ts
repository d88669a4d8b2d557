// @FEAT:trading @COMP:service @TYPE:core
import { accountsWithoutCredentials } from '../accounts/account-table.ts'
import type { TransactionSql } from '../database/client.ts'
import type { MarketType } from '../domain/market.ts'
import type { Millis } from '../domain/millis.ts'
import type { LedgerWallet } from './ledger-entries.ts'
import type { IncompletePeriod } from './ledger-gaps.ts'

/** How far the ledger of a wallet was read. */
export interface LedgerProgress {
  /** Entries before this time were read. */
  readUntil: Millis
  /** The oldest first. Those of one code do not overlap. */
  incomplete: readonly IncompletePeriod[]
}

/** An active account, with the readings of its wallets. */
export interface AccountLedgers {
  /** When the account was added: its ledgers begin there. */
  createdAt: Millis
  /** A wallet that was never read has none. */
  readings: Partial<Readonly<Record<MarketType, LedgerProgress>>>
}

/** The ledgers of all active accounts, by account: those that were never read first, then the longest-waiting one. */
export async function accountLedgers(tx: TransactionSql): Promise<ReadonlyMap<string, AccountLedgers>> {
  const rows = await tx<{ account_id: string; created_at: Millis; readings: AccountLedgers['readings'] }[]>`
    select a.account_id, floor(extract(epoch from a.created_at) * 1000)::float8 as created_at,
      coalesce(
        jsonb_object_agg(r.wallet, jsonb_build_object(
          'readUntil', round(extract(epoch from r.read_until) * 1000), 'incomplete', r.incomplete
        )) filter (where r.wallet is not null),
        '{}'
      ) as readings
    from ${accountsWithoutCredentials(tx)} a left join ledger_readings r using (account_id)
    where a.is_active
    group by a.account_id, a.created_at
    order by min(r.attempted_at) nulls first, a.account_id`
  return new Map(rows.map(({ account_id, created_at, readings }) => [account_id, { createdAt: created_at, readings }]))
}

/**
 * Records how far the ledger of a wallet was read, now. The time decreases when an entry before it is pending. Idempotent.
 *
 * @param listedUntil the end of what was read, pending entries aside. The latest one is kept
 */
export async function recordLedgerReading(
  tx: TransactionSql,
  { accountId, wallet }: LedgerWallet,
  { readUntil, incomplete }: LedgerProgress,
  listedUntil: Millis
): Promise<void> {
  await tx`
    insert into ledger_readings as r (account_id, wallet, read_until, listed_until, incomplete)
    values (
      ${accountId}, ${wallet}, to_timestamp(${readUntil}::numeric / 1000), to_timestamp(${listedUntil}::numeric / 1000),
      ${JSON.stringify(incomplete)}::text::jsonb
    )
    on conflict (account_id, wallet) do update set
      read_until = excluded.read_until, listed_until = greatest(r.listed_until, excluded.listed_until),
      incomplete = excluded.incomplete, attempted_at = now()`
}

/**
 * Records that a wallet of an account could not be read now. Idempotent.
 *
 * @param start where its ledger begins, for one that was never read
 */
export async function recordLedgerAttempt(
  tx: TransactionSql,
  { accountId, wallet }: LedgerWallet,
  start: Millis
): Promise<void> {
  await tx`
    insert into ledger_readings (account_id, wallet, read_until)
    values (${accountId}, ${wallet}, to_timestamp(${start}::numeric / 1000))
    on conflict (account_id, wallet) do update set attempted_at = now()`
}
