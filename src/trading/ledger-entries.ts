// @FEAT:trading @COMP:service @TYPE:core
import type { TransactionSql } from '../database/client.ts'
import { Exact } from '../domain/decimal.ts'
import type { LedgerEntry } from '../domain/ledger-entry.ts'
import type { MarketType } from '../domain/market.ts'

/** The wallet of an account, by its market. */
export interface LedgerWallet {
  accountId: string
  wallet: MarketType
}

/** An entry that the exchange listed with another asset or amount than before, under the same kind and id. */
interface LedgerConflict {
  kind: string
  exchangeEntryId: string
}

export interface RecordedEntries {
  /** Entries that were not recorded before. */
  recorded: number
  /** Those whose new asset or amount was not recorded before, either. */
  conflicts: LedgerConflict[]
}

/**
 * Records entries of a wallet in one statement. An entry that is recorded already, by kind and id, stays as it is. When
 * its asset or amount is another one now, what the exchange lists now is recorded next to it, in `conflict`. Idempotent.
 */
export async function recordLedgerEntries(
  tx: TransactionSql,
  wallet: LedgerWallet,
  entries: readonly LedgerEntry[]
): Promise<RecordedEntries> {
  const total: RecordedEntries = { recorded: 0, conflicts: [] }
  for (let rest = entries; rest.length > 0; ) {
    const { first, differing } = separated(rest)
    const { recorded, conflicts } = await record(tx, wallet, first)
    total.recorded += recorded
    total.conflicts.push(...conflicts)
    // Only an answer that contradicts itself has a rest.
    rest = differing
  }
  return total
}

/** The first entry of each kind and id, and those that differ from it. */
function separated(entries: readonly LedgerEntry[]): { first: LedgerEntry[]; differing: LedgerEntry[] } {
  const byKey = new Map<string, LedgerEntry>()
  const differing: LedgerEntry[] = []
  for (const entry of entries) {
    const key = `${entry.kind} ${entry.exchangeEntryId}`
    const first = byKey.get(key)
    if (first === undefined) byKey.set(key, entry)
    else if (first.asset !== entry.asset || !new Exact(first.amount).eq(entry.amount)) differing.push(entry)
  }
  return { first: [...byKey.values()], differing }
}

async function record(
  tx: TransactionSql,
  { accountId, wallet }: LedgerWallet,
  entries: readonly LedgerEntry[]
): Promise<RecordedEntries> {
  const rows = await tx<{ kind: string; exchange_entry_id: string; is_new: boolean }[]>`
    with listed as (
      select * from jsonb_to_recordset(${JSON.stringify(entries.map(rowOf))}::text::jsonb) as listed (
        exchange_entry_id text, asset text, amount numeric, kind text, exchange_kind text, symbol text, at numeric
      )
    ), added as (
      insert into ledger_entries (
        account_id, wallet, asset, amount, kind, exchange_kind, exchange_entry_id, symbol, at
      )
      select ${accountId}, ${wallet}, asset, amount, kind, exchange_kind, exchange_entry_id, symbol,
        to_timestamp(at / 1000)
      from listed order by at, kind, exchange_entry_id
      on conflict (account_id, wallet, kind, exchange_entry_id) do nothing
      returning kind, exchange_entry_id
    ), differing as (
      update ledger_entries e set conflict = jsonb_build_object(
        'asset', listed.asset, 'amount', listed.amount::text, 'listed_at', now()
      )
      from listed
      where e.account_id = ${accountId} and e.wallet = ${wallet}
        and e.kind = listed.kind and e.exchange_entry_id = listed.exchange_entry_id
        and (e.asset <> listed.asset or e.amount <> listed.amount)
        and (
          e.conflict is null or e.conflict ->> 'asset' <> listed.asset
          or (e.conflict ->> 'amount')::numeric <> listed.amount
        )
      returning e.kind, e.exchange_entry_id
    )
    select kind, exchange_entry_id, true as is_new from added
    union all select kind, exchange_entry_id, false from differing`
  const conflicts = rows
    .filter(({ is_new }) => !is_new)
    .map(({ kind, exchange_entry_id }) => ({ kind, exchangeEntryId: exchange_entry_id }))
  return { recorded: rows.length - conflicts.length, conflicts }
}

function rowOf({ exchangeEntryId, asset, amount, kind, exchangeKind, exchangeSymbol, at }: LedgerEntry) {
  return {
    exchange_entry_id: exchangeEntryId,
    asset,
    amount,
    kind,
    exchange_kind: exchangeKind,
    symbol: exchangeSymbol,
    at
  }
}
