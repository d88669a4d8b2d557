// @FEAT:trading @COMP:service @TYPE:core
import type { TransactionSql } from '../database/client.ts'
import type { Balance } from '../domain/balance.ts'
import type { MarketType } from '../domain/market.ts'

/** A total is written down again when it changed, but not more often than this. */
const HISTORY_EVERY = '10 minutes'
/** The job runs every 59 s: once in the end of each day, in which a change is written down however soon it comes. */
const DAY_ENDS = '59 seconds'

export interface Wallet {
  marketType: MarketType
  balances: readonly Balance[]
  /** False when some of its assets could not be read: what is recorded of the assets that are not listed stays. Default true. */
  isComplete?: boolean
}

export interface RecordOptions {
  /** Whose days these are. */
  timeZone: string
  /** When the wallets were read; the transaction's time unless given. Never before that of an earlier call. */
  at?: Date
}

/**
 * Stores what an account holds: all assets of every wallet. An asset that a complete wallet no longer holds is stored as
 * zero; one that an incomplete wallet does not list keeps its amount and the time of its last reading. The
 * history gets the total of each asset over the wallets when it changed, at most once in ten minutes; and with the first
 * call on a day what the last one before it found, at the time of that one, changed or not. So the last row before a day
 * began is what the account held when it began, which summaries start from, and end the day before with. A change in the
 * last minute of a day is written at once, for those who read soon after midnight. Idempotent.
 *
 * @returns how many rows of the history were written
 */
export async function recordBalances(
  tx: TransactionSql,
  accountId: string,
  wallets: readonly Wallet[],
  { timeZone, at }: RecordOptions
): Promise<number> {
  const moment = tx`coalesce(${at?.toISOString() ?? null}::timestamptz, now())`
  const rows = wallets.flatMap(({ marketType, balances }) =>
    balances.map(({ asset, free, locked, total }) => ({ market_type: marketType, asset, free, locked, total }))
  )
  const incomplete = wallets.flatMap(({ marketType, isComplete = true }) => (isComplete ? [] : [marketType]))
  const closing = await tx`
    insert into account_balance_history (account_id, at, currency, total)
    select ${accountId}, synced_at, asset, held.total
    from (
      select asset, max(synced_at) as synced_at, sum(total) as total
      from account_balances where account_id = ${accountId} group by asset
    ) held
    ${lastRow(tx, accountId)}
    where synced_at < day_begin((${moment} at time zone ${timeZone}::text)::date, ${timeZone})
      and (held.total <> 0 or last.total <> 0)
    on conflict do nothing`
  await tx`
    with held as (
      select * from jsonb_to_recordset(${JSON.stringify(rows)}::text::jsonb)
        as held (market_type text, asset text, free numeric, locked numeric, total numeric)
    ), gone as (
      update account_balances b set free = 0, locked = 0, total = 0, synced_at = ${moment}
      where account_id = ${accountId} and not ${JSON.stringify(incomplete)}::text::jsonb ? market_type
        and not exists (select from held where held.market_type = b.market_type and held.asset = b.asset)
    )
    insert into account_balances (account_id, market_type, asset, free, locked, total, synced_at)
    select ${accountId}, market_type, asset, free, locked, total, ${moment} from held
    on conflict (account_id, market_type, asset)
      do update set free = excluded.free, locked = excluded.locked, total = excluded.total, synced_at = excluded.synced_at`
  const changed = await tx`
    insert into account_balance_history (account_id, at, currency, total)
    select ${accountId}, ${moment}, asset, held.total
    from (select asset, sum(total) as total from account_balances where account_id = ${accountId} group by asset) held
    ${lastRow(tx, accountId)}
    where held.total <> coalesce(last.total, 0) and (
      last.at is null
      or last.at <= ${moment} - ${HISTORY_EVERY}::interval
      or ${moment} >= day_begin((${moment} at time zone ${timeZone}::text)::date + 1, ${timeZone}) - ${DAY_ENDS}::interval
    )
    on conflict do nothing`
  return closing.count + changed.count
}

/** Whether a balance was ever recorded in one of these wallets of an account. */
export async function hasBalances(
  tx: TransactionSql,
  accountId: string,
  marketTypes: readonly MarketType[]
): Promise<boolean> {
  if (marketTypes.length === 0) return false
  const found = await tx`
    select from account_balances where account_id = ${accountId} and market_type in ${tx(marketTypes)} limit 1`
  return found.length > 0
}

/** The wallets in which something is recorded to be held, as `<account id> <market type>`. */
export async function walletsInUse(tx: TransactionSql): Promise<ReadonlySet<string>> {
  const rows = await tx<{ wallet: string }[]>`
    select distinct concat(account_id, ' ', market_type) as wallet from account_balances where total <> 0`
  return new Set(rows.map(({ wallet }) => wallet))
}

/** Joins to `held` the last row of the history of its asset. */
function lastRow(tx: TransactionSql, accountId: string) {
  return tx`
    left join lateral (
      select at, total from account_balance_history h
      where h.account_id = ${accountId} and h.currency = asset order by at desc limit 1
    ) last on true`
}
