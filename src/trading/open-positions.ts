// @FEAT:trading @COMP:service @TYPE:core
import { accountsWithoutCredentials } from '../accounts/account-table.ts'
import { usersWithChats } from '../auth/user-table.ts'
import type { Sql, TransactionSql } from '../database/client.ts'
import type { Decimal } from '../domain/decimal.ts'

/** A position that is not flat. What is not known is null. */
export interface OpenPosition {
  account: string
  exchange: string
  isTestnet: boolean
  symbol: string
  positionSide: string
  /** Signed: below zero for a short position. */
  quantity: Decimal
  entryPrice: Decimal | null
  markPrice: Decimal | null
  /** The price's own time. */
  markedAt: Date | null
  unrealizedPnl: Decimal | null
  currency: string
}

/**
 * The open positions by account and symbol, `limit` at most, and how many there are.
 * @param ownerChatId only those of the accounts of the users with this chat; undefined: all
 */
export async function listOpenPositions(
  sql: Sql | TransactionSql,
  { ownerChatId, limit }: { ownerChatId: string | undefined; limit: number }
): Promise<{ total: number; positions: OpenPosition[] }> {
  const rows = await sql<(OpenPosition & { total: number })[]>`
    select a.name as account, a.exchange, a.is_testnet as "isTestnet", p.symbol, p.position_side as "positionSide",
      trim_scale(p.quantity)::text as quantity, trim_scale(p.entry_price)::text as "entryPrice",
      trim_scale(p.mark_price)::text as "markPrice", p.marked_at as "markedAt",
      trim_scale(p.unrealized_pnl)::text as "unrealizedPnl", coalesce(p.quote, p.currency) as currency,
      count(*) over ()::int as total
    from strategy_positions p join ${accountsWithoutCredentials(sql)} a on a.account_id = p.holder_account_id
    join ${usersWithChats(sql)} u using (user_id)
    where p.quantity <> 0 ${ownerChatId === undefined ? sql`` : sql`and u.chat_id = ${ownerChatId}`}
    order by lower(a.name), a.account_id, p.symbol, p.position_id limit ${limit}`
  return { total: rows[0]?.total ?? 0, positions: rows.map(({ total: _total, ...position }) => position) }
}
