// @FEAT:trading @COMP:service @TYPE:core
import { accountsWithoutCredentials } from '../accounts/account-table.ts'
import type { Sql, TransactionSql } from '../database/client.ts'
import type { Decimal } from '../domain/decimal.ts'
import { Exact } from '../domain/decimal.ts'
import type { MarketType } from '../domain/market.ts'

/** A difference that is not explained, reported or not. */
export interface OpenDifference {
  accountId: string
  account: string
  exchange: string
  /** The wallet and the asset, or the symbol and the side of the position. */
  what: string
  ours: Decimal
  theirs: Decimal
  difference: Decimal
  runs: number
  since: Date
  isReported: boolean
  /** What was recorded around its start, and what is known to be missing: the kinds. */
  causes: string
}

/** The open differences of all accounts, the oldest first. */
export async function openDifferencesOf(sql: Sql | TransactionSql): Promise<OpenDifference[]> {
  const rows = await sql<
    (Omit<OpenDifference, 'accountId' | 'isReported'> & { account_id: string; is_reported: boolean })[]
  >`
    select d.account_id, a.name as account, a.exchange, concat_ws(' ', wallet, asset, symbol, position_side) as what,
      trim_scale(ours)::text as ours, trim_scale(theirs)::text as theirs, trim_scale(difference)::text as difference,
      runs, since, unexplained_at is not null as is_reported,
      (select coalesce(string_agg(cause ->> 'kind', ', '), '') from jsonb_array_elements(causes) cause) as causes
    from book_differences d join ${accountsWithoutCredentials(sql)} a using (account_id)
    where explained_at is null order by since, difference_id`
  return rows.map(({ account_id, is_reported, ...rest }) => ({
    accountId: account_id,
    isReported: is_reported,
    ...rest
  }))
}

/** A change of our books by an admin, so that they agree with the exchange. */
export interface Adjustment {
  accountId: string
  wallet: MarketType
  asset: string
  /** Signed: what our value changes by. Not zero. */
  amount: Decimal
  reason: string
  /** Identifies the adjustment, so that it is recorded once. Without it the amount must be the whole difference. */
  id?: string | undefined
}

/** Why an adjustment is not recorded. */
export class AdjustmentRefused extends Error {
  override name = 'AdjustmentRefused'
}

/**
 * Records an adjustment of a reported difference as a ledger entry. The difference ends, or becomes smaller.
 * Idempotent by the id, or by the difference.
 *
 * @returns what is left of the difference; null when the adjustment was recorded before
 * @throws {AdjustmentRefused} without a reported difference, for an amount that exceeds it, and for one that is only a
 *   part of it and has no id
 */
export async function adjustBooks(tx: TransactionSql, adjustment: Adjustment): Promise<Decimal | null> {
  const { accountId, wallet, asset, amount, reason } = adjustment
  const found = await latestDifference(tx, adjustment)
  const entryId = adjustment.id ?? (found === undefined ? undefined : `difference ${found.differenceId}`)
  if (entryId !== undefined && (await isRecorded(tx, adjustment, entryId))) return null
  if (found === undefined || found.isExplained) {
    throw new AdjustmentRefused(`account ${accountId} has no reported difference of ${asset} in ${wallet}`)
  }
  const difference = new Exact(found.difference)
  const change = new Exact(amount)
  if (change.s !== difference.s || change.abs().gt(difference.abs())) {
    throw new AdjustmentRefused(`the difference is ${found.difference}: the amount must not exceed it`)
  }
  if (entryId === undefined || (adjustment.id === undefined && !change.eq(difference))) {
    throw new AdjustmentRefused(`the difference is ${found.difference}: a part of it needs --id`)
  }
  await tx`
    insert into ledger_entries (account_id, wallet, asset, amount, kind, exchange_kind, exchange_entry_id, at)
    values (${accountId}, ${wallet}, ${asset}, ${amount}, 'adjustment', ${reason}, ${entryId}, now())`
  const changed = await tx`
    update book_differences set ours = ours + ${amount}::numeric, difference = difference - ${amount}::numeric,
      explained_at = case when difference = ${amount}::numeric then now() end,
      explained_by = case when difference = ${amount}::numeric then 'adjustment' end
    where difference_id = ${found.differenceId} and explained_at is null and difference = ${found.difference}::numeric`
  if (changed.count === 0) throw new AdjustmentRefused('the difference has changed: repeat the command')
  return difference.minus(change).toFixed()
}

interface FoundDifference {
  differenceId: string
  difference: Decimal
  isExplained: boolean
}

/** The reported difference of an asset that began last. */
async function latestDifference(
  tx: TransactionSql,
  { accountId, wallet, asset }: Adjustment
): Promise<FoundDifference | undefined> {
  const [row] = await tx<{ difference_id: string; difference: Decimal; is_explained: boolean }[]>`
    select difference_id, trim_scale(difference)::text as difference, explained_at is not null as is_explained
    from book_differences
    where account_id = ${accountId} and wallet = ${wallet} and asset = ${asset} and unexplained_at is not null
    order by difference_id desc limit 1`
  if (row === undefined) return undefined
  return { differenceId: row.difference_id, difference: row.difference, isExplained: row.is_explained }
}

/** @throws {AdjustmentRefused} when another adjustment has the id */
async function isRecorded(
  tx: TransactionSql,
  { accountId, wallet, asset, amount }: Adjustment,
  entryId: string
): Promise<boolean> {
  const [row] = await tx<{ is_same: boolean }[]>`
    select asset = ${asset} and amount = ${amount}::numeric as is_same from ledger_entries
    where account_id = ${accountId} and wallet = ${wallet} and kind = 'adjustment' and exchange_entry_id = ${entryId}`
  if (row?.is_same === false) throw new AdjustmentRefused(`another adjustment has the id ${entryId}`)
  return row !== undefined
}
