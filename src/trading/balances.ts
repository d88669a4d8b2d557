// @FEAT:trading @COMP:service @TYPE:core
import type { TransactionSql } from '../database/client.ts'
import type { Balance, MarketType } from '../exchanges/exchange-client.ts'

/** A total is written down again when it changed, but not more often than this. */
const HISTORY_EVERY = '10 minutes'

export interface Wallet {
  marketType: MarketType
  balances: readonly Balance[]
}

/**
 * Takes over what an account holds: every wallet of it, whole. Assets that are gone stay with zero. The history gets the
 * total of each asset over the wallets: when it changed, at most once in ten minutes, and first of all on each day.
 * Idempotent.
 * @param timeZone whose days these are
 * @returns how many rows of the history were written
 */
export async function recordBalances(
  tx: TransactionSql,
  accountId: string,
  wallets: readonly Wallet[],
  timeZone: string
): Promise<number> {
  const rows = wallets.flatMap(({ marketType, balances }) =>
    balances.map(({ asset, free, locked, total }) => ({ market_type: marketType, asset, free, locked, total }))
  )
  await tx`
    with held as (
      select * from jsonb_to_recordset(${JSON.stringify(rows)}::text::jsonb)
        as held (market_type text, asset text, free numeric, locked numeric, total numeric)
    ), gone as (
      update account_balances b set free = 0, locked = 0, total = 0, synced_at = now()
      where account_id = ${accountId}
        and not exists (select from held where held.market_type = b.market_type and held.asset = b.asset)
    )
    insert into account_balances (account_id, market_type, asset, free, locked, total, synced_at)
    select ${accountId}, market_type, asset, free, locked, total, now() from held
    on conflict (account_id, market_type, asset)
      do update set free = excluded.free, locked = excluded.locked, total = excluded.total, synced_at = excluded.synced_at`
  const { count } = await tx`
    insert into account_balance_history (account_id, at, currency, total)
    select ${accountId}, now(), asset, held.total
    from (select asset, sum(total) as total from account_balances where account_id = ${accountId} group by asset) held
    left join lateral (
      select at, total from account_balance_history h
      where h.account_id = ${accountId} and h.currency = asset order by at desc limit 1
    ) last on true
    where case
      when last.at is null then held.total <> 0
      when (last.at at time zone ${timeZone}::text)::date < (now() at time zone ${timeZone}::text)::date
        then last.total <> 0 or held.total <> 0
      else last.total <> held.total and last.at <= now() - ${HISTORY_EVERY}::interval
    end
    on conflict do nothing`
  return count
}
