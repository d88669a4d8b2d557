// @FEAT:trading @COMP:service @TYPE:core
import { accountsWithoutCredentials } from '../accounts/account-table.ts'
import type { Sql, TransactionSql } from '../database/client.ts'
import type { Decimal } from '../domain/decimal.ts'
import { Exact } from '../domain/decimal.ts'
import type { MarketType } from '../domain/market.ts'
import { AdjustmentRefused } from './adjustment-refused.ts'
import type { ListedPosition } from './book-comparison.ts'
import { type PositionAdjustment, recordPositionAdjustment } from './position-adjustment.ts'

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

interface CommonAdjustment {
  accountId: string
  /** Signed: what our value changes by. Not zero. */
  amount: Decimal
  reason: string
  /** Identifies the adjustment, so that it is recorded once. Without it the amount must be the whole difference. */
  id?: string | undefined
}

/** A change of what a wallet has of an asset. */
export interface AssetAdjustment extends CommonAdjustment {
  wallet: MarketType
  asset: string
}

/** A change of our books by an admin, so that they agree with the exchange. */
export type Adjustment = AssetAdjustment | PositionAdjustment

/**
 * Records an adjustment of a reported difference: of an asset as a ledger entry, of a position as `recordPositionAdjustment`
 * does. The difference ends, or becomes smaller. Idempotent by the id, or by the difference.
 *
 * @returns what is left of the difference; null when the adjustment was recorded before
 * @throws {AdjustmentRefused} without a reported difference, for an amount that exceeds it, for one that is only a part of
 *   it and has no id, and for a position whose price, base or quote is not known
 */
export async function adjustBooks(tx: TransactionSql, adjustment: Adjustment): Promise<Decimal | null> {
  const { accountId, amount } = adjustment
  const found = await latestDifference(tx, adjustment)
  const entryId = adjustment.id ?? (found === undefined ? undefined : `difference ${found.differenceId}`)
  if (entryId !== undefined && (await isRecorded(tx, adjustment, entryId))) return null
  if (found === undefined || found.isExplained) {
    throw new AdjustmentRefused(`account ${accountId} has no reported difference of ${nameOf(adjustment)}`)
  }
  const difference = new Exact(found.difference)
  const change = new Exact(amount)
  if (change.s !== difference.s || change.abs().gt(difference.abs())) {
    throw new AdjustmentRefused(`the difference is ${found.difference}: the amount must not exceed it`)
  }
  if (entryId === undefined || (adjustment.id === undefined && !change.eq(difference))) {
    throw new AdjustmentRefused(`the difference is ${found.difference}: a part of it needs --id`)
  }
  const isNew = isOfPosition(adjustment)
    ? await recordPositionAdjustment(tx, adjustment, entryId, found.listed)
    : await recordEntry(tx, adjustment, entryId)
  // Another transaction recorded it since.
  if (!isNew && (await isRecorded(tx, adjustment, entryId))) return null
  const changed = await tx`
    update book_differences set ours = ours + ${amount}::numeric, difference = difference - ${amount}::numeric,
      explained_at = case when difference = ${amount}::numeric then now() end,
      explained_by = case when difference = ${amount}::numeric then 'adjustment' end
    where difference_id = ${found.differenceId} and explained_at is null and difference = ${found.difference}::numeric`
  if (changed.count === 0) throw new AdjustmentRefused('the difference has changed: repeat the command')
  return difference.minus(change).toFixed()
}

function isOfPosition(adjustment: Adjustment): adjustment is PositionAdjustment {
  return 'positionSide' in adjustment
}

function nameOf(adjustment: Adjustment): string {
  return isOfPosition(adjustment)
    ? `the position ${adjustment.symbol} ${adjustment.positionSide}`
    : `${adjustment.asset} in ${adjustment.wallet}`
}

/** @returns false when it is recorded */
async function recordEntry(tx: TransactionSql, adjustment: AssetAdjustment, entryId: string): Promise<boolean> {
  const { accountId, wallet, asset, amount, reason } = adjustment
  const { count } = await tx`
    insert into ledger_entries (account_id, wallet, asset, amount, kind, exchange_kind, exchange_entry_id, at)
    values (${accountId}, ${wallet}, ${asset}, ${amount}, 'adjustment', ${reason}, ${entryId}, now())
    on conflict do nothing`
  return count > 0
}

interface FoundDifference {
  differenceId: string
  difference: Decimal
  isExplained: boolean
  /** Of a position: as its exchange listed it, null where it listed none. */
  listed: ListedPosition | null
}

/** The reported difference of an asset or a position that began last. */
async function latestDifference(tx: TransactionSql, adjustment: Adjustment): Promise<FoundDifference | undefined> {
  const key = isOfPosition(adjustment)
    ? tx`market_type = 'FUTURES' and symbol = ${adjustment.symbol} and position_side = ${adjustment.positionSide}`
    : tx`wallet = ${adjustment.wallet} and asset = ${adjustment.asset}`
  const [row] = await tx<
    (FoundDifference & { exchangeSymbol: string | null } & Omit<ListedPosition, 'exchangeSymbol'>)[]
  >`
    select difference_id as "differenceId", trim_scale(difference)::text as difference,
      explained_at is not null as "isExplained", exchange_symbol as "exchangeSymbol", entry_price::text as "entryPrice",
      mark_price::text as "markPrice"
    from book_differences
    where account_id = ${adjustment.accountId} and ${key} and unexplained_at is not null
    order by difference_id desc limit 1`
  if (row === undefined) return undefined
  const { exchangeSymbol, entryPrice, markPrice, ...rest } = row
  return { ...rest, listed: exchangeSymbol === null ? null : { exchangeSymbol, entryPrice, markPrice } }
}

/** @throws {AdjustmentRefused} when another adjustment has the id */
async function isRecorded(tx: TransactionSql, adjustment: Adjustment, entryId: string): Promise<boolean> {
  const { accountId, amount } = adjustment
  const [row] = isOfPosition(adjustment)
    ? await tx<{ is_same: boolean }[]>`
        select symbol = ${adjustment.symbol} and position_side = ${adjustment.positionSide} and amount = ${amount}::numeric
          as is_same
        from position_adjustments where account_id = ${accountId} and idempotency_key = ${entryId}`
    : await tx<{ is_same: boolean }[]>`
        select asset = ${adjustment.asset} and amount = ${amount}::numeric as is_same from ledger_entries
        where account_id = ${accountId} and wallet = ${adjustment.wallet} and kind = 'adjustment'
          and exchange_entry_id = ${entryId}`
  if (row?.is_same === false) throw new AdjustmentRefused(`another adjustment has the id ${entryId}`)
  return row !== undefined
}
