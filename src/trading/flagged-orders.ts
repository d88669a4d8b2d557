// @FEAT:trading @COMP:service @TYPE:core
import { accountsWithoutCredentials } from '../accounts/account-table.ts'
import type { TransactionSql } from '../database/client.ts'

/** An order that its exchange does not know, or contradicts. */
export interface FlaggedOrder {
  account: string
  exchange: string
  symbol: string
  exchangeOrderId: string
  /** `unknown`, or in what the answers of the exchange contradict the order, such as `side_differs`. */
  reason: string
}

/** The unfinished orders of active accounts that are unknown or flagged. */
export interface FlaggedOrders {
  count: number
  /** Those that were flagged last, five at most, the last one first. */
  orders: FlaggedOrder[]
  /** When the first and the last of them were flagged. */
  since: Date
  newestAt: Date
}

/** Reads the unknown and flagged orders. @returns undefined when there are none */
export async function flaggedOrders(tx: TransactionSql): Promise<FlaggedOrders | undefined> {
  const [row] = await tx<{ count: number; orders: FlaggedOrder[]; since: Date | null; newest_at: Date | null }[]>`
    with flagged as materialized (
      select o.order_id, o.flagged_at, o.symbol, o.exchange_order_id, a.name, a.exchange,
        case when o.status = 'unknown' then o.status else coalesce(o.error_code, o.mismatch, o.status) end as reason
      from orders o join ${accountsWithoutCredentials(tx)} a using (account_id)
      where o.flagged_at is not null and a.is_active and o.status in ('pending', 'open', 'partially_filled', 'unknown')
    )
    select count(*)::int as count, min(flagged_at) as since, max(flagged_at) as newest_at, (
      select coalesce(jsonb_agg(jsonb_build_object('account', name, 'exchange', exchange, 'symbol', symbol,
        'exchangeOrderId', exchange_order_id, 'reason', reason) order by flagged_at desc, order_id), '[]')
      from (select * from flagged order by flagged_at desc, order_id limit 5) newest
    ) as orders
    from flagged`
  if (!row?.since || !row.newest_at) return undefined
  return { count: row.count, orders: row.orders, since: row.since, newestAt: row.newest_at }
}
