/** Rows of days, equity and books of several users, for the tests of the read API. */
import type { Database } from '../../src/database/database.ts'
import { type SeededAccount, seedAccount } from './trading.ts'

export interface Trader extends SeededAccount {
  strategyId: string
}

/** Accounts with a strategy each: two of one user, who is the owner of the first two traders, and one of another user. */
export async function seedTraders(database: Database): Promise<[Trader, Trader, Trader]> {
  const traders = await Promise.all([0, 1, 2].map(() => seedAccount(database)))
  const [first] = traders
  return (await database.run(async sql => {
    const found = []
    for (const [i, account] of traders.entries()) {
      const userId = i === 1 ? (first?.userId ?? '') : account.userId
      await sql`update accounts set user_id = ${userId} where account_id = ${account.accountId}`
      const [row] = await sql<{ strategy_id: string }[]>`
        update strategies set user_id = ${userId} where strategy_id = (
          select strategy_id from strategy_accounts where strategy_account_id = ${account.strategyAccountId}
        ) returning strategy_id`
      found.push({ ...account, userId, strategyId: row?.strategy_id ?? '' })
    }
    return found
  })) as [Trader, Trader, Trader]
}

/** Days before 2026-11-23, and what is recorded of them. */
export interface DayToInsert {
  daysAgo: number
  currency: string
  amount: string | null
  isFinal?: boolean
}

/** Inserts a summary of an account's day, and the performance of its strategy; those that exist stay. */
export async function insertDay(database: Database, trader: Trader, day: DayToInsert): Promise<void> {
  const { daysAgo, currency, amount, isFinal = true } = day
  await database.run(
    sql => sql`
      with summary as (
        insert into daily_account_summaries (account_id, date, currency, start_balance, realized_pnl, unrealized_pnl, fees,
          trades, wins, losses, volume, is_final)
        values (${trader.accountId}, '2026-11-22'::date - ${daysAgo}::int, ${currency}, ${amount}::numeric,
          coalesce(${amount}::numeric, 0), ${amount}::numeric, 0, 0, 0, 0, 0, ${isFinal})
        on conflict do nothing
      )
      insert into strategy_performance (strategy_id, date, currency, daily_pnl, cumulative_pnl, daily_return, trades, wins,
        fees)
      values (${trader.strategyId}, '2026-11-22'::date - ${daysAgo}::int, ${currency}, coalesce(${amount}::numeric, 0), 0,
        ${amount}::numeric, 0, 0, 0)
      on conflict do nothing`
  )
}

/** Inserts a value of an account’s equity, whose cash identifies it; one that exists stays. @param microseconds before 2026-11-23T00:00:00Z */
export async function insertEquity(
  database: Database,
  { accountId }: Trader,
  { microseconds, currency, amount }: { microseconds: number; currency: string; amount: string }
): Promise<void> {
  await database.run(
    sql => sql`
      insert into equity_history (account_id, at, currency, equity, cash, holdings, unrealized_pnl)
      values (${accountId}, '2026-11-23T00:00:00Z'::timestamptz - ${microseconds}::int * interval '1 microsecond',
        ${currency}, ${amount}::numeric, ${microseconds}, 0, 0)
      on conflict do nothing`
  )
}
