// @FEAT:trading @COMP:service @TYPE:core
import { accountsWithoutCredentials } from '../accounts/account-table.ts'
import { usersWithChats } from '../auth/user-table.ts'
import type { TransactionSql } from '../database/client.ts'
import type { Decimal } from '../domain/decimal.ts'

/** The sums of a day in one currency. */
export interface DailyTotal {
  /** `YYYY-MM-DD` */
  day: string
  currency: string
  /** Realised PnL less fees and interest, plus funding. */
  net: Decimal
  /** Round trips that ended. */
  trades: number
}

/**
 * The sums of the daily summaries by day and currency, the last day first; accounts of test networks do not count.
 * Currencies without a trade and without a change of that day are left out.
 * @param ownerChatId only the accounts of the users with this chat; undefined: all
 */
export async function dailyTotals(
  tx: TransactionSql,
  { lastDay, days, ownerChatId }: { lastDay: string; days: number; ownerChatId: string | undefined }
): Promise<DailyTotal[]> {
  const rows = await tx<DailyTotal[]>`
    select s.date::text as day, s.currency, sum(s.trades)::int as trades,
      trim_scale(sum(s.realized_pnl - s.fees + s.funding - s.interest))::text as net
    from daily_account_summaries s join ${accountsWithoutCredentials(tx)} a using (account_id)
    join ${usersWithChats(tx)} u using (user_id)
    where s.date <= ${lastDay}::date and s.date > ${lastDay}::date - ${days}::int and not a.is_testnet
      ${ownerChatId === undefined ? tx`` : tx`and u.chat_id = ${ownerChatId}`}
    group by s.date, s.currency
    having sum(s.trades) > 0 or sum(s.realized_pnl - s.fees + s.funding - s.interest) <> 0
    order by s.date desc, s.currency`
  return [...rows]
}
